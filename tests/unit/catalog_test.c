/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The catalogue in memory: lookups, what items and sales look like, and when "not open" may be said
 * without asking. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "control/catalog/catalog.h"
#include "control/clock.h"
#include "control/timestamp.h"

enum { SALES = 5 };

static struct lane *const NO_LANES[SALES];

static void fill(struct catalog_row rows[SALES])
{
    static const char *const items[SALES] = {"lamp", "chair", "lamp", "bed", "lamp"};
    for (int32_t i = 0; i < SALES; i++)
        rows[i] = (struct catalog_row){.sale = (i + 1) * 10,
                                       .item = items[i],
                                       .title = "A \"title\"",
                                       .description = "Words",
                                       .currency = "EUR",
                                       .state = "open",
                                       .total = 100,
                                       .avail = 100,
                                       .per_user = 2,
                                       .hold_ms = 600000,
                                       .unit_price = 4900,
                                       .opens_at = 0,
                                       .closes_at = TIMESTAMP_INFINITY,
                                       .read_at = 1000000};
}

static void sales_and_items_are_found_and_others_are_not(void **state)
{
    struct catalog_row rows[SALES];
    (void)state;
    fill(rows);
    struct catalog_generation *g = catalog_build(rows, NO_LANES, SALES, 0);
    for (int32_t i = 0; i <= SALES * 10 + 1; i++)
        assert_true(!!catalog_find_sale(g, i) == (i > 0 && i % 10 == 0));
    assert_non_null(catalog_find_item(g, "bed"));
    assert_non_null(catalog_find_item(g, "lamp"));
    assert_null(catalog_find_item(g, "la"));
    assert_null(catalog_find_item(g, "lamps"));
    catalog_discard(g);
}

static void an_item_names_its_sales(void **state)
{
    struct catalog_row rows[SALES];
    (void)state;
    fill(rows);
    struct catalog_generation *g = catalog_build(rows, NO_LANES, SALES, 0);
    assert_string_equal(catalog_find_item(g, "lamp")->view.body,
                        "{\"id\":\"lamp\",\"title\":\"A "
                        "\\\"title\\\"\",\"description\":\"Words\",\"sales\":[10,30,50]}");
    catalog_discard(g);
}

static void a_sale_tells_all_that_a_shop_needs(void **state)
{
    struct catalog_row rows[SALES];
    (void)state;
    fill(rows);
    struct catalog_generation *g = catalog_build(rows, NO_LANES, SALES, 0);
    assert_string_equal(
        catalog_find_sale(g, 20)->view.body,
        "{\"id\":20,\"item\":\"chair\",\"title\":\"A "
        "\\\"title\\\"\",\"state\":\"open\",\"unit_price\":4900,"
        "\"currency\":\"EUR\",\"per_user\":2,\"hold_seconds\":600,"
        "\"opens_at\":\"2000-01-01T00:00:00.000000Z\",\"closes_at\":null,\"stock\":\"available\"}");
    catalog_discard(g);
}

static void stock_is_told_as_a_band(void **state)
{
    static const struct {
        int64_t avail;
        const char *band;
    } cases[] = {{100, "\"available\""},
                 {11, "\"available\""},
                 {10, "\"low\""},
                 {1, "\"low\""},
                 {0, "\"none\""}};
    struct catalog_row rows[SALES];
    (void)state;
    fill(rows);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct view view;
        rows[0].avail = cases[i].avail;
        assert_int_equal(view_sale(&rows[0], &view), 0);
        assert_non_null(strstr(view.body, cases[i].band));
        view_free(&view);
    }
}

static void a_tag_changes_with_the_body_and_only_then(void **state)
{
    struct catalog_row rows[SALES];
    struct view one, same, other;
    (void)state;
    fill(rows);
    view_sale(&rows[0], &one);
    rows[0].avail--; /* the same band */
    view_sale(&rows[0], &same);
    rows[0].avail = 0;
    view_sale(&rows[0], &other);
    assert_string_equal(one.etag, same.etag);
    assert_string_not_equal(one.etag, other.etag);
    view_free(&one);
    view_free(&same);
    view_free(&other);
}

static void not_open_is_only_said_when_it_is_certain(void **state)
{
    struct catalog_row rows[SALES];
    const int64_t asked = 50 * NANOSECONDS_PER_S, old = 3 * NANOSECONDS_PER_S;
    (void)state;
    fill(rows);
    rows[0].opens_at = rows[0].read_at + INT64_C(10000000); /* ten seconds ahead */
    rows[1].opens_at = TIMESTAMP_INFINITY;
    rows[2].opens_at = TIMESTAMP_NINFINITY;
    struct catalog_generation *g = catalog_build(rows, NO_LANES, SALES, asked);
    const struct catalog_sale *soon = catalog_find_sale(g, 10), *never = catalog_find_sale(g, 20);
    const struct catalog_sale *always = catalog_find_sale(g, 30), *open = catalog_find_sale(g, 40);
    assert_true(catalog_not_open(g, soon, asked, old));
    assert_false(catalog_not_open(g, soon, asked + 9 * NANOSECONDS_PER_S,
                                  60 * NANOSECONDS_PER_S)); /* the margin */
    assert_true(catalog_not_open(g, soon, asked + 8 * NANOSECONDS_PER_S, 60 * NANOSECONDS_PER_S));
    assert_false(catalog_not_open(g, soon, asked + 4 * NANOSECONDS_PER_S,
                                  old)); /* an edit may have been missed */
    assert_true(catalog_not_open(g, never, asked, old));
    assert_false(catalog_not_open(g, always, asked, old));
    assert_false(catalog_not_open(g, open, asked, old));
    catalog_discard(g);
}

static void an_empty_catalogue_finds_nothing(void **state)
{
    (void)state;
    struct catalog_generation *g = catalog_build(NULL, NULL, 0, 0);
    assert_non_null(g);
    assert_null(catalog_find_sale(g, 1));
    assert_null(catalog_find_item(g, "lamp"));
    assert_null(catalog_sale_at(g, 0));
    catalog_discard(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sales_and_items_are_found_and_others_are_not),
        cmocka_unit_test(an_item_names_its_sales),
        cmocka_unit_test(a_sale_tells_all_that_a_shop_needs),
        cmocka_unit_test(stock_is_told_as_a_band),
        cmocka_unit_test(a_tag_changes_with_the_body_and_only_then),
        cmocka_unit_test(not_open_is_only_said_when_it_is_certain),
        cmocka_unit_test(an_empty_catalogue_finds_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
