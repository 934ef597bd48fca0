/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The FINs that are due from clients who were refused without a flow: who sends one is acknowledged
 * at once, and not only when it comes again, as of a connection that nobody knows (miss.h). A tag
 * for each, in a fixed table; a collision only delays an answer. Pure. One thread, the owner's. */
#ifndef DROPGATE_DATAPLANE_TCP_FAREWELL_H
#define DROPGATE_DATAPLANE_TCP_FAREWELL_H

#include <stdbool.h>
#include <stdint.h>

/** Of a worker: as many as are refused within a round trip of 100 ms at 600,000 per second. */
enum { FAREWELL_SLOTS = 65536 };

struct farewells {
    uint32_t tag[FAREWELL_SLOTS];
};

/** A FIN with that keyed hash, of its tuple and numbers, is due. */
static inline void farewell_note(struct farewells *farewells, uint64_t segment)
{
    farewells->tag[segment % FAREWELL_SLOTS] = (uint32_t)(segment >> 32) | 1;
}

static inline bool farewell_due(const struct farewells *farewells, uint64_t segment)
{
    return farewells->tag[segment % FAREWELL_SLOTS] == ((uint32_t)(segment >> 32) | 1);
}

#endif
