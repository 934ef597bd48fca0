/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The round of the control thread, and what it begins with: the keys of the cookies, what is lent
 * to the workers, the first row of policy. What becomes of backends, upkeep_backends.c says. */
#include "dataplane/ops/upkeep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/log.h"
#include "dataplane/ops/upkeep_parts.h"

void upkeep_publish(struct upkeep *upkeep, enum part part, void *block)
{
    if (block == NULL || builder_publish(upkeep->builder, part, block) != 0) {
        builder_free(part, block);
        log_error("no_memory", "a policy part could not be published; the old one stays in force");
    }
}

/* ---- cookie keys ---- */

static void roll_keys(struct upkeep *upkeep)
{
    uint64_t now = unix_ms();
    if (keyring_due(upkeep->keyring, now))
        upkeep_publish(upkeep, PART_KEYS, keyring_keys(upkeep->keyring, now));
}

/* The file may have been given up because others know what is in it. */
static int draw_master(struct upkeep *upkeep)
{
    int changed = keyring_draw(upkeep->keyring, unix_ms());
    if (changed < 0)
        log_error("cookie_master", "the kernel has no randomness to give; the master in use stays "
                                   "in force");
    else if (changed)
        log_info("cookie_master",
                 "no master_file any more: a master was drawn, which other gateways and a restart "
                 "do not know; cookies of the one before are accepted for %d s more",
                 COOKIE_LIFE_MS / 1000);
    return changed < 0 ? changed : 0;
}

static int read_master(struct upkeep *upkeep, const char *path)
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

int upkeep_take_master(struct upkeep *upkeep, const char *path)
{
    return path != NULL ? read_master(upkeep, path) : draw_master(upkeep);
}

/* ---- life ---- */

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
        upkeep_take_messages(upkeep, &upkeep->workers[i], now);
    upkeep_refresh_neighbors(upkeep, now);
    upkeep_rebalance(upkeep);
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
