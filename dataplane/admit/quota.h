/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A limit of how many there may be at once, of all workers together: open connections. Unlike the
 * events of lease.h, what is taken is given back. The control thread lends each worker a number of
 * its own that it may have open, most to those that open most; the numbers lent are never more than
 * the limit, so neither are all that are open, however skewed the traffic is; and when a worker
 * must refuse, what is missing to the limit is lent to the others and not used by them.
 *
 * No lock and no atomic read-modify-write: each word has one writer. A worker that is to have fewer
 * is told so under a new epoch; until it has acknowledged that, it may still be taking, and after
 * that what it has open above its number counts as lent until it is given back. Pure. */
#ifndef DROPGATE_DATAPLANE_ADMIT_QUOTA_H
#define DROPGATE_DATAPLANE_ADMIT_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/admit/lease.h"

/** One worker's part of the limit; all zero at the start: nothing may be taken. */
struct quota {
    uint64_t lent;    /* control: rw, worker: ro; epoch << 32 | how many it may have */
    uint32_t open;    /* worker: rw, control: ro; how many it has */
    uint32_t wanted;  /* worker: rw, control: ro; taken or refused since the start; wraps */
    uint32_t obeyed;  /* worker: rw, control: ro; the epoch that `allowed` is of */
    uint32_t allowed; /* worker: rw */
};

/** Reads what is lent, and acknowledges it. The worker, before each burst. */
static inline void quota_begin(struct quota *quota)
{
    uint64_t lent = __atomic_load_n(&quota->lent, __ATOMIC_RELAXED);
    quota->allowed = (uint32_t)lent;
    if (quota->obeyed != (uint32_t)(lent >> 32)) /* whoever reads this also sees `open` */
        __atomic_store_n(&quota->obeyed, (uint32_t)(lent >> 32), __ATOMIC_RELEASE);
}

/** Whether one more may be taken; says that it is wanted. The worker. */
static inline bool quota_ask(struct quota *quota)
{
    __atomic_store_n(&quota->wanted, quota->wanted + 1, __ATOMIC_RELAXED);
    return quota->open < quota->allowed;
}

/** Takes one, allowed or not: who lets pass what is over the limit still counts it. The worker. */
static inline void quota_take(struct quota *quota)
{
    __atomic_store_n(&quota->open, quota->open + 1, __ATOMIC_RELAXED);
}

/** Gives back one that was taken. The worker. */
static inline void quota_give(struct quota *quota)
{
    __atomic_store_n(&quota->open, quota->open - 1, __ATOMIC_RELAXED);
}

/** What the control thread knows of one worker. */
struct quota_share {
    struct quota *quota;
    uint32_t epoch;
    uint32_t allowed; /* as lent last */
    uint32_t ceiling; /* what it may have at most, as far as is known: above `allowed` until it has
                         acknowledged, and as long as it has more open */
    uint32_t open, wanted; /* as read last */
    uint32_t demand;       /* asked for lately: a sum that halves in each round */
};

/** The limit. */
struct quota_pool {
    uint32_t workers;
    struct quota_share share[LEASE_WORKERS];
};

enum { QUOTA_NONE = 1 << 30 }; /* no limit, and the highest one */

/** Begins with no worker. */
void quota_pool_init(struct quota_pool *pool);

/** Adds a worker, up to LEASE_WORKERS, before the first round. `quota` must outlive the pool's last
 * round. Returns 0 or -ENOSPC. */
int quota_pool_add(struct quota_pool *pool, struct quota *quota);

/** One round: reads what is open, lends and calls back. Every few milliseconds; late is safe.
 * `limit` (0 or more than QUOTA_NONE: none) may differ from the round before: a lower one is
 * reached as connections end. The control thread. */
void quota_pool_run(struct quota_pool *pool, uint32_t limit);

/** How many are lent and not open, and how many are open, as of the last round. */
uint32_t quota_pool_unused(const struct quota_pool *pool);
uint32_t quota_pool_open(const struct quota_pool *pool);

#endif
