/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What either end still sends once a request of the client's was refused (refuse.c): it is checked
 * and noted as on any open flow. Of the client's all that was before that request goes on, and
 * nothing behind its beginning: nobody gets that, it is acknowledged and discarded (surplus.h), and
 * its FIN is ours to acknowledge. Of the backend's all goes on but its FIN, whose place the refusal
 * takes. When that is sent, and sent again, is not decided here. */
#include "dataplane/tcp/excess.h"
#include "dataplane/tcp/refuse_flow.h"

/* ---- the client ---- */

/* What a segment says of the other side: all but its bytes. Returns whether it is news. */
static bool note_client(struct flow *flow, const struct window_segment *segment)
{
    struct side *client = &flow->from_client, *backend = &flow->from_backend;
    const uint32_t acked = client->acked, limit = backend->limit;
    struct window_segment bare = *segment;
    bare.seq = seq_before(client->end, bare.seq) ? client->end : bare.seq;
    bare.length = 0;
    bare.flags = TCP_ACK;
    window_note(client, backend, &bare);
    if (segment->timestamps && seq_before(flow->newest, segment->tsval))
        flow->newest = segment->tsval;
    return client->acked != acked || backend->limit != limit;
}

/* Takes what follows without a gap behind the refused request's beginning. */
static void discard(struct flow *flow, const struct packet *packet)
{
    const uint32_t to = packet->seq + packet->length;
    uint32_t front = flow->scan.next + surplus_count(flow);
    if (flow->held_fin || seq_before(front, packet->seq))
        return;
    if (seq_before(front, to)) {
        if (!surplus_discard(flow, to - front))
            return;
        front = to;
    }
    flow->held_fin = (packet->flags & TCP_FIN) && to == front;
}

/* What a client's segment still has for the backend: bytes before the refused request, sent again,
 * and what it acknowledges; it had acknowledged `acked`. A bare acknowledgement always goes on,
 * since one before it may have been lost, and duplicates speak of loss. Returns whether the frame
 * goes there. */
static bool pass_rest(struct shard *shard, struct frame *frame, const struct packet *packet,
                      struct flow *flow, uint32_t acked, bool news)
{
    const uint32_t last = flow->scan.next, to = packet->seq + packet->length;
    struct packet shorter = *packet;
    if (refuse_is_alone(flow))
        return false;
    if (packet->length != 0 && seq_before(packet->seq, last)) {
        uint32_t end = seq_before(last, to) ? last : to;
        translate_cut(frame->bytes, &shorter, packet->seq, (uint16_t)(end - packet->seq), false);
    } else if (news || (packet->length == 0 && !(packet->flags & TCP_FIN))) {
        translate_cut(frame->bytes, &shorter, flow->from_client.end, 0, false);
    } else {
        return false;
    }
    if (flow->state == FLOW_REFUSED && !seq_before(flow->from_client.acked, refused_of(flow)->at)) {
        if (!seq_before(acked, refused_of(flow)->at)) /* it knows, and has no use for the rest */
            return false;
        const struct segment ack = flow_to_backend(shard, flow);
        shard_replace(frame, INSIDE, &ack);
        return true;
    }
    forward_send_on(shard, frame, &shorter, flow, FROM_CLIENT);
    return true;
}

/* Checked, and neither SYN nor RST. */
static enum verdict take(struct shard *shard, struct frame *frame, const struct packet *packet,
                         struct flow *flow, const struct window_segment *segment, uint32_t tsecr)
{
    const struct packet whole = *packet;
    const uint32_t acked = flow->from_client.acked;
    const bool asks = whole.length != 0 || (whole.flags & TCP_FIN) ||
                      seq_before(whole.seq, flow_acknowledged(flow));
    const bool was_over = refuse_is_over(flow), had_fin = flow->held_fin;
    const uint32_t discarded = surplus_count(flow);
    bool news = note_client(flow, segment);
    discard(flow, &whole);
    /* By what was taken: behind a hole a segment only seems to move something. */
    if (news || surplus_count(flow) != discarded || flow->held_fin != had_fin)
        excess_forgive(flow, surplus_count(flow) - discarded, flow->from_client.acked - acked);
    else if (forward_limit_excess(shard, flow) != VERDICT_FORWARDED)
        return VERDICT_EXCESS;
    refuse_note_clock(flow, tsecr);
    memcpy(flow->client_mac.bytes, frame->bytes + 6, sizeof flow->client_mac);
    bool passed = pass_rest(shard, frame, packet, flow, acked, news);
    if (passed)
        flow->last_ms = (uint32_t)shard->now_ms;
    const bool first = refuse_go_on(shard, flow, frame, acked, news);
    bool can = !seq_before(flow->from_backend.acked, flow->scan.next); /* else its backend does */
    if (asks && can && !first && frame->to != OUTSIDE) {
        struct segment ack = flow_to_client(shard, flow);
        if (seq_before(ack.options.tsval, tsecr))
            ack.options.tsval = tsecr; /* it has what we did not see acknowledged until now */
        refuse_say(shard, frame, OUTSIDE, &ack);
    }
    if (!was_over)
        refuse_linger(shard, flow);
    return VERDICT_REFUSAL_TAKEN;
}

enum verdict refuse_from_client(struct shard *shard, struct frame *frame,
                                const struct packet *packet, struct flow *flow)
{
    struct tcp_options options;
    if (!packet_options(frame->bytes, packet, &options))
        return VERDICT_BAD_OPTIONS;
    struct window_segment segment = flow_segment(flow, packet, &options, FROM_CLIENT);
    surplus_strip(flow, &segment);
    enum verdict verdict = forward_check(shard, flow, FROM_CLIENT, &segment);
    if (verdict == VERDICT_ACK_UNSENT)
        forward_note_unsent(shard, flow, &segment);
    if (verdict != VERDICT_FORWARDED)
        return verdict;
    enum segment_class class = packet->flags & TCP_FIN ? SEGMENT_FIN : SEGMENT_DATA;
    uint32_t front = flow->scan.next + surplus_count(flow) + flow->held_fin;
    if (packet->flags & TCP_SYN)
        class = SEGMENT_SYN_ACK;
    if (packet->flags & TCP_RST)
        class = packet->seq == front || packet->seq == flow_acknowledged(flow) ? SEGMENT_RST_EXACT
                                                                               : SEGMENT_RST_WINDOW;
    switch (states_next((enum flow_state)flow->state, FROM_CLIENT, class).action) {
    case ACTION_ABANDON:
        flow_reset_backend_anyhow(shard, flow);
        flow_end(shard, flow, true);
        return VERDICT_FLOW_RESET;
    case ACTION_TAKE:
        return packet->flags & TCP_ACK ? take(shard, frame, packet, flow, &segment, options.tsecr)
                                       : VERDICT_STATE;
    default: return VERDICT_STATE;
    }
}

/* ---- the backend ---- */

/* What it says before its FIN goes on. */
static void pass_answer(struct shard *shard, struct frame *frame, const struct packet *packet,
                        struct flow *flow, const struct window_segment *segment)
{
    struct packet shorter = *packet;
    if (packet->flags & TCP_FIN)
        translate_cut(frame->bytes, &shorter, packet->seq, packet->length, false);
    forward_send_on(shard, frame, &shorter, flow, FROM_BACKEND);
    surplus_raise(frame->bytes, &shorter, flow, segment);
    refuse_note_clock(flow, segment->tsval);
    flow->last_ms = (uint32_t)shard->now_ms;
    if (!(flow->phase & SLOW_QUIET) || segment->length == 0)
        return;
    slow_wake(flow, shard->now_ms);
    if (flow->state == FLOW_REFUSING && refuse_backend_told(flow)) /* else the timer is another's */
        forward_watch(shard, flow);
}

/* Its FIN: all that it had to say is known by number. */
static enum verdict refuse(struct shard *shard, struct frame *frame, const struct packet *packet,
                           struct flow *flow, const struct window_segment *segment)
{
    const uint32_t at = segment->seq + segment->length;
    /* An acknowledgement behind the FIN may have overtaken it; what has said more did not end here.
     */
    if (seq_before(at + 1, flow->from_backend.end))
        return VERDICT_STATE;
    if (segment->length != 0) {
        pass_answer(shard, frame, packet, flow, segment);
        shard->output.send(shard->output.context, OUTSIDE, frame->bytes, frame->length);
    }
    refuse_follow(shard, flow, frame, at, segment->tsval);
    return VERDICT_FORWARDED;
}

/* The backend of a flow in REFUSED speaks again. */
static enum verdict take_again(struct shard *shard, struct frame *frame,
                               const struct packet *packet, struct flow *flow,
                               const struct window_segment *segment)
{
    const uint32_t at = refused_of(flow)->at;
    const bool has_all = !seq_before(flow->from_client.acked, at), was_over = refuse_is_over(flow);
    if (packet->flags & TCP_RST) {
        if (!has_all) { /* nobody sends again what the client lacks */
            flow_reset_client(shard, flow);
            flow->from_client.acked =
                at; /* or all but the refusal, its acknowledgement under way */
            flow_reset_client_anyhow(shard, flow);
            flow_end(shard, flow, true);
            return VERDICT_FLOW_RESET;
        }
        flow->backend = BACKEND_NONE;
    } else if (segment->length != 0 && !has_all) {
        pass_answer(shard, frame, packet, flow, segment);
        return VERDICT_FORWARDED;
    } else if (has_all && (segment->length != 0 || (packet->flags & TCP_FIN))) {
        const struct segment ack = flow_to_backend(shard, flow);
        shard_replace(frame, INSIDE, &ack);
    }
    if (!was_over)
        refuse_linger(shard, flow);
    return VERDICT_REFUSAL_TAKEN;
}

/* By the numbers that are the backend's own: the refusal's are not. */
static enum segment_class classify(const struct flow *flow, const struct window_segment *segment)
{
    struct side backend = flow->from_backend;
    if (flow->state == FLOW_REFUSED)
        backend.end = flow->scan.refused.at + 1;
    return window_class(&backend, &flow->from_client, segment, true);
}

enum verdict refuse_from_backend(struct shard *shard, struct frame *frame,
                                 const struct packet *packet, struct flow *flow)
{
    struct tcp_options options;
    if (!packet_options(frame->bytes, packet, &options))
        return VERDICT_BAD_OPTIONS;
    struct window_segment segment = flow_segment(flow, packet, &options, FROM_BACKEND);
    const uint32_t end_of_it = segment.seq + segment.length;
    enum verdict verdict = forward_check(shard, flow, FROM_BACKEND, &segment);
    if (flow->excess != 0 && segment.length != 0)
        flow->excess--; /* as in forward_packet */
    if (verdict != VERDICT_FORWARDED)
        return verdict;
    if (flow->state == FLOW_REFUSED && seq_before(refused_of(flow)->at + 1, end_of_it))
        return VERDICT_STATE; /* behind its own FIN */
    struct transition next =
        states_next((enum flow_state)flow->state, FROM_BACKEND, classify(flow, &segment));
    struct window_segment noted = segment;
    noted.flags &= (uint8_t)~TCP_FIN;
    if (next.action != ACTION_DROP && !(segment.flags & (TCP_SYN | TCP_RST)))
        window_note(&flow->from_backend, &flow->from_client, &noted);
    switch (next.action) {
    case ACTION_FORWARD:
        pass_answer(shard, frame, packet, flow, &segment);
        return VERDICT_FORWARDED;
    case ACTION_REFUSE: return refuse(shard, frame, packet, flow, &segment);
    case ACTION_TAKE: return take_again(shard, frame, packet, flow, &segment);
    case ACTION_RESET: return forward_reset(shard, frame, packet, flow, FROM_BACKEND, &segment);
    case ACTION_REPEAT: {
        const struct segment ack = flow_to_backend(shard, flow);
        shard_replace(frame, INSIDE, &ack);
        return VERDICT_FORWARDED;
    }
    default: return VERDICT_STATE;
    }
}
