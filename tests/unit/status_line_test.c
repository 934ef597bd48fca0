/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The status of a response, in any pieces. */
#include "dataplane/tcp/status_line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

/* What all splits of the text into two pieces, and single bytes, come to: the code, 0 when more is
 * wanted, -1 when it is none. */
static int status_of(const char *text)
{
    const uint8_t *bytes = (const uint8_t *)text;
    const uint32_t length = (uint32_t)strlen(text);
    struct status_line whole = {0};
    const enum status_event event = status_line_read(&whole, bytes, length);
    for (uint32_t cut = 0; cut <= length; cut++) {
        struct status_line line = {0};
        enum status_event one = status_line_read(&line, bytes, cut);
        if (one == STATUS_MORE)
            one = status_line_read(&line, bytes + cut, length - cut);
        assert_int_equal(one, event);
        assert_int_equal(line.code, whole.code);
    }
    struct status_line line = {0};
    enum status_event one = STATUS_MORE;
    for (uint32_t i = 0; i < length && one == STATUS_MORE; i++)
        one = status_line_read(&line, bytes + i, 1);
    assert_int_equal(one, event);
    return event == STATUS_BAD ? -1 : event == STATUS_READ ? whole.code : 0;
}

static void a_status_is_read_as_soon_as_it_is_there(void **state)
{
    (void)state;
    assert_int_equal(status_of("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), 200);
    assert_int_equal(status_of("HTTP/1.1 200 "), 200);
    assert_int_equal(status_of("HTTP/1.0 503\r\n"), 503);
    assert_int_equal(status_of("HTTP/1.1 302\n"), 302);
    assert_int_equal(status_of("HTTP/1.1 200"), 0); /* it may be 2000 */
    assert_int_equal(status_of(""), 0);
}

static void what_is_no_response_is_told_at_its_first_wrong_byte(void **state)
{
    static const char *const bad[] = {
        "SSH-2.0-",       "HTTP/2 200 ",   "HTTP/1.1  200 ", "HTTP/1.1 20 ",
        "HTTP/1.1 2000 ", "http/1.1 200 ", "HTTP/1.x 200 ",  "HTTP/1.1 2x0 ",
        "HTTP/1.1 099 ",  "HTTP/1.1 600 ", "\r\n",           "HTTP/1.1 200x ",
        "HTTP/1.1\t200 ", "\x15\x03\x01",  "HTTP/1.1 101 ",  "HTTP/1.11 200 "};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (status_of(bad[i]) != -1)
            fail_msg("accepted: %s", bad[i]);
}

static void interim_responses_are_passed_over(void **state)
{
    (void)state;
    assert_int_equal(status_of("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 "), 200);
    assert_int_equal(status_of("HTTP/1.1 100\n\nHTTP/1.1 102 x\r\n\r\nHTTP/1.1 500 "), 500);
    assert_int_equal(status_of("HTTP/1.1 100 Continue\r\n\r\n"), 0);
    assert_int_equal(status_of("HTTP/1.1 100 Continue\r\nA: b\r\nHTTP/1.1 200 "), 0); /* a field */
    assert_int_equal(status_of("HTTP/1.1 100 Continue\r\n\r\nnonsense"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_status_is_read_as_soon_as_it_is_there),
        cmocka_unit_test(what_is_no_response_is_told_at_its_first_wrong_byte),
        cmocka_unit_test(interim_responses_are_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
