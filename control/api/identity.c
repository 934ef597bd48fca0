/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A user decides whose limit is used up, so nothing is trimmed, folded or repaired here: what is
 * not exactly one well-formed value is refused. */
#include "control/api/identity.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

enum { USER_MAX = 255 };

/* Length of the UTF-8 sequence at `s` (shortest form, no surrogates, up to U+10FFFF), or 0. Also 0
 * for control characters: C0, DEL and C1. */
static size_t printable_length(const uint8_t *s, size_t left)
{
    if (s[0] < 0x80)
        return s[0] >= 0x20 && s[0] != 0x7f;
    size_t length = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || left < length)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool surrogate = s[0] == 0xed && s[1] > 0x9f;
    bool beyond = s[0] == 0xf4 && s[1] > 0x8f;
    bool c1 = s[0] == 0xc2 && s[1] < 0xa0;
    return overlong || surrogate || beyond || c1 ? 0 : length;
}

static enum identity_result only_field(const struct http1_head *head, const char *name,
                                       struct http1_slice *out)
{
    size_t count = 0;
    const struct http1_slice *value = http1_find(head, name, &count);
    if (count > 1)
        return IDENTITY_REPEATED;
    if (!value || value->length == 0)
        return IDENTITY_MISSING;
    *out = *value;
    return IDENTITY_GOOD;
}

enum identity_result identity_check_user(const char *bytes, size_t length)
{
    if (length == 0)
        return IDENTITY_MISSING;
    if (length > USER_MAX)
        return IDENTITY_TOO_LONG;
    for (size_t i = 0, step; i < length; i += step) {
        step = printable_length((const uint8_t *)bytes + i, length - i);
        if (!step)
            return IDENTITY_MALFORMED;
    }
    return IDENTITY_GOOD;
}

enum identity_result identity_user(const struct http1_head *head, const char *header,
                                   struct http1_slice *out)
{
    enum identity_result result = only_field(head, header, out);
    return result == IDENTITY_GOOD ? identity_check_user(out->at, out->length) : result;
}

enum identity_result identity_bearer(const struct http1_head *head, struct http1_slice *out)
{
    static const char scheme[] = "Bearer";
    const size_t length = sizeof scheme - 1;
    enum identity_result result = only_field(head, "Authorization", out);
    if (result != IDENTITY_GOOD)
        return result;
    if (out->length < length || strncasecmp(out->at, scheme, length) != 0 ||
        (out->length > length && out->at[length] != ' '))
        return IDENTITY_MISSING;
    const char *at = out->at + length, *end = out->at + out->length;
    while (at < end && *at == ' ')
        at++;
    *out = (struct http1_slice){at, (size_t)(end - at)};
    return at == end || memchr(at, ' ', out->length) ? IDENTITY_MALFORMED : IDENTITY_GOOD;
}

/* RFC 8941: printable ASCII between quotes; a backslash may only stand before a quote or a
 * backslash. */
static enum identity_result read_quoted(const struct http1_slice *value,
                                        struct idempotency_key *out)
{
    const char *at = value->at + 1, *end = value->at + value->length;
    for (; at < end && *at != '"'; at++) {
        if (*at == '\\' && (++at == end || (*at != '"' && *at != '\\')))
            return IDENTITY_MALFORMED;
        if (*at < 0x20 || *at > 0x7e)
            return IDENTITY_MALFORMED;
        if (out->length == IDEMPOTENCY_KEY_MAX)
            return IDENTITY_TOO_LONG;
        out->bytes[out->length++] = *at;
    }
    return at + 1 == end ? IDENTITY_GOOD : IDENTITY_MALFORMED;
}

static enum identity_result read_bare(const struct http1_slice *value, struct idempotency_key *out)
{
    for (size_t i = 0; i < value->length; i++)
        if (value->at[i] < 0x21 || value->at[i] > 0x7e || strchr("\",;\\", value->at[i]))
            return IDENTITY_MALFORMED;
    if (value->length > IDEMPOTENCY_KEY_MAX)
        return IDENTITY_TOO_LONG;
    memcpy(out->bytes, value->at, value->length);
    out->length = value->length;
    return IDENTITY_GOOD;
}

enum identity_result idempotency_key(const struct http1_head *head, struct idempotency_key *out)
{
    struct http1_slice value;
    out->length = 0;
    enum identity_result result = only_field(head, "Idempotency-Key", &value);
    if (result != IDENTITY_GOOD)
        return result;
    result = value.at[0] == '"' ? read_quoted(&value, out) : read_bare(&value, out);
    return result == IDENTITY_GOOD && out->length == 0 ? IDENTITY_MISSING : result;
}
