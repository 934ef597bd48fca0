/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The one reader of deny and allow feeds, in whatever format they are published. It takes a file's
 * bytes and gives back prefixes, what it could not read, and what it passed over; whether that is
 * good enough to be used is feed_guard's to say. It trusts nothing: bytes, lines, documents and
 * prefixes are all bounded.
 * Pure but for the memory that it allocates: no file, no clock, no log. Any thread. */
#ifndef DROPGATE_DATAPLANE_OPS_FEED_H
#define DROPGATE_DATAPLANE_OPS_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/addr.h"

/** What a file is written in. A blank line, a byte order mark and CRLF are nothing in any. */
enum feed_format {
    FEED_AUTO,    /* by its first lines */
    FEED_PLAIN,   /* per line an address, a prefix, or a range a-b; comments begin with '#' or
                     ';', also behind an entry: lists of Spamhaus (text), FireHOL, Emerging Threats,
                     abuse.ch, Cloudflare, and Tor's bulk list */
    FEED_IPSET,   /* `ipset save`: add SET ENTRY [timeout N] [nomatch] [comment "..."] ... */
    FEED_DSHIELD, /* tab-separated: start, end, netmask, ... */
    FEED_CSV, /* comma-separated, quoted or not: the column dst_ip of its header, else the 2nd */
    FEED_TOR, /* exit-addresses: ExitAddress ADDRESS DATE TIME, among other kinds of lines */
    FEED_JSONLINES, /* per line an object with "cidr"; the last one is {"type":"metadata"}: Spamhaus
                     */
    FEED_CROWDSEC,  /* decisions, as a stream ({"new": [], "deleted": []}) or as a list */
    FEED_AWS,       /* ip-ranges.json: {"prefixes": [], "ipv6_prefixes": []} */
    FEED_FORMATS
};

/** Their names, in that order; NULL behind the last. */
extern const char *const feed_formats[FEED_FORMATS + 1];

enum {
    FEED_LINE_MAX = 4096,             /* bytes; a longer one is unreadable */
    FEED_DOCUMENT_MAX = 32 << 20,     /* bytes of a JSON document, which is held as a tree */
    FEED_DOCUMENT_MEMORY = 512 << 20, /* bytes that this tree may take, by a generous estimate */
    FEED_SHOWN = 5,                   /* unreadable lines that are named */
    FEED_TEXT = 64,
    FEED_WHY = 1024
};

/** An entry that ends. */
struct feed_lapsing {
    struct prefix prefix;
    int64_t until_ms; /* unix time */
};

/** One that could not be read: its line's number (0: it has none), its beginning in printable
 * ASCII, and what is wrong with it. */
struct feed_unreadable {
    uint64_t line;
    char text[FEED_TEXT];
    const char *wrong;
};

struct feed_how {
    enum feed_format format;
    int64_t written_ms;   /* unix time of the file: times left count from there */
    size_t most_prefixes; /* more are refused */
};

/** What a file says, in its order, neither sorted nor merged. Owns its arrays. */
struct feed {
    enum feed_format format; /* never FEED_AUTO */
    struct prefix *prefix;   /* entries for good */
    size_t count;
    struct feed_lapsing *lapsing; /* entries for a time */
    size_t lapsing_count;
    struct prefix *except; /* `nomatch`: out of the shorter prefixes around them */
    size_t except_count;
    uint64_t lines;       /* all of the file; of a JSON document 0 */
    uint64_t entries;     /* that could be read, also those that are passed over */
    uint64_t masked;      /* of them, with bits set behind the prefix: masked */
    uint64_t passed_over; /* of them, not for a packet filter: captchas, countries, simulations */
    uint64_t deleted;     /* of them, taken back by the same document */
    uint64_t unreadable;
    struct feed_unreadable shown[FEED_SHOWN]; /* the first of them */
    uint32_t shown_count;
    size_t room, lapsing_room, except_room; /* of the arrays */
};

/** Reads `length` bytes. Returns 0, however many lines are unreadable; or -EINVAL (a document that
 * is none, or is not what `how->format` says), -EFBIG (more than a bound), -ENOMEM, with the reason
 * in `why` (FEED_WHY bytes), in words that follow a file's name, and `out` empty. */
int feed_read(const char *bytes, size_t length, const struct feed_how *how, struct feed *out,
              char why[FEED_WHY]);

/** Frees what `feed` owns and empties it. */
void feed_free(struct feed *feed);

/** Prefixes in order (IPv4 first), none within another, neighbours joined; and what they cover. */
struct feed_set {
    struct prefix *prefix; /* to be freed */
    size_t count;
    uint64_t v4_addresses;
    uint64_t v6_networks; /* of /64, rounded up per prefix; saturates */
    uint64_t lapsed;      /* entries whose time was over */
    int64_t until_ms;     /* when the next one is; INT64_MAX: none */
};

/** What of `feed` is in force at `now_ms` (unix time). Exceptions hold against the shorter prefixes
 * around them, not against longer ones within (as ipset finds them). Returns 0 or -ENOMEM. */
int feed_merge(const struct feed *feed, int64_t now_ms, struct feed_set *out);

/** Go's text of a duration, "1h2m3.5s", in milliseconds rounded down; false if it is none. */
bool feed_duration(const char *text, int64_t *ms);

#endif
