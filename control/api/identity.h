/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Who asks, and under which idempotency key: both read from the head, both refused when ambiguous.
 * Pure. */
#ifndef DROPGATE_CONTROL_API_IDENTITY_H
#define DROPGATE_CONTROL_API_IDENTITY_H

#include "common/http1.h"

enum identity_result {
    IDENTITY_GOOD,
    IDENTITY_MISSING,   /* no such field, or an empty one */
    IDENTITY_REPEATED,  /* more than one field */
    IDENTITY_TOO_LONG,  /* over 255 bytes */
    IDENTITY_MALFORMED, /* a user that is not UTF-8 or has control characters; a key that is not
                           visible ASCII */
};

/** The user from the field `header`: 1..255 bytes of UTF-8 (RFC 3629) without control characters.
 * `out` points into the head. */
enum identity_result identity_user(const struct http1_head *head, const char *header,
                                   struct http1_slice *out);

/** Whether these bytes may be a user: IDENTITY_GOOD, IDENTITY_MISSING (none), IDENTITY_TOO_LONG or
 * IDENTITY_MALFORMED. */
enum identity_result identity_check_user(const char *bytes, size_t length);

/** The token of the one Authorization field, "Bearer TOKEN" (RFC 6750 section 2.1); the scheme's
 * case does not matter. IDENTITY_MISSING also for another scheme, IDENTITY_MALFORMED for a token
 * with spaces or none. `out` points into the head. */
enum identity_result identity_bearer(const struct http1_head *head, struct http1_slice *out);

enum { IDEMPOTENCY_KEY_MAX = 255 };

struct idempotency_key {
    size_t length;
    char bytes[IDEMPOTENCY_KEY_MAX];
};

/** The Idempotency-Key field: a quoted string (RFC 8941 section 3.3.3, as the IETF draft has it) or
 * bare visible ASCII without quotes, commas, semicolons or backslashes, as most clients send it;
 * "x" and x are the same key. 1..255 bytes without the quotes. */
enum identity_result idempotency_key(const struct http1_head *head, struct idempotency_key *out);

#endif
