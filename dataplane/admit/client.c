/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Limits over the table of clients: a connection or a request is judged at the client and at the
 * networks above it, and at the gateway's limits; only what passes all of them is charged to any.
 */
#include "dataplane/admit/client.h"

#include <stdlib.h>

#include "dataplane/admit/client_table.h"
#include "dataplane/tcp/pages.h"

enum { BANS_PER_TICK = 4 };
#define NS_PER_MS     UINT64_C(1000000)
#define NS_PER_S      UINT64_C(1000000000)
#define NS_PER_MINUTE (60 * NS_PER_S)

/* A flow's neighbours among those of its client: 1 + index. */
struct flow_place {
    uint32_t older, newer;
};

struct clients {
    struct client_table table;
    struct bans bans;
    struct clients_shard shard;
    uint32_t flows;
    struct flow_place *flow;
    struct client_place cut; /* banned clients with flows, in their order[ORDER_ALL] */
};

struct clients *clients_new(const struct clients_sizes *sizes, const struct clients_shard *shard)
{
    struct clients *clients = calloc(1, sizeof *clients);
    if (clients == NULL)
        return NULL;
    clients->shard = *shard;
    clients->flows = sizes->flows;
    clients->flow = pages_new(sizes->flows * sizeof *clients->flow);
    int table = client_table_init(&clients->table, sizes->clients, shard->guard);
    int bans = bans_init(&clients->bans, sizes->bans);
    if (table != 0 || bans != 0 || clients->flow == NULL) {
        clients_free(clients);
        return NULL;
    }
    return clients;
}

void clients_free(struct clients *clients)
{
    if (clients == NULL)
        return;
    pages_free(clients->flow, clients->flows * sizeof *clients->flow);
    client_table_end(&clients->table);
    bans_end(&clients->bans);
    free(clients);
}

static void count(const struct clients *clients, enum verdict verdict)
{
    clients->shard.verdicts[verdict]++;
}

void clients_prefetch(const struct clients *clients, uint64_t source)
{
    prefetch(client_head(&clients->table, source));
}

void clients_prefetch_found(const struct clients *clients, uint64_t source)
{
    const uint32_t number = *client_head(&clients->table, source);
    if (number != 0)
        prefetch(client_at(&clients->table, number));
}

bool clients_know(const struct clients *clients, const struct addr *client)
{
    return client_is_known(&clients->table, client);
}

/* ---- limits ---- */

/* A token bucket: one token each so many nanoseconds, so many that may be ahead. */
struct pace {
    uint64_t interval, burst; /* interval 0: no limit */
};

static struct pace pace_of(uint64_t period, uint32_t rate, uint32_t burst, uint64_t factor)
{
    if (rate == 0)
        return (struct pace){0};
    const uint64_t interval = (period + rate * factor - 1) / (rate * factor); /* never too many */
    return (struct pace){interval, (burst ? burst : 1) * factor};
}

/* When a bucket that will be full at `*bucket` has a token. It is never emptier than empty: that
 * was of another limit. */
static uint64_t pace_next(const struct pace *pace, uint64_t *bucket, uint64_t now)
{
    const uint64_t most = now + pace->interval * pace->burst;
    const uint64_t ahead = pace->interval * (pace->burst - 1);
    if (*bucket > most)
        *bucket = most;
    return *bucket > ahead ? *bucket - ahead : 0;
}

static void pace_spend(const struct pace *pace, uint64_t *bucket, uint64_t now)
{
    const uint64_t most = now + pace->interval * pace->burst;
    const uint64_t full = (*bucket > now ? *bucket : now) + pace->interval;
    *bucket = full < most ? full : most;
}

/* By how much a limit is multiplied for an entry; 0: it has none. */
static uint32_t factor_of(const struct client_limits *limits, const struct client *entry,
                          uint8_t listed)
{
    static const uint8_t wide[] = {
        [CLIENT_V4] = 1, [CLIENT_64] = 1, [NETWORK_56] = 8, [NETWORK_48] = 32, [NETWORK_32] = 0};
    const uint32_t shared = listed & LISTED_SHARED ? limits->shared_factor : 1;
    return listed & LISTED_PROXY ? 0 : wide[entry->kind] * (shared ? shared : 1);
}

/* Which of the two buckets. */
enum bucket { BUCKET_REQUESTS, BUCKET_RATE };

static struct pace pace_at(const struct client_limits *limits, enum bucket bucket, uint32_t factor)
{
    if (factor == 0)
        return (struct pace){0};
    return bucket == BUCKET_REQUESTS
               ? pace_of(NS_PER_MINUTE, limits->requests, limits->requests_burst, factor)
               : pace_of(NS_PER_S, limits->rate, limits->rate_burst, factor);
}

static uint64_t *bucket_of(struct client *entry, enum bucket bucket)
{
    return bucket == BUCKET_REQUESTS ? &entry->requests : &entry->rate;
}

/* How long until a client and its networks all have a token, in nanoseconds; 0: they have. */
static uint64_t wait_for(const struct clients *clients, const struct client_limits *limits,
                         uint32_t number, enum bucket bucket, uint64_t now)
{
    const uint8_t listed = client_at(&clients->table, number)->listed;
    uint64_t wait = 0;
    for (uint32_t at = number; at; at = client_at(&clients->table, at)->parent) {
        struct client *entry = client_at(&clients->table, at);
        const struct pace pace = pace_at(limits, bucket, factor_of(limits, entry, listed));
        if (pace.interval == 0)
            continue;
        const uint64_t next = pace_next(&pace, bucket_of(entry, bucket), now);
        if (next > now + wait)
            wait = next - now;
    }
    return wait;
}

static void spend(struct clients *clients, const struct client_limits *limits, uint32_t number,
                  enum bucket bucket, uint64_t now)
{
    const uint8_t listed = client_at(&clients->table, number)->listed;
    for (uint32_t at = number; at; at = client_at(&clients->table, at)->parent) {
        struct client *entry = client_at(&clients->table, at);
        const struct pace pace = pace_at(limits, bucket, factor_of(limits, entry, listed));
        if (pace.interval != 0)
            pace_spend(&pace, bucket_of(entry, bucket), now);
    }
}

static bool has_room(const struct clients *clients, const struct client_limits *limits,
                     uint32_t number)
{
    const uint8_t listed = client_at(&clients->table, number)->listed;
    for (uint32_t at = number; limits->connections && at;
         at = client_at(&clients->table, at)->parent) {
        const struct client *entry = client_at(&clients->table, at);
        const uint64_t factor = factor_of(limits, entry, listed);
        if (factor != 0 && entry->open >= limits->connections * factor)
            return false;
    }
    return true;
}

/* ---- connections ---- */

/* A limit that is only observed refuses nothing. */
static bool refuses(const struct clients *clients, const struct client_limits *limits,
                    enum client_limit limit, enum verdict observed)
{
    if (!limits->observe[limit])
        return true;
    count(clients, observed);
    return false;
}

static enum verdict judge(struct clients *clients, const struct client_limits *limits,
                          uint32_t number, uint64_t now)
{
    if (!has_room(clients, limits, number) &&
        refuses(clients, limits, CLIENT_LIMIT_CONNECTIONS, VERDICT_CLIENT_CONNECTIONS_OBSERVED))
        return VERDICT_CLIENT_CONNECTIONS;
    if (wait_for(clients, limits, number, BUCKET_RATE, now) != 0 &&
        refuses(clients, limits, CLIENT_LIMIT_RATE, VERDICT_CONNECTION_RATE_OBSERVED))
        return VERDICT_CONNECTION_RATE;
    if (limits->all_connections != 0 && !quota_ask(clients->shard.quota) &&
        refuses(clients, limits, CLIENT_LIMIT_ALL, VERDICT_CONNECTIONS_FULL_OBSERVED))
        return VERDICT_CONNECTIONS_FULL;
    if (limits->all_rate != 0 && !lease_take(clients->shard.rate, 1) &&
        refuses(clients, limits, CLIENT_LIMIT_ALL_RATE, VERDICT_GATEWAY_RATE_OBSERVED))
        return VERDICT_GATEWAY_RATE;
    return VERDICT_FORWARDED;
}

static uint32_t take(struct clients *clients, const struct addr *client, uint8_t listed)
{
    const uint64_t before = clients->table.displaced;
    const uint32_t number = client_take(&clients->table, client);
    clients->shard.verdicts[VERDICT_CLIENT_DISPLACED] += clients->table.displaced - before;
    if (number != 0)
        client_at(&clients->table, number)->listed = listed;
    return number;
}

enum verdict client_connect(struct clients *clients, const struct client_limits *limits,
                            const struct addr *client, uint8_t listed, uint64_t now_ms,
                            uint32_t *account)
{
    *account = CLIENT_NOBODY;
    if (listed & LISTED_ALLOWED)
        return VERDICT_FORWARDED;
    const uint64_t now = now_ms * NS_PER_MS;
    const uint32_t number = take(clients, client, listed);
    if (number == 0)
        return VERDICT_CLIENT_TABLE_FULL;
    const enum verdict verdict = judge(clients, limits, number, now);
    if (verdict != VERDICT_FORWARDED) {
        client_more(&clients->table, number)->refusals++;
        return verdict;
    }
    spend(clients, limits, number, BUCKET_RATE, now);
    client_opened(&clients->table, number);
    quota_take(clients->shard.quota);
    *account = number;
    return VERDICT_FORWARDED;
}

void client_attach(struct clients *clients, uint32_t account, uint32_t flow)
{
    if (account == CLIENT_NOBODY)
        return;
    struct client_more *more = client_more(&clients->table, account);
    clients->flow[flow] = (struct flow_place){.older = more->flows};
    if (more->flows != 0)
        clients->flow[more->flows - 1].newer = flow + 1;
    more->flows = flow + 1;
}

static void detach(struct clients *clients, uint32_t account, uint32_t flow)
{
    const struct flow_place place = clients->flow[flow];
    if (place.older != 0)
        clients->flow[place.older - 1].newer = place.newer;
    if (place.newer != 0)
        clients->flow[place.newer - 1].older = place.older;
    else
        client_more(&clients->table, account)->flows = place.older;
}

/* ---- bans ---- */

/* A client with open connections stands in no list of idle ones, so its place there is free for
 * this one. */
static void cut_begin(struct clients *clients, uint32_t number)
{
    struct client *client = client_at(&clients->table, number);
    if (client->cutting || client_more(&clients->table, number)->flows == 0)
        return;
    client->cutting = true;
    client->order[ORDER_ALL] = (struct client_place){.older = clients->cut.newer};
    if (clients->cut.newer != 0)
        client_at(&clients->table, clients->cut.newer)->order[ORDER_ALL].newer = number;
    else
        clients->cut.older = number;
    clients->cut.newer = number;
}

/* Said where the walk has it at hand. */
static void say_bans(const struct clients *clients)
{
    *clients->shard.bans = clients->bans.count + (clients->cut.older != 0);
}

static void cut_end(struct clients *clients, uint32_t number)
{
    struct client *client = client_at(&clients->table, number);
    const struct client_place place = client->order[ORDER_ALL];
    client->cutting = false;
    if (place.older != 0)
        client_at(&clients->table, place.older)->order[ORDER_ALL].newer = place.newer;
    else
        clients->cut.older = place.newer;
    if (place.newer != 0)
        client_at(&clients->table, place.newer)->order[ORDER_ALL].older = place.older;
    else
        clients->cut.newer = place.older;
    say_bans(clients);
}

void client_disconnect(struct clients *clients, uint32_t account, uint32_t flow)
{
    if (account == CLIENT_NOBODY)
        return;
    if (flow != CLIENT_NO_FLOW)
        detach(clients, account, flow);
    if (client_at(&clients->table, account)->cutting &&
        client_more(&clients->table, account)->flows == 0)
        cut_end(clients, account);
    client_closed(&clients->table, account);
    quota_give(clients->shard.quota);
}

uint32_t clients_to_cut(const struct clients *clients)
{
    const uint32_t number = clients->cut.older;
    return number != 0 ? client_more(&clients->table, number)->flows - 1 : CLIENT_NO_FLOW;
}

static void ban(struct clients *clients, const struct client_limits *limits, uint32_t number,
                enum strike reason, uint64_t now_ms)
{
    const struct prefix prefix = client_prefix(client_at(&clients->table, number));
    const uint64_t source =
        guard_source_of(clients->shard.guard, &prefix.base, addr_is_v4(&prefix.base));
    const struct ban wanted = {.source = source,
                               .client = prefix.base,
                               .length_ms = limits->ban_ms,
                               .reason = (uint8_t)reason};
    if (bans_add(&clients->bans, &wanted, limits->ban_most_ms, now_ms) == 0) {
        count(clients, VERDICT_BAN_TABLE_FULL);
        return;
    }
    count(clients, VERDICT_BAN);
    if (!limits->observe[CLIENT_LIMIT_BANS])
        cut_begin(clients, number);
    say_bans(clients);
}

static void strike(struct clients *clients, const struct client_limits *limits, uint32_t number,
                   enum strike reason, uint64_t now_ms)
{
    struct client_more *more = client_more(&clients->table, number);
    const uint8_t listed = client_at(&clients->table, number)->listed;
    const uint32_t now = (uint32_t)now_ms, decay = limits->strike_decay_ms;
    if (listed & (LISTED_ALLOWED | LISTED_PROXY | LISTED_SHARED))
        return;
    const uint32_t forgiven = decay == 0 ? 0 : (now - more->strike_ms) / decay;
    more->strike_ms = forgiven < more->strikes ? more->strike_ms + forgiven * decay : now;
    more->strikes = (forgiven < more->strikes ? more->strikes - forgiven : 0) + 1;
    count(clients, VERDICT_STRIKE);
    if (limits->strikes == 0 || more->strikes < limits->strikes)
        return;
    more->strikes = 0;
    ban(clients, limits, number, reason, now_ms);
}

void client_strike(struct clients *clients, const struct client_limits *limits,
                   const struct addr *client, uint8_t listed, enum strike reason, uint64_t now_ms)
{
    const uint32_t number = listed & LISTED_ALLOWED ? 0 : take(clients, client, listed);
    if (number != 0)
        strike(clients, limits, number, reason, now_ms);
}

void client_strike_on(struct clients *clients, const struct client_limits *limits, uint32_t account,
                      enum strike reason, uint64_t now_ms)
{
    if (account != CLIENT_NOBODY)
        strike(clients, limits, account, reason, now_ms);
}

void clients_prefetch_ban(const struct clients *clients, uint64_t source)
{
    bans_prefetch(&clients->bans, source);
}

bool clients_is_banned(const struct clients *clients, uint64_t source, uint64_t now_ms)
{
    return bans_find(&clients->bans, source, now_ms) != NULL;
}

void clients_tick(struct clients *clients, uint64_t now_ms)
{
    bans_expire(&clients->bans, BANS_PER_TICK, now_ms);
    say_bans(clients);
}

/* ---- requests ---- */

static bool was_refused(const struct client_more *more, uint32_t key)
{
    for (int i = 0; key != 0 && i < CLIENT_REFUSED; i++)
        if (more->refused[i] == key)
            return true;
    return false;
}

static void remember(struct clients *clients, uint32_t number, uint32_t key)
{
    struct client *client = client_at(&clients->table, number);
    struct client_more *more = client_more(&clients->table, number);
    if (key == 0)
        return;
    more->refused[client->oldest_refused] = key;
    client->oldest_refused = (uint8_t)((client->oldest_refused + 1) % CLIENT_REFUSED);
}

static enum verdict request(struct clients *clients, const struct client_limits *limits,
                            uint32_t number, uint32_t key, uint64_t now_ms, uint32_t *retry_after_s)
{
    struct client_more *more = client_more(&clients->table, number);
    const uint64_t now = now_ms * NS_PER_MS;
    const uint64_t wait = wait_for(clients, limits, number, BUCKET_REQUESTS, now);
    const bool again = was_refused(more, key);
    *retry_after_s = wait == 0 ? 1 : (uint32_t)((wait + NS_PER_S - 1) / NS_PER_S);
    if (again)
        return VERDICT_REQUEST_RATE;
    if (wait == 0) {
        spend(clients, limits, number, BUCKET_REQUESTS, now);
        return VERDICT_FORWARDED;
    }
    if (!refuses(clients, limits, CLIENT_LIMIT_REQUESTS, VERDICT_REQUEST_RATE_OBSERVED))
        return VERDICT_FORWARDED;
    more->refusals++;
    remember(clients, number, key);
    return VERDICT_REQUEST_RATE;
}

enum verdict client_request(struct clients *clients, const struct client_limits *limits,
                            const struct addr *client, uint8_t listed, uint32_t key,
                            uint64_t now_ms, uint32_t *retry_after_s)
{
    if (listed & LISTED_ALLOWED)
        return VERDICT_FORWARDED;
    const uint32_t number = take(clients, client, listed);
    *retry_after_s = 1;
    if (number == 0)
        return VERDICT_CLIENT_TABLE_FULL;
    return request(clients, limits, number, key, now_ms, retry_after_s);
}

enum verdict client_request_on(struct clients *clients, const struct client_limits *limits,
                               uint32_t account, uint64_t now_ms, uint32_t *retry_after_s)
{
    if (account == CLIENT_NOBODY)
        return VERDICT_FORWARDED;
    return request(clients, limits, account, 0, now_ms, retry_after_s);
}

/* ---- what others may read ---- */

struct clients_counts clients_count(const struct clients *clients)
{
    const struct client_table *table = &clients->table;
    return (struct clients_counts){
        .entries = __atomic_load_n(&table->used, __ATOMIC_RELAXED),
        .networks = __atomic_load_n(&table->networks, __ATOMIC_RELAXED),
        .capacity = table->capacity,
        .bans = __atomic_load_n(&clients->bans.count, __ATOMIC_RELAXED),
        .bans_capacity = clients->bans.capacity,
        .connections = __atomic_load_n(&clients->shard.quota->open, __ATOMIC_RELAXED),
    };
}

bool clients_view(const struct clients *clients, uint32_t number, struct client_view *view)
{
    const struct client_table *table = &clients->table;
    if (number >= __atomic_load_n(&table->fresh, __ATOMIC_RELAXED))
        return false;
    const struct client *client = &table->items[number];
    struct client copy = {.prefix = __atomic_load_n(&client->prefix, __ATOMIC_RELAXED),
                          .kind = __atomic_load_n(&client->kind, __ATOMIC_RELAXED)};
    if (copy.kind != CLIENT_V4 && copy.kind != CLIENT_64)
        return false;
    view->prefix = client_prefix(&copy);
    view->open = __atomic_load_n(&client->open, __ATOMIC_RELAXED);
    view->refused = __atomic_load_n(&table->more[number].refusals, __ATOMIC_RELAXED);
    return true;
}

bool clients_ban(const struct clients *clients, uint32_t number, uint64_t now_ms, struct ban *ban)
{
    const struct bans *bans = &clients->bans;
    if (number >= __atomic_load_n(&bans->fresh, __ATOMIC_RELAXED))
        return false;
    const struct ban *from = &bans->items[number];
    *ban = (struct ban){.source = __atomic_load_n(&from->source, __ATOMIC_RELAXED),
                        .until_ms = __atomic_load_n(&from->until_ms, __ATOMIC_RELAXED),
                        .length_ms = __atomic_load_n(&from->length_ms, __ATOMIC_RELAXED),
                        .reason = __atomic_load_n(&from->reason, __ATOMIC_RELAXED)};
    for (int i = 0; i < 2; i++)
        ban->client.quads[i] = __atomic_load_n(&from->client.quads[i], __ATOMIC_RELAXED);
    return ban->source != 0 && now_ms < ban->until_ms;
}
