/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The API as a table. Adding a call is adding a line. */
#include "control/api/routes.h"

#include <string.h>

#include "control/ledger/key.h"

enum { SEGMENTS_MAX = 4 };

static const struct pattern {
    const char *segments[SEGMENTS_MAX + 1]; /* a parameter stands in braces */
    const char *allow;
    enum route get, post, delete;
} PATTERNS[] = {
    {{"healthz"}, "GET, HEAD", ROUTE_HEALTH, ROUTE_METHOD, ROUTE_METHOD},
    {{"readyz"}, "GET, HEAD", ROUTE_READY, ROUTE_METHOD, ROUTE_METHOD},
    {{"v1", "items", "{item}"}, "GET, HEAD", ROUTE_ITEM, ROUTE_METHOD, ROUTE_METHOD},
    {{"v1", "events"}, "GET, HEAD", ROUTE_EVENTS, ROUTE_METHOD, ROUTE_METHOD},
    {{"v1", "sales", "{sale}"}, "GET, HEAD", ROUTE_SALE, ROUTE_METHOD, ROUTE_METHOD},
    {{"v1", "sales", "{sale}", "reservations"}, "POST", ROUTE_METHOD, ROUTE_RESERVE, ROUTE_METHOD},
    {{"v1", "reservations", "{reservation}"},
     "GET, HEAD, DELETE",
     ROUTE_RESERVATION,
     ROUTE_METHOD,
     ROUTE_CANCEL},
    {{"v1", "reservations", "{reservation}", "payment"},
     "POST",
     ROUTE_METHOD,
     ROUTE_PAY,
     ROUTE_METHOD},
    {{"v1", "payments", "webhook"}, "POST", ROUTE_METHOD, ROUTE_WEBHOOK, ROUTE_METHOD},
};

static bool slice_is(const struct http1_slice *s, const char *text)
{
    return s->length == strlen(text) && !memcmp(s->at, text, s->length);
}

static int hex_value(char c)
{
    const char *digits = "0123456789abcdef",
               *at = strchr(digits, c >= 'A' && c <= 'F' ? c | 0x20 : c);
    return c && at ? (int)(at - digits) : -1;
}

/* An item's id is made of unreserved characters (RFC 3986 section 2.3), which a client may still
 * percent-encode. */
static bool read_item(const struct http1_slice *s, struct route_match *out)
{
    size_t n = 0;
    for (size_t i = 0; i < s->length; i++, n++) {
        int c = (unsigned char)s->at[i];
        if (c == '%') {
            int high = s->length - i > 2 ? hex_value(s->at[i + 1]) : -1;
            int low = high >= 0 ? hex_value(s->at[i + 2]) : -1;
            if (low < 0)
                return false;
            c = high << 4 | low;
            i += 2;
        }
        bool unreserved = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
        if (!unreserved || n == ROUTE_ITEM_MAX)
            return false;
        out->item[n] = (char)c;
    }
    out->item[n] = '\0';
    return n > 0;
}

/* Decimal, no sign, no leading zero: one spelling per sale. */
static bool read_sale(const struct http1_slice *s, struct route_match *out)
{
    int64_t value = 0;
    if (s->length < 1 || s->length > 10 || s->at[0] == '0')
        return false;
    for (size_t i = 0; i < s->length; i++) {
        if (s->at[i] < '0' || s->at[i] > '9')
            return false;
        value = value * 10 + (s->at[i] - '0');
    }
    out->sale = (int32_t)value;
    return value <= INT32_MAX;
}

static bool segment_matches(const char *pattern, const struct http1_slice *s,
                            struct route_match *out)
{
    if (!strcmp(pattern, "{item}"))
        return read_item(s, out);
    if (!strcmp(pattern, "{sale}"))
        return read_sale(s, out);
    if (!strcmp(pattern, "{reservation}"))
        return key_parse(s->at, s->length, out->reservation) == 0;
    return slice_is(s, pattern);
}

/* Cuts "/a/b" into segments. Returns their number, or -1 if it is not such a path or has too many.
 */
static int split(const struct http1_slice *path, struct http1_slice segments[SEGMENTS_MAX])
{
    if (path->length < 1 || path->at[0] != '/')
        return -1;
    int count = 0;
    const char *at = path->at + 1, *end = path->at + path->length;
    for (;;) {
        const char *slash = at < end ? memchr(at, '/', (size_t)(end - at)) : NULL;
        const char *stop = slash ? slash : end;
        if (count == SEGMENTS_MAX)
            return -1;
        segments[count++] = (struct http1_slice){at, (size_t)(stop - at)};
        if (!slash)
            return count;
        at = slash + 1;
    }
}

static bool pattern_matches(const struct pattern *p, const struct http1_slice *segments, int count,
                            struct route_match *out)
{
    for (int i = 0; i < count; i++)
        if (!p->segments[i] || !segment_matches(p->segments[i], &segments[i], out))
            return false;
    return !p->segments[count];
}

static enum route by_method(const struct pattern *p, const struct http1_slice *method,
                            struct route_match *out)
{
    out->head_only = slice_is(method, "HEAD");
    if (slice_is(method, "GET") || out->head_only)
        return p->get;
    if (slice_is(method, "POST"))
        return p->post;
    return slice_is(method, "DELETE") ? p->delete : ROUTE_METHOD;
}

void route_match(const struct http1_slice *method, const struct http1_slice *path,
                 struct route_match *out)
{
    struct http1_slice segments[SEGMENTS_MAX];
    int count = split(path, segments);
    memset(out, 0, sizeof *out);
    out->head_only =
        slice_is(method, "HEAD"); /* also where nothing matches: HEAD never gets a body */
    for (size_t i = 0; count > 0 && i < sizeof PATTERNS / sizeof *PATTERNS; i++) {
        if (!pattern_matches(&PATTERNS[i], segments, count, out))
            continue;
        out->route = by_method(&PATTERNS[i], method, out);
        out->allow = PATTERNS[i].allow;
        return;
    }
}
