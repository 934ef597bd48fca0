/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * When a backend goes down, comes back, and what is said of it. */
#include "dataplane/ops/health.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

enum { NEEDED = 2, PAUSE_MS = 5000 };

static struct health_now at(uint64_t ms)
{
    return (struct health_now){ms, 1000000 + ms};
}

static enum health_change probed(struct backend_health *h, int result, uint16_t status, uint64_t ms)
{
    return health_probed(h, result, status, NEEDED, at(ms));
}

static struct backend_health well(void)
{
    struct backend_health h;
    health_init(&h, 1);
    assert_int_equal(h.health, HEALTH_UNKNOWN);
    assert_string_equal(health_reason_name(h.reason), "unprobed");
    assert_int_equal(probed(&h, PROBE_ANSWERED, 200, 10), HEALTH_CAME_UP);
    assert_int_equal(h.since_unix_ms, 1000010);
    return h;
}

static void failures_in_a_row_take_it_out_and_one_good_probe_brings_it_back(void **state)
{
    (void)state;
    struct backend_health h = well();
    assert_int_equal(probed(&h, PROBE_SILENT, 0, 20), HEALTH_SAME);
    assert_int_equal(probed(&h, PROBE_ANSWERED, 200, 30), HEALTH_SAME);
    assert_int_equal(probed(&h, PROBE_STATUS, 503, 40), HEALTH_SAME);
    assert_int_equal(h.health, HEALTH_UP);
    assert_int_equal(probed(&h, PROBE_SILENT, 0, 50), HEALTH_WENT_DOWN);
    assert_int_equal(h.since_unix_ms, 1000050);
    assert_int_equal(probed(&h, PROBE_ANSWERED, 200, 60), HEALTH_CAME_UP);
    assert_int_equal(h.reason, REASON_NONE);
    assert_int_equal(h.since_unix_ms, 1000060);
}

static void what_was_never_heard_of_goes_down_the_same_way(void **state)
{
    (void)state;
    struct backend_health h;
    health_init(&h, 1);
    assert_int_equal(probed(&h, PROBE_REFUSED, 0, 20), HEALTH_SAME);
    assert_int_equal(h.health, HEALTH_UNKNOWN);
    assert_int_equal(probed(&h, PROBE_REFUSED, 0, 30), HEALTH_WENT_DOWN);
}

static void another_reason_is_said_once(void **state)
{
    (void)state;
    struct backend_health h = well();
    assert_int_equal(health_failed(&h, REASON_OPENINGS, at(20)), HEALTH_WENT_DOWN);
    assert_int_equal(probed(&h, PROBE_SILENT, 0, 30), HEALTH_OTHER_REASON);
    assert_int_equal(probed(&h, PROBE_SILENT, 0, 40), HEALTH_SAME);
    assert_int_equal(probed(&h, PROBE_STATUS, 500, 50), HEALTH_OTHER_REASON);
    assert_int_equal(probed(&h, PROBE_STATUS, 503, 60), HEALTH_OTHER_REASON);
    assert_int_equal(probed(&h, PROBE_STATUS, 503, 70), HEALTH_SAME);
    assert_int_equal(h.since_unix_ms, 1000020); /* it has been down all the time */
}

static void who_answers_nobody_stays_out_longer_each_time(void **state)
{
    (void)state;
    struct backend_health h = well();
    uint64_t now = 100, pause = PAUSE_MS;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(health_unanswered(&h, 7, PAUSE_MS, at(now)), HEALTH_WENT_DOWN);
        assert_int_equal(probed(&h, PROBE_ANSWERED, 200, now + pause - 1), HEALTH_SAME);
        assert_int_equal(h.health, HEALTH_DOWN);
        assert_int_equal(h.reason, REASON_RESPONSES);
        now += pause;
        assert_int_equal(probed(&h, PROBE_ANSWERED, 200, now), HEALTH_CAME_UP);
        pause = pause * 2 < HEALTH_LONGEST_PAUSE_MS ? pause * 2 : HEALTH_LONGEST_PAUSE_MS;
    }
    assert_int_equal(pause, HEALTH_LONGEST_PAUSE_MS);
    assert_int_equal(health_unanswered(&h, 8, PAUSE_MS, at(now)), HEALTH_WENT_DOWN);
    assert_int_equal(h.pause_ms, PAUSE_MS); /* it has answered somebody meanwhile */
}

static void a_sentence_names_the_status(void **state)
{
    (void)state;
    char text[128], small[8];
    struct backend_health h = {.reason = PROBE_STATUS, .status = 503};
    assert_string_equal(health_sentence(&h, text, sizeof text),
                        "answered its probe with another status than 200 (status 503)");
    health_sentence(&h, small, sizeof small);
    assert_string_equal(small, "answere");
    h = (struct backend_health){.reason = PROBE_REFUSED};
    assert_string_equal(health_sentence(&h, text, sizeof text), "refuses connections");
}

static void every_reason_has_a_word_and_a_sentence(void **state)
{
    (void)state;
    for (int i = 0; i < HEALTH_REASONS; i++) {
        char text[128];
        const struct backend_health h = {.reason = (uint8_t)i};
        assert_non_null(health_reason_name((enum health_reason)i));
        assert_true(strlen(health_sentence(&h, text, sizeof text)) > 5);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(health_reason_name((enum health_reason)i),
                                    health_reason_name((enum health_reason)k));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failures_in_a_row_take_it_out_and_one_good_probe_brings_it_back),
        cmocka_unit_test(what_was_never_heard_of_goes_down_the_same_way),
        cmocka_unit_test(another_reason_is_said_once),
        cmocka_unit_test(who_answers_nobody_stays_out_longer_each_time),
        cmocka_unit_test(a_sentence_names_the_status),
        cmocka_unit_test(every_reason_has_a_word_and_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
