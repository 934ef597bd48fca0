/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The JSON bodies of items and sales, rendered once when the catalogue is read and then only
 * copied. Pure. */
#ifndef DROPGATE_CONTROL_CATALOG_VIEW_H
#define DROPGATE_CONTROL_CATALOG_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** A row of dropgate.catalog(), in its own words. Texts are borrowed. Times are microseconds since
 * 2000. */
struct catalog_row {
    const char *item, *title, *description;
    const char *currency, *state;
    int64_t total, avail, held, hold_ms, unit_price;
    int64_t opens_at, closes_at; /* closes_at: TIMESTAMP_INFINITY if never */
    int64_t read_at;             /* the database's clock when the row was read */
    int32_t sale, per_user;
};

enum { VIEW_ETAG = 35 };

/** A body with its strong entity tag (RFC 9110 section 8.8.3), the same on every instance. */
struct view {
    char *body; /* owned */
    size_t length;
    char etag[VIEW_ETAG]; /* with its quotes */
};

/** Renders a sale. Returns 0 or -ENOMEM. */
int view_sale(const struct catalog_row *row, struct view *out);

/** Renders an item with the sales that sell it: rows that name the same item, in the order given.
 */
int view_item(const struct catalog_row *const *rows, size_t count, struct view *out);

void view_free(struct view *view);

#endif
