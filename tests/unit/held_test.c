/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The slab of held requests: copies, bounds, whose turn it is to go, and entries given back
 * (tcp-pitfalls 17 and 25). */
#include "dataplane/tcp/held.h"

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

static const struct siphash_key key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};

static struct held *slab(uint32_t small, uint32_t large, uint32_t per_client)
{
    const struct held_sizes sizes = {small, large, 8192, per_client};
    struct held *held = held_new(&sizes, &key);
    assert_non_null(held);
    return held;
}

/* A client of IPv4, or with an odd number of IPv6. */
static struct addr client(uint32_t number)
{
    char text[ADDR_TEXT];
    struct addr a;
    snprintf(text, sizeof text, number % 2 ? "2001:db8:%x::1" : "198.18.0.%u", number);
    assert_int_equal(addr_parse(text, &a), 0);
    return a;
}

static uint32_t take(struct held *held, enum held_size size, uint32_t number, bool finished)
{
    const struct addr a = client(number);
    return held_take(held, size, &a, finished);
}

static uint32_t victim(const struct held *held, enum held_size size, uint32_t number)
{
    const struct addr a = client(number);
    return held_victim(held, size, &a);
}

static void pitfall_25_bytes_are_copied_and_stay_until_they_are_dropped(void **state)
{
    (void)state;
    struct held *held = slab(3, 0, 0);
    uint8_t bytes[HELD_SMALL_BYTES], copy[HELD_SMALL_BYTES];
    memset(bytes, 7, sizeof bytes);
    memcpy(copy, bytes, sizeof bytes);
    const uint32_t whole = take(held, HELD_SMALL, 0, true), one = take(held, HELD_SMALL, 0, true);
    assert_int_equal(held_store(held_at(held, whole), 0, bytes, sizeof bytes), sizeof bytes);
    assert_int_equal(held_store(held_at(held, one), 0, "1", 1), 1);
    memset(bytes, 9, sizeof bytes);
    assert_memory_equal(held_at(held, whole)->bytes, copy, sizeof copy);
    assert_int_equal(held_at(held, one)->bytes[0], '1');
    assert_int_equal(held_count(held), 2);
    held_free(held);
}

static void a_full_slab_takes_nothing_until_an_entry_is_given_back(void **state)
{
    (void)state;
    struct held *held = slab(2, 1, 0);
    for (int size = 0; size < HELD_SIZES; size++) {
        const uint32_t first = take(held, (enum held_size)size, 0, true);
        if (size == HELD_SMALL)
            take(held, HELD_SMALL, 1, true);
        assert_int_equal(take(held, (enum held_size)size, 2, true), HELD_NONE);
        assert_int_equal(victim(held, (enum held_size)size, 2), HELD_NONE);
        held_drop(held, first);
        assert_int_equal(take(held, (enum held_size)size, 2, true), first);
        assert_int_equal(take(held, (enum held_size)size, 3, true), HELD_NONE);
    }
    assert_int_equal(held_count_of(held, HELD_SMALL), 2);
    assert_int_equal(held_count_of(held, HELD_LARGE), 1);
    assert_true(held_consistent(held));
    held_free(held);
}

static void dropping_no_entry_is_nothing(void **state)
{
    (void)state;
    struct held *held = slab(1, 0, 0);
    held_drop(held, HELD_NONE);
    assert_int_equal(held_count(held), 0);
    held_free(held);
    held_free(NULL);
}

static void sizes_out_of_range_make_no_slab(void **state)
{
    (void)state;
    const struct held_sizes bad[] = {{0, 1, 8192, 0},
                                     {(1U << 24) + 1, 0, 8192, 0},
                                     {1, (1U << 24) + 1, 8192, 0},
                                     {1, 1, 65536, 0}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_null(held_new(&bad[i], &key));
    const struct held_sizes largest = {1, 1, 65535, 1};
    struct held *held = held_new(&largest, &key);
    assert_int_equal(held_at(held, take(held, HELD_LARGE, 0, true))->capacity, 65535);
    held_free(held);
}

/* ---- bytes ---- */

static void the_first_copy_of_a_byte_stays(void **state)
{
    (void)state;
    struct held *held = slab(1, 0, 0);
    struct held_entry *e = held_at(held, take(held, HELD_SMALL, 0, false));
    assert_int_equal(held_store(e, 2, "cd", 2), 2);
    assert_int_equal(held_store(e, 6, "gh", 2), 2);
    assert_int_equal(ranges_front(&e->filled), 0);
    assert_int_equal(held_store(e, 0, "ABCDEFGHIJ", 10), 6);
    assert_memory_equal(e->bytes, "ABcdEFghIJ", 10);
    assert_int_equal(ranges_front(&e->filled), 10);
    assert_int_equal(held_store(e, 3, "xxxx", 4), 0);
    assert_memory_equal(e->bytes, "ABcdEFghIJ", 10);
    held_free(held);
}

static void a_fifth_stretch_is_refused_and_what_joins_two_is_not(void **state)
{
    (void)state;
    struct held *held = slab(1, 0, 0);
    struct held_entry *e = held_at(held, take(held, HELD_SMALL, 0, false));
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(held_store(e, i * 10, "xx", 2), 2);
    assert_int_equal(held_store(e, 40, "xx", 2), 0);
    assert_int_equal(held_store(e, 5, "x", 1), 0);
    assert_int_equal(held_store(e, 2, "xxxxxxxx", 8), 8); /* joins the first two */
    assert_int_equal(ranges_front(&e->filled), 12);
    assert_int_equal(held_store(e, 40, "xx", 2), 2);
    held_free(held);
}

static void bytes_behind_the_end_are_cut_off(void **state)
{
    (void)state;
    struct held *held = slab(1, 1, 0);
    const uint32_t small = take(held, HELD_SMALL, 0, false);
    uint8_t bytes[100] = {0};
    assert_int_equal(held_store(held_at(held, small), HELD_SMALL_BYTES - 40, bytes, 100), 40);
    assert_int_equal(held_store(held_at(held, small), HELD_SMALL_BYTES, bytes, 100), 0);
    assert_int_equal(held_store(held_at(held, small), 1U << 20, bytes, 100), 0);
    const uint32_t large = held_grow(held, small);
    assert_int_equal(held_store(held_at(held, large), HELD_SMALL_BYTES, bytes, 100), 100);
    held_free(held);
}

static void an_entry_that_grows_keeps_all_that_it_has(void **state)
{
    (void)state;
    struct held *held = slab(2, 1, 0);
    const uint32_t small = take(held, HELD_SMALL, 1, false);
    struct held_entry *e = held_at(held, small);
    e->flow = 77;
    held_store(e, 0, "front", 5);
    held_store(e, 100, "behind", 6);
    const uint32_t large = held_grow(held, small);
    e = held_at(held, large);
    assert_int_equal(e->flow, 77);
    assert_int_equal(e->size, HELD_LARGE);
    assert_int_equal(e->capacity, 8192);
    assert_memory_equal(e->bytes, "front", 5);
    assert_memory_equal(e->bytes + 100, "behind", 6);
    assert_int_equal(ranges_end(&e->filled), 106);
    assert_int_equal(held_count_of(held, HELD_SMALL), 0);
    assert_int_equal(held_grow(held, large), HELD_NONE); /* no larger ones */
    assert_int_equal(victim(held, HELD_LARGE, 0), large);
    assert_true(held_consistent(held));
    held_drop(held, large);
    assert_int_equal(held_count(held), 0);
    held_free(held);
}

/* ---- whose turn it is ---- */

static void pitfall_25_the_oldest_of_who_has_most_goes_first(void **state)
{
    (void)state;
    struct held *held = slab(6, 0, 0);
    take(held, HELD_SMALL, 0, false);
    const uint32_t oldest = take(held, HELD_SMALL, 1, false);
    const uint32_t second = take(held, HELD_SMALL, 1, false);
    const uint32_t third = take(held, HELD_SMALL, 1, false);
    take(held, HELD_SMALL, 2, false);
    const uint32_t newest = take(held, HELD_SMALL, 2, false);
    const struct addr stranger = client(7);
    assert_int_equal(held_take(held, HELD_SMALL, &stranger, false), HELD_NONE);
    assert_int_equal(held_victim(held, HELD_SMALL, &stranger), oldest);
    held_drop(held, oldest);
    take(held, HELD_SMALL, 2, false); /* now this one has most, 3 to 2 */
    assert_int_equal(held_at(held, held_victim(held, HELD_SMALL, NULL))->client,
                     held_at(held, newest)->client);
    held_drop(held, newest);
    assert_int_equal(held_victim(held, HELD_SMALL, NULL), second); /* of equals, the longer so */
    held_drop(held, held_victim(held, HELD_SMALL, NULL));
    assert_int_not_equal(held_victim(held, HELD_SMALL, NULL), third); /* the other has two */
    assert_true(held_consistent(held));
    held_free(held);
}

static void a_finished_head_is_never_chosen(void **state)
{
    (void)state;
    struct held *held = slab(4, 0, 0);
    for (int i = 0; i < 2; i++)
        take(held, HELD_SMALL, 0, true); /* has most, but they wait for their backend */
    const uint32_t finishing = take(held, HELD_SMALL, 1, false);
    const uint32_t unfinished = take(held, HELD_SMALL, 2, false);
    held_finish(held, finishing);
    held_finish(held, finishing); /* again is nothing */
    assert_int_equal(victim(held, HELD_SMALL, 3), unfinished);
    held_finish(held, unfinished);
    assert_int_equal(victim(held, HELD_SMALL, 3), HELD_NONE);
    assert_true(held_consistent(held));
    held_free(held);
}

static void a_client_at_its_limit_gives_up_its_own_oldest(void **state)
{
    (void)state;
    struct held *held = slab(8, 8, 2);
    const uint32_t large = take(held, HELD_LARGE, 1, false);
    const uint32_t small = take(held, HELD_SMALL, 1, false);
    const struct addr a = client(1);
    assert_true(held_client_full(held, &a));
    assert_int_equal(take(held, HELD_SMALL, 1, false), HELD_NONE);
    assert_int_equal(victim(held, HELD_SMALL, 1), large); /* the older, though of the other size */
    held_finish(held, large);
    assert_int_equal(victim(held, HELD_SMALL, 1), small);
    held_finish(held, small);
    assert_int_equal(victim(held, HELD_SMALL, 1), HELD_NONE);
    assert_int_not_equal(take(held, HELD_SMALL, 2, false),
                         HELD_NONE); /* others are not concerned */
    held_drop(held, small);
    assert_false(held_client_full(held, &a));
    assert_int_not_equal(take(held, HELD_SMALL, 1, false), HELD_NONE);
    held_free(held);
}

static void a_client_is_an_ipv4_address_or_an_ipv6_64(void **state)
{
    (void)state;
    static const char *const addresses[] = {"198.18.0.1",         "198.18.0.2",      "2001:db8::1",
                                            "2001:db8::ffff:1:2", "2001:db8:0:1::1", "::c612:1"};
    struct held *held = slab(16, 0, 1);
    static const bool taken[] = {true, true, true, false, true, true};
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        struct addr a;
        assert_int_equal(addr_parse(addresses[i], &a), 0);
        assert_int_equal(held_take(held, HELD_SMALL, &a, false) != HELD_NONE, taken[i]);
    }
    held_free(held);
}

/* ---- all of it, against a plain model ---- */

enum { CLIENTS = 9, SMALL = 24, LARGE = 7, PER_CLIENT = 6, STEPS = 60000 };

struct model {
    struct item {
        uint32_t index, client;
        enum held_size size;
        bool finished;
        uint64_t mark;
        uint32_t length;
    } items[SMALL + LARGE]; /* oldest first */
    uint32_t count;
};

static uint32_t model_count(const struct model *m, uint32_t number, int size, bool unfinished)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < m->count; i++)
        count += (number == UINT32_MAX || m->items[i].client == number) &&
                 (size < 0 || (int)m->items[i].size == size) &&
                 (!unfinished || !m->items[i].finished);
    return count;
}

static struct item *model_find(struct model *m, uint32_t index)
{
    for (uint32_t i = 0; i < m->count; i++)
        if (m->items[i].index == index)
            return &m->items[i];
    return NULL;
}

static void model_drop(struct model *m, uint32_t at)
{
    memmove(&m->items[at], &m->items[at + 1], (--m->count - at) * sizeof m->items[0]);
}

/* The choice is one that the rules allow. */
static void check_victim(struct model *m, uint32_t chosen, uint32_t number, enum held_size size)
{
    const bool own = number != UINT32_MAX && model_count(m, number, -1, false) >= PER_CLIENT;
    if (chosen == HELD_NONE) {
        assert_int_equal(own ? model_count(m, number, -1, true)
                             : model_count(m, UINT32_MAX, (int)size, true),
                         0);
        return;
    }
    const struct item *item = model_find(m, chosen);
    assert_non_null(item);
    assert_false(item->finished);
    for (const struct item *other = m->items; other < item; other++)
        assert_false(other->client == item->client && !other->finished &&
                     (own || other->size == size));
    if (own) {
        assert_int_equal(item->client, number);
        return;
    }
    assert_int_equal(item->size, size);
    for (uint32_t c = 0; c < CLIENTS; c++)
        assert_true(model_count(m, c, (int)size, true) <=
                    model_count(m, item->client, (int)size, true));
}

static void check_mark(const struct held *held, const struct item *item)
{
    const struct held_entry *e = held_at(held, item->index);
    assert_int_equal(e->size, item->size);
    assert_int_equal(e->finished, item->finished);
    assert_int_equal(ranges_front(&e->filled), item->length);
    assert_memory_equal(e->bytes, &item->mark, 8);
    assert_memory_equal(e->bytes + item->length - 8, &item->mark, 8);
}

static void model_take(struct held *held, struct model *m, struct random *random)
{
    const uint32_t number = random_below(random, 3) ? random_below(random, CLIENTS) : 0;
    const enum held_size size = random_below(random, 4) ? HELD_SMALL : HELD_LARGE;
    const bool finished = random_below(random, 3) == 0;
    uint32_t index = take(held, size, number, finished);
    for (int i = 0; i < 2 && index == HELD_NONE; i++) {
        const uint32_t chosen = victim(held, size, number);
        check_victim(m, chosen, number, size);
        if (chosen == HELD_NONE)
            return;
        model_drop(m, (uint32_t)(model_find(m, chosen) - m->items));
        held_drop(held, chosen);
        index = take(held, size, number, finished);
    }
    assert_int_not_equal(index, HELD_NONE);
    uint8_t bytes[8192];
    struct item *item = &m->items[m->count++];
    *item = (struct item){index,
                          number,
                          size,
                          finished,
                          random_64(random),
                          8 + random_below(random, held_at(held, index)->capacity - 7)};
    if (item->length < 16) /* both marks are one */
        item->length = 8;
    memset(bytes, (int)item->mark, sizeof bytes);
    memcpy(bytes, &item->mark, 8);
    memcpy(bytes + item->length - 8, &item->mark, 8);
    assert_int_equal(held_store(held_at(held, index), 0, bytes, item->length), item->length);
}

static void model_grow(struct held *held, struct model *m, uint32_t at)
{
    const struct item item = m->items[at];
    const uint32_t grown = held_grow(held, item.index);
    if (item.size == HELD_LARGE || model_count(m, UINT32_MAX, HELD_LARGE, false) == LARGE) {
        assert_int_equal(grown, HELD_NONE);
        check_victim(m, held_victim(held, HELD_LARGE, NULL), UINT32_MAX, HELD_LARGE);
        return;
    }
    model_drop(m, at);
    m->items[m->count] = item; /* its age begins anew */
    m->items[m->count].index = grown;
    m->items[m->count++].size = HELD_LARGE;
}

static void pitfall_17_entries_counts_and_lists_agree_whatever_happens(void **state)
{
    (void)state;
    struct held *held = slab(SMALL, LARGE, PER_CLIENT);
    struct model m = {.count = 0};
    struct random random = {42};
    for (int i = 0; i < STEPS; i++) {
        const uint32_t at = m.count ? random_below(&random, m.count) : 0;
        const uint32_t step = random_below(&random, 8);
        if (step < 4 || m.count == 0) {
            model_take(held, &m, &random);
        } else if (step == 4) {
            model_grow(held, &m, at);
        } else if (step == 5) {
            held_finish(held, m.items[at].index);
            m.items[at].finished = true;
        } else {
            check_mark(held, &m.items[at]);
            held_drop(held, m.items[at].index);
            model_drop(&m, at);
        }
        assert_true(held_consistent(held));
        assert_int_equal(held_count(held), m.count);
    }
    while (m.count) {
        held_drop(held, m.items[--m.count].index);
        assert_true(held_consistent(held));
    }
    assert_int_equal(held_count(held), 0);
    held_free(held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pitfall_25_bytes_are_copied_and_stay_until_they_are_dropped),
        cmocka_unit_test(a_full_slab_takes_nothing_until_an_entry_is_given_back),
        cmocka_unit_test(dropping_no_entry_is_nothing),
        cmocka_unit_test(sizes_out_of_range_make_no_slab),
        cmocka_unit_test(the_first_copy_of_a_byte_stays),
        cmocka_unit_test(a_fifth_stretch_is_refused_and_what_joins_two_is_not),
        cmocka_unit_test(bytes_behind_the_end_are_cut_off),
        cmocka_unit_test(an_entry_that_grows_keeps_all_that_it_has),
        cmocka_unit_test(pitfall_25_the_oldest_of_who_has_most_goes_first),
        cmocka_unit_test(a_finished_head_is_never_chosen),
        cmocka_unit_test(a_client_at_its_limit_gives_up_its_own_oldest),
        cmocka_unit_test(a_client_is_an_ipv4_address_or_an_ipv6_64),
        cmocka_unit_test(pitfall_17_entries_counts_and_lists_agree_whatever_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
