/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Reads pages of published events for those who ask, one at a time on a connection of its own, so
 * that a system that catches up never delays a shopper. Who wants to wait for news is set aside,
 * and one small question for all of them tells when there is any. It publishes nothing. The outbox
 * thread's own. */
#ifndef DROPGATE_CONTROL_OUTBOX_READER_H
#define DROPGATE_CONTROL_OUTBOX_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "control/ledger/link.h"
#include "control/ledger/request.h"

struct reader_list {
    struct ledger_request *first, *last;
};

struct reader {
    struct link link;
    struct ledger_request *current; /* its page is being read, or will be again */
    struct reader_list ready;       /* their pages can be read now */
    struct reader_list waiting;     /* for events that have not been published yet */
    uint32_t count;                 /* in the two lists, and `current` */
    int64_t ask_at;                 /* when to look for news next; clock_now */
    bool asked;                     /* what is in flight is that question */
    bool hurried;                   /* nobody waits any more */
};

void reader_open(struct reader *reader, struct connector *connector, struct mailbox *owner);

/** Takes a LEDGER_EVENTS request over; it is given back answered. */
void reader_add(struct reader *reader, struct ledger_request *request);

/** Whoever waits is answered with what there is, now and from now on. */
void reader_hurry(struct reader *reader);

/** Does what can be done without waiting. Returns how many requests have left the lists. */
uint32_t reader_advance(struct reader *reader, int64_t now);

/** When to call reader_advance next, even if nothing has come; INT64_MAX: no need. */
int64_t reader_due(const struct reader *reader, int64_t now);

#endif
