/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Rule behind all of it: money is taken only behind a claim in the ledger, units come back only
 * when the provider has said for certain that no money will. Whatever is neither waits, and is
 * asked again. */
#include "control/payment/course.h"

#include <string.h>

static const char *const STATES[PAYMENT_STATES] = {"",          "begun",    "capturing", "unknown",
                                                   "voiding",   "declined", "voided",    "captured",
                                                   "refunding", "refunded"};

enum payment_state course_state(const char *name, size_t length)
{
    for (int i = PAYMENT_BEGUN; i < PAYMENT_STATES; i++)
        if (strlen(STATES[i]) == length && !memcmp(STATES[i], name, length))
            return (enum payment_state)i;
    return PAYMENT_NONE;
}

enum payment_step course_due(enum payment_state state)
{
    static const enum payment_step FIRST[PAYMENT_STATES] = {
        [PAYMENT_BEGUN] = STEP_GET,     [PAYMENT_CAPTURING] = STEP_GET,
        [PAYMENT_UNKNOWN] = STEP_GET,   [PAYMENT_VOIDING] = STEP_VOID,
        [PAYMENT_DECLINED] = STEP_GET,  [PAYMENT_VOIDED] = STEP_GET,
        [PAYMENT_CAPTURED] = STEP_DONE, [PAYMENT_REFUNDING] = STEP_REFUND,
        [PAYMENT_REFUNDED] = STEP_DONE,
    };
    return FIRST[state];
}

enum payment_step course_asked(enum payment_state state, bool has_action)
{
    switch (state) {
    case PAYMENT_BEGUN:
        return has_action ? STEP_GET : STEP_AUTHORISE; /* again: it may never have been sent */
    case PAYMENT_CAPTURING:
    case PAYMENT_UNKNOWN: return STEP_GET;
    default: return STEP_DONE;
    }
}

/* Before the claim. */
static enum payment_step heard_begun(enum provider_outcome outcome)
{
    switch (outcome) {
    case PROVIDER_AUTHORISED: return STEP_CLAIM;
    case PROVIDER_CAPTURED:
        return STEP_STORE_CAPTURED; /* without being asked to; still, it has the money */
    case PROVIDER_DECLINED: return STEP_STORE_DECLINED;
    case PROVIDER_VOIDED: return STEP_STORE_VOIDED;
    case PROVIDER_ACTION: return STEP_STORE_ACTION;
    default: return STEP_STORE_CHECKED; /* ABSENT too: the call may still be on its way */
    }
}

/* Behind the claim: only what is certain ends it. */
static enum payment_step heard_claimed(enum payment_step asked, enum provider_outcome outcome)
{
    switch (outcome) {
    case PROVIDER_AUTHORISED: return asked == STEP_GET ? STEP_CAPTURE : STEP_STORE_UNKNOWN;
    case PROVIDER_CAPTURED: return STEP_STORE_CAPTURED;
    case PROVIDER_DECLINED:
    case PROVIDER_VOIDED: return STEP_STORE_DECLINED;
    default:
        return STEP_STORE_UNKNOWN; /* ABSENT and REFUNDED contradict what is known: for an operator
                                    */
    }
}

static enum payment_step heard_voiding(enum payment_step asked, enum provider_outcome outcome)
{
    switch (outcome) {
    case PROVIDER_CAPTURED: return STEP_STORE_CAPTURED;
    case PROVIDER_AUTHORISED: return asked == STEP_VOID ? STEP_STORE_CHECKED : STEP_VOID;
    case PROVIDER_DECLINED:
    case PROVIDER_VOIDED:
    case PROVIDER_REFUNDED:
    case PROVIDER_ABSENT:
        return STEP_STORE_VOIDED; /* whatever still arrives is never captured by us, and voided */
    default: return STEP_STORE_CHECKED;
    }
}

static enum payment_step heard_ended(enum provider_outcome outcome)
{
    switch (outcome) {
    case PROVIDER_AUTHORISED: return STEP_CLAIM; /* which is refused, and makes it VOIDING */
    case PROVIDER_CAPTURED: return STEP_STORE_CAPTURED;
    default: return STEP_STORE_CHECKED;
    }
}

enum payment_step course_heard(enum payment_state state, enum payment_step asked,
                               enum provider_outcome outcome)
{
    switch (state) {
    case PAYMENT_BEGUN: return heard_begun(outcome);
    case PAYMENT_CAPTURING:
    case PAYMENT_UNKNOWN: return heard_claimed(asked, outcome);
    case PAYMENT_VOIDING: return heard_voiding(asked, outcome);
    case PAYMENT_DECLINED:
    case PAYMENT_VOIDED: return heard_ended(outcome);
    case PAYMENT_REFUNDING:
        return outcome == PROVIDER_REFUNDED || outcome == PROVIDER_VOIDED ? STEP_STORE_REFUNDED
                                                                          : STEP_STORE_CHECKED;
    default: return STEP_DONE;
    }
}

enum payment_step course_stored(enum payment_step told, enum payment_state state)
{
    if (told == STEP_CLAIM)
        return state == PAYMENT_CAPTURING ? STEP_CAPTURE
               : state == PAYMENT_VOIDING ? STEP_VOID
               : state == PAYMENT_UNKNOWN ? STEP_GET
                                          : STEP_DONE;
    return told == STEP_STORE_CAPTURED && state == PAYMENT_REFUNDING ? STEP_REFUND : STEP_DONE;
}

bool course_looks_again(enum payment_state state, enum provider_outcome outcome)
{
    if (state == PAYMENT_DECLINED || state == PAYMENT_VOIDED)
        return outcome == PROVIDER_UNKNOWN;
    return state != PAYMENT_CAPTURED && state != PAYMENT_REFUNDED;
}

int64_t course_pause(int32_t tries, uint32_t random)
{
    enum { FIRST_MS = 1000, LAST_MS = 60000, DOUBLINGS = 6 };
    int64_t ms = (int64_t)FIRST_MS << (tries < 0 ? 0 : tries > DOUBLINGS ? DOUBLINGS : tries);
    if (ms > LAST_MS)
        ms = LAST_MS;
    return ms / 2 + (int64_t)((uint64_t)random * (uint64_t)ms >> 32);
}

bool course_asks(enum payment_step step, enum provider_operation *operation)
{
    switch (step) {
    case STEP_AUTHORISE: *operation = PROVIDER_AUTHORISE; return true;
    case STEP_CAPTURE: *operation = PROVIDER_CAPTURE; return true;
    case STEP_VOID: *operation = PROVIDER_VOID; return true;
    case STEP_REFUND: *operation = PROVIDER_REFUND; return true;
    case STEP_GET: *operation = PROVIDER_GET; return true;
    default: return false;
    }
}
