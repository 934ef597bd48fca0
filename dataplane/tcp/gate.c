/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Who is asked, in this order: what costs nothing and holds for everybody first. Nothing else is in
 * this file, so that tests may put a gate of their own in its place. */
#include "dataplane/tcp/gate.h"

#include "dataplane/tcp/gate_rules.h"
#include "dataplane/tcp/shard.h"

enum verdict gate_request(struct shard *shard, uint16_t service, const struct addr *client,
                          const struct gate_head *head, struct refusal *refusal)
{
    struct rules_found found;
    (void)client;
    enum verdict verdict = gate_rules_state(shard, service, head, &found, refusal);
    if (verdict != VERDICT_FORWARDED)
        return verdict;
    return gate_rules_admit(shard, &found, refusal);
}
