/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Lanes: order, bounds, who gets a request back, and that no request is left behind when many
 * threads offer. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "control/ledger/lane.h"

struct lane_fixture {
    struct mailbox owner, answers;
    struct lane *lane;
    struct lane_bounds bounds;
};

static struct lane_fixture f;

static int open_lane(void **state)
{
    (void)state;
    assert_int_equal(mailbox_open(&f.owner), 0);
    assert_int_equal(mailbox_open(&f.answers), 0);
    f.bounds = (struct lane_bounds){.per_sale = 3, .total = 4};
    f.lane = lane_new(7, &f.owner, 8);
    return 0;
}

static int close_lane(void **state)
{
    (void)state;
    free(f.lane);
    mailbox_close(&f.owner);
    mailbox_close(&f.answers);
    return 0;
}

static int offer(struct ledger_request *r)
{
    r->answers = &f.answers;
    return lane_offer(f.lane, &f.bounds, r);
}

static struct ledger_request *given_back(void)
{
    struct cds_wfcq_node *node = mailbox_take(&f.answers);
    return node ? caa_container_of(node, struct ledger_request, node) : NULL;
}

static void requests_leave_in_the_order_in_which_they_came(void **state)
{
    struct ledger_request r[3] = {0};
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(offer(&r[i]), 0);
    for (int i = 0; i < 3; i++)
        assert_ptr_equal(lane_next(f.lane, &f.bounds), &r[i]);
    assert_null(lane_next(f.lane, &f.bounds));
    assert_int_equal(f.bounds.waiting, 0);
}

static void a_full_lane_refuses_and_forgets_nothing(void **state)
{
    struct ledger_request r[4] = {0};
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(offer(&r[i]), 0);
    assert_int_equal(offer(&r[3]), -ENOBUFS);
    assert_int_equal(f.lane->waiting, 3);
    assert_int_equal(f.bounds.waiting, 3);
    assert_ptr_equal(lane_next(f.lane, &f.bounds), &r[0]);
    assert_int_equal(offer(&r[3]), 0);
}

static void all_lanes_together_are_bounded(void **state)
{
    struct lane *other = lane_new(8, &f.owner, 8);
    struct ledger_request r[5] = {0};
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(offer(&r[i]), 0);
    assert_int_equal(lane_offer(other, &f.bounds, &r[3]), 0);
    assert_int_equal(lane_offer(other, &f.bounds, &r[4]), -ENOBUFS);
    assert_int_equal(other->waiting, 1);
    assert_int_equal(f.bounds.waiting, 4);
    free(other);
}

static void a_lane_is_posted_once_however_many_requests_come(void **state)
{
    struct ledger_request r[2] = {0};
    (void)state;
    offer(&r[0]);
    offer(&r[1]);
    assert_ptr_equal(mailbox_take(&f.owner), &f.lane->node);
    assert_null(mailbox_take(&f.owner));
}

static void an_abandoned_request_is_given_back_and_not_sent(void **state)
{
    struct ledger_request r[2] = {0};
    (void)state;
    offer(&r[0]);
    offer(&r[1]);
    assert_true(ledger_request_abandon(&r[0])); /* it was still waiting: nothing has happened */
    assert_ptr_equal(lane_next(f.lane, &f.bounds), &r[1]);
    assert_ptr_equal(given_back(), &r[0]);
    assert_int_equal(r[0].status, LEDGER_DROPPED);
    assert_false(ledger_request_abandon(&r[1])); /* it was taken: its outcome is unknown */
}

/* Its batch was lost with its connection, sent again, and then refused for the lock: the first
 * sending may have been committed all the same. */
static void nothing_happened_is_not_said_of_what_may_have_been_committed(void **state)
{
    struct ledger_request r[2] = {0};
    (void)state;
    for (int i = 0; i < 2; i++) {
        offer(&r[i]);
        assert_ptr_equal(lane_next(f.lane, &f.bounds), &r[i]);
        r[i].doubtful = true;
    }
    lane_put_back(f.lane, &f.bounds, &r[0]);
    assert_false(ledger_request_abandon(&r[0]));
    ledger_request_answer(&r[1], LEDGER_UNAVAILABLE);
    assert_ptr_equal(given_back(), &r[1]);
    assert_int_equal(r[1].status, LEDGER_UNKNOWN);
}

static void a_request_put_back_goes_first_again(void **state)
{
    struct ledger_request r[2] = {0};
    (void)state;
    offer(&r[0]);
    offer(&r[1]);
    struct ledger_request *first = lane_next(f.lane, &f.bounds);
    lane_put_back(f.lane, &f.bounds, first);
    assert_int_equal(f.lane->waiting, 2);
    assert_true(atomic_load(&r[0].phase) == PHASE_WAITING);
    assert_ptr_equal(lane_next(f.lane, &f.bounds), &r[0]);
    assert_ptr_equal(lane_next(f.lane, &f.bounds), &r[1]);
}

static void a_request_abandoned_while_it_was_out_is_not_put_back(void **state)
{
    struct ledger_request r = {0};
    (void)state;
    offer(&r);
    lane_next(f.lane, &f.bounds);
    ledger_request_abandon(&r);
    lane_put_back(f.lane, &f.bounds, &r);
    assert_int_equal(f.lane->waiting, 0);
    assert_ptr_equal(given_back(), &r);
}

static void the_dead_at_the_front_are_purged_without_being_asked_for(void **state)
{
    struct ledger_request r[3] = {0};
    (void)state;
    for (int i = 0; i < 3; i++)
        offer(&r[i]);
    ledger_request_abandon(&r[0]);
    ledger_request_abandon(&r[1]);
    lane_purge(f.lane, &f.bounds);
    assert_int_equal(f.lane->waiting, 1);
    assert_ptr_equal(given_back(), &r[0]);
    assert_ptr_equal(given_back(), &r[1]);
    assert_true(atomic_load(&r[2].phase) == PHASE_WAITING);
}

static void a_lane_rests_only_when_there_is_nothing_to_do(void **state)
{
    struct ledger_request r = {0};
    (void)state;
    offer(&r);
    mailbox_take(&f.owner);
    assert_false(lane_rest(f.lane));
    lane_next(f.lane, &f.bounds);
    lane_expire(f.lane);
    assert_false(lane_rest(f.lane)); /* expiry is wanted */
    atomic_store(&f.lane->expire, false);
    assert_true(lane_rest(f.lane));
    assert_null(mailbox_take(&f.owner));
    lane_expire(f.lane);
    assert_ptr_equal(mailbox_take(&f.owner), &f.lane->node);
}

enum { OFFERERS = 4, OFFERS = 20000 };

static void *offer_many(void *context)
{
    struct ledger_request *r = context;
    for (int i = 0; i < OFFERS; i++)
        while (offer(&r[i])) /* full: the owner will make room */
            sched_yield();
    return NULL;
}

/* Four threads offer to a lane of three places while its owner lets it rest whenever it can. */
static void no_request_is_left_behind_when_threads_race(void **state)
{
    pthread_t threads[OFFERERS];
    struct ledger_request *r = calloc((size_t)OFFERERS * OFFERS, sizeof *r);
    (void)state;
    for (int i = 0; i < OFFERERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, offer_many, r + (size_t)i * OFFERS), 0);
    int taken = 0;
    while (taken < OFFERERS * OFFERS) {
        mailbox_clear(&f.owner);
        if (!mailbox_take(&f.owner)) {
            sched_yield();
            continue;
        }
        do {
            while (lane_next(f.lane, &f.bounds))
                taken++;
        } while (!lane_rest(f.lane));
    }
    for (int i = 0; i < OFFERERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(f.lane->waiting, 0);
    assert_int_equal(f.bounds.waiting, 0);
    free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(requests_leave_in_the_order_in_which_they_came, open_lane,
                                        close_lane),
        cmocka_unit_test_setup_teardown(a_full_lane_refuses_and_forgets_nothing, open_lane,
                                        close_lane),
        cmocka_unit_test_setup_teardown(all_lanes_together_are_bounded, open_lane, close_lane),
        cmocka_unit_test_setup_teardown(a_lane_is_posted_once_however_many_requests_come, open_lane,
                                        close_lane),
        cmocka_unit_test_setup_teardown(an_abandoned_request_is_given_back_and_not_sent, open_lane,
                                        close_lane),
        cmocka_unit_test_setup_teardown(a_request_put_back_goes_first_again, open_lane, close_lane),
        cmocka_unit_test_setup_teardown(a_request_abandoned_while_it_was_out_is_not_put_back,
                                        open_lane, close_lane),
        cmocka_unit_test_setup_teardown(
            nothing_happened_is_not_said_of_what_may_have_been_committed, open_lane, close_lane),
        cmocka_unit_test_setup_teardown(the_dead_at_the_front_are_purged_without_being_asked_for,
                                        open_lane, close_lane),
        cmocka_unit_test_setup_teardown(a_lane_rests_only_when_there_is_nothing_to_do, open_lane,
                                        close_lane),
        cmocka_unit_test_setup_teardown(no_request_is_left_behind_when_threads_race, open_lane,
                                        close_lane),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
