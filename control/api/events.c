/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A query is strict as a body is: a misspelt `aftr` would otherwise read everything again. */
#include "control/api/events.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/secret_file.h"
#include "control/outbox/page.h"

enum { DIGEST = 32 }; /* SHA-256: digests have one length, so comparing them hides the token's */

struct events_token {
    unsigned char digest[DIGEST];
};

static bool digest_of(const void *bytes, size_t length, unsigned char out[DIGEST])
{
    return EVP_Digest(bytes, length, out, NULL, EVP_sha256(), NULL) == 1;
}

static bool is_visible(const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (bytes[i] < 0x21 || bytes[i] > 0x7e)
            return false;
    return true;
}

struct events_token *events_token_open(const char *path, char *why, size_t why_size)
{
    char text[EVENTS_TOKEN_MAX + 2]; /* and a line end */
    const char *wrong = NULL;
    ssize_t length = secret_file_read_line(path, text, sizeof text, &wrong);
    struct events_token *token = NULL;
    if (length >= 0 && (length < EVENTS_TOKEN_MIN || length > EVENTS_TOKEN_MAX ||
                        !is_visible(text, (size_t)length)))
        wrong = "a token is 32 to 255 visible ASCII characters, without spaces";
    if (!wrong) {
        token = malloc(sizeof *token);
        if (!token || !digest_of(text, (size_t)length, token->digest)) {
            wrong = "memory is short";
            free(token);
            token = NULL;
        }
    }
    OPENSSL_cleanse(text, sizeof text);
    if (wrong)
        snprintf(why, why_size, "[events] token_file = %s: %s", path, wrong);
    return token;
}

void events_token_free(struct events_token *token)
{
    if (token)
        OPENSSL_cleanse(token, sizeof *token);
    free(token);
}

bool events_token_is(const struct events_token *token, const struct http1_slice *sent)
{
    unsigned char digest[DIGEST];
    return digest_of(sent->at, sent->length, digest) &&
           CRYPTO_memcmp(digest, token->digest, sizeof digest) == 0;
}

/* ---- the query ---- */

/* Decimal digits within bounds. False if there is anything else. */
static bool read_number(const char *at, size_t length, int64_t low, int64_t high, int64_t *out)
{
    int64_t value = 0;
    if (length == 0)
        return false;
    for (size_t i = 0; i < length; i++) {
        int digit = at[i] - '0';
        if (digit < 0 || digit > 9 || value > (INT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return value >= low && value <= high;
}

enum parameter { AFTER, LIMIT, WAIT, PARAMETERS };

static const struct {
    const char *name;
    int64_t low, high;
    const char *wrong, *twice;
} PARAMETER[PARAMETERS] = {
    {"after", 0, INT64_MAX, "The parameter after is not a position: 0 or more, in decimal.",
     "The parameter after stands twice."},
    {"limit", 1, PAGE_LIMIT_MAX, "The parameter limit is not within 1 to 1000.",
     "The parameter limit stands twice."},
    {"wait", 0, PAGE_WAIT_MAX, "The parameter wait is not within 0 to 30 seconds.",
     "The parameter wait stands twice."},
};

/* One "name=value". Returns what is wrong. */
static const char *read_pair(const char *at, size_t length, int64_t values[PARAMETERS],
                             bool seen[PARAMETERS])
{
    const char *equals = memchr(at, '=', length);
    size_t name = equals ? (size_t)(equals - at) : length;
    for (int i = 0; i < PARAMETERS; i++) {
        if (strlen(PARAMETER[i].name) != name || memcmp(PARAMETER[i].name, at, name) != 0)
            continue;
        if (seen[i])
            return PARAMETER[i].twice;
        seen[i] = true;
        if (!equals || !read_number(equals + 1, length - name - 1, PARAMETER[i].low,
                                    PARAMETER[i].high, &values[i]))
            return PARAMETER[i].wrong;
        return NULL;
    }
    return "There is a parameter other than after, limit and wait.";
}

const char *events_parse(const struct http1_slice *query, struct ledger_page *page)
{
    int64_t values[PARAMETERS] = {[AFTER] = -1, [LIMIT] = EVENTS_LIMIT_DEFAULT, [WAIT] = 0};
    bool seen[PARAMETERS] = {false};
    const char *at = query->at, *end = query->at + query->length;
    for (const char *wrong; at < end;) {
        const char *stop = memchr(at, '&', (size_t)(end - at));
        size_t length = (size_t)((stop ? stop : end) - at);
        if ((wrong = read_pair(at, length, values, seen)))
            return wrong;
        at += length;
        if (stop && ++at == end)
            return "The query ends with an ampersand.";
    }
    page->after = values[AFTER];
    page->limit = (int32_t)values[LIMIT];
    page->wait = (int32_t)values[WAIT];
    return NULL;
}
