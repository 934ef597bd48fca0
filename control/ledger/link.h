/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * One PostgreSQL connection of one thread, non-blocking, one prepared autocommit statement at a
 * time. No pipeline mode (a statement sent without Sync would hold the sale's lock with no
 * server-side time-out) and never a PQcancel (a cancelled wait for a synchronous standby is
 * reported as success). A lost connection is replaced by the connector thread; what was in flight
 * is then unknown, and the owner decides what to send again. A connection to a primary that has
 * been superseded counts as lost. */
#ifndef DROPGATE_CONTROL_LEDGER_LINK_H
#define DROPGATE_CONTROL_LEDGER_LINK_H

#include <libpq-fe.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "control/mailbox.h"

struct connector;

enum link_state {
    LINK_DOWN, /* the connector has been asked */
    LINK_IDLE,
    LINK_BUSY, /* a statement is in flight */
};

/** Prepared on every connection, under these numbers. */
enum link_statement {
    LINK_RESERVE,
    LINK_READ,
    LINK_CANCEL,
    LINK_CATALOG,
    LINK_RELAY,
    LINK_FORGET,
    LINK_EVENTS,
    LINK_EVENTS_LAST,
    /* sql/functions/050_payment.sql */
    LINK_PAY_BEGIN,
    LINK_PAY_AUTHORISED,
    LINK_PAY_DECLINED,
    LINK_PAY_VOIDED,
    LINK_PAY_UNKNOWN,
    LINK_PAY_CAPTURED,
    LINK_PAY_REFUNDED,
    LINK_PAY_ACTION,
    LINK_PAY_CHECKED,
    LINK_PAY_DUE,
    LINK_PAY_WEBHOOK,
    LINK_PAY_PRUNE,
    LINK_PAY_BACKLOG,
    LINK_STATEMENTS
};

enum link_event {
    LINK_NOTHING,
    LINK_UP,       /* a new connection: LINK_IDLE */
    LINK_ANSWERED, /* committed, `result` holds the rows: LINK_IDLE */
    LINK_REFUSED,  /* an error, nothing was committed, `result` holds it: LINK_IDLE */
    LINK_DOUBTFUL, /* committed here, but perhaps not as durably as configured: send the same again.
                      LINK_IDLE */
    LINK_LOST,     /* whether it was committed is unknown: LINK_DOWN */
};

struct link {
    PGconn *conn; // owner: rw
    enum link_state state;
    PGresult *result;  /* after LINK_ANSWERED or LINK_REFUSED; until the next send */
    bool unreplicated; /* the wait for a synchronous standby was cut short during this statement */
    bool listens;      /* LISTEN dropgate_catalog on every new connection */
    struct connector *connector;
    struct mailbox *owner;     /* woken when a connection is handed over */
    uint32_t timeline;         /* of the primary that `conn` leads to */
    _Atomic(PGconn *) offered; // connector: w, owner: takes
    uint32_t offered_timeline; // connector: w, before `offered`
    struct link *next;         // connector's list of those that ask, under its lock
    struct link *known;        // connector's list of all links, under its lock
};

enum { LINK_PARAMETERS = 6 };

/** A binary parameter; NULL bytes are a NULL. */
struct link_parameter {
    const char *bytes;
    int length;
};

/** Prepares a link and asks the connector for its first connection. Owner thread, or before it
 * starts. */
void link_open(struct link *link, struct connector *connector, struct mailbox *owner, bool listens);

/** Closes whatever it has. Only after the connector has stopped. */
void link_close(struct link *link);

/** Sends one statement; link must be LINK_IDLE, and is LINK_BUSY afterwards whatever happens (a
 * failure shows as LINK_LOST from link_advance). Parameters may be reused at once. */
void link_send(struct link *link, enum link_statement statement, int count,
               const struct link_parameter *parameters);

/** The descriptor to poll, or -1 when down; `*events` is what for. */
int link_poll(const struct link *link, short *events);

/** Does what can be done without waiting. Call after each poll, also when nothing was readable:
 * that is how a handed-over connection is found. */
enum link_event link_advance(struct link *link);

/** Gives up an idle connection (it went read-only, say) and asks for another. */
void link_drop(struct link *link);

/** SQLSTATE after LINK_REFUSED, or "" if there is none. */
const char *link_sqlstate(const struct link *link);

/** The server's message after LINK_REFUSED: one line for the log. */
const char *link_message(const struct link *link);

#endif
