/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The network is a heap of frames by the time at which they arrive. */
#include "tests/model/world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/wire_must.h"

enum { TICK_MS = 16, START_MS = 1000 };

static const struct mac client_mac = {{0x02, 0, 0, 0, 0, 0xc}};

/* ---- the heap ---- */

static bool earlier(const struct world_frame *a, const struct world_frame *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void push(struct world *w, struct world_frame frame)
{
    if (w->heap_count == w->heap_room) {
        w->heap_room = w->heap_room ? 2 * w->heap_room : 64;
        w->heap = realloc(w->heap, w->heap_room * sizeof *w->heap);
        MUST(w->heap != NULL);
    }
    uint32_t at = w->heap_count++;
    while (at != 0 && earlier(&frame, &w->heap[(at - 1) / 2])) {
        w->heap[at] = w->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    w->heap[at] = frame;
}

static struct world_frame pop(struct world *w)
{
    const struct world_frame first = w->heap[0], last = w->heap[--w->heap_count];
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= w->heap_count)
            break;
        if (child + 1 < w->heap_count && earlier(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (!earlier(&w->heap[child], &last))
            break;
        w->heap[at] = w->heap[child];
        at = child;
    }
    w->heap[at] = last;
    return first;
}

uint32_t world_in_flight(const struct world *w)
{
    return w->heap_count;
}

/* ---- links ---- */

static bool chance(struct world *w, uint32_t per_mille)
{
    return per_mille != 0 && w->now_ms < w->heals_ms && random_below(&w->random, 1000) < per_mille;
}

void world_inject(struct world *w, enum world_leg leg, const uint8_t *bytes, uint32_t length,
                  uint64_t at_ms)
{
    struct world_frame frame = {
        .at_ms = at_ms, .order = w->order++, .leg = leg, .length = length, .bytes = malloc(length)};
    MUST(frame.bytes != NULL);
    memcpy(frame.bytes, bytes, length);
    push(w, frame);
}

void world_inject_segment(struct world *w, enum world_leg leg, const struct wire_segment *segment,
                          uint64_t at_ms)
{
    uint8_t bytes[FRAME_ROOM];
    world_inject(w, leg, bytes, wire_segment_write(bytes, segment), at_ms);
}

static const struct world_link *link_of(const struct world *w, enum world_leg leg)
{
    return &w->link[leg == LEG_TO_GATEWAY_OUT || leg == LEG_TO_CLIENTS ? OUTSIDE : INSIDE];
}

static uint64_t arrival(struct world *w, const struct world_link *link)
{
    uint64_t at = w->now_ms + link->delay_ms;
    if (link->jitter_ms != 0)
        at += random_below(&w->random, link->jitter_ms + 1);
    if (chance(w, link->late))
        at += random_below(&w->random, link->late_ms + 1);
    return at;
}

static void travel(struct world *w, enum world_leg leg, const uint8_t *bytes, uint32_t length)
{
    const struct world_link *link = link_of(w, leg);
    if (!chance(w, link->lost))
        world_inject(w, leg, bytes, length, arrival(w, link));
    if (chance(w, link->doubled))
        world_inject(w, leg, bytes, length, arrival(w, link));
}

/* A segment leaves a host; on the way it may become two. */
static void leave(struct world *w, enum world_leg leg, const struct wire_segment *segment)
{
    uint8_t bytes[FRAME_ROOM];
    struct wire_segment first = *segment, second = *segment;
    const bool may = leg != LEG_TO_GATEWAY_OUT || w->split_first;
    if (segment->length < 2 || !may || !chance(w, link_of(w, leg)->split)) {
        travel(w, leg, bytes, wire_segment_write(bytes, segment));
        return;
    }
    first.length = (uint16_t)(1 + random_below(&w->random, segment->length - 1U));
    first.flags &= (uint8_t) ~(TCP_FIN | TCP_PSH);
    second.seq += first.length;
    second.length = (uint16_t)(second.length - first.length);
    second.payload = (const uint8_t *)segment->payload + first.length;
    travel(w, leg, bytes, wire_segment_write(bytes, &first));
    travel(w, leg, bytes, wire_segment_write(bytes, &second));
}

/* ---- trace ---- */

static void print_addr(const struct addr *a, uint16_t port)
{
    char text[ADDR_TEXT];
    addr_print(a, text);
    printf("%s:%u", text, port);
}

void world_print(const struct world *w, const char *where, const struct wire_segment *s,
                 const char *verdict)
{
    static const char letters[] = "FSRP.U";
    printf("%9.3f %-4s ", (double)w->now_ms / 1000, where);
    print_addr(&s->source, s->source_port);
    printf(" > ");
    print_addr(&s->destination, s->destination_port);
    printf(" ");
    for (int i = 0; i < 6; i++)
        if (s->flags >> i & 1)
            putchar(letters[i]);
    printf(" seq %u+%u ack %u win %u", s->seq, s->length, s->ack, s->window);
    if (s->options.mss)
        printf(" mss %u", s->options.mss);
    if (s->options.window_scale != COOKIE_NO_SCALE)
        printf(" scale %u", s->options.window_scale);
    if (s->options.sack_ok)
        printf(" sackOK");
    if (s->options.timestamps)
        printf(" ts %u/%u", s->options.tsval, s->options.tsecr);
    for (unsigned i = 0; i + 1 < s->sack_edges; i += 2)
        printf(" sack %u-%u", s->sack[i], s->sack[i + 1]);
    printf("%s%s\n", verdict ? "  = " : "", verdict ? verdict : "");
}

/* ---- hosts ---- */

static bool is_client(const struct world *w, const struct model_host *host)
{
    return host >= w->clients && host < w->clients + WORLD_CLIENTS;
}

static void host_sends(void *context, struct model_host *host, const struct wire_segment *segment)
{
    struct world *w = context;
    const bool client = is_client(w, host);
    enum world_leg leg = client ? LEG_TO_GATEWAY_OUT : LEG_TO_GATEWAY_IN;
    if (w->wire == NULL)
        leg = client ? LEG_TO_SERVERS : LEG_TO_CLIENTS;
    if (w->seen != NULL)
        w->seen(w->context, segment, leg);
    if (w->verbose)
        world_print(w, client ? "C>" : "S>", segment, NULL);
    leave(w, leg, segment);
}

static struct model_host *add_host(struct world *w, struct model_host *host, const char *text,
                                   struct mac mac, enum port_side side)
{
    host->now_ms = &w->now_ms;
    host->random = &w->random;
    host->context = w;
    host->send = host_sends;
    host->mac = mac;
    host->gateway = (struct mac){{0x02, 0, 0, 0, 0, side == OUTSIDE ? 0xa : 0xb}};
    MUST(addr_parse(text, &host->address) == 0);
    return host;
}

struct model_host *world_client(struct world *w, bool v4)
{
    char text[64];
    MUST(w->client_count < WORLD_CLIENTS);
    const uint32_t i = w->client_count++;
    snprintf(text, sizeof text, v4 ? "198.18.64.%u" : "2001:db8:1000:%u::9", 10 + i);
    return add_host(w, &w->clients[i], text, client_mac, OUTSIDE);
}

struct endpoint world_service(const struct world *w, bool v4, bool second)
{
    struct endpoint e;
    if (w->wire != NULL)
        return w->wire->services->service[(v4 ? WIRE_V4 : WIRE_V6) + (second ? 2 : 0)].listen;
    MUST(endpoint_parse(v4 ? "198.18.128.2:8080" : "[2001:db8:0:1::2]:8080", &e) == 0);
    return e;
}

struct model_host *world_server(struct world *w, uint16_t backend)
{
    char text[ADDR_TEXT];
    MUST(w->server_count < WORLD_SERVERS);
    struct endpoint at = world_service(w, backend % 2 == 0, false);
    if (w->wire != NULL)
        at = w->wire->services->backend[backend].address;
    struct model_host *host = &w->servers[w->server_count++];
    add_host(w, host, addr_print(&at.addr, text), wire_mac_of(backend), INSIDE);
    host->listens = at.port;
    return host;
}

static void deliver(struct world *w, struct model_host *hosts, uint32_t count, const uint64_t *down,
                    const struct world_frame *frame)
{
    const struct wire_segment in = wire_segment_read(frame->bytes, frame->length);
    for (uint32_t i = 0; i < count; i++)
        if (addr_equal(&hosts[i].address, &in.destination)) {
            MUST(w->wire == NULL || memcmp(&in.to, &hosts[i].mac, sizeof in.to) == 0);
            if (w->verbose)
                world_print(w, is_client(w, hosts) ? ">C" : ">S", &in,
                            w->now_ms < down[i] ? "host is down" : NULL);
            if (w->now_ms >= down[i])
                model_host_receive(&hosts[i], &in);
            return;
        }
    MUST(false); /* a frame for nobody */
}

/* ---- the gateway ---- */

static void collect(struct world *w)
{
    struct wire *wire = w->wire;
    while (wire_pending(wire) != 0) {
        const struct wire_frame *f = &wire->frames[wire->taken++];
        const enum world_leg leg = f->to == OUTSIDE ? LEG_TO_CLIENTS : LEG_TO_SERVERS;
        MUST(memcmp(f->bytes + 6, &wire->mac[f->to], 6) == 0);
        if (w->seen != NULL || w->verbose) {
            const struct wire_segment out = wire_segment_read(f->bytes, f->length);
            if (w->verbose)
                world_print(w, f->to == OUTSIDE ? "G>C" : "G>S", &out, NULL);
            if (w->seen != NULL)
                w->seen(w->context, &out, leg);
        }
        travel(w, leg, f->bytes, f->length);
    }
    wire_forget_frames(wire);
}

static void set_clock(struct world *w)
{
    if (w->wire == NULL || w->now_ms == w->ticked_ms)
        return;
    wire_step(w->wire, (uint32_t)(w->now_ms - w->ticked_ms));
    w->ticked_ms = w->now_ms;
    collect(w);
}

static void through_gateway(struct world *w, const struct world_frame *frame)
{
    const struct wire_segment in = wire_segment_read(frame->bytes, frame->length);
    const enum verdict verdict = wire_in_bytes(
        w->wire, frame->leg == LEG_TO_GATEWAY_OUT ? OUTSIDE : INSIDE, frame->bytes, frame->length);
    if (w->verbose)
        world_print(w, frame->leg == LEG_TO_GATEWAY_OUT ? ">G" : "G<", &in, verdict_name(verdict));
    if (w->decided != NULL)
        w->decided(w->context, &in, frame->leg, verdict);
    collect(w);
}

/* ---- life ---- */

struct world *world_new(uint64_t seed, const struct shard_sizes *sizes, bool direct)
{
    struct world *w = calloc(1, sizeof *w);
    MUST(w != NULL);
    w->random.state = seed;
    w->now_ms = START_MS;
    w->ticked_ms = w->now_ms;
    w->heals_ms = UINT64_MAX;
    if (!direct)
        w->wire = wire_new(WIRE_V4, sizes);
    return w;
}

void world_free(struct world *w)
{
    if (w->wire != NULL)
        wire_free(w->wire);
    for (uint32_t i = 0; i < w->heap_count; i++)
        free(w->heap[i].bytes);
    for (uint32_t i = 0; i < w->client_count; i++)
        model_sockets_free(w->clients[i].sockets);
    for (uint32_t i = 0; i < w->server_count; i++)
        model_sockets_free(w->servers[i].sockets);
    free(w->heap);
    free(w);
}

/* ---- time ---- */

static uint64_t hosts_due(const struct world *w)
{
    uint64_t due = UINT64_MAX;
    for (uint32_t i = 0; i < w->client_count; i++) {
        const uint64_t at = model_host_due(&w->clients[i]);
        due = at < due ? at : due;
    }
    for (uint32_t i = 0; i < w->server_count; i++) {
        const uint64_t at = model_host_due(&w->servers[i]);
        due = at < due ? at : due;
    }
    return due;
}

/* The shard's timers, while it has any. */
static uint64_t gateway_due(const struct world *w)
{
    if (w->wire == NULL || flows_count(w->wire->shard->flows) == 0)
        return UINT64_MAX;
    return w->ticked_ms + TICK_MS;
}

static void tick_hosts(struct world *w)
{
    for (uint32_t i = 0; i < w->client_count; i++)
        model_host_tick(&w->clients[i]);
    for (uint32_t i = 0; i < w->server_count; i++)
        model_host_tick(&w->servers[i]);
}

static void arrive(struct world *w)
{
    struct world_frame frame = pop(w);
    w->frames++;
    switch (frame.leg) {
    case LEG_TO_CLIENTS: deliver(w, w->clients, w->client_count, w->down_until[0], &frame); break;
    case LEG_TO_SERVERS: deliver(w, w->servers, w->server_count, w->down_until[1], &frame); break;
    default: through_gateway(w, &frame);
    }
    free(frame.bytes);
}

void world_run(struct world *w, uint64_t until_ms, uint64_t (*step)(void *context))
{
    uint64_t wanted = w->now_ms, due = hosts_due(w);
    for (;;) {
        uint64_t next = due < wanted ? due : wanted;
        const uint64_t gateway = gateway_due(w);
        if (w->heap_count != 0 && w->heap[0].at_ms < next)
            next = w->heap[0].at_ms;
        const bool only_gateway = gateway < next;
        if (only_gateway)
            next = gateway;
        if (next > until_ms)
            break;
        if (next > w->now_ms)
            w->now_ms = next;
        const uint32_t before = w->heap_count;
        set_clock(w);
        if (only_gateway && w->heap_count == before)
            continue;
        if (w->heap_count != 0 && w->heap[0].at_ms <= w->now_ms)
            arrive(w);
        else if (due <= w->now_ms)
            tick_hosts(w);
        wanted = step(w->context);
        due = hosts_due(w);
        if (wanted == 0)
            return;
        if (wanted <= w->now_ms)
            wanted = w->now_ms + 1;
    }
    if (until_ms != UINT64_MAX && until_ms > w->now_ms) {
        w->now_ms = until_ms;
        set_clock(w);
    }
}
