/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The HTTP parser against itself: a stream in one piece, byte by byte and in pieces of random
 * length gives the same events; scanning and slicing agree on every head; and a second reader,
 * which goes by the sliced names, agrees on the framing. The first byte of the input chooses the
 * pieces. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/http1.h"

static const struct http1_limits small = {.head = 256, .target = 32, .fields = 5, .body = 64};

/* A digest of all events: kind, place, and each body byte; how the body was cut does not enter. */
struct digest {
    uint64_t hash;
    size_t offset, heads, body;
    bool stopped; /* refused, or behind the last request */
};

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void mix(struct digest *d, uint64_t value)
{
    d->hash = (d->hash ^ value) * UINT64_C(0x100000001b3);
}

static void feed(struct digest *d, struct http1 *parser, const struct http1_limits *limits,
                 const uint8_t *bytes, size_t length)
{
    size_t at = 0;
    enum http1_event event;
    do {
        const void *data;
        size_t used, data_length;
        event = http1_scan(parser, limits, bytes + at, length - at, &used, &data, &data_length);
        check(used <= length - at);
        check((event == HTTP1_DATA) == (data_length > 0));
        at += used;
        d->offset += used;
        for (size_t i = 0; i < data_length; i++)
            mix(d, 256 + ((const uint8_t *)data)[i]);
        if (event == HTTP1_DATA)
            d->body += data_length;
        else if (event != HTTP1_MORE)
            mix(d, d->offset << 16 | (uint64_t)event << 8 | parser->error);
        if (event == HTTP1_HEAD)
            d->body = 0;
        check(d->body <= limits->body);
        d->stopped = event == HTTP1_BAD || event == HTTP1_LAST;
    } while (event != HTTP1_MORE && !d->stopped);
    check(d->stopped || at == length);
}

static struct digest run(const struct http1_limits *limits, const uint8_t *bytes, size_t length,
                         uint8_t pieces)
{
    struct digest d = {.hash = UINT64_C(0xcbf29ce484222325)};
    struct http1 parser;
    uint32_t random = pieces;
    http1_init(&parser);
    for (size_t at = 0; at < length && !d.stopped;) {
        random = random * 1103515245 + 12345;
        size_t piece = pieces == 0 ? length : pieces == 1 ? 1 : 1 + (random >> 16) % pieces;
        piece = piece < length - at ? piece : length - at;
        feed(&d, &parser, limits, bytes + at, piece);
        at += piece;
    }
    return d;
}

static bool inside(const struct http1_slice *s, const uint8_t *bytes, size_t length)
{
    const uint8_t *at = (const uint8_t *)s->at;
    return at >= bytes && s->length <= length && (size_t)(at - bytes) <= length - s->length;
}

/* What a second reader makes of an accepted head: counts names line by line. */
static void check_framing(const struct http1_head *head)
{
    size_t lengths = 0, codings = 0, hosts = 0;
    for (size_t i = 0; i < head->field_count; i++) {
        const struct http1_field *f = &head->fields[i];
        char value[512];
        snprintf(value, sizeof value, "%.*s", (int)f->value.length, f->value.at);
        if (f->name.length == 14 && strncasecmp(f->name.at, "content-length", 14) == 0) {
            lengths++;
            check(strspn(value, "0123456789") == strlen(value));
            check(strtoull(value, NULL, 10) == head->content_length);
        }
        if (f->name.length == 17 && strncasecmp(f->name.at, "transfer-encoding", 17) == 0) {
            codings++;
            check(strcasecmp(value, "chunked") == 0);
        }
        hosts += f->name.length == 4 && strncasecmp(f->name.at, "host", 4) == 0;
    }
    check(lengths + codings <= 1 && hosts <= 1 && (hosts == 1 || head->minor == 0));
    check(head->chunked == (codings == 1));
    check(lengths == 1 || head->content_length == 0);
}

static void check_head(const struct http1_limits *limits, const uint8_t *bytes, size_t length)
{
    static struct http1_head head;
    struct http1 parser;
    const void *data;
    size_t used, data_length;
    http1_init(&parser);
    enum http1_event event = http1_scan(&parser, limits, bytes, length, &used, &data, &data_length);
    enum http1_error error = http1_head(bytes, event == HTTP1_HEAD ? used : length, limits, &head);
    check((error == HTTP1_OK) == (event == HTTP1_HEAD));
    check(event != HTTP1_BAD || error == (enum http1_error)parser.error);
    if (error != HTTP1_OK)
        return;
    check(inside(&head.method, bytes, used) && inside(&head.target, bytes, used));
    check(inside(&head.path, bytes, used) && inside(&head.query, bytes, used));
    check(head.keep_alive == http1_keep_alive(&parser));
    check(head.field_count <= limits->fields && head.target.length <= limits->target);
    for (size_t i = 0; i < head.field_count; i++)
        check(inside(&head.fields[i].name, bytes, used) &&
              inside(&head.fields[i].value, bytes, used));
    check_framing(&head);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    const struct http1_limits *const limits[] = {&HTTP1_DEFAULT_LIMITS, &small};
    if (length == 0)
        return 0;
    uint8_t pieces = *bytes++;
    length--;
    for (size_t i = 0; i < 2; i++) {
        struct digest whole = run(limits[i], bytes, length, 0);
        struct digest bytewise = run(limits[i], bytes, length, 1);
        struct digest random = run(limits[i], bytes, length, pieces);
        check(whole.hash == bytewise.hash && whole.offset == bytewise.offset);
        check(whole.hash == random.hash && whole.offset == random.offset);
        check_head(limits[i], bytes, length);
    }
    return 0;
}
