/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A stack of free slot numbers beside the slots; slots that were never used cost no memory. */
#include "dataplane/tcp/held.h"

#include <stdlib.h>
#include <string.h>

struct held {
    struct held_entry *slots;
    uint32_t *free; /* stack of slots given back */
    uint32_t free_count, fresh, capacity, used;
};

struct held *held_new(uint32_t capacity)
{
    if (capacity == 0 || capacity > UINT32_C(1) << 24)
        return NULL;
    struct held *held = calloc(1, sizeof *held);
    if (held == NULL)
        return NULL;
    held->slots = malloc((size_t)capacity * sizeof *held->slots);
    held->free = malloc((size_t)capacity * sizeof *held->free);
    held->capacity = capacity;
    if (held->slots == NULL || held->free == NULL) {
        held_free(held);
        return NULL;
    }
    return held;
}

void held_free(struct held *held)
{
    if (held == NULL)
        return;
    free(held->slots);
    free(held->free);
    free(held);
}

uint32_t held_put(struct held *held, const void *bytes, uint32_t length)
{
    uint32_t slot;
    if (held->free_count)
        slot = held->free[--held->free_count];
    else if (held->fresh < held->capacity)
        slot = held->fresh++;
    else
        return HELD_NONE;
    held->slots[slot].length = (uint16_t)length;
    memcpy(held->slots[slot].bytes, bytes, length);
    held->used++;
    return slot;
}

struct held_entry *held_at(const struct held *held, uint32_t slot)
{
    return &held->slots[slot];
}

void held_drop(struct held *held, uint32_t slot)
{
    if (slot == HELD_NONE)
        return;
    held->free[held->free_count++] = slot;
    held->used--;
}

uint32_t held_count(const struct held *held)
{
    return __atomic_load_n(&held->used, __ATOMIC_RELAXED);
}
