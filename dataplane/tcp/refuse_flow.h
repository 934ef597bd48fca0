/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A flow whose client is refused, in REFUSING or REFUSED, between refuse.c, which says so, and
 * refuse_taken.c, which hears what both ends still send. For these two alone; the worker's thread.
 */
#ifndef DROPGATE_DATAPLANE_TCP_REFUSE_FLOW_H
#define DROPGATE_DATAPLANE_TCP_REFUSE_FLOW_H

#include "dataplane/tcp/shard.h"

/** It has no backend, or none any more. */
static inline bool refuse_is_alone(const struct flow *flow)
{
    return flow->backend == BACKEND_NONE;
}

static inline struct refused *refused_of(struct flow *flow)
{
    return &flow->scan.refused;
}

/** Whether the backend has acknowledged the FIN that it got in the request's place. */
static inline bool refuse_backend_told(const struct flow *flow)
{
    return refuse_is_alone(flow) || seq_before(flow->scan.next, flow->from_backend.acked);
}

/** What we say to a client carries the highest timestamp that it may have, in order or not: what is
 * older it could refuse (RFC 7323 section 5). */
static inline void refuse_note_clock(struct flow *flow, uint32_t tsval)
{
    if (flow->state == FLOW_REFUSED && seq_before(refused_of(flow)->clock, tsval))
        refused_of(flow)->clock = tsval;
}

/** Over the frame in hand if it is free, else beside it. */
void refuse_say(struct shard *shard, struct frame *frame, enum port_side to,
                const struct segment *segment);

/** The backend of a flow in REFUSING has ended at `at`, by a segment of that time: the refusal
 * follows, over the frame. */
void refuse_follow(struct shard *shard, struct flow *flow, struct frame *frame, uint32_t at,
                   uint32_t tsval);

/** The client, which had acknowledged `acked`, has been heard; `news`: it said something new. In
 * REFUSED more of the answer may be due. Returns whether it was told for the first time, over the
 * frame. */
bool refuse_go_on(struct shard *shard, struct flow *flow, struct frame *frame, uint32_t acked,
                  bool news);

/** If it is over, which it was not before: what is sent again, because our last word was lost, is
 * answered for a little while. */
void refuse_linger(struct shard *shard, struct flow *flow);

#endif
