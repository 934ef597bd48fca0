/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * One connection to one target on its way to being useful: connected, asked who it is, and, for
 * a link, given its settings and prepared statements. Never waits: the caller polls, and every step
 * has a deadline, since a server that was stopped still acknowledges at TCP level. Connector's
 * thread. */
#ifndef DROPGATE_CONTROL_LEDGER_SESSION_H
#define DROPGATE_CONTROL_LEDGER_SESSION_H

#include <libpq-fe.h>

#include "control/ledger/election.h"
#include "control/ledger/hosts.h"
#include "control/settings.h"

enum session_step {
    SESSION_NONE, /* no connection */
    SESSION_CONNECTING,
    SESSION_LOOKING, /* has been asked who it is */
    SESSION_SETTING, /* its settings have been sent */
    SESSION_PREPARING,
    SESSION_READY,
    SESSION_FAILED, /* `why` says why */
};

/** One statement that is prepared in every session of a link. */
struct session_statement {
    const char *name, *sql;
};

struct session_plan {
    const char *dsn;
    const char *application; /* shown in pg_stat_activity */
    const char *set;         /* SQL after the look, or NULL: a session that only looks */
    const struct session_statement *statements;
    size_t count;
    int64_t timeout; /* ms for all steps together, and for each later look */
};

struct session {
    PGconn *conn;
    enum session_step step;
    const struct session_plan *plan;
    size_t prepared;
    int64_t begun;    /* when the connecting or the look began, ns */
    int64_t deadline; /* ns */
    PostgresPollingStatusType wants;
    struct identity is; /* once the look is answered */
    char why[256];
};

/** Begins to connect; whatever the session had is closed. Does not block, unless the kernel blocks
 * in connect to a local socket. */
void session_begin(struct session *session, const struct target *target,
                   const struct session_plan *plan, int64_t now);

/** Asks a SESSION_READY one again who it is. */
void session_look(struct session *session, int64_t now);

/** The descriptor to poll and what for; -1 when there is nothing to wait for. */
int session_poll(const struct session *session, short *events);

/** Does what can be done without waiting, and fails what is beyond its deadline. */
void session_advance(struct session *session, int64_t now);

/** Whether it is between two resting states (NONE, READY, FAILED). */
bool session_busy(const struct session *session);

/** Takes a ready connection out. */
PGconn *session_take(struct session *session);

/** Closes whatever it has: SESSION_NONE. */
void session_end(struct session *session);

#endif
