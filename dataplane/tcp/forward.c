/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Segments of open flows: checked against what both halves have said, looked up in the close table,
 * translated in place, sent on. And how flows end. */
#include "dataplane/tcp/shard.h"

static bool backend_fin_seen(enum flow_state state)
{
    return state >= FLOW_BACKEND_FIN;
}

static bool client_fin_seen(enum flow_state state)
{
    return state >= FLOW_CLIENT_FIN && state != FLOW_BACKEND_FIN && state != FLOW_BACKEND_FIN_ACKED;
}

/* How long a flow may be silent in a state. */
static uint32_t patience(const struct limits *limits, enum flow_state state)
{
    switch (state) {
    case FLOW_ESTABLISHED: return limits->idle_ms;
    case FLOW_CLIENT_FIN:
    case FLOW_CLIENT_FIN_ACKED:
    case FLOW_BACKEND_FIN:
    case FLOW_BACKEND_FIN_ACKED: return limits->half_closed_ms;
    case FLOW_CLOSED: return limits->linger_ms;
    default: return limits->closing_ms;
    }
}

/* A window in bytes, at least as many as the other end takes it for: less than a unit of its scale
 * is told as one unit (tcp-pitfalls 5), and what it then sends must reach the one that knows
 * better. */
static uint32_t window_bytes(uint16_t window, uint8_t scale, uint8_t told)
{
    uint32_t bytes = (uint32_t)window << scale, unit = UINT32_C(1) << told;
    return window != 0 && bytes < unit ? unit : bytes;
}

/* A segment of the flow in the client's numbers, windows in bytes. */
static struct window_segment in_client_numbers(const struct flow *flow, const struct packet *packet,
                                               const struct tcp_options *options,
                                               enum direction from)
{
    const struct splice *splice = &flow->splice;
    struct window_segment segment = {
        .seq = packet->seq,
        .ack = packet->ack,
        .length = packet->length,
        .flags = packet->flags,
        .timestamps = flow->timestamps && options->timestamps,
        .tsval = options->tsval,
        .window = window_bytes(packet->window, splice->scale_of_client, splice->scale_told_backend),
    };
    if (from == FROM_BACKEND) {
        segment.seq += splice->seq_delta;
        segment.tsval += splice->ts_delta;
        segment.window =
            window_bytes(packet->window, packet->flags & TCP_SYN ? 0 : splice->scale_of_backend,
                         splice->scale_told_client);
    }
    return segment;
}

static void send_on(struct shard *shard, struct frame *frame, const struct packet *packet,
                    struct flow *flow, enum direction from)
{
    const struct services *services = shard->policy.services;
    enum port_side to = from == FROM_CLIENT ? INSIDE : OUTSIDE;
    if (from == FROM_CLIENT) {
        memcpy(&flow->client_mac, frame->bytes + 6, sizeof flow->client_mac);
        translate_to_backend(frame->bytes, packet, &flow->splice,
                             &services->backend[flow->backend].address);
        memcpy(frame->bytes, &shard->policy.neighbors->backend[flow->backend].mac, 6);
    } else {
        translate_to_client(frame->bytes, packet, &flow->splice,
                            &services->service[flow->service].listen);
        memcpy(frame->bytes, &flow->client_mac, 6);
    }
    memcpy(frame->bytes + 6, &shard->mac[to], 6);
    frame->length = packet->end; /* without Ethernet padding */
    frame->to = (uint8_t)to;
}

/* Entries of flows that have ended meanwhile need not be kept. One whose slot holds another closed
 * flow by now is taken for that one's: it would go a little before its turn. */
static void note_closed(struct shard *shard, const struct flow *flow)
{
    uint32_t oldest;
    while ((oldest = linger_oldest(shard->lingering)) != LINGER_NONE &&
           flow_at(shard->flows, oldest)->state != FLOW_CLOSED)
        linger_drop(shard->lingering);
    linger_add(shard->lingering, flow_index(shard->flows, flow));
}

static void enter(struct shard *shard, struct flow *flow, enum flow_state next)
{
    if (flow->state == next)
        return;
    if (next == FLOW_CLOSED)
        note_closed(shard, flow);
    flow->state = (uint8_t)next;
    wheel_set(shard->wheel, flow_index(shard->flows, flow), patience(shard->policy.limits, next));
}

/* The backend sent its SYN-ACK again: our first data was lost on the inside. Acknowledge, as the
 * client would. */
static enum verdict acknowledge_again(struct shard *shard, struct frame *frame,
                                      const struct packet *packet, const struct flow *flow,
                                      const struct tcp_options *options)
{
    struct segment answer = shard_answer(shard, frame, packet);
    answer.seq = flow->client_isn + 1;
    answer.ack = packet->seq + 1;
    answer.flags = TCP_ACK;
    uint32_t window = flow->from_backend.limit - (answer.ack + flow->splice.seq_delta);
    window >>= flow->splice.scale_told_backend;
    answer.window = window > UINT16_MAX ? UINT16_MAX : (uint16_t)window;
    answer.options.timestamps = flow->timestamps;
    answer.options.tsval = flow->from_client.ts_recent;
    answer.options.tsecr = options->tsval;
    shard_replace(frame, INSIDE, &answer);
    return VERDICT_FORWARDED;
}

/* Whether a segment that is sent on keeps the flow for another while. Of a closed one, only a FIN
 * that the backend sends again does: it has not been acknowledged to it. A client could go on for
 * ever with a copy of anything, and its tombstone knows the answer. */
static bool keeps(const struct flow *flow, const struct packet *packet, enum direction from)
{
    return flow->state != FLOW_CLOSED || (from == FROM_BACKEND && (packet->flags & TCP_FIN));
}

enum verdict forward_packet(struct shard *shard, struct frame *frame, const struct packet *packet,
                            struct flow *flow, enum direction from)
{
    struct tcp_options options;
    if (!packet_options(frame->bytes, packet, &options))
        return VERDICT_BAD_OPTIONS;
    struct side *mine = from == FROM_CLIENT ? &flow->from_client : &flow->from_backend;
    struct side *other = from == FROM_CLIENT ? &flow->from_backend : &flow->from_client;
    struct window_segment segment = in_client_numbers(flow, packet, &options, from);
    enum verdict verdict = window_check(mine, other, &segment);
    if (verdict != VERDICT_FORWARDED)
        return verdict;
    struct packet shorter;
    if (from == FROM_CLIENT)
        verdict = requests_read(shard, frame, &packet, &shorter, flow, &segment);
    if (verdict != VERDICT_FORWARDED)
        return verdict;
    bool other_fin =
        from == FROM_CLIENT ? backend_fin_seen(flow->state) : client_fin_seen(flow->state);
    struct transition next =
        states_next(flow->state, from, window_class(mine, other, &segment, other_fin));
    switch (next.action) {
    case ACTION_FORWARD:
        window_note(mine, other, &segment);
        /* Of a reset nothing but its number was checked, and the backend may ignore it. */
        if (from == FROM_CLIENT && segment.timestamps && !(segment.flags & TCP_RST) &&
            seq_before(flow->newest, segment.tsval))
            flow->newest = segment.tsval;
        if (keeps(flow, packet, from))
            flow->last_ms = (uint32_t)shard->now_ms;
        send_on(shard, frame, packet, flow, from);
        enter(shard, flow, next.next);
        return VERDICT_FORWARDED;
    case ACTION_RESET:
        send_on(shard, frame, packet, flow, from);
        flow_end(shard, flow, true);
        return VERDICT_FLOW_RESET;
    case ACTION_REPEAT: return acknowledge_again(shard, frame, packet, flow, &options);
    default: return VERDICT_STATE;
    }
}

void forward_timeout(struct shard *shard, struct flow *flow)
{
    uint32_t silent = (uint32_t)shard->now_ms - flow->last_ms;
    uint32_t patient = patience(shard->policy.limits, flow->state);
    if (silent < patient) { /* packets only note the time: cheaper than moving a timer for each */
        wheel_set(shard->wheel, flow_index(shard->flows, flow), patient - silent);
        return;
    }
    if (flow->state == FLOW_CLOSED) {
        flow_end(shard, flow, false);
        shard_count(shard, VERDICT_FLOW_CLOSED);
        return;
    }
    flow_reset_backend(shard, flow);
    flow_reset_client(shard, flow);
    flow_end(shard, flow, true);
    shard_count(shard, VERDICT_FLOW_IDLE);
}

void flow_reset_client(struct shard *shard, const struct flow *flow)
{
    const struct service *service = &shard->policy.services->service[flow->service];
    struct segment reset = {
        .from = shard->mac[OUTSIDE],
        .to = flow->client_mac,
        .source = service->listen.addr,
        .destination = flow->client,
        .source_port = service->listen.port,
        .destination_port = flow->client_port,
        .seq = flow->from_client.acked,
        .ack = flow->from_client.end,
        .flags = TCP_RST | TCP_ACK,
        .options = NO_OPTIONS,
    };
    shard_send(shard, OUTSIDE, &reset);
}

void flow_reset_backend(struct shard *shard, const struct flow *flow)
{
    const struct backend *backend = &shard->policy.services->backend[flow->backend];
    bool opening = flow->state == FLOW_OPENING;
    struct segment reset = {
        .from = shard->mac[INSIDE],
        .to = shard->policy.neighbors->backend[flow->backend].mac,
        .source = flow->client,
        .destination = backend->address.addr,
        .source_port = flow->client_port,
        .destination_port = backend->address.port,
        .seq = flow->from_backend.acked,
        .ack = opening ? 0 : flow->from_client.acked - flow->splice.seq_delta,
        .flags = opening ? TCP_RST : TCP_RST | TCP_ACK,
        .options = NO_OPTIONS,
    };
    shard_send(shard, INSIDE, &reset);
}

struct flow *flow_make(struct shard *shard)
{
    struct flow *flow = flow_reserve(shard->flows);
    uint32_t oldest;
    while (flow == NULL && (oldest = linger_oldest(shard->lingering)) != LINGER_NONE) {
        struct flow *closed = flow_at(shard->flows, oldest);
        linger_drop(shard->lingering);
        if (closed->state != FLOW_CLOSED)
            continue;
        flow_end(shard, closed, false);
        shard_count(shard, VERDICT_FLOW_CLOSED);
        flow = flow_reserve(shard->flows);
    }
    return flow;
}

void flow_end(struct shard *shard, struct flow *flow, bool reset)
{
    struct tombstone stone = {
        .tuple = flow_hash(shard->flows, &flow->client, flow->client_port) ^ flow->service,
        .client_isn = flow->client_isn,
        .client_end = flow->from_client.end,
        .server_end = flow->from_backend.end,
        .reset = reset,
    };
    if (tombstones_add(shard->tombstones, &stone, shard->now_ms, COOKIE_LIFE_MS))
        shard_count(shard, VERDICT_TOMBSTONE_EVICTED);
    held_drop(shard->held, flow->held);
    wheel_cancel(shard->wheel, flow_index(shard->flows, flow));
    flow_release(shard->flows, flow);
}
