/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * VLAN tags: what a side takes and what it refuses, by name; and whole connections over tagged
 * sides, of which the shard notices nothing. Tags are written and read here by code of the test. */
#include "dataplane/net/vlan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/wire.h"
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
// clang-format on

static struct vlan vlan_of(const char *text)
{
    struct vlan vlan;
    assert_int_equal(vlan_parse(text, &vlan), 0);
    return vlan;
}

static void a_side_names_no_tag_one_or_two(void **state)
{
    (void)state;
    static const char *const bad[] = {"0",    "4095",  "65537",  "4294967297", "-1",  "+1",
                                      " 7",   "7 ",    "07",     "7.",         ".7",  "7.0",
                                      "7..8", "7.8.9", "7.4095", "0x7",        "7,8", "seven"};
    struct vlan vlan;
    assert_int_equal(vlan_parse(NULL, &vlan), 0);
    assert_int_equal(vlan.count, 0);
    assert_int_equal(vlan_of("").count, 0);
    vlan = vlan_of("4094");
    assert_int_equal(vlan.count, 1);
    assert_int_equal(vlan.id[0], 4094);
    vlan = vlan_of("100.1");
    assert_int_equal(vlan.count, 2);
    assert_int_equal(vlan.id[0], 100);
    assert_int_equal(vlan.id[1], 1);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        vlan.count = 3;
        assert_int_equal(vlan_parse(bad[i], &vlan), -EINVAL);
        assert_int_equal(vlan.count, 0);
    }
}

/* A frame of 60 bytes, no two alike, behind those tags. */
static size_t tagged(uint8_t *frame, const uint16_t (*tags)[2], int count)
{
    for (int i = 0; i < 60; i++)
        frame[i] = (uint8_t)(i + 1);
    frame_put16(frame + 12, 0x0800);
    size_t length = 60;
    for (int i = count; i-- > 0;)
        length = frame_tag(frame, length, tags[i][0], tags[i][1]);
    return length;
}

struct row {
    const char *side;
    int count;
    uint16_t tags[4][2];
    enum verdict verdict;
};

static void pitfall_18_only_frames_with_exactly_the_sides_tags_pass(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"", 0, {{0}}, VERDICT_FORWARDED},
        {"", 1, {{0x8100, 0}}, VERDICT_FORWARDED}, /* only a priority */
        {"", 1, {{0x8100, 0xe000}}, VERDICT_FORWARDED},
        {"", 1, {{0x8100, 0xe007}}, VERDICT_VLAN},
        {"", 1, {{0x88a8, 7}}, VERDICT_VLAN},
        {"", 2, {{0x8100, 0}, {0x8100, 0}}, VERDICT_VLAN},
        {"", 2, {{0x88a8, 0}, {0x8100, 7}}, VERDICT_VLAN},
        {"", 3, {{0x8100, 0}, {0x8100, 0}, {0x8100, 0}}, VERDICT_VLAN_DEPTH},
        {"7", 0, {{0}}, VERDICT_VLAN_MISSING},
        {"7", 1, {{0x8100, 0}}, VERDICT_VLAN_MISSING},
        {"7", 1, {{0x8100, 0x6000}}, VERDICT_VLAN_MISSING},
        {"7", 1, {{0x8100, 7}}, VERDICT_FORWARDED},
        {"7", 1, {{0x8100, 0xf007}}, VERDICT_FORWARDED}, /* whatever its priority */
        {"7", 1, {{0x8100, 8}}, VERDICT_VLAN_OTHER},
        {"7", 1, {{0x88a8, 7}}, VERDICT_VLAN_OTHER},
        {"7", 2, {{0x88a8, 7}, {0x8100, 7}}, VERDICT_VLAN_OTHER},
        {"7", 2, {{0x8100, 0}, {0x8100, 7}}, VERDICT_VLAN_OTHER},
        {"7", 3, {{0x8100, 7}, {0x8100, 7}, {0x8100, 7}}, VERDICT_VLAN_DEPTH},
        {"100.7", 0, {{0}}, VERDICT_VLAN_MISSING},
        {"100.7", 1, {{0x8100, 100}}, VERDICT_VLAN_OTHER},
        {"100.7", 1, {{0x8100, 7}}, VERDICT_VLAN_OTHER},
        {"100.7", 2, {{0x88a8, 100}, {0x8100, 7}}, VERDICT_FORWARDED},
        {"100.7", 2, {{0x8100, 100}, {0x8100, 7}}, VERDICT_FORWARDED},
        {"100.7", 2, {{0x88a8, 100}, {0x88a8, 7}}, VERDICT_VLAN_OTHER},
        {"100.7", 2, {{0x88a8, 7}, {0x8100, 100}}, VERDICT_VLAN_OTHER},
        {"100.7", 2, {{0x88a8, 100}, {0x8100, 0}}, VERDICT_VLAN_OTHER},
        {"100.7", 3, {{0x88a8, 100}, {0x8100, 7}, {0x8100, 1}}, VERDICT_VLAN_DEPTH},
        {"100.7", 4, {{0x88a8, 1}, {0x8100, 2}, {0x8100, 3}, {0x8100, 4}}, VERDICT_VLAN_DEPTH},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *r = &rows[i];
        const struct vlan vlan = vlan_of(r->side);
        uint8_t frame[80], before[80], plain[80];
        uint32_t taken;
        const size_t length = tagged(frame, r->tags, r->count);
        tagged(plain, r->tags, 0);
        memcpy(before, frame, sizeof before);
        assert_int_equal(vlan_take(&vlan, frame, (uint32_t)length, VLAN_NONE_BESIDE, &taken),
                         r->verdict);
        if (r->verdict == VERDICT_FORWARDED) {
            assert_int_equal(taken, length - 60);
            assert_memory_equal(frame + taken, plain, 60);
        } else {
            assert_int_equal(taken, 0);
            assert_memory_equal(frame, before, sizeof before);
        }
    }
}

/* The same tags, the outermost of which the driver has taken off. */
static void a_tag_that_the_port_delivers_beside_the_frame_counts_like_one_within(void **state)
{
    (void)state;
    static const struct {
        const char *side;
        int beside, count;
        uint16_t tags[2][2];
        enum verdict verdict;
    } rows[] = {
        {"", 0, 0, {{0}}, VERDICT_FORWARDED},
        {"", 0x6000, 0, {{0}}, VERDICT_FORWARDED},
        {"", 7, 0, {{0}}, VERDICT_VLAN},
        {"", 0, 1, {{0x8100, 7}}, VERDICT_VLAN},
        {"7", 0, 0, {{0}}, VERDICT_VLAN_MISSING},
        {"7", 0xe007, 0, {{0}}, VERDICT_FORWARDED},
        {"7", 8, 0, {{0}}, VERDICT_VLAN_OTHER},
        {"7", 7, 1, {{0x8100, 7}}, VERDICT_VLAN_OTHER},
        {"100.7", 100, 1, {{0x8100, 7}}, VERDICT_FORWARDED},
        {"100.7", 100, 0, {{0}}, VERDICT_VLAN_OTHER},
        {"100.7", 7, 1, {{0x8100, 100}}, VERDICT_VLAN_OTHER},
        {"100.7", 100, 2, {{0x8100, 7}, {0x8100, 7}}, VERDICT_VLAN_DEPTH},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct vlan vlan = vlan_of(rows[i].side);
        uint8_t frame[80];
        uint32_t taken;
        const size_t length = tagged(frame, rows[i].tags, rows[i].count);
        assert_int_equal(vlan_take(&vlan, frame, (uint32_t)length, rows[i].beside, &taken),
                         rows[i].verdict);
        if (rows[i].verdict == VERDICT_FORWARDED)
            assert_int_equal(taken, length - 60);
    }
}

static void a_frame_that_ends_within_its_tags_is_truncated(void **state)
{
    (void)state;
    static const uint16_t tags[][2] = {{0x88a8, 100}, {0x8100, 7}};
    const struct vlan vlan = vlan_of("100.7");
    for (uint32_t length = 0; length < 60; length++) {
        uint8_t whole[80], *frame = malloc(length + 1); /* the sanitizer watches its end */
        uint32_t taken;
        tagged(whole, tags, 2);
        memcpy(frame, whole, length);
        const enum verdict verdict = vlan_take(&vlan, frame, length, VLAN_NONE_BESIDE, &taken);
        assert_int_equal(verdict, length < 22 ? VERDICT_TRUNCATED : VERDICT_FORWARDED);
        free(frame);
    }
}

static void what_is_put_on_is_taken_off_again(void **state)
{
    (void)state;
    static const char *const sides[] = {"", "1", "4094", "4094.1"};
    for (size_t i = 0; i < sizeof sides / sizeof sides[0]; i++) {
        const struct vlan vlan = vlan_of(sides[i]);
        const uint32_t bytes = vlan.count * 4U;
        uint8_t frame[80], plain[80];
        uint32_t taken;
        tagged(plain, NULL, 0);
        memcpy(frame + bytes, plain, 60);
        vlan_put(&vlan, frame);
        assert_memory_equal(frame, plain, 12);
        for (uint32_t t = 0; t < vlan.count; t++) {
            assert_int_equal(frame_get16(frame + 12 + 4 * (size_t)t),
                             vlan.count == 2 && t == 0 ? 0x88a8 : 0x8100);
            assert_int_equal(frame_get16(frame + 14 + 4 * (size_t)t), vlan.id[t]);
        }
        assert_int_equal(vlan_take(&vlan, frame, 60 + bytes, VLAN_NONE_BESIDE, &taken),
                         VERDICT_FORWARDED);
        assert_int_equal(taken, bytes);
        assert_memory_equal(frame + taken, plain, 60);
    }
}

/* ---- on the wire ---- */

static void pitfall_18_a_connection_passes_from_any_side_to_any_other(void **state)
{
    struct wire *w = wire_of(state);
    static const char *const sides[] = {"", "7", "100.7"};
    for (int i = 0; i < 9; i++) {
        w->vlan[OUTSIDE] = vlan_of(sides[i / 3]);
        w->vlan[INSIDE] = vlan_of(sides[i % 3]);
        struct wire_talk t = wire_talk(w);
        wire_open(w, &t);
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK | TCP_PSH, "HTTP/1.1 200 OK\r\n\r\n");
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "");
        wire_close(w, &t, FROM_CLIENT);
        wire_quiet(w);
    }
}

static void resets_that_a_timer_sends_carry_the_tags(void **state)
{
    struct wire *w = wire_of(state);
    w->vlan[OUTSIDE] = vlan_of("7");
    w->vlan[INSIDE] = vlan_of("100.7");
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    wire_wait(w, w->limits.idle_ms + 1000);
    assert_int_equal(wire_out(w, INSIDE).flags & TCP_RST, TCP_RST);
    assert_int_equal(wire_out(w, OUTSIDE).flags & TCP_RST, TCP_RST);
    wire_quiet(w);
}

static void a_frame_of_another_vlan_reaches_nothing(void **state)
{
    struct wire *w = wire_of(state);
    static const struct {
        const char *side;
        int tags;
        uint16_t tci[3];
        enum verdict verdict;
    } rows[] = {
        {"", 1, {7}, VERDICT_VLAN},
        {"7", 0, {0}, VERDICT_VLAN_MISSING},
        {"7", 1, {8}, VERDICT_VLAN_OTHER},
        {"7", 2, {7, 7}, VERDICT_VLAN_OTHER},
        {"7", 3, {7, 7, 7}, VERDICT_VLAN_DEPTH},
    };
    struct wire_talk t = wire_talk(w);
    const struct wire_segment syn = wire_segment(&t, FROM_CLIENT, TCP_SYN);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t frame[FRAME_ROOM];
        size_t length = wire_segment_write(frame, &syn);
        for (int k = rows[i].tags; k-- > 0;)
            length = frame_tag(frame, length, 0x8100, rows[i].tci[k]);
        w->vlan[OUTSIDE] = vlan_of(rows[i].side);
        assert_int_equal(wire_in_bytes(w, OUTSIDE, frame, (uint32_t)length), rows[i].verdict);
        wire_quiet(w);
    }
}

static void a_priority_tag_on_an_untagged_side_is_answered_without_one(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    const struct wire_segment syn = wire_segment(&t, FROM_CLIENT, TCP_SYN);
    uint8_t frame[FRAME_ROOM];
    const size_t length = frame_tag(frame, wire_segment_write(frame, &syn), 0x8100, 0xa000);
    assert_int_equal(wire_in_bytes(w, OUTSIDE, frame, (uint32_t)length), VERDICT_SYN_COOKIE);
    assert_int_equal(wire_out(w, OUTSIDE).flags, TCP_SYN | TCP_ACK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_side_names_no_tag_one_or_two),
        cmocka_unit_test(pitfall_18_only_frames_with_exactly_the_sides_tags_pass),
        cmocka_unit_test(a_tag_that_the_port_delivers_beside_the_frame_counts_like_one_within),
        cmocka_unit_test(a_frame_that_ends_within_its_tags_is_truncated),
        cmocka_unit_test(what_is_put_on_is_taken_off_again),
        WIRE_TEST(pitfall_18_a_connection_passes_from_any_side_to_any_other),
        WIRE_TEST(resets_that_a_timer_sends_carry_the_tags),
        WIRE_TEST(a_frame_of_another_vlan_reaches_nothing),
        WIRE_TEST(a_priority_tag_on_an_untagged_side_is_answered_without_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
