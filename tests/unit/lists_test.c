/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What feeds mean together, and that each keeps its own counter. */
#include "dataplane/admit/lists.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

/* A feed of one prefix. */
struct feed {
    const char *name;
    enum list_kind kind;
    enum list_mode mode;
    const char *prefix;
};

enum { FEEDS = 8 };

static struct lists *build(const struct feed *feeds, size_t count, const struct lists *previous,
                           uint16_t generation)
{
    struct lists_source sources[FEEDS];
    struct prefix prefixes[FEEDS];
    struct lists *lists;
    assert_true(count <= FEEDS);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(prefix_parse(feeds[i].prefix, &prefixes[i], NULL), 0);
        sources[i] =
            (struct lists_source){feeds[i].name, feeds[i].kind, feeds[i].mode, &prefixes[i], 1, 0};
    }
    assert_int_equal(lists_build(sources, count, previous, generation, &lists), 0);
    return lists;
}

static struct listed find(const struct lists *lists, const char *text)
{
    struct addr addr;
    assert_int_equal(addr_parse(text, &addr), 0);
    return lists_find(lists, &addr, addr_is_v4(&addr));
}

static uint64_t hits_of(const struct lists *lists, const struct lists_hits *hits, const char *name)
{
    for (uint32_t slot = 0; slot < LISTS_FEEDS; slot++)
        if (strcmp(lists->feed[slot].name, name) == 0)
            return lists_hits_of(lists, hits, slot);
    fail_msg("there is no feed named %s", name);
    return 0;
}

static void without_lists_nobody_is_listed(void **state)
{
    (void)state;
    assert_int_equal(find(NULL, "198.51.100.7").flags, 0);
    assert_int_equal(find(NULL, "2001:db8::7").set, 0);
    assert_int_equal(lists_generation(NULL), 0);
}

static void a_part_without_feeds_is_a_generation_and_nothing_to_ask(void **state)
{
    (void)state;
    struct lists *lists;
    assert_int_equal(lists_build(NULL, 0, NULL, 7, &lists), 0);
    assert_int_equal(lists_generation(lists), 7);
    assert_null(lists_to_ask(lists));
    assert_int_equal(lists->prefixes.size, 0);
    lists_free(lists);
    assert_null(lists_to_ask(NULL));
}

static void each_kind_says_what_it_is_there_for(void **state)
{
    (void)state;
    static const struct feed feeds[] = {
        {"drop", LIST_DENY, LIST_ENFORCE, "198.51.100.0/24"},
        {"watch", LIST_DENY, LIST_OBSERVE, "192.0.2.0/24"},
        {"carriers", LIST_SHARED, LIST_ENFORCE, "203.0.113.0/24"},
        {"cdn", LIST_PROXIES, LIST_ENFORCE, "2001:db8::/32"},
        {"partners", LIST_ALLOW, LIST_ENFORCE, "2001:db8:1::/48"},
    };
    struct lists *lists = build(feeds, 5, NULL, 1);
    assert_int_equal(find(lists, "198.51.100.7").flags, LISTED_DENIED);
    assert_int_equal(find(lists, "192.0.2.7").flags, LISTED_OBSERVED);
    assert_int_equal(find(lists, "203.0.113.7").flags, LISTED_SHARED);
    assert_int_equal(find(lists, "2001:db8::7").flags, LISTED_PROXY);
    assert_int_equal(find(lists, "2001:db8:1::7").flags, LISTED_PROXY | LISTED_ALLOWED);
    assert_int_equal(find(lists, "198.51.101.7").flags, 0);
    assert_int_equal(find(lists, "198.51.101.7").set, 0);
    lists_free(lists);
}

static void allow_beats_deny_whichever_is_longer(void **state)
{
    (void)state;
    static const struct feed feeds[] = {
        {"wide", LIST_DENY, LIST_ENFORCE, "198.51.100.0/24"},
        {"inner", LIST_ALLOW, LIST_ENFORCE, "198.51.100.64/26"},
        {"narrow", LIST_DENY, LIST_ENFORCE, "198.51.100.65/32"},
        {"watch", LIST_DENY, LIST_OBSERVE, "198.51.100.66/32"},
    };
    struct lists *lists = build(feeds, 4, NULL, 1);
    assert_int_equal(find(lists, "198.51.100.63").flags, LISTED_DENIED);
    assert_int_equal(find(lists, "198.51.100.64").flags, LISTED_ALLOWED);
    assert_int_equal(find(lists, "198.51.100.65").flags, LISTED_ALLOWED);
    assert_int_equal(find(lists, "198.51.100.66").flags, LISTED_ALLOWED);
    assert_int_equal(find(lists, "198.51.100.128").flags, LISTED_DENIED);
    lists_free(lists);
}

static void an_observed_feed_does_not_keep_another_from_denying(void **state)
{
    (void)state;
    static const struct feed feeds[] = {
        {"watch", LIST_DENY, LIST_OBSERVE, "2001:db8::/32"},
        {"drop", LIST_DENY, LIST_ENFORCE, "2001:db8:1::/48"},
    };
    struct lists *lists = build(feeds, 2, NULL, 1);
    assert_int_equal(find(lists, "2001:db8::1").flags, LISTED_OBSERVED);
    assert_int_equal(find(lists, "2001:db8:1::1").flags, LISTED_OBSERVED | LISTED_DENIED);
    lists_free(lists);
}

static void a_hit_counts_for_every_feed_that_names_the_address(void **state)
{
    (void)state;
    static const struct feed feeds[] = {
        {"a", LIST_DENY, LIST_ENFORCE, "198.51.100.0/24"},
        {"b", LIST_DENY, LIST_ENFORCE, "198.51.100.0/25"},
    };
    struct lists *lists = build(feeds, 2, NULL, 1);
    struct lists_hits hits = {0};
    lists_hits_begin(lists, &hits);
    lists_hit(lists, find(lists, "198.51.100.1").set, &hits);
    lists_hit(lists, find(lists, "198.51.100.2").set, &hits);
    lists_hit(lists, find(lists, "198.51.100.200").set, &hits);
    assert_int_equal(hits_of(lists, &hits, "a"), 3);
    assert_int_equal(hits_of(lists, &hits, "b"), 2);
    lists_free(lists);
}

static void a_feed_keeps_its_counter_when_others_come_and_go(void **state)
{
    (void)state;
    static const struct feed before[] = {
        {"a", LIST_DENY, LIST_ENFORCE, "198.51.100.1/32"},
        {"b", LIST_DENY, LIST_ENFORCE, "198.51.100.2/32"},
    };
    static const struct feed after[] = {
        {"c", LIST_DENY, LIST_ENFORCE, "198.51.100.3/32"},
        {"b", LIST_DENY, LIST_ENFORCE, "198.51.100.2/32"},
    };
    struct lists *first = build(before, 2, NULL, 1);
    struct lists_hits hits = {0};
    lists_hits_begin(first, &hits);
    lists_hit(first, find(first, "198.51.100.1").set, &hits);
    lists_hit(first, find(first, "198.51.100.2").set, &hits);
    struct lists *second = build(after, 2, first, 2);
    assert_int_equal(hits_of(second, &hits, "c"), 0); /* in the slot of "a", not yet its own */
    lists_hits_begin(second, &hits);
    assert_int_equal(hits_of(second, &hits, "b"), 1);
    assert_int_equal(hits_of(second, &hits, "c"), 0);
    lists_hit(second, find(second, "198.51.100.3").set, &hits);
    assert_int_equal(hits_of(second, &hits, "c"), 1);
    lists_free(first);
    lists_free(second);
}

static void generations_go_around_without_zero(void **state)
{
    (void)state;
    assert_int_equal(lists_next(0), 1);
    assert_int_equal(lists_next(7), 8);
    assert_int_equal(lists_next(UINT16_MAX), 1);
}

static void what_is_no_feed_is_refused(void **state)
{
    (void)state;
    static const char long_name[] =
        "0123456789012345678901234567890123456789012345678901234567890123";
    const struct lists_source good = {.name = "a"};
    struct lists_source bad = good;
    struct lists *lists;
    bad.name = "";
    assert_int_equal(lists_build(&bad, 1, NULL, 1, &lists), -EINVAL);
    bad.name = long_name;
    assert_int_equal(lists_build(&bad, 1, NULL, 1, &lists), -EINVAL);
    bad = (struct lists_source){.name = "a", .kind = LIST_ALLOW, .mode = LIST_OBSERVE};
    assert_int_equal(lists_build(&bad, 1, NULL, 1, &lists), -EINVAL);
    bad = (struct lists_source){.name = "a", .kind = (enum list_kind)4};
    assert_int_equal(lists_build(&bad, 1, NULL, 1, &lists), -EINVAL);
    assert_int_equal(lists_build(&good, 1, NULL, 0, &lists), -EINVAL);
    const struct lists_source twice[] = {good, good};
    assert_int_equal(lists_build(twice, 2, NULL, 1, &lists), -EEXIST);
    assert_null(lists);
}

static void as_many_feeds_as_there_are_slots_and_not_one_more(void **state)
{
    (void)state;
    static char names[LISTS_FEEDS + 1][8];
    struct lists_source sources[LISTS_FEEDS + 1] = {{0}};
    struct lists *lists, *again;
    for (int i = 0; i <= LISTS_FEEDS; i++) {
        snprintf(names[i], sizeof names[i], "f%d", i);
        sources[i].name = names[i];
    }
    assert_int_equal(lists_build(sources, LISTS_FEEDS + 1, NULL, 1, &lists), -E2BIG);
    assert_int_equal(lists_build(sources, LISTS_FEEDS, NULL, 1, &lists), 0);
    assert_int_equal(lists_build(sources + 1, LISTS_FEEDS, lists, 2, &again), 0);
    assert_string_equal(again->feed[0].name, "f64"); /* in the one slot that was left */
    lists_free(again);
    lists_free(lists);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_lists_nobody_is_listed),
        cmocka_unit_test(a_part_without_feeds_is_a_generation_and_nothing_to_ask),
        cmocka_unit_test(each_kind_says_what_it_is_there_for),
        cmocka_unit_test(allow_beats_deny_whichever_is_longer),
        cmocka_unit_test(an_observed_feed_does_not_keep_another_from_denying),
        cmocka_unit_test(a_hit_counts_for_every_feed_that_names_the_address),
        cmocka_unit_test(a_feed_keeps_its_counter_when_others_come_and_go),
        cmocka_unit_test(generations_go_around_without_zero),
        cmocka_unit_test(what_is_no_feed_is_refused),
        cmocka_unit_test(as_many_feeds_as_there_are_slots_and_not_one_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
