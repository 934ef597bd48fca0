/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Rates of rules for several workers, and slots that outlive reloads. */
#include "dataplane/admit/rule_slots.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/random.h"

enum { WORKERS = 4, MOST = 8, ROUND_MS = 5 };

struct rig {
    struct rule_slots slots;
    struct rule_accounts worker[WORKERS];
    struct rules *rules;
    uint64_t now_ms;
};

static void open_rig(struct rig *r, uint32_t rules)
{
    *r = (struct rig){.now_ms = 1000};
    assert_int_equal(rule_slots_init(&r->slots, rules, WORKERS), 0);
    for (int i = 0; i < WORKERS; i++) {
        assert_int_equal(rule_accounts_init(&r->worker[i], rule_slots_for(rules)), 0);
        assert_int_equal(rule_slots_add(&r->slots, &r->worker[i]), 0);
    }
}

static void close_rig(struct rig *r)
{
    for (int i = 0; i < WORKERS; i++)
        rule_accounts_end(&r->worker[i]);
    rule_slots_end(&r->slots);
    free(r->rules);
}

struct wanted {
    const char *name;
    uint32_t per_second, burst;
};

/* A reload with these rules, as the control thread does it; workers have those of before, too.
 * Returns 0 or -ENOSPC. */
static int hand_over(struct rig *r, const struct wanted *wanted, size_t count)
{
    struct rule_source sources[MOST] = {0};
    int slot = 0;
    for (size_t i = 0; i < count && slot >= 0; i++) {
        slot = rule_slots_find(&r->slots, wanted[i].name);
        sources[i].rule = (struct rule){.name = wanted[i].name,
                                        .state = RULE_OPEN,
                                        .per_second = wanted[i].per_second,
                                        .burst = wanted[i].burst,
                                        .slot = (uint32_t)slot};
    }
    if (slot >= 0) {
        free(r->rules);
        r->rules = rules_new(sources, count);
    }
    rule_slots_hold(&r->slots, r->rules);
    return slot < 0 ? slot : 0;
}

/* The same, until no worker has the rules of before. */
static int reload(struct rig *r, const struct wanted *wanted, size_t count)
{
    int error = hand_over(r, wanted, count);
    rule_slots_let_go(&r->slots);
    return error;
}

/* The control thread's round, and each worker's burst. */
static void rounds(struct rig *r, int count)
{
    while (count-- > 0) {
        r->now_ms += ROUND_MS;
        rule_slots_run(&r->slots, r->now_ms);
        for (int i = 0; i < WORKERS; i++)
            rule_accounts_begin(&r->worker[i]);
    }
}

static const struct rule *rule_of(const struct rig *r, const char *name)
{
    for (size_t i = 0; i < rules_count(r->rules); i++)
        if (strcmp(rules_at(r->rules, i)->name, name) == 0)
            return rules_at(r->rules, i);
    fail_msg("no rule %s", name);
    return NULL;
}

static uint32_t ask_at(struct rig *r, uint32_t slot, uint32_t worker, uint32_t times)
{
    struct rule_account *account = &r->worker[worker].account[slot];
    uint32_t got = 0;
    for (; times > 0; times--)
        got += lease_take(&account->lease, 1);
    account->counts.passed += got;
    return got;
}

static uint32_t ask(struct rig *r, const char *name, uint32_t worker, uint32_t times)
{
    return ask_at(r, rule_of(r, name)->slot, worker, times);
}

static uint64_t passed(const struct rig *r, const char *name)
{
    return rule_slots_count(&r->slots, rule_of(r, name)->slot).passed;
}

static void each_rule_has_its_rate_for_all_workers_together(void **state)
{
    (void)state;
    struct rig r;
    struct random random = {3};
    open_rig(&r, MOST);
    assert_int_equal(reload(&r, (const struct wanted[]){{"a", 1000, 100}, {"b", 50, 5}}, 2), 0);
    for (int i = 0; i < 2000; i++) {
        rounds(&r, 1);
        for (uint32_t k = 0; k < WORKERS; k++) {
            ask(&r, "a", k, random_below(&random, 30));
            ask(&r, "b", random_below(&random, 4), random_below(&random, 3));
        }
    }
    assert_in_range(passed(&r, "a"), 10100 - 60, 10100);
    assert_in_range(passed(&r, "b"), 505 - 6, 505);
    close_rig(&r);
}

static void in_no_time_is_more_let_through_than_bucket_and_rate(void **state)
{
    (void)state;
    enum { ROUNDS = 600, RATE = 400, BURST = 30 };
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct rig r;
        struct random random = {seed};
        uint32_t got[ROUNDS];
        open_rig(&r, 1);
        reload(&r, (const struct wanted[]){{"a", RATE, BURST}}, 1);
        for (int i = 0; i < ROUNDS; i++) {
            uint32_t busy = random_below(&random, 3) ? random_below(&random, 12) : 0;
            rounds(&r, 1);
            got[i] = 0;
            for (uint32_t k = 0; k < WORKERS; k++)
                got[i] += ask(&r, "a", k, busy);
        }
        for (int i = 0; i < ROUNDS; i++) {
            uint64_t sum = 0;
            for (int k = i; k < ROUNDS; k++) {
                sum += got[k];
                assert_true(sum * 1000 <= BURST * 1000 + (uint64_t)(k - i + 1) * ROUND_MS * RATE);
            }
        }
        close_rig(&r);
    }
}

static void a_rule_keeps_its_bucket_and_counts_when_rules_are_read_again(void **state)
{
    (void)state;
    struct rig r;
    open_rig(&r, 4);
    reload(&r, (const struct wanted[]){{"a", 1, 100}}, 1);
    for (int i = 0; i < 40; i++) {
        rounds(&r, 1);
        ask(&r, "a", 0, 100);
    }
    assert_in_range(passed(&r, "a"), 80, 101);
    uint64_t before = passed(&r, "a");
    for (int i = 0; i < 20; i++) { /* as other rules come and go before it */
        const char *other = i % 2 ? "x" : "y";
        assert_int_equal(reload(&r, (const struct wanted[]){{other, 5, 1}, {"a", 1, 100}}, 2), 0);
        rounds(&r, 2);
        ask(&r, "a", 0, 100);
        ask(&r, "a", 1, 100);
        ask(&r, "a", 2, 100);
        ask(&r, "a", 3, 100);
    }
    assert_true(passed(&r, "a") >= before && passed(&r, "a") <= 102);
    close_rig(&r);
}

static void a_new_rule_gets_none_of_what_another_was_lent(void **state)
{
    (void)state;
    struct rig r;
    open_rig(&r, 1);
    reload(&r, (const struct wanted[]){{"big", 100000, 100000}}, 1);
    rounds(&r, 4);
    const uint32_t of_big = rule_of(&r, "big")->slot;
    assert_true(ask(&r, "big", 0, 10) == 10);
    assert_int_equal(reload(&r, (const struct wanted[]){{"small", 10, 1}}, 1), 0);
    assert_true(rule_of(&r, "small")->slot != of_big);
    rounds(&r, 1);
    uint32_t got = 0;
    for (uint32_t k = 0; k < WORKERS; k++)
        got += ask(&r, "small", k, 1000);
    assert_true(got <= 1);
    rounds(&r, 5); /* and when the slot of the first is free again, nothing is left in it */
    assert_int_equal(reload(&r, (const struct wanted[]){{"third", 10, 1}}, 1), 0);
    assert_int_equal(rule_of(&r, "third")->slot, of_big);
    assert_int_equal(passed(&r, "third"), 0);
    rounds(&r, 1);
    got = 0;
    for (uint32_t k = 0; k < WORKERS; k++)
        got += ask(&r, "third", k, 1000);
    assert_true(got <= 1);
    close_rig(&r);
}

static void a_slot_is_not_given_away_while_a_worker_may_take_of_it(void **state)
{
    (void)state;
    struct rig r;
    open_rig(&r, 1);
    reload(&r, (const struct wanted[]){{"a", 1000, 1000}}, 1);
    rounds(&r, 2);
    reload(&r, (const struct wanted[]){{"b", 1000, 1000}}, 1);
    for (int i = 0; i < 10; i++) /* all workers are asleep */
        rule_slots_run(&r.slots, r.now_ms += ROUND_MS);
    assert_int_equal(reload(&r, (const struct wanted[]){{"c", 1, 1}}, 1), -ENOSPC);
    assert_string_equal(rules_at(r.rules, 0)->name, "b"); /* and stays as it was */
    rounds(&r, 3);
    assert_true(ask(&r, "b", 0, 10) == 10);
    assert_int_equal(reload(&r, (const struct wanted[]){{"c", 1, 1}}, 1), 0);
    close_rig(&r);
}

static void what_was_found_and_not_held_is_free_again(void **state)
{
    (void)state;
    struct rig r;
    open_rig(&r, 1);
    reload(&r, (const struct wanted[]){{"a", 10, 10}}, 1);
    for (int i = 0; i < 10; i++) {
        assert_true(rule_slots_find(&r.slots, "never") >= 0);
        rule_slots_hold(&r.slots, r.rules);
        rounds(&r, 1);
    }
    assert_int_equal(rule_slots_find(&r.slots, "a"), (int)rule_of(&r, "a")->slot);
    close_rig(&r);
}

static void a_rate_may_be_taken_away_and_given_again(void **state)
{
    (void)state;
    struct rig r;
    open_rig(&r, 1);
    reload(&r, (const struct wanted[]){{"a", 0, 0}}, 1);
    rounds(&r, 5);
    assert_int_equal(ask(&r, "a", 0, 10), 0); /* nobody asks when there is no rate */
    reload(&r, (const struct wanted[]){{"a", 1000, 100}}, 1);
    rounds(&r, 3);
    assert_true(ask(&r, "a", 0, 10) > 0);
    close_rig(&r);
}

static void who_has_gone_is_lent_to_as_long_as_a_worker_has_it(void **state)
{
    (void)state;
    struct rig r;
    open_rig(&r, 1);
    reload(&r, (const struct wanted[]){{"a", 1000, 1000}}, 1);
    rounds(&r, 2);
    const uint32_t of_a = rule_of(&r, "a")->slot;
    assert_int_equal(hand_over(&r, (const struct wanted[]){{"b", 1000, 1000}}, 1), 0);
    for (int i = 0; i < 300; i++) { /* more than a bucket */
        rounds(&r, 1);
        assert_true(ask_at(&r, of_a, 0, 4) == 4 && ask(&r, "b", 1, 4) == 4);
        assert_true(r.slots.waiting);
        assert_int_equal(hand_over(&r, (const struct wanted[]){{"c", 1, 1}}, 1), -ENOSPC);
    }
    rule_slots_let_go(&r.slots);
    assert_false(r.slots.waiting);
    rounds(&r, 3);
    assert_int_equal(ask_at(&r, of_a, 0, 1), 0);
    assert_int_equal(ask(&r, "b", 1, 4), 4);
    assert_int_equal(hand_over(&r, (const struct wanted[]){{"c", 1, 1}}, 1), 0);
    assert_int_equal(rule_of(&r, "c")->slot, of_a);
    close_rig(&r);
}

static void without_a_rate_it_has_its_slot_as_long_as_a_worker_has_it(void **state)
{
    (void)state;
    struct rig r;
    open_rig(&r, 1);
    reload(&r, (const struct wanted[]){{"a", 0, 0}}, 1);
    const uint32_t of_a = rule_of(&r, "a")->slot;
    assert_int_equal(hand_over(&r, NULL, 0), 0);
    rounds(&r, 3);
    assert_int_equal(hand_over(&r, (const struct wanted[]){{"b", 0, 0}}, 1), 0);
    assert_true(rule_of(&r, "b")->slot != of_a);
    rounds(&r, 3);
    assert_int_equal(hand_over(&r, (const struct wanted[]){{"a", 0, 0}}, 1), 0);
    assert_int_equal(rule_of(&r, "a")->slot, of_a); /* it comes back to it */
    close_rig(&r);
}

/* With reloads in a row: workers may have any of these sets. */
static void whatever_set_a_worker_has_its_rate_is_lent_and_the_newest_counts(void **state)
{
    (void)state;
    static const uint32_t rates[][2] = {{100, 100}, {0, 100}, {0, 100}, {700, 700},
                                        {20, 20},   {0, 20},  {50, 50}};
    struct rig r;
    open_rig(&r, 2);
    reload(&r, (const struct wanted[]){{"a", 0, 0}}, 1);
    const struct rule_slot *slot = &r.slots.slot[rule_of(&r, "a")->slot];
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        hand_over(&r, (const struct wanted[]){{"a", rates[i][0], rates[i][0]}}, 1);
        rounds(&r, 1);
        assert_int_equal(slot->per_second, rates[i][1]);
    }
    hand_over(&r, (const struct wanted[]){{"a", 0, 0}}, 1);
    assert_int_equal(slot->per_second, 50);
    rule_slots_let_go(&r.slots);
    assert_int_equal(slot->per_second, 0);
    close_rig(&r);
}

static void what_was_never_held_is_free_at_once(void **state)
{
    (void)state;
    struct rig r;
    char name[8];
    open_rig(&r, 1);
    reload(&r, (const struct wanted[]){{"a", 10, 10}}, 1);
    for (int i = 0; i < 10; i++) { /* workers have the rules of before all the time */
        snprintf(name, sizeof name, "n%d", i);
        assert_true(rule_slots_find(&r.slots, name) >= 0);
        rule_slots_hold(&r.slots, r.rules);
    }
    assert_false(r.slots.waiting);
    close_rig(&r);
}

static void slots_are_as_many_as_there_is_room_for(void **state)
{
    (void)state;
    struct rig r;
    char name[8];
    open_rig(&r, 100);
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "r%d", i);
        assert_int_equal(rule_slots_find(&r.slots, name), i);
    }
    assert_int_equal(rule_slots_find(&r.slots, "more"), -ENOSPC);
    assert_int_equal(rule_slots_find(&r.slots, "r7"), 7);
    close_rig(&r);
    open_rig(&r, 0);
    assert_int_equal(rule_slots_find(&r.slots, "any"), -ENOSPC);
    rounds(&r, 2);
    close_rig(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_rule_has_its_rate_for_all_workers_together),
        cmocka_unit_test(in_no_time_is_more_let_through_than_bucket_and_rate),
        cmocka_unit_test(a_rule_keeps_its_bucket_and_counts_when_rules_are_read_again),
        cmocka_unit_test(a_new_rule_gets_none_of_what_another_was_lent),
        cmocka_unit_test(a_slot_is_not_given_away_while_a_worker_may_take_of_it),
        cmocka_unit_test(what_was_found_and_not_held_is_free_again),
        cmocka_unit_test(a_rate_may_be_taken_away_and_given_again),
        cmocka_unit_test(who_has_gone_is_lent_to_as_long_as_a_worker_has_it),
        cmocka_unit_test(without_a_rate_it_has_its_slot_as_long_as_a_worker_has_it),
        cmocka_unit_test(whatever_set_a_worker_has_its_rate_is_lent_and_the_newest_counts),
        cmocka_unit_test(what_was_never_held_is_free_at_once),
        cmocka_unit_test(slots_are_as_many_as_there_is_room_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
