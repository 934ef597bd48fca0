/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The form is checked byte by byte, the calendar by the C library: a day that it moves to another
 * month was none. */
#include "common/rfc3339.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LAST_MS INT64_C(253402300799999) /* 9999-12-31T23:59:59.999Z */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* As many digits as `form` has 'd's, the other bytes as they stand there. */
static bool has_form(const char *text, const char *form)
{
    for (; *form != '\0'; text++, form++)
        if (*form == 'd' ? !is_digit(*text) : *text != *form)
            return false;
    return true;
}

static int number(const char *text, int digits)
{
    int value = 0;
    while (digits-- > 0)
        value = 10 * value + (*text++ - '0');
    return value;
}

/* The decimals behind a dot, if there are any; -1 if they are malformed. */
static int milliseconds(const char **at)
{
    int value = 0, weight = 100, digits = 0;
    if (**at != '.')
        return 0;
    for (++*at; is_digit(**at); ++*at, digits++, weight /= 10)
        value += (**at - '0') * weight;
    return digits >= 1 && digits <= 9 ? value : -1;
}

/* Minutes that local time is ahead of UTC. */
static bool offset(const char *text, int *minutes)
{
    *minutes = 0;
    if (strcmp(text, "Z") == 0)
        return true;
    if (!has_form(text + 1, "dd:dd") || (text[0] != '+' && text[0] != '-') || text[6] != '\0')
        return false;
    int hour = number(text + 1, 2), minute = number(text + 4, 2);
    *minutes = (hour * 60 + minute) * (text[0] == '-' ? -1 : 1);
    return hour < 24 && minute < 60;
}

int rfc3339_parse(const char *text, int64_t *unix_ms)
{
    int minutes;
    if (!has_form(text, "dddd-dd-ddTdd:dd:dd"))
        return -EINVAL;
    struct tm wanted = {.tm_year = number(text, 4) - 1900,
                        .tm_mon = number(text + 5, 2) - 1,
                        .tm_mday = number(text + 8, 2),
                        .tm_hour = number(text + 11, 2),
                        .tm_min = number(text + 14, 2),
                        .tm_sec = number(text + 17, 2)};
    struct tm got = wanted;
    time_t seconds = timegm(&got);
    const char *rest = text + 19;
    int ms = milliseconds(&rest);
    if (ms < 0 || *rest == '\0' || !offset(rest, &minutes))
        return -EINVAL;
    if (got.tm_year != wanted.tm_year || got.tm_mon != wanted.tm_mon ||
        got.tm_mday != wanted.tm_mday || got.tm_hour != wanted.tm_hour ||
        got.tm_min != wanted.tm_min || got.tm_sec != wanted.tm_sec)
        return -EINVAL;
    int64_t at = ((int64_t)seconds - minutes * INT64_C(60)) * 1000 + ms;
    if (at < 0 || at > LAST_MS)
        return -EINVAL;
    *unix_ms = at;
    return 0;
}

const char *rfc3339_print(int64_t unix_ms, char out[RFC3339_TEXT])
{
    struct tm t;
    int64_t at = unix_ms < 0 ? 0 : unix_ms > LAST_MS ? LAST_MS : unix_ms;
    time_t seconds = at / 1000;
    size_t length = strftime(out, RFC3339_TEXT, "%Y-%m-%dT%H:%M:%S", gmtime_r(&seconds, &t));
    if (at % 1000 != 0)
        length += (size_t)snprintf(out + length, RFC3339_TEXT - length, ".%03d", (int)(at % 1000));
    snprintf(out + length, RFC3339_TEXT - length, "Z");
    return out;
}
