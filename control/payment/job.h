/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * One thing that the payment engine has in hand, and its words with the ledger: each step as a
 * statement, each row as what it means. Knows neither threads nor queues. Engine thread. */
#ifndef DROPGATE_CONTROL_PAYMENT_JOB_H
#define DROPGATE_CONTROL_PAYMENT_JOB_H

#include <stdbool.h>

#include "control/ledger/link.h"
#include "control/ledger/request.h"
#include "control/payment/ask.h"
#include "control/payment/course.h"
#include "control/settings.h"

struct job {
    struct job *next;               /* in a queue */
    struct provider_call call;      /* the attempt, and what the provider said last */
    enum payment_step step;         /* what is done now */
    enum payment_state state;       /* what the ledger said last */
    struct ledger_request *request; /* who waits for it, or NULL */
    int32_t tries;
    uint8_t placed[16]; /* the reservation that was paid */
};

/** Sends the job's step, one of those that go to the ledger, over an idle link. `room`: for how
 * many jobs STEP_DUE may ask. */
void job_send(const struct job *job, struct link *link, const struct payment_settings *settings,
              uint32_t random, int32_t room);

/** Reads the answer to STEP_BEGIN: LEDGER_FOUND (go on: state and call are filled in), or what to
 * answer. */
enum ledger_status job_read_begin(struct job *job, const PGresult *result);

/** Reads the state after any step of the course. False if the row is not what it should be. */
bool job_read_state(struct job *job, const PGresult *result);

/** Reads one attempt that is due. False if the row is not what it should be. */
bool job_read_due(struct job *job, const PGresult *result, int row);

/** Fills the request's ask and returns the answer to it, from where the job has come to. */
enum ledger_status job_result(const struct job *job);

#endif
