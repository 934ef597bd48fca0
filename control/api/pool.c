/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Slabs never shrink: the high-water mark of one rush is what the next one needs. */
#include "control/api/pool.h"

#include <stdlib.h>
#include <string.h>

enum { SLAB_REQUESTS = 64 };

struct pool_slab {
    struct pool_slab *next;
    struct ledger_request requests[SLAB_REQUESTS];
};

static void grow(struct pool *pool)
{
    struct pool_slab *slab = calloc(1, sizeof *slab);
    if (!slab)
        return;
    slab->next = pool->slabs;
    pool->slabs = slab;
    for (int i = 0; i < SLAB_REQUESTS; i++) {
        slab->requests[i].payment = NULL;
        pool_give(pool, &slab->requests[i]);
    }
}

struct ledger_request *pool_take(struct pool *pool)
{
    if (!pool->free)
        grow(pool);
    struct ledger_request *r = pool->free;
    if (r) {
        pool->free = r->next;
        memset(r, 0, sizeof *r);
    }
    return r;
}

void pool_give(struct pool *pool, struct ledger_request *r)
{
    free(r->page.body);
    r->page.body = NULL;
    free(r->payment);
    r->payment = NULL;
    r->next = pool->free;
    pool->free = r;
}

void pool_free(struct pool *pool)
{
    for (struct pool_slab *slab = pool->slabs, *next; slab; slab = next) {
        next = slab->next;
        for (int i = 0; i < SLAB_REQUESTS; i++) {
            free(slab->requests[i].page.body);
            free(slab->requests[i].payment);
        }
        free(slab);
    }
    pool->slabs = NULL;
    pool->free = NULL;
}
