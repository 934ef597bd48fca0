/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * JSON is printed here, not built: every value is a number, an id, a time or a word that was
 * checked when it was read from the database, so nothing needs escaping. */
#include "control/api/reply.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "control/ledger/key.h"
#include "control/timestamp.h"

void reply_begin(struct reply *reply, int status, const char *content_type, const char *cache,
                 const char *body, size_t body_length)
{
    reply->status = status;
    reply->content_type = content_type;
    reply->cache = cache;
    reply->body = body;
    reply->body_length = body_length;
    reply->fields_length = 0;
}

void reply_field(struct reply *reply, const char *name, const char *value)
{
    size_t room = sizeof reply->fields - reply->fields_length;
    int length = snprintf(reply->fields + reply->fields_length, room, "%s: %s\r\n", name, value);
    assert(length > 0 && (size_t)length < room);
    if (length > 0 && (size_t)length < room)
        reply->fields_length += (size_t)length;
}

__attribute__((format(printf, 2, 3))) static void print_body(struct reply *reply,
                                                             const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(reply->text, sizeof reply->text, format, arguments);
    va_end(arguments);
    assert(length >= 0 && (size_t)length < sizeof reply->text);
    reply->body = reply->text;
    reply->body_length = (size_t)length;
}

static void begin_problem(struct reply *reply, const struct problem_row *row, int retry_after)
{
    reply_begin(reply, row->status, "application/problem+json", "no-store", NULL, 0);
    if (retry_after == REPLY_NO_RETRY)
        return;
    char seconds[16];
    snprintf(seconds, sizeof seconds, "%d", retry_after);
    reply_field(reply, "Retry-After", seconds);
}

void reply_problem(struct reply *reply, enum problem problem, const char *detail, int retry_after)
{
    const struct problem_row *row = &PROBLEM_ROWS[problem];
    begin_problem(reply, row, retry_after);
    print_body(reply,
               "{\"type\":\"" PROBLEM_TYPE_PREFIX "%s\",\"title\":\"%s\",\"status\":%d%s%s%s}",
               row->name, row->title, row->status, detail ? ",\"detail\":\"" : "",
               detail ? detail : "", detail ? "\"" : "");
}

void reply_not_open(struct reply *reply, int64_t opens_at, int retry_after)
{
    const struct problem_row *row = &PROBLEM_ROWS[PROBLEM_NOT_OPEN];
    char time[TIMESTAMP_TEXT];
    begin_problem(reply, row, retry_after);
    print_body(reply,
               "{\"type\":\"" PROBLEM_TYPE_PREFIX
               "%s\",\"title\":\"%s\",\"status\":%d,\"opens_at\":\"%s\"}",
               row->name, row->title, row->status, timestamp_print(opens_at, time));
}

/* Version 1 of the rendering; a later one is added beside it and never replaces it. */
static void print_reservation(struct reply *reply, const uint8_t id[16], const struct grant *g,
                              const char *state)
{
    char uuid[KEY_UUID_TEXT], granted[TIMESTAMP_TEXT], expires[TIMESTAMP_TEXT];
    print_body(reply,
               "{\"id\":\"%s\",\"sale\":%" PRId32 ",\"quantity\":%" PRId32
               ",\"unit_price\":%" PRId64
               ",\"currency\":\"%s\",\"granted_at\":\"%s\",\"expires_at\":\"%s\"%s%s%s}",
               key_print(id, uuid), g->sale, g->quantity, g->unit_price, g->currency,
               timestamp_print(g->granted_at, granted), timestamp_print(g->expires_at, expires),
               state ? ",\"state\":\"" : "", state ? state : "", state ? "\"" : "");
}

enum { RENDER_KNOWN = 1 };

void reply_granted(struct reply *reply, const uint8_t id[16], const struct grant *grant)
{
    if (grant->render != RENDER_KNOWN) {
        reply_problem(reply, PROBLEM_INTERNAL,
                      "The reservation exists, but a newer version of this service granted it.",
                      REPLY_NO_RETRY);
        return;
    }
    char location[sizeof "/v1/reservations/" + KEY_UUID_TEXT] = "/v1/reservations/";
    key_print(id, location + strlen(location));
    reply_begin(reply, 201, "application/json", "no-store", NULL, 0);
    reply_field(reply, "Location", location);
    print_reservation(reply, id, grant, NULL);
}

void reply_reservation(struct reply *reply, const uint8_t id[16], const struct grant *grant,
                       const char *state)
{
    reply_begin(reply, 200, "application/json", "private, no-store", NULL, 0);
    print_reservation(reply, id, grant, state);
}

static const char *reason(int status)
{
    switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 402: return "Payment Required";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 417: return "Expectation Failed";
    case 422: return "Unprocessable Content";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    default: return "Unknown";
    }
}

size_t reply_head(const struct reply *r, const char *date, enum reply_connection connection,
                  char out[REPLY_HEAD_MAX])
{
    static const char *const CONNECTION[] = {[REPLY_KEEP] = "",
                                             [REPLY_KEEP_1_0] = "Connection: keep-alive\r\n",
                                             [REPLY_CLOSE] = "Connection: close\r\n"};
    char content[96] = "";
    if (r->content_type)
        snprintf(content, sizeof content, "Content-Type: %s\r\nContent-Length: %zu\r\n",
                 r->content_type, r->body_length);
    int length = snprintf(out, REPLY_HEAD_MAX,
                          "HTTP/1.1 %d %s\r\nDate: %s\r\n%sCache-Control: %s\r\n%.*s%s\r\n",
                          r->status, reason(r->status), date, content, r->cache,
                          (int)r->fields_length, r->fields, CONNECTION[connection]);
    assert(length > 0 && length < REPLY_HEAD_MAX);
    return (size_t)length;
}
