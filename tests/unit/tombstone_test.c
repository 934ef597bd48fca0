/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Tombstones against a plain list: an entry is found while it lives, under its own ISN only, and
 * the oldest makes room when the ring is full (tcp-pitfalls 24). */
#include "dataplane/tcp/tombstone.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/random.h"

static struct tombstone entry_of(uint64_t tuple, uint32_t client_isn)
{
    return (struct tombstone){.tuple = tuple,
                              .client_isn = client_isn,
                              .client_end = client_isn + 100,
                              .server_end = ~client_isn,
                              .reset = client_isn & 1};
}

static bool add(struct tombstones *table, uint64_t tuple, uint32_t client_isn, uint64_t now,
                uint32_t life)
{
    const struct tombstone entry = entry_of(tuple, client_isn);
    return tombstones_add(table, &entry, now, life);
}

static bool found(struct tombstones *table, uint64_t tuple, uint32_t client_isn, uint64_t now)
{
    const struct tombstone *entry = tombstones_find(table, tuple, client_isn, now);
    if (!entry)
        return false;
    assert_true(entry->tuple == tuple);
    assert_int_equal(entry->client_isn, client_isn);
    assert_int_equal(entry->client_end, client_isn + 100);
    assert_int_equal(entry->server_end, ~client_isn);
    assert_int_equal(entry->reset, client_isn & 1);
    return true;
}

static void pitfall_24_a_late_first_segment_finds_the_flow_that_closed(void **state)
{
    (void)state;
    struct tombstones *table = tombstones_new(4);
    assert_false(add(table, 77, 1000, 5000, 130000));
    assert_true(found(table, 77, 1000, 5000));
    assert_true(found(table, 77, 1000, 5000 + 129999));
    tombstones_free(table);
}

static void only_the_same_isn_of_the_same_tuple_is_found(void **state)
{
    (void)state;
    struct tombstones *table = tombstones_new(64);
    add(table, 77, 1000, 0, 1000);
    add(table, 77, 3000, 0, 1000); /* the port was used again */
    for (unsigned bit = 0; bit < 64; bit++)
        assert_false(found(table, 77 ^ UINT64_C(1) << bit, 1000, 0));
    for (unsigned bit = 0; bit < 32; bit++)
        assert_false(found(table, 77, 1000 ^ 1U << bit, 0));
    assert_true(found(table, 77, 1000, 0));
    assert_true(found(table, 77, 3000, 0));
    tombstones_free(table);
}

static void an_entry_lives_for_its_time_rounded_up_to_a_second(void **state)
{
    (void)state;
    struct tombstones *table = tombstones_new(4);
    add(table, 1, 1, 10001, 2000);
    assert_true(found(table, 1, 1, 12001));
    assert_true(found(table, 1, 1, 12999));
    assert_false(found(table, 1, 1, 13000));
    assert_int_equal(tombstones_expire(table, 12999, 10), 0);
    assert_int_equal(tombstones_count(table), 1);
    assert_int_equal(tombstones_expire(table, 13000, 10), 1);
    assert_int_equal(tombstones_count(table), 0);
    tombstones_free(table);
}

static void a_full_ring_lets_the_oldest_go_and_says_so(void **state)
{
    (void)state;
    enum { CAPACITY = 5 };
    struct tombstones *table = tombstones_new(CAPACITY);
    for (uint32_t i = 0; i < CAPACITY; i++)
        assert_false(add(table, i, i, 0, 60000));
    for (uint32_t i = CAPACITY; i < 40; i++) {
        assert_true(add(table, i, i, 0, 60000));
        assert_int_equal(tombstones_count(table), CAPACITY);
        assert_false(found(table, i - CAPACITY, i - CAPACITY, 0));
        for (uint32_t kept = i - CAPACITY + 1; kept <= i; kept++)
            assert_true(found(table, kept, kept, 0));
    }
    tombstones_free(table);
}

static void an_expired_oldest_is_no_loss(void **state)
{
    (void)state;
    struct tombstones *table = tombstones_new(2);
    add(table, 1, 1, 0, 1000);
    add(table, 2, 2, 0, 60000);
    assert_false(add(table, 3, 3, 1000, 60000));
    assert_true(add(table, 4, 4, 1000, 60000));
    tombstones_free(table);
}

static void a_ring_of_one_works(void **state)
{
    (void)state;
    struct tombstones *table = tombstones_new(1);
    assert_false(add(table, 1, 1, 0, 1000));
    assert_true(add(table, 1, 2, 0, 1000));
    assert_false(found(table, 1, 1, 0));
    assert_true(found(table, 1, 2, 0));
    assert_int_equal(tombstones_expire(table, 1000, 1), 1);
    assert_false(add(table, 1, 3, 1000, 1000));
    tombstones_free(table);
    tombstones_free(NULL);
}

static void expiry_is_bounded_per_call(void **state)
{
    (void)state;
    struct tombstones *table = tombstones_new(100);
    for (uint32_t i = 0; i < 100; i++)
        add(table, i, i, 0, 1000);
    assert_int_equal(tombstones_expire(table, 1000, 0), 0);
    assert_int_equal(tombstones_expire(table, 1000, 30), 30);
    assert_int_equal(tombstones_expire(table, 1000, 1000), 70);
    assert_int_equal(tombstones_expire(table, 1000, 1000), 0);
    tombstones_free(table);
}

/* Would take minutes if a client could pile its entries into one chain. */
static void a_client_that_uses_one_port_for_ever_costs_no_more_than_others(void **state)
{
    (void)state;
    enum { CAPACITY = 1 << 18 };
    struct tombstones *table = tombstones_new(CAPACITY);
    for (uint32_t i = 0; i < 2 * CAPACITY; i++) /* ISNs that agree in their low bits */
        add(table, UINT64_C(0x123456789abcdef0), i << 13 | i >> 19, 0, 1000);
    for (uint32_t i = CAPACITY; i < 2 * CAPACITY; i++)
        assert_true(found(table, UINT64_C(0x123456789abcdef0), i << 13 | i >> 19, 0));
    tombstones_free(table);
}

/* The naive ring: an array in order of arrival. */
struct list {
    struct {
        uint64_t tuple, ends; /* ms */
        uint32_t client_isn;
    } entries[4096];
    size_t count;
};

static void list_drop_first(struct list *list)
{
    list->count--;
    memmove(&list->entries[0], &list->entries[1], list->count * sizeof list->entries[0]);
}

static bool list_add(struct list *list, size_t capacity, uint64_t tuple, uint32_t isn, uint64_t now,
                     uint32_t life)
{
    bool lost = false;
    if (list->count == capacity) {
        lost = list->entries[0].ends > now;
        list_drop_first(list);
    }
    list->entries[list->count].tuple = tuple;
    list->entries[list->count].client_isn = isn;
    list->entries[list->count++].ends = (now + life + 999) / 1000 * 1000;
    return lost;
}

static bool list_has(const struct list *list, uint64_t tuple, uint32_t isn, uint64_t now)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->entries[i].tuple == tuple && list->entries[i].client_isn == isn &&
            list->entries[i].ends > now)
            return true;
    return false;
}

static uint32_t list_expire(struct list *list, uint64_t now, uint32_t most)
{
    uint32_t gone = 0;
    for (; gone < most && list->count && list->entries[0].ends <= now; gone++)
        list_drop_first(list);
    return gone;
}

static void it_agrees_with_a_plain_list(void **state)
{
    (void)state;
    static const uint32_t capacities[] = {1, 2, 3, 50, 64, 257, 1000};
    static struct list list;
    for (size_t c = 0; c < sizeof capacities / sizeof capacities[0]; c++) {
        struct random random = {c};
        struct tombstones *table = tombstones_new(capacities[c]);
        uint64_t now = UINT64_C(1767225600000);
        list.count = 0;
        for (int round = 0; round < 50000; round++) {
            const uint64_t tuple = random_below(&random, 20) * UINT64_C(0xd6e8feb86659fd93);
            const uint32_t isn = random_below(&random, 40), life = random_below(&random, 130000);
            now += random_below(&random, 500);
            switch (random_below(&random, 8)) {
            case 0:
                assert_int_equal(tombstones_expire(table, now, isn), list_expire(&list, now, isn));
                break;
            case 1:
            case 2:
            case 3:
                assert_int_equal(add(table, tuple, isn, now, life),
                                 list_add(&list, capacities[c], tuple, isn, now, life));
                break;
            default:
                assert_int_equal(found(table, tuple, isn, now), list_has(&list, tuple, isn, now));
            }
            assert_int_equal(tombstones_count(table), list.count);
        }
        tombstones_free(table);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pitfall_24_a_late_first_segment_finds_the_flow_that_closed),
        cmocka_unit_test(only_the_same_isn_of_the_same_tuple_is_found),
        cmocka_unit_test(an_entry_lives_for_its_time_rounded_up_to_a_second),
        cmocka_unit_test(a_full_ring_lets_the_oldest_go_and_says_so),
        cmocka_unit_test(an_expired_oldest_is_no_loss),
        cmocka_unit_test(a_ring_of_one_works),
        cmocka_unit_test(expiry_is_bounded_per_call),
        cmocka_unit_test(a_client_that_uses_one_port_for_ever_costs_no_more_than_others),
        cmocka_unit_test(it_agrees_with_a_plain_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
