/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The one question that is asked before a request reaches a backend: the first of a connection
 * before there is a flow, a later one before its segment goes on, and of other protocols the
 * connection. How the answer "no" gets to the client is tcp/refuse.c's business. */
#ifndef DROPGATE_DATAPLANE_TCP_GATE_H
#define DROPGATE_DATAPLANE_TCP_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/http1.h"
#include "dataplane/admit/reply.h"
#include "dataplane/net/verdict.h"

struct shard;

/** Who asks. */
struct gate_asker {
    const struct addr *client;
    uint16_t service;
    uint32_t key; /* by gate_key */
    bool drains;  /* the connection leads to a backend that drains: it may go on */
};

/** When to come again to a service whose backends are all down, seconds: spread by a random number.
 */
static inline uint32_t gate_down_retry(uint64_t random)
{
    enum { SOONEST_S = 3, SPREAD_S = 8 };
    return SOONEST_S + (uint32_t)(random % SPREAD_S);
}

/** The same for whatever is sent again on one connection, and of one client another for each. */
static inline uint32_t gate_key(uint16_t client_port, uint32_t client_isn)
{
    return client_isn ^ client_port * UINT32_C(0x9e3779b1);
}

/** What is asked for. On a service that is not HTTP, method and path are empty, and host is the TLS
 * server name or empty. Slices are the caller's, and hold for the call. */
struct gate_head {
    struct http1_slice method, path; /* path without its query */
    struct http1_slice host;         /* the Host field, with its port if it names one */
};

/** Whether it may pass; VERDICT_FORWARDED, or the reason that it may not. Then `refusal` has its
 * kind, retry_after_s and opens_at set; head and html are the caller's and stay. Budgets are
 * charged for what may pass. Owner's thread. */
enum verdict gate_request(struct shard *shard, const struct gate_asker *asker,
                          const struct gate_head *head, struct refusal *refusal);

#endif
