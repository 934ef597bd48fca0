/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * When the relay calls what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/clock.h"
#include "control/outbox/relay.h"

#define MS(n) ((n)*NANOSECONDS_PER_MS)

static struct relay begun(void)
{
    struct relay r;
    relay_begin(&r, MS(1000));
    return r;
}

static void a_new_connection_asks_at_once_and_holds_nothing(void **state)
{
    (void)state;
    struct relay r = begun();
    r.holds = true;
    relay_begin(&r, MS(1000));
    assert_false(r.holds);
    assert_int_equal(relay_next(&r, MS(1000)), RELAY_PUBLISH);
    assert_int_equal(relay_due(&r), MS(1000));
}

static void more_than_a_batch_is_published_without_a_pause(void **state)
{
    (void)state;
    struct relay r = begun();
    relay_published(&r, RELAY_ROWS, MS(1000));
    assert_true(r.holds);
    assert_int_equal(relay_next(&r, MS(1000)), RELAY_PUBLISH);
}

static void less_than_a_batch_leaves_time_for_the_next_to_collect(void **state)
{
    (void)state;
    struct relay r = begun();
    relay_published(&r, 1, MS(1000));
    assert_int_equal(relay_next(&r, MS(1000)), RELAY_NOTHING);
    assert_true(relay_due(&r) > MS(1000) && relay_due(&r) <= MS(1020));
    assert_int_equal(relay_next(&r, relay_due(&r)), RELAY_PUBLISH);
}

static void an_idle_relay_looks_often(void **state)
{
    (void)state;
    struct relay r = begun();
    relay_published(&r, 0, MS(1000));
    assert_true(r.holds);
    assert_int_equal(relay_next(&r, MS(1000)), RELAY_NOTHING);
    assert_true(relay_due(&r) <= MS(1100));
}

static void a_rival_waits_and_deletes_nothing(void **state)
{
    (void)state;
    struct relay r = begun();
    relay_published(&r, -1, MS(1000));
    assert_false(r.holds);
    assert_true(relay_due(&r) >= MS(1200) && relay_due(&r) <= MS(2000));
    r.publish_at = INT64_MAX;
    assert_int_equal(relay_next(&r, MS(10000000)), RELAY_NOTHING);
}

static void a_relay_that_is_none_any_more_knows_it(void **state)
{
    (void)state;
    struct relay r = begun();
    relay_published(&r, 3, MS(1000));
    relay_published(&r, -1, MS(1010));
    assert_false(r.holds);
}

static void what_is_old_is_deleted_now_and_then_and_in_batches(void **state)
{
    (void)state;
    struct relay r = begun();
    relay_published(&r, 0, MS(1000));
    int64_t now = r.forget_at;
    r.publish_at = now + 1;
    assert_int_equal(relay_due(&r), now);
    assert_int_equal(relay_next(&r, now), RELAY_FORGET);
    relay_forgot(&r, RELAY_FORGET_ROWS, now);
    assert_true(r.forget_at <= now + MS(1000));
    relay_forgot(&r, RELAY_FORGET_ROWS - 1, now);
    assert_true(r.forget_at >= now + MS(10000));
}

static void publishing_comes_before_deleting(void **state)
{
    (void)state;
    struct relay r = begun();
    relay_published(&r, 0, MS(1000));
    r.publish_at = r.forget_at;
    assert_int_equal(relay_next(&r, r.forget_at), RELAY_PUBLISH);
}

static void a_refusal_is_not_repeated_at_once(void **state)
{
    (void)state;
    struct relay r = begun();
    relay_refused(&r, RELAY_PUBLISH, MS(1000));
    assert_int_equal(relay_next(&r, MS(1100)), RELAY_NOTHING);
    relay_published(&r, 0, MS(1000));
    relay_refused(&r, RELAY_FORGET, r.forget_at);
    r.publish_at = INT64_MAX;
    assert_int_equal(relay_next(&r, MS(1000) + MS(61000)), RELAY_NOTHING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_connection_asks_at_once_and_holds_nothing),
        cmocka_unit_test(more_than_a_batch_is_published_without_a_pause),
        cmocka_unit_test(less_than_a_batch_leaves_time_for_the_next_to_collect),
        cmocka_unit_test(an_idle_relay_looks_often),
        cmocka_unit_test(a_rival_waits_and_deletes_nothing),
        cmocka_unit_test(a_relay_that_is_none_any_more_knows_it),
        cmocka_unit_test(what_is_old_is_deleted_now_and_then_and_in_batches),
        cmocka_unit_test(publishing_comes_before_deleting),
        cmocka_unit_test(a_refusal_is_not_repeated_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
