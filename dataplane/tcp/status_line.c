/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * One byte after another: "HTTP/1.", a digit, a space, three digits, and what may follow them. */
#include "dataplane/tcp/status_line.h"

#include <stdbool.h>

static const char name[] = "HTTP/1.";

enum {
    MINOR = sizeof name - 1, /* positions within the line */
    SPACE,
    CODE,
    BEHIND = CODE + 3,
    SKIP,      /* within the rest of an interim response: some byte of a line */
    SKIP_LINE, /* its first */
};

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

/* The byte behind the code, and with it the code. */
static enum status_event finish(struct status_line *line, uint8_t byte)
{
    if (byte != ' ' && byte != '\r' && byte != '\n')
        return STATUS_BAD;
    if (line->code >= 200)
        return line->code < 600 ? STATUS_READ : STATUS_BAD;
    if (line->code < 100 || line->code == 101) /* nobody asked for another protocol */
        return STATUS_BAD;
    line->code = 0;
    line->at = byte == '\n' ? SKIP_LINE : SKIP;
    return STATUS_MORE;
}

/* Up to the empty line that ends an interim response. */
static void skip(struct status_line *line, uint8_t byte)
{
    if (byte != '\n')
        line->at = byte == '\r' ? line->at : SKIP;
    else
        line->at = line->at == SKIP_LINE ? 0 : SKIP_LINE;
}

static enum status_event step(struct status_line *line, uint8_t byte)
{
    if (line->at >= SKIP) {
        skip(line, byte);
        return STATUS_MORE;
    }
    if (line->at == BEHIND)
        return finish(line, byte);
    bool good = line->at < MINOR    ? byte == (uint8_t)name[line->at]
                : line->at == SPACE ? byte == ' '
                                    : is_digit(byte);
    if (!good)
        return STATUS_BAD;
    if (line->at >= CODE)
        line->code = (uint16_t)(line->code * 10 + (byte - '0'));
    line->at++;
    return STATUS_MORE;
}

enum status_event status_line_read(struct status_line *line, const uint8_t *bytes, uint32_t length)
{
    enum status_event event = STATUS_MORE;
    for (uint32_t i = 0; i < length && event == STATUS_MORE; i++)
        event = step(line, bytes[i]);
    return event;
}
