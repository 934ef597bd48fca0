/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * How "no" gets to a client. The first request of a connection, whole in its segment, is answered
 * in its place, and nothing is kept: answer, acknowledgement and FIN are one segment, so what is
 * lost of it is lost as a whole, and the request comes again. Any other needs a flow, and so does a
 * client without room for it:
 *
 *   REFUSING  A request was refused behind others. The backend gets a FIN in its place, as from a
 *             client that has no more to ask, and what it still says goes on: earlier answers
 *             arrive whole.
 *   REFUSED   Its FIN has come, or there never was a backend. The refusal takes the place of that
 *             FIN, with the numbers that follow the backend's; it is sent until the client
 *             acknowledges it. The backend hears that its FIN has arrived when its client has all
 *             that was before it, so that it goes on sending what got lost.
 *
 * What both ends still send meanwhile is taken by refuse_taken.c. A client is not reset before its
 * FIN or UNREAD_MS, for a reset could destroy the answer before it is read (RFC 9112 section 9.6).
 *
 * Of a head in several segments the first may have gone on before it could be judged. Its backend
 * then sees a connection that ends within a head: the purchase service and nginx close it without a
 * word. One that answers even that (400) has its answer pass in front of the refusal, because where
 * one answer ends and another begins only a reader of answers could tell. */
#include "dataplane/tcp/refuse_flow.h"

enum {
    RTO_INSIDE_MS = 200, /* of our FIN, doubled each time, as deliver.c's */
    RESENDS_INSIDE = 5,
    RTO_MS = 500, /* of the answer, likewise; RFC 6298 begins with 1 s, for more than a segment */
    UNREAD_MS = 10000,
    UNREAD_BYTE_MS = 32 /* that a byte of the answer adds: who takes 30 per second may finish */
};

/* Whether the client has acknowledged the refusal and our FIN. */
static bool client_told(const struct flow *flow)
{
    return flow->scan.refused.told && flow->from_client.acked == flow->scan.refused.until;
}

static void arm(struct shard *shard, const struct flow *flow, uint32_t delay_ms)
{
    wheel_set(shard->wheel, flow_index(shard->flows, flow), delay_ms);
}

/* The same, but not beyond so much patience with the client. */
static void arm_within(struct shard *shard, const struct flow *flow, uint32_t delay_ms,
                       uint32_t patient)
{
    const uint32_t gone = (uint32_t)shard->now_ms - flow->scan.refused.since_ms;
    const uint32_t left = gone < patient ? patient - gone : 0;
    arm(shard, flow, delay_ms < left ? delay_ms : left);
}

/* ---- without a flow ---- */

enum verdict refuse_stateless(struct shard *shard, struct frame *frame, const struct packet *packet,
                              const struct tcp_options *options, const struct opening *opening,
                              const struct refused_request *no)
{
    bool scales = opening->options.window_scale != COOKIE_NO_SCALE;
    uint8_t bytes[REPLY_MOST];
    struct segment answer = shard_answer(shard, frame, packet);
    answer.seq = packet->ack;
    answer.ack = packet->seq + packet->length + ((packet->flags & TCP_FIN) != 0);
    answer.flags = TCP_PSH | TCP_FIN | TCP_ACK;
    answer.window =
        (uint16_t)(shard->policy.limits->window >> (scales ? opening->window_scale : 0));
    answer.options.timestamps = options->timestamps;
    answer.options.tsval = options->tsecr;
    answer.options.tsecr = options->tsval;
    answer.payload = bytes;
    answer.length = reply_write(&no->refusal, shard->unix_ms, bytes);
    shard_replace(frame, OUTSIDE, &answer);
    farewell_note(shard->farewells,
                  outside_segment(packet, opening->hash, 0, answer.seq + answer.length + 1U));
    return no->why;
}

bool refuse_at_once(const struct scan *scan, uint32_t seq, const uint8_t *bytes, uint32_t length,
                    const struct refused_request *no)
{
    struct scan rest = *scan;
    enum verdict verdict;
    uint32_t head;
    if (no->expects && rest.next == seq + length)
        return true;
    do {
        verdict = scan_segment(&rest, seq, bytes, length, &head);
    } while (head != 0);
    return verdict == VERDICT_FORWARDED && rest.next == seq + length &&
           http1_part(&rest.parser) == HTTP1_BETWEEN;
}

uint32_t refuse_awaited(const struct shard *shard, const struct scan *scan, uint32_t first,
                        const struct refused_request *no)
{
    uint64_t body = http1_data_left(&scan->parser);
    uint32_t before = scan->next - first, room = shard->policy.limits->window;
    return no->expects || before > room || body > room - before ? first
                                                                : scan->next + (uint32_t)body;
}

/* ---- what is said ---- */

/* In REFUSED a client is timed for as long as it lacks answers from before. */
static void begin_clocks(struct shard *shard, struct flow *flow)
{
    slow_enter(flow, refuse_is_alone(flow) ? SLOW_NONE : SLOW_DRAIN, true, shard->now_ms);
    refused_of(flow)->clock = flow->from_backend.ts_recent;
}

void refuse_note(struct shard *shard, struct flow *flow, const struct refusal *refusal)
{
    flow->refusal = (uint8_t)(refusal->kind | (refusal->head ? REFUSAL_HEAD : 0) |
                              (refusal->html ? REFUSAL_HTML : 0));
    *refused_of(flow) = (struct refused){
        .opens_at = refusal->opens_at,
        .retry_after_s =
            (uint16_t)(refusal->retry_after_s < UINT16_MAX ? refusal->retry_after_s : UINT16_MAX),
        .second = (uint32_t)(shard->unix_ms / 1000),
        .since_ms = (uint32_t)shard->now_ms,
    };
}

static uint16_t write_answer(struct flow *flow, uint8_t out[REPLY_MOST])
{
    const struct refused *refused = refused_of(flow);
    const struct refusal refusal = {
        .opens_at = refused->opens_at,
        .retry_after_s = refused->retry_after_s,
        .kind = (uint8_t)(flow->refusal & ~(REFUSAL_HEAD | REFUSAL_HTML)),
        .head = (flow->refusal & REFUSAL_HEAD) != 0,
        .html = (flow->refusal & REFUSAL_HTML) != 0,
    };
    return reply_write(&refusal, refused->second * UINT64_C(1000), out);
}

/* What the client lacks of the refusal and our FIN, as far as it has room; of a closed window one
 * byte asks, if `probe`. Over the frame in hand, if there is one. */
static void send_answer(struct shard *shard, struct flow *flow, struct frame *frame, bool probe)
{
    const struct refused *refused = refused_of(flow);
    struct side *client = &flow->from_client, *backend = &flow->from_backend;
    uint8_t bytes[REPLY_MOST];
    const uint32_t length = write_answer(flow, bytes);
    const uint32_t from = seq_before(client->acked, refused->at) ? refused->at : client->acked;
    int32_t room = (int32_t)(backend->limit - from);
    if (from - refused->at > length) /* it has all of it */
        return;
    if (room <= 0 && !(probe && from == client->acked))
        return;
    const uint32_t most = room <= 0 ? 1 : (uint32_t)room, left = length - (from - refused->at);
    struct segment answer = flow_to_client(shard, flow);
    answer.seq = from;
    answer.payload = bytes + (from - refused->at);
    answer.length = (uint16_t)(left < most ? left : most);
    answer.flags = TCP_PSH | TCP_ACK | (left < most || left == 0 ? TCP_FIN : 0);
    if (frame != NULL)
        shard_replace(frame, OUTSIDE, &answer);
    else
        shard_send(shard, OUTSIDE, &answer);
    const uint32_t to = from + answer.length + ((answer.flags & TCP_FIN) != 0);
    if (seq_before(backend->end, to))
        backend->end = to;
}

/* For the first time. */
static void tell_client(struct shard *shard, struct flow *flow, struct frame *frame)
{
    struct refused *refused = refused_of(flow);
    uint8_t bytes[REPLY_MOST];
    refused->until = refused->at + write_answer(flow, bytes) + 1U;
    refused->told = true;
    refused->since_ms = (uint32_t)shard->now_ms;
    refused->tries = 0;
    flow->from_backend.end = refused->at;
    send_answer(shard, flow, frame, false);
    arm(shard, flow, RTO_MS);
}

static struct segment fin_to_backend(const struct shard *shard, const struct flow *flow)
{
    struct segment fin = flow_to_backend(shard, flow);
    fin.seq = flow->scan.next;
    fin.flags = TCP_FIN | TCP_ACK;
    return fin;
}

void refuse_say(struct shard *shard, struct frame *frame, enum port_side to,
                const struct segment *segment)
{
    if (frame->to == PORT_NONE)
        shard_replace(frame, to, segment);
    else
        shard_send(shard, to, segment);
}

/* ---- beginnings ---- */

void refuse_begin(struct shard *shard, struct flow *flow, struct frame *frame, bool carries)
{
    if (flow->state != FLOW_ESTABLISHED) { /* its backend has ended already: nothing can follow */
        flow->refusal = REFUSAL_NONE;
        return;
    }
    struct segment fin = fin_to_backend(shard, flow);
    if (frame->to == INSIDE) {
        if (carries) /* in this order; else the FIN says the same */
            shard->output.send(shard->output.context, INSIDE, frame->bytes, frame->length);
        frame->to = PORT_NONE;
    }
    refuse_say(shard, frame, INSIDE, &fin);
    flow->state = FLOW_REFUSING;
    flow->from_client.end = flow->from_client.fin = flow->scan.next + 1;
    flow->last_ms = (uint32_t)shard->now_ms;
    slow_enter(flow, SLOW_ANSWER, true, shard->now_ms);
    arm(shard, flow, RTO_INSIDE_MS);
}

/* Nothing more is to come of the client, or nothing that is waited for. */
static bool complete(const struct flow *flow)
{
    uint32_t shown = flow_acknowledged(flow);
    return flow->held_fin || !seq_before(shown, flow->scan.refused.until);
}

void refuse_alone(struct shard *shard, struct frame *frame, struct flow *flow,
                  const struct refused_request *no, uint32_t received, bool fin, uint32_t awaited)
{
    const uint32_t first = flow->client_isn + 1;
    refuse_note(shard, flow, &no->refusal);
    held_drop(shard->held, flow->held);
    flow->held = HELD_NONE;
    flow->backend = BACKEND_NONE;
    flow->state = FLOW_REFUSED;
    flow->scan.next = first; /* all that it has sent is discarded, from here on */
    flow->after_last = true;
    flow->owned_end = first + received;
    flow->held_fin = fin;
    flow->from_client.end = flow->from_backend.acked = first;
    flow->from_client.limit = flow_granted(shard, flow);
    refused_of(flow)->at = flow->from_client.acked;
    refused_of(flow)->until = awaited;
    begin_clocks(shard, flow);
    if (complete(flow)) {
        tell_client(shard, flow, frame);
        return;
    }
    struct segment ack = flow_to_client(shard, flow);
    if (frame != NULL)
        shard_replace(frame, OUTSIDE, &ack);
    else
        shard_send(shard, OUTSIDE, &ack);
    arm(shard, flow, shard->policy.limits->head_timeout_ms);
}

void refuse_follow(struct shard *shard, struct flow *flow, struct frame *frame, uint32_t at,
                   uint32_t tsval)
{
    flow->state = FLOW_REFUSED;
    refused_of(flow)->at = at;
    begin_clocks(shard, flow);
    refuse_note_clock(flow, tsval);
    tell_client(shard, flow, frame);
    if (!seq_before(flow->from_client.acked, at)) {
        const struct segment ack = flow_to_backend(shard, flow);
        shard_send(shard, INSIDE, &ack);
    }
}

/* ---- on the way to its end ---- */

/* The client, which had acknowledged `acked`, has come nearer to its end. Its time begins anew when
 * it has what was before the answer (that is timed as slow.h says), and when it has the answer;
 * between the two a byte now and then extends nothing. */
static void comes_nearer(const struct shard *shard, struct flow *flow, uint32_t acked)
{
    struct refused *refused = refused_of(flow);
    const uint32_t now = (uint32_t)shard->now_ms, gone = now - refused->since_ms;
    const uint32_t earned = (flow->from_client.acked - acked) * UNREAD_BYTE_MS;
    const bool within = !seq_before(acked, refused->at) && !client_told(flow);
    refused->since_ms = within && earned < gone ? refused->since_ms + earned : now;
}

/* The client of a flow in REFUSED, which had acknowledged `acked`, has said something new. */
static void go_on(struct shard *shard, struct flow *flow, struct frame *frame, uint32_t acked)
{
    struct refused *refused = refused_of(flow);
    const struct side *backend = &flow->from_backend;
    if (flow->from_client.acked != acked) {
        comes_nearer(shard, flow, acked);
        refused->tries = refuse_backend_told(flow) ? 0 : refused->tries;
        /* While its backend sends what it lacks, nothing puts off the look at how fast it reads. */
        if (!seq_before(flow->from_client.acked, refused->at))
            arm_within(shard, flow,
                       client_told(flow) && refuse_backend_told(flow) ? UNREAD_MS : RTO_MS,
                       UNREAD_MS);
    }
    /* There was no room for all of it, and is more now. */
    if (refused->told && backend->end != refused->until && seq_before(backend->end, backend->limit))
        send_answer(shard, flow, frame->to == PORT_NONE ? frame : NULL, false);
}

bool refuse_go_on(struct shard *shard, struct flow *flow, struct frame *frame, uint32_t acked,
                  bool news)
{
    if (flow->state != FLOW_REFUSED)
        return false;
    if (!refused_of(flow)->told && complete(flow)) {
        tell_client(shard, flow, frame);
        return true;
    }
    if (news)
        go_on(shard, flow, frame, acked);
    return false;
}

bool refuse_is_over(const struct flow *flow)
{
    return flow->state == FLOW_REFUSED && client_told(flow) && flow->held_fin &&
           refuse_backend_told(flow);
}

void refuse_linger(struct shard *shard, struct flow *flow)
{
    if (!refuse_is_over(flow))
        return;
    slow_enter(flow, SLOW_NONE, true, shard->now_ms);
    forward_note_closed(shard, flow);
    arm(shard, flow, shard->policy.limits->linger_ms);
}

/* ---- timers ---- */

static void give_up(struct shard *shard, struct flow *flow, enum verdict why)
{
    flow_reset_backend(shard, flow);
    flow_reset_client(shard, flow);
    flow_end(shard, flow, true);
    shard_count(shard, why);
}

/* Our FIN once more. Returns false when that was often enough, and the flow has ended. */
static bool tell_backend_again(struct shard *shard, struct flow *flow)
{
    struct refused *refused = refused_of(flow);
    if (refused->tries >= RESENDS_INSIDE) {
        give_up(shard, flow, VERDICT_UNDELIVERED);
        return false;
    }
    const struct segment fin = fin_to_backend(shard, flow);
    shard_send(shard, INSIDE, &fin);
    refused->tries++;
    return true;
}

void refuse_timeout(struct shard *shard, struct flow *flow)
{
    struct refused *refused = refused_of(flow);
    if (flow->state == FLOW_REFUSING) {
        if (refuse_backend_told(flow))
            forward_timeout(shard, flow);
        else if (tell_backend_again(shard, flow))
            arm(shard, flow, (uint32_t)RTO_INSIDE_MS << refused->tries);
        return;
    }
    if (refuse_is_over(flow)) {
        flow_end_closed(shard, flow);
        return;
    }
    if (!refused->told) { /* it has had [tcp] head_timeout for the rest of its request */
        tell_client(shard, flow, NULL);
        return;
    }
    const struct limits *limits = shard->policy.limits;
    bool lacks = seq_before(flow->from_client.acked, refused->at); /* its backend sends it again */
    uint32_t patient = lacks ? limits->half_closed_ms : UNREAD_MS;
    uint32_t gone = (uint32_t)shard->now_ms - refused->since_ms;
    if (gone >= patient) {
        give_up(shard, flow, VERDICT_REFUSAL_UNREAD);
        return;
    }
    bool reads = lacks && gone < RTO_MS; /* it will come to the answer, too */
    if (!refuse_backend_told(flow)) {
        if (!tell_backend_again(shard, flow))
            return;
    } else if (!client_told(flow) && !reads) {
        refused->tries = (uint8_t)(refused->tries + (refused->tries < RESENDS_INSIDE));
    }
    if (!client_told(flow) && !reads)
        send_answer(shard, flow, NULL, true);
    else if (client_told(flow) && refuse_backend_told(flow)) {
        arm_within(shard, flow, patient, patient);
        return;
    }
    arm_within(shard, flow, (uint32_t)RTO_MS << refused->tries, patient);
}
