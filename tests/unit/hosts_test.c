/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The hosts of a connection string: libpq's lists, names and their addresses, and what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/ledger/hosts.h"

static struct hosts hosts;
static struct target target[TARGETS_MAX];

static size_t parse(const char *dsn)
{
    char why[256];
    assert_int_equal(hosts_parse(&hosts, dsn, why, sizeof why), 0);
    return hosts_targets(&hosts, target);
}

static void refused(const char *dsn, const char *reason)
{
    char why[256];
    assert_true(hosts_parse(&hosts, dsn, why, sizeof why) < 0);
    assert_non_null(strstr(why, reason));
}

static void expect_target(size_t i, const char *host, const char *address, const char *port)
{
    assert_string_equal(target[i].host, host);
    assert_string_equal(target[i].address, address);
    assert_string_equal(target[i].port, port);
}

static void lists_are_split(void **state)
{
    (void)state;
    assert_int_equal(parse("host=10.0.0.1,2001:db8::1,/run/pg port=5433,5434,5435 dbname=x"), 3);
    expect_target(0, "10.0.0.1", "10.0.0.1", "5433");
    expect_target(1, "2001:db8::1", "2001:db8::1", "5434");
    expect_target(2, "/run/pg", "", "5435");
    assert_false(hosts_waiting(&hosts));
}

static void a_uri_may_name_several_hosts(void **state)
{
    (void)state;
    assert_int_equal(parse("postgresql://shop@10.0.0.1:5433,[2001:db8::1]:5434/ledger"), 2);
    expect_target(0, "10.0.0.1", "10.0.0.1", "5433");
    expect_target(1, "2001:db8::1", "2001:db8::1", "5434");
}

static void one_port_is_for_all_hosts(void **state)
{
    (void)state;
    assert_int_equal(parse("host=10.0.0.1,10.0.0.2 port=6000"), 2);
    expect_target(0, "10.0.0.1", "10.0.0.1", "6000");
    expect_target(1, "10.0.0.2", "10.0.0.2", "6000");
}

static void hostaddr_goes_with_its_host(void **state)
{
    (void)state;
    assert_int_equal(parse("host=db1,db2 hostaddr=10.0.0.1,10.0.0.2 port=1,"), 2);
    expect_target(0, "db1", "10.0.0.1", "1");
    expect_target(1, "db2", "10.0.0.2", "5432");
}

static void the_same_place_twice_is_one_target(void **state)
{
    (void)state;
    assert_int_equal(parse("host=10.0.0.1,10.0.0.1,10.0.0.1 port=1,2,1"), 2);
}

static void without_a_host_libpqs_default_is_taken(void **state)
{
    (void)state;
    unsetenv("PGHOST");
    assert_int_equal(parse("dbname=shop port=6000"), 1);
    setenv("PGHOST", "10.0.0.1,10.0.0.2", 1);
    assert_int_equal(parse("dbname=shop port=6000"), 2);
    expect_target(1, "10.0.0.2", "10.0.0.2", "6000");
    unsetenv("PGHOST");
}

static void a_name_is_looked_up_without_waiting(void **state)
{
    (void)state;
    assert_int_equal(parse("host=localhost,10.0.0.2 port=6000"), 1);
    assert_true(hosts_waiting(&hosts));
    hosts_look_up(&hosts);
    for (int tries = 0; tries < 1000 && hosts_waiting(&hosts); tries++) {
        hosts_take(&hosts);
        usleep(10000);
    }
    assert_false(hosts_waiting(&hosts));
    assert_true(hosts_targets(&hosts, target) >= 2);
    assert_string_equal(target[0].host, "localhost");
    assert_true(!strcmp(target[0].address, "127.0.0.1") || !strcmp(target[0].address, "::1"));
    assert_true(hosts_close(&hosts));
}

static void what_cannot_work_is_refused(void **state)
{
    (void)state;
    refused("host=a,b,c,d,e,f,g,h,i", "more than 8");
    refused("host=a,,b", "empty host");
    refused("host=a,b hostaddr=10.0.0.1", "same length");
    refused("host=a,b port=1,2,3", "port must be one");
    refused("host=a port=70000", "1 to 65535");
    refused("host=a port=x", "1 to 65535");
    refused("hostaddr=example", "numeric");
    refused("service=shop", "service=");
    refused("dbname", "missing");
}

static void a_time_out_of_the_connection_string_is_heard(void **state)
{
    (void)state;
    parse("host=10.0.0.1 connect_timeout=3");
    assert_int_equal(hosts.connect_timeout, 3000);
    parse("host=10.0.0.1");
    assert_int_equal(hosts.connect_timeout, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_are_split),
        cmocka_unit_test(a_uri_may_name_several_hosts),
        cmocka_unit_test(one_port_is_for_all_hosts),
        cmocka_unit_test(hostaddr_goes_with_its_host),
        cmocka_unit_test(the_same_place_twice_is_one_target),
        cmocka_unit_test(without_a_host_libpqs_default_is_taken),
        cmocka_unit_test(a_name_is_looked_up_without_waiting),
        cmocka_unit_test(what_cannot_work_is_refused),
        cmocka_unit_test(a_time_out_of_the_connection_string_is_heard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
