/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 */
#include "dataplane/ops/feed_guard.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { V4 = 96 };

/* clang-format off */
#define MAPPED(a, b) {.bytes = {[10] = 0xff, [11] = 0xff, [12] = a, [13] = b}}

static const struct prefix reserved[] = {
    {MAPPED(10, 0), V4 + 8},         /* RFC 1918 */
    {MAPPED(172, 16), V4 + 12},
    {MAPPED(192, 168), V4 + 16},
    {MAPPED(100, 64), V4 + 10},      /* RFC 6598: behind a carrier's NAT */
    {MAPPED(169, 254), V4 + 16},     /* RFC 3927: link-local */
    {MAPPED(127, 0), V4 + 8},        /* loopback */
    {{.bytes = {[15] = 1}}, 128},
    {{.bytes = {[0] = 0xfc}}, 7},    /* RFC 4193 */
    {{.bytes = {[0] = 0xfe, [1] = 0x80}}, 10},
};
/* clang-format on */

/* ---- in order ---- */

/* That of a set: IPv4 first, then by bytes. */
static int order(const struct addr *a, const struct addr *b)
{
    int v6 = !addr_is_v4(a) - !addr_is_v4(b);
    return v6 != 0 ? v6 : memcmp(a, b, sizeof *a);
}

/* Of prefixes in order, none within another: the first that begins behind `a`, or `count`. */
static size_t first_behind(const struct prefix *prefixes, size_t count, const struct addr *a)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (order(&prefixes[middle].base, a) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int by_base(const void *a, const void *b)
{
    const struct prefix *x = a, *y = b;
    int bases = order(&x->base, &y->base);
    return bases != 0 ? bases : x->length - y->length;
}

size_t feed_sort_ours(struct prefix *ours, size_t count)
{
    size_t kept = 0;
    if (count > 0)
        qsort(ours, count, sizeof *ours, by_base);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || !prefix_contains(&ours[kept - 1], &ours[i].base))
            ours[kept++] = ours[i];
    return kept;
}

/* With one that holds its first address, which can only be the last before it, or with one that
 * begins within it. */
static bool overlaps_ours(const struct prefix *prefix, const struct prefix *ours, size_t count)
{
    size_t next = first_behind(ours, count, &prefix->base);
    return (next > 0 && prefix_contains(&ours[next - 1], &prefix->base)) ||
           (next < count && prefix_contains(prefix, &ours[next].base));
}

/* ---- what is left out ---- */

static bool too_short(const struct prefix *prefix)
{
    return prefix->length < (addr_is_v4(&prefix->base) ? V4 + FEED_SHORTEST_V4 : FEED_SHORTEST_V6);
}

static bool overlap(const struct prefix *a, const struct prefix *b)
{
    return a->length <= b->length ? prefix_contains(a, &b->base) : prefix_contains(b, &a->base);
}

static bool overlaps_reserved(const struct prefix *prefix)
{
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        if (overlap(prefix, &reserved[i]))
            return true;
    return false;
}

static bool note(uint64_t *count, struct prefix *first, const struct prefix *prefix)
{
    if ((*count)++ == 0)
        *first = *prefix;
    return true;
}

static bool is_left_out(const struct prefix *prefix, const struct prefix *ours, size_t ours_count,
                        struct feed_left_out *out)
{
    if (too_short(prefix))
        return note(&out->too_short, &out->first_short, prefix);
    if (overlaps_ours(prefix, ours, ours_count))
        return note(&out->ours, &out->first_ours, prefix);
    if (overlaps_reserved(prefix))
        return note(&out->reserved, &out->first_reserved, prefix);
    return false;
}

size_t feed_leave_out(struct prefix *prefixes, size_t count, const struct prefix *ours,
                      size_t ours_count, struct feed_left_out *out)
{
    size_t left = 0;
    for (size_t i = 0; i < count; i++)
        if (!is_left_out(&prefixes[i], ours, ours_count, out))
            prefixes[left++] = prefixes[i];
    return left;
}

void feed_leave_out_of(struct feed *feed, const struct prefix *ours, size_t ours_count,
                       struct feed_left_out *out)
{
    size_t left = 0;
    feed->count = feed_leave_out(feed->prefix, feed->count, ours, ours_count, out);
    for (size_t i = 0; i < feed->lapsing_count; i++)
        if (!is_left_out(&feed->lapsing[i].prefix, ours, ours_count, out))
            feed->lapsing[left++] = feed->lapsing[i];
    feed->lapsing_count = left;
}

/* ---- the judgement ---- */

/* By more than `percent` of what it was. From nothing to something is no change to be afraid of:
 * the shares judge that. */
static bool changed_by_more(uint64_t before, uint64_t now, uint32_t percent)
{
    uint64_t change = now > before ? now - before : before - now;
    return before > 0 && percent > 0 && change * 100 > before * percent;
}

static double percent_of(uint64_t part, double whole)
{
    return 100 * (double)part / whole;
}

enum feed_judgement feed_judge(const struct feed_facts *facts, const struct feed_limits *limits,
                               char why[FEED_WHY])
{
    static const uint64_t v4_space = UINT64_C(1) << 32, v6_space = UINT64_C(1) << 61;
    why[0] = '\0';
    if (facts->unreadable * 100 > facts->entries + facts->unreadable) {
        snprintf(why, FEED_WHY, "%" PRIu64 " of %" PRIu64 " lines cannot be read, more than 1 %%",
                 facts->unreadable, facts->entries + facts->unreadable);
        return FEED_REFUSED;
    }
    if (facts->size_before >= 0 &&
        changed_by_more((uint64_t)facts->size_before, facts->size, limits->change)) {
        snprintf(why, FEED_WHY,
                 "%" PRIu64 " entries, and the last good one had %" PRId64
                 ": changed by more than %u %%",
                 facts->size, facts->size_before, limits->change);
        return FEED_HELD_BACK;
    }
    if (limits->share < 100 && (facts->v4_addresses > v4_space / 100 * limits->share ||
                                facts->v6_networks > v6_space / 100 * limits->share)) {
        snprintf(why, FEED_WHY,
                 "covers %.1f %% of IPv4 and %.1f %% of IPv6 (2000::/3), more than %u %%",
                 percent_of(facts->v4_addresses, (double)v4_space),
                 percent_of(facts->v6_networks, (double)v6_space), limits->share);
        return FEED_HELD_BACK;
    }
    if (facts->clients >= FEED_FEW_CLIENTS &&
        facts->clients_denied * 100 > facts->clients * limits->clients) {
        snprintf(why, FEED_WHY,
                 "would deny %" PRIu64 " of %" PRIu64
                 " clients that have open connections, more than %u %%",
                 facts->clients_denied, facts->clients, limits->clients);
        return FEED_HELD_BACK;
    }
    return FEED_GOOD;
}

/* ---- who would be denied ---- */

static bool holds(const struct feed_set *set, const struct addr *a)
{
    size_t next = first_behind(set->prefix, set->count, a);
    return next > 0 && prefix_contains(&set->prefix[next - 1], a);
}

uint64_t feed_set_holds(const struct feed_set *set, const struct addr *addresses, size_t count)
{
    uint64_t held = 0;
    for (size_t i = 0; i < count; i++)
        held += holds(set, &addresses[i]);
    return held;
}
