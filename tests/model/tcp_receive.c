/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What arrives at a model host, in the order of RFC 9293 section 3.10.7. */
#include <string.h>

#include "tests/model/tcp.h"

enum { DEFAULT_MSS_V4 = 536, DEFAULT_MSS_V6 = 1220, TIMESTAMPS_ROOM = 12, LEAST_MSS = 48 };
enum { DUPLICATES = 3, ACK_BACK_LEAST = 65535 };

static bool within(uint32_t from, uint32_t seq, uint32_t to)
{
    return !model_before(seq, from) && model_before(seq, to);
}

static uint32_t segment_end(const struct wire_segment *in)
{
    return in->seq + in->length + ((in->flags & TCP_SYN) != 0) + ((in->flags & TCP_FIN) != 0);
}

/* ---- no such connection ---- */

static void answer_by_reset(struct model_host *host, const struct wire_segment *in)
{
    if (in->flags & TCP_RST)
        return;
    const bool acks = (in->flags & TCP_ACK) != 0;
    const struct wire_segment out = {
        .from = host->mac,
        .to = host->gateway,
        .source = in->destination,
        .destination = in->source,
        .source_port = in->destination_port,
        .destination_port = in->source_port,
        .seq = acks ? in->ack : 0,
        .ack = acks ? 0 : segment_end(in),
        .flags = acks ? TCP_RST : TCP_RST | TCP_ACK,
        .ttl = 64,
        .options = NO_OPTIONS,
    };
    host->send(host->context, host, &out);
}

/* ---- opening ---- */

/* What both sides have in their SYNs. */
static void agree(struct model_socket *s, const struct wire_segment *in)
{
    const struct model_traits *t = &s->traits;
    uint32_t mss = in->options.mss;
    if (mss == 0)
        mss = addr_is_v4(&s->local.addr) ? DEFAULT_MSS_V4 : DEFAULT_MSS_V6;
    if (mss < LEAST_MSS)
        mss = LEAST_MSS;
    if (mss > t->send_mss)
        mss = t->send_mss;
    s->scaling = t->scale != COOKIE_NO_SCALE && in->options.window_scale != COOKIE_NO_SCALE;
    s->peer_scale = s->scaling ? in->options.window_scale : 0;
    s->sack = t->sack && in->options.sack_ok;
    s->timestamps = t->timestamps && in->options.timestamps;
    s->mss = (uint16_t)(s->timestamps && mss > LEAST_MSS ? mss - TIMESTAMPS_ROOM : mss);
    s->irs = in->seq;
    s->rcv_nxt = s->edge = s->last_ack = in->seq + 1;
    s->ts_recent = in->options.tsval;
    s->window = s->window_most = in->window;
    s->window_seq = in->seq;
    s->window_ack = in->ack;
}

static void listen_receive(struct model_host *host, const struct wire_segment *in, uint32_t least)
{
    const struct endpoint local = {.addr = in->destination, .port = in->destination_port};
    const struct endpoint remote = {.addr = in->source, .port = in->source_port};
    if (in->flags & TCP_RST)
        return;
    if (in->flags & TCP_ACK) {
        answer_by_reset(host, in);
        return;
    }
    if (!(in->flags & TCP_SYN))
        return;
    struct model_socket *s = model_socket_new(host, &local, &remote);
    s->iss = model_isn(host, &local, &remote);
    if (least != 0 && model_before(s->iss, least))
        s->iss = least;
    s->una = s->nxt = s->max = s->iss;
    s->state = MODEL_SYN_RECEIVED;
    agree(s, in);
    model_send_syn(s);
    model_arm(s, true);
}

static void established(struct model_socket *s)
{
    s->state = MODEL_ESTABLISHED;
    s->tries = 0;
    s->rto = MODEL_RTO_MIN * 2;
    s->una = s->iss + 1;
    s->resend_at = 0;
    if (s->traits.keepalive_ms != 0)
        s->keepalive_at = *s->host->now_ms + s->traits.keepalive_ms;
}

static void syn_sent_receive(struct model_socket *s, const struct wire_segment *in)
{
    const bool acks = (in->flags & TCP_ACK) != 0, good = acks && in->ack == s->iss + 1;
    if (acks && !good) {
        answer_by_reset(s->host, in);
        return;
    }
    if (in->flags & TCP_RST) {
        if (good)
            model_finish(s, MODEL_REFUSED);
        return;
    }
    if (!(in->flags & TCP_SYN) || !good) /* simultaneous open: not of a client and a server */
        return;
    agree(s, in);
    established(s);
    if (!s->traits.lazy_ack)
        model_send_ack(s);
    else
        s->ack_at = *s->host->now_ms + MODEL_DELAYED_ACK;
    model_output(s);
}

/* ---- acknowledgements ---- */

static void measure(struct model_socket *s, uint32_t ack)
{
    if (!s->timing || model_before(ack, s->timed_seq))
        return;
    const uint32_t rtt = (uint32_t)(*s->host->now_ms - s->timed_at) + 1;
    s->timing = false;
    if (s->srtt == 0) {
        s->srtt = rtt;
        s->rttvar = rtt / 2;
    } else {
        const uint32_t off = rtt > s->srtt ? rtt - s->srtt : s->srtt - rtt;
        s->rttvar = (3 * s->rttvar + off) / 4;
        s->srtt = (7 * s->srtt + rtt) / 8;
    }
}

/* RFC 6298: also takes back the doubling of earlier losses. */
static void calm_rto(struct model_socket *s)
{
    const uint32_t rto = s->srtt + 4 * s->rttvar;
    s->rto = rto < MODEL_RTO_MIN ? MODEL_RTO_MIN : rto > MODEL_RTO_MAX ? MODEL_RTO_MAX : rto;
}

static void add_sacked(struct model_socket *s, struct model_range r)
{
    if (!model_before(s->una, r.from) || model_before(s->max, r.to) || !model_before(r.from, r.to))
        return; /* old, a duplicate's, or nonsense */
    unsigned at = 0;
    while (at < s->sacked_count && model_before(s->sacked[at].to, r.from))
        at++;
    unsigned behind = at;
    while (behind < s->sacked_count && !model_before(r.to, s->sacked[behind].from)) {
        if (model_before(s->sacked[behind].from, r.from))
            r.from = s->sacked[behind].from;
        if (model_before(r.to, s->sacked[behind].to))
            r.to = s->sacked[behind].to;
        behind++;
    }
    if (behind == at && s->sacked_count == MODEL_RANGES)
        return;
    memmove(&s->sacked[at + 1], &s->sacked[behind], (s->sacked_count - behind) * sizeof r);
    s->sacked_count = (uint8_t)(s->sacked_count + 1 - (behind - at));
    s->sacked[at] = r;
}

static void note_sack(struct model_socket *s, const struct wire_segment *in)
{
    if (!s->sack)
        return;
    for (unsigned i = 0; i + 1 < in->sack_edges; i += 2)
        add_sacked(s, (struct model_range){in->sack[i], in->sack[i + 1]});
}

static void forget_sacked(struct model_socket *s)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < s->sacked_count; i++)
        if (model_before(s->una, s->sacked[i].from))
            s->sacked[kept++] = s->sacked[i];
    s->sacked_count = (uint8_t)kept;
}

static void duplicate_ack(struct model_socket *s)
{
    if (s->duplicates < UINT8_MAX)
        s->duplicates++;
    if (s->recovering) {
        model_resend_hole(s);
        return;
    }
    if (s->duplicates < DUPLICATES)
        return;
    s->recovering = true;
    s->recover = s->max;
    s->threshold = (s->max - s->una) / 2 > 2U * s->mss ? (s->max - s->una) / 2 : 2U * s->mss;
    s->congestion = s->threshold;
    model_resend(s);
    model_arm(s, true);
}

static void advance(struct model_socket *s, uint32_t ack)
{
    const uint32_t progress = ack - s->una;
    measure(s, ack);
    s->una = ack;
    s->tries = 0;
    s->duplicates = 0;
    s->tail_probed = false;
    forget_sacked(s);
    calm_rto(s);
    if (s->recovering && model_before(ack, s->recover)) {
        if (!model_resend_hole(s)) /* a partial acknowledgement (RFC 6582) */
            model_resend(s);
    } else {
        s->recovering = false;
        s->congestion += s->congestion < s->threshold ? progress : s->mss;
        if (s->congestion > UINT32_C(1) << 20)
            s->congestion = UINT32_C(1) << 20;
    }
    model_arm(s, true);
}

static void take_window(struct model_socket *s, const struct wire_segment *in)
{
    const bool newer = model_before(s->window_seq, in->seq) ||
                       (s->window_seq == in->seq && !model_before(in->ack, s->window_ack));
    if (!newer)
        return;
    const uint32_t before = s->window;
    s->window = (uint32_t)in->window << s->peer_scale;
    s->window_seq = in->seq;
    s->window_ack = in->ack;
    if (s->window_most < s->window)
        s->window_most = s->window;
    if (s->window != 0) {
        s->probe_at = 0;
        s->probe_ms = 0;
    }
    if (before == 0 && s->window != 0 && s->una != s->max) { /* what a probe left behind */
        s->tries = 0;                                        /* the peer is there, and says so */
        calm_rto(s);
        model_resend(s);
        model_arm(s, true);
    }
}

/* False: the segment is dropped. */
static bool take_ack(struct model_socket *s, const struct wire_segment *in)
{
    const uint32_t back = s->window_most > ACK_BACK_LEAST ? s->window_most : ACK_BACK_LEAST;
    if (model_before(s->max, in->ack) || model_before(in->ack, s->una - back)) {
        model_challenge(s); /* RFC 5961 section 5.2 */
        return false;
    }
    note_sack(s, in);
    const bool same_window = s->window == (uint32_t)in->window << s->peer_scale;
    if (model_before(s->una, in->ack))
        advance(s, in->ack);
    else if (in->ack == s->una && in->length == 0 && s->una != s->max && same_window &&
             s->window != 0 && !(in->flags & TCP_FIN))
        duplicate_ack(s);
    if (s->window == 0 && in->window == 0)
        s->tries = 0; /* it is there, and says so */
    take_window(s, in);
    return true;
}

/* Our FIN has arrived. */
static void fin_acknowledged(struct model_socket *s)
{
    switch (s->state) {
    case MODEL_FIN_WAIT_1:
        s->state = MODEL_FIN_WAIT_2;
        if (s->closed)
            s->wait_at = *s->host->now_ms + s->traits.fin_wait_ms;
        break;
    case MODEL_CLOSING: model_time_wait(s); break;
    case MODEL_LAST_ACK: model_finish(s, MODEL_DONE); break;
    default: break;
    }
}

/* ---- data ---- */

static void copy_in(struct model_socket *s, uint32_t seq, const uint8_t *bytes, uint32_t length)
{
    const uint32_t at = s->arrived + (seq - s->rcv_nxt);
    for (uint32_t i = 0; i < length; i++)
        s->ring[(at + i) % MODEL_RING] = bytes[i];
}

static bool add_early(struct model_socket *s, struct model_range r)
{
    unsigned at = 0;
    while (at < s->early_count && model_before(s->early[at].to, r.from))
        at++;
    unsigned behind = at;
    while (behind < s->early_count && !model_before(r.to, s->early[behind].from)) {
        if (model_before(s->early[behind].from, r.from))
            r.from = s->early[behind].from;
        if (model_before(r.to, s->early[behind].to))
            r.to = s->early[behind].to;
        behind++;
    }
    if (behind == at && s->early_count == MODEL_RANGES)
        return false;
    memmove(&s->early[at + 1], &s->early[behind], (s->early_count - behind) * sizeof r);
    s->early_count = (uint8_t)(s->early_count + 1 - (behind - at));
    s->early[at] = r;
    return true;
}

/* What is contiguous now goes to the application. */
static void deliver(struct model_socket *s, uint32_t end)
{
    while (s->early_count != 0 && !model_before(end, s->early[0].from)) {
        if (model_before(end, s->early[0].to))
            end = s->early[0].to;
        memmove(&s->early[0], &s->early[1], (size_t)(--s->early_count) * sizeof s->early[0]);
    }
    s->arrived += end - s->rcv_nxt;
    s->rcv_nxt = end;
}

static void take_data(struct model_socket *s, const struct wire_segment *in)
{
    uint32_t from = in->seq, to = in->seq + in->length;
    const uint8_t *bytes = in->payload;
    if (in->length == 0)
        return;
    if (!model_before(s->rcv_nxt, to)) { /* all of it was here before */
        if (s->traits.duplicate_sack && !model_before(from, s->irs + 1))
            s->duplicate = (struct model_range){from, to};
        s->ack_now = true;
        return;
    }
    if (model_before(from, s->rcv_nxt)) {
        bytes += s->rcv_nxt - from;
        from = s->rcv_nxt;
    }
    if (model_before(s->edge, to))
        to = s->edge;
    /* A window rounded up again and again creeps ahead of the buffer; there it ends. */
    const uint32_t ring_end = s->rcv_nxt + MODEL_RING - model_readable(s);
    if (model_before(ring_end, to))
        to = ring_end;
    if (!model_before(from, to)) {
        s->ack_now = true;
        return;
    }
    const bool gap = from != s->rcv_nxt, filled = s->early_count != 0;
    if (gap && !add_early(s, (struct model_range){from, to})) {
        s->ack_now = true;
        return;
    }
    s->newest = from;
    copy_in(s, from, bytes, to - from);
    if (!gap)
        deliver(s, to);
    /* At least every second full segment, at once when something is amiss (RFC 5681 section 4.2) */
    if (gap || filled || s->ack_at != 0 || !s->traits.lazy_ack)
        s->ack_now = true;
    else
        s->ack_at = *s->host->now_ms + MODEL_DELAYED_ACK;
}

static void take_fin(struct model_socket *s, const struct wire_segment *in)
{
    if (in->flags & TCP_FIN) {
        s->fin_known = true;
        s->fin_at = in->seq + in->length;
    }
    if (!s->fin_known || s->fin_received || s->rcv_nxt != s->fin_at) {
        s->ack_now = s->ack_now || (in->flags & TCP_FIN);
        return;
    }
    s->fin_received = true;
    s->rcv_nxt++;
    if (model_before(s->edge, s->rcv_nxt))
        s->edge = s->rcv_nxt;
    s->ack_now = true;
    switch (s->state) {
    case MODEL_ESTABLISHED: s->state = MODEL_CLOSE_WAIT; break;
    case MODEL_FIN_WAIT_1: s->state = MODEL_CLOSING; break;
    case MODEL_FIN_WAIT_2: model_time_wait(s); break;
    default: break;
    }
}

/* ---- synchronized states ---- */

/* RFC 9293 section 3.10.7.4, first: could any of it be accepted. */
static bool acceptable(const struct model_socket *s, const struct wire_segment *in)
{
    const uint32_t end = segment_end(in), window = s->edge - s->rcv_nxt;
    if (end == in->seq)
        return in->seq == s->rcv_nxt || within(s->rcv_nxt, in->seq, s->edge);
    if (window == 0)
        return false;
    return within(s->rcv_nxt, in->seq, s->edge) || within(s->rcv_nxt, end - 1, s->edge);
}

/* RFC 7323: a segment without timestamps should be dropped (3.2), an old one is acknowledged and
 * dropped (5.3). */
static bool timestamps_good(struct model_socket *s, const struct wire_segment *in)
{
    if (!s->timestamps || (in->flags & TCP_RST))
        return true;
    if (in->options.timestamps && (int32_t)(in->options.tsval - s->ts_recent) >= 0)
        return true;
    if (in->options.timestamps)
        model_challenge(s);
    return false;
}

static void note_timestamps(struct model_socket *s, const struct wire_segment *in)
{
    if (s->timestamps && !(in->flags & TCP_RST) && !model_before(s->last_ack, in->seq))
        s->ts_recent = in->options.tsval;
}

static void take_reset(struct model_socket *s, const struct wire_segment *in)
{
    if (in->seq == s->rcv_nxt)
        model_finish(s, s->state == MODEL_SYN_RECEIVED ? MODEL_REFUSED : MODEL_RESET);
    else if (within(s->rcv_nxt, in->seq, s->edge))
        model_challenge(s); /* RFC 5961 section 3.2 */
}

static bool take_syn_received(struct model_socket *s, const struct wire_segment *in)
{
    if (in->ack != s->iss + 1) {
        answer_by_reset(s->host, in);
        return false;
    }
    established(s);
    s->window = (uint32_t)in->window << s->peer_scale;
    s->window_seq = in->seq;
    s->window_ack = in->ack;
    s->host->accepted(s->host->context, s);
    return s->state != MODEL_CLOSED;
}

/* A new connection on a tuple that rests (RFC 6191, RFC 9293 section 3.10.7.4). */
static bool reuse(struct model_socket *s, const struct wire_segment *in)
{
    const bool newer =
        model_before(s->rcv_nxt, in->seq) || (s->timestamps && in->options.timestamps &&
                                              (int32_t)(in->options.tsval - s->ts_recent) > 0);
    if ((in->flags & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_SYN || !newer ||
        s->host->listens != s->local.port)
        return false;
    model_finish(s, MODEL_DONE);
    listen_receive(s->host, in, s->max + 65535);
    return true;
}

static void time_wait_receive(struct model_socket *s, const struct wire_segment *in)
{
    if (reuse(s, in))
        return;
    if (in->flags & TCP_RST) {
        if (in->seq == s->rcv_nxt)
            model_finish(s, MODEL_DONE);
        return;
    }
    if (in->flags & TCP_FIN)
        s->wait_at = *s->host->now_ms + s->traits.time_wait_ms;
    if (segment_end(in) != in->seq || !acceptable(s, in))
        model_challenge(s);
}

static void synchronized_receive(struct model_socket *s, const struct wire_segment *in)
{
    s->heard_at = *s->host->now_ms;
    if (s->state == MODEL_SYN_RECEIVED && (in->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN &&
        in->seq == s->irs) {
        model_send_syn(s);
        return;
    }
    if (!timestamps_good(s, in))
        return;
    if (in->flags & TCP_RST) {
        take_reset(s, in);
        return;
    }
    if (!acceptable(s, in)) {
        const bool probe = in->seq == s->rcv_nxt && (in->flags & (TCP_ACK | TCP_SYN)) == TCP_ACK &&
                           s->state >= MODEL_ESTABLISHED;
        if (probe && take_ack(s, in)) /* the window is shut, but what it acknowledges counts */
            model_output(s);
        if (s->traits.duplicate_sack && in->length != 0 &&
            within(s->irs + 1, in->seq, s->rcv_nxt)) /* not of an earlier connection */
            s->duplicate = (struct model_range){in->seq, in->seq + in->length};
        if (s->state != MODEL_CLOSED && in->length != 0)
            model_send_ack(s);
        else if (s->state != MODEL_CLOSED) /* two ends that disagree must not talk forever */
            model_challenge(s);
        return;
    }
    if (in->flags & TCP_SYN) {
        model_challenge(s); /* RFC 5961 section 4.2 */
        return;
    }
    if (!(in->flags & TCP_ACK))
        return;
    note_timestamps(s, in);
    if (s->state == MODEL_SYN_RECEIVED && !take_syn_received(s, in))
        return;
    if (!take_ack(s, in) || s->state == MODEL_CLOSED)
        return;
    if (s->finish && s->una == model_fin_seq(s) + 1)
        fin_acknowledged(s);
    if (s->state == MODEL_CLOSED || s->state == MODEL_TIME_WAIT)
        return;
    if (s->closed && in->length != 0 && model_before(s->rcv_nxt, in->seq + in->length)) {
        model_send_reset(s); /* nobody will ever read it (RFC 9293 section 3.6.1) */
        model_finish(s, MODEL_ABORTED);
        return;
    }
    take_data(s, in);
    take_fin(s, in);
    if (s->state == MODEL_TIME_WAIT)
        model_send_ack(s);
    else
        model_output(s);
}

static struct model_socket *find(const struct model_host *host, const struct wire_segment *in)
{
    for (struct model_socket *s = host->sockets; s != NULL; s = s->next)
        if (s->state != MODEL_CLOSED && s->local.port == in->destination_port &&
            s->remote.port == in->source_port && addr_equal(&s->remote.addr, &in->source))
            return s;
    return NULL;
}

void model_host_receive(struct model_host *host, const struct wire_segment *in)
{
    if (!addr_equal(&host->address, &in->destination))
        return; /* a host is no router */
    struct model_socket *s = find(host, in);
    if (s == NULL && host->listens != 0 && in->destination_port == host->listens)
        listen_receive(host, in, 0);
    else if (s == NULL)
        answer_by_reset(host, in);
    else if (s->state == MODEL_SYN_SENT)
        syn_sent_receive(s, in);
    else if (s->state == MODEL_TIME_WAIT)
        time_wait_receive(s, in);
    else
        synchronized_receive(s, in);
}
