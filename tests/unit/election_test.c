/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Which server is the primary: the highest timeline of our lineage, never a lower one, never
 * another cluster. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/ledger/election.h"

enum { OURS = 71, OTHER = 72 };

static struct sighting primary(uint64_t system, uint32_t timeline, int64_t started)
{
    return (struct sighting){true, {system, timeline, started, true, true}};
}

static struct sighting standby(uint64_t system, uint32_t timeline)
{
    return (struct sighting){true, {system, timeline, 5, false, false}};
}

static const struct sighting SILENT = {0};

/* Expects an outcome, and of ELECTION_PRIMARY the winner. */
static void expect(enum election wanted, size_t who, struct lineage *lineage,
                   const struct sighting *seen, size_t count, int current)
{
    size_t winner = 99;
    assert_int_equal(election_choose(lineage, seen, count, current, &winner), wanted);
    if (wanted == ELECTION_PRIMARY)
        assert_int_equal(winner, who);
}

static void the_only_primary_is_taken_and_remembered(void **state)
{
    struct sighting seen[] = {SILENT, standby(OURS, 3), primary(OURS, 3, 1)};
    struct lineage lineage = {0};
    (void)state;
    expect(ELECTION_PRIMARY, 2, &lineage, seen, 3, -1);
    assert_int_equal(lineage.system, OURS);
    assert_int_equal(lineage.timeline, 3);
}

static void of_two_primaries_the_higher_timeline_wins_whoever_was_in_use(void **state)
{
    struct sighting seen[] = {primary(OURS, 1, 1), primary(OURS, 2, 2)};
    struct lineage fresh = {0}, known = {OURS, 1};
    (void)state;
    expect(ELECTION_PRIMARY, 1, &fresh, seen, 2, -1);
    expect(ELECTION_PRIMARY, 1, &known, seen, 2, 0);
    assert_int_equal(known.timeline, 2);
}

static void a_lower_timeline_than_the_highest_seen_is_refused(void **state)
{
    struct sighting seen[] = {primary(OURS, 1, 1), SILENT};
    struct lineage lineage = {OURS, 2};
    (void)state;
    expect(ELECTION_NONE, 0, &lineage, seen, 2, 0);
    assert_int_equal(election_standing(&lineage, &seen[0]), STANDING_OUTDATED);
    assert_int_equal(lineage.timeline, 2);
}

static void a_standby_that_followed_a_promotion_rules_the_old_primary_out(void **state)
{
    struct sighting seen[] = {primary(OURS, 1, 1), SILENT, standby(OURS, 2)};
    struct lineage lineage = {OURS, 1}, fresh = {0};
    (void)state;
    expect(ELECTION_NONE, 0, &fresh, seen, 3, -1);
    assert_int_equal(fresh.system, 0);
    assert_true(election_learn(&lineage, seen, 3));
    assert_int_equal(lineage.timeline, 2);
    assert_false(election_learn(&lineage, seen, 3));
    expect(ELECTION_NONE, 0, &lineage, seen, 3, 0);
}

static void another_cluster_is_refused_however_high_its_timeline(void **state)
{
    struct sighting seen[] = {primary(OTHER, 9, 1), standby(OURS, 2)};
    struct lineage lineage = {OURS, 2};
    (void)state;
    assert_false(election_learn(&lineage, seen, 2));
    expect(ELECTION_NONE, 0, &lineage, seen, 2, 0);
    assert_int_equal(lineage.timeline, 2);
    assert_int_equal(election_standing(&lineage, &seen[0]), STANDING_STRANGER);
}

static void strangers_are_told_apart_only_by_what_is_known(void **state)
{
    struct sighting seen[] = {primary(OURS, 2, 1), primary(OTHER, 9, 2)};
    struct lineage fresh = {0}, known = {OURS, 1};
    (void)state;
    expect(ELECTION_STRANGERS, 0, &fresh, seen, 2, -1);
    assert_int_equal(fresh.system, 0);
    expect(ELECTION_PRIMARY, 0, &known, seen, 2, -1);
}

static void two_primaries_on_one_timeline_are_refused_unless_one_is_in_use(void **state)
{
    struct sighting seen[] = {primary(OURS, 2, 1), primary(OURS, 2, 2)};
    struct lineage lineage = {OURS, 2};
    (void)state;
    expect(ELECTION_TWO, 0, &lineage, seen, 2, -1);
    expect(ELECTION_PRIMARY, 1, &lineage, seen, 2, 1);
    expect(ELECTION_PRIMARY, 0, &lineage, seen, 2, 0);
}

static void one_server_seen_at_two_addresses_is_one(void **state)
{
    struct sighting seen[] = {primary(OURS, 2, 1), primary(OURS, 2, 1)};
    struct lineage lineage = {0};
    (void)state;
    expect(ELECTION_PRIMARY, 0, &lineage, seen, 2, -1);
}

static void a_primary_that_may_not_write_is_no_primary(void **state)
{
    struct sighting seen[] = {primary(OURS, 2, 1)};
    struct lineage lineage = {OURS, 2};
    (void)state;
    seen[0].is.writable = false;
    expect(ELECTION_NONE, 0, &lineage, seen, 1, 0);
    assert_int_equal(election_standing(&lineage, &seen[0]), STANDING_READ_ONLY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_only_primary_is_taken_and_remembered),
        cmocka_unit_test(of_two_primaries_the_higher_timeline_wins_whoever_was_in_use),
        cmocka_unit_test(a_lower_timeline_than_the_highest_seen_is_refused),
        cmocka_unit_test(a_standby_that_followed_a_promotion_rules_the_old_primary_out),
        cmocka_unit_test(another_cluster_is_refused_however_high_its_timeline),
        cmocka_unit_test(strangers_are_told_apart_only_by_what_is_known),
        cmocka_unit_test(two_primaries_on_one_timeline_are_refused_unless_one_is_in_use),
        cmocka_unit_test(one_server_seen_at_two_addresses_is_one),
        cmocka_unit_test(a_primary_that_may_not_write_is_no_primary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
