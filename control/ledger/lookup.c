/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Both statements may be repeated without harm, so one that was lost with its connection is simply
 * sent again, until its deadline, which the network thread keeps. */
#include "control/ledger/lookup.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/failpoint.h"
#include "common/log.h"
#include "control/ledger/rows.h"

enum { PURGE_MS = 100, LINKS_MAX = 64 };

struct desk {
    struct link link;
    struct ledger_request *current; /* in flight, or to be sent again */
};

struct lookup {
    pthread_t thread;
    struct mailbox box;
    _Atomic uint32_t waiting; /* in the box and the backlog */
    uint32_t max;
    _Atomic bool stopping;
    bool started;
    struct ledger_request *first, *last; /* the backlog */
    size_t desks;
    struct desk desk[];
};

static void take_posted(struct lookup *l)
{
    mailbox_clear(&l->box);
    for (struct cds_wfcq_node *node; (node = mailbox_take(&l->box));) {
        struct ledger_request *r = caa_container_of(node, struct ledger_request, node);
        r->next = NULL;
        if (l->last)
            l->last->next = r;
        else
            l->first = r;
        l->last = r;
    }
}

static struct ledger_request *pop(struct lookup *l)
{
    struct ledger_request *r = l->first;
    l->first = r->next;
    if (!l->first)
        l->last = NULL;
    atomic_fetch_sub(&l->waiting, 1);
    return r;
}

/* The next request that somebody still waits for, claimed; or NULL. */
static struct ledger_request *next_request(struct lookup *l)
{
    while (l->first) {
        struct ledger_request *r = pop(l);
        if (ledger_request_take(r))
            return r;
        ledger_request_answer(r, LEDGER_DROPPED);
    }
    return NULL;
}

static void purge(struct lookup *l)
{
    while (l->first && ledger_request_abandoned(l->first))
        ledger_request_answer(pop(l), LEDGER_DROPPED);
}

static void answer(struct desk *d, enum ledger_status status)
{
    struct ledger_request *r = d->current;
    d->current = NULL;
    ledger_request_answer(r, status);
}

static void on_answered(struct desk *d)
{
    FAILPOINT("lookup.answered");
    if (d->current->kind == LEDGER_READ)
        answer(d, rows_reservation(d->link.result, d->current));
    else
        answer(d, rows_cancel(d->link.result));
}

static void on_refused(struct desk *d)
{
    const char *state = link_sqlstate(&d->link);
    if (!strcmp(state, "55P03") || !strncmp(state, "40", 2))
        return; /* the lock, or a deadlock: again, until the deadline */
    if (!strcmp(state, "25006") || !strcmp(state, "0A000") || !strcmp(state, "26000")) {
        log_warn("lookup_session", "%s: opening another connection", link_message(&d->link));
        link_drop(&d->link); /* read-only (a demoted primary), or a function was changed: again */
        return;
    }
    log_error("lookup_refused", "%s %s", state, link_message(&d->link));
    answer(d, LEDGER_UNAVAILABLE);
}

static void send_current(struct desk *d)
{
    struct ledger_request *r = d->current;
    const struct link_parameter parameters[2] = {{(const char *)r->id, sizeof r->id},
                                                 {r->user, r->user_length}};
    FAILPOINT("lookup.send");
    link_send(&d->link, r->kind == LEDGER_READ ? LINK_READ : LINK_CANCEL, 2, parameters);
    FAILPOINT("lookup.sent");
}

static void advance(struct lookup *l, struct desk *d)
{
    switch (link_advance(&d->link)) {
    case LINK_ANSWERED: on_answered(d); break;
    case LINK_REFUSED: on_refused(d); break;
    case LINK_DOUBTFUL:
    case LINK_LOST: /* `current` is still there and goes out again */
        if (d->current)
            d->current->doubtful = true;
        break;
    default: break;
    }
    if (d->link.state == LINK_BUSY)
        return;
    if (d->current && ledger_request_abandoned(d->current))
        answer(d, LEDGER_DROPPED);
    if (d->link.state != LINK_IDLE)
        return;
    if (!d->current)
        d->current = next_request(l);
    if (d->current)
        send_current(d);
}

static void wait_for_work(struct lookup *l)
{
    struct pollfd fds[1 + LINKS_MAX] = {{.fd = l->box.wake, .events = POLLIN}};
    bool waiting = l->first != NULL;
    for (size_t i = 0; i < l->desks; i++) {
        fds[1 + i].fd = link_poll(&l->desk[i].link, &fds[1 + i].events);
        waiting = waiting || l->desk[i].current;
    }
    poll(fds, 1 + l->desks, waiting ? PURGE_MS : -1);
}

static void *thread_main(void *context)
{
    struct lookup *l = context;
    while (!atomic_load(&l->stopping)) {
        wait_for_work(l);
        take_posted(l);
        for (size_t i = 0; i < l->desks; i++)
            advance(l, &l->desk[i]);
        purge(l);
    }
    return NULL;
}

struct lookup *lookup_start(const struct control_settings *settings, struct connector *connector)
{
    size_t desks = (size_t)settings->lookup_connections;
    struct lookup *l = calloc(1, sizeof *l + desks * sizeof *l->desk);
    if (!l)
        return NULL;
    l->desks = desks;
    l->max = (uint32_t)settings->queue_lookups;
    if (mailbox_open(&l->box)) {
        free(l);
        return NULL;
    }
    for (size_t i = 0; i < desks; i++)
        link_open(&l->desk[i].link, connector, &l->box, false);
    l->started = pthread_create(&l->thread, NULL, thread_main, l) == 0;
    return l->started ? l : NULL; /* else the process ends; the connector still knows the links */
}

int lookup_offer(struct lookup *l, struct ledger_request *request)
{
    if (atomic_fetch_add(&l->waiting, 1) >= l->max) {
        atomic_fetch_sub(&l->waiting, 1);
        return -ENOBUFS;
    }
    mailbox_post(&l->box, &request->node);
    return 0;
}

void lookup_stop(struct lookup *l)
{
    atomic_store(&l->stopping, true);
    mailbox_wake(&l->box);
    pthread_join(l->thread, NULL);
    l->started = false;
}

void lookup_free(struct lookup *l)
{
    for (size_t i = 0; i < l->desks; i++)
        link_close(&l->desk[i].link);
    mailbox_close(&l->box);
    free(l);
}
