/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A thread's life: take what has been posted, let the link advance, and if the link is idle send
 * the next lane's batch. A batch whose commit is unknown is kept and sent again with the same ids
 * on the next connection: the database answers what it has already granted with the same bytes, and
 * grants the rest now. */
#include "control/ledger/ledger.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "common/failpoint.h"
#include "common/log.h"
#include "control/clock.h"
#include "control/ledger/batch.h"
#include "control/ledger/rows.h"
#include "control/ledger/wire.h"

enum { PURGE_MS = 100, STOP_WAIT_MS = 1000, BATCH_ROWS_MAX = 1024 };

struct ledger_thread {
    struct ledger *ledger;
    pthread_t thread;
    struct mailbox ready; /* lanes with work */
    struct link link;
    struct lane *first, *last; /* the same, taken: next in turn first */
    struct lane *current;      /* whose batch is in flight or unknown, or NULL */
    struct batch *batch;
    struct batch *spare; /* for building a batch anew from another */
    bool unknown;        /* the batch must be sent again */
    bool started;
    struct reserve_answer answers[BATCH_ROWS_MAX]; /* of the batch that came back */
};

struct ledger {
    struct lane_bounds bounds;
    uint32_t batch_max;
    _Atomic bool stopping;
    void *lanes;    // housekeeping: rw. tsearch tree by sale
    size_t threads; /* without the spare one, which is the last */
    struct ledger_thread thread[];
};

static void append(struct ledger_thread *t, struct lane *lane)
{
    lane->next = NULL;
    if (t->last)
        t->last->next = lane;
    else
        t->first = lane;
    t->last = lane;
}

static struct lane *pop(struct ledger_thread *t)
{
    struct lane *lane = t->first;
    if (lane) {
        t->first = lane->next;
        if (!t->first)
            t->last = NULL;
    }
    return lane;
}

/* ---- giving answers ---- */

static void answer_row(struct ledger_request *row, enum ledger_status status,
                       const struct grant *grant)
{
    for (struct ledger_request *r = row, *twin; r; r = twin) {
        twin = r->twin; /* once answered, it is not ours to read */
        if (grant) {
            int32_t sale = r->sale;
            r->grant = *grant;
            r->grant.sale = sale;
        }
        ledger_request_answer(r, status);
    }
}

static void answer_all(struct ledger_thread *t, enum ledger_status status)
{
    for (size_t i = 0; i < batch_rows(t->batch); i++)
        answer_row(batch_row(t->batch, i), status, NULL);
}

/* Certainly without effect: they wait again, in their old order, in front of those that came later.
 */
static void put_back_row(struct ledger_thread *t, struct ledger_request *row)
{
    for (struct ledger_request *r = row, *twin; r; r = twin) {
        twin = r->twin;
        lane_put_back(t->current, &t->ledger->bounds, r);
    }
}

static void put_back_all(struct ledger_thread *t)
{
    for (size_t i = batch_rows(t->batch); i-- > 0;)
        put_back_row(t, batch_row(t->batch, i));
}

/* ---- the turn of a lane ends ---- */

static void finish_lane(struct ledger_thread *t)
{
    struct lane *lane = t->current;
    t->current = NULL;
    t->unknown = false;
    batch_reset(t->batch);
    if (!lane_rest(lane))
        append(t, lane);
}

/* Hands the lane to another thread's mailbox; `scheduled` stays on, so nobody else posts it. */
static void move_lane(struct ledger_thread *t, struct mailbox *to)
{
    struct lane *lane = t->current;
    t->current = NULL;
    t->unknown = false;
    batch_reset(t->batch);
    atomic_store(&lane->owner, to);
    mailbox_post(to, &lane->node);
}

static void finish_answered_lane(struct ledger_thread *t)
{
    struct lane *lane = t->current;
    if (lane->batch_max < t->ledger->batch_max)
        lane->batch_max =
            lane->batch_max * 2 > t->ledger->batch_max ? t->ledger->batch_max : lane->batch_max * 2;
    if (&t->ready != lane->home)
        move_lane(t, lane->home); /* its lock is free again */
    else
        finish_lane(t);
}

/* ---- sending ---- */

static void send_batch(struct ledger_thread *t)
{
    struct batch_column columns[BATCH_COLUMNS];
    struct link_parameter parameters[1 + BATCH_COLUMNS];
    char sale[4];
    wire_put32(sale, (uint32_t)t->current->sale);
    batch_encode(t->batch, columns);
    parameters[0] = (struct link_parameter){sale, sizeof sale};
    for (int c = 0; c < BATCH_COLUMNS; c++)
        parameters[1 + c] = (struct link_parameter){columns[c].bytes, columns[c].length};
    atomic_store(&t->current->expire, false); /* every batch expires what is due */
    t->unknown = false;
    FAILPOINT("ledger.send");
    link_send(&t->link, LINK_RESERVE, 1 + BATCH_COLUMNS, parameters);
    FAILPOINT("ledger.sent");
}

/* Fills the batch from the current lane. False if there is nothing to send. */
static bool fill_batch(struct ledger_thread *t)
{
    struct lane *lane = t->current;
    while (batch_rows(t->batch) < lane->batch_max) {
        struct ledger_request *r = lane_next(lane, &t->ledger->bounds);
        if (!r)
            break;
        switch (batch_add(t->batch, r)) {
        case BATCH_CONFLICT: ledger_request_answer(r, LEDGER_KEY_IN_FLIGHT); break;
        case BATCH_FULL: lane_put_back(lane, &t->ledger->bounds, r); return true;
        default: break;
        }
    }
    return batch_rows(t->batch) > 0 || atomic_load(&lane->expire);
}

static void start_next_lane(struct ledger_thread *t)
{
    while ((t->current = pop(t))) {
        if (fill_batch(t)) {
            send_batch(t);
            return;
        }
        finish_lane(t);
    }
}

/* After a lost connection: the same ids again, without those that nobody waits for any more. */
static void send_again(struct ledger_thread *t)
{
    batch_reset(t->spare);
    for (size_t i = 0; i < batch_rows(t->batch); i++) {
        for (struct ledger_request *r = batch_row(t->batch, i), *twin; r; r = twin) {
            twin = r->twin;
            if (ledger_request_abandoned(r))
                ledger_request_answer(r, LEDGER_DROPPED);
            else
                batch_add(t->spare, r);
        }
    }
    struct batch *swap = t->batch;
    t->batch = t->spare;
    t->spare = swap;
    if (batch_rows(t->batch) > 0)
        send_batch(t);
    else
        finish_lane(t);
}

/* ---- what came back ---- */

/* Answers every row. False if the result has another shape: then nobody knows what it says. */
static bool answer_rows(struct ledger_thread *t)
{
    size_t rows = batch_rows(t->batch);
    if (rows_reserve(t->link.result, rows, t->answers)) {
        answer_all(t, LEDGER_FAILED);
        return false;
    }
    for (size_t i = 0; i < rows; i++) {
        struct reserve_answer *answer = &t->answers[i];
        struct ledger_request *row = batch_row(t->batch, i);
        if (answer->status == LEDGER_AGAIN) {
            put_back_row(t, row);
        } else if (answer->status == LEDGER_GRANTED) {
            if (answer->grant.quantity == 0)
                answer->grant.quantity = row->quantity;
            answer_row(row, answer->status, &answer->grant);
        } else {
            answer_row(row, answer->status, NULL);
        }
    }
    return true;
}

static void on_answered(struct ledger_thread *t)
{
    FAILPOINT("ledger.answered");
    if (!answer_rows(t))
        log_error("ledger_protocol",
                  "reserve_arrays answered in another shape; has scripts/migrate been run?");
    finish_answered_lane(t);
}

static bool state_is(const char *sqlstate, const char *prefix)
{
    return !strncmp(sqlstate, prefix, strlen(prefix));
}

/* PostgreSQL refuses the content of this batch. Halve it until the one row that it refuses stands
 * alone. */
static void on_refused_content(struct ledger_thread *t)
{
    struct lane *lane = t->current;
    size_t rows = batch_rows(t->batch);
    log_error("ledger_refused", "sale %d, %zu rows: %s %s", (int)lane->sale, rows,
              link_sqlstate(&t->link), link_message(&t->link));
    if (rows > 1) {
        lane->batch_max = (uint32_t)(rows / 2);
        put_back_all(t);
    } else {
        answer_all(t, LEDGER_FAILED);
    }
    finish_lane(t);
}

/* An error is an abort: nothing of this batch happened. */
static void on_refused(struct ledger_thread *t)
{
    const char *state = link_sqlstate(&t->link);
    struct mailbox *spare = &t->ledger->thread[t->ledger->threads].ready;
    if (state_is(state, "55P03")) {
        log_warn("sale_stuck", "sale %d: another session has held its lock for lock_timeout",
                 (int)t->current->sale);
        put_back_all(t);
        if (&t->ready == spare)
            finish_lane(t);
        else
            move_lane(t, spare);
    } else if (state_is(state, "40") ||
               state_is(state, "57014")) { /* deadlock, serialisation, cancelled */
        put_back_all(t);
        finish_lane(t);
    } else if (state_is(state, "25006") || state_is(state, "0A000") || state_is(state, "26000")) {
        log_warn("ledger_session", "%s: opening another connection", link_message(&t->link));
        put_back_all(t); /* read-only (a demoted primary), or a function was changed under the
                            prepared statement */
        finish_lane(t);
        link_drop(&t->link);
    } else if (state_is(state, "22") || state_is(state, "23") || state_is(state, "P0")) {
        on_refused_content(t);
    } else {
        log_error("ledger_refused", "sale %d: %s %s", (int)t->current->sale, state,
                  link_message(&t->link));
        answer_all(t, LEDGER_UNAVAILABLE);
        finish_lane(t);
    }
}

/* Whatever comes of sending it again, the first sending may have been committed: from now on nobody
 * is told that nothing happened. */
static void on_unknown(struct ledger_thread *t)
{
    for (size_t i = 0; i < batch_rows(t->batch); i++)
        for (struct ledger_request *r = batch_row(t->batch, i); r; r = r->twin)
            r->doubtful = true;
    t->unknown = t->current != NULL;
}

static void advance(struct ledger_thread *t)
{
    switch (link_advance(&t->link)) {
    case LINK_ANSWERED: on_answered(t); break;
    case LINK_REFUSED: on_refused(t); break;
    case LINK_DOUBTFUL:
    case LINK_LOST: on_unknown(t); break;
    case LINK_UP:
    case LINK_NOTHING: break;
    }
    if (t->link.state != LINK_IDLE || atomic_load(&t->ledger->stopping))
        return;
    if (t->unknown)
        send_again(t);
    else if (!t->current)
        start_next_lane(t);
}

/* ---- the loop ---- */

static void take_posted_lanes(struct ledger_thread *t)
{
    mailbox_clear(&t->ready);
    for (struct cds_wfcq_node *node; (node = mailbox_take(&t->ready));)
        append(t, caa_container_of(node, struct lane, node));
}

/* Gives back what nobody waits for, so that a database that is away does not fill the queues with
 * the dead. */
static void purge(struct ledger_thread *t)
{
    for (struct lane *lane = t->first; lane; lane = lane->next)
        lane_purge(lane, &t->ledger->bounds);
    if (t->current)
        lane_purge(t->current, &t->ledger->bounds);
}

static void wait_for_work(struct ledger_thread *t)
{
    struct pollfd fds[2] = {{.fd = t->ready.wake, .events = POLLIN}};
    fds[1].fd = link_poll(&t->link, &fds[1].events);
    bool waiting = t->first || t->current;
    poll(fds, 2, waiting ? PURGE_MS : -1);
}

static void *thread_main(void *context)
{
    struct ledger_thread *t = context;
    int64_t purged = clock_now(), stopping = 0;
    for (;;) {
        wait_for_work(t);
        take_posted_lanes(t);
        advance(t);
        int64_t now = clock_now();
        if (now - purged > PURGE_MS * NANOSECONDS_PER_MS) {
            purge(t);
            purged = now;
        }
        if (!atomic_load(&t->ledger->stopping))
            continue;
        stopping = stopping ? stopping : now;
        if (!t->current || t->unknown || now - stopping > STOP_WAIT_MS * NANOSECONDS_PER_MS)
            return NULL;
    }
}

static int open_thread(struct ledger_thread *t, struct ledger *ledger, struct connector *connector)
{
    t->ledger = ledger;
    t->batch = batch_new(ledger->batch_max);
    t->spare = batch_new(ledger->batch_max);
    int status = mailbox_open(&t->ready);
    if (status || !t->batch || !t->spare)
        return status ? status : -ENOMEM;
    link_open(&t->link, connector, &t->ready, false);
    status = -pthread_create(&t->thread, NULL, thread_main, t);
    t->started = status == 0;
    return status;
}

struct ledger *ledger_start(const struct control_settings *settings, struct connector *connector)
{
    size_t threads = (size_t)settings->ledger_threads;
    struct ledger *ledger = calloc(1, sizeof *ledger + (threads + 1) * sizeof *ledger->thread);
    if (!ledger)
        return NULL;
    ledger->threads = threads;
    ledger->batch_max = (uint32_t)settings->batch_max;
    ledger->bounds.per_sale = (uint32_t)settings->queue_per_sale;
    ledger->bounds.total = (uint32_t)settings->queue_total;
    for (size_t i = 0; i <= threads; i++)
        ledger->thread[i].ready.wake = -1;
    for (size_t i = 0; i <= threads; i++)
        if (open_thread(&ledger->thread[i], ledger, connector)) {
            ledger_stop(ledger);
            return NULL; /* the process ends: links may still be in the connector's list, so nothing
                            is freed */
        }
    return ledger;
}

/* Consecutive sales go to different threads, also when their ids are all even. */
static struct mailbox *home_of(struct ledger *ledger, int32_t sale)
{
    uint64_t hash = (uint64_t)(uint32_t)sale * UINT64_C(0x9e3779b97f4a7c15);
    return &ledger->thread[(hash >> 32) % ledger->threads].ready;
}

static int compare_lanes(const void *a, const void *b)
{
    int32_t x = ((const struct lane *)a)->sale, y = ((const struct lane *)b)->sale;
    return (x > y) - (x < y);
}

struct lane *ledger_lane(struct ledger *ledger, int32_t sale)
{
    struct lane *lane = lane_new(sale, home_of(ledger, sale), ledger->batch_max);
    struct lane **found = lane ? tsearch(lane, &ledger->lanes, compare_lanes) : NULL;
    if (!found || *found != lane)
        free(lane); /* there was one */
    return found ? *found : NULL;
}

int ledger_offer(struct ledger *ledger, struct lane *lane, struct ledger_request *request)
{
    return lane_offer(lane, &ledger->bounds, request);
}

void ledger_stop(struct ledger *ledger)
{
    atomic_store(&ledger->stopping, true);
    for (size_t i = 0; i <= ledger->threads; i++) {
        struct ledger_thread *t = &ledger->thread[i];
        if (!t->started)
            continue;
        mailbox_wake(&t->ready);
        pthread_join(t->thread, NULL);
        t->started = false;
    }
}

void ledger_free(struct ledger *ledger)
{
    for (size_t i = 0; i <= ledger->threads; i++) {
        struct ledger_thread *t = &ledger->thread[i];
        link_close(&t->link);
        batch_free(t->batch);
        batch_free(t->spare);
        mailbox_close(&t->ready);
    }
    tdestroy(ledger->lanes, free);
    free(ledger);
}
