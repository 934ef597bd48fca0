/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * One client connection: HTTP/1.1 with keep-alive and pipelining, one request in work at a time,
 * answers in order. Every wait has an end, and what a client can make us hold is bounded: 16 KiB
 * unread, one body, 64 KiB unsent. Network thread. */
#ifndef DROPGATE_CONTROL_API_CONNECTION_H
#define DROPGATE_CONTROL_API_CONNECTION_H

#include "control/api/network.h"

/** Takes an accepted, non-blocking socket over. `refuse`: only to say that there are too many. */
void connection_open(struct network *network, evutil_socket_t fd, bool refuse);

/** The ledger has given a request back: answers the client if it still waits, and returns the
 * request to the pool. */
void connection_answer(struct network *network, struct ledger_request *request);

/** Draining: closes the connection if it has no request in work; otherwise it is closed behind the
 * answer. */
void connection_drain(struct connection *connection);

/** Closes at once; a lent request is abandoned. */
void connection_abort(struct connection *connection);

#endif
