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
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/siphash.h"

enum {
    FREQUENT_WAYS = 2,
    FREQUENT_TAG = 24,                        /* bits of a cell, from the lowest: tag, */
    FREQUENT_COUNT = 24,                      /* count, */
    FREQUENT_SECOND = 16,                     /* and second */
    FREQUENT_MOST = (1 << FREQUENT_COUNT) - 1 /* counts stop there */
};

/** Cells of one second and of those before it: as the second stands highest, a cell of an earlier
 * one is less than any of this one's, and the rarest owner has the least. `set` has mask + 1 sets,
 * aligned to a cache line. worker: rw, other workers: ro */
struct frequent {
    uint64_t (*set)[FREQUENT_WAYS];
    uint64_t mask;
    uint64_t second; /* that is being counted */
};

static inline size_t frequent_size(const struct frequent *table)
{
    return (table->mask + 1) * sizeof *table->set;
}

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
    __builtin_prefetch(table->set[hash & table->mask], 1);
}

/** What counts in a second at least: a cell that says 0, of nobody. */
static inline uint64_t frequent_floor(uint64_t second)
{
    return second << (FREQUENT_TAG + FREQUENT_COUNT);
}

/** Sets the second for the counts that follow; it never goes back. When its number in the cells
 * begins anew, about twice a day, all are emptied: no old one shall look like one to come. The
 * table's owner. */
static inline void frequent_begin(struct frequent *table, uint64_t second)
{
    if (second >> FREQUENT_SECOND != table->second >> FREQUENT_SECOND)
        memset(table->set, 0, frequent_size(table));
    table->second = second;
}

/** Whether a cell carries that tag. */
static inline bool frequent_same(uint64_t cell, uint64_t tag)
{
    return ((cell ^ tag) & ((UINT64_C(1) << FREQUENT_TAG) - 1)) == 0;
}

static inline uint32_t frequent_count(uint64_t cell)
{
    return (uint32_t)(cell >> FREQUENT_TAG) & FREQUENT_MOST;
}

/** Counts one more of the key with that hash. Returns how many that makes, or 0 when both cells
 * belong to others. The table's owner. */
static inline uint32_t frequent_add(struct frequent *table, uint64_t hash)
{
    const uint64_t tag = hash >> (64 - FREQUENT_TAG);
    const uint64_t floor = frequent_floor(table->second);
    uint64_t *set = table->set[hash & table->mask];
    const uint64_t cell0 = set[0] > floor ? set[0] : floor, cell1 = set[1] > floor ? set[1] : floor;
    /* Without branches: a flood makes cells and counts as good as random. */
    const uint32_t hit0 = frequent_same(cell0, tag), hit1 = frequent_same(cell1, tag);
    const uint32_t at = ~hit0 & (hit1 | (cell1 < cell0));
    const uint64_t cell = at ? cell1 : cell0;
    const uint32_t count = frequent_count(cell), more = count + (count < FREQUENT_MOST);
    const uint64_t ours = -(uint64_t)(hit0 | hit1 | (count == 0));
    const uint64_t less = cell - (UINT64_C(1) << FREQUENT_TAG);
    const uint64_t mine = floor | (uint64_t)more << FREQUENT_TAG | tag;
    __atomic_store_n(&set[at], less ^ ((less ^ mine) & ours), __ATOMIC_RELAXED);
    return more & (uint32_t)ours;
}

/** Raises the key's count to `count`, if a cell is the key's. The table's owner. */
static inline void frequent_raise(struct frequent *table, uint64_t hash, uint32_t count)
{
    const uint64_t tag = hash >> (64 - FREQUENT_TAG), floor = frequent_floor(table->second);
    const uint64_t raised = floor | (uint64_t)count << FREQUENT_TAG | tag;
    uint64_t *set = table->set[hash & table->mask];
    for (int i = 0; i < FREQUENT_WAYS; i++)
        if (set[i] > floor && frequent_same(set[i], tag) && set[i] < raised)
            __atomic_store_n(&set[i], raised, __ATOMIC_RELAXED);
}

/** How many of the key there were in that second. Any thread. */
static inline uint32_t frequent_read(const struct frequent *table, uint64_t hash, uint64_t second)
{
    const uint64_t tag = hash >> (64 - FREQUENT_TAG), floor = frequent_floor(second);
    const uint64_t *set = table->set[hash & table->mask];
    for (int i = 0; i < FREQUENT_WAYS; i++) {
        uint64_t cell = __atomic_load_n(&set[i], __ATOMIC_RELAXED);
        if ((cell ^ floor) >> (FREQUENT_TAG + FREQUENT_COUNT) == 0 && frequent_same(cell, tag))
            return frequent_count(cell);
    }
    return 0;
}

#endif
