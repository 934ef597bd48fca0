/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The operators' rules in the purchase service. */
#include "control/api/admission.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <urcu/urcu-memb.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "common/rule_settings.h"
#include "control/api/reply.h"
#include "control/clock.h"

static struct http1_head head_of(const char *method, const char *path)
{
    struct http1_head head = {.method = {method, strlen(method)}, .path = {path, strlen(path)}};
    head.fields[head.field_count++] = (struct http1_field){{"host", 4}, {"shop.example:80", 15}};
    return head;
}

static bool ask_at(struct admission *admission, const char *path, int64_t unix_ms, int64_t now,
                   struct admission_refusal *refusal)
{
    const struct http1_head head = head_of("POST", path);
    return admission_ask(admission, &head, unix_ms, now, 0, refusal);
}

static struct admission *with(struct rule_settings *rules, size_t count)
{
    const struct conf_list list = {count, rules};
    struct admission *admission = admission_new();
    assert_non_null(admission);
    assert_int_equal(admission_replace(admission, &list), 0);
    return admission;
}

static void without_rules_everything_passes(void **state)
{
    (void)state;
    struct admission_refusal refusal;
    struct admission *admission = with(NULL, 0);
    assert_true(ask_at(admission, "/v1/sales/7", 0, 0, &refusal));
    admission_free(admission);
}

static void a_state_is_answered_by_its_problem(void **state)
{
    (void)state;
    struct rule_settings rules[] = {
        {.name = "a", .path = "/sold", .state = RULE_SOLD_OUT, .mode = RULE_ENFORCE},
        {.name = "b", .path = "/over", .state = RULE_CLOSED, .mode = RULE_ENFORCE},
        {.name = "c",
         .path = "/soon",
         .state = RULE_UPCOMING,
         .opens_at = INT64_C(1795773600000),
         .mode = RULE_ENFORCE},
        {.name = "d", .host = "shop.example", .path = "/x", .mode = RULE_ENFORCE},
        {.name = "e", .path = "/seen", .state = RULE_CLOSED, .mode = RULE_OBSERVE},
    };
    struct admission_refusal refusal;
    struct admission *admission = with(rules, 5);
    assert_false(ask_at(admission, "/sold/x", 0, 0, &refusal));
    assert_int_equal(refusal.problem, PROBLEM_SOLD_OUT);
    assert_int_equal(refusal.retry_after, REPLY_NO_RETRY);
    assert_false(ask_at(admission, "//sold", 0, 0, &refusal));
    assert_false(ask_at(admission, "/over", 0, 0, &refusal));
    assert_int_equal(refusal.problem, PROBLEM_SALE_CLOSED);
    assert_false(ask_at(admission, "/soon", INT64_C(1795773599000), 0, &refusal));
    assert_int_equal(refusal.problem, PROBLEM_NOT_OPEN);
    assert_int_equal(refusal.retry_after, 1);
    assert_int_equal(refusal.opens_at, INT64_C(849088800000000)); /* since 2000 */
    assert_true(ask_at(admission, "/soon", INT64_C(1795773600000), 0, &refusal));
    assert_true(ask_at(admission, "/x", 0, 0, &refusal));
    assert_true(ask_at(admission, "/seen", 0, 0, &refusal));
    admission_free(admission);
}

static void a_rate_admits_its_burst_and_then_one_at_each_distance(void **state)
{
    (void)state;
    struct rule_settings rule = {
        .name = "a", .mode = RULE_ENFORCE, .state = RULE_OPEN, .admit_per_second = 100, .burst = 5};
    struct admission_refusal refusal;
    struct admission *admission = with(&rule, 1);
    const int64_t begin = clock_now() + NANOSECONDS_PER_S;
    int got = 0;
    for (int i = 0; i < 50; i++)
        got += ask_at(admission, "/", 0, begin, &refusal);
    assert_int_equal(got, 5);
    assert_int_equal(refusal.problem, PROBLEM_BUSY);
    assert_int_equal(refusal.retry_after, 1); /* 45 in line: half a second */
    for (int i = 0; i < 1000; i++)
        ask_at(admission, "/", 0, begin, &refusal);
    assert_int_equal(refusal.retry_after, 11);
    assert_false(ask_at(admission, "/", 0, begin + 9 * NANOSECONDS_PER_MS, &refusal));
    assert_true(ask_at(admission, "/", 0, begin + 11 * NANOSECONDS_PER_MS, &refusal));
    assert_false(ask_at(admission, "/", 0, begin + 11 * NANOSECONDS_PER_MS, &refusal));
    got = 0;
    for (int i = 0; i < 50; i++)
        got += ask_at(admission, "/", 0, begin + 100 * NANOSECONDS_PER_S, &refusal);
    assert_int_equal(got, 5);
    admission_free(admission);
}

static void a_rule_keeps_what_it_has_admitted_by_its_name(void **state)
{
    (void)state;
    struct rule_settings rules[] = {
        {.name = "a",
         .path = "/a",
         .mode = RULE_ENFORCE,
         .state = RULE_OPEN,
         .admit_per_second = 1,
         .burst = 1},
        {.name = "b",
         .path = "/b",
         .mode = RULE_ENFORCE,
         .state = RULE_OPEN,
         .admit_per_second = 1,
         .burst = 1},
    };
    struct admission_refusal refusal;
    struct admission *admission = with(rules, 2);
    const int64_t begin = clock_now() + NANOSECONDS_PER_S;
    assert_true(ask_at(admission, "/a", 0, begin, &refusal));
    for (int i = 0; i < 10; i++) { /* b goes, and comes again */
        const struct conf_list list = {1 + i % 2, rules};
        assert_int_equal(admission_replace(admission, &list), 0);
        assert_false(ask_at(admission, "/a", 0, begin, &refusal));
    }
    assert_true(ask_at(admission, "/b", 0, begin, &refusal));
    assert_true(ask_at(admission, "/a", 0, begin + NANOSECONDS_PER_S, &refusal));
    admission_free(admission);
}

static void a_rate_that_is_raised_holds_at_once(void **state)
{
    (void)state;
    struct rule_settings slow = {
        .name = "a", .mode = RULE_ENFORCE, .state = RULE_OPEN, .admit_per_second = 1, .burst = 600};
    struct rule_settings fast = slow;
    struct admission_refusal refusal;
    struct admission *admission = with(&slow, 1);
    const int64_t begin = clock_now();
    for (int i = 0; i < 600; i++)
        assert_true(ask_at(admission, "/", 0, begin, &refusal));
    fast.admit_per_second = 1000;
    fast.burst = 100;
    const struct conf_list list = {1, &fast};
    assert_int_equal(admission_replace(admission, &list), 0);
    int got = 0;
    assert_false(ask_at(admission, "/", 0, begin, &refusal)); /* but gives nothing away */
    for (int k = 0; k < 200; k++)
        got += ask_at(admission, "/", 0, begin + 300 * NANOSECONDS_PER_S, &refusal);
    assert_int_equal(got, 100);
    admission_free(admission);
}

/* ---- with threads ---- */

enum { THREADS = 4, RATE = 20000, BURST = 1000 };

struct crowd {
    struct admission *admission;
    _Atomic bool stop;
    _Atomic uint64_t passed;
};

static void *hammer(void *context)
{
    struct crowd *crowd = context;
    struct admission_refusal refusal;
    urcu_memb_register_thread();
    while (!atomic_load(&crowd->stop))
        for (int i = 0; i < 100; i++)
            if (ask_at(crowd->admission, "/", 0, clock_now(), &refusal))
                atomic_fetch_add(&crowd->passed, 1);
    urcu_memb_unregister_thread();
    return NULL;
}

static void threads_and_reloads_admit_no_more_than_one_rate(void **state)
{
    (void)state;
    struct rule_settings rules[] = {
        {.name = "a",
         .mode = RULE_ENFORCE,
         .state = RULE_OPEN,
         .admit_per_second = RATE,
         .burst = BURST},
        {.name = "b", .path = "/b", .mode = RULE_ENFORCE, .state = RULE_OPEN},
    };
    struct crowd crowd = {.admission = with(rules, 1)};
    pthread_t threads[THREADS];
    const int64_t begin = clock_now();
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &crowd), 0);
    for (int i = 0;
         clock_now() < begin + 300 * NANOSECONDS_PER_MS || atomic_load(&crowd.passed) < 2 * BURST;
         i++) {
        const struct conf_list list = {1 + i % 2, rules};
        assert_int_equal(admission_replace(crowd.admission, &list), 0);
    }
    atomic_store(&crowd.stop, true);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    uint64_t most = BURST + (uint64_t)(clock_now() - begin) * RATE / NANOSECONDS_PER_S;
    assert_true(atomic_load(&crowd.passed) <= most);
    admission_free(crowd.admission);
}

int main(void)
{
    urcu_memb_register_thread();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_rules_everything_passes),
        cmocka_unit_test(a_state_is_answered_by_its_problem),
        cmocka_unit_test(a_rate_admits_its_burst_and_then_one_at_each_distance),
        cmocka_unit_test(a_rule_keeps_what_it_has_admitted_by_its_name),
        cmocka_unit_test(a_rate_that_is_raised_holds_at_once),
        cmocka_unit_test(threads_and_reloads_admit_no_more_than_one_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
