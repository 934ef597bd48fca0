/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Reservation ids and fingerprints: fixed by example, since every instance and version must agree
 * on them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "control/ledger/key.h"

static const char *id_of(const char *user, int32_t sale, const char *key)
{
    static char text[8][KEY_UUID_TEXT];
    static int turn;
    uint8_t id[16];
    assert_int_equal(key_reservation_id(user, strlen(user), sale, key, strlen(key), id), 0);
    return key_print(id, text[turn++ % 8]);
}

/* sha256 of 00000003 'ann' 00000004 00000001 00000002 'k1', the first sixteen bytes, computed
 * elsewhere */
static void an_id_is_what_it_has_always_been(void **state)
{
    (void)state;
    assert_string_equal(id_of("ann", 1, "k1"), "77238bc6-c8f2-9726-9c05-4c8a4ff4f49e");
}

static void every_part_counts_and_none_runs_into_the_next(void **state)
{
    const char *id = id_of("ann", 1, "k1");
    (void)state;
    assert_string_equal(id_of("ann", 1, "k1"), id);
    assert_string_not_equal(id_of("bob", 1, "k1"), id);
    assert_string_not_equal(id_of("ann", 2, "k1"), id);
    assert_string_not_equal(id_of("ann", 1, "k2"), id);
    assert_string_not_equal(id_of("an", 1, "nk1"), id_of("ann", 1, "k1"));
}

static void parts_of_no_or_too_many_bytes_are_refused(void **state)
{
    char longest[256];
    uint8_t id[16];
    (void)state;
    memset(longest, 'x', sizeof longest);
    assert_int_equal(key_reservation_id(longest, 255, 1, longest, 255, id), 0);
    assert_int_equal(key_reservation_id(longest, 256, 1, longest, 255, id), -EINVAL);
    assert_int_equal(key_reservation_id(longest, 255, 1, longest, 256, id), -EINVAL);
    assert_int_equal(key_reservation_id(longest, 0, 1, longest, 1, id), -EINVAL);
    assert_int_equal(key_reservation_id(longest, 1, 1, longest, 0, id), -EINVAL);
}

static void another_quantity_has_another_fingerprint(void **state)
{
    uint8_t one[16], again[16], two[16];
    (void)state;
    assert_int_equal(key_fingerprint(1, one), 0);
    assert_int_equal(key_fingerprint(1, again), 0);
    assert_int_equal(key_fingerprint(2, two), 0);
    assert_memory_equal(one, again, 16);
    assert_memory_not_equal(one, two, 16);
}

static void a_printed_id_is_read_back(void **state)
{
    uint8_t id[16], back[16];
    char text[KEY_UUID_TEXT];
    (void)state;
    for (int i = 0; i < 16; i++)
        id[i] = (uint8_t)(i * 17);
    assert_int_equal(key_parse(key_print(id, text), 36, back), 0);
    assert_memory_equal(id, back, 16);
    text[8] = '0';
    assert_int_equal(key_parse(text, 36, back), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_is_what_it_has_always_been),
        cmocka_unit_test(every_part_counts_and_none_runs_into_the_next),
        cmocka_unit_test(parts_of_no_or_too_many_bytes_are_refused),
        cmocka_unit_test(another_quantity_has_another_fingerprint),
        cmocka_unit_test(a_printed_id_is_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
