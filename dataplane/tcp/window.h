/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Follows both halves of a connection closely enough to tell a segment that its receiver could
 * accept from one that it could not: sequence window, acknowledgements of what was never sent,
 * PAWS, exact RST. After van Rooij, "Real Stateful TCP Packet Filtering" (2001), with RFC 5961 and
 * RFC 7323. All numbers are the client's view. Pure. */
#ifndef DROPGATE_DATAPLANE_TCP_WINDOW_H
#define DROPGATE_DATAPLANE_TCP_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/net/verdict.h"
#include "dataplane/tcp/states.h"

/** What was seen of one side. */
struct side {
    uint32_t end;    /* behind the highest byte (or FIN) that it sent */
    uint32_t acked;  /* the highest acknowledgement that it sent: its next expected byte, as far as
                        was seen */
    uint32_t limit;  /* the other side allows it bytes up to here (highest ack + window) */
    uint32_t window; /* the largest window that it announced, in bytes */
    uint32_t ts_recent; /* its last TSval in order; meaningful when the connection has timestamps */
    uint32_t fin;       /* behind its FIN; meaningful once the state says so */
};

/** A segment, in the client's view of sequence numbers and with the window in bytes. */
struct window_segment {
    uint32_t seq, ack, window;
    uint32_t length; /* payload */
    uint8_t flags;
    bool timestamps;
    uint32_t tsval;
};

static inline bool seq_before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

/** Whether `to` could accept the segment that `from` sent: VERDICT_FORWARDED, or OUT_OF_WINDOW,
 * ACK_UNSENT or PAWS. Changes nothing. */
enum verdict window_check(const struct side *from, const struct side *to,
                          const struct window_segment *segment);

/** The segment's class for the state table; only after window_check. `to_fin` says whether the
 * other side has sent its FIN. */
enum segment_class window_class(const struct side *from, const struct side *to,
                                const struct window_segment *segment, bool to_fin);

/** Whether its receiver has to take a segment for which it has room: no segment that was sent on
 * before acknowledged more or was of a later time, so that neither RFC 5961 section 5.2 nor PAWS
 * can refuse it. `timestamps`: agreed; `newest`: the highest TSval sent on. Changes nothing. */
bool window_newest(const struct side *from, const struct window_segment *segment, bool timestamps,
                   uint32_t newest);

/** Takes note of a segment that is sent on. */
void window_note(struct side *from, struct side *to, const struct window_segment *segment);

#endif
