/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What stands before GET /v1/events: who may read them (systems, by one token from a file), and
 * what the query asks for. Any thread, but for opening the file. */
#ifndef DROPGATE_CONTROL_API_EVENTS_H
#define DROPGATE_CONTROL_API_EVENTS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/http1.h"
#include "control/ledger/request.h"

enum { EVENTS_TOKEN_MIN = 32, EVENTS_TOKEN_MAX = 255, EVENTS_LIMIT_DEFAULT = 100 };

struct events_token;

/** Reads the token's file: one line of 32..255 bytes, closed to others. NULL with the reason, which
 * names the key and the file, in `why`. Main thread. */
struct events_token *events_token_open(const char *path, char *why, size_t why_size);

/** Wipes and frees; NULL is nothing. */
void events_token_free(struct events_token *token);

/** Whether this is the token. How long that takes says nothing about it. */
bool events_token_is(const struct events_token *token, const struct http1_slice *sent);

/** Reads `after` (0..2^63-1), `limit` (1..PAGE_LIMIT_MAX) and `wait` (0..PAGE_WAIT_MAX seconds),
 * each at most once and in decimal without sign, into `page`; what is not named gets its default.
 * Returns NULL, or what is wrong as a sentence without quotes. Pure. */
const char *events_parse(const struct http1_slice *query, struct ledger_page *page);

#endif
