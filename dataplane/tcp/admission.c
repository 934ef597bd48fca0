/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Whom the lists let in. SYNs, pings, and data without a flow are looked up, for they are answered;
 * flows once more when the lists have changed: with their next packet, or, when they are silent, by
 * a walk over the table that goes a little further at each tick. Denied is dropped without an
 * answer; a flow that is denied now ends with resets to both sides. */
#include "dataplane/tcp/shard.h"

/* A tick's share of the walk, in flows looked at; one that is cut costs as much as so many. */
enum { STEPS_PER_TICK = 128, STEPS_OF_A_CUT = 8 };

void admission_begin(struct shard *shard)
{
    shard->generation = lists_generation(shard->policy.lists);
    lists_hits_begin(shard->policy.lists, &shard->hits);
    shard->unchecked = flows_high(shard->flows);
}

/* Says whether the address may be served, counts what is found, and names it. */
static bool is_served(struct shard *shard, const struct addr *client, bool v4, uint8_t *flags)
{
    const struct listed listed = lists_find(shard->lists, client, v4);
    *flags = listed.flags;
    if (listed.set == 0)
        return true;
    lists_hit(shard->lists, listed.set, &shard->hits);
    if (listed.flags & LISTED_DENIED)
        return false;
    if (listed.flags & LISTED_OBSERVED)
        shard_count(shard, VERDICT_DENIED_OBSERVED);
    return true;
}

enum verdict admission_source(struct shard *shard, const struct addr *source, bool v4,
                              uint8_t *flags)
{
    return is_served(shard, source, v4, flags) ? VERDICT_FORWARDED : VERDICT_DENIED;
}

/* Returns whether the flow stays. One that is closed already has nobody left to be reset. */
static bool check_again(struct shard *shard, struct flow *flow)
{
    uint8_t flags;
    flow->admitted = shard->generation;
    if (is_served(shard, &flow->client, addr_is_v4(&flow->client), &flags))
        return true;
    if (flow_is_closed(flow)) {
        flow_end_closed(shard, flow);
        return false;
    }
    flow_reset_both(shard, flow);
    flow_end(shard, flow, true);
    shard_count(shard, VERDICT_DENIED_CUT);
    return false;
}

enum verdict admission_flow(struct shard *shard, struct flow *flow)
{
    return check_again(shard, flow) ? VERDICT_FORWARDED : VERDICT_DENIED;
}

uint32_t admission_tick(struct shard *shard)
{
    uint32_t steps = 0;
    while (shard->unchecked != 0 && steps < STEPS_PER_TICK) {
        struct flow *flow = flow_at(shard->flows, --shard->unchecked);
        steps++;
        if (flow->state != FLOW_FREE && flow->admitted != shard->generation &&
            !check_again(shard, flow))
            steps += STEPS_OF_A_CUT;
    }
    return steps;
}
