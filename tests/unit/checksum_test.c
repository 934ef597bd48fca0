/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The Internet checksum against a summation two bytes at a time, and the incremental update against
 * computing everything again. */
#include "dataplane/net/checksum.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/frames.h"
#include "tests/unit/random.h"

/* The folded sum as a number, most significant byte first. */
static uint32_t folded(uint64_t sum)
{
    uint8_t bytes[2];
    const uint16_t word = checksum_fold(sum);
    memcpy(bytes, &word, 2);
    return frame_get16(bytes);
}

static void the_example_of_rfc_1071_comes_out(void **state)
{
    (void)state;
    const uint8_t bytes[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    assert_int_equal(folded(checksum_add(0, bytes, sizeof bytes)), 0xddf2);
}

static void any_length_and_place_sums_as_in_the_rfc(void **state)
{
    (void)state;
    struct random random = {1071};
    uint8_t bytes[1600];
    for (int round = 0; round < 20000; round++) {
        const size_t at = random_below(&random, 8), length = random_below(&random, 1500);
        random_bytes(&random, bytes + at, length);
        if (random_below(&random, 3) == 0)
            memset(bytes + at, random_below(&random, 2) ? 0xff : 0, length);
        assert_int_equal(folded(checksum_add(0, bytes + at, length)),
                         frame_sum(0, bytes + at, length));
    }
}

static void no_byte_behind_the_end_is_read(void **state)
{
    (void)state;
    for (size_t length = 1; length < 70; length++) {
        uint8_t *bytes = malloc(length);
        assert_non_null(bytes);
        memset(bytes, 0xa5, length);
        assert_int_equal(folded(checksum_add(0, bytes, length)), frame_sum(0, bytes, length));
        free(bytes);
    }
}

static void the_largest_sum_folds(void **state)
{
    (void)state;
    assert_int_equal(checksum_fold(UINT64_MAX), 0xffff);
    assert_int_equal(checksum_fold(UINT64_C(0xffffffff00000000)), 0xffff);
    assert_int_equal(checksum_fold(UINT64_C(0x0001ffff)), 1);
    assert_int_equal(checksum_fold(0), 0);
}

/* Random sums are hardly ever right; so each is also made right, and right but for one. */
static void a_sum_is_good_when_it_folds_to_ones(void **state)
{
    (void)state;
    struct random random = {65535};
    assert_false(checksum_good(0));
    assert_true(checksum_good(UINT64_MAX));
    for (int round = 0; round < 100000; round++) {
        uint64_t sum = random_64(&random) >> random_below(&random, 64);
        for (int i = 0; i < 2; i++, sum = checksum_plus(sum, (uint16_t)~checksum_fold(sum)))
            assert_int_equal(checksum_good(sum), checksum_fold(sum) == 0xffff);
        assert_true(checksum_good(sum) && !checksum_good(sum + 1) && !checksum_good(sum - 1));
    }
}

static void a_segment_of_any_length_sums_alike(void **state)
{
    (void)state;
    struct random random = {9293};
    uint8_t bytes[100];
    for (size_t length = 20; length < sizeof bytes; length++) {
        random_bytes(&random, bytes, length);
        assert_int_equal(folded(checksum_add_tcp(7, bytes, length)),
                         folded(checksum_add(7, bytes, length)));
    }
}

static void pseudo_headers_of_both_families_are_summed(void **state)
{
    (void)state;
    struct random random = {4};
    for (int round = 0; round < 1000; round++) {
        uint8_t v4[8], v6[32], tail[8] = {0};
        const uint32_t length = random_below(&random, 65536);
        const uint8_t protocol = (uint8_t)random_32(&random);
        random_bytes(&random, v4, sizeof v4);
        random_bytes(&random, v6, sizeof v6);
        frame_put32(tail, length);
        tail[7] = protocol;

        struct addr source = addr_from_v6(v6), destination = addr_from_v6(v6 + 16);
        assert_int_equal(folded(checksum_pseudo(&source, &destination, protocol, length)),
                         frame_sum(frame_sum(0, v6, 32), tail, 8));
        uint32_t words[2];
        memcpy(words, v4, sizeof words);
        source = addr_from_v4(words[0]);
        destination = addr_from_v4(words[1]);
        assert_int_equal(folded(checksum_pseudo(&source, &destination, protocol, length)),
                         frame_sum(frame_sum(0, v4, 8), tail, 8));
    }
}

/* 0x0000 and 0xffff are the same number; a sender writes the former, as the sum is never 0. */
static void an_incremental_update_equals_computing_again(void **state)
{
    (void)state;
    struct random random = {1624};
    for (int round = 0; round < 200000; round++) {
        uint8_t bytes[128];
        const size_t length = 4 + (size_t)random_below(&random, 30) * 4;
        random_bytes(&random, bytes, length);
        if (random_below(&random, 4) == 0)
            memset(bytes, random_below(&random, 2) ? 0xff : 0, length / 2 * 2 - 4);
        bytes[length - 1] |= 1; /* not all zero: a real segment has a pseudo header */
        uint16_t field = (uint16_t)~checksum_fold(checksum_add(0, bytes, length));

        const size_t at = (size_t)random_below(&random, (uint32_t)length / 2 - 1) * 2;
        const size_t edit = 2 + (size_t)random_below(&random, (uint32_t)(length - at) / 2 - 1) * 2;
        const uint64_t removed = checksum_add(0, bytes + at, edit);
        random_bytes(&random, bytes + at, edit);
        if (random_below(&random, 4) == 0)
            memset(bytes + at, random_below(&random, 2) ? 0xff : 0, edit);
        field = checksum_update(field, removed, checksum_add(0, bytes + at, edit));

        const uint16_t again = (uint16_t)~checksum_fold(checksum_add(0, bytes, length));
        assert_true(field == again || (field == 0xffff && again == 0) ||
                    (field == 0 && again == 0xffff));
        assert_int_equal(checksum_fold(checksum_add(field, bytes, length)), 0xffff);
    }
}

static void the_example_of_rfc_1624_comes_out(void **state)
{
    (void)state;
    const uint8_t field[2] = {0xdd, 0x2f}, old[2] = {0x55, 0x55}, new[2] = {0x32, 0x85};
    uint16_t words[3];
    memcpy(&words[0], field, 2);
    memcpy(&words[1], old, 2);
    memcpy(&words[2], new, 2);
    const uint16_t updated = checksum_update(words[0], words[1], words[2]);
    uint8_t bytes[2];
    memcpy(bytes, &updated, 2);
    assert_int_equal(frame_get16(bytes), 0x0000); /* equation 3; the older equation 2 gave 0xffff */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_of_rfc_1071_comes_out),
        cmocka_unit_test(any_length_and_place_sums_as_in_the_rfc),
        cmocka_unit_test(no_byte_behind_the_end_is_read),
        cmocka_unit_test(the_largest_sum_folds),
        cmocka_unit_test(a_sum_is_good_when_it_folds_to_ones),
        cmocka_unit_test(a_segment_of_any_length_sums_alike),
        cmocka_unit_test(pseudo_headers_of_both_families_are_summed),
        cmocka_unit_test(an_incremental_update_equals_computing_again),
        cmocka_unit_test(the_example_of_rfc_1624_comes_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
