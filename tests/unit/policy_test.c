/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The filter in front of the lookups of a source never says otherwise than they do. */
#include "dataplane/admit/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/random.h"

static struct addr address(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse(text, &a), 0);
    return a;
}

static struct services *services_of(const char *const *links, uint32_t count)
{
    struct services *s = calloc(1, sizeof *s);
    struct addr own[] = {address("198.18.0.1"), address("2001:db8::1")},
                behind[] = {address("203.0.113.9"), address("2001:db8:ffff::9")};
    s->own[OUTSIDE] = endpoints_new(2);
    s->own[INSIDE] = endpoints_new(2);
    s->behind = endpoints_new(2);
    s->inside_link = calloc(count, sizeof *s->inside_link);
    s->inside_link_count = count;
    for (uint32_t i = 0; i < 2; i++) {
        endpoints_add(s->own[OUTSIDE], &own[i], 0, 0);
        endpoints_add(s->behind, &behind[i], 0, 0);
    }
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(prefix_parse(links[i], &s->inside_link[i], NULL), 0);
    return s;
}

static struct addr some_source(struct random *r, const struct services *s)
{
    struct addr a;
    if (random_below(r, 2)) /* near what matters */
        a = s->inside_link[random_below(r, s->inside_link_count)].base;
    else if (random_below(r, 2))
        a = s->behind->slot[random_below(r, s->behind->mask + 1)].addr;
    else
        random_bytes(r, a.bytes, sizeof a.bytes);
    if (random_below(r, 8) == 0)
        a = addr_from_v4(random_32(r));
    bool v4 = addr_is_v4(&a);
    for (uint32_t changes = random_below(r, 4); changes; changes--)
        a.bytes[v4 ? 12 + random_below(r, 4) : random_below(r, 16)] ^=
            (uint8_t)(1 << random_below(r, 8));
    return a;
}

static void is_told_alike(const struct services *with, const struct services *without,
                          const struct addr *a)
{
    bool v4 = addr_is_v4(a);
    assert_int_equal(policy_forged(with, a, v4), policy_forged(without, a, v4));
}

static void no_forged_source_passes_the_filter_and_no_other_is_caught(void **state)
{
    (void)state;
    static const char *const links[][3] = {
        {"198.18.128.0/24", "2001:db8:0:1::/64", "10.0.0.0/8"},
        {"0.0.0.0/0", "2001:db8:0:1::/64", "172.16.0.0/12"},
        {"192.168.0.0/16", "2000::/3", "fc00::/7"},
        {"128.0.0.0/1", "fe80::/10", "2001:db8::/31"},
    };
    static const char *const named[] = {
        "0.1.2.3",     "127.0.0.1",  "224.0.0.1",  "255.255.255.255",
        "239.1.1.1",   "1.1.1.1",    "198.18.0.1", "::",
        "::1",         "::2",        "ff02::1",    "fe80::1",
        "2001:db8::1", "2001:db8::2"};
    struct random r = {1};
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
        struct services *with = services_of(links[i], 3), *without = services_of(links[i], 3);
        uint32_t spared = 0;
        services_note_sources(with);
        for (size_t n = 0; n < sizeof named / sizeof named[0]; n++) {
            struct addr a = address(named[n]);
            is_told_alike(with, without, &a);
        }
        for (int round = 0; round < 200000; round++) {
            struct addr a = some_source(&r, with);
            is_told_alike(with, without, &a);
            spared += !policy_forged(with, &a, addr_is_v4(&a));
        }
        assert_true(spared > 0);
        services_free(with);
        services_free(without);
    }
}

/* It is there to save the lookups. */
static void nearly_all_of_the_address_space_is_told_by_the_filter(void **state)
{
    (void)state;
    static const char *const links[] = {"198.18.128.0/24", "2001:db8:0:1::/64"};
    struct services *s = services_of(links, 2);
    services_note_sources(s);
    int pieces[2] = {0};
    for (int v4 = 0; v4 < 2; v4++)
        for (int i = 0; i < SOURCE_PIECES / 64; i++)
            pieces[v4] += __builtin_popcountll(s->sources.harmless[v4][i]);
    assert_true(pieces[0] >= SOURCE_PIECES - 3);
    assert_true(pieces[1] >= SOURCE_PIECES - SOURCE_PIECES / 8 - 32 - 3);
    services_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_forged_source_passes_the_filter_and_no_other_is_caught),
        cmocka_unit_test(nearly_all_of_the_address_space_is_told_by_the_filter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
