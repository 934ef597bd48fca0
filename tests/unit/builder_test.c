/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The builder's thread with real readers: whoever reads the row sees parts that belong together,
 * and none of them is freed while somebody may still look at it (the sanitizers watch). */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <urcu/urcu-qsbr.h>

#include <cmocka.h>

#include "dataplane/ops/builder.h"

enum { READERS = 2, ROWS = 2000 };

/* The parts of one generation: each says of which it is. */
static struct limits *limits_of(uint32_t generation)
{
    struct limits *limits = calloc(1, sizeof *limits);
    assert_non_null(limits);
    limits->idle_ms = generation;
    return limits;
}

static struct offers *offers_of(uint32_t generation)
{
    struct offers *offers = calloc(1, sizeof *offers);
    assert_non_null(offers);
    offers->count = generation;
    return offers;
}

static struct services *services_of(uint32_t generation)
{
    struct services *services = calloc(1, sizeof *services);
    assert_non_null(services);
    services->count = generation;
    return services;
}

static struct policy parts_of(uint32_t generation)
{
    return (struct policy){.services = services_of(generation),
                           .offers = offers_of(generation),
                           .limits = limits_of(generation)};
}

struct rig {
    struct policy_slot slot;
    struct builder *builder;
};

static int setup(void **state)
{
    struct rig *r = calloc(1, sizeof *r);
    const struct policy first = parts_of(1);
    if (r == NULL)
        return -1;
    r->slot.row = builder_first_row(&first);
    r->builder = builder_start(&r->slot);
    *state = r;
    return r->slot.row == NULL || r->builder == NULL ? -1 : 0;
}

static void finish(struct rig *r)
{
    if (r->builder != NULL)
        builder_stop(r->builder);
    r->builder = NULL;
}

static int teardown(void **state)
{
    struct rig *r = *state;
    finish(r);
    builder_free_row(r->slot.row);
    free(r);
    return 0;
}

struct reader {
    pthread_t thread;
    const struct policy_slot *slot;
    const bool *stop;
    pthread_barrier_t *ready;
    uint32_t changes; /* rows seen; out */
    bool mixed, back; /* out: parts of two generations, an older row after a newer one */
};

/* As a worker reads: the pointer once, then everything behind it. */
static void *read_rows(void *argument)
{
    struct reader *reader = argument;
    uint32_t last = 0;
    urcu_qsbr_register_thread(); /* from now on the builder waits for it */
    pthread_barrier_wait(reader->ready);
    while (!__atomic_load_n(reader->stop, __ATOMIC_RELAXED)) {
        const struct policy *row = rcu_dereference(reader->slot->row);
        uint32_t generation = row->services->count;
        for (int again = 0; again < 8; again++)
            reader->mixed |= row->services->count != generation ||
                             row->offers->count != generation || row->limits->idle_ms != generation;
        reader->back |= generation < last;
        reader->changes += generation != last;
        last = generation;
        urcu_qsbr_quiescent_state();
    }
    urcu_qsbr_unregister_thread();
    return NULL;
}

static void a_reader_never_sees_parts_of_two_rows(void **state)
{
    struct rig *r = *state;
    struct reader readers[READERS];
    bool stop = false;
    pthread_barrier_t ready;
    assert_int_equal(pthread_barrier_init(&ready, NULL, READERS + 1), 0);
    for (int i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.slot = &r->slot, .stop = &stop, .ready = &ready};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, read_rows, &readers[i]), 0);
    }
    pthread_barrier_wait(&ready);
    for (uint32_t generation = 2; generation < ROWS; generation++) {
        const struct policy parts = parts_of(generation);
        assert_int_equal(builder_publish_all(r->builder, &parts), 0);
    }
    finish(r);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (int i = 0; i < READERS; i++) {
        pthread_join(readers[i].thread, NULL);
        assert_false(readers[i].mixed);
        assert_false(readers[i].back);
        assert_true(readers[i].changes > 1);
    }
    pthread_barrier_destroy(&ready);
    assert_int_equal(r->slot.row->limits->idle_ms, ROWS - 1);
}

static void what_is_not_given_stays(void **state)
{
    struct rig *r = *state;
    const struct policy before = *r->slot.row;
    assert_int_equal(builder_publish(r->builder, PART_OFFERS, offers_of(7)), 0);
    assert_int_equal(builder_publish_all(r->builder, &(struct policy){.limits = limits_of(8)}), 0);
    finish(r);
    assert_ptr_equal(r->slot.row->services, before.services);
    assert_int_equal(r->slot.row->services->count, 1);
    assert_int_equal(r->slot.row->offers->count, 7);
    assert_int_equal(r->slot.row->limits->idle_ms, 8);
    assert_null(r->slot.row->balance);
}

static void *build_limits(const void *plan)
{
    return limits_of(*(const uint32_t *)plan);
}

static void *fail_to_build(const void *plan)
{
    (void)plan;
    return NULL;
}

static uint32_t *plan_of(uint32_t generation)
{
    uint32_t *plan = malloc(sizeof *plan);
    assert_non_null(plan);
    *plan = generation;
    return plan;
}

static void what_is_handed_over_is_in_force_in_that_order(void **state)
{
    struct rig *r = *state;
    for (uint32_t i = 2; i < 100; i += 2) {
        assert_int_equal(builder_build(r->builder, PART_LIMITS, build_limits, plan_of(i)), 0);
        assert_int_equal(builder_publish(r->builder, PART_LIMITS, limits_of(i + 1)), 0);
    }
    assert_int_equal(builder_build(r->builder, PART_LIMITS, build_limits, plan_of(100)), 0);
    finish(r);
    assert_int_equal(r->slot.row->limits->idle_ms, 100);
}

/* Publishes two parts of the number that it is given, or none. */
static void publish_or_not(void *argument)
{
    const struct call {
        struct builder *builder;
        uint32_t number;
    } *call = argument;
    for (uint32_t i = 0; i < 2 && call->number > 0; i++)
        assert_int_equal(builder_publish(call->builder, PART_LIMITS, limits_of(call->number + i)),
                         0);
}

static void what_is_called_may_publish_or_not(void **state)
{
    struct rig *r = *state;
    const struct policy *before = r->slot.row;
    for (uint32_t i = 0; i < 2; i++) {
        struct {
            struct builder *builder;
            uint32_t number;
        } *call = malloc(sizeof *call);
        assert_non_null(call);
        call->builder = r->builder;
        call->number = 7 * i;
        assert_int_equal(builder_call(r->builder, publish_or_not, call), 0);
        while (!builder_idle(r->builder))
            sched_yield();
        assert_true(i > 0 || r->slot.row == before);
    }
    finish(r);
    assert_int_equal(r->slot.row->limits->idle_ms, 8);
}

static void a_part_that_cannot_be_built_leaves_the_one_in_force(void **state)
{
    struct rig *r = *state;
    const struct policy *before = r->slot.row;
    assert_int_equal(builder_build(r->builder, PART_LIMITS, fail_to_build, plan_of(5)), 0);
    finish(r);
    assert_ptr_equal(r->slot.row, before);
    assert_int_equal(r->slot.row->limits->idle_ms, 1);
}

static void parts_that_were_never_published_can_be_freed(void **state)
{
    (void)state;
    const struct policy parts = parts_of(3);
    builder_free_all(&parts);
    builder_free_row(NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_reader_never_sees_parts_of_two_rows),
        TEST(what_is_not_given_stays),
        TEST(what_is_handed_over_is_in_force_in_that_order),
        TEST(what_is_called_may_publish_or_not),
        TEST(a_part_that_cannot_be_built_leaves_the_one_in_force),
        cmocka_unit_test(parts_that_were_never_published_can_be_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
