/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Clients that are refused altogether for a while: IPv4 addresses and IPv6 /64s, never anything
 * wider. A bounded table of its own, so that nothing that clients do can displace a ban: when it is
 * full of bans in force, a new one is refused. Each ban of a client is twice as long as the one
 * before, up to a bound; one that is over is remembered for as long again as it lasted, so that the
 * next one doubles. Pure: a clock value goes in. One thread, the owner's; counts may be read by
 * any.
 *
 * Clients are told by the keyed hash by which they are counted (guard_source_of), which the packet
 * walk has at hand: 64 bits under a secret key, so nobody finds two addresses that share one. */
#ifndef DROPGATE_DATAPLANE_ADMIT_BANS_H
#define DROPGATE_DATAPLANE_ADMIT_BANS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/prefetch.h"
#include "dataplane/admit/guard.h"

struct ban {
    uint64_t source;    /* hash; 0 = free */
    struct addr client; /* IPv6: the /64, the rest is zero */
    uint64_t until_ms;
    uint32_t length_ms; /* of this ban */
    uint32_t next;      /* in its chain or the free list: 1 + index, 0 = end */
    uint8_t reason;     /* the caller's */
};

/** worker: rw; `count`: others ro */
struct bans {
    uint32_t count; /* entries: in force, or remembered */
    uint32_t capacity, mask;
    uint32_t *heads; /* chains: 1 + index, 0 = empty */
    struct ban *items;
    uint32_t free, fresh; /* released entries: 1 + index; entries from here on were never used */
    uint32_t hand;        /* where the search for what is over goes on */
};

/** An empty table for `capacity` (1..2^24) bans. Returns 0 or -ENOMEM; bans_end is to be called in
 * either case. */
int bans_init(struct bans *bans, uint32_t capacity);
void bans_end(struct bans *bans);

/** Fetches what bans_find reads first. Only worth it while `count` is not 0. */
static inline void bans_prefetch(const struct bans *bans, uint64_t source)
{
    prefetch(&bans->heads[guard_place(source, bans->mask)]);
}

/** The ban that is in force on the client with that hash, or NULL. */
const struct ban *bans_find(const struct bans *bans, uint64_t source, uint64_t now_ms);

/** Bans `wanted->client`, whose hash is `wanted->source`, for `wanted->length_ms`, or twice as long
 * as the last time if that is remembered, at most `most_ms`. A ban in force is made longer, too.
 * Returns how long, in milliseconds; 0: the table is full. */
uint32_t bans_add(struct bans *bans, const struct ban *wanted, uint32_t most_ms, uint64_t now_ms);

/** Lifts a ban and forgets it; whether there was one. */
bool bans_lift(struct bans *bans, uint64_t source);

/** Looks at the next `entries` of the table and forgets those whose time is over. Now and then. */
void bans_expire(struct bans *bans, uint32_t entries, uint64_t now_ms);

#endif
