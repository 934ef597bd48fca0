/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Rows in order of arrival, and an open-addressed index over their ids to find twins. Ids are 128
 * bits of SHA-256, so their first bytes are a hash already. */
#include "control/ledger/batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "control/ledger/wire.h"

enum { OID_INT4 = 23, OID_TEXT = 25, OID_UUID = 2950 };
enum { ARRAY_HEAD = 20 }; /* dimensions, flags, element type, length, lower bound */
enum { EMPTY = 0xffff };

struct batch {
    size_t max, rows, twins;
    size_t index_mask;
    uint16_t *index; /* row, or EMPTY */
    char *columns[BATCH_COLUMNS];
    struct ledger_request *row[];
};

static const size_t ELEMENT_MAX[BATCH_COLUMNS] = {16, LEDGER_USER_MAX, 16, 4};
static const uint32_t ELEMENT_TYPE[BATCH_COLUMNS] = {OID_UUID, OID_TEXT, OID_UUID, OID_INT4};

struct batch *batch_new(size_t rows)
{
    assert(rows >= 1 && rows <= 1024);
    struct batch *b = calloc(1, sizeof *b + rows * sizeof(struct ledger_request *));
    if (!b)
        return NULL;
    b->max = rows;
    b->index_mask = 4;
    while (b->index_mask < rows * 2)
        b->index_mask *= 2;
    b->index = malloc(b->index_mask * sizeof *b->index);
    bool complete = b->index;
    for (int c = 0; c < BATCH_COLUMNS; c++) {
        b->columns[c] = malloc(ARRAY_HEAD + rows * (4 + ELEMENT_MAX[c]));
        complete = complete && b->columns[c];
    }
    if (!complete) {
        batch_free(b);
        return NULL;
    }
    b->index_mask--;
    batch_reset(b);
    return b;
}

void batch_free(struct batch *b)
{
    if (!b)
        return;
    for (int c = 0; c < BATCH_COLUMNS; c++)
        free(b->columns[c]);
    free(b->index);
    free(b);
}

void batch_reset(struct batch *b)
{
    b->rows = b->twins = 0;
    memset(b->index, 0xff, (b->index_mask + 1) * sizeof *b->index);
}

/* The place in the index where this id is, or where it would go. */
static uint16_t *place_of(struct batch *b, const uint8_t id[16])
{
    size_t hash;
    memcpy(&hash, id, sizeof hash);
    for (size_t i = hash & b->index_mask;; i = (i + 1) & b->index_mask)
        if (b->index[i] == EMPTY || !memcmp(b->row[b->index[i]]->id, id, 16))
            return &b->index[i];
}

enum batch_added batch_add(struct batch *b, struct ledger_request *request)
{
    uint16_t *place = place_of(b, request->id);
    if (*place == EMPTY) {
        if (b->rows == b->max)
            return BATCH_FULL;
        *place = (uint16_t)b->rows;
        request->twin = NULL;
        b->row[b->rows++] = request;
        return BATCH_ROW;
    }
    struct ledger_request *first = b->row[*place];
    if (memcmp(first->fingerprint, request->fingerprint, 16) != 0)
        return BATCH_CONFLICT;
    if (b->twins == b->max)
        return BATCH_FULL;
    b->twins++;
    request->twin = first->twin;
    first->twin = request;
    return BATCH_JOINED;
}

size_t batch_rows(const struct batch *b)
{
    return b->rows;
}

struct ledger_request *batch_row(const struct batch *b, size_t row)
{
    assert(row < b->rows);
    return b->row[row];
}

static char *put_array_head(char *at, uint32_t type, size_t rows)
{
    at = wire_put32(at, rows ? 1 : 0); /* an empty array has no dimension */
    at = wire_put32(at, 0);            /* no NULLs */
    at = wire_put32(at, type);
    if (!rows)
        return at;
    at = wire_put32(at, (uint32_t)rows);
    return wire_put32(at, 1);
}

static char *put_element(char *at, const void *bytes, size_t length)
{
    return wire_put(wire_put32(at, (uint32_t)length), bytes, length);
}

void batch_encode(struct batch *b, struct batch_column columns[BATCH_COLUMNS])
{
    char *at[BATCH_COLUMNS];
    for (int c = 0; c < BATCH_COLUMNS; c++)
        at[c] = put_array_head(b->columns[c], ELEMENT_TYPE[c], b->rows);
    for (size_t i = 0; i < b->rows; i++) {
        const struct ledger_request *r = b->row[i];
        char quantity[4];
        wire_put32(quantity, (uint32_t)r->quantity);
        at[0] = put_element(at[0], r->id, sizeof r->id);
        at[1] = put_element(at[1], r->user, r->user_length);
        at[2] = put_element(at[2], r->fingerprint, sizeof r->fingerprint);
        at[3] = put_element(at[3], quantity, sizeof quantity);
    }
    for (int c = 0; c < BATCH_COLUMNS; c++)
        columns[c] = (struct batch_column){b->columns[c], (int)(at[c] - b->columns[c])};
}
