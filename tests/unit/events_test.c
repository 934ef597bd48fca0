/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Who may read events, and what a query asks for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/api/events.h"

static const char *parse(const char *query, struct ledger_page *page)
{
    const struct http1_slice slice = {query, strlen(query)};
    memset(page, 0, sizeof *page);
    return events_parse(&slice, page);
}

static void assert_refused(const char *query, const char *part)
{
    struct ledger_page page;
    const char *wrong = parse(query, &page);
    assert_non_null(wrong);
    assert_non_null(strstr(wrong, part));
    assert_null(strpbrk(wrong, "\"\\")); /* stands in JSON as it is */
}

static void without_a_query_the_oldest_are_asked_for(void **state)
{
    (void)state;
    struct ledger_page page;
    assert_null(parse("", &page));
    assert_true(page.after == -1);
    assert_int_equal(page.limit, EVENTS_LIMIT_DEFAULT);
    assert_int_equal(page.wait, 0);
}

static void all_parameters_are_read_in_any_order(void **state)
{
    (void)state;
    struct ledger_page page;
    assert_null(parse("wait=30&after=9223372036854775807&limit=1000", &page));
    assert_true(page.after == INT64_MAX);
    assert_int_equal(page.limit, 1000);
    assert_int_equal(page.wait, 30);
    assert_null(parse("after=0", &page));
    assert_true(page.after == 0);
    assert_null(parse("limit=1", &page));
    assert_true(page.after == -1 && page.limit == 1);
}

static void numbers_out_of_bounds_are_refused_by_name(void **state)
{
    (void)state;
    assert_refused("after=9223372036854775808", "after is not a position");
    assert_refused("after=99999999999999999999999", "after is not a position");
    assert_refused("limit=0", "limit is not within");
    assert_refused("limit=1001", "limit is not within");
    assert_refused("wait=31", "wait is not within");
}

static void what_is_no_number_is_refused(void **state)
{
    (void)state;
    assert_refused("after=", "after is not");
    assert_refused("after", "after is not");
    assert_refused("after=-1", "after is not");
    assert_refused("after=+1", "after is not");
    assert_refused("after=1.0", "after is not");
    assert_refused("after=0x1", "after is not");
    assert_refused("after=%31", "after is not");
    assert_refused("after=1 ", "after is not");
    assert_refused("after=1=1", "after is not");
}

static void what_is_unknown_or_stands_twice_is_refused(void **state)
{
    (void)state;
    assert_refused("aftr=1", "other than");
    assert_refused("afterr=1", "other than");
    assert_refused("AFTER=1", "other than");
    assert_refused("=1", "other than");
    assert_refused("&after=1", "other than");
    assert_refused("after=1&&limit=1", "other than");
    assert_refused("after=1&", "ampersand");
    assert_refused("after=1&after=1", "after stands twice");
    assert_refused("limit=1&limit=1", "limit stands twice");
    assert_refused("wait=1&wait=2", "wait stands twice");
}

static void what_is_refused_leaves_the_page_alone(void **state)
{
    (void)state;
    struct ledger_page page;
    assert_non_null(parse("limit=5&after=x", &page));
    assert_int_equal(page.limit, 0);
}

/* ---- the token ---- */

#define TOKEN "0123456789abcdef0123456789abcdef"

static struct events_token *open_token(const char *text, mode_t mode, char why[256])
{
    char path[] = "/tmp/dropgate-events-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    fchmod(fd, mode);
    close(fd);
    why[0] = '\0';
    struct events_token *token = events_token_open(path, why, 256);
    unlink(path);
    return token;
}

static bool is(const struct events_token *token, const char *text)
{
    const struct http1_slice slice = {text, strlen(text)};
    return events_token_is(token, &slice);
}

static void only_the_whole_token_counts(void **state)
{
    (void)state;
    char why[256];
    struct events_token *token = open_token(TOKEN "\n", 0600, why);
    assert_non_null(token);
    assert_true(is(token, TOKEN));
    assert_false(is(token, TOKEN "0"));
    assert_false(is(token, "0123456789abcdef0123456789abcde"));
    assert_false(is(token, "0123456789abcdef0123456789abcdeF"));
    assert_false(is(token, ""));
    events_token_free(token);
    events_token_free(NULL);
}

static void a_file_that_others_can_read_is_refused(void **state)
{
    (void)state;
    char why[256];
    assert_null(open_token(TOKEN "\n", 0640, why));
    assert_non_null(strstr(why, "[events] token_file = /tmp/"));
    assert_null(events_token_open("/nonexistent/token", why, sizeof why));
    assert_non_null(strstr(why, "/nonexistent/token"));
}

static void a_token_that_could_be_guessed_or_not_sent_is_refused(void **state)
{
    (void)state;
    char why[256], longest[EVENTS_TOKEN_MAX + 3];
    assert_null(open_token("short\n", 0600, why));
    assert_non_null(strstr(why, "32 to 255"));
    assert_null(open_token("", 0600, why));
    assert_null(open_token("0123456789abcdef 0123456789abcdef\n", 0600, why));
    assert_null(open_token(TOKEN "\n" TOKEN "\n", 0600, why));
    memset(longest, 'x', sizeof longest);
    longest[EVENTS_TOKEN_MAX] = '\0';
    struct events_token *token = open_token(longest, 0600, why);
    assert_non_null(token);
    events_token_free(token);
    longest[EVENTS_TOKEN_MAX] = 'x';
    longest[EVENTS_TOKEN_MAX + 1] = '\0';
    assert_null(open_token(longest, 0600, why));
    longest[EVENTS_TOKEN_MAX + 1] = 'x';
    longest[EVENTS_TOKEN_MAX + 2] = '\0';
    assert_null(open_token(longest, 0600, why));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_query_the_oldest_are_asked_for),
        cmocka_unit_test(all_parameters_are_read_in_any_order),
        cmocka_unit_test(numbers_out_of_bounds_are_refused_by_name),
        cmocka_unit_test(what_is_no_number_is_refused),
        cmocka_unit_test(what_is_unknown_or_stands_twice_is_refused),
        cmocka_unit_test(what_is_refused_leaves_the_page_alone),
        cmocka_unit_test(only_the_whole_token_counts),
        cmocka_unit_test(a_file_that_others_can_read_is_refused),
        cmocka_unit_test(a_token_that_could_be_guessed_or_not_sent_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
