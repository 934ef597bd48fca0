/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What backends send: segments of flows, and answers to probes. Only a flow's own backend may speak
 * for it; anything that is not from a backend's address and port is a spoof or a mistake. */
#include "dataplane/tcp/shard.h"

/* A backend's connection that we do not know (any more): RST, so that it does not keep it (RFC 9293
 * section 3.10.7.1). */
static enum verdict stray(struct shard *shard, struct frame *frame, const struct packet *packet)
{
    if (packet->flags & TCP_RST)
        return VERDICT_INSIDE_NO_FLOW;
    if (!lease_take(&shard->lease[LEASE_INSIDE_RESETS], 1))
        return VERDICT_BUDGET;
    struct segment answer = shard_answer(shard, frame, packet);
    if (packet->flags & TCP_ACK) {
        answer.seq = packet->ack;
        answer.flags = TCP_RST;
    } else {
        answer.ack = packet->seq + packet->length + ((packet->flags & TCP_SYN) != 0) +
                     ((packet->flags & TCP_FIN) != 0);
        answer.flags = TCP_RST | TCP_ACK;
    }
    shard_replace(frame, INSIDE, &answer);
    return VERDICT_INSIDE_RESET;
}

enum verdict inside_sort(const struct shard *shard, struct sorted *sorted)
{
    const struct services *services = shard->policy.services;
    const struct packet *packet = &sorted->packet;
    bool own = policy_own(services, INSIDE, &packet->destination);
    int backend = policy_backend(services, &packet->source, packet->source_port);
    if (backend < 0)
        return own ? VERDICT_NO_SERVICE : VERDICT_INSIDE_SPOOF;
    sorted->target = (uint16_t)backend;
    sorted->for_flow = !own; /* else it is about a probe */
    return VERDICT_FORWARDED;
}

/* Until it has acknowledged something, a backend may turn out to have answered by a cookie. */
static bool may_be_cookie(const struct flow *flow)
{
    return flow->timestamps && flow->from_backend.acked == flow->client_isn + 1 &&
           (states_open((enum flow_state)flow->state) || flow->state == FLOW_REFUSING);
}

enum verdict inside_packet(struct shard *shard, struct frame *frame, const struct sorted *sorted)
{
    const struct packet *packet = &sorted->packet;
    if (!sorted->for_flow) {
        enum verdict verdict = probe_answer(shard, frame, packet);
        bool late = verdict == VERDICT_INSIDE_NO_FLOW && shard->probes != NULL;
        return late ? stray(shard, frame, packet) : verdict;
    }
    struct flow *flow = flow_find_inside(shard->flows, sorted->hash, &packet->destination,
                                         packet->destination_port, sorted->target);
    if (flow == NULL)
        return stray(shard, frame, packet);
    if (admission_is_old(shard, flow) && admission_flow(shard, flow) != VERDICT_FORWARDED)
        return VERDICT_DENIED;
    if (may_be_cookie(flow))
        backend_cookie_first(shard, frame, packet, flow);
    if (states_open((enum flow_state)flow->state))
        return forward_packet(shard, frame, packet, flow, FROM_BACKEND);
    return flow->state < FLOW_ESTABLISHED ? opening_answer(shard, frame, packet, flow)
                                          : refuse_from_backend(shard, frame, packet, flow);
}
