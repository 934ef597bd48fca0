/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The bench: policy, clock, what goes in and what comes out. */
#include "tests/unit/wire.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/wire_must.h"

enum { SERVICES = 4, BACKENDS = 2 * WIRE_BACKENDS, STEP_MS = 4 };

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
    static const char *const backend[2] = {"198.18.128.2:8080", "[2001:db8:0:1::2]:8080"};
    struct services *s = calloc(1, sizeof *s);
    *s = (struct services){
        .count = SERVICES,
        .backend_count = BACKENDS,
        .service = calloc(SERVICES, sizeof *s->service),
        .backend = calloc(BACKENDS, sizeof *s->backend),
        .members = calloc(BACKENDS, sizeof *s->members),
        .by_listen = endpoints_new(SERVICES),
        .by_backend = endpoints_new(BACKENDS),
        .own = {endpoints_new(8), endpoints_new(8)},
        .behind = endpoints_new(8 + BACKENDS),
        .inside_link = calloc(2, sizeof *s->inside_link),
        .inside_link_count = 2,
    };
    MUST(prefix_parse("198.18.128.0/24", &s->inside_link[0], NULL) == 0);
    MUST(prefix_parse("2001:db8:0:1::/64", &s->inside_link[1], NULL) == 0);
    for (int i = 0; i < SERVICES; i++) {
        s->service[i].listen = endpoint_of(listen[i]);
        s->service[i].backends = &s->members[(i % 2) * WIRE_BACKENDS];
        s->service[i].backend_count = 1;
        endpoints_add(s->by_listen, &s->service[i].listen.addr, s->service[i].listen.port, i);
        endpoints_add(s->own[OUTSIDE], &s->service[i].listen.addr, 0, 0);
    }
    for (int i = 0; i < BACKENDS; i++) {
        struct backend *b = &s->backend[i];
        s->members[(i % 2) * WIRE_BACKENDS + i / 2] = (uint16_t)i;
        b->address = endpoint_of(backend[i % 2]);
        b->address.addr.bytes[15] = (uint8_t)(b->address.addr.bytes[15] + i / 2);
        b->next_hop = b->address.addr;
        b->source = addr_of(i % 2 == WIRE_V4 ? "198.18.128.1" : "2001:db8:0:1::1");
        endpoints_add(s->by_backend, &b->address.addr, b->address.port, i);
        endpoints_add(s->behind, &b->address.addr, 0, 0);
        endpoints_add(s->behind, &b->source, 0, 0);
    }
    add_own(s, OUTSIDE, "198.18.0.1");
    add_own(s, OUTSIDE, "2001:db8::1");
    add_own(s, INSIDE, "198.18.128.1");
    add_own(s, INSIDE, "2001:db8:0:1::1");
    services_note_sources(s);
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

void wire_backends(struct wire *w, uint32_t count)
{
    static const struct siphash_key key = {3, 4};
    MUST(count >= 1 && count <= WIRE_BACKENDS);
    for (int i = 0; i < SERVICES; i++)
        w->services->service[i].backend_count = i % 2 == (int)w->family ? count : 1;
    free(w->balance);
    w->balance = balance_new(w->services, w->health, &key);
    MUST(w->balance != NULL);
    w->policy.balance = w->balance;
}

static void fill_policy(struct wire *w)
{
    w->services = services_of_rig();
    w->offers = calloc(1, sizeof *w->offers + SERVICES * sizeof w->offers->offer[0]);
    w->neighbors = calloc(1, sizeof *w->neighbors + BACKENDS * sizeof w->neighbors->backend[0]);
    w->offers->count = SERVICES;
    w->neighbors->count = BACKENDS;
    for (int i = 0; i < BACKENDS; i++) {
        w->neighbors->backend[i].mac = wire_mac_of((uint16_t)i);
        w->neighbors->backend[i].known = true;
    }
    w->limits = (struct limits){
        .syn_timeout_ms = 1000,
        .syn_tries = 4,
        .head_timeout_ms = 10000,
        .idle_ms = 900000,
        .half_closed_ms = 300000,
        .closing_ms = 60000,
        .linger_ms = 3000,
        .window = 8192,
        .mss_v4 = 1460,
        .mss_v6 = 1440,
        .per_second = {1000, 1000, 1000, 1000, 1000, 1000},
        .source_rate = 0, /* most tests send much in no time */
        .network_rate = 0,
        .probe_interval_ms = 5000,
        .probe_timeout_ms = 1000,
        .probe_failures = 2,
        .opening_failures = 5,
    };
    w->policy = (struct policy){.services = w->services,
                                .offers = w->offers,
                                .neighbors = w->neighbors,
                                .limits = &w->limits,
                                .keys = &w->keys};
    w->health = malloc(BACKENDS);
    memset(w->health, HEALTH_UP, BACKENDS);
    wire_backends(w, 1);
    for (int i = 0; i < SERVICES; i++) {
        const struct promise none = {
            policy_cookie_service(&w->services->service[i].listen, COOKIE_NO_SCALE),
            COOKIE_NO_SCALE};
        w->offers->offer[i].promise[0] = none;
        w->offers->offer[i].promise[1] = none;
    }
}

/* ---- life ---- */

/* The upkeep rolls keys as epochs pass, and lends what the budgets allow; so does the rig, between
 * any two packets. */
void wire_begin(struct wire *w)
{
    static const uint8_t master[32] = {7, 1, 8, 2, 8, 1, 8, 2, 8};
    if (w->keys.first_epoch + 1 != w->unix_ms / COOKIE_EPOCH_MS)
        cookie_keys_derive(&w->keys, master, w->unix_ms);
    lender_run(&w->lender, w->policy.limits->per_second, w->now_ms);
    shard_begin(w->shard, &w->policy, w->now_ms, w->unix_ms);
}

static void keep_frame(void *context, enum port_side to, const uint8_t *bytes, uint32_t length)
{
    struct wire *w = context;
    MUST(to < PORT_SIDES);
    MUST(length <= FRAME_ROOM);
    MUST(w->frame_count < WIRE_FRAMES);
    struct wire_frame *f = &w->frames[w->frame_count++];
    const uint32_t tags = (uint32_t)w->vlan[to].count * VLAN_TAG;
    MUST(length + tags <= FRAME_ROOM);
    f->at_ms = w->now_ms;
    f->to = to;
    f->length = length + tags;
    memcpy(f->bytes + tags, bytes, length);
    vlan_put(&w->vlan[to], f->bytes);
}

static void keep_message(void *context, const struct message *message)
{
    struct wire *w = context;
    MUST(w->message_count < WIRE_MESSAGES);
    w->messages[w->message_count++] = *message;
}

struct wire *wire_new(enum wire_family family, const struct shard_sizes *sizes)
{
    static const struct shard_sizes enough = {
        .flows = 512, .tombstones = 4096, .held = 256, .held_large = 64, .held_bytes = 8192};
    static const struct siphash_key secret = {0x0123456789abcdef, 0xfedcba9876543210};
    static const struct mac mac[PORT_SIDES] = {{{0x02, 0, 0, 0, 0, 0xa}},
                                               {{0x02, 0, 0, 0, 0, 0xb}}};
    struct wire *w = calloc(1, sizeof *w);
    if (w == NULL)
        abort();
    w->family = family;
    memcpy(w->mac, mac, sizeof mac);
    w->now_ms = 100000;
    w->unix_ms = UINT64_C(1764000000000);
    w->next_port = 20000;
    fill_policy(w);
    const struct shard_output output = {keep_frame, keep_message, w};
    struct shard_sizes with_backends = sizes ? *sizes : enough;
    with_backends.backends = BACKENDS;
    if (with_backends.clients == 0) /* each flow may be of another, with three networks above it */
        with_backends.clients = 4 * with_backends.flows;
    if (with_backends.bans == 0)
        with_backends.bans = 64;
    w->shard = shard_new(&with_backends, &secret, &output, mac, w->now_ms);
    MUST(w->shard != NULL);
    lender_init(&w->lender, w->limits.per_second, w->now_ms);
    MUST(lender_add(&w->lender, w->shard->lease) == 0);
    for (int i = 0; i < SERVICES; i++)
        wire_offer(w, (uint16_t)i, i % 2 == WIRE_V4 ? 1460 : 1440, 7, true, true);
    return w;
}

void wire_free(struct wire *w)
{
    shard_free(w->shard);
    services_free(w->services);
    free(w->balance);
    free(w->health);
    free(w->offers);
    free(w->neighbors);
    free(w);
}

void wire_step(struct wire *w, uint32_t ms)
{
    w->now_ms += ms;
    w->unix_ms += ms;
    wire_begin(w);
    while (shard_tick(w->shard) > 0) {
    }
}

void wire_wait(struct wire *w, uint32_t ms)
{
    while (ms > 0) {
        const uint32_t step = ms < STEP_MS ? ms : STEP_MS;
        ms -= step;
        wire_step(w, step);
    }
}

/* ---- in ---- */

static enum verdict receive(struct wire *w, enum port_side side, uint32_t length)
{
    uint32_t taken;
    memset(w->in + length, 0xa5, FRAME_ROOM - length); /* what a buffer held before */
    wire_begin(w);
    const enum verdict tags = vlan_take(&w->vlan[side], w->in, length, VLAN_NONE_BESIDE, &taken);
    if (tags != VERDICT_FORWARDED) {
        shard_count(w->shard, tags);
        return tags;
    }
    struct frame frame = {.bytes = w->in + taken,
                          .room = FRAME_ROOM - taken,
                          .length = length - taken,
                          .side = (uint8_t)side};
    const enum verdict verdict = shard_packet(w->shard, &frame, 0);
    lender_run(&w->lender, w->policy.limits->per_second, w->now_ms);
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

/* What a tag must be on the wire: a service tag only before a customer's. */
static uint16_t tag_type(const struct vlan *vlan, int index)
{
    return vlan->count == 2 && index == 0 ? 0x88a8 : 0x8100;
}

enum verdict wire_in(struct wire *w, enum port_side side, const struct wire_segment *s)
{
    const struct vlan *vlan = &w->vlan[side];
    uint32_t length = wire_segment_write(w->in, s);
    for (int i = vlan->count; i-- > 0;)
        length = (uint32_t)frame_tag(w->in, length, tag_type(vlan, i), vlan->id[i]);
    return receive(w, side, length);
}

/* ---- out ---- */

const struct wire_frame *wire_out_frame(struct wire *w, enum port_side side)
{
    MUST(w->taken < w->frame_count);
    struct wire_frame *f = &w->frames[w->taken++];
    MUST(f->to == side);
    for (int i = 0; i < w->vlan[side].count; i++) {
        MUST(frame_get16(f->bytes + 12) == tag_type(&w->vlan[side], i));
        MUST(frame_get16(f->bytes + 14) == w->vlan[side].id[i]); /* priority 0 */
        f->length = (uint32_t)frame_untag(f->bytes, f->length);
    }
    MUST(memcmp(f->bytes + 6, &w->mac[side], 6) == 0);
    if (w->taken == w->frame_count)
        w->taken = w->frame_count = 0;
    return f;
}

struct wire_segment wire_out(struct wire *w, enum port_side side)
{
    const struct wire_frame *f = wire_out_frame(w, side);
    return wire_segment_read(f->bytes, f->length);
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
