/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The time is judged after the signature: who cannot sign learns nothing about our clock. */
#include "control/payment/signature.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { DIGEST = 32, SIGNATURES_MAX = 4, TIME_DIGITS_MAX = 11 };

struct parts {
    const char *time; /* as it is signed */
    size_t time_length;
    int64_t at;
    size_t count;
    unsigned char signature[SIGNATURES_MAX][DIGEST];
};

static bool read_time(const char *at, size_t length, struct parts *out)
{
    if (out->time || length < 1 || length > TIME_DIGITS_MAX)
        return false;
    out->time = at;
    out->time_length = length;
    for (size_t i = 0; i < length; i++) {
        if (at[i] < '0' || at[i] > '9')
            return false;
        out->at = out->at * 10 + (at[i] - '0');
    }
    return true;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_signature(const char *at, size_t length, struct parts *out)
{
    if (out->count == SIGNATURES_MAX || length != DIGEST * 2)
        return false;
    for (int i = 0; i < DIGEST; i++) {
        int high = hex_value(at[2 * i]), low = hex_value(at[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out->signature[out->count][i] = (unsigned char)(high << 4 | low);
    }
    out->count++;
    return true;
}

static bool read_field(const char *at, size_t length, struct parts *out)
{
    const char *end = at + length;
    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at)), *stop = comma ? comma : end;
        const char *equals = memchr(at, '=', (size_t)(stop - at));
        if (!equals)
            return false;
        size_t name = (size_t)(equals - at), value = (size_t)(stop - equals - 1);
        if (name == 1 && *at == 't' && !read_time(equals + 1, value, out))
            return false;
        if (name == 2 && !memcmp(at, "v1", 2) && !read_signature(equals + 1, value, out))
            return false;
        at = comma ? comma + 1 : end;
    }
    return out->time && out->count > 0;
}

static bool sign(const char *secret, size_t length, const struct parts *parts, const char *body,
                 size_t body_length, unsigned char digest[DIGEST])
{
    unsigned int size = 0;
    size_t total = parts->time_length + 1 + body_length;
    char *text = malloc(total);
    if (!text)
        return false;
    memcpy(text, parts->time, parts->time_length);
    text[parts->time_length] = '.';
    memcpy(text + parts->time_length + 1, body, body_length);
    bool good =
        HMAC(EVP_sha256(), secret, (int)length, (unsigned char *)text, total, digest, &size) &&
        size == DIGEST;
    free(text);
    return good;
}

enum signature_result signature_check(const struct signature_secrets *secrets, const char *field,
                                      size_t field_length, const char *body, size_t body_length,
                                      int64_t now, int64_t tolerance)
{
    struct parts parts = {0};
    if (!read_field(field, field_length, &parts))
        return SIGNATURE_MALFORMED;
    bool right = false;
    for (int s = 0; s < SIGNATURE_SECRETS; s++) {
        unsigned char digest[DIGEST];
        if (secrets->length[s] == 0 ||
            !sign(secrets->bytes[s], secrets->length[s], &parts, body, body_length, digest))
            continue;
        for (size_t i = 0; i < parts.count; i++)
            right |= CRYPTO_memcmp(digest, parts.signature[i], DIGEST) == 0;
    }
    if (!right)
        return SIGNATURE_WRONG;
    return parts.at < now - tolerance || parts.at > now + tolerance ? SIGNATURE_UNTIMELY
                                                                    : SIGNATURE_GOOD;
}
