/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The order in which flows closed: oldest first, bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "dataplane/tcp/linger.h"

static void the_oldest_comes_first(void **state)
{
    struct linger *l = linger_new(5);
    (void)state;
    assert_int_equal(linger_oldest(l), LINGER_NONE);
    linger_drop(l); /* nothing */
    for (uint32_t round = 0; round < 20; round++) {
        for (uint32_t i = 0; i < 4; i++)
            linger_add(l, round + i);
        for (uint32_t i = 0; i < 4; i++) {
            assert_int_equal(linger_oldest(l), round + i);
            assert_int_equal(linger_oldest(l), round + i); /* it stays until it is dropped */
            linger_drop(l);
        }
        assert_int_equal(linger_oldest(l), LINGER_NONE);
    }
    linger_free(l);
}

static void when_it_is_full_the_oldest_goes(void **state)
{
    struct linger *l = linger_new(3);
    (void)state;
    for (uint32_t i = 0; i < 10; i++)
        linger_add(l, i);
    for (uint32_t i = 7; i < 10; i++, linger_drop(l))
        assert_int_equal(linger_oldest(l), i);
    assert_int_equal(linger_oldest(l), LINGER_NONE);
    linger_free(l);
}

static void a_ring_without_room_is_not_made(void **state)
{
    (void)state;
    assert_null(linger_new(0));
    assert_null(linger_new(UINT32_MAX));
    linger_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_oldest_comes_first),
        cmocka_unit_test(when_it_is_full_the_oldest_goes),
        cmocka_unit_test(a_ring_without_room_is_not_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
