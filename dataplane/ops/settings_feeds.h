/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The rows of [feed NAME], and what is made of them: a plan, in which nothing points into the
 * settings that it came from. Main, control and reader thread. */
#ifndef DROPGATE_DATAPLANE_OPS_SETTINGS_FEEDS_H
#define DROPGATE_DATAPLANE_OPS_SETTINGS_FEEDS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/conf.h"
#include "dataplane/admit/lists.h"
#include "dataplane/ops/feed.h"
#include "dataplane/ops/feed_guard.h"

struct settings;

enum { FEED_ACCEPT = 64 }; /* hexadecimal digits */

struct feed_settings {
    char *name, *file;
    int kind, mode, format; /* enum list_kind, list_mode, feed_format */
    int64_t size_max, prefixes_max, change, share, clients;
    char *accept; /* NULL: nothing */
};

extern const char *const settings_list_kinds[], *const settings_list_modes[];

/* clang-format off */
#define FEED_ROW(k, t, f, lo, hi, def, ch, text) {"feed", k, t, offsetof(struct feed_settings, f), lo, hi, def, ch, CONF_RELOAD, text}
#define FEED_ROWS \
    FEED_ROW("file", CONF_STRING, file, 1, 255, NULL, NULL, "Where the list is, by its absolute path; dropgate-feeds or any other program puts it there, by renaming. SIGHUP reads it again."), \
    FEED_ROW("kind", CONF_ENUM, kind, 0, 0, "deny", settings_list_kinds, "What becomes of the addresses: dropped (deny); never denied, limited or banned, whatever else lists them (allow); many users behind each (shared: higher limits, no ban for rate); each speaks for many clients (proxies: no limits per client)."), \
    FEED_ROW("mode", CONF_ENUM, mode, 0, 0, "enforce", settings_list_modes, "observe: what a denylist would have dropped is counted, and passes."), \
    FEED_ROW("format", CONF_ENUM, format, 0, 0, "auto", feed_formats, "What it is written in; auto tells by the first lines. plain: an address, prefix or range per line, comments behind '#' or ';' (Spamhaus text, FireHOL, Emerging Threats, abuse.ch, Cloudflare)."), \
    FEED_ROW("size_max", CONF_SIZE, size_max, 1024, INT64_C(1) << 30, "64M", NULL, "A longer file is refused."), \
    FEED_ROW("prefixes_max", CONF_INT, prefixes_max, 1, 20000000, "2000000", NULL, "A file with more prefixes is refused; each takes some 100 bytes while it is read."), \
    FEED_ROW("change", CONF_INT, change, 0, 1000000, "50", NULL, "By how many percent the number of entries may change from one file to the next; beyond that the new one is held back until it is accepted. 0: by any, for lists kept by hand."), \
    FEED_ROW("share", CONF_INT, share, 1, 100, "5", NULL, "How many percent of the address space of IPv4, and of IPv6 in use (2000::/3), the list may cover without being accepted. 100: all."), \
    FEED_ROW("clients", CONF_INT, clients, 1, 100, "10", NULL, "How many percent of the clients that have connections open a denylist may deny without being accepted. 100: all."), \
    FEED_ROW("accept", CONF_STRING, accept, 0, FEED_ACCEPT, "", NULL, "SHA-256 of a file that is taken although it has changed or covers more than the rows above allow: 64 hexadecimal digits, as sha256sum and the log print them. Any other file is judged as ever.")
/* clang-format on */

/** One feed, as wanted. */
struct feed_spec {
    char name[LISTS_NAME], file[256];
    enum list_kind kind;
    enum list_mode mode;
    enum feed_format format;
    size_t size_max, prefixes_max;
    struct feed_limits limits;
    char accept[FEED_ACCEPT + 1]; /* empty: nothing */
};

/** All of them. One block, for free(). */
struct feed_plan {
    char state_dir[256]; /* empty: no copies are kept */
    const struct prefix
        *ours; /* what no denylist may block: our addresses, our networks, backends; sorted */
    size_t ours_count;
    size_t count;
    struct feed_spec spec[];
};

/** The checks that rows cannot make; as conf_schema's check. */
int settings_check_feeds(const struct settings *settings, char *why, size_t size);

/** The plan; NULL when memory is short. */
struct feed_plan *settings_feeds(const struct settings *settings);

#endif
