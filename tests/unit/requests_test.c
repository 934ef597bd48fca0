/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Requests on open connections, where TCP makes them hard to follow: old bytes, probes, holes,
 * segments that a backend could refuse, ends in the middle, urgent data. The corpus has what HTTP
 * makes hard; what follows a last request is surplus_test's. */
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
#define POST    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
#define CHUNKED "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

/* An open connection between two requests; the first is counted. */
static struct wire_talk open_idle(struct wire *w)
{
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    wire_ask(w, &t, wire_request);
    wire_accept(w, &t);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "");
    wire_quiet(w);
    assert_int_equal(w->shard->requests, 1);
    return t;
}

static struct wire_segment client_data(struct wire_talk *t, const char *text)
{
    t->client.clock++;
    return wire_data(t, FROM_CLIENT, TCP_ACK | TCP_PSH, text);
}

static void expect_dropped(struct wire *w, const struct wire_segment *s, enum verdict verdict)
{
    assert_int_equal(wire_send(w, s, FROM_CLIENT), verdict);
    wire_quiet(w);
}

/* ---- counting ---- */

static void a_head_over_several_segments_counts_once(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_idle(w);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "GET / HT");
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "TP/1.1\r\nHost: a\r");
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "\n\r");
    assert_int_equal(w->shard->requests, 1);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "\n");
    assert_int_equal(w->shard->requests, 2);
}

static void pipelined_requests_in_the_first_segment_all_count(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    wire_ask(w, &t, GET GET GET);
    assert_int_equal(w->shard->requests, 3);
}

static void a_body_that_waits_for_100_continue_passes(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_idle(w);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK,
              "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "HTTP/1.1 100 Continue\r\n\r\n");
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "body");
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, GET);
    assert_int_equal(w->shard->requests, 3);
}

/* ---- what is new must arrive ---- */

static void a_head_that_leaves_a_hole_is_dropped_and_comes_again(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_idle(w);
    struct wire_segment late = client_data(&t, GET + 5);
    late.seq += 5;
    expect_dropped(w, &late, VERDICT_SCAN_GAP);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "GET /");
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, GET + 5);
    assert_int_equal(w->shard->requests, 2);
}

/* The backend acknowledges all up to where the client has come. */
static void acknowledge_all(struct wire *w, struct wire_talk *t)
{
    t->server.expects = t->client.next;
    wire_pass(w, t, FROM_BACKEND, TCP_ACK, "");
}

/* A segment that begins that far behind the client's next byte. */
static struct wire_segment ahead(struct wire_talk *t, uint32_t by, const char *text)
{
    struct wire_segment s = client_data(t, text);
    s.seq += by;
    return s;
}

static void expect_passed(struct wire *w, const struct wire_segment *s)
{
    assert_int_equal(wire_send(w, s, FROM_CLIENT), VERDICT_FORWARDED);
    const struct wire_segment seen = wire_out(w, INSIDE);
    assert_int_equal(seen.length, s->length);
    assert_memory_equal(seen.payload, s->payload, s->length);
    wire_quiet(w);
}

static void a_body_passes_over_a_hole(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_idle(w);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, POST);
    const struct wire_segment early = ahead(&t, 5, "56789");
    expect_passed(w, &early);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "01234");
    t.client.next += 5;
    acknowledge_all(w, &t);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, GET);
    assert_int_equal(w->shard->requests, 3);
}

/* A backend keeps what lies behind a hole, and drops it for a segment that fills the hole and goes
 * on: were it read, another request than that would be executed. */
static void no_head_is_read_over_a_hole_in_a_body(void **state)
{
    static const struct {
        const char *begun, *rest;
        uint32_t left;
    } bodies[] = {{POST "012345", "6789", 4}, {CHUNKED "4\r\n", "data\r\n0\r\n\r\n", 4}};
    struct wire *w = wire_of(state);
    for (size_t i = 0; i < 2; i++) {
        char text[200];
        w->shard->requests = 0;
        struct wire_talk t = open_idle(w);
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK, bodies[i].begun);
        snprintf(text, sizeof text, "%s%s", bodies[i].rest, GET);
        struct wire_segment s = ahead(&t, 3, text + 3);
        expect_dropped(w, &s, VERDICT_SCAN_GAP);
        s = ahead(&t, bodies[i].left, text + bodies[i].left);
        expect_dropped(w, &s, VERDICT_SCAN_GAP);
        assert_int_equal(w->shard->requests, 2);
        s = ahead(&t, 0, text);
        expect_passed(w, &s);
        assert_int_equal(w->shard->requests, 3);
    }
}

/* The same with a hole that body bytes alone have left. That it was filled only the backend can
 * say, or a segment that begins with what the backend still lacks. */
static void nothing_is_read_before_a_hole_in_a_body_is_filled(void **state)
{
    static const struct {
        const char *begun, *rest;
    } bodies[] = {{POST, "0123456789" GET}, {CHUNKED "a\r\n", "0123456789\r\n0\r\n\r\n" GET}};
    struct wire *w = wire_of(state);
    for (unsigned kind = 0; kind < 6; kind++) {
        const char *rest = bodies[kind & 1].rest;
        w->shard->requests = 0;
        struct wire_talk t = open_idle(w);
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK, bodies[kind & 1].begun);
        acknowledge_all(w, &t);
        struct wire_segment s = ahead(&t, 5, "56789");
        expect_passed(w, &s);
        s = ahead(&t, 10, rest + 10);
        expect_dropped(w, &s, VERDICT_SCAN_GAP);
        s = ahead(&t, 1, rest + 1);
        expect_dropped(w, &s, VERDICT_SCAN_GAP);
        assert_int_equal(w->shard->requests, 2);
        if (kind >= 4) {
            s = ahead(&t, 0, rest);
            expect_passed(w, &s);
            assert_int_equal(w->shard->requests, 3);
            continue;
        }
        if (kind >= 2) {
            wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "01234");
            s = ahead(&t, 5, rest + 10);
            expect_dropped(w, &s, VERDICT_SCAN_GAP);
            t.client.next += 5;
        } else {
            wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "0123456789");
        }
        acknowledge_all(w, &t);
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK, rest + 10);
        assert_int_equal(w->shard->requests, 3);
    }
}

/* What was sent on in order behind it need not be acknowledged as well: an upload goes on. */
static void a_hole_that_is_filled_holds_up_nothing_behind_it(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_idle(w);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, POST);
    struct wire_segment s = ahead(&t, 3, "345");
    expect_passed(w, &s);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "012");
    t.client.next += 3;
    acknowledge_all(w, &t);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "6789");
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, GET);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, GET);
    assert_int_equal(w->shard->requests, 4);
}

/* Body bytes that the backend refuses leave a hole as well, though they came in order. */
static void nothing_is_read_behind_a_body_that_the_backend_may_refuse(void **state)
{
    struct wire *w = wire_of(state);
    for (unsigned kind = 0; kind < 3; kind++) {
        w->shard->requests = 0;
        struct wire_talk t = open_idle(w);
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "HTTP/1.1 204 No Content\r\n\r\n");
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK, POST);
        struct wire_segment body = client_data(&t, "0123456789");
        struct wire_segment later = wire_segment(&t, FROM_CLIENT, TCP_ACK);
        if (kind == 0)
            body.ack--;
        else if (kind == 1)
            body.options.timestamps = false;
        else
            body.options.tsval -= 2;
        later.options.tsval += kind == 2 ? 1 : 0;
        assert_int_equal(wire_send(w, &later, FROM_CLIENT), VERDICT_FORWARDED);
        wire_forget_frames(w);
        expect_passed(w, &body);
        t.client.clock += 10;
        const struct wire_segment head = ahead(&t, 10, GET);
        expect_dropped(w, &head, VERDICT_SCAN_GAP);
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "0123456789");
        acknowledge_all(w, &t);
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK, GET);
        assert_int_equal(w->shard->requests, 3);
    }
}

static void nothing_is_read_behind_held_bytes_that_were_not_sent_yet(void **state)
{
    char request[1100];
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: a\r\nX: %0*d\r\n\r\n", 1000, 7);
    wire_handshake(w, &t);
    wire_ask(w, &t, request);
    t.server.mss = 48; /* ten segments are the most at once */
    const struct wire_segment first = wire_accept(w, &t);
    assert_true(first.length < 48);
    wire_forget_frames(w);
    struct wire_segment head = client_data(&t, GET);
    expect_dropped(w, &head, VERDICT_SCAN_GAP);
    for (unsigned i = 0; i < 2; i++) {
        t.server.expects = first.seq + (i + 1) * 10 * first.length;
        const struct wire_segment ack = wire_segment(&t, FROM_BACKEND, TCP_ACK);
        wire_send(w, &ack, FROM_BACKEND);
        wire_forget_frames(w);
    }
    head = client_data(&t, GET);
    expect_passed(w, &head); /* now they all are under way */
    assert_int_equal(w->shard->requests, 2);
}

/* Linux refuses data with an acknowledgement that is too old (RFC 5961 section 5.2). Were it read
 * here, other bytes could follow in its place. */
static void a_head_with_an_old_acknowledgement_is_not_read(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_idle(w);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "HTTP/1.1 204 No Content\r\n\r\n");
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "");
    struct wire_segment old = client_data(&t, GET);
    old.ack--;
    expect_dropped(w, &old, VERDICT_SCAN_GAP);
    assert_int_equal(w->shard->requests, 1);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, GET);
    assert_int_equal(w->shard->requests, 2);
}

/* The later time may have gone by in a segment that the backend had in order before we knew. */
static void a_head_with_an_old_timestamp_is_not_read(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_idle(w);
    t.client.clock += 1000;
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "GET / HTTP/1.1\r\n"); /* not acknowledged */
    struct wire_segment later = wire_segment(&t, FROM_CLIENT, TCP_ACK);
    later.options.tsval += 1000;
    assert_int_equal(wire_send(w, &later, FROM_CLIENT), VERDICT_FORWARDED);
    wire_forget_frames(w);
    struct wire_segment old = client_data(&t, "Host: a\r\n\r\n");
    expect_dropped(w, &old, VERDICT_SCAN_GAP);
    t.client.clock += 1000;
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "Host: a\r\n\r\n");
    assert_int_equal(w->shard->requests, 2);
}

/* Anyone can make one up that falls into the window; the backend asks back, and goes on. */
static void a_reset_within_the_window_does_not_age_what_follows(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_idle(w);
    struct wire_segment reset = wire_segment(&t, FROM_CLIENT, TCP_RST);
    reset.seq += 100;
    reset.options.tsval += 1000000;
    assert_int_equal(wire_send(w, &reset, FROM_CLIENT), VERDICT_FORWARDED);
    wire_forget_frames(w);
    t.client.clock++;
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, GET);
    assert_int_equal(w->shard->requests, 2);
}

/* RFC 7323 section 3.2: what lacks them once they were agreed may be dropped. */
static void a_head_without_the_agreed_timestamps_is_not_read(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_idle(w);
    struct wire_segment without = client_data(&t, GET);
    without.options.timestamps = false;
    expect_dropped(w, &without, VERDICT_SCAN_GAP);
    assert_int_equal(w->shard->requests, 1);
}

/* ---- old bytes ---- */

static void what_is_sent_again_passes_unread_and_uncounted(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_idle(w);
    const struct wire_segment once = client_data(&t, GET);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK | TCP_PSH, GET);
    struct wire_segment again = once;
    again.options.tsval += 10;
    again.payload = "\r\n, what a scan would refuse!"; /* see scan.h for what this could win */
    assert_int_equal(wire_send(w, &again, FROM_CLIENT), VERDICT_FORWARDED);
    assert_int_equal(wire_out(w, INSIDE).seq, once.seq);
    assert_int_equal(w->shard->requests, 2);
}

static void a_segment_that_begins_with_old_bytes_is_read_from_the_first_new_one(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_idle(w);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, "GET / HTTP/1.1\r\n");
    struct wire_segment more = client_data(&t, "/1.1\r\nHost: a\r\n\r\n");
    more.seq -= 6;
    assert_int_equal(wire_send(w, &more, FROM_CLIENT), VERDICT_FORWARDED);
    assert_int_equal(wire_out(w, INSIDE).length, more.length);
    assert_int_equal(w->shard->requests, 2);
}

static void a_keep_alive_of_one_old_byte_passes(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_idle(w);
    struct wire_segment probe = client_data(&t, "?");
    probe.seq--;
    assert_int_equal(wire_send(w, &probe, FROM_CLIENT), VERDICT_FORWARDED);
    assert_int_equal(wire_out(w, INSIDE).length, 1);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, GET);
    assert_int_equal(w->shard->requests, 2);
}

/* ---- the backend's window ---- */

static void close_window(struct wire *w, struct wire_talk *t, uint16_t window)
{
    /* The largest edge that was ever granted counts: what lies before it is used up. */
    struct flow *flow = flow_find_outside(
        w->shard->flows, flow_hash(w->shard->flows, &t->client.at.addr, t->client.at.port),
        &t->client.at.addr, t->client.at.port, t->service);
    assert_non_null(flow);
    flow->from_client.limit = t->client.next + window;
}

static void a_probe_of_a_closed_window_asks_with_an_old_byte(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_idle(w);
    close_window(w, &t, 0);
    const struct wire_segment probe = client_data(&t, "G");
    assert_int_equal(wire_send(w, &probe, FROM_CLIENT), VERDICT_FORWARDED);
    const struct wire_segment seen = wire_out(w, INSIDE);
    assert_int_equal(seen.seq, probe.seq - 1);
    assert_int_equal(seen.length, 0);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, ""); /* the answer opens the window */
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, GET);
    assert_int_equal(w->shard->requests, 2);
}

static void within_a_body_the_probe_passes_as_it_is(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_idle(w);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, POST);
    close_window(w, &t, 0);
    const struct wire_segment probe = client_data(&t, "0");
    assert_int_equal(wire_send(w, &probe, FROM_CLIENT), VERDICT_FORWARDED);
    assert_int_equal(wire_out(w, INSIDE).length, 1);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, ""); /* opens the window, but has refused the byte */
    struct wire_segment rest = ahead(&t, 1, "123456789" GET);
    expect_dropped(w, &rest, VERDICT_SCAN_GAP);
    rest = ahead(&t, 0, "0123456789" GET);
    expect_passed(w, &rest);
    assert_int_equal(w->shard->requests, 3);
}

/* Ours was larger, and the client may use it; but one copy would be read, and another executed. */
static void what_a_small_first_window_refuses_is_not_read(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    t.server.window = (uint16_t)(strlen(wire_request) + 10);
    wire_handshake(w, &t);
    wire_ask(w, &t, wire_request);
    wire_accept(w, &t);
    struct wire_segment s = client_data(&t, GET);
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_FORWARDED);
    assert_int_equal(wire_out(w, INSIDE).length, 10);
    for (uint32_t beyond = 10; beyond < 14; beyond += 3) {
        s = client_data(&t, GET);
        s.seq += beyond;
        assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_FORWARDED);
        const struct wire_segment asks = wire_out(w, INSIDE);
        assert_int_equal(asks.length, 0);
        assert_int_equal(asks.seq, t.client.next + 9);
    }
    s = client_data(&t, GET);
    s.seq = t.client.isn + 1 + w->limits.window + 3000;
    expect_dropped(w, &s, VERDICT_OUT_OF_WINDOW);
    assert_int_equal(w->shard->requests, 1);
}

static void a_head_is_cut_at_the_edge_of_the_window(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_idle(w);
    close_window(w, &t, 26);
    struct wire_segment s = client_data(&t, GET);
    assert_int_equal(s.length, 27);
    s.flags |= TCP_FIN; /* is behind the edge, too */
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_FORWARDED);
    const struct wire_segment seen = wire_out(w, INSIDE);
    assert_int_equal(seen.flags & TCP_FIN, 0);
    assert_int_equal(seen.length, 26);
    assert_memory_equal(seen.payload, GET, 26);
    assert_int_equal(w->shard->requests, 1);
}

/* ---- refused ---- */

static void a_malformed_request_resets_both_sides_with_exact_numbers(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_idle(w);
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "HTTP/1.1 204 No Content\r\n\r\n");
    const struct wire_segment bad = client_data(&t, "GET / HTTP/1.1\nHost: a\n\n");
    assert_int_equal(wire_send(w, &bad, FROM_CLIENT), VERDICT_REQUEST_MALFORMED);
    const struct wire_segment inside = wire_out(w, INSIDE), outside = wire_out(w, OUTSIDE);
    assert_true(inside.flags & TCP_RST && outside.flags & TCP_RST);
    assert_int_equal(inside.seq, t.server.expects);
    assert_int_equal(outside.seq, t.client.expects);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
    assert_int_equal(w->shard->verdicts[VERDICT_REQUEST_MALFORMED], 1);
}

static void where_bytes_are_on_their_way_a_reset_goes_to_either_end_of_them(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_idle(w);
    const uint32_t client_had = t.client.expects, server_had = t.server.expects;
    struct wire_segment bad = client_data(&t, "\r\n"); /* acknowledges nothing new */
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, GET);
    t.server.expects = server_had; /* nor does what the backend sends meanwhile */
    wire_pass(w, &t, FROM_BACKEND, TCP_ACK, "HTTP/1.1 204 No Content\r\n\r\n");
    bad.seq = t.client.next;
    bad.options.tsval = t.client.clock;
    assert_int_equal(wire_send(w, &bad, FROM_CLIENT), VERDICT_REQUEST_MALFORMED);
    assert_int_equal(wire_out(w, INSIDE).seq, server_had);
    assert_int_equal(wire_out(w, INSIDE).seq, bad.seq);
    assert_int_equal(wire_out(w, OUTSIDE).seq, client_had);
    assert_int_equal(wire_out(w, OUTSIDE).seq, t.client.expects);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
}

static void a_bad_request_behind_a_good_one_in_the_first_segment_opens_nothing(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    const struct wire_segment s = client_data(&t, GET "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_REQUEST_MALFORMED);
    const struct wire_segment reset = wire_out(w, OUTSIDE);
    assert_int_equal(reset.flags, TCP_RST);
    assert_int_equal(reset.seq, t.client.expects);
    wire_quiet(w);
    wire_expect_tables(w, 0, 0);
}

static void urgent_bytes_are_read_like_any_others(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_idle(w);
    struct wire_segment s = client_data(&t, GET);
    s.flags |= TCP_URG;
    s.urgent = 5;
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_FORWARDED);
    const struct wire_segment seen = wire_out(w, INSIDE);
    assert_false(seen.flags & TCP_URG);
    assert_int_equal(seen.urgent, 0);
    assert_int_equal(w->shard->requests, 2);
    t.client.next += s.length;
    s = client_data(&t, "GET / HTTP/1.1\r\nHost: a\r\n\0\r\n");
    s.length += 3; /* a byte that a receiver might take out of line */
    s.flags |= TCP_URG;
    s.urgent = 26;
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_REQUEST_MALFORMED);
}

/* ---- ends ---- */

static void a_first_request_that_is_the_last_goes_on_alone(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    wire_handshake(w, &t);
    struct wire_segment s = client_data(&t, "GET / HTTP/1.0\r\n\r\n" GET);
    s.flags |= TCP_FIN;
    assert_int_equal(wire_send(w, &s, FROM_CLIENT), VERDICT_OPENED);
    t.server.expects = wire_out(w, INSIDE).seq + 1;
    const struct wire_segment held = wire_accept(w, &t);
    assert_int_equal(held.length, 18);
    assert_false(held.flags & TCP_FIN);
    assert_int_equal(w->shard->requests, 1);
}

static void an_end_in_the_middle_of_a_head_or_a_body_is_an_end(void **state)
{
    static const char *const begun[] = {"GET / HTTP/1.1\r\nHo", POST "01234"};
    struct wire *w = wire_of(state);
    for (size_t i = 0; i < 2; i++) {
        w->shard->requests = 0;
        struct wire_talk t = open_idle(w);
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK, begun[i]);
        wire_close(w, &t, FROM_CLIENT);
    }
}

static void an_end_behind_a_hole_in_a_head_is_dropped_and_comes_again(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_idle(w);
    struct wire_segment fin = wire_segment(&t, FROM_CLIENT, TCP_FIN | TCP_ACK);
    fin.seq += sizeof GET - 1;
    expect_dropped(w, &fin, VERDICT_SCAN_GAP);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK, GET);
    wire_close(w, &t, FROM_CLIENT);
    assert_int_equal(w->shard->requests, 2);
}

static void a_bare_acknowledgement_behind_a_hole_passes(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = open_idle(w);
    struct wire_segment ack = wire_segment(&t, FROM_CLIENT, TCP_ACK);
    ack.seq += 100;
    assert_int_equal(wire_send(w, &ack, FROM_CLIENT), VERDICT_FORWARDED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(a_head_over_several_segments_counts_once),
        WIRE_TEST(pipelined_requests_in_the_first_segment_all_count),
        WIRE_TEST(a_body_that_waits_for_100_continue_passes),
        WIRE_TEST(a_head_that_leaves_a_hole_is_dropped_and_comes_again),
        WIRE_TEST(a_body_passes_over_a_hole),
        WIRE_TEST(no_head_is_read_over_a_hole_in_a_body),
        WIRE_TEST(nothing_is_read_before_a_hole_in_a_body_is_filled),
        WIRE_TEST(a_hole_that_is_filled_holds_up_nothing_behind_it),
        WIRE_TEST(nothing_is_read_behind_a_body_that_the_backend_may_refuse),
        WIRE_TEST(nothing_is_read_behind_held_bytes_that_were_not_sent_yet),
        WIRE_TEST(a_head_with_an_old_acknowledgement_is_not_read),
        WIRE_TEST(a_head_with_an_old_timestamp_is_not_read),
        WIRE_TEST(a_reset_within_the_window_does_not_age_what_follows),
        WIRE_TEST(a_head_without_the_agreed_timestamps_is_not_read),
        WIRE_TEST(what_is_sent_again_passes_unread_and_uncounted),
        WIRE_TEST(a_segment_that_begins_with_old_bytes_is_read_from_the_first_new_one),
        WIRE_TEST(a_keep_alive_of_one_old_byte_passes),
        WIRE_TEST(a_probe_of_a_closed_window_asks_with_an_old_byte),
        WIRE_TEST(within_a_body_the_probe_passes_as_it_is),
        WIRE_TEST(what_a_small_first_window_refuses_is_not_read),
        WIRE_TEST(a_head_is_cut_at_the_edge_of_the_window),
        WIRE_TEST(a_malformed_request_resets_both_sides_with_exact_numbers),
        WIRE_TEST(where_bytes_are_on_their_way_a_reset_goes_to_either_end_of_them),
        WIRE_TEST(a_bad_request_behind_a_good_one_in_the_first_segment_opens_nothing),
        WIRE_TEST(urgent_bytes_are_read_like_any_others),
        WIRE_TEST(a_first_request_that_is_the_last_goes_on_alone),
        WIRE_TEST(an_end_in_the_middle_of_a_head_or_a_body_is_an_end),
        WIRE_TEST(an_end_behind_a_hole_in_a_head_is_dropped_and_comes_again),
        WIRE_TEST(a_bare_acknowledgement_behind_a_hole_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
