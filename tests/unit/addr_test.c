/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Addresses, prefixes and endpoints: what is read, what is refused, and that print and parse are
 * inverse. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "common/addr.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static struct addr parsed(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse(text, &a), 0);
    return a;
}

static struct prefix prefix(const char *text)
{
    struct prefix p;
    bool masked;
    assert_int_equal(prefix_parse(text, &p, &masked), 0);
    assert_false(masked);
    return p;
}

static bool contains(const char *net, const char *address)
{
    struct prefix p = prefix(net);
    struct addr a = parsed(address);
    return prefix_contains(&p, &a);
}

static void an_address_prints_as_it_is_read(void **state)
{
    static const char *const texts[] = {
        "0.0.0.0",         "198.51.100.7",         "255.255.255.255",  "::",      "::1",
        "2001:db8::7",     "2001:db8:0:1::",       "64:ff9b::102:304", "fe80::1", "::102:304",
        "1:2:3:4:5:6:7:8", "2001:db8:0:1:1:1:1:1", "::ffff:0:102:304",
    };
    char out[ADDR_TEXT];
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct addr a = parsed(texts[i]);
        assert_string_equal(addr_print(&a, out), texts[i]);
    }
}

static void ipv6_prints_in_the_canonical_form_of_rfc_5952(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"2001:DB8::0001", "2001:db8::1"},
        {"2001:db8:0:0:0:0:2:1", "2001:db8::2:1"},
        {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},
        {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
        {"0:0:0:0:0:0:0:0", "::"},
        {"::1.2.3.4", "::102:304"},
        {"64:ff9b::1.2.3.4", "64:ff9b::102:304"},
    };
    char out[ADDR_TEXT];
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct addr a = parsed(cases[i].in);
        assert_string_equal(addr_print(&a, out), cases[i].out);
    }
}

static void what_is_not_exactly_an_address_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        " ",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.256",
        "01.2.3.4",
        "1.2.3.04",
        "1.2.3.4 ",
        " 1.2.3.4",
        "1.2.3.4\n",
        "0x1.2.3.4",
        "1.2.3.+4",
        "1.2.3.4:80",
        "1.2.3.4/32",
        "[::1]",
        "::1%lo",
        "fe80::1%1",
        "::ffff:1.2.3.4",
        "::FFFF:102:304",
        "0:0:0:0:0:ffff:1:2",
        ":::",
        "1::2::3",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "12345::",
        "::g",
        "localhost",
        "::1 ",
        "::/0",
        "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct addr a = {.quads = {42, 42}};
        if (addr_parse(texts[i], &a) != -EINVAL)
            fail_msg("\"%s\" was read", texts[i]);
        assert_true(a.quads[0] == 42 && a.quads[1] == 42);
    }
}

static void ipv4_is_kept_in_its_mapped_form(void **state)
{
    struct addr a = parsed("198.51.100.7");
    struct addr same = addr_from_v4(htonl(0xc6336407));
    struct addr v6 = parsed("2001:db8::1");
    (void)state;
    assert_true(addr_is_v4(&a));
    assert_false(addr_is_v4(&v6));
    assert_true(addr_equal(&a, &same));
    assert_int_equal(addr_v4(&a), htonl(0xc6336407));
    struct addr copy = addr_from_v6(v6.bytes);
    assert_true(addr_equal(&copy, &v6));
    assert_false(addr_equal(&copy, &a));
}

static void a_prefix_counts_from_the_128_bit_form(void **state)
{
    char out[ADDR_TEXT];
    (void)state;
    assert_int_equal(prefix("198.51.100.0/24").length, 120);
    assert_int_equal(prefix("0.0.0.0/0").length, 96);
    assert_int_equal(prefix("198.51.100.7").length, 128);
    assert_int_equal(prefix("2001:db8::/32").length, 32);
    assert_int_equal(prefix("::/0").length, 0);
    static const char *const texts[] = {"0.0.0.0/0", "198.51.100.0/24", "198.51.100.7/32",
                                        "::/0",      "2001:db8::/33",   "2001:db8::7/128"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct prefix p = prefix(texts[i]);
        assert_string_equal(prefix_print(&p, out), texts[i]);
    }
}

static void host_bits_are_masked_and_told(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"198.51.100.7/24", "198.51.100.0/24"},
        {"255.255.255.255/1", "128.0.0.0/1"},
        {"1.2.3.4/0", "0.0.0.0/0"},
        {"2001:db8::ffff/121", "2001:db8::ff80/121"},
        {"ffff::/3", "e000::/3"},
        {"::1/0", "::/0"},
    };
    char out[ADDR_TEXT];
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct prefix p;
        bool masked = false;
        assert_int_equal(prefix_parse(cases[i].in, &p, &masked), 0);
        assert_true(masked);
        assert_string_equal(prefix_print(&p, out), cases[i].out);
    }
}

static void what_is_not_exactly_a_prefix_is_refused(void **state)
{
    static const char *const texts[] = {
        "",           "/",          "/24",           "1.2.3.4/",
        "1.2.3.4/33", "1.2.3.4/-1", "1.2.3.4/+8",    "1.2.3.4/08",
        "1.2.3.4/8 ", "1.2.3.4/ 8", "1.2.3.4/8/8",   "1.2.3.4/255.0.0.0",
        "::/129",     "::/256",     "::/4294967296", "::ffff:1.2.3.4/120",
        "1.2.3/8",    "::/00",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct prefix p = {.length = 42};
        if (prefix_parse(texts[i], &p, NULL) != -EINVAL)
            fail_msg("\"%s\" was read", texts[i]);
        assert_int_equal(p.length, 42);
    }
}

static void a_prefix_contains_its_own_and_nothing_else(void **state)
{
    (void)state;
    assert_true(contains("198.51.100.0/24", "198.51.100.0"));
    assert_true(contains("198.51.100.0/24", "198.51.100.255"));
    assert_false(contains("198.51.100.0/24", "198.51.101.0"));
    assert_true(contains("198.51.100.128/25", "198.51.100.200"));
    assert_false(contains("198.51.100.128/25", "198.51.100.127"));
    assert_true(contains("198.51.100.7", "198.51.100.7"));
    assert_false(contains("198.51.100.7", "198.51.100.6"));
    assert_true(contains("2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(contains("2001:db8::/33", "2001:db8:8000::1"));
    assert_true(contains("2001:db8:0:1::/64", "2001:db8:0:1:ffff:ffff:ffff:ffff"));
    assert_false(contains("2001:db8:0:1::/64", "2001:db8:0:2::"));
    assert_true(contains("2001:db8::8000:0:0:0/65", "2001:db8::ffff:0:0:1"));
    assert_false(contains("2001:db8::8000:0:0:0/65", "2001:db8::7fff:0:0:1"));
    assert_true(contains("::/0", "ffff::"));
    assert_true(contains("0.0.0.0/0", "255.1.2.3"));
}

static void the_families_never_contain_each_other(void **state)
{
    (void)state;
    assert_false(contains("::/0", "198.51.100.7"));
    assert_false(contains("::/64", "0.0.0.0"));
    assert_false(contains("0.0.0.0/0", "::1"));
    assert_false(contains("0.0.0.0/0", "::"));
}

static void an_endpoint_prints_as_it_is_read(void **state)
{
    static const char *const texts[] = {"198.51.100.7:80", "0.0.0.0:1", "[::]:65535",
                                        "[2001:db8::7]:8080"};
    char out[ADDR_TEXT];
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct endpoint e;
        assert_int_equal(endpoint_parse(texts[i], &e), 0);
        assert_string_equal(endpoint_print(&e, out), texts[i]);
    }
}

static void what_is_not_exactly_an_endpoint_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        ":80",
        "1.2.3.4",
        "1.2.3.4:",
        "1.2.3.4:0",
        "1.2.3.4:65536",
        "1.2.3.4:080",
        "1.2.3.4:-1",
        "1.2.3.4:80 ",
        "1.2.3.4: 80",
        "1.2.3.4:80:80",
        "[1.2.3.4]:80",
        "::1:80",
        "[::1]",
        "[::1]80",
        "[::1]:",
        "[::1]:0",
        "[::1:80",
        "[]:80",
        "[::1]]:80",
        "[[::1]]:80",
        "[::ffff:1.2.3.4]:80",
        "[::1%lo]:80",
        "[",
        "1.2.3.4:99999999999",
        "*:80",
        ":::80",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct endpoint e = {.port = 42};
        if (endpoint_parse(texts[i], &e) != -EINVAL)
            fail_msg("\"%s\" was read", texts[i]);
        assert_int_equal(e.port, 42);
    }
}

static void the_longest_forms_fit(void **state)
{
    const char *address = "abcd:abcd:abcd:abcd:abcd:abcd:abcd:abcd";
    struct endpoint e = {.addr = parsed(address), .port = 65535};
    struct prefix p = {.base = e.addr, .length = 128};
    char out[ADDR_TEXT];
    (void)state;
    assert_string_equal(endpoint_print(&e, out), "[abcd:abcd:abcd:abcd:abcd:abcd:abcd:abcd]:65535");
    assert_string_equal(prefix_print(&p, out), "abcd:abcd:abcd:abcd:abcd:abcd:abcd:abcd/128");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_prints_as_it_is_read),
        cmocka_unit_test(ipv6_prints_in_the_canonical_form_of_rfc_5952),
        cmocka_unit_test(what_is_not_exactly_an_address_is_refused),
        cmocka_unit_test(ipv4_is_kept_in_its_mapped_form),
        cmocka_unit_test(a_prefix_counts_from_the_128_bit_form),
        cmocka_unit_test(host_bits_are_masked_and_told),
        cmocka_unit_test(what_is_not_exactly_a_prefix_is_refused),
        cmocka_unit_test(a_prefix_contains_its_own_and_nothing_else),
        cmocka_unit_test(the_families_never_contain_each_other),
        cmocka_unit_test(an_endpoint_prints_as_it_is_read),
        cmocka_unit_test(what_is_not_exactly_an_endpoint_is_refused),
        cmocka_unit_test(the_longest_forms_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
