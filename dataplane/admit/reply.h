/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What a refused request is answered: a small, complete HTTP/1.1 response as the purchase service
 * would give it (docs/api.md), or a page for people. It is no longer than the smallest segment that
 * any client takes, so it arrives whole or not at all. Pure: the same refusal at the same second is
 * the same bytes. Any thread. */
#ifndef DROPGATE_DATAPLANE_ADMIT_REPLY_H
#define DROPGATE_DATAPLANE_ADMIT_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/http1.h"

/** Why; each is a problem of docs/api.md. */
enum refusal_kind {
    REFUSAL_NONE,
    REFUSAL_RATE,       /* 429: the client asks too often */
    REFUSAL_NOT_OPEN,   /* 403: not before opens_at */
    REFUSAL_BUSY,       /* 503: over what a rule admits */
    REFUSAL_SOLD_OUT,   /* 409 */
    REFUSAL_CLOSED,     /* 410: the sale is over */
    REFUSAL_NO_BACKEND, /* 503: all of the service's backends are down */
    REFUSAL_KINDS
};

/** A refusal, and how its client wants to be told. */
struct refusal {
    int64_t opens_at;       /* NOT_OPEN: Unix time in milliseconds; 0 = unknown, and not said */
    uint32_t retry_after_s; /* spread already; 0 = not said */
    uint8_t kind;           /* enum refusal_kind */
    bool head;              /* HEAD: the same without its body */
    bool html;              /* a page, else problem+json (RFC 9457) */
};

/** An answer's length at most: the smallest MSS class, less timestamps. */
enum { REPLY_MOST = 536 - 12 };

/** Writes the answer; returns its length. */
uint16_t reply_write(const struct refusal *refusal, uint64_t unix_ms, uint8_t out[REPLY_MOST]);

/** Whether a client with this Accept (NULL: none) prefers a page to JSON (RFC 9110 section 12.5.1).
 * What takes either gets JSON. */
bool reply_prefers_html(const struct http1_slice *accept);

#endif
