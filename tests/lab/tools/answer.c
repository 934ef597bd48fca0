/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Reads one HTTP/1.1 answer. See answer.h. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "answer.h"

void answer_reset(struct answer *answer)
{
    answer->length = answer->head = answer->body = 0;
    answer->status = 0;
    answer->retry_after = -1;
    answer->close = false;
    answer->bytes[0] = '\0';
}

/* The value of a header field whose line begins with `name` and a colon, or NULL. */
static const char *field(const char *line, const char *name)
{
    size_t length = strlen(name);
    if (strncasecmp(line, name, length) != 0 || line[length] != ':')
        return NULL;
    line += length + 1;
    return line + strspn(line, " \t");
}

static int read_head(struct answer *answer, const char *end)
{
    if (strncmp(answer->bytes, "HTTP/1.1 ", 9) != 0)
        return -1;
    answer->status = (int)strtol(answer->bytes + 9, NULL, 10);
    bool sized = answer->status == 204 || answer->status == 304;
    for (const char *line = strstr(answer->bytes, "\r\n"); line != NULL && line < end;
         line = strstr(line, "\r\n")) {
        line += 2;
        const char *value;
        if ((value = field(line, "Content-Length")) != NULL) {
            answer->body = strtoul(value, NULL, 10);
            sized = true;
        } else if ((value = field(line, "Retry-After")) != NULL) {
            answer->retry_after = (int)strtol(value, NULL, 10);
        } else if ((value = field(line, "Connection")) != NULL) {
            answer->close = strncasecmp(value, "close", 5) == 0;
        }
    }
    answer->head = (size_t)(end - answer->bytes) + 4;
    return sized && answer->status >= 100 && answer->head + answer->body <= ANSWER_ROOM ? 0 : -1;
}

int answer_look(struct answer *answer)
{
    answer->bytes[answer->length] = '\0';
    if (answer->head == 0) {
        const char *end = strstr(answer->bytes, "\r\n\r\n");
        if (end == NULL)
            return answer->length < ANSWER_ROOM ? 0 : -1;
        if (read_head(answer, end) != 0)
            return -1;
    }
    if (answer->length > answer->head + answer->body)
        return -1; /* nobody asked for more */
    return answer->length == answer->head + answer->body;
}

const char *answer_body(const struct answer *answer)
{
    return answer->bytes + answer->head;
}

uint64_t answer_hash(const struct answer *answer)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < answer->body; i++)
        hash = (hash ^ (uint8_t)answer_body(answer)[i]) * 0x100000001b3;
    return hash;
}
