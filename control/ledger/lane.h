/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * One sale's way to the ledger: the requests that wait for its next batch. Any thread appends; one
 * ledger thread at a time owns the lane and takes from it. A lane is made when the catalogue first
 * names its sale and lives as long as the process, so a pointer to one is always good.
 *
 * There is no sold-out latch here on purpose: a sold-out sale still owes every earlier grant its
 * replay (same key, same 201), and only the database knows all keys. A refused batch writes
 * nothing, so it needs no log flush. */
#ifndef DROPGATE_CONTROL_LEDGER_LANE_H
#define DROPGATE_CONTROL_LEDGER_LANE_H

#include <stdbool.h>
#include <stdint.h>

#include "control/ledger/request.h"

struct lane {
    /* network threads: rw */
    _Alignas(64) struct cds_wfcq_tail tail;
    _Atomic uint32_t waiting;        /* requests in the inbox and the backlog */
    _Atomic bool scheduled;          /* somebody has posted it to its owner, or the owner has it */
    _Atomic bool expire;             /* housekeeping wants due holds released */
    _Atomic(struct mailbox *) owner; /* the ledger thread that it is posted to */
    /* owner: rw */
    _Alignas(64) struct cds_wfcq_node node; /* in the owner's mailbox */
    struct __cds_wfcq_head head;
    struct ledger_request *first, *last; /* the backlog: taken from the inbox, or put back */
    struct lane *next;                   /* the owner's list of lanes with work */
    struct mailbox *home;                /* owner while nothing is stuck */
    uint32_t
        batch_max; /* rows in the next batch; smaller while a request is refused by PostgreSQL */
    int32_t sale;
};

/** What all lanes together may hold. */
struct lane_bounds {
    uint32_t per_sale, total;
    _Atomic uint32_t waiting;
};

/** Makes the lane of a sale. NULL if memory is short. */
struct lane *lane_new(int32_t sale, struct mailbox *home, uint32_t batch_max);

/** Appends a request, PHASE_WAITING. Returns 0, or -ENOBUFS when the lane or all lanes together are
 * full. Any thread. */
int lane_offer(struct lane *lane, struct lane_bounds *bounds, struct ledger_request *request);

/** Has due holds released soon, by a batch that comes anyway or by an empty one. Any thread. */
void lane_expire(struct lane *lane);

/** Owner: the next waiting request, claimed (PHASE_TAKEN), or NULL. Abandoned ones are given back
 * on the way. */
struct ledger_request *lane_next(struct lane *lane, struct lane_bounds *bounds);

/** Owner: puts a claimed request that had no effect back to the front; given back instead if it was
 * abandoned. */
void lane_put_back(struct lane *lane, struct lane_bounds *bounds, struct ledger_request *request);

/** Owner: gives back the abandoned requests at the front, without claiming one. */
void lane_purge(struct lane *lane, struct lane_bounds *bounds);

/** Owner: lets the lane go if it is empty. False if there is work and it must be kept. */
bool lane_rest(struct lane *lane);

#endif
