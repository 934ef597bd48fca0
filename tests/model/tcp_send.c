/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What leaves a model socket. */
#include <string.h>

#include "tests/model/tcp.h"

enum { CHALLENGE_MS = 100, PROBE_FIRST = 200, FIRST_WINDOW = 10 };

static bool has_state(const struct model_socket *s)
{
    return s->state >= MODEL_SYN_RECEIVED;
}

/* The window as it goes on the wire, of which at least what was told before stays told: a right
 * edge never moves back. */
static uint16_t window_field(struct model_socket *s, bool syn)
{
    const uint8_t scale = s->scaling && !syn ? s->traits.scale : 0;
    const uint32_t room = model_room(s), unit = UINT32_C(1) << scale;
    uint32_t told = has_state(s) && !model_before(s->edge, s->rcv_nxt) ? s->edge - s->rcv_nxt : 0;
    uint32_t field = room >> scale;
    if (field * unit < told)
        field = (told + unit - 1) >> scale;
    if (field > UINT16_MAX)
        field = UINT16_MAX;
    if (has_state(s) && model_before(s->edge, s->rcv_nxt + field * unit))
        s->edge = s->rcv_nxt + field * unit;
    return (uint16_t)field;
}

/* RFC 2018 section 4: first the block with the newest arrival, then the others; RFC 2883: a
 * duplicate before all. */
static void put_sack(struct model_socket *s, struct wire_segment *out)
{
    const unsigned most = s->timestamps ? 6 : 8;
    if (!s->sack)
        return;
    if (s->duplicate.from != s->duplicate.to) {
        out->sack[out->sack_edges++] = s->duplicate.from;
        out->sack[out->sack_edges++] = s->duplicate.to;
        s->duplicate.from = s->duplicate.to;
    }
    for (int newest = 1; newest >= 0; newest--)
        for (unsigned i = 0; i < s->early_count && out->sack_edges < most; i++) {
            const struct model_range *r = &s->early[i];
            const bool is_newest =
                !model_before(s->newest, r->from) && model_before(s->newest, r->to);
            if (is_newest != (newest == 1))
                continue;
            out->sack[out->sack_edges++] = r->from;
            out->sack[out->sack_edges++] = r->to;
        }
}

static struct wire_segment begin(const struct model_socket *s, uint32_t seq, uint8_t flags)
{
    struct wire_segment out = {
        .from = s->host->mac,
        .to = s->host->gateway,
        .source = s->local.addr,
        .destination = s->remote.addr,
        .source_port = s->local.port,
        .destination_port = s->remote.port,
        .seq = seq,
        .ack = flags & TCP_ACK ? s->rcv_nxt : 0,
        .flags = flags,
        .ttl = 64,
        .options = NO_OPTIONS,
    };
    return out;
}

static void put_timestamps(const struct model_socket *s, struct wire_segment *out)
{
    out->options.timestamps = true;
    out->options.tsval = model_clock(s->host);
    out->options.tsecr = out->flags & TCP_ACK ? s->ts_recent : 0;
}

/* Sends; an acknowledgement that was due is in it. */
static void leave(struct model_socket *s, struct wire_segment *out)
{
    if (s->timestamps)
        put_timestamps(s, out);
    out->window = window_field(s, false);
    s->ack_now = false;
    s->ack_at = 0;
    s->last_ack = s->rcv_nxt;
    s->host->send(s->host->context, s->host, out);
}

void model_send_syn(struct model_socket *s)
{
    const bool active = s->state == MODEL_SYN_SENT;
    struct wire_segment out = begin(s, s->iss, active ? TCP_SYN : TCP_SYN | TCP_ACK);
    out.options.mss = s->traits.mss;
    out.options.sack_ok = active ? s->traits.sack : s->sack;
    if (active || s->scaling)
        out.options.window_scale = s->traits.scale;
    if (active ? s->traits.timestamps : s->timestamps)
        put_timestamps(s, &out);
    out.window = window_field(s, true);
    s->last_ack = s->rcv_nxt;
    s->nxt = s->iss + 1;
    if (model_before(s->max, s->nxt))
        s->max = s->nxt;
    s->host->send(s->host->context, s->host, &out);
}

void model_send_ack(struct model_socket *s)
{
    if (!has_state(s))
        return;
    struct wire_segment out = begin(s, s->nxt, TCP_ACK);
    put_sack(s, &out);
    leave(s, &out);
}

void model_send_reset(struct model_socket *s)
{
    struct wire_segment out = begin(s, s->nxt, TCP_RST | TCP_ACK);
    s->host->send(s->host->context, s->host, &out);
}

void model_challenge(struct model_socket *s)
{
    const uint64_t now = *s->host->now_ms;
    if (s->challenged_at != 0 && now < s->challenged_at + CHALLENGE_MS)
        return;
    s->challenged_at = now;
    model_send_ack(s);
}

uint32_t model_fin_seq(const struct model_socket *s)
{
    return s->iss + 1 + s->written;
}

void model_arm(struct model_socket *s, bool anew)
{
    if (s->una == s->max) {
        s->resend_at = 0;
        return;
    }
    if (!anew && s->resend_at != 0)
        return;
    uint64_t wait = s->rto;
    const bool probe = s->traits.tail_probe && !s->tail_probed && s->srtt != 0 && s->tries == 0 &&
                       s->state >= MODEL_ESTABLISHED;
    if (probe && 2 * s->srtt + 10 < wait)
        wait = 2 * s->srtt + 10;
    s->resend_at = *s->host->now_ms + wait;
}

/* Sends bytes from `seq` on, at most a full segment and not beyond `limit`; with FIN if it is
 * reached. Returns the sequence number behind. */
static uint32_t send_at(struct model_socket *s, uint32_t seq, uint32_t limit)
{
    const uint32_t fin = model_fin_seq(s);
    uint32_t length = fin - seq, most = limit - seq;
    struct wire_segment out = begin(s, seq, TCP_ACK);
    uint32_t full = s->mss;
    if (s->early_count != 0)
        put_sack(s, &out);
    if (out.sack_edges != 0 && full > 48) /* options are taken off the segment (RFC 6691) */
        full -= 4U + 4U * out.sack_edges < full ? 4U + 4U * out.sack_edges : full - 1;
    if (length > full)
        length = full;
    if (length > most)
        length = most;
    out.payload = s->stream + (seq - s->iss - 1);
    out.length = (uint16_t)length;
    uint32_t end = seq + length;
    if (length != 0 && end == fin)
        out.flags |= TCP_PSH;
    if (s->finish && end == fin && model_before(end, limit)) {
        out.flags |= TCP_FIN;
        end++;
    }
    const bool again = model_before(seq, s->max);
    if (again && !model_before(s->timed_seq, seq))
        s->timing = false;
    if (!again && !s->timing) {
        s->timing = true;
        s->timed_seq = end;
        s->timed_at = *s->host->now_ms;
    }
    if (model_before(s->max, end)) /* before it leaves: what is in flight was sent */
        s->max = end;
    leave(s, &out);
    return end;
}

static void fin_sent(struct model_socket *s)
{
    if (!s->finish || s->nxt != model_fin_seq(s) + 1)
        return;
    if (s->state == MODEL_ESTABLISHED)
        s->state = MODEL_FIN_WAIT_1;
    else if (s->state == MODEL_CLOSE_WAIT)
        s->state = MODEL_LAST_ACK;
}

/* How far the peer's window and the congestion window reach. FIN takes a number too. */
static uint32_t send_limit(const struct model_socket *s)
{
    const uint32_t most = s->congestion < s->window ? s->congestion : s->window;
    return s->una + most;
}

static void begin_probing(struct model_socket *s)
{
    if (s->probe_at != 0 || s->una != s->max || s->window != 0)
        return;
    s->probe_ms = s->probe_ms ? s->probe_ms : PROBE_FIRST;
    s->probe_at = *s->host->now_ms + s->probe_ms;
}

void model_output(struct model_socket *s)
{
    if (s->state < MODEL_ESTABLISHED || s->state == MODEL_TIME_WAIT)
        return;
    if (s->congestion == 0) {
        s->congestion = FIRST_WINDOW * s->mss;
        s->threshold = UINT32_MAX;
    }
    const uint32_t last = model_fin_seq(s) + (s->finish ? 1 : 0);
    while (model_before(s->nxt, last) && model_before(s->nxt, send_limit(s))) {
        const uint32_t room = send_limit(s) - s->nxt, left = model_fin_seq(s) - s->nxt;
        /* Silly windows (RFC 9293 section 3.8.6.2.1): wait, unless nothing is in flight. */
        if (room < s->mss && room < left && s->una != s->nxt)
            break;
        const uint32_t end = send_at(s, s->nxt, send_limit(s));
        s->tail_probed = false;
        s->nxt = end;
        fin_sent(s);
    }
    if (model_before(s->nxt, last))
        begin_probing(s);
    if (s->una != s->max)
        s->probe_at = 0;
    model_arm(s, false);
    if (s->ack_now)
        model_send_ack(s);
}

/* The first hole that the peer has not told it has, from `from` on; false if there is none. */
static bool next_hole(const struct model_socket *s, uint32_t from, struct model_range *hole)
{
    hole->from = from;
    hole->to = s->max;
    for (unsigned i = 0; i < s->sacked_count; i++) {
        const struct model_range *r = &s->sacked[i];
        if (!model_before(hole->from, r->from) && model_before(hole->from, r->to))
            hole->from = r->to;
        else if (model_before(hole->from, r->from)) {
            hole->to = r->from;
            return true;
        }
    }
    return model_before(hole->from, s->max);
}

void model_resend(struct model_socket *s)
{
    struct model_range hole;
    if (!next_hole(s, s->una, &hole))
        return;
    s->rescued = send_at(s, hole.from, hole.to);
}

bool model_resend_hole(struct model_socket *s)
{
    struct model_range hole;
    const uint32_t from = model_before(s->rescued, s->una) ? s->una : s->rescued;
    if (s->sacked_count == 0 || !next_hole(s, from, &hole) ||
        !model_before(hole.from, s->sacked[s->sacked_count - 1].from))
        return false;
    s->rescued = send_at(s, hole.from, hole.to);
    return true;
}

/* RFC 8985 section 7.3: the last segment again, to be told by SACK what is missing. */
static void tail_probe(struct model_socket *s)
{
    uint32_t from = s->max - s->mss;
    s->tail_probed = true;
    if (model_before(from, s->una))
        from = s->una;
    send_at(s, from, s->max);
    model_arm(s, true);
}

static bool give_up(struct model_socket *s)
{
    if (s->tries++ < s->traits.tries)
        return false;
    if (s->state != MODEL_SYN_SENT)
        model_send_reset(s);
    model_finish(s, MODEL_TIMED_OUT);
    return true;
}

void model_resend_timeout(struct model_socket *s)
{
    const bool may_probe = s->traits.tail_probe && !s->tail_probed && s->srtt != 0 &&
                           s->tries == 0 && s->state >= MODEL_ESTABLISHED;
    if (may_probe && 2 * s->srtt + 10 < s->rto) {
        tail_probe(s);
        return;
    }
    if (give_up(s))
        return;
    s->rto = s->rto * 2 > MODEL_RTO_MAX ? MODEL_RTO_MAX : s->rto * 2;
    s->timing = false;
    if (s->state == MODEL_SYN_SENT || s->state == MODEL_SYN_RECEIVED) {
        model_send_syn(s);
        model_arm(s, true);
        return;
    }
    s->threshold = (s->max - s->una) / 2 > 2U * s->mss ? (s->max - s->una) / 2 : 2U * s->mss;
    s->congestion = s->mss;
    s->recovering = true; /* each acknowledgement brings the next hole */
    s->recover = s->max;
    s->duplicates = 0;
    s->sacked_count = 0; /* RFC 2018 section 8: a receiver may renege */
    model_resend(s);
    model_arm(s, true);
}

void model_probe(struct model_socket *s)
{
    if (s->window != 0 || s->una != s->max || model_fin_seq(s) + s->finish == s->nxt)
        return;
    if (give_up(s))
        return;
    s->probe_ms = s->probe_ms * 2 > MODEL_PROBE_MAX ? MODEL_PROBE_MAX : s->probe_ms * 2;
    s->probe_at = *s->host->now_ms + s->probe_ms;
    if (s->traits.probe_without_data || model_fin_seq(s) == s->nxt) {
        model_keepalive(s);
        return;
    }
    struct wire_segment out = begin(s, s->nxt, TCP_ACK);
    out.payload = s->stream + (s->nxt - s->iss - 1);
    out.length = 1;
    /* The byte may be accepted: it counts as sent, not as in flight. */
    if (model_before(s->max, s->nxt + 1))
        s->max = s->nxt + 1;
    s->nxt++;
    model_arm(s, true);
    leave(s, &out);
}

void model_keepalive(struct model_socket *s)
{
    struct wire_segment out = begin(s, s->una - 1, TCP_ACK);
    leave(s, &out);
}
