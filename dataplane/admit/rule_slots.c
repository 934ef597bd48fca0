/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The lowest free slot is taken, so that workers have few to visit. */
#include "dataplane/admit/rule_slots.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CACHE_LINE = 64 };

_Static_assert(sizeof(struct rule_account) == CACHE_LINE, "two workers share none");

uint32_t rule_slots_for(uint32_t rules)
{
    return 2 * rules;
}

int rule_accounts_init(struct rule_accounts *accounts, uint32_t slots)
{
    *accounts = (struct rule_accounts){.count = slots, .workers = 1};
    if (slots == 0)
        return 0;
    accounts->account = aligned_alloc(CACHE_LINE, slots * sizeof *accounts->account);
    if (accounts->account == NULL)
        return -ENOMEM;
    memset(accounts->account, 0, slots * sizeof *accounts->account);
    return 0;
}

void rule_accounts_end(struct rule_accounts *accounts)
{
    free(accounts->account);
}

int rule_slots_init(struct rule_slots *slots, uint32_t rules, uint32_t workers)
{
    uint32_t count = rule_slots_for(rules);
    *slots = (struct rule_slots){.count = count};
    slots->slot = calloc(count, sizeof *slots->slot);
    slots->shares = calloc((size_t)count * workers, sizeof *slots->shares);
    if (count != 0 && (slots->slot == NULL || slots->shares == NULL)) {
        rule_slots_end(slots);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++)
        lease_pool_init(&slots->slot[i].pool, slots->shares + (size_t)i * workers, workers, 0, 0);
    return 0;
}

void rule_slots_end(struct rule_slots *slots)
{
    free(slots->slot);
    free(slots->shares);
    *slots = (struct rule_slots){0};
}

int rule_slots_add(struct rule_slots *slots, struct rule_accounts *accounts)
{
    if (accounts->count < slots->count || slots->workers == LEASE_WORKERS)
        return -ENOSPC;
    for (uint32_t i = 0; i < slots->count; i++)
        if (lease_pool_add(&slots->slot[i].pool, &accounts->account[i].lease) != 0)
            return -ENOSPC;
    slots->worker[slots->workers++] = accounts;
    for (uint32_t i = 0; i < slots->workers; i++)
        slots->worker[i]->workers = slots->workers;
    return 0;
}

static struct rule_counts sum(const struct rule_slots *slots, uint32_t slot)
{
    struct rule_counts sum = {0};
    for (uint32_t i = 0; i < slots->workers; i++) {
        const struct rule_counts *one = &slots->worker[i]->account[slot].counts;
        sum.passed += __atomic_load_n(&one->passed, __ATOMIC_RELAXED);
        sum.over += __atomic_load_n(&one->over, __ATOMIC_RELAXED);
        sum.refused += __atomic_load_n(&one->refused, __ATOMIC_RELAXED);
        sum.observed += __atomic_load_n(&one->observed, __ATOMIC_RELAXED);
    }
    return sum;
}

struct rule_counts rule_slots_count(const struct rule_slots *slots, uint32_t slot)
{
    const struct rule_counts *before = &slots->slot[slot].before;
    struct rule_counts all = sum(slots, slot);
    return (struct rule_counts){all.passed - before->passed, all.over - before->over,
                                all.refused - before->refused, all.observed - before->observed};
}

static void say_used(struct rule_slots *slots, uint32_t slot)
{
    if (slot < slots->used)
        return;
    slots->used = slot + 1;
    for (uint32_t i = 0; i < slots->workers; i++)
        __atomic_store_n(&slots->worker[i]->used, slots->used, __ATOMIC_RELAXED);
}

int rule_slots_find(struct rule_slots *slots, const char *name)
{
    uint32_t found = slots->count;
    for (uint32_t i = 0; i < slots->used; i++)
        if (slots->slot[i].use != SLOT_FREE && strcmp(slots->slot[i].name, name) == 0)
            return (int)i;
    for (uint32_t i = 0; i < slots->count && found == slots->count; i++)
        if (slots->slot[i].use == SLOT_FREE)
            found = i;
    if (found == slots->count || strlen(name) >= sizeof slots->slot[0].name)
        return -ENOSPC;
    struct rule_slot *slot = &slots->slot[found];
    strcpy(slot->name, name); /* it fits: see above */
    slot->use = SLOT_FOUND;
    slot->before = sum(slots, found);
    say_used(slots, found);
    return (int)found;
}

/* Whether no worker has, or may yet take, an event of it. */
static bool settled(const struct lease_pool *pool)
{
    return lease_pool_lent(pool) == 0;
}

/* A rate that begins has its whole bucket to begin with. One that ends is lent on. */
static void set_rate(struct rule_slot *slot, const struct rule *rule, uint64_t now_ms)
{
    slot->limited = rule->per_second != 0;
    if (!slot->limited)
        return;
    if (slot->per_second == 0 && settled(&slot->pool)) {
        slot->pool.credit = (int64_t)rule->burst * 1000;
        slot->pool.refilled_ms = now_ms;
    }
    slot->per_second = rule->per_second;
    slot->burst = rule->burst;
}

/* Nobody has it from now on. What was only found has never been anybody's. */
static void vacate(struct rule_slot *slot)
{
    slot->limited = false;
    if (slot->use == SLOT_HELD)
        slot->use = SLOT_LEAVING;
    else if (slot->use == SLOT_FOUND)
        slot->use = SLOT_FREE;
}

void rule_slots_hold(struct rule_slots *slots, const struct rules *rules)
{
    for (uint32_t i = 0; i < slots->used; i++)
        vacate(&slots->slot[i]);
    for (size_t i = 0; rules != NULL && i < rules_count(rules); i++) {
        const struct rule *rule = rules_at(rules, i);
        slots->slot[rule->slot].use = SLOT_HELD;
        set_rate(&slots->slot[rule->slot], rule, slots->now_ms);
    }
    for (uint32_t i = 0; i < slots->used; i++)
        slots->waiting |= slots->slot[i].use == SLOT_LEAVING ||
                          (slots->slot[i].per_second != 0 && !slots->slot[i].limited);
}

void rule_slots_let_go(struct rule_slots *slots)
{
    for (uint32_t i = 0; i < slots->used; i++) {
        struct rule_slot *slot = &slots->slot[i];
        if (!slot->limited)
            slot->per_second = slot->burst = 0;
        if (slot->use == SLOT_LEAVING)
            slot->use = SLOT_LEFT;
    }
    slots->waiting = false;
}

void rule_slots_run(struct rule_slots *slots, uint64_t now_ms)
{
    slots->now_ms = now_ms;
    for (uint32_t i = 0; i < slots->used; i++) {
        struct rule_slot *slot = &slots->slot[i];
        bool idle = slot->per_second == 0 && settled(&slot->pool);
        if (!idle)
            lease_pool_run(&slot->pool, slot->per_second, slot->burst, now_ms);
        else if (slot->use == SLOT_LEFT)
            slot->use = SLOT_FREE;
    }
}
