/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Clients' segments that move nothing: no new byte, nothing acknowledged anew, no more room. Every
 * stack sends some: duplicate acknowledgements while a hole is open (RFC 5681), data again, probes
 * of a closed window, keep-alives. What is sent far beyond that is a flood on a connection that all
 * the other checks let pass, and is dropped.
 *
 * How many are honest depends on what is under way: each segment that arrives behind a hole is
 * answered by one duplicate. So one in some is counted, of the more the more there is in flight: it
 * takes over a thousand to fill the count, and some ten times as many as there can be segments of
 * full size. A client's segment that moves something, and is accepted, takes EXCESS_FORGIVEN off,
 * and one more for each EXCESS_FORGIVEN_BYTES that it moves; a backend's data, to which there will
 * be an answer, one; and time one per EXCESS_LEAK_MS. A flood passes at some 60 per second then.
 *
 * A client that acknowledges what was never sent (an optimistic ACK, which makes a sender go
 * faster than its path) is dropped by window_check; a run of these is abuse. A single one is not:
 * it may be an old duplicate of an earlier connection on the same ports. Pure; the flow's owner. */
#ifndef DROPGATE_DATAPLANE_TCP_EXCESS_H
#define DROPGATE_DATAPLANE_TCP_EXCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/tcp/flow.h"

enum {
    EXCESS_FULL = 255,
    EXCESS_FORGIVEN = 8,
    EXCESS_FORGIVEN_BYTES = 32,
    EXCESS_LEAK_MS = 64,
    EXCESS_UNSENT = 64,                /* what an acknowledgement of nothing counts */
    EXCESS_STRIKE = 3 * EXCESS_UNSENT, /* above that another one is no news */
};

/** Whether a client's segment, which window_check has passed, moves anything. A reset that ends
 * the connection does. */
static inline bool excess_moves(const struct flow *flow, const struct window_segment *s)
{
    const struct side *client = &flow->from_client, *backend = &flow->from_backend;
    uint32_t end = s->seq + s->length + ((s->flags & TCP_FIN) != 0);
    if (s->flags & TCP_RST)
        return s->seq == backend->acked || s->seq == client->end;
    return seq_before(client->end, end) || seq_before(client->acked, s->ack) ||
           seq_before(backend->limit, s->ack + s->window);
}

/** A client's segment goes on, and is about to be noted: if it moves anything, the count goes down.
 * Not before that is certain: of what is dropped nothing is noted, so it could come again for ever.
 */
void excess_accept(struct flow *flow, const struct window_segment *segment);

/** The same of one that has moved so many bytes, each way. */
void excess_forgive(struct flow *flow, uint32_t sent, uint32_t acked);

/** It moves nothing: whether it is one too many. `random`: 64 bits that the client cannot know. */
bool excess_count(struct flow *flow, uint64_t random, uint64_t now_ms);

/** A segment that window_check has refused as VERDICT_ACK_UNSENT. Returns whether its client is to
 * be struck: for the fourth in a row, and again once the flow has moved in between. Those that
 * acknowledge more than the client ever had room for, or come from before what it sent last, are
 * strays, and do not count. */
bool excess_unsent(struct flow *flow, const struct window_segment *segment);

#endif
