/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A map from addresses to the prefixes that they lie in, for a million prefixes and more: built
 * once, never changed, read by every worker. Each prefix bears a mark (which list it is from), and
 * a lookup yields the set of the marks of all prefixes that contain the address, as a small number.
 *
 * Sorted prefixes, nested as they may be, come down to cuts: addresses from which on, up to the
 * next cut, the set is the same. A lookup counts the cuts at or before an address. Of IPv4: a bit
 * per /24 says whether a cut lies in it, a number per 64 of those how many such /24s came before,
 * and the last bytes of the cuts in a /24 lie beside each other (rank and select, Jacobson 1989).
 * Of IPv6 the same finds the /32, in which the cuts are searched. Another bit per /24 says whether
 * any of its addresses is listed, and answers for nearly all that are not with one load. It is some
 * 25 MiB for a million prefixes; docs/benchmarks.md says what else was measured.
 *
 * Pure but for its memory, which prefixes_build takes and touches, so that no lookup meets a page
 * fault. */
#ifndef DROPGATE_DATAPLANE_ADMIT_PREFIXES_H
#define DROPGATE_DATAPLANE_ADMIT_PREFIXES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/prefetch.h"

enum {
    PREFIXES_MARKS = 64,       /* 0..63 */
    PREFIXES_SETS = 1 << 16,   /* distinct sets of marks, the empty one among them */
    PREFIXES_MOST = 100000000, /* prefixes: more than the address space of IPv4 has /24s */
};

/** Prefixes that bear the same mark, in any order. An IPv4 prefix is of 96 bits or more; "::/0" is
 * all of IPv6 and none of IPv4, as in prefix_contains. */
struct prefixes_source {
    const struct prefix *prefixes;
    size_t count;
    uint8_t mark;
};

/** Counts how many of the sorted `keys` are at or before a number of 32 bits. */
struct prefixes_ranks {
    uint64_t *listed; /* a bit per 256 numbers: something there has a set that is not empty */
    uint64_t *cut;    /* a bit per 256 numbers: a key is among them */
    uint32_t *rank;   /* per word of `cut`: bits set in the words before */
    uint32_t *first;  /* per bit set in `cut`: keys before; and how many there are in all */
    uint8_t *low;     /* per key: its last 8 bits */
};

/** An address of IPv6 in host byte order. */
struct prefixes_v6 {
    uint64_t high, low;
};

/** builder: rw until it is built, then all: ro. */
struct prefixes {
    struct prefixes_ranks v4, v6; /* keys: cuts; /32s in which there are cuts */
    uint16_t *v4_set;             /* per count of cuts, from none on: a set */
    uint32_t *v6_first;           /* per count of /32s, less one: cuts before that; and all */
    struct prefixes_v6 *v6_cut;
    uint16_t *v6_set;
    uint64_t *marks;    /* per set: a bit per mark */
    uint32_t set_count; /* at least 1: number 0 is the empty set */
    void *pages;        /* all of the above */
    size_t size;
};

/** Builds the map in `*out`, for prefixes_end. Overlaps are what they are: prefixes of one mark
 * merge, of several add up. Returns 0, -ENOMEM, -EINVAL (a mark or a length that is none), or
 * -E2BIG (more prefixes or sets than there may be); `*out` is then empty. Takes some tenths of a
 * second for a million, and 60 bytes of working memory per prefix. Any thread but a worker's. */
int prefixes_build(const struct prefixes_source *sources, size_t count, struct prefixes *out);

/** Gives the memory back. A map that is zeroed is nothing. */
void prefixes_end(struct prefixes *prefixes);

/** Looks up what the bit of a /24 does not answer. Not on an empty map. */
uint16_t prefixes_find_v4(const struct prefixes *prefixes, uint32_t address);
uint16_t prefixes_find_v6(const struct prefixes *prefixes, const struct addr *addr);

/** The 32 bits by which an address is looked up first. */
static inline uint32_t prefixes_key(const struct addr *addr, bool v4)
{
    return be32toh(v4 ? addr_v4(addr) : addr->words[0]);
}

/** Fetches what the lookup of an address reads first. */
static inline void prefixes_fetch(const struct prefixes *prefixes, const struct addr *addr, bool v4)
{
    const struct prefixes_ranks *ranks = v4 ? &prefixes->v4 : &prefixes->v6;
    prefetch(&ranks->listed[prefixes_key(addr, v4) >> 14]);
}

/** The number of the set of marks of all prefixes that contain the address; 0: there is none. */
static inline uint16_t prefixes_find(const struct prefixes *prefixes, const struct addr *addr,
                                     bool v4)
{
    const struct prefixes_ranks *ranks = v4 ? &prefixes->v4 : &prefixes->v6;
    const uint32_t key = prefixes_key(addr, v4);
    if (!(ranks->listed[key >> 14] >> (key >> 8 & 63) & 1))
        return 0;
    return v4 ? prefixes_find_v4(prefixes, key) : prefixes_find_v6(prefixes, addr);
}

#endif
