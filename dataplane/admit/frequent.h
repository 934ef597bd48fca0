/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * How often a key was seen within the current second, for those keys that are seen often. A key has
 * a set of two cells; a cell belongs to one key, and whoever finds no cell costs the rarest owner
 * of the set one count, until that cell is free (Misra and Gries, 1982, within a set; compare Yang
 * et al., "HeavyKeeper", 2018). So a flood of random keys wipes nothing out: it takes from each
 * count no more than its share of a cell, and nobody is refused for what another did, for a count
 * is never too high. Three frequent keys in one set would shelter each other; which keys meet is
 * decided by a secret. Pure. One writer; others may read, a little old. */
#ifndef DROPGATE_DATAPLANE_ADMIT_FREQUENT_H
#define DROPGATE_DATAPLANE_ADMIT_FREQUENT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/siphash.h"

enum {
    FREQUENT_WAYS = 2,
    FREQUENT_SETS = 1 << 14,
    FREQUENT_MOST = (1 << 24) - 1 /* counts stop there */
};

/** A cell: tag (24 bits), second modulo 65,536 (16 bits), count (24 bits). 256 KiB, aligned to a
 * cache line; zeroed it is empty. worker: rw, other workers: ro */
struct frequent {
    uint64_t set[FREQUENT_SETS][FREQUENT_WAYS];
};

/** A keyed hash of a key: a product of 64 by 64 bits, folded. Not a MAC; who cannot see the counts
 * cannot find keys that meet. */
static inline uint64_t frequent_hash(const struct siphash_key *secret, uint64_t key)
{
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)(key ^ secret->k0) * (secret->k1 | 1);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/** Fetches the key's set ahead of its use. */
static inline void frequent_prefetch(const struct frequent *table, uint64_t hash)
{
    __builtin_prefetch(table->set[hash % FREQUENT_SETS], 1);
}

/** What a cell of the key holds in that second, but for the count. */
static inline uint64_t frequent_name(uint64_t hash, uint64_t second)
{
    return hash >> 40 << 40 | (second & 0xffff) << 24;
}

/** Counts one more of the key with that hash in that second. Returns how many that makes, or 0 when
 * every cell belongs to another. The table's owner. */
static inline uint32_t frequent_add(struct frequent *table, uint64_t hash, uint64_t second)
{
    const uint64_t name = frequent_name(hash, second), now = second & 0xffff;
    uint64_t *set = table->set[hash % FREQUENT_SETS];
    const uint64_t cell[FREQUENT_WAYS] = {set[0], set[1]};
    for (int i = 0; i < FREQUENT_WAYS; i++)
        if ((cell[i] ^ name) >> 24 == 0) {
            uint32_t count = (uint32_t)cell[i] & FREQUENT_MOST;
            count += count < FREQUENT_MOST;
            __atomic_store_n(&set[i], name | count, __ATOMIC_RELAXED);
            return count;
        }
    /* Without a branch on the counts: a flood makes them as good as random. */
    const uint32_t count[FREQUENT_WAYS] = {
        (cell[0] >> 24 & 0xffff) == now ? (uint32_t)cell[0] & FREQUENT_MOST : 0,
        (cell[1] >> 24 & 0xffff) == now ? (uint32_t)cell[1] & FREQUENT_MOST : 0};
    const uint32_t rarest = count[1] < count[0], free = count[rarest] == 0;
    const uint64_t less = cell[rarest] - 1, mine = name | 1;
    __atomic_store_n(&set[rarest], less ^ ((less ^ mine) & -(uint64_t)free), __ATOMIC_RELAXED);
    return free;
}

/** Raises the key's count to `count`, if a cell is the key's. The table's owner. */
static inline void frequent_raise(struct frequent *table, uint64_t hash, uint64_t second,
                                  uint32_t count)
{
    const uint64_t name = frequent_name(hash, second);
    uint64_t *set = table->set[hash % FREQUENT_SETS];
    for (int i = 0; i < FREQUENT_WAYS; i++)
        if ((set[i] ^ name) >> 24 == 0 && ((uint32_t)set[i] & FREQUENT_MOST) < count)
            __atomic_store_n(&set[i], name | count, __ATOMIC_RELAXED);
}

/** How many of the key there were in that second. Any thread. */
static inline uint32_t frequent_read(const struct frequent *table, uint64_t hash, uint64_t second)
{
    const uint64_t name = frequent_name(hash, second);
    const uint64_t *set = table->set[hash % FREQUENT_SETS];
    for (int i = 0; i < FREQUENT_WAYS; i++) {
        uint64_t cell = __atomic_load_n(&set[i], __ATOMIC_RELAXED);
        if ((cell ^ name) >> 24 == 0)
            return (uint32_t)cell & FREQUENT_MOST;
    }
    return 0;
}

#endif
