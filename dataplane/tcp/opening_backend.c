/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A held request and its backend. One is chosen and gets a SYN with the client's own ISN and
 * options, and, the moment it answers, the held bytes (deliver.c). One that refuses or is silent
 * costs the client nothing but time: as long as no byte of the request has been sent, the next is
 * asked, and only when none is left its client hears of it. */
#include "dataplane/tcp/shard.h"

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
    if (closed != NULL && closed != flow)
        flow_end_closed(shard, closed);
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

bool opening_choose(struct shard *shard, struct flow *flow, enum verdict *reason)
{
    int backend = choose_backend(shard, flow, NULL, reason);
    if (backend < 0)
        return false;
    lead_to(shard, flow, (uint16_t)backend);
    return true;
}

/* While the head was read, its backend was removed. If there is no other, it still has that one. */
static void choose_again(struct shard *shard, struct flow *flow)
{
    enum verdict reason;
    if (opening_choose(shard, flow, &reason))
        held_at(shard->held, flow->held)->asked[0] = flow->backend;
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
    flow->splice.scale_of_backend =
        options->window_scale != COOKIE_NO_SCALE && flow->scaling ? options->window_scale : 0;
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
 * rule, RFC 6298 section 3). The first data then echoes no timestamp either, see deliver.c;
 * what the client acknowledges of the response is the first sample, and a true one. */
static void spoil_round_trip(struct shard *shard, const struct flow *flow)
{
    const struct segment again = backend_syn(shard, flow);
    shard_send(shard, INSIDE, &again);
}

static bool lacks_granted(const struct flow *flow, const struct tcp_options *options)
{
    return (flow->scaling && options->window_scale == COOKIE_NO_SCALE) ||
           (flow->sack && !options->sack_ok) || (flow->timestamps && !options->timestamps);
}

static enum verdict opened(struct shard *shard, struct frame *frame, const struct packet *packet,
                           struct flow *flow)
{
    struct tcp_options options;
    if (!packet_options(frame->bytes, packet, &options))
        return VERDICT_BAD_OPTIONS;
    const bool bare = backend_cookie_bare(flow, &options);
    if (!bare && lacks_granted(flow, &options))
        return options_refused(shard, frame, packet, &options, flow);
    shard->openings[flow->backend].opened++;
    shard->openings[flow->backend].failures = 0;
    complete_sides(flow, packet, &options);
    if (bare)
        backend_cookie_splice(shard, flow);
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
