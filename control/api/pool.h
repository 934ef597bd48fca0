/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The requests of one network thread. Made in slabs, given out and taken back by that thread only,
 * and freed all at once at the end, so that none can be lost. Their number is bounded by the
 * connections and the queues. */
#ifndef DROPGATE_CONTROL_API_POOL_H
#define DROPGATE_CONTROL_API_POOL_H

#include "control/ledger/request.h"

struct pool_slab;

struct pool {
    struct ledger_request *free; /* by `next` */
    struct pool_slab *slabs;
};

/** A request with everything zero, or NULL if memory is short. */
struct ledger_request *pool_take(struct pool *pool);

/** Gives one back, and frees its payment_ask; nobody else may hold it. */
void pool_give(struct pool *pool, struct ledger_request *request);

/** Frees all, also those that are out. */
void pool_free(struct pool *pool);

#endif
