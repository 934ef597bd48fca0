/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The settings made here are the only place where a session's behaviour is decided, so that no
 * statement ever runs without its lock_timeout. */
#include "control/ledger/session.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/clock.h"

/* The timeline of a primary is read from its insert position: the last checkpoint may be older than
 * the promotion. A standby cannot be asked that; it knows of timelines from its checkpoint, from
 * how far it has to recover, and (if it may see it) from what it receives. */
static const char LOOK[] =
    "SELECT (SELECT system_identifier FROM pg_control_system()), pg_is_in_recovery(),"
    " current_setting('transaction_read_only')::boolean,"
    " (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint,"
    " CASE WHEN pg_is_in_recovery() THEN greatest("
    "  (SELECT timeline_id FROM pg_control_checkpoint()),"
    "  (SELECT min_recovery_end_timeline FROM pg_control_recovery()),"
    "  (SELECT received_tli FROM pg_stat_wal_receiver))::bigint"
    " ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::bigint "
    "END";

enum look_column { LOOK_SYSTEM, LOOK_RECOVERY, LOOK_READ_ONLY, LOOK_STARTED, LOOK_TIMELINE, LOOKS };

static void fail(struct session *s, const char *what, const char *reason)
{
    size_t length = strcspn(reason ? reason : "", "\n");
    snprintf(s->why, sizeof s->why, "%s%s%.*s", what, length ? ": " : "", (int)length,
             reason ? reason : "");
    PQfinish(s->conn);
    s->conn = NULL;
    s->step = SESSION_FAILED;
}

void session_end(struct session *s)
{
    PQfinish(s->conn);
    s->conn = NULL;
    s->step = SESSION_NONE;
}

/* What the connection string says wins over the defaults, which stand in front of it; where to
 * connect does not, and stands behind. A peer that vanishes without a word is noticed within ten
 * seconds, by keepalives when idle and by tcp_user_timeout when data is unacknowledged. */
void session_begin(struct session *s, const struct target *target, const struct session_plan *plan,
                   int64_t now)
{
    const char *keys[] = {"keepalives_idle",
                          "keepalives_interval",
                          "keepalives_count",
                          "tcp_user_timeout",
                          "application_name",
                          "client_encoding",
                          "dbname",
                          "host",
                          "hostaddr",
                          "port",
                          "target_session_attrs",
                          NULL};
    const char *values[] = {"5",    "2",       "2",          "10000",         plan->application,
                            "UTF8", plan->dsn, target->host, target->address, target->port,
                            "any",  NULL};
    session_end(s);
    s->plan = plan;
    s->prepared = 0;
    s->begun = now;
    s->deadline = now + plan->timeout * NANOSECONDS_PER_MS;
    s->wants = PGRES_POLLING_WRITING;
    s->step = SESSION_CONNECTING;
    s->conn = PQconnectStartParams(keys, values, 1); /* a dsn in dbname is expanded */
    if (PQstatus(s->conn) == CONNECTION_BAD)
        fail(s, "cannot connect", PQerrorMessage(s->conn));
}

bool session_busy(const struct session *s)
{
    return s->step == SESSION_CONNECTING || s->step == SESSION_LOOKING ||
           s->step == SESSION_SETTING || s->step == SESSION_PREPARING;
}

PGconn *session_take(struct session *s)
{
    PGconn *conn = s->conn;
    s->conn = NULL;
    s->step = SESSION_NONE;
    return conn;
}

int session_poll(const struct session *s, short *events)
{
    if (!s->conn)
        return -1;
    *events = POLLIN;
    if (s->step == SESSION_CONNECTING)
        *events = s->wants == PGRES_POLLING_WRITING ? POLLOUT : POLLIN;
    else if (session_busy(s) && PQflush(s->conn) > 0)
        *events |= POLLOUT;
    return PQsocket(s->conn);
}

/* ---- the steps ---- */

static void send_query(struct session *s, const char *sql, enum session_step step)
{
    s->step = step;
    if (!PQsendQuery(s->conn, sql))
        fail(s, "cannot send", PQerrorMessage(s->conn));
}

void session_look(struct session *s, int64_t now)
{
    s->begun = now;
    s->deadline = now + s->plan->timeout * NANOSECONDS_PER_MS;
    send_query(s, LOOK, SESSION_LOOKING);
}

static void prepare_next(struct session *s)
{
    if (s->prepared == s->plan->count) {
        s->step = SESSION_READY;
        return;
    }
    const struct session_statement *statement = &s->plan->statements[s->prepared];
    s->step = SESSION_PREPARING;
    if (!PQsendPrepare(s->conn, statement->name, statement->sql, 0, NULL))
        fail(s, "cannot send", PQerrorMessage(s->conn));
}

static bool is_true(const PGresult *result, int column)
{
    return *PQgetvalue(result, 0, column) == 't';
}

static void take_look(struct session *s, const PGresult *result)
{
    if (PQntuples(result) != 1 || PQnfields(result) != LOOKS) {
        fail(s, "the server's account of itself is misshapen", NULL);
        return;
    }
    s->is = (struct identity){
        .system = (uint64_t)strtoll(PQgetvalue(result, 0, LOOK_SYSTEM), NULL, 10),
        .timeline = (uint32_t)strtoll(PQgetvalue(result, 0, LOOK_TIMELINE), NULL, 10),
        .started = strtoll(PQgetvalue(result, 0, LOOK_STARTED), NULL, 10),
        .primary = !is_true(result, LOOK_RECOVERY),
        .writable = !is_true(result, LOOK_RECOVERY) && !is_true(result, LOOK_READ_ONLY),
    };
}

static const char *what_failed(const struct session *s)
{
    switch (s->step) {
    case SESSION_SETTING: return "cannot prepare the session";
    case SESSION_PREPARING:
        return "cannot prepare the statements (has scripts/migrate been run, and may this role "
               "EXECUTE?)";
    default: return "cannot be asked who it is";
    }
}

/* One result; the settings have several, of which each must be good. */
static void take_result(struct session *s, const PGresult *result)
{
    ExecStatusType wanted = s->step == SESSION_LOOKING ? PGRES_TUPLES_OK : PGRES_COMMAND_OK;
    if (PQresultStatus(result) != wanted)
        fail(s, what_failed(s), PQresultErrorMessage(result));
    else if (s->step == SESSION_LOOKING)
        take_look(s, result);
}

/* All results of one step have been taken. */
static void finish_step(struct session *s)
{
    if (PQstatus(s->conn) != CONNECTION_OK)
        fail(s, "the connection was lost", PQerrorMessage(s->conn));
    else if (s->step == SESSION_SETTING)
        prepare_next(s);
    else if (s->step == SESSION_PREPARING && ++s->prepared)
        prepare_next(s);
    else if (!s->plan->set)
        s->step = SESSION_READY;
    else if (s->is.writable)
        send_query(s, s->plan->set, SESSION_SETTING);
    else
        fail(s, "the server is not a primary (pg_is_in_recovery), or its sessions are read-only",
             NULL);
}

static void read_results(struct session *s)
{
    while (s->step != SESSION_FAILED && !PQisBusy(s->conn)) {
        PGresult *result = PQgetResult(s->conn);
        if (!result) {
            finish_step(s);
            return;
        }
        take_result(s, result);
        PQclear(result);
    }
}

static void connect_on(struct session *s)
{
    struct pollfd ready = {PQsocket(s->conn), s->wants == PGRES_POLLING_WRITING ? POLLOUT : POLLIN,
                           0};
    if (poll(&ready, 1, 0) != 1)
        return;
    s->wants = PQconnectPoll(s->conn);
    if (s->wants == PGRES_POLLING_FAILED)
        fail(s, "cannot connect", PQerrorMessage(s->conn));
    else if (s->wants == PGRES_POLLING_OK && PQsetnonblocking(s->conn, 1))
        fail(s, "cannot make the connection non-blocking", NULL);
    else if (s->wants == PGRES_POLLING_OK)
        send_query(s, LOOK, SESSION_LOOKING);
}

void session_advance(struct session *s, int64_t now)
{
    if (s->step == SESSION_CONNECTING)
        connect_on(s);
    if (session_busy(s) && s->step != SESSION_CONNECTING) {
        if (!PQconsumeInput(s->conn) || PQflush(s->conn) < 0)
            fail(s, "the connection was lost", PQerrorMessage(s->conn));
        else
            read_results(s);
    } else if (s->step == SESSION_READY && !PQconsumeInput(s->conn)) {
        fail(s, "the connection was lost", PQerrorMessage(s->conn));
    }
    if (session_busy(s) && now >= s->deadline)
        fail(s,
             s->step == SESSION_CONNECTING ? "cannot connect: no answer in time"
                                           : "does not answer",
             NULL);
}
