/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * One count of 8 bits per flow, and one of time, in units of EXCESS_LEAK_MS. The latter comes round
 * in 16 s: what is silent for longer may have less forgiven than its due, never more. */
#include "dataplane/tcp/excess.h"

/* A count for each 32 KiB in flight, and at least LEAST: in that there may be a thousand segments,
 * however small. */
enum { FLIGHT_SHIFT = 15, LEAST = 4 };

/* One in how many counts: a power of two. */
static uint32_t unit(const struct flow *flow)
{
    uint32_t down = flow->from_backend.end - flow->from_client.acked;
    uint32_t up = flow->from_client.end - flow->from_backend.acked;
    uint32_t flight = (down > up ? down : up) >> FLIGHT_SHIFT;
    return flight < LEAST ? LEAST : UINT32_C(2) << (31 - __builtin_clz(flight));
}

void excess_forgive(struct flow *flow, uint32_t sent, uint32_t acked)
{
    uint32_t moved = sent > acked ? sent : acked;
    uint32_t forgiven = EXCESS_FORGIVEN + moved / EXCESS_FORGIVEN_BYTES;
    flow->excess = (uint8_t)(flow->excess > forgiven ? flow->excess - forgiven : 0);
}

void excess_accept(struct flow *flow, const struct window_segment *s)
{
    if (!excess_moves(flow, s))
        return;
    int32_t sent = (int32_t)(s->seq + s->length - flow->from_client.end);
    int32_t acked = (int32_t)(s->ack - flow->from_client.acked);
    /* Behind a hole it is as far ahead as it likes. */
    uint32_t new = sent < 0 ? 0 : (uint32_t)sent < s->length ? (uint32_t)sent : s->length;
    excess_forgive(flow, new, acked < 0 ? 0 : (uint32_t)acked);
}

bool excess_count(struct flow *flow, uint64_t random, uint64_t now_ms)
{
    /* By a clock of its own: not every packet that is answered moves last_ms. */
    const uint8_t now = (uint8_t)(now_ms / EXCESS_LEAK_MS);
    const uint32_t leaked = (uint8_t)(now - flow->leaked_at);
    uint32_t count = flow->excess > leaked ? flow->excess - leaked : 0;
    flow->leaked_at = now;
    flow->excess = (uint8_t)count;
    if (count == EXCESS_FULL)
        return true;
    flow->excess = (uint8_t)(count + ((random & (unit(flow) - 1)) == 0));
    return false;
}

bool excess_unsent(struct flow *flow, const struct window_segment *s)
{
    const struct side *client = &flow->from_client;
    uint8_t before = flow->excess;
    if (s->ack - flow->from_backend.end > client->window ||
        (s->timestamps && seq_before(s->tsval, client->ts_recent)))
        return false;
    flow->excess =
        (uint8_t)(before > EXCESS_FULL - EXCESS_UNSENT ? EXCESS_FULL : before + EXCESS_UNSENT);
    return before <= EXCESS_STRIKE && flow->excess == EXCESS_FULL;
}
