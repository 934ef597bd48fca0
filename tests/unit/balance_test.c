/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Which backends a service uses by what is known of them, and how its connections are placed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "dataplane/admit/balance.h"

enum { BACKENDS = 5, SERVICES = 3, HASHES = 1000 };

static struct backend backend[BACKENDS];
static uint16_t members[] = {0, 1, 2, 3, 4};
static struct service
    service[SERVICES]; /* the first two share backends 0 to 2, the third has the rest */
static const struct services services = {.count = SERVICES,
                                         .backend_count = BACKENDS,
                                         .service = service,
                                         .backend = backend,
                                         .members = members};
static const struct siphash_key key = {1, 2};

static int fill(void **state)
{
    (void)state;
    for (uint16_t i = 0; i < BACKENDS; i++) {
        backend[i].address.addr = addr_from_v4(i);
        backend[i].address.port = 80;
        backend[i].weight = 10;
        backend[i].drain = false;
    }
    for (int i = 0; i < SERVICES; i++) {
        service[i].backends = i < 2 ? members : members + 3;
        service[i].backend_count = i < 2 ? 3 : 2;
        service[i].all_down = ALL_DOWN_REFUSE;
    }
    return 0;
}

static uint64_t hash_of(uint64_t i)
{
    return siphash13(&key, &i, 1);
}

/* A bit for each backend that the service's connections meet. */
static uint32_t used(const uint8_t health[BACKENDS], uint16_t of)
{
    struct balance *b = balance_new(&services, health, &key);
    uint32_t met = 0;
    assert_non_null(b);
    for (uint64_t i = 0; i < HASHES; i++)
        met |= UINT32_C(1) << balance_choose(b, of, hash_of(i), 0);
    free(b);
    return met;
}

static void those_that_answer_are_used(void **state)
{
    (void)state;
    const uint8_t health[] = {HEALTH_UP, HEALTH_DOWN, HEALTH_UP, HEALTH_UP, HEALTH_UP};
    assert_int_equal(used(health, 0), 5);
    assert_int_equal(used(health, 1), 5);
    assert_int_equal(used(health, 2), 24);
}

static void one_of_which_nothing_is_known_waits_while_another_answers(void **state)
{
    (void)state;
    const uint8_t health[] = {HEALTH_UNKNOWN, HEALTH_UP, HEALTH_DOWN, HEALTH_DOWN, HEALTH_UNKNOWN};
    assert_int_equal(used(health, 0), 2);
    assert_int_equal(used(health, 2), 16); /* nobody answers yet: unknown is better than down */
}

static bool down(const uint8_t health[BACKENDS], uint16_t of)
{
    struct balance *b = balance_new(&services, health, &key);
    assert_non_null(b);
    const bool is = balance_down(b, of);
    if (is)
        assert_int_equal(balance_choose(b, of, 7, 0), -1);
    free(b);
    return is;
}

static void a_service_whose_backends_have_all_failed_is_down(void **state)
{
    (void)state;
    const uint8_t health[] = {HEALTH_DOWN, HEALTH_DOWN, HEALTH_DOWN, HEALTH_UNKNOWN, HEALTH_DOWN};
    assert_true(down(health, 0));
    assert_true(down(health, 1));
    assert_false(down(health, 2)); /* nothing is known of one: it may be well */
    assert_int_equal(used(health, 2), 8);
}

static void a_service_that_tries_in_spite_of_probes_is_never_down_by_them(void **state)
{
    (void)state;
    const uint8_t health[BACKENDS] = {0};
    service[0].all_down = service[1].all_down = ALL_DOWN_TRY;
    assert_int_equal(used(health, 0), 7);
    assert_true(down(health, 2));
    for (int i = 0; i < 3; i++)
        backend[i].drain = true;
    assert_true(down(health, 0));
}

static void one_that_drains_gets_nothing(void **state)
{
    (void)state;
    const uint8_t health[] = {HEALTH_UP, HEALTH_UP, HEALTH_UP, HEALTH_UP, HEALTH_DOWN};
    backend[1].drain = backend[3].drain = true;
    assert_int_equal(used(health, 0), 5);
    assert_true(down(health, 2)); /* the other one has failed */
}

static void a_spare_is_used_when_no_other_is_as_well(void **state)
{
    (void)state;
    uint8_t health[] = {HEALTH_UP, HEALTH_UP, HEALTH_UP, HEALTH_UP, HEALTH_UP};
    backend[2].weight = 0;
    assert_int_equal(used(health, 0), 3);
    health[0] = HEALTH_DOWN;
    assert_int_equal(used(health, 0), 2);
    health[1] = HEALTH_DOWN;
    assert_int_equal(used(health, 0), 4);
    health[0] = health[1] = HEALTH_UNKNOWN; /* one that answers beats one that may */
    assert_int_equal(used(health, 0), 4);
}

static void weights_decide_the_shares(void **state)
{
    (void)state;
    const uint8_t health[] = {HEALTH_UP, HEALTH_UP, HEALTH_UP, HEALTH_UP, HEALTH_UP};
    uint32_t met[BACKENDS] = {0};
    backend[3].weight = 30;
    struct balance *b = balance_new(&services, health, &key);
    for (uint64_t i = 0; i < HASHES; i++)
        met[balance_choose(b, 2, hash_of(i), 0)]++;
    assert_in_range(met[3], HASHES * 70 / 100, HASHES * 80 / 100); /* 30 of 40 */
    free(b);
}

static void services_with_the_same_backends_place_alike(void **state)
{
    (void)state;
    const uint8_t health[] = {HEALTH_UP, HEALTH_UP, HEALTH_UP, HEALTH_UP, HEALTH_UP};
    struct balance *b = balance_new(&services, health, &key);
    assert_int_equal(b->table[0].first, b->table[1].first); /* they share a table */
    assert_int_not_equal(b->table[0].first, b->table[2].first);
    for (uint64_t i = 0; i < HASHES; i++)
        assert_int_equal(balance_choose(b, 0, hash_of(i), 0), balance_choose(b, 1, hash_of(i), 0));
    free(b);
}

static void a_backend_that_fails_moves_only_its_own_connections(void **state)
{
    (void)state;
    uint8_t health[] = {HEALTH_UP, HEALTH_UP, HEALTH_UP, HEALTH_UP, HEALTH_UP};
    struct balance *before = balance_new(&services, health, &key);
    health[1] = HEALTH_DOWN;
    struct balance *after = balance_new(&services, health, &key);
    uint32_t moved = 0;
    for (uint64_t i = 0; i < HASHES; i++) {
        const int was = balance_choose(before, 0, hash_of(i), 0);
        moved += was != 1 && was != balance_choose(after, 0, hash_of(i), 0);
        assert_int_equal(balance_choose(before, 2, hash_of(i), 0),
                         balance_choose(after, 2, hash_of(i), 0));
    }
    assert_true(moved <= HASHES * 5 / 100);
    free(before);
    free(after);
}

static void there_are_as_many_choices_as_backends_in_use(void **state)
{
    (void)state;
    const uint8_t health[] = {HEALTH_UP, HEALTH_UP, HEALTH_DOWN, HEALTH_UP, HEALTH_UP};
    struct balance *b = balance_new(&services, health, &key);
    for (uint64_t i = 0; i < HASHES; i++) {
        const int first = balance_choose(b, 0, hash_of(i), 0);
        assert_int_equal(balance_choose(b, 0, hash_of(i), 1), 1 - first);
        assert_int_equal(balance_choose(b, 0, hash_of(i), 2), -1);
    }
    free(b);
}

static void one_client_meets_all_backends_by_its_ports(void **state)
{
    (void)state;
    const uint8_t health[] = {HEALTH_UP, HEALTH_UP, HEALTH_UP, HEALTH_UP, HEALTH_UP};
    struct balance *b = balance_new(&services, health, &key);
    const struct addr client = addr_from_v4(77), next = addr_from_v4(78);
    uint32_t met[3] = {0};
    for (uint16_t port = 1024; port < 1024 + 3000; port++)
        met[balance_choose(b, 0, balance_hash(b, &client, port), 0)]++;
    for (int i = 0; i < 3; i++)
        assert_in_range(met[i], 850, 1150);
    assert_int_not_equal(balance_hash(b, &client, 5), balance_hash(b, &next, 5));
    free(b);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, fill)
    const struct CMUnitTest tests[] = {
        TEST(those_that_answer_are_used),
        TEST(one_of_which_nothing_is_known_waits_while_another_answers),
        TEST(a_service_whose_backends_have_all_failed_is_down),
        TEST(a_service_that_tries_in_spite_of_probes_is_never_down_by_them),
        TEST(one_that_drains_gets_nothing),
        TEST(a_spare_is_used_when_no_other_is_as_well),
        TEST(weights_decide_the_shares),
        TEST(services_with_the_same_backends_place_alike),
        TEST(a_backend_that_fails_moves_only_its_own_connections),
        TEST(there_are_as_many_choices_as_backends_in_use),
        TEST(one_client_meets_all_backends_by_its_ports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
