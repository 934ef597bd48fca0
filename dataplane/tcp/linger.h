/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The order in which flows closed: while they linger they are the first to go when the table of
 * flows is full, the oldest before the others. A ring of indices, nothing else: what has become of
 * a flow meanwhile is the caller's to look at. Pure. One thread, the owner's. */
#ifndef DROPGATE_DATAPLANE_TCP_LINGER_H
#define DROPGATE_DATAPLANE_TCP_LINGER_H

#include <stdint.h>

#define LINGER_NONE UINT32_MAX

struct linger;

/** A ring for as many flows as the table has (1..2^27); NULL when memory is short. */
struct linger *linger_new(uint32_t flows);
void linger_free(struct linger *linger);

/** The flow at `index` has closed. When the ring is full the oldest entry goes: as it has room for
 * all flows, some entry is of one that is long gone, and at worst a closed flow is not found by
 * linger_oldest and goes by its timer. */
void linger_add(struct linger *linger, uint32_t index);

/** The oldest entry, which stays, or LINGER_NONE. Its flow may have ended since, or be another one
 * by now. */
uint32_t linger_oldest(const struct linger *linger);

/** Takes the oldest entry out, if there is one. */
void linger_drop(struct linger *linger);

#endif
