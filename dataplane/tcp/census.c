/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 */
#include "dataplane/tcp/census.h"

#include <stdlib.h>
#include <string.h>

#include "dataplane/tcp/shard.h"

enum { STEPS_PER_TICK = 64 };

struct census *census_new(uint32_t services, uint32_t backends)
{
    struct census *census =
        calloc(1, sizeof *census + ((size_t)services + backends) * sizeof census->count[0]);
    if (census == NULL)
        return NULL;
    census->services = services;
    census->backends = backends;
    census->of_service = census->count;
    census->of_backend = census->count + services;
    return census;
}

void census_begin(struct census *census, struct shard *shard)
{
    memset(census->count, 0,
           ((size_t)census->services + census->backends) * sizeof census->count[0]);
    census->begun = false;
    __atomic_store_n(&shard->census, census, __ATOMIC_RELEASE);
}

bool census_is_back(const struct shard *shard)
{
    return __atomic_load_n(&shard->census, __ATOMIC_ACQUIRE) == NULL;
}

static void count_flow(struct census *census, const struct flow *flow)
{
    if (flow->state == FLOW_FREE)
        return;
    if (flow->service < census->services)
        census->of_service[flow->service]++;
    if (flow->backend < census->backends) /* a refused flow has none */
        census->of_backend[flow->backend]++;
}

uint32_t census_tick(struct shard *shard)
{
    struct census *census = __atomic_load_n(&shard->census, __ATOMIC_ACQUIRE);
    uint32_t steps = 0;
    if (census == NULL)
        return 0;
    if (!census->begun) {
        census->begun = true;
        census->left = flows_high(shard->flows);
    }
    for (; census->left != 0 && steps < STEPS_PER_TICK; steps++)
        count_flow(census, flow_at(shard->flows, --census->left));
    if (census->left == 0)
        __atomic_store_n(&shard->census, NULL, __ATOMIC_RELEASE);
    return steps;
}
