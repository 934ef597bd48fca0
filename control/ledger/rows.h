/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Reads PostgreSQL's binary result rows into our structs. Never trusts a width: a row of another
 * shape is refused, so that a function that was changed in the database cannot be misread as a
 * grant. */
#ifndef DROPGATE_CONTROL_LEDGER_ROWS_H
#define DROPGATE_CONTROL_LEDGER_ROWS_H

#include <libpq-fe.h>

#include "control/ledger/request.h"

/** What became of one element of a batch. `grant` is filled for LEDGER_GRANTED, all but the sale;
 * the quantity of a new grant is what was asked for, and 0 here. */
struct reserve_answer {
    enum ledger_status status;
    struct grant grant;
};

/** The only row of reserve_arrays, for a batch of `count` elements: fills as many `answers`.
 * Returns 0, or -EPROTO if anything has another shape; then nothing in `answers` means anything. */
int rows_reserve(const PGresult *result, size_t count, struct reserve_answer *answers);

/** The only row of reservation_get into `request`. Returns LEDGER_FOUND, LEDGER_NOT_FOUND (no row)
 * or LEDGER_FAILED. */
enum ledger_status rows_reservation(const PGresult *result, struct ledger_request *request);

/** The status of reservation_cancel. */
enum ledger_status rows_cancel(const PGresult *result);

/** Values of exactly that width; return 0 or -EPROTO (NULL, or another width). */
int rows_int16(const PGresult *result, int row, int column, int16_t *out);
int rows_int32(const PGresult *result, int row, int column, int32_t *out);
int rows_int64(const PGresult *result, int row, int column, int64_t *out);

/** Copies text of at most `size` - 1 bytes, terminated. Returns 0 or -EPROTO. */
int rows_text(const PGresult *result, int row, int column, char *out, size_t size);

#endif
