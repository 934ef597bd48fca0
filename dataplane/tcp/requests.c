/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What clients ask for on open connections: their segments are read in order (tcp/scan) before they
 * go on, so that each request is counted and what is no request never reaches a backend. */
#include "dataplane/tcp/reading.h"
#include "dataplane/tcp/shard.h"

/* A segment on its way, of which less may go on than has come. */
struct reading {
    struct frame *frame;
    const struct packet **packet;
    struct packet *shorter;
    struct window_segment *segment;
};

/* Leaves `length` bytes of it, beginning at `seq`, and a FIN only if `fin`. */
static void cut(struct reading *r, uint32_t seq, uint32_t length, bool fin)
{
    *r->shorter = **r->packet;
    translate_cut(r->frame->bytes, r->shorter, seq, (uint16_t)length, fin);
    *r->packet = r->shorter;
    r->segment->seq = seq;
    r->segment->length = length;
    r->segment->flags = r->shorter->flags;
}

/* Whether the backend has to take all of it, if it has what lies before. */
static bool must_take(const struct flow *flow, const struct window_segment *s)
{
    return window_newest(&flow->from_client, s, flow->timestamps, flow->newest) &&
           !seq_before(flow->from_client.limit, s->seq + s->length);
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
        cut(r, limit - 1, 0, false);
    else
        cut(r, s->seq, limit - s->seq, false);
    return VERDICT_FORWARDED;
}

/* Body bytes go on unread and in any order. Behind a hole, or what the backend may refuse, it is
 * noted how much that has to acknowledge before anything is read again; while held bytes are being
 * delivered there is no place to note it. */
static enum verdict pass_body(struct flow *flow, const struct window_segment *s)
{
    const uint32_t end = s->seq + s->length;
    const bool hole = seq_before(flow->scan.next, s->seq);
    uint32_t head;
    if (flow->delivering && hole)
        return VERDICT_SCAN_GAP;
    if (!flow->delivering && seq_before(flow->scan.next, end)) {
        if (!must_take(flow, s))
            flow->owned_end = end;
        else if (hole)
            flow->owned_end = s->seq;
    }
    return scan_segment(&flow->scan, s->seq, NULL, s->length, &head);
}

/* Whether the backend may lack bytes before a segment at `seq`. It would keep the segment for
 * later, and take another copy of it, unread here, with those bytes. */
static bool may_lack(const struct shard *shard, const struct flow *flow, uint32_t seq)
{
    const uint32_t acked = flow->from_backend.acked;
    if (!seq_before(acked, seq))
        return false;
    if (!flow->delivering)
        return seq_before(acked, flow->owned_end);
    const struct held_entry *entry = held_at(shard->held, flow->held);
    return seq_before(entry->sent, reading_front(flow, entry));
}

/* Nothing of this segment goes on, nor anything behind it. */
static void reset_both(struct shard *shard, struct flow *flow, const struct window_segment *segment)
{
    if (seq_before(flow->from_client.acked, segment->ack))
        flow->from_client.acked = segment->ack;
    flow_reset_both(shard, flow);
    flow_end(shard, flow, true);
}

/* A segment that brings nothing new but what it acknowledges. It never gets ahead of what the
 * backend was sent: a receiver takes no window from a segment that begins before the one that it
 * had its last one from (RFC 9293 section 3.10.7.4), and what is missing here may never go on. */
static void bare(const struct flow *flow, struct reading *r)
{
    uint32_t seq = r->segment->seq, end = flow->from_client.end;
    seq = seq_before(end, seq) ? end : seq;
    if (seq != (*r->packet)->seq || (*r->packet)->length != 0)
        cut(r, seq, 0, false);
}

/* Some or all of it lies behind the last request. What follows that without a gap is discarded,
 * also before the backend has it all: no acknowledgement is raised until then. While held bytes are
 * being delivered it is dropped, and comes again. */
static enum verdict behind_last(struct shard *shard, struct flow *flow, struct reading *r)
{
    const struct window_segment *s = r->segment;
    uint32_t last = flow->scan.next;
    bool ended = flow->state == FLOW_BACKEND_FIN_ACKED, fin = (s->flags & TCP_FIN) != 0;
    bool follows =
        !seq_before(last, s->seq) && !flow->delivering && !states_client_ended(flow->state);
    if (follows && !surplus_discard(flow, s->seq + s->length - last)) {
        if (ended) {
            reset_both(shard, flow, s);
            return VERDICT_AFTER_LAST_RESET;
        }
        follows = false; /* for now: who waits for an answer may still stop */
    }
    if (flow->refusal != REFUSAL_NONE) { /* the client's end is for us, ours for the backend */
        flow->held_fin |= follows && fin;
        fin = false;
    }
    if (seq_before(s->seq, last) || (follows && fin)) {
        cut(r, s->seq, last - s->seq, follows && fin);
        return VERDICT_FORWARDED;
    }
    bare(flow, r);
    return VERDICT_AFTER_LAST;
}

/* A segment behind the last request that has lost what was discarded before. What asks for nothing
 * but to be acknowledged again is answered by us. */
static enum verdict stripped(const struct flow *flow, struct reading *r)
{
    const struct packet *whole = *r->packet;
    const uint8_t flags = r->segment->flags;
    uint32_t left = flags & TCP_RST ? 0 : r->segment->length;
    if (left != 0 || (flags & (TCP_FIN | TCP_RST))) {
        cut(r, r->segment->seq, left, (flags & TCP_FIN) != 0);
        return VERDICT_FORWARDED;
    }
    bare(flow, r);
    bool asks = whole->length != 0 || seq_before(whole->seq, flow->owned_end);
    return asks ? VERDICT_AFTER_LAST : VERDICT_FORWARDED;
}

/* The request whose head has just been completed, `scan` standing behind it, is refused: what the
 * backend has of it, `known` is behind that, is the end of its stream. */
static void refused(struct shard *shard, struct flow *flow, uint32_t begins, uint32_t known,
                    const struct refused_request *no)
{
    flow->scan.next = seq_before(begins, known) ? known : begins;
    surplus_begin(flow);
    shard_count(shard, no->why);
    if (!states_backend_ended((enum flow_state)flow->state)) /* else nothing can follow */
        refuse_note(shard, flow, &no->refusal);
}

/* Puts the head that ends where `scan` stands to the gate; what lies before `known` came in
 * segments before. */
static enum verdict judge(struct shard *shard, struct flow *flow, const struct reading *r,
                          const struct scan *scan, uint32_t head, uint32_t known,
                          struct refused_request *no)
{
    const struct gate_asker asker = {&flow->client, flow->service,
                                     gate_key(flow->client_port, flow->client_isn),
                                     shard->policy.services->backend[flow->backend].drain};
    const uint8_t *bytes = r->frame->bytes + (*r->packet)->payload;
    const uint32_t begins = scan->next - head;
    uint8_t whole[HTTP1_MAX_HEAD];
    if (!seq_before(begins, known)) {
        heads_judge(shard, &asker, bytes + (begins - r->segment->seq), head, no);
        return VERDICT_FORWARDED;
    }
    if (flow->delivering)
        return VERDICT_OPENING_BUSY;
    if (!heads_whole(shard, flow, known - begins, bytes + (known - r->segment->seq),
                     scan->next - known, whole))
        return VERDICT_HEAD_UNKEPT;
    heads_drop(shard, flow);
    heads_judge(shard, &asker, whole, head, no);
    return VERDICT_FORWARDED;
}

/* What has come of a head that is not complete is kept aside. */
static enum verdict keep(struct shard *shard, struct flow *flow, const struct reading *r,
                         const struct scan *scan, uint32_t known)
{
    const uint32_t begun = http1_head_begun(&scan->parser), begins = scan->next - begun;
    const uint32_t from = seq_before(begins, known) ? known : begins;
    const uint8_t *bytes = r->frame->bytes + (*r->packet)->payload;
    if (begun == 0)
        return VERDICT_FORWARDED;
    if (flow->delivering) /* its place is taken, for a moment */
        return VERDICT_OPENING_BUSY;
    bool kept =
        heads_keep(shard, flow, from - begins, bytes + (from - r->segment->seq), scan->next - from);
    return kept ? VERDICT_FORWARDED : VERDICT_HELD_FULL;
}

/* Leaves what is complete of a segment that ends within a head: that has been asked for, and would
 * be charged once more if all of it came again. `before` stood behind the last complete head. */
static void leave_complete(struct reading *r, struct scan *scan, const struct scan *before)
{
    const struct window_segment *s = r->segment;
    const uint32_t length = scan->next - http1_head_begun(&scan->parser) - s->seq;
    uint32_t head;
    *scan = *before;
    scan_segment(scan, s->seq, r->frame->bytes + (*r->packet)->payload, length, &head);
    cut(r, s->seq, length, false);
}

/* Reads what is new, head by head. The flow's scan moves on only if the segment does. */
static enum verdict read_heads(struct shard *shard, struct flow *flow, struct reading *r)
{
    const struct window_segment *s = r->segment;
    const uint8_t *bytes = r->frame->bytes + (*r->packet)->payload;
    const uint32_t known = flow->scan.next;
    struct scan scan = flow->scan, before;
    enum verdict verdict, could;
    uint32_t head, heads = 0;
    if (http1_part(&scan.parser) == HTTP1_BETWEEN && watch_mute(shard, flow))
        return VERDICT_BACKEND_MUTE;
    for (;;) {
        struct refused_request no = {.why = VERDICT_FORWARDED};
        before = scan;
        verdict = scan_segment(&scan, s->seq, bytes, s->length, &head);
        if (head == 0)
            break;
        could = judge(shard, flow, r, &scan, head, known, &no);
        if (could != VERDICT_FORWARDED)
            return could;
        if (no.why != VERDICT_FORWARDED) {
            refused(shard, flow, scan.next - head, known, &no);
            break;
        }
        heads++;
    }
    if (flow->after_last || verdict != VERDICT_FORWARDED) {
        shard->requests += heads;
        return verdict;
    }
    could = keep(shard, flow, r, &scan, known);
    if (could != VERDICT_FORWARDED && heads == 0)
        return could;
    if (could != VERDICT_FORWARDED)
        leave_complete(r, &scan, &before);
    flow->scan = scan;
    shard->requests += heads;
    if (heads != 0)
        watch_asked(shard, flow);
    if (slow_read(flow, heads, s->ack, shard->now_ms))
        forward_watch(shard, flow);
    if (scan_ended(&flow->scan))
        surplus_begin(flow);
    return VERDICT_FORWARDED;
}

void requests_begin_exchanges(struct flow *flow)
{
    flow->scan.heads = flow->from_backend.end;
}

/* What a client says once its server has spoken is one exchange, as far as can be told of bytes
 * that nobody here can read: it is charged as a request. Over its rate there is no answer but a
 * reset. */
static enum verdict exchange(struct shard *shard, struct flow *flow,
                             const struct window_segment *segment)
{
    uint32_t retry_after_s;
    if (flow->scan.heads == flow->from_backend.end ||
        !seq_before(flow->from_client.end, segment->seq + segment->length))
        return VERDICT_FORWARDED;
    enum verdict verdict = client_request_on(shard->clients, &shard->policy.limits->clients,
                                             flow->account, shard->now_ms, &retry_after_s);
    if (verdict != VERDICT_FORWARDED) {
        reset_both(shard, flow, segment);
        return verdict;
    }
    flow->scan.heads = flow->from_backend.end;
    shard->requests++;
    return VERDICT_FORWARDED;
}

enum verdict requests_read(struct shard *shard, struct frame *frame, const struct packet **packet,
                           struct packet *shorter, struct flow *flow,
                           struct window_segment *segment)
{
    struct reading r = {frame, packet, shorter, segment};
    enum verdict verdict = VERDICT_FORWARDED;
    const uint32_t end = segment->seq + segment->length;
    bool empty = segment->length == 0 && !(segment->flags & (TCP_SYN | TCP_FIN | TCP_RST));
    bool changed = segment->seq != (*packet)->seq || segment->length != (*packet)->length;
    if (changed && (empty || (segment->flags & TCP_RST) || !seq_before(flow->scan.next, end)))
        return stripped(flow, &r);
    if (empty)
        bare(flow, &r);
    if (empty || (segment->flags & (TCP_SYN | TCP_RST)))
        return VERDICT_FORWARDED;
    if (shard->policy.services->service[flow->service].protocol != SERVICE_HTTP)
        return exchange(shard, flow, segment);
    const bool last = flow->after_last;
    const bool reads = last ? seq_before(flow->scan.next, end) : scan_reads(&flow->scan, end);
    if (!last && !flow->delivering && !seq_before(flow->from_backend.acked, flow->owned_end))
        flow->owned_end = flow->from_backend.acked; /* or it would lie too far back one day */
    if (reads || (flow->delivering && seq_before(flow->scan.next, end)))
        verdict = hold_to_window(&r, flow);
    if (verdict != VERDICT_FORWARDED)
        return verdict;
    if (!last) {
        if (!scan_reads(&flow->scan, segment->seq + segment->length))
            verdict = pass_body(flow, segment);
        else
            verdict = may_lack(shard, flow, segment->seq) ? VERDICT_SCAN_GAP
                                                          : read_heads(shard, flow, &r);
    }
    switch (verdict) {
    case VERDICT_FORWARDED:
        if (!seq_before(flow->scan.next, segment->seq + segment->length))
            return verdict;
        return behind_last(shard, flow, &r);
    case VERDICT_AFTER_LAST: return behind_last(shard, flow, &r);
    case VERDICT_SCAN_GAP:
    case VERDICT_OPENING_BUSY:
    case VERDICT_HELD_FULL: return verdict;
    default:
        if (reading_malformed(verdict))
            flow_strike(shard, flow, STRIKE_MALFORMED);
        reset_both(shard, flow, segment);
        return verdict;
    }
}
