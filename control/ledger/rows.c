/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Binary format throughout: integers big-endian, timestamptz as microseconds since 2000-01-01 UTC
 * (every server since version 10), text as it is. */
#include "control/ledger/rows.h"

#include <errno.h>
#include <string.h>

#include "control/ledger/wire.h"

/* The value's bytes if it is there and `width` long. */
static const char *fixed(const PGresult *result, int row, int column, int width)
{
    if (PQgetisnull(result, row, column) || PQgetlength(result, row, column) != width)
        return NULL;
    return PQgetvalue(result, row, column);
}

int rows_int16(const PGresult *result, int row, int column, int16_t *out)
{
    const char *at = fixed(result, row, column, 2);
    if (!at)
        return -EPROTO;
    *out = wire_int16(at);
    return 0;
}

int rows_int32(const PGresult *result, int row, int column, int32_t *out)
{
    const char *at = fixed(result, row, column, 4);
    if (!at)
        return -EPROTO;
    *out = wire_int32(at);
    return 0;
}

int rows_int64(const PGresult *result, int row, int column, int64_t *out)
{
    const char *at = fixed(result, row, column, 8);
    if (!at)
        return -EPROTO;
    *out = wire_int64(at);
    return 0;
}

int rows_text(const PGresult *result, int row, int column, char *out, size_t size)
{
    size_t length = (size_t)PQgetlength(result, row, column);
    if (PQgetisnull(result, row, column) || length >= size)
        return -EPROTO;
    memcpy(out, PQgetvalue(result, row, column), length);
    out[length] = '\0';
    return 0;
}

/* A currency is printed into JSON as it is, so it must be what ISO 4217 says: three capitals. */
static int currency(const PGresult *result, int row, int column, char out[4])
{
    if (rows_text(result, row, column, out, 4) || strlen(out) != 3)
        return -EPROTO;
    for (int i = 0; i < 3; i++)
        if (out[i] < 'A' || out[i] > 'Z')
            return -EPROTO;
    return 0;
}

/* So is a state: a word of small letters. */
static int state_word(const PGresult *result, int row, int column, char out[LEDGER_STATE_MAX + 1])
{
    if (rows_text(result, row, column, out, LEDGER_STATE_MAX + 1) || !*out)
        return -EPROTO;
    return out[strspn(out, "abcdefghijklmnopqrstuvwxyz_")] ? -EPROTO : 0;
}

int rows_reserve(const PGresult *result, int row, int32_t *ord, enum ledger_status *status,
                 struct grant *grant)
{
    int32_t code;
    if (PQnfields(result) != 8 || rows_int32(result, row, 0, ord) ||
        rows_int32(result, row, 1, &code))
        return -EPROTO;
    *status = (enum ledger_status)code;
    if (*status != LEDGER_GRANTED)
        return 0;
    if (rows_int32(result, row, 2, &grant->quantity) ||
        rows_int64(result, row, 3, &grant->unit_price) ||
        currency(result, row, 4, grant->currency) ||
        rows_int64(result, row, 5, &grant->granted_at) ||
        rows_int64(result, row, 6, &grant->expires_at) ||
        rows_int16(result, row, 7, &grant->render))
        return -EPROTO;
    return 0;
}

enum ledger_status rows_reservation(const PGresult *result, struct ledger_request *r)
{
    struct grant *g = &r->grant;
    if (PQntuples(result) == 0)
        return LEDGER_NOT_FOUND;
    if (PQnfields(result) != 8 || rows_int32(result, 0, 0, &g->sale) ||
        rows_int32(result, 0, 1, &g->quantity) || rows_int64(result, 0, 2, &g->unit_price) ||
        currency(result, 0, 3, g->currency) || state_word(result, 0, 4, r->state) ||
        rows_int64(result, 0, 5, &g->granted_at) || rows_int64(result, 0, 6, &g->expires_at) ||
        rows_int16(result, 0, 7, &g->render))
        return LEDGER_FAILED;
    return LEDGER_FOUND;
}

enum ledger_status rows_cancel(const PGresult *result)
{
    int32_t code;
    if (PQntuples(result) != 1 || rows_int32(result, 0, 0, &code))
        return LEDGER_FAILED;
    switch (code) {
    case 204: return LEDGER_CANCELLED;
    case 404: return LEDGER_NOT_FOUND;
    case 409: return LEDGER_WRONG_STATE;
    default: return LEDGER_FAILED;
    }
}
