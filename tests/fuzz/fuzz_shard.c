/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Whole conversations with a shard: the input is a script of genuine openings, segments that are
 * nearly right, raw frames and clock steps, from both sides. Whatever comes, the tables stay within
 * their bounds and consistent with each other, and every frame that leaves is well formed. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "tests/unit/wire.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TALKS = 4, RAW_MOST = 255 };

static const struct shard_sizes sizes = {.flows = 3,
                                         .tombstones = 4,
                                         .held = 2,
                                         .held_large = 1,
                                         .held_bytes = 8192,
                                         .held_per_client = 2};

struct input {
    const uint8_t *at, *end;
};

/* The gate: it refuses nothing, or one request in four. */
static uint32_t rhythm, asked;

enum verdict gate_request(struct shard *shard, const struct gate_asker *asker,
                          const struct gate_head *head, struct refusal *refusal)
{
    (void)shard;
    (void)asker;
    (void)head;
    if (rhythm == 0 || ++asked % 4 != rhythm)
        return VERDICT_FORWARDED;
    refusal->kind = (uint8_t)(REFUSAL_RATE + asked / 4 % (REFUSAL_KINDS - 1));
    refusal->retry_after_s = asked;
    refusal->opens_at = INT64_C(1795773600120);
    return VERDICT_RULE_RATE;
}

static void check(bool holds)
{
    if (!holds)
        abort();
}

static uint8_t byte(struct input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static uint16_t two_bytes(struct input *in)
{
    const uint8_t high = byte(in);
    return (uint16_t)(high << 8 | byte(in));
}

/* Up to `most` bytes, their number first. */
static uint32_t some_bytes(struct input *in, uint8_t *out, uint32_t most)
{
    uint32_t length = byte(in);
    const size_t left = (size_t)(in->end - in->at);
    length = length > most ? most : length;
    length = length > left ? (uint32_t)left : length;
    memcpy(out, in->at, length);
    in->at += length;
    return length;
}

static void check_frames(struct wire *w)
{
    while (wire_pending(w) > 0) {
        const struct wire_frame *frame = &w->frames[w->taken];
        struct packet packet;
        struct tcp_options options;
        check(packet_parse(frame->bytes, frame->length, 0, &packet) == VERDICT_FORWARDED);
        if (packet.kind == PACKET_TCP) {
            check(packet_options(frame->bytes, &packet, &options));
            check(packet.end == frame->length);
            check((packet.flags & TCP_URG) == 0);
        }
        wire_out_frame(w, frame->to); /* from the gateway's own link address */
    }
}

static void check_tables(const struct wire *w)
{
    uint32_t living = 0, holding = 0;
    for (uint32_t i = 0; i < sizes.flows; i++) {
        const struct flow *flow = flow_at(w->shard->flows, i);
        living += flow->state != FLOW_FREE;
        holding += flow->state != FLOW_FREE && flow->held != HELD_NONE;
        check(wheel_armed(w->shard->wheel, i) == (flow->state != FLOW_FREE));
    }
    check(flows_count(w->shard->flows) == living && living <= sizes.flows);
    check(held_count(w->shard->held) == holding && held_consistent(w->shard->held));
    check(holding <= sizes.held_per_client);
    check(tombstones_count(w->shard->tombstones) <= sizes.tombstones);
}

/* A handshake with some options, on a new port or on the one before with a new ISN. */
static void shake(struct wire *w, struct input *in, struct wire_talk *t)
{
    const uint8_t options = byte(in);
    struct wire_talk next = wire_talk(w);
    if ((options & 8) && t->client.at.port) {
        next.client.at.port = t->client.at.port;
        next.client.isn = next.client.next = t->client.next + two_bytes(in) * 64U;
    }
    next.client.sack = options & 1;
    next.client.timestamps = options & 2;
    next.client.scale = options & 4 ? options >> 4 : COOKIE_NO_SCALE;
    if (next.client.scale > 14)
        next.client.scale = 14;
    wire_handshake(w, &next);
    next.server.scale = byte(in) % 15;
    *t = next;
}

/* The first data: a request, with more bytes behind it or none. */
static void ask(struct wire *w, struct input *in, struct wire_talk *t)
{
    uint8_t request[512];
    const size_t head = strlen(wire_request);
    memcpy(request, wire_request, head + 1); /* what follows goes over its end */
    struct wire_segment s = wire_segment(t, FROM_CLIENT, TCP_ACK | (byte(in) & TCP_FIN));
    s.payload = request;
    s.length = (uint16_t)(head + some_bytes(in, request + head, RAW_MOST));
    s.seq = t->client.isn + 1;
    s.ack = t->cookie + 1;
    if (wire_send(w, &s, FROM_CLIENT) == VERDICT_OPENED)
        t->client.next = s.seq + s.length + (s.flags & TCP_FIN);
}

static void accept_syn(struct wire *w, struct input *in, struct wire_talk *t)
{
    struct wire_segment s = wire_syn_ack(t);
    s.seq = t->server.isn;
    s.ack = t->client.isn + 1;
    s.options.mss = two_bytes(in);
    if (wire_send(w, &s, FROM_BACKEND) == VERDICT_BACKEND_ANSWERED) {
        t->server.next = t->server.isn + 1;
        t->server.expects = t->client.next;
        t->server.timestamps = t->client.timestamps;
    }
}

/* A segment from either end: its numbers off by a little, any flags, any options. */
static void say(struct wire *w, struct input *in, struct wire_talk *t)
{
    uint8_t payload[RAW_MOST];
    const enum direction from = byte(in) & 1 ? FROM_BACKEND : FROM_CLIENT;
    struct wire_host *h = from == FROM_CLIENT ? &t->client : &t->server;
    struct wire_host *o = from == FROM_CLIENT ? &t->server : &t->client;
    struct wire_segment s = wire_segment(t, from, byte(in));
    s.seq += (uint32_t)(int16_t)two_bytes(in);
    s.ack = h->expects + (uint32_t)(int16_t)two_bytes(in);
    s.window = two_bytes(in);
    s.urgent = byte(in);
    s.options = NO_OPTIONS;
    s.options.timestamps = h->timestamps;
    s.options.tsval = h->clock++;
    s.options.tsecr = h->echo;
    s.extra_length = (uint8_t)some_bytes(in, s.extra, h->timestamps ? 28 : 40);
    s.payload = payload;
    s.length = (uint16_t)some_bytes(in, payload, RAW_MOST);
    if (wire_send(w, &s, from) != VERDICT_FORWARDED || s.seq != h->next)
        return;
    h->next += s.length + ((s.flags & TCP_FIN) != 0);
    o->expects = h->next + (from == FROM_CLIENT ? 0 : wire_delta(t));
}

static void raw(struct wire *w, struct input *in)
{
    uint8_t bytes[RAW_MOST];
    const enum port_side side = byte(in) & 1 ? INSIDE : OUTSIDE;
    const uint32_t length = some_bytes(in, bytes, sizeof bytes);
    wire_in_bytes(w, side, bytes, length);
}

/* A frame that was right, with one byte changed and its checksums put right again or not. */
static void bend(struct wire *w, struct input *in, const struct wire_talk *t)
{
    const uint8_t how = byte(in);
    const struct wire_segment s =
        wire_data(t, how & 1 ? FROM_BACKEND : FROM_CLIENT, TCP_ACK, wire_request);
    uint8_t bytes[FRAME_ROOM];
    struct frame_tcp f = {.v6 = !addr_is_v4(&s.source),
                          .source_port = s.source_port,
                          .destination_port = s.destination_port,
                          .seq = s.seq,
                          .ack = s.ack,
                          .flags = s.flags,
                          .window = s.window,
                          .ttl = 64,
                          .payload = s.payload,
                          .length = s.length};
    const size_t skip = f.v6 ? 0 : 12, width = f.v6 ? 16 : 4;
    memcpy(f.from, &s.from, 6);
    memcpy(f.to, &s.to, 6);
    memcpy(f.source, s.source.bytes + skip, width);
    memcpy(f.destination, s.destination.bytes + skip, width);
    const size_t length = frame_write(bytes, &f);
    bytes[byte(in) % length] ^= byte(in);
    if ((how & 2) && frame_map(bytes).l4 == (f.v6 ? 54 : 34) && frame_map(bytes).end == length)
        frame_fix_checksums(bytes);
    wire_in_bytes(w, how & 1 ? INSIDE : OUTSIDE, bytes, (uint32_t)(length - (how >> 4)));
}

/* A router's too-big about a segment as it passes on that side, nearly right, its checksum right.
 */
static void complain(struct wire *w, struct input *in, const struct wire_talk *t)
{
    enum { ICMP = 8, QUOTED = 200 };
    const uint8_t how = byte(in);
    const enum port_side side = how & 1 ? INSIDE : OUTSIDE;
    const bool v6 = w->family == WIRE_V6;
    const size_t ip = v6 ? 40 : 20;
    uint8_t quoted[FRAME_ROOM] = {0}, frame[FRAME_ROOM] = {0};
    struct wire_segment s = wire_segment(t, side == INSIDE ? FROM_CLIENT : FROM_BACKEND, TCP_ACK);
    s.seq += (side == INSIDE ? 0 : wire_delta(t)) - two_bytes(in);
    if (side == INSIDE)
        s.destination = t->server.at.addr;
    else
        s.source = t->listen.addr;
    if (side == INSIDE)
        s.destination_port = t->server.at.port;
    else
        s.source_port = t->listen.port;
    wire_segment_write(quoted, &s);
    frame_put16(quoted + (v6 ? 18 : 16), 1500);
    quoted[14 + byte(in) % 60] ^= byte(in);

    memcpy(frame, &w->mac[side], 6);
    frame[6] = 2;
    memcpy(frame + 12, quoted + 12, 2);
    frame[14] = v6 ? 0x60 : 0x45;
    frame_put16(frame + (v6 ? 18 : 16), (uint32_t)((v6 ? 0 : ip) + ICMP + QUOTED - how / 2));
    frame[v6 ? 20 : 23] = v6 ? 58 : 1;
    frame[v6 ? 22 : 26] = v6 ? 0x20 : 198;                                /* some router */
    memcpy(frame + (v6 ? 38 : 30), quoted + (v6 ? 22 : 26), v6 ? 16 : 4); /* to the sender */
    uint8_t *icmp = frame + 14 + ip;
    icmp[0] = v6 ? 2 : 3;
    icmp[1] = v6 ? 0 : 4;
    frame_put16(icmp + 6, two_bytes(in));
    memcpy(icmp + ICMP, quoted + 14, QUOTED);
    const struct frame_map m = frame_map(frame);
    if (!v6)
        frame_put16(frame + 24, 0xffff - frame_sum(0, frame + 14, 20));
    frame_put16(icmp + 2, 0xffff - (v6 ? frame_l4_sum(frame) : frame_sum(0, icmp, m.end - m.l4)));
    wire_in_bytes(w, side, frame, (uint32_t)m.end);
}

static void change_policy(struct wire *w, struct input *in)
{
    const uint8_t how = byte(in);
    w->neighbors->backend[w->family].known = how & 1;
    wire_offer(w, (uint16_t)w->family, 1400, how >> 4, how & 2, how & 4);
    w->limits.syn_tries = 1 + (how >> 3) % 4;
}

static void step(struct wire *w, struct input *in, struct wire_talk talks[TALKS])
{
    const uint8_t what = byte(in);
    struct wire_talk *t = &talks[what >> 4 & (TALKS - 1)];
    if (t->client.at.port == 0 && (what & 15) > 0 && (what & 15) < 6)
        shake(w, in, t);
    switch (what & 15) {
    case 0: shake(w, in, t); break;
    case 1:
    case 2: ask(w, in, t); break;
    case 3: accept_syn(w, in, t); break;
    case 4: say(w, in, t); break;
    case 5: bend(w, in, t); break;
    case 6: raw(w, in); break;
    case 7: change_policy(w, in); break;
    case 8: wire_wait(w, two_bytes(in) % 2000); break;
    case 9: wire_backends(w, 1 + byte(in) % WIRE_BACKENDS); break;
    case 10: wire_serve(w, t, (uint16_t)(2 * (byte(in) % WIRE_BACKENDS) + w->family)); break;
    case 11: complain(w, in, t); break;
    default: wire_wait(w, what); break;
    }
}

/* Each run has a shard of its own: clearing its huge pages would take most of the time. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, data + size};
    struct wire_talk talks[TALKS] = {0};
    const uint8_t head = byte(&in);
    struct wire *w = wire_new(head & 1 ? WIRE_V6 : WIRE_V4, &sizes);
    rhythm = head >> 2 & 3;
    asked = 0;
    w->limits.head_timeout_ms = 400;
    w->limits.syn_timeout_ms = 50; /* times short enough to meet them all */
    w->limits.idle_ms = 500;
    w->limits.half_closed_ms = 300;
    w->limits.closing_ms = 200;
    w->limits.linger_ms = 50;
    if (head & 2)
        check(shard_probe_backends(w->shard, 2) == 0);
    while (in.at < in.end) {
        step(w, &in, talks);
        check_frames(w);
        check_tables(w);
        w->message_count = 0;
    }
    free(w->shard->probes); /* else they would be asked for ever */
    w->shard->probes = NULL;
    for (int i = 0; i < 7; i++) { /* as long as what is owned is resent */
        if (flows_count(w->shard->flows) != 0)
            wire_wait(w, 2000);
        check_frames(w);
    }
    check(flows_count(w->shard->flows) == 0 && held_count(w->shard->held) == 0);
    wire_free(w);
    return 0;
}
