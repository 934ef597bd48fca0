/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The map of prefixes against the plainest of models: each prefix is asked in turn whether it
 * contains the address. */
#include "dataplane/admit/prefixes.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/random.h"

enum { MOST = 2000 };

/* Prefixes with their marks, and the same by source for the map. */
struct model {
    struct {
        struct prefix prefix;
        uint8_t mark;
    } item[MOST];
    size_t count;
    struct prefix by_mark[PREFIXES_MARKS][MOST];
    struct prefixes_source source[PREFIXES_MARKS];
};

static void add(struct model *model, const struct prefix *prefix, uint8_t mark)
{
    struct prefixes_source *source = &model->source[mark];
    assert_true(model->count < MOST);
    model->item[model->count].prefix = *prefix;
    model->item[model->count++].mark = mark;
    source->mark = mark;
    source->prefixes = model->by_mark[mark];
    model->by_mark[mark][source->count++] = *prefix;
}

static void add_text(struct model *model, const char *text, uint8_t mark)
{
    struct prefix prefix;
    assert_int_equal(prefix_parse(text, &prefix, NULL), 0);
    add(model, &prefix, mark);
}

static uint64_t model_marks(const struct model *model, const struct addr *addr)
{
    uint64_t marks = 0;
    for (size_t i = 0; i < model->count; i++)
        if (prefix_contains(&model->item[i].prefix, addr))
            marks |= UINT64_C(1) << model->item[i].mark;
    return marks;
}

static uint64_t map_marks(const struct prefixes *map, const struct addr *addr)
{
    return map->marks[prefixes_find(map, addr, addr_is_v4(addr))];
}

static struct prefixes build(const struct model *model)
{
    struct prefixes map;
    assert_int_equal(prefixes_build(model->source, PREFIXES_MARKS, &map), 0);
    return map;
}

static void agree_at(const struct model *model, const struct prefixes *map, const struct addr *addr)
{
    if (map_marks(map, addr) == model_marks(model, addr))
        return;
    char text[ADDR_TEXT];
    fail_msg("%s: marks %llx, and not %llx", addr_print(addr, text),
             (unsigned long long)map_marks(map, addr),
             (unsigned long long)model_marks(model, addr));
}

/* The next address, or the one before: around the end of the space as it comes. */
static struct addr step(struct addr addr, int by)
{
    for (int i = 15; i >= 0; i--) {
        addr.bytes[i] = (uint8_t)(addr.bytes[i] + by);
        if (addr.bytes[i] != (by > 0 ? 0 : 0xff))
            break;
    }
    return addr;
}

static struct addr last_of(const struct prefix *prefix)
{
    struct addr last = prefix->base;
    for (unsigned bit = prefix->length; bit < 128; bit++)
        last.bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
    return last;
}

/* Both ends of every prefix, and their neighbours: it is there that a mistake would show. */
static void agree_at_ends(const struct model *model, const struct prefixes *map)
{
    for (size_t i = 0; i < model->count; i++) {
        const struct prefix *prefix = &model->item[i].prefix;
        const struct addr last = last_of(prefix), before = step(prefix->base, -1),
                          behind = step(last, 1);
        agree_at(model, map, &prefix->base);
        agree_at(model, map, &last);
        agree_at(model, map, &before);
        agree_at(model, map, &behind);
    }
}

/* Where prefixes lie: bits that differ from one to another, from the first on. Few of them, and
 * prefixes nest and repeat; behind the others all bits are alike. */
struct place {
    const char *base;
    unsigned from, to; /* bits */
};

static struct addr random_addr(struct random *random, const struct place *place)
{
    struct addr addr;
    assert_int_equal(addr_parse(place->base, &addr), 0);
    for (unsigned bit = place->from; bit < place->to; bit++)
        if (random_below(random, 2))
            addr.bytes[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
    return addr;
}

static void add_random(struct model *model, struct random *random, const struct place *place,
                       uint32_t marks)
{
    struct prefix prefix = {random_addr(random, place), 0};
    const unsigned shortest = addr_is_v4(&prefix.base) ? 96 : 0;
    prefix.length = (uint8_t)(shortest + random_below(random, 129 - shortest));
    for (unsigned bit = prefix.length; bit < 128; bit++)
        prefix.base.bytes[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
    add(model, &prefix, (uint8_t)random_below(random, marks));
}

static void play(uint64_t seed, const struct place *place, size_t count, uint32_t marks)
{
    struct model *model = calloc(1, sizeof *model);
    struct random random = {seed};
    for (size_t i = 0; i < count; i++)
        add_random(model, &random, place, marks);
    struct prefixes map = build(model);
    agree_at_ends(model, &map);
    for (int i = 0; i < 2000; i++) {
        const struct addr near = random_addr(&random, place);
        agree_at(model, &map, &near);
    }
    prefixes_end(&map);
    free(model);
}

static void nested_and_repeated_ipv4_prefixes_agree_with_the_model(void **state)
{
    (void)state;
    static const struct place places[] = {
        {"198.51.100.0", 120, 128},  {"198.51.0.0", 112, 128}, {"0.0.0.0", 96, 128},
        {"255.255.255.0", 116, 128}, {"10.0.0.0", 100, 106},   {"0.0.0.0", 118, 128},
    };
    for (uint64_t seed = 0; seed < 2; seed++)
        for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
            play(seed * 16 + i, &places[i], 20 + seed * 180, 1 + (uint32_t)(4 * seed));
}

static void nested_and_repeated_ipv6_prefixes_agree_with_the_model(void **state)
{
    (void)state;
    static const struct place places[] = {
        {"2001:db8::", 28, 64},
        {"2001:db8::", 60, 68},
        {"2001:db8::", 112, 128},
        {"::", 0, 128},
        {"2a00::", 8, 32},
        {"::", 88, 128},
        {"ffff:ffff:ffff:ffff::", 48, 128},
        {"2001:db8:7::", 30, 34},
    };
    for (uint64_t seed = 0; seed < 2; seed++)
        for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
            play(seed * 16 + i, &places[i], 20 + seed * 180, 1 + (uint32_t)(4 * seed));
}

static void thousands_of_prefixes_of_64_marks_agree_with_the_model(void **state)
{
    (void)state;
    play(1, &(struct place){"203.0.0.0", 104, 128}, MOST, 64);
    play(2, &(struct place){"2001:db8::", 24, 64}, MOST, 64);
}

static struct addr at(const char *text)
{
    struct addr addr;
    assert_int_equal(addr_parse(text, &addr), 0);
    return addr;
}

static void expect(const struct prefixes *map, const char *text, uint64_t marks)
{
    const struct addr addr = at(text);
    assert_int_equal(map_marks(map, &addr), marks);
}

static void all_of_ipv4_is_none_of_ipv6_and_the_other_way_round(void **state)
{
    (void)state;
    struct model *model = calloc(1, sizeof *model);
    add_text(model, "0.0.0.0/0", 3);
    add_text(model, "::/0", 5);
    struct prefixes map = build(model);
    expect(&map, "0.0.0.0", 1 << 3);
    expect(&map, "255.255.255.255", 1 << 3);
    expect(&map, "198.51.100.7", 1 << 3);
    expect(&map, "::", 1 << 5);
    expect(&map, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1 << 5);
    expect(&map, "2001:db8::1", 1 << 5);
    prefixes_end(&map);
    free(model);
}

static void the_first_and_the_last_address_can_be_listed_alone(void **state)
{
    (void)state;
    struct model *model = calloc(1, sizeof *model);
    add_text(model, "0.0.0.0/32", 0);
    add_text(model, "255.255.255.255/32", 1);
    add_text(model, "::/128", 2);
    add_text(model, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", 3);
    struct prefixes map = build(model);
    agree_at_ends(model, &map);
    expect(&map, "255.255.255.255", 1 << 1);
    expect(&map, "255.255.255.254", 0);
    expect(&map, "0.0.0.1", 0);
    expect(&map, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1 << 3);
    prefixes_end(&map);
    free(model);
}

static void every_other_address_of_a_slash_24_is_told_from_its_neighbours(void **state)
{
    (void)state;
    struct model *model = calloc(1, sizeof *model);
    for (unsigned i = 0; i < 256; i += 2) {
        struct prefix prefix = {at("198.51.100.0"), 128};
        prefix.base.bytes[15] = (uint8_t)i;
        add(model, &prefix, 0);
    }
    struct prefixes map = build(model);
    for (unsigned i = 0; i < 256; i++) {
        struct addr addr = at("198.51.100.0");
        addr.bytes[15] = (uint8_t)i;
        assert_int_equal(map_marks(&map, &addr), i % 2 == 0);
    }
    prefixes_end(&map);
    free(model);
}

static void bits_behind_a_length_do_not_matter(void **state)
{
    (void)state;
    const struct prefix prefix = {at("198.51.100.77"), 96 + 24};
    const struct prefixes_source source = {&prefix, 1, 0};
    struct prefixes map;
    assert_int_equal(prefixes_build(&source, 1, &map), 0);
    expect(&map, "198.51.100.0", 1);
    expect(&map, "198.51.100.255", 1);
    expect(&map, "198.51.101.0", 0);
    prefixes_end(&map);
}

static void what_adds_nothing_takes_no_room(void **state)
{
    (void)state;
    struct model *plain = calloc(1, sizeof *plain), *same = calloc(1, sizeof *same);
    for (unsigned i = 0; i < 200; i++) { /* single addresses, far apart: a block each */
        struct prefix prefix = {at("198.51.0.9"), 128};
        prefix.base.bytes[14] = (uint8_t)i;
        add(plain, &prefix, 0);
        add(same, &prefix, 0);
        add(same, &prefix, 0);
    }
    add_text(plain, "203.0.113.0/24", 0);
    for (unsigned i = 0; i < 256; i++) {
        struct prefix prefix = {at("203.0.113.0"), 128};
        prefix.base.bytes[15] = (uint8_t)i;
        add(same, &prefix, 0);
    }
    struct prefixes a = build(plain), b = build(same);
    assert_int_equal(a.size, b.size);
    expect(&b, "203.0.113.255", 1);
    expect(&b, "203.0.114.0", 0);
    prefixes_end(&a);
    prefixes_end(&b);
    free(plain);
    free(same);
}

static void an_empty_map_lists_nobody(void **state)
{
    (void)state;
    struct prefixes map;
    assert_int_equal(prefixes_build(NULL, 0, &map), 0);
    expect(&map, "0.0.0.0", 0);
    expect(&map, "198.51.100.7", 0);
    expect(&map, "2001:db8::1", 0);
    assert_int_equal(map.set_count, 1);
    prefixes_end(&map);
}

static void what_is_no_prefix_or_no_mark_is_refused(void **state)
{
    (void)state;
    struct prefixes map;
    struct prefix prefix = {at("198.51.100.0"), 129};
    struct prefixes_source source = {&prefix, 1, 0};
    assert_int_equal(prefixes_build(&source, 1, &map), -EINVAL);
    prefix.length = 95; /* of an IPv4 address */
    assert_int_equal(prefixes_build(&source, 1, &map), -EINVAL);
    prefix.length = 96;
    source.mark = PREFIXES_MARKS;
    assert_int_equal(prefixes_build(&source, 1, &map), -EINVAL);
    assert_null(map.pages);
}

/* Sixteen marks in all combinations are 65,535 sets that are not empty: address i lies in a
 * prefix of each mark whose bit is set in i. */
static void more_sets_than_can_be_numbered_are_refused(void **state)
{
    (void)state;
    enum { BITS = 16, ADDRESSES = 1 << BITS };
    struct prefixes_source source[BITS];
    struct prefix *all = calloc((size_t)BITS * ADDRESSES, sizeof *all);
    struct prefixes map;
    for (uint8_t mark = 0; mark < BITS; mark++) {
        struct prefix *mine = all + (size_t)mark * ADDRESSES;
        source[mark] = (struct prefixes_source){mine, 0, mark};
        for (uint32_t i = 0; i < ADDRESSES; i++)
            if (i >> mark & 1)
                mine[source[mark].count++] = (struct prefix){addr_from_v4(htobe32(i)), 128};
    }
    assert_int_equal(prefixes_build(source, BITS, &map), -E2BIG);
    assert_null(map.pages);
    assert_int_equal(prefixes_build(source, BITS - 1, &map), 0);
    assert_int_equal(map.set_count, PREFIXES_SETS);
    for (uint32_t i = 0; i < ADDRESSES; i += 7) {
        const struct addr addr = addr_from_v4(htobe32(i));
        assert_int_equal(map_marks(&map, &addr), i % PREFIXES_SETS);
    }
    prefixes_end(&map);
    free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nested_and_repeated_ipv4_prefixes_agree_with_the_model),
        cmocka_unit_test(nested_and_repeated_ipv6_prefixes_agree_with_the_model),
        cmocka_unit_test(thousands_of_prefixes_of_64_marks_agree_with_the_model),
        cmocka_unit_test(all_of_ipv4_is_none_of_ipv6_and_the_other_way_round),
        cmocka_unit_test(the_first_and_the_last_address_can_be_listed_alone),
        cmocka_unit_test(every_other_address_of_a_slash_24_is_told_from_its_neighbours),
        cmocka_unit_test(bits_behind_a_length_do_not_matter),
        cmocka_unit_test(what_adds_nothing_takes_no_room),
        cmocka_unit_test(an_empty_map_lists_nobody),
        cmocka_unit_test(what_is_no_prefix_or_no_mark_is_refused),
        cmocka_unit_test(more_sets_than_can_be_numbered_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
