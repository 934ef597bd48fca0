/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Who is asked, in this order: what costs nothing and holds for everybody first. Nothing else is in
 * this file, so that tests may put a gate of their own in its place. */
#include "dataplane/tcp/gate.h"

#include "dataplane/tcp/gate_rules.h"
#include "dataplane/tcp/shard.h"

/* When to come again to a service whose backends are all down, and how far that is spread. */
enum { DOWN_RETRY_S = 3, DOWN_SPREAD_S = 8 };

static enum verdict ask_backends(struct shard *shard, uint16_t service, struct refusal *refusal)
{
    if (!balance_down(shard->policy.balance, service))
        return VERDICT_FORWARDED;
    refusal->kind = REFUSAL_NO_BACKEND;
    refusal->retry_after_s = DOWN_RETRY_S + (uint32_t)(shard_random(shard) % DOWN_SPREAD_S);
    return VERDICT_BACKENDS_DOWN;
}

enum verdict gate_request(struct shard *shard, const struct gate_asker *asker,
                          const struct gate_head *head, struct refusal *refusal)
{
    struct rules_found found;
    enum verdict verdict = gate_rules_state(shard, asker->service, head, &found, refusal);
    if (verdict == VERDICT_FORWARDED)
        verdict = ask_backends(shard, asker->service, refusal);
    return verdict == VERDICT_FORWARDED ? gate_rules_admit(shard, &found, refusal) : verdict;
}
