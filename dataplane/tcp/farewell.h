/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Clients who were refused without a flow, and have yet to close. What they send behind their
 * request, a FIN at least, is acknowledged at once, whatever it is, and not taken for that of a
 * connection that nobody knows (miss.h). A tag for each, in a fixed table; a collision only makes
 * an answer late, or a reset of it. Pure. One thread, the owner's. */
#ifndef DROPGATE_DATAPLANE_TCP_FAREWELL_H
#define DROPGATE_DATAPLANE_TCP_FAREWELL_H

#include <stdbool.h>
#include <stdint.h>

/** Of a worker: as many as are refused within a round trip of 100 ms at 600,000 per second. */
enum { FAREWELL_SLOTS = 65536 };

struct farewells {
    uint32_t tag[FAREWELL_SLOTS];
};

/** Segments with that keyed hash, of their tuple and acknowledgement, are due. */
static inline void farewell_note(struct farewells *farewells, uint64_t segment)
{
    farewells->tag[segment % FAREWELL_SLOTS] = (uint32_t)(segment >> 32) | 1;
}

static inline bool farewell_due(const struct farewells *farewells, uint64_t segment)
{
    return farewells->tag[segment % FAREWELL_SLOTS] == ((uint32_t)(segment >> 32) | 1);
}

#endif
