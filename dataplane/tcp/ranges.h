/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Which bytes of a buffer have been filled, as at most four disjoint stretches in order. What would
 * need a fifth is refused: a client that sends its request in more pieces out of order than that
 * sends them again. Pure. */
#ifndef DROPGATE_DATAPLANE_TCP_RANGES_H
#define DROPGATE_DATAPLANE_TCP_RANGES_H

#include <stdbool.h>
#include <stdint.h>

enum { RANGES_MOST = 4 };

/** From `from` up to but without `to`. */
struct range {
    uint16_t from, to;
};

/** Disjoint, not touching, in order; zeroed = none. */
struct ranges {
    struct range at[RANGES_MOST];
    uint8_t count;
};

/** Joins `added` (not empty) with what is there. Returns false, and changes nothing, if that would
 * be a fifth stretch. */
bool ranges_add(struct ranges *ranges, struct range added);

/** The first stretch of `wanted` that is not covered, empty if there is none. */
struct range ranges_gap(const struct ranges *ranges, struct range wanted);

/** How many bytes from 0 on are there without a gap. */
static inline uint16_t ranges_front(const struct ranges *ranges)
{
    return ranges->count && ranges->at[0].from == 0 ? ranges->at[0].to : 0;
}

/** Behind the last byte that is there. */
static inline uint16_t ranges_end(const struct ranges *ranges)
{
    return ranges->count ? ranges->at[ranges->count - 1].to : 0;
}

#endif
