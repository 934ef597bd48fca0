/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A chained hash of twice as many heads as bans, so that who is not banned costs one cache line. */
#include "dataplane/admit/bans.h"

#include <errno.h>

#include "dataplane/tcp/pages.h"

enum { LOOKED_AT_WHEN_FULL = 256 };

static size_t heads_size(const struct bans *bans)
{
    return ((size_t)bans->mask + 1) * sizeof *bans->heads;
}

int bans_init(struct bans *bans, uint32_t capacity)
{
    *bans = (struct bans){.capacity = capacity, .mask = 1};
    while (bans->mask < 2 * capacity - 1)
        bans->mask = bans->mask << 1 | 1;
    bans->heads = pages_new(heads_size(bans));
    bans->items = pages_new(capacity * sizeof *bans->items);
    return bans->heads == NULL || bans->items == NULL ? -ENOMEM : 0;
}

void bans_end(struct bans *bans)
{
    pages_free(bans->heads, heads_size(bans));
    pages_free(bans->items, bans->capacity * sizeof *bans->items);
}

static struct ban *find(const struct bans *bans, uint64_t source)
{
    for (uint32_t at = bans->heads[guard_place(source, bans->mask)]; at;
         at = bans->items[at - 1].next)
        if (bans->items[at - 1].source == source)
            return &bans->items[at - 1];
    return NULL;
}

const struct ban *bans_find(const struct bans *bans, uint64_t source, uint64_t now_ms)
{
    const struct ban *ban = find(bans, source);
    return ban != NULL && now_ms < ban->until_ms ? ban : NULL;
}

static void release(struct bans *bans, struct ban *ban)
{
    uint32_t index = (uint32_t)(ban - bans->items) + 1;
    uint32_t *at = &bans->heads[guard_place(ban->source, bans->mask)];
    while (*at != index)
        at = &bans->items[*at - 1].next;
    *at = ban->next;
    *ban = (struct ban){.next = bans->free};
    bans->free = index;
    __atomic_store_n(&bans->count, bans->count - 1, __ATOMIC_RELAXED);
}

/* Whether it may go: not before it is over, and if `remembered` not as long as it would double. */
static bool is_over(const struct ban *ban, bool remembered, uint64_t now_ms)
{
    return ban->source != 0 && now_ms >= ban->until_ms + (remembered ? ban->length_ms : 0);
}

/* Looks at the next entries, up to `most` of those that may go. */
static void look(struct bans *bans, uint32_t entries, uint32_t most, bool remembered,
                 uint64_t now_ms)
{
    for (uint32_t i = 0; i < entries && most > 0 && bans->count > 0; i++) {
        struct ban *ban = &bans->items[bans->hand];
        bans->hand = bans->hand + 1 < bans->fresh ? bans->hand + 1 : 0;
        if (!is_over(ban, remembered, now_ms))
            continue;
        release(bans, ban);
        most--;
    }
}

void bans_expire(struct bans *bans, uint32_t entries, uint64_t now_ms)
{
    look(bans, entries, entries, true, now_ms);
}

static struct ban *make(struct bans *bans, uint64_t source, uint64_t now_ms)
{
    if (bans->free == 0 && bans->fresh == bans->capacity)
        look(bans, LOOKED_AT_WHEN_FULL, 1, false, now_ms);
    uint32_t index = bans->free;
    if (index != 0)
        bans->free = bans->items[index - 1].next;
    else if (bans->fresh < bans->capacity)
        index = ++bans->fresh;
    else
        return NULL;
    struct ban *ban = &bans->items[index - 1];
    uint32_t *head = &bans->heads[guard_place(source, bans->mask)];
    *ban = (struct ban){.source = source, .next = *head};
    *head = index;
    __atomic_store_n(&bans->count, bans->count + 1, __ATOMIC_RELAXED);
    return ban;
}

uint32_t bans_add(struct bans *bans, const struct ban *wanted, uint32_t most_ms, uint64_t now_ms)
{
    struct ban *ban = find(bans, wanted->source);
    if (ban == NULL)
        ban = make(bans, wanted->source, now_ms);
    if (ban == NULL)
        return 0;
    uint64_t length = ban->length_ms == 0 ? wanted->length_ms : 2 * (uint64_t)ban->length_ms;
    ban->client = wanted->client;
    ban->reason = wanted->reason;
    ban->length_ms = (uint32_t)(length < most_ms ? length : most_ms);
    ban->until_ms = now_ms + ban->length_ms;
    return ban->length_ms;
}

bool bans_lift(struct bans *bans, uint64_t source)
{
    struct ban *ban = find(bans, source);
    if (ban == NULL)
        return false;
    release(bans, ban);
    return true;
}
