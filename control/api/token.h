/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Bearer tokens: JSON Web Tokens (RFC 7519) signed as JWS in compact form (RFC 7515). Each key is
 * pinned to one algorithm, so a token never chooses how it is checked: "none" does not exist here,
 * and a public key is never taken for an HMAC secret. A set of keys is constant once made; what a
 * call allocates it frees; without memory a token is malformed. The clock is the caller's. Any
 * thread. */
#ifndef DROPGATE_CONTROL_API_TOKEN_H
#define DROPGATE_CONTROL_API_TOKEN_H

#include <stddef.h>
#include <stdint.h>

#include "control/settings.h"

enum token_result {
    TOKEN_GOOD,
    TOKEN_MALFORMED, /* not three parts of canonical base64url with JSON objects in them */
    TOKEN_KEY,       /* no key of ours has its algorithm and key id */
    TOKEN_CRITICAL,  /* has header members that must be understood (RFC 7515 section 4.1.11) */
    TOKEN_SIGNATURE,
    TOKEN_EXPIRY, /* no "exp", or one that is no number */
    TOKEN_EXPIRED,
    TOKEN_EARLY, /* "nbf" is still to come, or no number */
    TOKEN_ISSUER,
    TOKEN_AUDIENCE,
    TOKEN_SUBJECT, /* no "sub", or not 1..255 bytes of UTF-8 without control characters */
    TOKEN_RESULTS,
};

enum { TOKEN_MAX = 8192, TOKEN_USER_MAX = 255 };

struct token_keys;

/** Reads the files of all [jwt] sections. NULL with the reason, naming section and file, in `why`.
 * An HS256 secret is 32..1,024 bytes (RFC 7518 section 3.2) in a file closed to others, less a line
 * end at its end; an RS256 key is a public one in PEM of 2,048..8,192 bits (section 3.3). Main
 * thread. */
struct token_keys *token_keys_open(const struct settings *settings, char *why, size_t why_size);

/** Wipes and frees; NULL is nothing. */
void token_keys_free(struct token_keys *keys);

/** Verifies `text` at `now` (seconds since 1970). Only after TOKEN_GOOD are `user` and
 * `*user_length` written. Signature first: a claim of a token that is not ours is never looked at.
 */
enum token_result token_verify(const struct token_keys *keys, const char *text, size_t length,
                               int64_t now, char user[TOKEN_USER_MAX], size_t *user_length);

/** A sentence for the client, without quotes or backslashes; NULL for TOKEN_GOOD. */
const char *token_reason(enum token_result result);

#endif
