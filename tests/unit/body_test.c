/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The body of a reservation request: the one form that is accepted, and a reason for every other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "control/api/body.h"

static const char *parse(const char *text, int32_t *quantity)
{
    return body_parse(text, strlen(text), quantity);
}

static void a_quantity_is_read_however_it_is_spelt(void **state)
{
    int32_t quantity = 0;
    (void)state;
    assert_null(parse("{\"quantity\":1}", &quantity));
    assert_int_equal(quantity, 1);
    assert_null(parse(" { \"quantity\" :\n10000 } ", &quantity));
    assert_int_equal(quantity, 10000);
    assert_null(parse("{\"\\u0071uantity\":3}", &quantity));
    assert_int_equal(quantity, 3);
}

static void everything_else_is_refused_with_a_reason(void **state)
{
    static const struct {
        const char *body, *reason;
    } cases[] = {
        {"", "empty"},
        {"{", "not valid JSON"},
        {"{\"quantity\":1}x", "not valid JSON"},
        {"{'quantity':1}", "not valid JSON"},
        {"{\"quantity\":01}", "not valid JSON"},
        {"{\"quantity\":1,}", "not valid JSON"},
        {"[1]", "not a JSON object"},
        {"1", "not a JSON object"},
        {"null", "not a JSON object"},
        {"{}", "missing"},
        {"{\"Quantity\":1}", "missing"},
        {"{\"quantity\":1,\"colour\":\"red\"}", "other than"},
        {"{\"quantity\":1,\"quantity\":2}", "twice"},
        {"{\"quantity\":\"1\"}", "not an integer"},
        {"{\"quantity\":1.0}", "not an integer"},
        {"{\"quantity\":true}", "not an integer"},
        {"{\"quantity\":null}", "not an integer"},
        {"{\"quantity\":0}", "within"},
        {"{\"quantity\":-1}", "within"},
        {"{\"quantity\":10001}", "within"},
        {"{\"quantity\":9223372036854775807}", "within"},
        {"{\"quantity\":99999999999999999999}", "not valid JSON"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t quantity = 77;
        const char *reason = parse(cases[i].body, &quantity);
        assert_non_null(reason);
        assert_non_null(strstr(reason, cases[i].reason));
        assert_int_equal(quantity, 77);
        assert_null(strpbrk(reason, "\"\\")); /* it is printed into JSON as it is */
    }
}

static void a_zero_byte_ends_nothing(void **state)
{
    static const char body[] = "{\"quantity\":1}\0{";
    int32_t quantity;
    (void)state;
    assert_non_null(body_parse(body, sizeof body - 1, &quantity));
}

static void a_body_that_nests_deeply_is_refused(void **state)
{
    char body[BODY_MAX + 1];
    int32_t quantity;
    (void)state;
    memset(body, '[', sizeof body);
    assert_non_null(body_parse(body, BODY_MAX, &quantity));
    assert_non_null(strstr(body_parse(body, BODY_MAX + 1, &quantity), "too large"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quantity_is_read_however_it_is_spelt),
        cmocka_unit_test(everything_else_is_refused_with_a_reason),
        cmocka_unit_test(a_zero_byte_ends_nothing),
        cmocka_unit_test(a_body_that_nests_deeply_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
