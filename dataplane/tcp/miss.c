/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Direct-mapped: the newest segment takes the slot. Under a flood nobody is answered then, which is
 * what the budget would have come to. */
#include "dataplane/tcp/miss.h"

bool miss_again(struct miss_table *table, uint64_t segment, uint64_t now_ms)
{
    const uint32_t now = (uint32_t)now_ms;
    uint32_t tag = (uint32_t)(segment >> 32);
    if (!tag)
        tag = 1; /* 0 is an empty slot */

    uint32_t *slot_tag = &table->slots[segment % MISS_SLOTS].tag;
    uint32_t *slot_at = &table->slots[segment % MISS_SLOTS].at;
    const uint32_t age = now - *slot_at; /* a clock that went back looks long forgotten */

    if (*slot_tag == tag && age < MISS_AGAIN_MS)
        return false; /* still the first time: the oldest counts */
    if (*slot_tag == tag && age <= MISS_FORGET_MS) {
        *slot_tag = 0;
        return true;
    }
    *slot_tag = tag;
    *slot_at = now;
    return false;
}
