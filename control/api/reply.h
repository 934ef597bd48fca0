/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What goes out: an answer as a value, and its rendering as HTTP/1.1 bytes. A granted reservation
 * is rendered from its immutable columns only, by the version that its row names, so that a replay
 * is the same bytes ever after. Pure: no clock, no socket. */
#ifndef DROPGATE_CONTROL_API_REPLY_H
#define DROPGATE_CONTROL_API_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/api/problem.h"
#include "control/ledger/request.h"

enum { REPLY_TEXT_MAX = 1024, REPLY_FIELDS_MAX = 512, REPLY_HEAD_MAX = 1024 };

struct reply {
    int status;
    const char *content_type; /* NULL: no body at all (204, 304) */
    const char *cache;        /* Cache-Control */
    const char *body;         /* `text`, or somebody else's bytes */
    size_t body_length;
    size_t fields_length;
    char fields[REPLY_FIELDS_MAX]; /* more header fields, each with its line end */
    char text[REPLY_TEXT_MAX];
};

/** No Retry-After. */
#define REPLY_NO_RETRY (-1)

/** Begins an answer. `body` is borrowed until it has been sent. */
void reply_begin(struct reply *reply, int status, const char *content_type, const char *cache,
                 const char *body, size_t body_length);

/** Appends "NAME: VALUE". What does not fit is left out, which REPLY_FIELDS_MAX makes impossible
 * for our own. */
void reply_field(struct reply *reply, const char *name, const char *value);

/** A problem (RFC 9457). `detail` is a plain sentence without quotes or backslashes, or NULL;
 * `retry_after` whole seconds or REPLY_NO_RETRY. Not to be stored by caches. */
void reply_problem(struct reply *reply, enum problem problem, const char *detail, int retry_after);

/** The problem not-open, with the opening time (microseconds since 2000) as the member opens_at. */
void reply_not_open(struct reply *reply, int64_t opens_at, int retry_after);

/** 201 with Location, from immutable columns; or, with an unknown render version, a 500 problem. */
void reply_granted(struct reply *reply, const uint8_t id[16], const struct grant *grant);

/** 200: the reservation with its present state. */
void reply_reservation(struct reply *reply, const uint8_t id[16], const struct grant *grant,
                       const char *state);

/** How the connection goes on. */
enum reply_connection { REPLY_KEEP, REPLY_KEEP_1_0, REPLY_CLOSE };

/** Writes the head, with the empty line, into `out` (REPLY_HEAD_MAX bytes). `date` is an
 * IMF-fixdate. Returns the number of bytes. */
size_t reply_head(const struct reply *reply, const char *date, enum reply_connection connection,
                  char out[REPLY_HEAD_MAX]);

#endif
