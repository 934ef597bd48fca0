/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Limits that hold for all workers together (tcp-pitfalls 20). The control thread owns a token
 * bucket and lends events from it to the workers, a few milliseconds' worth at a time and most to
 * those that ask most; a worker takes from what it was lent. What is lent is either in the bucket's
 * account or in a worker's, never in both, so all workers together never take more in any time than
 * the bucket alone would have allowed, and less by no more than what is lent and unused.
 *
 * No lock and no atomic read-modify-write: each word has one writer. What is lent is written as a
 * number of events up to which the worker may take, counted since the start, so to lend is to raise
 * it. To call unused events back it is lowered, under a new epoch; they return to the bucket when
 * the worker has acknowledged that epoch, for until then it may still be taking them. Pure. */
#ifndef DROPGATE_DATAPLANE_ADMIT_LEASE_H
#define DROPGATE_DATAPLANE_ADMIT_LEASE_H

#include <stdbool.h>
#include <stdint.h>

enum { LEASE_WORKERS = 64 };

/** The limits that are lent. */
enum {
    LEASE_RESETS,
    LEASE_FINS,
    LEASE_ECHOES,
    LEASE_INSIDE_RESETS,
    LEASE_TOO_BIGS,
    LEASE_SYNS_AGAIN,
    LEASE_CONNECTIONS, /* new ones, of all clients */
    LEASES
};

/** One worker's part of one limit; all zero at the start. Events are counted since the start and
 * wrap. */
struct lease {
    uint64_t lent;    /* control: rw, worker: ro; epoch << 32 | events that may be taken */
    uint32_t used;    /* worker: rw, control: ro; events taken */
    uint32_t wanted;  /* worker: rw, control: ro; events asked for, taken or not */
    uint32_t obeyed;  /* worker: rw, control: ro; the epoch that `allowed` is of */
    uint32_t allowed; /* worker: rw */
};

/** Reads what is lent, and acknowledges it. The worker, before each burst. */
static inline void lease_begin(struct lease *lease)
{
    uint64_t lent = __atomic_load_n(&lease->lent, __ATOMIC_RELAXED);
    lease->allowed = (uint32_t)lent;
    if (lease->obeyed != (uint32_t)(lent >> 32)) /* whoever reads this also sees `used` */
        __atomic_store_n(&lease->obeyed, (uint32_t)(lent >> 32), __ATOMIC_RELEASE);
}

/** Takes `events`, all or none; false when fewer are lent. The worker. */
static inline bool lease_take(struct lease *lease, uint32_t events)
{
    __atomic_store_n(&lease->wanted, lease->wanted + events, __ATOMIC_RELAXED);
    if ((int32_t)(lease->allowed - lease->used) < (int32_t)events)
        return false;
    __atomic_store_n(&lease->used, lease->used + events, __ATOMIC_RELAXED);
    return true;
}

/** What the control thread knows of one worker. */
struct lease_share {
    struct lease *lease;
    uint32_t epoch;
    uint32_t allowed;            /* as lent last */
    uint32_t ceiling;            /* what the worker may still obey: above `allowed` until it has
                                    acknowledged that it was lowered */
    uint32_t used, wanted;       /* as read last */
    uint32_t demand, demand_old; /* events asked for in the last round, and the one before */
};

/** A limit of so many events per second: a bucket, full at the start. */
struct lease_pool {
    int64_t credit; /* lent to nobody, in thousandths of an event; below 0 when the limit was
                       lowered and more than it is still lent */
    uint64_t refilled_ms;
    uint32_t workers, turn, room;
    struct lease_share *share;
};

/** Begins a limit with no worker, and a bucket of `burst` events. `share` is room for `room`
 * workers; it and the leases must outlive the pool's last round. */
void lease_pool_init(struct lease_pool *pool, struct lease_share *share, uint32_t room,
                     uint32_t burst, uint64_t now_ms);

/** Adds a worker, before the first round. Returns 0 or -ENOSPC. */
int lease_pool_add(struct lease_pool *pool, struct lease *lease);

/** One round: reads what was taken, fills the bucket, lends and calls back. Every few milliseconds;
 * late is safe. `per_second` (at most a million) and `burst`, the size of the bucket, may differ
 * from the round before; what workers hold beyond a lower one they may take until they have heard
 * of it. A bucket of fewer events than two or three rounds bring cannot hold them, and they are
 * lost. The control thread. */
void lease_pool_run(struct lease_pool *pool, uint32_t per_second, uint32_t burst, uint64_t now_ms);

/** Events that are lent and not known to be taken, as of the last round. The control thread. */
uint32_t lease_pool_lent(const struct lease_pool *pool);

/** The limits of above, each with a bucket of one second's worth. */
struct lender {
    struct lease_pool pool[LEASES];
    struct lease_share share[LEASES][LEASE_WORKERS];
};

void lender_init(struct lender *lender, const uint32_t per_second[LEASES], uint64_t now_ms);
int lender_add(struct lender *lender, struct lease lease[LEASES]);
void lender_run(struct lender *lender, const uint32_t per_second[LEASES], uint64_t now_ms);

#endif
