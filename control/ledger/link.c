/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The rows of an autocommit statement arrive before its transaction has committed: Execute is
 * answered before Sync. So a result counts only once libpq has seen ReadyForQuery, that is, once
 * PQgetResult has returned NULL. */
#include "control/ledger/link.h"

#include <assert.h>
#include <poll.h>
#include <string.h>

#include "common/log.h"
#include "control/ledger/connector.h"
#include "control/ledger/statements.h"

static void clear_result(struct link *link)
{
    PQclear(link->result);
    link->result = NULL;
    link->unreplicated = false;
}

/* A warning that says that the wait for a synchronous standby was cut short puts the commit in
 * doubt. It has no SQLSTATE of its own, and its text is translated, but the place in the server
 * that it comes from is named. Any other warning (of a vacuum that is due, of a trigger) is only
 * logged: a batch that was sent again because of it would be warned of again, and never be
 * answered. */
static void on_notice(void *context, const PGresult *notice)
{
    struct link *link = context;
    const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (!severity || strcmp(severity, "WARNING") != 0)
        return;
    const char *message = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);
    const char *source = PQresultErrorField(notice, PG_DIAG_SOURCE_FILE);
    if (source && !strcmp(source, "syncrep.c"))
        link->unreplicated = true;
    log_warn("database_warning", "%s", message ? message : "no message");
}

void link_open(struct link *link, struct connector *connector, struct mailbox *owner, bool listens)
{
    memset(link, 0, sizeof *link);
    link->connector = connector;
    link->owner = owner;
    link->listens = listens;
    connector_adopt(connector, link);
    connector_ask(connector, link);
}

void link_close(struct link *link)
{
    clear_result(link);
    PQfinish(link->conn);
    PQfinish(atomic_exchange(&link->offered, NULL));
    link->conn = NULL;
    link->state = LINK_DOWN;
}

static enum link_event lost(struct link *link)
{
    PQfinish(link->conn);
    link->conn = NULL;
    link->state = LINK_DOWN;
    connector_ask(link->connector, link);
    return LINK_LOST;
}

void link_drop(struct link *link)
{
    clear_result(link);
    lost(link);
}

void link_send(struct link *link, enum link_statement statement, int count,
               const struct link_parameter *parameters)
{
    assert(link->state == LINK_IDLE && count <= LINK_PARAMETERS);
    static const int binary[LINK_PARAMETERS] = {1, 1, 1, 1, 1, 1};
    const char *values[LINK_PARAMETERS];
    int lengths[LINK_PARAMETERS];
    for (int i = 0; i < count; i++) {
        values[i] = parameters[i].bytes;
        lengths[i] = parameters[i].length;
    }
    clear_result(link);
    link->state = LINK_BUSY;
    if (PQsendQueryPrepared(link->conn, STATEMENTS[statement].name, count, values, lengths, binary,
                            1))
        PQflush(link->conn); /* what does not fit goes out from link_advance; an error shows there
                                as well */
}

int link_poll(const struct link *link, short *events)
{
    if (link->state == LINK_DOWN)
        return -1;
    *events = POLLIN;
    if (link->state == LINK_BUSY && PQflush(link->conn) > 0)
        *events |= POLLOUT;
    return PQsocket(link->conn);
}

/* Whether the server is about to close the connection: shut down, crashed, or not accepting. */
static bool is_terminal(const PGresult *result)
{
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    return !severity || strcmp(severity, "ERROR") != 0;
}

/* ReadyForQuery has been seen. */
static enum link_event complete(struct link *link)
{
    if (PQstatus(link->conn) != CONNECTION_OK || !link->result)
        return lost(link);
    if (PQresultStatus(link->result) != PGRES_TUPLES_OK) {
        if (is_terminal(link->result))
            return lost(link);
        link->state = LINK_IDLE;
        return LINK_REFUSED;
    }
    link->state = LINK_IDLE;
    return link->unreplicated ? LINK_DOUBTFUL : LINK_ANSWERED;
}

static enum link_event take_offer(struct link *link)
{
    PGconn *conn = atomic_exchange(&link->offered, NULL);
    if (!conn)
        return LINK_NOTHING;
    link->conn = conn;
    link->timeline = link->offered_timeline;
    link->state = LINK_IDLE;
    clear_result(link);
    PQsetNoticeReceiver(conn, on_notice, link);
    return LINK_UP;
}

enum link_event link_advance(struct link *link)
{
    if (link->state == LINK_DOWN)
        return take_offer(link);
    if (link->timeline < connector_timeline(link->connector))
        return lost(link); /* another primary has taken over: even an answer that is here already
                              may be the old one's */
    if (!PQconsumeInput(link->conn) || PQflush(link->conn) < 0)
        return lost(link);
    if (link->state == LINK_IDLE)
        return PQstatus(link->conn) == CONNECTION_OK ? LINK_NOTHING : lost(link);
    while (!PQisBusy(link->conn)) {
        PGresult *result = PQgetResult(link->conn);
        if (!result)
            return complete(link);
        /* An error after the rows is the commit's: it is the one that counts. */
        PQclear(link->result);
        link->result = result;
    }
    return LINK_NOTHING;
}

const char *link_sqlstate(const struct link *link)
{
    const char *state = PQresultErrorField(link->result, PG_DIAG_SQLSTATE);
    return state ? state : "";
}

const char *link_message(const struct link *link)
{
    const char *message = PQresultErrorField(link->result, PG_DIAG_MESSAGE_PRIMARY);
    return message ? message : "no message";
}
