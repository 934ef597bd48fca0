/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The requests of one transaction, all of one sale, and their form on PostgreSQL's wire (binary
 * arrays). The same key twice becomes one row that answers both; with another body it is refused
 * here, since neither order of the two would be right. It sends nothing and owns no request. Pure;
 * the ledger thread's own. */
#ifndef DROPGATE_CONTROL_LEDGER_BATCH_H
#define DROPGATE_CONTROL_LEDGER_BATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "control/ledger/request.h"

enum batch_added {
    BATCH_ROW,      /* a row of its own */
    BATCH_JOINED,   /* the twin of a row: same key, same body */
    BATCH_CONFLICT, /* same key, another body: not added */
    BATCH_FULL,     /* not added */
};

/** Columns of dropgate.reserve_arrays after the sale: id, user, fingerprint, quantity. */
enum { BATCH_COLUMNS = 4 };

/** A parameter in binary format; points into the batch. */
struct batch_column {
    const char *bytes;
    int length;
};

struct batch;

/** Room for `rows` (1..1,024) rows, whatever their users are. NULL if memory is short. */
struct batch *batch_new(size_t rows);
void batch_free(struct batch *batch);

/** Empties it. */
void batch_reset(struct batch *batch);

/** Adds a request, or says why not. Twins do not count as rows, but are bounded by the same number.
 */
enum batch_added batch_add(struct batch *batch, struct ledger_request *request);

/** Number of rows. */
size_t batch_rows(const struct batch *batch);

/** The request of row `row` (from 0); its twins follow by `twin`. */
struct ledger_request *batch_row(const struct batch *batch, size_t row);

/** Encodes all rows as four one-dimensional arrays: uuid[], text[], uuid[], int4[]. Valid until the
 * next call. An empty batch gives empty arrays. */
void batch_encode(struct batch *batch, struct batch_column columns[BATCH_COLUMNS]);

#endif
