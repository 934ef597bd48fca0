/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * No NOTIFY wakes the relay: it would make all commits of the ledger take turns, for a few
 * milliseconds less. An idle call costs PostgreSQL 0.1 ms and writes nothing. */
#include "control/outbox/relay.h"

#include "control/clock.h"

enum {
    IDLE_MS = 50,      /* with nothing to publish */
    BUSY_MS = 5,       /* with a few rows: the next ones collect meanwhile */
    RIVAL_MS = 500,    /* while another is the relay */
    REFUSED_MS = 1000, /* after an error */
    FORGET_MS = 60000,
};

static int64_t after_ms(int64_t now, int ms)
{
    return now + ms * NANOSECONDS_PER_MS;
}

void relay_begin(struct relay *r, int64_t now)
{
    r->holds = false;
    r->publish_at = now;
    r->forget_at = after_ms(now, FORGET_MS);
}

enum relay_call relay_next(const struct relay *r, int64_t now)
{
    if (now >= r->publish_at)
        return RELAY_PUBLISH;
    return r->holds && now >= r->forget_at ? RELAY_FORGET : RELAY_NOTHING;
}

int64_t relay_due(const struct relay *r)
{
    return r->holds && r->forget_at < r->publish_at ? r->forget_at : r->publish_at;
}

void relay_published(struct relay *r, int32_t rows, int64_t now)
{
    r->holds = rows >= 0;
    int pause = rows < 0 ? RIVAL_MS : rows == 0 ? IDLE_MS : rows < RELAY_ROWS ? BUSY_MS : 0;
    r->publish_at = after_ms(now, pause);
}

void relay_forgot(struct relay *r, int32_t rows, int64_t now)
{
    r->forget_at = after_ms(now, rows < RELAY_FORGET_ROWS ? FORGET_MS : IDLE_MS);
}

void relay_refused(struct relay *r, enum relay_call call, int64_t now)
{
    if (call == RELAY_FORGET)
        r->forget_at = after_ms(now, FORGET_MS);
    else
        r->publish_at = after_ms(now, REFUSED_MS);
}
