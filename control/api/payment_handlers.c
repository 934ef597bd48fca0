/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * JSON is printed here, not built: ids, numbers, and words and URLs whose alphabet was checked when
 * they were read. */
#include "control/api/payment_handlers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/clock.h"
#include "control/ledger/key.h"
#include "control/payment/ask.h"
#include "control/payment/engine.h"

/* ---- heads ---- */

bool payment_head(struct network *n, struct exchange *x)
{
    if (n->context->payments)
        return true;
    handler_refuse(x, PROBLEM_NO_PAYMENTS,
                   "There is no provider in the section payment of its configuration.");
    return false;
}

int payment_key(struct exchange *x, const char *key, size_t length)
{
    struct ledger_request *r = x->request;
    r->payment = calloc(1, sizeof *r->payment);
    return r->payment ? key_attempt_id(r->id, key, length, r->payment->attempt) : -ENOMEM;
}

void payment_webhook_head(struct network *n, const struct http1_head *head, struct exchange *x)
{
    size_t count = 0;
    const struct http1_slice *field = http1_find(head, SIGNATURE_FIELD, &count);
    x->wants_body = true;
    if (!n->context->payments || payments_secrets(n->context->payments)->length[0] == 0) {
        handler_refuse(x, PROBLEM_NO_PAYMENTS,
                       "There is no webhook_secret in the section payment of its configuration.");
        return;
    }
    if (!field || count != 1 || field->length > SIGNATURE_FIELD_MAX) {
        handler_refuse(x, PROBLEM_SIGNATURE,
                       "One header " SIGNATURE_FIELD " of up to 512 bytes is needed.");
        return;
    }
    x->request = pool_take(&n->pool);
    if (x->request)
        x->request->payment = calloc(1, sizeof *x->request->payment);
    if (!x->request || !x->request->payment) {
        handler_refuse(x, PROBLEM_BUSY, "Memory is short.");
        return;
    }
    x->request->kind = LEDGER_WEBHOOK;
    x->request->payment->signature_length = field->length;
    memcpy(x->request->payment->signature, field->at, field->length);
}

/* ---- complete messages ---- */

static enum handler_verdict offer(struct network *n, struct exchange *x, uint64_t handle,
                                  struct reply *reply)
{
    struct ledger_request *r = x->request;
    r->handle = handle;
    r->answers = &n->answers;
    r->invoked = clock_now();
    if (!payments_offer(n->context->payments, r))
        return HANDLER_ASKED;
    reply_problem(reply, PROBLEM_BUSY, "Nothing happened. Repeat with the same key.",
                  handler_retry_soon(n));
    return HANDLER_REPLY;
}

enum handler_verdict payment_complete(struct network *n, struct exchange *x, const char *body,
                                      size_t length, uint64_t handle, struct reply *reply)
{
    struct ledger_request *r = x->request;
    const char *wrong = payment_read_body(body, length, r->payment->method);
    if (wrong)
        reply_problem(reply, PROBLEM_BAD_BODY, wrong, REPLY_NO_RETRY);
    else if (key_payment_fingerprint(r->payment->method, strlen(r->payment->method),
                                     r->fingerprint))
        reply_problem(reply, PROBLEM_INTERNAL, NULL, REPLY_NO_RETRY);
    else
        return offer(n, x, handle, reply);
    return HANDLER_REPLY;
}

enum handler_verdict payment_webhook_complete(struct network *n, struct exchange *x,
                                              const char *body, size_t length, uint64_t handle,
                                              struct reply *reply)
{
    struct payment_ask *ask = x->request->payment;
    int64_t tolerance = n->context->settings->payment.webhook_tolerance / 1000;
    const char *wrong = NULL;
    switch (signature_check(payments_secrets(n->context->payments), ask->signature,
                            ask->signature_length, body, length, time(NULL), tolerance)) {
    case SIGNATURE_GOOD: break;
    case SIGNATURE_MALFORMED:
        wrong = "The header " SIGNATURE_FIELD " is not t=SECONDS,v1=HEX.";
        break;
    case SIGNATURE_UNTIMELY: wrong = "The signed time is too far from now."; break;
    case SIGNATURE_WRONG: wrong = "No signature is right under any secret."; break;
    }
    if (wrong) {
        reply_problem(reply, PROBLEM_SIGNATURE, wrong, REPLY_NO_RETRY);
        return HANDLER_REPLY;
    }
    wrong = payment_read_event(body, length, &ask->event);
    if (wrong) {
        reply_problem(reply, PROBLEM_BAD_BODY, wrong, REPLY_NO_RETRY);
        return HANDLER_REPLY;
    }
    return offer(n, x, handle, reply);
}

/* ---- answers ---- */

static void locate(struct reply *reply, const uint8_t reservation[16])
{
    char location[sizeof "/v1/reservations/" + KEY_UUID_TEXT] = "/v1/reservations/";
    key_print(reservation, location + strlen(location));
    reply_field(reply, "Location", location);
}

/* {"reservation":…,"state":…,"amount":…,"currency":…[,"action":…]}, into the ask, which lives until
 * it is sent. */
static void reply_payment(struct reply *reply, int status, const char *state,
                          struct payment_ask *ask)
{
    char reservation[KEY_UUID_TEXT];
    int length =
        snprintf(ask->text, sizeof ask->text,
                 "{\"reservation\":\"%s\",\"state\":\"%s\",\"amount\":%" PRId64
                 ",\"currency\":\"%s\"%s%s%s}",
                 key_print(ask->reservation, reservation), state, ask->amount, ask->currency,
                 *ask->action ? ",\"action\":\"" : "", ask->action, *ask->action ? "\"" : "");
    reply_begin(reply, status, "application/json", "no-store", ask->text, (size_t)length);
    locate(reply, ask->reservation);
}

/* Where nothing is known but that it goes on. */
static void reply_pending(struct reply *reply, const uint8_t reservation[16])
{
    char id[KEY_UUID_TEXT];
    int length =
        snprintf(reply->text, sizeof reply->text, "{\"reservation\":\"%s\",\"state\":\"pending\"}",
                 key_print(reservation, id));
    reply_begin(reply, 202, "application/json", "no-store", reply->text, (size_t)length);
    locate(reply, reservation);
}

/* RFC 9457 section 3.2: the reason is a member of its own, for programs. */
static void reply_declined(struct reply *reply, const struct payment_ask *ask)
{
    const struct problem_row *row = &PROBLEM_ROWS[PROBLEM_PAYMENT_DECLINED];
    int length = snprintf(
        reply->text, sizeof reply->text,
        "{\"type\":\"" PROBLEM_TYPE_PREFIX "%s\",\"title\":\"%s\",\"status\":%d,\"reason\":\"%s\"}",
        row->name, row->title, row->status, *ask->reason ? ask->reason : "declined");
    reply_begin(reply, row->status, "application/problem+json", "no-store", reply->text,
                (size_t)length);
}

bool payment_answer(const struct exchange *x, const struct ledger_request *r, struct reply *reply)
{
    struct payment_ask *ask = r->payment;
    switch (r->status) {
    case LEDGER_PAY_PAID: reply_payment(reply, 200, "paid", ask); return true;
    case LEDGER_PAY_ACTION: reply_payment(reply, 202, "requires_action", ask); return true;
    case LEDGER_PAY_PENDING: reply_pending(reply, x->match.reservation); return true;
    case LEDGER_PAY_DECLINED: reply_declined(reply, ask); return true;
    case LEDGER_PAY_REFUNDED:
        reply_problem(reply, PROBLEM_PAYMENT_TOO_LATE, NULL, REPLY_NO_RETRY);
        return true;
    case LEDGER_PAY_EXPIRED:
        reply_problem(reply, PROBLEM_RESERVATION_EXPIRED, NULL, REPLY_NO_RETRY);
        return true;
    case LEDGER_PAY_ATTEMPTS:
        reply_problem(reply, PROBLEM_PAYMENT_ATTEMPTS, NULL, REPLY_NO_RETRY);
        return true;
    case LEDGER_EVENT_TAKEN: reply_begin(reply, 204, NULL, "no-store", NULL, 0); return true;
    default: return false;
    }
}

bool payment_deadline(struct network *n, const struct exchange *x, enum ledger_kind kind,
                      bool waiting, struct reply *reply)
{
    if (kind == LEDGER_WEBHOOK)
        reply_problem(reply, waiting ? PROBLEM_LEDGER_UNAVAILABLE : PROBLEM_OUTCOME_UNKNOWN,
                      "Send the event again.", handler_retry_soon(n));
    else if (kind == LEDGER_PAY && !waiting)
        reply_pending(reply, x->match.reservation);
    else
        return false;
    return true;
}
