/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * One network thread, as its own parts see it: server.c starts and ends it, connection.c speaks
 * HTTP, handlers.c decides. Everything in here belongs to that thread, except where the field says
 * otherwise. */
#ifndef DROPGATE_CONTROL_API_NETWORK_H
#define DROPGATE_CONTROL_API_NETWORK_H

#include <event2/event.h>
#include <event2/listener.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "control/api/pool.h"
#include "control/api/server.h"
#include "control/mailbox.h"

enum server_phase { SERVER_RUNNING, SERVER_ENDING, SERVER_DRAINING };

struct connection;

/** A connection's place. A handle is slot and generation; the generation moves on whenever the
 * connection forgets the request it has lent out, so a late answer finds nobody. */
struct slot {
    struct connection *connection;
    uint32_t generation;
    uint32_t next_free;
};

/** What a connection may be waiting for; each has one length, so that libevent can keep them in
 * queues. */
enum wait {
    WAIT_IDLE,
    WAIT_HEAD,
    WAIT_BODY,
    WAIT_LEDGER,
    WAIT_EVENTS,
    WAIT_WRITE,
    WAIT_LINGER,
    WAITS
};

struct network {
    struct server *server;
    const struct api_context *context; /* ro */
    pthread_t thread;
    bool started;
    struct event_base *base;
    struct evconnlistener **listeners;
    struct mailbox answers; // ledger threads: post
    struct event *wake;
    struct event *drain_end, *drain_idle;
    const struct timeval *waits[WAITS];
    struct slot *slots;
    uint32_t slot_count, free_slot; /* free_slot: SLOT_NONE if there is none */
    uint32_t connections;
    bool draining;
    struct pool pool;
    uint64_t random;
    int64_t date_second;
    char date[32]; /* IMF-fixdate of date_second */
};

#define SLOT_NONE UINT32_MAX

struct server {
    const struct settings *settings;
    _Atomic int phase;            // main: w, network threads: ro. enum server_phase
    _Atomic uint32_t connections; // network threads: rw. Over all of them
    size_t networks, endpoints;
    int *sockets; /* networks * endpoints */
    struct network network[];
};

/** A pseudo-random number below `bound`, for jitter. */
uint32_t network_random(struct network *network, uint32_t bound);

/** The Date field's value now. */
const char *network_date(struct network *network);

#endif
