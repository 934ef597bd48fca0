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
    for (int i = 0; i < 1500 && wire_pending(w) == 0; i++)
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

/* The backend's segment behind its SYN-ACK: `sent` bytes and FINs of its own before it. */
static struct wire_segment says(const struct wire_segment *probe, uint32_t sent, uint8_t flags,
                                uint32_t ack, const char *text)
{
    struct wire_segment s = answer_to(probe, flags);
    s.seq = 0x1001 + sent;
    s.ack = ack;
    s.payload = text;
    s.length = (uint16_t)strlen(text);
    s.options.timestamps = true;
    s.options.tsval = 6 + sent;
    return s;
}

static enum verdict hear(struct wire *w, const struct wire_segment *probe, uint32_t sent,
                         uint8_t flags, uint32_t ack, const char *text)
{
    const struct wire_segment s = says(probe, sent, flags, ack, text);
    return wire_in(w, INSIDE, &s);
}

static void expect_told(struct wire *w, int result, bool connected, uint16_t status)
{
    const struct message told = wire_told(w);
    assert_int_equal(told.kind, MESSAGE_PROBE);
    assert_int_equal(told.backend, w->family);
    assert_int_equal(told.probe, result);
    assert_int_equal(told.connected, connected);
    assert_int_equal(told.status, status);
    w->message_count = 0;
}

static void a_syn_ack_tells_what_the_backend_supports_and_the_connection_is_closed(void **state)
{
    struct wire *w = probing(state);
    const struct wire_segment probe = next_probe(w), answer = answer_to(&probe, TCP_SYN | TCP_ACK);
    assert_int_equal(wire_in(w, INSIDE, &answer), VERDICT_PROBE);
    const struct wire_segment fin = wire_out(w, INSIDE);
    assert_int_equal(fin.flags, TCP_FIN | TCP_ACK);
    assert_int_equal(fin.seq, probe.seq + 1);
    assert_int_equal(fin.ack, 0x1001);
    assert_int_equal(fin.options.tsecr, 5);
    assert_int_equal(fin.options.window_scale, COOKIE_NO_SCALE); /* in a SYN only */
    const struct message told = wire_told(w);
    assert_int_equal(told.kind, MESSAGE_PROBE);
    assert_int_equal(told.probe, PROBE_ANSWERED);
    assert_int_equal(told.backend, w->family);
    assert_true(told.connected);
    assert_int_equal(told.options.mss, 1400);
    assert_int_equal(told.options.window_scale, 9);
    assert_true(told.options.sack_ok && told.options.timestamps);
    assert_int_equal(w->message_count, 0);
    assert_int_equal(hear(w, &probe, 0, TCP_FIN | TCP_ACK, probe.seq + 2, ""), VERDICT_PROBE);
    const struct wire_segment last = wire_out(w, INSIDE);
    assert_int_equal(last.flags, TCP_ACK);
    assert_int_equal(last.seq, probe.seq + 2);
    assert_int_equal(last.ack, 0x1002);
    /* Our last acknowledgement was lost. */
    assert_int_equal(hear(w, &probe, 0, TCP_FIN | TCP_ACK, probe.seq + 2, ""), VERDICT_PROBE);
    assert_int_equal(wire_out(w, INSIDE).flags, TCP_ACK);
    wire_wait(w, 2000);
    wire_quiet(w);
    const uint64_t now = w->now_ms;
    assert_int_equal(next_probe(w).flags, TCP_SYN);
    assert_true(w->now_ms - now < 3100); /* after the interval at most */
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

static void what_is_lost_is_sent_again_and_silence_told_after_the_time_out(void **state)
{
    struct wire *w = probing(state);
    const struct wire_segment first = next_probe(w);
    const uint64_t begun = w->now_ms;
    uint64_t at[2];
    for (int i = 0; i < 2; i++) {
        const struct wire_segment again = next_probe(w);
        assert_int_equal(again.flags, TCP_SYN);
        assert_int_equal(again.seq, first.seq);
        assert_int_equal(again.source_port, first.source_port);
        at[i] = w->now_ms - begun;
        wire_wait(w, i == 0 ? 400 : 0);
    }
    assert_in_range(at[0], 240, 280);
    assert_in_range(at[1], 740, 790);
    assert_int_equal(w->message_count, 0);
    wire_wait(w, 180);
    wire_quiet(w);
    const struct wire_segment second = next_probe(w);
    assert_in_range(w->now_ms - begun, 1000, 1050);
    expect_told(w, PROBE_SILENT, false, 0);
    assert_int_not_equal(first.seq, second.seq);
    assert_int_not_equal(first.source_port, second.source_port);
}

static void a_reset_is_told_as_a_refusal(void **state)
{
    struct wire *w = probing(state);
    const struct wire_segment probe = next_probe(w), answer = answer_to(&probe, TCP_RST | TCP_ACK);
    assert_int_equal(wire_in(w, INSIDE, &answer), VERDICT_PROBE);
    expect_told(w, PROBE_REFUSED, false, 0);
    wire_quiet(w);
    wire_wait(w, 950);
    wire_quiet(w);
    next_probe(w); /* no later than if it had been silent */
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

/* Ours was lost, or it came too late: else the backend keeps half a connection for a minute. */
static void a_syn_ack_that_nobody_waits_for_any_more_is_reset(void **state)
{
    struct wire *w = probing(state);
    const struct wire_segment probe = next_probe(w), answer = answer_to(&probe, TCP_SYN | TCP_ACK);
    wire_wait(w, 1100);
    wire_forget_frames(w);
    assert_int_equal(wire_in(w, INSIDE, &answer), VERDICT_INSIDE_RESET);
    assert_int_equal(wire_out(w, INSIDE).seq, probe.seq + 1);
    expect_told(w, PROBE_SILENT, false, 0);
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

/* ---- what HTTP backends are asked ---- */

static const char readyz[] = "GET /readyz HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n";
enum { ASKED = sizeof readyz - 1 };

/* Up to the request, which has arrived, but not been acknowledged. */
static struct wire_segment asked(struct wire *w)
{
    struct backend *backend = &w->services->backend[w->family];
    backend->probe = readyz;
    backend->probe_length = ASKED;
    const struct wire_segment probe = next_probe(w), answer = answer_to(&probe, TCP_SYN | TCP_ACK);
    assert_int_equal(wire_in(w, INSIDE, &answer), VERDICT_PROBE);
    const struct wire_segment request = wire_out(w, INSIDE);
    assert_int_equal(request.flags, TCP_ACK | TCP_PSH);
    assert_int_equal(request.seq, probe.seq + 1);
    assert_int_equal(request.ack, 0x1001);
    assert_int_equal(request.length, ASKED);
    assert_memory_equal(request.payload, readyz, ASKED);
    assert_int_equal(w->message_count, 0); /* that it takes connections is not enough */
    return probe;
}

/* Both close, the backend first; `sent` bytes of its own were acknowledged. */
static void expect_close(struct wire *w, const struct wire_segment *probe, uint32_t sent)
{
    const uint32_t end = probe->seq + 1 + ASKED;
    assert_int_equal(hear(w, probe, sent, TCP_FIN | TCP_ACK, end, ""), VERDICT_PROBE);
    const struct wire_segment fin = wire_out(w, INSIDE);
    assert_int_equal(fin.flags, TCP_FIN | TCP_ACK);
    assert_int_equal(fin.seq, end);
    assert_int_equal(fin.ack, 0x1001 + sent + 1);
    assert_int_equal(hear(w, probe, sent + 1, TCP_ACK, end + 1, ""), VERDICT_PROBE);
    wire_quiet(w);
}

static void status_200_is_well_and_the_rest_is_taken_until_the_backend_closes(void **state)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", body[] = "ready\n";
    struct wire *w = probing(state);
    const struct wire_segment probe = asked(w);
    const uint32_t end = probe.seq + 1 + ASKED;
    assert_int_equal(hear(w, &probe, 0, TCP_ACK, end, ""), VERDICT_PROBE);
    wire_quiet(w);
    assert_int_equal(hear(w, &probe, 0, TCP_ACK, end, head), VERDICT_PROBE);
    const struct message told = wire_told(w);
    assert_int_equal(told.probe, PROBE_ANSWERED);
    assert_int_equal(told.status, 200);
    assert_true(told.connected);
    assert_int_equal(told.options.mss, 1400);
    const struct wire_segment ack = wire_out(w, INSIDE);
    assert_int_equal(ack.flags, TCP_ACK);
    assert_int_equal(ack.ack, 0x1001 + sizeof head - 1);
    assert_int_equal(hear(w, &probe, sizeof head - 1, TCP_ACK, end, body), VERDICT_PROBE);
    assert_int_equal(wire_out(w, INSIDE).ack, 0x1001 + sizeof head - 1 + sizeof body - 1);
    expect_close(w, &probe, sizeof head - 1 + sizeof body - 1);
    assert_int_equal(w->message_count, 0);
    w->message_count = 0;
}

static void an_answer_comes_in_any_pieces(void **state)
{
    static const char answer[] = "HTTP/1.1 200 ";
    struct wire *w = probing(state);
    const struct wire_segment probe = asked(w);
    for (uint32_t i = 0; i < sizeof answer - 1; i++) {
        const char piece[2] = {answer[i], '\0'};
        assert_int_equal(w->message_count, 0);
        if (i == 3) { /* one that is overtaken comes again */
            hear(w, &probe, i + 1, TCP_ACK, probe.seq + 1 + ASKED, "P");
            assert_int_equal(wire_out(w, INSIDE).ack, 0x1001 + i);
        }
        hear(w, &probe, i, TCP_ACK, probe.seq + 1 + ASKED, piece);
        assert_int_equal(wire_out(w, INSIDE).ack, 0x1001 + i + 1);
        if (i == 5) { /* and one that was lost on the way back comes twice, with more */
            hear(w, &probe, i - 1, TCP_ACK, probe.seq + 1 + ASKED, "/1.1");
            assert_int_equal(wire_out(w, INSIDE).ack, 0x1001 + i + 3);
            i += 2;
        }
    }
    expect_told(w, PROBE_ANSWERED, true, 200);
}

static void the_last_piece_may_carry_the_fin(void **state)
{
    static const char answer[] = "HTTP/1.0 200 OK\r\n\r\n";
    struct wire *w = probing(state);
    const struct wire_segment probe = asked(w);
    const uint32_t end = probe.seq + 1 + ASKED;
    assert_int_equal(hear(w, &probe, 0, TCP_ACK | TCP_FIN, end, answer), VERDICT_PROBE);
    expect_told(w, PROBE_ANSWERED, true, 200);
    const struct wire_segment fin = wire_out(w, INSIDE);
    assert_int_equal(fin.flags, TCP_FIN | TCP_ACK);
    assert_int_equal(fin.ack, 0x1001 + sizeof answer);
    wire_quiet(w);
}

static void any_other_status_is_told_and_a_redirect_is_not_followed(void **state)
{
    static const struct {
        const char *answer;
        int result;
        uint16_t status;
    } rows[] = {{"HTTP/1.1 503 Service Unavailable\r\n\r\n", PROBE_STATUS, 503},
                {"HTTP/1.1 204 No Content\r\n\r\n", PROBE_STATUS, 204},
                {"HTTP/1.1 404 \r\n\r\n", PROBE_STATUS, 404},
                {"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", PROBE_REDIRECT, 302}};
    struct wire *w = probing(state);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct wire_segment probe = asked(w);
        const uint64_t begun = w->now_ms;
        hear(w, &probe, 0, TCP_ACK, probe.seq + 1 + ASKED, rows[i].answer);
        expect_told(w, rows[i].result, true, rows[i].status);
        assert_int_equal(wire_out(w, INSIDE).flags, TCP_ACK); /* it is let finish, too */
        expect_close(w, &probe, (uint32_t)strlen(rows[i].answer));
        wire_wait(w, (uint32_t)(begun + 900 - w->now_ms));
        wire_quiet(w); /* and asked again after the time-out */
        wire_wait(w, 76);
    }
}

static void what_is_no_http_is_reset(void **state)
{
    struct wire *w = probing(state);
    const struct wire_segment probe = asked(w);
    hear(w, &probe, 0, TCP_ACK, probe.seq + 1 + ASKED, "SSH-2.0-OpenSSH\r\n");
    expect_told(w, PROBE_GARBAGE, true, 0);
    const struct wire_segment reset = wire_out(w, INSIDE);
    assert_int_equal(reset.flags, TCP_RST | TCP_ACK);
    assert_int_equal(reset.seq, probe.seq + 1 + ASKED);
    wire_quiet(w);
}

static void a_stopped_process_takes_the_request_and_answers_nothing(void **state)
{
    struct wire *w = probing(state);
    const struct wire_segment probe = asked(w);
    hear(w, &probe, 0, TCP_ACK, probe.seq + 1 + ASKED, "");
    wire_wait(w, 900);
    wire_quiet(w);
    assert_int_equal(w->message_count, 0);
    wire_wait(w, 120);
    expect_told(w, PROBE_UNANSWERED, true, 0);
    const struct wire_segment reset = wire_out(w, INSIDE); /* nobody will close it */
    assert_int_equal(reset.flags, TCP_RST | TCP_ACK);
    assert_int_equal(reset.seq, probe.seq + 1 + ASKED);
}

static void an_answer_that_begins_in_time_but_does_not_come_to_its_status_is_none(void **state)
{
    struct wire *w = probing(state);
    const struct wire_segment probe = asked(w);
    for (uint32_t i = 0; i < 8; i++) { /* a byte now and then does not extend it */
        const char piece[2] = {"HTTP/1.1"[i], '\0'};
        hear(w, &probe, i, TCP_ACK, probe.seq + 1 + ASKED, piece);
        wire_wait(w, 120);
    }
    wire_forget_frames(w);
    wire_wait(w, 60);
    expect_told(w, PROBE_UNANSWERED, true, 0);
}

static void a_request_that_is_lost_is_sent_again(void **state)
{
    struct wire *w = probing(state);
    const struct wire_segment probe = asked(w);
    for (int i = 0; i < 2; i++) {
        const struct wire_segment again = next_probe(w);
        assert_int_equal(again.seq, probe.seq + 1);
        assert_memory_equal(again.payload, readyz, ASKED);
        wire_wait(w, i == 0 ? 400 : 0);
    }
    wire_wait(w, 300);
    expect_told(w, PROBE_SILENT, true, 0); /* its host has gone meanwhile */
    for (int i = 0; i < 2; i++) {          /* whatever has arrived: one is exact */
        const struct wire_segment reset = wire_out(w, INSIDE);
        assert_int_equal(reset.flags, TCP_RST | TCP_ACK);
        assert_int_equal(reset.seq, probe.seq + 1 + (i == 0 ? ASKED : 0));
    }
}

static void a_syn_ack_that_comes_again_gets_the_acknowledgement_that_was_lost(void **state)
{
    struct wire *w = probing(state);
    const struct wire_segment probe = asked(w), answer = answer_to(&probe, TCP_SYN | TCP_ACK);
    assert_int_equal(wire_in(w, INSIDE, &answer), VERDICT_PROBE);
    const struct wire_segment ack = wire_out(w, INSIDE);
    assert_int_equal(ack.flags, TCP_ACK);
    assert_int_equal(ack.ack, 0x1001);
    assert_int_equal(w->message_count, 0);
}

static void a_connection_that_ends_without_an_answer_is_told_as_closed(void **state)
{
    struct wire *w = probing(state);
    struct wire_segment probe = asked(w);
    const uint32_t end = probe.seq + 1 + ASKED;
    hear(w, &probe, 0, TCP_FIN | TCP_ACK, end, "");
    expect_told(w, PROBE_CLOSED, true, 0);
    assert_int_equal(wire_out(w, INSIDE).flags, TCP_FIN | TCP_ACK);
    assert_int_equal(hear(w, &probe, 1, TCP_ACK, end + 1, ""), VERDICT_PROBE);
    probe = asked(w);
    assert_int_equal(hear(w, &probe, 1, TCP_RST, 0, ""), VERDICT_STATE); /* not what we expect */
    assert_int_equal(w->message_count, 0);
    assert_int_equal(hear(w, &probe, 0, TCP_RST, 0, ""), VERDICT_PROBE);
    expect_told(w, PROBE_CLOSED, true, 0);
    wire_quiet(w);
}

static void a_backend_that_does_not_close_is_closed(void **state)
{
    struct wire *w = probing(state);
    const struct wire_segment probe = asked(w);
    const uint32_t end = probe.seq + 1 + ASKED;
    hear(w, &probe, 0, TCP_ACK, end, "HTTP/1.1 200 OK\r\n\r\n");
    expect_told(w, PROBE_ANSWERED, true, 200);
    wire_out(w, INSIDE);
    const struct wire_segment fin = next_probe(w);
    assert_int_equal(fin.flags, TCP_FIN | TCP_ACK);
    assert_int_equal(fin.seq, end);
    assert_int_equal(next_probe(w).flags, TCP_FIN | TCP_ACK); /* it was lost */
    assert_int_equal(hear(w, &probe, 19, TCP_ACK, end + 1, ""), VERDICT_PROBE);
    assert_int_equal(hear(w, &probe, 19, TCP_FIN | TCP_ACK, end + 1, ""), VERDICT_PROBE);
    assert_int_equal(wire_out(w, INSIDE).flags, TCP_ACK);
    wire_quiet(w);
}

static void an_endless_answer_is_cut_off(void **state)
{
    static char piece[1001];
    struct wire *w = probing(state);
    const struct wire_segment probe = asked(w);
    uint32_t sent = 19;
    memset(piece, 'x', sizeof piece - 1);
    hear(w, &probe, 0, TCP_ACK, probe.seq + 1 + ASKED, "HTTP/1.1 200 OK\r\n\r\n");
    expect_told(w, PROBE_ANSWERED, true, 200);
    while (wire_out(w, INSIDE).flags == TCP_ACK) {
        assert_true(sent < 70000);
        hear(w, &probe, sent, TCP_ACK, probe.seq + 1 + ASKED, piece);
        sent += sizeof piece - 1;
    }
    assert_true(sent > 60000);
    assert_int_equal(w->message_count, 0); /* it is well for all that */
}

/* ---- many ---- */

static void make_fleet(struct wire *w, uint32_t count)
{
    struct neighbors *neighbors =
        calloc(1, sizeof *neighbors + count * sizeof neighbors->backend[0]);
    struct backend *many = calloc(count, sizeof *many);
    endpoints_free(w->services->by_backend);
    w->services->by_backend = endpoints_new(count);
    for (uint32_t i = 0; i < count; i++) {
        many[i] = w->services->backend[w->family];
        many[i].address.port = (uint16_t)(8000 + i);
        endpoints_add(w->services->by_backend, &many[i].address.addr, many[i].address.port,
                      (int32_t)i);
        neighbors->backend[i].known = true;
    }
    free(w->services->backend);
    w->services->backend = many;
    w->services->backend_count = neighbors->count = count;
    w->policy.neighbors = neighbors;
    assert_int_equal(shard_probe_backends(w->shard, count), 0);
}

static void end_fleet(struct wire *w)
{
    free((void *)(uintptr_t)w->policy.neighbors);
    w->policy.neighbors = w->neighbors;
}

/* A thousand SYNs at once would be lost on the way. */
static void many_backends_are_probed_in_turn_each_as_often(void **state)
{
    enum { MANY = 100, LOOK_MS = 20, PER_LOOK = 32 };
    struct wire *w = wire_of(state);
    w->limits.probe_timeout_ms = 2 * LOOK_MS; /* less than one turn takes */
    make_fleet(w, MANY);
    uint32_t probes[MANY] = {0}, last[MANY] = {0};
    for (uint32_t at = 0; at < 3200; at += LOOK_MS) { /* nobody answers */
        uint32_t started = 0;
        wire_wait(w, LOOK_MS);
        while (wire_pending(w) > 0) {
            const struct wire_segment syn = wire_out(w, INSIDE);
            const uint32_t i = syn.destination_port - 8000;
            started += syn.seq != last[i]; /* else it is sent again */
            probes[i] += syn.seq != last[i];
            last[i] = syn.seq;
        }
        assert_true(started <= PER_LOOK);
        w->message_count = 0;
    }
    for (int i = 0; i < MANY; i++)
        assert_in_range(probes[i], 40, 52); /* 3,200 / 20 x 32 / 100 at most, one turn less */
    end_fleet(w);
}

/* Once they have answered, each has its own moment in the interval. */
static void a_fleet_is_spread_over_the_interval(void **state)
{
    enum { MANY = 4096, LOOK_MS = 20, INTERVAL = 5000 };
    static uint32_t probes[MANY];
    static struct wire_segment syn[MANY];
    struct wire *w = wire_of(state);
    make_fleet(w, MANY);
    memset(probes, 0, sizeof probes);
    uint32_t most = 0;
    for (uint32_t at = 0; at < 4 * INTERVAL; at += LOOK_MS) {
        wire_step(w, LOOK_MS);
        const uint32_t sent = wire_pending(w);
        if (at >= 2 * INTERVAL)
            most = sent > most ? sent : most;
        for (uint32_t i = 0; i < sent; i++) {
            syn[i] = wire_out(w, INSIDE);
            assert_int_equal(syn[i].flags, TCP_SYN);
        }
        for (uint32_t i = 0; i < sent; i++) {
            const struct wire_segment answer = answer_to(&syn[i], TCP_SYN | TCP_ACK);
            probes[syn[i].destination_port - 8000] += at >= 2 * INTERVAL;
            assert_int_equal(wire_in(w, INSIDE, &answer), VERDICT_PROBE);
            assert_int_equal(wire_out(w, INSIDE).flags, TCP_FIN | TCP_ACK);
            hear(w, &syn[i], 0, TCP_FIN | TCP_ACK, syn[i].seq + 2, "");
            wire_out(w, INSIDE);
        }
        w->message_count = 0;
    }
    assert_true(most <= MANY * LOOK_MS / INTERVAL + 2); /* 17 of 4,096 in 20 ms */
    for (uint32_t i = 0; i < MANY; i++)
        assert_int_equal(probes[i], 2);
    end_fleet(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(a_probe_offers_every_option_from_an_own_address),
        WIRE_TEST(a_syn_ack_tells_what_the_backend_supports_and_the_connection_is_closed),
        WIRE_TEST(options_that_the_backend_lacks_are_told_as_lacking),
        WIRE_TEST(what_is_lost_is_sent_again_and_silence_told_after_the_time_out),
        WIRE_TEST(a_reset_is_told_as_a_refusal),
        WIRE_TEST(an_answer_to_something_else_teaches_nothing),
        WIRE_TEST(a_syn_ack_that_nobody_waits_for_any_more_is_reset),
        WIRE_TEST(malformed_options_teach_nothing),
        WIRE_TEST(a_backend_without_a_next_hop_is_not_probed_until_it_has_one),
        WIRE_TEST(status_200_is_well_and_the_rest_is_taken_until_the_backend_closes),
        WIRE_TEST(an_answer_comes_in_any_pieces),
        WIRE_TEST(the_last_piece_may_carry_the_fin),
        WIRE_TEST(any_other_status_is_told_and_a_redirect_is_not_followed),
        WIRE_TEST(what_is_no_http_is_reset),
        WIRE_TEST(a_stopped_process_takes_the_request_and_answers_nothing),
        WIRE_TEST(an_answer_that_begins_in_time_but_does_not_come_to_its_status_is_none),
        WIRE_TEST(a_request_that_is_lost_is_sent_again),
        WIRE_TEST(a_syn_ack_that_comes_again_gets_the_acknowledgement_that_was_lost),
        WIRE_TEST(a_connection_that_ends_without_an_answer_is_told_as_closed),
        WIRE_TEST(a_backend_that_does_not_close_is_closed),
        WIRE_TEST(an_endless_answer_is_cut_off),
        WIRE_TEST_ONCE(a_fleet_is_spread_over_the_interval),
        WIRE_TEST(many_backends_are_probed_in_turn_each_as_often),
        WIRE_TEST(a_shard_that_does_not_probe_leaves_answers_to_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
