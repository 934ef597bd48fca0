/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The steps of talks in which a request is refused, for the tests of refusals alone: their names
 * are words, so that a talk reads as one. The gate is theirs, too: it refuses what begins with
 * "/no". */
#ifndef DROPGATE_TESTS_UNIT_REFUSE_TALK_H
#define DROPGATE_TESTS_UNIT_REFUSE_TALK_H

#include "tests/unit/wire.h"

#define GET     "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define NO      "GET /no HTTP/1.1\r\nHost: a\r\n\r\n"
#define NO_POST "POST /no HTTP/1.1\r\nHost: a\r\n"
#define ANSWER  "HTTP/1.1 204 No Content\r\n\r\n"
enum { NO_LENGTH = sizeof NO - 1, ANSWER_LENGTH = sizeof ANSWER - 1, UNREAD_MS = 10000 };

/** What the gate was asked, how often, and whether it refuses all else, too. */
extern uint32_t asked;
extern char last_path[64], last_host[64];
extern bool refuses_all;

/** An open connection before its first request, and one between two. */
struct wire_talk begun(struct wire *w);
struct wire_talk idle(struct wire *w);

/** One whose client has asked for another and, behind it, for what is refused; the backend has the
 * former and our FIN. The former's answer is still to come: it comes whole, in its own segments,
 * and then the refusal. */
struct wire_talk pipelined(struct wire *w);

/** From the client, which moves on. */
struct wire_segment from_client(struct wire *w, struct wire_talk *t, uint8_t flags,
                                const char *text, enum verdict verdict);

/** From the backend; what the client sees of it, which acknowledges up to `ack`. */
struct wire_segment says(struct wire *w, struct wire_talk *t, const char *text, uint32_t ack);

/** Our FIN in place of a refused request. */
void ended(struct wire *w, struct wire_talk *t);
void acknowledged(struct wire *w, const struct wire_talk *t, uint32_t ack);
/** Both, in whatever order. */
void ended_and_acknowledged(struct wire *w, struct wire_talk *t, uint32_t ack);
void backend_acked(struct wire *w, const struct wire_talk *t, uint32_t ack);

/** The backend's FIN, behind `text`. It is acknowledged when the client has all that was before: at
 * once, or by the time of fin_acked. */
void leaves(struct wire *w, struct wire_talk *t, const char *text);
void fin_acked(struct wire *w, const struct wire_talk *t);

/** The refusal, which follows all that the client has and acknowledges up to `ack`. */
struct wire_segment told(struct wire *w, const struct wire_talk *t, uint32_t ack);
/** It is one, wherever it may be. */
void expect_reply(const struct wire_segment *seen);
/** Takes it, and acknowledges it. */
void reads(struct wire *w, struct wire_talk *t, const struct wire_segment *reply);

/** It lingers for a while, and nothing is left. */
void gone(struct wire *w);
/** The client's FIN, and nothing is left. */
void goes(struct wire *w, struct wire_talk *t);

int refuse_setup_v4(void **state);
int refuse_setup_v6(void **state);

/** A test that is run for each family. */
#define REFUSE_TEST(f)                                       \
    {#f "[IPv4]", f, refuse_setup_v4, wire_teardown, NULL},  \
    {                                                        \
#f "[IPv6]", f, refuse_setup_v6, wire_teardown, NULL \
    }

#endif
