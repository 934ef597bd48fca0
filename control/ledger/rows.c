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
static int put_currency(const char *at, int length, char out[4])
{
    if (length != 3)
        return -EPROTO;
    for (int i = 0; i < 3; i++)
        if (at[i] < 'A' || at[i] > 'Z')
            return -EPROTO;
    memcpy(out, at, 3);
    out[3] = '\0';
    return 0;
}

static int currency(const PGresult *result, int row, int column, char out[4])
{
    return put_currency(PQgetvalue(result, row, column), PQgetlength(result, row, column), out);
}

/* So is a state: a word of small letters. */
static int state_word(const PGresult *result, int row, int column, char out[LEDGER_STATE_MAX + 1])
{
    if (rows_text(result, row, column, out, LEDGER_STATE_MAX + 1) || !*out)
        return -EPROTO;
    return out[strspn(out, "abcdefghijklmnopqrstuvwxyz_")] ? -EPROTO : 0;
}

/* ---- the columns of reserve_arrays ---- */

enum { OID_INT8 = 20, OID_INT2 = 21, OID_INT4 = 23, OID_TEXT = 25, OID_TIMESTAMPTZ = 1184 };

enum column {
    STATUS,
    GRANTED_AT,
    EXPIRES_AT,
    UNIT_PRICE,
    CURRENCY,
    RENDER,
    REPEATED, /* from here on arrays with one element for each repetition */
    REPEATED_QUANTITY,
    REPEATED_GRANTED_AT,
    REPEATED_EXPIRES_AT,
    REPEATED_UNIT_PRICE,
    REPEATED_CURRENCY,
    REPEATED_RENDER,
    COLUMNS
};

/* An array that is being read: of one dimension, without NULLs. */
struct array {
    const char *at, *end;
    size_t left;
};

enum { EMPTY_HEAD = 12, HEAD = 20 }; /* dimensions, flags, type; length, lower bound */

static int open_array(const PGresult *result, int column, int32_t type, struct array *a)
{
    int length = PQgetlength(result, 0, column);
    const char *at = PQgetvalue(result, 0, column);
    *a = (struct array){0};
    if (PQgetisnull(result, 0, column))
        return 0;
    if (length < EMPTY_HEAD || wire_int32(at + 4) != 0 || wire_int32(at + 8) != type)
        return -EPROTO;
    if (wire_int32(at) == 0 && length == EMPTY_HEAD)
        return 0;
    if (wire_int32(at) != 1 || length < HEAD || wire_int32(at + 12) < 0)
        return -EPROTO;
    *a = (struct array){at + HEAD, at + length, (size_t)wire_int32(at + 12)};
    return 0;
}

/* The next element, `*length` bytes long; NULL if the array is at its end, or is cut off. */
static const char *next_element(struct array *a, int *length)
{
    if (!a->left || a->end - a->at < 4)
        return NULL;
    *length = wire_int32(a->at);
    const char *at = a->at + 4;
    if (*length < 0 || a->end - at < *length)
        return NULL;
    a->left--;
    a->at = at + *length;
    return at;
}

static const char *next_fixed(struct array *a, int width)
{
    int length = 0;
    const char *at = next_element(a, &length);
    return at && length == width ? at : NULL;
}

/* What all new grants of a batch share. */
static int read_common(const PGresult *result, struct grant *grant)
{
    if (rows_int64(result, 0, GRANTED_AT, &grant->granted_at) ||
        rows_int64(result, 0, EXPIRES_AT, &grant->expires_at) ||
        rows_int64(result, 0, UNIT_PRICE, &grant->unit_price) ||
        currency(result, 0, CURRENCY, grant->currency) ||
        rows_int16(result, 0, RENDER, &grant->render))
        return -EPROTO;
    return 0;
}

/* The next repetition: its number in the batch, from 1, and its grant. */
static int read_repetition(struct array arrays[COLUMNS], int32_t *ord, struct grant *grant)
{
    int length = 0;
    const char *number = next_fixed(&arrays[REPEATED], 4);
    const char *quantity = next_fixed(&arrays[REPEATED_QUANTITY], 4);
    const char *granted_at = next_fixed(&arrays[REPEATED_GRANTED_AT], 8);
    const char *expires_at = next_fixed(&arrays[REPEATED_EXPIRES_AT], 8);
    const char *unit_price = next_fixed(&arrays[REPEATED_UNIT_PRICE], 8);
    const char *code = next_element(&arrays[REPEATED_CURRENCY], &length);
    const char *render = next_fixed(&arrays[REPEATED_RENDER], 2);
    if (!number || !quantity || !granted_at || !expires_at || !unit_price || !code || !render)
        return -EPROTO;
    *ord = wire_int32(number);
    *grant = (struct grant){.quantity = wire_int32(quantity),
                            .granted_at = wire_int64(granted_at),
                            .expires_at = wire_int64(expires_at),
                            .unit_price = wire_int64(unit_price),
                            .render = wire_int16(render)};
    return grant->quantity > 0 ? put_currency(code, length, grant->currency) : -EPROTO;
}

static int read_repetitions(const PGresult *result, size_t count, struct reserve_answer *answers)
{
    static const int32_t types[COLUMNS] = {[REPEATED] = OID_INT4,
                                           [REPEATED_QUANTITY] = OID_INT4,
                                           [REPEATED_GRANTED_AT] = OID_TIMESTAMPTZ,
                                           [REPEATED_EXPIRES_AT] = OID_TIMESTAMPTZ,
                                           [REPEATED_UNIT_PRICE] = OID_INT8,
                                           [REPEATED_CURRENCY] = OID_TEXT,
                                           [REPEATED_RENDER] = OID_INT2};
    struct array arrays[COLUMNS];
    for (int c = REPEATED; c < COLUMNS; c++)
        if (open_array(result, c, types[c], &arrays[c]) || arrays[c].left != arrays[REPEATED].left)
            return -EPROTO;
    while (arrays[REPEATED].left) {
        int32_t ord;
        struct grant grant;
        if (read_repetition(arrays, &ord, &grant) || ord < 1 || (size_t)ord > count ||
            answers[ord - 1].status != LEDGER_GRANTED)
            return -EPROTO;
        answers[ord - 1].grant = grant;
    }
    return 0;
}

int rows_reserve(const PGresult *result, size_t count, struct reserve_answer *answers)
{
    struct grant common = {0};
    struct array status;
    if (PQntuples(result) != 1 || PQnfields(result) != COLUMNS ||
        open_array(result, STATUS, OID_INT4, &status) || status.left != count)
        return -EPROTO;
    bool has_common = read_common(result, &common) == 0;
    for (size_t i = 0; i < count; i++) {
        const char *at = next_fixed(&status, 4);
        if (!at)
            return -EPROTO;
        answers[i] = (struct reserve_answer){(enum ledger_status)wire_int32(at), common};
    }
    if (read_repetitions(result, count, answers))
        return -EPROTO;
    for (size_t i = 0; i < count && !has_common; i++)
        if (answers[i].status == LEDGER_GRANTED && answers[i].grant.quantity == 0)
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
