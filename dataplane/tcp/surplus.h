/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What a client sends behind its connection's last request ("Connection: close", HTTP/1.0): bytes
 * that it began before it knew, or never should have. No backend gets them. They are acknowledged
 * and discarded, so that the client reads its last answer and its end in peace (RFC 9112 section
 * 9.6), and its FIN behind them reaches the backend behind the last request. They keep no flow
 * alive, and there may be SURPLUS_MOST of them.
 *
 * Towards the backend they were never sent: where they lie, client's numbers are one. So there are
 * two counts, the client's own and the backend's, which is also what a flow keeps; they are the
 * same up to the end of the last request. Pure. One thread, the flow's owner's. */
#ifndef DROPGATE_DATAPLANE_TCP_SURPLUS_H
#define DROPGATE_DATAPLANE_TCP_SURPLUS_H

#include "dataplane/tcp/flow.h"

/* As much as a client that has written all it wanted to may have in its socket; one that still goes
 * on then does not read. */
enum { SURPLUS_MOST = 1 << 20 };

/** How many bytes have been discarded. */
static inline uint32_t surplus_count(const struct flow *flow)
{
    bool any = flow->after_last && seq_before(flow->scan.next, flow->owned_end);
    return any ? flow->owned_end - flow->scan.next : 0;
}

/** An acknowledgement in the backend's count, as the client is to be told it. Behind a refused
 * request the FIN that the backend acknowledges was ours, and the client's is for us. */
static inline uint32_t surplus_shown(const struct flow *flow, uint32_t ack)
{
    if (!flow->after_last || seq_before(ack, flow->scan.next))
        return ack;
    if (flow->refusal != REFUSAL_NONE)
        return flow->scan.next + surplus_count(flow) + flow->held_fin;
    return ack + surplus_count(flow);
}

/** The last request is complete. Nothing has been discarded yet: what the gateway owned when the
 * connection opened may lie billions of bytes back, and would be taken for a count. */
void surplus_begin(struct flow *flow);

/** Brings a client's segment, behind its last request, into the backend's count, without what has
 * been discarded before; of its payload, what lies before the end of that request is in front. A
 * reset at what was discarded is an old one.
 * Sequence number and length remain as they were if nothing has changed. */
void surplus_strip(const struct flow *flow, struct window_segment *segment);

/** Discards `length` more bytes, of a flow that is not `delivering`; false when that would be too
 * many, and nothing has changed. */
bool surplus_discard(struct flow *flow, uint32_t length);

/** Shows the client what was discarded, in a segment that has been translated for it. */
void surplus_raise(uint8_t *frame, const struct packet *packet, const struct flow *flow,
                   const struct window_segment *segment);

#endif
