/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Life of a shard, its timers, and the few helpers that every step of the packet walk uses. */
#include "dataplane/tcp/shard.h"

#include <stdlib.h>

#include "dataplane/tcp/census.h"

enum { TIMERS_PER_TICK = 64, CUTS_PER_TICK = 64 };

struct shard *shard_new(const struct shard_sizes *sizes, const struct siphash_key *secret,
                        const struct shard_output *output, const struct mac mac[PORT_SIDES],
                        uint64_t now_ms)
{
    struct shard *shard = calloc(1, sizeof *shard);
    if (shard == NULL)
        return NULL;
    const uint64_t purpose[6] = {1, 2, 3, 4, 5, 6};
    struct siphash_key table_key = {siphash24(secret, &purpose[0], 1),
                                    siphash24(secret, &purpose[1], 1)};
    struct siphash_key held_key = {siphash24(secret, &purpose[2], 1),
                                   siphash24(secret, &purpose[3], 1)};
    struct siphash_key guard_key = {siphash24(secret, &purpose[4], 1),
                                    siphash24(secret, &purpose[5], 1)};
    struct held_sizes held_sizes = {sizes->held, sizes->held_large, sizes->held_bytes,
                                    sizes->held_per_client};
    shard->random_key = (struct siphash_key){secret->k1, secret->k0};
    shard->output = *output;
    shard->now_ms = now_ms;
    shard->mac[OUTSIDE] = mac[OUTSIDE];
    shard->mac[INSIDE] = mac[INSIDE];
    shard->flows = flows_new(sizes->flows, &table_key);
    shard->lingering = linger_new(sizes->flows);
    shard->tombstones = tombstones_new(sizes->tombstones);
    shard->held = held_new(&held_sizes, &held_key);
    shard->misses = calloc(1, sizeof *shard->misses);
    shard->farewells = calloc(1, sizeof *shard->farewells);
    shard->hellos = calloc(1, sizeof *shard->hellos);
    shard->openings = calloc(sizes->backends, sizeof *shard->openings);
    shard->watches = calloc(sizes->backends, sizeof *shard->watches);
    shard->watch_count = sizes->backends;
    int error = guard_init(&shard->guard, &guard_key, now_ms);
    const struct clients_sizes clients = {sizes->clients, sizes->bans, sizes->flows};
    const struct clients_shard its = {&shard->guard, &shard->connections,
                                      &shard->lease[LEASE_CONNECTIONS], shard->verdicts,
                                      &shard->bans};
    shard->clients = clients_new(&clients, &its);
    if (error == 0)
        error = rule_accounts_init(&shard->rules, sizes->rules);
    if (shard->flows != NULL)
        shard->wheel = wheel_new(flow_at(shard->flows, 0), sizeof(struct flow),
                                 offsetof(struct flow, timer), sizes->flows, now_ms);
    if (shard->wheel == NULL || shard->tombstones == NULL || shard->held == NULL ||
        shard->lingering == NULL || shard->misses == NULL || shard->farewells == NULL ||
        shard->hellos == NULL || shard->openings == NULL || shard->watches == NULL ||
        shard->clients == NULL || error != 0) {
        shard_free(shard);
        return NULL;
    }
    return shard;
}

void shard_free(struct shard *shard)
{
    if (shard == NULL)
        return;
    wheel_free(shard->wheel);
    flows_free(shard->flows);
    linger_free(shard->lingering);
    tombstones_free(shard->tombstones);
    held_free(shard->held);
    clients_free(shard->clients);
    guard_end(&shard->guard);
    rule_accounts_end(&shard->rules);
    free(shard->misses);
    free(shard->farewells);
    free(shard->hellos);
    free(shard->openings);
    free(shard->watches);
    free(shard->probes);
    free(shard);
}

void shard_steered(struct shard *shard, const struct steer *steer, uint32_t index)
{
    shard->steer = steer;
    shard->index = index;
}

void shard_begin(struct shard *shard, const struct policy *policy, uint64_t now_ms,
                 uint64_t unix_ms)
{
    shard->policy = *policy;
    shard->now_ms = now_ms;
    shard->unix_ms = unix_ms;
    shard->lists = lists_to_ask(policy->lists);
    if (lists_generation(policy->lists) != shard->generation)
        admission_begin(shard);
    guard_begin(&shard->guard, policy->limits->source_rate, policy->limits->network_rate, now_ms);
    for (int i = 0; i < LEASES; i++)
        lease_begin(&shard->lease[i]);
    quota_begin(&shard->connections);
    rule_accounts_begin(&shard->rules);
}

/* While somebody is banned: ends flows of clients that were, forgets bans that are over. */
static __attribute__((noinline, cold)) void watch_bans(struct shard *shard)
{
    uint32_t index;
    for (int i = 0; i < CUTS_PER_TICK && (index = clients_to_cut(shard->clients)) != CLIENT_NO_FLOW;
         i++) {
        struct flow *flow = flow_at(shard->flows, index);
        flow_reset_both(shard, flow);
        flow_end(shard, flow, true);
        shard_count(shard, VERDICT_BAN_CUT);
    }
    clients_tick(shard->clients, shard->now_ms);
}

/* A reload: numbers that nobody has will be others'. */
static void renumber(struct shard *shard)
{
    const struct services *services = shard->policy.services;
    shard->numbered = services->generation;
    for (uint32_t i = 0; i < shard->watch_count; i++)
        if (i >= services->backend_count || services->backend[i].presence == ABSENT) {
            shard->openings[i] = (struct backend_openings){0};
            shard->watches[i] = (struct watch){.used = 0};
        }
    if (shard->probes != NULL)
        probe_renumber(shard);
}

uint32_t shard_tick(struct shard *shard)
{
    uint32_t due[TIMERS_PER_TICK];
    uint32_t count = wheel_advance(shard->wheel, shard->now_ms, due, TIMERS_PER_TICK);
    for (uint32_t i = 0; i < count; i++) {
        struct flow *flow = flow_at(shard->flows, due[i]);
        if (flow->state == FLOW_FREE) /* an opening that was due before it has taken its place */
            continue;
        if (flow->state == FLOW_READING)
            reading_timeout(shard, flow);
        else if (flow->state == FLOW_OPENING)
            opening_timeout(shard, flow);
        else if (forward_evicted(shard, flow))
            continue;
        else if (flow->delivering)
            deliver_timeout(shard, flow);
        else if (flow->state > FLOW_CLOSED)
            refuse_timeout(shard, flow);
        else
            forward_timeout(shard, flow);
    }
    tombstones_expire(shard->tombstones, shard->now_ms, TIMERS_PER_TICK);
    if (shard->bans != 0)
        watch_bans(shard);
    if (shard->policy.services->generation != shard->numbered)
        renumber(shard);
    if (shard->probes != NULL && shard->now_ms >= shard->probes_due_ms)
        probe_tick(shard);
    if (shard->now_ms >= shard->watches_due_ms)
        watch_tick(shard);
    if (shard->unchecked != 0)
        count += admission_tick(shard);
    if (!census_is_back(shard))
        count += census_tick(shard);
    return count;
}

bool shard_addressed(const struct shard *shard, const struct frame *frame)
{
    return memcmp(frame->bytes, &shard->mac[frame->side], sizeof shard->mac[0]) == 0;
}

struct segment shard_answer(const struct shard *shard, const struct frame *frame,
                            const struct packet *packet)
{
    struct segment answer = {
        .from = shard->mac[frame->side],
        .source = packet->destination,
        .destination = packet->source,
        .source_port = packet->destination_port,
        .destination_port = packet->source_port,
        .options = NO_OPTIONS,
    };
    memcpy(&answer.to, frame->bytes + 6, sizeof answer.to);
    return answer;
}

void shard_replace(struct frame *frame, enum port_side to, const struct segment *segment)
{
    frame->length = build_segment(frame->bytes, frame->room, segment);
    frame->to = frame->length ? (uint8_t)to : PORT_NONE;
}

void shard_send(struct shard *shard, enum port_side to, const struct segment *segment)
{
    uint8_t bytes[SEGMENT_HEADERS + HELD_SMALL_BYTES];
    uint16_t length = build_segment(bytes, sizeof bytes, segment);
    if (length)
        shard->output.send(shard->output.context, to, bytes, length);
}

uint64_t shard_random(struct shard *shard)
{
    shard->random_count++;
    return siphash24(&shard->random_key, &shard->random_count, 1);
}
