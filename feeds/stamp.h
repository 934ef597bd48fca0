/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What is remembered of a feed's last download, in a file beside it (".NAME.json"): by what its
 * server can tell whether it has changed (RFC 9110 section 8.8), when it was last asked, and the
 * hash of the file, without which none of it counts: a file that was lost or edited is fetched
 * anew. */
#ifndef DROPGATE_FEEDS_STAMP_H
#define DROPGATE_FEEDS_STAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STAMP_SHA256 = 65, STAMP_VALIDATOR = 1024, STAMP_URL = 4096 };

struct stamp {
    char url[STAMP_URL];            /* of which the validators are */
    char etag[STAMP_VALIDATOR];     /* "" if the server gave none */
    char modified[STAMP_VALIDATOR]; /* the same: Last-Modified */
    char sha256[STAMP_SHA256];      /* of the file, in hexadecimal digits */
    int64_t asked;                  /* seconds since 1970 of the last successful request */
};

/** Reads the stamp of `file` (the feed's own path), if it is of `url` and of the file as it is;
 * zeroed otherwise, whatever the reason: the feed is then fetched as if it never had been. */
void stamp_load(const char *file, const char *url, struct stamp *stamp);

/** Writes it, when the file is in its place. Returns 0 or -errno. */
int stamp_save(const char *file, const struct stamp *stamp);

/** The hash of an open file, from its beginning. Returns 0 or -errno. */
int stamp_hash(int fd, char sha256[STAMP_SHA256]);

#endif
