/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * One direction of the lab's relay: order, times, chances and the rules for first segments. */
#include "tests/lab/tools/relay_path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/frames.h"

enum { MS = 1000000, FRAMES = 256, LENGTH = 100 };

/* A TCP segment whose first payload byte is `mark`. */
static size_t data_write(uint8_t *frame, uint16_t port, uint32_t seq, uint8_t flags, uint8_t mark,
                         size_t length)
{
    uint8_t payload[LENGTH];
    memset(payload, mark, sizeof payload);
    return frame_write(frame, &(struct frame_tcp){.source = {198, 18, 64, 1},
                                                  .destination = {198, 18, 0, 80},
                                                  .source_port = port,
                                                  .destination_port = 80,
                                                  .seq = seq,
                                                  .flags = flags,
                                                  .ttl = 64,
                                                  .payload = payload,
                                                  .length = length});
}

static void take(struct relay_path *path, uint16_t port, uint32_t seq, uint8_t flags, uint8_t mark,
                 size_t length, uint64_t now)
{
    uint8_t frame[FRAME_ROOM];
    relay_path_take(path, frame, data_write(frame, port, seq, flags, mark, length), now);
}

static void take_data(struct relay_path *path, uint8_t mark, uint64_t now)
{
    take(path, 1000, mark * (uint32_t)LENGTH, 0x18, mark, LENGTH, now);
}

/* The marks of all frames that are due, as text; the frames go. */
static const char *due(struct relay_path *path, uint64_t now)
{
    static char marks[FRAMES + 1];
    struct relay_frame *frames[FRAMES];
    const unsigned count = relay_path_due(path, now, frames, FRAMES);
    for (unsigned i = 0; i < count; i++)
        marks[i] = (char)(frames[i]->length > 54 ? frames[i]->bytes[54] : '-');
    marks[count] = '\0';
    relay_path_sent(path, count);
    return marks;
}

static struct relay_path *path_new(const struct relay_rules *rules)
{
    struct relay_path *path = relay_path_new(rules, FRAMES, 1);
    assert_non_null(path);
    return path;
}

static void frames_keep_their_order_and_their_bytes(void **state)
{
    (void)state;
    struct relay_path *path = path_new(&(struct relay_rules){.jitter = 5 * MS});
    for (uint8_t mark = 'a'; mark <= 'z'; mark++)
        take_data(path, mark, mark);
    assert_string_equal(due(path, 'z' + 5 * MS), "abcdefghijklmnopqrstuvwxyz");
    assert_int_equal(relay_path_next(path), UINT64_MAX);
    relay_path_free(path);
}

static void a_delayed_frame_waits_exactly_that_long(void **state)
{
    (void)state;
    struct relay_path *path = path_new(&(struct relay_rules){.delay = 5 * MS});
    take_data(path, 'a', 10);
    take_data(path, 'b', 20);
    assert_int_equal(relay_path_next(path), 10 + 5 * MS);
    assert_string_equal(due(path, 9 + 5 * MS), "");
    assert_string_equal(due(path, 10 + 5 * MS), "a");
    assert_string_equal(due(path, 20 + 5 * MS), "b");
    relay_path_free(path);
}

static void a_slow_line_takes_its_time_for_each_frame(void **state)
{
    (void)state;
    struct relay_path *path = path_new(&(struct relay_rules){.rate = 8, .delay = MS});
    enum { FRAME = (54 + LENGTH) * 1000 }; /* 1 us for each byte */
    take_data(path, 'a', 0);
    take_data(path, 'b', 0);
    assert_int_equal(relay_path_next(path), MS + FRAME);
    assert_string_equal(due(path, MS + 2 * FRAME - 1), "a");
    assert_string_equal(due(path, MS + 2 * FRAME), "b");
    take_data(path, 'c', 10 * MS); /* the line was free meanwhile */
    assert_int_equal(relay_path_next(path), 11 * MS + FRAME);
    relay_path_free(path);
}

static void a_reordered_frame_is_overtaken_by_so_many_others(void **state)
{
    (void)state;
    struct relay_rules rules = {.reorder = RELAY_MILLION, .overtaken_by = 2, .patience = 9 * MS};
    struct relay_path *path = path_new(&rules);
    take_data(path, 'a', 0);
    assert_string_equal(due(path, 0), "");
    assert_int_equal(relay_path_next(path), 9 * MS);
    relay_path_free(path);

    /* Only segments with payload are reordered, so the bare ACKs behind it overtake it. */
    rules.data_only = true;
    path = path_new(&rules);
    take_data(path, 'a', 0);
    take(path, 1000, 200, 0x10, 0, 0, 1);
    assert_string_equal(due(path, 1), "-");
    take(path, 1000, 200, 0x10, 0, 0, 2);
    take(path, 1000, 200, 0x10, 0, 0, 2);
    assert_string_equal(due(path, 2), "-a-");
    assert_int_equal(relay_path_counters(path)->reordered, 1);
    relay_path_free(path);
}

static void a_frame_that_nothing_overtakes_goes_when_patience_ends(void **state)
{
    (void)state;
    struct relay_path *path = path_new(&(struct relay_rules){
        .reorder = RELAY_MILLION, .overtaken_by = 3, .patience = 9 * MS, .delay = MS});
    take_data(path, 'a', 0);
    assert_int_equal(relay_path_next(path), 10 * MS);
    assert_string_equal(due(path, 10 * MS - 1), "");
    assert_string_equal(due(path, 10 * MS), "a");
    relay_path_free(path);
}

static void chances_are_met_within_reason_and_repeat_with_the_seed(void **state)
{
    (void)state;
    const struct relay_rules rules = {.drop = RELAY_MILLION / 100,
                                      .duplicate = RELAY_MILLION / 50,
                                      .reorder = RELAY_MILLION / 50,
                                      .split = RELAY_MILLION / 10,
                                      .overtaken_by = 3,
                                      .patience = MS};
    struct relay_counters first = {0};
    for (int round = 0; round < 2; round++) {
        struct relay_path *path = path_new(&rules);
        for (unsigned i = 0; i < 100000; i++) {
            take_data(path, (uint8_t)('a' + i % 26), i);
            due(path, i);
        }
        due(path, 1000 * MS);
        const struct relay_counters c = *relay_path_counters(path);
        assert_int_equal(c.seen, 100000);
        assert_in_range(c.dropped, 900, 1100);
        assert_in_range(c.split, 9500, 10300);
        assert_in_range(c.duplicated, 2000, 2350); /* of 99,000 frames, of which a tenth is two */
        assert_in_range(c.reordered, 2000, 2350);
        assert_int_equal(c.sent, c.seen - c.dropped + c.split + c.duplicated);
        assert_int_equal(c.overflow, 0);
        if (round == 1)
            assert_memory_equal(&c, &first, sizeof c);
        first = c;
        relay_path_free(path);
    }
}

static void what_finds_no_room_is_counted_apart(void **state)
{
    (void)state;
    struct relay_path *path = path_new(&(struct relay_rules){.delay = MS});
    for (unsigned i = 0; i < FRAMES + 7; i++)
        take_data(path, 'a', 0);
    assert_int_equal(strlen(due(path, MS)), FRAMES);
    assert_int_equal(relay_path_counters(path)->overflow, 7);
    assert_int_equal(relay_path_counters(path)->dropped, 0);
    relay_path_free(path);
}

static void the_first_data_of_a_connection_waits_for_the_second(void **state)
{
    (void)state;
    struct relay_path *path =
        path_new(&(struct relay_rules){.first_overtaken = true, .patience = 50 * MS});
    take(path, 1000, 99, 0x02, 0, 0, 0);
    take(path, 1000, 100, 0x10, 0, 0, 0);
    take(path, 1000, 100, 0x18, 'a', LENGTH, 0);
    take(path, 1000, 100, 0x18, 'a', LENGTH, 1); /* again: that is no second segment */
    take(path, 2000, 500, 0x18, 'x', LENGTH, 2); /* another connection */
    assert_string_equal(due(path, 2), "--ax");
    take(path, 1000, 200, 0x18, 'b', LENGTH, 3);
    take(path, 1000, 300, 0x18, 'c', LENGTH, 3);
    assert_string_equal(due(path, 3), "bac");
    assert_int_equal(relay_path_counters(path)->first_overtaken, 1);
    relay_path_free(path);
}

static void a_single_first_segment_is_cut_and_its_halves_change_places(void **state)
{
    (void)state;
    struct relay_path *path = path_new(
        &(struct relay_rules){.first_overtaken = true, .first_split = true, .patience = 50 * MS});
    struct relay_frame *frames[FRAMES];
    struct relay_segment s[3];
    take(path, 1000, 99, 0x02, 0, 0, 0);
    take(path, 1000, 100, 0x18, 'a', 99, 0);
    assert_int_equal(relay_path_due(path, 0, frames, FRAMES), 3);
    for (int i = 0; i < 3; i++) {
        assert_true(relay_segment_parse(frames[i]->bytes, frames[i]->length, &s[i]));
        assert_true(frame_checksums_good(frames[i]->bytes));
    }
    assert_int_equal(s[1].seq, 149);
    assert_int_equal(relay_segment_payload(&s[1]), 50);
    assert_int_equal(s[2].seq, 100);
    assert_int_equal(relay_segment_payload(&s[2]), 49);
    relay_path_sent(path, 3);
    take(path, 1000, 199, 0x18, 'b', LENGTH, 0); /* later data is left alone */
    assert_string_equal(due(path, 0), "b");
    assert_int_equal(relay_path_counters(path)->first_split, 1);
    relay_path_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_keep_their_order_and_their_bytes),
        cmocka_unit_test(a_delayed_frame_waits_exactly_that_long),
        cmocka_unit_test(a_slow_line_takes_its_time_for_each_frame),
        cmocka_unit_test(a_reordered_frame_is_overtaken_by_so_many_others),
        cmocka_unit_test(a_frame_that_nothing_overtakes_goes_when_patience_ends),
        cmocka_unit_test(chances_are_met_within_reason_and_repeat_with_the_seed),
        cmocka_unit_test(what_finds_no_room_is_counted_apart),
        cmocka_unit_test(the_first_data_of_a_connection_waits_for_the_second),
        cmocka_unit_test(a_single_first_segment_is_cut_and_its_halves_change_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
