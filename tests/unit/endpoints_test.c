/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The map from address and port to a number, against a plain list; and the number by which cookies
 * name a service. */
#include "dataplane/admit/endpoints.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "dataplane/admit/policy.h"
#include "tests/unit/random.h"

static struct addr addr_of(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse(text, &a), 0);
    return a;
}

static void an_empty_map_finds_nothing(void **state)
{
    (void)state;
    struct endpoints *map = endpoints_new(0);
    const struct addr a = addr_of("198.18.0.1");
    assert_int_equal(endpoints_find(map, &a, 80), -1);
    assert_int_equal(endpoints_add(map, &a, 80, 0), -ENOSPC);
    endpoints_free(map);
}

static void address_and_port_and_family_all_count(void **state)
{
    (void)state;
    struct endpoints *map = endpoints_new(4);
    const struct addr v4 = addr_of("198.18.0.80"), v6 = addr_of("2001:db8::80"),
                      next = addr_of("198.18.0.81");
    assert_int_equal(endpoints_add(map, &v4, 80, 1), 0);
    assert_int_equal(endpoints_add(map, &v4, 81, 2), 0);
    assert_int_equal(endpoints_add(map, &v6, 80, 3), 0);
    assert_int_equal(endpoints_find(map, &v4, 80), 1);
    assert_int_equal(endpoints_find(map, &v4, 81), 2);
    assert_int_equal(endpoints_find(map, &v6, 80), 3);
    assert_int_equal(endpoints_find(map, &v6, 81), -1);
    assert_int_equal(endpoints_find(map, &next, 80), -1);
    endpoints_free(map);
}

static void what_is_there_already_stays(void **state)
{
    (void)state;
    struct endpoints *map = endpoints_new(2);
    const struct addr a = addr_of("198.18.0.80");
    assert_int_equal(endpoints_add(map, &a, 80, 5), 0);
    assert_int_equal(endpoints_add(map, &a, 80, 6), -EEXIST);
    assert_int_equal(endpoints_find(map, &a, 80), 5);
    endpoints_free(map);
}

static void a_full_map_refuses_and_still_finds(void **state)
{
    (void)state;
    struct endpoints *map = endpoints_new(3);
    const struct addr a = addr_of("2001:db8::1");
    for (uint16_t port = 1; port <= 3; port++)
        assert_int_equal(endpoints_add(map, &a, port, port), 0);
    assert_int_equal(endpoints_add(map, &a, 4, 4), -ENOSPC);
    assert_int_equal(endpoints_find(map, &a, 4), -1);
    for (uint16_t port = 1; port <= 3; port++)
        assert_int_equal(endpoints_find(map, &a, port), port);
    endpoints_free(map);
}

static void thousands_are_each_found_and_nothing_else(void **state)
{
    enum { MANY = 4096 };
    (void)state;
    struct endpoints *map = endpoints_new(MANY);
    struct random random = {3};
    struct addr *addr = calloc(MANY, sizeof *addr);
    uint16_t *port = calloc(MANY, sizeof *port);
    for (int i = 0; i < MANY; i++) {
        addr[i] = i % 2 ? addr_from_v4((uint32_t)i << 24 | 0x0012c6) : addr_of("2001:db8::");
        addr[i].bytes[i % 2 ? 14 : 15] = (uint8_t)(i / 2);
        port[i] = (uint16_t)(i / 512 + 1);
        assert_int_equal(endpoints_add(map, &addr[i], port[i], i), 0);
    }
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(endpoints_find(map, &addr[i], port[i]), i);
        const uint16_t unused = (uint16_t)(100 + random_below(&random, 60000));
        assert_int_equal(endpoints_find(map, &addr[i], unused), -1);
    }
    free(addr);
    free(port);
    endpoints_free(map);
}

static void cookies_name_a_service_by_address_port_and_scale(void **state)
{
    (void)state;
    struct endpoint e = {addr_of("198.18.0.80"), 80};
    const uint32_t name = policy_cookie_service(&e, 7);
    assert_int_equal(policy_cookie_service(&e, 7), name); /* on every gateway */
    assert_int_not_equal(policy_cookie_service(&e, 8), name);
    assert_int_not_equal(policy_cookie_service(&e, COOKIE_NO_SCALE), name);
    e.port = 81;
    assert_int_not_equal(policy_cookie_service(&e, 7), name);
    e = (struct endpoint){addr_of("198.18.0.81"), 80};
    assert_int_not_equal(policy_cookie_service(&e, 7), name);
}

static void freeing_no_services_is_nothing(void **state)
{
    (void)state;
    services_free(NULL);
    services_free(calloc(1, sizeof(struct services)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_map_finds_nothing),
        cmocka_unit_test(address_and_port_and_family_all_count),
        cmocka_unit_test(what_is_there_already_stays),
        cmocka_unit_test(a_full_map_refuses_and_still_finds),
        cmocka_unit_test(thousands_are_each_found_and_nothing_else),
        cmocka_unit_test(cookies_name_a_service_by_address_port_and_scale),
        cmocka_unit_test(freeing_no_services_is_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
