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
        builder_free(part, block);
        log_error("no_memory", "a policy part could not be published; the old one stays in force");
    }
}

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

/* Asks where it is time; forgets what has been silent for too long. */
static void refresh_neighbors(struct upkeep *upkeep, uint64_t now)
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
            publish(upkeep, PART_NEIGHBORS, upkeep_neighbors(upkeep));
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
        if (state->resolved && memcmp(&state->mac, &message->mac, sizeof state->mac) == 0)
            continue;
        state->mac = message->mac;
        state->resolved = true;
        changed = true;
        log_info("next_hop", "backend %s: next hop resolved", services->backend[i].name);
    }
    if (changed)
        publish(upkeep, PART_NEIGHBORS, upkeep_neighbors(upkeep));
}

/* ---- offers ---- */

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
        publish(upkeep, PART_OFFERS, copy_offers(upkeep));
}

/* A process that is stopped, or a host that is gone: the connections that are open to it will not
 * end by themselves. */
static bool says_nothing(const struct backend_health *well)
{
    return well->health == HEALTH_DOWN &&
           (well->reason == PROBE_SILENT || well->reason == PROBE_UNANSWERED ||
            well->reason == REASON_RESPONSES || well->reason == REASON_NEXT_HOP);
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
        mute[i] = says_nothing(&upkeep->backends[i].well);
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
static void rebalance(struct upkeep *upkeep)
{
    if (!upkeep->rebalance)
        return;
    upkeep->rebalance = false;
    update_offers(upkeep);
    publish_balance(upkeep);
    if (mark_mute(upkeep))
        publish(upkeep, PART_NEIGHBORS, upkeep_neighbors(upkeep));
}

/* ---- health ---- */

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
    if (well->health == HEALTH_DOWN || is_last(upkeep, message->backend))
        return;
    take_health(upkeep, message->backend, health_failed(well, REASON_OPENINGS, health_clock()));
}

static uint64_t answered_by(const struct upkeep *upkeep, uint16_t backend)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < upkeep->worker_count; i++)
        sum += __atomic_load_n(&upkeep->workers[i].shard->openings[backend].answered,
                               __ATOMIC_RELAXED);
    return sum;
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
 * promised it before this backend was used. */
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
    take_health(upkeep, message->backend,
                health_failed(&state->well, REASON_OPTIONS, health_clock()));
}

/* ---- cookie keys ---- */

static void roll_keys(struct upkeep *upkeep)
{
    uint64_t now = unix_ms();
    if (keyring_due(upkeep->keyring, now))
        publish(upkeep, PART_KEYS, keyring_keys(upkeep->keyring, now));
}

int upkeep_take_master(struct upkeep *upkeep, const char *path)
{
    char why[MASTER_WHY];
    int changed = keyring_read(upkeep->keyring, path, unix_ms(), why);
    if (changed < 0) {
        log_error("cookie_master", "%s%s", why,
                  upkeep->builder == NULL ? "" : "; the one in use stays in force");
        return changed;
    }
    if (upkeep->builder == NULL)
        return 0;
    if (changed)
        log_info("cookie_master",
                 "%s: a new master; cookies of the one before are accepted for %d s more", path,
                 COOKIE_LIFE_MS / 1000);
    else
        log_info("cookie_master", "%s: still the master in use", path);
    return 0;
}

/* ---- life ---- */

/* Until a probe has been answered nothing is offered but an MSS. */
void upkeep_first_offer(struct upkeep *upkeep, uint32_t service)
{
    const struct endpoint *listen = &upkeep->services->service[service].listen;
    const struct promise none = {policy_cookie_service(listen, COOKIE_NO_SCALE), COOKIE_NO_SCALE};
    upkeep->offers->offer[service] = (struct offer){.promise = {none, none}};
}

/* What is kept of each backend and service, with room for those that may come. */
static int first_states(struct upkeep *upkeep)
{
    const struct services *services = upkeep->services;
    uint32_t backends = services->backend_room;
    upkeep->backends = calloc(backends, sizeof *upkeep->backends);
    upkeep->health = malloc(backends);
    upkeep->offers = calloc(1, upkeep_offers_size(services->room));
    upkeep->census = calloc(upkeep->worker_count + 1, sizeof *upkeep->census);
    if (upkeep->backends == NULL || upkeep->health == NULL || upkeep->offers == NULL ||
        upkeep->census == NULL)
        return -ENOMEM;
    memset(upkeep->health, HEALTH_UNKNOWN, backends);
    for (uint32_t i = 0; i < backends; i++)
        health_init(&upkeep->backends[i].well, unix_ms());
    for (uint32_t i = 0; i < services->count; i++)
        upkeep_first_offer(upkeep, i);
    return getrandom(&upkeep->balance_key, sizeof upkeep->balance_key, 0) ==
                   sizeof upkeep->balance_key
               ? 0
               : -EIO;
}

/* As they were given when the part was filled: in its order. */
static int first_numbers(struct upkeep *upkeep)
{
    const struct services *services = upkeep->services;
    upkeep->service_numbers = numbers_new(services->room);
    upkeep->backend_numbers = numbers_new(services->backend_room);
    if (upkeep->service_numbers == NULL || upkeep->backend_numbers == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < services->count; i++)
        numbers_take(upkeep->service_numbers, &services->service[i].listen);
    for (uint32_t i = 0; i < services->backend_count; i++)
        numbers_take(upkeep->backend_numbers, &services->backend[i].address);
    return 0;
}

/* Fills the slot with the parts that there are, and those that follow from them. */
static int first_row(struct upkeep *upkeep, struct policy *parts)
{
    parts->offers = upkeep_offers(upkeep);
    parts->balance = balance_new(parts->services, upkeep->health, &upkeep->balance_key);
    parts->neighbors = upkeep_neighbors(upkeep);
    parts->keys = keyring_keys(upkeep->keyring, unix_ms());
    upkeep->slot->row = builder_first_row(parts);
    return upkeep->slot->row == NULL || parts->offers == NULL || parts->balance == NULL ||
                   parts->neighbors == NULL || parts->keys == NULL
               ? -ENOMEM
               : 0;
}

int upkeep_init(struct upkeep *upkeep, struct policy_slot *slot, struct services *services,
                struct limits *limits, struct worker *workers, uint32_t worker_count,
                const char *master_file)
{
    struct policy parts = {.services = services, .limits = limits};
    int error = services == NULL || limits == NULL ? -ENOMEM : 0;
    *upkeep = (struct upkeep){.slot = slot,
                              .services = services,
                              .limits = limits,
                              .workers = workers,
                              .worker_count = worker_count,
                              .keyring = keyring_new()};
    if (error == 0 && upkeep->keyring == NULL)
        error = -ENOMEM;
    if (error == 0 && master_file != NULL)
        error = upkeep_take_master(upkeep, master_file);
    if (error == 0)
        error = first_numbers(upkeep);
    if (error == 0)
        error = first_states(upkeep);
    if (error == 0)
        return first_row(upkeep, &parts);
    builder_free_all(&parts);
    return error;
}

int upkeep_rule_slots(struct upkeep *upkeep, uint32_t rules)
{
    return rule_slots_init(&upkeep->rule_slots, rules, upkeep->worker_count);
}

void upkeep_first_rules(struct upkeep *upkeep, struct rules *rules)
{
    builder_set((struct policy *)(uintptr_t)upkeep->slot->row, PART_RULES, rules);
    upkeep->rules = rules;
}

int upkeep_lend(struct upkeep *upkeep)
{
    const uint32_t *per_second = upkeep->limits->per_second;
    uint64_t now = worker_clock_ms();
    int error = 0;
    lender_init(&upkeep->lender, per_second, now);
    quota_pool_init(&upkeep->connections);
    for (uint32_t i = 0; i < upkeep->worker_count && error == 0; i++) {
        struct shard *shard = upkeep->workers[i].shard;
        error = lender_add(&upkeep->lender, shard->lease);
        if (error == 0)
            error = quota_pool_add(&upkeep->connections, &shard->connections);
    }
    lender_run(&upkeep->lender, per_second, now);
    for (uint32_t i = 0; i < upkeep->worker_count && error == 0; i++)
        error = rule_slots_add(&upkeep->rule_slots, &upkeep->workers[i].shard->rules);
    rule_slots_hold(&upkeep->rule_slots, upkeep->rules);
    rule_slots_run(&upkeep->rule_slots, now);
    quota_pool_run(&upkeep->connections, upkeep->limits->clients.all_connections);
    return error;
}

/* A message may have been under way while its backend was removed. */
static bool is_present(const struct upkeep *upkeep, uint16_t backend)
{
    return backend < upkeep->services->backend_count &&
           upkeep->services->backend[backend].presence == PRESENT;
}

static void take_messages(struct upkeep *upkeep, struct worker *worker, uint64_t now)
{
    struct message message;
    for (int i = 0; i < MESSAGES_PER_ROUND; i++) {
        if (rte_ring_sc_dequeue_elem(worker->messages, &message, sizeof message) != 0)
            return;
        if (message.kind != MESSAGE_NEIGHBOR && !is_present(upkeep, message.backend))
            continue;
        switch (message.kind) {
        case MESSAGE_NEIGHBOR: take_neighbor(upkeep, &message, now); break;
        case MESSAGE_PROBE: take_probe(upkeep, &message); break;
        case MESSAGE_BACKEND_OPTIONS: take_refusal(upkeep, &message); break;
        case MESSAGE_BACKEND_FAILED: take_failed_openings(upkeep, &message); break;
        case MESSAGE_BACKEND_UNANSWERED: take_unanswered(upkeep, &message); break;
        }
    }
}

void upkeep_keep_rules(struct upkeep *upkeep)
{
    rule_slots_hold(&upkeep->rule_slots, upkeep->rules);
}

/* Workers have the rules of before until the builder has come to those that it was given. */
static void lend_rules(struct upkeep *upkeep, uint64_t now)
{
    if (upkeep->rule_slots.waiting && builder_idle(upkeep->builder))
        rule_slots_let_go(&upkeep->rule_slots);
    rule_slots_run(&upkeep->rule_slots, now);
}

void upkeep_run(struct upkeep *upkeep)
{
    uint64_t now = worker_clock_ms();
    lender_run(&upkeep->lender, upkeep->limits->per_second, now);
    lend_rules(upkeep, now);
    quota_pool_run(&upkeep->connections, upkeep->limits->clients.all_connections);
    for (uint32_t i = 0; i < upkeep->worker_count; i++)
        take_messages(upkeep, &upkeep->workers[i], now);
    refresh_neighbors(upkeep, now);
    rebalance(upkeep);
    roll_keys(upkeep);
    if (upkeep->feeds != NULL)
        feeds_run(upkeep->feeds, upkeep->reader, upkeep->builder);
}

void upkeep_end(struct upkeep *upkeep)
{
    if (upkeep->slot == NULL)
        return;
    builder_free_row(upkeep->slot->row);
    keyring_free(upkeep->keyring);
    free(upkeep->backends);
    free(upkeep->health);
    free(upkeep->offers);
    rule_slots_end(&upkeep->rule_slots);
    numbers_free(upkeep->service_numbers);
    numbers_free(upkeep->backend_numbers);
    for (uint32_t i = 0; upkeep->census != NULL && i < upkeep->worker_count; i++)
        free(upkeep->census[i]);
    free(upkeep->census);
}
