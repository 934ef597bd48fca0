/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Pages of events: put together exactly, or refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/ledger/wire.h"
#include "control/outbox/page.h"

/* A result with `rows` rows: the first of the outbox as a whole, then an event per place. */
static PGresult *result_of(int columns, int32_t status, int64_t place, int events,
                           const int64_t *places)
{
    PGresAttDesc attributes[3];
    char four[4], eight[8];
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    memset(attributes, 0, sizeof attributes);
    for (int i = 0; i < 3; i++) {
        attributes[i].name = (char *)"column";
        attributes[i].format = 1;
    }
    assert_true(PQsetResultAttrs(result, columns, attributes));
    for (int i = 0; i < events + 1; i++) {
        wire_put32(four, (uint32_t)(i ? 200 : status));
        wire_put64(eight, (uint64_t)(i ? places[i - 1] : place));
        assert_true(PQsetvalue(result, i, 0, four, 4));
        assert_true(PQsetvalue(result, i, 1, eight, 8));
        if (columns > 2)
            assert_true(PQsetvalue(result, i, 2, (char *)"{\"a\":1}", i ? 7 : -1));
    }
    return result;
}

static enum ledger_status render(PGresult *result, int64_t after, struct ledger_page *page)
{
    *page = (struct ledger_page){.after = after, .limit = 10};
    enum ledger_status status = page_render(result, page);
    PQclear(result);
    return status;
}

static void assert_body(struct ledger_page *page, const char *text)
{
    assert_int_equal(page->length, strlen(text));
    assert_memory_equal(page->body, text, page->length);
    free(page->body);
}

static void events_are_put_together_with_where_to_go_on(void **state)
{
    (void)state;
    struct ledger_page page;
    const int64_t places[] = {8, 9};
    assert_int_equal(render(result_of(3, 200, 50, 2, places), 7, &page), LEDGER_PAGE);
    assert_int_equal(page.events, 2);
    assert_int_equal(page.place, 9);
    assert_body(&page, "{\"events\":[{\"a\":1},{\"a\":1}],\"next\":9}");
}

static void without_events_the_reader_stays_where_it_is(void **state)
{
    (void)state;
    struct ledger_page page;
    assert_int_equal(render(result_of(3, 200, 7, 0, NULL), 7, &page), LEDGER_PAGE);
    assert_int_equal(page.events, 0);
    assert_body(&page, "{\"events\":[],\"next\":7}");
}

static void who_names_no_position_is_told_one(void **state)
{
    (void)state;
    struct ledger_page page;
    const int64_t places[] = {41};
    assert_int_equal(render(result_of(3, 200, 50, 0, NULL), -1, &page), LEDGER_PAGE);
    assert_body(&page, "{\"events\":[],\"next\":50}");
    assert_int_equal(render(result_of(3, 200, 50, 1, places), -1, &page), LEDGER_PAGE);
    assert_body(&page, "{\"events\":[{\"a\":1}],\"next\":41}");
}

static void the_longest_position_fits(void **state)
{
    (void)state;
    struct ledger_page page;
    assert_int_equal(render(result_of(3, 200, INT64_MAX, 0, NULL), INT64_MAX, &page), LEDGER_PAGE);
    assert_body(&page, "{\"events\":[],\"next\":9223372036854775807}");
}

static void too_early_and_too_late_are_told_apart(void **state)
{
    (void)state;
    struct ledger_page page;
    assert_int_equal(render(result_of(3, 410, 12, 0, NULL), 7, &page), LEDGER_PAGE_GONE);
    assert_int_equal(page.place, 12);
    assert_int_equal(render(result_of(3, 409, 5, 0, NULL), 7, &page), LEDGER_PAGE_AHEAD);
    assert_int_equal(page.place, 5);
    assert_null(page.body);
}

static void a_gap_a_repetition_or_another_start_is_refused(void **state)
{
    (void)state;
    struct ledger_page page;
    const int64_t gap[] = {8, 10}, twice[] = {8, 8}, late[] = {9, 10}, early[] = {7, 8};
    const int64_t *all[] = {gap, twice, late, early};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(render(result_of(3, 200, 50, 2, all[i]), 7, &page), LEDGER_FAILED);
        assert_null(page.body);
    }
    assert_int_equal(render(result_of(3, 200, 50, 2, gap), -1, &page), LEDGER_FAILED);
}

static void a_result_of_another_shape_is_refused(void **state)
{
    (void)state;
    struct ledger_page page;
    assert_int_equal(render(result_of(2, 200, 50, 0, NULL), 7, &page), LEDGER_FAILED);
    assert_int_equal(render(result_of(3, 500, 50, 0, NULL), 7, &page), LEDGER_FAILED);
    assert_int_equal(render(PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK), 7, &page), LEDGER_FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_are_put_together_with_where_to_go_on),
        cmocka_unit_test(without_events_the_reader_stays_where_it_is),
        cmocka_unit_test(who_names_no_position_is_told_one),
        cmocka_unit_test(the_longest_position_fits),
        cmocka_unit_test(too_early_and_too_late_are_told_apart),
        cmocka_unit_test(a_gap_a_repetition_or_another_start_is_refused),
        cmocka_unit_test(a_result_of_another_shape_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
