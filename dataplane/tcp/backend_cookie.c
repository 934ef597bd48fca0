/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Backends that have no room for another half-open connection answer by SYN cookies of their own,
 * and keep nothing of what was agreed. Linux then agrees to nothing but an MSS; with timestamps it
 * hides SACK and the client's scale in its TSval, and takes them, and the place where its clock
 * stands for this client, from the echo in what completes the handshake. Ours echoes nothing, for
 * the sake of all other connections (deliver.c). No echo does for both kinds: the SYN-ACK's own
 * TSval would be taken for the round trip, and any other one Linux drops where it has kept the
 * handshake (TSEcrRejected). So a backend of that kind begins with another clock than its
 * SYN-ACK's, without SACK, and takes windows as they are on the wire. Its connection is spliced
 * like that: it is slower over long ways, and complete. */
#include "dataplane/tcp/shard.h"

bool backend_cookie_bare(const struct flow *flow, const struct tcp_options *options)
{
    return !flow->timestamps && !options->timestamps && !options->sack_ok &&
           options->window_scale == COOKIE_NO_SCALE && (flow->scaling || flow->sack);
}

void backend_cookie_splice(struct shard *shard, struct flow *flow)
{
    flow->splice.scale_told_backend = 0;
    shard->openings[flow->backend].cookies++;
}

/* More than any clock can have moved since the SYN-ACK, or less. Where the other one happens to
 * stand that close, 1 address in 2,000, it is not noticed. */
static bool jumps(const struct shard *shard, const struct flow *flow, uint32_t tsval)
{
    enum { FASTEST = 1000, SLACK_MS = 1000 }; /* ticks in 1 ms; clients' packets move last_ms */
    const uint32_t most = ((uint32_t)shard->now_ms - flow->last_ms + SLACK_MS) * FASTEST;
    return tsval - flow->from_backend.ts_recent + most > 2 * most;
}

/* Its own windows come with the scale that it likes, even if none was agreed: of an echo of 0 Linux
 * reads that the client's is 0. All backends of the service have at least the one that is
 * promised to others. */
static uint8_t scale_unasked(const struct shard *shard, const struct flow *flow)
{
    const uint8_t scale = shard->policy.offers->offer[flow->service].promise[0].window_scale;
    return scale == COOKIE_NO_SCALE ? 0 : scale;
}

/* The first data went out with a window that it has taken for a small one. */
static void tell_window(struct shard *shard, const struct flow *flow)
{
    struct segment update = flow_to_backend(shard, flow);
    update.seq = flow->from_client.end;
    shard_send(shard, INSIDE, &update);
}

void backend_cookie_first(struct shard *shard, const struct frame *frame,
                          const struct packet *packet, struct flow *flow)
{
    struct tcp_options options;
    if (!(packet->flags & TCP_ACK) || (packet->flags & (TCP_SYN | TCP_RST)) ||
        !packet_options(frame->bytes, packet, &options) || !options.timestamps)
        return;
    struct window_segment segment = flow_segment(flow, packet, &options, FROM_BACKEND);
    segment.timestamps = false;
    if (!jumps(shard, flow, segment.tsval) ||
        window_check(&flow->from_backend, &flow->from_client, &segment) != VERDICT_FORWARDED)
        return;
    flow->splice.ts_delta = flow->from_backend.ts_recent - options.tsval;
    backend_cookie_splice(shard, flow);
    if (!flow->scaling)
        flow->splice.scale_of_backend = scale_unasked(shard, flow);
    if (flow->splice.scale_of_client != 0)
        tell_window(shard, flow);
}
