/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Reads one HTTP/1.1 answer as its bytes arrive: status, Retry-After, Connection, Content-Length
 * and the body. It knows what our own service sends and refuses the rest; it is a test's ear, not a
 * browser's. Pure. */
#ifndef DROPGATE_TESTS_LAB_ANSWER_H
#define DROPGATE_TESTS_LAB_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ANSWER_ROOM = 4096 };

struct answer {
    char bytes[ANSWER_ROOM + 1]; /* head and body as they came, then a NUL */
    size_t length;
    size_t head;     /* length of the head with its empty line, 0 until it is complete */
    size_t body;     /* Content-Length */
    int status;      /* three digits, once the head is complete */
    int retry_after; /* seconds, or -1 */
    bool close;      /* the server will close the connection */
};

/** Ready for the next answer. */
void answer_reset(struct answer *answer);

/** Looks at what bytes[0..length) holds now. Returns 1 when the answer is whole, 0 when more must
 * come, -1 when it is no answer that our service would give. */
int answer_look(struct answer *answer);

/** The body's text (a NUL behind it) once the answer is whole. */
const char *answer_body(const struct answer *answer);

/** FNV-1a of the body: whether two answers are the same, byte for byte. */
uint64_t answer_hash(const struct answer *answer);

#endif
