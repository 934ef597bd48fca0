/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The bench. Failures end the test at hand, or, in a fuzzer, the program. */
#include "tests/unit/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef WIRE_ABORTS
#define MUST(condition) ((condition) ? (void)0 : abort())
#else
// clang-format off
#include <cmocka.h>
// clang-format on
#define MUST(condition) assert_true(condition)
#endif

const char wire_request[] = "GET /v1/items/7 HTTP/1.1\r\nHost: shop.example\r\n\r\n";

enum { SERVICES = 4, BACKENDS = 2, STEP_MS = 4 };

static const struct mac router_mac = {{0x02, 0, 0, 0, 0xc, 1}};  /* the clients' last hop */
static const struct mac backend_mac = {{0x02, 0, 0, 0, 0xb, 1}}; /* both backends' */

static struct endpoint endpoint_of(const char *text)
{
    struct endpoint e;
    MUST(endpoint_parse(text, &e) == 0);
    return e;
}

static struct addr addr_of(const char *text)
{
    struct addr a;
    MUST(addr_parse(text, &a) == 0);
    return a;
}

/* ---- policy ---- */

static void add_own(struct services *s, enum port_side side, const char *text)
{
    const struct addr a = addr_of(text);
    endpoints_add(s->own[side], &a, 0, 0);
}

static struct services *services_of_rig(void)
{
    static const char *const listen[SERVICES] = {"198.18.0.80:80", "[2001:db8::80]:80",
                                                 "198.18.0.80:81", "[2001:db8::80]:81"};
    static const char *const backend[BACKENDS] = {"198.18.128.2:8080", "[2001:db8:0:1::2]:8080"};
    struct services *s = calloc(1, sizeof *s);
    *s = (struct services){
        .count = SERVICES,
        .backend_count = BACKENDS,
        .service = calloc(SERVICES, sizeof *s->service),
        .backend = calloc(BACKENDS, sizeof *s->backend),
        .by_listen = endpoints_new(SERVICES),
        .by_backend = endpoints_new(BACKENDS),
        .own = {endpoints_new(8), endpoints_new(8)},
    };
    for (uint16_t i = 0; i < SERVICES; i++) {
        s->service[i].listen = endpoint_of(listen[i]);
        s->service[i].backend = i % BACKENDS;
        endpoints_add(s->by_listen, &s->service[i].listen.addr, s->service[i].listen.port, i);
        endpoints_add(s->own[OUTSIDE], &s->service[i].listen.addr, 0, 0);
    }
    for (uint16_t i = 0; i < BACKENDS; i++) {
        struct backend *b = &s->backend[i];
        b->address = endpoint_of(backend[i]);
        b->next_hop = b->address.addr;
        b->source = addr_of(i == WIRE_V4 ? "198.18.128.1" : "2001:db8:0:1::1");
        endpoints_add(s->by_backend, &b->address.addr, b->address.port, i);
    }
    add_own(s, OUTSIDE, "198.18.0.1");
    add_own(s, OUTSIDE, "2001:db8::1");
    add_own(s, INSIDE, "198.18.128.1");
    add_own(s, INSIDE, "2001:db8:0:1::1");
    return s;
}

void wire_offer(struct wire *w, uint16_t service, uint16_t mss, uint8_t scale, bool sack,
                bool timestamps)
{
    struct offer *o = &w->offers->offer[service];
    if (scale != o->promise[0].window_scale) {
        o->promise[1] = o->promise[0];
        o->promise[0] = (struct promise){
            policy_cookie_service(&w->services->service[service].listen, scale), scale};
    }
    o->mss = mss;
    o->sack = sack;
    o->timestamps = timestamps;
    wire_begin(w);
}

static void fill_policy(struct wire *w)
{
    w->services = services_of_rig();
    w->offers = calloc(1, sizeof *w->offers + SERVICES * sizeof w->offers->offer[0]);
    w->neighbors = calloc(1, sizeof *w->neighbors + BACKENDS * sizeof w->neighbors->backend[0]);
    w->offers->count = SERVICES;
    w->neighbors->count = BACKENDS;
    for (int i = 0; i < BACKENDS; i++) {
        w->neighbors->backend[i].mac = backend_mac;
        w->neighbors->backend[i].known = true;
    }
    w->limits = (struct limits){
        .syn_timeout_ms = 1000,
        .syn_tries = 4,
        .idle_ms = 900000,
        .half_closed_ms = 300000,
        .closing_ms = 60000,
        .linger_ms = 3000,
        .window = 8192,
        .mss_v4 = 1460,
        .mss_v6 = 1440,
        .resets_per_s = 1000,
        .fins_per_s = 1000,
        .echoes_per_s = 1000,
        .inside_resets_per_s = 1000,
        .probe_interval_ms = 5000,
        .probe_timeout_ms = 1000,
    };
    w->policy = (struct policy){w->services, w->offers, w->neighbors, &w->limits, &w->keys};
    for (uint16_t i = 0; i < SERVICES; i++) {
        const struct promise none = {
            policy_cookie_service(&w->services->service[i].listen, COOKIE_NO_SCALE),
            COOKIE_NO_SCALE};
        w->offers->offer[i].promise[0] = none;
        w->offers->offer[i].promise[1] = none;
    }
}

/* ---- life ---- */

/* The upkeep rolls keys as epochs pass; so does the rig. */
void wire_begin(struct wire *w)
{
    static const uint8_t master[32] = {7, 1, 8, 2, 8, 1, 8, 2, 8};
    if (w->keys.first_epoch + 1 != w->unix_ms / COOKIE_EPOCH_MS)
        cookie_keys_derive(&w->keys, master, w->unix_ms);
    shard_begin(w->shard, &w->policy, w->now_ms, w->unix_ms);
}

static void keep_frame(void *context, enum port_side to, const uint8_t *bytes, uint32_t length)
{
    struct wire *w = context;
    MUST(to < PORT_SIDES);
    MUST(length <= FRAME_ROOM);
    MUST(w->frame_count < WIRE_FRAMES);
    struct wire_frame *f = &w->frames[w->frame_count++];
    *f = (struct wire_frame){.at_ms = w->now_ms, .to = to, .length = length};
    memcpy(f->bytes, bytes, length);
}

static void keep_message(void *context, const struct message *message)
{
    struct wire *w = context;
    MUST(w->message_count < WIRE_MESSAGES);
    w->messages[w->message_count++] = *message;
}

struct wire *wire_new(enum wire_family family, const struct shard_sizes *sizes)
{
    static const struct shard_sizes enough = {.flows = 512, .tombstones = 4096, .held = 256};
    static const struct siphash_key secret = {0x0123456789abcdef, 0xfedcba9876543210};
    static const struct mac mac[PORT_SIDES] = {{{0x02, 0, 0, 0, 0, 0xa}},
                                               {{0x02, 0, 0, 0, 0, 0xb}}};
    struct wire *w = calloc(1, sizeof *w);
    MUST(w != NULL);
    w->family = family;
    memcpy(w->mac, mac, sizeof mac);
    w->now_ms = 100000;
    w->unix_ms = UINT64_C(1764000000000);
    w->next_port = 20000;
    fill_policy(w);
    const struct shard_output output = {keep_frame, keep_message, w};
    w->shard = shard_new(sizes ? sizes : &enough, &secret, &output, mac, w->now_ms);
    MUST(w->shard != NULL);
    for (uint16_t i = 0; i < SERVICES; i++)
        wire_offer(w, i, i % 2 == WIRE_V4 ? 1460 : 1440, 7, true, true);
    return w;
}

void wire_free(struct wire *w)
{
    shard_free(w->shard);
    services_free(w->services);
    free(w->offers);
    free(w->neighbors);
    free(w);
}

void wire_wait(struct wire *w, uint32_t ms)
{
    while (ms > 0) {
        const uint32_t step = ms < STEP_MS ? ms : STEP_MS;
        ms -= step;
        w->now_ms += step;
        w->unix_ms += step;
        wire_begin(w);
        while (shard_tick(w->shard) > 0) {
        }
    }
}

/* ---- in ---- */

static enum verdict receive(struct wire *w, enum port_side side, uint32_t length)
{
    struct frame frame = {
        .bytes = w->in, .room = FRAME_ROOM, .length = length, .side = (uint8_t)side};
    memset(w->in + length, 0xa5, FRAME_ROOM - length); /* what a buffer held before */
    wire_begin(w);
    const enum verdict verdict = shard_packet(w->shard, &frame, 0);
    MUST(verdict < VERDICT_COUNT && w->shard->verdicts[verdict] > 0);
    if (frame.to != PORT_NONE)
        keep_frame(w, (enum port_side)frame.to, frame.bytes, frame.length);
    return verdict;
}

enum verdict wire_in_bytes(struct wire *w, enum port_side side, const uint8_t *bytes,
                           uint32_t length)
{
    MUST(length <= FRAME_ROOM);
    memcpy(w->in, bytes, length);
    return receive(w, side, length);
}

static uint8_t *put_option(uint8_t *at, uint8_t kind, uint8_t length)
{
    at[0] = kind;
    at[1] = length;
    return at + 2;
}

/* Every option that the segment has, in no stack's order, padded with NOPs in front. */
static size_t write_options(uint8_t *out, const struct wire_segment *s)
{
    uint8_t bytes[128], *at = bytes;
    if (s->options.timestamps) {
        at = put_option(at, OPTION_TIMESTAMPS, 10);
        frame_put32(at, s->options.tsval);
        frame_put32(at + 4, s->options.tsecr);
        at += 8;
    }
    if (s->options.mss) {
        at = put_option(at, OPTION_MSS, 4);
        frame_put16(at, s->options.mss);
        at += 2;
    }
    if (s->options.window_scale != COOKIE_NO_SCALE) {
        at = put_option(at, OPTION_SCALE, 3);
        *at++ = s->options.window_scale;
    }
    if (s->options.sack_ok)
        at = put_option(at, OPTION_SACK_OK, 2);
    if (s->sack_edges) {
        at = put_option(at, OPTION_SACK, (uint8_t)(2 + 4 * s->sack_edges));
        for (int i = 0; i < s->sack_edges; i++, at += 4)
            frame_put32(at, s->sack[i]);
    }
    memcpy(at, s->extra, s->extra_length);
    at += s->extra_length;
    const size_t length = (size_t)(at - bytes), pad = (4 - length % 4) % 4;
    MUST(length + pad <= TCP_OPTIONS_MAX);
    memset(out, OPTION_NOP, pad);
    memcpy(out + pad, bytes, length);
    return length + pad;
}

static void put_addr(uint8_t *out, const struct addr *a)
{
    if (addr_is_v4(a))
        memcpy(out, a->bytes + 12, 4);
    else
        memcpy(out, a->bytes, 16);
}

enum verdict wire_in(struct wire *w, enum port_side side, const struct wire_segment *s)
{
    struct frame_tcp t = {
        .v6 = !addr_is_v4(&s->source),
        .source_port = s->source_port,
        .destination_port = s->destination_port,
        .seq = s->seq,
        .ack = s->ack,
        .window = s->window,
        .urgent = s->urgent,
        .flags = s->flags,
        .ttl = s->ttl,
        .payload = s->payload,
        .length = s->length,
    };
    memcpy(t.from, &s->from, 6);
    memcpy(t.to, &s->to, 6);
    put_addr(t.source, &s->source);
    put_addr(t.destination, &s->destination);
    t.options_length = write_options(t.options, s);
    return receive(w, side, (uint32_t)frame_write(w->in, &t));
}

/* ---- out ---- */

/* Only what a gateway may send: no other option has any business there. */
static void read_options(const uint8_t *at, const uint8_t *end, struct wire_segment *s)
{
    s->options = NO_OPTIONS;
    while (at < end) {
        if (*at == OPTION_NOP) {
            at++;
            continue;
        }
        MUST(end - at >= 2 && at[1] >= 2 && at[1] <= end - at);
        const uint8_t *data = at + 2;
        const uint8_t length = (uint8_t)(at[1] - 2);
        switch (*at) {
        case OPTION_MSS:
            MUST(length == 2);
            s->options.mss = frame_get16(data);
            break;
        case OPTION_SCALE:
            MUST(length == 1);
            s->options.window_scale = data[0];
            break;
        case OPTION_SACK_OK: s->options.sack_ok = true; break;
        case OPTION_SACK:
            MUST(length % 8 == 0);
            for (; s->sack_edges < length / 4; s->sack_edges++)
                s->sack[s->sack_edges] = frame_get32(data + (size_t)4 * s->sack_edges);
            break;
        case OPTION_TIMESTAMPS:
            MUST(length == 8);
            s->options.timestamps = true;
            s->options.tsval = frame_get32(data);
            s->options.tsecr = frame_get32(data + 4);
            break;
        default: MUST(false); /* an option that no gateway sends */
        }
        at += at[1];
    }
}

static struct addr get_addr(const uint8_t *at, bool v6)
{
    if (v6)
        return addr_from_v6(at);
    uint32_t v4;
    memcpy(&v4, at, 4);
    return addr_from_v4(v4);
}

const struct wire_frame *wire_out_frame(struct wire *w, enum port_side side)
{
    MUST(w->taken < w->frame_count);
    const struct wire_frame *f = &w->frames[w->taken++];
    MUST(f->to == side);
    MUST(memcmp(f->bytes + 6, &w->mac[side], 6) == 0);
    if (w->taken == w->frame_count)
        w->taken = w->frame_count = 0;
    return f;
}

struct wire_segment wire_out(struct wire *w, enum port_side side)
{
    const struct wire_frame *f = wire_out_frame(w, side);
    const struct frame_map m = frame_map(f->bytes);
    MUST(m.protocol == 6 && m.end == f->length);
    MUST(frame_checksums_good(f->bytes));
    const uint8_t *ip = f->bytes + 14, *tcp = f->bytes + m.l4;
    const size_t header = (size_t)(tcp[12] / 16) * 4;
    struct wire_segment s = {
        .source = get_addr(ip + (m.v6 ? 8 : 12), m.v6),
        .destination = get_addr(ip + (m.v6 ? 24 : 16), m.v6),
        .source_port = frame_get16(tcp),
        .destination_port = frame_get16(tcp + 2),
        .seq = frame_get32(tcp + 4),
        .ack = frame_get32(tcp + 8),
        .flags = tcp[13],
        .window = frame_get16(tcp + 14),
        .urgent = frame_get16(tcp + 18),
        .ttl = ip[m.v6 ? 7 : 8],
        .payload = tcp + header,
        .length = (uint16_t)(m.end - m.l4 - header),
    };
    MUST(tcp[12] % 16 == 0 && header >= 20 && m.l4 + header <= m.end);
    memcpy(&s.to, f->bytes, 6);
    memcpy(&s.from, f->bytes + 6, 6);
    read_options(tcp + 20, tcp + header, &s);
    return s;
}

uint32_t wire_pending(const struct wire *w)
{
    return w->frame_count - w->taken;
}

void wire_quiet(struct wire *w)
{
    MUST(wire_pending(w) == 0);
}

void wire_forget_frames(struct wire *w)
{
    w->taken = w->frame_count = 0;
}

struct message wire_told(struct wire *w)
{
    MUST(w->message_count > 0);
    const struct message first = w->messages[0];
    memmove(w->messages, w->messages + 1, --w->message_count * sizeof first);
    return first;
}

/* ---- talks ---- */

static struct wire_host linux_host(struct endpoint at, struct mac mac, uint16_t mss)
{
    return (struct wire_host){
        .at = at, .mac = mac, .mss = mss, .scale = 7, .sack = true, .timestamps = true};
}

struct wire_talk wire_talk(struct wire *w)
{
    const bool v4 = w->family == WIRE_V4;
    const uint16_t mss = v4 ? 1460 : 1440;
    struct endpoint client = endpoint_of(v4 ? "198.18.64.9:1" : "[2001:db8:1000::9]:1");
    client.port = w->next_port++;
    struct wire_talk t = {
        .client = linux_host(client, router_mac, mss),
        .server = linux_host(w->services->backend[w->family].address, backend_mac, mss)};
    t.client.isn = 0xffffff00U | (w->next_port & 0x7fU); /* wraps within the first segments */
    t.client.next = t.client.isn;
    t.client.window = 64240;
    t.client.clock = 0xffffff00U;
    t.server.isn = 0x7fffff00U ^ (uint32_t)w->next_port << 16;
    t.server.next = t.server.isn;
    t.server.window = 65160;
    t.server.clock = 0x10203040;
    wire_talk_to(w, &t, (uint16_t)w->family);
    return t;
}

void wire_talk_to(const struct wire *w, struct wire_talk *t, uint16_t service)
{
    t->service = service;
    t->listen = w->services->service[service].listen;
}

struct wire_segment wire_segment(const struct wire_talk *t, enum direction from, uint8_t flags)
{
    const bool client = from == FROM_CLIENT;
    const struct wire_host *h = client ? &t->client : &t->server;
    const struct endpoint to = client ? t->listen : t->client.at;
    struct wire_segment s = {
        .from = h->mac,
        .to = {{0x02, 0, 0, 0, 0, client ? 0xa : 0xb}},
        .source = h->at.addr,
        .source_port = h->at.port,
        .destination = to.addr,
        .destination_port = to.port,
        .seq = h->next,
        .ack = flags & TCP_ACK ? h->expects : 0,
        .flags = flags,
        .window = h->window,
        .ttl = 57,
        .options = NO_OPTIONS,
    };
    s.options.timestamps = h->timestamps;
    s.options.tsval = h->clock;
    s.options.tsecr = h->echo;
    if (flags & TCP_SYN) {
        s.options.mss = h->mss;
        s.options.window_scale = h->scale;
        s.options.sack_ok = h->sack;
    }
    return s;
}

struct wire_segment wire_data(const struct wire_talk *t, enum direction from, uint8_t flags,
                              const char *text)
{
    struct wire_segment s = wire_segment(t, from, flags);
    s.payload = text;
    s.length = (uint16_t)strlen(text);
    return s;
}

enum verdict wire_send(struct wire *w, const struct wire_segment *segment, enum direction from)
{
    return wire_in(w, from == FROM_CLIENT ? OUTSIDE : INSIDE, segment);
}

uint32_t wire_delta(const struct wire_talk *t)
{
    return t->cookie - t->server.isn;
}

struct wire_segment wire_handshake(struct wire *w, struct wire_talk *t)
{
    struct wire_host *c = &t->client;
    const struct wire_segment syn = wire_segment(t, FROM_CLIENT, TCP_SYN);
    MUST(wire_send(w, &syn, FROM_CLIENT) == VERDICT_SYN_COOKIE);
    const struct wire_segment answer = wire_out(w, OUTSIDE);
    MUST(answer.flags == (TCP_SYN | TCP_ACK) && answer.ack == c->isn + 1);
    c->next = c->isn + 1;
    c->expects = answer.seq + 1;
    t->cookie = answer.seq;
    c->timestamps = answer.options.timestamps;
    c->echo = answer.options.tsval;
    c->sack = c->sack && answer.options.sack_ok;
    if (answer.options.window_scale == COOKIE_NO_SCALE)
        c->scale = COOKIE_NO_SCALE;
    if (c->scale != COOKIE_NO_SCALE)
        c->window = (uint16_t)(c->window >> c->scale);
    c->clock += 10;
    return answer;
}

struct wire_segment wire_ask(struct wire *w, struct wire_talk *t, const char *request)
{
    const struct wire_segment data = wire_data(t, FROM_CLIENT, TCP_ACK | TCP_PSH, request);
    MUST(wire_send(w, &data, FROM_CLIENT) == VERDICT_OPENED);
    t->client.next += data.length;
    const struct wire_segment syn = wire_out(w, INSIDE);
    MUST(syn.flags == TCP_SYN && syn.seq == t->client.isn && syn.length == 0);
    t->server.expects = syn.seq + 1;
    t->server.echo = syn.options.tsval;
    return syn;
}

/* What the backend was not offered it does not grant. */
struct wire_segment wire_syn_ack(const struct wire_talk *t)
{
    struct wire_segment s = wire_segment(t, FROM_BACKEND, TCP_SYN | TCP_ACK);
    s.options.sack_ok = t->server.sack && t->client.sack;
    s.options.timestamps = t->server.timestamps && t->client.timestamps;
    if (t->client.scale == COOKIE_NO_SCALE)
        s.options.window_scale = COOKIE_NO_SCALE;
    return s;
}

struct wire_segment wire_accept(struct wire *w, struct wire_talk *t)
{
    struct wire_host *s = &t->server;
    const struct wire_segment syn_ack = wire_syn_ack(t);
    MUST(wire_send(w, &syn_ack, FROM_BACKEND) == VERDICT_BACKEND_ANSWERED);
    const struct wire_segment held = wire_out(w, INSIDE);
    MUST(held.seq == s->expects && held.ack == s->isn + 1);
    t->ts_delta = t->client.echo - syn_ack.options.tsval;
    s->next = s->isn + 1;
    s->expects += held.length + ((held.flags & TCP_FIN) != 0);
    s->timestamps = syn_ack.options.timestamps;
    s->scale = syn_ack.options.window_scale;
    if (s->scale != COOKIE_NO_SCALE)
        s->window = (uint16_t)(s->window >> s->scale);
    s->clock += 10;
    return held;
}

void wire_open(struct wire *w, struct wire_talk *t)
{
    wire_handshake(w, t);
    wire_ask(w, t, wire_request);
    wire_accept(w, t);
    wire_pass(w, t, FROM_BACKEND, TCP_ACK, "");
    wire_quiet(w);
}

struct wire_segment wire_pass(struct wire *w, struct wire_talk *t, enum direction from,
                              uint8_t flags, const char *text)
{
    const uint32_t delta = wire_delta(t);
    struct wire_host *sender = from == FROM_CLIENT ? &t->client : &t->server;
    struct wire_host *receiver = from == FROM_CLIENT ? &t->server : &t->client;
    const struct wire_segment sent = wire_data(t, from, flags, text);
    const enum verdict verdict = wire_send(w, &sent, from);
    MUST(verdict == (flags & TCP_RST ? VERDICT_FLOW_RESET : VERDICT_FORWARDED));
    const struct wire_segment seen = wire_out(w, from == FROM_CLIENT ? INSIDE : OUTSIDE);
    MUST(seen.seq == (from == FROM_CLIENT ? sent.seq : sent.seq + delta));
    MUST(seen.ack == (from == FROM_CLIENT && (flags & TCP_ACK) ? sent.ack - delta : sent.ack));
    MUST(seen.options.timestamps == sent.options.timestamps);
    if (seen.options.timestamps) {
        MUST(seen.options.tsval == sent.options.tsval + (from == FROM_CLIENT ? 0 : t->ts_delta));
        MUST(seen.options.tsecr == sent.options.tsecr - (from == FROM_CLIENT ? t->ts_delta : 0));
    }
    MUST(seen.flags == flags && seen.length == sent.length);
    MUST(memcmp(seen.payload, text, sent.length) == 0);
    sender->next += sent.length + ((flags & TCP_FIN) != 0);
    receiver->expects = seen.seq + seen.length + ((flags & TCP_FIN) != 0);
    receiver->echo = seen.options.tsval;
    sender->clock += 1;
    return seen;
}

void wire_close(struct wire *w, struct wire_talk *t, enum direction first)
{
    const enum direction second = first == FROM_CLIENT ? FROM_BACKEND : FROM_CLIENT;
    wire_pass(w, t, first, TCP_FIN | TCP_ACK, "");
    wire_pass(w, t, second, TCP_FIN | TCP_ACK, "");
    wire_pass(w, t, first, TCP_ACK, "");
}

/* A flow is armed as long as it lives, and nothing else is. */
void wire_expect_tables(const struct wire *w, uint32_t flows, uint32_t held)
{
    MUST(flows_count(w->shard->flows) == flows);
    MUST(held_count(w->shard->held) == held);
    uint32_t armed = 0;
    for (uint32_t i = 0; i < flows_capacity(w->shard->flows); i++)
        armed += wheel_armed(w->shard->wheel, i);
    MUST(armed == flows);
}

/* ---- tests ---- */

int wire_setup_v4(void **state)
{
    *state = wire_new(WIRE_V4, NULL);
    return 0;
}

int wire_setup_v6(void **state)
{
    *state = wire_new(WIRE_V6, NULL);
    return 0;
}

int wire_teardown(void **state)
{
    wire_free(*state);
    return 0;
}
