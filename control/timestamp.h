/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * PostgreSQL's timestamptz as text, always in the same form, since answers are repeated byte for
 * byte. Pure. */
#ifndef DROPGATE_CONTROL_TIMESTAMP_H
#define DROPGATE_CONTROL_TIMESTAMP_H

#include <stdbool.h>
#include <stdint.h>

#define TIMESTAMP_INFINITY  INT64_MAX
#define TIMESTAMP_NINFINITY INT64_MIN

enum { TIMESTAMP_TEXT = 40 };

/** Whether `at` is a time, and not -infinity or infinity. */
bool timestamp_is_finite(int64_t at);

/** Prints microseconds since 2000-01-01T00:00:00Z as RFC 3339 in UTC with six decimals,
 *  "2026-11-27T10:00:00.000000Z"; an infinite one as the nearest year that has four digits. Returns
 * `out`. */
const char *timestamp_print(int64_t at, char out[TIMESTAMP_TEXT]);

#endif
