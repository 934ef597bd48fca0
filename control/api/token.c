/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * On OpenSSL and jansson directly. libjwt 1.10 decodes the PEM of a public key again for each token
 * (430 us of processor beside 27 us here), takes the last of several members of one name, and skips
 * characters that are no base64url. */
#include "control/api/token.h"

#include <jansson.h>
#include <math.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "control/api/identity.h"
#include "control/api/token_key.h"

struct part {
    const char *at;
    size_t length;
};

static int digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* Base64url without padding (RFC 7515 section 2), in its one spelling: bits beyond the last byte
 * are zero. Returns the bytes' number, or -1. `out` has room for TOKEN_MAX. */
static long decode(const struct part *part, uint8_t *out)
{
    uint32_t bits = 0;
    size_t n = 0, held = 0;
    if (part->length % 4 == 1)
        return -1;
    for (size_t i = 0; i < part->length; i++) {
        int value = digit(part->at[i]);
        if (value < 0)
            return -1;
        bits = bits << 6 | (uint32_t)value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[n++] = (uint8_t)(bits >> held);
            bits &= (1u << held) - 1;
        }
    }
    return bits ? -1 : (long)n;
}

/* Exactly three parts, none empty. */
static bool split(const char *text, size_t length, struct part parts[3])
{
    for (int i = 0; i < 3; i++) {
        const char *dot = i < 2 ? memchr(text, '.', length) : text + length;
        if (!dot || dot == text)
            return false;
        parts[i] = (struct part){text, (size_t)(dot - text)};
        length -= i < 2 ? parts[i].length + 1 : 0;
        text = dot + 1;
    }
    return true;
}

/* The JSON object in a part, or NULL. */
static json_t *read_object(const struct part *part)
{
    uint8_t bytes[TOKEN_MAX];
    long length = decode(part, bytes);
    json_t *root =
        length > 0 ? json_loadb((const char *)bytes, (size_t)length, JSON_REJECT_DUPLICATES, NULL)
                   : NULL;
    if (root && !json_is_object(root)) {
        json_decref(root);
        root = NULL;
    }
    return root;
}

/* ---- the header: which keys may be asked ---- */

struct choice {
    enum token_algorithm algorithm;
    const char *id; /* NULL: it names none */
};

static enum token_result read_header(const json_t *header, struct choice *out)
{
    const json_t *id = json_object_get(header, "kid");
    const char *algorithm = json_string_value(json_object_get(header, "alg"));
    if (json_object_get(header, "crit"))
        return TOKEN_CRITICAL;
    if (!algorithm || (id && !json_is_string(id)))
        return TOKEN_MALFORMED;
    out->id = json_string_value(id);
    out->algorithm = !strcmp(algorithm, "HS256")   ? TOKEN_HS256
                     : !strcmp(algorithm, "RS256") ? TOKEN_RS256
                                                   : TOKEN_ALGORITHMS;
    return TOKEN_GOOD;
}

/* A key without an id may have signed any token; so may any key a token that names none. */
static bool may_have_signed(const struct token_key *key, const struct choice *choice)
{
    return key->algorithm == choice->algorithm &&
           (!key->id || !choice->id || !strcmp(key->id, choice->id));
}

static enum token_result verify_signature(const struct token_keys *keys,
                                          const struct choice *choice, const char *text,
                                          size_t length, const struct part *part)
{
    uint8_t signature[TOKEN_MAX];
    long signature_length = decode(part, signature);
    enum token_result result = TOKEN_KEY;
    if (signature_length < 0)
        return TOKEN_MALFORMED;
    for (size_t i = 0; i < keys->count; i++) {
        if (!may_have_signed(&keys->key[i], choice))
            continue;
        if (token_key_signed(&keys->key[i], text, length, signature, (size_t)signature_length))
            return TOKEN_GOOD;
        result = TOKEN_SIGNATURE;
    }
    return result;
}

/* ---- the claims ---- */

/* A NumericDate may have a fraction. */
static bool read_date(const json_t *claims, const char *name, double *out)
{
    const json_t *value = json_object_get(claims, name);
    *out = json_number_value(value);
    return json_is_number(value) && isfinite(*out);
}

static enum token_result check_times(const struct token_keys *keys, const json_t *claims,
                                     int64_t now)
{
    double at = (double)now, leeway = (double)keys->leeway / 1000, date;
    if (!read_date(claims, "exp", &date))
        return TOKEN_EXPIRY;
    if (at >= date + leeway)
        return TOKEN_EXPIRED;
    if (json_object_get(claims, "nbf") && (!read_date(claims, "nbf", &date) || at + leeway < date))
        return TOKEN_EARLY;
    return TOKEN_GOOD;
}

static bool is_text(const json_t *value, const char *text)
{
    const char *s = json_string_value(value);
    return s && !strcmp(s, text);
}

/* Who is not named in an audience must refuse the token (RFC 7519 section 4.1.3), so one with an
 * audience is refused as well where none is configured. */
static bool is_for_us(const struct token_keys *keys, const json_t *audience)
{
    if (!keys->audience)
        return !audience;
    if (!json_is_array(audience))
        return is_text(audience, keys->audience);
    for (size_t i = 0; i < json_array_size(audience); i++)
        if (is_text(json_array_get(audience, i), keys->audience))
            return true;
    return false;
}

static enum token_result read_subject(const json_t *claims, char user[TOKEN_USER_MAX],
                                      size_t *user_length)
{
    const json_t *subject = json_object_get(claims, "sub");
    size_t length = json_string_length(subject);
    if (!json_is_string(subject) ||
        identity_check_user(json_string_value(subject), length) != IDENTITY_GOOD)
        return TOKEN_SUBJECT;
    memcpy(user, json_string_value(subject), length);
    *user_length = length;
    return TOKEN_GOOD;
}

static enum token_result read_claims(const struct token_keys *keys, const json_t *claims,
                                     int64_t now, char user[TOKEN_USER_MAX], size_t *user_length)
{
    enum token_result result = check_times(keys, claims, now);
    if (result != TOKEN_GOOD)
        return result;
    if (keys->issuer && !is_text(json_object_get(claims, "iss"), keys->issuer))
        return TOKEN_ISSUER;
    if (!is_for_us(keys, json_object_get(claims, "aud")))
        return TOKEN_AUDIENCE;
    return read_subject(claims, user, user_length);
}

enum token_result token_verify(const struct token_keys *keys, const char *text, size_t length,
                               int64_t now, char user[TOKEN_USER_MAX], size_t *user_length)
{
    struct part parts[3];
    struct choice choice;
    if (length > TOKEN_MAX || !split(text, length, parts))
        return TOKEN_MALFORMED;
    json_t *header = read_object(&parts[0]);
    enum token_result result = header ? read_header(header, &choice) : TOKEN_MALFORMED;
    if (result == TOKEN_GOOD) {
        size_t signed_length = parts[0].length + 1 + parts[1].length;
        result = verify_signature(keys, &choice, text, signed_length, &parts[2]);
    }
    json_decref(header);
    if (result != TOKEN_GOOD)
        return result;
    json_t *claims = read_object(&parts[1]);
    result = claims ? read_claims(keys, claims, now, user, user_length) : TOKEN_MALFORMED;
    json_decref(claims);
    return result;
}

const char *token_reason(enum token_result result)
{
    static const char *const REASONS[TOKEN_RESULTS] = {
        [TOKEN_MALFORMED] = "The token is not a JSON Web Token in compact form.",
        [TOKEN_KEY] = "No key is known for the algorithm and key id of the token.",
        [TOKEN_CRITICAL] = "The token has critical header members, which are not understood here.",
        [TOKEN_SIGNATURE] = "The signature of the token is not valid.",
        [TOKEN_EXPIRY] = "The token has no time of expiry (exp).",
        [TOKEN_EXPIRED] = "The token has expired.",
        [TOKEN_EARLY] = "The token is not valid yet (nbf).",
        [TOKEN_ISSUER] = "The issuer of the token (iss) is not trusted here.",
        [TOKEN_AUDIENCE] = "The token is for another audience (aud).",
        [TOKEN_SUBJECT] =
            "The subject of the token (sub) is not 1 to 255 bytes of text without control "
            "characters.",
    };
    return REASONS[result];
}
