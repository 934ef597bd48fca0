/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Times as text: the same form always, whatever the database holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/timestamp.h"

static void assert_prints(int64_t at, const char *expected)
{
    char out[TIMESTAMP_TEXT];
    assert_string_equal(timestamp_print(at, out), expected);
}

static void a_time_has_six_decimals_and_is_in_utc(void **state)
{
    (void)state;
    assert_prints(0, "2000-01-01T00:00:00.000000Z");
    assert_prints(1, "2000-01-01T00:00:00.000001Z");
    assert_prints(INT64_C(849088800123456), "2026-11-27T10:00:00.123456Z");
    assert_prints(INT64_C(5097599999999), "2000-02-28T23:59:59.999999Z");
    assert_prints(INT64_C(5097600000000), "2000-02-29T00:00:00.000000Z");
}

static void a_time_before_2000_counts_backwards(void **state)
{
    (void)state;
    assert_prints(-1, "1999-12-31T23:59:59.999999Z");
    assert_prints(-INT64_C(946684800000000), "1970-01-01T00:00:00.000000Z");
}

static void what_has_no_four_digit_year_is_clamped(void **state)
{
    (void)state;
    assert_prints(TIMESTAMP_INFINITY, "9999-12-31T23:59:59.000000Z");
    assert_prints(TIMESTAMP_NINFINITY, "1000-01-01T00:00:00.000000Z");
    assert_false(timestamp_is_finite(TIMESTAMP_INFINITY));
    assert_false(timestamp_is_finite(TIMESTAMP_NINFINITY));
    assert_true(timestamp_is_finite(0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_time_has_six_decimals_and_is_in_utc),
        cmocka_unit_test(a_time_before_2000_counts_backwards),
        cmocka_unit_test(what_has_no_four_digit_year_is_clamped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
