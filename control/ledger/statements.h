/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * All that links ask of PostgreSQL: one table, prepared as a whole in every session that the
 * connector opens for a link. Nothing else is ever sent by a link. Any thread. */
#ifndef DROPGATE_CONTROL_LEDGER_STATEMENTS_H
#define DROPGATE_CONTROL_LEDGER_STATEMENTS_H

#include "control/ledger/link.h"
#include "control/ledger/session.h"

extern const struct session_statement STATEMENTS[LINK_STATEMENTS];

#endif
