/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The ways to read a path. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "common/path.h"
#include "tests/unit/random.h"

static unsigned readings(const char *raw)
{
    struct path path;
    const char *text;
    size_t length;
    unsigned count = 0;
    path_begin(&path, raw, strlen(raw));
    while (path_next(&path, &text, &length))
        count++;
    return count;
}

static bool reads_as(const char *raw, const char *wanted)
{
    struct path path;
    const char *text;
    size_t length;
    bool found = false;
    path_begin(&path, raw, strlen(raw));
    while (path_next(&path, &text, &length))
        found |= length == strlen(wanted) && memcmp(text, wanted, length) == 0;
    return found;
}

static void what_every_server_reads_alike_is_plain(void **state)
{
    (void)state;
    static const char *const plain[] = {"/",
                                        "/v1",
                                        "/v1/",
                                        "/v1/sales/7",
                                        "/.well-known/x",
                                        "/a..b/c.",
                                        "/...",
                                        "*",
                                        "",
                                        "/v1/~ann:x,y=z&w!$'()*+@"};
    static const char *const odd[] = {"//",     "/v1//x", "/.",  "/..",  "/./x", "/x/..",
                                      "/x/../", "/%73",   "/a;", "/a\\", "/%"};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        assert_true(path_is_plain(plain[i], strlen(plain[i])));
        assert_true(reads_as(plain[i], plain[i]));
    }
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        assert_false(path_is_plain(odd[i], strlen(odd[i])));
}

static void each_way_of_hiding_a_path_is_seen_through(void **state)
{
    (void)state;
    static const char *const hidden[] = {
        "/v1/%73ales/7",       "//v1/sales/7",          "/v1/./sales/7",
        "/v1//sales/7",        "/x/../v1/sales/7",      "/v1/sales/8/../7",
        "/v1/%2e/sales/7",     "/%76%31/sales/7",       "/v1/x/%2e%2E/sales/7",
        "/x/..//v1/sales/7",   "/x//../v1/sales/7",     "/v1%2fsales%2F7",
        "/v1/%2573ales/7",     "/v1\\sales\\7",         "/v1;a=b/sales;c/7;d",
        "/..;/v1/sales/7",     "/../../v1/sales/7",     "/v1/%25%37%33ales/7",
        "/v1/sales/8/.%2e/7",  "/v1/x/..//sales/7",     "/v1/%5c..%5cv1/sales/7",
        "/v1/sales//8//../7",  "/v1/x//../..//sales/7", "/v1/sales;a=%2Fx/7",
        "/v1;%2f;%2f/sales/7",
    };
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        if (!reads_as(hidden[i], "/v1/sales/7"))
            fail_msg("%s", hidden[i]);
}

static void a_path_is_also_read_as_it_stands(void **state)
{
    (void)state;
    static const char *const odd[] = {"/v1/sales/7/../8", "//v1", "/%73", "/a;b", "/a\\b", "/./"};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        assert_true(reads_as(odd[i], odd[i]));
    assert_true(reads_as("/a%2Fb/%73", "/a%2Fb/s")); /* who decodes all but slashes */
    assert_true(reads_as("/a/.//b/../c//d", "/a/b/../c//d") ||
                reads_as("/a/.//b/../c//d", "/a//c//d")); /* who resolves and does not merge */
}

static void dot_segments_end_at_the_root_and_keep_a_slash(void **state)
{
    (void)state;
    assert_true(reads_as("/a/b/..", "/a/"));
    assert_true(reads_as("/a/b/.", "/a/b/"));
    assert_true(reads_as("/..", "/"));
    assert_true(reads_as("/../..", "/"));
    assert_true(reads_as("/a/../../b", "/b"));
}

static void what_is_no_escape_stays(void **state)
{
    (void)state;
    assert_true(reads_as("/%zz/%4", "/%zz/%4"));
    assert_true(reads_as("/%", "/%"));
    assert_true(reads_as("/%7", "/%7"));
    assert_true(reads_as("/%%37", "/%7"));
}

static void readings_are_few_and_never_longer_than_the_path(void **state)
{
    (void)state;
    static const char bytes[] = "//..%%2eEfF5cC;\\a7";
    struct random r = {0};
    assert_int_equal(readings("/plain"), 1);
    assert_int_equal(readings("/a;b"), 2);
    for (int i = 0; i < 200000; i++) {
        char raw[PATH_MAX_BYTES + 1];
        struct path path;
        const char *text;
        size_t length = 1 + random_below(&r, 40), got;
        unsigned count = 0;
        raw[0] = '/';
        for (size_t k = 1; k < length; k++)
            raw[k] = bytes[random_below(&r, sizeof bytes - 1)];
        path_begin(&path, raw, length);
        while (path_next(&path, &text, &got)) {
            assert_true(got <= length && got > 0 && text[0] == '/');
            count++;
        }
        assert_true(count >= 1 && count <= PATH_READINGS);
    }
    assert_int_equal(readings("//%2e%2e/%2f%252e;%2f"),
                     PATH_READINGS - 3); /* no dots while encoded */
}

static void a_path_that_no_parser_lets_pass_has_no_reading(void **state)
{
    (void)state;
    char raw[PATH_MAX_BYTES + 2];
    struct path path;
    const char *text;
    size_t length;
    memset(raw, '/', sizeof raw);
    path_begin(&path, raw, PATH_MAX_BYTES + 1);
    assert_false(path_next(&path, &text, &length));
    path_begin(&path, raw, PATH_MAX_BYTES);
    assert_true(path_next(&path, &text, &length));
    assert_int_equal(length, PATH_MAX_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_every_server_reads_alike_is_plain),
        cmocka_unit_test(each_way_of_hiding_a_path_is_seen_through),
        cmocka_unit_test(a_path_is_also_read_as_it_stands),
        cmocka_unit_test(dot_segments_end_at_the_root_and_keep_a_slash),
        cmocka_unit_test(what_is_no_escape_stays),
        cmocka_unit_test(readings_are_few_and_never_longer_than_the_path),
        cmocka_unit_test(a_path_that_no_parser_lets_pass_has_no_reading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
