/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Sized first, then copied once. */
#include "control/outbox/page.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/ledger/rows.h"
#include "control/ledger/wire.h"

enum column { STATUS, PLACE, EVENT, COLUMNS };

static const char BEGIN[] = "{\"events\":[";
enum { END_MAX = sizeof "],\"next\":9223372036854775807}" };

/* Every row behind the first is the event of the next position. Sums up their bytes. */
static int check_events(const PGresult *result, int rows, int64_t after, size_t *bytes)
{
    for (int i = 1; i < rows; i++) {
        int64_t place;
        if (rows_int64(result, i, PLACE, &place) || PQgetisnull(result, i, EVENT) ||
            (after >= 0 && place != after + 1))
            return -1;
        after = place;
        *bytes += (size_t)PQgetlength(result, i, EVENT) + 1;
    }
    return 0;
}

static char *put_events(const PGresult *result, int rows, char *at)
{
    at = wire_put(at, BEGIN, sizeof BEGIN - 1);
    for (int i = 1; i < rows; i++) {
        if (i > 1)
            *at++ = ',';
        at = wire_put(at, PQgetvalue(result, i, EVENT), (size_t)PQgetlength(result, i, EVENT));
    }
    return at;
}

static enum ledger_status render(const PGresult *result, int rows, struct ledger_page *page)
{
    size_t bytes = sizeof BEGIN + END_MAX;
    int64_t next = page->after < 0 ? page->place : page->after;
    if (check_events(result, rows, page->after, &bytes))
        return LEDGER_FAILED;
    if (rows > 1)
        rows_int64(result, rows - 1, PLACE, &next);
    page->body = malloc(bytes);
    if (!page->body)
        return LEDGER_FAILED;
    char *end = put_events(result, rows, page->body);
    end += snprintf(end, END_MAX, "],\"next\":%" PRId64 "}", next);
    page->length = (size_t)(end - page->body);
    page->events = rows - 1;
    page->place = next;
    return LEDGER_PAGE;
}

enum ledger_status page_render(const PGresult *result, struct ledger_page *page)
{
    int32_t status;
    int rows = PQntuples(result);
    if (PQnfields(result) != COLUMNS || rows < 1 || rows > PAGE_LIMIT_MAX + 1 ||
        rows_int32(result, 0, STATUS, &status) || rows_int64(result, 0, PLACE, &page->place))
        return LEDGER_FAILED;
    switch (status) {
    case 200: return render(result, rows, page);
    case 409: return LEDGER_PAGE_AHEAD;
    case 410: return LEDGER_PAGE_GONE;
    default: return LEDGER_FAILED;
    }
}
