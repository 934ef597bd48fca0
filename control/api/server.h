/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The HTTP side as a whole: listening sockets, network threads, draining. Each thread has a socket
 * of its own per endpoint (SO_REUSEPORT), so the kernel spreads the connections and the threads
 * share nothing but counters. */
#ifndef DROPGATE_CONTROL_API_SERVER_H
#define DROPGATE_CONTROL_API_SERVER_H

#include <stddef.h>

#include "control/api/admission.h"
#include "control/api/events.h"
#include "control/api/token.h"
#include "control/catalog/catalog.h"
#include "control/ledger/ledger.h"
#include "control/ledger/lookup.h"
#include "control/outbox/outbox.h"
#include "control/settings.h"

struct server;

/** What the handlers work with; all of it outlives the server. */
struct api_context {
    const struct settings *settings;
    struct admission *admission;
    const struct token_keys *tokens;         /* NULL unless identity = jwt */
    const struct events_token *events_token; /* NULL: nobody may read events */
    struct catalog *catalog;
    struct ledger *ledger;
    struct lookup *lookup;
    struct outbox *outbox;
    struct payments *payments; /* NULL unless there is a provider */
};

/** Binds and listens. NULL with the reason, naming the endpoint, in `why`. Nothing is accepted yet.
 */
struct server *server_open(const struct settings *settings, char *why, size_t why_size);

/** Starts the threads. Returns 0 or -errno. */
int server_start(struct server *server, const struct api_context *context);

/** /readyz says 503 from now on; everything else goes on. */
void server_announce_end(struct server *server);

/** Stops accepting, lets requests in work finish within drain_max, ends the threads. */
void server_drain(struct server *server);

/** Frees it. After ledger_stop and lookup_stop: until then answers may still be posted. */
void server_free(struct server *server);

#endif
