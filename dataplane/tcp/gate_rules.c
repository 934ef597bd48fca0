/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A rule that observes goes the whole way of one that decides, rate and all; only its verdict is
 * counted instead of followed. */
#include "dataplane/tcp/gate_rules.h"

#include <assert.h>

#include "dataplane/tcp/shard.h"

static struct rule_account *account_of(struct shard *shard, const struct rule *rule)
{
    assert(rule->slot < shard->rules.count);
    return &shard->rules.account[rule->slot];
}

static enum verdict judge_state(struct shard *shard, const struct rule *rule,
                                struct refusal *refusal)
{
    switch (rule_state_at(rule, (int64_t)shard->unix_ms)) {
    case RULE_UPCOMING:
        refusal->kind = REFUSAL_NOT_OPEN;
        refusal->opens_at = rule->opens_at;
        refusal->retry_after_s =
            rules_retry_opening(rule, (int64_t)shard->unix_ms, (uint32_t)shard_random(shard));
        return VERDICT_RULE_UPCOMING;
    case RULE_SOLD_OUT: refusal->kind = REFUSAL_SOLD_OUT; return VERDICT_RULE_SOLD_OUT;
    case RULE_CLOSED: refusal->kind = REFUSAL_CLOSED; return VERDICT_RULE_CLOSED;
    default: return VERDICT_FORWARDED;
    }
}

static enum verdict judge_rate(struct shard *shard, const struct rule *rule,
                               struct refusal *refusal)
{
    struct rule_account *account = account_of(shard, rule);
    if (rule->per_second == 0)
        return VERDICT_FORWARDED;
    lease_begin(&account->lease);
    if (lease_take(&account->lease, 1))
        return VERDICT_FORWARDED;
    uint64_t place_us = UINT64_C(1000000) * shard->rules.workers / rule->per_second;
    uint32_t wait = rule_line_join(&account->line, place_us, shard->now_ms);
    refusal->kind = REFUSAL_BUSY;
    refusal->retry_after_s = rules_retry_after(wait, (uint32_t)shard_random(shard));
    return VERDICT_RULE_RATE;
}

static enum verdict observed(enum verdict verdict)
{
    switch (verdict) {
    case VERDICT_RULE_UPCOMING: return VERDICT_RULE_UPCOMING_OBSERVED;
    case VERDICT_RULE_SOLD_OUT: return VERDICT_RULE_SOLD_OUT_OBSERVED;
    case VERDICT_RULE_CLOSED: return VERDICT_RULE_CLOSED_OBSERVED;
    default: return VERDICT_RULE_RATE_OBSERVED;
    }
}

/* What another rule, or none, lets pass. */
static void note_observed(struct shard *shard, const struct rule *rule, enum verdict verdict)
{
    if (verdict == VERDICT_FORWARDED)
        return;
    account_of(shard, rule)->counts.observed++;
    shard_count(shard, observed(verdict));
}

enum verdict gate_rules_state(struct shard *shard, uint16_t service, const struct gate_head *head,
                              struct rules_found *found, struct refusal *refusal)
{
    const struct service *asked = &shard->policy.services->service[service];
    struct refusal unsaid;
    *found = (struct rules_found){0};
    if (shard->policy.rules == NULL)
        return VERDICT_FORWARDED;
    const struct rules_request request = {.service = asked->rule_number,
                                          .http = asked->protocol == SERVICE_HTTP,
                                          .method = head->method,
                                          .path = head->path,
                                          .host = head->host};
    *found = rules_find(shard->policy.rules, &request, (int64_t)shard->unix_ms);
    if (found->observed != NULL)
        note_observed(shard, found->observed, judge_state(shard, found->observed, &unsaid));
    if (found->rule == NULL)
        return VERDICT_FORWARDED;
    enum verdict verdict = judge_state(shard, found->rule, refusal);
    account_of(shard, found->rule)->counts.refused += verdict != VERDICT_FORWARDED;
    return verdict;
}

enum verdict gate_rules_admit(struct shard *shard, const struct rules_found *found,
                              struct refusal *refusal)
{
    struct refusal unsaid;
    if (found->observed != NULL &&
        rule_state_at(found->observed, (int64_t)shard->unix_ms) == RULE_OPEN)
        note_observed(shard, found->observed, judge_rate(shard, found->observed, &unsaid));
    if (found->rule == NULL)
        return VERDICT_FORWARDED;
    enum verdict verdict = judge_rate(shard, found->rule, refusal);
    account_of(shard, found->rule)->counts.over += verdict != VERDICT_FORWARDED;
    account_of(shard, found->rule)->counts.passed += verdict == VERDICT_FORWARDED;
    return verdict;
}
