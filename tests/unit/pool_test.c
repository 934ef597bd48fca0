/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The pool of requests: clean when taken, used again when given back, and freed whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/api/pool.h"

static void a_request_is_clean_also_the_second_time(void **state)
{
    struct pool pool = {0};
    (void)state;
    struct ledger_request *r = pool_take(&pool);
    r->sale = 7;
    r->user_length = 3;
    atomic_store(&r->phase, PHASE_DONE);
    pool_give(&pool, r);
    assert_ptr_equal(pool_take(&pool), r); /* the last one in is still in the cache */
    assert_int_equal(r->sale, 0);
    assert_int_equal(r->user_length, 0);
    assert_int_equal(atomic_load(&r->phase), PHASE_WAITING);
    pool_free(&pool);
}

static void no_request_is_given_out_twice(void **state)
{
    enum { MANY = 300 };
    struct ledger_request *taken[MANY];
    struct pool pool = {0};
    (void)state;
    for (int i = 0; i < MANY; i++) {
        taken[i] = pool_take(&pool);
        assert_non_null(taken[i]);
        for (int j = 0; j < i; j++)
            assert_ptr_not_equal(taken[i], taken[j]);
    }
    pool_free(&pool); /* those that are out as well: the leak checker sees to it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_clean_also_the_second_time),
        cmocka_unit_test(no_request_is_given_out_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
