/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Accounts of clients: rates are exact, what is taken is given back, nobody with an open connection
 * is forgotten, and no network pushes the others out. */
#include "dataplane/admit/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/random.h"

enum { FLOWS = 4096 };

/* A table, and the limits of its gateway. */
struct bench {
    struct guard guard;
    struct quota quota;
    struct lease rate;
    uint64_t verdicts[VERDICT_COUNT];
    uint32_t bans;
    struct clients *clients;
    struct client_limits limits;
    uint64_t now_ms;
    uint32_t retry_after_s;
};

static struct bench bench;

static struct bench *open_bench(uint32_t capacity)
{
    struct bench *b = &bench;
    const struct clients_sizes sizes = {capacity, 64, FLOWS};
    const struct clients_shard shard = {&b->guard, &b->quota, &b->rate, b->verdicts, &b->bans};
    clients_free(b->clients);
    *b = (struct bench){.guard = {.key = {0x123456789abcdef1, 0xfedcba9876543211}},
                        .quota = {.allowed = UINT32_MAX},
                        .rate = {.allowed = 1 << 30},
                        .limits = {.shared_factor = 10,
                                   .strikes = 3,
                                   .strike_decay_ms = 1000,
                                   .ban_ms = 60000,
                                   .ban_most_ms = 200000},
                        .now_ms = 1000000};
    b->clients = clients_new(&sizes, &shard);
    assert_non_null(b->clients);
    return b;
}

static int close_bench(void **state)
{
    (void)state;
    clients_free(bench.clients);
    bench.clients = NULL;
    return 0;
}

static struct addr addr_of(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse(text, &a), 0);
    return a;
}

/* The n-th IPv4 client. */
static struct addr v4(uint32_t n)
{
    return addr_from_v4(htobe32(0x0a000000 + n));
}

/* A client by its first 64 bits. */
static struct addr v6(uint64_t first)
{
    struct addr a = {.quads = {htobe64(first), 1}};
    return a;
}

static enum verdict ask_as(struct bench *b, const struct addr *client, uint8_t listed, uint32_t key)
{
    return client_request(b->clients, &b->limits, client, listed, key, b->now_ms,
                          &b->retry_after_s);
}

static enum verdict ask(struct bench *b, const struct addr *client)
{
    return ask_as(b, client, 0, 0);
}

/* How many of so many requests at once pass. */
static uint32_t passing(struct bench *b, const struct addr *client, uint8_t listed, uint32_t count)
{
    uint32_t passed = 0;
    while (count-- > 0)
        passed += ask_as(b, client, listed, 0) == VERDICT_FORWARDED;
    return passed;
}

static enum verdict connect_as(struct bench *b, const struct addr *client, uint8_t listed,
                               uint32_t *account)
{
    return client_connect(b->clients, &b->limits, client, listed, b->now_ms, account);
}

static uint32_t connected(struct bench *b, const struct addr *client)
{
    uint32_t account;
    assert_int_equal(connect_as(b, client, 0, &account), VERDICT_FORWARDED);
    assert_true(account != CLIENT_NOBODY);
    return account;
}

static void leave(struct bench *b, uint32_t account)
{
    client_disconnect(b->clients, account, CLIENT_NO_FLOW);
}

/* ---- requests ---- */

static void a_client_has_its_burst_and_then_its_rate(void **state)
{
    (void)state;
    static const struct {
        uint32_t rate, burst;
    } rows[] = {{60, 10}, {1, 1}, {7, 3}, {600, 100}, {59999, 170}, {1000000, 2000}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bench *b = open_bench(64);
        struct random random = {i};
        const struct addr client = addr_of("198.51.100.7");
        b->limits.requests = rows[i].rate;
        b->limits.requests_burst = rows[i].burst;
        const uint64_t begin = b->now_ms;
        uint64_t passed = 0;
        while (b->now_ms < begin + 120000) { /* far too many */
            passed += passing(b, &client, 0, rows[i].rate / 600 + 2);
            b->now_ms += random_below(&random, 100);
        }
        passed += passing(b, &client, 0, rows[i].burst + rows[i].rate / 60);
        const uint64_t due = rows[i].burst + (b->now_ms - begin) * rows[i].rate / 60000;
        assert_in_range(passed, due - 1, due);
    }
}

static void a_rest_saves_no_more_than_a_burst(void **state)
{
    (void)state;
    struct bench *b = open_bench(64);
    const struct addr client = addr_of("2001:db8::7");
    b->limits.requests = 60;
    b->limits.requests_burst = 5;
    assert_int_equal(passing(b, &client, 0, 100), 5);
    b->now_ms += 3600000;
    assert_int_equal(passing(b, &client, 0, 100), 5);
    b->now_ms += 2500;
    assert_int_equal(passing(b, &client, 0, 100), 2);
    b->now_ms += 500;
    assert_int_equal(passing(b, &client, 0, 100), 1);
}

static void retry_after_is_when_one_more_passes(void **state)
{
    (void)state;
    struct bench *b = open_bench(64);
    const struct addr client = addr_of("198.51.100.7");
    b->limits.requests = 4; /* one each 15 s */
    b->limits.requests_burst = 1;
    assert_int_equal(ask(b, &client), VERDICT_FORWARDED);
    b->now_ms += 100;
    assert_int_equal(ask(b, &client), VERDICT_REQUEST_RATE);
    assert_int_equal(b->retry_after_s, 15);
    b->now_ms += 14000;
    assert_int_equal(ask(b, &client), VERDICT_REQUEST_RATE);
    assert_int_equal(b->retry_after_s, 1);
    b->now_ms += 900;
    assert_int_equal(ask(b, &client), VERDICT_FORWARDED);
}

static void a_refused_request_sent_again_is_refused_again_and_counted_once(void **state)
{
    (void)state;
    struct bench *b = open_bench(64);
    const struct addr client = addr_of("198.51.100.7");
    struct client_view view;
    b->limits.requests = 60;
    b->limits.requests_burst = 1;
    assert_int_equal(ask_as(b, &client, 0, 10), VERDICT_FORWARDED);
    for (uint32_t key = 11; key < 15; key++)
        assert_int_equal(ask_as(b, &client, 0, key), VERDICT_REQUEST_RATE);
    b->now_ms += 5000; /* by now there are tokens, but the client has its answer */
    for (uint32_t key = 11; key < 15; key++)
        assert_int_equal(ask_as(b, &client, 0, key), VERDICT_REQUEST_RATE);
    assert_true(clients_view(b->clients, 0, &view));
    assert_int_equal(view.refused, 4);
    assert_int_equal(ask_as(b, &client, 0, 15), VERDICT_FORWARDED); /* nor were they charged */
    assert_int_equal(ask_as(b, &client, 0, 16), VERDICT_REQUEST_RATE);
    b->now_ms += 5000;
    assert_int_equal(ask_as(b, &client, 0, 11), VERDICT_FORWARDED); /* only four are remembered */
}

static void clients_do_not_share_a_rate(void **state)
{
    (void)state;
    struct bench *b = open_bench(2048);
    b->limits.requests = 60;
    b->limits.requests_burst = 2;
    for (uint32_t i = 0; i < 1000; i++) {
        const struct addr four = v4(i),
                          six = v6(UINT64_C(0x20010db800000000) + ((uint64_t)i << 32));
        assert_int_equal(passing(b, &four, 0, 3), 2);
        if (i < 100)
            assert_int_equal(passing(b, &six, 0, 3), 2);
    }
}

static void addresses_of_one_64_are_one_client(void **state)
{
    (void)state;
    struct bench *b = open_bench(64);
    const struct addr one = addr_of("2001:db8:1:2::1"), other = addr_of("2001:db8:1:2:ffff::2");
    b->limits.requests = 60;
    b->limits.requests_burst = 3;
    assert_int_equal(passing(b, &one, 0, 2), 2);
    assert_int_equal(passing(b, &other, 0, 2), 1);
}

static void an_ipv6_56_may_do_eight_times_as_much_and_a_48_32_times(void **state)
{
    (void)state;
    struct bench *b = open_bench(4096);
    const uint64_t base = UINT64_C(0x20010db800010000);
    uint32_t passed = 0;
    b->limits.requests = 60;
    b->limits.requests_burst = 10;
    for (uint32_t i = 0; i < 256; i++) { /* the /64s of one /56 */
        const struct addr client = v6(base + i);
        passed += passing(b, &client, 0, 20);
    }
    assert_int_equal(passed, 80);
    for (uint32_t i = 256; i < 2048; i++) { /* of seven more of the same /48 */
        const struct addr client = v6(base + i);
        passed += passing(b, &client, 0, 1);
    }
    assert_int_equal(passed, 320);
    b->now_ms += 1000; /* at the same rate */
    passed = 0;
    for (uint32_t i = 0; i < 2048; i++) {
        const struct addr client = v6(base + i);
        passed += passing(b, &client, 0, 2);
    }
    assert_int_equal(passed, 32);
    const struct addr stranger = v6(base + 0x10000);
    assert_int_equal(passing(b, &stranger, 0, 20), 10);
}

static void a_request_that_a_network_refuses_is_not_charged_to_its_client(void **state)
{
    (void)state;
    struct bench *b = open_bench(4096);
    const uint64_t base = UINT64_C(0x20010db800010000);
    b->limits.requests = 60;
    b->limits.requests_burst = 1;
    for (uint32_t i = 0; i < 8; i++) {
        const struct addr client = v6(base + i);
        assert_int_equal(ask(b, &client), VERDICT_FORWARDED);
    }
    const struct addr client = v6(base + 8);
    for (int i = 0; i < 50; i++)
        assert_int_equal(ask(b, &client), VERDICT_REQUEST_RATE);
    b->now_ms += 125; /* an eighth of a second, and the /56 has one more */
    assert_int_equal(ask(b, &client), VERDICT_FORWARDED);
}

static void shared_addresses_may_do_more_proxies_and_allowed_ones_anything(void **state)
{
    (void)state;
    struct bench *b = open_bench(64);
    const struct addr client = addr_of("198.51.100.7"), other = addr_of("198.51.100.8"),
                      third = addr_of("198.51.100.9");
    b->limits.requests = 60;
    b->limits.requests_burst = 3;
    assert_int_equal(passing(b, &client, LISTED_SHARED, 1000), 30);
    b->now_ms += 1000;
    assert_int_equal(passing(b, &client, LISTED_SHARED, 1000), 10);
    assert_int_equal(passing(b, &other, LISTED_PROXY, 1000), 1000);
    assert_int_equal(passing(b, &third, LISTED_ALLOWED, 1000), 1000);
    assert_int_equal(clients_count(b->clients).entries, 2);
}

static void a_limit_that_is_observed_counts_and_lets_pass(void **state)
{
    (void)state;
    struct bench *b = open_bench(64);
    const struct addr client = addr_of("198.51.100.7");
    uint32_t account;
    b->limits.requests = 60;
    b->limits.requests_burst = 3;
    b->limits.rate = b->limits.rate_burst = b->limits.connections = 1;
    for (int i = 0; i < CLIENT_LIMITS; i++)
        b->limits.observe[i] = true;
    b->limits.all_connections = 1;
    b->limits.all_rate = 1;
    b->quota.allowed = 1;
    b->rate.allowed = 1;
    assert_int_equal(passing(b, &client, 0, 10), 10);
    assert_int_equal(b->verdicts[VERDICT_REQUEST_RATE_OBSERVED], 7);
    for (int i = 0; i < 5; i++)
        assert_int_equal(connect_as(b, &client, 0, &account), VERDICT_FORWARDED);
    assert_int_equal(b->verdicts[VERDICT_CONNECTION_RATE_OBSERVED], 4);
    assert_int_equal(b->verdicts[VERDICT_CLIENT_CONNECTIONS_OBSERVED], 4);
    assert_int_equal(b->verdicts[VERDICT_CONNECTIONS_FULL_OBSERVED], 4);
    assert_int_equal(b->verdicts[VERDICT_GATEWAY_RATE_OBSERVED], 4);
    assert_int_equal(b->quota.open, 5);
}

static void a_changed_rate_holds_at_once(void **state)
{
    (void)state;
    struct bench *b = open_bench(64);
    const struct addr client = addr_of("198.51.100.7");
    b->limits.requests = 1;
    b->limits.requests_burst = 100;
    assert_int_equal(passing(b, &client, 0, 1000), 100);
    b->limits.requests = 600; /* an empty bucket of the new kind: not one of 100 minutes */
    b->limits.requests_burst = 10;
    assert_int_equal(passing(b, &client, 0, 1000), 0);
    b->now_ms += 100;
    assert_int_equal(passing(b, &client, 0, 1000), 1);
    b->limits.requests = 0;
    assert_int_equal(passing(b, &client, 0, 1000), 1000);
}

static void requests_on_a_connection_are_charged_to_its_account(void **state)
{
    (void)state;
    struct bench *b = open_bench(64);
    const struct addr client = addr_of("198.51.100.7");
    b->limits.requests = 60;
    b->limits.requests_burst = 2;
    const uint32_t account = connected(b, &client);
    assert_int_equal(ask(b, &client), VERDICT_FORWARDED);
    assert_int_equal(
        client_request_on(b->clients, &b->limits, account, b->now_ms, &b->retry_after_s),
        VERDICT_FORWARDED);
    assert_int_equal(
        client_request_on(b->clients, &b->limits, account, b->now_ms, &b->retry_after_s),
        VERDICT_REQUEST_RATE);
    assert_int_equal(ask(b, &client), VERDICT_REQUEST_RATE);
    assert_int_equal(
        client_request_on(b->clients, &b->limits, CLIENT_NOBODY, b->now_ms, &b->retry_after_s),
        VERDICT_FORWARDED);
}

/* ---- connections ---- */

static void a_client_has_so_many_connections_open_and_no_more(void **state)
{
    (void)state;
    struct bench *b = open_bench(64);
    const struct addr client = addr_of("198.51.100.7"), other = addr_of("198.51.100.8");
    uint32_t account, first;
    b->limits.connections = 3;
    first = connected(b, &client);
    for (int i = 0; i < 2; i++)
        assert_int_equal(connected(b, &client), first);
    assert_int_equal(connect_as(b, &client, 0, &account), VERDICT_CLIENT_CONNECTIONS);
    assert_int_equal(account, CLIENT_NOBODY);
    assert_true(connected(b, &other) != first);
    leave(b, first);
    assert_int_equal(connected(b, &client), first);
    assert_int_equal(connect_as(b, &client, 0, &account), VERDICT_CLIENT_CONNECTIONS);
    assert_int_equal(b->quota.open, 4);
    for (int i = 0; i < 27; i++)
        assert_int_equal(connect_as(b, &client, LISTED_SHARED, &account), VERDICT_FORWARDED);
    assert_int_equal(connect_as(b, &client, LISTED_SHARED, &account), VERDICT_CLIENT_CONNECTIONS);
}

static void a_48_has_32_times_as_many_open(void **state)
{
    (void)state;
    struct bench *b = open_bench(4096);
    const uint64_t base = UINT64_C(0x20010db800010000);
    uint32_t open = 0, account;
    b->limits.connections = 2;
    for (uint32_t i = 0; i < 1024; i++) {
        const struct addr client = v6(base + 64 * (uint64_t)i);
        open += connect_as(b, &client, 0, &account) == VERDICT_FORWARDED;
    }
    assert_int_equal(open, 64);
    const struct addr stranger = v6(base + 0x10000);
    connected(b, &stranger);
}

static void new_connections_have_a_rate_of_their_own(void **state)
{
    (void)state;
    struct bench *b = open_bench(64);
    const struct addr client = addr_of("198.51.100.7");
    uint32_t account, open = 0;
    b->limits.rate = 10;
    b->limits.rate_burst = 5;
    for (int i = 0; i < 100; i++)
        open += connect_as(b, &client, 0, &account) == VERDICT_FORWARDED;
    assert_int_equal(open, 5);
    assert_int_equal(account, CLIENT_NOBODY);
    for (int i = 0; i < 1000; i++) {
        b->now_ms += 10;
        open += connect_as(b, &client, 0, &account) == VERDICT_FORWARDED;
    }
    assert_int_equal(open, 105);
}

static void the_gateways_limits_come_last_and_charge_nobody(void **state)
{
    (void)state;
    struct bench *b = open_bench(64);
    const struct addr client = addr_of("198.51.100.7"), allowed = addr_of("198.51.100.8");
    uint32_t account;
    b->limits.rate = 1;
    b->limits.rate_burst = 2;
    b->limits.all_connections = 100;
    b->quota.allowed = 1;
    connected(b, &client);
    for (int i = 0; i < 5; i++)
        assert_int_equal(connect_as(b, &client, 0, &account), VERDICT_CONNECTIONS_FULL);
    assert_int_equal(connect_as(b, &client, LISTED_PROXY, &account), VERDICT_CONNECTIONS_FULL);
    assert_int_equal(connect_as(b, &allowed, LISTED_ALLOWED, &account), VERDICT_FORWARDED);
    assert_int_equal(account, CLIENT_NOBODY);
    b->quota.allowed = 100;
    b->limits.all_rate = 5;
    b->rate.allowed = b->rate.used;
    assert_int_equal(connect_as(b, &client, 0, &account), VERDICT_GATEWAY_RATE);
    b->rate.allowed = b->rate.used + 1;
    connected(b, &client); /* its second token is still there */
    assert_int_equal(b->quota.open, 2);
}

/* ---- strikes and bans ---- */

static uint64_t source_of(const struct bench *b, const struct addr *client)
{
    return guard_source_of(&b->guard, client, addr_is_v4(client));
}

static bool banned(const struct bench *b, const struct addr *client)
{
    return clients_is_banned(b->clients, source_of(b, client), b->now_ms);
}

static void struck(struct bench *b, const struct addr *client, uint8_t listed, uint32_t times)
{
    while (times-- > 0)
        client_strike(b->clients, &b->limits, client, listed, STRIKE_MALFORMED, b->now_ms);
}

static void enough_strikes_make_a_ban_and_bans_double(void **state)
{
    (void)state;
    static const char *const clients[] = {"198.51.100.7", "2001:db8:1:2::7"};
    for (int i = 0; i < 2; i++) {
        struct bench *b = open_bench(64);
        const struct addr client = addr_of(clients[i]);
        struct addr neighbour = client;
        neighbour.bytes[i == 0 ? 15 : 7] ^= 1;
        struck(b, &client, 0, 2);
        assert_false((b->bans != 0));
        struck(b, &client, 0, 1);
        assert_true((b->bans != 0) && banned(b, &client));
        assert_false(banned(b, &neighbour));
        b->now_ms += 59999;
        assert_true(banned(b, &client));
        b->now_ms += 1;
        assert_false(banned(b, &client));
        struck(b, &client, 0, 3);
        b->now_ms += 119999;
        assert_true(banned(b, &client));
        b->now_ms += 1;
        assert_false(banned(b, &client));
        struck(b, &client, 0, 3); /* 240 s, were it not for the bound */
        b->now_ms += 200000;
        assert_false(banned(b, &client));
        b->now_ms += 200000; /* as long again, and it is forgotten */
        for (int k = 0; k < 100; k++)
            clients_tick(b->clients, b->now_ms);
        assert_false((b->bans != 0));
        struck(b, &client, 0, 3);
        b->now_ms += 60000;
        assert_false(banned(b, &client));
        assert_int_equal(b->verdicts[VERDICT_BAN], 4);
        assert_int_equal(b->verdicts[VERDICT_STRIKE], 12);
    }
}

static void strikes_are_forgiven_one_by_one(void **state)
{
    (void)state;
    struct bench *b = open_bench(64);
    const struct addr client = addr_of("198.51.100.7");
    for (int i = 0; i < 100; i++) {
        struck(b, &client, 0, 1);
        b->now_ms += 700; /* 1.4 in the time in which one is forgiven */
        if (banned(b, &client)) {
            assert_int_equal(i, 4);
            return;
        }
    }
    fail();
}

static void who_is_slow_to_offend_is_never_banned(void **state)
{
    (void)state;
    struct bench *b = open_bench(64);
    const struct addr client = addr_of("198.51.100.7");
    for (int i = 0; i < 1000; i++) {
        struck(b, &client, 0, 1);
        b->now_ms += 1000;
    }
    assert_false((b->bans != 0));
}

static void neither_crowds_nor_proxies_nor_the_allowed_are_banned_for_strikes(void **state)
{
    (void)state;
    struct bench *b = open_bench(64);
    const struct addr client = addr_of("198.51.100.7");
    struck(b, &client, LISTED_SHARED, 100);
    struck(b, &client, LISTED_PROXY, 100);
    struck(b, &client, LISTED_ALLOWED, 100);
    b->limits.strikes = 0;
    struck(b, &client, 0, 100);
    assert_false((b->bans != 0));
}

static void to_exceed_a_rate_is_no_strike(void **state)
{
    (void)state;
    struct bench *b = open_bench(64);
    const struct addr client = addr_of("198.51.100.7");
    uint32_t account;
    b->limits.requests = b->limits.rate = b->limits.connections = 1;
    passing(b, &client, 0, 1000);
    for (int i = 0; i < 1000; i++)
        connect_as(b, &client, 0, &account);
    assert_int_equal(b->verdicts[VERDICT_STRIKE], 0);
    assert_false((b->bans != 0));
}

static void a_banned_clients_flows_are_found_and_nobody_elses(void **state)
{
    (void)state;
    struct bench *b = open_bench(64);
    const struct addr client = addr_of("198.51.100.7"), other = addr_of("198.51.100.8");
    uint32_t account[12];
    for (uint32_t i = 0; i < 12; i++) {
        account[i] = connected(b, i % 3 == 0 ? &other : &client);
        client_attach(b->clients, account[i], 100 + i);
    }
    for (uint32_t i = 1; i < 12; i += 5) { /* one ends before, from wherever it stands */
        client_disconnect(b->clients, account[i], 100 + i);
        account[i] = CLIENT_NOBODY;
    }
    client_strike_on(b->clients, &b->limits, account[2], STRIKE_SLOW, b->now_ms);
    assert_int_equal(clients_to_cut(b->clients), CLIENT_NO_FLOW);
    struck(b, &client, 0, 2);
    uint32_t cut = 0, flow;
    while ((flow = clients_to_cut(b->clients)) != CLIENT_NO_FLOW) {
        assert_true(flow > 100 && flow < 112 && (flow - 100) % 3 != 0);
        client_disconnect(b->clients, account[flow - 100], flow);
        cut++;
    }
    assert_int_equal(cut, 6);
    assert_int_equal(b->quota.open, 3);
    b->limits.observe[CLIENT_LIMIT_BANS] = true;
    struck(b, &other, 0, 3);
    assert_int_equal(clients_to_cut(b->clients), CLIENT_NO_FLOW);
}

static void a_full_table_of_bans_keeps_them(void **state)
{
    (void)state;
    struct bench *b = open_bench(1024);
    for (uint32_t i = 0; i < 100; i++) {
        const struct addr client = v4(i);
        struck(b, &client, 0, 3);
    }
    assert_int_equal(b->verdicts[VERDICT_BAN], 64);
    assert_int_equal(b->verdicts[VERDICT_BAN_TABLE_FULL], 36);
    for (uint32_t i = 0; i < 64; i++) {
        const struct addr client = v4(i);
        assert_true(banned(b, &client));
    }
    b->now_ms += 60000; /* those that are over make room, though they are remembered */
    for (uint32_t i = 100; i < 140; i++) {
        const struct addr client = v4(i);
        struck(b, &client, 0, 3);
        assert_true(banned(b, &client));
    }
}

/* ---- the table ---- */

static void who_has_been_idle_longest_goes(void **state)
{
    (void)state;
    struct bench *b = open_bench(64);
    b->limits.requests = 1;
    b->limits.requests_burst = 1;
    for (uint32_t i = 0; i < 64; i++) {
        const struct addr client = v4(i);
        assert_int_equal(ask(b, &client), VERDICT_FORWARDED);
    }
    const struct addr oldest = v4(0), next = v4(1), newcomer = v4(64);
    assert_int_equal(ask(b, &oldest), VERDICT_REQUEST_RATE); /* known, and now the newest */
    assert_int_equal(ask(b, &newcomer), VERDICT_FORWARDED);
    assert_int_equal(ask(b, &oldest), VERDICT_REQUEST_RATE);
    assert_int_equal(ask(b, &next), VERDICT_FORWARDED); /* forgotten */
    assert_int_equal(b->verdicts[VERDICT_CLIENT_DISPLACED], 2);
    assert_int_equal(clients_count(b->clients).entries, 64);
}

static void who_has_a_connection_open_stays(void **state)
{
    (void)state;
    struct bench *b = open_bench(64);
    uint32_t account[64], one;
    for (uint32_t i = 0; i < 64; i++) {
        const struct addr client = v4(i);
        account[i] = connected(b, &client);
    }
    const struct addr newcomer = v4(64), six = v6(UINT64_C(0x20010db800000000));
    assert_int_equal(connect_as(b, &newcomer, 0, &one), VERDICT_CLIENT_TABLE_FULL);
    assert_int_equal(ask(b, &newcomer), VERDICT_CLIENT_TABLE_FULL);
    assert_int_equal(ask(b, &six), VERDICT_CLIENT_TABLE_FULL);
    leave(b, account[20]);
    assert_true(connected(b, &newcomer) == account[20]);
    for (uint32_t i = 0; i < 3; i++)
        leave(b, account[i]);
    assert_int_equal(ask(b, &six), VERDICT_CLIENT_TABLE_FULL); /* four entries, three idle */
    leave(b, account[3]);
    assert_int_equal(ask(b, &six), VERDICT_FORWARDED);
    assert_int_equal(clients_count(b->clients).networks, 3);
}

static void networks_go_with_their_last_client(void **state)
{
    (void)state;
    struct bench *b = open_bench(64);
    for (uint64_t i = 0; i < 200; i++) {
        const struct addr client = v6(UINT64_C(0x2001000000000000) + (i << 32));
        assert_int_equal(ask(b, &client), VERDICT_FORWARDED);
    }
    for (uint32_t i = 0; i < 64; i++) {
        const struct addr client = v4(i);
        assert_int_equal(ask(b, &client), VERDICT_FORWARDED);
    }
    assert_int_equal(clients_count(b->clients).networks, 0);
    assert_int_equal(clients_count(b->clients).entries, 64);
}

/* Two million clients of a table of one, the holder of an IPv6 /32 who has as many /64s as he
 * likes, a client in a thousand with an open connection, one in ten thousand banned. */
static void two_million_clients_and_the_holder_of_a_32_displace_idle_ones_only(void **state)
{
    (void)state;
    enum { TABLE = 1 << 20, CLIENTS = 2000000, OPEN = 1000, BANNED = 40000, HOLDERS = 1000000 };
    struct bench *b = open_bench(TABLE);
    static uint32_t account[CLIENTS / OPEN];
    struct random random = {32};
    b->limits.requests = 1;
    b->limits.requests_burst = 1;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        const struct addr client = v4(i);
        assert_int_equal(ask(b, &client), VERDICT_FORWARDED);
        if (i % OPEN == 0)
            account[i / OPEN] = connected(b, &client);
        if (i % BANNED == 1)
            struck(b, &client, 0, 3);
    }
    /* all that are idle are the newest */
    const uint32_t idle = TABLE - CLIENTS / OPEN;
    for (uint32_t i = CLIENTS - 1; i > CLIENTS - idle; i -= 997) {
        const struct addr client = v4(i);
        assert_int_equal(ask(b, &client), VERDICT_REQUEST_RATE);
    }
    /* 16 /48s, then all of them: the share of a /48, then that of the /32, and no more */
    for (uint32_t i = 0; i < HOLDERS; i++) {
        const uint64_t low = random_32(&random) & (i < HOLDERS / 2 ? 0x000fffff : 0xffffffff);
        const struct addr client = v6(UINT64_C(0x20010db800000000) | low);
        ask(b, &client);
    }
    const struct clients_counts counts = clients_count(b->clients);
    assert_in_range(counts.entries, TABLE - 3, TABLE); /* who goes may take networks along */
    uint32_t holders = 0;
    struct client_view view;
    for (uint32_t i = 0; i < TABLE; i++)
        holders += clients_view(b->clients, i, &view) && view.prefix.length == 64;
    /* a little more where networks have gone with their last client, and left their entries */
    assert_in_range(holders, TABLE / 16, TABLE / 16 + TABLE / 1000);
    assert_true(holders + counts.networks <= 3 * TABLE / 16 + 3);
    const uint32_t others = TABLE - holders - counts.networks - CLIENTS / OPEN;
    for (uint32_t i = CLIENTS - 2; i > CLIENTS - others + others / 500; i -= 991) {
        const struct addr client = v4(i);
        assert_int_equal(ask(b, &client), VERDICT_REQUEST_RATE);
    }
    for (uint32_t i = 0; i < CLIENTS; i += OPEN) { /* known, with their connection */
        const struct addr client = v4(i);
        assert_int_equal(connected(b, &client), account[i / OPEN]);
    }
    for (uint32_t i = 1; i < CLIENTS; i += BANNED) {
        const struct addr client = v4(i);
        assert_true(banned(b, &client));
    }
}

static void a_48_beyond_its_share_displaces_its_own(void **state)
{
    (void)state;
    struct bench *b = open_bench(6400); /* a share is of 100 */
    b->limits.requests = 1;
    b->limits.requests_burst = 1000;
    for (uint32_t i = 0; i < 6400; i++) {
        const struct addr client = v4(i);
        ask(b, &client);
    }
    for (uint32_t i = 0; i < 5000; i++) {
        const struct addr client = v6(UINT64_C(0x20010db800010000) | i % 256 << 8 | i / 256);
        ask(b, &client);
    }
    const struct clients_counts counts = clients_count(b->clients);
    uint32_t holders = 0;
    struct client_view view;
    for (uint32_t i = 0; i < 6400; i++)
        holders += clients_view(b->clients, i, &view) && view.prefix.length == 64;
    assert_in_range(holders, 100, 101);
    assert_true(counts.networks <= holders + 2);
}

/* ---- property ---- */

enum { PEOPLE = 300, MOST_OPEN = 600 };

/* Whatever comes in whatever order: the counts are those of a plain model, and in the end all are
 * zero. */
static void all_counts_return_to_zero(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct bench *b = open_bench(64 + (uint32_t)(seed % 5) * 64);
        struct random random = {seed};
        struct {
            uint32_t account, flow;
        } open[MOST_OPEN];
        uint32_t count = 0;
        b->limits.connections = random_below(&random, 6);
        b->limits.requests = random_below(&random, 2) * 600;
        b->limits.rate = random_below(&random, 2) * 5;
        b->limits.all_connections = random_below(&random, 2);
        b->quota.allowed = 1 + random_below(&random, 200);
        for (int i = 0; i < 3000; i++) {
            const uint32_t who = random_below(&random, PEOPLE);
            const struct addr client =
                who % 2 ? v4(who) : v6(UINT64_C(0x20010db800000000) + ((uint64_t)who << 6));
            uint32_t account;
            const uint32_t what = random_below(&random, 10);
            b->now_ms += random_below(&random, 20);
            if (what < 4 && count < MOST_OPEN) {
                if (connect_as(b, &client, who % 7 ? 0 : LISTED_PROXY, &account) ==
                    VERDICT_FORWARDED) {
                    open[count].account = account;
                    open[count].flow = CLIENT_NO_FLOW;
                    if (random_below(&random, 8)) {
                        uint32_t flow = 0;
                        for (uint32_t k = 0; k < count; k++)
                            flow = open[k].flow != CLIENT_NO_FLOW && open[k].flow >= flow
                                       ? open[k].flow + 1
                                       : flow;
                        open[count].flow = flow;
                        client_attach(b->clients, account, flow);
                    }
                    count++;
                } else {
                    assert_int_equal(account, CLIENT_NOBODY);
                }
            } else if (what < 8 && count > 0) {
                const uint32_t k = random_below(&random, count);
                client_disconnect(b->clients, open[k].account, open[k].flow);
                open[k] = open[--count];
            } else if (what == 8) {
                struck(b, &client, 0, random_below(&random, 3));
            } else {
                ask(b, &client);
            }
            assert_int_equal(b->quota.open, count);
            if (random_below(&random, 4) == 0) {
                const uint32_t flow = clients_to_cut(b->clients);
                for (uint32_t k = 0; flow != CLIENT_NO_FLOW && k < count; k++)
                    if (open[k].flow == flow) {
                        client_disconnect(b->clients, open[k].account, flow);
                        open[k] = open[--count];
                    }
            }
        }
        while (count > 0) {
            count--;
            client_disconnect(b->clients, open[count].account, open[count].flow);
        }
        struct client_view view;
        assert_int_equal(b->quota.open, 0);
        assert_int_equal(clients_to_cut(b->clients), CLIENT_NO_FLOW);
        for (uint32_t i = 0; i < clients_count(b->clients).capacity; i++)
            assert_true(!clients_view(b->clients, i, &view) || view.open == 0);
        for (uint32_t i = 0; i < clients_count(b->clients).capacity; i++) { /* all may go */
            const struct addr client = v4(100000 + i);
            assert_int_equal(ask(b, &client), VERDICT_FORWARDED);
        }
        assert_int_equal(clients_count(b->clients).networks, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_has_its_burst_and_then_its_rate),
        cmocka_unit_test(a_rest_saves_no_more_than_a_burst),
        cmocka_unit_test(retry_after_is_when_one_more_passes),
        cmocka_unit_test(a_refused_request_sent_again_is_refused_again_and_counted_once),
        cmocka_unit_test(clients_do_not_share_a_rate),
        cmocka_unit_test(addresses_of_one_64_are_one_client),
        cmocka_unit_test(an_ipv6_56_may_do_eight_times_as_much_and_a_48_32_times),
        cmocka_unit_test(a_request_that_a_network_refuses_is_not_charged_to_its_client),
        cmocka_unit_test(shared_addresses_may_do_more_proxies_and_allowed_ones_anything),
        cmocka_unit_test(a_limit_that_is_observed_counts_and_lets_pass),
        cmocka_unit_test(a_changed_rate_holds_at_once),
        cmocka_unit_test(requests_on_a_connection_are_charged_to_its_account),
        cmocka_unit_test(a_client_has_so_many_connections_open_and_no_more),
        cmocka_unit_test(a_48_has_32_times_as_many_open),
        cmocka_unit_test(new_connections_have_a_rate_of_their_own),
        cmocka_unit_test(the_gateways_limits_come_last_and_charge_nobody),
        cmocka_unit_test(enough_strikes_make_a_ban_and_bans_double),
        cmocka_unit_test(strikes_are_forgiven_one_by_one),
        cmocka_unit_test(who_is_slow_to_offend_is_never_banned),
        cmocka_unit_test(neither_crowds_nor_proxies_nor_the_allowed_are_banned_for_strikes),
        cmocka_unit_test(to_exceed_a_rate_is_no_strike),
        cmocka_unit_test(a_banned_clients_flows_are_found_and_nobody_elses),
        cmocka_unit_test(a_full_table_of_bans_keeps_them),
        cmocka_unit_test(who_has_been_idle_longest_goes),
        cmocka_unit_test(who_has_a_connection_open_stays),
        cmocka_unit_test(networks_go_with_their_last_client),
        cmocka_unit_test(a_48_beyond_its_share_displaces_its_own),
        cmocka_unit_test(two_million_clients_and_the_holder_of_a_32_displace_idle_ones_only),
        cmocka_unit_test(all_counts_return_to_zero),
    };
    return cmocka_run_group_tests(tests, NULL, close_bench);
}
