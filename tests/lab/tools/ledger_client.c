/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Four binary arrays out, arrays back (or, from another function, a table of eight columns). */
#include "tests/lab/tools/ledger_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/ledger/rows.h"
#include "control/ledger/wire.h"

enum {
    OID_UUID = 2950,
    OID_TEXT = 25,
    OID_INT4 = 23,
    OID_UUID_ARRAY = 2951,
    OID_TEXT_ARRAY = 1009,
    OID_INT4_ARRAY = 1007
};
enum { COLUMNS = 8, PARAMETERS = 5, ARRAY_HEAD = 20 };

struct ledger_client {
    PGconn *connection;
    char *buffer;
    struct reserve_answer *answers;
    size_t room; /* elements that the buffers hold */
    bool table;  /* the answer is rows */
};

static const Oid types[PARAMETERS] = {OID_INT4, OID_UUID_ARRAY, OID_TEXT_ARRAY, OID_UUID_ARRAY,
                                      OID_INT4_ARRAY};

static struct ledger_client *open_statement(const char *dsn, const char *statement, bool table)
{
    struct ledger_client *client = calloc(1, sizeof *client);
    if (!client)
        return NULL;
    client->table = table;
    client->connection = PQconnectdb(dsn);
    PGresult *prepared = PQprepare(client->connection, "reserve", statement, PARAMETERS, types);
    int ok = PQresultStatus(prepared) == PGRES_COMMAND_OK;
    PQclear(prepared);
    if (ok)
        return client;
    fprintf(stderr, "ledger: %s", PQerrorMessage(client->connection));
    ledger_client_close(client);
    return NULL;
}

struct ledger_client *ledger_client_open(const char *dsn)
{
    return open_statement(dsn, "select * from dropgate.reserve_arrays($1, $2, $3, $4, $5)", false);
}

struct ledger_client *ledger_client_open_function(const char *dsn, const char *function)
{
    char statement[128];
    snprintf(statement, sizeof statement, "select * from %s($1, $2, $3, $4, $5)", function);
    return open_statement(dsn, statement, true);
}

void ledger_client_close(struct ledger_client *client)
{
    if (!client)
        return;
    PQfinish(client->connection);
    free(client->buffer);
    free(client->answers);
    free(client);
}

PGconn *ledger_client_connection(struct ledger_client *client)
{
    return client->connection;
}

/** Dimensions (1, or 0 when empty), no NULLs, the element type, the length, the lower bound. */
static char *put_head(char *at, uint32_t type, size_t count)
{
    at = wire_put32(at, count > 0);
    at = wire_put32(at, 0);
    at = wire_put32(at, type);
    if (count == 0)
        return at;
    at = wire_put32(at, (uint32_t)count);
    return wire_put32(at, 1);
}

static char *put_element(char *at, const void *bytes, size_t length)
{
    return wire_put(wire_put32(at, (uint32_t)length), bytes, length);
}

/** Writes all arrays; `ends[i]` is the end of the i-th. */
static void encode(char *at, const struct ledger_want *wants, size_t count, char *ends[4])
{
    at = put_head(at, OID_UUID, count);
    for (size_t i = 0; i < count; i++)
        at = put_element(at, wants[i].id, sizeof wants[i].id);
    ends[0] = at;
    at = put_head(at, OID_TEXT, count);
    for (size_t i = 0; i < count; i++)
        at = put_element(at, wants[i].user, strlen(wants[i].user));
    ends[1] = at;
    at = put_head(at, OID_UUID, count);
    for (size_t i = 0; i < count; i++)
        at = put_element(at, wants[i].fingerprint, sizeof wants[i].fingerprint);
    ends[2] = at;
    at = put_head(at, OID_INT4, count);
    for (size_t i = 0; i < count; i++)
        at = wire_put32(wire_put32(at, 4), (uint32_t)wants[i].quantity);
    ends[3] = at;
}

static int decode_table(const PGresult *result, size_t count, struct ledger_reply *replies)
{
    if ((size_t)PQntuples(result) != count || PQnfields(result) != COLUMNS)
        return -EPROTO;
    memset(replies, 0, count * sizeof *replies);
    for (int row = 0; row < (int)count; row++) {
        struct ledger_reply *r = &replies[row];
        if (wire_int32(PQgetvalue(result, row, 0)) != row + 1)
            return -EPROTO;
        r->status = wire_int32(PQgetvalue(result, row, 1));
        if (PQgetisnull(result, row, 2))
            continue;
        r->quantity = wire_int32(PQgetvalue(result, row, 2));
        r->unit_price = wire_int64(PQgetvalue(result, row, 3));
        memcpy(r->currency, PQgetvalue(result, row, 4), 3);
        r->granted_at = wire_int64(PQgetvalue(result, row, 5));
        r->expires_at = wire_int64(PQgetvalue(result, row, 6));
        r->render = wire_int16(PQgetvalue(result, row, 7));
    }
    return 0;
}

static int decode_arrays(const PGresult *result, const struct ledger_want *wants, size_t count,
                         struct reserve_answer *answers, struct ledger_reply *replies)
{
    if (rows_reserve(result, count, answers))
        return -EPROTO;
    memset(replies, 0, count * sizeof *replies);
    for (size_t i = 0; i < count; i++) {
        struct ledger_reply *r = &replies[i];
        const struct grant *g = &answers[i].grant;
        r->status = (int32_t)answers[i].status;
        if (answers[i].status != LEDGER_GRANTED)
            continue;
        r->quantity = g->quantity ? g->quantity : wants[i].quantity;
        r->unit_price = g->unit_price;
        memcpy(r->currency, g->currency, 3);
        r->granted_at = g->granted_at;
        r->expires_at = g->expires_at;
        r->render = g->render;
    }
    return 0;
}

static int make_room(struct ledger_client *client, size_t count)
{
    size_t each = sizeof(struct ledger_want) + 4 * sizeof(uint32_t);
    if (count <= client->room && client->buffer)
        return 0;
    char *buffer = realloc(client->buffer, (size_t)4 * ARRAY_HEAD + count * each);
    if (!buffer)
        return -ENOMEM;
    client->buffer = buffer;
    struct reserve_answer *answers = realloc(client->answers, (count + 1) * sizeof *answers);
    if (!answers)
        return -ENOMEM;
    client->answers = answers;
    client->room = count;
    return 0;
}

int ledger_client_reserve(struct ledger_client *client, int32_t sale,
                          const struct ledger_want *wants, size_t count,
                          struct ledger_reply *replies)
{
    int error = make_room(client, count);
    if (error)
        return error;
    char *ends[4], sale_bytes[4];
    encode(client->buffer, wants, count, ends);
    wire_put32(sale_bytes, (uint32_t)sale);
    const char *values[PARAMETERS] = {sale_bytes, client->buffer, ends[0], ends[1], ends[2]};
    int lengths[PARAMETERS] = {sizeof sale_bytes, (int)(ends[0] - client->buffer),
                               (int)(ends[1] - ends[0]), (int)(ends[2] - ends[1]),
                               (int)(ends[3] - ends[2])};
    const int formats[PARAMETERS] = {1, 1, 1, 1, 1};
    PGresult *result =
        PQexecPrepared(client->connection, "reserve", PARAMETERS, values, lengths, formats, 1);
    if (PQresultStatus(result) == PGRES_TUPLES_OK)
        error = client->table ? decode_table(result, count, replies)
                              : decode_arrays(result, wants, count, client->answers, replies);
    else
        error = PQstatus(client->connection) == CONNECTION_BAD ? -ENOTCONN : -EPROTO;
    if (error == -EPROTO)
        fprintf(stderr, "ledger: %s", PQresultErrorMessage(result));
    PQclear(result);
    return error;
}
