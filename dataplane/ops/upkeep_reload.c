/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * New settings under running connections. What is known of services and backends stands at their
 * numbers, so it stays where it is for those who stay; who comes begins as unknown; who goes keeps
 * its number until nothing refers to it. A copy of the upkeep tries what is to come: only when all
 * parts have been made are they handed over, and what the copy has learnt is kept. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/log.h"
#include "dataplane/ops/settings.h"
#include "dataplane/ops/upkeep_parts.h"
#include "dataplane/tcp/census.h"

/* As long as a cookie, and a tombstone, may name a number after its last flow has ended. */
enum { REST_MS = COOKIE_LIFE_MS };

static uint64_t read_clock(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t clock_ms(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

static int refuse(int error, char why[CONF_WHY], const char *what)
{
    snprintf(why, CONF_WHY, "%s", what);
    return error;
}

static void forget_copy(struct upkeep *next)
{
    numbers_free(next->service_numbers);
    numbers_free(next->backend_numbers);
    free(next->backends);
    free(next->health);
    free(next->offers);
}

/* False when memory is short; forget_copy is right in either case. */
static bool copy_upkeep(const struct upkeep *now, struct upkeep *next)
{
    size_t backends = now->services->backend_room * sizeof *now->backends;
    *next = *now;
    next->service_numbers = numbers_copy(now->service_numbers);
    next->backend_numbers = numbers_copy(now->backend_numbers);
    next->backends = malloc(backends);
    next->health = malloc(now->services->backend_room);
    next->offers = malloc(upkeep_offers_size(now->services->room));
    if (next->service_numbers == NULL || next->backend_numbers == NULL || next->backends == NULL ||
        next->health == NULL || next->offers == NULL)
        return false;
    memcpy(next->backends, now->backends, backends);
    memcpy(next->health, now->health, now->services->backend_room);
    memcpy(next->offers, now->offers, upkeep_offers_size(now->services->room));
    return true;
}

static void say_full(char why[CONF_WHY], const char *key, const struct numbers *numbers)
{
    snprintf(
        why, CONF_WHY,
        "[tables] %s = %u: all are in use, %u of them by removed ones whose connections go on, "
        "and %u until nothing can name them any more (130 s); reload later, or raise it, which "
        "needs a restart",
        key, numbers_room(numbers), numbers_count(numbers, NUMBER_LEAVING),
        numbers_count(numbers, NUMBER_RESTING));
}

static int renumber(struct upkeep *next, const struct settings *settings, char why[CONF_WHY])
{
    uint64_t now = clock_ms();
    if (!numbers_begin(next->service_numbers, now, REST_MS) ||
        !numbers_begin(next->backend_numbers, now, REST_MS))
        return refuse(-ENOMEM, why, "memory is short");
    if (!settings_take_backends(settings, next->backend_numbers)) {
        say_full(why, "backends", next->backend_numbers);
        return -ENOSPC;
    }
    if (!settings_take_services(settings, next->service_numbers)) {
        say_full(why, "services", next->service_numbers);
        return -ENOSPC;
    }
    return 0;
}

/* Flows that are open have begun in their service's protocol, and are read by it. */
static int check_protocols(const struct services *before, const struct upkeep *next,
                           char why[CONF_WHY])
{
    for (uint32_t i = 0; i < before->count && i < next->services->count; i++) {
        const struct service *old = &before->service[i], *new = &next->services->service[i];
        char text[ADDR_TEXT];
        if (old->presence == ABSENT || new->presence != PRESENT ||
            numbers_new_owner(next->service_numbers, i) || old->protocol == new->protocol)
            continue;
        snprintf(why, CONF_WHY,
                 "[service %s] protocol: connections to %s that are open speak another; only a "
                 "restart takes this, or a reload without that address, and one with it when they "
                 "have ended",
                 new->name, endpoint_print(&new->listen, text));
        return -EINVAL;
    }
    return 0;
}

static bool is_routed_anew(const struct services *before, const struct services *services,
                           uint32_t backend)
{
    return backend < before->backend_count && services->backend[backend].presence == PRESENT &&
           !addr_equal(&before->backend[backend].next_hop, &services->backend[backend].next_hop);
}

/* What its next hop is, which is asked for as long as flows use it. */
static struct backend_state next_hop_alone(const struct backend_state *state)
{
    return (struct backend_state){.mac = state->mac,
                                  .resolved = state->resolved,
                                  .confirmed_ms = state->confirmed_ms,
                                  .asked_ms = state->asked_ms};
}

static void meet(struct upkeep *next, uint32_t backend, const struct backend_state *known)
{
    next->backends[backend] = *known;
    health_init(&next->backends[backend].well, read_clock(CLOCK_REALTIME));
    next->health[backend] = HEALTH_UNKNOWN;
}

/* Who has come is unknown; so is who has come back, for it was not probed while it was leaving. */
static void greet(struct upkeep *next, const struct services *before)
{
    const struct services *services = next->services;
    for (uint32_t i = 0; i < services->backend_count; i++) {
        const struct backend_state nothing = {.resolved = false};
        const struct backend_state next_hop = next_hop_alone(&next->backends[i]);
        bool comes = numbers_new_owner(next->backend_numbers, i);
        if (comes || numbers_returned(next->backend_numbers, i))
            meet(next, i, comes ? &nothing : &next_hop);
        if (!comes && is_routed_anew(before, services, i))
            upkeep_ask_anew(&next->backends[i]);
    }
    for (uint32_t i = 0; i < services->count; i++)
        if (numbers_new_owner(next->service_numbers, i))
            upkeep_first_offer(next, i);
}

static int make_parts(struct upkeep *next, struct policy *parts)
{
    parts->services = next->services;
    parts->offers = upkeep_offers(next);
    parts->neighbors = upkeep_neighbors(next);
    parts->balance = balance_new(next->services, next->health, &next->balance_key);
    return parts->offers == NULL || parts->neighbors == NULL || parts->balance == NULL ? -ENOMEM
                                                                                       : 0;
}

/* The copy's place is the upkeep's from now on. Telemetry reads the arrays, so they stay where they
 * are. */
static void keep(struct upkeep *upkeep, struct upkeep *next)
{
    const struct services *services =
        next->services; /* the ones before are the builder's to free */
    numbers_free(upkeep->service_numbers);
    numbers_free(upkeep->backend_numbers);
    upkeep->service_numbers = next->service_numbers;
    upkeep->backend_numbers = next->backend_numbers;
    next->service_numbers = next->backend_numbers = NULL;
    memcpy(upkeep->backends, next->backends, services->backend_room * sizeof *upkeep->backends);
    memcpy(upkeep->health, next->health, services->backend_room);
    memcpy(upkeep->offers, next->offers, upkeep_offers_size(services->room));
    upkeep->services = services;
    upkeep->limits = next->limits;
    upkeep->rules = next->rules;
    forget_copy(next);
}

static int try(struct upkeep *next, const struct services *before, const struct settings *settings,
               struct policy *parts, char why[CONF_WHY])
{
    int error = renumber(next, settings, why);
    if (error != 0)
        return error;
    struct services *services =
        settings_services_at(settings, before, next->service_numbers, next->backend_numbers);
    parts->services = services;
    if (services == NULL)
        return refuse(-ENOMEM, why, "memory is short");
    next->services = services;
    if (parts->limits != NULL)
        next->limits = parts->limits;
    if (parts->rules != NULL)
        next->rules = parts->rules;
    error = check_protocols(before, next, why);
    if (error != 0)
        return error;
    greet(next, before);
    if (make_parts(next, parts) != 0)
        return refuse(-ENOMEM, why, "memory is short");
    return 0;
}

/* A rate that begins has been lent when the first worker sees its rule. */
static void lend_to(struct upkeep *upkeep, const struct rules *rules)
{
    rule_slots_hold(&upkeep->rule_slots, rules);
    rule_slots_run(&upkeep->rule_slots, upkeep->rule_slots.now_ms);
}

int upkeep_reload(struct upkeep *upkeep, const struct settings *settings, struct policy *parts,
                  int (*last)(struct upkeep *upkeep, const struct settings *settings),
                  char why[CONF_WHY])
{
    struct upkeep next;
    int error = copy_upkeep(upkeep, &next) ? 0 : refuse(-ENOMEM, why, "memory is short");
    if (error == 0)
        error = try(&next, upkeep->services, settings, parts, why);
    if (error == 0 && (error = builder_reserve(upkeep->builder)) != 0)
        refuse(error, why, "memory is short");
    if (error == 0 && last != NULL && (error = last(upkeep, settings)) != 0)
        refuse(error, why, "the master of the cookies could not be taken");
    if (error != 0) {
        builder_free_all(parts);
        forget_copy(&next);
        return error;
    }
    lend_to(upkeep, next.rules);
    builder_publish_all(upkeep->builder, parts); /* into its room: it does not fail */
    keep(upkeep, &next);
    return 0;
}

/* ---- those who leave ---- */

static bool anybody_leaves(const struct upkeep *upkeep)
{
    return numbers_count(upkeep->service_numbers, NUMBER_LEAVING) != 0 ||
           numbers_count(upkeep->backend_numbers, NUMBER_LEAVING) != 0;
}

static void begin_census(struct upkeep *upkeep)
{
    for (uint32_t i = 0; i < upkeep->worker_count; i++) {
        if (upkeep->census[i] == NULL)
            upkeep->census[i] = census_new(upkeep->services->room, upkeep->services->backend_room);
        if (upkeep->census[i] == NULL)
            return; /* another time */
    }
    for (uint32_t i = 0; i < upkeep->worker_count; i++)
        census_begin(upkeep->census[i], upkeep->workers[i].shard);
    upkeep->census_of = upkeep->services->generation;
}

static bool census_is_complete(const struct upkeep *upkeep)
{
    for (uint32_t i = 0; i < upkeep->worker_count; i++)
        if (!census_is_back(upkeep->workers[i].shard))
            return false;
    return true;
}

static void say_gone(const struct upkeep *upkeep, uint32_t number, bool backend)
{
    const struct services *services = upkeep->services;
    char text[ADDR_TEXT];
    if (backend)
        log_info("backend_gone", "backend %s at %s: removed, and its last connection has ended",
                 services->backend[number].name,
                 endpoint_print(&services->backend[number].address, text));
    else
        log_info("service_gone", "service %s at %s: removed, and its last connection has ended",
                 services->service[number].name,
                 endpoint_print(&services->service[number].listen, text));
}

/* Those without a flow of any worker rest. Returns whether there are any. */
static bool release(struct upkeep *upkeep, struct numbers *numbers, bool backends)
{
    uint64_t now = clock_ms();
    bool any = false;
    for (uint32_t n = 0; n < numbers_end(numbers); n++) {
        uint32_t flows = 0;
        if (numbers_state(numbers, n) != NUMBER_LEAVING)
            continue;
        for (uint32_t i = 0; i < upkeep->worker_count; i++)
            flows += backends ? upkeep->census[i]->of_backend[n] : upkeep->census[i]->of_service[n];
        if (flows != 0)
            continue;
        say_gone(upkeep, n, backends);
        numbers_rest(numbers, n, now);
        any = true;
    }
    return any;
}

void upkeep_forget(struct upkeep *upkeep, const struct settings *settings)
{
    enum { LOOK_MS = 200 };
    uint64_t now = clock_ms();
    if (now < upkeep->look_ms || !census_is_complete(upkeep))
        return;
    upkeep->look_ms = now + LOOK_MS;
    if (upkeep->census_of != 0 && upkeep->census_of == upkeep->services->generation) {
        upkeep->gone |= release(upkeep, upkeep->service_numbers, false);
        upkeep->gone |= release(upkeep, upkeep->backend_numbers, true);
    }
    upkeep->census_of = 0;
    struct policy parts = {.services = NULL};
    char why[CONF_WHY];
    if (upkeep->gone && upkeep_reload(upkeep, settings, &parts, NULL, why) == 0)
        upkeep->gone = false;
    /* What was handed over must be in force, or a worker could still lead flows to who leaves. */
    if (anybody_leaves(upkeep) && builder_idle(upkeep->builder))
        begin_census(upkeep);
}
