/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Filling the map. */
#include "dataplane/admit/endpoints.h"

#include <errno.h>
#include <stdlib.h>

struct endpoints *endpoints_new(uint32_t capacity)
{
    uint32_t slots = 4;
    while (slots < capacity * 2)
        slots *= 2;
    struct endpoints *map = calloc(1, sizeof *map + slots * sizeof map->slot[0]);
    if (map == NULL)
        return NULL;
    map->mask = slots - 1;
    map->capacity = capacity;
    for (uint32_t i = 0; i < slots; i++)
        map->slot[i].value = -1;
    return map;
}

void endpoints_free(struct endpoints *map)
{
    free(map);
}

int endpoints_add(struct endpoints *map, const struct addr *addr, uint16_t port, int32_t value)
{
    if (endpoints_find(map, addr, port) >= 0)
        return -EEXIST;
    if (map->count == map->capacity)
        return -ENOSPC;
    uint32_t at = endpoints_hash(addr, port) & map->mask;
    while (map->slot[at].value >= 0)
        at = (at + 1) & map->mask;
    map->slot[at] = (struct endpoint_slot){*addr, port, value};
    map->count++;
    return 0;
}
