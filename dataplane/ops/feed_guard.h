/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What a feed may not do, whoever publishes it. Entries of a denylist that would block ourselves
 * are left out, and the rest is used; a feed that is hardly readable is refused; one that has
 * changed too much, or covers too much, is held back until an operator accepts that very file. All
 * or nothing: whoever calls keeps the last good content otherwise.
 * Pure: numbers and prefixes in, a judgement out; no file, no clock, no log. Any thread. */
#ifndef DROPGATE_DATAPLANE_OPS_FEED_GUARD_H
#define DROPGATE_DATAPLANE_OPS_FEED_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/ops/feed.h"

enum {
    FEED_SHORTEST_V4 = 8, /* of a denylist; shorter prefixes are left out */
    FEED_SHORTEST_V6 = 19,
    FEED_FEW_CLIENTS = 10 /* of fewer no share is taken */
};

/** Entries of a denylist that were left out, and the first of each kind. */
struct feed_left_out {
    uint64_t too_short, ours, reserved;
    struct prefix first_short, first_ours, first_reserved;
};

/** Puts what is our own (addresses, backends, networks behind the gateway) in order, and drops what
 * lies within another of them. Returns how many are left. */
size_t feed_sort_ours(struct prefix *ours, size_t count);

/** Takes out of the `count` prefixes, and returns how many are left, in their order: those that are
 * too short; those that overlap with one of `ours`, as feed_sort_ours leaves them; those that
 * overlap with private (RFC 1918, RFC 6598, RFC 4193), link-local or loopback addresses. Adds to
 * what `out` counts. */
size_t feed_leave_out(struct prefix *prefixes, size_t count, const struct prefix *ours,
                      size_t ours_count, struct feed_left_out *out);

/** The same of all that a feed says. */
void feed_leave_out_of(struct feed *feed, const struct prefix *ours, size_t ours_count,
                       struct feed_left_out *out);

/** What an operator allows a feed; percent. */
struct feed_limits {
    uint32_t change;  /* by which its size may grow or shrink; 0: by any */
    uint32_t share;   /* of each family's address space (IPv6: 2000::/3); 100: all of it */
    uint32_t clients; /* of the clients with open connections; 100: all of them */
};

/** What there is to judge. */
struct feed_facts {
    uint64_t entries, unreadable;
    uint64_t size;                      /* entries in force */
    int64_t size_before;                /* of the last good content; -1: there is none */
    uint64_t v4_addresses, v6_networks; /* as in struct feed_set */
    uint64_t clients, clients_denied;   /* of a denylist that is enforced, else 0 */
};

enum feed_judgement {
    FEED_GOOD,
    FEED_REFUSED,  /* nobody can accept it */
    FEED_HELD_BACK /* until it is accepted */
};

/** Judges; the reason goes into `why` (FEED_WHY bytes), in words that follow a file's name. */
enum feed_judgement feed_judge(const struct feed_facts *facts, const struct feed_limits *limits,
                               char why[FEED_WHY]);

/** How many of the addresses lie within the set. */
uint64_t feed_set_holds(const struct feed_set *set, const struct addr *addresses, size_t count);

#endif
