/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What clients ask for on open connections: their segments are read in order (tcp/scan) before they
 * go on, so that each request is counted and what is no request never reaches a backend. */
#include "dataplane/tcp/shard.h"

/* A segment on its way, of which less may go on than has come. */
struct reading {
    struct frame *frame;
    const struct packet **packet;
    struct packet *shorter;
    struct window_segment *segment;
};

/* Leaves `length` bytes of it, beginning at `seq`. */
static void cut(struct reading *r, uint32_t seq, uint32_t length)
{
    *r->shorter = **r->packet;
    translate_cut(r->frame->bytes, r->shorter, seq, (uint16_t)length);
    *r->packet = r->shorter;
    r->segment->seq = seq;
    r->segment->length = length;
    r->segment->flags = r->shorter->flags;
}

/* What is read must also arrive, or else a client could have one copy read and another executed. So
 * it must be as new as all that went before, and within the backend's window. */
static enum verdict hold_to_window(struct reading *r, const struct flow *flow)
{
    const struct window_segment *s = r->segment;
    uint32_t limit = flow->from_client.limit;
    if (!window_newest(&flow->from_client, s, flow->timestamps, flow->newest))
        return VERDICT_SCAN_GAP;
    if (!seq_before(limit, s->seq + s->length))
        return VERDICT_FORWARDED;
    /* A probe of a closed window is one byte whose fate is open; the byte before it asks as well.
     */
    if (!seq_before(s->seq, limit))
        cut(r, limit - 1, 0);
    else
        cut(r, s->seq, limit - s->seq);
    return VERDICT_FORWARDED;
}

/* Nothing of this segment goes on, nor anything behind it. */
static void reset_both(struct shard *shard, struct flow *flow, const struct window_segment *segment)
{
    struct side *client = &flow->from_client, *backend = &flow->from_backend;
    if (seq_before(client->acked, segment->ack))
        client->acked = segment->ack;
    flow_reset_backend_anyhow(shard, flow);
    flow_reset_client(shard, flow);
    if (client->acked != backend->end) {
        client->acked = backend->end;
        flow_reset_client(shard, flow);
    }
    flow_end(shard, flow, true);
}

/* Some or all of it lies behind the last request. Who still sends that after all answers were taken
 * would do so for ever, and is told as a closed socket would. */
static enum verdict behind_last(struct shard *shard, struct flow *flow, struct reading *r,
                                enum verdict verdict)
{
    if (flow->state == FLOW_BACKEND_FIN_ACKED || flow->state == FLOW_BOTH_BACKEND_ACKED) {
        reset_both(shard, flow, r->segment);
        return VERDICT_AFTER_LAST;
    }
    if (verdict == VERDICT_FORWARDED)
        cut(r, r->segment->seq, flow->scan.next - r->segment->seq);
    return verdict;
}

enum verdict requests_read(struct shard *shard, struct frame *frame, const struct packet **packet,
                           struct packet *shorter, struct flow *flow,
                           struct window_segment *segment)
{
    struct reading r = {frame, packet, shorter, segment};
    enum verdict verdict = VERDICT_FORWARDED;
    uint32_t heads;
    if ((segment->flags & (TCP_SYN | TCP_RST)) ||
        (segment->length == 0 && !(segment->flags & TCP_FIN)) ||
        shard->policy.services->service[flow->service].protocol != SERVICE_HTTP)
        return VERDICT_FORWARDED;
    if (scan_reads(&flow->scan, segment->seq + segment->length))
        verdict = hold_to_window(&r, flow);
    if (verdict != VERDICT_FORWARDED)
        return verdict;
    verdict = scan_segment(&flow->scan, segment->seq, frame->bytes + (*packet)->payload,
                           segment->length, &heads);
    shard->requests += heads;
    switch (verdict) {
    case VERDICT_FORWARDED:
        if (!seq_before(flow->scan.next, segment->seq + segment->length))
            return verdict;
        return behind_last(shard, flow, &r, verdict);
    case VERDICT_AFTER_LAST: return behind_last(shard, flow, &r, verdict);
    case VERDICT_SCAN_GAP: return verdict;
    default: reset_both(shard, flow, segment); return verdict;
    }
}
