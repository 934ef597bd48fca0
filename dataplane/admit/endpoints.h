/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * An immutable map from (address, port) to a small number, filled once and then only read:
 * services, backends and own addresses. Open addressing at most half full; the hash is not keyed,
 * because operators choose the keys. Pure. Filling: one thread, before publication; finding: any
 * thread. */
#ifndef DROPGATE_DATAPLANE_ADMIT_ENDPOINTS_H
#define DROPGATE_DATAPLANE_ADMIT_ENDPOINTS_H

#include <stdint.h>

#include "common/addr.h"

struct endpoints {
    uint32_t mask;
    uint32_t count, capacity;
    struct endpoint_slot {
        struct addr addr;
        uint16_t port;
        int32_t value; /* -1 = empty */
    } slot[];
};

/** A map with room for `capacity` endpoints; NULL when memory is short. */
struct endpoints *endpoints_new(uint32_t capacity);
void endpoints_free(struct endpoints *map);

/** Adds an endpoint. Returns 0, -EEXIST if it is there already (the old value stays) or -ENOSPC. */
int endpoints_add(struct endpoints *map, const struct addr *addr, uint16_t port, int32_t value);

static inline uint32_t endpoints_hash(const struct addr *addr, uint16_t port)
{
    uint64_t h = (addr->quads[0] ^ addr->quads[1] ^ port) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(h >> 32);
}

/** The value of an endpoint, or -1. */
static inline int32_t endpoints_find(const struct endpoints *map, const struct addr *addr,
                                     uint16_t port)
{
    for (uint32_t at = endpoints_hash(addr, port) & map->mask;; at = (at + 1) & map->mask) {
        const struct endpoint_slot *slot = &map->slot[at];
        const uint64_t differ = (slot->addr.quads[0] ^ addr->quads[0]) |
                                (slot->addr.quads[1] ^ addr->quads[1]) | (slot->port ^ port);
        if (differ == 0 || slot->value < 0)
            return slot->value;
    }
}

#endif
