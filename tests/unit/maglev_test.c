/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Maglev tables: shares, what moves when a backend leaves or comes, and what does not matter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "common/siphash.h"
#include "dataplane/admit/maglev.h"

static struct maglev_backend backends[MAGLEV_BACKENDS];
static uint16_t table[MAGLEV_SIZE], other[MAGLEV_SIZE];

/* Backend `i` of a fleet: four to an address, both families. */
static struct maglev_backend backend(uint16_t i)
{
    struct maglev_backend b = {.value = i, .weight = 10};
    if (i % 2)
        b.address.addr.bytes[0] = 0x20;
    else
        b.address.addr.bytes[10] = b.address.addr.bytes[11] = 0xff;
    b.address.addr.bytes[14] = (uint8_t)(i / 4 >> 8);
    b.address.addr.bytes[15] = (uint8_t)(i / 4);
    b.address.port = (uint16_t)(8080 + i % 4);
    return b;
}

static void build(uint16_t *into, uint32_t size, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        backends[i] = backend((uint16_t)i);
    maglev_fill(into, size, backends, count);
}

static uint32_t entries_of(const uint16_t *of, uint32_t size, uint16_t value)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < size; i++)
        count += of[i] == value;
    return count;
}

static void a_size_is_a_prime_of_at_least_a_hundred_entries_each(void **state)
{
    (void)state;
    uint32_t before = 0, sizes = 0;
    for (uint32_t n = 1; n <= MAGLEV_BACKENDS; n++) {
        const uint32_t size = maglev_size(n);
        assert_true(size >= 100 * n && size <= MAGLEV_SIZE && size >= before);
        sizes += size != before;
        before = size;
        for (uint32_t d = 2; d * d <= size; d++)
            assert_int_not_equal(size % d, 0);
    }
    assert_int_equal(sizes, 4); /* few steps: another size moves everything */
}

static void shares_differ_by_one_entry(void **state)
{
    static const uint32_t counts[] = {1, 2, 3, 7, 10, 11, 64, 333, MAGLEV_BACKENDS};
    static uint32_t shares[MAGLEV_BACKENDS];
    (void)state;
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        const uint32_t n = counts[c], size = maglev_size(n);
        build(table, size, n);
        memset(shares, 0, sizeof shares);
        for (uint32_t i = 0; i < size; i++) {
            assert_true(table[i] < n);
            shares[table[i]]++;
        }
        for (uint32_t i = 0; i < n; i++)
            assert_in_range(shares[i], size / n, size / n + 1);
    }
}

/* Not only the table: connections, too. */
static void hashes_are_spread_within_a_few_percent(void **state)
{
    enum { BACKENDS = 8, HASHES = 400000 };
    const struct siphash_key key = {1, 2};
    uint32_t met[BACKENDS] = {0};
    (void)state;
    const uint32_t size = maglev_size(BACKENDS);
    build(table, size, BACKENDS);
    for (uint64_t i = 0; i < HASHES; i++)
        met[maglev_choose(table, size, siphash13(&key, &i, 1), 0)]++;
    for (int i = 0; i < BACKENDS; i++)
        assert_in_range(met[i], HASHES / BACKENDS * 97 / 100, HASHES / BACKENDS * 103 / 100);
}

static void the_order_of_the_configuration_does_not_matter(void **state)
{
    enum { BACKENDS = 50 };
    (void)state;
    const uint32_t size = maglev_size(BACKENDS);
    build(table, size, BACKENDS);
    for (uint16_t i = 0; i < BACKENDS; i++)
        backends[i] =
            backend((uint16_t)(i * 7 % BACKENDS)); /* another order: 7 and 50 are coprime */
    maglev_fill(other, size, backends, BACKENDS);
    assert_memory_equal(table, other, size * sizeof table[0]);
}

/* Nor which number a backend has: gateways with different lists agree about those in both. */
static void the_table_follows_from_addresses_alone(void **state)
{
    enum { BACKENDS = 5 };
    (void)state;
    const uint32_t size = maglev_size(BACKENDS);
    build(table, size, BACKENDS);
    for (uint16_t i = 0; i < BACKENDS; i++) {
        backends[i] = backend(i);
        backends[i].value = (uint16_t)(1000 + i);
    }
    maglev_fill(other, size, backends, BACKENDS);
    for (uint32_t i = 0; i < size; i++)
        assert_int_equal(other[i], table[i] + 1000);
}

/* How many entries changed that need not have. */
static uint32_t moved_needlessly(uint32_t size, uint16_t gone)
{
    uint32_t moved = 0;
    for (uint32_t i = 0; i < size; i++)
        moved += table[i] != gone && table[i] != other[i];
    return moved;
}

static void a_backend_that_leaves_moves_few_entries_of_the_others(void **state)
{
    static const uint32_t counts[] = {3, 10, 80, 600};
    (void)state;
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        const uint32_t n = counts[c], size = maglev_size(n);
        const uint16_t gone = (uint16_t)(n / 2);
        build(table, size, n);
        for (uint32_t i = 0; i < n; i++)
            backends[i] = backend((uint16_t)i);
        backends[gone] = backends[n - 1];
        maglev_fill(other, size, backends, n - 1);
        assert_int_equal(entries_of(other, size, gone), 0);
        assert_true(moved_needlessly(size, gone) <= size * 5 / 100);
        /* and its coming back is the same, read backwards */
    }
}

/* Weights of a fleet: many light ones, some heavy. */
static uint16_t weight_of(uint32_t i)
{
    return i % 10 == 0 ? 100 : (uint16_t)(1 + i % 7);
}

static uint32_t build_weighted(uint16_t *into, uint32_t size, uint32_t count)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        backends[i] = backend((uint16_t)i);
        backends[i].weight = weight_of(i);
        sum += weight_of(i);
    }
    maglev_fill(into, size, backends, count);
    return sum;
}

static void shares_follow_weights(void **state)
{
    static const uint32_t counts[] = {1, 2, 3, 10, 80, 81, 600, MAGLEV_BACKENDS};
    static uint32_t shares[MAGLEV_BACKENDS];
    (void)state;
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        const uint32_t n = counts[c], size = maglev_size(n);
        const uint32_t sum = build_weighted(table, size, n);
        memset(shares, 0, sizeof shares);
        for (uint32_t i = 0; i < size; i++)
            shares[table[i]]++;
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t exact = (uint32_t)((uint64_t)size * weight_of(i) / sum);
            const uint32_t slack = 1 + exact / 100;
            assert_in_range(shares[i], exact > slack ? exact - slack : 1, exact + 1 + slack);
        }
    }
}

static void the_lightest_beside_the_heaviest_still_has_an_entry(void **state)
{
    static const uint32_t counts[] = {10, 81, 655, MAGLEV_BACKENDS}; /* as many as fit a size */
    (void)state;
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        const uint32_t n = counts[c], size = maglev_size(n);
        for (uint32_t i = 0; i < n; i++) {
            backends[i] = backend((uint16_t)i);
            backends[i].weight = i == 0 ? 1 : MAGLEV_WEIGHT;
        }
        maglev_fill(table, size, backends, n);
        assert_true(entries_of(table, size, 0) >= 1);
    }
}

static uint32_t moved_in_all(uint32_t size)
{
    uint32_t moved = 0;
    for (uint32_t i = 0; i < size; i++)
        moved += table[i] != other[i];
    return moved;
}

/* Its share has to go elsewhere; beyond that at most a tenth of the table. */
static void a_weighted_backend_that_leaves_moves_its_share_and_a_tenth(void **state)
{
    static const uint32_t counts[] = {3, 10, 80, 600, 2000};
    (void)state;
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++)
        for (uint32_t gone = 0; gone < 2; gone++) { /* a heavy one, a light one */
            const uint32_t n = counts[c], size = maglev_size(n);
            build_weighted(table, size, n);
            for (uint32_t i = 0, at = 0; i < n; i++)
                if (i != gone) {
                    backends[at] = backend((uint16_t)i);
                    backends[at++].weight = weight_of(i);
                }
            maglev_fill(other, size, backends, n - 1);
            const uint32_t share = entries_of(table, size, (uint16_t)gone);
            assert_int_equal(entries_of(other, size, (uint16_t)gone), 0);
            assert_true(moved_in_all(size) <= share + size / 10);
        }
}

static void another_weight_moves_the_difference_and_a_tenth(void **state)
{
    enum { BACKENDS = 20, CHANGED = 10 };
    static const uint16_t weights[] = {1, 50, 99};
    (void)state;
    const uint32_t size = maglev_size(BACKENDS);
    build_weighted(table, size, BACKENDS);
    for (size_t w = 0; w < sizeof weights / sizeof weights[0]; w++) {
        for (uint32_t i = 0; i < BACKENDS; i++) {
            backends[i] = backend((uint16_t)i);
            backends[i].weight = i == CHANGED ? weights[w] : weight_of(i);
        }
        maglev_fill(other, size, backends, BACKENDS);
        const uint32_t before = entries_of(table, size, CHANGED),
                       after = entries_of(other, size, CHANGED);
        assert_true(after < before);
        assert_true(moved_in_all(size) <= before - after + size / 10);
    }
}

static void one_backend_has_everything(void **state)
{
    (void)state;
    const uint32_t size = maglev_size(1);
    build(table, size, 1);
    assert_int_equal(entries_of(table, size, 0), size);
    assert_int_equal(maglev_choose(table, size, UINT64_MAX, 0), 0);
    assert_int_equal(maglev_choose(table, size, UINT64_MAX, 1), -1);
}

static void the_next_choices_are_distinct_until_there_are_none(void **state)
{
    enum { BACKENDS = 9 };
    (void)state;
    const uint32_t size = maglev_size(BACKENDS);
    build(table, size, BACKENDS);
    for (uint64_t hash = 0; hash < 3 * (uint64_t)size; hash += 5) {
        uint32_t met = 0;
        for (uint32_t nth = 0; nth < BACKENDS; nth++)
            met |= UINT32_C(1) << maglev_choose(table, size, hash, nth);
        assert_int_equal(met, (1 << BACKENDS) - 1);
        assert_int_equal(maglev_choose(table, size, hash, BACKENDS), -1);
    }
}

static void no_more_choices_are_given_than_can_be_kept(void **state)
{
    enum { BACKENDS = 40 };
    (void)state;
    const uint32_t size = maglev_size(BACKENDS);
    build(table, size, BACKENDS);
    assert_true(maglev_choose(table, size, 7, MAGLEV_NTH) >= 0);
    assert_int_equal(maglev_choose(table, size, 7, MAGLEV_NTH + 1), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_size_is_a_prime_of_at_least_a_hundred_entries_each),
        cmocka_unit_test(shares_differ_by_one_entry),
        cmocka_unit_test(hashes_are_spread_within_a_few_percent),
        cmocka_unit_test(the_order_of_the_configuration_does_not_matter),
        cmocka_unit_test(the_table_follows_from_addresses_alone),
        cmocka_unit_test(a_backend_that_leaves_moves_few_entries_of_the_others),
        cmocka_unit_test(shares_follow_weights),
        cmocka_unit_test(the_lightest_beside_the_heaviest_still_has_an_entry),
        cmocka_unit_test(a_weighted_backend_that_leaves_moves_its_share_and_a_tenth),
        cmocka_unit_test(another_weight_moves_the_difference_and_a_tenth),
        cmocka_unit_test(one_backend_has_everything),
        cmocka_unit_test(the_next_choices_are_distinct_until_there_are_none),
        cmocka_unit_test(no_more_choices_are_given_than_can_be_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
