/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A relay that loses its connection knows nothing of what was in flight, and need not: the rows are
 * published or not, and whoever is the relay next goes on with those that are not. */
#include "control/outbox/outbox.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/failpoint.h"
#include "common/log.h"
#include "control/clock.h"
#include "control/ledger/rows.h"
#include "control/ledger/wire.h"
#include "control/outbox/reader.h"
#include "control/outbox/relay.h"

struct outbox {
    pthread_t thread;
    struct mailbox box;
    _Atomic uint32_t readers; /* in the box and with the reader */
    _Atomic bool hurried, stopping;
    struct reader reader; /* from here on: the thread's own */
    struct link link;     /* the relay's */
    struct relay relay;
    enum relay_call call; /* in flight */
};

/* ---- publishing ---- */

static void send_relay(struct outbox *o, int64_t now)
{
    char holds = o->relay.holds ? 1 : 0, rows[4];
    wire_put32(rows, RELAY_ROWS);
    const struct link_parameter parameters[2] = {{&holds, 1}, {rows, sizeof rows}};
    o->call = relay_next(&o->relay, now);
    if (o->call == RELAY_PUBLISH) {
        FAILPOINT("relay.send");
        link_send(&o->link, LINK_RELAY, 2, parameters);
        FAILPOINT("relay.sent");
    } else if (o->call == RELAY_FORGET) {
        link_send(&o->link, LINK_FORGET, 0, NULL);
    }
}

static void take_relay_answer(struct outbox *o, int64_t now)
{
    int32_t rows;
    bool held = o->relay.holds;
    if (PQntuples(o->link.result) != 1 || rows_int32(o->link.result, 0, 0, &rows)) {
        log_error("relay_refused", "the answer of dropgate.outbox_relay is misshapen");
        relay_refused(&o->relay, o->call, now);
        return;
    }
    FAILPOINT("relay.answered");
    if (o->call == RELAY_FORGET) {
        relay_forgot(&o->relay, rows, now);
        return;
    }
    relay_published(&o->relay, rows, now);
    if (o->relay.holds && !held)
        log_info("relay_begun", "this instance publishes the outbox");
}

static void refuse_relay(struct outbox *o, int64_t now)
{
    const char *state = link_sqlstate(&o->link);
    log_error("relay_refused", "%s %s", state, link_message(&o->link));
    relay_refused(&o->relay, o->call, now);
    if (!strcmp(state, "25006") || !strcmp(state, "0A000") || !strcmp(state, "26000"))
        link_drop(&o->link);
}

static void advance_relay(struct outbox *o, int64_t now)
{
    switch (link_advance(&o->link)) {
    case LINK_UP: relay_begin(&o->relay, now); break;
    case LINK_ANSWERED:
    case LINK_DOUBTFUL: take_relay_answer(o, now); break; /* nobody is told of it yet */
    case LINK_REFUSED: refuse_relay(o, now); break;
    default: break;
    }
    if (o->link.state == LINK_IDLE)
        send_relay(o, now);
}

/* ---- the loop ---- */

static void take_posted(struct outbox *o)
{
    mailbox_clear(&o->box);
    for (struct cds_wfcq_node *node; (node = mailbox_take(&o->box));)
        reader_add(&o->reader, caa_container_of(node, struct ledger_request, node));
    if (atomic_load(&o->hurried))
        reader_hurry(&o->reader);
}

static void wait_for_work(struct outbox *o)
{
    struct pollfd fds[3] = {{.fd = o->box.wake, .events = POLLIN}};
    fds[1].fd = link_poll(&o->link, &fds[1].events);
    fds[2].fd = link_poll(&o->reader.link, &fds[2].events);
    int64_t now = clock_now(), due = reader_due(&o->reader, now);
    if (o->link.state == LINK_IDLE && relay_due(&o->relay) < due)
        due = relay_due(&o->relay);
    int timeout = due == INT64_MAX ? -1 : 0;
    if (timeout == 0 && due > now)
        timeout = (int)((due - now) / NANOSECONDS_PER_MS) + 1;
    poll(fds, 3, timeout);
}

static void *thread_main(void *context)
{
    struct outbox *o = context;
    while (!atomic_load(&o->stopping)) {
        wait_for_work(o);
        take_posted(o);
        int64_t now = clock_now();
        advance_relay(o, now);
        atomic_fetch_sub(&o->readers, reader_advance(&o->reader, now));
    }
    return NULL;
}

struct outbox *outbox_start(struct connector *connector)
{
    struct outbox *o = calloc(1, sizeof *o);
    if (!o)
        return NULL;
    if (mailbox_open(&o->box)) {
        free(o);
        return NULL;
    }
    link_open(&o->link, connector, &o->box, false);
    reader_open(&o->reader, connector, &o->box);
    if (pthread_create(&o->thread, NULL, thread_main, o))
        return NULL; /* the process ends; the connector still knows the links */
    return o;
}

int outbox_offer(struct outbox *o, struct ledger_request *request)
{
    if (atomic_fetch_add(&o->readers, 1) >= OUTBOX_READERS_MAX) {
        atomic_fetch_sub(&o->readers, 1);
        return -ENOBUFS;
    }
    mailbox_post(&o->box, &request->node);
    return 0;
}

void outbox_hurry(struct outbox *o)
{
    atomic_store(&o->hurried, true);
    mailbox_wake(&o->box);
}

void outbox_stop(struct outbox *o)
{
    atomic_store(&o->stopping, true);
    mailbox_wake(&o->box);
    pthread_join(o->thread, NULL);
}

void outbox_free(struct outbox *o)
{
    link_close(&o->link);
    link_close(&o->reader.link);
    mailbox_close(&o->box);
    free(o);
}
