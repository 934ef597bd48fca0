/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Reads and cancellations of single reservations, on a few connections of their own: an id does not
 * say which sale it belongs to, so these cannot join a lane's batches, and a cancellation that
 * waits for a sale's lock must not hold up the batches of another sale. One thread serves all these
 * connections. */
#ifndef DROPGATE_CONTROL_LEDGER_LOOKUP_H
#define DROPGATE_CONTROL_LEDGER_LOOKUP_H

#include "control/ledger/connector.h"
#include "control/ledger/request.h"
#include "control/settings.h"

struct lookup;

/** Starts the thread; both arguments must outlive it. NULL if memory, threads or descriptors are
 * short. */
struct lookup *lookup_start(const struct control_settings *settings, struct connector *connector);

/** Hands over a LEDGER_READ or LEDGER_CANCEL. 0, or -ENOBUFS: full. Any thread. */
int lookup_offer(struct lookup *lookup, struct ledger_request *request);

/** Ends the thread; statements in flight are not waited for (both kinds may be repeated). */
void lookup_stop(struct lookup *lookup);

/** Frees everything, connections too. After connector_stop. */
void lookup_free(struct lookup *lookup);

#endif
