/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Four entries at most, so each call walks them all. */
#include "dataplane/tcp/ranges.h"

bool ranges_add(struct ranges *ranges, struct range added)
{
    struct ranges joined = {.count = 0};
    uint8_t i = 0;
    while (i < ranges->count && ranges->at[i].to < added.from)
        joined.at[joined.count++] = ranges->at[i++];
    for (; i < ranges->count && ranges->at[i].from <= added.to; i++) { /* overlaps or touches */
        if (ranges->at[i].from < added.from)
            added.from = ranges->at[i].from;
        if (ranges->at[i].to > added.to)
            added.to = ranges->at[i].to;
    }
    if (joined.count + 1 + ranges->count - i > RANGES_MOST)
        return false;
    joined.at[joined.count++] = added;
    while (i < ranges->count)
        joined.at[joined.count++] = ranges->at[i++];
    *ranges = joined;
    return true;
}

struct range ranges_gap(const struct ranges *ranges, struct range wanted)
{
    for (uint8_t i = 0; i < ranges->count; i++) {
        const struct range *r = &ranges->at[i];
        if (r->to <= wanted.from)
            continue;
        if (r->from > wanted.from) {
            if (wanted.to > r->from)
                wanted.to = r->from;
            return wanted;
        }
        wanted.from = r->to < wanted.to ? r->to : wanted.to;
    }
    return wanted;
}
