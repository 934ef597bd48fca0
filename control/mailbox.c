/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The wake is written only by the post that finds the box empty: the owner takes until the box is
 * empty, so every later post before that is found without another system call. */
#include "control/mailbox.h"

#include <errno.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "control/race.h"

int mailbox_open(struct mailbox *box)
{
    __cds_wfcq_init(&box->head, &box->tail);
    box->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return box->wake < 0 ? -errno : 0;
}

void mailbox_close(struct mailbox *box)
{
    if (box->wake >= 0)
        close(box->wake);
    box->wake = -1;
}

bool mailbox_append_to(struct __cds_wfcq_head *head, struct cds_wfcq_tail *tail,
                       struct cds_wfcq_node *node)
{
    cds_wfcq_node_init(node);
    RACE_BEFORE(node);
    return !cds_wfcq_enqueue(head, tail, node);
}

void mailbox_post(struct mailbox *box, struct cds_wfcq_node *node)
{
    if (mailbox_append_to(&box->head, &box->tail, node))
        mailbox_wake(box);
}

void mailbox_wake(struct mailbox *box)
{
    eventfd_write(box->wake,
                  1); /* fails only when the counter is full, and then the owner is awake anyway */
}

void mailbox_clear(struct mailbox *box)
{
    eventfd_t seen;
    eventfd_read(box->wake, &seen);
}

struct cds_wfcq_node *mailbox_take_from(struct __cds_wfcq_head *head, struct cds_wfcq_tail *tail)
{
    for (;;) {
        struct cds_wfcq_node *node = __cds_wfcq_dequeue_nonblocking(head, tail);
        if (node != CDS_WFCQ_WOULDBLOCK) {
            RACE_AFTER(node);
            return node;
        }
        sched_yield(); /* a poster was interrupted between its two stores; liburcu's own wait would
                          sleep 10 ms */
    }
}

struct cds_wfcq_node *mailbox_take(struct mailbox *box)
{
    return mailbox_take_from(&box->head, &box->tail);
}
