/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The list of server names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "dataplane/tls/names.h"

static void exact_names_and_one_label_of_a_wildcard_are_allowed(void **state)
{
    (void)state;
    char *const list[] = {"Shop.Example", "*.cdn.example", "a.b"};
    struct names *names = names_new(list, 3);
    assert_true(names_allow(names, "shop.example"));
    assert_true(names_allow(names, "a.b"));
    assert_true(names_allow(names, "x.cdn.example"));
    assert_false(names_allow(names, "x.y.cdn.example"));
    assert_false(names_allow(names, "cdn.example"));
    assert_false(names_allow(names, "www.shop.example"));
    assert_false(names_allow(names, "shop.example.evil"));
    assert_false(names_allow(names, ""));
    names_free(names);
}

static void what_is_no_host_name_is_refused_with_a_reason(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "shop.example", "*.shop.example",
                                       "xn--bcher-kva.example", "a_b.c"};
    static const char *const bad[] = {"",   "*",   "*.",    "*.com", "a..b",       ".a",
                                      "a.", "a b", "a.*.b", "*a.b",  "b\xc3\xbc.c"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_null(names_refuse(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_non_null(names_refuse(bad[i]));
    char label[70];
    memset(label, 'a', sizeof label);
    label[63] = '\0';
    assert_null(names_refuse(label));
    label[63] = 'a';
    label[64] = '\0';
    assert_non_null(names_refuse(label));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_names_and_one_label_of_a_wildcard_are_allowed),
        cmocka_unit_test(what_is_no_host_name_is_refused_with_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
