/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The memory of refused SYNs: it forgets nothing within its time, everything after it, and seldom
 * remembers what was not there. */
#include "dataplane/admit/seen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/random.h"

enum { START_MS = 1234567, SURELY_AFTER_MS = 750, SURELY_UNTIL_MS = 3500 };

static int make_filter(void **state)
{
    struct seen *seen = malloc(sizeof *seen);
    *state = seen;
    return seen == NULL ? -1 : seen_init(seen, START_MS);
}

static int free_filter(void **state)
{
    seen_end(*state);
    free(*state);
    return 0;
}

static void it_is_seen_from_three_quarters_of_a_second_on(void **state)
{
    struct seen *s = *state;
    struct random random = {1};
    uint64_t now = START_MS;
    for (int i = 0; i < 12; i++) { /* each long step clears all */
        const uint64_t hash = random_64(&random), at = now += random_below(&random, 400);
        seen_tick(s, now);
        assert_false(seen_before(s, hash));
        seen_note(s, hash);
        assert_false(seen_before(s, hash));
        seen_tick(s, now = at + 499);
        assert_false(seen_before(s, hash));
        seen_tick(s, now = at + SURELY_AFTER_MS);
        assert_true(seen_before(s, hash));
        seen_tick(s, now = at + SURELY_UNTIL_MS);
        assert_true(seen_before(s, hash));
        seen_tick(s, now = at + 4000);
        assert_false(seen_before(s, hash));
    }
}

/* Thousands on their way at once, with ticks as a worker would make them: by the millisecond, or
 * far apart. */
static void nothing_is_forgotten_within_its_time(void **state)
{
    enum { KEPT = 4096 };
    static struct {
        uint64_t hash, at, due;
    } kept[KEPT];
    struct seen *s = *state;
    struct random random = {2};
    uint32_t asked = 0;
    uint64_t now = START_MS;
    memset(kept, 0, sizeof kept);
    for (int round = 0; round < 3000; round++) {
        now += random_below(&random, 150) ? random_below(&random, 3) : random_below(&random, 700);
        seen_tick(s, now);
        for (int i = 0; i < 40; i++) {
            uint32_t n = random_below(&random, KEPT);
            if (kept[n].at != 0 && now - kept[n].at >= kept[n].due) {
                if (now - kept[n].at <= SURELY_UNTIL_MS) {
                    assert_true(seen_before(s, kept[n].hash));
                    asked++;
                }
                kept[n].at = 0;
            }
            if (kept[n].at == 0) {
                kept[n].hash = random_64(&random);
                kept[n].at = now;
                kept[n].due = SURELY_AFTER_MS + random_below(&random, 2750);
                seen_note(s, kept[n].hash);
            }
        }
    }
    assert_true(asked > 3000);
}

/* Of hundred thousand that were never noted, how many it believes to know, in a steady flood. */
static uint32_t believed(struct seen *s, uint32_t per_second)
{
    struct random random = {3};
    uint64_t now = START_MS;
    uint32_t count = 0;
    for (; now < START_MS + 4000; now++) {
        seen_tick(s, now);
        for (uint32_t i = 0; i < per_second / 1000; i++)
            seen_note(s, random_64(&random));
    }
    for (int i = 0; i < 100000; i++)
        count += seen_before(s, random_64(&random));
    print_message("%u notes per second: 1 of %u is believed\n", per_second,
                  count ? 100000 / count : 100000);
    return count;
}

static void what_was_not_there_is_seldom_believed_1(void **state)
{
    assert_true(believed(*state, 100000) <= 1);
}

static void what_was_not_there_is_seldom_believed_2(void **state)
{
    assert_in_range(believed(*state, 1000000), 1, 150);
}

static void what_was_not_there_is_seldom_believed_3(void **state)
{
    assert_in_range(believed(*state, 4000000), 500, 6000);
}

static void a_flood_leaves_nothing_behind(void **state)
{
    struct seen *s = *state;
    believed(s, 100000);
    for (uint64_t now = START_MS + 4000; now < START_MS + 8500; now += 5)
        seen_tick(s, now);
    assert_int_equal(s->noted, 0);
    uint32_t left = 0;
    for (int i = 0; i < SEEN_LINES; i++)
        for (int k = 0; k < SEEN_LINE; k++)
            left |= s->line[i][k];
    assert_int_equal(left, 0);
}

/* A burst a millisecond after the last clears two milliseconds' worth. */
static void clearing_is_spread_over_time(void **state)
{
    struct seen *s = *state;
    uint64_t now = (START_MS / SEEN_QUARTER_MS + 1) * SEEN_QUARTER_MS;
    for (int i = 0; i < 40; i++) {
        seen_tick(s, now + (uint64_t)i * SEEN_QUARTER_MS);
        seen_note(s, (uint64_t)i << 40);
    }
    now += 40 * SEEN_QUARTER_MS;
    for (uint32_t ms = 0; ms < SEEN_QUARTER_MS; ms++) {
        const uint32_t before = ms == 0 ? 0 : s->cleared;
        seen_tick(s, now + ms);
        assert_in_range(s->cleared - before, 0, SEEN_LINES * 2 / SEEN_QUARTER_MS + 1);
    }
    assert_int_equal(s->cleared, SEEN_LINES);
}

static void after_a_long_time_all_is_forgotten(void **state)
{
    static const uint64_t rests[] = {4001, 4250, 8000, 3600000, UINT64_C(1) << 40};
    struct seen *s = *state;
    uint64_t now = START_MS;
    for (size_t i = 0; i < sizeof rests / sizeof rests[0]; i++) {
        seen_tick(s, now);
        for (uint64_t hash = 0; hash < 1000; hash++)
            seen_note(s, hash << 40 | hash);
        now += rests[i];
        seen_tick(s, now);
        for (uint64_t hash = 0; hash < 1000; hash++)
            assert_false(seen_before(s, hash << 40 | hash));
        assert_int_equal(s->noted, 0);
    }
}

static void a_clock_that_jumps_back_changes_nothing(void **state)
{
    struct seen *s = *state;
    seen_note(s, 99);
    seen_tick(s, START_MS + 1000);
    assert_true(seen_before(s, 99));
    seen_tick(s, START_MS - 5000);
    assert_true(seen_before(s, 99));
    seen_tick(s, START_MS + 1001);
    assert_true(seen_before(s, 99));
}

#define FILTER_TEST(f) cmocka_unit_test_setup_teardown(f, make_filter, free_filter)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILTER_TEST(it_is_seen_from_three_quarters_of_a_second_on),
        FILTER_TEST(nothing_is_forgotten_within_its_time),
        FILTER_TEST(what_was_not_there_is_seldom_believed_1),
        FILTER_TEST(what_was_not_there_is_seldom_believed_2),
        FILTER_TEST(what_was_not_there_is_seldom_believed_3),
        FILTER_TEST(a_flood_leaves_nothing_behind),
        FILTER_TEST(clearing_is_spread_over_time),
        FILTER_TEST(after_a_long_time_all_is_forgotten),
        FILTER_TEST(a_clock_that_jumps_back_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
