/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The ways of keeping a million prefixes that were compared, behind one interface. None but the
 * first is in the gateway. */
#ifndef DROPGATE_TESTS_BENCH_LISTS_MAPS_H
#define DROPGATE_TESTS_BENCH_LISTS_MAPS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"

enum { MAP_BURST = 64 };

/** Prefixes of one family, without host bits. */
struct mix {
    struct prefix *prefix;
    uint32_t count;
    bool v4;
};

/** The one to be held: a million of IPv4, 30 % /24 and 70 % /32, or a hundred thousand of IPv6,
 * /29 to /128, in the networks that registries give out of. The same each time. */
struct mix mix_new(bool v4);

struct map {
    const char *name;
    bool v4;
    /** NULL when it cannot hold them. */
    void *(*build)(const struct mix *mix);
    void (*free)(void *map);
    uint64_t (*bytes)(const void *map);
    /** How many of the addresses are listed; `ahead`: they are asked for one after the other before
     * the first is looked up. */
    uint32_t (*find)(const void *map, const struct addr *addrs, uint32_t count, bool ahead);
    bool slow; /* to build: left out by --quick */
};

extern const struct map maps[];
extern const unsigned map_count;

#endif
