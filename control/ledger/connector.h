/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The thread that makes PostgreSQL connections. libpq's connect may block (names, TCP,
 * authentication), so no other thread ever does it. It checks that the server is a primary and has
 * our functions, prepares the statements, and hands the connection over. It tries for ever, with
 * growing pauses, and says in the log why it waits. */
#ifndef DROPGATE_CONTROL_LEDGER_CONNECTOR_H
#define DROPGATE_CONTROL_LEDGER_CONNECTOR_H

#include "control/ledger/link.h"
#include "control/settings.h"

struct connector;

/** Starts the thread; `settings` must outlive it. NULL if memory or threads are short. */
struct connector *connector_start(const struct database_settings *settings);

/** Asks for a connection; it comes through link->offered and a wake of its owner. Any thread. */
void connector_ask(struct connector *connector, struct link *link);

/** Ends the thread; waits at most for one connect attempt (connect_timeout). */
void connector_stop(struct connector *connector);

/** The name under which a statement is prepared. */
const char *connector_statement_name(enum link_statement statement);

#endif
