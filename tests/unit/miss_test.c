/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Misses: silence the first time, an answer to whoever insists (tcp-pitfalls 23). */
#include "dataplane/tcp/miss.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static const uint64_t tuple = UINT64_C(0x0123456789abcdef);
static struct miss_table table;

static int empty_table(void **state)
{
    (void)state;
    memset(&table, 0, sizeof table);
    return 0;
}

static void pitfall_23_the_first_miss_is_silent(void **state)
{
    (void)state;
    assert_false(miss_again(&table, tuple, 1000));
    assert_false(miss_again(&table, tuple, 1001)); /* more segments of the same burst */
    assert_false(miss_again(&table, tuple, 1999));
}

static void pitfall_23_the_same_tuple_is_answered_from_1_s_to_30_s_later(void **state)
{
    (void)state;
    static const struct {
        uint64_t later;
        bool again;
    } rows[] = {{0, false},    {300, false},  {999, false},   {1000, true},    {1001, true},
                {29999, true}, {30000, true}, {30001, false}, {3600000, false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        empty_table(NULL);
        assert_false(miss_again(&table, tuple, 5000));
        assert_int_equal(miss_again(&table, tuple, 5000 + rows[i].later), rows[i].again);
    }
}

static void the_second_counts_from_the_first_miss(void **state)
{
    (void)state;
    for (uint64_t at = 1000; at < 2000; at += 50)
        assert_false(miss_again(&table, tuple, at));
    assert_true(miss_again(&table, tuple, 2000));
}

static void after_an_answer_the_tuple_starts_anew(void **state)
{
    (void)state;
    assert_false(miss_again(&table, tuple, 1000));
    assert_true(miss_again(&table, tuple, 2000));
    assert_false(miss_again(&table, tuple, 2001));
    assert_false(miss_again(&table, tuple, 3000));
    assert_true(miss_again(&table, tuple, 3001));
}

static void a_forgotten_miss_is_a_first_one_again(void **state)
{
    (void)state;
    assert_false(miss_again(&table, tuple, 1000));
    assert_false(miss_again(&table, tuple, 40000));
    assert_true(miss_again(&table, tuple, 41000));
}

static void a_collision_only_delays_the_answer(void **state)
{
    (void)state;
    const uint64_t other = tuple ^ UINT64_C(1) << 40; /* same slot, other tag */
    assert_false(miss_again(&table, tuple, 1000));
    assert_false(miss_again(&table, other, 1100));
    assert_false(miss_again(&table, tuple, 2100)); /* not the other's turn */
    assert_true(miss_again(&table, tuple, 3100));
}

static void different_slots_do_not_disturb_each_other(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < MISS_SLOTS; i++)
        assert_false(miss_again(&table, i << 32 | i, 1000));
    for (uint64_t i = 0; i < MISS_SLOTS; i++)
        assert_true(miss_again(&table, i << 32 | i, 2000));
}

static void an_empty_slot_matches_no_tuple(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < MISS_SLOTS;
         i++) /* the hash's upper half is 0, as an empty slot's tag */
        assert_false(miss_again(&table, i, 1000));
}

static void the_clock_may_wrap_at_32_bits_and_may_go_back(void **state)
{
    (void)state;
    const uint64_t wrap = UINT64_C(1) << 32;
    assert_false(miss_again(&table, tuple, wrap - 100));
    assert_true(miss_again(&table, tuple, wrap + 900));
    assert_false(miss_again(&table, tuple, wrap + 5000));
    assert_false(miss_again(&table, tuple, wrap + 1000)); /* back: a first miss */
    assert_true(miss_again(&table, tuple, wrap + 2000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(pitfall_23_the_first_miss_is_silent, empty_table),
        cmocka_unit_test_setup(pitfall_23_the_same_tuple_is_answered_from_1_s_to_30_s_later,
                               empty_table),
        cmocka_unit_test_setup(the_second_counts_from_the_first_miss, empty_table),
        cmocka_unit_test_setup(after_an_answer_the_tuple_starts_anew, empty_table),
        cmocka_unit_test_setup(a_forgotten_miss_is_a_first_one_again, empty_table),
        cmocka_unit_test_setup(a_collision_only_delays_the_answer, empty_table),
        cmocka_unit_test_setup(different_slots_do_not_disturb_each_other, empty_table),
        cmocka_unit_test_setup(an_empty_slot_matches_no_tuple, empty_table),
        cmocka_unit_test_setup(the_clock_may_wrap_at_32_bits_and_may_go_back, empty_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
