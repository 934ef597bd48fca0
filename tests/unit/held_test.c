/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The slab of held requests: copies, bounds, and slots given back (tcp-pitfalls 25). */
#include "dataplane/tcp/held.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/random.h"

static void pitfall_25_bytes_are_copied_and_stay_until_they_are_dropped(void **state)
{
    (void)state;
    struct held *held = held_new(3);
    uint8_t bytes[HELD_SLOT], copy[HELD_SLOT];
    memset(bytes, 7, sizeof bytes);
    memcpy(copy, bytes, sizeof bytes);
    const uint32_t whole = held_put(held, bytes, HELD_SLOT), one = held_put(held, "1", 1);
    memset(bytes, 9, sizeof bytes);
    assert_memory_equal(held_at(held, whole)->bytes, copy, HELD_SLOT);
    assert_int_equal(held_at(held, one)->bytes[0], '1');
    assert_int_equal(held_count(held), 2);
    held_free(held);
}

static void a_full_slab_takes_nothing_until_a_slot_is_given_back(void **state)
{
    (void)state;
    struct held *held = held_new(2);
    const uint32_t first = held_put(held, "a", 1), second = held_put(held, "b", 1);
    assert_int_not_equal(first, second);
    assert_int_equal(held_put(held, "c", 1), HELD_NONE);
    assert_int_equal(held_count(held), 2);
    held_drop(held, first);
    assert_int_equal(held_put(held, "d", 1), first);
    assert_int_equal(held_at(held, second)->bytes[0], 'b');
    assert_int_equal(held_put(held, "e", 1), HELD_NONE);
    held_free(held);
}

static void dropping_no_slot_is_nothing(void **state)
{
    (void)state;
    struct held *held = held_new(1);
    held_drop(held, HELD_NONE);
    assert_int_equal(held_count(held), 0);
    held_free(held);
    held_free(NULL);
}

static void a_slab_has_one_slot_at_least_and_2_to_the_24_at_most(void **state)
{
    (void)state;
    assert_null(held_new(0));
    assert_null(held_new((1U << 24) + 1));
}

static void slots_never_overlap_whatever_the_order(void **state)
{
    enum { SLOTS = 50, STEPS = 20000 };
    (void)state;
    struct held *held = held_new(SLOTS);
    struct random random = {42};
    uint32_t slot[SLOTS], count = 0;
    uint64_t mark[SLOTS];
    for (int i = 0; i < STEPS; i++) {
        if (random_below(&random, 2) && count < SLOTS) {
            uint8_t bytes[HELD_SLOT];
            mark[count] = random_64(&random);
            memcpy(bytes, &mark[count], 8);
            memcpy(bytes + HELD_SLOT - 8, &mark[count], 8);
            slot[count] = held_put(held, bytes, HELD_SLOT);
            assert_in_range(slot[count], 0, SLOTS - 1);
            count++;
        } else if (count > 0) {
            const uint32_t at = random_below(&random, count);
            const uint8_t *bytes = held_at(held, slot[at])->bytes;
            assert_memory_equal(bytes, &mark[at], 8);
            assert_memory_equal(bytes + HELD_SLOT - 8, &mark[at], 8);
            held_drop(held, slot[at]);
            count--;
            slot[at] = slot[count];
            mark[at] = mark[count];
        }
        assert_int_equal(held_count(held), count);
    }
    held_free(held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pitfall_25_bytes_are_copied_and_stay_until_they_are_dropped),
        cmocka_unit_test(a_full_slab_takes_nothing_until_a_slot_is_given_back),
        cmocka_unit_test(dropping_no_slot_is_nothing),
        cmocka_unit_test(a_slab_has_one_slot_at_least_and_2_to_the_24_at_most),
        cmocka_unit_test(slots_never_overlap_whatever_the_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
