/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The thread that pays: it leads attempts along their course (course.h) between the ledger, over
 * connections of its own, and the provider; and it is the reconciler, which looks after attempts
 * that nobody leads any more, whichever instance began them. Leases in the ledger keep instances
 * out of each other's way; nothing depends on that, since every step may be repeated. It holds no
 * state that is not in the ledger: an instance may be killed at any step. */
#ifndef DROPGATE_CONTROL_PAYMENT_ENGINE_H
#define DROPGATE_CONTROL_PAYMENT_ENGINE_H

#include "control/ledger/connector.h"
#include "control/ledger/request.h"
#include "control/payment/signature.h"
#include "control/settings.h"

struct payments;

/** Reads secrets and credentials and prepares the provider. NULL and `why` if something is wrong
 * with them. `settings` must outlive it. Main thread. */
struct payments *payments_open(const struct payment_settings *settings, char *why, size_t why_size);

/** Starts the thread. 0 or -ENOMEM. */
int payments_start(struct payments *payments, struct connector *connector);

/** Hands over a LEDGER_PAY or LEDGER_WEBHOOK with its payment_ask. 0, or -ENOBUFS: full. Any
 * thread. */
int payments_offer(struct payments *payments, struct ledger_request *request);

/** The secrets of webhooks. Constant. Any thread. */
const struct signature_secrets *payments_secrets(const struct payments *payments);

/** Ends the thread. What is under way is left to whoever looks after it next. */
void payments_stop(struct payments *payments);

/** Frees everything, connections too. After connector_stop. NULL is allowed, and so is one that was
 * never started. */
void payments_free(struct payments *payments);

#endif
