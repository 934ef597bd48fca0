/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Items and sales in memory. A generation is immutable: it is built aside from one reading of the
 * database, published by one pointer, and freed a grace period after its successor came
 * (liburcu-memb). Reading it never waits and never asks PostgreSQL. It decides nothing about stock:
 * that is the ledger's. */
#ifndef DROPGATE_CONTROL_CATALOG_CATALOG_H
#define DROPGATE_CONTROL_CATALOG_CATALOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/catalog/view.h"

struct lane;

struct catalog_sale {
    int32_t id;
    struct lane *lane;   /* where its reservations wait; lives longer than the catalogue */
    int64_t opens_at;    /* microseconds since 2000, the database's clock */
    int64_t closed_till; /* clock_now before which it has certainly not opened */
    bool held;           /* holds are outstanding, so some may fall due */
    struct view view;
};

struct catalog_item {
    char *id; /* owned */
    struct view view;
};

struct catalog_generation;

struct catalog {
    _Atomic(struct catalog_generation *)
        current; // housekeeping: w, everybody: ro between enter and leave
};

/** Builds a generation from rows in the order of their sales; `lanes[i]` belongs to `rows[i]`;
 * `asked` is clock_now before the database was asked. Copies what it needs. NULL if memory is
 * short. Any thread. */
struct catalog_generation *catalog_build(const struct catalog_row *rows, struct lane *const *lanes,
                                         size_t count, int64_t asked);

/** Frees a generation that nobody can see. NULL is nothing. */
void catalog_discard(struct catalog_generation *generation);

/** Makes a generation the current one and frees its predecessor after a grace period. One thread,
 * which must not be between
 * catalog_enter and catalog_leave. */
void catalog_publish(struct catalog *catalog, struct catalog_generation *generation);

/** Begins and ends reading: what catalog_current returns is good in between. May be nested; never
 * wait within. The thread must have called urcu_memb_register_thread. */
void catalog_enter(const struct catalog *catalog);
void catalog_leave(const struct catalog *catalog);

/** The current generation or NULL before the first. Between catalog_enter and catalog_leave, or by
 * the thread that publishes. */
const struct catalog_generation *catalog_current(const struct catalog *catalog);

/** The lookups; NULL if there is none. */
const struct catalog_sale *catalog_find_sale(const struct catalog_generation *generation,
                                             int32_t id);
const struct catalog_item *catalog_find_item(const struct catalog_generation *generation,
                                             const char *id);

/** Whether a sale has certainly not opened at `now` (clock_now), as far as a reading not older than
 * `max_age` nanoseconds can tell; otherwise the ledger must be asked. */
bool catalog_not_open(const struct catalog_generation *generation, const struct catalog_sale *sale,
                      int64_t now, int64_t max_age);

/** Every sale in turn, for housekeeping: index 0.. until NULL. */
const struct catalog_sale *catalog_sale_at(const struct catalog_generation *generation,
                                           size_t index);

#endif
