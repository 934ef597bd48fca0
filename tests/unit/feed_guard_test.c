/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What a feed may not do: each guard at its bound. */
#include "dataplane/ops/feed_guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/random.h"

static char why[FEED_WHY];

static struct prefix prefix_of(const char *text)
{
    struct prefix p;
    if (prefix_parse(text, &p, NULL) != 0)
        fail_msg("%s", text);
    return p;
}

/* Whether the prefix stays in a denylist of somebody who owns these. */
static bool stays(const char *text, struct feed_left_out *out)
{
    struct prefix ours[] = {prefix_of("2001:db8:0:1::/64"), prefix_of("198.18.128.0/24"),
                            prefix_of("2001:db8::80"), prefix_of("198.18.0.80")};
    struct prefix p = prefix_of(text);
    *out = (struct feed_left_out){0};
    return feed_leave_out(&p, 1, ours, feed_sort_ours(ours, 4), out) == 1;
}

static void too_short_prefixes_are_left_out(void **state)
{
    (void)state;
    struct feed_left_out out;
    static const char *const bad[] = {"0.0.0.0/0", "64.0.0.0/7", "::/0", "2000::/18", "2000::/3"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(stays(bad[i], &out));
        assert_int_equal(out.too_short, 1);
        assert_int_equal(out.ours + out.reserved, 0);
    }
    assert_true(stays("64.0.0.0/8", &out));
    assert_true(stays("2a00::/19", &out));
}

static void what_overlaps_with_our_own_is_left_out_whichever_is_wider(void **state)
{
    (void)state;
    struct feed_left_out out;
    static const char *const bad[] = {"198.18.0.80",   "198.18.0.0/24",     "198.18.128.7",
                                      "198.18.0.0/15", "2001:db8:0:1::5",   "2001:db8::/64",
                                      "2001:db8::/32", "198.18.128.128/25", "198.0.0.0/8"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (stays(bad[i], &out))
            fail_msg("%s stays", bad[i]);
        assert_int_equal(out.ours, 1);
    }
    assert_true(stays("198.18.0.81", &out));
    assert_true(stays("198.18.129.0/24", &out));
    assert_true(stays("2001:db8:0:2::/64", &out));
}

static bool overlap(const struct prefix *a, const struct prefix *b)
{
    return prefix_contains(a, &b->base) || prefix_contains(b, &a->base);
}

/* In a space so small that they meet: at the end of each family, and on either side of the mapped
 * form of IPv4, which lies within IPv6 bit for bit. */
static struct prefix random_prefix(struct random *seed)
{
    static const struct {
        const char *form;
        unsigned shortest;
    } spaces[] = {{"255.255.255.%u/%u", 24},
                  {"1.0.0.%u/%u", 24},
                  {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:%x/%u", 120},
                  {"::1:0:0:%x/%u", 120},
                  {"::fffe:ffff:%x/%u", 120},
                  {"::ff%02x:0:0/%u", 88}};
    char text[ADDR_TEXT];
    uint32_t space = random_below(seed, 6), host = random_below(seed, 255);
    snprintf(text, sizeof text, spaces[space].form, host,
             spaces[space].shortest + random_below(seed, 9));
    return prefix_of(text);
}

static void own_addresses_are_found_as_if_each_were_looked_at(void **state)
{
    (void)state;
    enum { ROUNDS = 5000, MOST = 24 };
    struct random seed = {1};
    uint64_t found = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct prefix ours[MOST], sorted[MOST], p[MOST], left[MOST];
        struct feed_left_out out = {0};
        size_t count = random_below(&seed, MOST + 1), wanted = 0;
        for (size_t i = 0; i < count; i++)
            sorted[i] = ours[i] =
                random_below(&seed, 32) == 0 ? prefix_of("::/64") : random_prefix(&seed);
        for (size_t i = 0; i < MOST; i++) {
            bool meets = false;
            p[i] = random_prefix(&seed);
            for (size_t k = 0; k < count; k++)
                meets |= overlap(&p[i], &ours[k]);
            if (!meets)
                left[wanted++] = p[i];
        }
        size_t distinct = feed_sort_ours(sorted, count);
        assert_in_range(distinct, count > 0, count);
        assert_int_equal(feed_leave_out(p, MOST, sorted, distinct, &out), wanted);
        assert_memory_equal(p, left, wanted * sizeof left[0]);
        assert_int_equal(out.ours, MOST - wanted);
        found += out.ours;
    }
    assert_in_range(found, ROUNDS, ROUNDS * MOST - ROUNDS);
}

static void private_link_local_and_loopback_addresses_are_left_out(void **state)
{
    (void)state;
    struct feed_left_out out;
    static const char *const bad[] = {
        "10.0.0.0/8",    "10.1.2.3",    "172.16.0.0/12", "172.31.255.255", "192.168.0.0/16",
        "100.64.0.0/10", "100.127.0.1", "127.0.0.0/8",   "127.0.0.53",     "169.254.0.0/16",
        "192.0.0.0/8",   "::1",         "fc00::/19",     "fd12:3456::/48", "fe80::/64",
        "febf::1",       "172.0.0.0/8"};
    static const char *const good[] = {
        "11.0.0.0/8", "172.32.0.0/12", "172.15.0.1", "192.167.0.1", "100.63.0.0/16", "100.128.0.1",
        "126.0.0.1",  "169.253.0.1",   "::2",        "fe00::/19",   "fec0::/32"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (stays(bad[i], &out))
            fail_msg("%s stays", bad[i]);
        assert_int_equal(out.reserved, 1);
    }
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (!stays(good[i], &out))
            fail_msg("%s is left out", good[i]);
}

static void the_rest_of_the_feed_stays_in_its_order(void **state)
{
    (void)state;
    static const char text[] =
        "192.0.2.1\n10.0.0.0/8\n203.0.113.0/24\n0.0.0.0/0\n10.1.0.0/16\n2001:db8::1";
    const struct feed_how how = {FEED_AUTO, 0, 100};
    struct feed feed;
    struct feed_left_out out = {0};
    char printed[ADDR_TEXT];
    assert_int_equal(feed_read(text, strlen(text), &how, &feed, why), 0);
    feed_leave_out_of(&feed, NULL, 0, &out);
    assert_int_equal(feed.count, 3);
    assert_string_equal(prefix_print(&feed.prefix[1], printed), "203.0.113.0/24");
    assert_string_equal(prefix_print(&feed.prefix[2], printed), "2001:db8::1/128");
    assert_int_equal(out.reserved, 2);
    assert_string_equal(prefix_print(&out.first_reserved, printed), "10.0.0.0/8");
    assert_int_equal(out.too_short, 1);
    feed_free(&feed);
}

static void entries_with_a_time_are_left_out_as_well(void **state)
{
    (void)state;
    static const char text[] = "add s 10.0.0.1 timeout 60\nadd s 192.0.2.1 timeout 60\n";
    const struct feed_how how = {FEED_AUTO, 0, 100};
    struct feed feed;
    struct feed_left_out out = {0};
    assert_int_equal(feed_read(text, strlen(text), &how, &feed, why), 0);
    feed_leave_out_of(&feed, NULL, 0, &out);
    assert_int_equal(feed.lapsing_count, 1);
    assert_int_equal(out.reserved, 1);
    feed_free(&feed);
}

/* ---- judgements ---- */

static const struct feed_limits usual = {.change = 50, .share = 5, .clients = 10};

static const struct feed_facts fine = {.entries = 1000, .size = 1000, .size_before = 1000};

static void judged(struct feed_facts facts, enum feed_judgement wanted, const char *reason)
{
    enum feed_judgement seen = feed_judge(&facts, &usual, why);
    if (seen != wanted || strstr(why, reason) == NULL)
        fail_msg("judged %d: %s", seen, why);
}

static void more_than_one_percent_of_unreadable_lines_is_refused(void **state)
{
    (void)state;
    struct feed_facts facts = fine;
    facts.entries = 99;
    facts.unreadable = 1;
    judged(facts, FEED_GOOD, "");
    facts.entries = 98;
    judged(facts, FEED_REFUSED, "1 of 99 lines cannot be read");
}

static void a_change_by_more_than_half_is_held_back(void **state)
{
    (void)state;
    static const struct {
        uint64_t now;
        enum feed_judgement wanted;
    } cases[] = {{500, FEED_GOOD},
                 {499, FEED_HELD_BACK},
                 {1500, FEED_GOOD},
                 {1501, FEED_HELD_BACK},
                 {0, FEED_HELD_BACK}};
    struct feed_facts facts = fine;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        facts.size = cases[i].now;
        judged(facts, cases[i].wanted,
               cases[i].wanted == FEED_GOOD ? "" : "the last good one had 1000");
    }
    facts.size_before = -1; /* the first of all */
    judged(facts, FEED_GOOD, "");
    facts.size_before = 0;
    facts.size = 1000;
    judged(facts, FEED_GOOD, "");
    const struct feed_limits any = {.change = 0, .share = 5, .clients = 10};
    facts = fine;
    facts.size = 1;
    assert_int_equal(feed_judge(&facts, &any, why), FEED_GOOD);
}

static void covering_more_than_its_share_is_held_back(void **state)
{
    (void)state;
    struct feed_facts facts = fine;
    facts.v4_addresses = (UINT64_C(1) << 32) / 100 * 5;
    facts.v6_networks = (UINT64_C(1) << 61) / 100 * 5;
    judged(facts, FEED_GOOD, "");
    facts.v4_addresses++;
    judged(facts, FEED_HELD_BACK, "covers 5.0 % of IPv4");
    facts.v4_addresses = 0;
    facts.v6_networks++;
    judged(facts, FEED_HELD_BACK, "5.0 % of IPv6");
    const struct feed_limits all = {.change = 0, .share = 100, .clients = 100};
    facts.v4_addresses = UINT64_C(1) << 32;
    facts.v6_networks = UINT64_MAX;
    assert_int_equal(feed_judge(&facts, &all, why), FEED_GOOD);
}

static void denying_more_than_a_share_of_the_clients_is_held_back(void **state)
{
    (void)state;
    struct feed_facts facts = fine;
    facts.clients = 1000;
    facts.clients_denied = 100;
    judged(facts, FEED_GOOD, "");
    facts.clients_denied = 101;
    judged(facts, FEED_HELD_BACK, "would deny 101 of 1000 clients");
    facts.clients = facts.clients_denied = FEED_FEW_CLIENTS;
    judged(facts, FEED_HELD_BACK, "would deny 10 of 10 clients");
    facts.clients = facts.clients_denied = FEED_FEW_CLIENTS - 1;
    judged(facts, FEED_GOOD, "");
}

static void a_set_says_how_many_addresses_it_holds(void **state)
{
    (void)state;
    static const char text[] = "192.0.2.0/25\n198.51.100.7\n2001:db8::/64\n";
    static const char *const addresses[] = {
        "192.0.2.0",       "192.0.2.127", "192.0.2.128",    "198.51.100.7", "0.0.0.1",
        "255.255.255.255", "2001:db8::9", "2001:db8:0:1::", "::1",          "192.0.1.255"};
    enum { COUNT = sizeof addresses / sizeof addresses[0] };
    const struct feed_how how = {FEED_AUTO, 0, 100};
    struct addr list[COUNT];
    struct feed feed;
    struct feed_set set;
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(addr_parse(addresses[i], &list[i]), 0);
    assert_int_equal(feed_read(text, strlen(text), &how, &feed, why), 0);
    assert_int_equal(feed_merge(&feed, 0, &set), 0);
    assert_int_equal(feed_set_holds(&set, list, COUNT), 4);
    free(set.prefix);
    feed_free(&feed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_short_prefixes_are_left_out),
        cmocka_unit_test(what_overlaps_with_our_own_is_left_out_whichever_is_wider),
        cmocka_unit_test(own_addresses_are_found_as_if_each_were_looked_at),
        cmocka_unit_test(private_link_local_and_loopback_addresses_are_left_out),
        cmocka_unit_test(the_rest_of_the_feed_stays_in_its_order),
        cmocka_unit_test(entries_with_a_time_are_left_out_as_well),
        cmocka_unit_test(more_than_one_percent_of_unreadable_lines_is_refused),
        cmocka_unit_test(a_change_by_more_than_half_is_held_back),
        cmocka_unit_test(covering_more_than_its_share_is_held_back),
        cmocka_unit_test(denying_more_than_a_share_of_the_clients_is_held_back),
        cmocka_unit_test(a_set_says_how_many_addresses_it_holds),
    };
    return cmocka_run_group_tests_name("feed_guard", tests, NULL, NULL);
}
