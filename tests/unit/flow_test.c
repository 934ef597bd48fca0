/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The flow table: lookups from both sides, bounds, and, against a plain list, that no flow is ever
 * lost or found after it went, even where buckets overflow. */
#include "dataplane/tcp/flow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/random.h"

static const struct siphash_key key = {0x1122334455667788, 0x99aabbccddeeff00};

static struct addr client_of(uint32_t i)
{
    struct addr a = {.bytes = {0x20, 0x01, 0x0d, 0xb8}};
    if (i % 2)
        return addr_from_v4(0x0a000000 + i);
    memcpy(a.bytes + 12, &i, 4);
    return a;
}

static struct flow *add(struct flows *flows, struct addr client, uint16_t port, uint16_t service,
                        uint16_t backend)
{
    struct flow *flow = flow_reserve(flows);
    if (flow == NULL)
        return NULL;
    flow->client = client;
    flow->client_port = port;
    flow->service = service;
    flow->backend = backend;
    flow->state = FLOW_OPENING;
    flow_publish(flows, flow);
    return flow;
}

static struct flow *outside(const struct flows *flows, struct addr client, uint16_t port,
                            uint16_t service)
{
    return flow_find_outside(flows, flow_hash(flows, &client, port), &client, port, service);
}

static struct flow *inside(const struct flows *flows, struct addr client, uint16_t port,
                           uint16_t backend)
{
    return flow_find_inside(flows, flow_hash(flows, &client, port), &client, port, backend);
}

static void a_flow_is_found_by_service_outside_and_by_backend_inside(void **state)
{
    (void)state;
    struct flows *flows = flows_new(16, &key);
    for (uint32_t family = 0; family < 2; family++) {
        const struct addr client = client_of(family);
        struct flow *a = add(flows, client, 5000, 1, 7), *b = add(flows, client, 5000, 2, 8);
        assert_ptr_equal(outside(flows, client, 5000, 1), a);
        assert_ptr_equal(outside(flows, client, 5000, 2), b);
        assert_null(outside(flows, client, 5000, 7));
        assert_ptr_equal(inside(flows, client, 5000, 7), a);
        assert_ptr_equal(inside(flows, client, 5000, 8), b);
        assert_null(inside(flows, client, 5000, 1));
        assert_null(outside(flows, client, 5001, 1));
        assert_null(outside(flows, client_of(family + 2), 5000, 1));
    }
    flows_free(flows);
}

static void a_reserved_flow_is_zero_and_not_found_until_published(void **state)
{
    (void)state;
    struct flows *flows = flows_new(2, &key);
    struct flow *flow = flow_reserve(flows), zero = {0};
    assert_memory_equal(flow, &zero, sizeof zero);
    flow->client = client_of(1);
    flow->client_port = 1;
    assert_null(outside(flows, client_of(1), 1, 0));
    assert_int_equal(flows_count(flows), 1);
    memset(&flow->splice, 0xff, sizeof flow->splice);
    flow_release(flows, flow); /* without ever having been published */
    assert_int_equal(flows_count(flows), 0);
    struct flow *again = flow_reserve(flows);
    assert_memory_equal(again, &zero, sizeof zero);
    flows_free(flows);
}

static void pitfall_10_a_full_table_gives_none_until_one_is_released(void **state)
{
    (void)state;
    struct flows *flows = flows_new(3, &key);
    struct flow *flow[3];
    for (uint16_t i = 0; i < 3; i++)
        flow[i] = add(flows, client_of(i), i, 0, 0);
    assert_null(flow_reserve(flows));
    assert_int_equal(flows_count(flows), 3);
    assert_int_equal(flows_capacity(flows), 3);
    flow_release(flows, flow[1]);
    assert_null(outside(flows, client_of(1), 1, 0));
    assert_ptr_equal(outside(flows, client_of(2), 2, 0), flow[2]);
    assert_ptr_equal(flow_reserve(flows), flow[1]);
    flows_free(flows);
}

static void indices_and_flows_name_each_other(void **state)
{
    (void)state;
    struct flows *flows = flows_new(5, &key);
    for (uint32_t i = 0; i < 5; i++) {
        struct flow *flow = flow_reserve(flows);
        assert_in_range(flow_index(flows, flow), 0, 4);
        assert_ptr_equal(flow_at(flows, flow_index(flows, flow)), flow);
        assert_int_equal((uintptr_t)flow % 64, 0); /* cache lines */
    }
    flows_free(flows);
}

static void a_table_has_one_flow_at_least_and_2_to_the_27_at_most(void **state)
{
    (void)state;
    assert_null(flows_new(0, &key));
    assert_null(flows_new((1U << 27) + 1, &key));
    flows_free(NULL);
}

static void a_bursts_hashes_are_those_of_its_tuples(void **state)
{
    (void)state;
    struct flows *flows = flows_new(8, &key);
    static struct flow_batch batch;
    for (uint32_t round = 0; round < 200; round++) {
        uint64_t hash[SIPHASH_BATCH];
        uint32_t count = round % (SIPHASH_BATCH + 1);
        flow_batch_begin(&batch);
        for (uint32_t i = 0; i < count; i++) {
            struct addr client = client_of(round * 64 + i * (round % 2 + 1));
            flow_batch_add(&batch, count - 1 - i, &client, (uint16_t)(i * 977));
        }
        flow_batch_hash(flows, &batch, hash);
        for (uint32_t i = 0; i < count; i++) {
            struct addr client = client_of(round * 64 + i * (round % 2 + 1));
            assert_true(hash[count - 1 - i] == flow_hash(flows, &client, (uint16_t)(i * 977)));
        }
    }
    flows_free(flows);
}

static void pitfall_14_the_hash_takes_every_byte_and_the_key(void **state)
{
    (void)state;
    const struct siphash_key another = {key.k0 ^ 1, key.k1};
    struct flows *flows = flows_new(1, &key), *others = flows_new(1, &another);
    for (uint32_t family = 0; family < 2; family++) {
        const struct addr client = client_of(2 + family);
        const uint64_t hash = flow_hash(flows, &client, 1234);
        for (unsigned byte = family ? 12 : 0; byte < 16; byte++) {
            struct addr changed = client;
            changed.bytes[byte] ^= 0x10;
            assert_true(flow_hash(flows, &changed, 1234) != hash);
        }
        assert_true(flow_hash(flows, &client, 1235) != hash);
        assert_true(flow_hash(others, &client, 1234) != hash);
    }
    flows_free(flows);
    flows_free(others);
}

/* Filled to the last flow, so that some buckets overflow; then a random coming and going. */
static void no_flow_is_lost_and_none_is_found_after_it_went(void **state)
{
    enum { CAPACITY = 2048, CLIENTS = 6000, STEPS = 60000 };
    (void)state;
    struct flows *flows = flows_new(CAPACITY, &key);
    struct flow **there = calloc(CLIENTS, sizeof(struct flow *));
    struct random random = {2026};
    uint32_t count = 0, told = 0;
    for (uint32_t i = 0; i < STEPS; i++) {
        const uint32_t c = random_below(&random, CLIENTS);
        const struct addr client = client_of(c);
        const uint16_t port = (uint16_t)(c % 7); /* which many share */
        flow_prefetch(flows, flow_hash(flows, &client, port));
        flow_prefetch_found(flows, flow_hash(flows, &client, port), true);
        assert_ptr_equal(outside(flows, client, port, (uint16_t)(c % 3)), there[c]);
        assert_ptr_equal(inside(flows, client, port, (uint16_t)(c % 5)), there[c]);
        const bool absent = flow_is_absent(flows, flow_hash(flows, &client, port));
        assert_false(absent && there[c] != NULL);
        told += absent;
        if (there[c] == NULL) {
            there[c] = add(flows, client, port, (uint16_t)(c % 3), (uint16_t)(c % 5));
            assert_true((there[c] == NULL) == (count == CAPACITY));
            count += there[c] != NULL;
        } else if (random_below(&random, 3) == 0) {
            flow_release(flows, there[c]);
            there[c] = NULL;
            count--;
        }
        assert_int_equal(flows_count(flows), count);
    }
    assert_true(count > CAPACITY / 2 && told > STEPS / 3);
    for (uint32_t c = 0; c < CLIENTS; c++)
        if (there[c] != NULL)
            flow_release(flows, there[c]);
    for (uint32_t c = 0; c < CLIENTS; c++)
        assert_null(outside(flows, client_of(c), (uint16_t)(c % 7), (uint16_t)(c % 3)));
    assert_int_equal(flows_count(flows), 0);
    free(there);
    flows_free(flows);
}

/* One client port with many services hashes to one place. */
static void flows_of_one_tuple_share_a_bucket_and_its_overflow(void **state)
{
    enum { MANY = 40 };
    (void)state;
    struct flows *flows = flows_new(64, &key);
    const struct addr client = client_of(9);
    struct flow *flow[MANY];
    for (int i = 0; i < MANY; i++)
        flow[i] = add(flows, client, 443, (uint16_t)i, (uint16_t)i);
    struct random random = {5};
    for (int left = MANY; left > 0; left--) {
        uint32_t at = random_below(&random, MANY);
        while (flow[at] == NULL)
            at = (at + 1) % MANY;
        flow_release(flows, flow[at]);
        flow[at] = NULL;
        for (int i = 0; i < MANY; i++)
            assert_ptr_equal(outside(flows, client, 443, (uint16_t)i), flow[i]);
    }
    flows_free(flows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flow_is_found_by_service_outside_and_by_backend_inside),
        cmocka_unit_test(a_reserved_flow_is_zero_and_not_found_until_published),
        cmocka_unit_test(pitfall_10_a_full_table_gives_none_until_one_is_released),
        cmocka_unit_test(indices_and_flows_name_each_other),
        cmocka_unit_test(a_table_has_one_flow_at_least_and_2_to_the_27_at_most),
        cmocka_unit_test(a_bursts_hashes_are_those_of_its_tuples),
        cmocka_unit_test(pitfall_14_the_hash_takes_every_byte_and_the_key),
        cmocka_unit_test(no_flow_is_lost_and_none_is_found_after_it_went),
        cmocka_unit_test(flows_of_one_tuple_share_a_bucket_and_its_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
