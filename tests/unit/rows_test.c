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

enum { COLUMNS = 8 };

struct cell {
    const char *bytes; /* NULL: a null */
    int length;
};

#define CELL(text)             \
    {                          \
        text, sizeof(text) - 1 \
    }

static PGresult *result_of(const struct cell cells[COLUMNS])
{
    PGresAttDesc attributes[COLUMNS];
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    memset(attributes, 0, sizeof attributes);
    for (int i = 0; i < COLUMNS; i++) {
        attributes[i].name = (char *)"column";
        attributes[i].format = 1;
    }
    assert_true(PQsetResultAttrs(result, COLUMNS, attributes));
    for (int i = 0; cells && i < COLUMNS; i++)
        assert_true(PQsetvalue(result, 0, i, (char *)cells[i].bytes,
                               cells[i].bytes ? cells[i].length : -1));
    return result;
}

static const struct cell GRANTED[COLUMNS] = {CELL("\0\0\0\3"),
                                             CELL("\0\0\0\xc9"),
                                             CELL("\0\0\0\2"),
                                             CELL("\0\0\0\0\0\0\x13\x24"),
                                             CELL("EUR"),
                                             CELL("\0\0\0\0\0\0\0\1"),
                                             CELL("\0\0\0\0\0\0\0\2"),
                                             CELL("\0\1")};

static int read_with(int column, struct cell cell, struct grant *grant)
{
    struct cell cells[COLUMNS];
    enum ledger_status status;
    int32_t ord;
    memcpy(cells, GRANTED, sizeof cells);
    if (column >= 0)
        cells[column] = cell;
    PGresult *result = result_of(cells);
    int outcome = rows_reserve(result, 0, &ord, &status, grant);
    PQclear(result);
    return outcome;
}

static void a_grant_is_read_with_all_its_columns(void **state)
{
    struct grant g = {0};
    (void)state;
    assert_int_equal(read_with(-1, (struct cell){0}, &g), 0);
    assert_int_equal(g.quantity, 2);
    assert_int_equal(g.unit_price, 4900);
    assert_string_equal(g.currency, "EUR");
    assert_int_equal(g.granted_at, 1);
    assert_int_equal(g.expires_at, 2);
    assert_int_equal(g.render, 1);
}

static void a_grant_with_a_missing_or_misshapen_column_is_refused(void **state)
{
    struct grant g;
    (void)state;
    for (int column = 0; column < COLUMNS; column++) {
        assert_int_equal(read_with(column, (struct cell){NULL, 0}, &g), -EPROTO);
        assert_int_equal(read_with(column, (struct cell){"\0\0\0\0\0", 5}, &g), -EPROTO);
    }
    assert_int_equal(read_with(4, (struct cell)CELL("EU"), &g), -EPROTO);
    assert_int_equal(read_with(4, (struct cell)CELL("E\"R"), &g), -EPROTO);
    assert_int_equal(read_with(4, (struct cell)CELL("eur"), &g), -EPROTO);
}

static void a_refusal_has_no_other_columns(void **state)
{
    const struct cell cells[COLUMNS] = {CELL("\0\0\0\1"), CELL("\0\0\x01\x9a")};
    PGresult *result = result_of(cells);
    enum ledger_status status;
    struct grant g;
    int32_t ord;
    (void)state;
    assert_int_equal(rows_reserve(result, 0, &ord, &status, &g), 0);
    assert_int_equal(ord, 1);
    assert_int_equal(status, LEDGER_SOLD_OUT);
    PQclear(result);
}

static void a_reservation_that_is_not_there_is_not_found(void **state)
{
    struct ledger_request r = {0};
    PGresult *result = result_of(NULL);
    (void)state;
    assert_int_equal(rows_reservation(result, &r), LEDGER_NOT_FOUND);
    PQclear(result);
}

static void a_state_is_a_word(void **state)
{
    struct cell cells[COLUMNS] = {
        CELL("\0\0\0\7"), CELL("\0\0\0\2"),         CELL("\0\0\0\0\0\0\x13\x24"), CELL("EUR"),
        CELL("held"),     CELL("\0\0\0\0\0\0\0\1"), CELL("\0\0\0\0\0\0\0\2"),     CELL("\0\1")};
    static const struct cell wrong[] = {
        CELL(""), CELL("he\"ld"), CELL("Held"), CELL("a_state_with_16_"), {NULL, 0}};
    struct ledger_request r = {0};
    PGresult *result = result_of(cells);
    (void)state;
    assert_int_equal(rows_reservation(result, &r), LEDGER_FOUND);
    assert_string_equal(r.state, "held");
    assert_int_equal(r.grant.sale, 7);
    PQclear(result);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cells[4] = wrong[i];
        result = result_of(cells);
        assert_int_equal(rows_reservation(result, &r), LEDGER_FAILED);
        PQclear(result);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_grant_is_read_with_all_its_columns),
        cmocka_unit_test(a_grant_with_a_missing_or_misshapen_column_is_refused),
        cmocka_unit_test(a_refusal_has_no_other_columns),
        cmocka_unit_test(a_reservation_that_is_not_there_is_not_found),
        cmocka_unit_test(a_state_is_a_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
