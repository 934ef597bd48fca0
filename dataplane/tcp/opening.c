/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * From the first data with a valid cookie to a flow. The request's head is read before anything is
 * opened (reading.c goes on if it is not complete); its bytes are copied and held, and a backend is
 * asked (opening_backend.c). What is refused gets its answer here and, wherever that is enough, no
 * flow. A head that is whole in the first segment is never acknowledged here: a loss on the inside
 * is covered by the client's own retransmission. */
#include "dataplane/tcp/reading.h"
#include "dataplane/tcp/shard.h"

/* The client is verified, so it may be told at once that this will not work. */
static void reset_client(struct shard *shard, struct frame *frame, const struct packet *packet)
{
    struct segment answer = shard_answer(shard, frame, packet);
    answer.seq = packet->ack;
    answer.flags = TCP_RST;
    shard_replace(frame, OUTSIDE, &answer);
}

/* What the client has said, in its own numbers, before the backend says anything. */
static void begin_sides(const struct shard *shard, struct flow *flow, const struct packet *packet,
                        const struct tcp_options *options)
{
    uint32_t window = (uint32_t)packet->window << flow->splice.scale_of_client;
    flow->from_client = (struct side){
        .end = packet->seq,
        .acked = packet->ack,
        .limit = flow_granted(shard, flow),
        .window = window,
        .ts_recent = options->tsval,
        .fin = packet->seq + packet->length + 1U, /* if it has one */
    };
    flow->from_backend = (struct side){
        .end = packet->ack,
        .acked = packet->seq,
        .limit = packet->ack + window,
        .ts_recent = options->tsecr,
    };
}

/* The cookie has no room for it. A client that echoes the clock of our SYN-ACK was granted them,
 * even if a backend without them has come since. */
static bool timestamps_granted(const struct shard *shard, const struct tcp_options *options,
                               const struct opening *opening)
{
    return options->timestamps &&
           (opening->sent_exactly || shard->policy.offers->offer[opening->service].timestamps);
}

static void fill_flow(struct shard *shard, struct flow *flow, const struct frame *frame,
                      const struct packet *packet, const struct tcp_options *options,
                      const struct opening *opening)
{
    flow->state = FLOW_READING;
    flow->admitted = shard->generation;
    flow->timestamps = timestamps_granted(shard, options, opening);
    flow->sack = opening->options.sack;
    flow->scaling = opening->options.window_scale != COOKIE_NO_SCALE;
    flow->held_fin = (packet->flags & TCP_FIN) != 0;
    memcpy(&flow->client_mac, frame->bytes + 6, sizeof flow->client_mac);
    flow->splice.scale_of_client = flow->scaling ? opening->options.window_scale : 0;
    flow->splice.scale_told_backend = flow->splice.scale_of_client;
    flow->splice.scale_told_client = flow->scaling ? opening->window_scale : 0;
    flow->last_ms = (uint32_t)shard->now_ms;
    flow->client_isn = opening->client_isn;
    flow->sent = opening->sent;
    flow->owned_end = opening->client_isn + 1;
    flow->newest = options->tsval;
    begin_sides(shard, flow, packet, options);
}

static bool hold_first(struct shard *shard, struct flow *flow, const struct frame *frame,
                       const struct packet *packet, const struct opening *opening, bool complete)
{
    flow->held = reading_take(shard, &flow->client, packet->length, complete);
    if (flow->held == HELD_NONE)
        return false;
    struct held_entry *entry = held_at(shard->held, flow->held);
    entry->flow = flow_index(shard->flows, flow);
    entry->announced = packet->seq + shard->policy.limits->window;
    entry->client_mss = cookie_mss(opening->options.mss_class);
    entry->asked[entry->asked_count++] = flow->backend;
    held_store(entry, 0, frame->bytes + packet->payload, packet->length);
    return true;
}

/* A flow that is not in the table yet, its backend chosen and the request held; NULL with the
 * reason why there is none. */
static struct flow *reserve_flow(struct shard *shard, const struct frame *frame,
                                 const struct packet *packet, const struct tcp_options *options,
                                 const struct opening *opening, bool complete, enum verdict *reason)
{
    struct flow *flow = flow_make(shard);
    *reason = VERDICT_FLOW_TABLE_FULL;
    if (flow == NULL)
        return NULL;
    flow->client = packet->source;
    flow->client_port = packet->source_port;
    flow->service = opening->service;
    if (!opening_choose(shard, flow, reason)) {
        flow_release(shard->flows, flow);
        return NULL;
    }
    fill_flow(shard, flow, frame, packet, options, opening);
    if (!hold_first(shard, flow, frame, packet, opening, complete)) {
        bool own = held_client_full(shard->held, &flow->client);
        flow_release(shard->flows, flow);
        *reason = own ? VERDICT_HELD_PER_CLIENT : VERDICT_HELD_FULL;
        return NULL;
    }
    return flow;
}

/* Everything is reserved before anything is published (tcp-pitfalls 10); the client's connection
 * first, so that one over its limits takes nothing from others. */
static enum verdict open_flow(struct shard *shard, struct frame *frame, const struct packet *packet,
                              const struct tcp_options *options, const struct opening *opening,
                              const struct scan *scan, bool complete,
                              const struct refused_request *no)
{
    uint32_t account;
    enum verdict reason = client_connect(shard->clients, &shard->policy.limits->clients,
                                         &packet->source, opening->listed, shard->now_ms, &account);
    if (reason != VERDICT_FORWARDED) {
        reset_client(shard, frame, packet);
        return reason;
    }
    struct flow *flow = reserve_flow(shard, frame, packet, options, opening, complete, &reason);
    if (flow == NULL) {
        client_disconnect(shard->clients, account, CLIENT_NO_FLOW);
        if (reason == VERDICT_BACKENDS_DOWN)
            reset_client(shard, frame, packet);
        return reason;
    }
    flow->account = account;
    client_attach(shard->clients, account, flow_index(shard->flows, flow));
    flow->scan = *scan;
    if (shard->policy.services->service[flow->service].protocol == SERVICE_HTTP)
        shard->requests += scan->heads;
    flow_publish(shard->flows, flow);
    if (no->why != VERDICT_FORWARDED) { /* another behind the first, in the same segment */
        refuse_note(shard, flow, &no->refusal);
        shard_count(shard, no->why);
    }
    if (complete)
        return opening_ask(shard, frame, flow);
    wheel_set(shard->wheel, flow_index(shard->flows, flow), shard->policy.limits->head_timeout_ms);
    return reading_acknowledge(shard, frame, flow);
}

/* A close that keeps nothing, to a client that has sent nothing but this. */
static struct segment last_answer(const struct shard *shard, const struct frame *frame,
                                  const struct packet *packet, const struct tcp_options *options)
{
    struct segment answer = shard_answer(shard, frame, packet);
    answer.seq = packet->ack;
    answer.ack = packet->seq + packet->length + ((packet->flags & TCP_FIN) != 0);
    answer.flags = TCP_FIN | TCP_ACK;
    answer.options.timestamps = options->timestamps;
    answer.options.tsval = options->tsecr;
    answer.options.tsecr = options->tsval;
    return answer;
}

/* A name that is not served: said in the client's own protocol, and again if it asks again. */
static enum verdict refuse_name(const struct shard *shard, struct frame *frame,
                                const struct packet *packet, const struct tcp_options *options)
{
    struct segment answer = last_answer(shard, frame, packet, options);
    reading_alert(&answer);
    shard_replace(frame, OUTSIDE, &answer);
    return VERDICT_TLS_NAME;
}

/* A client that closes before its request is complete is closed in answer; nothing is kept. */
static enum verdict answer_close(const struct shard *shard, struct frame *frame,
                                 const struct packet *packet, const struct tcp_options *options)
{
    struct segment answer = last_answer(shard, frame, packet, options);
    shard_replace(frame, OUTSIDE, &answer);
    return VERDICT_HEAD_INCOMPLETE;
}

/* The client has begun anew on the tuple of an old connection. */
static void replace(struct shard *shard, struct flow *old)
{
    if (flow_is_closed(old)) {
        flow_end_closed(shard, old);
        return;
    }
    flow_reset_backend(shard, old);
    flow_end(shard, old, true);
    shard_count(shard, VERDICT_FLOW_REPLACED);
}

/* A flow for no more than a refusal: it counts as a connection like any other. NULL when there is
 * no room for it, or its client has all that it may. */
static struct flow *make_counted(struct shard *shard, const struct packet *packet,
                                 const struct opening *opening)
{
    uint32_t account;
    if (client_connect(shard->clients, &shard->policy.limits->clients, &packet->source,
                       opening->listed, shard->now_ms, &account) != VERDICT_FORWARDED)
        return NULL;
    struct flow *flow = flow_make(shard);
    if (flow == NULL) {
        client_disconnect(shard->clients, account, CLIENT_NO_FLOW);
        return NULL;
    }
    flow->account = account;
    client_attach(shard->clients, account, flow_index(shard->flows, flow));
    return flow;
}

/* A first request that the gate has refused. Of one that has not come as a whole the rest needs a
 * flow, so that the client can send it in peace; when there is none, the answer has to do. */
static enum verdict refuse_first(struct shard *shard, struct frame *frame,
                                 const struct packet *packet, const struct tcp_options *options,
                                 const struct opening *opening, const struct scan *scan,
                                 const struct refused_request *no, struct flow *old)
{
    const uint8_t *bytes = frame->bytes + packet->payload;
    bool fin = (packet->flags & TCP_FIN) != 0;
    struct flow *flow = NULL;
    if (old != NULL && flow_is_closed(old)) {
        replace(shard, old);
        old = NULL;
    }
    uint32_t scale = opening->options.window_scale;
    uint32_t room = (uint32_t)packet->window << (scale == COOKIE_NO_SCALE ? 0 : scale);
    bool whole = fin || refuse_at_once(scan, packet->seq, bytes, packet->length, no);
    bool fits = room > REPLY_MOST;
    if (old == NULL && (!whole || !fits))
        flow = make_counted(shard, packet, opening);
    if (flow == NULL && !fits) /* half of it would be no answer */
        return VERDICT_FLOW_TABLE_FULL;
    if (flow == NULL)
        return refuse_stateless(shard, frame, packet, options, opening, no);
    flow->client = packet->source;
    flow->client_port = packet->source_port;
    flow->service = opening->service;
    flow->held = HELD_NONE;
    fill_flow(shard, flow, frame, packet, options, opening);
    flow->scan = *scan;
    uint32_t awaited = whole ? packet->seq : refuse_awaited(shard, scan, packet->seq, no);
    refuse_alone(shard, frame, flow, no, packet->length, fin, awaited);
    flow_publish(shard->flows, flow);
    return no->why;
}

enum verdict opening_start(struct shard *shard, struct frame *frame, const struct packet *packet,
                           const struct opening *opening, struct flow *old)
{
    struct tcp_options options;
    struct scan scan;
    const struct gate_asker asker = {&packet->source, opening->service,
                                     gate_key(packet->source_port, opening->client_isn), false};
    struct refused_request no = {.why = VERDICT_FORWARDED};
    if (shard->policy.services->service[opening->service].presence != PRESENT)
        return VERDICT_NO_SERVICE;
    if (!packet_options(frame->bytes, packet, &options))
        return VERDICT_BAD_OPTIONS;
    scan_begin(&scan, packet->seq);
    enum verdict verdict = VERDICT_HELD_TOO_LARGE;
    if (packet->length <= shard->policy.limits->window)
        verdict = reading_judge(shard, &asker, &scan, packet->seq, frame->bytes + packet->payload,
                                0, packet->length, &no);
    if (verdict == VERDICT_TLS_NAME)
        return refuse_name(shard, frame, packet, &options);
    bool complete = verdict == VERDICT_FORWARDED;
    if (!complete && no.why != VERDICT_FORWARDED)
        return refuse_first(shard, frame, packet, &options, opening, &scan, &no, old);
    if (!complete && verdict != VERDICT_HEAD_INCOMPLETE) {
        if (reading_malformed(verdict))
            client_strike(shard->clients, &shard->policy.limits->clients, &packet->source,
                          opening->listed, STRIKE_MALFORMED, shard->now_ms);
        reset_client(shard, frame, packet);
        return verdict;
    }
    if (!complete && (packet->flags & TCP_FIN))
        return answer_close(shard, frame, packet, &options);
    /* Not before: what is refused leaves no tombstone, so this may be a late copy of it. */
    if (old != NULL)
        replace(shard, old);
    return open_flow(shard, frame, packet, &options, opening, &scan, complete, &no);
}
