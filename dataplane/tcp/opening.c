/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * From the first data with a valid cookie to an open flow. The request's head is read before
 * anything is opened (reading.c goes on if it is not complete); its bytes are copied and held; a
 * backend gets a SYN with the client's own ISN and options, and, the moment it answers, the held
 * bytes (deliver.c). One that refuses or is silent costs the client nothing but time: as long as no
 * byte of the request has been sent, the next is asked. A head that is whole in the first segment
 * is never acknowledged here: a loss on the inside is covered by the client's own retransmission.
 */
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

/* From inside, too, a flow must be the only one of its tuple: another service may lead to the same
 * backend. That of a flow which is already in the table is taken by itself. A closed one makes room
 * (lead_to): what either end sends again its tombstone answers. */
static bool tuple_taken(const struct shard *shard, const struct flow *flow, uint64_t hash,
                        uint16_t backend)
{
    const struct flow *other =
        flow_find_inside(shard->flows, hash, &flow->client, flow->client_port, backend);
    return other != NULL && !flow_is_closed(other);
}

/* Told by name, not by number: when a backend fails, the table that is walked is soon another. */
static bool was_asked(const struct held_entry *entry, int backend)
{
    for (uint8_t i = 0; entry != NULL && i < entry->asked_count; i++)
        if (entry->asked[i] == backend)
            return true;
    return false;
}

/* The first of the service's backends that was not asked yet and can be reached, or -1 with the
 * reason. `entry` is the flow's, or NULL: none was asked. */
static int choose_backend(const struct shard *shard, const struct flow *flow,
                          const struct held_entry *entry, enum verdict *reason)
{
    const struct balance *balance = shard->policy.balance;
    uint64_t place = balance_hash(balance, &flow->client, flow->client_port);
    uint64_t hash = flow_hash(shard->flows, &flow->client, flow->client_port);
    int backend;
    *reason =
        balance_down(balance, flow->service) ? VERDICT_BACKENDS_DOWN : VERDICT_BACKEND_UNRESOLVED;
    for (unsigned nth = 0; (backend = balance_choose(balance, flow->service, place, nth)) >= 0;
         nth++) {
        if (was_asked(entry, backend) || !shard->policy.neighbors->backend[backend].known)
            continue;
        if (!tuple_taken(shard, flow, hash, (uint16_t)backend))
            return backend;
        *reason = VERDICT_TUPLE_CONFLICT;
    }
    return -1;
}

/* Not removed by a reload. One that was asked before may be behind the last one by now. */
static bool is_present(const struct shard *shard, uint16_t backend)
{
    const struct services *services = shard->policy.services;
    return backend < services->backend_count && services->backend[backend].presence == PRESENT;
}

/* When all have been asked: the first of them that was only silent, and may answer by now; or -1.
 */
static int choose_silent(const struct shard *shard, const struct flow *flow,
                         const struct held_entry *entry)
{
    uint64_t hash = flow_hash(shard->flows, &flow->client, flow->client_port);
    for (uint8_t i = 0; i < entry->asked_count; i++) {
        uint16_t backend = entry->asked[i];
        if (!(entry->refused >> i & 1) && is_present(shard, backend) &&
            shard->policy.neighbors->backend[backend].known &&
            !tuple_taken(shard, flow, hash, backend))
            return backend;
    }
    return -1;
}

static void lead_to(struct shard *shard, struct flow *flow, uint16_t backend)
{
    const struct services *services = shard->policy.services;
    uint64_t hash = flow_hash(shard->flows, &flow->client, flow->client_port);
    struct flow *closed =
        flow_find_inside(shard->flows, hash, &flow->client, flow->client_port, backend);
    if (closed != NULL && closed != flow) {
        flow_end(shard, closed, false);
        shard_count(shard, VERDICT_FLOW_CLOSED);
    }
    flow->backend = backend;
    splice_addresses(&flow->splice, &services->service[flow->service].listen,
                     &services->backend[backend].address);
}

/* Enough failures in a row, whoever's they were, and the control thread hears of it. */
static void opening_failed(struct shard *shard, uint16_t backend)
{
    struct backend_openings *openings = &shard->openings[backend];
    if (++openings->failures < shard->policy.limits->opening_failures)
        return;
    openings->failures = 0;
    const struct message message = {.kind = MESSAGE_BACKEND_FAILED, .backend = backend};
    shard->output.tell(shard->output.context, &message);
}

/* Built anew from the flow each time it is sent (tcp-pitfalls 13). Its options are what the client
 * was granted. */
static struct segment backend_syn(const struct shard *shard, const struct flow *flow)
{
    struct segment syn = flow_to_backend(shard, flow);
    uint32_t window = flow->from_client.window;
    syn.seq = flow->client_isn;
    syn.ack = 0;
    syn.flags = TCP_SYN;
    syn.window = window > UINT16_MAX ? UINT16_MAX : (uint16_t)window; /* in a SYN unscaled */
    syn.options.mss = held_at(shard->held, flow->held)->client_mss;
    syn.options.sack_ok = flow->sack;
    syn.options.window_scale = flow->scaling ? flow->splice.scale_of_client : COOKIE_NO_SCALE;
    syn.options.tsecr = 0;
    return syn;
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

/* While the head was read, its backend was removed. If there is no other, it still has that one. */
static void choose_again(struct shard *shard, struct flow *flow)
{
    enum verdict reason;
    int backend = choose_backend(shard, flow, NULL, &reason);
    if (backend < 0)
        return;
    held_at(shard->held, flow->held)->asked[0] = (uint16_t)backend;
    lead_to(shard, flow, (uint16_t)backend);
}

enum verdict opening_ask(struct shard *shard, struct frame *frame, struct flow *flow)
{
    if (!is_present(shard, flow->backend))
        choose_again(shard, flow);
    held_finish(shard->held, flow->held);
    flow->state = FLOW_OPENING;
    flow->tries = 1;
    wheel_set(shard->wheel, flow_index(shard->flows, flow), shard->policy.limits->syn_timeout_ms);
    struct segment syn = backend_syn(shard, flow);
    shard_replace(frame, INSIDE, &syn);
    return VERDICT_OPENED;
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
    int backend = choose_backend(shard, flow, NULL, reason);
    if (backend < 0) {
        flow_release(shard->flows, flow);
        return NULL;
    }
    lead_to(shard, flow, (uint16_t)backend);
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
    bool closed = flow_is_closed(old);
    if (!closed)
        flow_reset_backend(shard, old);
    flow_end(shard, old, !closed);
    shard_count(shard, closed ? VERDICT_FLOW_CLOSED : VERDICT_FLOW_REPLACED);
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

static uint8_t asked_bit(const struct held_entry *entry, uint16_t backend)
{
    for (uint8_t i = 0; i < entry->asked_count; i++)
        if (entry->asked[i] == backend)
            return (uint8_t)(1U << i);
    return 0;
}

/* The flow asks that backend from now on; its SYN is the caller's to send. */
static void ask_next(struct shard *shard, struct flow *flow, uint16_t backend)
{
    lead_to(shard, flow, backend);
    flow->tries++;
    wheel_set(shard->wheel, flow_index(shard->flows, flow), shard->policy.limits->syn_timeout_ms);
}

/* The next backend, if there is one and a try is left: no byte of the request has been sent to any,
 * so none can have executed it. Returns whether the flow leads to it now. The abandoned backend's
 * SYN-ACK, should it still come, belongs to no flow and is reset. */
static bool next_backend(struct shard *shard, struct flow *flow, bool reset_abandoned)
{
    enum verdict reason;
    struct held_entry *entry = held_at(shard->held, flow->held);
    int backend = -1;
    if (flow->tries < shard->policy.limits->syn_tries && entry->asked_count < HELD_ASKED)
        backend = choose_backend(shard, flow, entry, &reason);
    if (backend < 0)
        return false;
    if (reset_abandoned)
        flow_reset_backend(shard, flow);
    entry->asked[entry->asked_count++] = (uint16_t)backend;
    ask_next(shard, flow, (uint16_t)backend);
    return true;
}

/* The backend will not serve this flow, and it was the last: those that were silent are asked again
 * after another time-out. Not at once: they were reset when they were abandoned, and what they sent
 * before that would be taken for an answer to the new SYN. Returns whether there are any. */
static bool wait_for_silent(struct shard *shard, struct flow *flow)
{
    const struct limits *limits = shard->policy.limits;
    if (flow->tries >= limits->syn_tries ||
        choose_silent(shard, flow, held_at(shard->held, flow->held)) < 0)
        return false;
    wheel_set(shard->wheel, flow_index(shard->flows, flow), limits->syn_timeout_ms);
    return true;
}

/* No backend will have the held request, and none has got a byte of it. Its client is told so in
 * its own protocol, or reset; in place of the frame in hand, if there is one that is free. */
static void give_up(struct shard *shard, struct frame *frame, struct flow *flow, enum verdict why)
{
    const struct held_entry *entry = held_at(shard->held, flow->held);
    if (shard->policy.services->service[flow->service].protocol != SERVICE_HTTP) {
        flow_reset_client(shard, flow);
        flow_end(shard, flow, true);
        return;
    }
    /* Keyed, so nobody chooses it; and the same whichever worker has the client. */
    const uint64_t place = flow_hash(shard->flows, &flow->client, flow->client_port);
    const uint32_t first = flow->client_isn + 1, front = ranges_front(&entry->filled);
    const bool fin = flow->held_fin && flow->from_client.fin == first + front + 1;
    struct refused_request no = {
        .why = why,
        .refusal = {.kind = REFUSAL_NO_BACKEND, .retry_after_s = gate_down_retry(place)},
    };
    heads_describe(entry->bytes, front, &no);
    /* Where another request behind it was refused, the parser has gone: nothing is waited for. */
    const uint32_t awaited =
        flow->refusal != REFUSAL_NONE ? first : refuse_awaited(shard, &flow->scan, first, &no);
    refuse_alone(shard, frame, flow, &no, front, fin, awaited);
}

/* That time is over. */
static void ask_silent(struct shard *shard, struct flow *flow)
{
    int backend = choose_silent(shard, flow, held_at(shard->held, flow->held));
    if (backend < 0) {
        give_up(shard, NULL, flow, VERDICT_BACKEND_REFUSED);
        shard_count(shard, VERDICT_BACKEND_REFUSED);
        return;
    }
    ask_next(shard, flow, (uint16_t)backend);
    struct segment syn = backend_syn(shard, flow);
    shard_send(shard, INSIDE, &syn);
}

void opening_timeout(struct shard *shard, struct flow *flow)
{
    const struct limits *limits = shard->policy.limits;
    const struct held_entry *entry = held_at(shard->held, flow->held);
    if (entry->refused & asked_bit(entry, flow->backend)) {
        ask_silent(shard, flow);
        return;
    }
    shard->openings[flow->backend].timeouts++;
    opening_failed(shard, flow->backend);
    if (next_backend(shard, flow, true)) {
        struct segment syn = backend_syn(shard, flow);
        shard_send(shard, INSIDE, &syn);
        shard_count(shard, VERDICT_BACKEND_NEXT);
        return;
    }
    if (flow->tries >= limits->syn_tries) {
        flow_reset_backend(shard, flow);
        give_up(shard, NULL, flow, VERDICT_BACKEND_TIMEOUT);
        shard_count(shard, VERDICT_BACKEND_TIMEOUT);
        return;
    }
    struct segment syn = backend_syn(shard, flow);
    shard_send(shard, INSIDE, &syn);
    wheel_set(shard->wheel, flow_index(shard->flows, flow), limits->syn_timeout_ms << flow->tries);
    flow->tries++;
}

/* Something else than an answer to our SYN: the backend still has an old connection on this tuple.
 * It is reset, and the SYN goes out again (tcp-pitfalls 27). What acknowledges our SYN is of the
 * new one, and has overtaken its SYN-ACK. */
static enum verdict clear_stale(struct shard *shard, struct frame *frame,
                                const struct packet *packet, const struct flow *flow)
{
    if (!(packet->flags & TCP_ACK))
        return VERDICT_STATE;
    if (!lease_take(&shard->lease[LEASE_INSIDE_RESETS], 1))
        return VERDICT_BUDGET;
    struct segment reset = shard_answer(shard, frame, packet), syn = backend_syn(shard, flow);
    reset.seq = packet->ack;
    reset.flags = TCP_RST;
    shard_send(shard, INSIDE, &reset);
    shard_replace(frame, INSIDE, &syn);
    return VERDICT_FORWARDED;
}

static enum verdict refused(struct shard *shard, struct frame *frame, struct flow *flow)
{
    struct held_entry *entry = held_at(shard->held, flow->held);
    if (entry->refused & asked_bit(entry, flow->backend)) /* says so again */
        return VERDICT_STATE;
    entry->refused |= asked_bit(entry, flow->backend);
    shard->openings[flow->backend].refused++;
    opening_failed(shard, flow->backend);
    if (next_backend(shard, flow, false)) {
        struct segment syn = backend_syn(shard, flow);
        shard_replace(frame, INSIDE, &syn);
        return VERDICT_BACKEND_NEXT;
    }
    if (wait_for_silent(shard, flow))
        return VERDICT_BACKEND_NEXT;
    give_up(shard, frame, flow, VERDICT_BACKEND_REFUSED);
    return VERDICT_BACKEND_REFUSED;
}

/* The client was promised what all backends had shown in probes; it cannot be taken back, so this
 * one will not do (tcp-pitfalls 30). */
static enum verdict options_refused(struct shard *shard, struct frame *frame,
                                    const struct packet *packet, const struct tcp_options *options,
                                    struct flow *flow)
{
    const struct message message = {
        .kind = MESSAGE_BACKEND_OPTIONS, .backend = flow->backend, .options = *options};
    struct held_entry *entry = held_at(shard->held, flow->held);
    entry->refused |= asked_bit(entry, flow->backend);
    shard->output.tell(shard->output.context, &message);
    struct segment reset = shard_answer(shard, frame, packet);
    reset.seq = packet->ack;
    reset.flags = TCP_RST;
    shard_replace(frame, INSIDE, &reset);
    if (next_backend(shard, flow, false)) {
        struct segment syn = backend_syn(shard, flow);
        shard_send(shard, INSIDE, &syn);
        shard_count(shard, VERDICT_BACKEND_NEXT);
        return VERDICT_BACKEND_OPTIONS;
    }
    if (wait_for_silent(shard, flow))
        return VERDICT_BACKEND_OPTIONS;
    give_up(shard, NULL, flow, VERDICT_BACKEND_OPTIONS); /* the frame is the backend's reset */
    return VERDICT_BACKEND_OPTIONS;
}

/* What the backend's SYN-ACK adds to what the client has said. */
static void complete_sides(struct flow *flow, const struct packet *packet,
                           const struct tcp_options *options)
{
    uint32_t first = flow->client_isn + 1;
    flow->splice.seq_delta = flow->from_client.acked - 1 - packet->seq;
    flow->splice.ts_delta = flow->timestamps ? flow->from_backend.ts_recent - options->tsval : 0;
    flow->splice.scale_of_backend = flow->scaling ? options->window_scale : 0;
    flow->from_client.limit = first + packet->window;
    flow->from_client.end = first;
    flow->from_backend.acked = first;
    flow->from_backend.window = packet->window;
}

/* A backend takes the time from its SYN-ACK to our answer for the round trip to its client, which
 * is some milliseconds longer. Believed, that would cost every response: spurious retransmissions
 * to whoever is farther away than the shortest time-out, overtaken segments taken for lost (RFC
 * 8985 makes room by the shortest round trip), BBR's window a fraction of what the path holds for
 * 10 s. So the SYN is sent once more: of a handshake that was repeated no time is taken (Karn's
 * rule, RFC 6298 section 3). The first data then echoes no timestamp either, see deliver_first;
 * what the client acknowledges of the response is the first sample, and a true one. */
static void spoil_round_trip(struct shard *shard, const struct flow *flow)
{
    const struct segment again = backend_syn(shard, flow);
    shard_send(shard, INSIDE, &again);
}

static enum verdict opened(struct shard *shard, struct frame *frame, const struct packet *packet,
                           struct flow *flow)
{
    struct tcp_options options;
    if (!packet_options(frame->bytes, packet, &options))
        return VERDICT_BAD_OPTIONS;
    if ((flow->scaling && options.window_scale == COOKIE_NO_SCALE) ||
        (flow->sack && !options.sack_ok) || (flow->timestamps && !options.timestamps))
        return options_refused(shard, frame, packet, &options, flow);
    shard->openings[flow->backend].opened++;
    shard->openings[flow->backend].failures = 0;
    complete_sides(flow, packet, &options);
    if (shard->policy.services->service[flow->service].protocol != SERVICE_HTTP)
        requests_begin_exchanges(flow);
    spoil_round_trip(shard, flow);
    deliver_first(shard, frame, packet, flow, &options);
    if (flow->refusal != REFUSAL_NONE && !flow->delivering)
        refuse_begin(shard, flow, frame, true);
    return VERDICT_BACKEND_ANSWERED;
}

static bool acknowledges_syn(const struct packet *packet, const struct flow *flow)
{
    return (packet->flags & TCP_ACK) && packet->ack == flow->client_isn + 1;
}

/* What a backend's segment is while our SYN is out: the answer to it, or something of an old
 * connection. */
static enum segment_class classify_answer(const struct packet *packet, const struct flow *flow)
{
    bool ours = acknowledges_syn(packet, flow);
    if (packet->flags & TCP_RST)
        return ours ? SEGMENT_RST_EXACT : SEGMENT_RST_WINDOW;
    if ((packet->flags & TCP_SYN) && ours)
        return SEGMENT_SYN_ACK;
    return packet->flags & TCP_FIN ? SEGMENT_FIN : SEGMENT_DATA;
}

enum verdict opening_answer(struct shard *shard, struct frame *frame, const struct packet *packet,
                            struct flow *flow)
{
    /* It has taken our SYN, and says so before its SYN-ACK arrives (a late segment of an earlier
     * connection makes it): that is no old connection. RFC 9293 section 3.10.7.3, fifth. */
    if (!(packet->flags & (TCP_SYN | TCP_RST)) && acknowledges_syn(packet, flow))
        return VERDICT_STATE;
    switch (states_next((enum flow_state)flow->state, FROM_BACKEND, classify_answer(packet, flow))
                .action) {
    case ACTION_OPENED: return opened(shard, frame, packet, flow);
    case ACTION_STALE: return clear_stale(shard, frame, packet, flow);
    case ACTION_REFUSED: return refused(shard, frame, flow);
    default: return VERDICT_STATE;
    }
}
