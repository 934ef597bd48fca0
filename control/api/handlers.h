/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What each call means: from a complete head to an exchange, from a complete message to an answer
 * or to a request for the ledger, and from the ledger's answer to HTTP. Knows nothing of sockets.
 * Network thread. */
#ifndef DROPGATE_CONTROL_API_HANDLERS_H
#define DROPGATE_CONTROL_API_HANDLERS_H

#include "common/http1.h"
#include "control/api/network.h"
#include "control/api/reply.h"
#include "control/api/routes.h"

enum { EXCHANGE_CONDITION_MAX = 256 };

/** One request and its answer in the making. */
struct exchange {
    struct route_match match;
    bool refused;    /* by its head alone: `problem` and `detail` */
    bool wants_body; /* the body means something; else it is passed over */
    bool keep_alive;
    bool http_1_0;
    enum problem problem;
    const char *detail;
    bool by_rule; /* refused by a rule: `rule` says more */
    struct admission_refusal rule;
    struct ledger_request *request; /* ours until it is lent to the ledger */
    size_t condition_length;        /* If-None-Match; 0 if none, or longer than can be of use */
    char condition[EXCHANGE_CONDITION_MAX];
};

/** Reads a head. What it needs of it is copied. */
void handler_head(struct network *network, const struct http1_head *head, struct exchange *x);

enum handler_verdict {
    HANDLER_REPLY, /* `reply` is complete; its body may be the catalogue's */
    HANDLER_ASKED, /* x->request has been lent to the ledger */
};

/** The message is complete. Call after catalog_enter; catalog_leave only once the reply has been
 * copied. `handle` names the connection in the ledger's answer. */
enum handler_verdict handler_complete(struct network *network, struct exchange *x, const char *body,
                                      size_t length, uint64_t handle, struct reply *reply);

/** The ledger has answered. */
void handler_answer(struct network *network, const struct exchange *x,
                    const struct ledger_request *request, struct reply *reply);

/** The deadline has passed; `waiting`: the ledger never took the request, so nothing happened. */
void handler_deadline(struct network *network, const struct exchange *x, enum ledger_kind kind,
                      bool waiting, struct reply *reply);

/** Refuses a request by its head alone. `detail` as in reply_problem. */
void handler_refuse(struct exchange *x, enum problem problem, const char *detail);

/** Seconds for Retry-After, spread at random, where trying again soon makes sense. */
int handler_retry_soon(struct network *network);

/** A request that is not HTTP. */
void handler_malformed(enum http1_error error, struct reply *reply);

#endif
