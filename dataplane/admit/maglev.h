/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Maglev hashing (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer",
 * NSDI 2016, section 3.4): a table of backends such that each has its share of the entries to
 * within one, and a backend that leaves or comes moves few of the others'. One of twice the weight
 * takes twice the turns, so it has twice the entries. A backend's permutation follows from its
 * address alone, so every gateway builds the same table, in whatever order its configuration names
 * them. It knows nothing of services or health. Pure; any thread. */
#ifndef DROPGATE_DATAPLANE_ADMIT_MAGLEV_H
#define DROPGATE_DATAPLANE_ADMIT_MAGLEV_H

#include <stdint.h>

#include "common/addr.h"

enum { MAGLEV_BACKENDS = 4096, MAGLEV_SIZE = 524287 }; /* the most of each */
enum { MAGLEV_WEIGHT = 100 };                          /* the most */

/** A backend that takes part. The caller fills the first three. */
struct maglev_backend {
    struct endpoint address;
    uint16_t value;  /* what its entries say */
    uint16_t weight; /* 1..MAGLEV_WEIGHT: its share is its weight's of the sum */
    uint32_t at;     /* next entry that it would like: own to maglev_fill */
    uint32_t skip, turns;
};

/** Entries of a table for `backends` (1..MAGLEV_BACKENDS): a prime, at least 100 for each, so that
 * equal shares differ by 1 % at most, and the lightest beside the heaviest still has an entry. Only
 * four sizes exist: another size is another table, in which nearly everything has moved, so it
 * should follow from how many are configured, never from how many are healthy, and not change
 * whenever one is added. */
uint32_t maglev_size(uint32_t backends);

/** Fills `size` (of maglev_size) entries with the values of `count` (1..size) backends of different
 * addresses, in O(size log size) steps. The array is put in another order. */
void maglev_fill(uint16_t *table, uint32_t size, struct maglev_backend *backends, uint32_t count);

/** The `nth` (0 = first) distinct value that is met from the hash's entry on, or -1 when the table
 * has no more than `nth`. For small `nth`, as it keeps what it has met: at most MAGLEV_NTH. */
enum { MAGLEV_NTH = 16 };
int maglev_choose(const uint16_t *table, uint32_t size, uint64_t hash, uint32_t nth);

#endif
