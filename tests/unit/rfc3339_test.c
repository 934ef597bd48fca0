/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Times as text. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "common/rfc3339.h"
#include "tests/unit/random.h"

static int64_t read(const char *text)
{
    int64_t at = -1;
    return rfc3339_parse(text, &at) == 0 ? at : -1;
}

static void a_time_is_read_to_the_millisecond_in_any_zone(void **state)
{
    (void)state;
    assert_int_equal(read("1970-01-01T00:00:00Z"), 0);
    assert_int_equal(read("2026-11-27T10:00:00Z"), INT64_C(1795773600000));
    assert_int_equal(read("2026-11-27T10:00:00.5Z"), INT64_C(1795773600500));
    assert_int_equal(read("2026-11-27T10:00:00.123456789Z"), INT64_C(1795773600123));
    assert_int_equal(read("2026-11-27T11:00:00+01:00"), INT64_C(1795773600000));
    assert_int_equal(read("2026-11-27T04:30:00-05:30"), INT64_C(1795773600000));
    assert_int_equal(read("2024-02-29T23:59:59Z"), INT64_C(1709251199000));
    assert_int_equal(read("9999-12-31T23:59:59.999Z"), INT64_C(253402300799999));
}

static void what_is_no_time_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "2026-11-27",
        "2026-11-27T10:00Z",
        "2026-11-27 10:00:00Z",
        "2026-11-27T10:00:00",
        "2026-11-27T10:00:00z",
        "2026-11-27T10:00:00.Z",
        "2026-11-27T10:00:00.1234567890Z",
        "2026-11-27T10:00:00Z ",
        "2026-11-27T10:00:00+01",
        "2026-11-27T10:00:00+24:00",
        "2026-11-27T10:00:00+01:60",
        "2026-11-27T10:00:00+01:000",
        "2026-13-27T10:00:00Z",
        "2026-00-27T10:00:00Z",
        "2026-11-31T10:00:00Z",
        "2026-02-29T10:00:00Z",
        "2026-11-00T10:00:00Z",
        "2026-11-27T24:00:00Z",
        "2026-11-27T10:60:00Z",
        "2026-11-27T10:00:60Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "2026-11-2 T10:00:00Z",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (read(bad[i]) != -1)
            fail_msg("%s", bad[i]);
}

static void what_is_printed_reads_to_the_same(void **state)
{
    (void)state;
    struct random r = {0};
    char text[RFC3339_TEXT];
    for (int i = 0; i < 100000; i++) {
        int64_t at = (int64_t)(random_64(&r) % UINT64_C(253402300800000));
        at -= i % 2 ? at % 1000 : 0;
        assert_int_equal(read(rfc3339_print(at, text)), at);
    }
    assert_string_equal(rfc3339_print(INT64_C(1795773600000), text), "2026-11-27T10:00:00Z");
    assert_string_equal(rfc3339_print(INT64_C(1795773600050), text), "2026-11-27T10:00:00.050Z");
    assert_string_equal(rfc3339_print(INT64_MAX, text), "9999-12-31T23:59:59.999Z");
    assert_string_equal(rfc3339_print(-1, text), "1970-01-01T00:00:00Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_time_is_read_to_the_millisecond_in_any_zone),
        cmocka_unit_test(what_is_no_time_is_refused),
        cmocka_unit_test(what_is_printed_reads_to_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
