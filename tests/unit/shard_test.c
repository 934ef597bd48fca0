/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The shard as a whole: life, counting, timers; and whatever clients, backends and clocks do in
 * whatever order, nothing is left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/random.h"
#include "tests/unit/wire.h"

static void a_shard_without_room_is_not_made(void **state)
{
    static const struct mac mac[PORT_SIDES];
    const struct siphash_key secret = {1, 2};
    const struct shard_output output = {NULL, NULL, NULL};
    (void)state;
    struct shard_sizes sizes = {.flows = 0, .tombstones = 1, .held = 1, .backends = 1};
    assert_null(shard_new(&sizes, &secret, &output, mac, 0));
    sizes = (struct shard_sizes){.flows = 1, .tombstones = 1, .held = 0, .backends = 1};
    assert_null(shard_new(&sizes, &secret, &output, mac, 0));
    shard_free(NULL);
}

static void every_packet_is_counted_once_under_its_verdict(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    uint64_t before[VERDICT_COUNT];
    for (int kind = 0; kind < 6; kind++) {
        struct wire_segment s = wire_segment(&t, FROM_CLIENT, TCP_SYN);
        if (kind == 1)
            s.flags = TCP_ACK;
        if (kind == 2)
            s.flags = TCP_RST;
        if (kind == 3)
            s.flags = TCP_SYN | TCP_FIN;
        if (kind == 4)
            s.destination.bytes[15] = 99;
        if (kind == 5)
            s.source_port = 0;
        memcpy(before, w->shard->verdicts, sizeof before);
        const enum verdict verdict = wire_send(w, &s, FROM_CLIENT);
        for (int v = 0; v < VERDICT_COUNT; v++)
            assert_int_equal(w->shard->verdicts[v] - before[v], v == (int)verdict);
    }
}

static void a_malformed_frame_is_not_sent_anywhere(void **state)
{
    struct wire *w = wire_of(state);
    const struct wire_talk t = wire_talk(w);
    const struct wire_segment syn = wire_segment(&t, FROM_CLIENT, TCP_SYN);
    wire_send(w, &syn, FROM_CLIENT);
    const struct wire_frame good = *wire_out_frame(w, OUTSIDE);
    for (uint32_t length = 0; length < good.length; length++) {
        assert_int_equal(wire_in_bytes(w, INSIDE, good.bytes, length), VERDICT_TRUNCATED);
        wire_quiet(w);
    }
}

static void checksums_are_not_computed_again_where_the_port_did(void **state)
{
    struct wire *w = wire_of(state);
    const struct wire_talk t = wire_talk(w);
    const struct wire_segment syn = wire_segment(&t, FROM_CLIENT, TCP_SYN);
    uint8_t bytes[FRAME_ROOM];
    struct frame frame = {.bytes = bytes, .room = sizeof bytes, .side = OUTSIDE};
    wire_send(w, &syn, FROM_CLIENT); /* leaves the answer in w->in: write it once more */
    const struct wire_frame *answer = wire_out_frame(w, OUTSIDE);
    memcpy(bytes, answer->bytes, answer->length);
    memcpy(bytes, &w->shard->mac[OUTSIDE], sizeof w->shard->mac[OUTSIDE]);
    frame.length = answer->length;
    const size_t sum = frame_map(bytes).l4 + 16;
    bytes[sum] ^= 1;
    assert_int_equal(shard_packet(w->shard, &frame, 0), VERDICT_TCP_CHECKSUM);
    assert_int_equal(shard_packet(w->shard, &frame, PACKET_TCP_CHECKED), VERDICT_BOGON);
    assert_int_equal(frame.to, PORT_NONE);
}

static void an_answer_that_does_not_fit_the_buffer_is_not_sent(void **state)
{
    struct wire *w = wire_of(state);
    const uint32_t ethernet_and_ip = w->family == WIRE_V4 ? 34 : 54;
    uint8_t bytes[128] = {0};
    struct frame_tcp syn = {.v6 = w->family == WIRE_V6,
                            .to = {2, 0, 0, 0, 0, 0xa},
                            .source_port = 7,
                            .destination_port = 80,
                            .flags = TCP_SYN,
                            .ttl = 9};
    const struct wire_talk t = wire_talk(w);
    const size_t skip = syn.v6 ? 0 : 12, size = syn.v6 ? 16 : 4;
    memcpy(syn.source, t.client.at.addr.bytes + skip, size);
    memcpy(syn.destination, t.listen.addr.bytes + skip, size);
    struct frame frame = {.bytes = bytes, .side = OUTSIDE};
    frame.length = (uint32_t)frame_write(bytes, &syn);
    frame.room = ethernet_and_ip + TCP_HEADER + TCP_OPTIONS_MAX - 1;
    wire_begin(w);
    assert_int_equal(shard_packet(w->shard, &frame, 0), VERDICT_SYN_COOKIE);
    assert_int_equal(frame.to, PORT_NONE);
}

static void a_frame_that_was_sent_to_somebody_else_is_not_for_us(void **state)
{
    struct wire *w = wire_of(state);
    const struct wire_talk t = wire_talk(w);
    struct wire_segment syn = wire_segment(&t, FROM_CLIENT, TCP_SYN);
    for (int bit = 0; bit < 48; bit++) {
        syn.to = w->shard->mac[OUTSIDE];
        syn.to.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(wire_in(w, OUTSIDE, &syn), VERDICT_NOT_FOR_US);
        wire_quiet(w);
    }
}

static void a_frame_from_a_group_is_a_bogon(void **state)
{
    struct wire *w = wire_of(state);
    const struct wire_talk t = wire_talk(w);
    struct wire_segment syn = wire_segment(&t, FROM_CLIENT, TCP_SYN);
    syn.from = (struct mac){{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
    assert_int_equal(wire_send(w, &syn, FROM_CLIENT), VERDICT_BOGON);
    syn.from = (struct mac){{0x33, 0x33, 0, 0, 0, 1}};
    assert_int_equal(wire_send(w, &syn, FROM_CLIENT), VERDICT_BOGON);
    wire_quiet(w);
}

/* A client's request, as a frame of a burst. */
static struct frame request_frame(struct wire *w, const struct wire_talk *t, uint8_t *bytes)
{
    const struct wire_segment data = wire_data(t, FROM_CLIENT, TCP_ACK, wire_request);
    const struct segment segment = {.from = data.from,
                                    .to = w->shard->mac[OUTSIDE],
                                    .source = data.source,
                                    .destination = data.destination,
                                    .source_port = data.source_port,
                                    .destination_port = data.destination_port,
                                    .seq = data.seq,
                                    .ack = data.ack,
                                    .window = data.window,
                                    .flags = data.flags,
                                    .options = data.options,
                                    .payload = wire_request,
                                    .length = (uint16_t)strlen(wire_request)};
    return (struct frame){.bytes = bytes,
                          .room = FRAME_ROOM,
                          .length = build_segment(bytes, FRAME_ROOM, &segment),
                          .side = OUTSIDE};
}

/* All are looked at before the first is decided; what that one changes still counts for the next.
 */
static void a_burst_is_decided_in_order(void **state)
{
    struct wire *w = wire_of(state);
    static uint8_t bytes[4][FRAME_ROOM];
    struct wire_talk one = wire_talk(w), other = wire_talk(w);
    wire_handshake(w, &one);
    wire_handshake(w, &other);
    struct frame frames[4] = {request_frame(w, &one, bytes[0]),
                              request_frame(w, &one, bytes[1]),
                              request_frame(w, &other, bytes[2]),
                              {.bytes = bytes[3], .length = 13}};
    uint64_t before[VERDICT_COUNT];
    wire_begin(w);
    memcpy(before, w->shard->verdicts, sizeof before);
    shard_burst(w->shard, frames, 4);
    assert_int_equal(w->shard->verdicts[VERDICT_OPENED] - before[VERDICT_OPENED], 2);
    assert_int_equal(w->shard->verdicts[VERDICT_OPENING_BUSY] - before[VERDICT_OPENING_BUSY], 1);
    assert_int_equal(w->shard->verdicts[VERDICT_TRUNCATED] - before[VERDICT_TRUNCATED], 1);
    assert_int_equal(frames[0].to, INSIDE);
    assert_int_equal(frames[1].to, PORT_NONE);
    assert_int_equal(frames[2].to, INSIDE);
    assert_int_equal(frames[3].to, PORT_NONE);
    wire_expect_tables(w, 2, 2);
}

/* One of few tuples says something: a SYN with these or those options, data that acknowledges the
 * newest cookie or nothing of ours, a FIN, an ACK; or the frame is damaged. */
static uint32_t some_frame(struct random *r, const struct wire *w, const uint32_t cookies[16],
                           uint8_t *bytes)
{
    static const struct tcp_options options[] = {
        {1460, 7, true, true, 5, 0}, {536, 15, false, false, 0, 0}, {0, 0, true, false, 0, 0}};
    uint32_t who = random_below(r, 16);
    struct addr v4 = addr_from_v4(htobe32(0xc6124000 + who)), v6;
    assert_int_equal(addr_parse("2001:db8:1000::1", &v6), 0);
    v6.bytes[9] = (uint8_t)who;
    struct endpoint listen = {.port = 80};
    assert_int_equal(addr_parse(who & 1 ? "2001:db8::80" : "198.18.0.80", &listen.addr), 0);
    struct wire_segment s = {.from = {{2, 0, 0, 0, 1, 1}},
                             .to = w->mac[OUTSIDE],
                             .source = who & 1 ? v6 : v4,
                             .destination = listen.addr,
                             .source_port =
                                 (uint16_t)(1024 + random_below(r, 2) * random_below(r, 60000)),
                             .destination_port = listen.port,
                             .seq = 7000,
                             .window = 500,
                             .ttl = 60,
                             .flags = TCP_SYN,
                             .options = options[random_below(r, 3)]};
    if (random_below(r, 2)) {
        static const uint8_t flags[] = {TCP_ACK, TCP_ACK | TCP_PSH, TCP_ACK | TCP_FIN, TCP_RST,
                                        TCP_SYN | TCP_ACK};
        s.seq = 7001;
        s.flags = flags[random_below(r, 5)];
        s.ack = random_below(r, 3) ? cookies[who] + 1 : random_32(r);
        s.options = (struct tcp_options){.window_scale = 15, .timestamps = true, .tsval = 6};
        s.payload = wire_request;
        s.length = random_below(r, 3) ? (uint16_t)strlen(wire_request) : 0;
    }
    uint32_t length = wire_segment_write(bytes, &s);
    if (random_below(r, 16) == 0)
        bytes[random_below(r, length)] ^= (uint8_t)(1 << random_below(r, 8));
    return length;
}

static void a_burst_comes_out_as_its_packets_one_by_one(void **state)
{
    struct wire *w = wire_of(state), *other = wire_new(w->family, NULL);
    static uint8_t together[SHARD_BURST][FRAME_ROOM], single[FRAME_ROOM];
    struct random r = {99};
    uint32_t cookies[16] = {0};
    uint64_t before[VERDICT_COUNT];
    memcpy(before, w->shard->verdicts, sizeof before);
    for (int round = 0; round < 300; round++) {
        struct frame frames[SHARD_BURST];
        uint8_t copies[SHARD_BURST][FRAME_ROOM];
        uint32_t count = 1 + random_below(&r, SHARD_BURST);
        for (uint32_t i = 0; i < count; i++) {
            frames[i] = (struct frame){.bytes = together[i], .room = FRAME_ROOM, .side = OUTSIDE};
            frames[i].length = some_frame(&r, w, cookies, together[i]);
            memcpy(copies[i], together[i], FRAME_ROOM);
        }
        wire_wait(w, 10);
        wire_wait(other, 10);
        wire_begin(w);
        wire_begin(other);
        uint32_t lengths[SHARD_BURST];
        for (uint32_t i = 0; i < count; i++)
            lengths[i] = frames[i].length;
        shard_burst(w->shard, frames, count);
        for (uint32_t i = 0; i < count; i++) {
            struct frame alone = {
                .bytes = single, .room = FRAME_ROOM, .length = lengths[i], .side = OUTSIDE};
            memcpy(single, copies[i], FRAME_ROOM);
            assert_int_equal(shard_packet(other->shard, &alone, 0), frames[i].verdict);
            assert_int_equal(alone.to, frames[i].to);
            if (alone.to == PORT_NONE)
                continue;
            assert_int_equal(alone.length, frames[i].length);
            assert_memory_equal(single, together[i], alone.length);
            struct wire_segment answer = wire_segment_read(single, alone.length);
            if (frames[i].verdict != VERDICT_SYN_COOKIE || answer.destination_port != 1024)
                continue;
            uint32_t v4 = be32toh(addr_v4(&answer.destination)) & 15;
            cookies[addr_is_v4(&answer.destination) ? v4 : answer.destination.bytes[9]] =
                answer.seq;
        }
        wire_forget_frames(w);
        wire_forget_frames(other);
    }
    assert_true(w->shard->verdicts[VERDICT_SYN_COOKIE] - before[VERDICT_SYN_COOKIE] > 1000);
    assert_true(w->shard->verdicts[VERDICT_OPENED] - before[VERDICT_OPENED] >= 16);
    wire_free(other);
}

static void random_numbers_do_not_repeat(void **state)
{
    enum { MANY = 1000 };
    struct wire *w = wire_of(state);
    uint64_t seen[MANY];
    for (int i = 0; i < MANY; i++) {
        seen[i] = shard_random(w->shard);
        for (int j = 0; j < i; j++)
            assert_true(seen[i] != seen[j]);
    }
}

static void many_timers_of_one_moment_take_several_ticks(void **state)
{
    struct wire *w = wire_of(state);
    w->limits.syn_tries = 1;
    w->services->service[w->family].protocol = SERVICE_TCP; /* reset, and gone at once */
    for (int i = 0; i < 150; i++) {
        struct wire_talk t = wire_talk(w);
        wire_handshake(w, &t);
        wire_ask(w, &t, wire_request);
    }
    wire_wait(w, 900);
    wire_expect_tables(w, 150, 150);
    w->now_ms += 200;
    wire_begin(w);
    for (uint32_t left = 150; left > 0;) {
        wire_forget_frames(w);
        const uint32_t fired = shard_tick(w->shard);
        assert_in_range(fired, 1, 64);
        left -= fired;
        wire_expect_tables(w, left, left);
    }
}

static void a_new_policy_holds_from_the_next_burst_on(void **state)
{
    struct wire *w = wire_of(state);
    struct limits changed = w->limits;
    struct wire_talk t = wire_talk(w);
    assert_int_equal(wire_handshake(w, &t).window, 8192);
    changed.window = 4000;
    w->policy.limits = &changed;
    t = wire_talk(w);
    assert_int_equal(wire_handshake(w, &t).window, 4000);
}

/* ---- whatever happens ---- */

enum { TALKS = 40, STEPS = 40000 };

struct storm {
    struct wire *w;
    struct random random;
    struct wire_talk talk[TALKS];
    bool shaken[TALKS]; /* has a cookie */
};

/* What must hold between any two packets: a flow that is being opened holds a request, one that is
 * open holds at most the beginning of a later head, and no other does; whatever lives is armed and
 * nothing else is. */
static void expect_consistent(const struct wire *w)
{
    uint32_t living = 0, opening = 0;
    for (uint32_t i = 0; i < flows_capacity(w->shard->flows); i++) {
        const struct flow *flow = flow_at(w->shard->flows, i);
        living += flow->state != FLOW_FREE;
        bool begun = states_open((enum flow_state)flow->state) && !flow->after_last &&
                     http1_head_begun(&flow->scan.parser) != 0;
        opening += flow->state == FLOW_OPENING || begun;
        assert_int_equal(wheel_armed(w->shard->wheel, i), flow->state != FLOW_FREE);
    }
    assert_int_equal(flows_count(w->shard->flows), living);
    assert_int_equal(held_count(w->shard->held), opening);
}

/* A client begins, on a port of its own or on one that it had before. */
static void begin_talk(struct storm *s, uint32_t i)
{
    struct wire_talk t = wire_talk(s->w);
    if (random_below(&s->random, 3) && s->talk[i].client.at.port) {
        t.client.at.port = s->talk[i].client.at.port;
        t.client.isn = s->talk[i].client.next + random_32(&s->random) % 0x20000000;
        t.client.next = t.client.isn;
    }
    const uint32_t options = random_32(&s->random);
    t.client.sack = options & 1;
    t.client.timestamps = options & 2;
    if (options & 4)
        t.client.scale = COOKIE_NO_SCALE;
    wire_handshake(s->w, &t);
    s->talk[i] = t;
    s->shaken[i] = true;
}

/* The backend says something to the SYN that it may have got: now and then one that did not. */
static void answer_syn(struct storm *s, struct wire_talk *t)
{
    const struct shard *shard = s->w->shard;
    const uint64_t hash = flow_hash(shard->flows, &t->client.at.addr, t->client.at.port);
    const struct flow *flow =
        flow_find_outside(shard->flows, hash, &t->client.at.addr, t->client.at.port, t->service);
    if (flow != NULL && flow->backend != BACKEND_NONE && random_below(&s->random, 8) != 0)
        wire_serve(s->w, t, flow->backend);
    struct wire_segment a = wire_syn_ack(t);
    a.seq = t->server.isn;
    a.ack = t->client.isn + 1;
    switch (random_below(&s->random, 6)) {
    case 0: a.flags = TCP_RST | TCP_ACK; break;
    case 1: a.flags = TCP_ACK; break;
    case 2: a.ack += random_below(&s->random, 3); break;
    case 3:
        a.options.window_scale = COOKIE_NO_SCALE;
        a.options.sack_ok = a.options.sack_ok && random_below(&s->random, 2);
        break;
    default: a.options.mss = (uint16_t)(500 + random_below(&s->random, 961));
    }
    if (wire_in(s->w, INSIDE, &a) == VERDICT_BACKEND_ANSWERED) {
        t->server.next = t->server.isn + 1;
        t->server.expects = t->client.next;
        t->server.scale = t->client.scale; /* near enough */
        if (random_below(&s->random, 8) == 0)
            t->server.clock += random_32(&s->random); /* it was a cookie */
    }
}

/* Something from either end, right or nearly right. */
static void say(struct storm *s, struct wire_talk *t)
{
    static const uint8_t flags[] = {TCP_ACK,           TCP_ACK,           TCP_ACK | TCP_PSH,
                                    TCP_ACK | TCP_FIN, TCP_ACK | TCP_FIN, TCP_RST,
                                    TCP_RST | TCP_ACK, TCP_SYN,           TCP_SYN | TCP_ACK};
    const enum direction from = (enum direction)random_below(&s->random, 2);
    struct wire_host *h = from == FROM_CLIENT ? &t->client : &t->server;
    struct wire_host *o = from == FROM_CLIENT ? &t->server : &t->client;
    struct wire_segment a = wire_data(t, from, flags[random_below(&s->random, sizeof flags)],
                                      random_below(&s->random, 2) ? "something that is said" : "");
    if (random_below(&s->random, 8) == 0)
        a.seq += random_below(&s->random, 200) - 100;
    if (random_below(&s->random, 8) == 0)
        a.ack += random_below(&s->random, 200) - 100;
    if (random_below(&s->random, 16) == 0)
        a.options.tsval -= 1000;
    if (wire_send(s->w, &a, from) != VERDICT_FORWARDED || a.seq != h->next)
        return;
    h->next += a.length + ((a.flags & TCP_FIN) != 0);
    o->expects = h->next + (from == FROM_CLIENT ? 0 : wire_delta(t));
    h->clock++;
}

static void step(struct storm *s)
{
    const uint32_t i = random_below(&s->random, TALKS);
    struct wire_talk *t = &s->talk[i];
    const uint32_t what = random_below(&s->random, 20);
    if (!s->shaken[i] || what == 0) {
        begin_talk(s, i);
    } else if (what < 6) {
        struct wire_segment first =
            wire_data(t, FROM_CLIENT, what == 1 ? TCP_ACK | TCP_FIN : TCP_ACK, wire_request);
        if (what < 4) { /* or once more */
            first.seq = t->client.isn + 1;
            first.ack = t->cookie + 1;
        }
        if (wire_send(s->w, &first, FROM_CLIENT) == VERDICT_OPENED)
            t->client.next = first.seq + first.length + ((first.flags & TCP_FIN) != 0);
    } else if (what < 10) {
        answer_syn(s, t);
    } else if (what < 19) {
        say(s, t);
    } else {
        wire_wait(s->w, random_below(&s->random, random_below(&s->random, 60) ? 100 : 20000));
        s->w->health[random_below(&s->random, 2 * WIRE_BACKENDS)] =
            (uint8_t)random_below(&s->random, 3);
        wire_backends(s->w, 1 + random_below(&s->random, 3));
    }
}

static void pitfall_17_whatever_happens_in_whatever_order_nothing_is_left_behind(void **state)
{
    const struct shard_sizes sizes = {.flows = 12, .tombstones = 32, .held = 5};
    struct storm *s = calloc(1, sizeof *s);
    s->w = wire_new(wire_of(state)->family, &sizes);
    s->random.state = 20261122 + s->w->family;
    s->w->limits.linger_ms = 300;
    s->w->limits.idle_ms = 60000;
    s->w->limits.half_closed_ms = 20000;
    s->w->limits.closing_ms = 10000;
    for (int i = 0; i < STEPS; i++) {
        step(s);
        wire_forget_frames(s->w);
        s->w->message_count = 0;
        expect_consistent(s->w);
    }
    static const enum verdict met[] = {VERDICT_FORWARDED,       VERDICT_OPENED,
                                       VERDICT_SYN_COOKIE,      VERDICT_BACKEND_ANSWERED,
                                       VERDICT_TOMBSTONE_DROP,  VERDICT_INSIDE_RESET,
                                       VERDICT_FLOW_TABLE_FULL, VERDICT_HELD_FULL,
                                       VERDICT_OPENING_BUSY,    VERDICT_OUT_OF_WINDOW,
                                       VERDICT_ACK_UNSENT,      VERDICT_PAWS,
                                       VERDICT_STATE,           VERDICT_BACKEND_REFUSED,
                                       VERDICT_BACKEND_TIMEOUT, VERDICT_BACKEND_OPTIONS,
                                       VERDICT_FLOW_CLOSED,     VERDICT_FLOW_RESET,
                                       VERDICT_FLOW_REPLACED,   VERDICT_TOMBSTONE_EVICTED,
                                       VERDICT_FLOW_IDLE,       VERDICT_TOMBSTONE_ACK,
                                       VERDICT_BACKEND_NEXT,    VERDICT_MISS_SILENT,
                                       VERDICT_MISS_RESET};
    for (size_t i = 0; i < sizeof met / sizeof met[0]; i++)
        if (s->w->shard->verdicts[met[i]] == 0)
            fail_msg("the storm never met %s", verdict_name(met[i]));
    uint64_t opened = 0;
    for (int i = 0; i < 2 * WIRE_BACKENDS; i++)
        opened += s->w->shard->openings[i].opened;
    assert_int_equal(opened, s->w->shard->verdicts[VERDICT_BACKEND_ANSWERED]);
    for (int i = 0; i < 8; i++) { /* all go home */
        wire_wait(s->w, 30000);
        wire_forget_frames(s->w);
    }
    wire_expect_tables(s->w, 0, 0);
    assert_int_equal(tombstones_count(s->w->shard->tombstones), 0);
    wire_free(s->w);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shard_without_room_is_not_made),
        WIRE_TEST(every_packet_is_counted_once_under_its_verdict),
        WIRE_TEST(a_malformed_frame_is_not_sent_anywhere),
        WIRE_TEST(checksums_are_not_computed_again_where_the_port_did),
        WIRE_TEST(an_answer_that_does_not_fit_the_buffer_is_not_sent),
        WIRE_TEST(a_frame_that_was_sent_to_somebody_else_is_not_for_us),
        WIRE_TEST(a_frame_from_a_group_is_a_bogon),
        WIRE_TEST(a_burst_is_decided_in_order),
        WIRE_TEST(a_burst_comes_out_as_its_packets_one_by_one),
        WIRE_TEST(random_numbers_do_not_repeat),
        WIRE_TEST(many_timers_of_one_moment_take_several_ticks),
        WIRE_TEST(a_new_policy_holds_from_the_next_burst_on),
        WIRE_TEST(pitfall_17_whatever_happens_in_whatever_order_nothing_is_left_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
