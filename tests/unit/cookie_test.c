/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * SYN cookies: every genuine one passes as long as it should and no longer, nothing else does but
 * for the luck of 24 bits. The golden values come from a separate implementation over bytes. */
#include "dataplane/tcp/cookie.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/random.h"

enum { CLASSES = 4, SCALES = 16 };

/* 2026-01-01 00:00:00 UTC: the first millisecond of an even epoch. */
static const uint64_t start = UINT64_C(1767225600000);
static const uint64_t epoch_ms = COOKIE_EPOCH_MS, lead_ms = COOKIE_LEAD_MS;

static const uint8_t master[32] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                   16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};

static struct addr address(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse(text, &a), 0);
    return a;
}

static struct cookie_keys keys_at(uint64_t unix_ms)
{
    struct cookie_keys keys;
    cookie_keys_derive(&keys, master, unix_ms);
    return keys;
}

static struct cookie_tuple tuple_of(const char *client)
{
    return (struct cookie_tuple){address(client), 40000, 80, 7};
}

static struct cookie_options options_of(unsigned mss_class, unsigned scale, bool sack)
{
    return (struct cookie_options){(uint8_t)mss_class, (uint8_t)scale, sack};
}

/* Makes at one time and checks at another, each with the keys that a gateway has then. */
static bool passes(const struct cookie_tuple *tuple, uint32_t isn, struct cookie_options options,
                   uint64_t made, uint64_t checked)
{
    const struct cookie_keys then = keys_at(made), now = keys_at(checked);
    struct cookie_options got;
    const uint32_t cookie = cookie_make(&then, tuple, isn, options, made);
    const bool good = cookie_check(&now, tuple, isn, cookie, checked, &got);
    if (good) {
        assert_int_equal(got.mss_class, options.mss_class);
        assert_int_equal(got.window_scale, options.window_scale);
        assert_int_equal(got.sack, options.sack);
    }
    return good;
}

static void cookies_have_their_golden_values(void **state)
{
    (void)state;
    const struct cookie_tuple v4 = tuple_of("198.18.64.1"), v6 = tuple_of("2001:db8:1000::1");
    const struct cookie_tuple full = {v6.client, 65535, 443, UINT32_MAX};
    const struct cookie_keys keys = keys_at(start);
    const uint32_t isn = 0x12345678;
    const uint64_t next = start + epoch_ms;

    assert_true(keys.epoch[1].k0 == UINT64_C(0x2d825d5b902d1f54));
    assert_true(keys.epoch[1].k1 == UINT64_C(0xb603ba5935ba804a));
    assert_int_equal(cookie_make(&keys, &v4, isn, options_of(3, 7, true), start), 0x6ff9aa24);
    assert_int_equal(cookie_make(&keys, &v4, isn, options_of(0, 15, false), next), 0x9e2296b7);
    assert_int_equal(cookie_make(&keys, &v6, isn, options_of(3, 7, true), start), 0x6f74c0b7);
    assert_int_equal(cookie_make(&keys, &full, UINT32_MAX, options_of(1, 14, false), next),
                     0xbc324d41);
}

static void mss_classes_round_down(void **state)
{
    (void)state;
    static const struct {
        uint16_t mss, granted;
    } rows[] = {{0, 536},     {1, 536},     {535, 536},   {536, 536},
                {1219, 536},  {1220, 1220}, {1439, 1220}, {1440, 1440},
                {1459, 1440}, {1460, 1460}, {8960, 1460}, {65535, 1460}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(cookie_mss(cookie_mss_class(rows[i].mss)), rows[i].granted);
}

static void every_option_comes_back_at_every_age(void **state)
{
    (void)state;
    const struct cookie_tuple tuples[] = {tuple_of("198.18.64.1"), tuple_of("2001:db8:1000::1")};
    for (size_t t = 0; t < 2; t++)
        for (unsigned choice = 0; choice < CLASSES * SCALES * 2; choice++)
            for (uint64_t age = 0; age < 2 * epoch_ms; age += 997) {
                const struct cookie_options o =
                    options_of(choice / 32, choice / 2 % SCALES, choice & 1);
                assert_true(passes(&tuples[t], choice * 0x9e3779b9U, o, start, start + age));
            }
}

static void a_cookie_lives_through_the_next_epoch_and_not_a_millisecond_longer(void **state)
{
    (void)state;
    const struct cookie_tuple tuple = tuple_of("198.18.64.1");
    static const uint64_t made[] = {0, 1, 31999, 63999, 64000, 127999, 128000};
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
        const uint64_t end = (made[i] / epoch_ms + 2) * epoch_ms;
        for (uint64_t at = made[i]; at < end; at += 500)
            assert_true(passes(&tuple, 1, options_of(2, 8, true), start + made[i], start + at));
        assert_true(passes(&tuple, 1, options_of(2, 8, true), start + made[i], start + end - 1));
        for (uint64_t late = 0; late < 6 * epoch_ms; late += 500)
            assert_false(
                passes(&tuple, 1, options_of(2, 8, true), start + made[i], start + end + late));
    }
}

static void gateways_two_seconds_apart_accept_each_others_cookies(void **state)
{
    (void)state;
    const struct cookie_tuple tuple = tuple_of("2001:db8:1000::1");
    for (uint64_t at = 0; at <= 2 * epoch_ms; at += 100)
        for (uint64_t apart = 0; apart <= lead_ms; apart += 100) {
            assert_true(passes(&tuple, 2, options_of(1, 0, false), start + at + apart, start + at));
            assert_true(passes(&tuple, 2, options_of(1, 0, false), start + at, start + at + apart));
        }
}

static void a_cookie_from_further_ahead_is_refused(void **state)
{
    (void)state;
    const struct cookie_tuple tuple = tuple_of("198.18.64.1");
    const uint64_t boundary = start + epoch_ms;
    assert_true(passes(&tuple, 3, options_of(0, 0, false), boundary, boundary - lead_ms));
    assert_false(passes(&tuple, 3, options_of(0, 0, false), boundary, boundary - lead_ms - 1));
    for (uint64_t ahead = epoch_ms; ahead < 5 * epoch_ms; ahead += 1000)
        assert_false(passes(&tuple, 3, options_of(0, 0, false), boundary + ahead, boundary - 1));
}

static void no_cookie_is_valid_for_longer_than_its_life(void **state)
{
    (void)state;
    const struct cookie_tuple tuple = tuple_of("198.18.64.1");
    const uint64_t made = start + epoch_ms;
    uint64_t first = 0, last = 0;
    for (uint64_t at = start - epoch_ms; at < start + 5 * epoch_ms; at++)
        if (passes(&tuple, 4, options_of(3, 7, true), made, at)) {
            first = first ? first : at;
            last = at;
        }
    assert_int_equal(last + 1 - first, COOKIE_LIFE_MS);
}

static void a_late_builder_costs_nothing_and_a_stopped_one_closes_the_door(void **state)
{
    (void)state;
    const struct cookie_tuple tuple = tuple_of("198.18.64.1");
    const struct cookie_keys keys = keys_at(start);
    struct cookie_options got;
    for (uint64_t late = 0; late < 6; late++) {
        const uint64_t at = start + late * epoch_ms;
        const uint32_t cookie = cookie_make(&keys, &tuple, 5, options_of(3, 7, true), at);
        assert_int_equal(cookie_check(&keys, &tuple, 5, cookie, at, &got),
                         late < COOKIE_EPOCHS - 1);
    }
    const uint64_t before = start - 2 * epoch_ms; /* a clock that was set back */
    const uint32_t cookie = cookie_make(&keys, &tuple, 5, options_of(3, 7, true), before);
    assert_false(cookie_check(&keys, &tuple, 5, cookie, before, &got));
}

static void the_first_epoch_of_all_works(void **state)
{
    (void)state;
    const struct cookie_tuple tuple = tuple_of("198.18.64.1");
    assert_true(passes(&tuple, 6, options_of(3, 7, true), 0, 0));
    assert_true(passes(&tuple, 6, options_of(3, 7, true), 0, epoch_ms));
}

static void pitfall_14_any_changed_bit_is_refused(void **state)
{
    (void)state;
    const uint32_t isn = 0xdeadbeef;
    const struct cookie_tuple tuples[] = {tuple_of("198.18.64.1"), tuple_of("2001:db8:1000::1")};
    for (size_t t = 0; t < 2; t++)
        for (uint64_t at = start; at < start + 2 * epoch_ms; at += 6999) {
            const struct cookie_keys keys = keys_at(at);
            const uint32_t cookie = cookie_make(&keys, &tuples[t], isn, options_of(3, 7, true), at);
            struct cookie_options got;
            for (unsigned bit = 0; bit < 32; bit++) {
                struct cookie_tuple other = tuples[t];
                assert_false(cookie_check(&keys, &other, isn, cookie ^ 1U << bit, at, &got));
                assert_false(cookie_check(&keys, &other, isn ^ 1U << bit, cookie, at, &got));
                other.service ^= 1U << bit;
                assert_false(cookie_check(&keys, &other, isn, cookie, at, &got));
                other = tuples[t];
                *(bit < 16 ? &other.client_port : &other.service_port) ^=
                    (uint16_t)(1U << bit % 16);
                assert_false(cookie_check(&keys, &other, isn, cookie, at, &got));
            }
            for (unsigned bit = 0; bit < 128; bit++) {
                struct cookie_tuple other = tuples[t];
                other.client.bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
                assert_false(cookie_check(&keys, &other, isn, cookie, at, &got));
            }
        }
}

static void another_master_makes_other_cookies(void **state)
{
    (void)state;
    const struct cookie_tuple tuple = tuple_of("198.18.64.1");
    const struct cookie_keys keys = keys_at(start);
    const uint32_t cookie = cookie_make(&keys, &tuple, 7, options_of(3, 7, true), start);
    for (size_t byte = 0; byte < sizeof master; byte++) {
        uint8_t changed[sizeof master];
        struct cookie_keys other;
        struct cookie_options got;
        memcpy(changed, master, sizeof changed);
        changed[byte] ^= 1;
        cookie_keys_derive(&other, changed, start);
        assert_false(cookie_check(&other, &tuple, 7, cookie, start, &got));
        assert_true(other.timestamp.k0 != keys.timestamp.k0 ||
                    other.timestamp.k1 != keys.timestamp.k1);
    }
}

/* ---- a change of the master ---- */

static const uint8_t next_master[32] = {[31] = 1};

/* The keys of a gateway that took the next master `ago` ms before `unix_ms`. */
static struct cookie_keys rotated(uint64_t unix_ms, uint64_t ago)
{
    struct cookie_keys keys;
    cookie_keys_derive(&keys, next_master, unix_ms);
    cookie_keys_overlap(&keys, master, unix_ms - ago + COOKIE_LIFE_MS);
    return keys;
}

static void a_cookie_of_the_master_before_lives_as_long_as_without_a_change(void **state)
{
    (void)state;
    const struct cookie_tuple tuples[] = {tuple_of("198.18.64.1"), tuple_of("2001:db8:1000::1")};
    for (size_t t = 0; t < 2; t++)
        for (uint64_t made = start; made < start + 2 * epoch_ms; made += 7993)
            for (uint64_t changed = made; changed < made + epoch_ms; changed += 9973)
                for (uint64_t at = changed; at < made + COOKIE_LIFE_MS + lead_ms; at += 1009) {
                    const struct cookie_options o = options_of(2, 5, true);
                    const struct cookie_keys then = keys_at(made), now = rotated(at, at - changed),
                                             unchanged = keys_at(at);
                    const uint32_t cookie = cookie_make(&then, &tuples[t], 8, o, made);
                    struct cookie_options got;
                    const bool good = cookie_check(&now, &tuples[t], 8, cookie, at, &got);
                    assert_int_equal(good,
                                     cookie_check(&unchanged, &tuples[t], 8, cookie, at, &got));
                    assert_int_equal(got.window_scale, 5);
                }
}

static void only_the_new_master_makes_cookies(void **state)
{
    (void)state;
    const struct cookie_tuple tuple = tuple_of("198.18.64.1");
    struct cookie_keys only_new;
    struct cookie_options got;
    for (uint64_t at = start; at < start + COOKIE_LIFE_MS; at += 997) {
        const struct cookie_keys both = rotated(at, at - start);
        cookie_keys_derive(&only_new, next_master, at);
        const uint32_t cookie = cookie_make(&both, &tuple, 9, options_of(3, 7, true), at);
        assert_true(cookie_check(&both, &tuple, 9, cookie, at, &got));
        assert_true(cookie_check(&only_new, &tuple, 9, cookie, at, &got));
    }
}

static void the_overlap_ends_though_nobody_derives_new_keys(void **state)
{
    (void)state;
    const struct cookie_tuple tuple = tuple_of("198.18.64.1");
    const uint64_t changed = start + epoch_ms - 1;
    const uint64_t end = changed + COOKIE_LIFE_MS;
    struct cookie_options got;
    /* Made by a gateway that has not heard of the change, to be in an epoch of today. */
    const struct cookie_keys late = keys_at(end), keys = rotated(end, COOKIE_LIFE_MS);
    const uint32_t cookie = cookie_make(&late, &tuple, 10, options_of(3, 7, true), end - 1);
    assert_true(cookie_check(&keys, &tuple, 10, cookie, end - 1, &got));
    assert_false(cookie_check(&keys, &tuple, 10, cookie, end, &got));
}

static void a_change_of_the_master_leaves_the_clock_alone(void **state)
{
    (void)state;
    const struct addr client = address("198.18.64.1"), service = address("198.18.0.80");
    const struct cookie_keys before = keys_at(start);
    struct cookie_keys after = rotated(start, 0);
    const uint32_t value = cookie_timestamp(&before, &client, &service, start);
    assert_int_not_equal(cookie_timestamp(&after, &client, &service, start), value);
    cookie_keys_clock(&after, master);
    assert_int_equal(cookie_timestamp(&after, &client, &service, start + 5), value + 5);
}

/* One random trial per cookie that a blind flooder could send: 24 bits should let 4 in 2^26
 * through. The count is that of this seed; any value of 1 to 12 is as good, a change of it means
 * that the cookie changed. */
static void pitfall_16_two_to_the_26_random_forgeries_are_nearly_all_refused(void **state)
{
    (void)state;
    enum { TRIALS = 1 << 26, ACCEPTED = 3 };
    const uint64_t at = start + 30000; /* one key is tried: far from a boundary */
    const struct cookie_keys keys = keys_at(at);
    struct random random = {2};
    struct cookie_tuple tuple = tuple_of("198.18.64.1");
    struct cookie_options got;
    unsigned accepted = 0;

    for (unsigned i = 0; i < TRIALS; i++) {
        const uint64_t who = random_64(&random), what = random_64(&random);
        tuple.client.words[3] = (uint32_t)who;
        tuple.client_port = (uint16_t)(who >> 32);
        accepted += cookie_check(&keys, &tuple, (uint32_t)(what >> 32), (uint32_t)what, at, &got);
    }
    printf("%u of %d forgeries accepted\n", accepted, TRIALS);
    assert_in_range(accepted, 1, 12);
    assert_int_equal(accepted, ACCEPTED);
}

/* Of one parity two keys are tried then, of the other four: three per 2^24 is what to expect. */
static void pitfall_16_an_overlap_before_a_boundary_is_at_most_four_times_as_weak(void **state)
{
    (void)state;
    enum { TRIALS = 1 << 24, ACCEPTED = 3 };
    const uint64_t at = start + epoch_ms - 1;
    const struct cookie_keys keys = rotated(at, 1000);
    struct random random = {3};
    struct cookie_tuple tuple = tuple_of("2001:db8:1000::1");
    struct cookie_options got;
    unsigned accepted = 0;

    for (unsigned i = 0; i < TRIALS; i++) {
        const uint64_t who = random_64(&random), what = random_64(&random);
        tuple.client.words[1] = (uint32_t)who;
        tuple.client_port = (uint16_t)(who >> 32);
        accepted += cookie_check(&keys, &tuple, (uint32_t)(what >> 32), (uint32_t)what, at, &got);
    }
    printf("%u of %d forgeries accepted\n", accepted, TRIALS);
    assert_in_range(accepted, 1, 12);
    assert_int_equal(accepted, ACCEPTED);
}

static void timestamps_grow_with_the_clock_for_each_pair(void **state)
{
    (void)state;
    const struct addr clients[] = {address("198.18.64.1"), address("2001:db8:1000::1")};
    const struct addr services[] = {address("198.18.0.80"), address("2001:db8::80")};
    for (size_t i = 0; i < 2; i++) {
        const struct cookie_keys keys = keys_at(start);
        const uint32_t first = cookie_timestamp(&keys, &clients[i], &services[i], start);
        for (uint64_t age = 0; age < 40 * epoch_ms; age += 12345) {
            const struct cookie_keys later = keys_at(start + age);
            const uint32_t value = cookie_timestamp(&later, &clients[i], &services[i], start + age);
            assert_int_equal((uint32_t)(value - first), age);
        }
    }
    const struct cookie_keys keys = keys_at(start);
    assert_int_equal(cookie_timestamp(&keys, &clients[0], &services[0], start), 0x94409890);
    assert_int_equal(cookie_timestamp(&keys, &clients[1], &services[1], start), 0xfa656366);
}

static void timestamps_of_neighbouring_pairs_have_nothing_in_common(void **state)
{
    (void)state;
    const struct cookie_keys keys = keys_at(start);
    const struct addr services[] = {address("198.18.0.80"), address("2001:db8::80")};
    struct addr clients[] = {address("198.18.64.0"), address("2001:db8:1000::")};
    for (size_t family = 0; family < 2; family++) {
        uint32_t seen[256];
        for (unsigned i = 0; i < 256; i++) {
            clients[family].bytes[15] = (uint8_t)i;
            seen[i] = cookie_timestamp(&keys, &clients[family], &services[family], start);
            for (unsigned j = 0; j < i; j++)
                assert_true(seen[i] - seen[j] > 256 && seen[j] - seen[i] > 256);
            struct addr other = services[family];
            other.bytes[15] ^= 1;
            assert_int_not_equal(cookie_timestamp(&keys, &clients[family], &other, start), seen[i]);
        }
    }
}

static struct addr any_address(struct random *random)
{
    struct addr a;
    random_bytes(random, a.bytes, sizeof a.bytes);
    a.bytes[0] = 0x20;
    return random_below(random, 2) ? a : addr_from_v4(random_32(random));
}

static void a_bursts_cookies_are_those_of_its_packets(void **state)
{
    (void)state;
    struct random random = {4};
    static struct cookie_batch batch;
    for (int round = 0; round < 2000; round++) {
        uint64_t now = start + random_below(&random, 1 << 30);
        const struct cookie_keys keys = keys_at(now);
        uint32_t expected[SIPHASH_BATCH][2], got[SIPHASH_BATCH][2];
        uint32_t count = random_below(&random, SIPHASH_BATCH + 1);
        cookie_batch_begin(&batch, &keys, now);
        for (uint32_t i = 0; i < count; i++) {
            struct cookie_tuple tuple = {any_address(&random), (uint16_t)random_32(&random),
                                         (uint16_t)random_32(&random), random_32(&random)};
            struct addr service = addr_is_v4(&tuple.client) ? addr_from_v4(random_32(&random))
                                                            : address("2001:db8::1");
            struct cookie_options options = options_of(
                random_below(&random, 4), random_below(&random, 16), random_below(&random, 2));
            uint32_t isn = random_32(&random);
            cookie_batch_make(&batch, &tuple, isn, options, &got[i][0]);
            cookie_batch_timestamp(&batch, &tuple.client, &service, &got[i][1]);
            expected[i][0] = cookie_make(&keys, &tuple, isn, options, now);
            expected[i][1] = cookie_timestamp(&keys, &tuple.client, &service, now);
        }
        cookie_batch_finish(&batch);
        assert_memory_equal(got, expected, count * sizeof got[0]);
    }
}

static void the_age_of_a_cookie_is_known_to_a_tick_by_the_echoed_clock(void **state)
{
    (void)state;
    const uint64_t begin = UINT64_C(1764000000000) / COOKIE_EPOCH_MS * COOKIE_EPOCH_MS;
    const struct addr client = addr_from_v4(1), service = addr_from_v4(2);
    const struct cookie_options none = {0};
    const struct cookie_tuple tuple = {client, 1, 2, 3};
    const uint32_t first = (uint32_t)(begin / COOKIE_EPOCH_MS * COOKIE_TICKS);
    struct cookie_keys keys;
    bool exact;
    cookie_keys_derive(&keys, master, begin);
    for (uint32_t at = 0; at < COOKIE_EPOCH_MS; at += 777) {
        const uint32_t cookie = cookie_make(&keys, &tuple, 9, none, begin + at);
        const uint32_t clock = cookie_timestamp(&keys, &client, &service, begin + at);
        for (uint32_t age = 0; age < 100000 && at + age < 2 * COOKIE_EPOCH_MS; age += 9999) {
            const uint64_t now = begin + at + age;
            assert_int_equal(cookie_sent(&keys, &client, &service, cookie, &clock, now, &exact),
                             first + at * COOKIE_TICKS / COOKIE_EPOCH_MS);
            assert_true(exact);
            assert_int_equal(cookie_sent(&keys, &client, &service, cookie, NULL, now, &exact),
                             first);
            assert_false(exact);
            const uint32_t future = clock + age + 1, past = clock - at - 1; /* no such SYN-ACK */
            assert_int_equal(cookie_sent(&keys, &client, &service, cookie, &future, now, &exact),
                             first);
            assert_false(exact);
            assert_int_equal(cookie_sent(&keys, &client, &service, cookie, &past, now, &exact),
                             first);
            assert_false(exact);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cookies_have_their_golden_values),
        cmocka_unit_test(mss_classes_round_down),
        cmocka_unit_test(every_option_comes_back_at_every_age),
        cmocka_unit_test(a_cookie_lives_through_the_next_epoch_and_not_a_millisecond_longer),
        cmocka_unit_test(gateways_two_seconds_apart_accept_each_others_cookies),
        cmocka_unit_test(a_cookie_from_further_ahead_is_refused),
        cmocka_unit_test(no_cookie_is_valid_for_longer_than_its_life),
        cmocka_unit_test(a_late_builder_costs_nothing_and_a_stopped_one_closes_the_door),
        cmocka_unit_test(the_first_epoch_of_all_works),
        cmocka_unit_test(pitfall_14_any_changed_bit_is_refused),
        cmocka_unit_test(another_master_makes_other_cookies),
        cmocka_unit_test(pitfall_16_two_to_the_26_random_forgeries_are_nearly_all_refused),
        cmocka_unit_test(a_cookie_of_the_master_before_lives_as_long_as_without_a_change),
        cmocka_unit_test(only_the_new_master_makes_cookies),
        cmocka_unit_test(the_overlap_ends_though_nobody_derives_new_keys),
        cmocka_unit_test(a_change_of_the_master_leaves_the_clock_alone),
        cmocka_unit_test(pitfall_16_an_overlap_before_a_boundary_is_at_most_four_times_as_weak),
        cmocka_unit_test(the_age_of_a_cookie_is_known_to_a_tick_by_the_echoed_clock),
        cmocka_unit_test(timestamps_grow_with_the_clock_for_each_pair),
        cmocka_unit_test(timestamps_of_neighbouring_pairs_have_nothing_in_common),
        cmocka_unit_test(a_bursts_cookies_are_those_of_its_packets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
