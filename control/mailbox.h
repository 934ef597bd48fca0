/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * How anything crosses to another thread here: a wait-free queue (liburcu wfcqueue) with an eventfd
 * beside it. Many threads post, one takes. It holds what is posted by reference and frees nothing;
 * it has no bound of its own: whoever posts has counted before. */
#ifndef DROPGATE_CONTROL_MAILBOX_H
#define DROPGATE_CONTROL_MAILBOX_H

#include <stdbool.h>
#include <urcu/wfcqueue.h>

struct mailbox {
    struct cds_wfcq_tail tail; // posters: rw
    struct __cds_wfcq_head head;
    int wake; /* eventfd; readable when something may have come */
};

/** Returns 0 or -errno (no descriptor left). */
int mailbox_open(struct mailbox *box);

/** Closes the eventfd; what is left inside is forgotten. */
void mailbox_close(struct mailbox *box);

/** Appends `node`, which must be in no queue, and wakes the owner if the box was empty. Any thread.
 */
void mailbox_post(struct mailbox *box, struct cds_wfcq_node *node);

/** Wakes the owner without posting. Any thread, and signal handlers. */
void mailbox_wake(struct mailbox *box);

/** Resets the eventfd. Owner only; call it before mailbox_take, so that no wake is lost. */
void mailbox_clear(struct mailbox *box);

/** The oldest node, or NULL if there is none. Owner only. */
struct cds_wfcq_node *mailbox_take(struct mailbox *box);

/** Appends `node`, which must be in no queue, to a bare queue. Returns whether the queue was empty.
 * Any thread. */
bool mailbox_append_to(struct __cds_wfcq_head *head, struct cds_wfcq_tail *tail,
                       struct cds_wfcq_node *node);

/** The oldest node of a bare queue, or NULL; waits (yielding) for a poster that is half done. Owner
 * only. */
struct cds_wfcq_node *mailbox_take_from(struct __cds_wfcq_head *head, struct cds_wfcq_tail *tail);

#endif
