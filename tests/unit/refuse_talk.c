/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The steps of talks in which a request is refused, and the gate that refuses it. */
#include "tests/unit/refuse_talk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

uint32_t asked;
char last_path[64], last_host[64];
bool refuses_all;
static bool fin_known;

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

int refuse_setup_v4(void **state)
{
    asked = 0;
    refuses_all = false;
    return wire_setup_v4(state);
}

int refuse_setup_v6(void **state)
{
    asked = 0;
    refuses_all = false;
    return wire_setup_v6(state);
}

struct wire_talk begun(struct wire *w)
{
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    return t;
}

struct wire_talk idle(struct wire *w)
{
    struct wire_talk t = begun(w);
    wire_ask(w, &t, GET);
    wire_accept(w, &t);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
    wire_quiet(w);
    return t;
}

struct wire_segment from_client(struct wire *w, struct wire_talk *t, uint8_t flags,
                                const char *text, enum verdict verdict)
{
    t->client.clock++;
    const struct wire_segment s = wire_data(t, FROM_CLIENT, TCP_ACK | flags, text);
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), verdict);
    t->client.next += s.length + ((flags & TCP_FIN) != 0);
    return s;
}

void expect_reply(const struct wire_segment *seen)
{
    assert_int_equal(seen->flags, TCP_PSH | TCP_FIN | TCP_ACK);
    assert_true(seen->length > 100 && seen->length <= REPLY_MOST);
    assert_memory_equal(seen->payload, "HTTP/1.1 429 Too Many Requests\r\n", 32);
}

struct wire_segment told(struct wire *w, const struct wire_talk *t, uint32_t ack)
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

void reads(struct wire *w, struct wire_talk *t, const struct wire_segment *reply)
{
    t->client.expects = reply->seq + reply->length + 1U;
    from_client(w, t, 0, "", VERDICT_REFUSAL_TAKEN);
}

void ended(struct wire *w, struct wire_talk *t)
{
    const struct wire_segment seen = wire_out(w, INSIDE);
    assert_int_equal(seen.flags, TCP_FIN | TCP_ACK);
    assert_int_equal(seen.length, 0);
    assert_int_equal(seen.seq, t->server.expects);
    t->server.expects++;
}

void acknowledged(struct wire *w, const struct wire_talk *t, uint32_t ack)
{
    const struct wire_segment seen = wire_out(w, OUTSIDE);
    assert_int_equal(seen.flags, TCP_ACK);
    assert_int_equal(seen.length, 0);
    assert_int_equal(seen.ack, ack);
    assert_int_equal(seen.seq, t->client.expects);
    assert_true(seen.window != 0);
}

void ended_and_acknowledged(struct wire *w, struct wire_talk *t, uint32_t ack)
{
    bool first = w->frames[w->taken].to == INSIDE;
    if (first)
        ended(w, t);
    acknowledged(w, t, ack);
    if (!first)
        ended(w, t);
    wire_quiet(w);
}

struct wire_segment says(struct wire *w, struct wire_talk *t, const char *text, uint32_t ack)
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

void backend_acked(struct wire *w, const struct wire_talk *t, uint32_t ack)
{
    const struct wire_segment seen = wire_out(w, INSIDE);
    assert_int_equal(seen.flags, TCP_ACK);
    assert_int_equal(seen.length, 0);
    assert_int_equal(seen.seq, t->server.expects);
    assert_int_equal(seen.ack, ack);
}

void leaves(struct wire *w, struct wire_talk *t, const char *text)
{
    const struct wire_segment s = wire_data(t, FROM_BACKEND, TCP_ACK | TCP_FIN, text);
    assert_int_equal(wire_send(w, &s, FROM_BACKEND), VERDICT_FORWARDED);
    t->server.next += s.length + 1U;
    t->server.clock++;
    fin_known = w->frames[w->taken].to == INSIDE;
    if (fin_known)
        backend_acked(w, t, t->server.next);
}

void fin_acked(struct wire *w, const struct wire_talk *t)
{
    if (!fin_known)
        backend_acked(w, t, t->server.next);
    fin_known = true;
}

void gone(struct wire *w)
{
    wire_quiet(w);
    wire_expect_tables(w, 1, 0);
    wire_wait(w, w->limits.linger_ms + 200);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
    assert_int_equal(w->shard->verdicts[VERDICT_FLOW_CLOSED] != 0, 1);
}

void goes(struct wire *w, struct wire_talk *t)
{
    const struct wire_segment fin = from_client(w, t, TCP_FIN, "", VERDICT_REFUSAL_TAKEN);
    acknowledged(w, t, t->client.next);
    assert_int_equal(wire_send(w, &fin, FROM_CLIENT), VERDICT_REFUSAL_TAKEN); /* again */
    acknowledged(w, t, t->client.next);
    gone(w);
}

struct wire_talk pipelined(struct wire *w)
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
