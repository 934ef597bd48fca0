/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Mailboxes: order, and that a wake is written when it is needed and only then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>

#include <cmocka.h>

#include "control/mailbox.h"

/* How often the owner was woken since it last looked. */
static eventfd_t wakes(const struct mailbox *box)
{
    eventfd_t count = 0;
    eventfd_read(box->wake, &count);
    return count;
}

static void what_is_posted_is_taken_in_order(void **state)
{
    struct mailbox box;
    struct cds_wfcq_node nodes[3];
    (void)state;
    assert_int_equal(mailbox_open(&box), 0);
    assert_null(mailbox_take(&box));
    for (int i = 0; i < 3; i++)
        mailbox_post(&box, &nodes[i]);
    for (int i = 0; i < 3; i++)
        assert_ptr_equal(mailbox_take(&box), &nodes[i]);
    assert_null(mailbox_take(&box));
    mailbox_close(&box);
}

static void only_the_post_into_an_empty_box_wakes(void **state)
{
    struct mailbox box;
    struct cds_wfcq_node nodes[3];
    (void)state;
    assert_int_equal(mailbox_open(&box), 0);
    mailbox_post(&box, &nodes[0]);
    mailbox_post(&box, &nodes[1]);
    assert_int_equal(wakes(&box), 1);
    mailbox_take(&box);
    mailbox_post(&box, &nodes[2]); /* one is still inside: its owner is not done */
    assert_int_equal(wakes(&box), 0);
    mailbox_take(&box);
    mailbox_take(&box);
    mailbox_post(&box, &nodes[0]);
    assert_int_equal(wakes(&box), 1);
    mailbox_close(&box);
}

static void a_wake_can_come_without_a_post(void **state)
{
    struct mailbox box;
    (void)state;
    assert_int_equal(mailbox_open(&box), 0);
    mailbox_wake(&box);
    mailbox_clear(&box);
    assert_int_equal(wakes(&box), 0);
    assert_null(mailbox_take(&box));
    mailbox_close(&box);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_posted_is_taken_in_order),
        cmocka_unit_test(only_the_post_into_an_empty_box_wakes),
        cmocka_unit_test(a_wake_can_come_without_a_post),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
