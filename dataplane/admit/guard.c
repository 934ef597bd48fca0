/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Counts of SYNs over all workers, and the memory of those that were refused. */
#include "dataplane/admit/guard.h"

#include <errno.h>

#include "dataplane/tcp/pages.h"

static int make_counts(struct frequent *table, uint64_t sets, uint64_t now_ms)
{
    *table = (struct frequent){.mask = sets - 1, .second = now_ms / 1000};
    table->set = pages_new(frequent_size(table));
    return table->set == NULL ? -ENOMEM : 0;
}

int guard_init(struct guard *guard, const struct siphash_key *key, uint64_t now_ms)
{
    *guard = (struct guard){.key = *key};
    int error = make_counts(&guard->sources, GUARD_SOURCE_SETS, now_ms);
    if (error == 0)
        error = make_counts(&guard->networks, GUARD_NETWORK_SETS, now_ms);
    return error == 0 ? seen_init(&guard->seen, now_ms) : error;
}

void guard_end(struct guard *guard)
{
    pages_free(guard->sources.set, frequent_size(&guard->sources));
    pages_free(guard->networks.set, frequent_size(&guard->networks));
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
                guard->other[guard->others++] = &guards[k]->networks;
    }
}

void guard_begin(struct guard *guard, uint32_t source_rate, uint32_t network_rate, uint64_t now_ms)
{
    const uint64_t second = now_ms / 1000;
    frequent_begin(&guard->sources, second);
    frequent_begin(&guard->networks, second);
    guard->source_rate = source_rate;
    guard->network_rate = network_rate;
    guard->network_spare = guard->others == 0
                               ? network_rate /* alone: there is nothing to look at */
                               : network_rate / (GUARD_SPARE * (guard->others + 1));
    seen_tick(&guard->seen, now_ms);
}

/* All workers' SYNs of the network, ours counted already. */
static uint64_t sum_over_all(const struct guard *guard, uint64_t network, uint32_t ours)
{
    uint64_t sum = ours;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (uint32_t i = 0; i < guard->others; i++) {
        uint32_t theirs = frequent_read(guard->other[i], network, guard->networks.second);
        sum += theirs > guard->network_spare ? theirs : guard->network_spare;
    }
    return sum;
}

bool guard_network_of_all(struct guard *guard, uint64_t network, uint32_t ours)
{
    if (sum_over_all(guard, network, ours) <= guard->network_rate)
        return true;
    frequent_raise(&guard->networks, network, guard->network_rate + 1); /* no more looks, by all */
    return false;
}

bool guard_again(struct guard *guard, uint64_t syn, struct lease *budget)
{
    if (seen_before(&guard->seen, syn) && lease_take(budget, 1))
        return true;
    seen_note(&guard->seen, syn);
    return false;
}
