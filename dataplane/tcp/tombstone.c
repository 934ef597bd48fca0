/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * One ring, oldest first, and a chained hash over it. Entries leave in the order in which they
 * came; one whose time is over but that stands behind a longer-lived one is merely not found any
 * more. */
#include "dataplane/tcp/tombstone.h"

#include <assert.h>
#include <stdlib.h>

#include "common/siphash.h"

static_assert(sizeof(struct tombstone) == 32, "two to a cache line");

enum { TOMBSTONES_MOST = 1 << 27, MS_PER_S = 1000 };

struct tombstones {
    struct tombstone *ring;
    uint32_t *buckets; /* 1 + index of the newest entry; 0 = none */
    uint32_t capacity;
    uint32_t shift; /* 64 - log2 of the number of buckets */
    uint32_t oldest, count;
};

struct tombstones *tombstones_new(uint32_t capacity)
{
    assert(capacity >= 1 && capacity <= TOMBSTONES_MOST);
    uint32_t bits = 1;
    while ((UINT64_C(1) << bits) < capacity)
        bits++;

    struct tombstones *table = calloc(1, sizeof *table);
    if (!table)
        return NULL;
    table->capacity = capacity;
    table->shift = 64 - bits;
    table->ring = calloc(capacity, sizeof *table->ring);
    table->buckets = calloc((size_t)1 << bits, sizeof *table->buckets);
    if (!table->ring || !table->buckets) {
        tombstones_free(table);
        return NULL;
    }
    return table;
}

void tombstones_free(struct tombstones *table)
{
    if (!table)
        return;
    free(table->ring);
    free(table->buckets);
    free(table);
}

/* A client may leave many entries with one tuple and ISNs of its choice; under the tuple's hash,
 * which it does not know, they do not gather in one chain. */
static uint32_t *bucket_of(const struct tombstones *table, uint64_t tuple, uint32_t client_isn)
{
    const struct siphash_key key = {tuple, 0};
    const uint64_t word = client_isn;
    return &table->buckets[siphash13(&key, &word, 1) >> table->shift];
}

static bool living(const struct tombstone *entry, uint64_t now_ms)
{
    return (int32_t)(entry->expires - (uint32_t)(now_ms / MS_PER_S)) > 0;
}

static void drop_oldest(struct tombstones *table)
{
    const struct tombstone *entry = &table->ring[table->oldest];
    uint32_t *link = bucket_of(table, entry->tuple, entry->client_isn);
    while (*link != table->oldest + 1)
        link = &table->ring[*link - 1].next;
    *link = 0; /* the oldest of all is the last of its chain */

    table->oldest = table->oldest + 1 == table->capacity ? 0 : table->oldest + 1;
    table->count--;
}

bool tombstones_add(struct tombstones *table, const struct tombstone *entry, uint64_t now_ms,
                    uint32_t life_ms)
{
    bool lost = false;
    if (table->count == table->capacity) {
        lost = living(&table->ring[table->oldest], now_ms);
        drop_oldest(table);
    }

    const uint64_t place = ((uint64_t)table->oldest + table->count++) % table->capacity;
    uint32_t *head = bucket_of(table, entry->tuple, entry->client_isn);
    struct tombstone *slot = &table->ring[place];
    *slot = *entry;
    slot->expires =
        (uint32_t)((now_ms + life_ms + MS_PER_S - 1) / MS_PER_S); /* not a moment too early */
    slot->next = *head;
    *head = (uint32_t)place + 1;
    return lost;
}

struct tombstone *tombstones_find(struct tombstones *table, uint64_t tuple, uint32_t client_isn,
                                  uint64_t now_ms)
{
    for (uint32_t at = *bucket_of(table, tuple, client_isn); at; at = table->ring[at - 1].next) {
        struct tombstone *entry = &table->ring[at - 1];
        if (entry->tuple == tuple && entry->client_isn == client_isn && living(entry, now_ms))
            return entry;
    }
    return NULL;
}

uint32_t tombstones_expire(struct tombstones *table, uint64_t now_ms, uint32_t most)
{
    uint32_t gone = 0;
    while (gone < most && table->count && !living(&table->ring[table->oldest], now_ms)) {
        drop_oldest(table);
        gone++;
    }
    return gone;
}

uint32_t tombstones_count(const struct tombstones *table)
{
    return table->count;
}
