/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What one source, and one network, may ask of a gateway that does not know them yet. Packets that
 * belong to a connection never come here. Each packet is judged by itself, by the counts of the
 * current second: nothing is learned that would have to be unlearned, so a flood from a second
 * address is seen at once, and the end of one too (tcp-pitfalls 19). A limit of 0 is none.
 *
 * Sources (IPv4 addresses, IPv6 /64): one may send so many packets that belong to no connection;
 * with more it would take a worker's time. A source has one owner, so the owner's count is the
 * gateway's; whoever receives SYNs of another's source counts those too, before they are handed
 * over. A SYN counts whether it has a connection or not.
 *
 * Networks (IPv4 /24, IPv6 /48): SYN-ACKs go where a SYN says that it comes from, so a network of
 * victims gets at most so many in a second of the clock. That holds for all workers together, and
 * exactly: each counts its own SYNs of a network where all can read it. Up to its spare part, an
 * eighth of the limit over the number of workers, a worker answers without a look; beyond it counts
 * first, then reads the others' counts, none as less than the spare part, and answers if the sum is
 * within the limit. Of two workers that do so at once at least one sees the other's count (there is
 * a full fence between the two steps), so they are never above the limit; and less than an eighth
 * below it. Only what rare networks in the same set have taken off a count (frequent.h) can be
 * answered beyond it.
 *
 * A network over its limit must not lock out those who live there: a client who has been verified
 * is still answered, up to a small share of that limit for each; and a SYN that was seen 0.75..3.5
 * s ago has been sent by a real client again, and is answered, up to a budget of its own,
 * LEASE_SYNS_AGAIN. Only refused SYNs are remembered.
 *
 * Pure. One thread, the owner's. */
#ifndef DROPGATE_DATAPLANE_ADMIT_GUARD_H
#define DROPGATE_DATAPLANE_ADMIT_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"
#include "dataplane/admit/frequent.h"
#include "dataplane/admit/lease.h"
#include "dataplane/admit/seen.h"

enum {
    GUARD_SPARE = 8,  /* the part of a limit that is not looked after */
    GUARD_KNOWN = 64, /* the part of a network's limit that each verified client has beside it */
    /* Sets of cells. A flood of as many random keys as a processor can count, ten million in a
     * second, takes 2,500 of a count of sources, which is a small part of what one may send, so
     * that table can stay in the nearest cache; and 300 of a count of networks. */
    GUARD_SOURCE_SETS = 1 << 11,
    GUARD_NETWORK_SETS = 1 << 14
};

/** worker: rw; `networks`: other workers ro */
struct guard {
    uint32_t source_rate, network_rate; /* per second, 0 = no limit */
    uint32_t network_spare;             /* what is answered without a look */
    struct siphash_key key;             /* the same in all workers */
    struct frequent sources, networks;
    struct seen seen;
    uint32_t others;
    const struct frequent *other[LEASE_WORKERS - 1]; /* networks of the other workers */
};

/** Empty tables. Returns 0 or -ENOMEM; guard_end is to be called in either case. */
int guard_init(struct guard *guard, const struct siphash_key *key, uint64_t now_ms);
void guard_end(struct guard *guard);

/** From now on these `count` guards (at most LEASE_WORKERS), one of each worker, share their limits
 * of networks. Before the first packet. */
void guard_join(struct guard *const guards[], uint32_t count);

/** Sets clock and limits for the packets that follow. Once per burst. */
void guard_begin(struct guard *guard, uint32_t source_rate, uint32_t network_rate, uint64_t now_ms);

/** The hash of a source whose address begins at `at`, as in a packet; only its 4 or 8 first bytes
 * are read. */
static inline uint64_t guard_source_hash(const struct guard *guard, const uint8_t *at, bool v4)
{
    uint64_t key = 0;
    memcpy(&key, at, v4 ? 4 : 8);
    return frequent_hash(&guard->key, v4 ? key ^ guard->key.k1 : key);
}

/** The same of an address. */
static inline uint64_t guard_source_of(const struct guard *guard, const struct addr *source,
                                       bool v4)
{
    return guard_source_hash(guard, source->bytes + (v4 ? 12 : 0), v4);
}

/** A place for a source's hash in a table of that mask. Its bits are as good as the key by chance
 * made them, which does for counts, not for chains. */
static inline uint32_t guard_place(uint64_t source, uint32_t mask)
{
    const uint64_t odd = UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(((source ^ source >> 32) * odd) >> 32) & mask;
}

/** The hash of its network. */
static inline uint64_t guard_network_of(const struct guard *guard, const struct addr *source,
                                        bool v4)
{
    const uint64_t v4_bits = htobe32(0xffffff00), v6_bits = htobe64(~UINT64_C(0xffff));
    return frequent_hash(&guard->key, v4 ? (addr_v4(source) & v4_bits) ^ guard->key.k1
                                         : source->quads[0] & v6_bits);
}

/** Fetches what the counts need ahead of their use. */
static inline void guard_fetch_source(const struct guard *guard, uint64_t source)
{
    frequent_prefetch(&guard->sources, source);
}

static inline void guard_fetch_network(const struct guard *guard, uint64_t network)
{
    frequent_prefetch(&guard->networks, network);
}

/** Counts one more packet of a source, by its hash; false when it is one too many. */
static inline bool guard_source(struct guard *guard, uint64_t source)
{
    return guard->source_rate == 0 || frequent_add(&guard->sources, source) <= guard->source_rate;
}

/** For guard_network: ours are counted already, and more than is answered without a look. */
bool guard_network_of_all(struct guard *guard, uint64_t network, uint32_t ours);

/** Counts one more SYN of a source's network, by its hash; false when it is one too many. */
static inline bool guard_network(struct guard *guard, uint64_t network)
{
    const uint32_t limit = guard->network_rate;
    if (limit == 0)
        return true;
    const uint32_t ours = frequent_add(&guard->networks, network);
    if (ours <= guard->network_spare || ours > limit)
        return ours <= limit;
    return guard_network_of_all(guard, network, ours);
}

/** Counts one more SYN of a verified client, by its source's hash, whose network is over its limit;
 * false when it is one too many. */
static inline bool guard_known(struct guard *guard, uint64_t source)
{
    return frequent_add(&guard->sources, ~source) <= guard->network_rate / GUARD_KNOWN + 1;
}

/** The hash of a SYN: `client` is a keyed hash of its address and port. */
static inline uint64_t guard_syn_hash(const struct guard *guard, uint64_t client, uint16_t service,
                                      uint32_t isn)
{
    return frequent_hash(&guard->key, client ^ ((uint64_t)isn << 32 | service));
}

/** Whether a SYN of a network over its limit is a retransmission, and within their budget; else it
 * is remembered. */
bool guard_again(struct guard *guard, uint64_t syn, struct lease *budget);

#endif
