/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The window follower by itself, at its edges and around the wrap of sequence numbers. */
#include "dataplane/tcp/window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "dataplane/net/packet.h"

/* Where both sides' numbers begin; every test runs at each, so that all edges meet the wrap. */
static const uint32_t places[] = {1000000, 0, 0xffffffff, 0x7fffffff, 0x80000000, 0xffff0000};
enum { PLACES = sizeof places / sizeof places[0], WINDOW = 10000, FAR = 1 << 24 };

struct pair {
    uint32_t at;
    struct side from, to;
};

/* `from` has sent 100 bytes, all acknowledged, and may send WINDOW more; `to` likewise. */
static struct pair pair_at(int place)
{
    const uint32_t at = places[place];
    const struct side side = {
        .end = at, .acked = at, .limit = at + WINDOW, .window = WINDOW, .ts_recent = at, .fin = at};
    return (struct pair){at, side, side};
}

static struct window_segment segment_at(const struct pair *p, uint32_t seq, uint32_t length)
{
    return (struct window_segment){.seq = p->at + seq,
                                   .ack = p->at,
                                   .window = WINDOW,
                                   .length = length,
                                   .flags = TCP_ACK,
                                   .timestamps = true,
                                   .tsval = p->at};
}

static void expect_verdict(const struct pair *p, const struct window_segment *s,
                           enum verdict verdict)
{
    assert_int_equal(window_check(&p->from, &p->to, s), verdict);
}

static void data_up_to_one_byte_beyond_the_window_is_let_through(void **state)
{
    (void)state;
    for (int i = 0; i < PLACES; i++) {
        const struct pair p = pair_at(i);
        struct window_segment s = segment_at(&p, WINDOW - 100, 100);
        expect_verdict(&p, &s, VERDICT_FORWARDED);
        s.length = 101; /* a probe of a closed window, or a FIN behind a full one */
        expect_verdict(&p, &s, VERDICT_FORWARDED);
        s.length = 102;
        expect_verdict(&p, &s, VERDICT_OUT_OF_WINDOW);
        s.length = 101;
        s.flags |= TCP_FIN;
        expect_verdict(&p, &s, VERDICT_OUT_OF_WINDOW);
    }
}

static void old_data_is_let_through_as_far_back_as_a_window(void **state)
{
    (void)state;
    enum { BACK = 66000 };
    for (int i = 0; i < PLACES; i++) {
        struct pair p = pair_at(i);
        struct window_segment s = segment_at(&p, (uint32_t)-BACK - 10, 10);
        expect_verdict(&p, &s, VERDICT_FORWARDED);
        s.seq--;
        expect_verdict(&p, &s, VERDICT_OUT_OF_WINDOW);
        p.to.window = FAR; /* a scaled window is larger than that */
        s.seq = p.at - FAR - 10;
        expect_verdict(&p, &s, VERDICT_FORWARDED);
        s.seq--;
        expect_verdict(&p, &s, VERDICT_OUT_OF_WINDOW);
    }
}

static void an_ack_is_of_something_sent_and_not_too_old(void **state)
{
    (void)state;
    for (int i = 0; i < PLACES; i++) {
        struct pair p = pair_at(i);
        p.to.end += 500;
        struct window_segment s = segment_at(&p, 0, 0);
        s.ack += 500;
        expect_verdict(&p, &s, VERDICT_FORWARDED);
        s.ack++;
        expect_verdict(&p, &s, VERDICT_ACK_UNSENT);
        s.ack = p.at - 66000;
        expect_verdict(&p, &s, VERDICT_FORWARDED);
        s.ack--;
        expect_verdict(&p, &s, VERDICT_OUT_OF_WINDOW);
        s.flags = TCP_RST; /* without ACK the field means nothing */
        expect_verdict(&p, &s, VERDICT_FORWARDED);
    }
}

static void an_older_timestamp_is_refused_unless_it_resets(void **state)
{
    (void)state;
    for (int i = 0; i < PLACES; i++) {
        const struct pair p = pair_at(i);
        struct window_segment s = segment_at(&p, 0, 10);
        expect_verdict(&p, &s, VERDICT_FORWARDED);
        s.tsval--;
        expect_verdict(&p, &s, VERDICT_PAWS);
        s.timestamps = false; /* not agreed */
        expect_verdict(&p, &s, VERDICT_FORWARDED);
        s.timestamps = true;
        s.flags = TCP_RST | TCP_ACK;
        expect_verdict(&p, &s, VERDICT_FORWARDED);
        s.flags = TCP_ACK;
        s.tsval = p.at + 0x7fffffff;
        expect_verdict(&p, &s, VERDICT_FORWARDED);
    }
}

static void a_reset_is_exact_at_the_receivers_next_byte_or_the_senders_end(void **state)
{
    (void)state;
    for (int i = 0; i < PLACES; i++) {
        struct pair p = pair_at(i);
        p.from.end += 50; /* on its way */
        struct window_segment s = segment_at(&p, 0, 0);
        s.flags = TCP_RST;
        for (uint32_t seq = 0; seq <= 60; seq++) {
            s.seq = p.at + seq;
            assert_int_equal(window_class(&p.from, &p.to, &s, false),
                             seq == 0 || seq == 50 ? SEGMENT_RST_EXACT : SEGMENT_RST_WINDOW);
        }
    }
}

static void a_segments_class_is_read_from_flags_and_ack(void **state)
{
    (void)state;
    for (int i = 0; i < PLACES; i++) {
        struct pair p = pair_at(i);
        struct window_segment s = segment_at(&p, 0, 0);
        p.to.fin = p.at;
        assert_int_equal(window_class(&p.from, &p.to, &s, false), SEGMENT_DATA);
        assert_int_equal(window_class(&p.from, &p.to, &s, true), SEGMENT_ACKS_FIN);
        s.flags |= TCP_FIN;
        assert_int_equal(window_class(&p.from, &p.to, &s, false), SEGMENT_FIN);
        assert_int_equal(window_class(&p.from, &p.to, &s, true), SEGMENT_FIN_ACKS_FIN);
        s.ack--;
        assert_int_equal(window_class(&p.from, &p.to, &s, true), SEGMENT_FIN);
        s.flags = TCP_ACK;
        assert_int_equal(window_class(&p.from, &p.to, &s, true), SEGMENT_DATA);
        s.flags = TCP_SYN;
        assert_int_equal(window_class(&p.from, &p.to, &s, false), SEGMENT_SYN);
        s.flags = TCP_SYN | TCP_ACK;
        assert_int_equal(window_class(&p.from, &p.to, &s, false), SEGMENT_SYN_ACK);
    }
}

static void ends_acks_and_limits_only_grow(void **state)
{
    (void)state;
    for (int i = 0; i < PLACES; i++) {
        struct pair p = pair_at(i);
        struct window_segment s = segment_at(&p, 0, 300);
        s.ack = p.at;
        s.window = 20000;
        window_note(&p.from, &p.to, &s);
        assert_int_equal(p.from.end, p.at + 300);
        assert_int_equal(p.from.acked, p.at);
        assert_int_equal(p.from.window, 20000);
        assert_int_equal(p.to.limit, p.at + 20000);
        s.length = 100; /* an older one, and a smaller window */
        s.window = 5;
        s.ack = p.at - 5;
        window_note(&p.from, &p.to, &s);
        assert_int_equal(p.from.end, p.at + 300);
        assert_int_equal(p.from.acked, p.at);
        assert_int_equal(p.from.window, 20000);
        assert_int_equal(p.to.limit, p.at + 20000);
    }
}

static void a_fin_takes_a_number_and_its_place_is_noted(void **state)
{
    (void)state;
    for (int i = 0; i < PLACES; i++) {
        struct pair p = pair_at(i);
        struct window_segment s = segment_at(&p, 0, 10);
        s.flags |= TCP_FIN;
        window_note(&p.from, &p.to, &s);
        assert_int_equal(p.from.end, p.at + 11);
        assert_int_equal(p.from.fin, p.at + 11);
    }
}

static void a_clock_is_noted_from_segments_in_order_only(void **state)
{
    (void)state;
    for (int i = 0; i < PLACES; i++) {
        struct pair p = pair_at(i);
        struct window_segment s = segment_at(&p, 500, 10); /* what goes before is missing */
        s.tsval = p.at + 7;
        window_note(&p.from, &p.to, &s);
        assert_int_equal(p.from.ts_recent, p.at);
        s = segment_at(&p, 0, 500);
        s.tsval = p.at + 5;
        window_note(&p.from, &p.to, &s);
        assert_int_equal(p.from.ts_recent, p.at + 5);
    }
}

static void a_reset_teaches_nothing(void **state)
{
    (void)state;
    struct pair p = pair_at(0);
    struct window_segment s = segment_at(&p, 0, 10);
    s.flags = TCP_RST | TCP_ACK;
    s.ack += 100;
    s.tsval += 100;
    const struct pair before = p;
    window_note(&p.from, &p.to, &s);
    assert_memory_equal(&p, &before, sizeof p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_up_to_one_byte_beyond_the_window_is_let_through),
        cmocka_unit_test(old_data_is_let_through_as_far_back_as_a_window),
        cmocka_unit_test(an_ack_is_of_something_sent_and_not_too_old),
        cmocka_unit_test(an_older_timestamp_is_refused_unless_it_resets),
        cmocka_unit_test(a_reset_is_exact_at_the_receivers_next_byte_or_the_senders_end),
        cmocka_unit_test(a_segments_class_is_read_from_flags_and_ack),
        cmocka_unit_test(ends_acks_and_limits_only_grow),
        cmocka_unit_test(a_fin_takes_a_number_and_its_place_is_noted),
        cmocka_unit_test(a_clock_is_noted_from_segments_in_order_only),
        cmocka_unit_test(a_reset_teaches_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
