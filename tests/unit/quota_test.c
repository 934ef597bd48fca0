/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Counts lent to workers: under any schedule never more than the limit is open, and whoever is busy
 * gets what the others do not use (tcp-pitfalls 20). */
#include "dataplane/admit/quota.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/random.h"

enum { MOST = 8 };

struct desk {
    struct quota_pool pool;
    struct quota quota[MOST];
    uint32_t workers, limit;
};

static void open_desk(struct desk *d, uint32_t workers, uint32_t limit)
{
    *d = (struct desk){.workers = workers, .limit = limit};
    quota_pool_init(&d->pool);
    for (uint32_t i = 0; i < workers; i++)
        assert_int_equal(quota_pool_add(&d->pool, &d->quota[i]), 0);
}

static void rounds(struct desk *d, int count)
{
    while (count-- > 0) {
        quota_pool_run(&d->pool, d->limit);
        for (uint32_t i = 0; i < d->workers; i++)
            quota_begin(&d->quota[i]);
    }
}

static uint32_t open_of_all(const struct desk *d)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < d->workers; i++)
        sum += d->quota[i].open;
    return sum;
}

static uint32_t take(struct desk *d, uint32_t worker, uint32_t times)
{
    uint32_t got = 0;
    while (times-- > 0)
        if (quota_ask(&d->quota[worker])) {
            quota_take(&d->quota[worker]);
            got++;
        }
    return got;
}

static void give(struct desk *d, uint32_t worker, uint32_t count)
{
    while (count-- > 0)
        quota_give(&d->quota[worker]);
}

static void nothing_is_taken_before_it_is_lent(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d, 2, 100);
    assert_int_equal(take(&d, 0, 1), 0);
    quota_pool_run(&d.pool, d.limit);
    assert_int_equal(take(&d, 0, 1), 0); /* the worker has not read it */
    quota_begin(&d.quota[0]);
    assert_int_equal(take(&d, 0, 1), 1);
}

static void one_worker_has_the_whole_limit_and_no_more(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d, 1, 100);
    rounds(&d, 1);
    assert_int_equal(take(&d, 0, 1000), 100);
    rounds(&d, 10);
    assert_int_equal(take(&d, 0, 1000), 0);
    give(&d, 0, 30);
    assert_int_equal(take(&d, 0, 1000), 30); /* given back is taken again, without a round */
}

static void one_busy_worker_among_many_gets_all_of_the_limit(void **state)
{
    (void)state;
    static const uint32_t limits[] = {1, 2, 7, 63, 1000, 100000};
    for (uint32_t workers = 1; workers <= MOST; workers++)
        for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
            struct desk d;
            open_desk(&d, workers, limits[i]);
            rounds(&d, 1);
            for (int k = 0; k < 100; k++) {
                take(&d, workers - 1, limits[i] / 10 + 1);
                rounds(&d, 1);
            }
            assert_int_equal(d.quota[workers - 1].open, limits[i]);
        }
}

static void a_limit_smaller_than_those_who_ask_goes_to_some_of_them(void **state)
{
    (void)state;
    for (uint32_t limit = 1; limit < MOST; limit++) {
        struct desk d;
        open_desk(&d, MOST, limit);
        for (int k = 0; k < 10; k++) {
            for (uint32_t i = 0; i < MOST; i++)
                take(&d, i, 1);
            rounds(&d, 1);
        }
        assert_int_equal(open_of_all(&d), limit);
    }
}

static void the_limit_moves_to_where_the_clients_are(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d, 4, 1000);
    rounds(&d, 1);
    for (uint32_t turn = 0; turn < 40; turn++) {
        const uint32_t worker = turn % 4, before = d.quota[(turn + 3) % 4].open;
        give(&d, (turn + 3) % 4, before);
        for (int k = 0; k < 40; k++) {
            take(&d, worker, 100);
            rounds(&d, 1);
        }
        assert_int_equal(d.quota[worker].open, 1000);
    }
}

static void far_from_the_limit_a_quiet_workers_first_clients_need_no_round(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d, 4, 10000);
    for (int k = 0; k < 200; k++) {
        take(&d, 0, 20);
        rounds(&d, 1);
        give(&d, 0, d.quota[0].open);
    }
    assert_int_equal(take(&d, 3, 500), 500);
}

static void without_a_limit_every_worker_may_take_any_number(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d, 3, 0);
    rounds(&d, 1);
    assert_int_equal(take(&d, 0, 1000000), 1000000);
    assert_int_equal(take(&d, 2, 1000000), 1000000);
    d.limit = 500; /* one that comes is reached as connections end */
    rounds(&d, 5);
    assert_int_equal(take(&d, 0, 10) + take(&d, 1, 10) + take(&d, 2, 10), 0);
    give(&d, 0, 1000000);
    give(&d, 2, 999900);
    rounds(&d, 5);
    for (int k = 0; k < 50; k++) {
        take(&d, 1, 100);
        rounds(&d, 1);
    }
    assert_int_equal(open_of_all(&d), 500);
    d.limit = 0;
    rounds(&d, 1);
    assert_int_equal(take(&d, 0, 100000), 100000);
}

static void what_passes_a_limit_that_is_only_observed_is_counted_all_the_same(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d, 2, 10);
    rounds(&d, 1);
    for (int i = 0; i < 30; i++) {
        quota_ask(&d.quota[0]);
        quota_take(&d.quota[0]);
    }
    rounds(&d, 3);
    assert_int_equal(quota_pool_open(&d.pool), 30);
    assert_int_equal(take(&d, 0, 5) + take(&d, 1, 5), 0);
    give(&d, 0, 30);
    rounds(&d, 20);
    assert_int_equal(take(&d, 0, 50) + take(&d, 1, 50), 10);
}

/* A worker sleeps with what it was lent: nobody else gets it before it has said that it lets go. */
static void what_is_called_back_is_lent_again_only_when_it_is_acknowledged(void **state)
{
    (void)state;
    struct desk d;
    open_desk(&d, 2, 1000);
    rounds(&d, 1);
    for (int k = 0; k < 50; k++) { /* worker 0 sleeps; 1 asks for everything */
        take(&d, 1, 1000);
        quota_pool_run(&d.pool, d.limit);
        quota_begin(&d.quota[1]);
    }
    assert_true(take(&d, 0, 1000) >= 100); /* it wakes up, and has not read it yet */
    assert_true(open_of_all(&d) <= 1000);
    for (int k = 0; k < 50; k++) {
        take(&d, 1, 1000);
        rounds(&d, 1);
    }
    assert_int_equal(open_of_all(&d), 1000);
}

static void no_more_workers_than_there_is_room_for(void **state)
{
    (void)state;
    static struct quota_pool pool;
    static struct quota quotas[LEASE_WORKERS + 1];
    quota_pool_init(&pool);
    for (int i = 0; i < LEASE_WORKERS; i++)
        assert_int_equal(quota_pool_add(&pool, &quotas[i]), 0);
    assert_int_equal(quota_pool_add(&pool, &quotas[LEASE_WORKERS]), -ENOSPC);
}

/* Any schedule: workers read what is lent when they please, and open and close much or little; the
 * control thread comes when it pleases. Who is refused could at most have had what is lent to
 * others and unused, and what the last round had not lent. */
static void pitfall_20_no_schedule_has_more_open_than_the_limit(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 3000; seed++) {
        struct random random = {seed};
        struct desk d;
        uint32_t eagerness[MOST];
        open_desk(&d, 1 + random_below(&random, MOST), 1 + random_below(&random, 2000));
        for (int i = 0; i < MOST; i++)
            eagerness[i] = random_below(&random, 3) ? random_below(&random, 4) : 60;
        for (int i = 0; i < 1500; i++) {
            const uint32_t worker = random_below(&random, d.workers);
            switch (random_below(&random, 8)) {
            case 0: quota_pool_run(&d.pool, d.limit); break;
            case 1:
            case 2: quota_begin(&d.quota[worker]); break;
            case 3: give(&d, worker, random_below(&random, d.quota[worker].open + 1)); break;
            default: take(&d, worker, random_below(&random, 1 + eagerness[worker]));
            }
            assert_true(open_of_all(&d) <= d.limit);
        }
        for (uint32_t i = 0; i < d.workers; i++)
            give(&d, i, d.quota[i].open);
        rounds(&d, 60);
        assert_int_equal(quota_pool_open(&d.pool), 0);
        const uint32_t kept = d.limit / 8 + d.workers; /* too little to be worth a round */
        assert_in_range(quota_pool_unused(&d.pool), d.limit > kept ? d.limit - kept : 0, d.limit);
    }
}

/* ---- with threads ---- */

enum { THREADS = 4, LIMIT = 5000 };

struct crowd {
    struct quota quota[THREADS];
    bool stop;
};

static void *worker(void *argument)
{
    struct crowd *crowd = ((void **)argument)[0];
    struct quota *quota = ((void **)argument)[1];
    struct random random = {(uintptr_t)quota};
    while (!__atomic_load_n(&crowd->stop, __ATOMIC_ACQUIRE)) {
        quota_begin(quota);
        for (int i = 0; i < 64; i++)
            if (quota_ask(quota))
                quota_take(quota);
        for (uint32_t i = random_below(&random, quota->open / 4 + 1); i > 0; i--)
            quota_give(quota);
    }
    return NULL;
}

/* What is read of four is not of one moment, but what they may have is: that is what is lent. */
static void pitfall_20_four_threads_are_lent_no_more_than_one_limit(void **state)
{
    (void)state;
    static struct crowd crowd;
    static struct quota_pool pool;
    pthread_t threads[THREADS];
    void *arguments[THREADS][2];
    quota_pool_init(&pool);
    for (int i = 0; i < THREADS; i++) {
        arguments[i][0] = &crowd;
        arguments[i][1] = &crowd.quota[i];
        assert_int_equal(quota_pool_add(&pool, &crowd.quota[i]), 0);
        assert_int_equal(pthread_create(&threads[i], NULL, worker, arguments[i]), 0);
    }
    for (int i = 0; i < 200000; i++) {
        quota_pool_run(&pool, LIMIT);
        assert_true(quota_pool_unused(&pool) + quota_pool_open(&pool) <= LIMIT);
    }
    __atomic_store_n(&crowd.stop, true, __ATOMIC_RELEASE);
    uint32_t sum = 0;
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(crowd.quota[i].wanted > 0);
        sum += crowd.quota[i].open;
    }
    assert_true(sum <= LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_taken_before_it_is_lent),
        cmocka_unit_test(one_worker_has_the_whole_limit_and_no_more),
        cmocka_unit_test(one_busy_worker_among_many_gets_all_of_the_limit),
        cmocka_unit_test(a_limit_smaller_than_those_who_ask_goes_to_some_of_them),
        cmocka_unit_test(the_limit_moves_to_where_the_clients_are),
        cmocka_unit_test(far_from_the_limit_a_quiet_workers_first_clients_need_no_round),
        cmocka_unit_test(without_a_limit_every_worker_may_take_any_number),
        cmocka_unit_test(what_passes_a_limit_that_is_only_observed_is_counted_all_the_same),
        cmocka_unit_test(what_is_called_back_is_lent_again_only_when_it_is_acknowledged),
        cmocka_unit_test(no_more_workers_than_there_is_room_for),
        cmocka_unit_test(pitfall_20_no_schedule_has_more_open_than_the_limit),
        cmocka_unit_test(pitfall_20_four_threads_are_lent_no_more_than_one_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
