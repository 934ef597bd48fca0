/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Every refusal of the API, once: its name, HTTP status and title (RFC 9457). docs/api.md lists the
 * same names; a client decides by them. Pure. */
#ifndef DROPGATE_CONTROL_API_PROBLEM_H
#define DROPGATE_CONTROL_API_PROBLEM_H

enum problem {
    /* the request itself */
    PROBLEM_BAD_REQUEST,
    PROBLEM_BAD_BODY,
    PROBLEM_BAD_KEY,
    PROBLEM_MISSING_KEY,
    PROBLEM_BAD_USER,
    PROBLEM_IDENTITY_REQUIRED,
    PROBLEM_INVALID_TOKEN,
    PROBLEM_BAD_QUERY,
    PROBLEM_EVENTS_OFF,
    PROBLEM_EVENTS_GONE,
    PROBLEM_POSITION_AHEAD,
    PROBLEM_NOT_FOUND,
    PROBLEM_METHOD_NOT_ALLOWED,
    PROBLEM_REQUEST_TIMEOUT,
    PROBLEM_BODY_TOO_LARGE,
    PROBLEM_TARGET_TOO_LONG,
    PROBLEM_MEDIA_TYPE,
    PROBLEM_EXPECTATION,
    PROBLEM_HEAD_TOO_LARGE,
    PROBLEM_NOT_IMPLEMENTED,
    PROBLEM_VERSION,
    /* the sale */
    PROBLEM_NO_ITEM,
    PROBLEM_NO_SALE,
    PROBLEM_NO_RESERVATION,
    PROBLEM_NOT_OPEN,
    PROBLEM_SOLD_OUT,
    PROBLEM_INSUFFICIENT_STOCK,
    PROBLEM_LIMIT_REACHED,
    PROBLEM_KEY_IN_FLIGHT,
    PROBLEM_KEY_REUSED,
    PROBLEM_SALE_CLOSED,
    PROBLEM_WRONG_STATE,
    /* the service */
    PROBLEM_INTERNAL,
    PROBLEM_STARTING,
    PROBLEM_BUSY,
    PROBLEM_OUTCOME_UNKNOWN,
    PROBLEM_LEDGER_UNAVAILABLE,
    PROBLEM_TOO_MANY_CONNECTIONS,
    PROBLEM_DRAINING,
    PROBLEMS
};

struct problem_row {
    const char *name; /* "type" is PROBLEM_TYPE_PREFIX and this */
    int status;
    const char *title;
};

/** RFC 9457 section 3.1.1: a type that leads to no document is a tag URI (RFC 4151). */
#define PROBLEM_TYPE_PREFIX "tag:dropgate,2026:problems/"

extern const struct problem_row PROBLEM_ROWS[PROBLEMS];

#endif
