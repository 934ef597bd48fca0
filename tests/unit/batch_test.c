/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Batches: order, twins, bounds, and the bytes that PostgreSQL gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "control/ledger/batch.h"
#include "control/ledger/wire.h"

static struct ledger_request request(uint8_t id, uint8_t fingerprint, const char *user,
                                     int32_t quantity)
{
    struct ledger_request r = {.quantity = quantity, .user_length = (uint8_t)strlen(user)};
    memset(r.id, id, 16);
    memset(r.fingerprint, fingerprint, 16);
    memcpy(r.user, user, strlen(user));
    return r;
}

static void rows_keep_the_order_of_arrival(void **state)
{
    struct batch *b = batch_new(8);
    struct ledger_request r[5];
    (void)state;
    for (uint8_t i = 0; i < 5; i++) {
        r[i] = request((uint8_t)(7 * i + 1), 1, "ann", 1);
        assert_int_equal(batch_add(b, &r[i]), BATCH_ROW);
    }
    assert_int_equal(batch_rows(b), 5);
    for (size_t i = 0; i < 5; i++)
        assert_ptr_equal(batch_row(b, i), &r[i]);
    batch_free(b);
}

static void the_same_key_and_body_join_one_row(void **state)
{
    struct batch *b = batch_new(4);
    struct ledger_request r[4] = {request(1, 1, "ann", 1), request(2, 1, "bob", 1),
                                  request(1, 1, "ann", 1), request(1, 1, "ann", 1)};
    (void)state;
    assert_int_equal(batch_add(b, &r[0]), BATCH_ROW);
    assert_int_equal(batch_add(b, &r[1]), BATCH_ROW);
    assert_int_equal(batch_add(b, &r[2]), BATCH_JOINED);
    assert_int_equal(batch_add(b, &r[3]), BATCH_JOINED);
    assert_int_equal(batch_rows(b), 2);
    int twins = 0;
    for (struct ledger_request *t = batch_row(b, 0)->twin; t; t = t->twin)
        twins++;
    assert_int_equal(twins, 2);
    assert_null(batch_row(b, 1)->twin);
    batch_free(b);
}

static void the_same_key_with_another_body_is_a_conflict(void **state)
{
    struct batch *b = batch_new(4);
    struct ledger_request one = request(1, 1, "ann", 1), other = request(1, 2, "ann", 2);
    (void)state;
    assert_int_equal(batch_add(b, &one), BATCH_ROW);
    assert_int_equal(batch_add(b, &other), BATCH_CONFLICT);
    assert_int_equal(batch_rows(b), 1);
    assert_null(one.twin);
    batch_free(b);
}

static void a_full_batch_takes_no_row_and_boundedly_many_twins(void **state)
{
    struct batch *b = batch_new(2);
    struct ledger_request r[6] = {request(1, 1, "a", 1), request(2, 1, "b", 1),
                                  request(3, 1, "c", 1), request(1, 1, "a", 1),
                                  request(2, 1, "b", 1), request(1, 1, "a", 1)};
    (void)state;
    assert_int_equal(batch_add(b, &r[0]), BATCH_ROW);
    assert_int_equal(batch_add(b, &r[1]), BATCH_ROW);
    assert_int_equal(batch_add(b, &r[2]), BATCH_FULL);
    assert_int_equal(batch_add(b, &r[3]), BATCH_JOINED);
    assert_int_equal(batch_add(b, &r[4]), BATCH_JOINED);
    assert_int_equal(batch_add(b, &r[5]), BATCH_FULL);
    batch_reset(b);
    assert_int_equal(batch_rows(b), 0);
    assert_int_equal(batch_add(b, &r[2]), BATCH_ROW);
    batch_free(b);
}

static void ids_that_share_their_hash_stay_apart(void **state)
{
    struct batch *b = batch_new(64);
    struct ledger_request r[64];
    (void)state;
    for (uint8_t i = 0; i < 64; i++) {
        r[i] = request(0, 1, "ann", 1);
        r[i].id[15] = i; /* the first eight bytes, which place it in the index, are equal */
        assert_int_equal(batch_add(b, &r[i]), BATCH_ROW);
    }
    for (uint8_t i = 0; i < 64; i++) {
        struct ledger_request again = r[i];
        assert_int_equal(batch_add(b, &again), BATCH_JOINED);
        assert_ptr_equal(batch_row(b, i)->twin, &again);
    }
    batch_free(b);
}

static void arrays_are_what_postgresql_expects(void **state)
{
    static const char users[] =
        "\0\0\0\1\0\0\0\0\0\0\0\x19\0\0\0\2\0\0\0\1\0\0\0\3ann\0\0\0\2\xc3\xa4";
    static const char quantities[] =
        "\0\0\0\1\0\0\0\0\0\0\0\x17\0\0\0\2\0\0\0\1\0\0\0\4\0\0\0\1\0\0\0\4\0\0\x27\x10";
    struct batch *b = batch_new(2);
    struct ledger_request r[2] = {request(1, 3, "ann", 1), request(2, 4, "\xc3\xa4", 10000)};
    struct batch_column c[BATCH_COLUMNS];
    (void)state;
    batch_add(b, &r[0]);
    batch_add(b, &r[1]);
    batch_encode(b, c);
    assert_int_equal(c[1].length, sizeof users - 1);
    assert_memory_equal(c[1].bytes, users, sizeof users - 1);
    assert_int_equal(c[3].length, sizeof quantities - 1);
    assert_memory_equal(c[3].bytes, quantities, sizeof quantities - 1);
    assert_int_equal(c[0].length, 20 + 2 * 20);
    assert_int_equal(wire_int32(c[0].bytes + 8), 2950);
    assert_memory_equal(c[0].bytes + 24, r[0].id, 16);
    assert_memory_equal(c[2].bytes + 44, r[1].fingerprint, 16);
    batch_free(b);
}

static void an_empty_batch_is_four_empty_arrays(void **state)
{
    struct batch *b = batch_new(2);
    struct batch_column c[BATCH_COLUMNS];
    (void)state;
    batch_encode(b, c);
    for (int i = 0; i < BATCH_COLUMNS; i++) {
        assert_int_equal(c[i].length, 12);
        assert_int_equal(wire_int32(c[i].bytes), 0); /* no dimension */
    }
    batch_free(b);
}

static void the_largest_batch_fits_its_buffers(void **state)
{
    static struct ledger_request r[1024];
    static char user[LEDGER_USER_MAX + 1];
    struct batch *b = batch_new(1024);
    struct batch_column c[BATCH_COLUMNS];
    (void)state;
    memset(user, 'u', LEDGER_USER_MAX);
    for (int i = 0; i < 1024; i++) {
        r[i] = request(0, 1, user, 10000);
        memcpy(r[i].id, &i, sizeof i);
        assert_int_equal(batch_add(b, &r[i]), BATCH_ROW);
    }
    batch_encode(b, c); /* under the address sanitizer this is the test */
    assert_int_equal(c[1].length, 20 + 1024 * (4 + LEDGER_USER_MAX));
    batch_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_keep_the_order_of_arrival),
        cmocka_unit_test(the_same_key_and_body_join_one_row),
        cmocka_unit_test(the_same_key_with_another_body_is_a_conflict),
        cmocka_unit_test(a_full_batch_takes_no_row_and_boundedly_many_twins),
        cmocka_unit_test(ids_that_share_their_hash_stay_apart),
        cmocka_unit_test(arrays_are_what_postgresql_expects),
        cmocka_unit_test(an_empty_batch_is_four_empty_arrays),
        cmocka_unit_test(the_largest_batch_fits_its_buffers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
