/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Result rows from PostgreSQL: read exactly, or refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "control/ledger/rows.h"

enum { READ_COLUMNS = 8, RESERVE_COLUMNS = 13, COLUMNS_MAX = 13 };

struct cell {
    const char *bytes; /* NULL: a null */
    int length;
};

#define CELL(text)             \
    {                          \
        text, sizeof(text) - 1 \
    }

static PGresult *result_of(const struct cell *cells, int columns)
{
    PGresAttDesc attributes[COLUMNS_MAX];
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    memset(attributes, 0, sizeof attributes);
    for (int i = 0; i < columns; i++) {
        attributes[i].name = (char *)"column";
        attributes[i].format = 1;
    }
    assert_true(PQsetResultAttrs(result, columns, attributes));
    for (int i = 0; cells && i < columns; i++)
        assert_true(PQsetvalue(result, 0, i, (char *)cells[i].bytes,
                               cells[i].bytes ? cells[i].length : -1));
    return result;
}

/* An array's head: one dimension, no NULLs, the type's number, so many elements from 1 on. */
#define ARRAY(type, count) "\0\0\0\1\0\0\0\0\0\0" type "\0\0\0" count "\0\0\0\1"

/* Granted, over the limit, granted before: the third repeats another grant. */
static const struct cell BATCH[RESERVE_COLUMNS] = {
    CELL(ARRAY("\0\x17", "\3") "\0\0\0\4\0\0\0\xc9\0\0\0\4\0\0\x01\x99\0\0\0\4\0\0\0\xc9"),
    CELL("\0\0\0\0\0\0\0\7"),
    CELL("\0\0\0\0\0\0\0\x8"),
    CELL("\0\0\0\0\0\0\x13\x24"),
    CELL("EUR"),
    CELL("\0\1"),
    CELL(ARRAY("\0\x17", "\1") "\0\0\0\4\0\0\0\3"),
    CELL(ARRAY("\0\x17", "\1") "\0\0\0\4\0\0\0\2"),
    CELL(ARRAY("\x04\xa0", "\1") "\0\0\0\x8\0\0\0\0\0\0\0\1"),
    CELL(ARRAY("\x04\xa0", "\1") "\0\0\0\x8\0\0\0\0\0\0\0\2"),
    CELL(ARRAY("\0\x14", "\1") "\0\0\0\x8\0\0\0\0\0\0\0\x63"),
    CELL(ARRAY("\0\x19", "\1") "\0\0\0\3USD"),
    CELL(ARRAY("\0\x15", "\1") "\0\0\0\2\0\2")};

static int read_with(int column, struct cell cell, size_t count, struct reserve_answer *answers)
{
    struct cell cells[RESERVE_COLUMNS];
    memcpy(cells, BATCH, sizeof cells);
    if (column >= 0)
        cells[column] = cell;
    PGresult *result = result_of(cells, RESERVE_COLUMNS);
    int outcome = rows_reserve(result, count, answers);
    PQclear(result);
    return outcome;
}

static void a_batch_is_read_with_what_is_new_and_what_is_repeated(void **state)
{
    struct reserve_answer a[3];
    (void)state;
    assert_int_equal(read_with(-1, (struct cell){0}, 3, a), 0);
    assert_int_equal(a[0].status, LEDGER_GRANTED);
    assert_int_equal(a[0].grant.quantity, 0); /* what was asked for */
    assert_int_equal(a[0].grant.unit_price, 4900);
    assert_string_equal(a[0].grant.currency, "EUR");
    assert_int_equal(a[0].grant.granted_at, 7);
    assert_int_equal(a[0].grant.expires_at, 8);
    assert_int_equal(a[0].grant.render, 1);
    assert_int_equal(a[1].status, LEDGER_LIMIT);
    assert_int_equal(a[2].status, LEDGER_GRANTED);
    assert_int_equal(a[2].grant.quantity, 2);
    assert_int_equal(a[2].grant.unit_price, 99);
    assert_string_equal(a[2].grant.currency, "USD");
    assert_int_equal(a[2].grant.granted_at, 1);
    assert_int_equal(a[2].grant.expires_at, 2);
    assert_int_equal(a[2].grant.render, 2);
}

static void a_batch_with_a_missing_or_misshapen_column_is_refused(void **state)
{
    struct reserve_answer a[4];
    (void)state;
    for (int column = 0; column < RESERVE_COLUMNS; column++) {
        assert_int_equal(read_with(column, (struct cell){NULL, 0}, 3, a), -EPROTO);
        assert_int_equal(read_with(column, (struct cell){"\0\0\0\0\0", 5}, 3, a), -EPROTO);
        /* cut off, at every byte */
        for (int length = 0; length < BATCH[column].length; length++)
            assert_int_equal(read_with(column, (struct cell){BATCH[column].bytes, length}, 3, a),
                             -EPROTO);
    }
    assert_int_equal(read_with(-1, (struct cell){0}, 2, a), -EPROTO);
    assert_int_equal(read_with(-1, (struct cell){0}, 4, a), -EPROTO);
    assert_int_equal(read_with(4, (struct cell)CELL("E\"R"), 3, a), -EPROTO);
    assert_int_equal(read_with(4, (struct cell)CELL("eur"), 3, a), -EPROTO);
}

static void a_repetition_of_what_was_not_asked_or_not_granted_is_refused(void **state)
{
    static const struct cell wrong[] = {CELL(ARRAY("\0\x17", "\1") "\0\0\0\4\0\0\0\0"),
                                        CELL(ARRAY("\0\x17", "\1") "\0\0\0\4\0\0\0\2"),
                                        CELL(ARRAY("\0\x17", "\1") "\0\0\0\4\0\0\0\4"),
                                        CELL(ARRAY("\0\x17", "\1") "\0\0\0\4\xff\xff\xff\xff"),
                                        CELL(ARRAY("\0\x17", "\1") "\xff\xff\xff\xff\0\0\0\3")};
    struct reserve_answer a[3];
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(read_with(6, wrong[i], 3, a), -EPROTO);
    assert_int_equal(
        read_with(7, (struct cell)CELL(ARRAY("\0\x17", "\1") "\0\0\0\4\0\0\0\0"), 3, a), -EPROTO);
}

static void refusals_need_no_other_columns(void **state)
{
    const struct cell cells[RESERVE_COLUMNS] = {CELL(ARRAY("\0\x17", "\1") "\0\0\0\4\0\0\x01\x9a")};
    PGresult *result = result_of(cells, RESERVE_COLUMNS);
    struct reserve_answer a;
    (void)state;
    assert_int_equal(rows_reserve(result, 1, &a), 0);
    assert_int_equal(a.status, LEDGER_SOLD_OUT);
    PQclear(result);
}

static void an_empty_batch_has_an_empty_answer(void **state)
{
    const struct cell cells[RESERVE_COLUMNS] = {CELL("\0\0\0\0\0\0\0\0\0\0\0\x17")};
    PGresult *result = result_of(cells, RESERVE_COLUMNS);
    (void)state;
    assert_int_equal(rows_reserve(result, 0, NULL), 0);
    PQclear(result);
}

static void a_reservation_that_is_not_there_is_not_found(void **state)
{
    struct ledger_request r = {0};
    PGresult *result = result_of(NULL, READ_COLUMNS);
    (void)state;
    assert_int_equal(rows_reservation(result, &r), LEDGER_NOT_FOUND);
    PQclear(result);
}

static void a_state_is_a_word(void **state)
{
    struct cell cells[READ_COLUMNS] = {
        CELL("\0\0\0\7"), CELL("\0\0\0\2"),         CELL("\0\0\0\0\0\0\x13\x24"), CELL("EUR"),
        CELL("held"),     CELL("\0\0\0\0\0\0\0\1"), CELL("\0\0\0\0\0\0\0\2"),     CELL("\0\1")};
    static const struct cell wrong[] = {
        CELL(""), CELL("he\"ld"), CELL("Held"), CELL("a_state_with_16_"), {NULL, 0}};
    struct ledger_request r = {0};
    PGresult *result = result_of(cells, READ_COLUMNS);
    (void)state;
    assert_int_equal(rows_reservation(result, &r), LEDGER_FOUND);
    assert_string_equal(r.state, "held");
    assert_int_equal(r.grant.sale, 7);
    PQclear(result);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cells[4] = wrong[i];
        result = result_of(cells, READ_COLUMNS);
        assert_int_equal(rows_reservation(result, &r), LEDGER_FAILED);
        PQclear(result);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_is_read_with_what_is_new_and_what_is_repeated),
        cmocka_unit_test(a_batch_with_a_missing_or_misshapen_column_is_refused),
        cmocka_unit_test(a_repetition_of_what_was_not_asked_or_not_granted_is_refused),
        cmocka_unit_test(refusals_need_no_other_columns),
        cmocka_unit_test(an_empty_batch_has_an_empty_answer),
        cmocka_unit_test(a_reservation_that_is_not_there_is_not_found),
        cmocka_unit_test(a_state_is_a_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
