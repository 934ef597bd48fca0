/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The course of an attempt as tables: what is done next, given what the ledger holds and what the
 * provider has said. The ledger decides (sql/functions/050_payment.sql): a step that has become
 * wrong meanwhile changes nothing there, and its answer leads on from here. Pure. Any thread. */
#ifndef DROPGATE_CONTROL_PAYMENT_COURSE_H
#define DROPGATE_CONTROL_PAYMENT_COURSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/payment/provider.h"

/** dropgate.payment_state, by the same names. */
enum payment_state {
    PAYMENT_NONE, /* there is no such attempt */
    PAYMENT_BEGUN,
    PAYMENT_CAPTURING,
    PAYMENT_UNKNOWN,
    PAYMENT_VOIDING,
    PAYMENT_DECLINED,
    PAYMENT_VOIDED,
    PAYMENT_CAPTURED,
    PAYMENT_REFUNDING,
    PAYMENT_REFUNDED,
    PAYMENT_STATES
};

enum payment_step {
    STEP_DONE,
    /* ask the provider */
    STEP_AUTHORISE,
    STEP_CAPTURE,
    STEP_VOID,
    STEP_REFUND,
    STEP_GET,
    /* tell the ledger */
    STEP_CLAIM,
    STEP_STORE_CAPTURED,
    STEP_STORE_DECLINED,
    STEP_STORE_VOIDED,
    STEP_STORE_UNKNOWN,
    STEP_STORE_ACTION,
    STEP_STORE_CHECKED, /* nothing new: look again later */
    STEP_STORE_REFUNDED,
    /* not of the course, but of the engine */
    STEP_BEGIN,
    STEP_WEBHOOK,
    STEP_DUE,
    STEP_PRUNE,
    STEP_BACKLOG,
};

/** The state of that name, or PAYMENT_NONE. */
enum payment_state course_state(const char *name, size_t length);

/** The first step for an attempt that the reconciler looks at. */
enum payment_step course_due(enum payment_state state);

/** The first step for a shopper who asks: the attempt is in `state`, begun just now or before. */
enum payment_step course_asked(enum payment_state state, bool has_action);

/** The provider has answered `asked` (one of the first group). */
enum payment_step course_heard(enum payment_state state, enum payment_step asked,
                               enum provider_outcome outcome);

/** The ledger has answered `told` (one of the second group): the attempt is in `state`. */
enum payment_step course_stored(enum payment_step told, enum payment_state state);

/** Whether the next look, after STEP_STORE_CHECKED, is due at all. */
bool course_looks_again(enum payment_state state, enum provider_outcome outcome);

/** Milliseconds until the next look after `tries` of them: 1 s doubling up to 5 min, spread by
 * `random` over half of it. */
int64_t course_pause(int32_t tries, uint32_t random);

/** Whether a step asks the provider, and what. */
bool course_asks(enum payment_step step, enum provider_operation *operation);

#endif
