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

/** The count of a cell in that second. */
static inline uint32_t frequent_count(uint64_t cell, uint64_t second)
{
    return (cell >> 24 & 0xffff) == (second & 0xffff) ? (uint32_t)cell & FREQUENT_MOST : 0;
}

/** Counts one more of the key with that hash in that second. Returns how many that makes, or 0 when
 * both cells belong to others. The table's owner. */
static inline uint32_t frequent_add(struct frequent *table, uint64_t hash, uint64_t second)
{
    const uint64_t name = frequent_name(hash, second);
    uint64_t *set = table->set[hash % FREQUENT_SETS];
    const uint64_t cell[FREQUENT_WAYS] = {set[0], set[1]};
    const uint32_t count[FREQUENT_WAYS] = {frequent_count(cell[0], second),
                                           frequent_count(cell[1], second)};
    /* Without branches: a flood makes cells and counts as good as random. */
    const uint32_t hit0 = (cell[0] ^ name) >> 24 == 0, hit1 = (cell[1] ^ name) >> 24 == 0;
    const uint32_t at = ~hit0 & (hit1 | (count[1] < count[0]));
    const uint64_t ours = -(uint64_t)(hit0 | hit1 | (count[at] == 0));
    const uint32_t more = count[at] + (count[at] < FREQUENT_MOST);
    const uint64_t less = cell[at] - 1;
    __atomic_store_n(&set[at], less ^ ((less ^ (name | more)) & ours), __ATOMIC_RELAXED);
    return more & (uint32_t)ours;
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
