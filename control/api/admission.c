/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Network threads share a rule's rate, so it is kept in one word: the time at which the next
 * request would be due if all had come at their distance (GCRA, ITU-T I.371). Each admission moves
 * it on by a compare-and-swap, and one that would come too early for the burst is over the rate. */
#include "control/api/admission.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <urcu/urcu-memb.h>

#include "common/log.h"
#include "common/rule_settings.h"
#include "control/api/reply.h"
#include "control/clock.h"
#include "control/race.h"

/* What is kept of a rule as long as there is one of that name. */
struct account {
    char name[64];
    int64_t begin;         /* clock_now; times are counted from here */
    _Atomic int64_t due;   /* 1/64 ns: up to four years */
    _Atomic uint64_t line; /* struct rule_line */
    _Atomic uint64_t passed, refused, over, observed;
    bool in_use; /* main */
};

enum { TICKS_PER_NS = 64 };

struct set {
    struct rules *rules;
    size_t count;
    struct account *account[]; /* by slot */
};

struct admission {
    struct set *_Atomic current; // main: w, network threads: ro
};

static struct account *find(const struct set *set, const char *name)
{
    for (size_t i = 0; set != NULL && i < set->count; i++)
        if (!strcmp(set->account[i]->name, name))
            return set->account[i];
    return NULL;
}

/* Frees a set, and the accounts that `other` does not have. */
static void discard(struct set *set, const struct set *other)
{
    if (!set)
        return;
    for (size_t i = 0; i < set->count; i++)
        set->account[i]->in_use = false;
    for (size_t i = 0; other && i < other->count; i++)
        other->account[i]->in_use = true;
    for (size_t i = 0; i < set->count; i++)
        if (!set->account[i]->in_use)
            free(set->account[i]);
    free(set->rules);
    free(set);
}

struct admission *admission_new(void)
{
    const struct conf_list none = {0};
    struct admission *admission = calloc(1, sizeof *admission);
    if (admission && admission_replace(admission, &none)) {
        free(admission);
        return NULL;
    }
    return admission;
}

void admission_free(struct admission *admission)
{
    if (!admission)
        return;
    discard(atomic_load(&admission->current), NULL);
    free(admission);
}

/* The accounts of a new set: those that rules of the same names have, or new ones. */
static int take_accounts(struct set *set, const struct conf_list *rules, const struct set *old)
{
    const struct rule_settings *rule = rules->items;
    for (; set->count < rules->count; set->count++) {
        const char *name = rule[set->count].name;
        struct account *account = find(old, name);
        if (!account) {
            account = calloc(1, sizeof *account);
            if (!account)
                return -ENOMEM;
            strncpy(account->name, name, sizeof account->name - 1); /* 63 bytes at most */
            account->begin = clock_now();
        }
        set->account[set->count] = account;
    }
    return 0;
}

/* The time between two admissions, rounded up: never above the rate. */
static int64_t distance(const struct rule *rule)
{
    return (NANOSECONDS_PER_S * TICKS_PER_NS + rule->per_second - 1) / rule->per_second;
}

/* No bucket is emptier than empty: one that was of another rate could stay so for long. */
static void fit(struct account *account, const struct rule *rule)
{
    int64_t now = (clock_now() - account->begin) * TICKS_PER_NS;
    int64_t most = now + (int64_t)rule->burst * distance(rule);
    int64_t due = atomic_load_explicit(&account->due, memory_order_relaxed);
    while (due > most && !atomic_compare_exchange_weak_explicit(
                             &account->due, &due, most, memory_order_relaxed, memory_order_relaxed))
        ;
}

/* Rules whose rate is another one than before. Nobody goes by the old ones any more. */
static void fit_changed(const struct set *set, const struct set *old)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct rule *rule = rules_at(set->rules, i), *before = NULL;
        for (size_t k = 0; k < old->count && before == NULL; k++)
            if (old->account[k] == set->account[i])
                before = rules_at(old->rules, k);
        if (before != NULL && rule->per_second != 0 &&
            (rule->per_second != before->per_second || rule->burst != before->burst))
            fit(set->account[i], rule);
    }
}

int admission_replace(struct admission *admission, const struct conf_list *rules)
{
    int error = 0;
    struct set *old = atomic_load(&admission->current);
    struct set *set = calloc(1, sizeof *set + rules->count * sizeof *set->account);
    if (!set)
        return -ENOMEM;
    set->rules = rule_settings_compile(rules, NULL, NULL, &error);
    if (!set->rules || take_accounts(set, rules, old)) {
        discard(set, old);
        return -ENOMEM;
    }
    atomic_store(&admission->current, set);
    if (old) {
        urcu_memb_synchronize_rcu();
        RACE_AFTER(admission);
        fit_changed(set, old);
        discard(old, set);
    }
    return 0;
}

void admission_report(const struct admission *admission)
{
    const struct set *set = atomic_load(&admission->current);
    for (size_t i = 0; i < set->count; i++) {
        struct account *a = set->account[i];
        log_info("rule",
                 "rule %s: %" PRIu64 " passed, %" PRIu64 " refused by its state, %" PRIu64
                 " over its rate; %" PRIu64 " it would have refused",
                 a->name, atomic_load(&a->passed), atomic_load(&a->refused), atomic_load(&a->over),
                 atomic_load(&a->observed));
    }
}

/* ---- asking ---- */

static void count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* Takes one admission; false when there is none yet. */
static bool take(struct account *account, const struct rule *rule, int64_t now)
{
    const int64_t each = distance(rule);
    int64_t at = (now - account->begin) * TICKS_PER_NS;
    int64_t due = atomic_load_explicit(&account->due, memory_order_relaxed), next;
    do {
        int64_t from = due > at ? due : at;
        if (from - at > (int64_t)(rule->burst - 1) * each)
            return false;
        next = from + each;
    } while (!atomic_compare_exchange_weak_explicit(&account->due, &due, next, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

/* Its place in the line of those over the rate, in milliseconds from now. */
static uint32_t join_line(struct account *account, const struct rule *rule, int64_t now)
{
    const uint64_t place_us = (1000000 + rule->per_second - 1) / rule->per_second;
    uint64_t end = atomic_load_explicit(&account->line, memory_order_relaxed);
    struct rule_line line;
    uint32_t wait;
    do {
        line.end_us = end;
        wait = rule_line_join(&line, place_us, (uint64_t)(now / NANOSECONDS_PER_MS));
    } while (!atomic_compare_exchange_weak_explicit(&account->line, &end, line.end_us,
                                                    memory_order_relaxed, memory_order_relaxed));
    return wait;
}

static int64_t since_2000(int64_t unix_ms)
{
    return (unix_ms - INT64_C(946684800000)) * 1000;
}

/* What a rule says of one more request. */
static bool judge(struct account *account, const struct rule *rule, int64_t unix_ms, int64_t now,
                  uint32_t random, struct admission_refusal *refusal)
{
    *refusal = (struct admission_refusal){.retry_after = REPLY_NO_RETRY};
    switch (rule_state_at(rule, unix_ms)) {
    case RULE_UPCOMING:
        refusal->problem = PROBLEM_NOT_OPEN;
        refusal->opens_at = since_2000(rule->opens_at);
        refusal->retry_after = (int)rules_retry_opening(rule, unix_ms, random);
        return false;
    case RULE_SOLD_OUT: refusal->problem = PROBLEM_SOLD_OUT; return false;
    case RULE_CLOSED: refusal->problem = PROBLEM_SALE_CLOSED; return false;
    default: break;
    }
    if (rule->per_second == 0 || take(account, rule, now))
        return true;
    refusal->problem = PROBLEM_BUSY;
    refusal->retry_after = (int)rules_retry_after(join_line(account, rule, now), random);
    return false;
}

static struct rules_request request_of(const struct http1_head *head)
{
    const struct http1_slice *host = http1_find(head, "Host", NULL);
    struct rules_request request = {.http = true, .method = head->method, .path = head->path};
    if (host)
        request.host = *host;
    return request;
}

static bool ask(const struct set *set, const struct rules_request *request, int64_t unix_ms,
                int64_t now, uint32_t random, struct admission_refusal *refusal)
{
    struct rules_found found = rules_find(set->rules, request, unix_ms);
    struct account *account;
    if (found.observed) {
        account = set->account[found.observed->slot];
        if (!judge(account, found.observed, unix_ms, now, random, refusal))
            count(&account->observed);
    }
    if (!found.rule)
        return true;
    account = set->account[found.rule->slot];
    bool passes = judge(account, found.rule, unix_ms, now, random, refusal);
    count(passes                             ? &account->passed
          : refusal->problem == PROBLEM_BUSY ? &account->over
                                             : &account->refused);
    return passes;
}

bool admission_ask(struct admission *admission, const struct http1_head *head, int64_t unix_ms,
                   int64_t now, uint32_t random, struct admission_refusal *refusal)
{
    const struct rules_request request = request_of(head);
    urcu_memb_read_lock();
    const struct set *set = atomic_load_explicit(&admission->current, memory_order_acquire);
    bool passes = ask(set, &request, unix_ms, now, random, refusal);
    RACE_BEFORE(admission);
    urcu_memb_read_unlock();
    return passes;
}
