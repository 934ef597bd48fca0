/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The operators' rules at the gate: what is refused and how, what is only counted, and what a rule
 * admits per second. */
#include "dataplane/tcp/gate_rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "dataplane/admit/rule_slots.h"
#include "tests/unit/wire.h"

enum { MOST = 8 };

struct rig {
    struct wire *w;
    struct rule_slots slots;
    struct rules *rules;
    struct refusal refusal;
};

static int setup(void **state)
{
    static const struct shard_sizes sizes = {.flows = 8,
                                             .tombstones = 16,
                                             .held = 4,
                                             .held_large = 2,
                                             .held_bytes = 8192,
                                             .clients = 64,
                                             .bans = 16,
                                             .rules = 2 * MOST};
    struct rig *r = calloc(1, sizeof *r);
    r->w = wire_new(WIRE_V4, &sizes);
    assert_int_equal(rule_slots_init(&r->slots, MOST, 1), 0);
    assert_int_equal(rule_slots_add(&r->slots, &r->w->shard->rules), 0);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;
    rule_slots_end(&r->slots);
    wire_free(r->w);
    free(r->rules);
    free(r);
    return 0;
}

/* These rules are in force, and their rates are lent. */
static void enforce(struct rig *r, struct rule_source *sources, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sources[i].rule.slot = (uint32_t)rule_slots_find(&r->slots, sources[i].rule.name);
    r->rules = rules_new(sources, count);
    r->w->policy.rules = r->rules;
    rule_slots_hold(&r->slots, r->rules);
    rule_slots_run(&r->slots, r->w->now_ms);
    wire_begin(r->w);
}

/* Time passes for clocks and rates. */
static void pass(struct rig *r, uint64_t ms)
{
    r->w->now_ms += ms;
    r->w->unix_ms += ms;
    rule_slots_run(&r->slots, r->w->now_ms);
    wire_begin(r->w);
}

static enum verdict ask(struct rig *r, const char *method, const char *path)
{
    const struct gate_head head = {.method = {method, strlen(method)},
                                   .path = {path, strlen(path)}};
    struct rules_found found;
    r->refusal = (struct refusal){0};
    enum verdict verdict = gate_rules_state(r->w->shard, 0, &head, &found, &r->refusal);
    return verdict == VERDICT_FORWARDED ? gate_rules_admit(r->w->shard, &found, &r->refusal)
                                        : verdict;
}

static uint64_t counted(const struct rig *r, enum verdict verdict)
{
    return r->w->shard->verdicts[verdict];
}

static struct rule_counts counts(const struct rig *r, size_t rule)
{
    return rule_slots_count(&r->slots, rules_at(r->rules, rule)->slot);
}

static void without_rules_everything_passes(void **state)
{
    struct rig *r = *state;
    assert_int_equal(ask(r, "POST", "/v1/sales/7/reservations"), VERDICT_FORWARDED);
    enforce(r, NULL, 0);
    assert_int_equal(ask(r, "POST", "/v1/sales/7/reservations"), VERDICT_FORWARDED);
}

static void a_state_refuses_in_its_own_words(void **state)
{
    struct rig *r = *state;
    struct rule_source sources[] = {
        {.rule = {.name = "sold", .state = RULE_SOLD_OUT}, .path = "/sold"},
        {.rule = {.name = "over", .state = RULE_CLOSED}, .path = "/over"}};
    enforce(r, sources, 2);
    assert_int_equal(ask(r, "GET", "/sold/x"), VERDICT_RULE_SOLD_OUT);
    assert_int_equal(r->refusal.kind, REFUSAL_SOLD_OUT);
    assert_int_equal(r->refusal.retry_after_s, 0);
    assert_int_equal(ask(r, "GET", "/x/../over"), VERDICT_RULE_CLOSED);
    assert_int_equal(r->refusal.kind, REFUSAL_CLOSED);
    assert_int_equal(ask(r, "GET", "/open"), VERDICT_FORWARDED);
    assert_int_equal(counts(r, 0).refused, 1);
    assert_int_equal(counts(r, 1).refused, 1);
    assert_int_equal(counts(r, 0).passed, 0);
}

static void upcoming_opens_by_itself_at_the_millisecond(void **state)
{
    struct rig *r = *state;
    const int64_t opens_at = (int64_t)r->w->unix_ms + 5000;
    struct rule_source source = {
        .rule = {.name = "soon", .state = RULE_UPCOMING, .opens_at = opens_at}, .path = "/"};
    enforce(r, &source, 1);
    assert_int_equal(ask(r, "POST", "/buy"), VERDICT_RULE_UPCOMING);
    assert_int_equal(r->refusal.kind, REFUSAL_NOT_OPEN);
    assert_int_equal(r->refusal.opens_at, opens_at);
    assert_in_range(r->refusal.retry_after_s, 5, 7);
    pass(r, 4999);
    assert_int_equal(ask(r, "POST", "/buy"), VERDICT_RULE_UPCOMING);
    pass(r, 1);
    assert_int_equal(ask(r, "POST", "/buy"), VERDICT_FORWARDED);
    assert_int_equal(counts(r, 0).refused, 2);
    assert_int_equal(counts(r, 0).passed, 1);
}

static void over_the_rate_is_told_a_place_in_the_line(void **state)
{
    struct rig *r = *state;
    struct rule_source source = {
        .rule = {.name = "slow", .state = RULE_OPEN, .per_second = 10, .burst = 2}, .path = "/"};
    enforce(r, &source, 1);
    for (int i = 0; i < 2; i++)
        assert_int_equal(ask(r, "GET", "/"), VERDICT_FORWARDED);
    for (int i = 1; i <= 100; i++) {
        assert_int_equal(ask(r, "GET", "/"), VERDICT_RULE_RATE);
        assert_int_equal(r->refusal.kind, REFUSAL_BUSY);
        uint32_t place = ((uint32_t)i + 9) / 10;
        assert_in_range(r->refusal.retry_after_s, place, place + place / 4 + 2);
    }
    for (int i = 0; i < 21; i++)
        pass(r, 5);
    assert_int_equal(ask(r, "GET", "/"), VERDICT_FORWARDED);
    assert_int_equal(ask(r, "GET", "/"), VERDICT_RULE_RATE);
    assert_int_equal(counts(r, 0).passed, 3);
    assert_int_equal(counts(r, 0).over, 101);
}

static void what_only_observes_is_counted_and_passes(void **state)
{
    struct rig *r = *state;
    struct rule_source sources[] = {
        {.rule = {.name = "sold", .state = RULE_SOLD_OUT, .observe = true}, .path = "/sold"},
        {.rule = {.name = "over", .state = RULE_CLOSED, .observe = true}, .path = "/over"},
        {.rule = {.name = "soon", .state = RULE_UPCOMING, .opens_at = INT64_MAX, .observe = true},
         .path = "/soon"},
        {.rule = {.name = "rate", .state = RULE_OPEN, .per_second = 1, .burst = 1, .observe = true},
         .path = "/rate"}};
    enforce(r, sources, 4);
    assert_int_equal(ask(r, "GET", "/sold"), VERDICT_FORWARDED);
    assert_int_equal(ask(r, "GET", "/over"), VERDICT_FORWARDED);
    assert_int_equal(ask(r, "GET", "/soon"), VERDICT_FORWARDED);
    assert_int_equal(ask(r, "GET", "/rate"), VERDICT_FORWARDED);
    assert_int_equal(ask(r, "GET", "/rate"), VERDICT_FORWARDED);
    assert_int_equal(r->refusal.kind, REFUSAL_NONE);
    assert_int_equal(counted(r, VERDICT_RULE_SOLD_OUT_OBSERVED), 1);
    assert_int_equal(counted(r, VERDICT_RULE_CLOSED_OBSERVED), 1);
    assert_int_equal(counted(r, VERDICT_RULE_UPCOMING_OBSERVED), 1);
    assert_int_equal(counted(r, VERDICT_RULE_RATE_OBSERVED), 1);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(counts(r, i).observed, 1);
}

static void rules_are_asked_by_service_and_protocol(void **state)
{
    struct rig *r = *state;
    struct service *service = &r->w->services->service[0];
    struct rule_source sources[] = {
        {.rule = {.name = "sni", .state = RULE_CLOSED}, .host = "shop.example", .tls = true},
        {.rule = {.name = "path", .state = RULE_SOLD_OUT},
         .path = "/",
         .services = (char *[]){"shop"},
         .service_count = 1}};
    const struct gate_head hello = {.host = {"shop.example", 12}};
    struct rules_found found;
    enforce(r, sources, 2);
    service->rule_number = rules_service("other");
    assert_int_equal(ask(r, "GET", "/"), VERDICT_FORWARDED);
    service->rule_number = rules_service("shop");
    assert_int_equal(ask(r, "GET", "/"), VERDICT_RULE_SOLD_OUT);
    const uint8_t protocol = service->protocol;
    service->protocol = SERVICE_TLS;
    assert_int_equal(gate_rules_state(r->w->shard, 0, &hello, &found, &r->refusal),
                     VERDICT_RULE_CLOSED);
    service->protocol = protocol;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_rules_everything_passes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_state_refuses_in_its_own_words, setup, teardown),
        cmocka_unit_test_setup_teardown(upcoming_opens_by_itself_at_the_millisecond, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(over_the_rate_is_told_a_place_in_the_line, setup, teardown),
        cmocka_unit_test_setup_teardown(what_only_observes_is_counted_and_passes, setup, teardown),
        cmocka_unit_test_setup_teardown(rules_are_asked_by_service_and_protocol, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
