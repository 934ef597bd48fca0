/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What is watched is a sample: a free place is taken by the next request, and given back when a
 * look finds it answered. A backend that hangs fills its places in no time. */
#include "dataplane/tcp/watch.h"

#include "dataplane/tcp/shard.h"

enum { LOOK_MS = 20, BACKENDS_PER_LOOK = 32 };

_Static_assert(WATCH_FLOWS == 8, "one bit each");

/* IPv4 addresses, and networks of IPv6 that one holder is given. */
static uint32_t client_of(const struct addr *a)
{
    enum { SITE_BITS = 48 };
    uint64_t whom = addr_is_v4(a) ? a->quads[1] : be64toh(a->quads[0]) >> (64 - SITE_BITS);
    return (uint32_t)(whom * UINT64_C(0x9e3779b97f4a7c15) >> 32);
}

void watch_asked(struct shard *shard, struct flow *flow)
{
    struct watch *watch = &shard->watches[flow->backend];
    flow->unanswered = true;
    if (watch->used == UINT8_MAX ||
        shard->policy.services->service[flow->service].response_timeout_ms == 0)
        return;
    int at = __builtin_ctz(~(unsigned)watch->used);
    watch->slot[at].flow = flow_index(shard->flows, flow);
    watch->slot[at].isn = flow->client_isn;
    watch->slot[at].since_ms = (uint32_t)shard->now_ms;
    watch->used |= (uint8_t)(1U << at);
}

void watch_answered(struct shard *shard, struct flow *flow)
{
    flow->unanswered = false;
    shard->openings[flow->backend].answered++;
    shard->watches[flow->backend].clients = 0;
    shard->watches[flow->backend].answered_ms = (uint32_t)shard->now_ms;
}

/* Not while it still answers some, as one does that is only too busy for its probes: to send its
 * clients elsewhere, all at once, would make the others so, too. */
bool watch_mute(const struct shard *shard, const struct flow *flow)
{
    const struct limits *limits = shard->policy.limits;
    uint32_t quiet = (uint32_t)shard->now_ms - shard->watches[flow->backend].answered_ms;
    return shard->policy.neighbors->backend[flow->backend].mute && !flow->unanswered &&
           !flow->delivering && flow->from_client.acked == flow->from_backend.end &&
           quiet >= limits->probe_timeout_ms * limits->probe_failures;
}

/* One more client has waited in vain. */
static void blame(struct shard *shard, uint32_t backend, const struct flow *flow)
{
    struct watch *watch = &shard->watches[backend];
    uint32_t client = client_of(&flow->client);
    shard->openings[backend].unanswered++;
    for (uint8_t i = 0; i < watch->clients; i++)
        if (watch->client[i] == client)
            return;
    watch->client[watch->clients++] = client;
    if (watch->clients < shard->policy.limits->response_failures && watch->clients < WATCH_CLIENTS)
        return;
    watch->clients = 0;
    const struct message message = {.kind = MESSAGE_BACKEND_UNANSWERED,
                                    .backend = (uint16_t)backend};
    shard->output.tell(shard->output.context, &message);
}

/* Whether nothing of the backend's is missing that it could answer: a body that is still coming, or
 * held bytes under way, are not its fault. */
static bool has_all(const struct shard *shard, const struct flow *flow)
{
    if (flow->delivering)
        return false;
    if (shard->policy.services->service[flow->service].protocol != SERVICE_HTTP)
        return true;
    return http1_part(&flow->scan.parser) == HTTP1_BETWEEN && !flow_has_hole(flow);
}

/* Whether the flow in a place is still watched. */
static bool look(struct shard *shard, uint32_t backend, unsigned at)
{
    struct watch *watch = &shard->watches[backend];
    const struct flow *flow = flow_at(shard->flows, watch->slot[at].flow);
    uint32_t now = (uint32_t)shard->now_ms;
    if (flow->client_isn != watch->slot[at].isn || flow->backend != backend || !flow->unanswered ||
        (flow->state != FLOW_ESTABLISHED && flow->state != FLOW_CLIENT_FIN &&
         flow->state != FLOW_CLIENT_FIN_ACKED))
        return false;
    uint32_t patience = shard->policy.services->service[flow->service].response_timeout_ms;
    if (patience == 0)
        return false;
    if (!has_all(shard, flow)) {
        watch->slot[at].since_ms = now;
        return true;
    }
    if (now - watch->slot[at].since_ms < patience)
        return true;
    blame(shard, backend, flow);
    return false;
}

void watch_tick(struct shard *shard)
{
    uint32_t count = shard->policy.services->backend_count;
    count = count < shard->watch_count ? count : shard->watch_count;
    shard->watches_due_ms = shard->now_ms + LOOK_MS;
    for (uint32_t i = 0; i < BACKENDS_PER_LOOK && i < count; i++) {
        uint32_t backend = shard->watch_next < count ? shard->watch_next : 0;
        shard->watch_next = backend + 1;
        for (unsigned left = shard->watches[backend].used; left != 0; left &= left - 1) {
            unsigned at = (unsigned)__builtin_ctz(left);
            if (!look(shard, backend, at))
                shard->watches[backend].used &= (uint8_t) ~(1U << at);
        }
    }
}
