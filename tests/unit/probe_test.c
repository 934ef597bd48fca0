/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Probes: what they ask, what they learn from each kind of answer, and when they ask again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/wire.h"

/* Both backends are probed; a test looks at its family's and takes the other's away. */
static struct wire *probing(void **state)
{
    struct wire *w = wire_of(state);
    assert_int_equal(shard_probe_backends(w->shard, 2), 0);
    w->neighbors->backend[!w->family].known = false;
    return w;
}

static struct wire_segment next_probe(struct wire *w)
{
    for (int i = 0; i < 50 && wire_pending(w) == 0; i++)
        wire_wait(w, 4);
    return wire_out(w, INSIDE);
}

static struct wire_segment answer_to(const struct wire_segment *probe, uint8_t flags)
{
    struct wire_segment s = {
        .from = probe->to,
        .to = probe->from,
        .source = probe->destination,
        .source_port = probe->destination_port,
        .destination = probe->source,
        .destination_port = probe->source_port,
        .seq = 0x1000,
        .ack = probe->seq + 1,
        .flags = flags,
        .window = 65160,
        .ttl = 64,
        .options = NO_OPTIONS,
    };
    if (flags & TCP_SYN)
        s.options = (struct tcp_options){.mss = 1400,
                                         .window_scale = 9,
                                         .sack_ok = true,
                                         .timestamps = true,
                                         .tsval = 5,
                                         .tsecr = probe->options.tsval};
    return s;
}

static void a_probe_offers_every_option_from_an_own_address(void **state)
{
    struct wire *w = probing(state);
    const struct wire_segment probe = next_probe(w);
    assert_int_equal(probe.flags, TCP_SYN);
    assert_true(addr_equal(&probe.source, &w->services->backend[w->family].source));
    assert_true(addr_equal(&probe.destination, &w->services->backend[w->family].address.addr));
    assert_int_equal(probe.destination_port, 8080);
    assert_in_range(probe.source_port, 32768, 60999);
    assert_int_equal(probe.options.mss, w->family == WIRE_V4 ? 1460 : 1440);
    assert_int_equal(probe.options.window_scale, 7);
    assert_true(probe.options.sack_ok);
    assert_true(probe.options.timestamps);
    assert_int_equal(probe.length, 0);
    wire_quiet(w);
}

static void a_syn_ack_tells_what_the_backend_supports_and_is_reset(void **state)
{
    struct wire *w = probing(state);
    const struct wire_segment probe = next_probe(w), answer = answer_to(&probe, TCP_SYN | TCP_ACK);
    assert_int_equal(wire_in(w, INSIDE, &answer), VERDICT_PROBE);
    const struct wire_segment reset = wire_out(w, INSIDE);
    assert_int_equal(reset.flags, TCP_RST);
    assert_int_equal(reset.seq, probe.seq + 1);
    const struct message told = wire_told(w);
    assert_int_equal(told.kind, MESSAGE_PROBE);
    assert_int_equal(told.probe, PROBE_ANSWERED);
    assert_int_equal(told.backend, w->family);
    assert_int_equal(told.options.mss, 1400);
    assert_int_equal(told.options.window_scale, 9);
    assert_true(told.options.sack_ok && told.options.timestamps);
    assert_int_equal(w->message_count, 0);
    wire_wait(w, 4950);
    wire_quiet(w);
    next_probe(w); /* after the interval */
}

static void options_that_the_backend_lacks_are_told_as_lacking(void **state)
{
    struct wire *w = probing(state);
    const struct wire_segment probe = next_probe(w);
    struct wire_segment answer = answer_to(&probe, TCP_SYN | TCP_ACK);
    answer.options = NO_OPTIONS;
    assert_int_equal(wire_in(w, INSIDE, &answer), VERDICT_PROBE);
    const struct message told = wire_told(w);
    assert_int_equal(told.options.mss, 0);
    assert_int_equal(told.options.window_scale, COOKIE_NO_SCALE);
    assert_false(told.options.sack_ok || told.options.timestamps);
}

static void silence_is_told_after_the_time_out_and_asked_again(void **state)
{
    struct wire *w = probing(state);
    const struct wire_segment first = next_probe(w);
    wire_wait(w, 950);
    wire_quiet(w);
    assert_int_equal(w->message_count, 0);
    const struct wire_segment second = next_probe(w);
    assert_int_equal(wire_told(w).probe, PROBE_SILENT);
    assert_int_not_equal(first.seq, second.seq);
    assert_int_not_equal(first.source_port, second.source_port);
}

static void a_reset_is_told_as_a_refusal(void **state)
{
    struct wire *w = probing(state);
    const struct wire_segment probe = next_probe(w), answer = answer_to(&probe, TCP_RST | TCP_ACK);
    assert_int_equal(wire_in(w, INSIDE, &answer), VERDICT_PROBE);
    assert_int_equal(wire_told(w).probe, PROBE_REFUSED);
    wire_quiet(w);
    wire_wait(w, 4950);
    wire_quiet(w);
    next_probe(w);
}

static void an_answer_to_something_else_teaches_nothing(void **state)
{
    struct wire *w = probing(state);
    const struct wire_segment probe = next_probe(w);
    for (int kind = 0; kind < 4; kind++) {
        struct wire_segment answer = answer_to(&probe, TCP_SYN | TCP_ACK);
        if (kind == 0)
            answer.ack++;
        if (kind == 1)
            answer.destination_port ^= 1;
        if (kind == 2)
            answer = answer_to(&probe, TCP_SYN); /* no ACK */
        if (kind == 3)
            answer = answer_to(&probe, TCP_ACK); /* neither SYN nor RST */
        assert_int_equal(wire_in(w, INSIDE, &answer), VERDICT_INSIDE_RESET);
        wire_out(w, INSIDE); /* its connection is not ours: it need not keep it */
    }
    struct wire_segment reset = answer_to(&probe, TCP_RST | TCP_ACK);
    reset.ack++;
    assert_int_equal(wire_in(w, INSIDE, &reset), VERDICT_INSIDE_NO_FLOW);
    assert_int_equal(w->message_count, 0);
    wire_quiet(w);
    const struct wire_segment answer = answer_to(&probe, TCP_SYN | TCP_ACK);
    assert_int_equal(wire_in(w, INSIDE, &answer), VERDICT_PROBE);
}

/* Our RST was lost, or it came too late: else the backend keeps half a connection for a minute. */
static void a_syn_ack_that_nobody_waits_for_any_more_is_reset(void **state)
{
    struct wire *w = probing(state);
    const struct wire_segment probe = next_probe(w), answer = answer_to(&probe, TCP_SYN | TCP_ACK);
    assert_int_equal(wire_in(w, INSIDE, &answer), VERDICT_PROBE);
    wire_out(w, INSIDE);
    assert_int_equal(wire_in(w, INSIDE, &answer), VERDICT_INSIDE_RESET);
    assert_int_equal(wire_out(w, INSIDE).seq, probe.seq + 1);
    assert_int_equal(w->message_count, 1);
}

static void malformed_options_teach_nothing(void **state)
{
    struct wire *w = probing(state);
    const struct wire_segment probe = next_probe(w);
    struct wire_segment answer = answer_to(&probe, TCP_SYN | TCP_ACK);
    memcpy(answer.extra, "\x02\x07", 2);
    answer.extra_length = 2;
    assert_int_equal(wire_in(w, INSIDE, &answer), VERDICT_BAD_OPTIONS);
    assert_int_equal(w->message_count, 0);
    answer.extra_length = 0;
    assert_int_equal(wire_in(w, INSIDE, &answer), VERDICT_PROBE);
}

static void a_backend_without_a_next_hop_is_not_probed_until_it_has_one(void **state)
{
    struct wire *w = probing(state);
    w->neighbors->backend[w->family].known = false;
    wire_wait(w, 3000);
    wire_quiet(w);
    assert_int_equal(w->message_count, 0);
    w->neighbors->backend[w->family].known = true;
    wire_wait(w, 50); /* soon: nothing can be offered until then */
    wire_out(w, INSIDE);
}

static void a_shard_that_does_not_probe_leaves_answers_to_others(void **state)
{
    struct wire *w = wire_of(state);
    wire_wait(w, 10000);
    wire_quiet(w);
    struct wire_segment probe = {.from = w->shard->mac[INSIDE],
                                 .source = w->services->backend[w->family].source,
                                 .destination = w->services->backend[w->family].address.addr,
                                 .source_port = 40000,
                                 .destination_port = 8080,
                                 .options = NO_OPTIONS};
    const struct wire_segment answer = answer_to(&probe, TCP_SYN | TCP_ACK);
    assert_int_equal(wire_in(w, INSIDE, &answer), VERDICT_INSIDE_NO_FLOW);
    wire_quiet(w);
}

/* A thousand SYNs at once, and a thousand time-outs a second later, would be lost on the way. */
static void many_backends_are_probed_in_turn_each_as_often(void **state)
{
    enum { MANY = 100, LOOK_MS = 20, PER_LOOK = 32 };
    struct wire *w = wire_of(state);
    struct neighbors *neighbors =
        calloc(1, sizeof *neighbors + MANY * sizeof neighbors->backend[0]);
    struct backend *many = calloc(MANY, sizeof *many);
    for (int i = 0; i < MANY; i++) {
        many[i] = w->services->backend[w->family];
        many[i].address.port = (uint16_t)(8000 + i);
        neighbors->backend[i].known = true;
    }
    free(w->services->backend);
    w->services->backend = many;
    w->policy.neighbors = neighbors;
    w->limits.probe_timeout_ms = 2 * LOOK_MS; /* less than one turn takes */
    assert_int_equal(shard_probe_backends(w->shard, MANY), 0);
    uint32_t probes[MANY] = {0};
    for (uint32_t at = 0; at < 3200; at += LOOK_MS) { /* nobody answers */
        wire_wait(w, LOOK_MS);
        assert_true(wire_pending(w) <= PER_LOOK);
        while (wire_pending(w) > 0)
            probes[wire_out(w, INSIDE).destination_port - 8000]++;
        w->message_count = 0;
    }
    for (int i = 0; i < MANY; i++)
        assert_in_range(probes[i], 40,
                        52); /* 3,200 / 20 x 32 / 100 at most, one turn less at least */
    free(neighbors);
    w->policy.neighbors = w->neighbors;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(a_probe_offers_every_option_from_an_own_address),
        WIRE_TEST(a_syn_ack_tells_what_the_backend_supports_and_is_reset),
        WIRE_TEST(options_that_the_backend_lacks_are_told_as_lacking),
        WIRE_TEST(silence_is_told_after_the_time_out_and_asked_again),
        WIRE_TEST(a_reset_is_told_as_a_refusal),
        WIRE_TEST(an_answer_to_something_else_teaches_nothing),
        WIRE_TEST(a_syn_ack_that_nobody_waits_for_any_more_is_reset),
        WIRE_TEST(malformed_options_teach_nothing),
        WIRE_TEST(a_backend_without_a_next_hop_is_not_probed_until_it_has_one),
        WIRE_TEST(many_backends_are_probed_in_turn_each_as_often),
        WIRE_TEST(a_shard_that_does_not_probe_leaves_answers_to_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
