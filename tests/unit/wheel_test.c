/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The timing wheel against a plain array of deadlines: nothing fires early, twice or after it was
 * cancelled, and nothing fires later than a tick behind the first call that could have fired it. */
#include "dataplane/tcp/wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/random.h"

enum { OBJECTS = 300, TURN_MS = WHEEL_TICK_MS * WHEEL_SLOTS, LONGEST_MS = 1 << 30 };

/* The node is embedded with something on both sides that the wheel must leave alone. */
struct object {
    uint64_t before;
    struct wheel_node node;
    uint32_t after;
    uint64_t filler;
};

/* A wheel and what it should know. */
struct model {
    struct wheel *wheel;
    struct object objects[OBJECTS];
    uint64_t deadline[OBJECTS];
    bool armed[OBJECTS];
    uint64_t now;
};

static struct model *model_new(uint64_t now)
{
    struct model *m = calloc(1, sizeof *m);
    assert_non_null(m);
    for (uint32_t i = 0; i < OBJECTS; i++)
        m->objects[i].before = m->objects[i].after = i;
    m->wheel =
        wheel_new(m->objects, sizeof(struct object), offsetof(struct object, node), OBJECTS, now);
    assert_non_null(m->wheel);
    m->now = now;
    return m;
}

static void model_free(struct model *m)
{
    for (uint32_t i = 0; i < OBJECTS; i++) {
        assert_int_equal(m->objects[i].before, i);
        assert_int_equal(m->objects[i].after, i);
    }
    wheel_free(m->wheel);
    free(m);
}

static void set(struct model *m, uint32_t i, uint32_t delay)
{
    wheel_set(m->wheel, i, delay);
    m->armed[i] = true;
    m->deadline[i] = m->now + (delay < LONGEST_MS ? delay : LONGEST_MS);
}

static void cancel(struct model *m, uint32_t i)
{
    wheel_cancel(m->wheel, i);
    m->armed[i] = false;
}

/* One call; each object that it hands out must have been armed and due. */
static uint32_t advance(struct model *m, uint64_t now, uint32_t room)
{
    uint32_t due[OBJECTS];
    const uint32_t n = wheel_advance(m->wheel, now, due, room);
    m->now = now > m->now ? now : m->now;
    assert_true(n <= room);
    for (uint32_t i = 0; i < n; i++) {
        assert_true(due[i] < OBJECTS);
        assert_true(m->armed[due[i]]);
        assert_true(m->deadline[due[i]] <= m->now);
        assert_false(wheel_armed(m->wheel, due[i]));
        m->armed[due[i]] = false;
    }
    return n;
}

/* After a complete sweep: all that is still armed is not due, or within the current tick. */
static void nothing_is_late(const struct model *m)
{
    for (uint32_t i = 0; i < OBJECTS; i++) {
        assert_int_equal(wheel_armed(m->wheel, i), m->armed[i]);
        if (m->armed[i]) /* the one that is moved from 0 to 1 may be a millisecond behind */
            assert_true(m->deadline[i] + 1 >= m->now / WHEEL_TICK_MS * WHEEL_TICK_MS);
    }
}

static uint32_t some_delay(struct random *r)
{
    switch (random_below(r, 8)) {
    case 0: return 0;
    case 1: return random_below(r, WHEEL_TICK_MS);
    case 2: return random_below(r, TURN_MS * 20);
    case 3: return TURN_MS + random_below(r, 3);
    case 4: return LONGEST_MS - random_below(r, 1000);
    case 5: return UINT32_MAX - random_below(r, 1000); /* cut to the longest */
    default: return random_below(r, 500);
    }
}

static uint64_t some_step(struct random *r)
{
    switch (random_below(r, 400)) {
    case 0: return LONGEST_MS + random_below(r, 100);
    case 1: return (UINT64_C(1) << 31) + random_below(r, 100);
    case 2: return (UINT64_C(1) << 32) - random_below(r, 100);
    case 3: return (UINT64_C(1) << 40) + random_below(r, 100);
    case 4:
    case 5:
    case 6: return random_below(r, 4 * TURN_MS);
    default: return random_below(r, 3 * WHEEL_TICK_MS);
    }
}

static void change_some(struct model *m, struct random *r)
{
    for (uint32_t changes = random_below(r, 6); changes; changes--) {
        const uint32_t i = random_below(r, OBJECTS);
        if (random_below(r, 4))
            set(m, i, some_delay(r));
        else
            cancel(m, i);
    }
}

static const uint64_t starts[] = {
    0, 1, 12345, UINT32_MAX - 20000, (UINT64_C(1) << 32) * 7 - 5, UINT64_C(1767225600000)};

static void it_agrees_with_a_plain_list(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof starts / sizeof starts[0]; s++) {
        struct random random = {s};
        struct model *m = model_new(starts[s]);
        for (int round = 0; round < 20000; round++) {
            change_some(m, &random);
            advance(m, m->now + some_step(&random), OBJECTS);
            nothing_is_late(m);
        }
        model_free(m);
    }
}

static void it_agrees_with_a_plain_list_when_room_is_short(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof starts / sizeof starts[0]; s++) {
        struct random random = {100 + s};
        struct model *m = model_new(starts[s]);
        for (int round = 0; round < 20000; round++) {
            change_some(m, &random);
            /* Bounded steps: past the longest delay the wheel's clock may stay behind while room is
             * short. */
            advance(m,
                    m->now + random_below(&random, random_below(&random, 100) ? 20 : 2 * TURN_MS),
                    random_below(&random, 4));
            if (random_below(&random, 50) == 0) {
                while (advance(m, m->now, OBJECTS)) {
                }
                nothing_is_late(m);
            }
        }
        model_free(m);
    }
}

static void a_timer_fires_within_a_tick_and_never_early(void **state)
{
    (void)state;
    for (uint32_t delay = 0; delay < 3 * TURN_MS; delay += 1 + delay / 7) {
        struct model *m = model_new(UINT64_C(0xfffff000) + delay);
        const uint64_t start = m->now;
        set(m, 0, delay);
        while (m->armed[0])
            advance(m, m->now + 1, 1);
        assert_in_range(m->now - start, delay, delay + WHEEL_TICK_MS + 1);
        model_free(m);
    }
}

static void a_deadline_of_zero_on_the_wrapping_clock_still_fires(void **state)
{
    (void)state;
    const uint64_t wrap = UINT64_C(1) << 32;
    struct model *m = model_new(wrap - 100);
    set(m, 0, 100);
    assert_true(wheel_armed(m->wheel, 0));
    assert_int_equal(advance(m, wrap + 7, 1), 0);
    assert_int_equal(advance(m, wrap + WHEEL_TICK_MS, 1), 1);
    model_free(m);
}

static void time_never_goes_back(void **state)
{
    (void)state;
    struct model *m = model_new(100000);
    set(m, 0, 50);
    assert_int_equal(advance(m, 1000, 1), 0);
    assert_int_equal(advance(m, 100049, 1), 0);
    set(m, 1, 0); /* counts from 100049, not from 1000 */
    assert_int_equal(advance(m, 1000, 1), 0);
    assert_int_equal(advance(m, 100064, OBJECTS), 2);
    model_free(m);
}

static void setting_again_moves_a_timer(void **state)
{
    (void)state;
    struct model *m = model_new(0);
    set(m, 0, 10);
    set(m, 0, 1000);
    assert_int_equal(advance(m, 999, 1), 0);
    assert_int_equal(advance(m, 1008, 1), 1);
    set(m, 0, 1000);
    set(m, 0, 10);
    assert_int_equal(advance(m, 1032, 1), 1);
    assert_int_equal(advance(m, 3000, 1), 0);
    model_free(m);
}

static void a_cancelled_timer_never_fires(void **state)
{
    (void)state;
    struct model *m = model_new(0);
    cancel(m, 5); /* not armed: nothing */
    for (uint32_t i = 0; i < OBJECTS; i++)
        set(m, i, 100);
    for (uint32_t i = 0; i < OBJECTS; i += 2)
        cancel(m, i);
    assert_int_equal(advance(m, 200, OBJECTS), OBJECTS / 2);
    model_free(m);
}

static void a_full_room_is_said_and_the_rest_comes_with_the_next_call(void **state)
{
    (void)state;
    enum { ROOM = 7 };
    struct model *m = model_new(0);
    for (uint32_t i = 0; i < OBJECTS; i++)
        set(m, i, 100);
    uint32_t total = 0, calls = 0;
    for (uint32_t n = ROOM; n == ROOM; calls++)
        total += n = advance(m, 200, ROOM);
    assert_int_equal(total, OBJECTS);
    assert_int_equal(calls, OBJECTS / ROOM + 1);
    model_free(m);
}

static void timers_may_be_set_and_cancelled_between_calls_of_one_sweep(void **state)
{
    (void)state;
    struct model *m = model_new(0);
    for (uint32_t i = 0; i < 10; i++)
        set(m, i, 100);
    assert_int_equal(advance(m, 200, 1), 1); /* 9 first: the newest of a slot comes first */
    assert_false(m->armed[9]);
    cancel(m, 8);       /* the first of those taken aside */
    cancel(m, 4);       /* one in their middle */
    set(m, 7, 1000);    /* now first; moved away */
    set(m, 9, TURN_MS); /* back in the wheel */
    assert_int_equal(advance(m, 200, OBJECTS), 6);
    assert_int_equal(advance(m, 1208, OBJECTS), 1);
    assert_int_equal(advance(m, 200 + TURN_MS + WHEEL_TICK_MS, OBJECTS), 1);
    nothing_is_late(m);
    model_free(m);
}

static void a_call_looks_at_no_more_than_four_nodes_for_each_place(void **state)
{
    (void)state;
    struct model *m = model_new(0);
    set(m, 0, 100);
    for (uint32_t i = 1; i < OBJECTS;
         i++) /* the same slot, a turn later; the newest is looked at first */
        set(m, i, 100 + TURN_MS);
    uint32_t calls = 1;
    while (!advance(m, 200, 1))
        calls++;
    assert_int_equal(calls, OBJECTS / 4);
    model_free(m);
}

static void a_clock_that_leaps_over_everything_fires_everything(void **state)
{
    (void)state;
    static const uint64_t leaps[] = {TURN_MS,           UINT64_C(1) << 30, UINT64_C(1) << 31,
                                     UINT64_C(3) << 30, UINT64_C(1) << 32, (UINT64_C(1) << 32) + 50,
                                     UINT64_C(1) << 62};
    for (size_t i = 0; i < sizeof leaps / sizeof leaps[0]; i++) {
        struct model *m = model_new(12345);
        set(m, 5, 70);
        cancel(m, 5);
        set(m, 0, 0);
        set(m, 1, 100);
        set(m, 2, TURN_MS - 2 * WHEEL_TICK_MS);
        assert_int_equal(advance(m, m->now + leaps[i], OBJECTS), 3);
        set(m, 3, LONGEST_MS);
        set(m, 4, 100);
        assert_int_equal(advance(m, m->now + 99, OBJECTS), 0);
        assert_int_equal(advance(m, m->now + 9, OBJECTS), 1);
        model_free(m);
    }
}

static void an_empty_wheel_and_an_empty_room_are_nothing_special(void **state)
{
    (void)state;
    struct model *m = model_new(5);
    assert_int_equal(advance(m, 5, 0), 0);
    assert_int_equal(advance(m, UINT64_C(1) << 50, 0), 0);
    set(m, 0, 1);
    assert_int_equal(advance(m, m->now + 100, 0), 0);
    assert_int_equal(advance(m, m->now, 1), 1);
    model_free(m);
    wheel_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_agrees_with_a_plain_list),
        cmocka_unit_test(it_agrees_with_a_plain_list_when_room_is_short),
        cmocka_unit_test(a_timer_fires_within_a_tick_and_never_early),
        cmocka_unit_test(a_deadline_of_zero_on_the_wrapping_clock_still_fires),
        cmocka_unit_test(time_never_goes_back),
        cmocka_unit_test(setting_again_moves_a_timer),
        cmocka_unit_test(a_cancelled_timer_never_fires),
        cmocka_unit_test(a_full_room_is_said_and_the_rest_comes_with_the_next_call),
        cmocka_unit_test(timers_may_be_set_and_cancelled_between_calls_of_one_sweep),
        cmocka_unit_test(a_call_looks_at_no_more_than_four_nodes_for_each_place),
        cmocka_unit_test(a_clock_that_leaps_over_everything_fires_everything),
        cmocka_unit_test(an_empty_wheel_and_an_empty_room_are_nothing_special),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
