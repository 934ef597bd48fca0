/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The control thread's half. All that is free is lent: a quarter to all alike, so that nobody's
 * first clients need a round, the rest in proportion to what each worker was asked for lately. Only
 * what lies with a worker without clients can be missing elsewhere, and near the limit that is
 * little. */
#include "dataplane/admit/quota.h"

#include <errno.h>

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

void quota_pool_init(struct quota_pool *pool)
{
    *pool = (struct quota_pool){0};
}

int quota_pool_add(struct quota_pool *pool, struct quota *quota)
{
    if (pool->workers == LEASE_WORKERS)
        return -ENOSPC;
    pool->share[pool->workers++] = (struct quota_share){.quota = quota};
    return 0;
}

uint32_t quota_pool_unused(const struct quota_pool *pool)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < pool->workers; i++)
        sum += pool->share[i].ceiling - pool->share[i].open;
    return sum;
}

uint32_t quota_pool_open(const struct quota_pool *pool)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < pool->workers; i++)
        sum += pool->share[i].open;
    return sum;
}

/* What the worker has, and may still get: once it has acknowledged its number it takes nothing
 * above, and what it has open above can only become less. `open` is read behind `obeyed`. */
static void observe(struct quota_share *share)
{
    uint32_t obeyed = __atomic_load_n(&share->quota->obeyed, __ATOMIC_ACQUIRE);
    uint32_t wanted = __atomic_load_n(&share->quota->wanted, __ATOMIC_RELAXED);
    share->open = __atomic_load_n(&share->quota->open, __ATOMIC_RELAXED);
    share->demand = share->demand / 2 + (wanted - share->wanted);
    share->wanted = wanted;
    if (obeyed == share->epoch)
        share->ceiling = larger(share->allowed, share->open);
    else
        share->ceiling = larger(share->ceiling, share->open);
}

/* Raised numbers need no epoch: until the worker reads it, it takes less. */
static void lend(struct quota_share *share, uint32_t allowed, bool lower)
{
    share->epoch += lower;
    share->allowed = allowed;
    share->ceiling = larger(share->ceiling, allowed);
    __atomic_store_n(&share->quota->lent, (uint64_t)share->epoch << 32 | allowed, __ATOMIC_RELAXED);
}

/* Whether it obeys the last number that it was sent, as far as is known. */
static bool settled(const struct quota_share *share)
{
    return share->ceiling == larger(share->allowed, share->open);
}

/* What the worker is to have: what is open, and its part of what is free. */
static uint32_t target(const struct quota_pool *pool, const struct quota_share *share,
                       uint64_t free, uint64_t demand)
{
    const uint64_t alike = demand == 0 ? free : free / 4;
    const uint64_t rest = demand == 0 ? 0 : (free - alike) * share->demand / demand;
    return share->open + (uint32_t)(alike / pool->workers + rest);
}

/* Whether it is worth a round of waiting: not for what the next round changes again. */
static bool too_much(const struct quota_share *share, uint32_t wanted)
{
    const uint32_t spare = wanted - share->open;
    return share->allowed > wanted + spare / 8;
}

/* What rounding has left goes to those that ask. */
static void lend_rest(struct quota_pool *pool, uint64_t unlent)
{
    for (uint32_t i = 0; i < pool->workers && unlent > 0; i++) {
        struct quota_share *share = &pool->share[i];
        if (share->demand == 0 || !settled(share) || share->ceiling != share->allowed)
            continue;
        lend(share, share->allowed + 1, false);
        unlent--;
    }
}

static void divide(struct quota_pool *pool, uint32_t limit)
{
    uint64_t open = 0, lent = 0, demand = 0;
    for (uint32_t i = 0; i < pool->workers; i++) {
        open += pool->share[i].open;
        lent += pool->share[i].ceiling;
        demand += pool->share[i].demand;
    }
    const uint64_t free = limit > open ? limit - open : 0;
    uint64_t unlent = limit > lent ? limit - lent : 0;
    for (uint32_t i = 0; i < pool->workers; i++) {
        struct quota_share *share = &pool->share[i];
        const uint32_t wanted = target(pool, share, free, demand);
        const uint32_t most = share->ceiling + (uint32_t)unlent;
        const uint32_t number = wanted < most ? wanted : most;
        if (!settled(share))
            continue;
        if (number > share->allowed) {
            unlent -= number > share->ceiling ? number - share->ceiling : 0;
            lend(share, number, false);
        } else if (wanted < share->allowed && (lent > limit || too_much(share, wanted))) {
            lend(share, wanted, true);
        }
    }
    lend_rest(pool, unlent);
}

void quota_pool_run(struct quota_pool *pool, uint32_t limit)
{
    const bool none = limit == 0 || limit >= QUOTA_NONE;
    for (uint32_t i = 0; i < pool->workers; i++) {
        observe(&pool->share[i]);
        if (none && pool->share[i].allowed != QUOTA_NONE)
            lend(&pool->share[i], QUOTA_NONE, false);
    }
    if (!none)
        divide(pool, limit);
}
