/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The gateway's own answers, byte for byte where it matters, and as a strict reader of HTTP sees
 * them elsewhere; who gets a page, and who JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "dataplane/admit/reply.h"

#define NOW UINT64_C(1795390500999) /* 2026-11-22 23:35:00 and 999 ms */

static char text[REPLY_MOST + 1];

static const char *write_reply(const struct refusal *refusal, uint64_t unix_ms)
{
    uint16_t length = reply_write(refusal, unix_ms, (uint8_t *)text);
    assert_in_range(length, 1, REPLY_MOST);
    text[length] = '\0';
    assert_int_equal(strlen(text), length);
    return text;
}

static void a_rate_is_told_with_its_time(void **state)
{
    (void)state;
    const struct refusal refusal = {.kind = REFUSAL_RATE, .retry_after_s = 17};
    assert_string_equal(write_reply(&refusal, NOW),
                        "HTTP/1.1 429 Too Many Requests\r\n"
                        "Date: Sun, 22 Nov 2026 23:35:00 GMT\r\n"
                        "Content-Type: application/problem+json\r\n"
                        "Content-Length: 96\r\n"
                        "Cache-Control: no-store\r\n"
                        "Retry-After: 17\r\n"
                        "Connection: close\r\n\r\n"
                        "{\"type\":\"tag:dropgate,2026:problems/too-many-requests\","
                        "\"title\":\"Too many requests\",\"status\":429}");
}

static void an_opening_is_told_when_it_is_known(void **state)
{
    (void)state;
    struct refusal refusal = {
        .kind = REFUSAL_NOT_OPEN, .retry_after_s = 60, .opens_at = INT64_C(1795773600120)};
    const char *reply = write_reply(&refusal, NOW);
    assert_non_null(strstr(reply, "HTTP/1.1 403 Forbidden\r\n"));
    assert_non_null(strstr(reply, "\"opens_at\":\"2026-11-27T10:00:00.120000Z\"}"));
    refusal.opens_at = 0;
    assert_null(strstr(write_reply(&refusal, NOW), "opens_at"));
}

static void what_has_no_time_to_come_again_says_none(void **state)
{
    (void)state;
    const struct refusal refusal = {.kind = REFUSAL_SOLD_OUT};
    assert_null(strstr(write_reply(&refusal, NOW), "Retry-After"));
}

static void a_page_says_what_the_problem_says(void **state)
{
    (void)state;
    const struct refusal refusal = {.kind = REFUSAL_CLOSED, .html = true};
    assert_string_equal(
        write_reply(&refusal, NOW),
        "HTTP/1.1 410 Gone\r\n"
        "Date: Sun, 22 Nov 2026 23:35:00 GMT\r\n"
        "Content-Type: text/html; charset=utf-8\r\n"
        "Content-Length: 152\r\n"
        "Cache-Control: no-store\r\n"
        "Connection: close\r\n\r\n"
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>The sale is over</title>"
        "<h1>The sale is over</h1><p>Thank you for your interest.</p></html>\n");
}

/* Every kind as JSON and as a page, with and without body, with the longest numbers there are. */
static void every_answer_fits_into_the_smallest_segment_and_says_its_length(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4U * REFUSAL_KINDS; i++) {
        const struct refusal refusal = {
            .kind = (uint8_t)(i / 4),
            .retry_after_s = UINT32_MAX,
            .opens_at = INT64_C(253402300799999), /* the last of the year 9999 */
            .head = (i & 1) != 0,
            .html = (i & 2) != 0,
        };
        if (refusal.kind == REFUSAL_NONE)
            continue;
        const char *reply = write_reply(&refusal, UINT64_C(253402300799999));
        const char *length = strstr(reply, "\r\nContent-Length: "),
                   *body = strstr(reply, "\r\n\r\n");
        assert_non_null(length);
        assert_non_null(body);
        assert_non_null(strstr(reply, "\r\nRetry-After: 4294967295\r\n"));
        assert_non_null(strstr(reply, "\r\nConnection: close\r\n"));
        size_t said = (size_t)strtoul(length + 18, NULL, 10);
        assert_true(said > 0);
        assert_int_equal(strlen(body + 4), refusal.head ? 0 : said);
    }
}

static void dates_are_those_of_the_calendar(void **state)
{
    (void)state;
    const struct refusal refusal = {.kind = REFUSAL_BUSY};
    /* each day of four centuries and a bit, at another second of it */
    for (uint64_t day = 0; day < 150000; day++) {
        time_t at = (time_t)(day * 86400 + day * 7919 % 86400);
        struct tm tm;
        char expected[64];
        gmtime_r(&at, &tm);
        strftime(expected, sizeof expected, "\r\nDate: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
        assert_non_null(strstr(write_reply(&refusal, (uint64_t)at * 1000), expected));
    }
}

/* ---- Accept ---- */

static bool prefers(const char *accept)
{
    struct http1_slice slice = {accept, strlen(accept)};
    return reply_prefers_html(&slice);
}

static void browsers_that_show_a_page_get_one(void **state)
{
    (void)state;
    assert_true(prefers("text/html"));
    assert_true(prefers("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,"
                        "image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"));
    assert_true(prefers("application/json;q=0.5 , TEXT/HTML ; Q=0.501"));
    assert_true(prefers("text/*, */*;q=0.1"));
    assert_true(prefers("application/json;q=0, */*"));
}

static void programs_get_json(void **state)
{
    (void)state;
    assert_false(reply_prefers_html(NULL));
    assert_false(prefers(""));
    assert_false(prefers("*/*"));
    assert_false(prefers("application/json, text/plain, */*"));
    assert_false(prefers("application/json, text/html"));
    assert_false(prefers("text/html;q=0"));
    assert_false(prefers("text/html;q=0, */*"));
    assert_false(prefers("text/html;q=0.5, application/problem+json"));
    assert_false(prefers("image/avif,image/webp"));
}

static void what_is_no_accept_means_nothing(void **state)
{
    (void)state;
    assert_false(prefers("text/html;q="));
    assert_false(prefers("text/html;q=2"));
    assert_false(prefers("text/html;q=1.5"));
    assert_false(prefers("text/html;q=0x"));
    assert_false(prefers("text/html;q=1.0000"));
    assert_false(prefers(",;,;=q;,,"));
    assert_false(prefers("text"));
    assert_true(prefers("text/html;level=1;q=1.000"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rate_is_told_with_its_time),
        cmocka_unit_test(an_opening_is_told_when_it_is_known),
        cmocka_unit_test(what_has_no_time_to_come_again_says_none),
        cmocka_unit_test(a_page_says_what_the_problem_says),
        cmocka_unit_test(every_answer_fits_into_the_smallest_segment_and_says_its_length),
        cmocka_unit_test(dates_are_those_of_the_calendar),
        cmocka_unit_test(browsers_that_show_a_page_get_one),
        cmocka_unit_test(programs_get_json),
        cmocka_unit_test(what_is_no_accept_means_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
