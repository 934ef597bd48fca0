/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Who is asked, in this order: what costs nothing and holds for everybody first. Nothing else is in
 * this file, so that tests may put a gate of their own in its place. */
#include "dataplane/tcp/gate.h"

#include "dataplane/tcp/gate_rules.h"
#include "dataplane/tcp/shard.h"

static enum verdict ask_backends(struct shard *shard, const struct gate_asker *asker,
                                 struct refusal *refusal)
{
    if (asker->drains || !balance_down(shard->policy.balance, asker->service))
        return VERDICT_FORWARDED;
    refusal->kind = REFUSAL_NO_BACKEND;
    refusal->retry_after_s = gate_down_retry(shard_random(shard));
    return VERDICT_BACKENDS_DOWN;
}

/* What the client may ask for in a minute. */
static enum verdict ask_clients(struct shard *shard, const struct gate_asker *asker,
                                struct refusal *refusal)
{
    const uint8_t listed = lists_find(shard->lists, asker->client, addr_is_v4(asker->client)).flags;
    uint32_t retry_after_s = 0;
    const enum verdict verdict =
        client_request(shard->clients, &shard->policy.limits->clients, asker->client, listed,
                       asker->key, shard->now_ms, &retry_after_s);
    if (verdict == VERDICT_FORWARDED)
        return verdict;
    refusal->kind = verdict == VERDICT_REQUEST_RATE ? REFUSAL_RATE : REFUSAL_BUSY;
    refusal->retry_after_s =
        rules_retry_after((uint64_t)retry_after_s * 1000, (uint32_t)shard_random(shard));
    return verdict;
}

enum verdict gate_request(struct shard *shard, const struct gate_asker *asker,
                          const struct gate_head *head, struct refusal *refusal)
{
    struct rules_found found;
    enum verdict verdict = gate_rules_state(shard, asker->service, head, &found, refusal);
    if (verdict == VERDICT_FORWARDED)
        verdict = ask_backends(shard, asker, refusal);
    if (verdict == VERDICT_FORWARDED)
        verdict = ask_clients(shard, asker, refusal);
    return verdict == VERDICT_FORWARDED ? gate_rules_admit(shard, &found, refusal) : verdict;
}
