/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Limits lent to workers, against the bucket that they stand for: under any schedule no more than
 * it allows, and no less than what is lent (tcp-pitfalls 20). */
#include "dataplane/admit/lease.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/random.h"

enum { MOST = 8, ROUND_MS = 5 };

/* Workers and the bucket that the limit means: what they take is taken from it too. */
struct desk {
    struct lease_pool pool;
    struct lease_share share[MOST];
    struct lease lease[MOST];
    uint32_t workers, per_second, burst;
    uint64_t now_ms, last_ms, taken;
    uint64_t level; /* of the ideal bucket, thousandths */
};

static void open_desk_of(struct desk *d, uint32_t workers, uint32_t per_second, uint32_t burst)
{
    *d = (struct desk){.workers = workers,
                       .per_second = per_second,
                       .burst = burst,
                       .now_ms = 1000,
                       .last_ms = 1000,
                       .level = (uint64_t)burst * 1000};
    lease_pool_init(&d->pool, d->share, MOST, burst, d->now_ms);
    for (uint32_t i = 0; i < workers; i++)
        assert_int_equal(lease_pool_add(&d->pool, &d->lease[i]), 0);
}

static void open_desk(struct desk *d, uint32_t workers, uint32_t per_second)
{
    open_desk_of(d, workers, per_second, per_second);
}

/* All parties meet: what was asked for has been seen, and what is lent has been read. */
static void rounds(struct desk *d, int count)
{
    while (count-- > 0) {
        lease_pool_run(&d->pool, d->per_second, d->burst, d->now_ms);
        for (uint32_t i = 0; i < d->workers; i++)
            lease_begin(&d->lease[i]);
    }
}

static void fill_ideal(struct desk *d)
{
    const uint64_t full = (uint64_t)d->burst * 1000;
    d->level += (d->now_ms - d->last_ms) * d->per_second;
    d->last_ms = d->now_ms;
    if (d->level > full)
        d->level = full;
}

/* The worker asks; what it gets the ideal bucket must have had. */
static bool ask(struct desk *d, uint32_t worker, uint32_t events)
{
    if (!lease_take(&d->lease[worker], events))
        return false;
    fill_ideal(d);
    assert_true(d->level >= (uint64_t)events * 1000);
    d->level -= (uint64_t)events * 1000;
    d->taken += events;
    return true;
}

static uint32_t ask_often(struct desk *d, uint32_t worker, uint32_t times)
{
    uint32_t got = 0;
    while (times-- > 0)
        got += ask(d, worker, 1);
    return got;
}

static void nothing_is_taken_before_it_is_lent(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d, 2, 1000);
    assert_false(ask(&d, 0, 1));
    lease_pool_run(&d.pool, 1000, 1000, d.now_ms);
    assert_false(ask(&d, 0, 1)); /* the worker has not read it */
    lease_begin(&d.lease[0]);
    assert_true(ask(&d, 0, 1));
}

static void pitfall_07_one_worker_has_the_whole_bucket_and_no_more(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d, 1, 50);
    rounds(&d, 1);
    assert_int_equal(ask_often(&d, 0, 100), 50);
    rounds(&d, 1);
    d.now_ms += 19;
    rounds(&d, 1);
    assert_int_equal(ask_often(&d, 0, 100), 0);
    d.now_ms += 1;
    rounds(&d, 1);
    assert_int_equal(ask_often(&d, 0, 100), 1);
    rounds(&d, 1);
    d.now_ms += 3600000; /* a long rest saves no more than a second's worth */
    rounds(&d, 3);
    assert_int_equal(ask_often(&d, 0, 100), 50);
}

static void one_worker_gets_every_event_of_the_limit_over_time(void **state)
{
    (void)state;
    static const uint32_t rates[] = {2, 3, 7, 50, 333, 999, 1000, 1001, 10000};
    for (size_t r = 0; r < sizeof rates / sizeof rates[0]; r++) {
        struct random random = {r};
        struct desk d;
        open_desk(&d, 1, rates[r]);
        rounds(&d, 1);
        assert_int_equal(ask_often(&d, 0, rates[r] + 1), rates[r]);
        rounds(&d, 1);
        const uint64_t begin = d.now_ms;
        uint64_t got = 0;
        while (d.now_ms < begin + 30000) {
            d.now_ms += 1 + random_below(&random, 20);
            rounds(&d, 1);
            got += ask_often(&d, 0, rates[r] / 20 + 2);
        }
        assert_int_equal(got, (d.now_ms - begin) * rates[r] / 1000);
    }
}

static void pitfall_20_one_busy_worker_among_many_gets_the_limit_not_its_share(void **state)
{
    (void)state;
    for (uint32_t workers = 2; workers <= MOST; workers++) {
        struct desk d;
        open_desk(&d, workers, 1000);
        rounds(&d, 1);
        for (int i = 0; i < 2000; i++) { /* ten seconds of too many */
            ask_often(&d, workers - 1, 20);
            d.now_ms += ROUND_MS;
            rounds(&d, 1);
        }
        /* all but the eighth that is spread over the others, and what the last round has lent */
        assert_in_range(d.taken, 11000 - 1000 / 8 - 10, 11000);
    }
}

static void a_quiet_worker_need_not_wait_for_its_first_events(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d, 4, 1000);
    for (int i = 0; i < 1000; i++) {
        ask_often(&d, 0, 50);
        d.now_ms += ROUND_MS;
        rounds(&d, 1);
    }
    assert_true(ask_often(&d, 3, 31) == 31);
}

static void a_limit_smaller_than_the_workers_goes_to_who_asks(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d, 8, 3);
    rounds(&d, 1);
    for (int i = 0; i < 2000; i++) {
        ask(&d, 7, 1);
        d.now_ms += ROUND_MS;
        rounds(&d, 1);
    }
    assert_in_range(d.taken, 32, 33); /* three at once, and three in each of ten seconds */
}

static void a_limit_of_nothing_allows_nothing(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d, 3, 0);
    for (int i = 0; i < 1000; i++) {
        d.now_ms += ROUND_MS;
        rounds(&d, 1);
        assert_int_equal(ask_often(&d, (uint32_t)i % 3, 3), 0);
    }
}

static void several_events_are_taken_at_once_or_not_at_all(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d, 1, 10);
    rounds(&d, 1);
    assert_true(ask(&d, 0, 7));
    assert_false(ask(&d, 0, 4));
    assert_true(ask(&d, 0, 3));
}

static void a_lowered_limit_holds_at_once_and_a_clock_set_back_gives_nothing(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d, 1, 1000);
    rounds(&d, 1);
    d.per_second = d.burst = 2;
    d.level = 2000;
    rounds(&d, 1);
    assert_int_equal(ask_often(&d, 0, 10), 2);
    rounds(&d, 1);
    d.now_ms -= 1000;
    rounds(&d, 3);
    assert_int_equal(ask_often(&d, 0, 10), 0);
    d.now_ms += 1499;
    rounds(&d, 1);
    assert_int_equal(ask_often(&d, 0, 10), 0);
    d.now_ms += 1;
    rounds(&d, 1);
    assert_int_equal(ask_often(&d, 0, 10), 1);
}

/* The worker sleeps with events in hand: they stay counted until it has said that it lets them go,
 * and it may take them until then. */
static void what_is_called_back_returns_only_when_it_is_acknowledged(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d, 2, 1000);
    rounds(&d, 1);
    ask_often(&d, 0, 400);
    rounds(&d, 1); /* worker 0 now holds more */
    const uint32_t before = lease_pool_lent(&d.pool);
    for (int i = 0; i < 5; i++) /* called back, while worker 0 is asleep */
        lease_pool_run(&d.pool, 1000, 1000, d.now_ms);
    assert_int_equal(lease_pool_lent(&d.pool), before);
    const uint32_t got = ask_often(&d, 0, 1000); /* it wakes up, and has not read it yet */
    assert_true(got > 500);
    lease_begin(&d.lease[0]);
    assert_false(ask(&d, 0, 1));
    rounds(&d, 2);
    assert_true(lease_pool_lent(&d.pool) < before);
}

static void the_count_of_events_may_wrap(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d, 2, 1000);
    for (int i = 0; i < 2; i++) {
        d.lease[i] = (struct lease){.lent = UINT32_MAX - 100,
                                    .used = UINT32_MAX - 100,
                                    .wanted = UINT32_MAX - 100,
                                    .allowed = UINT32_MAX - 100};
        d.pool.share[i].allowed = d.pool.share[i].ceiling = UINT32_MAX - 100;
        d.pool.share[i].used = d.pool.share[i].wanted = UINT32_MAX - 100;
    }
    for (int i = 0; i < 400; i++) {
        rounds(&d, 1);
        ask_often(&d, 0, 20);
        d.now_ms += ROUND_MS;
    }
    assert_in_range(d.taken, 3000 - 200, 3000);
}

static void no_more_workers_than_there_is_room_for(void **state)
{
    (void)state;
    static struct lease_pool pool;
    static struct lease leases[LEASE_WORKERS + 1];
    static struct lease_share shares[LEASE_WORKERS];
    lease_pool_init(&pool, shares, LEASE_WORKERS, 1, 0);
    for (int i = 0; i < LEASE_WORKERS; i++)
        assert_int_equal(lease_pool_add(&pool, &leases[i]), 0);
    assert_int_equal(lease_pool_add(&pool, &leases[LEASE_WORKERS]), -ENOSPC);
}

/* Any schedule: each worker reads what is lent when it pleases, sleeps with it for up to a second,
 * asks much or little; the control thread comes when it pleases. `ask` checks the ideal bucket. */
static void pitfall_20_no_schedule_takes_more_than_the_bucket_allows(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 3000; seed++) {
        struct random random = {seed};
        struct desk d;
        uint64_t awake_ms[MOST] = {0};
        uint32_t eagerness[MOST];
        const uint32_t rate = random_below(&random, 3000);
        open_desk_of(&d, 1 + random_below(&random, MOST), rate,
                     seed % 2 ? rate : random_below(&random, 4000));
        for (int i = 0; i < MOST; i++)
            eagerness[i] = random_below(&random, 3) ? random_below(&random, 4) : 60;
        for (int i = 0; i < 1500; i++) {
            const uint32_t worker = random_below(&random, d.workers);
            d.now_ms += random_below(&random, 8) == 0;
            switch (random_below(&random, 8)) {
            case 0: lease_pool_run(&d.pool, d.per_second, d.burst, d.now_ms); break;
            case 1: d.now_ms += random_below(&random, 100) == 0 ? 300 : 0; break;
            case 2: awake_ms[worker] = d.now_ms + random_below(&random, 1000); break;
            case 3:
            case 4:
                if (d.now_ms >= awake_ms[worker])
                    lease_begin(&d.lease[worker]);
                break;
            default: ask_often(&d, worker, random_below(&random, 1 + eagerness[worker]));
            }
        }
    }
}

/* Whoever is busy gets what the bucket has, wherever that is, and however late the control thread:
 * what is missing is what is lent, and what two of its rounds would have brought. */
static void pitfall_20_at_most_what_is_lent_is_missing_however_skewed_the_load(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct random random = {seed};
        struct desk d;
        uint32_t busy = 0, latest = 0;
        open_desk(&d, 1 + random_below(&random, MOST), 100 + random_below(&random, 5000));
        rounds(&d, 1);
        const uint64_t begin = d.now_ms;
        for (int i = 0; i < 1000; i++) {
            if (random_below(&random, 100) == 0)
                busy = random_below(&random, d.workers);
            ask_often(&d, busy, d.per_second / 10);
            ask_often(&d, random_below(&random, d.workers), random_below(&random, 4));
            const uint32_t late = random_below(&random, 50) ? ROUND_MS : random_below(&random, 100);
            latest = late > latest ? late : latest;
            d.now_ms += late;
            rounds(&d, 1);
        }
        const uint64_t ideal = d.per_second + (d.now_ms - begin) * d.per_second / 1000;
        const uint64_t missing =
            lease_pool_lent(&d.pool) + 1 + (uint64_t)d.per_second * 2 * (latest + ROUND_MS) / 1000;
        assert_in_range(d.taken, ideal - missing, ideal);
    }
}

/* A bucket apart from the rate: so many at once, and then the rate of them. */
static void a_small_bucket_allows_few_at_once_and_the_rate_over_time(void **state)
{
    (void)state;
    for (uint32_t workers = 1; workers <= MOST; workers++) {
        struct desk d;
        open_desk_of(&d, workers, 1000, 100);
        rounds(&d, 1);
        for (int i = 0; i < 2000; i++) {
            ask_often(&d, workers - 1, 20);
            d.now_ms += ROUND_MS;
            rounds(&d, 1);
        }
        /* all but what is spread over the others, and what three rounds bring */
        assert_in_range(d.taken, 10100 - 100 / 8 - 15, 10100);
    }
}

static void a_large_bucket_is_filled_by_a_long_rest(void **state)
{
    (void)state;
    struct desk d;
    open_desk_of(&d, 2, 10, 500);
    rounds(&d, 1);
    for (int i = 0; i < 40; i++) {
        ask_often(&d, 0, 600);
        rounds(&d, 1);
    }
    assert_in_range(d.taken, 500 - 500 / 8, 500);
    d.taken = 0;
    d.now_ms += 60000;
    for (int i = 0; i < 40; i++) {
        ask_often(&d, 0, 600);
        rounds(&d, 1);
    }
    assert_in_range(d.taken, 500 - 500 / 8, 500);
}

/* ---- with threads ---- */

struct crowd {
    struct lease lease[4];
    bool stop;
};

static void *worker(void *argument)
{
    struct crowd *crowd = ((void **)argument)[0];
    struct lease *lease = ((void **)argument)[1];
    while (!__atomic_load_n(&crowd->stop, __ATOMIC_ACQUIRE)) {
        lease_begin(lease);
        for (int i = 0; i < 64; i++)
            lease_take(lease, 1);
    }
    return NULL;
}

static uint64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void pitfall_20_four_threads_take_no_more_than_one_limit(void **state)
{
    (void)state;
    enum { PER_SECOND = 100000, MS = 300 };
    static struct crowd crowd;
    static struct lease_pool pool;
    static struct lease_share shares[4];
    pthread_t threads[4];
    void *arguments[4][2];
    const uint64_t begin = clock_ms();
    lease_pool_init(&pool, shares, 4, PER_SECOND, begin);
    for (int i = 0; i < 4; i++) {
        arguments[i][0] = &crowd;
        arguments[i][1] = &crowd.lease[i];
        assert_int_equal(lease_pool_add(&pool, &crowd.lease[i]), 0);
        assert_int_equal(pthread_create(&threads[i], NULL, worker, arguments[i]), 0);
    }
    uint64_t now, taken = 0;
    while ((now = clock_ms()) < begin + MS || taken < PER_SECOND / 2) {
        lease_pool_run(&pool, PER_SECOND, PER_SECOND, now);
        taken = 0;
        for (int i = 0; i < 4; i++)
            taken += __atomic_load_n(&crowd.lease[i].used, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&crowd.stop, true, __ATOMIC_RELEASE);
    taken = 0;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        taken += crowd.lease[i].used;
    }
    const uint64_t ideal = PER_SECOND + (clock_ms() - begin) * PER_SECOND / 1000;
    assert_true(taken <= ideal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_taken_before_it_is_lent),
        cmocka_unit_test(pitfall_07_one_worker_has_the_whole_bucket_and_no_more),
        cmocka_unit_test(one_worker_gets_every_event_of_the_limit_over_time),
        cmocka_unit_test(pitfall_20_one_busy_worker_among_many_gets_the_limit_not_its_share),
        cmocka_unit_test(a_quiet_worker_need_not_wait_for_its_first_events),
        cmocka_unit_test(a_limit_smaller_than_the_workers_goes_to_who_asks),
        cmocka_unit_test(a_limit_of_nothing_allows_nothing),
        cmocka_unit_test(several_events_are_taken_at_once_or_not_at_all),
        cmocka_unit_test(a_lowered_limit_holds_at_once_and_a_clock_set_back_gives_nothing),
        cmocka_unit_test(what_is_called_back_returns_only_when_it_is_acknowledged),
        cmocka_unit_test(the_count_of_events_may_wrap),
        cmocka_unit_test(no_more_workers_than_there_is_room_for),
        cmocka_unit_test(pitfall_20_no_schedule_takes_more_than_the_bucket_allows),
        cmocka_unit_test(pitfall_20_at_most_what_is_lent_is_missing_however_skewed_the_load),
        cmocka_unit_test(a_small_bucket_allows_few_at_once_and_the_rate_over_time),
        cmocka_unit_test(a_large_bucket_is_filled_by_a_long_rest),
        cmocka_unit_test(pitfall_20_four_threads_take_no_more_than_one_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
