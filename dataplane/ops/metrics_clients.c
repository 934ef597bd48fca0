/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The busiest are found by a look at every entry, when somebody asks: nothing is kept in order for
 * it. */
#include "dataplane/ops/metrics_clients.h"

#include <stdio.h>

enum { BUSIEST = 8, BANS_SHOWN = 200 };

/* ---- the busiest ---- */

struct ranking {
    uint32_t count;
    struct client_view view[BUSIEST];
    uint32_t by[BUSIEST]; /* falling */
};

static void rank(struct ranking *ranking, const struct client_view *view, uint32_t by)
{
    uint32_t at = ranking->count;
    if (by == 0 || (at == BUSIEST && by <= ranking->by[BUSIEST - 1]))
        return;
    if (at == BUSIEST)
        at--;
    else
        ranking->count++;
    for (; at > 0 && ranking->by[at - 1] < by; at--) {
        ranking->view[at] = ranking->view[at - 1];
        ranking->by[at] = ranking->by[at - 1];
    }
    ranking->view[at] = *view;
    ranking->by[at] = by;
}

/* DPDK 22.11 says neither arrays of objects nor objects three deep: each has a name of its own. */
static struct rte_tel_data *add_object(struct rte_tel_data *into, const char *name, uint32_t number)
{
    char text[32];
    struct rte_tel_data *one = rte_tel_data_alloc();
    if (one == NULL)
        return NULL;
    snprintf(text, sizeof text, "%s_%u", name, number);
    rte_tel_data_start_dict(one);
    rte_tel_data_add_dict_container(into, text, one, 0);
    return one;
}

static void add_ranking(struct rte_tel_data *into, const char *name, const struct ranking *ranking)
{
    for (uint32_t i = 0; i < ranking->count; i++) {
        const struct client_view *view = &ranking->view[i];
        char text[ADDR_TEXT];
        struct rte_tel_data *one = add_object(into, name, i + 1);
        if (one == NULL)
            return;
        rte_tel_data_add_dict_string(one, "client", prefix_print(&view->prefix, text));
        rte_tel_data_add_dict_u64(one, "connections", view->open);
        rte_tel_data_add_dict_u64(one, "refused", view->refused);
    }
}

static void add_busiest(const struct worker *first, const struct worker *behind,
                        struct rte_tel_data *data)
{
    struct ranking open = {0}, refused = {0};
    struct client_view view;
    for (const struct worker *w = first; w < behind; w++) {
        const uint32_t capacity = clients_count(w->shard->clients).capacity;
        for (uint32_t i = 0; i < capacity; i++) {
            if (!clients_view(w->shard->clients, i, &view))
                continue;
            rank(&open, &view, view.open);
            rank(&refused, &view, view.refused);
        }
    }
    add_ranking(data, "most_open", &open);
    add_ranking(data, "most_refused", &refused);
}

/* ---- sums ---- */

static void add_verdict(const struct worker *first, const struct worker *behind,
                        struct rte_tel_data *data, enum verdict verdict)
{
    uint64_t sum = 0;
    for (const struct worker *w = first; w < behind; w++)
        sum += __atomic_load_n(&w->shard->verdicts[verdict], __ATOMIC_RELAXED);
    rte_tel_data_add_dict_u64(data, verdict_name(verdict), sum);
}

static void add_counts(const struct worker *first, const struct worker *behind,
                       struct rte_tel_data *data)
{
    struct clients_counts sum = {0};
    for (const struct worker *w = first; w < behind; w++) {
        const struct clients_counts one = clients_count(w->shard->clients);
        sum.entries += one.entries;
        sum.capacity += one.capacity;
        sum.networks += one.networks;
        sum.bans += one.bans;
        sum.bans_capacity += one.bans_capacity;
        sum.connections += one.connections;
    }
    rte_tel_data_add_dict_u64(data, "entries", sum.entries);
    rte_tel_data_add_dict_u64(data, "entries_max", sum.capacity);
    rte_tel_data_add_dict_u64(data, "networks", sum.networks);
    rte_tel_data_add_dict_u64(data, "bans", sum.bans);
    rte_tel_data_add_dict_u64(data, "bans_max", sum.bans_capacity);
    rte_tel_data_add_dict_u64(data, "connections", sum.connections);
}

void metrics_clients(const struct worker *first, const struct worker *behind,
                     struct rte_tel_data *data)
{
    static const enum verdict shown[] = {
        VERDICT_REQUEST_RATE,
        VERDICT_REQUEST_RATE_OBSERVED,
        VERDICT_CONNECTION_RATE,
        VERDICT_CONNECTION_RATE_OBSERVED,
        VERDICT_CLIENT_CONNECTIONS,
        VERDICT_CLIENT_CONNECTIONS_OBSERVED,
        VERDICT_CONNECTIONS_FULL,
        VERDICT_CONNECTIONS_FULL_OBSERVED,
        VERDICT_GATEWAY_RATE,
        VERDICT_GATEWAY_RATE_OBSERVED,
        VERDICT_BANNED,
        VERDICT_BANNED_OBSERVED,
        VERDICT_STRIKE,
        VERDICT_BAN,
        VERDICT_BAN_CUT,
        VERDICT_BAN_TABLE_FULL,
        VERDICT_CLIENT_DISPLACED,
        VERDICT_CLIENT_TABLE_FULL,
    };
    rte_tel_data_start_dict(data);
    add_counts(first, behind, data);
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++)
        add_verdict(first, behind, data, shown[i]);
    add_busiest(first, behind, data);
}

/* ---- bans ---- */

static void add_ban(struct rte_tel_data *data, uint32_t number, const struct ban *ban,
                    uint64_t now_ms)
{
    static const char *const reasons[STRIKES] = {
        [STRIKE_MALFORMED] = "malformed", [STRIKE_REPLAY] = "replay",
        [STRIKE_SLOW] = "slow",           [STRIKE_OPTIMISTIC_ACK] = "optimistic_ack",
        [STRIKE_EXCESS] = "excess",
    };
    const struct prefix prefix = {ban->client, addr_is_v4(&ban->client) ? 128 : 64};
    char text[ADDR_TEXT];
    struct rte_tel_data *one = add_object(data, "ban", number);
    if (one == NULL)
        return;
    rte_tel_data_add_dict_string(one, "client", prefix_print(&prefix, text));
    rte_tel_data_add_dict_string(one, "reason",
                                 ban->reason < STRIKES ? reasons[ban->reason] : "unknown");
    rte_tel_data_add_dict_u64(one, "seconds", (ban->until_ms - now_ms + 999) / 1000);
}

void metrics_bans(const struct worker *first, const struct worker *behind,
                  struct rte_tel_data *data)
{
    uint32_t shown = 0;
    struct ban ban;
    rte_tel_data_start_dict(data);
    for (const struct worker *w = first; w < behind; w++) {
        const uint64_t now_ms = __atomic_load_n(&w->shard->now_ms, __ATOMIC_RELAXED);
        const uint32_t capacity = clients_count(w->shard->clients).bans_capacity;
        for (uint32_t i = 0; i < capacity && shown < BANS_SHOWN; i++)
            if (clients_ban(w->shard->clients, i, now_ms, &ban))
                add_ban(data, ++shown, &ban, now_ms);
    }
}
