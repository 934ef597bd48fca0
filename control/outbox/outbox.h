/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The outbox thread: it publishes what the ledger has put out (if this instance is the relay, see
 * relay.h) and reads it for other systems (reader.h). Two connections, so that neither waits for
 * the other. What was published lives in PostgreSQL; nothing is kept here. */
#ifndef DROPGATE_CONTROL_OUTBOX_OUTBOX_H
#define DROPGATE_CONTROL_OUTBOX_OUTBOX_H

#include "control/ledger/connector.h"
#include "control/ledger/request.h"

enum { OUTBOX_READERS_MAX = 256 }; /* requests for events that may be in work at once */

struct outbox;

/** Starts the thread; the connector must outlive it. NULL if memory, threads or descriptors are
 * short. */
struct outbox *outbox_start(struct connector *connector);

/** Hands over a LEDGER_EVENTS request. 0, or -ENOBUFS: too many. Any thread. */
int outbox_offer(struct outbox *outbox, struct ledger_request *request);

/** Lets nobody wait for news any more. Before the server drains. */
void outbox_hurry(struct outbox *outbox);

/** Ends the thread. Statements in flight are not waited for: the server completes them, and both
 * kinds may be repeated. */
void outbox_stop(struct outbox *outbox);

/** Frees everything, connections too. After connector_stop. */
void outbox_free(struct outbox *outbox);

#endif
