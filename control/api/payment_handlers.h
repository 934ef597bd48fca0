/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The calls about payments, as handlers.c has them: heads, complete messages, and the answers of
 * the payment engine. Network thread. */
#ifndef DROPGATE_CONTROL_API_PAYMENT_HANDLERS_H
#define DROPGATE_CONTROL_API_PAYMENT_HANDLERS_H

#include "control/api/handlers.h"

/** Before the head of a payment is read: false, and refused, where none are taken. */
bool payment_head(struct network *network, struct exchange *x);

/** Gives the request its attempt, from the reservation and the idempotency key. 0 or -ENOMEM. */
int payment_key(struct exchange *x, const char *key, size_t length);

/** The message is complete: as handler_complete. */
enum handler_verdict payment_complete(struct network *network, struct exchange *x, const char *body,
                                      size_t length, uint64_t handle, struct reply *reply);

/** The head of a webhook; what is needed of it is copied. */
void payment_webhook_head(struct network *network, const struct http1_head *head,
                          struct exchange *x);

/** A webhook is complete: its signature is judged before anything in it is read. */
enum handler_verdict payment_webhook_complete(struct network *network, struct exchange *x,
                                              const char *body, size_t length, uint64_t handle,
                                              struct reply *reply);

/** The engine has answered. False if the status is none of its own. `reply` borrows from the
 * request. */
bool payment_answer(const struct exchange *x, const struct ledger_request *request,
                    struct reply *reply);

/** The deadline has passed. False if it is not about a payment. */
bool payment_deadline(struct network *network, const struct exchange *x, enum ledger_kind kind,
                      bool waiting, struct reply *reply);

#endif
