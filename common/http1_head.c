/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Slices over a head in one piece. The head goes through the byte machine first, so slicing looks
 * for separators in bytes that are known to be well formed and has no opinion of its own about
 * validity. */
#include <string.h>
#include <strings.h>

#include "http1.h"

static struct http1_slice slice(const char *from, const char *to)
{
    return (struct http1_slice){.at = from, .length = (size_t)(to - from)};
}

static bool slice_is(const struct http1_slice *s, const char *text)
{
    return strlen(text) == s->length && strncasecmp(s->at, text, s->length) == 0;
}

static struct http1_slice trim(const char *from, const char *to)
{
    while (from < to && (*from == ' ' || *from == '\t'))
        from++;
    while (to > from && (to[-1] == ' ' || to[-1] == '\t'))
        to--;
    return slice(from, to);
}

/* METHOD SP TARGET SP HTTP/1.x CR LF; returns where the fields begin. */
static const char *slice_request_line(const char *at, const char *end, struct http1_head *out)
{
    const char *space = memchr(at, ' ', (size_t)(end - at));
    out->method = slice(at, space);
    at = space + 1;
    space = memchr(at, ' ', (size_t)(end - at));
    out->target = slice(at, space);
    const char *mark = memchr(at, '?', (size_t)(space - at));
    out->path = slice(at, mark ? mark : space);
    out->query = mark ? slice(mark + 1, space) : slice(space, space);
    at = space + sizeof " HTTP/1." - 1;
    out->minor = *at - '0';
    return at + sizeof "1\r\n" - 1;
}

static void slice_fields(const char *at, const char *end, struct http1_head *out)
{
    out->field_count = 0;
    while (*at != '\r') {
        struct http1_field *field = &out->fields[out->field_count++];
        const char *colon = memchr(at, ':', (size_t)(end - at));
        const char *line_end = memchr(colon, '\r', (size_t)(end - colon));
        field->name = slice(at, colon);
        field->value = trim(colon + 1, line_end);
        at = line_end + 2;
    }
}

enum http1_error http1_head(const void *bytes, size_t length, const struct http1_limits *limits,
                            struct http1_head *out)
{
    struct http1 parser;
    const void *data;
    size_t used, data_length;
    http1_init(&parser);
    enum http1_event event = http1_scan(&parser, limits, bytes, length, &used, &data, &data_length);
    if (event == HTTP1_BAD)
        return (enum http1_error)parser.error;
    if (event != HTTP1_HEAD || used != length)
        return HTTP1_BAD_LINE_END; /* not one whole head */
    const char *at = bytes, *end = at + length;
    slice_fields(slice_request_line(at, end, out), end, out);
    out->keep_alive = http1_keep_alive(&parser);
    out->chunked = http1_find(out, "transfer-encoding", NULL) != NULL;
    /* An HTTP/1.0 client cannot read an interim response (RFC 9110 10.1.1). */
    out->expect_continue = out->minor == 1 && http1_find(out, "expect", NULL) != NULL;
    out->content_length = parser.remaining;
    return HTTP1_OK;
}

const struct http1_slice *http1_find(const struct http1_head *head, const char *name, size_t *count)
{
    const struct http1_slice *first = NULL;
    size_t found = 0;
    for (size_t i = 0; i < head->field_count; i++) {
        if (!slice_is(&head->fields[i].name, name))
            continue;
        if (found++ == 0)
            first = &head->fields[i].value;
    }
    if (count)
        *count = found;
    return first;
}

static const struct {
    const char *name;
    int status;
} errors[HTTP1_ERRORS] = {
    [HTTP1_OK] = {"ok", 200},
    [HTTP1_BAD_METHOD] = {"bad_method", 400},
    [HTTP1_BAD_TARGET] = {"bad_target", 400},
    [HTTP1_TARGET_TOO_LONG] = {"target_too_long", 414},
    [HTTP1_BAD_VERSION] = {"bad_version", 505},
    [HTTP1_BAD_LINE_END] = {"bad_line_end", 400},
    [HTTP1_BAD_FIELD_NAME] = {"bad_field_name", 400},
    [HTTP1_BAD_FIELD_VALUE] = {"bad_field_value", 400},
    [HTTP1_OBS_FOLD] = {"obs_fold", 400},
    [HTTP1_HEAD_TOO_LARGE] = {"head_too_large", 431},
    [HTTP1_TOO_MANY_FIELDS] = {"too_many_fields", 431},
    [HTTP1_BAD_LENGTH] = {"bad_length", 400},
    [HTTP1_LENGTH_AND_CODING] = {"length_and_coding", 400},
    [HTTP1_BAD_CODING] = {"bad_coding", 501},
    [HTTP1_BAD_CHUNK] = {"bad_chunk", 400},
    [HTTP1_BAD_TRAILER] = {"bad_trailer", 400},
    [HTTP1_BAD_HOST] = {"bad_host", 400},
    [HTTP1_BODY_TOO_LARGE] = {"body_too_large", 413},
    [HTTP1_UPGRADE] = {"upgrade", 501},
    [HTTP1_BAD_EXPECT] = {"bad_expect", 417},
};

const char *http1_error_name(enum http1_error error)
{
    return error < HTTP1_ERRORS ? errors[error].name : "unknown";
}

int http1_error_status(enum http1_error error)
{
    return error < HTTP1_ERRORS ? errors[error].status : 400;
}
