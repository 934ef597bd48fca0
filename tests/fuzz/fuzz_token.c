/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Bearer tokens: the input as a token, which no key has signed and so is never good; and the input
 * as header and claims of one that is signed, so that what is behind the signature is reached. */
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#include "control/api/identity.h"
#include "control/api/token_key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

static struct token_keys *make_keys(void)
{
    struct token_keys *keys = calloc(1, sizeof *keys + sizeof *keys->key);
    require(keys != NULL);
    keys->count = 1;
    keys->key[0].algorithm = TOKEN_HS256;
    keys->key[0].secret_length = 32;
    return keys;
}

static size_t encode(const uint8_t *in, size_t length, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t n = 0;
    unsigned bits = 0, held = 0;
    for (size_t i = 0; i < length; i++) {
        bits = (bits << 8 | in[i]) & 0xfff;
        for (held += 8; held >= 6; held -= 6)
            out[n++] = digits[bits >> (held - 6) & 63];
    }
    if (held)
        out[n++] = digits[bits << (6 - held) & 63];
    return n;
}

/* {"alg":"HS256"} when the input begins with a zero, else the input's first half. */
static size_t sign(const struct token_keys *keys, const uint8_t *data, size_t size, char *out)
{
    static const char usual[] = "{\"alg\":\"HS256\"}";
    size_t split = data[0] ? size / 2 : 1, n;
    uint8_t mac[32];
    n = data[0] ? encode(data, split, out) : encode((const uint8_t *)usual, sizeof usual - 1, out);
    out[n++] = '.';
    n += encode(data + split, size - split, out + n);
    HMAC(EVP_sha256(), keys->key[0].secret, 32, (const uint8_t *)out, n, mac, NULL);
    out[n++] = '.';
    return n + encode(mac, sizeof mac, out + n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct token_keys *keys;
    static char token[2 * TOKEN_MAX];
    char user[TOKEN_USER_MAX];
    size_t length = 0;
    if (!keys)
        keys = make_keys();
    if (size < 2 || size > TOKEN_MAX / 2)
        return 0;
    require(token_verify(keys, (const char *)data, size, 1800000000, user, &length) != TOKEN_GOOD);
    if (token_verify(keys, token, sign(keys, data, size, token), 1800000000, user, &length) ==
        TOKEN_GOOD)
        require(identity_check_user(user, length) == IDENTITY_GOOD);
    return 0;
}
