/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Refused requests on the wire: answered in their place, behind earlier answers, in pieces, with
 * bodies and without; sent again when they are lost; and nothing is left behind. The gate is this
 * test's own: it refuses what begins with "/no". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/wire.h"

#define GET     "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define NO      "GET /no HTTP/1.1\r\nHost: a\r\n\r\n"
#define NO_POST "POST /no HTTP/1.1\r\nHost: a\r\n"
#define ANSWER  "HTTP/1.1 204 No Content\r\n\r\n"
enum { NO_LENGTH = sizeof NO - 1, ANSWER_LENGTH = sizeof ANSWER - 1, UNREAD_MS = 10000 };

static uint32_t asked;
static char last_path[64], last_host[64];
static bool fin_known, refuses_all;

static void keep_text(char out[64], struct http1_slice s)
{
    snprintf(out, 64, "%.*s", (int)s.length, s.at);
}

enum verdict gate_request(struct shard *shard, const struct gate_asker *asker,
                          const struct gate_head *head, struct refusal *refusal)
{
    (void)shard;
    (void)asker;
    asked++;
    keep_text(last_path, head->path);
    keep_text(last_host, head->host);
    bool no = head->path.length >= 3 && memcmp(head->path.at, "/no", 3) == 0;
    if (!no && !refuses_all)
        return VERDICT_FORWARDED;
    refusal->kind = REFUSAL_RATE;
    refusal->retry_after_s = 7;
    return VERDICT_RULE_RATE;
}

static int setup_v4(void **state)
{
    asked = 0;
    refuses_all = false;
    return wire_setup_v4(state);
}

static int setup_v6(void **state)
{
    asked = 0;
    refuses_all = false;
    return wire_setup_v6(state);
}

/* ---- steps ---- */

static struct wire_talk begun(struct wire *w)
{
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    return t;
}

/* An open connection between two requests. */
static struct wire_talk idle(struct wire *w)
{
    struct wire_talk t = begun(w);
    wire_ask(w, &t, GET);
    wire_accept(w, &t);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
    wire_quiet(w);
    return t;
}

/* From the client, which moves on. */
static struct wire_segment from_client(struct wire *w, struct wire_talk *t, uint8_t flags,
                                       const char *text, enum verdict verdict)
{
    t->client.clock++;
    const struct wire_segment s = wire_data(t, FROM_CLIENT, TCP_ACK | flags, text);
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), verdict);
    t->client.next += s.length + ((flags & TCP_FIN) != 0);
    return s;
}

static void expect_reply(const struct wire_segment *seen)
{
    assert_int_equal(seen->flags, TCP_PSH | TCP_FIN | TCP_ACK);
    assert_true(seen->length > 100 && seen->length <= REPLY_MOST);
    assert_memory_equal(seen->payload, "HTTP/1.1 429 Too Many Requests\r\n", 32);
}

/* The refusal, which follows all that the client has and acknowledges up to `ack`. */
static struct wire_segment told(struct wire *w, const struct wire_talk *t, uint32_t ack)
{
    const struct wire_segment seen = wire_out(w, OUTSIDE);
    expect_reply(&seen);
    assert_int_equal(seen.seq, t->client.expects);
    assert_int_equal(seen.ack, ack);
    assert_true(seen.window != 0);
    assert_int_equal(seen.options.timestamps, t->client.timestamps);
    assert_false(seen.options.timestamps && seq_before(seen.options.tsval, t->client.echo));
    return seen;
}

/* Takes it, and acknowledges it. */
static void reads(struct wire *w, struct wire_talk *t, const struct wire_segment *reply)
{
    t->client.expects = reply->seq + reply->length + 1U;
    from_client(w, t, 0, "", VERDICT_REFUSAL_TAKEN);
}

/* Our FIN in place of a refused request. */
static void ended(struct wire *w, struct wire_talk *t)
{
    const struct wire_segment seen = wire_out(w, INSIDE);
    assert_int_equal(seen.flags, TCP_FIN | TCP_ACK);
    assert_int_equal(seen.length, 0);
    assert_int_equal(seen.seq, t->server.expects);
    t->server.expects++;
}

static void acknowledged(struct wire *w, const struct wire_talk *t, uint32_t ack)
{
    const struct wire_segment seen = wire_out(w, OUTSIDE);
    assert_int_equal(seen.flags, TCP_ACK);
    assert_int_equal(seen.length, 0);
    assert_int_equal(seen.ack, ack);
    assert_int_equal(seen.seq, t->client.expects);
    assert_true(seen.window != 0);
}

/* Both, in whatever order. */
static void ended_and_acknowledged(struct wire *w, struct wire_talk *t, uint32_t ack)
{
    bool first = w->frames[w->taken].to == INSIDE;
    if (first)
        ended(w, t);
    acknowledged(w, t, ack);
    if (!first)
        ended(w, t);
    wire_quiet(w);
}

/* From the backend; what the client sees of it. */
static struct wire_segment says(struct wire *w, struct wire_talk *t, const char *text, uint32_t ack)
{
    const struct wire_segment s = wire_data(t, FROM_BACKEND, TCP_ACK, text);
    assert_int_equal(wire_send(w, &s, FROM_BACKEND), VERDICT_FORWARDED);
    const struct wire_segment seen = wire_out(w, OUTSIDE);
    assert_int_equal(seen.ack, ack);
    assert_int_equal(seen.seq, s.seq + wire_delta(t));
    assert_int_equal(seen.flags, TCP_ACK);
    assert_int_equal(seen.length, s.length);
    assert_memory_equal(seen.payload, text, s.length);
    t->server.next += s.length;
    t->client.expects += s.length;
    t->client.echo = seen.options.tsval;
    t->server.clock++;
    return seen;
}

static void backend_acked(struct wire *w, const struct wire_talk *t, uint32_t ack)
{
    const struct wire_segment seen = wire_out(w, INSIDE);
    assert_int_equal(seen.flags, TCP_ACK);
    assert_int_equal(seen.length, 0);
    assert_int_equal(seen.seq, t->server.expects);
    assert_int_equal(seen.ack, ack);
}

/* The backend's FIN, behind `text`. It is acknowledged when the client has all that was before. */
static void leaves(struct wire *w, struct wire_talk *t, const char *text)
{
    const struct wire_segment s = wire_data(t, FROM_BACKEND, TCP_ACK | TCP_FIN, text);
    assert_int_equal(wire_send(w, &s, FROM_BACKEND), VERDICT_FORWARDED);
    t->server.next += s.length + 1U;
    t->server.clock++;
    fin_known = w->frames[w->taken].to == INSIDE;
    if (fin_known)
        backend_acked(w, t, t->server.next);
}

static void fin_acked(struct wire *w, const struct wire_talk *t)
{
    if (!fin_known)
        backend_acked(w, t, t->server.next);
    fin_known = true;
}

/* It lingers for a while, and nothing is left. */
static void gone(struct wire *w)
{
    wire_quiet(w);
    wire_expect_tables(w, 1, 0);
    wire_wait(w, w->limits.linger_ms + 200);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
    assert_int_equal(w->shard->verdicts[VERDICT_FLOW_CLOSED] != 0, 1);
}

/* The client's FIN, and nothing is left. */
static void goes(struct wire *w, struct wire_talk *t)
{
    const struct wire_segment fin = from_client(w, t, TCP_FIN, "", VERDICT_REFUSAL_TAKEN);
    acknowledged(w, t, t->client.next);
    assert_int_equal(wire_send(w, &fin, FROM_CLIENT), VERDICT_REFUSAL_TAKEN); /* again */
    acknowledged(w, t, t->client.next);
    gone(w);
}

/* ---- without a flow ---- */

static void a_first_request_is_answered_in_its_place(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, TCP_PSH, NO, VERDICT_RULE_RATE);
    const struct wire_segment seen = told(w, &t, t.client.next);
    assert_int_equal(seen.window, 8192 >> 7);
    assert_int_equal(seen.options.tsecr, t.client.clock);
    assert_non_null(strstr((const char *)seen.payload, "Retry-After: 7\r\n"));
    assert_string_equal(last_path, "/no");
    assert_string_equal(last_host, "a");
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
    assert_int_equal(tombstones_count(w->shard->tombstones), 0);
    assert_int_equal(w->shard->requests, 0);
}

static void the_same_again_is_answered_again(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    const struct wire_segment s = wire_data(&t, FROM_CLIENT, TCP_ACK | TCP_PSH, NO);
    uint8_t first[REPLY_MOST];
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_RULE_RATE);
    struct wire_segment seen = wire_out(w, OUTSIDE);
    const uint16_t length = seen.length;
    memcpy(first, seen.payload, length);
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_RULE_RATE);
    seen = wire_out(w, OUTSIDE);
    assert_int_equal(seen.length, length);
    assert_memory_equal(seen.payload, first, length);
    wire_expect_tables(w, 0, 0);
}

static void what_the_client_says_to_its_answer_needs_no_flow(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, TCP_PSH, NO, VERDICT_RULE_RATE);
    const struct wire_segment reply = told(w, &t, t.client.next);
    t.client.expects = reply.seq + reply.length + 1U;
    from_client(w, &t, 0, "", VERDICT_ACK_NO_FLOW);
    const struct wire_segment fin = wire_segment(&t, FROM_CLIENT, TCP_FIN | TCP_ACK);
    assert_int_equal(wire_send(w, &fin, FROM_CLIENT), VERDICT_FIN_ANSWERED);
    const struct wire_segment seen = wire_out(w, OUTSIDE);
    assert_int_equal(seen.flags, TCP_ACK);
    assert_int_equal(seen.seq, t.client.expects);
    assert_int_equal(seen.ack, fin.seq + 1);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
}

/* Of a connection that nothing was kept of: no reset may destroy the answer. */
static void what_else_it_sends_is_acknowledged_too(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, TCP_PSH, NO, VERDICT_RULE_RATE);
    const struct wire_segment reply = told(w, &t, t.client.next);
    t.client.expects = reply.seq + reply.length + 1U;
    from_client(w, &t, TCP_PSH, GET "GET", VERDICT_REFUSAL_TAKEN);
    acknowledged(w, &t, t.client.next);
    from_client(w, &t, TCP_PSH | TCP_FIN, " /", VERDICT_REFUSAL_TAKEN);
    acknowledged(w, &t, t.client.next);
    wire_expect_tables(w, 0, 0);
}

/* Its old connection may still be there: what is refused replaces nothing. */
static void a_port_that_is_used_again_is_refused_and_closed_beside_its_old_flow(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk old = idle(w), t = wire_talk(w);
    t.client.at.port = old.client.at.port;
    t.client.isn = t.client.next = old.client.next + 1000000;
    t.client.clock = old.client.clock + 1000;
    wire_handshake(w, &t);
    from_client(w, &t, TCP_PSH, NO, VERDICT_RULE_RATE);
    const struct wire_segment reply = told(w, &t, t.client.next);
    t.client.expects = reply.seq + reply.length + 1U;
    from_client(w, &t, TCP_FIN, "", VERDICT_REFUSAL_TAKEN);
    acknowledged(w, &t, t.client.next);
    wire_expect_tables(w, 1, 0);
}

static void a_request_with_its_fin_is_answered_whole(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, TCP_PSH | TCP_FIN, NO, VERDICT_RULE_RATE);
    told(w, &t, t.client.next);
    wire_expect_tables(w, 0, 0);
}

static void a_body_in_the_same_segment_needs_no_flow(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, TCP_PSH, NO_POST "Content-Length: 4\r\n\r\nbody", VERDICT_RULE_RATE);
    told(w, &t, t.client.next);
    t = begun(w);
    from_client(w, &t, TCP_PSH, NO_POST "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
                VERDICT_RULE_RATE);
    told(w, &t, t.client.next);
    t = begun(w);
    from_client(w, &t, TCP_PSH, NO GET NO, VERDICT_RULE_RATE); /* all are refused by closing */
    told(w, &t, t.client.next);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
}

static void a_client_that_waits_to_be_told_to_go_on_is_told_at_once(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, TCP_PSH, NO_POST "Expect: 100-continue\r\nContent-Length: 4\r\n\r\n",
                VERDICT_RULE_RATE);
    told(w, &t, t.client.next);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
}

static void head_is_answered_without_a_body_and_browsers_by_a_page(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, TCP_PSH, "HEAD /no HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n",
                VERDICT_RULE_RATE);
    const struct wire_segment seen = told(w, &t, t.client.next);
    char text[REPLY_MOST + 1];
    snprintf(text, sizeof text, "%.*s", seen.length, (const char *)seen.payload);
    assert_non_null(strstr(text, "Content-Type: text/html"));
    assert_string_equal(strstr(text, "\r\n\r\n"), "\r\n\r\n");
}

static void clients_with_the_smallest_segments_and_no_options_get_it_in_one(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    t.client.mss = 0;
    t.client.scale = COOKIE_NO_SCALE;
    t.client.timestamps = t.client.sack = false;
    wire_handshake(w, &t);
    from_client(w, &t, TCP_PSH, NO, VERDICT_RULE_RATE);
    const struct wire_segment seen = told(w, &t, t.client.next);
    assert_int_equal(seen.window, 8192);
    assert_true(seen.length <= 536);
}

static void what_is_not_http_is_refused_by_a_reset(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    w->services->service[t.service].protocol = SERVICE_TCP;
    wire_handshake(w, &t);
    refuses_all = true;
    from_client(w, &t, TCP_PSH, "x", VERDICT_RULE_RATE);
    assert_int_equal(asked, 1);
    assert_string_equal(last_path, "");
    assert_string_equal(last_host, "");
    const struct wire_segment reset = wire_out(w, OUTSIDE);
    assert_int_equal(reset.flags, TCP_RST);
    assert_int_equal(reset.seq, t.client.expects);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
}

/* ---- in pieces ---- */

static void a_head_in_pieces_is_refused_when_it_is_complete(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, TCP_PSH, "GET /no HTT", VERDICT_READING);
    acknowledged(w, &t, t.client.next);
    assert_int_equal(asked, 0);
    from_client(w, &t, TCP_PSH, NO + 11, VERDICT_RULE_RATE);
    assert_int_equal(asked, 1);
    const struct wire_segment reply = told(w, &t, t.client.next);
    wire_quiet(w); /* no backend */
    wire_expect_tables(w, 1, 0);
    reads(w, &t, &reply);
    wire_quiet(w);
    goes(w, &t);
    assert_int_equal(tombstones_count(w->shard->tombstones), 1);
}

static void a_body_on_its_way_is_waited_for(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, 0, NO_POST "Content-Length: 10\r\n\r\n01234", VERDICT_RULE_RATE);
    acknowledged(w, &t, t.client.next);
    from_client(w, &t, 0, "567", VERDICT_REFUSAL_TAKEN);
    acknowledged(w, &t, t.client.next);
    from_client(w, &t, TCP_PSH, "89", VERDICT_REFUSAL_TAKEN);
    const struct wire_segment reply = told(w, &t, t.client.next);
    wire_quiet(w);
    reads(w, &t, &reply);
    goes(w, &t);
}

/* Room that it gives meanwhile asks for nothing. */
static void a_window_that_opens_before_the_body_has_come_changes_nothing(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, 0, NO_POST "Content-Length: 10\r\n\r\n01234", VERDICT_RULE_RATE);
    acknowledged(w, &t, t.client.next);
    t.client.window++;
    from_client(w, &t, 0, "", VERDICT_REFUSAL_TAKEN);
    wire_quiet(w);
    from_client(w, &t, 0, "56789", VERDICT_REFUSAL_TAKEN);
    const struct wire_segment reply = told(w, &t, t.client.next);
    reads(w, &t, &reply);
    goes(w, &t);
}

static void a_body_that_does_not_come_is_waited_for_as_long_as_a_head(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, 0, NO_POST "Content-Length: 10\r\n\r\n", VERDICT_RULE_RATE);
    acknowledged(w, &t, t.client.next);
    wire_wait(w, w->limits.head_timeout_ms - 100);
    wire_quiet(w);
    wire_wait(w, 200);
    const struct wire_segment reply = told(w, &t, t.client.next);
    wire_quiet(w);
    reads(w, &t, &reply);
    goes(w, &t);
}

static void a_body_that_has_to_be_asked_for_is_not_waited_for(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, 0, NO_POST "Expect: 100-cont", VERDICT_READING);
    acknowledged(w, &t, t.client.next);
    from_client(w, &t, 0, "inue\r\nContent-Length: 10\r\n\r\n", VERDICT_RULE_RATE);
    told(w, &t, t.client.next);
    wire_quiet(w);
}

/* It may be about to send more of them. */
static void what_follows_a_last_request_needs_a_flow(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, 0, "GET /no HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET",
                VERDICT_RULE_RATE);
    const struct wire_segment reply = told(w, &t, t.client.next);
    wire_expect_tables(w, 1, 0);
    reads(w, &t, &reply);
    goes(w, &t);
}

static void a_client_that_has_ended_is_not_waited_for(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, 0, NO_POST "Content-Length: 10\r\n\r\n", VERDICT_RULE_RATE);
    acknowledged(w, &t, t.client.next);
    from_client(w, &t, TCP_FIN, "012", VERDICT_REFUSAL_TAKEN);
    const struct wire_segment reply = told(w, &t, t.client.next);
    reads(w, &t, &reply); /* and that is all */
    gone(w);
}

/* Larger than can be held, or of unknown length: answered first, discarded then, so that no reset
 * destroys the answer. */
static void a_large_body_is_discarded_behind_its_answer(void **state)
{
    static const char *const heads[] = {NO_POST "Content-Length: 100000\r\n\r\n",
                                        NO_POST "Transfer-Encoding: chunked\r\n\r\n"};
    static char piece[1001];
    memset(piece, 'x', sizeof piece - 1);
    for (size_t i = 0; i < 2; i++) {
        struct wire *w = wire_of(state);
        struct wire_talk t = begun(w);
        from_client(w, &t, 0, heads[i], VERDICT_RULE_RATE);
        const struct wire_segment reply = told(w, &t, t.client.next);
        for (int n = 0; n < 100; n++) {
            from_client(w, &t, 0, piece, VERDICT_REFUSAL_TAKEN);
            const struct wire_segment seen = wire_out(w, OUTSIDE);
            assert_int_equal(seen.ack, t.client.next);
            assert_true(seen.window >= 8192 >> 7);
        }
        reads(w, &t, &reply);
        goes(w, &t);
    }
}

static void a_gap_in_a_discarded_body_is_not_acknowledged(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, 0, NO_POST "Content-Length: 10\r\n\r\n", VERDICT_RULE_RATE);
    acknowledged(w, &t, t.client.next);
    t.client.next += 4;
    from_client(w, &t, TCP_FIN, "456789", VERDICT_REFUSAL_TAKEN);
    acknowledged(w, &t, t.client.next - 11);
    t.client.next -= 11;
    from_client(w, &t, 0, "0123", VERDICT_REFUSAL_TAKEN);
    acknowledged(w, &t, t.client.next);
    from_client(w, &t, TCP_FIN, "456789", VERDICT_REFUSAL_TAKEN);
    told(w, &t, t.client.next);
    wire_quiet(w);
}

/* ---- on open connections ---- */

static void on_a_kept_connection_a_fin_takes_its_place(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = idle(w);
    const uint64_t refused = w->shard->verdicts[VERDICT_RULE_RATE];
    says(w, &t, ANSWER, t.client.next);
    from_client(w, &t, TCP_PSH, NO, VERDICT_AFTER_LAST);
    assert_int_equal(w->shard->verdicts[VERDICT_RULE_RATE], refused + 1);
    ended_and_acknowledged(w, &t, t.client.next);
    leaves(w, &t, "");
    const struct wire_segment reply = told(w, &t, t.client.next);
    wire_quiet(w);
    reads(w, &t, &reply);
    fin_acked(w, &t);
    wire_quiet(w);
    goes(w, &t);
    assert_int_equal(w->shard->requests, 1);
}

/* Whose answer is still to come: it comes whole, in its own segments, and then the refusal. */
static struct wire_talk pipelined(struct wire *w)
{
    struct wire_talk t = idle(w);
    from_client(w, &t, TCP_PSH, GET NO, VERDICT_FORWARDED);
    const struct wire_segment seen = wire_out(w, INSIDE);
    assert_int_equal(seen.length, sizeof GET - 1);
    assert_int_equal(seen.flags & TCP_FIN, 0);
    t.server.expects += seen.length;
    ended(w, &t);
    wire_quiet(w);
    assert_int_equal(w->shard->requests, 2);
    return t;
}

static void behind_an_accepted_request_the_first_answer_arrives_whole(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    says(w, &t, ANSWER, t.client.next);
    says(w, &t, ANSWER, t.client.next);
    from_client(w, &t, 0, "", VERDICT_REFUSAL_TAKEN);
    backend_acked(w, &t, t.server.next);
    leaves(w, &t, ANSWER);
    const struct wire_segment last = wire_out(w, OUTSIDE);
    assert_int_equal(last.flags, TCP_ACK);
    assert_int_equal(last.length, ANSWER_LENGTH);
    t.client.expects += ANSWER_LENGTH;
    const struct wire_segment reply = told(w, &t, t.client.next);
    wire_quiet(w);
    reads(w, &t, &reply);
    fin_acked(w, &t);
    goes(w, &t);
}

static void in_the_first_segment_too(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    wire_ask(w, &t, GET NO);
    assert_int_equal(w->shard->verdicts[VERDICT_RULE_RATE], 1);
    const struct wire_segment held = wire_accept(w, &t);
    assert_int_equal(held.length, sizeof GET - 1);
    assert_int_equal(held.flags & TCP_FIN, 0);
    ended(w, &t);
    wire_quiet(w);
    says(w, &t, ANSWER, t.client.next - NO_LENGTH);
    t.client.next -= NO_LENGTH; /* it has to send that again */
    from_client(w, &t, 0, NO, VERDICT_REFUSAL_TAKEN);
    acknowledged(w, &t, t.client.next);
    backend_acked(w, &t, t.server.next);
    leaves(w, &t, "");
    const struct wire_segment reply = told(w, &t, t.client.next);
    reads(w, &t, &reply);
    fin_acked(w, &t);
    goes(w, &t);
}

static void while_the_backend_is_opened_too(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    wire_ask(w, &t, GET);
    from_client(w, &t, TCP_PSH, NO, VERDICT_HELD);
    from_client(w, &t, TCP_PSH, GET, VERDICT_HELD); /* too late to be judged */
    assert_int_equal(asked, 2);
    assert_int_equal(wire_accept(w, &t).length, sizeof GET - 1);
    ended(w, &t);
    wire_quiet(w);
}

/* What the gateway has acknowledged is delivered before the FIN follows it. */
static void behind_a_head_in_pieces_once_that_is_delivered(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, TCP_PSH, "GET / HTT", VERDICT_READING);
    acknowledged(w, &t, t.client.next);
    wire_ask(w, &t, GET + 9);
    assert_int_equal(wire_accept(w, &t).length, sizeof GET - 1);
    from_client(w, &t, TCP_PSH, NO, VERDICT_AFTER_LAST);
    wire_forget_frames(w);
    const struct wire_segment s = wire_data(&t, FROM_BACKEND, TCP_ACK, "");
    wire_send(w, &s, FROM_BACKEND);
    ended_and_acknowledged(w, &t, t.client.next - NO_LENGTH);
    from_client(w, &t, 0, "", VERDICT_REFUSAL_TAKEN); /* its bytes are to come again */
    wire_forget_frames(w);
    leaves(w, &t, "");
    told(w, &t, t.client.next - NO_LENGTH);
}

static void a_backend_that_ends_before_that_has_the_last_word(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    from_client(w, &t, TCP_PSH, "GET / HTT", VERDICT_READING);
    acknowledged(w, &t, t.client.next);
    wire_ask(w, &t, GET + 9);
    wire_accept(w, &t);
    from_client(w, &t, TCP_PSH, NO, VERDICT_AFTER_LAST);
    wire_forget_frames(w);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK | TCP_FIN, ANSWER);
    wire_quiet(w); /* no FIN of ours */
    assert_int_equal(flow_at(w->shard->flows, 0)->state, FLOW_BACKEND_FIN);
}

static void a_head_whose_beginning_has_gone_on_ends_there(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = idle(w);
    says(w, &t, ANSWER, t.client.next);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "GET /n");
    wire_expect_tables(w, 1, 1);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "o HTTP/1.1\r\n");
    wire_expect_tables(w, 1, 1);
    const struct wire_segment ack = wire_data(&t, FROM_BACKEND, TCP_ACK, "");
    assert_int_equal(wire_send(w, &ack, FROM_BACKEND), VERDICT_FORWARDED);
    wire_forget_frames(w);
    from_client(w, &t, TCP_PSH, "Host: abc\r\n\r\n", VERDICT_AFTER_LAST);
    assert_string_equal(last_path, "/no");
    assert_string_equal(last_host, "abc");
    ended_and_acknowledged(w, &t, t.client.next);
    wire_expect_tables(w, 1, 0);
    leaves(w, &t, "");
    const struct wire_segment reply = told(w, &t, t.client.next);
    reads(w, &t, &reply);
    fin_acked(w, &t);
    goes(w, &t);
}

static void a_head_in_pieces_that_may_pass_leaves_nothing_aside(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = idle(w);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "GET / HT");
    wire_expect_tables(w, 1, 1);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "TP/1.1\r\nHost: b\r\n\r\nGET ");
    assert_string_equal(last_host, "b");
    wire_expect_tables(w, 1, 1); /* of the next */
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "/c HTTP/1.1\r\nHost: b\r\n\r\n");
    assert_string_equal(last_path, "/c");
    wire_expect_tables(w, 1, 0);
    assert_int_equal(w->shard->requests, 3);
}

static void a_head_that_begins_with_the_first_request_is_kept_aside(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    wire_ask(w, &t, GET "GET /n");
    wire_accept(w, &t);
    wire_expect_tables(w, 1, 1);
    from_client(w, &t, TCP_PSH, "o HTTP/1.1\r\nHost: z\r\n\r\n", VERDICT_AFTER_LAST);
    assert_string_equal(last_path, "/no");
    assert_string_equal(last_host, "z");
    wire_expect_tables(w, 1, 0);
}

static void a_long_head_in_pieces_moves_to_a_larger_place(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = idle(w);
    static char field[1201];
    snprintf(field, sizeof field, "X: %01194d\r\n", 0);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "GET /no HTTP/1.1\r\nHost: long\r\n");
    for (int i = 0; i < 4; i++)
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK, field);
    wire_expect_tables(w, 1, 1);
    from_client(w, &t, TCP_PSH, "\r\n", VERDICT_AFTER_LAST);
    assert_string_equal(last_host, "long");
    wire_expect_tables(w, 1, 0);
}

/* ---- what there is no room for ---- */

static struct wire *tight_rig(void **state, uint32_t held)
{
    const struct shard_sizes sizes = {.flows = 8,
                                      .tombstones = 64,
                                      .held = held,
                                      .held_large = 1,
                                      .held_bytes = 8192,
                                      .clients = 64,
                                      .bans = 16};
    struct wire *w = wire_of(state);
    const enum wire_family family = w->family;
    wire_free(w);
    *state = w = wire_new(family, &sizes);
    return w;
}

/* Larger entries are there for none of these. */
static struct wire *small_rig(void **state)
{
    return tight_rig(state, 1);
}

static void a_head_that_finds_no_place_comes_again(void **state)
{
    struct wire *w = small_rig(state);
    struct wire_talk t = idle(w), other = begun(w);
    wire_ask(w, &other, GET); /* takes the only place, and cannot be moved */
    const struct wire_segment half = wire_data(&t, FROM_CLIENT, TCP_ACK | TCP_PSH, "GET /no");
    assert_int_equal(wire_send(w, &half, FROM_CLIENT), VERDICT_HELD_FULL);
    wire_quiet(w);
    wire_accept(w, &other);
    wire_forget_frames(w);
    assert_int_equal(wire_send(w, &half, FROM_CLIENT), VERDICT_FORWARDED);
    wire_forget_frames(w);
    wire_expect_tables(w, 2, 1);
}

/* What was complete before it goes on, and is asked for once. */
static void a_head_that_finds_no_place_keeps_back_nothing_before_it(void **state)
{
    static const char post[] = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxx";
    struct wire *w = small_rig(state);
    struct wire_talk t = idle(w), other = begun(w);
    wire_ask(w, &other, GET);
    const unsigned before = asked;
    char all[256];
    snprintf(all, sizeof all, "%s%s%s", GET, post, "GET /no");
    const uint16_t complete = sizeof GET - 1 + sizeof post - 1;
    const struct wire_segment s = wire_data(&t, FROM_CLIENT, TCP_ACK | TCP_PSH, all);
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_FORWARDED);
    struct wire_segment seen = wire_out(w, INSIDE);
    assert_int_equal(seen.seq, t.server.expects);
    assert_int_equal(seen.length, complete);
    assert_memory_equal(seen.payload, all, complete);
    assert_int_equal(asked, before + 2);
    wire_accept(w, &other);
    wire_forget_frames(w);
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_FORWARDED); /* all of it again */
    seen = wire_out(w, INSIDE);
    assert_int_equal(seen.length, strlen(all));
    assert_int_equal(asked, before + 2);
    t.client.next += (uint32_t)strlen(all);
    const struct wire_segment rest =
        wire_data(&t, FROM_CLIENT, TCP_ACK | TCP_PSH, " HTTP/1.1\r\nHost: a\r\n\r\n");
    wire_send(w, &rest, FROM_CLIENT);
    assert_int_equal(asked, before + 3);
    assert_string_equal(last_path, "/no");
}

/* A header field of so many bytes. */
static const char *long_field(uint32_t length)
{
    static char text[1401];
    snprintf(text, sizeof text, "X: %0*d\r\n", (int)length - 5, 0);
    return text;
}

/* Nor is anything of it kept: what is judged is the copy that goes on. */
static void a_head_that_finds_no_larger_place_comes_again(void **state)
{
    struct wire *w = tight_rig(state, 2);
    struct wire_talk t = idle(w), other = begun(w);
    from_client(w, &other, 0, "GET / HTTP/1.1\r\nHost: a\r\n", VERDICT_READING);
    from_client(w, &other, 0, long_field(1400), VERDICT_READING);
    from_client(w, &other, 0, long_field(200), VERDICT_READING);
    from_client(w, &other, 0, "\r\n", VERDICT_OPENED); /* takes the only large one */
    wire_forget_frames(w);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "GET /no HTTP/1.1\r\n");
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, long_field(1400));
    char more[1440];
    snprintf(more, sizeof more, "Host: one\r\n%s", long_field(700));
    struct wire_segment s = wire_data(&t, FROM_CLIENT, TCP_ACK, more);
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_HELD_FULL);
    wire_quiet(w);
    struct wire_segment rst = wire_segment(&other, FROM_CLIENT, TCP_RST | TCP_ACK);
    assert_int_equal(wire_send(w, &rst, FROM_CLIENT), VERDICT_FLOW_RESET);
    wire_forget_frames(w);
    memcpy(more, "Host: two", 9);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, more);
    from_client(w, &t, TCP_PSH, "\r\n", VERDICT_AFTER_LAST);
    assert_string_equal(last_host, "two");
}

/* Its backend has seen a part of it, so both ends are told. */
static void a_head_that_loses_its_place_ends_its_connection(void **state)
{
    struct wire *w = small_rig(state);
    struct wire_talk t = idle(w);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "GET /no");
    struct wire_talk other = begun(w);
    const struct wire_segment data = wire_data(&other, FROM_CLIENT, TCP_ACK | TCP_PSH, GET);
    assert_int_equal(wire_send(w, &data, FROM_CLIENT), VERDICT_OPENED);
    uint32_t inside = 0, outside = 0;
    while (wire_pending(w) > 1) {
        const bool in = w->frames[w->taken].to == INSIDE;
        const struct wire_segment seen = wire_out(w, in ? INSIDE : OUTSIDE);
        assert_true(seen.flags & TCP_RST);
        inside += in && seen.seq == t.server.expects;
        outside += !in && seen.seq == t.client.expects;
    }
    assert_true(inside > 0 && outside > 0);
    assert_int_equal(w->shard->verdicts[VERDICT_HELD_EVICTED], 1);
    wire_expect_tables(w, 1, 1);
}

/* A flow for no more than a refusal is a connection like any other. */
static void a_client_that_has_all_its_connections_is_refused_without_one(void **state)
{
    struct wire *w = wire_of(state);
    w->limits.clients.connections = 1;
    wire_begin(w);
    idle(w);
    struct wire_talk t = begun(w);
    from_client(w, &t, 0, NO_POST "Content-Length: 10\r\n\r\n01234", VERDICT_RULE_RATE);
    told(w, &t, t.client.next);
    wire_expect_tables(w, 1, 0);
}

/* ---- what is lost ---- */

static void a_lost_refusal_is_sent_again_and_reset_after_ten_seconds(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    leaves(w, &t, "");
    told(w, &t, t.client.next);
    wire_quiet(w);
    static const uint32_t again[] = {500, 1500, 3500, 7500};
    uint32_t gone = 0;
    for (size_t i = 0; i < 4; i++) {
        wire_wait(w, again[i] - gone - 20);
        wire_quiet(w);
        wire_wait(w, 120);
        gone = again[i] + 100;
        told(w, &t, t.client.next);
        wire_quiet(w);
    }
    wire_wait(w, UNREAD_MS - gone - 50);
    wire_quiet(w);
    wire_wait(w, 200);
    struct wire_segment reset = wire_out(w, INSIDE);
    assert_true(reset.flags & TCP_RST);
    assert_int_equal(reset.seq, t.server.expects);
    reset = wire_out(w, OUTSIDE);
    assert_true(reset.flags & TCP_RST);
    assert_int_equal(reset.seq, t.client.expects);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
    assert_int_equal(w->shard->verdicts[VERDICT_REFUSAL_UNREAD], 1);
}

static void a_client_that_does_not_close_is_reset_ten_seconds_later(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    leaves(w, &t, "");
    const struct wire_segment reply = told(w, &t, t.client.next);
    wire_wait(w, 400);
    reads(w, &t, &reply);
    fin_acked(w, &t);
    wire_wait(w, UNREAD_MS - 100);
    wire_quiet(w);
    wire_wait(w, 200);
    wire_expect_tables(w, 0, 0);
    assert_int_equal(w->shard->verdicts[VERDICT_REFUSAL_UNREAD], 1);
}

enum { FLOOD = 20000, MOST = 2 * 4 * 255 }; /* one in four is counted, up to 255 */

/* So many copies of a client's segment arrive, `each_ms` apart; returns how many were taken. */
static uint32_t flood(struct wire *w, const struct wire_segment *segment, uint32_t count,
                      uint32_t each_ms)
{
    uint32_t taken = 0;
    for (uint32_t i = 0; i < count; i++) {
        const enum verdict verdict = wire_send(w, segment, FROM_CLIENT);
        assert_true(verdict == VERDICT_REFUSAL_TAKEN || verdict == VERDICT_EXCESS);
        taken += verdict == VERDICT_REFUSAL_TAKEN;
        wire_forget_frames(w);
        wire_wait(w, each_ms);
    }
    return taken;
}

static void a_flood_while_its_backend_answers_is_dropped(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    says(w, &t, ANSWER, t.client.next);
    const struct wire_segment ack = wire_segment(&t, FROM_CLIENT, TCP_ACK);
    const uint32_t passed = flood(w, &ack, FLOOD, 0);
    assert_in_range(passed, 100, MOST);
    assert_int_equal(w->shard->verdicts[VERDICT_EXCESS], FLOOD - passed);
    says(w, &t, ANSWER, t.client.next);
    from_client(w, &t, 0, "", VERDICT_REFUSAL_TAKEN);
    backend_acked(w, &t, t.server.next);
    leaves(w, &t, "");
    const struct wire_segment reply = told(w, &t, t.client.next);
    reads(w, &t, &reply);
    fin_acked(w, &t);
    goes(w, &t);
}

static void what_lies_behind_a_hole_buys_no_more_of_it(void **state)
{
    enum { ROUNDS = 20, AHEAD = 9000 };
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    says(w, &t, ANSWER, t.client.next);
    const struct wire_segment ack = wire_segment(&t, FROM_CLIENT, TCP_ACK);
    struct wire_segment gap = wire_data(&t, FROM_CLIENT, TCP_ACK, "b");
    gap.seq += AHEAD;
    uint32_t passed = 0;
    for (int i = 0; i < ROUNDS; i++)
        passed += flood(w, &ack, FLOOD / ROUNDS, 0) + flood(w, &gap, 1, 0);
    assert_in_range(passed, 100, MOST);
}

static void a_flood_behind_a_hole_is_dropped_too(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    says(w, &t, ANSWER, t.client.next);
    struct wire_segment gap = wire_data(&t, FROM_CLIENT, TCP_ACK, "b");
    gap.seq++;
    assert_in_range(flood(w, &gap, FLOOD, 0), 100, MOST);
    for (uint32_t i = 0; i < FLOOD / 10; i++) { /* what is new is taken for ever */
        from_client(w, &t, 0, "n", VERDICT_REFUSAL_TAKEN);
        wire_forget_frames(w);
    }
}

enum { STEP_MS = 1, COUNT = 8000, SECONDS = COUNT * STEP_MS / 1000 };

/* Nothing else comes meanwhile. In each second some 60 are as good as honest. */
static void expect_limited(struct wire *w, const struct wire_segment *segment)
{
    assert_in_range(flood(w, segment, COUNT, STEP_MS), 100 + SECONDS * 20, MOST + SECONDS * 120);
    wire_expect_tables(w, 1, 0);
}

static void and_so_is_a_flood_on_a_refused_body(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = begun(w);
    const struct wire_segment once =
        from_client(w, &t, 0, NO_POST "Content-Length: 10\r\n\r\n01234", VERDICT_RULE_RATE);
    acknowledged(w, &t, t.client.next);
    expect_limited(w, &once);
}

static void and_one_by_a_client_that_has_its_answer(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    leaves(w, &t, ANSWER);
    assert_int_equal(wire_out(w, OUTSIDE).length, ANSWER_LENGTH);
    t.client.expects += ANSWER_LENGTH;
    const struct wire_segment reply = told(w, &t, t.client.next);
    reads(w, &t, &reply);
    const struct wire_segment ack = wire_segment(&t, FROM_CLIENT, TCP_ACK);
    wire_forget_frames(w);
    expect_limited(w, &ack);
}

/* Takes some of what has come, a byte at each step, for so long. */
static void reads_byte_by_byte(struct wire *w, struct wire_talk *t, uint32_t step_ms, uint32_t ms)
{
    for (uint32_t gone = 0; gone < ms && flows_count(w->shard->flows) != 0; gone += step_ms) {
        wire_wait(w, step_ms);
        if (flows_count(w->shard->flows) == 0)
            return;
        t->client.expects++;
        from_client(w, t, 0, "", VERDICT_REFUSAL_TAKEN);
        wire_forget_frames(w);
    }
}

/* Its backend has so many answers for it that it has not read. */
static struct wire_talk behind(struct wire *w, int answers)
{
    struct wire_talk t = pipelined(w);
    w->limits.slow.window_ms = 60000;
    w->limits.slow.rate[SLOW_DRAIN] = 256;
    wire_begin(w);
    for (int i = 0; i < answers; i++)
        says(w, &t, ANSWER, t.client.next);
    t.client.expects -= (uint32_t)answers * ANSWER_LENGTH;
    return t;
}

static void a_client_that_hardly_reads_earlier_answers_is_slow(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = behind(w, 30);
    reads_byte_by_byte(w, &t, 9000, 180000);
    assert_int_equal(w->shard->verdicts[VERDICT_SLOW_DRAIN], 1);
    wire_expect_tables(w, 0, 0);
}

static void and_also_behind_the_backends_end(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = behind(w, 30);
    leaves(w, &t, "");
    wire_forget_frames(w);
    reads_byte_by_byte(w, &t, 400, 180000);
    assert_int_equal(w->shard->verdicts[VERDICT_SLOW_DRAIN], 1);
    wire_expect_tables(w, 0, 0);
}

/* The refusal itself has a time of its own, which a byte now and then does not extend. */
static void a_client_that_hardly_reads_its_refusal_is_reset(void **state)
{
    static const uint32_t steps[] = {9000, 400, 100};
    struct wire *w = wire_of(state);
    for (uint32_t i = 0; i < 3; i++) {
        w->shard->requests = 0;
        struct wire_talk t = pipelined(w);
        leaves(w, &t, "");
        told(w, &t, t.client.next);
        const uint64_t begun_ms = w->now_ms;
        reads_byte_by_byte(w, &t, steps[i], 4 * UNREAD_MS);
        assert_in_range(w->now_ms - begun_ms, UNREAD_MS - 100, 3 * UNREAD_MS);
        assert_int_equal(w->shard->verdicts[VERDICT_REFUSAL_UNREAD], i + 1);
        wire_expect_tables(w, 0, 0);
        wire_forget_frames(w);
    }
}

static void one_that_reads_it_in_small_parts_over_a_long_way_has_the_time(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    t.client.scale = COOKIE_NO_SCALE;
    wire_handshake(w, &t);
    t.client.window = 100;
    from_client(w, &t, TCP_PSH, NO, VERDICT_RULE_RATE);
    for (bool last = false; !last;) {
        const struct wire_segment part = wire_out(w, OUTSIDE);
        last = (part.flags & TCP_FIN) != 0;
        wire_wait(w, 3000);
        wire_forget_frames(w);
        t.client.expects = part.seq + part.length + (uint32_t)last;
        from_client(w, &t, 0, "", VERDICT_REFUSAL_TAKEN);
    }
    wire_wait(w, UNREAD_MS - 500);
    goes(w, &t);
}

static void one_that_waits_long_for_its_backend_is_not(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = behind(w, 0);
    for (int i = 0; i < 5; i++) {
        says(w, &t, ANSWER, t.client.next);
        from_client(w, &t, 0, "", VERDICT_REFUSAL_TAKEN);
        backend_acked(w, &t, t.server.next);
        wire_wait(w, w->limits.half_closed_ms - 1000);
        wire_quiet(w);
    }
    leaves(w, &t, "");
    const struct wire_segment reply = told(w, &t, t.client.next);
    reads(w, &t, &reply);
    fin_acked(w, &t);
    goes(w, &t);
}

static void a_lost_fin_is_sent_to_the_backend_again(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    static const uint32_t again[] = {200, 600, 1400, 3000, 6200};
    uint32_t gone = 0;
    for (size_t i = 0; i < 5; i++) {
        wire_wait(w, again[i] - gone - 20);
        wire_quiet(w);
        wire_wait(w, 120);
        gone = again[i] + 100;
        t.server.expects--;
        ended(w, &t);
    }
    says(w, &t, ANSWER, t.client.next);
    wire_wait(w, 10000); /* it has acknowledged the FIN, and takes its time */
    wire_quiet(w);
    wire_expect_tables(w, 1, 0);
}

static void a_backend_that_does_not_hear_it_ends_the_connection(void **state)
{
    struct wire *w = wire_of(state);
    pipelined(w);
    for (uint32_t i = 0, ms = 200; i < 6; i++, ms *= 2)
        wire_wait(w, ms + 20);
    wire_expect_tables(w, 0, 0);
    assert_int_equal(w->shard->verdicts[VERDICT_UNDELIVERED], 1);
}

static void an_answer_lost_towards_the_client_is_still_the_backends_to_repeat(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    const struct wire_segment lost = wire_data(&t, FROM_BACKEND, TCP_ACK, ANSWER);
    assert_int_equal(wire_send(w, &lost, FROM_BACKEND), VERDICT_FORWARDED);
    wire_forget_frames(w);
    t.server.next += lost.length;
    leaves(w, &t, "");
    const struct wire_segment early = wire_out(w, OUTSIDE);
    expect_reply(&early);
    assert_int_equal(early.seq, t.client.expects + lost.length);
    /* the client lacks what went before: the backend's FIN is not acknowledged */
    from_client(w, &t, 0, "", VERDICT_REFUSAL_TAKEN);
    backend_acked(w, &t, t.server.next - 1 - lost.length);
    wire_quiet(w);
    assert_int_equal(wire_send(w, &lost, FROM_BACKEND), VERDICT_FORWARDED);
    const struct wire_segment again = wire_out(w, OUTSIDE);
    assert_int_equal(again.seq, t.client.expects);
    assert_int_equal(again.flags, TCP_ACK);
    assert_int_equal(again.length, lost.length);
    t.client.expects += lost.length;
    reads(w, &t, &early);
    fin_acked(w, &t);
    wire_quiet(w);
    goes(w, &t);
}

static void a_fin_that_the_backend_repeats_is_acknowledged_again(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    says(w, &t, ANSWER, t.client.next);
    const struct wire_segment fin = wire_data(&t, FROM_BACKEND, TCP_ACK | TCP_FIN, "");
    leaves(w, &t, "");
    const struct wire_segment reply = told(w, &t, t.client.next);
    assert_int_equal(wire_send(w, &fin, FROM_BACKEND), VERDICT_REFUSAL_TAKEN);
    wire_quiet(w); /* the client has not got the answer yet */
    reads(w, &t, &reply);
    fin_acked(w, &t);
    assert_int_equal(wire_send(w, &fin, FROM_BACKEND), VERDICT_REFUSAL_TAKEN);
    backend_acked(w, &t, t.server.next);
    wire_quiet(w);
}

/* A FIN that has overtaken the data before it has the later time. A client that has both by then
 * refuses what is older. */
static void the_refusal_is_as_new_as_all_that_came_before(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    struct wire_segment late = wire_data(&t, FROM_BACKEND, TCP_ACK, ANSWER);
    t.server.next += late.length;
    t.server.clock += 50;
    leaves(w, &t, "");
    struct wire_segment seen = wire_out(w, OUTSIDE);
    expect_reply(&seen);
    assert_int_equal(seen.options.tsval, t.server.clock - 1 + t.ts_delta);
    late.options.tsval += 100; /* sent again */
    assert_int_equal(wire_send(w, &late, FROM_BACKEND), VERDICT_FORWARDED);
    wire_forget_frames(w);
    wire_wait(w, 620);
    seen = wire_out(w, OUTSIDE);
    expect_reply(&seen);
    assert_int_equal(seen.options.tsval, late.options.tsval + t.ts_delta);
}

/* ---- ends ---- */

static void a_client_that_ends_with_the_refused_request_is_acknowledged_by_us(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = idle(w);
    says(w, &t, ANSWER, t.client.next);
    from_client(w, &t, TCP_PSH | TCP_FIN, NO, VERDICT_AFTER_LAST);
    ended_and_acknowledged(w, &t, t.client.next);
    leaves(w, &t, "");
    const struct wire_segment reply = told(w, &t, t.client.next);
    reads(w, &t, &reply);
    fin_acked(w, &t);
    gone(w);
}

static void behind_a_backend_that_has_ended_nothing_follows(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = idle(w);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK | TCP_FIN, ANSWER);
    from_client(w, &t, TCP_PSH, NO, VERDICT_AFTER_LAST);
    wire_forget_frames(w);
    assert_int_equal(flow_at(w->shard->flows, 0)->refusal, REFUSAL_NONE);
    const struct wire_segment fin = wire_segment(&t, FROM_CLIENT, TCP_FIN | TCP_ACK);
    assert_int_equal(wire_send(w, &fin, FROM_CLIENT), VERDICT_FORWARDED);
    const struct wire_segment seen = wire_out(w, INSIDE);
    assert_int_equal(seen.flags, TCP_FIN | TCP_ACK);
    assert_int_equal(seen.seq, t.server.expects);
}

static void a_client_may_reset_it(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    struct wire_segment reset = wire_segment(&t, FROM_CLIENT, TCP_RST);
    reset.seq += 5;
    assert_int_equal(wire_send(w, &reset, FROM_CLIENT), VERDICT_STATE);
    reset.seq -= 5;
    assert_int_equal(wire_send(w, &reset, FROM_CLIENT), VERDICT_FLOW_RESET);
    bool exact = false;
    while (wire_pending(w) > 0)
        exact |= wire_out(w, INSIDE).seq == t.server.expects;
    assert_true(exact);
    wire_expect_tables(w, 0, 0);
}

static void a_backend_that_resets_takes_its_answers_along(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    const struct wire_segment reset = wire_segment(&t, FROM_BACKEND, TCP_RST | TCP_ACK);
    assert_int_equal(wire_send(w, &reset, FROM_BACKEND), VERDICT_FLOW_RESET);
    assert_true(wire_out(w, OUTSIDE).flags & TCP_RST);
    wire_expect_tables(w, 0, 0);
}

static void a_backend_that_resets_once_all_is_said_changes_nothing(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    leaves(w, &t, "");
    const struct wire_segment reply = told(w, &t, t.client.next);
    const struct wire_segment reset = wire_segment(&t, FROM_BACKEND, TCP_RST | TCP_ACK);
    assert_int_equal(wire_send(w, &reset, FROM_BACKEND), VERDICT_REFUSAL_TAKEN);
    wire_quiet(w);
    reads(w, &t, &reply);
    goes(w, &t);
}

static void a_closed_window_gets_it_when_it_opens(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    t.client.window = 0;
    says(w, &t, ANSWER, t.client.next);
    from_client(w, &t, 0, "", VERDICT_REFUSAL_TAKEN);
    wire_forget_frames(w);
    leaves(w, &t, "");
    wire_forget_frames(w);
    t.client.window = 500;
    from_client(w, &t, 0, "", VERDICT_REFUSAL_TAKEN);
    wire_forget_frames(w);
    wire_wait(w, 600);
    told(w, &t, t.client.next);
}

/* As small as it may be: a part of the answer at a time, and the FIN with the last. */
static void a_client_with_little_room_gets_it_in_parts(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    t.client.scale = COOKIE_NO_SCALE;
    wire_handshake(w, &t);
    t.client.window = 100;
    from_client(w, &t, TCP_PSH, NO, VERDICT_RULE_RATE);
    wire_expect_tables(w, 1, 0);
    uint32_t length = 0;
    for (bool last = false; !last; length += 100) {
        const struct wire_segment part = wire_out(w, OUTSIDE);
        last = (part.flags & TCP_FIN) != 0;
        assert_int_equal(part.seq, t.client.expects);
        assert_int_equal(part.ack, t.client.next);
        assert_true(last ? part.length < 100 : part.length == 100);
        wire_quiet(w);
        t.client.expects += part.length + (uint32_t)last;
        from_client(w, &t, 0, "", VERDICT_REFUSAL_TAKEN);
    }
    assert_true(length > 100);
    goes(w, &t);
}

static void and_nothing_where_no_flow_can_keep_the_rest_of_it(void **state)
{
    struct wire *w = wire_of(state);
    w->limits.clients.connections = 1;
    wire_begin(w);
    idle(w);
    struct wire_talk t = wire_talk(w);
    t.client.scale = COOKIE_NO_SCALE;
    wire_handshake(w, &t);
    t.client.window = 100;
    from_client(w, &t, TCP_PSH, NO, VERDICT_FLOW_TABLE_FULL);
    wire_quiet(w);
}

/* An acknowledgement behind the backend's FIN may come before it. */
static void a_fin_that_was_overtaken_is_a_fin(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = pipelined(w);
    struct wire_segment behind = wire_segment(&t, FROM_BACKEND, TCP_ACK);
    behind.seq += ANSWER_LENGTH + 1U;
    behind.options.tsval++;
    assert_int_equal(wire_send(w, &behind, FROM_BACKEND), VERDICT_FORWARDED);
    wire_forget_frames(w);
    leaves(w, &t, ANSWER);
    assert_int_equal(wire_out(w, OUTSIDE).length, ANSWER_LENGTH);
    t.client.expects += ANSWER_LENGTH;
    const struct wire_segment seen = wire_out(w, OUTSIDE);
    expect_reply(&seen);
    assert_int_equal(seen.seq, t.client.expects);
}

static void nothing_of_a_hundred_thousand_is_left(void **state)
{
    struct wire *w = wire_of(state);
    for (uint32_t i = 0; i < 100000; i++) {
        struct wire_talk t = wire_talk(w);
        t.client.at.port = (uint16_t)(1024 + i % 60000);
        wire_handshake(w, &t);
        const struct wire_segment s = wire_data(&t, FROM_CLIENT, TCP_ACK | TCP_PSH, NO);
        assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_RULE_RATE);
        wire_forget_frames(w);
        if (i % 4000 == 0)
            wire_wait(w, 1000);
    }
    wire_expect_tables(w, 0, 0);
    assert_int_equal(tombstones_count(w->shard->tombstones), 0);
}

#define TEST(f)                                       \
    {#f "[IPv4]", f, setup_v4, wire_teardown, NULL},  \
    {                                                 \
#f "[IPv6]", f, setup_v6, wire_teardown, NULL \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_first_request_is_answered_in_its_place),
        TEST(the_same_again_is_answered_again),
        TEST(what_the_client_says_to_its_answer_needs_no_flow),
        TEST(what_else_it_sends_is_acknowledged_too),
        TEST(a_port_that_is_used_again_is_refused_and_closed_beside_its_old_flow),
        TEST(a_request_with_its_fin_is_answered_whole),
        TEST(a_body_in_the_same_segment_needs_no_flow),
        TEST(a_client_that_waits_to_be_told_to_go_on_is_told_at_once),
        TEST(head_is_answered_without_a_body_and_browsers_by_a_page),
        TEST(clients_with_the_smallest_segments_and_no_options_get_it_in_one),
        TEST(what_is_not_http_is_refused_by_a_reset),
        TEST(a_head_in_pieces_is_refused_when_it_is_complete),
        TEST(a_body_on_its_way_is_waited_for),
        TEST(a_window_that_opens_before_the_body_has_come_changes_nothing),
        TEST(a_body_that_does_not_come_is_waited_for_as_long_as_a_head),
        TEST(a_body_that_has_to_be_asked_for_is_not_waited_for),
        TEST(what_follows_a_last_request_needs_a_flow),
        TEST(a_client_that_has_ended_is_not_waited_for),
        TEST(a_large_body_is_discarded_behind_its_answer),
        TEST(a_gap_in_a_discarded_body_is_not_acknowledged),
        TEST(on_a_kept_connection_a_fin_takes_its_place),
        TEST(behind_an_accepted_request_the_first_answer_arrives_whole),
        TEST(in_the_first_segment_too),
        TEST(while_the_backend_is_opened_too),
        TEST(behind_a_head_in_pieces_once_that_is_delivered),
        TEST(a_backend_that_ends_before_that_has_the_last_word),
        TEST(a_head_whose_beginning_has_gone_on_ends_there),
        TEST(a_head_in_pieces_that_may_pass_leaves_nothing_aside),
        TEST(a_head_that_begins_with_the_first_request_is_kept_aside),
        TEST(a_long_head_in_pieces_moves_to_a_larger_place),
        TEST(a_head_that_finds_no_place_comes_again),
        TEST(a_head_that_finds_no_larger_place_comes_again),
        TEST(a_head_that_finds_no_place_keeps_back_nothing_before_it),
        TEST(a_head_that_loses_its_place_ends_its_connection),
        TEST(a_client_that_has_all_its_connections_is_refused_without_one),
        TEST(a_lost_refusal_is_sent_again_and_reset_after_ten_seconds),
        TEST(a_client_that_does_not_close_is_reset_ten_seconds_later),
        TEST(a_flood_while_its_backend_answers_is_dropped),
        TEST(what_lies_behind_a_hole_buys_no_more_of_it),
        TEST(a_flood_behind_a_hole_is_dropped_too),
        TEST(and_so_is_a_flood_on_a_refused_body),
        TEST(and_one_by_a_client_that_has_its_answer),
        TEST(a_client_that_hardly_reads_earlier_answers_is_slow),
        TEST(and_also_behind_the_backends_end),
        TEST(a_client_that_hardly_reads_its_refusal_is_reset),
        TEST(one_that_reads_it_in_small_parts_over_a_long_way_has_the_time),
        TEST(one_that_waits_long_for_its_backend_is_not),
        TEST(a_lost_fin_is_sent_to_the_backend_again),
        TEST(a_backend_that_does_not_hear_it_ends_the_connection),
        TEST(an_answer_lost_towards_the_client_is_still_the_backends_to_repeat),
        TEST(a_fin_that_the_backend_repeats_is_acknowledged_again),
        TEST(the_refusal_is_as_new_as_all_that_came_before),
        TEST(a_client_that_ends_with_the_refused_request_is_acknowledged_by_us),
        TEST(behind_a_backend_that_has_ended_nothing_follows),
        TEST(a_client_may_reset_it),
        TEST(a_backend_that_resets_takes_its_answers_along),
        TEST(a_backend_that_resets_once_all_is_said_changes_nothing),
        TEST(a_closed_window_gets_it_when_it_opens),
        TEST(a_client_with_little_room_gets_it_in_parts),
        TEST(and_nothing_where_no_flow_can_keep_the_rest_of_it),
        TEST(a_fin_that_was_overtaken_is_a_fin),
        TEST(nothing_of_a_hundred_thousand_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
