/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A map from addresses to the prefixes that they lie in, for a million prefixes and more: built
 * once, never changed, read by every worker. Each prefix bears a mark (which list it is from), and
 * a lookup yields the set of the marks of all prefixes that contain the address, as a small number.
 *
 * Sorted prefixes, nested as they may be, come down to cuts: addresses from which on, up to the
 * next cut, the set is the same. An array has a number for each /24 of IPv4: its set, if that is
 * the same for all of it (Gupta, Lin and McKeown's DIR-24, 1998), else where its cuts are, which
 * are nearly always few enough to lie in the quarter of a cache line that is read next. For IPv6
 * the same stands for the first 32 bits; what is cut more finely leads to a search among the cuts
 * of one /32. So a look-up is one load for nearly all who are in no list, and two for a listed /32.
 *
 * It is some 80 MiB for a million prefixes, of which the arrays are 64; docs/benchmarks.md says
 * what else was measured. Pure but for its memory, which prefixes_build takes and touches, so that
 * no look-up meets a page fault. */
#ifndef DROPGATE_DATAPLANE_ADMIT_PREFIXES_H
#define DROPGATE_DATAPLANE_ADMIT_PREFIXES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/prefetch.h"

enum {
    PREFIXES_MARKS = 64,       /* 0..63 */
    PREFIXES_SETS = 1 << 15,   /* distinct sets of marks, the empty one among them */
    PREFIXES_MOST = 100000000, /* prefixes of all sources */
};

/** Prefixes that bear the same mark, in any order. An IPv4 prefix is of 96 bits or more; "::/0" is
 * all of IPv6 and none of IPv4, as in prefix_contains. */
struct prefixes_source {
    const struct prefix *prefixes;
    size_t count;
    uint8_t mark;
};

/** A value that is not a set: further values tell, of which this is one; less this it says which,
 * among those of the same 2^15 numbers. */
enum { PREFIXES_MIXED = 1 << 15 };

/** Values within 256 numbers, up to four cuts: below low[0] it is value[0], from there value[1]. */
struct prefixes_block {
    union {
        uint8_t low[4]; /* last bytes of the cuts, rising; unused: 255, and the last value again */
        uint32_t lines; /* `more`: the first of the lines that hold its cuts */
    };
    union {
        uint16_t value[5];
        struct {
            uint16_t before, count; /* `more`: the value before the first cut */
        };
    };
    uint8_t more; /* there are more than four cuts */
};

/** Sixteen bytes of cuts: the lines of a block hold their last bytes first, then their values. */
struct prefixes_line {
    union {
        uint8_t low[16];
        uint16_t value[8];
    };
} __attribute__((aligned(16)));

/** From numbers of 32 bits to values. */
struct prefixes_top {
    uint16_t *of_256;   /* per 256 numbers: their value, or MIXED: one of the blocks */
    uint32_t base[512]; /* per 2^15 of those: blocks before */
    struct prefixes_block *block;
    struct prefixes_line *line;
};

/** A cut in host byte order, and the set from there on. */
struct prefixes_v6 {
    uint64_t high, low;
    uint16_t set;
};

/** builder: rw until it is built, then all: ro. */
struct prefixes {
    struct prefixes_top v4;     /* address → set */
    struct prefixes_top v6;     /* first 32 bits → set, or MIXED: one of the networks */
    uint32_t *v6_base;          /* per 2^15 /32s: networks before */
    uint32_t *v6_first;         /* per network: cuts before; and how many there are in all */
    struct prefixes_v6 *v6_cut; /* the first of each network at its begin */
    uint64_t *marks;            /* per set: a bit per mark */
    uint32_t set_count;         /* at least 1: number 0 is the empty set */
    void *pages;                /* all of the above */
    size_t size;
};

/** Builds the map in `*out`, for prefixes_end. Overlaps are what they are: prefixes of one mark
 * merge, of several add up. Returns 0, -ENOMEM, -EINVAL (a mark or a length that is none), or
 * -E2BIG (more prefixes or sets than there may be); `*out` is then empty. Takes some tenths of a
 * second for a million, and 70 bytes of working memory per prefix. Any thread but a worker's. */
int prefixes_build(const struct prefixes_source *sources, size_t count, struct prefixes *out);

/** Gives the memory back. A map that is zeroed is nothing. */
void prefixes_end(struct prefixes *prefixes);

/** Looks up what is mixed. */
uint16_t prefixes_mixed(const struct prefixes_top *top, uint32_t number, uint16_t value);
uint16_t prefixes_network(const struct prefixes *prefixes, const struct addr *addr, uint16_t value);

/** The 32 bits by which an address is looked up first. */
static inline uint32_t prefixes_key(const struct addr *addr, bool v4)
{
    return be32toh(v4 ? addr_v4(addr) : addr->words[0]);
}

/** Fetches what the look-up of an address reads first. */
static inline void prefixes_fetch(const struct prefixes *prefixes, const struct addr *addr, bool v4)
{
    prefetch(&(v4 ? &prefixes->v4 : &prefixes->v6)->of_256[prefixes_key(addr, v4) >> 8]);
}

/** Fetches what it reads next, if that is mixed: some packets later. Returns whether the address
 * may be in any prefix: false is certain. */
static inline bool prefixes_fetch_mixed(const struct prefixes *prefixes, const struct addr *addr,
                                        bool v4)
{
    const struct prefixes_top *top = v4 ? &prefixes->v4 : &prefixes->v6;
    const uint32_t block = prefixes_key(addr, v4) >> 8, value = top->of_256[block];
    if (value >= PREFIXES_MIXED)
        prefetch(&top->block[top->base[block >> 15] + value - PREFIXES_MIXED]);
    return value != 0;
}

/** The number of the set of marks of all prefixes that contain the address; 0: there is none. Not
 * on a map that is zeroed. */
static inline uint16_t prefixes_find(const struct prefixes *prefixes, const struct addr *addr,
                                     bool v4)
{
    const struct prefixes_top *top = v4 ? &prefixes->v4 : &prefixes->v6;
    const uint32_t key = prefixes_key(addr, v4);
    uint16_t value = top->of_256[key >> 8];
    if (__builtin_expect(value < PREFIXES_MIXED, true))
        return value;
    value = prefixes_mixed(top, key, value);
    return value < PREFIXES_MIXED ? value : prefixes_network(prefixes, addr, value);
}

#endif
