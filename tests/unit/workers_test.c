/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The same packets through one shard, and through several behind the steering: thousands of
 * connections of both families that open, talk, break and end in random ways, with everything
 * around them that is no connection. Whatever the number of workers, each connection gets the same
 * frames in the same order, and each verdict is counted as often. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "dataplane/net/steer.h"
#include "tests/unit/random.h"
#include "tests/unit/wire.h"

enum { WORKERS_MOST = 4, FIRST_PORT = 1024, QUOTE = 64, REST = 5 };

/** How much is played. */
struct play {
    uint32_t connections, rounds;
    uint32_t pause_ms, rest_ms; /* between two rounds at most; and once, early, when many open */
};

/** What both ends of a connection know, and what the gateway did about it. */
struct connection {
    struct wire_talk t;
    enum { NEW, PROMISED, ASKED, OPEN } phase;
    uint64_t log; /* of verdicts and frames, in order */
    uint8_t seen[QUOTE];
    uint32_t seen_length; /* the beginning of the last frame to the client */
};

/** A gateway of some workers; one clock and one policy. */
struct gateway {
    struct wire *worker[WORKERS_MOST];
    uint32_t workers;
    const struct play *play;
    struct steer steer;
    struct addr own[2];
    struct connection *connection;
    uint32_t frames[WORKERS_MOST]; /* that each was given */
    uint32_t received;
};

/* ---- the gateway ---- */

static struct gateway *gateway_new(uint32_t workers, const struct play *play)
{
    static const struct shard_sizes sizes = {
        .flows = 4096, .tombstones = 8192, .held = 4096, .backends = WIRE_BACKENDS};
    struct gateway *g = calloc(1, sizeof *g);
    uint8_t key[STEER_KEY];
    struct random random = {23};
    assert_non_null(g);
    g->workers = workers;
    g->play = play;
    g->connection = calloc(play->connections, sizeof *g->connection);
    assert_non_null(g->connection);
    random_bytes(&random, key, sizeof key);
    addr_parse("198.18.128.1", &g->own[0]);
    addr_parse("2001:db8:0:1::1", &g->own[1]);
    steer_init(&g->steer, key, workers, g->own, 2);
    for (uint32_t i = 0; i < workers; i++) {
        struct wire *w = g->worker[i] = wire_new(WIRE_V4, &sizes);
        for (int k = 0; k < LEASES; k++) /* what several share is lease_test's */
            w->limits.per_second[k] = 1000000;
        w->limits.syn_timeout_ms = 10;
        w->limits.half_closed_ms = 200;
        w->limits.linger_ms = 100;
        lender_init(&w->lender, w->limits.per_second, w->now_ms);
        lender_add(&w->lender, w->shard->lease);
        shard_steered(w->shard, workers > 1 ? &g->steer : NULL, i);
    }
    return g;
}

static void gateway_free(struct gateway *g)
{
    for (uint32_t i = 0; i < g->workers; i++)
        wire_free(g->worker[i]);
    free(g->connection);
    free(g);
}

/* ---- what leaves it ---- */

static void note(struct connection *c, const void *bytes, size_t length)
{
    const uint8_t *at = bytes;
    for (size_t i = 0; i < length; i++)
        c->log = (c->log ^ at[i]) * UINT64_C(0x100000001b3); /* FNV-1a */
}

static void client_sees(struct connection *c, const struct wire_segment *s)
{
    struct wire_host *h = &c->t.client;
    if (s->flags == (TCP_SYN | TCP_ACK) && c->phase == NEW) {
        c->phase = PROMISED;
        c->t.cookie = s->seq;
        h->next = h->isn + 1;
        h->expects = s->seq + 1;
        h->timestamps = s->options.timestamps;
        h->scale = s->options.window_scale;
        h->window = 500;
    } else if (s->seq == h->expects) {
        h->expects += s->length + ((s->flags & TCP_FIN) != 0);
    }
    h->echo = s->options.tsval;
}

static void backend_sees(struct connection *c, const struct wire_segment *s)
{
    struct wire_host *h = &c->t.server;
    if (s->flags == TCP_SYN && c->phase == PROMISED) {
        c->phase = ASKED;
        h->at = (struct endpoint){s->destination, s->destination_port};
        h->expects = s->seq + 1;
        h->timestamps = s->options.timestamps;
        h->scale = s->options.window_scale;
    } else if (s->seq == h->expects) {
        h->expects += s->length + ((s->flags & TCP_FIN) != 0);
    }
    h->echo = s->options.tsval;
}

/* Frames are told apart by the client's port, which no two connections share. */
static void take_frame(struct gateway *g, struct wire *w)
{
    const enum port_side to = w->frames[w->taken].to;
    const struct wire_frame *f = wire_out_frame(w, to);
    const struct frame_map m = frame_map(f->bytes);
    if (m.protocol != 6)
        return;
    const struct wire_segment s = wire_segment_read(f->bytes, f->length);
    const uint16_t port = to == OUTSIDE ? s.destination_port : s.source_port;
    assert_in_range(port, FIRST_PORT, FIRST_PORT + g->play->connections - 1);
    struct connection *c = &g->connection[port - FIRST_PORT];
    note(c, &f->at_ms, sizeof f->at_ms);
    note(c, f->bytes, f->length);
    if (to == OUTSIDE) {
        c->seen_length = f->length - 14 < QUOTE ? f->length - 14 : QUOTE;
        memcpy(c->seen, f->bytes + 14, c->seen_length);
        client_sees(c, &s);
    } else {
        backend_sees(c, &s);
    }
}

static void take_frames(struct gateway *g)
{
    for (uint32_t i = 0; i < g->workers; i++)
        while (wire_pending(g->worker[i]) > 0)
            take_frame(g, g->worker[i]);
}

/* ---- what goes in ---- */

/* By whatever queue it came, it goes to its owner; what has none stays where it was received. */
static void receive(struct gateway *g, struct connection *c, enum port_side side,
                    const uint8_t *bytes, uint32_t length)
{
    uint32_t owner = g->workers > 1 ? steer_frame(&g->steer, side, bytes, length) : 0;
    if (owner == STEER_NOBODY)
        owner = g->received % g->workers;
    g->received++;
    g->frames[owner]++;
    const enum verdict verdict = wire_in_bytes(g->worker[owner], side, bytes, length);
    note(c, &verdict, sizeof verdict);
    take_frames(g);
    g->worker[owner]->message_count = 0;
}

static void send(struct gateway *g, struct connection *c, enum direction from, uint8_t flags,
                 const char *text, uint32_t skew)
{
    uint8_t bytes[FRAME_ROOM];
    struct wire_host *h = from == FROM_CLIENT ? &c->t.client : &c->t.server;
    struct wire_segment s = wire_data(&c->t, from, flags, text);
    s.seq += skew;
    if (skew == 0 && !(flags & TCP_SYN))
        h->next += s.length + ((flags & TCP_FIN) != 0);
    h->clock++;
    receive(g, c, from == FROM_CLIENT ? OUTSIDE : INSIDE, bytes, wire_segment_write(bytes, &s));
}

static void send_syn_ack(struct gateway *g, struct connection *c)
{
    uint8_t bytes[FRAME_ROOM];
    struct wire_segment s = wire_syn_ack(&c->t);
    c->phase = OPEN;
    c->t.server.next = c->t.server.isn + 1;
    receive(g, c, INSIDE, bytes, wire_segment_write(bytes, &s));
}

/* An error about the last frame to the client, from a router on its way. */
static void send_error(struct gateway *g, struct connection *c, struct random *random)
{
    const bool v4 = addr_is_v4(&c->t.client.at.addr);
    const struct frame_tcp t = {.v6 = !v4,
                                .to = {2, 0, 0, 0, 0, 0xa},
                                .from = {2, 0, 0, 0, 0xc, 1},
                                .source = {198, 19, 0, 7},
                                .destination = {198, 18, 0, 80},
                                .ttl = 60,
                                .length = QUOTE,
                                .payload = c->seen};
    uint8_t bytes[FRAME_ROOM];
    const uint32_t length = (uint32_t)frame_write(bytes, &t);
    uint8_t *ip = bytes + 14, *icmp = ip + (v4 ? 20 : 40);
    ip[v4 ? 9 : 6] = v4 ? 1 : 58;
    if (!v4) {
        memcpy(ip + 8, "\x20\x01\x0d\xb8\0\7", 6);
        memcpy(ip + 24, c->t.listen.addr.bytes, 16);
    }
    memset(icmp, 0, 20);
    memcpy(icmp + 8, c->seen, QUOTE);
    icmp[0] = v4 ? 3 : (uint8_t)(1 + random_below(random, 4));
    icmp[1] = v4 && random_below(random, 2) ? 4 : 0;
    frame_put16(icmp + 6, 1300);
    if (v4) { /* the sum over an ICMP message is a TCP sum without pseudo header */
        frame_put16(ip + 10, 0);
        frame_put16(ip + 10, 0xffff - frame_sum(0, ip, 20));
        frame_put16(icmp + 2, 0xffff - frame_sum(0, icmp, 8 + QUOTE));
    } else {
        frame_put16(icmp + 2, 0xffff - frame_l4_sum(bytes));
    }
    receive(g, c, OUTSIDE, bytes, length - 12);
}

/* A segment of the client in which something is not as it should be. */
static void send_odd(struct gateway *g, struct connection *c, struct random *random)
{
    uint8_t bytes[FRAME_ROOM];
    struct wire_segment s = wire_segment(&c->t, FROM_CLIENT, TCP_ACK);
    uint32_t length = wire_segment_write(bytes, &s);
    const size_t l4 = frame_map(bytes).l4;
    switch (random_below(random, 6)) {
    case 0: bytes[l4 + 16] ^= 1; break;                   /* checksum */
    case 1: bytes[l4 + 12] = 0x20; break;                 /* TCP header too short */
    case 2: length = random_below(random, length); break; /* cut */
    case 3: frame_put16(bytes + 12, 0x88cc); break;       /* LLDP */
    case 4: bytes[0] ^= 4; break;                         /* to another host */
    default: bytes[addr_is_v4(&s.source) ? 23 : 20] = 17; /* UDP */
    }
    receive(g, c, OUTSIDE, bytes, length);
}

/* ---- what the ends do ---- */

static void begin_connection(struct gateway *g, uint32_t index, struct random *random)
{
    struct connection *c = &g->connection[index];
    struct wire *w = g->worker[0];
    w->family = random_below(random, 2) ? WIRE_V4 : WIRE_V6;
    *c = (struct connection){.t = wire_talk(w)};
    struct addr *addr = &c->t.client.at.addr;
    if (w->family == WIRE_V4)
        frame_put32(addr->bytes + 12, 0x0b000000 + random_below(random, 1 << 24));
    else
        random_bytes(random, addr->bytes + 4, 12);
    c->t.client.at.port = (uint16_t)(FIRST_PORT + index);
    c->t.client.isn = c->t.client.next = random_32(random);
    c->t.server.isn = c->t.server.next = random_32(random);
    c->t.client.clock = random_32(random);
    c->t.client.timestamps = random_below(random, 4) != 0;
    wire_talk_to(w, &c->t, (uint16_t)(w->family + 2 * random_below(random, 2)));
}

/* Mostly the next sensible thing. */
static void act_well(struct gateway *g, struct connection *c, struct random *random)
{
    switch (c->phase) {
    case NEW: send(g, c, FROM_CLIENT, TCP_SYN, "", 0); break;
    case PROMISED:
        if (random_below(random, 2))
            send(g, c, FROM_CLIENT, TCP_ACK, "", 0);
        else
            send(g, c, FROM_CLIENT, TCP_ACK | TCP_PSH, wire_request, 0);
        break;
    case ASKED: send_syn_ack(g, c); break;
    case OPEN:
        switch (random_below(random, 6)) {
        case 0: send(g, c, FROM_CLIENT, TCP_ACK | TCP_PSH, wire_request, 0); break;
        case 1: send(g, c, FROM_CLIENT, TCP_ACK, "", 0); break;
        case 2: send(g, c, FROM_CLIENT, TCP_ACK | TCP_FIN, "", 0); break;
        case 3: send(g, c, FROM_BACKEND, TCP_ACK | TCP_FIN, "", 0); break;
        default: send(g, c, FROM_BACKEND, TCP_ACK | TCP_PSH, "HTTP/1.1 204 x\r\n\r\n", 0);
        }
    }
}

static void act_badly(struct gateway *g, struct connection *c, struct random *random)
{
    const enum direction from = random_below(random, 2) ? FROM_CLIENT : FROM_BACKEND;
    switch (random_below(random, 8)) {
    case 0: send(g, c, from, TCP_ACK | TCP_PSH, "again, or too far", random_32(random)); break;
    case 1: send(g, c, from, TCP_RST | TCP_ACK, "", 0); break;
    case 2: send(g, c, from, TCP_RST, "", random_below(random, 3000)); break;
    case 3: send(g, c, FROM_CLIENT, TCP_SYN, "", (uint32_t)0 - 100); break;
    case 4: send(g, c, FROM_CLIENT, TCP_ACK | TCP_FIN, "", random_below(random, 2)); break;
    case 5:
        if (c->seen_length == QUOTE)
            send_error(g, c, random);
        break;
    default: send_odd(g, c, random);
    }
}

/* Timers may send many frames: they are taken as they come. */
static void pause(struct gateway *g, uint32_t ms)
{
    for (uint32_t passed = 0; passed < ms; passed += 4)
        for (uint32_t i = 0; i < g->workers; i++) {
            wire_wait(g->worker[i], 4);
            take_frames(g);
            g->worker[i]->message_count = 0;
        }
}

/* Every run draws the same numbers, whatever the gateway does. */
static void play(struct gateway *g)
{
    struct random random = {29};
    const uint32_t connections = g->play->connections;
    for (uint32_t i = 0; i < connections; i++)
        begin_connection(g, i, &random);
    for (uint32_t round = 0; round < g->play->rounds; round++) {
        for (uint32_t i = 0; i < connections; i++) {
            struct random own = {random_64(&random)};
            struct connection *c = &g->connection[random_below(&random, connections)];
            if (random_below(&random, 6))
                act_well(g, c, &own);
            else
                act_badly(g, c, &own);
        }
        pause(g, random_below(&random, g->play->pause_ms));
        if (round == REST)
            pause(g, g->play->rest_ms);
    }
}

static uint64_t verdict_sum(const struct gateway *g, int verdict)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < g->workers; i++)
        sum += g->worker[i]->shard->verdicts[verdict];
    return sum;
}

static void expect_met(const struct gateway *g, const int *verdicts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (verdict_sum(g, verdicts[i]) < 10)
            fail_msg("too little of %s", verdict_name((enum verdict)verdicts[i]));
}

static void expect_same(const struct gateway *one, const struct gateway *many)
{
    for (uint32_t i = 0; i < one->play->connections; i++)
        if (many->connection[i].log != one->connection[i].log)
            fail_msg("connection %u goes another way with %u workers", i, many->workers);
    for (int i = 0; i < VERDICT_COUNT; i++)
        if (verdict_sum(many, i) != verdict_sum(one, i))
            fail_msg("%s: %lu with %u workers, %lu with one", verdict_name((enum verdict)i),
                     (unsigned long)verdict_sum(many, i), many->workers,
                     (unsigned long)verdict_sum(one, i));
}

/* In less than a second, so that no miss is a second one: whether that is known depends on who else
 * has missed, as the table is small. */
static void any_number_of_workers_does_what_one_does(void **state)
{
    (void)state;
    static const struct play many_connections = {3000, 40, 10, 500};
    static const int met[] = {
        VERDICT_FORWARDED,     VERDICT_OPENED,           VERDICT_SYN_COOKIE,   VERDICT_FLOW_CLOSED,
        VERDICT_FLOW_RESET,    VERDICT_BACKEND_ANSWERED, VERDICT_ACK_NO_FLOW,  VERDICT_MISS_SILENT,
        VERDICT_OUT_OF_WINDOW, VERDICT_BAD_TCP,          VERDICT_INSIDE_RESET, VERDICT_TCP_CHECKSUM,
        VERDICT_TRUNCATED,     VERDICT_BACKEND_TIMEOUT,  VERDICT_NOT_FOR_US};
    struct gateway *one = gateway_new(1, &many_connections);
    play(one);
    expect_met(one, met, sizeof met / sizeof met[0]);
    for (uint32_t workers = 2; workers <= WORKERS_MOST; workers++) {
        struct gateway *many = gateway_new(workers, &many_connections);
        play(many);
        expect_same(one, many);
        for (uint32_t i = 0; i < workers; i++)
            assert_in_range(many->frames[i], one->received / workers * 3 / 4,
                            one->received / workers * 5 / 4);
        gateway_free(many);
    }
    gateway_free(one);
}

static void and_so_it_does_over_a_long_time(void **state)
{
    (void)state;
    static const struct play few_connections = {12, 1000, 800, 60000};
    static const int met[] = {VERDICT_FORWARDED, VERDICT_OPENED, VERDICT_MISS_RESET,
                              VERDICT_INSIDE_RESET};
    struct gateway *one = gateway_new(1, &few_connections);
    play(one);
    expect_met(one, met, sizeof met / sizeof met[0]);
    struct gateway *many = gateway_new(WORKERS_MOST, &few_connections);
    play(many);
    expect_same(one, many);
    gateway_free(many);
    gateway_free(one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_workers_does_what_one_does),
        cmocka_unit_test(and_so_it_does_over_a_long_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
