/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Durations go to the ledger, never times: only its clock decides. */
#include "control/payment/job.h"

#include <string.h>

#include "control/ledger/rows.h"
#include "control/ledger/wire.h"

enum {
    EVENT_KEPT_MS = 24 * 3600 * 1000, /* far more than any tolerance for old webhooks */
    PRUNE_LIMIT = 1000,
    LATE_LOOK_MS = 10 * 60 * 1000, /* after a void that the provider had nothing for */
    ACTION_LOOK_MS = 15 * 1000,
    LOOKS_MIN = 8, /* within the patience: an event that never came must not cost the sale */
};

/* Parameters in binary; the bytes stay until link_send has copied them. */
struct words {
    int count;
    struct link_parameter at[LINK_PARAMETERS];
    char number[LINK_PARAMETERS][8];
};

static void add(struct words *w, const void *bytes, size_t length)
{
    w->at[w->count++] = (struct link_parameter){bytes, (int)length};
}

static void add_int64(struct words *w, int64_t value)
{
    uint64_t v = htobe64((uint64_t)value);
    memcpy(w->number[w->count], &v, sizeof v);
    add(w, w->number[w->count], sizeof v);
}

static void add_int32(struct words *w, int32_t value)
{
    wire_put32(w->number[w->count], (uint32_t)value);
    add(w, w->number[w->count], 4);
}

/* Who leads an attempt has this long for a step before others look after it: the longest way is two
 * calls and what surrounds them. */
static int64_t lease(const struct payment_settings *settings)
{
    return settings->timeout * 4 + 2000;
}

static enum link_statement say_begin(const struct job *job, const struct payment_settings *settings,
                                     struct words *w)
{
    const struct ledger_request *r = job->request;
    add(w, r->id, sizeof r->id);
    add(w, r->user, r->user_length);
    add(w, job->call.attempt, sizeof job->call.attempt);
    add(w, r->fingerprint, sizeof r->fingerprint);
    add_int64(w, settings->patience);
    add_int64(w, lease(settings));
    return LINK_PAY_BEGIN;
}

static enum link_statement say_webhook(const struct job *job, struct words *w)
{
    const struct payment_event *event = &job->request->payment->event;
    add(w, event->id, strlen(event->id));
    add(w, event->attempt, sizeof event->attempt);
    add(w, event->kind, strlen(event->kind));
    return LINK_PAY_WEBHOOK;
}

/* Steps whose words are the attempt and, mostly, a duration. */
static enum link_statement say_state(const struct job *job, const struct payment_settings *settings,
                                     uint32_t random, struct words *w)
{
    enum provider_outcome outcome = job->call.answer.outcome;
    int64_t pause = course_pause(job->tries, random), most = settings->patience / LOOKS_MIN;
    if (job->state == PAYMENT_BEGUN && pause > most)
        pause = most;
    add(w, job->call.attempt, sizeof job->call.attempt);
    switch (job->step) {
    case STEP_CLAIM: add_int64(w, lease(settings)); return LINK_PAY_AUTHORISED;
    case STEP_STORE_CAPTURED: return LINK_PAY_CAPTURED;
    case STEP_STORE_REFUNDED: return LINK_PAY_REFUNDED;
    case STEP_STORE_DECLINED: {
        const char *reason = *job->call.answer.reason ? job->call.answer.reason : "voided";
        add(w, reason, strlen(reason));
        return LINK_PAY_DECLINED;
    }
    case STEP_STORE_VOIDED:
        add_int64(w, LATE_LOOK_MS);
        if (outcome != PROVIDER_ABSENT)
            w->at[w->count - 1] = (struct link_parameter){NULL, 0};
        return LINK_PAY_VOIDED;
    case STEP_STORE_UNKNOWN: add_int64(w, pause); return LINK_PAY_UNKNOWN;
    case STEP_STORE_ACTION:
        add(w, job->call.answer.action, strlen(job->call.answer.action));
        add_int64(w, most < ACTION_LOOK_MS ? most : ACTION_LOOK_MS);
        return LINK_PAY_ACTION;
    default:
        add_int64(w, pause);
        if (!course_looks_again(job->state, outcome))
            w->at[w->count - 1] = (struct link_parameter){NULL, 0};
        return LINK_PAY_CHECKED;
    }
}

void job_send(const struct job *job, struct link *link, const struct payment_settings *settings,
              uint32_t random, int32_t room)
{
    struct words w = {0};
    enum link_statement statement;
    switch (job->step) {
    case STEP_BEGIN: statement = say_begin(job, settings, &w); break;
    case STEP_WEBHOOK: statement = say_webhook(job, &w); break;
    case STEP_DUE:
        add_int32(&w, room);
        add_int64(&w, lease(settings));
        statement = LINK_PAY_DUE;
        break;
    case STEP_PRUNE:
        add_int64(&w, EVENT_KEPT_MS + settings->webhook_tolerance);
        add_int32(&w, PRUNE_LIMIT);
        statement = LINK_PAY_PRUNE;
        break;
    case STEP_BACKLOG: statement = LINK_PAY_BACKLOG; break;
    default: statement = say_state(job, settings, random, &w);
    }
    link_send(link, statement, w.count, w.at);
}

/* ---- rows ---- */

static bool read_id(const PGresult *result, int row, int column, uint8_t out[16])
{
    if (PQgetisnull(result, row, column) || PQgetlength(result, row, column) != 16)
        return false;
    memcpy(out, PQgetvalue(result, row, column), 16);
    return true;
}

static bool read_state(const PGresult *result, int row, int column, enum payment_state *state)
{
    *state =
        course_state(PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column));
    return PQgetisnull(result, row, column) || *state != PAYMENT_NONE;
}

static bool read_money(const PGresult *result, int row, int column, struct provider_call *call)
{
    if (rows_int64(result, row, column, &call->amount) ||
        rows_text(result, row, column + 1, call->currency, sizeof call->currency))
        return false;
    return strspn(call->currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 3;
}

static bool read_begun(struct job *job, const PGresult *result)
{
    struct provider_answer *answer = &job->call.answer;
    if (!read_state(result, 0, 1, &job->state) || !read_money(result, 0, 2, &job->call))
        return false;
    if (!PQgetisnull(result, 0, 4) &&
        rows_text(result, 0, 4, answer->action, sizeof answer->action))
        return false;
    if (!PQgetisnull(result, 0, 5) &&
        rows_text(result, 0, 5, answer->reason, sizeof answer->reason))
        strcpy(answer->reason,
               "resolved"); /* an operator's words are not for shoppers, and longer */
    if (PQgetisnull(result, 0, 6) || !read_id(result, 0, 6, job->placed))
        memcpy(job->placed, job->call.reservation, sizeof job->placed);
    return job->state != PAYMENT_NONE;
}

enum ledger_status job_read_begin(struct job *job, const PGresult *result)
{
    int32_t status;
    if (PQntuples(result) != 1 || PQnfields(result) != 7 || rows_int32(result, 0, 0, &status))
        return LEDGER_FAILED;
    switch (status) {
    case 200:
    case 201: return read_begun(job, result) ? LEDGER_FOUND : LEDGER_FAILED;
    case 404: return LEDGER_NOT_FOUND;
    case 409: return LEDGER_WRONG_STATE;
    case 410: return LEDGER_PAY_EXPIRED;
    case 422: return LEDGER_KEY_REUSED;
    case 429: return LEDGER_PAY_ATTEMPTS;
    default: return LEDGER_FAILED;
    }
}

bool job_read_state(struct job *job, const PGresult *result)
{
    return PQntuples(result) == 1 && PQnfields(result) == 1 &&
           read_state(result, 0, 0, &job->state);
}

bool job_read_due(struct job *job, const PGresult *result, int row)
{
    return PQnfields(result) == 6 && read_id(result, row, 0, job->call.attempt) &&
           read_id(result, row, 1, job->call.reservation) &&
           read_state(result, row, 2, &job->state) && read_money(result, row, 3, &job->call) &&
           !rows_int32(result, row, 5, &job->tries);
}

enum ledger_status job_result(const struct job *job)
{
    struct payment_ask *ask = job->request->payment;
    ask->amount = job->call.amount;
    memcpy(ask->currency, job->call.currency, sizeof ask->currency);
    memcpy(ask->reservation, job->placed, sizeof ask->reservation);
    strcpy(ask->reason, job->call.answer.reason);
    switch (job->state) {
    case PAYMENT_CAPTURED: return LEDGER_PAY_PAID;
    case PAYMENT_DECLINED: return LEDGER_PAY_DECLINED;
    case PAYMENT_VOIDED: strcpy(ask->reason, "timed_out"); return LEDGER_PAY_DECLINED;
    case PAYMENT_REFUNDING:
    case PAYMENT_REFUNDED: return LEDGER_PAY_REFUNDED;
    case PAYMENT_BEGUN:
        strcpy(ask->action, job->call.answer.action);
        return *ask->action ? LEDGER_PAY_ACTION : LEDGER_PAY_PENDING;
    case PAYMENT_NONE: return LEDGER_FAILED;
    default: return LEDGER_PAY_PENDING;
    }
}
