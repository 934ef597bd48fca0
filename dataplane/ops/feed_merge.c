/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Entries in the order of their first address, the wider first, walked with a stack of those that
 * are open: prefixes are either apart or within each other, so the innermost decides. What they
 * leave are ranges, which are cut into prefixes again. IPv4 is sorted as 64-bit numbers by radix,
 * for lists are mostly that; the same for IPv6 by qsort. */
#include <errno.h>
#include <stdlib.h>

#include "dataplane/ops/feed_reader.h"

/* Sorts as it should: base, then length, then whether it is an exception (the last of equals wins,
 * and an exception shall). */
struct item {
    feed_number first;
    uint8_t length;
    bool except;
};

enum { V4_BITS = 96, RADIX = 11, PASSES = 4, DEPTH = 130 };

/* base 32, length 6, exception 1: 39 of the 44 bits that are sorted by. */
static uint64_t v4_key(const struct prefix *prefix, bool except)
{
    return (uint64_t)be32toh(addr_v4(&prefix->base)) << 7 |
           (uint64_t)(prefix->length - V4_BITS) << 1 | except;
}

static struct item v4_item(uint64_t key)
{
    struct addr a = addr_from_v4(htobe32((uint32_t)(key >> 7)));
    return (struct item){feed_number_of(&a), (uint8_t)(V4_BITS + (key >> 1 & 63)), key & 1};
}

static void sort_keys(uint64_t *keys, uint64_t *other, size_t count)
{
    for (unsigned pass = 0; pass < PASSES; pass++) {
        size_t at[1 << RADIX] = {0}, sum = 0;
        unsigned shift = pass * RADIX;
        for (size_t i = 0; i < count; i++)
            at[keys[i] >> shift & ((1 << RADIX) - 1)]++;
        for (size_t d = 0; d < 1 << RADIX; d++) {
            size_t these = at[d];
            at[d] = sum;
            sum += these;
        }
        for (size_t i = 0; i < count; i++)
            other[at[keys[i] >> shift & ((1 << RADIX) - 1)]++] = keys[i];
        uint64_t *sorted = other;
        other = keys;
        keys = sorted;
    }
}

static int by_first(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    if (x->length != y->length)
        return x->length < y->length ? -1 : 1;
    return x->except - y->except;
}

/* ---- what is left ---- */

struct walk {
    struct feed_set *out;
    size_t room;
    bool v4, pending, failed;
    bool over;            /* decided up to the last address of all: the cursor has begun anew */
    feed_number from, to; /* the range that is not written yet */
    struct open {
        feed_number last;
        bool except;
    } open[DEPTH];
    unsigned depth;
    feed_number cursor; /* up to here all is decided */
};

static void put_prefix(struct walk *walk, feed_number first, uint8_t length)
{
    struct feed_set *out = walk->out;
    struct prefix prefix = {feed_addr_of(first), length};
    if (!walk->v4 && addr_is_v4(&prefix.base)) /* what is cut of ::/0: no packet has these */
        return;
    if (out->count == walk->room) {
        size_t room = walk->room ? 2 * walk->room : 256;
        struct prefix *grown = reallocarray(out->prefix, room, sizeof *grown);
        walk->failed |= grown == NULL;
        if (grown == NULL)
            return;
        out->prefix = grown;
        walk->room = room;
    }
    out->prefix[out->count++] = prefix;
    if (walk->v4) {
        out->v4_addresses += UINT64_C(1) << (128 - length);
        return;
    }
    uint64_t networks = length == 0 ? UINT64_MAX : UINT64_C(1) << (length < 64 ? 64 - length : 0);
    out->v6_networks =
        out->v6_networks + networks < networks ? UINT64_MAX : out->v6_networks + networks;
}

static void put_pending(struct walk *walk)
{
    feed_number at = walk->from, behind;
    if (!walk->pending)
        return;
    walk->pending = false;
    do {
        uint8_t length = feed_cut(at, walk->to, &behind);
        put_prefix(walk, at, length);
        at = behind;
    } while (at != 0 && at <= walk->to && !walk->failed);
}

/* From the cursor to `last` the innermost decides; a range that goes on grows. */
static void decide(struct walk *walk, feed_number last)
{
    bool in = !walk->open[walk->depth - 1].except;
    if (in && walk->pending && walk->to + 1 == walk->cursor) {
        walk->to = last;
    } else if (in) {
        put_pending(walk);
        walk->pending = true;
        walk->from = walk->cursor;
        walk->to = last;
    }
}

static void close_before(struct walk *walk, feed_number first, bool all)
{
    while (walk->depth > 0 && (all || walk->open[walk->depth - 1].last < first)) {
        feed_number last = walk->open[walk->depth - 1].last;
        if (walk->cursor <= last && !walk->over)
            decide(walk, last);
        walk->over = last == ~(feed_number)0;
        walk->depth--;
        walk->cursor = last + 1;
    }
}

static void take(struct walk *walk, const struct item *item)
{
    feed_number span =
        item->length == 0 ? ~(feed_number)0 : (((feed_number)1 << (128 - item->length)) - 1);
    feed_number last = item->first + span;
    close_before(walk, item->first, false);
    if (walk->depth > 0 && walk->open[walk->depth - 1].last == last &&
        walk->cursor == item->first) { /* the same once more */
        walk->open[walk->depth - 1].except = item->except;
        return;
    }
    if (walk->depth > 0 && walk->cursor < item->first)
        decide(walk, item->first - 1);
    walk->cursor = item->first;
    walk->open[walk->depth].last = last;
    walk->open[walk->depth++].except = item->except;
}

/* ---- both families ---- */

struct entries {
    uint64_t *v4;
    struct item *v6;
    size_t v4_count, v6_count;
};

static void enter(struct entries *entries, const struct prefix *prefix, bool except)
{
    if (addr_is_v4(&prefix->base))
        entries->v4[entries->v4_count++] = v4_key(prefix, except);
    else
        entries->v6[entries->v6_count++] =
            (struct item){feed_number_of(&prefix->base), prefix->length, except};
}

static void enter_all(struct entries *entries, const struct feed *feed, int64_t now_ms,
                      struct feed_set *out)
{
    for (size_t i = 0; i < feed->count; i++)
        enter(entries, &feed->prefix[i], false);
    for (size_t i = 0; i < feed->except_count; i++)
        enter(entries, &feed->except[i], true);
    for (size_t i = 0; i < feed->lapsing_count; i++) {
        const struct feed_lapsing *entry = &feed->lapsing[i];
        if (entry->until_ms <= now_ms) {
            out->lapsed++;
            continue;
        }
        enter(entries, &entry->prefix, false);
        if (entry->until_ms < out->until_ms)
            out->until_ms = entry->until_ms;
    }
}

static void walk_all(struct entries *entries, struct feed_set *out, bool *failed)
{
    struct walk walk = {.out = out, .v4 = true};
    sort_keys(entries->v4, entries->v4 + entries->v4_count, entries->v4_count);
    for (size_t i = 0; i < entries->v4_count && !walk.failed; i++) {
        struct item item = v4_item(entries->v4[i]);
        take(&walk, &item);
    }
    close_before(&walk, 0, true);
    put_pending(&walk);
    walk.v4 = false;
    walk.cursor = 0;
    qsort(entries->v6, entries->v6_count, sizeof *entries->v6, by_first);
    for (size_t i = 0; i < entries->v6_count && !walk.failed; i++)
        take(&walk, &entries->v6[i]);
    close_before(&walk, 0, true);
    put_pending(&walk);
    *failed = walk.failed;
}

static void count_families(const struct feed *feed, size_t *v4, size_t *all)
{
    *all = feed->count + feed->except_count + feed->lapsing_count;
    *v4 = 0;
    for (size_t i = 0; i < feed->count; i++)
        *v4 += addr_is_v4(&feed->prefix[i].base);
    for (size_t i = 0; i < feed->except_count; i++)
        *v4 += addr_is_v4(&feed->except[i].base);
    for (size_t i = 0; i < feed->lapsing_count; i++)
        *v4 += addr_is_v4(&feed->lapsing[i].prefix.base);
}

int feed_merge(const struct feed *feed, int64_t now_ms, struct feed_set *out)
{
    size_t v4, all;
    bool failed = true;
    *out = (struct feed_set){.until_ms = INT64_MAX};
    count_families(feed, &v4, &all);
    struct entries entries = {calloc(2 * v4 + 1, sizeof *entries.v4),
                              calloc(all - v4 + 1, sizeof *entries.v6), 0, 0};
    if (entries.v4 != NULL && entries.v6 != NULL) {
        enter_all(&entries, feed, now_ms, out);
        walk_all(&entries, out, &failed);
    }
    free(entries.v4);
    free(entries.v6);
    if (!failed)
        return 0;
    free(out->prefix);
    *out = (struct feed_set){.until_ms = INT64_MAX};
    return -ENOMEM;
}
