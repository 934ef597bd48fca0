/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * When the relay calls what. Every instance tries to be the relay; PostgreSQL lets one session be
 * it, for as long as that session lasts (dropgate.outbox_relay). The relay publishes without a
 * pause while there is more than a batch, looks often while there is nothing, and deletes now and
 * then what has been kept long enough. Pure: the caller has the connection and the clock. */
#ifndef DROPGATE_CONTROL_OUTBOX_RELAY_H
#define DROPGATE_CONTROL_OUTBOX_RELAY_H

#include <stdbool.h>
#include <stdint.h>

enum relay_call { RELAY_NOTHING, RELAY_PUBLISH, RELAY_FORGET };

enum {
    RELAY_ROWS = 500,        /* published in one transaction at most */
    RELAY_FORGET_ROWS = 1000 /* what dropgate.outbox_forget deletes at most */
};

struct relay {
    bool holds; /* this session has been told that it is the relay */
    int64_t publish_at, forget_at;
};

/** A new connection at `now` (clock_now): it holds nothing. */
void relay_begin(struct relay *relay, int64_t now);

/** What to call at `now`. */
enum relay_call relay_next(const struct relay *relay, int64_t now);

/** When relay_next will say something again; may be past. */
int64_t relay_due(const struct relay *relay);

/** RELAY_PUBLISH was answered: rows published, or below 0: another session is the relay. */
void relay_published(struct relay *relay, int32_t rows, int64_t now);

/** RELAY_FORGET was answered: rows deleted. */
void relay_forgot(struct relay *relay, int32_t rows, int64_t now);

/** PostgreSQL refused the call: again, but not at once. */
void relay_refused(struct relay *relay, enum relay_call call, int64_t now);

#endif
