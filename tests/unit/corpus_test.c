/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The corpus of odd requests, to the parser alone and to a whole shard: as the first requests of a
 * connection and as later ones, cut in any way, with segments in any order and twice. A case has
 * one verdict, and what it says must not pass reaches no backend. The lab sends the same corpus to
 * the control service. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/corpus.h"
#include "tests/unit/random.h"
#include "tests/unit/wire.h"

enum { MSS = 1400, PIECES = 4096, SEEDS = 40 };

static const struct corpus_case *cases;
static size_t case_count;

static int read_corpus(void **state)
{
    (void)state;
    cases = corpus_read(&case_count);
    return 0;
}

static void it_holds_at_least_200(void **state)
{
    (void)state;
    assert_true(case_count >= 200);
}

/* ---- the parser alone ---- */

struct result {
    uint32_t heads, used; /* used: bytes that were read */
    enum corpus_end end;
    enum http1_error error;
};

static void feed(struct http1 *parser, const struct http1_limits *limits, const uint8_t *bytes,
                 uint32_t length, struct result *r)
{
    enum http1_event event;
    do {
        const void *data;
        size_t used, data_length;
        event = http1_scan(parser, limits, bytes, length, &used, &data, &data_length);
        bytes += used;
        length -= (uint32_t)used;
        r->used += (uint32_t)used;
        r->heads += event == HTTP1_HEAD;
        if (event == HTTP1_END || used > 0)
            r->end = event == HTTP1_END ? CORPUS_OK : CORPUS_MORE;
    } while (event != HTTP1_MORE && event != HTTP1_LAST && event != HTTP1_BAD);
    if (event == HTTP1_LAST)
        r->end = CORPUS_LAST;
    if (event == HTTP1_BAD)
        r->end = CORPUS_BAD;
    r->error = (enum http1_error)parser->error;
}

/* What the parser makes of the case, cut at up to `cuts` random places, or at `at` alone. */
static struct result parse(const struct corpus_case *c, const struct http1_limits *limits,
                           uint32_t at, uint32_t most, struct random *random)
{
    struct result r = {.end = CORPUS_MORE};
    struct http1 parser;
    http1_init(&parser);
    for (uint32_t from = 0; from < c->length && r.end != CORPUS_BAD && r.end != CORPUS_LAST;) {
        uint32_t n = from < at ? at - from : c->length - from;
        if (random != NULL)
            n = 1 + random_below(random, most);
        n = n < c->length - from ? n : c->length - from;
        feed(&parser, limits, c->bytes + from, n, &r);
        from += n;
    }
    return r;
}

static bool expected(const struct corpus_case *c, const struct result *r)
{
    bool same = r->heads == c->heads;
    if (c->end == CORPUS_BAD)
        same = same && r->end == CORPUS_BAD && r->error == c->error;
    else if (c->end == CORPUS_LARGE)
        same = same && r->end != CORPUS_BAD && r->end != CORPUS_LAST;
    else
        same = same && r->end == c->end;
    if (!same)
        print_error("%s: %u heads, end %d, %s\n", c->name, r->heads, (int)r->end,
                    http1_error_name(r->error));
    return same;
}

static void the_parser_says_of_each_what_the_corpus_says(void **state)
{
    (void)state;
    bool all = true;
    for (const struct corpus_case *c = cases; c < cases + case_count; c++) {
        const struct result relay = parse(c, &HTTP1_RELAY_LIMITS, 0, 0, NULL);
        const struct result service = parse(c, &HTTP1_DEFAULT_LIMITS, 0, 0, NULL);
        all = expected(c, &relay) && all;
        all = (c->end == CORPUS_LARGE || expected(c, &service)) && all;
    }
    assert_true(all);
}

static void no_cut_in_two_changes_what_the_parser_says(void **state)
{
    (void)state;
    for (const struct corpus_case *c = cases; c < cases + case_count; c++)
        for (uint32_t at = 1; at < c->length; at++) {
            struct result r = parse(c, &HTTP1_RELAY_LIMITS, at, 0, NULL);
            assert_true(expected(c, &r));
        }
}

static void no_cut_in_many_changes_what_the_parser_says(void **state)
{
    (void)state;
    struct random random = {.state = 1};
    for (const struct corpus_case *c = cases; c < cases + case_count; c++)
        for (uint32_t i = 0; i < 100; i++) {
            struct result r = parse(c, &HTTP1_RELAY_LIMITS, 0, 1 + i, &random);
            assert_true(expected(c, &r));
        }
}

/* ---- a shard ---- */

/* A client that sends a case, and a backend that notes what reaches it. */
struct run {
    struct wire *w;
    struct wire_talk t;
    const struct corpus_case *c;
    struct random random;
    uint32_t first;  /* sequence number of the case's first byte */
    uint32_t passes; /* bytes of it that may reach the backend */
    uint32_t cuts[PIECES], pieces;
    bool seen[16384]; /* bytes that the backend has got */
    uint32_t arrived; /* in one piece from the first on */
    uint32_t shown;   /* bytes of it that were acknowledged to the client */
    bool reset_client, reset_backend;
    enum verdict verdict; /* of the last segment */
};

/* Takes all frames that left: data for the backend, resets, and acknowledgements for the client. */
static void take(struct run *r)
{
    while (wire_pending(r->w) > 0) {
        const bool inside = r->w->frames[r->w->taken].to == INSIDE;
        const struct wire_segment s = wire_out(r->w, inside ? INSIDE : OUTSIDE);
        if (s.flags & TCP_RST) {
            assert_int_equal(s.seq, inside ? r->t.server.expects : r->t.client.expects);
            *(inside ? &r->reset_backend : &r->reset_client) = true;
            continue;
        }
        if (!inside) {
            assert_int_equal(s.length, 0);
            r->shown = s.ack - r->first;
            assert_true(r->shown <= (r->c->end == CORPUS_LAST ? r->c->length : r->passes));
        }
        for (uint32_t i = 0; inside && i < s.length; i++) {
            const uint32_t at = s.seq - r->first + i;
            assert_true(at < r->passes);
            assert_int_equal(((const uint8_t *)s.payload)[i], r->c->bytes[at]);
            r->seen[at] = true;
        }
    }
    while (r->arrived < r->passes && r->seen[r->arrived])
        r->arrived++;
}

/* The backend acknowledges what it has. */
static void acknowledge(struct run *r)
{
    r->t.server.expects = r->first + r->arrived;
    const struct wire_segment ack = wire_segment(&r->t, FROM_BACKEND, TCP_ACK);
    assert_int_equal(wire_send(r->w, &ack, FROM_BACKEND), VERDICT_FORWARDED);
    r->t.server.clock++;
    take(r);
}

static void send_piece(struct run *r, uint32_t from, uint32_t to)
{
    struct wire_segment s = wire_segment(&r->t, FROM_CLIENT, TCP_ACK | TCP_PSH);
    s.seq = r->first + from;
    s.payload = r->c->bytes + from;
    s.length = (uint16_t)(to - from);
    r->t.client.clock++;
    r->verdict = wire_send(r->w, &s, FROM_CLIENT);
    take(r);
    if (!r->reset_client)
        acknowledge(r);
}

/* Cuts the case into pieces of up to `most` bytes, the first one as long as told if that is not 0.
 */
static void cut_up(struct run *r, uint32_t most, uint32_t first)
{
    uint32_t at = 0;
    r->pieces = 0;
    r->cuts[0] = 0;
    while (at < r->c->length) {
        at += r->pieces == 0 && first ? first : 1 + random_below(&r->random, most);
        at = at < r->c->length ? at : r->c->length;
        assert_true(r->pieces + 1 < PIECES);
        r->cuts[++r->pieces] = at;
    }
}

/* Sends the pieces: the first that is missing, one of the next, or one that has been there. */
static void send_all(struct run *r, bool shuffle)
{
    uint32_t at = 0;
    while (!r->reset_client) {
        while (at < r->pieces && r->cuts[at + 1] <= r->arrived)
            at++;
        if (at == r->pieces || r->arrived == r->passes)
            break;
        uint32_t piece = at;
        if (shuffle && random_below(&r->random, 2) == 0) {
            piece = at + random_below(&r->random, 6);
            piece = piece > 3 ? piece - 3 : 0;
        }
        if (piece >= r->pieces)
            continue;
        send_piece(r, r->cuts[piece], r->cuts[piece + 1]);
        assert_true(r->reset_client || r->verdict == VERDICT_FORWARDED ||
                    r->verdict == VERDICT_AFTER_LAST ||
                    (shuffle && r->verdict == VERDICT_SCAN_GAP));
    }
    /* What lies behind what may pass is sent as well, and passes no more than before. */
    for (; !r->reset_client && at < r->pieces; at++)
        send_piece(r, r->cuts[at], r->cuts[at + 1]);
}

static struct run *begin(struct wire *w, const struct corpus_case *c, uint64_t seed)
{
    static struct run r;
    const struct result alone = parse(c, &HTTP1_RELAY_LIMITS, 0, 0, NULL);
    memset(&r, 0, sizeof r);
    r.w = w;
    r.c = c;
    r.random.state = seed;
    r.passes = alone.end == CORPUS_LAST || alone.end == CORPUS_BAD ? alone.used : c->length;
    r.t = wire_talk(w);
    wire_handshake(w, &r.t);
    return &r;
}

/* Nothing is left of the flow, on either side. */
static void leave(struct run *r, bool opened)
{
    if (r->c->end == CORPUS_BAD) {
        assert_true(r->reset_client);
        assert_int_equal(r->reset_backend, opened);
        assert_int_equal(flows_count(r->w->shard->flows), 0);
        return;
    }
    assert_false(r->reset_client || r->reset_backend);
    assert_int_equal(r->arrived, r->passes);
    if (r->c->end == CORPUS_LAST) /* also what reached nobody */
        assert_int_equal(r->shown, r->c->length);
    struct wire_segment s = wire_segment(&r->t, FROM_CLIENT, TCP_RST);
    s.seq = r->first + r->arrived;
    assert_int_equal(wire_send(r->w, &s, FROM_CLIENT), VERDICT_FLOW_RESET);
    wire_forget_frames(r->w);
}

/* The case follows a plain request on an open connection. */
static void run_second(struct wire *w, const struct corpus_case *c, uint64_t seed, uint32_t most,
                       bool shuffle)
{
    struct run *r = begin(w, c, seed);
    const uint64_t requests = w->shard->requests;
    wire_ask(w, &r->t, wire_request);
    wire_accept(w, &r->t);
    r->first = r->t.client.next;
    acknowledge(r);
    cut_up(r, most, 0);
    send_all(r, shuffle);
    if (w->shard->requests != requests + 1 + c->heads ||
        (c->end == CORPUS_BAD) != (r->verdict == VERDICT_REQUEST_MALFORMED))
        fail_msg("%s, seed %lu, pieces of %u: %lu heads, %s", c->name, (unsigned long)seed, most,
                 (unsigned long)(w->shard->requests - requests - 1), verdict_name(r->verdict));
    leave(r, true);
}

static void a_later_request_gets_its_verdict_on_any_cut(void **state)
{
    struct wire *w = wire_of(state);
    for (const struct corpus_case *c = cases; c < cases + case_count; c++)
        for (uint64_t seed = 1; seed <= SEEDS; seed++)
            run_second(w, c, seed, seed % 4 == 0 ? MSS : 1 + (uint32_t)seed * 3, false);
}

static void a_later_request_gets_its_verdict_in_any_order(void **state)
{
    struct wire *w = wire_of(state);
    for (const struct corpus_case *c = cases; c < cases + case_count; c++)
        for (uint64_t seed = 1; seed <= SEEDS; seed++)
            run_second(w, c, seed, c->length / 8 + 1 + (uint32_t)seed % 7, true);
}

/* The case opens the connection; all of its first head is in the first segment. */
static void run_first(struct wire *w, const struct corpus_case *c, uint64_t seed)
{
    struct run *r = begin(w, c, seed);
    const uint64_t requests = w->shard->requests;
    r->first = r->t.client.next;
    cut_up(r, MSS, c->length < MSS ? c->length : MSS);
    struct wire_segment s = wire_segment(&r->t, FROM_CLIENT, TCP_ACK | TCP_PSH);
    s.payload = c->bytes;
    s.length = (uint16_t)r->cuts[1];
    r->verdict = wire_send(w, &s, FROM_CLIENT);
    const bool opened = r->verdict == VERDICT_OPENED;
    if (opened) {
        r->t.server.expects = r->first;
        wire_out(w, INSIDE); /* the SYN */
        const struct wire_segment syn_ack = wire_syn_ack(&r->t);
        assert_int_equal(wire_send(w, &syn_ack, FROM_BACKEND), VERDICT_BACKEND_ANSWERED);
        r->t.server.next = r->t.server.isn + 1;
        r->t.server.timestamps = syn_ack.options.timestamps;
        r->t.server.window = (uint16_t)(r->t.server.window >> syn_ack.options.window_scale);
    }
    take(r);
    if (opened) {
        acknowledge(r);
        send_all(r, false);
    }
    const enum verdict bad = c->heads == 0 ? VERDICT_HEAD_MALFORMED : VERDICT_REQUEST_MALFORMED;
    if ((c->end == CORPUS_BAD) != (r->verdict == bad) ||
        (opened && w->shard->requests != requests + c->heads))
        fail_msg("%s: %lu heads, %s", c->name, (unsigned long)(w->shard->requests - requests),
                 verdict_name(r->verdict));
    if (opened || c->end == CORPUS_BAD)
        leave(r, opened);
    if (!opened && c->heads > 0 && c->end != CORPUS_BAD)
        fail_msg("%s: %s", c->name, verdict_name(r->verdict));
}

/* Whether the first segment holds the whole first head, or what is wrong with it. */
static bool begins_in_one(const struct corpus_case *c)
{
    struct corpus_case begin = *c;
    begin.length = c->length < MSS ? c->length : MSS;
    const struct result r = parse(&begin, &HTTP1_RELAY_LIMITS, 0, 0, NULL);
    return r.heads > 0 || r.end == CORPUS_BAD;
}

static void a_first_request_gets_its_verdict(void **state)
{
    struct wire *w = wire_of(state);
    for (const struct corpus_case *c = cases; c < cases + case_count; c++)
        if (begins_in_one(c))
            run_first(w, c, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_holds_at_least_200),
        cmocka_unit_test(the_parser_says_of_each_what_the_corpus_says),
        cmocka_unit_test(no_cut_in_two_changes_what_the_parser_says),
        cmocka_unit_test(no_cut_in_many_changes_what_the_parser_says),
        WIRE_TEST(a_first_request_gets_its_verdict),
        WIRE_TEST(a_later_request_gets_its_verdict_on_any_cut),
        WIRE_TEST(a_later_request_gets_its_verdict_in_any_order),
    };
    return cmocka_run_group_tests(tests, read_corpus, NULL);
}
