/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The lab's relay reads and splits segments as it says: a tool that breaks packets by mistake would
 * hide what it is there to find. */
#include "tests/lab/tools/relay_segment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/frames.h"
#include "tests/unit/random.h"

#define SEQ UINT32_C(0xfffffff0) /* its payload crosses the wrap */

/* A segment with timestamps and `length` bytes of payload. */
static size_t segment_write(uint8_t *frame, bool v6, uint8_t flags, size_t length)
{
    static uint8_t payload[FRAME_ROOM];
    struct random random = {.state = length};
    random_bytes(&random, payload, length);
    const struct frame_tcp tcp = {.v6 = v6,
                                  .source = {198, 18, 64, 1},
                                  .destination = {198, 18, 0, 80},
                                  .source_port = 40000,
                                  .destination_port = 80,
                                  .seq = SEQ,
                                  .ack = 77,
                                  .window = 512,
                                  .flags = flags,
                                  .ttl = 64,
                                  .options = {1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2},
                                  .options_length = 12,
                                  .payload = payload,
                                  .length = length};
    return frame_write(frame, &tcp);
}

static void a_segment_becomes_two_that_together_are_the_same(void **state)
{
    (void)state;
    uint8_t frame[FRAME_ROOM], half[2][RELAY_FRAME_MAX];
    for (int v6 = 0; v6 < 2; v6++) {
        for (uint16_t length = 2; length < 1449; length = (uint16_t)(length + 13)) {
            const size_t total = segment_write(frame, v6, 0x18, length);
            const uint16_t at = (uint16_t)(1 + length / 3);
            struct relay_segment whole, part[2];
            size_t lengths[2];
            assert_true(relay_segment_parse(frame, total, &whole));
            assert_int_equal(relay_segment_payload(&whole), length);
            assert_true(
                relay_segment_split(frame, &whole, at, half[0], &lengths[0], half[1], &lengths[1]));
            for (int i = 0; i < 2; i++) {
                assert_true(frame_checksums_good(half[i]));
                assert_true(relay_segment_parse(half[i], lengths[i], &part[i]));
                assert_int_equal(part[i].end, lengths[i]);
                assert_int_equal(part[i].connection, whole.connection);
                assert_memory_equal(half[i] + part[i].tcp + 20, frame + whole.tcp + 20, 12);
            }
            assert_int_equal(relay_segment_payload(&part[0]), at);
            assert_int_equal(relay_segment_payload(&part[1]), length - at);
            assert_int_equal(part[0].seq, SEQ);
            assert_int_equal(part[1].seq, SEQ + at);
            assert_memory_equal(half[0] + part[0].payload, frame + whole.payload, at);
            assert_memory_equal(half[1] + part[1].payload, frame + whole.payload + at,
                                (size_t)length - at);
        }
    }
}

static void fin_and_push_go_with_the_second_half(void **state)
{
    (void)state;
    uint8_t frame[FRAME_ROOM], first[RELAY_FRAME_MAX], second[RELAY_FRAME_MAX];
    struct relay_segment whole, part;
    size_t lengths[2];
    assert_true(relay_segment_parse(frame, segment_write(frame, true, 0x99, 100), &whole));
    assert_true(relay_segment_split(frame, &whole, 50, first, &lengths[0], second, &lengths[1]));
    assert_true(relay_segment_parse(first, lengths[0], &part));
    assert_int_equal(part.flags, 0x90); /* CWR, ACK */
    assert_true(relay_segment_parse(second, lengths[1], &part));
    assert_int_equal(part.flags, 0x19); /* ACK, PSH, FIN */
}

static void what_cannot_be_split_is_left_alone(void **state)
{
    (void)state;
    uint8_t frame[FRAME_ROOM], first[RELAY_FRAME_MAX], second[RELAY_FRAME_MAX];
    struct relay_segment s;
    size_t l[2];
    assert_true(relay_segment_parse(frame, segment_write(frame, false, 0x18, 10), &s));
    assert_false(relay_segment_split(frame, &s, 0, first, &l[0], second, &l[1]));
    assert_false(relay_segment_split(frame, &s, 10, first, &l[0], second, &l[1]));
    assert_true(relay_segment_parse(frame, segment_write(frame, false, 0x02, 10), &s));
    assert_false(relay_segment_split(frame, &s, 5, first, &l[0], second, &l[1])); /* SYN */
    assert_true(relay_segment_parse(frame, segment_write(frame, false, 0x38, 10), &s));
    assert_false(relay_segment_split(frame, &s, 5, first, &l[0], second, &l[1])); /* urgent */
}

static void a_frame_that_is_cut_anywhere_is_no_segment(void **state)
{
    (void)state;
    uint8_t frame[FRAME_ROOM];
    struct relay_segment s;
    for (int v6 = 0; v6 < 2; v6++) {
        const size_t total = segment_write(frame, v6, 0x18, 20);
        for (size_t length = 0; length < total; length++)
            assert_false(relay_segment_parse(frame, length, &s));
        assert_true(relay_segment_parse(frame, total + 10, &s)); /* Ethernet's padding */
        assert_int_equal(s.end, total);
    }
}

static void fragments_and_other_protocols_are_no_segments(void **state)
{
    (void)state;
    uint8_t frame[FRAME_ROOM];
    struct relay_segment s;
    const size_t total = segment_write(frame, false, 0x18, 20);
    frame[20] = 0x20; /* more fragments */
    assert_false(relay_segment_parse(frame, total, &s));
    frame[20] = 0x40;
    frame[23] = 17;
    assert_false(relay_segment_parse(frame, total, &s));
    frame[12] = 0x08, frame[13] = 0x06;
    assert_false(relay_segment_parse(frame, total, &s));
}

static void a_segment_behind_a_tag_is_found(void **state)
{
    (void)state;
    uint8_t frame[FRAME_ROOM], tagged[FRAME_ROOM];
    struct relay_segment s;
    const size_t total = segment_write(frame, true, 0x18, 20);
    memcpy(tagged, frame, 12);
    memcpy(tagged + 12, "\x81\x00\x00\x07", 4);
    memcpy(tagged + 16, frame + 12, total - 12);
    assert_true(relay_segment_parse(tagged, total + 4, &s));
    assert_int_equal(s.ip, 18);
    assert_int_equal(relay_segment_payload(&s), 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_segment_becomes_two_that_together_are_the_same),
        cmocka_unit_test(fin_and_push_go_with_the_second_half),
        cmocka_unit_test(what_cannot_be_split_is_left_alone),
        cmocka_unit_test(a_frame_that_is_cut_anywhere_is_no_segment),
        cmocka_unit_test(fragments_and_other_protocols_are_no_segments),
        cmocka_unit_test(a_segment_behind_a_tag_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
