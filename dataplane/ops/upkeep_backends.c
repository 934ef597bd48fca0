/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What is known of backends, and what follows: who is well, who gets connections, what clients are
 * offered. Next hops are asked for in advance and again before they grow old (tcp-pitfalls 12), so
 * no packet ever waits for one; and at once when there is reason to believe that one has got
 * another link-layer address. One that stops answering is kept for a minute: a lost ARP reply must
 * not stop a sale. Rounds are upkeep.c's. */
#include <rte_mbuf.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "dataplane/ops/upkeep_parts.h"

enum {
    ASK_AGAIN_MS = 500,
    ASK_DOUBTED_MS = 1000,
    REFRESH_MS = 20 * 1000,
    FORGET_MS = REFRESH_MS + 60 * 1000,
    DEFAULT_MSS = 536,
    MESSAGES_PER_ROUND = 256,
};

/* ---- which backends are asked ---- */

static struct health_now health_clock(void)
{
    return (struct health_now){worker_clock_ms(), unix_ms()};
}

/* What was decided about a backend: kept, and said once. Coming up has more to say, elsewhere. */
static void take_health(struct upkeep *upkeep, uint32_t index, enum health_change change)
{
    const struct backend_health *well = &upkeep->backends[index].well;
    const char *name = upkeep->services->backend[index].name;
    char text[128];
    upkeep->rebalance |= upkeep->health[index] != well->health || change == HEALTH_OTHER_REASON;
    upkeep->health[index] = well->health;
    health_sentence(well, text, sizeof text);
    if (change == HEALTH_WENT_DOWN)
        log_warn("backend_down", "backend %s: %s; it gets no new connections until a probe is good",
                 name, text);
    else if (change == HEALTH_OTHER_REASON)
        log_info("backend_still_down", "backend %s is still down: %s", name, text);
}

/* What the builder needs for a part of its own. */
struct balance_plan {
    const struct services *services;
    struct siphash_key key;
    uint8_t health[];
};

static void *build_balance(const void *argument)
{
    const struct balance_plan *plan = argument;
    return balance_new(plan->services, plan->health, &plan->key);
}

static void publish_balance(struct upkeep *upkeep)
{
    uint32_t count = upkeep->services->backend_count;
    struct balance_plan *plan = malloc(sizeof *plan + count);
    if (plan != NULL) {
        plan->services = upkeep->services;
        plan->key = upkeep->balance_key;
        memcpy(plan->health, upkeep->health, count);
    }
    if (plan == NULL || builder_build(upkeep->builder, PART_BALANCE, build_balance, plan) != 0) {
        free(plan);
        log_error("no_memory", "backends could not be balanced anew; the old table stays in force");
    }
}

/* ---- next hops ---- */

struct neighbors *upkeep_neighbors(const struct upkeep *upkeep)
{
    uint32_t count = upkeep->services->backend_count;
    struct neighbors *part = calloc(1, sizeof *part + count * sizeof part->backend[0]);
    if (part == NULL)
        return NULL;
    part->count = count;
    for (uint32_t i = 0; i < count; i++) {
        part->backend[i].mac = upkeep->backends[i].mac;
        part->backend[i].known = upkeep->backends[i].resolved;
        part->backend[i].mute = upkeep->backends[i].mute;
    }
    return part;
}

static void ask(const struct upkeep *upkeep, const struct backend *backend)
{
    static const struct mac broadcast = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
    struct worker *worker = &upkeep->workers[0];
    const struct mac *own = &worker->ports[INSIDE].mac;
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(worker->pool);
    if (mbuf == NULL)
        return;
    uint8_t *frame = rte_pktmbuf_mtod(mbuf, uint8_t *);
    uint16_t room = rte_pktmbuf_tailroom(mbuf);
    mbuf->data_len =
        addr_is_v4(&backend->next_hop)
            ? build_arp(frame, room, 1, own, &backend->source, &broadcast, &backend->next_hop)
            : build_solicitation(frame, room, own, &backend->source, &backend->next_hop);
    mbuf->pkt_len = mbuf->data_len;
    struct command command = {mbuf, INSIDE};
    if (rte_ring_sp_enqueue_elem(worker->commands, &command, sizeof command) != 0)
        rte_pktmbuf_free(mbuf);
}

void upkeep_ask_anew(struct backend_state *state)
{
    state->asked_ms = 0;
    state->confirmed_ms = state->confirmed_ms > REFRESH_MS ? state->confirmed_ms - REFRESH_MS : 0;
}

static bool is_due(const struct backend_state *state, uint64_t now)
{
    const uint64_t since_ms = now - state->asked_ms;
    if (!state->resolved || now - state->confirmed_ms > REFRESH_MS)
        return state->asked_ms == 0 || since_ms >= ASK_AGAIN_MS;
    return state->doubted && since_ms >= ASK_DOUBTED_MS;
}

/* Many backends may be behind one router: in doubt it is asked once for all of them. */
static void note_asked(struct upkeep *upkeep, uint32_t backend, uint64_t now)
{
    const struct services *services = upkeep->services;
    upkeep->backends[backend].asked_ms = now;
    for (uint32_t i = 0; upkeep->backends[backend].doubted && i < services->backend_count; i++)
        if (services->backend[i].presence != ABSENT &&
            addr_equal(&services->backend[i].next_hop, &services->backend[backend].next_hop))
            upkeep->backends[i].asked_ms = now;
}

void upkeep_refresh_neighbors(struct upkeep *upkeep, uint64_t now)
{
    const struct services *services = upkeep->services;
    for (uint32_t i = 0; i < services->backend_count; i++) {
        struct backend_state *state = &upkeep->backends[i];
        if (services->backend[i].presence == ABSENT)
            continue;
        if (state->resolved && now - state->confirmed_ms > FORGET_MS) {
            state->resolved = false;
            take_health(upkeep, i, health_failed(&state->well, REASON_NEXT_HOP, health_clock()));
            log_error(
                "next_hop_lost",
                "backend %s: its next hop has not answered for %d s; no connection is opened to it",
                services->backend[i].name, FORGET_MS / 1000);
            upkeep_publish(upkeep, PART_NEIGHBORS, upkeep_neighbors(upkeep));
        }
        if (is_due(state, now)) {
            note_asked(upkeep, i, now);
            ask(upkeep, &services->backend[i]);
        }
    }
}

/* What is said unasked, to all, with a question to us or by silence, is a reason to ask: the
 * address of before is used until there is an answer. */
static void take_news(struct upkeep *upkeep, const struct message *message)
{
    const struct services *services = upkeep->services;
    if (message->side != INSIDE)
        return;
    for (uint32_t i = 0; i < services->backend_count; i++)
        if (services->backend[i].presence != ABSENT &&
            addr_equal(&services->backend[i].next_hop, &message->addr))
            upkeep->backends[i].doubted = true;
}

/* Only answers about next hops that we asked for; anything else on the link may say what it likes.
 */
static void take_neighbor(struct upkeep *upkeep, const struct message *message, uint64_t now)
{
    const struct services *services = upkeep->services;
    bool changed = false;
    if (message->side != INSIDE || (message->mac.bytes[0] & 1))
        return;
    for (uint32_t i = 0; i < services->backend_count; i++) {
        struct backend_state *state = &upkeep->backends[i];
        if (services->backend[i].presence == ABSENT)
            continue;
        if (!addr_equal(&services->backend[i].next_hop, &message->addr) || state->asked_ms == 0)
            continue;
        state->confirmed_ms = now;
        state->doubted = false;
        if (state->resolved && memcmp(&state->mac, &message->mac, sizeof state->mac) == 0)
            continue;
        state->mac = message->mac;
        state->resolved = true;
        changed = true;
        log_info("next_hop", "backend %s: next hop resolved", services->backend[i].name);
    }
    if (changed)
        upkeep_publish(upkeep, PART_NEIGHBORS, upkeep_neighbors(upkeep));
}

/* ---- offers ---- */

/* Until a probe has been answered nothing is offered but an MSS. */
void upkeep_first_offer(struct upkeep *upkeep, uint32_t service)
{
    const struct endpoint *listen = &upkeep->services->service[service].listen;
    const struct promise none = {policy_cookie_service(listen, COOKIE_NO_SCALE), COOKIE_NO_SCALE};
    upkeep->offers->offer[service] = (struct offer){.promise = {none, none}};
}

size_t upkeep_offers_size(uint32_t count)
{
    return sizeof(struct offers) + count * sizeof(struct offer);
}

static bool same_offer(const struct offer *a, const struct offer *b)
{
    return a->mss == b->mss && a->sack == b->sack && a->timestamps == b->timestamps &&
           a->promise[0].cookie_service == b->promise[0].cookie_service &&
           a->promise[1].cookie_service == b->promise[1].cookie_service;
}

/* What one more backend leaves of an offer. Of an unknown one nothing is presumed. */
static void restrict_offer(struct offer *offer, uint8_t *scale, const struct backend_state *backend)
{
    const struct tcp_options *options = &backend->options;
    uint16_t mss = options->mss ? options->mss : DEFAULT_MSS;
    uint8_t its = backend->learned ? options->window_scale : COOKIE_NO_SCALE;
    if (backend->learned && mss < offer->mss)
        offer->mss = mss;
    offer->sack = offer->sack && backend->learned && options->sack_ok;
    offer->timestamps = offer->timestamps && backend->learned && options->timestamps;
    if (*scale == COOKIE_NO_SCALE || its == COOKIE_NO_SCALE)
        *scale = COOKIE_NO_SCALE;
    else if (its < *scale)
        *scale = its;
}

/* What all the backends that the service uses support (tcp-pitfalls 30). Whether that is something
 * else than before. */
static bool fill_offer(struct offer *offer, const struct service *service,
                       const struct upkeep *upkeep)
{
    enum { MOST_SCALE = 14 }; /* RFC 7323 section 2.3 */
    const struct limits *limits = upkeep->limits;
    const struct services *services = upkeep->services;
    unsigned used = balance_best(services, service, upkeep->health);
    uint8_t scale = MOST_SCALE;
    struct offer old = *offer;
    offer->mss = addr_is_v4(&service->listen.addr) ? limits->mss_v4 : limits->mss_v6;
    offer->sack = offer->timestamps = true;
    for (uint32_t i = 0; i < service->backend_count; i++)
        if (used == 0 || /* any of them may be the one that comes back */
            balance_rank(services, service, service->backends[i], upkeep->health) == used)
            restrict_offer(offer, &scale, &upkeep->backends[service->backends[i]]);
    if (scale != offer->promise[0].window_scale) {
        offer->promise[1] = offer->promise[0];
        offer->promise[0] = (struct promise){policy_cookie_service(&service->listen, scale), scale};
    }
    return !same_offer(&old, offer);
}

static bool fill_offers(struct upkeep *upkeep)
{
    const struct services *services = upkeep->services;
    bool changed = false;
    for (uint32_t i = 0; i < services->count; i++)
        if (services->service[i].presence == PRESENT)
            changed |= fill_offer(&upkeep->offers->offer[i], &services->service[i], upkeep);
    return changed;
}

static struct offers *copy_offers(const struct upkeep *upkeep)
{
    const uint32_t count = upkeep->services->count;
    struct offers *part = malloc(upkeep_offers_size(count));
    if (part == NULL)
        return NULL;
    part->count = count;
    memcpy(part->offer, upkeep->offers->offer, count * sizeof part->offer[0]);
    return part;
}

struct offers *upkeep_offers(struct upkeep *upkeep)
{
    fill_offers(upkeep);
    return copy_offers(upkeep);
}

static void update_offers(struct upkeep *upkeep)
{
    if (fill_offers(upkeep))
        upkeep_publish(upkeep, PART_OFFERS, copy_offers(upkeep));
}

/* A process that is stopped, or a host that is gone: the connections that are open to it will not
 * end by themselves. Not one that answers clients, of whichever worker: it may only be too busy for
 * its probes. Who has no next hop is not even asked. */
static bool says_nothing(const struct backend_state *state)
{
    const struct backend_health *well = &state->well;
    if (well->health != HEALTH_DOWN)
        return false;
    if (well->reason == REASON_NEXT_HOP)
        return true;
    return !state->speaks && (well->reason == PROBE_SILENT || well->reason == PROBE_UNANSWERED ||
                              well->reason == REASON_RESPONSES);
}

/* Of a service that has nobody else to lead clients to, none is. */
static void excuse(struct upkeep *upkeep, const struct service *service, bool mute[])
{
    for (uint32_t i = 0; i < service->backend_count; i++)
        if (upkeep->health[service->backends[i]] == HEALTH_UP &&
            !upkeep->services->backend[service->backends[i]].drain)
            return;
    for (uint32_t i = 0; i < service->backend_count; i++)
        mute[service->backends[i]] = false;
}

/* Whether somebody has fallen silent, or speaks again. */
static bool mark_mute(struct upkeep *upkeep)
{
    const struct services *services = upkeep->services;
    bool changed = false, *mute = malloc(services->backend_count * sizeof *mute);
    if (mute == NULL)
        return false; /* as before: their requests wait */
    for (uint32_t i = 0; i < services->backend_count; i++)
        mute[i] = says_nothing(&upkeep->backends[i]);
    for (uint32_t i = 0; i < services->count; i++)
        excuse(upkeep, &services->service[i], mute);
    for (uint32_t i = 0; i < services->backend_count; i++) {
        changed |= upkeep->backends[i].mute != mute[i];
        upkeep->backends[i].mute = mute[i];
    }
    free(mute);
    return changed;
}

/* Once per round, however much has changed. Offers go first: nobody may be promised what a backend
 * that comes back cannot keep. */
void upkeep_rebalance(struct upkeep *upkeep)
{
    if (upkeep->rebalance) {
        update_offers(upkeep);
        publish_balance(upkeep);
    }
    if ((upkeep->rebalance || upkeep->hear) && mark_mute(upkeep))
        upkeep_publish(upkeep, PART_NEIGHBORS, upkeep_neighbors(upkeep));
    upkeep->rebalance = upkeep->hear = false;
}

/* ---- health ---- */

static uint64_t answered_by(const struct upkeep *upkeep, uint16_t backend)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < upkeep->worker_count; i++)
        sum += __atomic_load_n(&upkeep->workers[i].shard->openings[backend].answered,
                               __ATOMIC_RELAXED);
    return sum;
}

/* Whether it has answered clients lately. As long as a worker waits (watch_mute), and not only
 * since the last probe: one that fails is followed after a time-out, and a slow backend's answers
 * may be further apart. */
static void hear_clients(struct upkeep *upkeep, uint16_t backend)
{
    struct backend_state *state = &upkeep->backends[backend];
    const struct limits *limits = upkeep->limits;
    const uint64_t answered = answered_by(upkeep, backend), now = worker_clock_ms();
    if (answered != state->answered)
        state->answered_ms = now;
    const bool speaks =
        now - state->answered_ms < (uint64_t)limits->probe_timeout_ms * limits->probe_failures;
    upkeep->hear |= speaks != state->speaks && state->well.health == HEALTH_DOWN;
    state->answered = answered;
    state->speaks = speaks;
}

static bool same_options(const struct tcp_options *a, const struct tcp_options *b)
{
    return a->mss == b->mss && a->window_scale == b->window_scale && a->sack_ok == b->sack_ok &&
           a->timestamps == b->timestamps;
}

static void learn(struct upkeep *upkeep, uint32_t index, const struct tcp_options *options)
{
    struct backend_state *state = &upkeep->backends[index];
    upkeep->rebalance |= !state->learned || !same_options(&state->options, options);
    state->learned = true;
    state->options = *options;
}

/* Only a good answer brings it back, but any that it takes the connection for shows its options. */
static void take_probe(struct upkeep *upkeep, const struct message *message)
{
    struct backend_state *state = &upkeep->backends[message->backend];
    enum health_change change = health_probed(&state->well, (int)message->probe, message->status,
                                              upkeep->limits->probe_failures, health_clock());
    state->answering = message->probe == PROBE_ANSWERED;
    state->doubted |= message->probe == PROBE_SILENT;
    hear_clients(upkeep, message->backend);
    if (message->connected)
        learn(upkeep, message->backend, &message->options);
    if (change == HEALTH_CAME_UP)
        log_info("backend_up",
                 "backend %s is well: MSS %u, window scale %d, SACK %s, timestamps %s",
                 upkeep->services->backend[message->backend].name, state->options.mss,
                 state->options.window_scale == COOKIE_NO_SCALE ? -1 : state->options.window_scale,
                 state->options.sack_ok ? "yes" : "no", state->options.timestamps ? "yes" : "no");
    take_health(upkeep, message->backend, change);
}

/* Whether a service would be left with nobody that is well. */
static bool is_last(const struct upkeep *upkeep, uint16_t backend)
{
    const struct services *services = upkeep->services;
    for (uint32_t i = 0; i < services->count; i++) {
        bool member = false;
        uint32_t others = 0;
        for (uint32_t k = 0; k < services->service[i].backend_count; k++) {
            uint16_t other = services->service[i].backends[k];
            member |= other == backend;
            others += other != backend && upkeep->health[other] == HEALTH_UP &&
                      !services->backend[other].drain;
        }
        if (member && others == 0)
            return true;
    }
    return false;
}

/* Clients' openings tell sooner than the next probe. Of the last one they may also tell that it is
 * too busy to take them all at once: then its probes decide. */
static void take_failed_openings(struct upkeep *upkeep, const struct message *message)
{
    struct backend_health *well = &upkeep->backends[message->backend].well;
    upkeep->backends[message->backend].doubted = true;
    if (well->health == HEALTH_DOWN || is_last(upkeep, message->backend))
        return;
    take_health(upkeep, message->backend, health_failed(well, REASON_OPENINGS, health_clock()));
}

/* Slow answers are better than none, and may be a few clients' doing: the last one stays. */
static void take_unanswered(struct upkeep *upkeep, const struct message *message)
{
    struct backend_health *well = &upkeep->backends[message->backend].well;
    if (well->health == HEALTH_DOWN || is_last(upkeep, message->backend))
        return;
    take_health(upkeep, message->backend,
                health_unanswered(well, answered_by(upkeep, message->backend),
                                  upkeep->limits->probe_interval_ms, health_clock()));
}

/* Not the backend's fault when its probe had not shown the option either: the client had been
 * promised it before this backend was used. The last one stays: until its probe shows what it can
 * do now, clients are promised nothing that it might lack, and so can be served. */
static void take_refusal(struct upkeep *upkeep, const struct message *message)
{
    struct backend_state *state = &upkeep->backends[message->backend];
    const struct tcp_options *shown = &state->options, *seen = &message->options;
    bool lost = (shown->sack_ok && !seen->sack_ok) || (shown->timestamps && !seen->timestamps) ||
                (shown->window_scale != COOKIE_NO_SCALE && seen->window_scale == COOKIE_NO_SCALE);
    if (!state->learned || !lost)
        return;
    state->learned = false;
    upkeep->rebalance = true;
    if (!is_last(upkeep, message->backend))
        take_health(upkeep, message->backend,
                    health_failed(&state->well, REASON_OPTIONS, health_clock()));
}

/* ---- what workers tell ---- */

/* A message may have been under way while its backend was removed. */
static bool is_present(const struct upkeep *upkeep, uint16_t backend)
{
    return backend < upkeep->services->backend_count &&
           upkeep->services->backend[backend].presence == PRESENT;
}

void upkeep_take_messages(struct upkeep *upkeep, struct worker *worker, uint64_t now)
{
    struct message message;
    for (int i = 0; i < MESSAGES_PER_ROUND; i++) {
        if (rte_ring_sc_dequeue_elem(worker->messages, &message, sizeof message) != 0)
            return;
        if (message.kind != MESSAGE_NEIGHBOR && message.kind != MESSAGE_NEIGHBOR_NEWS &&
            !is_present(upkeep, message.backend))
            continue;
        switch (message.kind) {
        case MESSAGE_NEIGHBOR: take_neighbor(upkeep, &message, now); break;
        case MESSAGE_NEIGHBOR_NEWS: take_news(upkeep, &message); break;
        case MESSAGE_PROBE: take_probe(upkeep, &message); break;
        case MESSAGE_BACKEND_OPTIONS: take_refusal(upkeep, &message); break;
        case MESSAGE_BACKEND_FAILED: take_failed_openings(upkeep, &message); break;
        case MESSAGE_BACKEND_UNANSWERED: take_unanswered(upkeep, &message); break;
        }
    }
}
