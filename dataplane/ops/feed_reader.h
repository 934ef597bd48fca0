/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What the readers of the formats share. Private to feed*.c. */
#ifndef DROPGATE_DATAPLANE_OPS_FEED_READER_H
#define DROPGATE_DATAPLANE_OPS_FEED_READER_H

#include "dataplane/ops/feed.h"

/** Bytes within the file; no terminator. */
struct span {
    const char *at, *end;
};

struct feed_reader {
    struct feed *feed;
    const struct feed_how *how;
    char *why;   /* FEED_WHY bytes */
    int error;   /* the first that ends the reading; 0: none yet */
    int column;  /* FEED_CSV: that of the addresses, from 0 */
    bool closed; /* FEED_JSONLINES: the metadata has been seen */
};

/** Ends the reading. Returns `error`. */
int feed_refuse(struct feed_reader *reader, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** Takes an entry; `until_ms` INT64_MAX: for good. */
void feed_add(struct feed_reader *reader, const struct prefix *prefix, bool masked,
              int64_t until_ms);

/** Takes an entry of the form address, address/length or first-last; "is neither..." or NULL. */
const char *feed_add_text(struct feed_reader *reader, struct span text, int64_t until_ms);

/** Takes an exception. */
void feed_except(struct feed_reader *reader, const struct prefix *prefix);

/** Takes all addresses from `first` to `last`; what is wrong with them, or NULL. */
const char *feed_add_range(struct feed_reader *reader, const struct addr *first,
                           const struct addr *last, int64_t until_ms);

/** Notes what could not be read. */
void feed_note(struct feed_reader *reader, uint64_t line, struct span text, const char *wrong);

/** One line of each text format, neither blank nor a comment: what is wrong with it, or NULL. */
const char *feed_line_plain(struct feed_reader *reader, struct span line);
const char *feed_line_ipset(struct feed_reader *reader, struct span line);
const char *feed_line_dshield(struct feed_reader *reader, struct span line);
const char *feed_line_csv(struct feed_reader *reader, struct span line);
const char *feed_line_tor(struct feed_reader *reader, struct span line);
const char *feed_line_json(struct feed_reader *reader, struct span line);

/** Whether the text can only be a line of that format. */
bool feed_is_dshield(struct span line);
bool feed_is_csv(struct span line);
bool feed_is_json_line(struct span line); /* builds its tree: of at most FEED_LINE_MAX bytes */

/** A whole JSON document. */
void feed_document(struct feed_reader *reader, struct span all);

/** Small words of text. */
struct span span_trim(struct span text);
struct span span_token(struct span *rest); /* up to a blank or tab, which go as well */
bool span_prefix(struct span text, struct prefix *out, bool *masked);
bool span_addr(struct span text, struct addr *out);
bool span_is(struct span text, const char *word); /* but for the case of its letters */

static inline size_t span_length(struct span text)
{
    return (size_t)(text.end - text.at);
}

/** Addresses as numbers. */
__extension__ typedef unsigned __int128 feed_number;

static inline feed_number feed_number_of(const struct addr *a)
{
    return (feed_number)be64toh(a->quads[0]) << 64 | be64toh(a->quads[1]);
}

static inline struct addr feed_addr_of(feed_number number)
{
    return (struct addr){.quads = {htobe64((uint64_t)(number >> 64)), htobe64((uint64_t)number)}};
}

/** The longest prefix that begins at `first` and does not reach beyond `last`; its length in the
 * 128-bit form. `*behind` is what follows it (0 behind the last address of all). */
uint8_t feed_cut(feed_number first, feed_number last, feed_number *behind);

#endif
