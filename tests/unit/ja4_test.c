/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Fingerprints against the example in JA4's own description; and their table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "dataplane/tls/ja4.h"
#include "tests/unit/hello_build.h"

static struct hello hello;

static const char *fingerprint(const struct built *built)
{
    static char text[JA4_TEXT];
    assert_int_equal(hello_read(built->bytes, built->length, &hello), HELLO_OK);
    ja4_print(&hello, text);
    return text;
}

static void the_published_example_has_its_fingerprint(void **state)
{
    (void)state;
    struct built built = built_hello();
    assert_string_equal(fingerprint(&built), "t13d1516h2_8daaf6152771_e5627efa2ab1");
}

static void the_order_of_extensions_does_not_matter_but_that_of_signatures_does(void **state)
{
    (void)state;
    struct built built = built_hello();
    fingerprint(&built);
    char before[JA4_TEXT], after[JA4_TEXT];
    ja4_print(&hello, before);
    uint16_t first = hello.extensions[2];
    hello.extensions[2] = hello.extensions[5];
    hello.extensions[5] = first;
    ja4_print(&hello, after);
    assert_string_equal(before, after);
    static const uint8_t other_order[] = {8, 4, 4, 3};
    hello.signatures = (struct hello_list){other_order, 2};
    ja4_print(&hello, after);
    assert_string_not_equal(before, after);
}

static void what_is_missing_is_written_as_zeros(void **state)
{
    (void)state;
    struct built built = built_hello();
    fingerprint(&built);
    hello.extension_count = 0;
    hello.has_name = false;
    hello.alpn_first = hello.alpn_last = 0;
    hello.ciphers.count = 0;
    hello.version = 0x0303;
    char text[JA4_TEXT];
    ja4_print(&hello, text);
    assert_string_equal(text, "t12i000000_000000000000_000000000000");
}

static void an_odd_protocol_name_is_written_in_hex(void **state)
{
    (void)state;
    struct built built = built_hello();
    fingerprint(&built);
    hello.alpn_first = (char)0xab;
    hello.alpn_last = (char)0xcd;
    char text[JA4_TEXT];
    ja4_print(&hello, text);
    assert_memory_equal(text + 8, "ad", 2);
}

static void each_fingerprint_is_counted_and_a_full_table_loses_none(void **state)
{
    (void)state;
    enum { KINDS = 3 * JA4_TABLE };
    struct ja4_table *table = calloc(1, sizeof *table);
    assert_non_null(table);
    char text[JA4_TEXT];
    uint64_t total = 0, most = 0;
    for (int i = 0; i < 2 * KINDS; i++) {
        snprintf(text, sizeof text, "t13d1516h2_8daaf6152771_%012d", i % KINDS);
        ja4_count(table, text);
    }
    for (int i = 0; i < JA4_TABLE; i++) {
        total += table->slot[i].count;
        most = table->slot[i].count > most ? table->slot[i].count : most;
        if (table->slot[i].count)
            assert_int_equal(strlen(table->slot[i].text), JA4_TEXT - 1);
    }
    assert_int_equal(most, 2);
    assert_true(total > JA4_TABLE);
    assert_int_equal(total + table->other, 2 * KINDS);
    free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_example_has_its_fingerprint),
        cmocka_unit_test(the_order_of_extensions_does_not_matter_but_that_of_signatures_does),
        cmocka_unit_test(what_is_missing_is_written_as_zeros),
        cmocka_unit_test(an_odd_protocol_name_is_written_in_hex),
        cmocka_unit_test(each_fingerprint_is_counted_and_a_full_table_loses_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
