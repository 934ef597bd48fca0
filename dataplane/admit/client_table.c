/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Nothing is searched for but the chain: who goes is always the head of a list. Networks are made
 * before their client and go with the last one, so a client's are always there. */
#include "dataplane/admit/client_table.h"

#include <errno.h>

#include "dataplane/tcp/pages.h"

static size_t heads_size(const struct client_table *table)
{
    return ((size_t)table->mask + 1) * sizeof *table->heads;
}

int client_table_init(struct client_table *table, uint32_t capacity, const struct guard *guard)
{
    *table = (struct client_table){.guard = guard, .capacity = capacity, .mask = 1};
    while (table->mask < capacity - 1)
        table->mask = table->mask << 1 | 1;
    table->heads = pages_new(heads_size(table));
    table->items = pages_new(capacity * sizeof *table->items);
    table->more = pages_new(capacity * sizeof *table->more);
    return table->heads == NULL || table->items == NULL || table->more == NULL ? -ENOMEM : 0;
}

void client_table_end(struct client_table *table)
{
    pages_free(table->heads, heads_size(table));
    pages_free(table->items, table->capacity * sizeof *table->items);
    pages_free(table->more, table->capacity * sizeof *table->more);
}

/* ---- keys ---- */

static uint64_t prefix_of(const struct addr *client, enum client_kind kind)
{
    static const uint8_t bits[] = {[NETWORK_56] = 8, [NETWORK_48] = 16, [NETWORK_32] = 32};
    if (kind == CLIENT_V4)
        return addr_v4(client);
    const uint64_t first = be64toh(client->quads[0]);
    return kind == CLIENT_64 ? first : first >> bits[kind] << bits[kind];
}

/* That of a client is the hash of its source, which the packet walk has already. */
static uint64_t hash_of(const struct client_table *table, uint64_t prefix, enum client_kind kind)
{
    const struct guard *guard = table->guard;
    if (kind == CLIENT_V4)
        return frequent_hash(&guard->key, (uint32_t)prefix ^ guard->key.k1);
    return frequent_hash(&guard->key,
                         htobe64(prefix) ^ (kind == CLIENT_64 ? 0 : guard->key.k1 * kind));
}

struct prefix client_prefix(const struct client *client)
{
    static const uint8_t lengths[] = {[CLIENT_V4] = 128,
                                      [CLIENT_64] = 64,
                                      [NETWORK_56] = 56,
                                      [NETWORK_48] = 48,
                                      [NETWORK_32] = 32};
    struct prefix prefix = {.length = client->kind <= NETWORK_32 ? lengths[client->kind] : 0};
    if (client->kind == CLIENT_V4)
        prefix.base = addr_from_v4((uint32_t)client->prefix);
    else
        prefix.base.quads[0] = htobe64(client->prefix);
    return prefix;
}

static uint32_t find(const struct client_table *table, uint32_t head, uint64_t prefix,
                     enum client_kind kind)
{
    for (uint32_t at = head; at; at = client_at(table, at)->next)
        if (client_at(table, at)->prefix == prefix && client_at(table, at)->kind == kind)
            return at;
    return 0;
}

/* ---- lists ---- */

/* An IPv6 client's /48 and /32 have one each. */
static uint32_t network_48(const struct client_table *table, const struct client *client)
{
    return client_at(table, client->parent)->parent;
}

static void append(struct client_table *table, struct client_place *list, uint32_t number,
                   enum client_order order)
{
    client_at(table, number)->order[order] = (struct client_place){.older = list->newer};
    if (list->newer != 0)
        client_at(table, list->newer)->order[order].newer = number;
    else
        list->older = number;
    list->newer = number;
}

static void take_out(struct client_table *table, struct client_place *list, uint32_t number,
                     enum client_order order)
{
    const struct client_place place = client_at(table, number)->order[order];
    if (place.older != 0)
        client_at(table, place.older)->order[order].newer = place.newer;
    else
        list->older = place.newer;
    if (place.newer != 0)
        client_at(table, place.newer)->order[order].older = place.older;
    else
        list->newer = place.older;
}

typedef void list_change(struct client_table *, struct client_place *, uint32_t, enum client_order);

/* Enters an idle client in all of its lists, or takes it out of them. */
static void for_its_lists(struct client_table *table, uint32_t number, list_change *change)
{
    const struct client *client = client_at(table, number);
    change(table, &table->idle, number, ORDER_ALL);
    if (client->kind != CLIENT_64)
        return;
    struct client *of_48 = client_at(table, network_48(table, client));
    change(table, &of_48->order[0], number, ORDER_48);
    change(table, &client_at(table, of_48->parent)->order[0], number, ORDER_32);
}

void client_used(struct client_table *table, uint32_t number)
{
    if (client_at(table, number)->open != 0 || table->idle.newer == number)
        return;
    for_its_lists(table, number, take_out);
    for_its_lists(table, number, append);
}

void client_opened(struct client_table *table, uint32_t number)
{
    if (client_at(table, number)->open == 0)
        for_its_lists(table, number, take_out);
    for (uint32_t at = number; at; at = client_at(table, at)->parent)
        client_at(table, at)->open++;
}

void client_closed(struct client_table *table, uint32_t number)
{
    for (uint32_t at = number; at; at = client_at(table, at)->parent)
        client_at(table, at)->open--;
    if (client_at(table, number)->open == 0)
        for_its_lists(table, number, append);
}

/* ---- room ---- */

static void note_used(struct client_table *table, uint32_t used, uint32_t networks)
{
    __atomic_store_n(&table->used, used, __ATOMIC_RELAXED);
    __atomic_store_n(&table->networks, networks, __ATOMIC_RELAXED);
}

static void release(struct client_table *table, uint32_t number)
{
    struct client *client = client_at(table, number);
    uint32_t *at = client_head(table, hash_of(table, client->prefix, client->kind));
    while (*at != number)
        at = &client_at(table, *at)->next;
    *at = client->next;
    note_used(table, table->used - 1, table->networks - (client->kind > CLIENT_64));
    *client = (struct client){.next = table->free};
    *client_more(table, number) = (struct client_more){0};
    table->free = number;
}

/* One client less below a network and those above it. */
static void leave(struct client_table *table, uint32_t network)
{
    while (network != 0) {
        const uint32_t above = client_at(table, network)->parent;
        if (--client_more(table, network)->clients == 0)
            release(table, network);
        network = above;
    }
}

static void displace(struct client_table *table, uint32_t number)
{
    const uint32_t network = client_at(table, number)->parent;
    for_its_lists(table, number, take_out);
    release(table, number);
    leave(table, network);
    table->displaced++;
}

/* Who goes for an entry below `network` (0: IPv4, or none of its networks is there yet). */
static uint32_t victim(const struct client_table *table, uint32_t network)
{
    static const uint32_t parts[] = {
        [NETWORK_48] = CLIENT_SHARE_OF_48, [NETWORK_32] = CLIENT_SHARE_OF_32};
    for (uint32_t at = network; at; at = client_at(table, at)->parent) {
        const struct client *above = client_at(table, at);
        if (above->kind != NETWORK_56 &&
            client_more(table, at)->clients > table->capacity / parts[above->kind])
            return above->order[0].older;
    }
    return table->idle.older;
}

static uint32_t make(struct client_table *table, uint32_t *head, uint64_t prefix,
                     enum client_kind kind, uint32_t parent)
{
    uint32_t number;
    if (table->free == 0 && table->fresh == table->capacity &&
        (number = victim(table, parent)) != 0)
        displace(table, number);
    number = table->free;
    if (number != 0)
        table->free = client_at(table, number)->next;
    else if (table->fresh < table->capacity)
        __atomic_store_n(&table->fresh, number = table->fresh + 1, __ATOMIC_RELAXED);
    else
        return 0;
    *client_at(table, number) =
        (struct client){.prefix = prefix, .kind = (uint8_t)kind, .parent = parent, .next = *head};
    *head = number;
    note_used(table, table->used + 1, table->networks + (kind > CLIENT_64));
    return number;
}

/* The networks above an IPv6 client, each with one client more: so none of them goes for another.
 * Returns the /56, or 0. */
static uint32_t enter_networks(struct client_table *table, const struct addr *client)
{
    uint32_t above = 0;
    for (enum client_kind kind = NETWORK_32; kind >= NETWORK_56; kind--) {
        const uint64_t prefix = prefix_of(client, kind);
        uint32_t *head = client_head(table, hash_of(table, prefix, kind));
        uint32_t network = find(table, *head, prefix, kind);
        if (network == 0)
            network = make(table, head, prefix, kind, above);
        if (network == 0) {
            leave(table, above);
            return 0;
        }
        client_more(table, network)->clients++;
        above = network;
    }
    return above;
}

bool client_is_known(const struct client_table *table, const struct addr *client)
{
    const enum client_kind kind = addr_is_v4(client) ? CLIENT_V4 : CLIENT_64;
    const uint64_t prefix = prefix_of(client, kind);
    return find(table, *client_head(table, hash_of(table, prefix, kind)), prefix, kind) != 0;
}

uint32_t client_take(struct client_table *table, const struct addr *client)
{
    const enum client_kind kind = addr_is_v4(client) ? CLIENT_V4 : CLIENT_64;
    const uint64_t prefix = prefix_of(client, kind);
    uint32_t *head = client_head(table, hash_of(table, prefix, kind));
    uint32_t number = find(table, *head, prefix, kind), network = 0;
    if (number != 0) {
        client_used(table, number);
        return number;
    }
    if (kind == CLIENT_64 && (network = enter_networks(table, client)) == 0)
        return 0;
    number = make(table, head, prefix, kind, network);
    if (number == 0)
        leave(table, network);
    else
        for_its_lists(table, number, append);
    return number;
}
