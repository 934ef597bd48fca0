/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A job is in exactly one place: the queue for the ledger, a desk (a connection to the ledger, one
 * statement at a time), the queue for the provider, or with the provider. A statement whose
 * connection was lost is sent again: all of them may be repeated. */
#include "control/payment/engine.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/failpoint.h"
#include "common/log.h"
#include "common/secret_file.h"
#include "control/clock.h"
#include "control/ledger/rows.h"
#include "control/payment/http_provider.h"
#include "control/payment/job.h"

enum {
    DESKS_MAX = 64,
    DUE_MAX = 100,     /* attempts that the reconciler takes at once */
    UPKEEP_MS = 60000, /* between looks at what is left over */
    WAIT_MAX_MS = 1000,
};

struct queue {
    struct job *first, *last;
};

struct desk {
    struct link link;
    struct job *current; /* in flight, or to be sent again */
};

struct payments {
    const struct payment_settings *settings;
    struct signature_secrets secrets;
    struct provider *provider;
    pthread_t thread;
    bool started, opened;
    _Atomic bool stopping;
    struct mailbox box;
    _Atomic uint32_t jobs; /* in the box or in hand */
    struct queue to_ledger, to_provider;
    struct job due, upkeep; /* the reconciler's own, when they are not idle */
    bool due_idle, upkeep_idle;
    int64_t due_at, upkeep_at;
    uint64_t random;
    struct desk desk[DESKS_MAX];
    size_t desks;
};

/* ---- queues and jobs ---- */

static void push(struct queue *q, struct job *job)
{
    job->next = NULL;
    if (q->last)
        q->last->next = job;
    else
        q->first = job;
    q->last = job;
}

static void push_front(struct queue *q, struct job *job)
{
    job->next = q->first;
    q->first = job;
    if (!q->last)
        q->last = job;
}

static struct job *pop(struct queue *q)
{
    struct job *job = q->first;
    if (job)
        q->first = job->next;
    if (!q->first)
        q->last = NULL;
    return job;
}

static uint32_t random_next(struct payments *p)
{
    p->random ^= p->random << 13; /* xorshift64 (Marsaglia, 2003): jitter needs no more */
    p->random ^= p->random >> 7;
    p->random ^= p->random << 17;
    return (uint32_t)(p->random >> 32);
}

static void answer(struct job *job, enum ledger_status status)
{
    struct ledger_request *r = job->request;
    job->request = NULL;
    if (r)
        ledger_request_answer(r, status);
}

static void end(struct payments *p, struct job *job)
{
    if (job == &p->due) {
        p->due_idle = true;
        return;
    }
    if (job == &p->upkeep) {
        p->upkeep_idle = true;
        return;
    }
    free(job);
    atomic_fetch_sub(&p->jobs, 1);
}

/* Goes on with the job's step, wherever that is done. */
static void go_on(struct payments *p, struct job *job, enum payment_step step)
{
    enum provider_operation operation;
    job->step = step;
    if (step == STEP_DONE) {
        if (job->request)
            answer(job, job_result(job));
        end(p, job);
    } else if (course_asks(step, &operation)) {
        job->call.operation = operation;
        push(&p->to_provider, job);
    } else {
        push(&p->to_ledger, job);
    }
}

/* ---- the provider ---- */

static struct job *job_of(struct provider_call *call)
{
    return caa_container_of(call, struct job, call);
}

static void ask_provider(struct payments *p)
{
    for (struct job *job; (job = pop(&p->to_provider));) {
        if (p->provider->class->begin(p->provider, &job->call)) {
            push_front(&p->to_provider, job); /* when one of those under way has ended */
            return;
        }
    }
}

static void hear_provider(struct payments *p)
{
    for (struct provider_call *call; (call = p->provider->class->finished(p->provider));) {
        struct job *job = job_of(call);
        enum payment_step asked = job->step;
        if (asked == STEP_AUTHORISE && call->answer.outcome == PROVIDER_AUTHORISED)
            FAILPOINT("payment.authorised");
        else if (asked == STEP_CAPTURE && call->answer.outcome == PROVIDER_CAPTURED)
            FAILPOINT("payment.captured");
        else if (asked == STEP_VOID)
            FAILPOINT("payment.voided");
        else if (asked == STEP_REFUND)
            FAILPOINT("payment.refunded");
        go_on(p, job, course_heard(job->state, asked, call->answer.outcome));
    }
}

/* ---- the ledger's answers ---- */

static void on_begun(struct payments *p, struct job *job, const PGresult *result)
{
    enum ledger_status status = job_read_begin(job, result);
    if (status != LEDGER_FOUND) {
        answer(job, status);
        end(p, job);
        return;
    }
    FAILPOINT("payment.begun");
    go_on(p, job, course_asked(job->state, *job->call.answer.action));
}

/* A webhook's news is worth a look at once, here or wherever the lease is taken. */
static void on_webhook(struct payments *p, struct job *job, const PGresult *result)
{
    int32_t status;
    if (PQntuples(result) != 1 || rows_int32(result, 0, 0, &status)) {
        answer(job, LEDGER_FAILED);
    } else {
        if (status == 404)
            log_warn("webhook_stranger", "an event %s names an attempt that is not ours",
                     job->request->payment->event.kind);
        if (status == 201)
            p->due_at = 0;
        answer(job, LEDGER_EVENT_TAKEN);
    }
    end(p, job);
}

static void take_due(struct payments *p, const PGresult *result, int row)
{
    struct job *job = calloc(1, sizeof *job);
    if (!job || !job_read_due(job, result, row)) {
        log_error("payment_due",
                  "memory is short, or the ledger answers in another shape than expected");
        free(job); /* its lease ends some time */
        return;
    }
    memcpy(job->placed, job->call.reservation, sizeof job->placed);
    atomic_fetch_add(&p->jobs, 1);
    go_on(p, job, course_due(job->state));
}

static void on_due(struct payments *p, const PGresult *result)
{
    int rows = PQntuples(result);
    for (int row = 0; row < rows; row++)
        take_due(p, result, row);
    p->due_idle = true;
    if (rows == DUE_MAX)
        p->due_at = 0; /* there may be more */
}

static void on_backlog(const PGresult *result)
{
    int64_t unknown = 0, refunding = 0, overdue = 0;
    if (PQntuples(result) != 1 || PQnfields(result) != 5 || rows_int64(result, 0, 0, &unknown) ||
        rows_int64(result, 0, 1, &refunding) || rows_int64(result, 0, 4, &overdue))
        return;
    if (unknown)
        log_warn("payments_unknown",
                 "%" PRId64
                 " reservations wait for a payment whose outcome the provider does not tell: "
                 "see reservation_resolve",
                 unknown);
    if (overdue > UPKEEP_MS)
        log_warn("payments_overdue",
                 "attempts have waited for the reconciler for %" PRId64 " s; %" PRId64
                 " refunds are open",
                 overdue / 1000, refunding);
}

static void on_answered(struct payments *p, struct desk *d)
{
    struct job *job = d->current;
    const PGresult *result = d->link.result;
    enum payment_step told = job->step;
    d->current = NULL;
    switch (told) {
    case STEP_BEGIN: on_begun(p, job, result); return;
    case STEP_WEBHOOK: on_webhook(p, job, result); return;
    case STEP_DUE: on_due(p, result); return;
    case STEP_PRUNE: go_on(p, job, STEP_BACKLOG); return;
    case STEP_BACKLOG:
        on_backlog(result);
        end(p, job);
        return;
    default: break;
    }
    if (!job_read_state(job, result)) {
        log_error("payment_state", "the ledger answers in another shape than expected");
        answer(job, LEDGER_FAILED);
        end(p, job);
        return;
    }
    if (told == STEP_CLAIM && job->state == PAYMENT_CAPTURING)
        FAILPOINT("payment.claimed");
    go_on(p, job, course_stored(told, job->state));
}

/* Nothing was committed. What another session holds, or has just changed, is tried again behind the
 * others. */
static void on_refused(struct payments *p, struct desk *d)
{
    struct job *job = d->current;
    const char *state = link_sqlstate(&d->link);
    d->current = NULL;
    if (!strcmp(state, "55P03") || !strncmp(state, "40", 2)) {
        push(&p->to_ledger, job);
        return;
    }
    log_error("payment_refused", "%s %s", state, link_message(&d->link));
    answer(job, job->step == STEP_BEGIN || job->step == STEP_WEBHOOK ? LEDGER_UNAVAILABLE
                                                                     : LEDGER_PAY_PENDING);
    end(p, job); /* whoever holds the next lease goes on from what is stored */
    if (!strcmp(state, "25006") || !strcmp(state, "0A000") || !strcmp(state, "26000"))
        link_drop(&d->link);
}

/* ---- desks ---- */

/* The next job for the ledger whose shopper, if it has not begun yet, still waits. */
static struct job *next_for_ledger(struct payments *p)
{
    for (struct job *job; (job = pop(&p->to_ledger));) {
        bool first = job->step == STEP_BEGIN || job->step == STEP_WEBHOOK;
        if (!first || ledger_request_take(job->request) ||
            atomic_load(&job->request->phase) == PHASE_TAKEN)
            return job;
        answer(job, LEDGER_DROPPED);
        end(p, job);
    }
    return NULL;
}

static void advance(struct payments *p, struct desk *d)
{
    switch (link_advance(&d->link)) {
    case LINK_ANSWERED: on_answered(p, d); break;
    case LINK_REFUSED: on_refused(p, d); break;
    default: break; /* lost or doubtful: `current` is still there and goes out again */
    }
    if (d->link.state != LINK_IDLE)
        return;
    if (!d->current)
        d->current = next_for_ledger(p);
    if (!d->current)
        return;
    uint32_t room = (uint32_t)p->settings->queue, jobs = atomic_load(&p->jobs);
    room = room > jobs ? room - jobs : 1;
    job_send(d->current, &d->link, p->settings, random_next(p),
             (int32_t)(room > DUE_MAX ? DUE_MAX : room));
}

/* ---- requests ---- */

static void take_request(struct payments *p, struct ledger_request *r)
{
    struct job *job = calloc(1, sizeof *job);
    if (!job) {
        ledger_request_answer(r, LEDGER_UNAVAILABLE);
        atomic_fetch_sub(&p->jobs, 1);
        return;
    }
    job->request = r;
    memcpy(job->call.attempt, r->payment->attempt, sizeof job->call.attempt);
    memcpy(job->call.reservation, r->id, sizeof job->call.reservation);
    memcpy(job->placed, r->id, sizeof job->placed);
    strcpy(job->call.method, r->payment->method);
    job->step = r->kind == LEDGER_PAY ? STEP_BEGIN : STEP_WEBHOOK;
    push(&p->to_ledger, job);
}

static void take_posted(struct payments *p)
{
    mailbox_clear(&p->box);
    for (struct cds_wfcq_node *node; (node = mailbox_take(&p->box));)
        take_request(p, caa_container_of(node, struct ledger_request, node));
}

/* ---- the thread ---- */

static void keep_time(struct payments *p)
{
    int64_t now = clock_now();
    if (p->due_idle && now >= p->due_at) {
        p->due_idle = false;
        p->due_at = now + p->settings->reconcile * NANOSECONDS_PER_MS;
        p->due.step = STEP_DUE;
        push(&p->to_ledger, &p->due);
    }
    if (p->upkeep_idle && now >= p->upkeep_at) {
        p->upkeep_idle = false;
        p->upkeep_at = now + UPKEEP_MS * NANOSECONDS_PER_MS;
        p->upkeep.step = STEP_PRUNE;
        push(&p->to_ledger, &p->upkeep);
    }
}

static void wait_for_work(struct payments *p)
{
    struct pollfd fds[1 + DESKS_MAX] = {{.fd = p->box.wake, .events = POLLIN}};
    unsigned int count = 1;
    for (size_t i = 0; i < p->desks; i++) {
        fds[count].fd = link_poll(&p->desk[i].link, &fds[count].events);
        count += fds[count].fd >= 0;
    }
    int64_t ms = (p->due_at - clock_now()) / NANOSECONDS_PER_MS + 1;
    p->provider->class->wait(p->provider, fds, count,
                             ms < 0                             ? 0
                             : ms > WAIT_MAX_MS || !p->due_idle ? WAIT_MAX_MS
                                                                : (int)ms);
}

static void *thread_main(void *context)
{
    struct payments *p = context;
    while (!atomic_load(&p->stopping)) {
        wait_for_work(p);
        take_posted(p);
        hear_provider(p);
        keep_time(p);
        for (size_t i = 0; i < p->desks; i++)
            advance(p, &p->desk[i]);
        ask_provider(p);
    }
    return NULL;
}

/* ---- opening and closing ---- */

static int read_secret(struct signature_secrets *out, int which, const char *key, const char *path,
                       char *why, size_t why_size)
{
    const char *wrong = NULL;
    if (!path)
        return 0;
    ssize_t length = secret_file_read_line(path, out->bytes[which], SIGNATURE_SECRET_MAX, &wrong);
    if (length >= 0 && length < SIGNATURE_SECRET_MIN)
        wrong = "is shorter than 16 bytes";
    if (wrong || length < 0) {
        snprintf(why, why_size, "[payment] %s: %s %s", key, path, wrong ? wrong : "cannot be read");
        return -EINVAL;
    }
    out->length[which] = (size_t)length;
    return 0;
}

struct payments *payments_open(const struct payment_settings *settings, char *why, size_t why_size)
{
    struct payments *p = calloc(1, sizeof *p);
    if (!p) {
        snprintf(why, why_size, "out of memory");
        return NULL;
    }
    p->settings = settings;
    p->box.wake = -1;
    p->due_idle = p->upkeep_idle = true;
    p->desks = (size_t)settings->database_connections;
    if (getrandom(&p->random, sizeof p->random, 0) != sizeof p->random || !p->random)
        p->random = 1;
    if (!read_secret(&p->secrets, 0, "webhook_secret", settings->webhook_secret, why, why_size) &&
        !read_secret(&p->secrets, 1, "webhook_secret_old", settings->webhook_secret_old, why,
                     why_size))
        p->provider = http_provider_open(settings, why, why_size);
    if (p->provider)
        return p;
    payments_free(p);
    return NULL;
}

int payments_start(struct payments *p, struct connector *connector)
{
    if (mailbox_open(&p->box))
        return -ENOMEM;
    p->opened = true;
    for (size_t i = 0; i < p->desks; i++)
        link_open(&p->desk[i].link, connector, &p->box, false);
    p->started = pthread_create(&p->thread, NULL, thread_main, p) == 0;
    return p->started ? 0 : -ENOMEM;
}

int payments_offer(struct payments *p, struct ledger_request *request)
{
    if (atomic_fetch_add(&p->jobs, 1) >= (uint32_t)p->settings->queue) {
        atomic_fetch_sub(&p->jobs, 1);
        return -ENOBUFS;
    }
    mailbox_post(&p->box, &request->node);
    return 0;
}

const struct signature_secrets *payments_secrets(const struct payments *p)
{
    return &p->secrets;
}

void payments_stop(struct payments *p)
{
    if (!p || !p->started)
        return;
    atomic_store(&p->stopping, true);
    mailbox_wake(&p->box);
    pthread_join(p->thread, NULL);
    p->started = false;
}

static void free_job(struct payments *p, struct job *job)
{
    if (job != &p->due && job != &p->upkeep)
        free(job);
}

void payments_free(struct payments *p)
{
    if (!p)
        return;
    if (p->provider) {
        p->provider->class->cancel(p->provider);
        for (struct provider_call *call; (call = p->provider->class->finished(p->provider));)
            free_job(p, job_of(call));
        p->provider->class->close(p->provider);
    }
    for (size_t i = 0; p->opened && i < p->desks; i++) {
        link_close(&p->desk[i].link);
        if (p->desk[i].current)
            free_job(p, p->desk[i].current);
    }
    for (struct job *job; (job = pop(&p->to_ledger));)
        free_job(p, job);
    for (struct job *job; (job = pop(&p->to_provider));)
        free_job(p, job);
    if (p->opened)
        mailbox_close(&p->box);
    explicit_bzero(&p->secrets, sizeof p->secrets);
    free(p);
}
