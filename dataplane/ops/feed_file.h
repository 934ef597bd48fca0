/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A feed's file in memory, and its last good copy in the state directory: DIRECTORY/NAME.feed, the
 * file's own bytes behind two lines with a checksum and what must be remembered of it. A copy is
 * replaced as a whole, and believed only if its checksum is right and it was taken as the kind that
 * is asked for. Blocks; never waits for a FIFO's writer. Any thread but a worker's. */
#ifndef DROPGATE_DATAPLANE_OPS_FEED_FILE_H
#define DROPGATE_DATAPLANE_OPS_FEED_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/admit/lists.h"
#include "dataplane/ops/feed.h"

enum { FEED_HASH = 32, FEED_HASH_TEXT = 2 * FEED_HASH + 1 };

struct feed_file {
    char *bytes; /* owned, to be given back by feed_file_free */
    size_t length;
    int64_t written_ms;      /* unix time of its last change */
    uint8_t hash[FEED_HASH]; /* SHA-256 of its bytes */
    int64_t size;            /* of a copy: entries that were in force when it was made */
    char *block;             /* what `bytes` lie in */
};

/** Reads a regular file of at most `most` bytes. Returns 0 or -errno, with the reason in `why`
 * (FEED_WHY bytes), in words that follow its name. */
int feed_file_read(const char *path, size_t most, struct feed_file *out, char why[FEED_WHY]);

/** Makes `file`, taken as that kind, the last good copy of the feed. Returns 0 or -errno. */
int feed_copy_save(const char *directory, const char *name, enum list_kind kind,
                   const struct feed_file *file, int64_t size);

/** Reads the last good copy, if it was taken as `kind`. Returns 0 or -errno, with the reason in
 * `why`; -ENOENT: there is none; -EBADMSG: its checksum or its first lines are wrong; -EINVAL: it
 * was taken as another kind, or does not say as which. */
int feed_copy_read(const char *directory, const char *name, enum list_kind kind, size_t most,
                   struct feed_file *out, char why[FEED_WHY]);

void feed_file_free(struct feed_file *file);

/** The hash in hexadecimal, as sha256sum prints it. */
const char *feed_hash_print(const uint8_t hash[FEED_HASH], char out[FEED_HASH_TEXT]);

/** Whether `text` is the hash in hexadecimal, of either case. */
bool feed_hash_is(const uint8_t hash[FEED_HASH], const char *text);

#endif
