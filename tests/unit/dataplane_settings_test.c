/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * dropgate.conf: what is refused across keys, in which words, and what is built from the rest. */
#include "dataplane/ops/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "dataplane/ops/settings_rules.h"

static const char file[] = "[outside]\n"
                           "device = net_null0\n"
                           "addresses = 198.18.0.1/17, 2001:db8::1/64\n"
                           "[inside]\n"
                           "device = net_null1\n"
                           "addresses = 198.18.128.1/24, 2001:db8:0:1::1/64\n"
                           "[backend shop4]\n"
                           "address = 198.18.128.2:8080\n"
                           "[backend shop6]\n"
                           "address = [2001:db8:0:1::2]:8080\n"
                           "[service shop]\n"
                           "listen = 198.18.0.80:80, [2001:db8::80]:80\n"
                           "backends = shop4, shop6\n"
                           "[service second]\n"
                           "listen = 198.18.0.80:81\n"
                           "backends = shop4\n";

/* The file with its first `from` replaced by `to`; NULL with the reason when it is refused. */
static struct settings *load(const char *from, const char *to, char why[CONF_WHY])
{
    static char text[32768];
    const char *at = strstr(file, from);
    assert_non_null(at);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - file), file, to, at + strlen(from));
    return conf_load_memory(&SETTINGS_SCHEMA, "gate.conf", text, strlen(text), why);
}

static void expect_refused(const char *from, const char *to, const char *reason)
{
    char why[CONF_WHY] = "", *end;
    assert_null(load(from, to, why));
    assert_int_equal(strncmp(why, "gate.conf:", 10), 0);
    assert_true(strtoul(why + 10, &end, 10) > 0); /* a line is named */
    assert_int_equal(strncmp(end, ": ", 2), 0);
    assert_string_equal(end + 2, reason);
}

static struct settings *accepted(const char *from, const char *to)
{
    char why[CONF_WHY] = "";
    struct settings *s = load(from, to, why);
    if (s == NULL)
        fail_msg("refused: %s", why);
    return s;
}

static struct endpoint endpoint_of(const char *text)
{
    struct endpoint e;
    assert_int_equal(endpoint_parse(text, &e), 0);
    return e;
}

static int service_at(const struct services *services, const char *text)
{
    const struct endpoint e = endpoint_of(text);
    return policy_service(services, &e.addr, e.port);
}

static int backend_at(const struct services *services, const char *text)
{
    const struct endpoint e = endpoint_of(text);
    return policy_backend(services, &e.addr, e.port);
}

static bool own(const struct services *services, enum port_side side, const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse(text, &a), 0);
    return policy_own(services, side, &a);
}

static void assert_addr(const struct addr *a, const char *text)
{
    char printed[ADDR_TEXT];
    assert_string_equal(addr_print(a, printed), text);
}

/* ---- refusals ---- */

static void a_vlan_is_one_tag_or_two(void **state)
{
    (void)state;
    static const char *const bad[] = {"0",   "4095", "7.0", "7.4095", "7.8.9",
                                      "7,8", "x",    "07",  "-7"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char line[64], reason[256];
        snprintf(line, sizeof line, "[inside]\nvlan = %s\n", bad[i]);
        snprintf(reason, sizeof reason,
                 "[inside] vlan = %s: not a VLAN; allowed: a tag from 1 to 4094, two with a dot "
                 "between (outer.inner), or nothing",
                 bad[i]);
        expect_refused("[inside]\n", line, reason);
    }
    struct settings *s = accepted("[outside]\n", "[outside]\nvlan = 100.7\n");
    assert_string_equal(s->port[OUTSIDE].vlan, "100.7");
    assert_null(s->port[INSIDE].vlan);
    conf_free(&SETTINGS_SCHEMA, s);
}

static void a_backends_address_is_its_own_and_reachable(void **state)
{
    (void)state;
    expect_refused("[2001:db8:0:1::2]:8080", "198.18.128.2:8080",
                   "[backend shop6] address = 198.18.128.2:8080: already the address of "
                   "[backend shop4]");
    expect_refused("198.18.128.2:8080", "224.0.0.9:8080",
                   "[backend shop4] address = 224.0.0.9:8080: not an address that a host can have");
    expect_refused(", 2001:db8:0:1::1/64", "",
                   "[backend shop6] address = [2001:db8:0:1::2]:8080: [inside] addresses has none "
                   "of that family");
    expect_refused("198.18.128.2:8080", "198.18.128.1:8080",
                   "[backend shop4] address = 198.18.128.1:8080: is the gateway's own address");
    expect_refused("198.18.128.2:8080", "198.18.129.2:8080",
                   "[backend shop4] address = 198.18.129.2:8080: not on-link on the inside, and "
                   "[inside] routers has none of that family");
    expect_refused("addresses = 198.18.128.1/24, 2001:db8:0:1::1/64",
                   "addresses = 198.18.128.1/24, 198.18.128.2/24, 2001:db8:0:1::1/64",
                   "[backend shop4] address = 198.18.128.2:8080: is the gateway's own address");
}

static void a_services_backends_exist_and_serve_each_family(void **state)
{
    (void)state;
    expect_refused("shop4, shop6", "shop4, shop7",
                   "[service shop] backends = shop7: there is no [backend shop7]");
    expect_refused("shop4, shop6", "shop4, shop6, shop4",
                   "[service shop] backends = shop4: named twice");
    expect_refused("backends = shop4, shop6", "backends = shop4",
                   "[service shop] listen = [2001:db8::80]:80: backends names no backend of that "
                   "family (addresses are not translated between families)");
}

static void a_service_has_as_many_backends_as_it_names(void **state)
{
    enum { MANY = 300 };
    static char text[MANY * 64];
    char *at = text + sprintf(text, "[service x]\nlisten = 198.18.0.82:80, [2001:db8::82]:80\n"
                                    "backends = shop6");
    (void)state;
    for (int i = 0; i < MANY; i++)
        at += sprintf(at, ", m%d", i);
    for (int i = 0; i < MANY; i++)
        at += sprintf(at, "\n[backend m%d]\naddress = 198.18.128.9:%d", i, 10000 + i);
    sprintf(at, "\n[service shop]");
    struct settings *s = accepted("[service shop]", text);
    struct services *services = settings_services(s);
    assert_non_null(services);
    const struct service *v4 = &services->service[0], *v6 = &services->service[1];
    assert_int_equal(v4->backend_count, MANY);
    for (uint32_t i = 0; i < MANY; i++) {
        const struct endpoint *address = &services->backend[v4->backends[i]].address;
        assert_int_equal(address->port, 10000 + i);
    }
    assert_int_equal(v6->backend_count, 1);
    assert_false(addr_is_v4(&services->backend[v6->backends[0]].address.addr));
    services_free(services);
    conf_free(&SETTINGS_SCHEMA, s);
}

static void a_listener_is_reachable_and_served_once(void **state)
{
    (void)state;
    expect_refused("198.18.0.80:80,", "127.0.0.1:80,",
                   "[service shop] listen = 127.0.0.1:80: not an address that clients can reach");
    expect_refused("[2001:db8::80]:80", "[ff02::80]:80",
                   "[service shop] listen = [ff02::80]:80: not an address that clients can reach");
    expect_refused("198.18.0.80:81", "198.18.0.80:80",
                   "[service second] listen = 198.18.0.80:80: already served by [service shop]");
    expect_refused("198.18.0.80:81", "198.18.0.80:81, 198.18.0.80:81",
                   "[service second] listen = 198.18.0.80:81: already served by [service second]");
}

static void own_addresses_and_routers_make_sense(void **state)
{
    (void)state;
    expect_refused("198.18.0.1/17", "127.0.0.1/8",
                   "[outside] addresses = 127.0.0.1: not an address that a host can have");
    expect_refused("2001:db8:0:1::1/64", "ff02::1/64",
                   "[inside] addresses = ff02::1: not an address that a host can have");
    expect_refused("[inside]\n", "[inside]\nrouters = 198.18.128.254, 198.18.128.253\n",
                   "[inside] routers: two of one family; at most one each");
    expect_refused("[outside]\n", "[outside]\nrouters = 2001:db8::fe, 2001:db8::fd\n",
                   "[outside] routers: two of one family; at most one each");
    expect_refused("[inside]\n", "[inside]\nrouters = 198.18.0.254\n",
                   "[inside] routers = 198.18.0.254: must be another host on the link of one of "
                   "[inside] addresses");
    expect_refused("[inside]\n", "[inside]\nrouters = 198.18.128.1\n",
                   "[inside] routers = 198.18.128.1: must be another host on the link of one of "
                   "[inside] addresses");
}

static void pitfall_04_segments_fit_a_hold_and_a_head_fits_the_window(void **state)
{
    static const struct {
        const char *line, *reason;
    } rows[] = {
        {"mss_v4 = 8960", "gate.conf:2: [tcp] mss_v4 = 8960: "},
        {"mss_v6 = 1441", "gate.conf:2: [tcp] mss_v6 = 1441: "},
        {"window = 536", "gate.conf:2: [tcp] window = 536: "},
        {"window = 64K", "gate.conf:2: [tcp] window = 64K: "},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char why[CONF_WHY], text[128];
        snprintf(text, sizeof text, "[tcp]\n%s\n[outside]", rows[i].line);
        assert_null(load("[outside]", text, why));
        assert_memory_equal(why, rows[i].reason, strlen(rows[i].reason));
    }
}

/* ---- what is built ---- */

static void each_listener_becomes_a_service_with_its_familys_backend(void **state)
{
    (void)state;
    struct settings *s = accepted("[outside]", "[outside]");
    struct services *services = settings_services(s);
    assert_int_equal(services->count, 3);
    assert_int_equal(services->backend_count, 2);
    const int v4 = service_at(services, "198.18.0.80:80"),
              v6 = service_at(services, "[2001:db8::80]:80"),
              second = service_at(services, "198.18.0.80:81");
    assert_int_equal(services->service[v4].backend_count, 1);
    assert_int_equal(services->service[v6].backend_count, 1);
    assert_int_equal(services->service[v4].backends[0], backend_at(services, "198.18.128.2:8080"));
    assert_int_equal(services->service[v6].backends[0],
                     backend_at(services, "[2001:db8:0:1::2]:8080"));
    assert_int_equal(services->service[second].backends[0], services->service[v4].backends[0]);
    assert_string_equal(services->service[v6].name, "shop");
    assert_string_equal(services->service[second].name, "second");
    assert_int_equal(service_at(services, "198.18.0.80:82"), -1);
    assert_int_equal(service_at(services, "198.18.0.1:80"), -1);
    assert_int_equal(backend_at(services, "198.18.128.2:80"), -1);
    services_free(services);
    conf_free(&SETTINGS_SCHEMA, s);
}

static void each_side_answers_for_its_own_addresses(void **state)
{
    (void)state;
    struct settings *s = accepted("[outside]", "[outside]");
    struct services *services = settings_services(s);
    assert_true(own(services, OUTSIDE, "198.18.0.1"));
    assert_true(own(services, OUTSIDE, "2001:db8::1"));
    assert_true(own(services, OUTSIDE, "198.18.0.80")); /* for two services at once */
    assert_true(own(services, OUTSIDE, "2001:db8::80"));
    assert_false(own(services, OUTSIDE, "198.18.128.1"));
    assert_true(own(services, INSIDE, "198.18.128.1"));
    assert_true(own(services, INSIDE, "2001:db8:0:1::1"));
    assert_false(own(services, INSIDE, "198.18.0.80"));
    assert_false(own(services, INSIDE, "198.18.128.2"));
    services_free(services);
    conf_free(&SETTINGS_SCHEMA, s);
}

static void a_backend_on_the_link_is_its_own_next_hop(void **state)
{
    (void)state;
    struct settings *s = accepted("[outside]", "[outside]");
    struct services *services = settings_services(s);
    assert_string_equal(services->backend[0].name, "shop4");
    assert_addr(&services->backend[0].next_hop, "198.18.128.2");
    assert_addr(&services->backend[0].source, "198.18.128.1");
    assert_addr(&services->backend[1].next_hop, "2001:db8:0:1::2");
    assert_addr(&services->backend[1].source, "2001:db8:0:1::1");
    services_free(services);
    conf_free(&SETTINGS_SCHEMA, s);
}

/* The router is asked, and the backend probed, from the address on the router's own link. */
static void a_backend_behind_a_router_is_reached_from_the_routers_link(void **state)
{
    (void)state;
    struct settings *s = accepted("device = net_null1\n"
                                  "addresses = 198.18.128.1/24, 2001:db8:0:1::1/64\n"
                                  "[backend shop4]\naddress = 198.18.128.2:8080\n",
                                  "device = net_null1\n"
                                  "addresses = 198.18.129.1/24, 198.18.128.1/24, 198.18.130.1/24, "
                                  "2001:db8:0:1::1/64\n"
                                  "routers = 198.18.128.254, 2001:db8:0:1::fe\n"
                                  "[backend shop4]\naddress = 198.18.200.2:8080\n");
    struct services *services = settings_services(s);
    assert_addr(&services->backend[0].address.addr, "198.18.200.2");
    assert_addr(&services->backend[0].next_hop, "198.18.128.254");
    assert_addr(&services->backend[0].source, "198.18.128.1");
    assert_addr(&services->backend[1].next_hop, "2001:db8:0:1::2"); /* on-link: no router */
    services_free(services);
    conf_free(&SETTINGS_SCHEMA, s);
}

static void expect_probe(const struct services *services, const char *backend, const char *request)
{
    const struct backend *b = &services->backend[backend_at(services, backend)];
    if (request == NULL) {
        assert_null(b->probe);
        return;
    }
    assert_int_equal(b->probe_length, strlen(request));
    assert_memory_equal(b->probe, request, b->probe_length);
}

static void a_backend_of_an_http_service_is_asked_for_a_path(void **state)
{
    (void)state;
    struct settings *s = accepted("[outside]", "[outside]");
    struct services *services = settings_services(s);
    expect_probe(services, "198.18.128.2:8080",
                 "GET /readyz HTTP/1.1\r\nHost: 198.18.128.2:8080\r\nUser-Agent: dropgate-probe\r\n"
                 "Connection: close\r\n\r\n");
    expect_probe(services, "[2001:db8:0:1::2]:8080",
                 "GET /readyz HTTP/1.1\r\nHost: [2001:db8:0:1::2]:8080\r\n"
                 "User-Agent: dropgate-probe\r\nConnection: close\r\n\r\n");
    services_free(services);
    conf_free(&SETTINGS_SCHEMA, s);
    s = accepted("address = 198.18.128.2:8080\n[backend shop6]\n",
                 "address = 198.18.128.2:8080\nprobe_path = /well?now\n[probe]\npath = /live\n"
                 "host = shop.example\n[backend shop6]\nprobe_host = six.example\n");
    services = settings_services(s);
    expect_probe(services, "198.18.128.2:8080",
                 "GET /well?now HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: dropgate-probe\r\n"
                 "Connection: close\r\n\r\n");
    expect_probe(services, "[2001:db8:0:1::2]:8080",
                 "GET /live HTTP/1.1\r\nHost: six.example\r\nUser-Agent: dropgate-probe\r\n"
                 "Connection: close\r\n\r\n");
    services_free(services);
    conf_free(&SETTINGS_SCHEMA, s);
}

static void a_backend_of_tls_or_plain_tcp_is_only_connected_to(void **state)
{
    (void)state;
    static const char *const lines[] = {"protocol = tls\n", "protocol = tcp\n"};
    for (size_t i = 0; i < 2; i++) {
        char to[128];
        snprintf(to, sizeof to, "[service second]\n%s", lines[i]);
        struct settings *s = accepted("[service second]\n", to);
        struct services *services = settings_services(s);
        /* shop4 serves HTTP, too: asked, unless it has to be TLS */
        assert_int_equal(services->backend[backend_at(services, "198.18.128.2:8080")].probe == NULL,
                         i == 0);
        services_free(services);
        conf_free(&SETTINGS_SCHEMA, s);
    }
    struct settings *s = accepted("[backend shop6]\n", "[backend shop6]\nprobe = connect\n");
    struct services *services = settings_services(s);
    expect_probe(services, "[2001:db8:0:1::2]:8080", NULL);
    services_free(services);
    conf_free(&SETTINGS_SCHEMA, s);
    s = accepted("[service shop]\n", "[service shop]\nprotocol = tcp\n");
    services = settings_services(s);
    expect_probe(services, "[2001:db8:0:1::2]:8080", NULL);
    assert_int_equal(services->service[0].response_timeout_ms, 0); /* nothing is expected */
    services_free(services);
    conf_free(&SETTINGS_SCHEMA, s);
}

static void what_could_not_be_asked_is_refused(void **state)
{
    (void)state;
    expect_refused(
        "[outside]", "[probe]\npath = readyz\n[outside]",
        "[probe] path = readyz: not a path; allowed: '/', then visible ASCII but no '#'");
    expect_refused("[outside]", "[probe]\nhost = a b\n[outside]",
                   "[probe] host = a b: not a name; allowed: visible ASCII");
    expect_refused(
        "[backend shop6]\n", "[backend shop6]\nprobe_path = /a b\n",
        "[backend shop6] probe_path = /a b: not a path; allowed: '/', then visible ASCII "
        "but no '#'");
    expect_refused("[backend shop6]\n", "[backend shop6]\nprobe_host = \xc3\xa4\n",
                   "[backend shop6] probe_host = \xc3\xa4: not a name; allowed: visible ASCII");
    expect_refused("backends = shop4, shop6\n[service second]\n",
                   "backends = shop4, shop6\nprotocol = tls\n[backend x]\naddress = "
                   "198.18.128.9:1\nprobe = http\n[service third]\nlisten = 198.18.0.80:82\n"
                   "backends = x\nprotocol = tls\n[service second]\n",
                   "[backend x] probe = http: [service third] speaks TLS with it, and the gateway "
                   "has no key; allowed: auto, connect");
}

static void weights_drains_and_what_all_down_means_reach_the_policy(void **state)
{
    (void)state;
    struct settings *s =
        accepted("[backend shop6]\n", "[backend shop6]\nweight = 0\ndrain = yes\n");
    struct services *services = settings_services(s);
    const struct backend *four = &services->backend[backend_at(services, "198.18.128.2:8080")],
                         *six = &services->backend[backend_at(services, "[2001:db8:0:1::2]:8080")];
    assert_int_equal(four->weight, 10);
    assert_false(four->drain);
    assert_int_equal(six->weight, 0);
    assert_true(six->drain);
    assert_int_equal(services->service[0].all_down, ALL_DOWN_REFUSE);
    assert_int_equal(services->service[0].response_timeout_ms, 10000);
    services_free(services);
    conf_free(&SETTINGS_SCHEMA, s);
    s = accepted("[service shop]\n", "[service shop]\nall_down = try\nresponse_timeout = 3s\n");
    services = settings_services(s);
    assert_int_equal(services->service[0].all_down, ALL_DOWN_TRY);
    assert_int_equal(services->service[0].response_timeout_ms, 3000);
    services_free(services);
    conf_free(&SETTINGS_SCHEMA, s);
}

static struct slow_limits slow_limits_of(const char *section)
{
    struct settings *s = accepted("[outside]", section);
    struct limits *limits = settings_limits(s);
    assert_non_null(limits);
    const struct slow_limits slow = limits->slow;
    free(limits);
    conf_free(&SETTINGS_SCHEMA, s);
    return slow;
}

/* tests/unit/slow_test.c says whom these spare. */
static void slow_clients_are_reset_by_default_but_not_soon(void **state)
{
    (void)state;
    const struct slow_limits slow = slow_limits_of("[outside]");
    assert_false(slow.observe);
    assert_int_equal(slow.window_ms, 60000);
    assert_int_equal(slow.rate[SLOW_BODY], 256);
    assert_int_equal(slow.rate[SLOW_DRAIN], 256);
    assert_int_equal(slow.most_ms[SLOW_HEAD], 10000);
    assert_int_equal(slow.most_ms[SLOW_BODY], 3600000);
    assert_int_equal(slow.most_ms[SLOW_DRAIN], 7200000);
    assert_int_equal(slow.most_ms[SLOW_IDLE], 360000);
    assert_int_equal(slow.most_ms[SLOW_ANSWER], 900000);
}

static void how_slow_a_client_may_be_is_the_files(void **state)
{
    (void)state;
    const struct slow_limits slow = slow_limits_of(
        "[slow]\nmode = observe\nwindow = 5s\nbody_rate = 1\ndrain_rate = 2\nbody = 3s\n"
        "drain = 4s\nidle = 5s\nanswer = 6s\n[tcp]\nhead_timeout = 7s\n[outside]");
    assert_true(slow.observe);
    assert_int_equal(slow.window_ms, 5000);
    assert_int_equal(slow.rate[SLOW_BODY], 1);
    assert_int_equal(slow.rate[SLOW_DRAIN], 2);
    assert_int_equal(slow.most_ms[SLOW_BODY], 3000);
    assert_int_equal(slow.most_ms[SLOW_DRAIN], 4000);
    assert_int_equal(slow.most_ms[SLOW_IDLE], 5000);
    assert_int_equal(slow.most_ms[SLOW_ANSWER], 6000);
    assert_int_equal(slow.most_ms[SLOW_HEAD], 7000);
}

static void limits_are_the_files_in_milliseconds_and_per_second(void **state)
{
    (void)state;
    struct settings *s = accepted(
        "[outside]",
        "[tcp]\nsyn_timeout = 250ms\nsyn_tries = 3\nhead_timeout = 4s\nidle = 2h\nhalf_closed = "
        "7m\n"
        "closing = 33s\nlinger = 1500ms\nwindow = 16K\nmss_v4 = 1400\nmss_v6 = 1380\n"
        "[budgets]\nresets = 1\nfins = 2\nechoes = 3\ninside_resets = 4\ntoo_bigs = 7\n"
        "[guard]\nsource_rate = 8\nreflection_rate = 9\nremembered_syns = 10\n"
        "[probe]\ninterval = 9s\ntimeout = 2s\nfailures = 5\nopening_failures = 6\n"
        "response_failures = 7\n[outside]");
    struct limits *limits = settings_limits(s);
    assert_non_null(limits);
    assert_int_equal(limits->syn_timeout_ms, 250);
    assert_int_equal(limits->syn_tries, 3);
    assert_int_equal(limits->head_timeout_ms, 4000);
    assert_int_equal(limits->idle_ms, 7200000);
    assert_int_equal(limits->half_closed_ms, 420000);
    assert_int_equal(limits->closing_ms, 33000);
    assert_int_equal(limits->linger_ms, 1500);
    assert_int_equal(limits->window, 16384);
    assert_int_equal(limits->mss_v4, 1400);
    assert_int_equal(limits->mss_v6, 1380);
    assert_int_equal(limits->probe_interval_ms, 9000);
    assert_int_equal(limits->probe_timeout_ms, 2000);
    assert_int_equal(limits->probe_failures, 5);
    assert_int_equal(limits->opening_failures, 6);
    assert_int_equal(limits->response_failures, 7);
    assert_int_equal(limits->per_second[LEASE_RESETS], 1);
    assert_int_equal(limits->per_second[LEASE_FINS], 2);
    assert_int_equal(limits->per_second[LEASE_ECHOES], 3);
    assert_int_equal(limits->per_second[LEASE_INSIDE_RESETS], 4);
    assert_int_equal(limits->per_second[LEASE_TOO_BIGS], 7);
    assert_int_equal(limits->per_second[LEASE_SYNS_AGAIN], 10);
    assert_int_equal(limits->source_rate, 8);
    assert_int_equal(limits->network_rate, 9);
    free(limits);
    conf_free(&SETTINGS_SCHEMA, s);
}

static void a_protocol_in_which_the_server_speaks_first_is_refused_with_the_reason(void **state)
{
    (void)state;
    expect_refused(
        "listen = 198.18.0.80:81\n", "listen = 198.18.0.80:25\nprotocol = tcp\n",
        "[service second] protocol = tcp: on port 25 the server speaks first, and a backend "
        "is only asked once the client has said something, so both would wait for ever");
    struct settings *s =
        accepted("listen = 198.18.0.80:81\n", "listen = 198.18.0.80:81\nprotocol = tcp\n");
    struct services *services = settings_services(s);
    assert_int_equal(services->service[0].protocol, SERVICE_HTTP);
    assert_int_equal(services->service[2].protocol, SERVICE_TCP);
    services_free(services);
    conf_free(&SETTINGS_SCHEMA, s);
}

static void server_names_are_those_of_a_tls_service(void **state)
{
    (void)state;
    expect_refused(
        "listen = 198.18.0.80:81\n", "listen = 198.18.0.80:81\nserver_names = shop.example\n",
        "[service second] server_names: only a ClientHello names a server; set protocol = "
        "tls, or leave them out");
    expect_refused(
        "listen = 198.18.0.80:81\n",
        "listen = 198.18.0.80:81\nprotocol = tls\nserver_names = shop.example, *.com\n",
        "[service second] server_names = *.com: a wildcard for a whole top-level domain");
    struct settings *s = accepted("listen = 198.18.0.80:81\n",
                                  "listen = 198.18.0.80:81\nprotocol = tls\nserver_names = "
                                  "Shop.Example, *.cdn.example\n");
    struct services *services = settings_services(s);
    assert_null(services->service[0].names);
    assert_int_equal(services->service[2].protocol, SERVICE_TLS);
    assert_true(names_allow(services->service[2].names, "shop.example"));
    assert_true(names_allow(services->service[2].names, "a.cdn.example"));
    assert_false(names_allow(services->service[2].names, "other.example"));
    services_free(services);
    conf_free(&SETTINGS_SCHEMA, s);
}

static void what_is_shown_can_be_loaded_again(void **state)
{
    (void)state;
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    struct settings *s = accepted("[outside]", "[outside]");
    conf_show(&SETTINGS_SCHEMA, s, out);
    fclose(out);
    char why[CONF_WHY] = "";
    struct settings *again = conf_load_memory(&SETTINGS_SCHEMA, "shown.conf", text, length, why);
    assert_string_equal(why, "");
    assert_non_null(again);
    struct limits *a = settings_limits(s), *b = settings_limits(again);
    assert_memory_equal(a, b, sizeof *a);
    free(a);
    free(b);
    free(text);
    conf_free(&SETTINGS_SCHEMA, again);
    conf_free(&SETTINGS_SCHEMA, s);
}

static void the_process_has_a_name_cores_and_buffers(void **state)
{
    (void)state;
    static const char *const cores[] = {"0",    "0,1,2",   "0-1",  "0,1 --foo", "0,,1", "0,1,",
                                        ",0,1", "0,99999", "-1,0", "0x0,1",     "0, 1"};
    const char *inserted = "[gateway]\ncores = %s\n[outside]\n";
    char text[256], reason[CONF_WHY];
    for (size_t i = 0; i < sizeof cores / sizeof cores[0]; i++) {
        snprintf(text, sizeof text, inserted, cores[i]);
        snprintf(reason, sizeof reason,
                 "[gateway] cores = %s: want 2 processor numbers, separated by commas: "
                 "control, then one per worker",
                 cores[i]);
        expect_refused("[outside]\n", text, reason);
    }
    conf_free(&SETTINGS_SCHEMA, accepted("[outside]\n", "[gateway]\ncores = 1,0\n[outside]\n"));
    expect_refused("[outside]\n", "[gateway]\ninstance = ../../x\n[outside]\n",
                   "[gateway] instance = ../../x: not a name; allowed: letters, digits, '_', '-', "
                   "and '.' but not first");
    expect_refused("[outside]\n", "[gateway]\nbuffers = 8192\n[outside]\n",
                   "[gateway] buffers = 8192: the rings of both ports hold 8192 and the workers "
                   "1024; allowed: at least 9216");
    expect_refused("[outside]\n",
                   "[gateway]\nworkers = 2\ncores = 0,1,2\nbuffers = 14335\n[outside]\n",
                   "[gateway] buffers = 14335: the rings of both ports hold 8192 and the workers "
                   "6144; allowed: at least 14336");
    expect_refused("[outside]\n", /* a ring from each of them to each other one */
                   "[gateway]\nworkers = 4\ncores = 0,1,2,3,4\nbuffers = 36863\n[outside]\n",
                   "[gateway] buffers = 36863: the rings of both ports hold 8192 and the workers "
                   "28672; allowed: at least 36864");
}

static void each_worker_has_a_processor_which_only_sleepers_share(void **state)
{
    (void)state;
    uint16_t cores[SETTINGS_CORES];
    struct settings *s =
        accepted("[outside]\n", "[gateway]\nworkers = 3\ncores = 7,1,1023,1\n[outside]\n");
    assert_int_equal(settings_cores(s, cores), 4);
    assert_true(cores[0] == 7 && cores[1] == 1 && cores[2] == 1023 && cores[3] == 1);
    conf_free(&SETTINGS_SCHEMA, s);
    expect_refused("[outside]\n",
                   "[gateway]\nidle = poll\nworkers = 3\ncores = 7,1,2,1\n[outside]\n",
                   "[gateway] cores = 7,1,2,1: processor 1 twice; threads that share one must "
                   "sleep: allowed with idle = adaptive only");
    expect_refused("[outside]\n", "[gateway]\nworkers = 3\ncores = 0,1,2\n[outside]\n",
                   "[gateway] cores = 0,1,2: want 4 processor numbers, separated by commas: "
                   "control, then one per worker");
    char text[512] = "[gateway]\nbuffers = 8331264\nworkers = 64\ncores = 0";
    for (int i = 0; i < 64; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), ",%d", 900 + i);
    strcat(text, "\n[outside]\n");
    s = accepted("[outside]\n", text);
    assert_int_equal(settings_cores(s, cores), SETTINGS_CORES);
    conf_free(&SETTINGS_SCHEMA, s);
}

static void the_two_sides_are_different(void **state)
{
    (void)state;
    expect_refused("net_null1", "net_null0",
                   "[inside] device = net_null0: is the device of [outside]");
    expect_refused(
        "net_null0\naddresses = 198.18.0.1/17, 2001:db8::1/64\n[inside]\ndevice = net_null1",
        "net_af_xdp0,iface=e,start_queue=0\naddresses = 198.18.0.1/17\n[inside]\n"
        "device = net_af_packet1,iface=e",
        "[inside] device = net_af_packet1,iface=e: is the device of [outside]");
    expect_refused("198.18.0.1/17", "198.18.0.1/16",
                   "[inside] addresses = 198.18.128.1: its network overlaps with one of [outside]");
    expect_refused("198.18.0.80:80", "198.18.128.2:80",
                   "[service shop] listen = 198.18.128.2:80: an address of the inside");
    expect_refused("198.18.0.80:80", "198.18.128.77:80",
                   "[service shop] listen = 198.18.128.77:80: an address of the inside");
}

static void what_belongs_behind_the_gateway_is_known(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool behind;
    } rows[] = {{"198.18.128.1", true},     {"198.18.128.2", true}, {"198.18.128.77", true},
                {"2001:db8:0:1::99", true}, {"198.18.0.1", false},  {"198.18.129.1", false},
                {"2001:db8::2", false},     {"203.0.113.9", false}};
    struct settings *s = accepted("device = net_null1\n", "device = net_null1\n");
    struct services *services = settings_services(s);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct addr a;
        assert_int_equal(addr_parse(rows[i].text, &a), 0);
        assert_int_equal(policy_behind(services, &a), rows[i].behind);
    }
    services_free(services);
    conf_free(&SETTINGS_SCHEMA, s);
}

/* A file with a rule of these keys. */
static void expect_rule_refused(const char *keys, const char *reason)
{
    char text[1024];
    snprintf(text, sizeof text, "[rule drop]\n%s[outside]\n", keys);
    expect_refused("[outside]\n", text, reason);
}

static void a_rule_is_read_and_compiled(void **state)
{
    (void)state;
    struct rule_slots slots;
    int error = 0;
    struct settings *s = accepted("[outside]\n", "[rule drop]\nservices = shop, second\n"
                                                 "methods = POST, DELETE\npath = /v1/sales/7\n"
                                                 "host = *.shop.example\nstate = upcoming\n"
                                                 "opens_at = 2026-11-27T10:00:00Z\n"
                                                 "admit_per_second = 95\n[rule rest]\n"
                                                 "mode = observe\n[outside]\n");
    assert_int_equal(rule_slots_init(&slots, 4, 1), 0);
    struct rules *rules = settings_rules(s, &slots, &error);
    assert_non_null(rules);
    assert_int_equal(rules_count(rules), 2);
    const struct rule *drop = rules_at(rules, 0), *rest = rules_at(rules, 1);
    assert_string_equal(drop->name, "drop");
    assert_int_equal(drop->state, RULE_UPCOMING);
    assert_int_equal(drop->opens_at, INT64_C(1795773600000));
    assert_int_equal(drop->per_second, 95);
    assert_int_equal(drop->burst, 10); /* what 100 ms bring */
    assert_false(drop->observe);
    assert_int_equal(rest->state, RULE_OPEN);
    assert_int_equal(rest->per_second, 0);
    assert_true(rest->observe);
    assert_true(drop->slot != rest->slot);
    free(rules);
    rule_slots_end(&slots);
    conf_free(&SETTINGS_SCHEMA, s);
}

static void rules_that_cannot_be_are_refused_with_their_line(void **state)
{
    (void)state;
    expect_rule_refused("path = v1\n", "[rule drop] path = v1: a path begins with a slash");
    expect_rule_refused("host = a:80\n",
                        "[rule drop] host = a:80: not a host name without port: letters, digits, "
                        "hyphens and single dots");
    expect_rule_refused("server_name = *.com\n",
                        "[rule drop] server_name = *.com: a wildcard for a whole top-level domain");
    expect_rule_refused("methods = GET, P;T\n",
                        "[rule drop] methods = P;T: a method is a word, such as GET or POST");
    expect_rule_refused("server_name = a.b\npath = /\n",
                        "[rule drop] server_name = a.b: of TLS nothing else is seen; methods, path "
                        "and host are for plain HTTP, in a rule of their own");
    expect_rule_refused("state = upcoming\n", "[rule drop] state = upcoming: opens_at is missing, "
                                              "the time when it opens");
    expect_rule_refused("burst = 5\n", "[rule drop] burst = 5: stands without admit_per_second");
    expect_rule_refused("admit_per_second = 1000\nburst = 49\n",
                        "[rule drop] burst = 49: too few for admit_per_second = 1000; allowed: 50 "
                        "(50 ms) or more, or 0 (100 ms)");
    expect_rule_refused("services = shop, none\n",
                        "[rule drop] services = none: there is no [service none]");
    expect_rule_refused(
        "services = shop\nserver_name = a.b\n",
        "[rule drop] services = shop: a server_name is seen of protocol = tls only");
    expect_rule_refused("opens_at = 2026-11-31T10:00:00Z\n",
                        "[rule drop] opens_at = 2026-11-31T10:00:00Z: not a time; allowed: a time "
                        "(2026-11-27T10:00:00Z, 2026-11-27T11:00:00+01:00), or empty");
    expect_refused("backends = shop4\n",
                   "backends = shop4\nprotocol = tls\n[rule drop]\nservices = second\npath = /\n",
                   "[rule drop] services = second: methods, path and host are seen of protocol = "
                   "http only");
    expect_refused(
        "[outside]\n", "[tables]\nrules = 1\n[rule one]\n[rule two]\n[outside]\n",
        "[rule two]: one more than [tables] rules = 1 has room for; that takes a restart "
        "to change");
}

static void no_more_methods_than_a_set_can_tell_apart(void **state)
{
    (void)state;
    char keys[1024] = "methods = ";
    for (int i = 0; i < RULES_METHODS; i++)
        snprintf(keys + strlen(keys), sizeof keys - strlen(keys), "%sM%d", i > 0 ? ", " : "", i);
    strcat(keys, "\n");
    expect_rule_refused(keys,
                        "[rule drop] methods = M30: more than 30 different ones over all rules");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_process_has_a_name_cores_and_buffers),
        cmocka_unit_test(each_worker_has_a_processor_which_only_sleepers_share),
        cmocka_unit_test(the_two_sides_are_different),
        cmocka_unit_test(what_belongs_behind_the_gateway_is_known),
        cmocka_unit_test(a_vlan_is_one_tag_or_two),
        cmocka_unit_test(a_backends_address_is_its_own_and_reachable),
        cmocka_unit_test(a_services_backends_exist_and_serve_each_family),
        cmocka_unit_test(a_service_has_as_many_backends_as_it_names),
        cmocka_unit_test(a_listener_is_reachable_and_served_once),
        cmocka_unit_test(own_addresses_and_routers_make_sense),
        cmocka_unit_test(pitfall_04_segments_fit_a_hold_and_a_head_fits_the_window),
        cmocka_unit_test(each_listener_becomes_a_service_with_its_familys_backend),
        cmocka_unit_test(each_side_answers_for_its_own_addresses),
        cmocka_unit_test(a_backend_on_the_link_is_its_own_next_hop),
        cmocka_unit_test(a_backend_behind_a_router_is_reached_from_the_routers_link),
        cmocka_unit_test(a_backend_of_an_http_service_is_asked_for_a_path),
        cmocka_unit_test(a_backend_of_tls_or_plain_tcp_is_only_connected_to),
        cmocka_unit_test(what_could_not_be_asked_is_refused),
        cmocka_unit_test(weights_drains_and_what_all_down_means_reach_the_policy),
        cmocka_unit_test(limits_are_the_files_in_milliseconds_and_per_second),
        cmocka_unit_test(slow_clients_are_reset_by_default_but_not_soon),
        cmocka_unit_test(how_slow_a_client_may_be_is_the_files),
        cmocka_unit_test(a_protocol_in_which_the_server_speaks_first_is_refused_with_the_reason),
        cmocka_unit_test(server_names_are_those_of_a_tls_service),
        cmocka_unit_test(what_is_shown_can_be_loaded_again),
        cmocka_unit_test(a_rule_is_read_and_compiled),
        cmocka_unit_test(rules_that_cannot_be_are_refused_with_their_line),
        cmocka_unit_test(no_more_methods_than_a_set_can_tell_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
