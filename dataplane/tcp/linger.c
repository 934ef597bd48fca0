/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Flows linger equally long, so they also end in about the order in which they closed, and entries
 * of those that are gone do not pile up. */
#include "dataplane/tcp/linger.h"

#include <stdlib.h>

#include "dataplane/tcp/pages.h"

struct linger {
    uint32_t *ring;
    uint32_t capacity, oldest, count;
};

struct linger *linger_new(uint32_t flows)
{
    if (flows == 0 || flows > UINT32_C(1) << 27)
        return NULL;
    struct linger *linger = calloc(1, sizeof *linger);
    if (linger == NULL)
        return NULL;
    linger->capacity = flows;
    linger->ring = pages_new(flows * sizeof *linger->ring);
    if (linger->ring == NULL) {
        linger_free(linger);
        return NULL;
    }
    return linger;
}

void linger_free(struct linger *linger)
{
    if (linger == NULL)
        return;
    pages_free(linger->ring, linger->capacity * sizeof *linger->ring);
    free(linger);
}

void linger_add(struct linger *linger, uint32_t index)
{
    if (linger->count == linger->capacity)
        linger_drop(linger);
    uint64_t place = ((uint64_t)linger->oldest + linger->count++) % linger->capacity;
    linger->ring[place] = index;
}

uint32_t linger_oldest(const struct linger *linger)
{
    return linger->count == 0 ? LINGER_NONE : linger->ring[linger->oldest];
}

void linger_drop(struct linger *linger)
{
    if (linger->count == 0)
        return;
    linger->oldest = linger->oldest + 1 == linger->capacity ? 0 : linger->oldest + 1;
    linger->count--;
}
