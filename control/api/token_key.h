/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The keys behind token.h: how they are read, and whether one of them made a signature. Only
 * token.c and tests need this. */
#ifndef DROPGATE_CONTROL_API_TOKEN_KEY_H
#define DROPGATE_CONTROL_API_TOKEN_KEY_H

#include <openssl/evp.h>
#include <stdbool.h>

#include "control/api/token.h"

enum { TOKEN_SECRET_MIN = 32, TOKEN_SECRET_MAX = 1024 };

struct token_key {
    enum token_algorithm algorithm;
    const char *id;       /* the settings', or NULL */
    EVP_PKEY *public_key; /* TOKEN_RS256 */
    size_t secret_length; /* TOKEN_HS256 */
    unsigned char secret[TOKEN_SECRET_MAX];
};

struct token_keys {
    const char *issuer, *audience; /* the settings', or NULL: not asked for */
    int64_t leeway;                /* ms */
    size_t count;
    struct token_key key[];
};

/** Whether `key` signed these `length` bytes. Takes equally long for every wrong HMAC. */
bool token_key_signed(const struct token_key *key, const char *bytes, size_t length,
                      const uint8_t *signature, size_t signature_length);

#endif
