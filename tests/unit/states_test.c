/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The close table, twice: cell by cell against a golden copy, and against the four facts that a
 * state stands for (which side has sent FIN, and whether the other has acknowledged it). */
#include "dataplane/tcp/states.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/random.h"

static const char *const action_names[ACTIONS] = {
    [ACTION_DROP] = "drop",     [ACTION_FORWARD] = "forward", [ACTION_RESET] = "reset",
    [ACTION_COOKIE] = "cookie", [ACTION_HOLD] = "hold",       [ACTION_ABANDON] = "abandon",
    [ACTION_OPENED] = "opened", [ACTION_STALE] = "stale",     [ACTION_REFUSED] = "refused",
    [ACTION_REPEAT] = "repeat", [ACTION_TAKE] = "take",       [ACTION_REFUSE] = "refuse",
};

/* clang-format off */
struct golden {
    enum flow_state state;
    enum direction from;
    /* per class: action, and the next state where it is another; in the order of enum segment_class:
     * SYN, SYN-ACK, RST exact, RST in window, FIN, FIN that acknowledges FIN, acknowledges FIN, data */
    struct { const char *action; int next; } cells[SEGMENT_CLASSES];
};

#define SAME (-1)
static const struct golden table[] = {
    {FLOW_READING, FROM_CLIENT, {
        {"cookie", SAME}, {"drop", SAME}, {"abandon", FLOW_FREE}, {"drop", SAME},
        {"hold", SAME}, {"drop", SAME}, {"drop", SAME}, {"hold", SAME}}},
    {FLOW_READING, FROM_BACKEND, {
        {"drop", SAME}, {"drop", SAME}, {"drop", SAME}, {"drop", SAME},
        {"drop", SAME}, {"drop", SAME}, {"drop", SAME}, {"drop", SAME}}},

    {FLOW_OPENING, FROM_CLIENT, {
        {"cookie", SAME}, {"drop", SAME}, {"abandon", FLOW_FREE}, {"drop", SAME},
        {"hold", SAME}, {"drop", SAME}, {"drop", SAME}, {"hold", SAME}}},
    {FLOW_OPENING, FROM_BACKEND, {
        {"drop", SAME}, {"opened", FLOW_ESTABLISHED}, {"refused", FLOW_FREE}, {"drop", SAME},
        {"stale", SAME}, {"drop", SAME}, {"drop", SAME}, {"stale", SAME}}},

    {FLOW_ESTABLISHED, FROM_CLIENT, {
        {"cookie", SAME}, {"drop", SAME}, {"reset", FLOW_FREE}, {"forward", SAME},
        {"forward", FLOW_CLIENT_FIN}, {"drop", SAME}, {"drop", SAME}, {"forward", SAME}}},
    {FLOW_ESTABLISHED, FROM_BACKEND, {
        {"drop", SAME}, {"repeat", SAME}, {"reset", FLOW_FREE}, {"forward", SAME},
        {"forward", FLOW_BACKEND_FIN}, {"drop", SAME}, {"drop", SAME}, {"forward", SAME}}},

    {FLOW_CLIENT_FIN, FROM_CLIENT, {
        {"cookie", SAME}, {"drop", SAME}, {"reset", FLOW_FREE}, {"forward", SAME},
        {"forward", SAME}, {"drop", SAME}, {"drop", SAME}, {"forward", SAME}}},
    {FLOW_CLIENT_FIN, FROM_BACKEND, {
        {"drop", SAME}, {"repeat", SAME}, {"reset", FLOW_FREE}, {"forward", SAME},
        {"forward", FLOW_BOTH_FIN}, {"forward", FLOW_BOTH_CLIENT_ACKED}, {"forward", FLOW_CLIENT_FIN_ACKED}, {"forward", SAME}}},

    {FLOW_CLIENT_FIN_ACKED, FROM_CLIENT, {
        {"cookie", SAME}, {"drop", SAME}, {"reset", FLOW_FREE}, {"forward", SAME},
        {"forward", SAME}, {"drop", SAME}, {"drop", SAME}, {"forward", SAME}}},
    {FLOW_CLIENT_FIN_ACKED, FROM_BACKEND, {
        {"drop", SAME}, {"repeat", SAME}, {"reset", FLOW_FREE}, {"forward", SAME},
        {"forward", FLOW_BOTH_CLIENT_ACKED}, {"forward", FLOW_BOTH_CLIENT_ACKED}, {"forward", SAME}, {"forward", SAME}}},

    {FLOW_BACKEND_FIN, FROM_CLIENT, {
        {"cookie", SAME}, {"drop", SAME}, {"reset", FLOW_FREE}, {"forward", SAME},
        {"forward", FLOW_BOTH_FIN}, {"forward", FLOW_BOTH_BACKEND_ACKED}, {"forward", FLOW_BACKEND_FIN_ACKED}, {"forward", SAME}}},
    {FLOW_BACKEND_FIN, FROM_BACKEND, {
        {"drop", SAME}, {"repeat", SAME}, {"reset", FLOW_FREE}, {"forward", SAME},
        {"forward", SAME}, {"drop", SAME}, {"drop", SAME}, {"forward", SAME}}},

    {FLOW_BACKEND_FIN_ACKED, FROM_CLIENT, {
        {"cookie", SAME}, {"drop", SAME}, {"reset", FLOW_FREE}, {"forward", SAME},
        {"forward", FLOW_BOTH_BACKEND_ACKED}, {"forward", FLOW_BOTH_BACKEND_ACKED}, {"forward", SAME}, {"forward", SAME}}},
    {FLOW_BACKEND_FIN_ACKED, FROM_BACKEND, {
        {"drop", SAME}, {"repeat", SAME}, {"reset", FLOW_FREE}, {"forward", SAME},
        {"forward", SAME}, {"drop", SAME}, {"drop", SAME}, {"forward", SAME}}},

    {FLOW_BOTH_FIN, FROM_CLIENT, {
        {"cookie", SAME}, {"drop", SAME}, {"reset", FLOW_FREE}, {"forward", SAME},
        {"forward", SAME}, {"forward", FLOW_BOTH_BACKEND_ACKED}, {"forward", FLOW_BOTH_BACKEND_ACKED}, {"forward", SAME}}},
    {FLOW_BOTH_FIN, FROM_BACKEND, {
        {"drop", SAME}, {"repeat", SAME}, {"reset", FLOW_FREE}, {"forward", SAME},
        {"forward", SAME}, {"forward", FLOW_BOTH_CLIENT_ACKED}, {"forward", FLOW_BOTH_CLIENT_ACKED}, {"forward", SAME}}},

    {FLOW_BOTH_CLIENT_ACKED, FROM_CLIENT, {
        {"cookie", SAME}, {"drop", SAME}, {"reset", FLOW_FREE}, {"forward", SAME},
        {"forward", SAME}, {"forward", FLOW_CLOSED}, {"forward", FLOW_CLOSED}, {"forward", SAME}}},
    {FLOW_BOTH_CLIENT_ACKED, FROM_BACKEND, {
        {"drop", SAME}, {"repeat", SAME}, {"reset", FLOW_FREE}, {"forward", SAME},
        {"forward", SAME}, {"forward", SAME}, {"forward", SAME}, {"forward", SAME}}},

    {FLOW_BOTH_BACKEND_ACKED, FROM_CLIENT, {
        {"cookie", SAME}, {"drop", SAME}, {"reset", FLOW_FREE}, {"forward", SAME},
        {"forward", SAME}, {"forward", SAME}, {"forward", SAME}, {"forward", SAME}}},
    {FLOW_BOTH_BACKEND_ACKED, FROM_BACKEND, {
        {"drop", SAME}, {"repeat", SAME}, {"reset", FLOW_FREE}, {"forward", SAME},
        {"forward", SAME}, {"forward", FLOW_CLOSED}, {"forward", FLOW_CLOSED}, {"forward", SAME}}},

    {FLOW_CLOSED, FROM_CLIENT, {
        {"cookie", SAME}, {"drop", SAME}, {"reset", FLOW_FREE}, {"forward", SAME},
        {"forward", SAME}, {"forward", SAME}, {"forward", SAME}, {"forward", SAME}}},
    {FLOW_CLOSED, FROM_BACKEND, {
        {"drop", SAME}, {"repeat", SAME}, {"reset", FLOW_FREE}, {"forward", SAME},
        {"forward", SAME}, {"forward", SAME}, {"forward", SAME}, {"forward", SAME}}},

    {FLOW_REFUSING, FROM_CLIENT, {
        {"cookie", SAME}, {"drop", SAME}, {"abandon", FLOW_FREE}, {"drop", SAME},
        {"take", SAME}, {"drop", SAME}, {"drop", SAME}, {"take", SAME}}},
    {FLOW_REFUSING, FROM_BACKEND, {
        {"drop", SAME}, {"repeat", SAME}, {"reset", FLOW_FREE}, {"forward", SAME},
        {"refuse", FLOW_REFUSED}, {"refuse", FLOW_REFUSED}, {"forward", SAME}, {"forward", SAME}}},

    {FLOW_REFUSED, FROM_CLIENT, {
        {"cookie", SAME}, {"drop", SAME}, {"abandon", FLOW_FREE}, {"drop", SAME},
        {"take", SAME}, {"drop", SAME}, {"drop", SAME}, {"take", SAME}}},
    {FLOW_REFUSED, FROM_BACKEND, {
        {"drop", SAME}, {"drop", SAME}, {"take", SAME}, {"drop", SAME},
        {"take", SAME}, {"take", SAME}, {"take", SAME}, {"take", SAME}}},
};
/* clang-format on */

static void every_cell_is_golden(void **state)
{
    (void)state;
    assert_int_equal(sizeof table / sizeof table[0], (FLOW_STATES - 1) * DIRECTIONS);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        for (int segment = 0; segment < SEGMENT_CLASSES; segment++) {
            const struct golden *g = &table[i];
            const struct transition t = states_next(g->state, g->from, (enum segment_class)segment);
            const int next =
                g->cells[segment].next == SAME ? (int)g->state : g->cells[segment].next;
            if (strcmp(action_names[t.action], g->cells[segment].action) != 0 || t.next != next)
                fail_msg("%s, from %d, class %d: %s to %s", states_name(g->state), g->from, segment,
                         action_names[t.action], states_name((enum flow_state)t.next));
        }
}

static void a_free_flow_takes_nothing(void **state)
{
    (void)state;
    for (int from = 0; from < DIRECTIONS; from++)
        for (int segment = 0; segment < SEGMENT_CLASSES; segment++) {
            const struct transition t =
                states_next(FLOW_FREE, (enum direction)from, (enum segment_class)segment);
            assert_int_equal(t.action, ACTION_DROP);
            assert_int_equal(t.next, FLOW_FREE);
        }
}

/* What a state from established on stands for, per side: 0 client, 1 backend. */
struct facts {
    bool fin[2], acked[2];
};

static const struct facts meaning[FLOW_STATES] = {
    [FLOW_ESTABLISHED] = {{false, false}, {false, false}},
    [FLOW_CLIENT_FIN] = {{true, false}, {false, false}},
    [FLOW_CLIENT_FIN_ACKED] = {{true, false}, {true, false}},
    [FLOW_BACKEND_FIN] = {{false, true}, {false, false}},
    [FLOW_BACKEND_FIN_ACKED] = {{false, true}, {false, true}},
    [FLOW_BOTH_FIN] = {{true, true}, {false, false}},
    [FLOW_BOTH_CLIENT_ACKED] = {{true, true}, {true, false}},
    [FLOW_BOTH_BACKEND_ACKED] = {{true, true}, {false, true}},
    [FLOW_CLOSED] = {{true, true}, {true, true}},
};

static enum flow_state state_of(const struct facts *facts)
{
    for (int s = FLOW_ESTABLISHED; s <= FLOW_CLOSED; s++)
        if (memcmp(&meaning[s], facts, sizeof *facts) == 0)
            return (enum flow_state)s;
    fail_msg("no state for these facts");
    return FLOW_FREE;
}

static void each_transition_adds_exactly_what_the_segment_says(void **state)
{
    (void)state;
    for (int s = FLOW_ESTABLISHED; s <= FLOW_CLOSED; s++)
        for (int from = 0; from < DIRECTIONS; from++)
            for (int segment = SEGMENT_FIN; segment < SEGMENT_CLASSES; segment++) {
                const bool acks = segment == SEGMENT_FIN_ACKS_FIN || segment == SEGMENT_ACKS_FIN;
                const struct transition t = states_next((enum flow_state)s, (enum direction)from,
                                                        (enum segment_class)segment);
                if (acks && !meaning[s].fin[!from]) { /* acknowledges a FIN that was not sent */
                    assert_int_equal(t.action, ACTION_DROP);
                    assert_int_equal(t.next, s);
                    continue;
                }
                struct facts facts = meaning[s];
                facts.fin[from] |= segment == SEGMENT_FIN || segment == SEGMENT_FIN_ACKS_FIN;
                facts.acked[!from] |= acks;
                assert_int_equal(t.action, ACTION_FORWARD);
                assert_int_equal(t.next, state_of(&facts));
            }
}

static void only_an_exact_reset_or_a_close_ends_a_flow(void **state)
{
    (void)state;
    for (int s = FLOW_OPENING; s < FLOW_STATES; s++)
        for (int from = 0; from < DIRECTIONS; from++)
            for (int segment = 0; segment < SEGMENT_CLASSES; segment++) {
                const struct transition t = states_next((enum flow_state)s, (enum direction)from,
                                                        (enum segment_class)segment);
                /* who has said all, and been answered for, has nothing left to take back */
                const bool late = s == FLOW_REFUSED && from == FROM_BACKEND;
                assert_int_equal(t.next == FLOW_FREE, segment == SEGMENT_RST_EXACT && !late);
                assert_true(t.next < FLOW_STATES && t.action < ACTIONS);
            }
}

static void a_syn_of_a_client_gets_a_cookie_and_changes_nothing_in_every_state(void **state)
{
    (void)state;
    for (int s = FLOW_OPENING; s < FLOW_STATES; s++) {
        const struct transition t = states_next((enum flow_state)s, FROM_CLIENT, SEGMENT_SYN);
        assert_int_equal(t.action, ACTION_COOKIE);
        assert_int_equal(t.next, s);
    }
}

/* Plays a close: segments in that order, and the states they lead through. */
struct step {
    enum direction from;
    enum segment_class segment;
    enum flow_state then;
};

static void play(const struct step *steps, size_t count)
{
    enum flow_state s = FLOW_ESTABLISHED;
    for (size_t i = 0; i < count; i++) {
        const struct transition t = states_next(s, steps[i].from, steps[i].segment);
        assert_int_equal(t.action, ACTION_FORWARD);
        assert_int_equal(t.next, steps[i].then);
        s = (enum flow_state)t.next;
    }
}

static void a_close_by_the_client_in_three_segments(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {FROM_CLIENT, SEGMENT_FIN, FLOW_CLIENT_FIN},
        {FROM_BACKEND, SEGMENT_FIN_ACKS_FIN, FLOW_BOTH_CLIENT_ACKED},
        {FROM_CLIENT, SEGMENT_ACKS_FIN, FLOW_CLOSED},
        {FROM_BACKEND, SEGMENT_FIN_ACKS_FIN, FLOW_CLOSED}, /* the last ACK was lost: again */
        {FROM_CLIENT, SEGMENT_ACKS_FIN, FLOW_CLOSED},
    };
    play(steps, sizeof steps / sizeof steps[0]);
}

static void a_half_closed_client_still_gets_data(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {FROM_CLIENT, SEGMENT_FIN, FLOW_CLIENT_FIN},
        {FROM_BACKEND, SEGMENT_ACKS_FIN, FLOW_CLIENT_FIN_ACKED},
        {FROM_BACKEND, SEGMENT_ACKS_FIN, FLOW_CLIENT_FIN_ACKED}, /* data, acknowledging the FIN */
        {FROM_CLIENT, SEGMENT_DATA, FLOW_CLIENT_FIN_ACKED},      /* its ACK */
        {FROM_BACKEND, SEGMENT_FIN_ACKS_FIN, FLOW_BOTH_CLIENT_ACKED},
        {FROM_CLIENT, SEGMENT_ACKS_FIN, FLOW_CLOSED},
    };
    play(steps, sizeof steps / sizeof steps[0]);
}

static void a_half_closed_backend_still_gets_data(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {FROM_BACKEND, SEGMENT_FIN, FLOW_BACKEND_FIN},
        {FROM_CLIENT, SEGMENT_ACKS_FIN, FLOW_BACKEND_FIN_ACKED},
        {FROM_CLIENT, SEGMENT_ACKS_FIN, FLOW_BACKEND_FIN_ACKED},
        {FROM_BACKEND, SEGMENT_DATA, FLOW_BACKEND_FIN_ACKED},
        {FROM_CLIENT, SEGMENT_FIN_ACKS_FIN, FLOW_BOTH_BACKEND_ACKED},
        {FROM_BACKEND, SEGMENT_ACKS_FIN, FLOW_CLOSED},
    };
    play(steps, sizeof steps / sizeof steps[0]);
}

static void a_simultaneous_close_ends_whichever_acknowledgement_comes_first(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {FROM_CLIENT, SEGMENT_FIN, FLOW_CLIENT_FIN},
        {FROM_BACKEND, SEGMENT_FIN, FLOW_BOTH_FIN},
        {FROM_CLIENT, SEGMENT_FIN, FLOW_BOTH_FIN},
        {FROM_CLIENT, SEGMENT_ACKS_FIN, FLOW_BOTH_BACKEND_ACKED},
        {FROM_BACKEND, SEGMENT_ACKS_FIN, FLOW_CLOSED},
    };
    play(steps, sizeof steps / sizeof steps[0]);
    static const struct step other[] = {
        {FROM_BACKEND, SEGMENT_FIN, FLOW_BACKEND_FIN},
        {FROM_CLIENT, SEGMENT_FIN, FLOW_BOTH_FIN},
        {FROM_BACKEND, SEGMENT_ACKS_FIN, FLOW_BOTH_CLIENT_ACKED},
        {FROM_CLIENT, SEGMENT_ACKS_FIN, FLOW_CLOSED},
    };
    play(other, sizeof other / sizeof other[0]);
}

static void facts_are_never_forgotten_on_a_random_walk(void **state)
{
    (void)state;
    struct random random = {29};
    for (int walk = 0; walk < 2000; walk++) {
        enum flow_state s = FLOW_ESTABLISHED;
        for (int i = 0; i < 40; i++) {
            const enum direction from = random_below(&random, 2) ? FROM_BACKEND : FROM_CLIENT;
            const struct transition t =
                states_next(s, from, (enum segment_class)(SEGMENT_FIN + random_below(&random, 4)));
            for (int side = 0; side < 2; side++) {
                assert_true(!meaning[s].fin[side] || meaning[t.next].fin[side]);
                assert_true(!meaning[s].acked[side] || meaning[t.next].acked[side]);
            }
            s = (enum flow_state)t.next;
        }
    }
}

static void every_state_has_a_name(void **state)
{
    (void)state;
    for (int s = 0; s < FLOW_STATES; s++) {
        assert_string_not_equal(states_name((enum flow_state)s), "unknown");
        for (int other = 0; other < s; other++)
            assert_string_not_equal(states_name((enum flow_state)s),
                                    states_name((enum flow_state)other));
    }
    assert_string_equal(states_name(FLOW_STATES), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cell_is_golden),
        cmocka_unit_test(a_free_flow_takes_nothing),
        cmocka_unit_test(each_transition_adds_exactly_what_the_segment_says),
        cmocka_unit_test(only_an_exact_reset_or_a_close_ends_a_flow),
        cmocka_unit_test(a_syn_of_a_client_gets_a_cookie_and_changes_nothing_in_every_state),
        cmocka_unit_test(a_close_by_the_client_in_three_segments),
        cmocka_unit_test(a_half_closed_client_still_gets_data),
        cmocka_unit_test(a_half_closed_backend_still_gets_data),
        cmocka_unit_test(a_simultaneous_close_ends_whichever_acknowledgement_comes_first),
        cmocka_unit_test(facts_are_never_forgotten_on_a_random_walk),
        cmocka_unit_test(every_state_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
