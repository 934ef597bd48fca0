/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Answers are put together from constant pieces; no byte of a request is ever in one. */
#include "dataplane/admit/reply.h"

#include <assert.h>
#include <string.h>

/* Names and titles are the purchase service's, where it has them (control/api/problem.c). */
static const struct row {
    const char *status, *code, *name, *title, *advice;
} rows[REFUSAL_KINDS] = {
    [REFUSAL_RATE] = {"429 Too Many Requests", "429", "too-many-requests", "Too many requests",
                      "Please wait a moment before you try again."},
    [REFUSAL_NOT_OPEN] = {"403 Forbidden", "403", "not-open", "The sale has not opened yet",
                          "Please come back when it opens."},
    [REFUSAL_BUSY] = {"503 Service Unavailable", "503", "busy", "Too many requests are waiting",
                      "Please try again in a moment."},
    [REFUSAL_SOLD_OUT] = {"409 Conflict", "409", "sold-out", "Sold out",
                          "Nothing is available at the moment."},
    [REFUSAL_CLOSED] = {"410 Gone", "410", "sale-closed", "The sale is over",
                        "Thank you for your interest."},
    [REFUSAL_NO_BACKEND] = {"503 Service Unavailable", "503", "unavailable",
                            "The shop cannot be reached", "Please try again in a moment."},
};

struct writer {
    uint8_t *at, *end;
};

static void put(struct writer *w, const char *text)
{
    size_t length = strlen(text);
    assert(length <= (size_t)(w->end - w->at)); /* reply_test: the longest of each kind fits */
    memcpy(w->at, text, length);
    w->at += length;
}

/* At least `width` digits. */
static void put_number(struct writer *w, uint64_t number, int width)
{
    char digits[21];
    char *at = digits + sizeof digits - 1;
    *at = '\0';
    do {
        *--at = (char)('0' + number % 10);
        number /= 10;
    } while (--width > 0 || number != 0);
    put(w, at);
}

/* ---- times ---- */

struct civil {
    uint64_t year;
    unsigned month, day, weekday, hour, minute, second; /* month and day from 1, Sunday = 0 */
};

/* The proleptic Gregorian calendar, in years that begin with March and eras of 400 of them. */
static struct civil civil_of(uint64_t second)
{
    enum { DAY = 86400, ERA = 146097, TO_1970 = 719468, THURSDAY = 4 };
    const uint64_t days = second / DAY, since = days + TO_1970;
    const unsigned of_day = (unsigned)(second % DAY), of_era = (unsigned)(since % ERA);
    const unsigned year =
        (of_era - of_era / 1460 + of_era / 36524 - of_era / (ERA - 1)) / 365; /* of the era */
    const unsigned of_year = of_era - (365 * year + year / 4 - year / 100);
    const unsigned month = (5 * of_year + 2) / 153; /* from March */
    return (struct civil){
        .year = since / ERA * 400 + year + (month >= 10),
        .month = month < 10 ? month + 3 : month - 9,
        .day = of_year - (153 * month + 2) / 5 + 1,
        .weekday = (unsigned)((days + THURSDAY) % 7),
        .hour = of_day / 3600,
        .minute = of_day / 60 % 60,
        .second = of_day % 60,
    };
}

static void put_clock(struct writer *w, const struct civil *c)
{
    put_number(w, c->hour, 2);
    put(w, ":");
    put_number(w, c->minute, 2);
    put(w, ":");
    put_number(w, c->second, 2);
}

/* IMF-fixdate (RFC 9110 section 5.6.7). */
static void put_date(struct writer *w, uint64_t unix_ms)
{
    static const char days[7][6] = {"Sun, ", "Mon, ", "Tue, ", "Wed, ", "Thu, ", "Fri, ", "Sat, "};
    static const char months[12][6] = {" Jan ", " Feb ", " Mar ", " Apr ", " May ", " Jun ",
                                       " Jul ", " Aug ", " Sep ", " Oct ", " Nov ", " Dec "};
    const struct civil c = civil_of(unix_ms / 1000);
    put(w, days[c.weekday]);
    put_number(w, c.day, 2);
    put(w, months[c.month - 1]);
    put_number(w, c.year, 4);
    put(w, " ");
    put_clock(w, &c);
    put(w, " GMT");
}

/* RFC 3339 with six decimals, as everywhere in the API. */
static void put_timestamp(struct writer *w, uint64_t unix_ms)
{
    const struct civil c = civil_of(unix_ms / 1000);
    put_number(w, c.year, 4);
    put(w, "-");
    put_number(w, c.month, 2);
    put(w, "-");
    put_number(w, c.day, 2);
    put(w, "T");
    put_clock(w, &c);
    put(w, ".");
    put_number(w, unix_ms % 1000, 3);
    put(w, "000Z");
}

/* ---- bodies ---- */

static void put_problem(struct writer *w, const struct row *row, const struct refusal *refusal)
{
    put(w, "{\"type\":\"tag:dropgate,2026:problems/");
    put(w, row->name);
    put(w, "\",\"title\":\"");
    put(w, row->title);
    put(w, "\",\"status\":");
    put(w, row->code);
    if (refusal->kind == REFUSAL_NOT_OPEN && refusal->opens_at > 0) {
        put(w, ",\"opens_at\":\"");
        put_timestamp(w, (uint64_t)refusal->opens_at);
        put(w, "\"");
    }
    put(w, "}");
}

static void put_page(struct writer *w, const struct row *row)
{
    put(w, "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>");
    put(w, row->title);
    put(w, "</title><h1>");
    put(w, row->title);
    put(w, "</h1><p>");
    put(w, row->advice);
    put(w, "</p></html>\n");
}

uint16_t reply_write(const struct refusal *refusal, uint64_t unix_ms, uint8_t out[REPLY_MOST])
{
    const struct row *row = &rows[refusal->kind];
    uint8_t body[REPLY_MOST];
    struct writer b = {body, body + sizeof body}, w = {out, out + REPLY_MOST};
    if (refusal->html)
        put_page(&b, row);
    else
        put_problem(&b, row, refusal);
    const size_t length = (size_t)(b.at - body);
    put(&w, "HTTP/1.1 ");
    put(&w, row->status);
    put(&w, "\r\nDate: ");
    put_date(&w, unix_ms);
    put(&w, refusal->html ? "\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: "
                          : "\r\nContent-Type: application/problem+json\r\nContent-Length: ");
    put_number(&w, length, 1);
    put(&w, "\r\nCache-Control: no-store\r\n");
    if (refusal->retry_after_s != 0) {
        put(&w, "Retry-After: ");
        put_number(&w, refusal->retry_after_s, 1);
        put(&w, "\r\n");
    }
    put(&w, "Connection: close\r\n\r\n");
    if (!refusal->head) {
        assert(length <= (size_t)(w.end - w.at));
        memcpy(w.at, body, length);
        w.at += length;
    }
    return (uint16_t)(w.at - out);
}

/* ---- Accept ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static struct http1_slice trim(struct http1_slice s)
{
    while (s.length > 0 && is_space(s.at[0]))
        s = (struct http1_slice){s.at + 1, s.length - 1};
    while (s.length > 0 && is_space(s.at[s.length - 1]))
        s.length--;
    return s;
}

/* Cuts off and returns what stands before the next `mark`. */
static struct http1_slice cut_at(struct http1_slice *rest, char mark)
{
    const char *found = memchr(rest->at, mark, rest->length);
    size_t length = found ? (size_t)(found - rest->at) : rest->length;
    struct http1_slice part = {rest->at, length};
    size_t used = found ? length + 1 : length;
    *rest = (struct http1_slice){rest->at + used, rest->length - used};
    return trim(part);
}

static bool is(struct http1_slice s, const char *word)
{
    if (s.length != strlen(word))
        return false;
    for (size_t i = 0; i < s.length; i++) {
        char c = s.at[i] >= 'A' && s.at[i] <= 'Z' ? (char)(s.at[i] | 0x20) : s.at[i];
        if (c != word[i])
            return false;
    }
    return true;
}

/* A weight in thousandths: "0", "0.5", "1.000". What is none counts as 0. */
static int weight(struct http1_slice s)
{
    if (s.length == 0 || s.length > 5 || (s.at[0] != '0' && s.at[0] != '1') ||
        (s.length > 1 && s.at[1] != '.'))
        return 0;
    int thousandths = (s.at[0] - '0') * 1000, unit = 100;
    for (size_t i = 2; i < s.length; i++, unit /= 10) {
        if (s.at[i] < '0' || s.at[i] > '9')
            return 0;
        thousandths += (s.at[i] - '0') * unit;
    }
    return thousandths > 1000 ? 0 : thousandths;
}

/* How much a type is wanted, by the most specific range that names it. */
struct wish {
    int specific, weight;
};

static void wish(struct wish *w, int specific, int value)
{
    if (specific < w->specific || (specific == w->specific && value <= w->weight))
        return;
    *w = (struct wish){specific, value};
}

bool reply_prefers_html(const struct http1_slice *accept)
{
    struct wish html = {0, 0}, json = {0, 0};
    if (accept == NULL)
        return false;
    for (struct http1_slice rest = *accept; rest.length > 0;) {
        struct http1_slice range = cut_at(&rest, ','), type = cut_at(&range, ';');
        int value = 1000;
        while (range.length > 0) {
            struct http1_slice parameter = cut_at(&range, ';'), name = cut_at(&parameter, '=');
            if (is(name, "q"))
                value = weight(trim(parameter));
        }
        if (is(type, "text/html") || is(type, "application/xhtml+xml"))
            wish(&html, 3, value);
        else if (is(type, "application/problem+json") || is(type, "application/json"))
            wish(&json, 3, value);
        else if (is(type, "text/*"))
            wish(&html, 2, value);
        else if (is(type, "application/*"))
            wish(&json, 2, value);
        else if (is(type, "*/*")) {
            wish(&html, 1, value);
            wish(&json, 1, value);
        }
    }
    return html.weight > json.weight;
}
