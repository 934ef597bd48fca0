/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Direct-mapped: the newest tuple takes the slot. Under a flood nobody is answered then, which is
 * what the budget would have come to. */
#include "dataplane/tcp/miss.h"

enum {
    THOUSANDTHS = 1000
}; /* of one event: events per second and milliseconds multiply without a rest */

bool miss_again(struct miss_table *table, uint64_t tuple, uint64_t now_ms)
{
    const uint32_t now = (uint32_t)now_ms;
    uint32_t tag = (uint32_t)(tuple >> 32);
    if (!tag)
        tag = 1; /* 0 is an empty slot */

    uint32_t *slot_tag = &table->slots[tuple % MISS_SLOTS].tag;
    uint32_t *slot_at = &table->slots[tuple % MISS_SLOTS].at;
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

bool budget_take(struct budget *budget, uint64_t now_ms)
{
    const uint64_t full = (uint64_t)budget->per_second * THOUSANDTHS;

    if (now_ms > budget->refilled_ms) {
        const uint64_t passed = now_ms - budget->refilled_ms;
        budget->credit += (passed < 1000 ? passed : 1000) * budget->per_second;
        budget->refilled_ms = now_ms;
    }
    if (budget->credit > full) /* also when the limit was lowered */
        budget->credit = full;
    if (budget->credit < THOUSANDTHS)
        return false;
    budget->credit -= THOUSANDTHS;
    return true;
}
