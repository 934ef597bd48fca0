/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The thread that makes PostgreSQL connections, and knows which server is the primary. It keeps one
 * idle connection to every address of the connection string's hosts and asks each once a second who
 * it is; a link gets its connection from the primary of the highest timeline that was ever seen. A
 * higher one than a link's own makes that link LINK_LOST. The thread tries for ever, with growing
 * pauses, and says in the log why it waits. */
#ifndef DROPGATE_CONTROL_LEDGER_CONNECTOR_H
#define DROPGATE_CONTROL_LEDGER_CONNECTOR_H

#include "control/ledger/link.h"
#include "control/settings.h"

struct connector;

/** Starts the thread; `settings` must outlive it. NULL, with the reason logged, if memory, threads
 * or descriptors are short, or the timeline file cannot be used. */
struct connector *connector_start(const struct database_settings *settings);

/** Makes a link known, so that its owner is woken when a higher timeline is seen. Once per link, by
 * link_open. Any thread. */
void connector_adopt(struct connector *connector, struct link *link);

/** Asks for a connection; it comes through link->offered and a wake of its owner. Any thread. */
void connector_ask(struct connector *connector, struct link *link);

/** The highest timeline seen so far: a connection to a lower one must not be used any more. Any
 * thread. */
uint32_t connector_timeline(const struct connector *connector);

/** Ends the thread, at once: it never blocks. */
void connector_stop(struct connector *connector);

#endif
