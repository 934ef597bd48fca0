/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Lists in the packet walk: who is denied gets no answer, who is allowed is not denied, and flows
 * end when the lists that come next deny their clients. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/wire.h"

/* Both families' clients are within these. */
static const char *const around[WIRE_FAMILIES] = {"198.18.64.0/24", "2001:db8:1000::/36"};
static const char *const alone[WIRE_FAMILIES] = {"198.18.64.9/32", "2001:db8:1000::9/128"};
static const char *const beside[WIRE_FAMILIES] = {"198.18.64.8/32", "2001:db8:1000::8/128"};

/* Lists of up to two feeds, of one prefix each. */
struct feed {
    enum list_kind kind;
    enum list_mode mode;
    const char *const *prefix; /* by family; NULL: no feed */
};

/* They are in force from the next burst on; those before are freed. */
static void enforce(struct wire *w, struct feed a, struct feed b)
{
    const struct feed feeds[2] = {a, b};
    static const char *const names[2] = {"a", "b"};
    struct lists_source sources[2];
    struct prefix prefixes[2];
    size_t count = 0;
    struct lists *before = (struct lists *)(uintptr_t)w->policy.lists, *lists;
    for (int i = 0; i < 2; i++) {
        if (feeds[i].prefix == NULL)
            continue;
        assert_int_equal(prefix_parse(feeds[i].prefix[w->family], &prefixes[count], NULL), 0);
        sources[count] = (struct lists_source){.name = names[i],
                                               .kind = feeds[i].kind,
                                               .mode = feeds[i].mode,
                                               .prefixes = &prefixes[count],
                                               .count = 1};
        count++;
    }
    const uint16_t generation = lists_next(lists_generation(before));
    assert_int_equal(lists_build(sources, count, before, generation, &lists), 0);
    w->policy.lists = lists;
    wire_begin(w);
    lists_free(before);
}

static const struct feed nobody = {LIST_DENY, LIST_ENFORCE, NULL};

static struct feed deny(const char *const prefix[WIRE_FAMILIES])
{
    return (struct feed){LIST_DENY, LIST_ENFORCE, prefix};
}

static struct feed observe(const char *const prefix[WIRE_FAMILIES])
{
    return (struct feed){LIST_DENY, LIST_OBSERVE, prefix};
}

static struct feed allow(const char *const prefix[WIRE_FAMILIES])
{
    return (struct feed){LIST_ALLOW, LIST_ENFORCE, prefix};
}

static uint64_t count_of(const struct wire *w, enum verdict verdict)
{
    return w->shard->verdicts[verdict];
}

/* Of the feed in slot 0 or 1: "a", and "b" if both were there from the first. */
static uint64_t hits_of(const struct wire *w, uint32_t slot)
{
    return lists_hits_of(w->policy.lists, &w->shard->hits, slot);
}

static enum verdict send_syn(struct wire *w, const struct wire_talk *t)
{
    const struct wire_segment syn = wire_segment(t, FROM_CLIENT, TCP_SYN);
    return wire_send(w, &syn, FROM_CLIENT);
}

/* ---- without a flow ---- */

static void a_denied_syn_is_dropped_silently_and_counted_for_its_feed(void **state)
{
    struct wire *w = wire_of(state);
    const struct wire_talk t = wire_talk(w);
    enforce(w, deny(around), deny(beside));
    assert_int_equal(send_syn(w, &t), VERDICT_DENIED);
    wire_quiet(w);
    assert_int_equal(count_of(w, VERDICT_DENIED), 1);
    assert_int_equal(hits_of(w, 0), 1);
    assert_int_equal(hits_of(w, 1), 0);
}

static void a_denied_syn_of_the_lane_is_dropped_just_so(void **state)
{
    struct wire *w = wire_of(state);
    const struct wire_talk t = wire_talk(w);
    wire_offer(w, t.service, w->family == WIRE_V4 ? 1460 : 1440, 7, true, true);
    enforce(w, deny(alone), nobody);
    assert_int_equal(send_syn(w, &t), VERDICT_DENIED);
    wire_quiet(w);
    assert_int_equal(count_of(w, VERDICT_DENIED), 1);
    assert_int_equal(hits_of(w, 0), 1);
}

static void who_is_not_listed_is_served_beside_who_is(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    enforce(w, deny(beside), nobody);
    wire_open(w, &t);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "more");
    assert_int_equal(count_of(w, VERDICT_DENIED), 0);
    assert_int_equal(hits_of(w, 0), 0);
}

static void allowed_inside_denied_passes(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    enforce(w, deny(around), allow(alone));
    wire_open(w, &t);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "an answer");
    assert_int_equal(count_of(w, VERDICT_DENIED), 0);
}

static void an_observed_feed_counts_and_lets_pass(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    enforce(w, observe(around), nobody);
    wire_open(w, &t);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "more");
    assert_int_equal(count_of(w, VERDICT_DENIED), 0);
    assert_int_equal(count_of(w, VERDICT_DENIED_OBSERVED), 2); /* the SYN, and the first data */
    assert_int_equal(hits_of(w, 0), 2);
}

static void data_with_a_good_cookie_is_denied_once_its_client_is(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    enforce(w, deny(alone), nobody);
    const struct wire_segment data = wire_data(&t, FROM_CLIENT, TCP_ACK, wire_request);
    assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_DENIED);
    const struct wire_segment fin = wire_segment(&t, FROM_CLIENT, TCP_ACK | TCP_FIN);
    assert_int_equal(wire_send(w, &fin, FROM_CLIENT), VERDICT_DENIED);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
}

static void what_is_dropped_in_any_case_is_not_looked_up(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    enforce(w, deny(alone), nobody);
    const struct wire_segment ack = wire_segment(&t, FROM_CLIENT, TCP_ACK);
    assert_int_equal(wire_send(w, &ack, FROM_CLIENT), VERDICT_ACK_NO_FLOW);
    const struct wire_segment reset = wire_segment(&t, FROM_CLIENT, TCP_RST);
    assert_int_equal(wire_send(w, &reset, FROM_CLIENT), VERDICT_RST_NO_FLOW);
    assert_int_equal(hits_of(w, 0), 0);
}

static void allowed_sources_and_proxies_are_not_counted_against_their_rate(void **state)
{
    struct wire *w = wire_of(state);
    const struct wire_talk t = wire_talk(w);
    static const struct feed exempt[] = {
        {LIST_ALLOW, LIST_ENFORCE, alone},
        {LIST_PROXIES, LIST_ENFORCE, alone},
    };
    w->limits.source_rate = 3;
    for (size_t i = 0; i < 2; i++) {
        enforce(w, exempt[i], nobody);
        for (int k = 0; k < 10; k++)
            assert_int_equal(send_syn(w, &t), VERDICT_SYN_COOKIE);
        enforce(w, (struct feed){LIST_SHARED, LIST_ENFORCE, alone}, nobody);
        for (int k = 0; k < 3; k++)
            assert_int_equal(send_syn(w, &t), VERDICT_SYN_COOKIE);
        assert_int_equal(send_syn(w, &t), VERDICT_SOURCE_RATE);
        wire_forget_frames(w);
        wire_step(w, 1000);
    }
}

/* ---- flows ---- */

/* The next frame on that side resets its receiver at the number that it expects, in the name of
 * the other end. */
static void expect_reset(struct wire *w, enum port_side side, uint32_t seq)
{
    const struct wire_segment reset = wire_out(w, side);
    assert_true(reset.flags & TCP_RST);
    assert_int_equal(reset.seq, seq);
    assert_int_equal(reset.length, 0);
}

static void expect_cut(struct wire *w, const struct wire_talk *t)
{
    expect_reset(w, INSIDE, t->server.expects);
    expect_reset(w, OUTSIDE, t->client.expects);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
    assert_int_equal(count_of(w, VERDICT_DENIED_CUT), 1);
}

static void a_flow_is_cut_by_its_next_packet_from_either_end(void **state)
{
    struct wire *w = wire_of(state);
    for (int from = FROM_CLIENT; from <= FROM_BACKEND; from++) {
        struct wire_talk t = wire_talk(w);
        enforce(w, nobody, nobody);
        wire_open(w, &t);
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "an answer");
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "more");
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
        enforce(w, deny(around), nobody);
        w->shard->verdicts[VERDICT_DENIED_CUT] = 0;
        const struct wire_segment next =
            wire_data(&t, (enum direction)from, TCP_ACK, "still there?");
        assert_int_equal(wire_send(w, &next, (enum direction)from), VERDICT_DENIED);
        expect_cut(w, &t);
    }
}

static void a_flow_that_says_nothing_is_cut_as_well(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    enforce(w, deny(alone), nobody);
    wire_wait(w, 10);
    expect_cut(w, &t);
}

static void a_flow_whose_client_is_allowed_stays_until_it_is_not(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    enforce(w, deny(around), allow(alone));
    wire_open(w, &t);
    enforce(w, deny(around), allow(alone));
    wire_wait(w, 10);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "more");
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
    enforce(w, deny(around), nobody);
    wire_wait(w, 10);
    expect_cut(w, &t);
}

static void a_flow_is_looked_up_once_per_generation(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    enforce(w, observe(alone), nobody);
    for (int i = 0; i < 5; i++) {
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "more");
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
        wire_wait(w, 10);
    }
    assert_int_equal(hits_of(w, 0), 1);
    assert_int_equal(count_of(w, VERDICT_DENIED_OBSERVED), 1);
}

static void bytes_on_their_way_do_not_save_either_side_from_the_reset(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    const uint32_t client_had = t.client.expects, server_had = t.server.expects;
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "not acknowledged");
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "nor is this");
    t.client.expects = client_had;
    enforce(w, deny(alone), nobody);
    wire_wait(w, 10);
    expect_reset(w, INSIDE, server_had);
    expect_reset(w, INSIDE, t.server.expects);
    expect_reset(w, OUTSIDE, client_had + (uint32_t)strlen("not acknowledged"));
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
}

static void a_flow_whose_head_is_read_is_cut_without_a_word_to_the_backend(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    const struct wire_segment half = wire_data(&t, FROM_CLIENT, TCP_ACK, "GET /v1/it");
    assert_int_equal(wire_send(w, &half, FROM_CLIENT), VERDICT_READING);
    wire_forget_frames(w);
    enforce(w, deny(alone), nobody);
    wire_wait(w, 10);
    expect_reset(w, OUTSIDE, t.client.expects);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
}

static void a_flow_that_is_being_opened_is_cut(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    wire_ask(w, &t, wire_request);
    const struct wire_segment more = wire_data(&t, FROM_CLIENT, TCP_ACK, wire_request);
    assert_int_equal(wire_send(w, &more, FROM_CLIENT), VERDICT_HELD);
    enforce(w, deny(alone), nobody);
    const struct wire_segment answer = wire_syn_ack(&t);
    assert_int_equal(wire_send(w, &answer, FROM_BACKEND), VERDICT_DENIED);
    expect_reset(w, INSIDE, t.client.isn + 1);
    expect_reset(w, OUTSIDE, t.client.expects);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
}

static void a_closed_flow_goes_without_a_reset(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_open(w, &t);
    wire_close(w, &t, FROM_CLIENT);
    enforce(w, deny(alone), nobody);
    wire_wait(w, 10);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
    assert_int_equal(count_of(w, VERDICT_DENIED_CUT), 0);
    assert_int_equal(count_of(w, VERDICT_FLOW_CLOSED), 1);
}

/* More flows than a tick looks at: all go, a bounded number at a time, and those of a family that
 * is not denied stay. */
static void silent_flows_are_cut_a_few_at_each_tick(void **state)
{
    enum { FLOWS = 300 };
    struct wire *w = wire_of(state);
    struct wire_talk *t = calloc(FLOWS, sizeof *t);
    uint32_t most = 0, ticks = 0;
    for (int i = 0; i < FLOWS; i++) {
        t[i] = wire_talk(w);
        wire_handshake(w, &t[i]);
        wire_ask(w, &t[i], wire_upload);
        wire_accept(w, &t[i]);
    }
    wire_forget_frames(w);
    enforce(w, deny(beside), nobody);
    while (shard_tick(w->shard) != 0)
        assert_true(++ticks < FLOWS);
    assert_int_equal(flows_count(w->shard->flows), FLOWS);
    enforce(w, deny(alone), nobody);
    for (uint32_t left = FLOWS; left != 0;) {
        assert_true(shard_tick(w->shard) != 0);
        const uint32_t now = flows_count(w->shard->flows);
        most = left - now > most ? left - now : most;
        left = now;
        wire_forget_frames(w);
    }
    assert_in_range(most, 1, 32);
    assert_int_equal(count_of(w, VERDICT_DENIED_CUT), FLOWS);
    assert_int_equal(shard_tick(w->shard), 0);
    free(t);
}

static int free_lists(void **state)
{
    struct wire *w = wire_of(state);
    lists_free((struct lists *)(uintptr_t)w->policy.lists);
    return wire_teardown(state);
}

#define LISTS_TEST(f)                                   \
    {#f "[IPv4]", f, wire_setup_v4, free_lists, NULL},  \
    {                                                   \
#f "[IPv6]", f, wire_setup_v6, free_lists, NULL \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        LISTS_TEST(a_denied_syn_is_dropped_silently_and_counted_for_its_feed),
        LISTS_TEST(a_denied_syn_of_the_lane_is_dropped_just_so),
        LISTS_TEST(who_is_not_listed_is_served_beside_who_is),
        LISTS_TEST(allowed_inside_denied_passes),
        LISTS_TEST(an_observed_feed_counts_and_lets_pass),
        LISTS_TEST(data_with_a_good_cookie_is_denied_once_its_client_is),
        LISTS_TEST(what_is_dropped_in_any_case_is_not_looked_up),
        LISTS_TEST(allowed_sources_and_proxies_are_not_counted_against_their_rate),
        LISTS_TEST(a_flow_is_cut_by_its_next_packet_from_either_end),
        LISTS_TEST(a_flow_that_says_nothing_is_cut_as_well),
        LISTS_TEST(a_flow_whose_client_is_allowed_stays_until_it_is_not),
        LISTS_TEST(a_flow_is_looked_up_once_per_generation),
        LISTS_TEST(bytes_on_their_way_do_not_save_either_side_from_the_reset),
        LISTS_TEST(a_flow_whose_head_is_read_is_cut_without_a_word_to_the_backend),
        LISTS_TEST(a_flow_that_is_being_opened_is_cut),
        LISTS_TEST(a_closed_flow_goes_without_a_reset),
        LISTS_TEST(silent_flows_are_cut_a_few_at_each_tick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
