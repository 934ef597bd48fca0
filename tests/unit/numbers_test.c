/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Numbers under endpoints that come and go: none is ever somebody else's while it may be referred
 * to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "dataplane/ops/numbers.h"
#include "tests/unit/random.h"

enum { ROOM = 4, REST = 1000 };

static struct endpoint endpoint_of(uint16_t n)
{
    return (struct endpoint){.addr = addr_from_v4(n), .port = (uint16_t)(n + 1)};
}

static int take(struct numbers *numbers, uint16_t n)
{
    const struct endpoint endpoint = endpoint_of(n);
    return numbers_take(numbers, &endpoint);
}

static int setup(void **state)
{
    *state = numbers_new(ROOM);
    return *state == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    numbers_free(*state);
    return 0;
}

static void numbers_are_given_in_order_and_kept(void **state)
{
    struct numbers *numbers = *state;
    for (uint16_t n = 0; n < ROOM; n++)
        assert_int_equal(take(numbers, n), n);
    assert_int_equal(take(numbers, 9), -1);
    assert_true(numbers_new_owner(numbers, 2));
    assert_true(numbers_begin(numbers, 0, REST));
    assert_int_equal(take(numbers, 2), 2); /* in whatever order they stand in the file */
    assert_int_equal(take(numbers, 0), 0);
    assert_false(numbers_new_owner(numbers, 2) || numbers_returned(numbers, 2));
    assert_int_equal(numbers_state(numbers, 0), NUMBER_TAKEN);
    assert_int_equal(numbers_state(numbers, 1), NUMBER_LEAVING);
    assert_int_equal(numbers_count(numbers, NUMBER_LEAVING), 2);
    assert_int_equal(take(numbers, 9), -1); /* none is free, though two are not taken */
}

static void who_comes_back_while_it_leaves_is_the_same(void **state)
{
    struct numbers *numbers = *state;
    take(numbers, 0);
    take(numbers, 1);
    assert_true(numbers_begin(numbers, 0, REST));
    take(numbers, 0);
    assert_true(numbers_begin(numbers, 1, REST));
    assert_false(numbers_returned(numbers, 1));
    assert_int_equal(take(numbers, 1), 1);
    assert_false(numbers_new_owner(numbers, 1));
    assert_true(numbers_returned(numbers, 1));
    assert_int_equal(numbers_state(numbers, 0), NUMBER_LEAVING);
    assert_true(numbers_begin(numbers, 2, REST));
    take(numbers, 1);
    assert_false(numbers_returned(numbers, 1)); /* that was the time before */
}

static void a_number_rests_before_it_is_anothers(void **state)
{
    struct numbers *numbers = *state;
    for (uint16_t n = 0; n < ROOM; n++)
        take(numbers, n);
    assert_true(numbers_begin(numbers, 0, REST));
    for (uint16_t n = 0; n < ROOM; n++)
        if (n != 1)
            take(numbers, n);
    numbers_rest(numbers, 1, 500);
    assert_true(numbers_begin(numbers, 500 + REST - 1, REST));
    assert_int_equal(take(numbers, 9), -1);
    assert_true(numbers_begin(numbers, 500 + REST, REST));
    assert_int_equal(take(numbers, 9), 1);
    assert_true(numbers_new_owner(numbers, 1));
    const struct endpoint before = endpoint_of(1);
    assert_int_equal(numbers_find(numbers, &before), -1);
}

static void who_comes_back_from_rest_gets_its_number_but_is_new(void **state)
{
    struct numbers *numbers = *state;
    take(numbers, 0);
    take(numbers, 1);
    assert_true(numbers_begin(numbers, 0, REST));
    numbers_rest(numbers, 1, 0);
    assert_int_equal(numbers_end(numbers), 1); /* nothing is kept of it */
    assert_true(numbers_begin(numbers, 1, REST));
    assert_int_equal(take(numbers, 1), 1);
    assert_true(numbers_new_owner(numbers, 1));
    assert_false(numbers_returned(numbers, 1));
}

static void a_copy_may_be_thrown_away(void **state)
{
    struct numbers *numbers = *state;
    take(numbers, 0);
    struct numbers *copy = numbers_copy(numbers);
    assert_non_null(copy);
    assert_true(numbers_begin(copy, 0, REST));
    assert_int_equal(take(copy, 7), 1);
    numbers_free(copy);
    const struct endpoint seven = endpoint_of(7);
    assert_int_equal(numbers_find(numbers, &seven), -1);
    assert_int_equal(numbers_state(numbers, 0), NUMBER_TAKEN);
}

/* A model: who may be referred to by each number, at any time. */
static void no_number_is_anothers_while_it_may_be_referred_to(void **state)
{
    enum { ENDPOINTS = 12, STEPS = 20000, MANY = 8 };
    struct numbers *numbers = numbers_new(MANY);
    struct random random = {7};
    int owner[MANY];
    uint64_t until[MANY] = {0}; /* UINT64_MAX: as long as it has flows */
    for (int i = 0; i < MANY; i++)
        owner[i] = -1;
    (void)state;
    for (uint64_t now = 1; now < STEPS; now += 1 + random_below(&random, 200)) {
        assert_true(numbers_begin(numbers, now, REST));
        for (uint16_t n = 0; n < ENDPOINTS; n++) {
            int at = random_below(&random, 3) == 0 ? take(numbers, n) : -1;
            if (at < 0)
                continue;
            assert_true(owner[at] == n || until[at] <= now);
            owner[at] = n;
            until[at] = UINT64_MAX;
        }
        for (uint32_t i = 0; i < MANY; i++)
            if (numbers_state(numbers, i) == NUMBER_LEAVING && random_below(&random, 2) == 0) {
                numbers_rest(numbers, i, now);
                until[i] = now + REST;
            }
    }
    numbers_free(numbers);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(numbers_are_given_in_order_and_kept),
        TEST(who_comes_back_while_it_leaves_is_the_same),
        TEST(a_number_rests_before_it_is_anothers),
        TEST(who_comes_back_from_rest_gets_its_number_but_is_new),
        TEST(a_copy_may_be_thrown_away),
        TEST(no_number_is_anothers_while_it_may_be_referred_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
