/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Segments of open flows: checked against what both halves have said, looked up in the close table,
 * translated in place, sent on. And how flows end. */
#include "dataplane/tcp/excess.h"
#include "dataplane/tcp/shard.h"

uint32_t forward_patience(const struct limits *limits, enum flow_state state)
{
    switch (state) {
    case FLOW_ESTABLISHED: return limits->idle_ms;
    case FLOW_REFUSING:
    case FLOW_CLIENT_FIN:
    case FLOW_CLIENT_FIN_ACKED:
    case FLOW_BACKEND_FIN:
    case FLOW_BACKEND_FIN_ACKED: return limits->half_closed_ms;
    case FLOW_CLOSED: return limits->linger_ms;
    default: return limits->closing_ms;
    }
}

static uint32_t patience_left(const struct shard *shard, const struct flow *flow)
{
    uint32_t silent = (uint32_t)shard->now_ms - flow->last_ms;
    uint32_t patient = forward_patience(shard->policy.limits, (enum flow_state)flow->state);
    return silent < patient ? patient - silent : 0;
}

void forward_watch(struct shard *shard, const struct flow *flow)
{
    if (flow->delivering) /* then the timer is another's */
        return;
    uint32_t idle = patience_left(shard, flow);
    uint32_t slow = slow_wait(&shard->policy.limits->slow, flow, shard->now_ms);
    wheel_set(shard->wheel, flow_index(shard->flows, flow), slow < idle ? slow : idle);
}

void forward_begin(struct shard *shard, struct flow *flow)
{
    const bool http = forward_reads(shard, flow);
    enum http1_part part =
        http && !flow->after_last ? http1_part(&flow->scan.parser) : HTTP1_BETWEEN;
    flow->last_ms = (uint32_t)shard->now_ms;
    slow_enter(flow,
               part == HTTP1_IN_BODY   ? SLOW_BODY
               : part == HTTP1_IN_HEAD ? SLOW_HEAD
                                       : SLOW_ANSWER,
               http, shard->now_ms);
    forward_watch(shard, flow);
}

/* Idle connections are everybody's. Of a body, bytes may be under way that a backend does not take:
 * then it is not certain whose doing it was; unless others before them have not come. */
static bool deserves_strike(const struct flow *flow, enum slow_phase phase)
{
    if (phase == SLOW_BODY)
        return flow->from_client.end == flow->from_backend.acked || flow_has_hole(flow);
    return phase == SLOW_HEAD || phase == SLOW_DRAIN;
}

bool forward_evicted(struct shard *shard, struct flow *flow)
{
    static const struct {
        uint8_t enforced, observed; /* enum verdict */
    } reasons[SLOW_PHASES] = {
        [SLOW_HEAD] = {VERDICT_SLOW_HEAD, VERDICT_SLOW_HEAD_OBSERVED},
        [SLOW_BODY] = {VERDICT_SLOW_BODY, VERDICT_SLOW_BODY_OBSERVED},
        [SLOW_DRAIN] = {VERDICT_SLOW_DRAIN, VERDICT_SLOW_DRAIN_OBSERVED},
        [SLOW_IDLE] = {VERDICT_SLOW_IDLE, VERDICT_SLOW_IDLE_OBSERVED},
        [SLOW_ANSWER] = {VERDICT_SLOW_ANSWER, VERDICT_SLOW_ANSWER_OBSERVED},
    };
    const struct slow_limits *limits = &shard->policy.limits->slow;
    enum slow_phase phase = slow_look(limits, flow, forward_reads(shard, flow), shard->now_ms);
    if (phase == SLOW_NONE)
        return false;
    if (limits->observe) {
        shard_count(shard, (enum verdict)reasons[phase].observed);
        return false;
    }
    shard_count(shard, (enum verdict)reasons[phase].enforced);
    if (deserves_strike(flow, phase))
        flow_strike(shard, flow, STRIKE_SLOW);
    flow_reset_both(shard, flow);
    flow_end(shard, flow, true);
    return true;
}

/* A window in bytes, at least as many as the other end takes it for: less than a unit of its scale
 * is told as one unit (tcp-pitfalls 5), and what it then sends must reach the one that knows
 * better. */
static uint32_t window_bytes(uint16_t window, uint8_t scale, uint8_t told)
{
    uint32_t bytes = (uint32_t)window << scale, unit = UINT32_C(1) << told;
    return window != 0 && bytes < unit ? unit : bytes;
}

struct window_segment flow_segment(const struct flow *flow, const struct packet *packet,
                                   const struct tcp_options *options, enum direction from)
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

static inline __attribute__((always_inline)) void send_on(struct shard *shard, struct frame *frame,
                                                          const struct packet *packet,
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

void forward_send_on(struct shard *shard, struct frame *frame, const struct packet *packet,
                     struct flow *flow, enum direction from)
{
    send_on(shard, frame, packet, flow, from);
}

/* Entries of flows that have ended meanwhile need not be kept. One whose slot holds another closed
 * flow by now is taken for that one's: it would go a little before its turn. */
void forward_note_closed(struct shard *shard, struct flow *flow)
{
    uint32_t oldest;
    flow_uncount(shard, flow);
    while ((oldest = linger_oldest(shard->lingering)) != LINGER_NONE &&
           !flow_is_closed(flow_at(shard->flows, oldest)))
        linger_drop(shard->lingering);
    linger_add(shard->lingering, flow_index(shard->flows, flow));
}

static void enter(struct shard *shard, struct flow *flow, enum flow_state next)
{
    if (flow->state == next)
        return;
    if (next == FLOW_CLOSED)
        forward_note_closed(shard, flow);
    flow->state = (uint8_t)next;
    forward_watch(shard, flow);
}

/* The backend sent its SYN-ACK again: our first data was lost on the inside. Acknowledge, as the
 * client would. */
static enum verdict acknowledge_again(struct shard *shard, struct frame *frame,
                                      const struct flow *flow)
{
    struct segment answer = flow_to_backend(shard, flow);
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

/* A segment that has been noted. */
static inline __attribute__((always_inline)) enum verdict
pass(struct shard *shard, struct frame *frame, const struct packet *packet, struct flow *flow,
     enum direction from, const struct window_segment *segment)
{
    bool delivering = flow->delivering && from == FROM_BACKEND;
    enum verdict verdict = VERDICT_FORWARDED;
    /* Of a reset nothing but its number was checked, and the backend may ignore it. */
    if (from == FROM_CLIENT && segment->timestamps && !(segment->flags & TCP_RST) &&
        seq_before(flow->newest, segment->tsval))
        flow->newest = segment->tsval;
    if (keeps(flow, packet, from))
        flow->last_ms = (uint32_t)shard->now_ms;
    if ((flow->phase & SLOW_QUIET) && segment->length != 0) {
        slow_wake(flow, shard->now_ms);
        forward_watch(shard, flow);
    }
    if (flow->unanswered && from == FROM_BACKEND && segment->length != 0)
        watch_answered(shard, flow);
    if (delivering)
        verdict = deliver_from_backend(shard, flow, segment);
    if (verdict != VERDICT_FORWARDED)
        return verdict;
    send_on(shard, frame, packet, flow, from);
    if (delivering)
        deliver_raise(shard, frame->bytes, packet, flow, segment);
    if (flow->after_last && from == FROM_BACKEND)
        surplus_raise(frame->bytes, packet, flow, segment);
    return VERDICT_FORWARDED;
}

/* What is left of a segment that lay behind the last request: its acknowledgement, for which its
 * sender expects one. The backend only hears of it if it says something new: without the bytes it
 * would be a duplicate, which asks for data (RFC 5681). */
static enum verdict pass_surplus(struct shard *shard, struct frame *frame,
                                 const struct packet *packet, struct flow *flow,
                                 const struct window_segment *segment, uint32_t tsecr)
{
    const uint32_t acked = flow->from_client.acked, limit = flow->from_backend.limit;
    window_note(&flow->from_client, &flow->from_backend, segment);
    bool news = flow->from_client.acked != acked || flow->from_backend.limit != limit;
    if (news)
        pass(shard, frame, packet, flow, FROM_CLIENT, segment);
    if (flow->delivering || seq_before(flow->from_backend.acked, flow->scan.next))
        return VERDICT_AFTER_LAST; /* the backend's own will do */
    struct segment ack = flow_to_client(shard, flow);
    if (seq_before(ack.options.tsval,
                   tsecr)) /* it has what we did not see acknowledged until now */
        ack.options.tsval = tsecr;
    if (news)
        shard_send(shard, OUTSIDE, &ack);
    else
        shard_replace(frame, OUTSIDE, &ack);
    return VERDICT_AFTER_LAST;
}

/* A client that still uses our window has done nothing wrong, though its backend's be smaller: that
 * will say so, or requests_read holds the segment to it. */
static __attribute__((noinline)) enum verdict check_granted(const struct shard *shard,
                                                            const struct flow *flow,
                                                            const struct window_segment *segment)
{
    struct side promised = flow->from_client;
    promised.limit = flow_granted(shard, flow);
    if (promised.limit - flow->from_client.limit > promised.limit - flow->client_isn)
        return VERDICT_OUT_OF_WINDOW; /* the backend has granted more since */
    return window_check(&promised, &flow->from_backend, segment);
}

static inline __attribute__((always_inline)) enum verdict
check(const struct shard *shard, const struct flow *flow, enum direction from,
      const struct window_segment *segment)
{
    if (from == FROM_BACKEND)
        return window_check(&flow->from_backend, &flow->from_client, segment);
    enum verdict verdict = window_check(&flow->from_client, &flow->from_backend, segment);
    return verdict == VERDICT_OUT_OF_WINDOW ? check_granted(shard, flow, segment) : verdict;
}

static inline __attribute__((always_inline)) enum segment_class
classify(const struct flow *flow, enum direction from, const struct window_segment *segment)
{
    if (from == FROM_CLIENT)
        return window_class(&flow->from_client, &flow->from_backend, segment,
                            states_backend_ended(flow->state));
    return window_class(&flow->from_backend, &flow->from_client, segment,
                        states_client_ended(flow->state));
}

enum verdict forward_check(const struct shard *shard, const struct flow *flow, enum direction from,
                           const struct window_segment *segment)
{
    return check(shard, flow, from, segment);
}

void forward_note_unsent(struct shard *shard, struct flow *flow,
                         const struct window_segment *segment)
{
    if (excess_unsent(flow, segment))
        flow_strike(shard, flow, STRIKE_OPTIMISTIC_ACK);
}

enum verdict forward_limit_excess(struct shard *shard, struct flow *flow)
{
    if (!excess_count(flow, shard_random(shard), shard->now_ms))
        return VERDICT_FORWARDED;
    if (!shard->policy.limits->excess_observe)
        return VERDICT_EXCESS;
    shard_count(shard, VERDICT_EXCESS_OBSERVED);
    return VERDICT_FORWARDED;
}

/* What is left of a segment behind the last request, of which so many bytes were discarded. Where
 * there was a hole none were, and it only seemed to move something. */
static enum verdict weigh_surplus(struct shard *shard, struct flow *flow,
                                  const struct window_segment *segment, uint32_t discarded,
                                  bool counted)
{
    if (discarded != 0)
        excess_forgive(flow, discarded, 0);
    else if (excess_moves(flow, segment))
        excess_accept(flow, segment);
    else if (!counted)
        return forward_limit_excess(shard, flow);
    return VERDICT_FORWARDED;
}

/* The bulk of what clients send: an acknowledgement as it is, in which requests_read finds nothing.
 */
static inline bool says_nothing(const struct flow *flow, const struct packet *packet,
                                const struct window_segment *segment)
{
    return packet->length == 0 && segment->length == 0 && segment->seq == packet->seq &&
           !(segment->flags & (TCP_SYN | TCP_FIN | TCP_RST)) &&
           !seq_before(flow->from_client.end, segment->seq);
}

/* Whether it makes the client's stream end elsewhere than where it does: by a FIN before bytes that
 * it has sent already, or bytes behind its FIN. Its backend takes such a FIN for an old duplicate;
 * here the client would have ended, and what it goes on to send would be timed by nobody. Behind a
 * last request bytes are discarded anyway. */
static bool moves_end(const struct flow *flow, const struct window_segment *segment)
{
    const struct side *client = &flow->from_client;
    const bool fin = (segment->flags & TCP_FIN) != 0;
    const bool ended = states_client_ended((enum flow_state)flow->state);
    const uint32_t end = segment->seq + segment->length + fin;
    if ((segment->length == 0 && !fin) || (segment->flags & TCP_RST))
        return false;
    if (fin && !(ended && end == client->fin) && seq_before(end - 1, client->end))
        return true;
    return ended && !flow->after_last && seq_before(client->fin, end);
}

/* The client's bytes go nowhere. If its backend has reset, it may not have heard of that: then the
 * rest of its segment asks, and the backend answers by a reset where the client expects one. */
static __attribute__((noinline)) enum verdict end_moved(struct shard *shard, struct frame *frame,
                                                        const struct packet **packet,
                                                        struct packet *shorter, struct flow *flow,
                                                        struct window_segment *segment)
{
    if (!flow->reset || !(segment->flags & TCP_ACK))
        return VERDICT_END_MOVED;
    if (forward_limit_excess(shard, flow) != VERDICT_FORWARDED)
        return VERDICT_EXCESS;
    *shorter = **packet;
    translate_cut(frame->bytes, shorter, flow->from_client.end, 0, false);
    *packet = shorter;
    segment->seq = shorter->seq;
    segment->length = 0;
    segment->flags = shorter->flags;
    return VERDICT_FORWARDED;
}

/* Whether the segment fits, and is not one too many that moves nothing: then it was `counted`. */
static inline __attribute__((always_inline)) enum verdict
weigh(struct shard *shard, struct flow *flow, enum direction from,
      const struct window_segment *segment, bool *counted)
{
    enum verdict verdict = check(shard, flow, from, segment);
    if (from == FROM_BACKEND) {
        if (flow->excess != 0 && segment->length != 0)
            flow->excess--; /* there will be an answer to it */
        return verdict;
    }
    if (verdict == VERDICT_ACK_UNSENT)
        forward_note_unsent(shard, flow, segment);
    if (verdict != VERDICT_FORWARDED || excess_moves(flow, segment))
        return verdict;
    *counted = true;
    return forward_limit_excess(shard, flow);
}

/* The table lets it through. */
static inline __attribute__((always_inline)) enum verdict
let_through(struct shard *shard, struct frame *frame, const struct packet *packet,
            struct flow *flow, enum direction from, const struct window_segment *segment)
{
    if (from == FROM_BACKEND) {
        window_note(&flow->from_backend, &flow->from_client, segment);
    } else {
        if (flow->excess != 0) /* as good as never */
            excess_accept(flow, segment);
        window_note(&flow->from_client, &flow->from_backend, segment);
    }
    return pass(shard, frame, packet, flow, from, segment);
}

/* Compiled once for each direction. */
static inline __attribute__((always_inline)) enum verdict
forward(struct shard *shard, struct frame *frame, const struct packet *packet, struct flow *flow,
        const enum direction from)
{
    const bool client = from == FROM_CLIENT;
    struct tcp_options options;
    if (!packet_options(frame->bytes, packet, &options))
        return VERDICT_BAD_OPTIONS;
    struct window_segment segment = flow_segment(flow, packet, &options, from);
    uint32_t discarded = 0;
    bool counted = false;
    if (flow->after_last && client) {
        surplus_strip(flow, &segment);
        discarded = surplus_count(flow);
    }
    enum verdict verdict = weigh(shard, flow, from, &segment, &counted);
    if (verdict == VERDICT_FORWARDED && flow->delivering && client)
        verdict = deliver_from_client(shard, frame, flow, &segment);
    if (verdict != VERDICT_FORWARDED)
        return verdict;
    struct packet shorter;
    if (client && !says_nothing(flow, packet, &segment))
        verdict = moves_end(flow, &segment)
                      ? end_moved(shard, frame, &packet, &shorter, flow, &segment)
                      : requests_read(shard, frame, &packet, &shorter, flow, &segment);
    const bool surplus = verdict == VERDICT_AFTER_LAST;
    if (verdict != VERDICT_FORWARDED && !surplus)
        return verdict;
    enum segment_class class = classify(flow, from, &segment);
    if (class == SEGMENT_RST_WINDOW && flow->delivering && client &&
        deliver_resets(shard, flow, segment.seq)) {
        flow_reset_backend_anyhow(shard, flow);
        flow_end(shard, flow, true);
        return VERDICT_FLOW_RESET;
    }
    struct transition next = states_next(flow->state, from, class);
    switch (next.action) {
    case ACTION_FORWARD:
        if (surplus) {
            discarded = surplus_count(flow) - discarded;
            verdict = weigh_surplus(shard, flow, &segment, discarded, counted);
            if (verdict != VERDICT_FORWARDED)
                return verdict;
            verdict = pass_surplus(shard, frame, packet, flow, &segment, options.tsecr);
        } else {
            verdict = let_through(shard, frame, packet, flow, from, &segment);
        }
        enter(shard, flow, next.next);
        if (flow->refusal != REFUSAL_NONE && !flow->delivering)
            refuse_begin(shard, flow, frame, packet->length != 0);
        return verdict;
    case ACTION_RESET: return forward_reset(shard, frame, packet, flow, from, &segment);
    case ACTION_REPEAT: return acknowledge_again(shard, frame, flow);
    default: return VERDICT_STATE;
    }
}

/* Bytes before a backend's reset may be under way or lost. If they are lost its client cannot tell
 * it from a forged one, and asks (RFC 5961 section 3.2); the backend answers by another, where the
 * client expects it. Until then nothing is left of the flow but the way. */
static void linger_reset(struct shard *shard, struct flow *flow)
{
    flow->reset = true;
    flow->delivering = false;
    heads_drop(shard, flow);
    flow->from_client.fin = flow->from_client.end; /* no byte goes on */
    flow->last_ms = (uint32_t)shard->now_ms;
    enter(shard, flow, FLOW_CLOSED);
}

enum verdict forward_reset(struct shard *shard, struct frame *frame, const struct packet *packet,
                           struct flow *flow, enum direction from,
                           const struct window_segment *segment)
{
    const bool again = flow->reset;
    forward_send_on(shard, frame, packet, flow, from);
    if (from == FROM_CLIENT || segment->seq == flow->from_client.acked)
        flow_end(shard, flow, true);
    else if (!again)
        linger_reset(shard, flow);
    return again ? VERDICT_FORWARDED : VERDICT_FLOW_RESET;
}

enum verdict forward_packet(struct shard *shard, struct frame *frame, const struct packet *packet,
                            struct flow *flow, enum direction from)
{
    return from == FROM_CLIENT ? forward(shard, frame, packet, flow, FROM_CLIENT)
                               : forward(shard, frame, packet, flow, FROM_BACKEND);
}

void forward_timeout(struct shard *shard, struct flow *flow)
{
    if (patience_left(shard, flow) != 0) {
        /* packets only note the time: cheaper than moving a timer for each */
        forward_watch(shard, flow);
        return;
    }
    if (flow->state == FLOW_CLOSED) {
        flow_end_closed(shard, flow);
        return;
    }
    flow_reset_backend(shard, flow);
    flow_reset_client(shard, flow);
    flow_end(shard, flow, true);
    shard_count(shard, VERDICT_FLOW_IDLE);
}
