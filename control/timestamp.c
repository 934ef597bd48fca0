/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Days to civil date by the C library, in UTC; nothing here knows a time zone. */
#include "control/timestamp.h"

#include <stdio.h>
#include <time.h>

#define MICROSECONDS  INT64_C(1000000)
#define EPOCH_2000    INT64_C(946684800)    /* 2000-01-01T00:00:00Z in Unix time */
#define YEAR_1000     INT64_C(-30610224000) /* 1000-01-01T00:00:00Z */
#define YEAR_9999_END INT64_C(253402300799) /* 9999-12-31T23:59:59Z */

bool timestamp_is_finite(int64_t at)
{
    return at != TIMESTAMP_INFINITY && at != TIMESTAMP_NINFINITY;
}

const char *timestamp_print(int64_t at, char out[TIMESTAMP_TEXT])
{
    int64_t seconds = at / MICROSECONDS, micro = at % MICROSECONDS;
    if (micro < 0) {
        micro += MICROSECONDS;
        seconds--;
    }
    seconds += EPOCH_2000;
    if (seconds < YEAR_1000 || seconds > YEAR_9999_END) { /* RFC 3339 has four-digit years only */
        seconds = seconds < YEAR_1000 ? YEAR_1000 : YEAR_9999_END;
        micro = 0;
    }
    time_t whole = seconds;
    struct tm t;
    size_t length = strftime(out, TIMESTAMP_TEXT, "%Y-%m-%dT%H:%M:%S", gmtime_r(&whole, &t));
    snprintf(out + length, TIMESTAMP_TEXT - length, ".%06dZ", (int)micro);
    return out;
}
