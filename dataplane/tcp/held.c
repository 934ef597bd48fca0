/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Entries of each size stand in one array; never used ones cost no memory. Clients stand in a
 * chained hash. For each size a client is also in the list of those that have as many unfinished
 * entries as it has: counts change by one, so the highest list that is not empty is followed by a
 * step at a time, and its first client's oldest entry is the victim. */
#include "dataplane/tcp/held.h"

#include <stdlib.h>
#include <string.h>

struct held_client {
    uint64_t key[2];
    uint32_t next;  /* in its bucket or the free list: 1 + index */
    uint32_t count; /* entries of any kind */
    struct unfinished {
        uint32_t count, oldest, newest; /* entries: 1 + index */
        uint32_t before, behind;        /* neighbours in rank: clients, 1 + index */
    } unfinished[HELD_SIZES];
};

/* The clients that have equally many unfinished entries, in the order in which they came to. */
struct rank {
    uint32_t first, last; /* 1 + index */
};

struct slab {
    uint8_t *entries;
    size_t stride;
    uint16_t bytes; /* that an entry holds */
    uint32_t first; /* index of its first entry among all */
    uint32_t capacity, fresh, used;
    uint32_t free; /* list through `newer`: 1 + index */
    uint32_t most; /* the highest rank with a client in it */
    struct rank *ranks;
};

struct held {
    struct slab slab[HELD_SIZES];
    uint32_t limit, orders;
    struct held_client *clients;
    uint32_t *buckets;
    uint32_t mask, free_client, fresh_clients, capacity;
    struct siphash_key key;
};

enum { ENTRIES_MOST = 1 << 24, BYTES_MOST = 65535, ALIGNMENT = 64 };

/* ---- life ---- */

static bool slab_init(struct slab *slab, uint32_t first, uint32_t capacity, uint32_t bytes,
                      uint32_t limit)
{
    slab->first = first;
    slab->capacity = capacity;
    slab->bytes = (uint16_t)bytes;
    slab->stride = (sizeof(struct held_entry) + bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    slab->entries = malloc(slab->stride * capacity + 1);
    slab->ranks = calloc((size_t)(limit < capacity ? limit : capacity) + 1, sizeof *slab->ranks);
    return slab->entries != NULL && slab->ranks != NULL;
}

static bool clients_init(struct held *held)
{
    uint32_t buckets = 1;
    while (buckets < held->capacity)
        buckets <<= 1;
    held->mask = buckets - 1;
    held->buckets = calloc(buckets, sizeof *held->buckets);
    held->clients = malloc(held->capacity * sizeof *held->clients);
    return held->buckets != NULL && held->clients != NULL;
}

struct held *held_new(const struct held_sizes *sizes, const struct siphash_key *key)
{
    if (sizes->small == 0 || sizes->small > ENTRIES_MOST || sizes->large > ENTRIES_MOST ||
        sizes->large_bytes > BYTES_MOST)
        return NULL;
    const uint32_t large =
        sizes->large_bytes > HELD_SMALL_BYTES ? sizes->large_bytes : HELD_SMALL_BYTES;
    struct held *held = calloc(1, sizeof *held);
    if (held == NULL)
        return NULL;
    held->key = *key;
    held->limit = sizes->per_client ? sizes->per_client : UINT32_MAX;
    held->capacity = sizes->small + sizes->large;
    if (!slab_init(&held->slab[HELD_SMALL], 0, sizes->small, HELD_SMALL_BYTES, held->limit) ||
        !slab_init(&held->slab[HELD_LARGE], sizes->small, sizes->large, large, held->limit) ||
        !clients_init(held)) {
        held_free(held);
        return NULL;
    }
    return held;
}

void held_free(struct held *held)
{
    if (held == NULL)
        return;
    for (int size = 0; size < HELD_SIZES; size++) {
        free(held->slab[size].entries);
        free(held->slab[size].ranks);
    }
    free(held->clients);
    free(held->buckets);
    free(held);
}

/* ---- clients ---- */

static void client_key(const struct addr *client, uint64_t key[2])
{
    key[0] = client->quads[0];
    key[1] = addr_is_v4(client) ? client->quads[1] : 0; /* of IPv6 the /64 */
}

static uint32_t *bucket_of(const struct held *held, const uint64_t key[2])
{
    return &held->buckets[siphash13(&held->key, key, 2) & held->mask];
}

/* 1 + index of the client, or 0. */
static uint32_t client_find(const struct held *held, const struct addr *client)
{
    uint64_t key[2];
    client_key(client, key);
    uint32_t at = *bucket_of(held, key);
    while (at && memcmp(held->clients[at - 1].key, key, sizeof key) != 0)
        at = held->clients[at - 1].next;
    return at;
}

/* There are as many clients as entries, so there is always one. */
static uint32_t client_add(struct held *held, const struct addr *client)
{
    uint32_t at = held->free_client;
    if (at)
        held->free_client = held->clients[at - 1].next;
    else
        at = ++held->fresh_clients;
    struct held_client *c = &held->clients[at - 1];
    memset(c, 0, sizeof *c);
    client_key(client, c->key);
    uint32_t *bucket = bucket_of(held, c->key);
    c->next = *bucket;
    *bucket = at;
    return at;
}

static void client_remove(struct held *held, uint32_t at)
{
    struct held_client *c = &held->clients[at - 1];
    uint32_t *link = bucket_of(held, c->key);
    while (*link != at)
        link = &held->clients[*link - 1].next;
    *link = c->next;
    c->next = held->free_client;
    held->free_client = at;
}

/* ---- ranks ---- */

static void rank_leave(struct held *held, enum held_size size, uint32_t at)
{
    struct unfinished *u = &held->clients[at - 1].unfinished[size];
    struct rank *rank = &held->slab[size].ranks[u->count];
    if (u->before)
        held->clients[u->before - 1].unfinished[size].behind = u->behind;
    else
        rank->first = u->behind;
    if (u->behind)
        held->clients[u->behind - 1].unfinished[size].before = u->before;
    else
        rank->last = u->before;
}

static void rank_enter(struct held *held, enum held_size size, uint32_t at)
{
    struct unfinished *u = &held->clients[at - 1].unfinished[size];
    struct rank *rank = &held->slab[size].ranks[u->count];
    u->before = rank->last;
    u->behind = 0;
    if (rank->last)
        held->clients[rank->last - 1].unfinished[size].behind = at;
    else
        rank->first = at;
    rank->last = at;
}

/* The client has one more, or one fewer, unfinished entries of that size. */
static void rank_move(struct held *held, enum held_size size, uint32_t at, int change)
{
    struct slab *slab = &held->slab[size];
    struct unfinished *u = &held->clients[at - 1].unfinished[size];
    if (u->count)
        rank_leave(held, size, at);
    u->count += (uint32_t)change;
    if (u->count)
        rank_enter(held, size, at);
    if (u->count > slab->most)
        slab->most = u->count;
    else if (slab->most && slab->ranks[slab->most].first == 0)
        slab->most--; /* the one that left is one step down */
}

/* ---- entries ---- */

struct held_entry *held_at(const struct held *held, uint32_t index)
{
    const struct slab *small = &held->slab[HELD_SMALL], *large = &held->slab[HELD_LARGE];
    const struct slab *slab = index < large->first ? small : large;
    return (struct held_entry *)(void *)(slab->entries + slab->stride * (index - slab->first));
}

static void age_append(struct held *held, uint32_t index)
{
    struct held_entry *e = held_at(held, index);
    struct unfinished *u = &held->clients[e->client].unfinished[e->size];
    e->order = held->orders++;
    e->older = u->newest;
    e->newer = 0;
    if (u->newest)
        held_at(held, u->newest - 1)->newer = index + 1;
    else
        u->oldest = index + 1;
    u->newest = index + 1;
    rank_move(held, (enum held_size)e->size, e->client + 1, 1);
}

static void age_remove(struct held *held, const struct held_entry *e)
{
    struct unfinished *u = &held->clients[e->client].unfinished[e->size];
    if (e->older)
        held_at(held, e->older - 1)->newer = e->newer;
    else
        u->oldest = e->newer;
    if (e->newer)
        held_at(held, e->newer - 1)->older = e->older;
    else
        u->newest = e->older;
    rank_move(held, (enum held_size)e->size, e->client + 1, -1);
}

static uint32_t slot_take(struct held *held, enum held_size size)
{
    struct slab *slab = &held->slab[size];
    uint32_t index;
    if (slab->free) {
        index = slab->free - 1;
        slab->free = held_at(held, index)->newer;
    } else if (slab->fresh < slab->capacity) {
        index = slab->first + slab->fresh++;
    } else {
        return HELD_NONE;
    }
    slab->used++;
    return index;
}

static void slot_give(struct held *held, uint32_t index)
{
    struct held_entry *e = held_at(held, index);
    struct slab *slab = &held->slab[e->size];
    e->newer = slab->free;
    slab->free = index + 1;
    slab->used--;
}

uint32_t held_take(struct held *held, enum held_size size, const struct addr *client, bool finished)
{
    uint32_t at = client_find(held, client);
    if (at && held->clients[at - 1].count >= held->limit)
        return HELD_NONE;
    const uint32_t index = slot_take(held, size);
    if (index == HELD_NONE)
        return HELD_NONE;
    if (at == 0)
        at = client_add(held, client);
    held->clients[at - 1].count++;
    struct held_entry *e = held_at(held, index);
    *e = (struct held_entry){.client = at - 1,
                             .size = (uint8_t)size,
                             .capacity = held->slab[size].bytes,
                             .finished = finished};
    if (!finished)
        age_append(held, index);
    return index;
}

uint32_t held_grow(struct held *held, uint32_t index)
{
    struct held_entry *old = held_at(held, index);
    if (old->size == HELD_LARGE)
        return HELD_NONE;
    const uint32_t grown = slot_take(held, HELD_LARGE);
    if (grown == HELD_NONE)
        return HELD_NONE;
    if (!old->finished)
        age_remove(held, old);
    struct held_entry *e = held_at(held, grown);
    memcpy(e, old, sizeof *e + ranges_end(&old->filled));
    e->size = HELD_LARGE;
    e->capacity = held->slab[HELD_LARGE].bytes;
    if (!e->finished)
        age_append(held, grown); /* it has made progress: its age begins anew */
    slot_give(held, index);
    return grown;
}

void held_finish(struct held *held, uint32_t index)
{
    struct held_entry *e = held_at(held, index);
    if (e->finished)
        return;
    age_remove(held, e);
    e->finished = true;
}

void held_drop(struct held *held, uint32_t index)
{
    if (index == HELD_NONE)
        return;
    held_finish(held, index);
    const uint32_t at = held_at(held, index)->client + 1;
    slot_give(held, index);
    if (--held->clients[at - 1].count == 0)
        client_remove(held, at);
}

uint32_t held_store(struct held_entry *entry, uint32_t offset, const void *bytes, uint32_t length)
{
    if (offset >= entry->capacity || length == 0)
        return 0;
    if (length > entry->capacity - offset)
        length = entry->capacity - offset;
    const struct range all = {(uint16_t)offset, (uint16_t)(offset + length)};
    struct ranges before = entry->filled;
    if (!ranges_add(&entry->filled, all))
        return 0;
    uint32_t copied = 0;
    for (struct range gap = ranges_gap(&before, all); gap.from < gap.to;
         gap = ranges_gap(&before, (struct range){gap.to, all.to})) {
        memcpy(entry->bytes + gap.from, (const uint8_t *)bytes + (gap.from - offset),
               (size_t)(gap.to - gap.from));
        copied += (uint32_t)(gap.to - gap.from);
    }
    return copied;
}

/* ---- whose turn it is ---- */

bool held_client_full(const struct held *held, const struct addr *client)
{
    const uint32_t at = client_find(held, client);
    return at && held->clients[at - 1].count >= held->limit;
}

/* The client's oldest unfinished entry of either size. */
static uint32_t oldest_of(const struct held *held, const struct held_client *client)
{
    uint32_t oldest = 0;
    for (int size = 0; size < HELD_SIZES; size++) {
        const uint32_t at = client->unfinished[size].oldest;
        if (at && (oldest == 0 ||
                   (int32_t)(held_at(held, at - 1)->order - held_at(held, oldest - 1)->order) < 0))
            oldest = at;
    }
    return oldest ? oldest - 1 : HELD_NONE;
}

uint32_t held_victim(const struct held *held, enum held_size size, const struct addr *client)
{
    const struct slab *slab = &held->slab[size];
    if (client != NULL && held_client_full(held, client))
        return oldest_of(held, &held->clients[client_find(held, client) - 1]);
    if (slab->most == 0)
        return HELD_NONE;
    const struct held_client *most = &held->clients[slab->ranks[slab->most].first - 1];
    return most->unfinished[size].oldest - 1;
}

uint32_t held_count_of(const struct held *held, enum held_size size)
{
    return __atomic_load_n(&held->slab[size].used, __ATOMIC_RELAXED);
}

uint32_t held_count(const struct held *held)
{
    return held_count_of(held, HELD_SMALL) + held_count_of(held, HELD_LARGE);
}

/* ---- for tests ---- */

/* Counts a client's unfinished entries of a size by its list, which must lead back as well. */
static bool list_holds(const struct held *held, const struct held_client *client, uint32_t index,
                       int size)
{
    const struct unfinished *u = &client->unfinished[size];
    uint32_t count = 0, last = 0;
    for (uint32_t at = u->oldest; at; last = at, at = held_at(held, at - 1)->newer, count++) {
        const struct held_entry *e = held_at(held, at - 1);
        if (e->older != last || e->finished || e->size != size || e->client != index ||
            count == u->count)
            return false;
    }
    return count == u->count && last == u->newest;
}

static bool clients_hold(const struct held *held, uint32_t *entries, uint32_t *ranked)
{
    for (uint32_t b = 0; b <= held->mask; b++)
        for (uint32_t at = held->buckets[b]; at; at = held->clients[at - 1].next) {
            const struct held_client *c = &held->clients[at - 1];
            *entries += c->count;
            if (c->count == 0 || c->count > held->limit)
                return false;
            for (int size = 0; size < HELD_SIZES; size++) {
                ranked[size] += c->unfinished[size].count != 0;
                if (!list_holds(held, c, at - 1, size))
                    return false;
            }
        }
    return true;
}

static bool ranks_hold(const struct held *held, int size, uint32_t ranked)
{
    const struct slab *slab = &held->slab[size];
    uint32_t most = 0, clients = 0;
    for (uint32_t r = 1; r <= slab->capacity && r <= held->limit; r++) {
        uint32_t last = 0;
        for (uint32_t at = slab->ranks[r].first; at; clients++) {
            const struct unfinished *u = &held->clients[at - 1].unfinished[size];
            if (u->count != r || u->before != last || clients == ranked)
                return false;
            last = at;
            at = u->behind;
        }
        if (last != slab->ranks[r].last)
            return false;
        most = last ? r : most;
    }
    return most == slab->most && clients == ranked;
}

bool held_consistent(const struct held *held)
{
    uint32_t entries = 0, ranked[HELD_SIZES] = {0, 0};
    if (!clients_hold(held, &entries, ranked) || entries != held_count(held))
        return false;
    for (int size = 0; size < HELD_SIZES; size++) {
        const struct slab *slab = &held->slab[size];
        uint32_t free_slots = slab->capacity - slab->fresh;
        for (uint32_t at = slab->free; at; at = held_at(held, at - 1)->newer)
            free_slots++;
        if (slab->used + free_slots != slab->capacity || !ranks_hold(held, size, ranked[size]))
            return false;
    }
    return true;
}
