/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * `scheduled` is what keeps a lane in one place: whoever turns it on posts the lane, and only its
 * owner turns it off, after which it looks into the inbox once more, since a request may have come
 * between the two. */
#include "control/ledger/lane.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct lane *lane_new(int32_t sale, struct mailbox *home, uint32_t batch_max)
{
    struct lane *lane = aligned_alloc(64, sizeof *lane);
    if (!lane)
        return NULL;
    memset(lane, 0, sizeof *lane);
    __cds_wfcq_init(&lane->head, &lane->tail);
    atomic_init(&lane->owner, home);
    lane->home = home;
    lane->sale = sale;
    lane->batch_max = batch_max;
    return lane;
}

static void schedule(struct lane *lane)
{
    if (!atomic_exchange(&lane->scheduled, true))
        mailbox_post(atomic_load(&lane->owner), &lane->node);
}

int lane_offer(struct lane *lane, struct lane_bounds *bounds, struct ledger_request *request)
{
    if (atomic_fetch_add(&bounds->waiting, 1) >= bounds->total) {
        atomic_fetch_sub(&bounds->waiting, 1);
        return -ENOBUFS;
    }
    if (atomic_fetch_add(&lane->waiting, 1) >= bounds->per_sale) {
        atomic_fetch_sub(&lane->waiting, 1);
        atomic_fetch_sub(&bounds->waiting, 1);
        return -ENOBUFS;
    }
    mailbox_append_to(&lane->head, &lane->tail, &request->node);
    schedule(lane);
    return 0;
}

void lane_expire(struct lane *lane)
{
    if (!atomic_exchange(&lane->expire, true))
        schedule(lane);
}

/* Moves what has come into the inbox to the end of the backlog. */
static void collect(struct lane *lane)
{
    for (struct cds_wfcq_node *node; (node = mailbox_take_from(&lane->head, &lane->tail));) {
        struct ledger_request *r = caa_container_of(node, struct ledger_request, node);
        r->next = NULL;
        if (lane->last)
            lane->last->next = r;
        else
            lane->first = r;
        lane->last = r;
    }
}

static struct ledger_request *pop(struct lane *lane, struct lane_bounds *bounds)
{
    struct ledger_request *r = lane->first;
    if (!r)
        return NULL;
    lane->first = r->next;
    if (!lane->first)
        lane->last = NULL;
    atomic_fetch_sub(&lane->waiting, 1);
    atomic_fetch_sub(&bounds->waiting, 1);
    return r;
}

struct ledger_request *lane_next(struct lane *lane, struct lane_bounds *bounds)
{
    collect(lane);
    for (struct ledger_request *r; (r = pop(lane, bounds));) {
        if (ledger_request_take(r))
            return r;
        ledger_request_answer(r, LEDGER_DROPPED);
    }
    return NULL;
}

void lane_put_back(struct lane *lane, struct lane_bounds *bounds, struct ledger_request *r)
{
    if (!ledger_request_untake(r)) {
        ledger_request_answer(r, LEDGER_DROPPED);
        return;
    }
    atomic_fetch_add(&lane->waiting, 1);
    atomic_fetch_add(&bounds->waiting, 1);
    r->next = lane->first;
    lane->first = r;
    if (!lane->last)
        lane->last = r;
}

void lane_purge(struct lane *lane, struct lane_bounds *bounds)
{
    collect(lane);
    while (lane->first && ledger_request_abandoned(lane->first))
        ledger_request_answer(pop(lane, bounds), LEDGER_DROPPED);
}

bool lane_rest(struct lane *lane)
{
    collect(lane);
    if (lane->first || atomic_load(&lane->expire))
        return false;
    atomic_store(&lane->scheduled, false);
    if (cds_wfcq_empty(&lane->head, &lane->tail) && !atomic_load(&lane->expire))
        return true;
    return atomic_exchange(&lane->scheduled,
                           true); /* somebody else has posted it meanwhile: then let go */
}
