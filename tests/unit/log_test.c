/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Log lines as a reader of stderr gets them. The clock of this program is the test's own, so the
 * rate limit is tried without waiting. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/log.h"

static _Atomic int64_t now_ms = 1767225600123; /* 2026-01-01T00:00:00.123Z */

/* Stands in for the C library's. */
int clock_gettime(clockid_t id, struct timespec *ts)
{
    (void)id;
    ts->tv_sec = now_ms / 1000;
    ts->tv_nsec = now_ms % 1000 * 1000000;
    return 0;
}

/* stderr as a socket that keeps each write apart, so that a line in two writes would show. */
static struct {
    int saved, ends[2];
} capture;

static int capture_begin(void **state)
{
    (void)state;
    capture.saved = dup(STDERR_FILENO);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, capture.ends) != 0)
        return -1;
    fcntl(capture.ends[0], F_SETFL, O_NONBLOCK);
    dup2(capture.ends[1], STDERR_FILENO);
    log_open("log-test", LOG_LEVEL_INFO);
    now_ms += 10000; /* each test with a fresh allowance */
    return 0;
}

static int capture_end(void **state)
{
    (void)state;
    dup2(capture.saved, STDERR_FILENO);
    close(capture.saved);
    close(capture.ends[0]);
    close(capture.ends[1]);
    return 0;
}

/* The next write to stderr, or "" if there was none. */
static const char *next_write(void)
{
    static char text[8192];
    ssize_t length = read(capture.ends[0], text, sizeof text - 1);
    text[length > 0 ? length : 0] = '\0';
    return text;
}

static size_t drain(void)
{
    size_t count = 0;
    while (*next_write())
        count++;
    return count;
}

static void a_line_is_one_json_object_in_one_write(void **state)
{
    (void)state;
    now_ms = 1767225600123;
    log_warn("backend_slow", "took %d ms", 7);
    assert_string_equal(next_write(),
                        "{\"time\":\"2026-01-01T00:00:00.123Z\",\"level\":\"warning\",\"program\":"
                        "\"log-test\",\"event\":\"backend_slow\",\"message\":\"took 7 ms\"}\n");
    assert_string_equal(next_write(), "");
}

static void levels_below_the_lowest_are_left_out(void **state)
{
    (void)state;
    log_debug("quiet", "x");
    assert_string_equal(next_write(), "");
    log_info("loud", "x");
    assert_non_null(strstr(next_write(), "\"level\":\"info\""));
    log_open("log-test", LOG_LEVEL_ERROR);
    log_warn("quiet", "x");
    assert_string_equal(next_write(), "");
    log_error("loud", "x");
    assert_non_null(strstr(next_write(), "\"level\":\"error\""));
    log_open("log-test", LOG_LEVEL_DEBUG);
    log_debug("quiet", "x");
    assert_non_null(strstr(next_write(), "\"level\":\"debug\""));
}

static void nothing_in_a_message_can_break_out_of_its_string(void **state)
{
    (void)state;
    log_info("escape", "%s", "a\"b\\c\nd\x1b[2J\x7f\t/");
    assert_non_null(strstr(next_write(), "\"a\\\"b\\\\c\\u000ad\\u001b[2J\\u007f\\u0009/\"}\n"));
}

static void text_that_is_not_utf8_is_replaced(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x8e\x9f", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x8e\x9f"},
        {"\xff-\x80", "\xef\xbf\xbd-\xef\xbf\xbd"},
        {"\xc3", "\xef\xbf\xbd"},                                 /* cut short */
        {"\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd"},                 /* cut short */
        {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},                 /* overlong */
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* surrogate */
        {"\xc3(", "\xef\xbf\xbd("},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char expected[64];
        log_info("utf8", "%s", cases[i].in);
        snprintf(expected, sizeof expected, "\"message\":\"%s\"}\n", cases[i].out);
        assert_non_null(strstr(next_write(), expected));
    }
}

static void a_long_message_is_cut_and_the_line_stays_whole(void **state)
{
    char message[5000];
    (void)state;
    memset(message, 'x', sizeof message - 1);
    message[sizeof message - 1] = '\0';
    log_info("long", "%s", message);
    const char *line = next_write();
    assert_int_equal(strspn(strchr(line, 'x'), "x"), 1024);
    assert_string_equal(line + strlen(line) - 3, "\"}\n");
    memset(message, 1, sizeof message - 1); /* six bytes each when escaped */
    log_info("long", "%s", message);
    line = next_write();
    assert_in_range(strlen(line), 3900, 4096);
    assert_string_equal(line + strlen(line) - 9, "\\u0001\"}\n");
}

static void nothing_follows_what_was_cut_off(void **state)
{
    char message[1025];
    (void)state;
    for (size_t shift = 0; shift < 7; shift++) { /* one of them leaves less room than an escape */
        for (size_t i = 0; i < sizeof message - 1; i++) {
            bool escape = i >= shift && (i < 600 || i % 2 == 1);
            message[i] = escape ? '\x01' : '-';
        }
        memset(message, 'x', shift);
        message[sizeof message - 1] = '\0';
        log_info("cut", "%s", message);
        assert_null(strstr(next_write(), "--"));
    }
}

static void a_storm_is_limited_and_counted_per_event(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++)
        log_info("storm", "%d", i);
    assert_int_equal(drain(), 20);
    log_info("other", "still heard");
    assert_int_equal(drain(), 1);
    now_ms += 999;
    log_info("storm", "too early");
    assert_int_equal(drain(), 0);
    now_ms += 1;
    log_info("storm", "again");
    assert_non_null(strstr(next_write(), "\"message\":\"again\",\"left_out\":81}\n"));
    log_info("storm", "and again");
    assert_non_null(strstr(next_write(), "\"message\":\"and again\"}\n"));
}

static void no_span_of_a_second_holds_more_than_twenty_lines(void **state)
{
    size_t times[4000], count = 0;
    (void)state;
    for (size_t ms = 0; ms < 4000; ms++, now_ms++) {
        log_info("steady", "x");
        if (drain() > 0)
            times[count++] = ms;
    }
    for (size_t i = 20; i < count; i++)
        assert_true(times[i] - times[i - 20] >= 1000);
    assert_int_equal(count, 80);
}

static void the_same_event_is_limited_wherever_it_is_named(void **state)
{
    char copy[] = "twice";
    (void)state;
    for (int i = 0; i < 30; i++)
        log_info(i % 2 ? copy : "twice", "x");
    assert_int_equal(drain(), 20);
}

static void errno_is_left_alone(void **state)
{
    (void)state;
    errno = ENOENT;
    log_info("errno", "%s", strerror(errno));
    assert_int_equal(errno, ENOENT);
    assert_non_null(strstr(next_write(), "No such file or directory"));
    close(STDERR_FILENO);
    log_info("errno", "nobody reads this");
    assert_int_equal(errno, ENOENT);
}

static void *write_many(void *event)
{
    for (int i = 0; i < 50; i++)
        log_info("threads", "%s %d", (const char *)event, i);
    return NULL;
}

static void threads_share_one_limit_and_never_mix_lines(void **state)
{
    pthread_t threads[4];
    size_t count = 0;
    const char *line;
    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, "thread"), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (; *(line = next_write()); count++)
        assert_true(line[0] == '{' && strchr(line, '\n') == line + strlen(line) - 1);
    assert_int_equal(count, 20);
}

static void a_terminal_gets_readable_text(void **state)
{
    char text[256];
    (void)state;
    int outer = posix_openpt(O_RDWR | O_NOCTTY);
    if (outer < 0 || grantpt(outer) != 0 || unlockpt(outer) != 0)
        skip();
    int inner = open(ptsname(outer), O_RDWR | O_NOCTTY);
    if (inner < 0)
        skip();
    now_ms = 1767225600123 + 100000;
    dup2(inner, STDERR_FILENO);
    log_open("log-test", LOG_LEVEL_INFO);
    log_info("ready", "say \"hi\" \x1b[2J");
    ssize_t length = read(outer, text, sizeof text - 1);
    close(inner);
    close(outer);
    assert_true(length > 0);
    text[length] = '\0';
    assert_string_equal(text, "2026-01-01T00:01:40.123Z info ready: say \"hi\" \\u001b[2J\r\n");
}

int main(void)
{
#define LOG_TEST(name) cmocka_unit_test_setup_teardown(name, capture_begin, capture_end)
    const struct CMUnitTest tests[] = {
        LOG_TEST(a_line_is_one_json_object_in_one_write),
        LOG_TEST(levels_below_the_lowest_are_left_out),
        LOG_TEST(nothing_in_a_message_can_break_out_of_its_string),
        LOG_TEST(text_that_is_not_utf8_is_replaced),
        LOG_TEST(a_long_message_is_cut_and_the_line_stays_whole),
        LOG_TEST(nothing_follows_what_was_cut_off),
        LOG_TEST(a_storm_is_limited_and_counted_per_event),
        LOG_TEST(no_span_of_a_second_holds_more_than_twenty_lines),
        LOG_TEST(the_same_event_is_limited_wherever_it_is_named),
        LOG_TEST(errno_is_left_alone),
        LOG_TEST(threads_share_one_limit_and_never_mix_lines),
        LOG_TEST(a_terminal_gets_readable_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
