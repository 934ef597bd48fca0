/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The housekeeping thread: reads the catalogue into memory (when PostgreSQL notifies of an edit or
 * a change of a sale's state, and regularly, for the stock band), and has due holds released where
 * some are out and no batch comes by. When PostgreSQL is away, the last catalogue stays. */
#ifndef DROPGATE_CONTROL_CATALOG_REFRESH_H
#define DROPGATE_CONTROL_CATALOG_REFRESH_H

#include "control/catalog/catalog.h"
#include "control/ledger/connector.h"
#include "control/ledger/ledger.h"
#include "control/settings.h"

struct refresh;

/** Starts the thread; all arguments must outlive it. NULL if memory, threads or descriptors are
 * short. */
struct refresh *refresh_start(const struct catalog_settings *settings, struct connector *connector,
                              struct ledger *ledger, struct catalog *catalog);

/** Ends the thread. Call before ledger_stop. */
void refresh_stop(struct refresh *refresh);

/** Frees it, with its connection. After connector_stop. */
void refresh_free(struct refresh *refresh);

#endif
