/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The part of the gate that asks the operators' rules (common/rules). In two steps, for what a rule
 * admits per second belongs to requests that nothing else refuses: a client who is over its own
 * rate must not use up everybody's. Owner's thread. */
#ifndef DROPGATE_DATAPLANE_TCP_GATE_RULES_H
#define DROPGATE_DATAPLANE_TCP_GATE_RULES_H

#include "common/rules.h"
#include "dataplane/tcp/gate.h"

/** Finds the rule that holds for what is asked for, and refuses by its state: RULE_UPCOMING,
 * RULE_SOLD_OUT or RULE_CLOSED, with *refusal as in gate_request; else FORWARDED, and *found is for
 * gate_rules_admit. What a rule with mode = observe would have refused is counted beside. */
enum verdict gate_rules_state(struct shard *shard, uint16_t service, const struct gate_head *head,
                              struct rules_found *found, struct refusal *refusal);

/** Takes one of what the rule admits per second, as the last of all checks: FORWARDED, or
 * RULE_RATE. A request that is sent again is judged again. */
enum verdict gate_rules_admit(struct shard *shard, const struct rules_found *found,
                              struct refusal *refusal);

#endif
