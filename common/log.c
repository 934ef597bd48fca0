/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A line is rendered on the stack and leaves in one write(2) of at most PIPE_BUF bytes, so lines of
 * several threads never mix. The lock covers only the rate limit, so a reader of stderr that stalls
 * holds up the thread that writes and nobody else. Never buffers; never fails its caller; leaves
 * errno alone. */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

enum { MESSAGE_SIZE = 1024 + 1, BURST = 20, BUCKETS = 64 };
#define WINDOW_NS INT64_C(1000000000)

/* The times of an event's last BURST lines: one more may be written when the oldest is a window
 * old, so no span of one second ever holds more than BURST. */
struct limit {
    struct limit *next;
    const char *event;
    int64_t times[BURST];
    unsigned oldest;
    uint64_t left_out;
};

static struct {
    const char *program;
    enum log_level lowest;
    bool text;
    pthread_mutex_t lock;
    struct limit *buckets[BUCKETS]; /* under lock; events are few and never forgotten */
    struct limit spare;             /* under lock; shared by all for whom there was no memory */
} logger = {.program = "dropgate", .lowest = LOG_LEVEL_INFO, .lock = PTHREAD_MUTEX_INITIALIZER};

static const char *const level_names[] = {"debug", "info", "warning", "error"};

/* A line under construction; what does not fit is left off, and the tail's room is kept free. */
struct line {
    size_t length, end;
    char bytes[PIPE_BUF];
};

void log_open(const char *program, enum log_level lowest)
{
    logger.program = program;
    logger.lowest = lowest;
    logger.text = isatty(STDERR_FILENO) == 1;
}

void log_set_lowest(enum log_level lowest)
{
    __atomic_store_n(&logger.lowest, lowest, __ATOMIC_RELAXED);
}

static struct limit *limit_of(const char *event)
{
    unsigned hash = 5381;
    for (const char *p = event; *p; p++)
        hash = hash * 33 + (unsigned char)*p;
    struct limit **at = &logger.buckets[hash % BUCKETS];
    while (*at && strcmp((*at)->event, event) != 0)
        at = &(*at)->next;
    if (!*at) {
        *at = calloc(1, sizeof **at);
        if (!*at)
            return &logger.spare;
        (*at)->event = event;
        for (unsigned i = 0; i < BURST; i++)
            (*at)->times[i] = INT64_MIN / 2;
    }
    return *at;
}

/* Whether a line may be written now; if so, *left_out is how many were not since the last one. */
static bool admit(const char *event, uint64_t *left_out)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    int64_t now = ts.tv_sec * WINDOW_NS + ts.tv_nsec;
    pthread_mutex_lock(&logger.lock);
    struct limit *limit = limit_of(event);
    bool may = now - limit->times[limit->oldest] >= WINDOW_NS;
    if (may) {
        limit->times[limit->oldest] = now;
        limit->oldest = (limit->oldest + 1) % BURST;
        *left_out = limit->left_out;
        limit->left_out = 0;
    } else {
        limit->left_out++;
    }
    pthread_mutex_unlock(&logger.lock);
    return may;
}

static void put(struct line *line, const char *bytes, size_t length)
{
    if (length > line->end - line->length) {
        line->end = line->length; /* nothing shorter may follow what was left off */
        return;
    }
    memcpy(line->bytes + line->length, bytes, length);
    line->length += length;
}

static void __attribute__((format(printf, 2, 3))) putf(struct line *line, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (length > 0)
        put(line, text, strnlen(text, sizeof text - 1));
}

/* Bytes of the well-formed UTF-8 sequence at `p` (RFC 3629), or 0. A terminator is no continuation
 * byte. */
static size_t utf8_length(const unsigned char *p)
{
    static const struct {
        unsigned char first, last, low, high; /* lead bytes, and the range of the second byte */
        unsigned char length;
    } forms[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (*p < forms[i].first || *p > forms[i].last)
            continue;
        if (p[1] < forms[i].low || p[1] > forms[i].high)
            return 0;
        for (size_t k = 2; k < forms[i].length; k++)
            if ((p[k] & 0xc0) != 0x80)
                return 0;
        return forms[i].length;
    }
    return 0;
}

/* Writes `text` so that it can neither end a JSON string nor steer a terminal; bytes that are not
 * UTF-8 come out as U+FFFD. */
static void put_escaped(struct line *line, const char *text, bool json)
{
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        size_t length = 1;
        if (*p < 0x20 || *p == 0x7f)
            putf(line, "\\u%04x", *p);
        else if (json && (*p == '"' || *p == '\\'))
            putf(line, "\\%c", *p);
        else if (*p < 0x80)
            put(line, (const char *)p, 1);
        else if ((length = utf8_length(p)) > 0)
            put(line, (const char *)p, length);
        else
            put(line, "\xef\xbf\xbd", 3);
        p += length > 0 ? length : 1;
    }
}

static void render(struct line *line, enum log_level level, const char *event, const char *message,
                   uint64_t left_out)
{
    enum { TAIL = 64 }; /* room for the count, the brace and the line end, whatever the message */
    struct timespec now;
    struct tm tm;
    char when[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
    line->length = 0;
    line->end = sizeof line->bytes - TAIL;
    if (logger.text)
        putf(line, "%s.%03ldZ %s %s: ", when, now.tv_nsec / 1000000, level_names[level], event);
    else
        putf(line,
             "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"program\":\"%s\",\"event\":\"%s\","
             "\"message\":\"",
             when, now.tv_nsec / 1000000, level_names[level], logger.program, event);
    put_escaped(line, message, !logger.text);
    line->end = sizeof line->bytes;
    if (logger.text && left_out > 0)
        putf(line, " (%llu left out)", (unsigned long long)left_out);
    else if (!logger.text && left_out > 0)
        putf(line, "\",\"left_out\":%llu}", (unsigned long long)left_out);
    else if (!logger.text)
        putf(line, "\"}");
    put(line, "\n", 1);
}

void log_write(enum log_level level, const char *event, const char *format, ...)
{
    char message[MESSAGE_SIZE];
    struct line line;
    uint64_t left_out;
    va_list args;
    int saved = errno;
    if (level < __atomic_load_n(&logger.lowest, __ATOMIC_RELAXED))
        return;
    if (admit(event, &left_out)) {
        va_start(args, format);
        if (vsnprintf(message, sizeof message, format, args) < 0)
            message[0] = '\0';
        va_end(args);
        render(&line, level, event, message, left_out);
        while (write(STDERR_FILENO, line.bytes, line.length) < 0 && errno == EINTR)
            continue;
    }
    errno = saved;
}
