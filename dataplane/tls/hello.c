/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Records first: their headers are checked and their contents put together. Then the message, by a
 * reader that never goes behind its end. */
#include "dataplane/tls/hello.h"

#include <string.h>

enum {
    RECORD_HEADER = 5,
    RECORD_HANDSHAKE = 22,
    RECORD_MOST = 16384, /* RFC 8446 section 5.1 */
    MESSAGE_HEADER = 4,
    MESSAGE_CLIENT_HELLO = 1,
    VERSION_TLS10 = 0x0301,
    VERSION_TLS12 = 0x0303,
    RANDOM = 32,
    SESSION_ID_MOST = 32,
    EXTENSION_SERVER_NAME = 0,
    EXTENSION_SIGNATURES = 13,
    EXTENSION_ALPN = 16,
    EXTENSION_VERSIONS = 43
};

/* Bytes that are still to be read. Once it is `bad` it gives nothing but nothing. */
struct reader {
    const uint8_t *at, *end;
    bool bad;
};

static const uint8_t *take(struct reader *r, uint32_t length)
{
    if (r->bad || (uint32_t)(r->end - r->at) < length) {
        r->bad = true;
        return NULL;
    }
    r->at += length;
    return r->at - length;
}

static uint32_t take_number(struct reader *r, uint32_t bytes)
{
    const uint8_t *at = take(r, bytes);
    uint32_t value = 0;
    for (uint32_t i = 0; at != NULL && i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

/* A vector whose length stands in front of it in `bytes` bytes (RFC 8446 section 3.4). */
static struct reader take_vector(struct reader *r, uint32_t bytes)
{
    uint32_t length = take_number(r, bytes);
    const uint8_t *at = take(r, length);
    if (at == NULL)
        return (struct reader){.bad = true};
    return (struct reader){at, at + length, false};
}

static bool at_end(const struct reader *r)
{
    return r->bad || r->at == r->end;
}

static uint32_t left(const struct reader *r)
{
    return (uint32_t)(r->end - r->at);
}

/* A vector of 16-bit numbers with at least one of them. */
static bool take_list(struct reader *r, uint32_t most, struct hello_list *out)
{
    struct reader list = take_vector(r, 2);
    if (list.bad || left(&list) == 0 || left(&list) % 2 != 0 || left(&list) / 2 > most)
        return false;
    *out = (struct hello_list){list.at, (uint16_t)(left(&list) / 2)};
    return true;
}

/* ---- extensions ---- */

/* A host name in letters, digits, hyphens (and underscores, which are met), in labels that are not
 * empty. */
static bool note_name(struct reader name, struct hello *out)
{
    uint32_t length = left(&name), label = 0;
    if (length == 0 || length > HELLO_NAME)
        return false;
    for (uint32_t i = 0; i < length; i++) {
        uint8_t c = name.at[i];
        if (c >= 'A' && c <= 'Z')
            c = (uint8_t)(c + ('a' - 'A'));
        bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (!letter && (c != '.' || label == 0))
            return false;
        label = letter ? label + 1 : 0;
        out->name[i] = (char)c;
    }
    out->name[length] = '\0';
    return label > 0; /* "without a trailing dot" */
}

/* Exactly one host name: no other type of name was ever defined. */
static bool read_server_name(struct reader body, struct hello *out)
{
    struct reader names = take_vector(&body, 2);
    uint32_t type = take_number(&names, 1);
    struct reader name = take_vector(&names, 2);
    out->has_name = true;
    return at_end(&body) && !body.bad && !names.bad && at_end(&names) && type == 0 &&
           note_name(name, out);
}

static bool read_alpn(struct reader body, struct hello *out)
{
    struct reader protocols = take_vector(&body, 2);
    bool first = true;
    if (protocols.bad || left(&protocols) == 0 || !at_end(&body))
        return false;
    while (!at_end(&protocols)) {
        struct reader one = take_vector(&protocols, 1);
        if (one.bad || left(&one) == 0)
            return false;
        if (first) {
            out->alpn_first = (char)one.at[0];
            out->alpn_last = (char)one.end[-1];
        }
        first = false;
    }
    return !protocols.bad;
}

static bool read_versions(struct reader body, struct hello *out)
{
    struct reader versions = take_vector(&body, 1);
    uint16_t highest = 0;
    if (versions.bad || left(&versions) == 0 || left(&versions) % 2 != 0 || !at_end(&body))
        return false;
    while (!at_end(&versions)) {
        uint16_t version = (uint16_t)take_number(&versions, 2);
        if (!hello_is_grease(version) && version > highest)
            highest = version;
    }
    if (highest)
        out->version = highest;
    return true;
}

static bool read_signatures(struct reader body, struct hello *out)
{
    return take_list(&body, HELLO_SIGNATURES, &out->signatures) && at_end(&body);
}

static bool read_extension(uint16_t type, struct reader body, struct hello *out)
{
    for (uint32_t i = 0; i < out->extension_count; i++)
        if (out->extensions[i] == type)
            return false; /* RFC 8446 section 4.2: not twice */
    if (out->extension_count == HELLO_EXTENSIONS)
        return false;
    out->extensions[out->extension_count++] = type;
    switch (type) {
    case EXTENSION_SERVER_NAME: return read_server_name(body, out);
    case EXTENSION_ALPN: return read_alpn(body, out);
    case EXTENSION_VERSIONS: return read_versions(body, out);
    case EXTENSION_SIGNATURES: return read_signatures(body, out);
    default: return true;
    }
}

/* ---- the message ---- */

static bool read_body(struct reader r, struct hello *out)
{
    out->version = (uint16_t)take_number(&r, 2);
    take(&r, RANDOM);
    struct reader session = take_vector(&r, 1);
    if (r.bad || out->version < VERSION_TLS10 || out->version > VERSION_TLS12 ||
        left(&session) > SESSION_ID_MOST || !take_list(&r, HELLO_CIPHERS, &out->ciphers))
        return false;
    struct reader compressions = take_vector(&r, 1);
    if (r.bad || left(&compressions) == 0)
        return false;
    if (at_end(&r)) /* TLS 1.2 and before: extensions may be missing */
        return true;
    struct reader extensions = take_vector(&r, 2);
    if (r.bad || !at_end(&r))
        return false;
    while (!at_end(&extensions)) {
        uint16_t type = (uint16_t)take_number(&extensions, 2);
        struct reader body = take_vector(&extensions, 2);
        if (body.bad || !read_extension(type, body, out))
            return false;
    }
    return true;
}

/* ---- records ---- */

/* Where the message stands, as far as it has come. */
struct message {
    const uint8_t *at;
    uint32_t have, need; /* bytes; `need` is 0 until the length has come */
};

/* The header of a record, of which `have` bytes are there: each is judged as it comes, so that what
 * is no TLS is refused at its first byte. Returns the record's length, 0 if it is bad, or -1 if
 * more is needed. */
static int record_length(const uint8_t *header, uint32_t have)
{
    if (have > 0 && header[0] != RECORD_HANDSHAKE)
        return 0;
    if (have > 1 && header[1] != 3)
        return 0;
    if (have < RECORD_HEADER)
        return -1;
    int length = header[3] << 8 | header[4];
    return length > RECORD_MOST ? 0 : length; /* an empty handshake record is refused too */
}

static bool note_message(struct message *message)
{
    const uint8_t *at = message->at;
    if (message->have > 0 && at[0] != MESSAGE_CLIENT_HELLO)
        return false;
    if (message->have < MESSAGE_HEADER)
        return true;
    message->need = MESSAGE_HEADER + ((uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3]);
    return message->need <= HELLO_MOST;
}

/* Adds what a record holds. The first one is read where it lies; a second makes a copy of both. */
static bool join(struct message *message, const uint8_t *part, uint32_t length, struct hello *out)
{
    if (message->at == NULL) {
        *message = (struct message){part, length, 0};
        return note_message(message);
    }
    if (length > HELLO_MOST - message->have)
        length = HELLO_MOST - message->have; /* what is missing then is refused by its length */
    if (message->at != out->joined)
        memcpy(out->joined, message->at, message->have);
    memcpy(out->joined + message->have, part, length);
    message->at = out->joined;
    message->have += length;
    return note_message(message);
}

enum hello_result hello_read(const uint8_t *bytes, uint32_t length, struct hello *out)
{
    struct message message = {NULL, 0, 0};
    uint32_t at = 0;
    for (int records = 0; message.need == 0 || message.have < message.need; records++) {
        if (records == HELLO_RECORDS)
            return HELLO_BAD;
        int record = record_length(bytes + at, length - at);
        if (record <= 0)
            return record < 0 ? HELLO_MORE : HELLO_BAD;
        at += RECORD_HEADER;
        uint32_t whole = (uint32_t)record, there = length - at < whole ? length - at : whole;
        if (!join(&message, bytes + at, there, out))
            return HELLO_BAD;
        at += there;
        if (there < whole && (message.need == 0 || message.have < message.need))
            return HELLO_MORE;
    }
    out->name[0] = '\0';
    out->has_name = false;
    out->alpn_first = out->alpn_last = 0;
    out->signatures = (struct hello_list){NULL, 0};
    out->extension_count = 0;
    struct reader body = {message.at + MESSAGE_HEADER, message.at + message.need, false};
    return read_body(body, out) ? HELLO_OK : HELLO_BAD;
}
