/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Everything that is hashed stands behind its length. The layout is part of the contract between
 * instances and versions: changing it makes every retry a new purchase. */
#include "control/ledger/key.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "control/ledger/wire.h"

static int first_half_of_sha256(const void *bytes, size_t length, uint8_t out[16])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    if (!EVP_Digest(bytes, length, digest, NULL, EVP_sha256(), NULL))
        return -ENOMEM;
    memcpy(out, digest, 16);
    return 0;
}

int key_reservation_id(const char *user, size_t user_length, int32_t sale, const char *key,
                       size_t key_length, uint8_t id[16])
{
    char bytes[3 * 4 + 255 + 4 + 255], *at = bytes;
    if (user_length < 1 || user_length > 255 || key_length < 1 || key_length > 255)
        return -EINVAL;
    at = wire_put(wire_put32(at, (uint32_t)user_length), user, user_length);
    at = wire_put32(wire_put32(at, 4), (uint32_t)sale);
    at = wire_put(wire_put32(at, (uint32_t)key_length), key, key_length);
    return first_half_of_sha256(bytes, (size_t)(at - bytes), id);
}

int key_fingerprint(int32_t quantity, uint8_t fingerprint[16])
{
    char bytes[64],
        *at = wire_put(bytes, "reservation 1 quantity", sizeof "reservation 1 quantity");
    at = wire_put32(at, (uint32_t)quantity);
    return first_half_of_sha256(bytes, (size_t)(at - bytes), fingerprint);
}

int key_attempt_id(const uint8_t reservation[16], const char *key, size_t key_length,
                   uint8_t attempt[16])
{
    char bytes[sizeof "payment 1" + 16 + 4 + 255], *at = bytes;
    if (key_length < 1 || key_length > 255)
        return -EINVAL;
    at = wire_put(wire_put(at, "payment 1", sizeof "payment 1"), reservation, 16);
    at = wire_put(wire_put32(at, (uint32_t)key_length), key, key_length);
    return first_half_of_sha256(bytes, (size_t)(at - bytes), attempt);
}

int key_payment_fingerprint(const char *method, size_t length, uint8_t fingerprint[16])
{
    char bytes[sizeof "payment 1 method" + 4 + 255], *at = bytes;
    if (length < 1 || length > 255)
        return -EINVAL;
    at = wire_put(at, "payment 1 method", sizeof "payment 1 method");
    at = wire_put(wire_put32(at, (uint32_t)length), method, length);
    return first_half_of_sha256(bytes, (size_t)(at - bytes), fingerprint);
}

static const uint8_t DASH_BEFORE[16] = {[4] = 1, [6] = 1, [8] = 1, [10] = 1};

const char *key_print(const uint8_t id[16], char out[KEY_UUID_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    char *at = out;
    for (int i = 0; i < 16; i++) {
        if (DASH_BEFORE[i])
            *at++ = '-';
        *at++ = digits[id[i] >> 4];
        *at++ = digits[id[i] & 15];
    }
    *at = '\0';
    return out;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int key_parse(const char *text, size_t length, uint8_t id[16])
{
    if (length != KEY_UUID_TEXT - 1)
        return -EINVAL;
    for (int i = 0; i < 16; i++) {
        if (DASH_BEFORE[i] && *text++ != '-')
            return -EINVAL;
        int high = hex_value(text[0]), low = hex_value(text[1]);
        if (high < 0 || low < 0)
            return -EINVAL;
        id[i] = (uint8_t)(high << 4 | low);
        text += 2;
    }
    return 0;
}
