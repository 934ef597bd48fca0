/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The two ends of a flow as the gateway speaks to them itself, in the name of the other: what such
 * a segment always has, resets with exact numbers; and how a flow begins and ends. */
#include "dataplane/tcp/shard.h"

/* A distance to a window's right edge as it goes on the wire. */
static uint16_t window_field(uint32_t bytes, uint8_t scale)
{
    uint32_t units = bytes >> scale;
    return units > UINT16_MAX ? UINT16_MAX : (uint16_t)units;
}

uint32_t flow_granted(const struct shard *shard, const struct flow *flow)
{
    uint32_t unit = UINT32_C(1) << flow->splice.scale_told_client;
    return flow->client_isn + 1 + shard->policy.limits->window + unit - 1;
}

/* What the backend's client has of it: for its FIN the refusal's stands. */
static uint32_t acked_of_backend(const struct flow *flow)
{
    const uint32_t acked = flow->from_client.acked;
    if (flow->state != FLOW_REFUSED || seq_before(acked, flow->scan.refused.at))
        return acked;
    return flow->scan.refused.at + 1;
}

struct segment flow_to_backend(const struct shard *shard, const struct flow *flow)
{
    const struct backend *backend = &shard->policy.services->backend[flow->backend];
    const struct side *client = &flow->from_client, *server = &flow->from_backend;
    struct segment segment = {
        .from = shard->mac[INSIDE],
        .to = shard->policy.neighbors->backend[flow->backend].mac,
        .source = flow->client,
        .destination = backend->address.addr,
        .source_port = flow->client_port,
        .destination_port = backend->address.port,
        .seq = server->acked,
        .ack = acked_of_backend(flow) - flow->splice.seq_delta,
        .flags = TCP_ACK,
        .window = window_field(server->limit - client->acked, flow->splice.scale_told_backend),
        .options = NO_OPTIONS,
    };
    segment.options.timestamps = flow->timestamps;
    segment.options.tsval = flow->newest; /* never refused as old (RFC 7323 section 5) */
    segment.options.tsecr = server->ts_recent - flow->splice.ts_delta;
    return segment;
}

struct segment flow_to_client(const struct shard *shard, const struct flow *flow)
{
    const struct service *service = &shard->policy.services->service[flow->service];
    struct segment segment = {
        .from = shard->mac[OUTSIDE],
        .to = flow->client_mac,
        .source = service->listen.addr,
        .destination = flow->client,
        .source_port = service->listen.port,
        .destination_port = flow->client_port,
        .seq = flow->from_client.acked,
        .ack = flow_acknowledged(flow),
        .flags = TCP_ACK,
        .window = window_field(flow->from_client.limit - flow->from_backend.acked,
                               flow->splice.scale_told_client),
        .options = NO_OPTIONS,
    };
    segment.options.timestamps = flow->timestamps;
    segment.options.tsval =
        flow->state == FLOW_REFUSED ? flow->scan.refused.clock : flow->from_backend.ts_recent;
    segment.options.tsecr = flow->from_client.ts_recent;
    return segment;
}

struct segment flow_ack_to_client(const struct shard *shard, const struct flow *flow)
{
    struct segment ack = flow_to_client(shard, flow);
    uint8_t scale = flow->splice.scale_told_client;
    uint32_t edge = held_at(shard->held, flow->held)->announced;
    uint32_t left = seq_before(ack.ack, edge) ? edge - ack.ack : 0;
    /* Up to the next unit: the edge that was announced never moves back. */
    ack.window = window_field(left + (UINT32_C(1) << scale) - 1, scale);
    return ack;
}

void flow_reset_client(struct shard *shard, const struct flow *flow)
{
    struct segment reset = flow_to_client(shard, flow);
    if (seq_before(reset.ack, flow->from_client.end))
        reset.ack = flow->from_client.end;
    reset.flags = TCP_RST | TCP_ACK;
    reset.window = 0;
    reset.options = NO_OPTIONS;
    shard_send(shard, OUTSIDE, &reset);
}

void flow_reset_backend(struct shard *shard, const struct flow *flow)
{
    if (flow->state == FLOW_READING || flow->backend == BACKEND_NONE) /* it has not heard of it */
        return;
    struct segment reset = flow_to_backend(shard, flow);
    reset.flags = TCP_RST | TCP_ACK;
    reset.window = 0;
    reset.options = NO_OPTIONS;
    if (flow->state == FLOW_OPENING) { /* nothing is known of its numbers */
        reset.seq = flow->client_isn + 1;
        reset.ack = 0;
        reset.flags = TCP_RST;
    }
    shard_send(shard, INSIDE, &reset);
}

void flow_reset_backend_anyhow(struct shard *shard, struct flow *flow)
{
    flow_reset_backend(shard, flow);
    if (flow->state < FLOW_ESTABLISHED || flow->from_backend.acked == flow->from_client.end)
        return;
    flow->from_backend.acked = flow->from_client.end;
    flow_reset_backend(shard, flow);
}

void flow_reset_client_anyhow(struct shard *shard, struct flow *flow)
{
    flow_reset_client(shard, flow);
    if (flow->from_client.acked == flow->from_backend.end)
        return;
    flow->from_client.acked = flow->from_backend.end;
    flow_reset_client(shard, flow);
}

void flow_reset_both(struct shard *shard, struct flow *flow)
{
    flow_reset_backend_anyhow(shard, flow);
    flow_reset_client_anyhow(shard, flow);
}

struct flow *flow_make(struct shard *shard)
{
    struct flow *flow = flow_reserve(shard->flows);
    uint32_t oldest;
    while (flow == NULL && (oldest = linger_oldest(shard->lingering)) != LINGER_NONE) {
        struct flow *closed = flow_at(shard->flows, oldest);
        linger_drop(shard->lingering);
        if (!flow_is_closed(closed))
            continue;
        flow_end_closed(shard, closed);
        flow = flow_reserve(shard->flows);
    }
    return flow;
}

void flow_uncount(struct shard *shard, struct flow *flow)
{
    client_disconnect(shard->clients, flow->account, flow_index(shard->flows, flow));
    flow->account = CLIENT_NOBODY;
}

void flow_strike(struct shard *shard, const struct flow *flow, enum strike reason)
{
    client_strike_on(shard->clients, &shard->policy.limits->clients, flow->account, reason,
                     shard->now_ms);
}

void flow_bury(struct shard *shard, const struct tombstone *stone)
{
    if (tombstones_add(shard->tombstones, stone, shard->now_ms, COOKIE_LIFE_MS))
        shard_count(shard, VERDICT_TOMBSTONE_EVICTED);
}

void flow_end(struct shard *shard, struct flow *flow, bool reset)
{
    struct tombstone stone = {
        .tuple = flow_hash(shard->flows, &flow->client, flow->client_port) ^ flow->service,
        .client_isn = flow->client_isn,
        .client_end = surplus_shown(flow, flow->from_client.end),
        .server_end = flow->from_backend.end,
        .reset = reset,
    };
    flow_bury(shard, &stone);
    flow_uncount(shard, flow);
    held_drop(shard->held, flow->held);
    wheel_cancel(shard->wheel, flow_index(shard->flows, flow));
    flow->unanswered = false; /* whoever watches it sees that */
    flow_release(shard->flows, flow);
}

void flow_end_closed(struct shard *shard, struct flow *flow)
{
    const bool reset = flow->reset; /* then it was counted when that came */
    flow_end(shard, flow, reset);
    if (!reset)
        shard_count(shard, VERDICT_FLOW_CLOSED);
}
