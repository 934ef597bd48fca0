/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Remembers segments whose data matched neither a flow nor a cookie. The first miss is silent,
 * because a second segment may overtake the first, or the first be lost; the same segment again at
 * least a second later deserves an RST, so that half-open peers learn (tcp-pitfalls 7, 23). Not
 * earlier: a tail loss probe (RFC 8985) repeats the last segment after two round trips, before the
 * lost first one is sent again after three. 4,096 slots, fixed; a collision only delays an answer.
 * Pure. One thread, the owner's. */
#ifndef DROPGATE_DATAPLANE_TCP_MISS_H
#define DROPGATE_DATAPLANE_TCP_MISS_H

#include <stdbool.h>
#include <stdint.h>

enum { MISS_SLOTS = 4096, MISS_AGAIN_MS = 1000, MISS_FORGET_MS = 30 * 1000 };

struct miss_table {
    struct {
        uint32_t tag; /* other half of the segment's hash; 0 = empty */
        uint32_t at;  /* ms, wraps */
    } slots[MISS_SLOTS];
};

/** Notes a miss of the segment with that keyed hash (of its tuple and numbers); true if the same
 * one missed 1 s to 30 s ago. After a true answer it starts anew. */
bool miss_again(struct miss_table *table, uint64_t segment, uint64_t now_ms);

#endif
