/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Counts of frequent keys: exact for one alone, never too high for anybody, and hardly lower under
 * a flood of keys that come once. */
#include "dataplane/admit/frequent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "dataplane/admit/guard.h"
#include "tests/unit/random.h"

enum { SECOND = 7 };

static const struct siphash_key secret = {0x0123456789abcdef, 0xfedcba9876543210};

static int make_table(void **state)
{
    struct frequent *t = malloc(sizeof *t);
    assert_non_null(t);
    *t = (struct frequent){.mask = GUARD_NETWORK_SETS - 1, .second = SECOND};
    t->set = calloc(1, frequent_size(t));
    *state = t;
    return t->set == NULL ? -1 : 0;
}

static int free_table(void **state)
{
    struct frequent *t = *state;
    free(t->set);
    free(t);
    return 0;
}

/* A hash of that set; tags differ. */
static uint64_t meeting(uint64_t set, uint64_t n)
{
    return (n + 1) << 40 | set;
}

static void a_key_alone_is_counted_exactly(void **state)
{
    struct frequent *t = *state;
    for (uint64_t key = 0; key < 100; key++) {
        const uint64_t hash = frequent_hash(&secret, key);
        for (uint32_t n = 1; n <= 50; n++)
            assert_int_equal(frequent_add(t, hash), n);
        assert_int_equal(frequent_read(t, hash, SECOND), 50);
    }
}

static void both_keys_of_a_set_are_counted_side_by_side(void **state)
{
    struct frequent *t = *state;
    for (uint32_t n = 1; n <= 1000; n++)
        for (uint64_t key = 0; key < FREQUENT_WAYS; key++)
            assert_int_equal(frequent_add(t, meeting(3, key)), n);
}

static void a_second_begins_with_nothing(void **state)
{
    struct frequent *t = *state;
    for (uint64_t key = 0; key < FREQUENT_WAYS; key++)
        for (int n = 0; n < 9; n++)
            frequent_add(t, meeting(3, key));
    frequent_begin(t, SECOND + 1);
    assert_int_equal(frequent_read(t, meeting(3, 0), SECOND + 1), 0);
    assert_int_equal(frequent_add(t, meeting(3, 0)), 1);
    assert_int_equal(frequent_add(t, meeting(3, 9)), 1); /* over an old owner's cell */
    assert_int_equal(frequent_read(t, meeting(3, 0), SECOND), 0);
    assert_int_equal(frequent_read(t, meeting(3, 0), SECOND + 1), 1);
}

/* Seconds are told by their lowest 16 bits. */
static void seconds_that_begin_anew_find_nothing_old(void **state)
{
    struct frequent *t = *state;
    const uint64_t wrap = UINT64_C(1) << FREQUENT_SECOND;
    frequent_begin(t, wrap - 1);
    for (int n = 0; n < 9; n++)
        frequent_add(t, meeting(3, 0));
    frequent_begin(t, wrap);
    assert_int_equal(frequent_add(t, meeting(3, 1)), 1);
    assert_int_equal(frequent_add(t, meeting(3, 2)), 1);
    assert_int_equal(frequent_add(t, meeting(3, 0)), 0);
    frequent_begin(t, 2 * wrap); /* the same number, half a day later */
    assert_int_equal(frequent_add(t, meeting(3, 1)), 1);
}

static void a_stranger_costs_the_rarest_one_count_and_then_has_its_cell(void **state)
{
    struct frequent *t = *state;
    for (uint64_t key = 0; key < FREQUENT_WAYS; key++)
        for (uint64_t n = 0; n < 2 + key; n++)
            frequent_add(t, meeting(3, key));
    assert_int_equal(frequent_add(t, meeting(3, 8)), 0);
    assert_int_equal(frequent_read(t, meeting(3, 0), SECOND), 1);
    assert_int_equal(frequent_read(t, meeting(3, 1), SECOND), 3);
    assert_int_equal(frequent_add(t, meeting(3, 8)), 0);
    assert_int_equal(frequent_add(t, meeting(3, 8)), 1);
    assert_int_equal(frequent_read(t, meeting(3, 0), SECOND), 0);
    assert_int_equal(frequent_read(t, meeting(3, 1), SECOND), 3);
}

static void a_count_stops_at_its_most_and_can_be_raised(void **state)
{
    struct frequent *t = *state;
    frequent_raise(t, meeting(3, 0), 9);
    assert_int_equal(frequent_read(t, meeting(3, 0), SECOND), 0); /* it has no cell */
    frequent_add(t, meeting(3, 0));
    frequent_raise(t, meeting(3, 0), FREQUENT_MOST - 1);
    frequent_raise(t, meeting(3, 0), 9);
    for (int i = 0; i < 3; i++)
        assert_int_equal(frequent_add(t, meeting(3, 0)), FREQUENT_MOST);
    assert_int_equal(frequent_add(t, meeting(3, 1)), 1); /* it did not carry into the rest */
}

/* A million packets from as many sources beside hundred sources that send 2,000 each. */
static void a_flood_of_random_keys_hides_no_frequent_one(void **state)
{
    enum { KEYS = 100, EACH = 2000, STRANGERS = 5 };
    struct frequent *t = *state;
    struct random random = {11};
    uint32_t last[KEYS] = {0}, too_high = 0;
    for (uint32_t n = 1; n <= EACH; n++)
        for (uint64_t key = 0; key < KEYS; key++) {
            last[key] = frequent_add(t, frequent_hash(&secret, key));
            too_high += last[key] > n;
            for (int i = 0; i < STRANGERS; i++)
                frequent_add(t, frequent_hash(&secret, random_64(&random)));
        }
    assert_int_equal(too_high, 0);
    for (uint64_t key = 0; key < KEYS; key++)
        assert_in_range(last[key], EACH - EACH / 20, EACH);
}

/* Five million in a second, at the size of the table of sources: it costs those that send what one
 * source may, 20,000 by default, less than a tenth. */
static void a_flood_hides_no_source_that_sends_too_much(void **state)
{
    enum { KEYS = 20, EACH = 20000, STRANGERS = 12 };
    struct frequent *t = *state;
    struct random random = {12};
    uint32_t last[KEYS] = {0}, too_high = 0;
    t->mask = GUARD_SOURCE_SETS - 1;
    for (uint32_t n = 1; n <= EACH; n++)
        for (uint64_t key = 0; key < KEYS; key++) {
            last[key] = frequent_add(t, frequent_hash(&secret, key));
            too_high += last[key] > n;
            for (int i = 0; i < STRANGERS; i++)
                frequent_add(t, frequent_hash(&secret, random_64(&random)));
        }
    assert_int_equal(too_high, 0);
    for (uint64_t key = 0; key < KEYS; key++)
        assert_in_range(last[key], EACH - EACH / 10, EACH);
}

/* Networks next to each other, as an attack on a provider would use. */
static void a_thousand_neighbouring_keys_are_all_counted(void **state)
{
    enum { KEYS = 1024, EACH = 100 };
    struct frequent *t = *state;
    uint32_t exact = 0;
    for (int n = 0; n < EACH; n++)
        for (uint64_t key = 0; key < KEYS; key++)
            frequent_add(t, frequent_hash(&secret, key << 8));
    for (uint64_t key = 0; key < KEYS; key++)
        exact += frequent_read(t, frequent_hash(&secret, key << 8), SECOND) == EACH;
    assert_int_equal(exact, KEYS);
}

#define TABLE_TEST(f) cmocka_unit_test_setup_teardown(f, make_table, free_table)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TABLE_TEST(a_key_alone_is_counted_exactly),
        TABLE_TEST(both_keys_of_a_set_are_counted_side_by_side),
        TABLE_TEST(a_second_begins_with_nothing),
        TABLE_TEST(seconds_that_begin_anew_find_nothing_old),
        TABLE_TEST(a_stranger_costs_the_rarest_one_count_and_then_has_its_cell),
        TABLE_TEST(a_count_stops_at_its_most_and_can_be_raised),
        TABLE_TEST(a_flood_of_random_keys_hides_no_frequent_one),
        TABLE_TEST(a_flood_hides_no_source_that_sends_too_much),
        TABLE_TEST(a_thousand_neighbouring_keys_are_all_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
