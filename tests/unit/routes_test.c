/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Paths and methods: what each call is, and that what is almost one is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "control/api/routes.h"

static struct route_match match(const char *method, const char *path)
{
    struct http1_slice m = {method, strlen(method)}, p = {path, strlen(path)};
    struct route_match out;
    route_match(&m, &p, &out);
    return out;
}

static enum route route(const char *method, const char *path)
{
    return match(method, path).route;
}

#define ID "00112233-4455-6677-8899-aabbccddeeff"

static void every_call_of_the_api_is_known(void **state)
{
    (void)state;
    assert_int_equal(route("GET", "/healthz"), ROUTE_HEALTH);
    assert_int_equal(route("GET", "/readyz"), ROUTE_READY);
    assert_int_equal(route("GET", "/v1/events"), ROUTE_EVENTS);
    assert_int_equal(route("GET", "/v1/items/lamp"), ROUTE_ITEM);
    assert_int_equal(route("GET", "/v1/sales/7"), ROUTE_SALE);
    assert_int_equal(route("POST", "/v1/sales/7/reservations"), ROUTE_RESERVE);
    assert_int_equal(route("GET", "/v1/reservations/" ID), ROUTE_RESERVATION);
    assert_int_equal(route("DELETE", "/v1/reservations/" ID), ROUTE_CANCEL);
    assert_int_equal(route("POST", "/v1/reservations/" ID "/payment"), ROUTE_PAY);
    assert_int_equal(route("POST", "/v1/payments/webhook"), ROUTE_WEBHOOK);
}

static void head_is_get_without_a_body(void **state)
{
    (void)state;
    assert_int_equal(route("HEAD", "/v1/sales/7"), ROUTE_SALE);
    assert_true(match("HEAD", "/v1/sales/7").head_only);
    assert_true(match("HEAD", "/nowhere").head_only);
    assert_false(match("GET", "/v1/sales/7").head_only);
}

static void a_wrong_method_names_the_right_ones(void **state)
{
    (void)state;
    struct route_match m = match("PUT", "/v1/reservations/" ID);
    assert_int_equal(m.route, ROUTE_METHOD);
    assert_string_equal(m.allow, "GET, HEAD, DELETE");
    assert_int_equal(route("GET", "/v1/sales/7/reservations"), ROUTE_METHOD);
    assert_int_equal(route("HEAD", "/v1/sales/7/reservations"), ROUTE_METHOD);
    assert_int_equal(route("get", "/healthz"), ROUTE_METHOD); /* methods are case-sensitive */
}

static void a_path_that_is_almost_a_call_is_none(void **state)
{
    static const char *const paths[] = {
        "",
        "*",
        "/",
        "//healthz",
        "/healthz/",
        "/Healthz",
        "/v1",
        "/v1/sales",
        "/v1/sales/",
        "/v1/sales/7/",
        "/v1/sales/7/orders",
        "/v1//7",
        "/v2/sales/7",
        "/v1/sales/7/reservations/1",
        "/v1/./sales/7",
        "/v1/items/a/b",
        "/v1/items/",
    };
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        assert_int_equal(route("GET", paths[i]), ROUTE_NONE);
}

static void a_sale_has_one_spelling(void **state)
{
    (void)state;
    assert_int_equal(match("GET", "/v1/sales/2147483647").sale, INT32_MAX);
    static const char *const paths[] = {
        "/v1/sales/0",  "/v1/sales/07",         "/v1/sales/+7",  "/v1/sales/-7",
        "/v1/sales/7a", "/v1/sales/2147483648", "/v1/sales/%37", "/v1/sales/99999999999999999999"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        assert_int_equal(route("GET", paths[i]), ROUTE_NONE);
}

static void an_item_may_be_percent_encoded(void **state)
{
    (void)state;
    assert_string_equal(match("GET", "/v1/items/a-b.c_d~E9").item, "a-b.c_d~E9");
    assert_string_equal(match("GET", "/v1/items/%61%2d%5F").item, "a-_");
    static const char *const paths[] = {"/v1/items/%2F",     "/v1/items/%00", "/v1/items/%4",
                                        "/v1/items/%",       "/v1/items/%zz", "/v1/items/a b",
                                        "/v1/items/\xc3\xa4"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        assert_int_equal(route("GET", paths[i]), ROUTE_NONE);
}

static void an_item_has_at_most_64_characters(void **state)
{
    char path[128] = "/v1/items/";
    size_t at = strlen(path);
    (void)state;
    memset(path + at, 'x', 64);
    assert_int_equal(route("GET", path), ROUTE_ITEM);
    path[at + 64] = 'x';
    assert_int_equal(route("GET", path), ROUTE_NONE);
}

static void a_reservation_is_read_from_its_uuid(void **state)
{
    static const uint8_t id[16] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                   0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
    (void)state;
    assert_memory_equal(
        match("GET", "/v1/reservations/00112233-4455-6677-8899-AABBCCDDEEFF").reservation, id, 16);
    assert_int_equal(route("GET", "/v1/reservations/00112233445566778899aabbccddeeff"), ROUTE_NONE);
    assert_int_equal(route("GET", "/v1/reservations/" ID "0"), ROUTE_NONE);
    assert_int_equal(route("GET", "/v1/reservations/g0112233-4455-6677-8899-aabbccddeeff"),
                     ROUTE_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_of_the_api_is_known),
        cmocka_unit_test(head_is_get_without_a_body),
        cmocka_unit_test(a_wrong_method_names_the_right_ones),
        cmocka_unit_test(a_path_that_is_almost_a_call_is_none),
        cmocka_unit_test(a_sale_has_one_spelling),
        cmocka_unit_test(an_item_may_be_percent_encoded),
        cmocka_unit_test(an_item_has_at_most_64_characters),
        cmocka_unit_test(a_reservation_is_read_from_its_uuid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
