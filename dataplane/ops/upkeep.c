/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Next hops are asked for in advance and again before they grow old (tcp-pitfalls 12), so no packet
 * ever waits for one. A next hop that stops answering is kept for a minute: a lost ARP reply must
 * not stop a sale. */
#include "dataplane/ops/upkeep.h"

#include <errno.h>
#include <rte_mbuf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "common/log.h"

enum {
    ASK_AGAIN_MS = 500,
    REFRESH_MS = 20 * 1000,
    FORGET_MS = REFRESH_MS + 60 * 1000,
    DEFAULT_MSS = 536,
    MESSAGES_PER_ROUND = 256,
};

static uint64_t unix_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void publish(struct upkeep *upkeep, enum part part, void *block)
{
    if (block == NULL || builder_publish(upkeep->builder, part, block) != 0) {
        free(block);
        log_error("no_memory", "a policy part could not be published; the old one stays in force");
    }
}

/* ---- next hops ---- */

static struct neighbors *neighbors_part(const struct upkeep *upkeep)
{
    uint32_t count = upkeep->policy->services->backend_count;
    struct neighbors *part = calloc(1, sizeof *part + count * sizeof part->backend[0]);
    if (part == NULL)
        return NULL;
    part->count = count;
    for (uint32_t i = 0; i < count; i++) {
        part->backend[i].mac = upkeep->backends[i].mac;
        part->backend[i].known = upkeep->backends[i].resolved;
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

/* Asks where it is time; forgets what has been silent for too long. */
static void refresh_neighbors(struct upkeep *upkeep, uint64_t now)
{
    const struct services *services = upkeep->policy->services;
    for (uint32_t i = 0; i < services->backend_count; i++) {
        struct backend_state *state = &upkeep->backends[i];
        if (state->resolved && now - state->confirmed_ms > FORGET_MS) {
            state->resolved = false;
            log_error(
                "next_hop_lost",
                "backend %s: its next hop has not answered for %d s; new connections are dropped",
                services->backend[i].name, FORGET_MS / 1000);
            publish(upkeep, PART_NEIGHBORS, neighbors_part(upkeep));
        }
        bool due = !state->resolved || now - state->confirmed_ms > REFRESH_MS;
        if (due && (state->asked_ms == 0 || now - state->asked_ms >= ASK_AGAIN_MS)) {
            state->asked_ms = now;
            ask(upkeep, &services->backend[i]);
        }
    }
}

/* Only answers about next hops that we asked for; anything else on the link may say what it likes.
 */
static void take_neighbor(struct upkeep *upkeep, const struct message *message, uint64_t now)
{
    const struct services *services = upkeep->policy->services;
    bool changed = false;
    if (message->side != INSIDE || (message->mac.bytes[0] & 1))
        return;
    for (uint32_t i = 0; i < services->backend_count; i++) {
        struct backend_state *state = &upkeep->backends[i];
        if (!addr_equal(&services->backend[i].next_hop, &message->addr) || state->asked_ms == 0)
            continue;
        state->confirmed_ms = now;
        if (state->resolved && memcmp(&state->mac, &message->mac, sizeof state->mac) == 0)
            continue;
        state->mac = message->mac;
        state->resolved = true;
        changed = true;
        log_info("next_hop", "backend %s: next hop resolved", services->backend[i].name);
    }
    if (changed)
        publish(upkeep, PART_NEIGHBORS, neighbors_part(upkeep));
}

/* ---- offers ---- */

static size_t offers_size(uint32_t count)
{
    return sizeof(struct offers) + count * sizeof(struct offer);
}

static bool same_offer(const struct offer *a, const struct offer *b)
{
    return a->mss == b->mss && a->sack == b->sack && a->timestamps == b->timestamps &&
           a->promise[0].cookie_service == b->promise[0].cookie_service &&
           a->promise[1].cookie_service == b->promise[1].cookie_service;
}

/* Whether anything has changed. */
static bool fill_offer(struct offer *offer, const struct service *service,
                       const struct backend_state *backend, const struct limits *limits)
{
    bool v4 = addr_is_v4(&service->listen.addr);
    uint16_t most = v4 ? limits->mss_v4 : limits->mss_v6;
    uint16_t mss = backend->options.mss ? backend->options.mss : DEFAULT_MSS;
    uint8_t scale = backend->learned ? backend->options.window_scale : COOKIE_NO_SCALE;
    struct offer old = *offer;
    offer->mss = backend->learned && mss < most ? mss : most;
    offer->sack = backend->learned && backend->options.sack_ok;
    offer->timestamps = backend->learned && backend->options.timestamps;
    if (scale != offer->promise[0].window_scale) {
        offer->promise[1] = offer->promise[0];
        offer->promise[0] = (struct promise){policy_cookie_service(&service->listen, scale), scale};
    }
    return !same_offer(&old, offer);
}

static void update_offers(struct upkeep *upkeep)
{
    const struct services *services = upkeep->policy->services;
    bool changed = false;
    for (uint32_t i = 0; i < services->count; i++)
        changed |=
            fill_offer(&upkeep->offers->offer[i], &services->service[i],
                       &upkeep->backends[services->service[i].backend], upkeep->policy->limits);
    if (!changed)
        return;
    struct offers *part = malloc(offers_size(services->count));
    if (part != NULL)
        memcpy(part, upkeep->offers, offers_size(services->count));
    publish(upkeep, PART_OFFERS, part);
}

static void take_probe(struct upkeep *upkeep, const struct message *message)
{
    static const char *const failures[] = {
        [PROBE_REFUSED] = "refuses connections", [PROBE_SILENT] = "does not answer"};
    struct backend_state *state = &upkeep->backends[message->backend];
    const struct backend *backend = &upkeep->policy->services->backend[message->backend];
    if (message->probe != PROBE_ANSWERED) {
        if (state->answering)
            log_warn("backend_down", "backend %s %s", backend->name, failures[message->probe]);
        state->answering = false;
        return;
    }
    if (!state->answering)
        log_info(
            "backend_up", "backend %s answers: MSS %u, window scale %d, SACK %s, timestamps %s",
            backend->name, message->options.mss,
            message->options.window_scale == COOKIE_NO_SCALE ? -1 : message->options.window_scale,
            message->options.sack_ok ? "yes" : "no", message->options.timestamps ? "yes" : "no");
    state->answering = true;
    state->learned = true;
    state->options = message->options;
    update_offers(upkeep);
}

static void take_refusal(struct upkeep *upkeep, const struct message *message)
{
    struct backend_state *state = &upkeep->backends[message->backend];
    log_warn(
        "backend_options",
        "backend %s refused a TCP option that its probe had shown; only MSS is offered until it "
        "has been probed again",
        upkeep->policy->services->backend[message->backend].name);
    state->learned = false;
    update_offers(upkeep);
}

/* ---- cookie keys ---- */

static struct cookie_keys *keys_part(struct upkeep *upkeep, uint64_t now)
{
    struct cookie_keys *part = malloc(sizeof *part);
    if (part == NULL)
        return NULL;
    cookie_keys_derive(part, upkeep->master, now);
    upkeep->key_epoch = now / COOKIE_EPOCH_MS;
    return part;
}

static void roll_keys(struct upkeep *upkeep)
{
    uint64_t now = unix_ms();
    if (now / COOKIE_EPOCH_MS != upkeep->key_epoch)
        publish(upkeep, PART_KEYS, keys_part(upkeep, now));
}

/* ---- life ---- */

int upkeep_init(struct upkeep *upkeep, struct policy *policy, struct worker *workers,
                uint32_t worker_count)
{
    uint32_t count = policy->services->count;
    *upkeep = (struct upkeep){.policy = policy, .workers = workers, .worker_count = worker_count};
    if (getrandom(upkeep->master, sizeof upkeep->master, 0) != sizeof upkeep->master)
        return -EIO;
    upkeep->backends = calloc(policy->services->backend_count, sizeof *upkeep->backends);
    upkeep->offers = calloc(1, offers_size(count));
    struct offers *offers = malloc(offers_size(count));
    policy->offers = offers;
    if (upkeep->backends == NULL || upkeep->offers == NULL || offers == NULL)
        return -ENOMEM;
    upkeep->offers->count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct promise none = {
            policy_cookie_service(&policy->services->service[i].listen, COOKIE_NO_SCALE),
            COOKIE_NO_SCALE};
        upkeep->offers->offer[i].promise[0] = none;
        upkeep->offers->offer[i].promise[1] = none;
        fill_offer(&upkeep->offers->offer[i], &policy->services->service[i],
                   &upkeep->backends[policy->services->service[i].backend], policy->limits);
    }
    memcpy(offers, upkeep->offers, offers_size(count));
    policy->neighbors = neighbors_part(upkeep);
    policy->keys = keys_part(upkeep, unix_ms());
    return policy->neighbors == NULL || policy->keys == NULL ? -ENOMEM : 0;
}

int upkeep_lend(struct upkeep *upkeep)
{
    const uint32_t *per_second = upkeep->policy->limits->per_second;
    uint64_t now = worker_clock_ms();
    int error = 0;
    lender_init(&upkeep->lender, per_second, now);
    for (uint32_t i = 0; i < upkeep->worker_count && error == 0; i++)
        error = lender_add(&upkeep->lender, upkeep->workers[i].shard->lease);
    lender_run(&upkeep->lender, per_second, now);
    return error;
}

static void take_messages(struct upkeep *upkeep, struct worker *worker, uint64_t now)
{
    struct message message;
    for (int i = 0; i < MESSAGES_PER_ROUND; i++) {
        if (rte_ring_sc_dequeue_elem(worker->messages, &message, sizeof message) != 0)
            return;
        switch (message.kind) {
        case MESSAGE_NEIGHBOR: take_neighbor(upkeep, &message, now); break;
        case MESSAGE_PROBE: take_probe(upkeep, &message); break;
        case MESSAGE_BACKEND_OPTIONS: take_refusal(upkeep, &message); break;
        }
    }
}

void upkeep_run(struct upkeep *upkeep)
{
    uint64_t now = worker_clock_ms();
    lender_run(&upkeep->lender, upkeep->policy->limits->per_second, now);
    for (uint32_t i = 0; i < upkeep->worker_count; i++)
        take_messages(upkeep, &upkeep->workers[i], now);
    refresh_neighbors(upkeep, now);
    roll_keys(upkeep);
}

void upkeep_end(struct upkeep *upkeep)
{
    struct policy *policy = upkeep->policy;
    free((void *)(uintptr_t)policy->offers);
    free((void *)(uintptr_t)policy->neighbors);
    if (policy->keys != NULL)
        explicit_bzero((void *)(uintptr_t)policy->keys, sizeof *policy->keys);
    free((void *)(uintptr_t)policy->keys);
    explicit_bzero(upkeep->master, sizeof upkeep->master);
    free(upkeep->backends);
    free(upkeep->offers);
}
