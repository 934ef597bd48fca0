/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A public key is decoded once and used by all threads at the same time, which OpenSSL permits for
 * verifying. */
#include "control/api/token_key.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/secret_file.h"

enum { RSA_BITS_MIN = 2048, RSA_BITS_MAX = 8192, SHA256_BYTES = 32 };

/* ---- reading ---- */

static const char *read_secret(struct token_key *key, const char *path)
{
    const char *wrong = NULL;
    ssize_t length = secret_file_read_line(path, (char *)key->secret, sizeof key->secret, &wrong);
    if (length < 0)
        return wrong;
    key->secret_length = (size_t)length;
    return length < TOKEN_SECRET_MIN ? "an HS256 secret has at least 32 bytes" : NULL;
}

static const char *read_public_key(struct token_key *key, const char *path)
{
    BIO *file = BIO_new_file(path, "r");
    if (!file)
        return "cannot be read";
    key->public_key = PEM_read_bio_PUBKEY(file, NULL, NULL, NULL);
    BIO_free(file);
    if (!key->public_key)
        return "holds no public key in PEM (-----BEGIN PUBLIC KEY-----)";
    if (!EVP_PKEY_is_a(key->public_key, "RSA"))
        return "is not an RSA key, which RS256 wants";
    int bits = EVP_PKEY_get_bits(key->public_key);
    return bits < RSA_BITS_MIN || bits > RSA_BITS_MAX ? "an RS256 key has 2,048 to 8,192 bits"
                                                      : NULL;
}

struct token_keys *token_keys_open(const struct settings *settings, char *why, size_t why_size)
{
    const struct jwt_settings *jwt = settings->jwt.items;
    size_t count = settings->jwt.count;
    struct token_keys *keys = calloc(1, sizeof *keys + count * sizeof *keys->key);
    if (!keys) {
        snprintf(why, why_size, "memory is short");
        return NULL;
    }
    keys->issuer = settings->control.token_issuer;
    keys->audience = settings->control.token_audience;
    keys->leeway = settings->control.clock_skew;
    keys->count = count;
    for (size_t i = 0; i < count; i++) {
        struct token_key *key = &keys->key[i];
        key->algorithm = (enum token_algorithm)jwt[i].algorithm;
        key->id = jwt[i].key_id;
        const char *wrong = key->algorithm == TOKEN_HS256 ? read_secret(key, jwt[i].file)
                                                          : read_public_key(key, jwt[i].file);
        if (!wrong)
            continue;
        snprintf(why, why_size, "[jwt %s] file = %s: %s", jwt[i].name, jwt[i].file, wrong);
        token_keys_free(keys);
        ERR_clear_error();
        return NULL;
    }
    return keys;
}

void token_keys_free(struct token_keys *keys)
{
    for (size_t i = 0; keys && i < keys->count; i++)
        EVP_PKEY_free(keys->key[i].public_key);
    if (keys)
        OPENSSL_cleanse(keys->key, keys->count * sizeof *keys->key);
    free(keys);
}

/* ---- verifying ---- */

static bool verify_hs256(const struct token_key *key, const char *bytes, size_t length,
                         const uint8_t *signature, size_t signature_length)
{
    uint8_t expected[SHA256_BYTES];
    return signature_length == sizeof expected &&
           HMAC(EVP_sha256(), key->secret, (int)key->secret_length, (const uint8_t *)bytes, length,
                expected, NULL) &&
           CRYPTO_memcmp(expected, signature, sizeof expected) == 0;
}

static bool verify_rs256(const struct token_key *key, const char *bytes, size_t length,
                         const uint8_t *signature, size_t signature_length)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good =
        context && EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key->public_key) == 1 &&
        EVP_DigestVerify(context, signature, signature_length, (const uint8_t *)bytes, length) == 1;
    EVP_MD_CTX_free(context);
    if (!good)
        ERR_clear_error(); /* or the thread's queue of errors grows */
    return good;
}

bool token_key_signed(const struct token_key *key, const char *bytes, size_t length,
                      const uint8_t *signature, size_t signature_length)
{
    return key->algorithm == TOKEN_HS256
               ? verify_hs256(key, bytes, length, signature, signature_length)
               : verify_rs256(key, bytes, length, signature, signature_length);
}
