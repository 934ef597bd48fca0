/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The threads that turn waiting reservations into batches and batches into answers. Each has one
 * PostgreSQL connection and the lanes of the sales that hash to it; while one commit is in flight
 * the next batch collects, and what is there is sent next: no timer. One spare thread serves sales
 * whose lock another session holds, so that they do not hold up the others. */
#ifndef DROPGATE_CONTROL_LEDGER_LEDGER_H
#define DROPGATE_CONTROL_LEDGER_LEDGER_H

#include "control/ledger/connector.h"
#include "control/ledger/lane.h"
#include "control/settings.h"

struct ledger;

/** Starts the threads; both arguments must outlive them. NULL if memory, threads or descriptors are
 * short. */
struct ledger *ledger_start(const struct control_settings *settings, struct connector *connector);

/** The lane of a sale, made if there is none; NULL if memory is short. Housekeeping thread only. */
struct lane *ledger_lane(struct ledger *ledger, int32_t sale);

/** Hands a reservation to a sale's lane. 0, or -ENOBUFS: full. Any thread. */
int ledger_offer(struct ledger *ledger, struct lane *lane, struct ledger_request *request);

/** Ends the threads. A batch in flight is waited for, one second at most; what has not been sent
 * stays unsent. */
void ledger_stop(struct ledger *ledger);

/** Frees everything, connections too. After connector_stop; requests belong to their network
 * threads. */
void ledger_free(struct ledger *ledger);

#endif
