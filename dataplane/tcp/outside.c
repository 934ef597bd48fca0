/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What clients send. A SYN gets a cookie and leaves nothing behind; a bare ACK is dropped unread;
 * the first data with a valid cookie opens a flow; all else without a flow is answered sparingly or
 * not at all. */
#include "dataplane/tcp/shard.h"

static uint64_t syn_hash(const struct shard *shard, const struct sorted *sorted)
{
    const struct packet *packet = &sorted->packet;
    return guard_syn_hash(&shard->guard,
                          flow_hash(shard->flows, &packet->source, packet->source_port),
                          sorted->target, packet->seq);
}

static uint8_t smaller_scale(uint8_t offered, uint8_t announced)
{
    return offered == COOKIE_NO_SCALE || announced == COOKIE_NO_SCALE ? COOKIE_NO_SCALE : offered;
}

enum verdict outside_judge(struct shard *shard, uint64_t source, uint64_t network, uint8_t flags)
{
    struct guard *guard = &shard->guard;
    if (!(flags & LISTED_UNCOUNTED) && !guard_source(guard, source))
        return VERDICT_SOURCE_RATE;
    return guard_network(guard, network) ? VERDICT_FORWARDED : VERDICT_REFLECTION_RATE;
}

enum verdict outside_banned(struct shard *shard, uint64_t source, const struct addr *client,
                            bool v4)
{
    const struct client_limits *limits = &shard->policy.limits->clients;
    if (!clients_is_banned(shard->clients, source, shard->now_ms) ||
        (lists_find(shard->lists, client, v4).flags & LISTED_ALLOWED))
        return VERDICT_FORWARDED;
    if (!limits->observe[CLIENT_LIMIT_BANS])
        return VERDICT_BANNED;
    shard_count(shard, VERDICT_BANNED_OBSERVED);
    return VERDICT_FORWARDED;
}

void outside_fetch_again(const struct shard *shard, const struct sorted *sorted)
{
    seen_prefetch(&shard->guard.seen, syn_hash(shard, sorted));
}

enum verdict outside_again(struct shard *shard, const struct sorted *sorted)
{
    if (!guard_again(&shard->guard, syn_hash(shard, sorted), &shard->lease[LEASE_SYNS_AGAIN]))
        return VERDICT_REFLECTION_RATE;
    shard_count(shard, VERDICT_SYN_REMEMBERED);
    return VERDICT_FORWARDED;
}

void outside_promise(const struct shard *shard, const struct frame *frame, struct sorted *sorted,
                     struct cookie_batch *batch)
{
    const struct packet *packet = &sorted->packet;
    const struct offer *offer = &shard->policy.offers->offer[sorted->target];
    const struct promise *promise = &offer->promise[0];
    struct tcp_options offered;
    sorted->bad_options = !packet_options(frame->bytes, packet, &offered);
    if (sorted->bad_options)
        return;
    struct cookie_tuple tuple = {packet->source, packet->source_port, packet->destination_port,
                                 promise->cookie_service};
    struct cookie_options granted = {
        .mss_class = cookie_mss_class(offered.mss),
        .window_scale = smaller_scale(offered.window_scale, promise->window_scale),
        .sack = offered.sack_ok && offer->sack,
    };
    struct syn_ack *answer = &sorted->syn;
    struct tcp_options *options = &answer->options;
    cookie_batch_make(batch, &tuple, packet->seq, granted, &answer->seq);
    answer->window = shard->policy.limits->window;
    options->mss = offer->mss;
    options->sack_ok = granted.sack;
    options->window_scale =
        granted.window_scale != COOKIE_NO_SCALE ? promise->window_scale : COOKIE_NO_SCALE;
    options->timestamps = offered.timestamps && offer->timestamps;
    options->tsecr = offered.tsval;
    if (options->timestamps)
        cookie_batch_timestamp(batch, &packet->source, &packet->destination, &options->tsval);
}

enum verdict outside_answer(struct frame *frame, const struct sorted *sorted)
{
    if (sorted->bad_options)
        return VERDICT_BAD_OPTIONS;
    frame->length = build_syn_ack(frame->bytes, frame->room, &sorted->packet, &sorted->syn);
    frame->to = frame->length ? OUTSIDE : PORT_NONE;
    return VERDICT_SYN_COOKIE;
}

static void note_age(const struct shard *shard, const struct frame *frame,
                     const struct packet *packet, struct opening *opening)
{
    struct tcp_options options;
    bool echoes = packet_options(frame->bytes, packet, &options) && options.timestamps;
    opening->sent =
        cookie_sent(shard->policy.keys, &packet->source, &packet->destination, opening->server_isn,
                    echoes ? &options.tsecr : NULL, shard->unix_ms, &opening->sent_exactly);
}

/* Whether the segment's acknowledgement is a cookie of ours, under today's promise or the one
 * before it. */
static bool check_cookie(const struct shard *shard, const struct frame *frame,
                         const struct packet *packet, struct opening *opening)
{
    const struct offer *offer = &shard->policy.offers->offer[opening->service];
    opening->client_isn = packet->seq - 1;
    opening->server_isn = packet->ack - 1;
    for (int i = 0; i < 2; i++) {
        const struct promise *promise = &offer->promise[i];
        if (i == 1 && promise->cookie_service == offer->promise[0].cookie_service)
            break;
        struct cookie_tuple tuple = {packet->source, packet->source_port, packet->destination_port,
                                     promise->cookie_service};
        if (cookie_check(shard->policy.keys, &tuple, opening->client_isn, opening->server_isn,
                         shard->unix_ms, &opening->options)) {
            opening->window_scale = promise->window_scale;
            note_age(shard, frame, packet, opening);
            return true;
        }
    }
    return false;
}

uint64_t outside_segment(const struct packet *packet, uint64_t hash, uint32_t seq, uint32_t ack)
{
    const uint64_t odd = UINT64_C(0x9e3779b97f4a7c15); /* spreads both numbers over slot and tag */
    uint64_t numbers = ((uint64_t)ack << 32 | seq) * odd;
    return hash ^ numbers ^ (uint64_t)packet->destination_port << 48;
}

/* Whether this very segment has come to nothing before. The first time it may have overtaken the
 * one that opens the flow. A peer whose flow is gone sends the same again and again; one whose
 * first segment is missing sends that again. So a segment is told by its numbers: neither a later
 * one, nor the port's last connection, nor a forger makes a first time a second. */
static bool missed_before(struct shard *shard, const struct packet *packet, uint64_t hash)
{
    return miss_again(shard->misses, outside_segment(packet, hash, packet->seq, packet->ack),
                      shard->now_ms);
}

/* An ACK without timestamps is dropped by some stacks once they were agreed (RFC 7323 section 3.2).
 * What the client echoes is the newest clock value that it has from us. */
static void answer_timestamps(const struct frame *frame, const struct packet *packet,
                              struct segment *answer)
{
    struct tcp_options options;
    if (!packet_options(frame->bytes, packet, &options) || !options.timestamps)
        return;
    answer->options.timestamps = true;
    answer->options.tsval = options.tsecr;
    answer->options.tsecr = options.tsval;
}

/* Whether its client has our refusal, which nothing was kept of: all that it still sends is to be
 * acknowledged, so that it can close in peace. */
static bool was_refused(const struct shard *shard, const struct packet *packet, uint64_t hash)
{
    return farewell_due(shard->farewells, outside_segment(packet, hash, 0, packet->ack));
}

/* A FIN of a connection that never sent anything can be closed properly. Any other gets one ACK
 * once it is repeated, so that a peer whose state we lost stops; not at once, because that ACK
 * covers whatever went before the FIN and may still be on its way; but one that was refused without
 * a flow has nothing left on its way. Never RST. */
static enum verdict answer_fin(struct shard *shard, struct frame *frame,
                               const struct packet *packet, struct opening *opening)
{
    bool ours = check_cookie(shard, frame, packet, opening);
    if (!ours && !was_refused(shard, packet, opening->hash) &&
        !missed_before(shard, packet, opening->hash))
        return VERDICT_MISS_SILENT;
    if (!lease_take(&shard->lease[LEASE_FINS], 1))
        return VERDICT_BUDGET;
    struct segment answer = shard_answer(shard, frame, packet);
    answer.seq = packet->ack;
    answer.ack = packet->seq + packet->length + 1;
    answer.flags = ours ? TCP_FIN | TCP_ACK : TCP_ACK;
    answer_timestamps(frame, packet, &answer);
    shard_replace(frame, OUTSIDE, &answer);
    return VERDICT_FIN_ANSWERED;
}

static struct tombstone *find_tombstone(const struct shard *shard, const struct opening *opening)
{
    return tombstones_find(shard->tombstones, opening->hash ^ opening->service, opening->client_isn,
                           shard->now_ms);
}

/* All of it, and never more than an acknowledgement. */
static enum verdict answer_refused(struct shard *shard, struct frame *frame,
                                   const struct packet *packet)
{
    if (!lease_take(&shard->lease[LEASE_FINS], 1))
        return VERDICT_BUDGET;
    struct segment answer = shard_answer(shard, frame, packet);
    answer.seq = packet->ack;
    answer.ack = packet->seq + packet->length + ((packet->flags & TCP_FIN) != 0);
    answer.flags = TCP_ACK;
    answer.window = shard->policy.limits->window;
    answer_timestamps(frame, packet, &answer);
    shard_replace(frame, OUTSIDE, &answer);
    return VERDICT_REFUSAL_TAKEN;
}

/* Data that belongs to nothing. */
static enum verdict miss(struct shard *shard, struct frame *frame, const struct packet *packet,
                         uint64_t hash)
{
    if (was_refused(shard, packet, hash))
        return answer_refused(shard, frame, packet);
    if (!missed_before(shard, packet, hash))
        return VERDICT_MISS_SILENT;
    if (!lease_take(&shard->lease[LEASE_RESETS], 1))
        return VERDICT_BUDGET;
    struct segment answer = shard_answer(shard, frame, packet);
    answer.seq = packet->ack;
    answer.flags = TCP_RST;
    shard_replace(frame, OUTSIDE, &answer);
    return VERDICT_MISS_RESET;
}

/* First data of a port that speaks to the same backend through another service: the backend could
 * not tell the two apart. Silent at first, for the other may be about to end; who comes again is
 * told, and can use another port. From then on it is a connection that was reset: no late copy of
 * its data may open it, or take the place of a newer one. */
static enum verdict conflict(struct shard *shard, struct frame *frame, const struct packet *packet,
                             const struct opening *opening)
{
    enum verdict verdict = miss(shard, frame, packet, opening->hash);
    if (verdict == VERDICT_MISS_SILENT)
        return VERDICT_TUPLE_CONFLICT;
    if (verdict != VERDICT_MISS_RESET)
        return verdict;
    const struct tombstone stone = {
        .tuple = opening->hash ^ opening->service,
        .client_isn = opening->client_isn,
        .reset = true,
    };
    flow_bury(shard, &stone);
    return VERDICT_TUPLE_RESET;
}

/* A late duplicate or a replay of a closed flow's first segment: acknowledged, never executed
 * again. After a reset it is a miss like any other: the client may not have heard of it. */
static enum verdict answer_tombstone(struct shard *shard, struct frame *frame,
                                     const struct packet *packet, const struct opening *opening,
                                     struct tombstone *tombstone)
{
    if (tombstone->reset) {
        enum verdict verdict = miss(shard, frame, packet, opening->hash);
        return verdict == VERDICT_MISS_SILENT ? VERDICT_TOMBSTONE_DROP : verdict;
    }
    if (!tombstone->struck)
        client_strike(shard->clients, &shard->policy.limits->clients, &packet->source,
                      opening->listed, STRIKE_REPLAY, shard->now_ms);
    tombstone->struck = true;
    if (!lease_take(&shard->lease[LEASE_FINS], 1))
        return VERDICT_BUDGET;
    struct segment answer = shard_answer(shard, frame, packet);
    answer.seq = tombstone->server_end;
    answer.ack = tombstone->client_end;
    answer.flags = TCP_ACK;
    answer_timestamps(frame, packet, &answer);
    shard_replace(frame, OUTSIDE, &answer);
    return VERDICT_TOMBSTONE_ACK;
}

/* Anything but a SYN and a bare ACK. What is dropped whoever sent it is not counted against its
 * source: that would cost more than to drop it, and a forger of such packets could keep the
 * source's owner out. */
static __attribute__((noinline)) enum verdict without_flow(struct shard *shard, struct frame *frame,
                                                           const struct sorted *sorted)
{
    const struct packet *packet = &sorted->packet;
    if (packet->flags & TCP_RST)
        return VERDICT_RST_NO_FLOW;
    if (packet->flags & TCP_SYN)
        return VERDICT_SYN_ACK_NO_FLOW;
    uint8_t listed = 0;
    if (shard->lists != NULL &&
        admission_source(shard, &packet->source, packet->v4, &listed) != VERDICT_FORWARDED)
        return VERDICT_DENIED;
    const uint64_t source = guard_source_of(&shard->guard, &packet->source, packet->v4);
    if (shard->bans != 0 &&
        outside_banned(shard, source, &packet->source, packet->v4) != VERDICT_FORWARDED)
        return VERDICT_BANNED;
    if (!(listed & LISTED_UNCOUNTED) && !guard_source(&shard->guard, source))
        return VERDICT_SOURCE_RATE;
    struct opening opening = {.service = sorted->target, .hash = sorted->hash, .listed = listed};
    if (packet->length == 0)
        return answer_fin(shard, frame, packet, &opening);
    clients_prefetch(shard->clients, source); /* while the cookie is checked */
    if (!check_cookie(shard, frame, packet, &opening))
        return miss(shard, frame, packet, opening.hash);
    clients_prefetch_found(shard->clients, source);
    struct tombstone *tombstone = find_tombstone(shard, &opening);
    if (tombstone != NULL)
        return answer_tombstone(shard, frame, packet, &opening, tombstone);
    enum verdict verdict = opening_start(shard, frame, packet, &opening, NULL);
    return verdict == VERDICT_TUPLE_CONFLICT ? conflict(shard, frame, packet, &opening) : verdict;
}

/* Whether the cookie is older than the one that opened the flow, as far as that can be told: with
 * timestamps to a tick, else to an epoch. */
static bool older(const struct opening *opening, const struct flow *flow)
{
    uint32_t sent = opening->sent_exactly ? flow->sent : flow->sent - flow->sent % COOKIE_TICKS;
    return (int32_t)(opening->sent - sent) < 0;
}

/* Whether a segment that the flow on its tuple has no use for may be of another connection. */
static bool may_be_another(const struct packet *packet, enum verdict verdict)
{
    bool misfit = verdict == VERDICT_OUT_OF_WINDOW || verdict == VERDICT_ACK_UNSENT ||
                  verdict == VERDICT_PAWS || verdict == VERDICT_OPENING_BUSY;
    bool says = packet->length != 0 || (packet->flags & TCP_FIN);
    return misfit && says && !(packet->flags & (TCP_SYN | TCP_RST));
}

/* Data that does not fit the flow on its tuple, but carries a cookie for another ISN: the client
 * rebooted or used its port again. The cookie proves that it is the client, so the old connection
 * goes; unless it is the other way round, and this has been on its way for longer than the flow
 * exists (tcp-pitfalls 27). It is asked for what it would be without that flow: a ban cuts no flow
 * that has closed, and a cookie costs as much to check. */
static enum verdict try_replace(struct shard *shard, struct frame *frame,
                                const struct sorted *sorted, struct flow *flow,
                                enum verdict verdict)
{
    const struct packet *packet = &sorted->packet;
    if (!may_be_another(packet, verdict))
        return verdict;
    const uint64_t source = guard_source_of(&shard->guard, &packet->source, packet->v4);
    if (shard->bans != 0 &&
        outside_banned(shard, source, &packet->source, packet->v4) != VERDICT_FORWARDED)
        return VERDICT_BANNED;
    if (was_refused(shard, packet, sorted->hash)) /* a new one that had come to nothing */
        return answer_refused(shard, frame, packet);
    if (packet->length == 0 || packet->seq - 1 == flow->client_isn)
        return verdict;
    struct opening opening = {.service = sorted->target, .hash = sorted->hash};
    opening.listed = lists_find(shard->lists, &packet->source, packet->v4).flags;
    if (!(opening.listed & LISTED_UNCOUNTED) && !guard_source(&shard->guard, source))
        return VERDICT_SOURCE_RATE;
    if (!check_cookie(shard, frame, packet, &opening) || older(&opening, flow) ||
        find_tombstone(shard, &opening) != NULL) /* or of a closed one */
        return verdict;
    return opening_start(shard, frame, packet, &opening, flow);
}

enum verdict outside_sort(const struct shard *shard, struct sorted *sorted)
{
    const struct services *services = shard->policy.services;
    const struct packet *packet = &sorted->packet;
    if (policy_forged(services, &packet->source, packet->v4))
        return VERDICT_BOGON;
    int service = policy_service(services, &packet->destination, packet->destination_port);
    if (service < 0 && !(packet->flags & TCP_SYN)) /* one that leaves keeps the flows that it has */
        service = policy_leaving(services, &packet->destination, packet->destination_port);
    if (service < 0)
        return policy_own(services, OUTSIDE, &packet->destination) ? VERDICT_NO_SERVICE
                                                                   : VERDICT_NOT_FOR_US;
    sorted->target = (uint16_t)service;
    sorted->for_flow = true;
    return VERDICT_FORWARDED;
}

enum verdict outside_packet(struct shard *shard, struct frame *frame, const struct sorted *sorted)
{
    const struct packet *packet = &sorted->packet;
    struct flow *flow = flow_find_outside(shard->flows, sorted->hash, &packet->source,
                                          packet->source_port, sorted->target);
    if (flow == NULL && packet->length == 0 && !(packet->flags & (TCP_SYN | TCP_FIN | TCP_RST)))
        return VERDICT_ACK_NO_FLOW;
    if (flow == NULL)
        return without_flow(shard, frame, sorted);
    if (admission_is_old(shard, flow) && admission_flow(shard, flow) != VERDICT_FORWARDED)
        return VERDICT_DENIED;
    enum verdict verdict;
    if (states_open((enum flow_state)flow->state))
        verdict = forward_packet(shard, frame, packet, flow, FROM_CLIENT);
    else if (flow->state < FLOW_ESTABLISHED)
        verdict = reading_packet(shard, frame, packet, flow);
    else
        verdict = refuse_from_client(shard, frame, packet, flow);
    return verdict == VERDICT_FORWARDED ? verdict
                                        : try_replace(shard, frame, sorted, flow, verdict);
}
