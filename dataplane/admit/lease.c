/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The control thread's half. A worker is to hold twice what it asked for in a round, so that a
 * growing demand is met a round later; and an eighth of the bucket is always spread over all of
 * them, so that the first events of a quiet worker need no round at all. */
#include "dataplane/admit/lease.h"

#include <errno.h>

enum { THOUSANDTHS = 1000, SPREAD = 8, LONG_MS = 1000000 /* it fills any bucket */ };

/* Events that the worker may still take, as far as is known: never fewer than it really may. */
static uint32_t unused(uint32_t ceiling, uint32_t used)
{
    return (int32_t)(ceiling - used) > 0 ? ceiling - used : 0;
}

static uint32_t held(const struct lease_share *share)
{
    return unused(share->ceiling, share->used);
}

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

void lease_pool_init(struct lease_pool *pool, struct lease_share *share, uint32_t room,
                     uint32_t burst, uint64_t now_ms)
{
    *pool = (struct lease_pool){.credit = (int64_t)burst * THOUSANDTHS,
                                .refilled_ms = now_ms,
                                .room = room,
                                .share = share};
}

int lease_pool_add(struct lease_pool *pool, struct lease *lease)
{
    if (pool->workers == pool->room)
        return -ENOSPC;
    pool->share[pool->workers++] = (struct lease_share){.lease = lease};
    return 0;
}

uint32_t lease_pool_lent(const struct lease_pool *pool)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < pool->workers; i++)
        sum += held(&pool->share[i]);
    return sum;
}

/* What the worker has done since the last round; what it no longer holds returns to the bucket.
 * Returns how many events it took. */
static uint32_t observe(struct lease_pool *pool, struct lease_share *share)
{
    uint32_t old = share->used;
    uint32_t obeyed = __atomic_load_n(&share->lease->obeyed, __ATOMIC_ACQUIRE);
    uint32_t wanted = __atomic_load_n(&share->lease->wanted, __ATOMIC_RELAXED);
    share->used = __atomic_load_n(&share->lease->used, __ATOMIC_RELAXED);
    share->demand_old = share->demand;
    share->demand = wanted - share->wanted;
    share->wanted = wanted;
    if (obeyed == share->epoch) {
        uint32_t before = held(share);
        share->ceiling = share->allowed;
        pool->credit += (int64_t)(before - held(share)) * THOUSANDTHS;
    }
    return share->used - old;
}

/* What is lent counts as if it lay in the bucket: otherwise a full bucket beside full leases would
 * allow more than a bucketful at once. So does what was taken since the last round: it may
 * have been taken just now, from a bucket that had been full all the time. */
static void refill(struct lease_pool *pool, uint32_t per_second, uint32_t burst, uint64_t taken,
                   uint64_t now_ms)
{
    int64_t most = ((int64_t)burst - (int64_t)(lease_pool_lent(pool) + taken)) * THOUSANDTHS;
    if (now_ms > pool->refilled_ms) {
        uint64_t passed = now_ms - pool->refilled_ms;
        pool->credit += (int64_t)((passed < LONG_MS ? passed : LONG_MS) * per_second);
        pool->refilled_ms = now_ms;
    }
    if (pool->credit > most)
        pool->credit = most;
}

/* Whole events in the bucket. */
static uint64_t whole_events(const struct lease_pool *pool)
{
    return pool->credit > 0 ? (uint64_t)pool->credit / THOUSANDTHS : 0;
}

static void publish(const struct lease_share *share)
{
    __atomic_store_n(&share->lease->lent, (uint64_t)share->epoch << 32 | share->allowed,
                     __ATOMIC_RELAXED);
}

static void lend(struct lease_pool *pool, struct lease_share *share, uint32_t events)
{
    if (events == 0)
        return;
    if ((int32_t)(share->allowed - share->used) < 0) /* it took on before it saw the lower number */
        share->allowed = share->used;
    share->allowed += events;
    share->ceiling = share->allowed;
    pool->credit -= (int64_t)events * THOUSANDTHS;
    publish(share);
}

/* Leaves the worker `events`; the bucket gets the others once it has acknowledged. */
static void call_back(struct lease_share *share, uint32_t events)
{
    share->allowed = share->used + events;
    share->epoch++;
    publish(share);
}

/* What the worker is to hold. One alone holds the whole bucket. */
static uint32_t target(const struct lease_pool *pool, const struct lease_share *share,
                       uint32_t burst)
{
    uint64_t spread = pool->workers == 1 ? burst : burst / (SPREAD * pool->workers);
    uint64_t sum = spread + 2 * (uint64_t)larger(share->demand, share->demand_old);
    return sum < burst ? (uint32_t)sum : burst;
}

/* Nothing is lent to a worker that has not acknowledged yet: it is asleep, or late. */
static uint32_t need(const struct lease_pool *pool, const struct lease_share *share, uint32_t burst)
{
    uint32_t wish = target(pool, share, burst), has = held(share);
    return share->ceiling == share->allowed && wish > has ? wish - has : 0;
}

/* Lends what the bucket has, in proportion when it is not enough; what is left over by rounding,
 * and of a bucket too small to be spread, goes out one by one, to another first in each round. */
static void lend_all(struct lease_pool *pool, uint32_t burst, uint64_t wish)
{
    uint64_t whole = whole_events(pool);
    for (uint32_t i = 0; i < pool->workers; i++) {
        uint64_t part = need(pool, &pool->share[i], burst);
        lend(pool, &pool->share[i], (uint32_t)(wish <= whole ? part : part * whole / wish));
    }
    for (uint32_t i = 0; i < pool->workers && pool->credit >= THOUSANDTHS; i++) {
        struct lease_share *share = &pool->share[(pool->turn + i) % pool->workers];
        if (need(pool, share, burst) > 0)
            lend(pool, share, 1);
    }
    for (uint32_t i = 0; i < pool->workers && pool->credit >= THOUSANDTHS; i++) {
        struct lease_share *share = &pool->share[(pool->turn + i) % pool->workers];
        if (share->ceiling == share->allowed && held(share) == 0)
            lend(pool, share, 1);
    }
    pool->turn++;
}

void lease_pool_run(struct lease_pool *pool, uint32_t per_second, uint32_t burst, uint64_t now_ms)
{
    uint64_t wish = 0, taken = 0;
    for (uint32_t i = 0; i < pool->workers; i++)
        taken += observe(pool, &pool->share[i]);
    refill(pool, per_second, burst, taken, now_ms);
    for (uint32_t i = 0; i < pool->workers; i++)
        wish += need(pool, &pool->share[i], burst);
    bool enough = wish <= whole_events(pool) && lease_pool_lent(pool) <= burst;
    lend_all(pool, burst, wish);
    for (uint32_t i = 0; i < pool->workers; i++) {
        struct lease_share *share = &pool->share[i];
        uint32_t wanted = target(pool, share, burst), has = held(share);
        if (share->ceiling == share->allowed && has > wanted && (!enough || has > 2 * wanted + 1))
            call_back(share, wanted);
    }
}

void lender_init(struct lender *lender, const uint32_t per_second[LEASES], uint64_t now_ms)
{
    for (int i = 0; i < LEASES; i++)
        lease_pool_init(&lender->pool[i], lender->share[i], LEASE_WORKERS, per_second[i], now_ms);
}

int lender_add(struct lender *lender, struct lease lease[LEASES])
{
    int error = 0;
    for (int i = 0; i < LEASES && error == 0; i++)
        error = lease_pool_add(&lender->pool[i], &lease[i]);
    return error;
}

void lender_run(struct lender *lender, const uint32_t per_second[LEASES], uint64_t now_ms)
{
    for (int i = 0; i < LEASES; i++)
        lease_pool_run(&lender->pool[i], per_second[i], per_second[i], now_ms);
}
