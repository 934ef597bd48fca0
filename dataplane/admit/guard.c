/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Counts of SYNs over all workers, and the memory of those that were refused. */
#include "dataplane/admit/guard.h"

#include <errno.h>

#include "dataplane/tcp/pages.h"

int guard_init(struct guard *guard, const struct siphash_key *key, uint64_t now_ms)
{
    *guard = (struct guard){.key = *key,
                            .sources = pages_new(sizeof *guard->sources),
                            .networks = pages_new(sizeof *guard->networks)};
    int error = seen_init(&guard->seen, now_ms);
    return guard->sources == NULL || guard->networks == NULL ? -ENOMEM : error;
}

void guard_end(struct guard *guard)
{
    pages_free(guard->sources, sizeof *guard->sources);
    pages_free(guard->networks, sizeof *guard->networks);
    seen_end(&guard->seen);
}

void guard_join(struct guard *const guards[], uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct guard *guard = guards[i];
        guard->key = guards[0]->key; /* so that all have a network in the same set */
        guard->others = 0;
        for (uint32_t k = 0; k < count; k++)
            if (k != i)
                guard->other[guard->others++] = guards[k]->networks;
    }
}

void guard_begin(struct guard *guard, uint32_t source_rate, uint32_t network_rate, uint64_t now_ms)
{
    guard->second = now_ms / 1000;
    guard->source_rate = source_rate;
    guard->network_rate = network_rate;
    seen_tick(&guard->seen, now_ms);
}

/* All workers' SYNs of the network, ours counted already. */
static uint64_t sum_over_all(const struct guard *guard, uint64_t network, uint32_t ours,
                             uint32_t spare)
{
    uint64_t sum = ours;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (uint32_t i = 0; i < guard->others; i++) {
        uint32_t theirs = frequent_read(guard->other[i], network, guard->second);
        sum += theirs > spare ? theirs : spare;
    }
    return sum;
}

bool guard_network(struct guard *guard, const struct addr *source, bool v4)
{
    const uint32_t limit = guard->network_rate;
    if (limit == 0)
        return true;
    const uint64_t network = guard_network_of(guard, source, v4);
    uint32_t ours = frequent_add(guard->networks, network, guard->second);
    const uint32_t spare = limit / (GUARD_SPARE * (guard->others + 1));
    if (ours <= spare || guard->others == 0 || ours > limit)
        return ours <= limit;
    if (sum_over_all(guard, network, ours, spare) <= limit)
        return true;
    frequent_raise(guard->networks, network, guard->second, limit + 1); /* no more looks, by all */
    return false;
}

bool guard_again(struct guard *guard, uint64_t syn, struct lease *budget)
{
    if (seen_before(&guard->seen, syn) && lease_take(budget, 1))
        return true;
    seen_note(&guard->seen, syn);
    return false;
}
