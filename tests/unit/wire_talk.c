/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Talks: both hosts' numbers, and the steps of a conversation that most tests have in common. */
#include <string.h>

#include "tests/unit/wire.h"
#include "tests/unit/wire_must.h"

const char wire_request[] = "GET /v1/items/7 HTTP/1.1\r\nHost: shop.example\r\n\r\n";
const char wire_upload[] = "PUT /v1/items/7 HTTP/1.1\r\nHost: shop.example\r\n"
                           "Content-Length: 1000000000000\r\n\r\n";

const struct mac wire_backend_mac = {{0x02, 0, 0, 0, 0xb, 1}};
static const struct mac router_mac = {{0x02, 0, 0, 0, 0xc, 1}}; /* the clients' last hop */

static struct wire_host linux_host(struct endpoint at, struct mac mac, uint16_t mss)
{
    return (struct wire_host){
        .at = at, .mac = mac, .mss = mss, .scale = 7, .sack = true, .timestamps = true};
}

struct wire_talk wire_talk(struct wire *w)
{
    const bool v4 = w->family == WIRE_V4;
    const uint16_t mss = v4 ? 1460 : 1440;
    struct endpoint client;
    MUST(endpoint_parse(v4 ? "198.18.64.9:1" : "[2001:db8:1000::9]:1", &client) == 0);
    client.port = w->next_port++;
    struct wire_talk t = {
        .client = linux_host(client, router_mac, mss),
        .server = linux_host(w->services->backend[w->family].address, wire_backend_mac, mss)};
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

uint16_t wire_backend_at(const struct wire *w, const struct addr *addr)
{
    for (uint32_t i = 0; i < w->services->backend_count; i++)
        if (addr_equal(&w->services->backend[i].address.addr, addr))
            return (uint16_t)i;
    MUST(false);
    return 0;
}

struct mac wire_mac_of(uint16_t backend)
{
    struct mac mac = wire_backend_mac;
    mac.bytes[5] = (uint8_t)(mac.bytes[5] + backend / 2);
    return mac;
}

void wire_serve(const struct wire *w, struct wire_talk *t, uint16_t backend)
{
    t->server.at = w->services->backend[backend].address;
    t->server.mac = wire_mac_of(backend);
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

void wire_syn_again(struct wire *w, const struct wire_talk *t)
{
    const struct wire_segment again = wire_out(w, INSIDE);
    MUST(again.flags == TCP_SYN && again.seq == t->client.isn && again.length == 0);
}

struct wire_segment wire_accept(struct wire *w, struct wire_talk *t)
{
    struct wire_host *s = &t->server;
    const struct wire_segment syn_ack = wire_syn_ack(t);
    MUST(wire_send(w, &syn_ack, FROM_BACKEND) == VERDICT_BACKEND_ANSWERED);
    wire_syn_again(w, t);
    const struct wire_segment held = wire_out(w, INSIDE);
    MUST(held.options.tsecr == 0);
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
    wire_ask(w, t, wire_upload);
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

void wire_unavailable(struct wire *w, struct wire_talk *t)
{
    static const char status[] = "HTTP/1.1 503 ";
    const struct wire_segment told = wire_out(w, OUTSIDE);
    MUST(told.flags == (TCP_PSH | TCP_FIN | TCP_ACK));
    MUST(told.seq == t->client.expects);
    MUST(told.ack == t->client.next);
    MUST(told.length > sizeof status);
    MUST(memcmp(told.payload, status, sizeof status - 1) == 0);
    t->client.expects += told.length + 1U;
    const struct wire_segment fin = wire_segment(t, FROM_CLIENT, TCP_FIN | TCP_ACK);
    MUST(wire_send(w, &fin, FROM_CLIENT) == VERDICT_REFUSAL_TAKEN);
    MUST(wire_out(w, OUTSIDE).flags == TCP_ACK);
    wire_wait(w, w->limits.linger_ms + 200);
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
