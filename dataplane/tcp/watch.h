/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Which backends leave their clients without an answer, as one worker sees it. Of each backend a
 * few flows are watched whose request is complete and delivered; from time to time they are looked
 * at. One that has waited for its answer's first byte for longer than its service allows counts
 * against the backend, until any answer of its begins. So one slow request says nothing, nor do
 * many of one client, nor slow ones beside others that are answered: only a backend that answers
 * nobody, while several clients wait, is told of. Packets of open flows meet nothing of it but one
 * bit. Not of plain TCP, where nobody knows who speaks next. One thread, the shard's owner's. */
#ifndef DROPGATE_DATAPLANE_TCP_WATCH_H
#define DROPGATE_DATAPLANE_TCP_WATCH_H

#include <stdbool.h>
#include <stdint.h>

enum {
    WATCH_FLOWS = 8,   /* of one backend at a time */
    WATCH_CLIENTS = 8, /* the most that may be needed to speak against it */
};

/** Of one backend. worker: rw */
struct watch {
    struct {
        uint32_t flow, isn; /* its index, and whether it is still that one */
        uint32_t since_ms;  /* the worker's clock, wraps */
    } slot[WATCH_FLOWS];
    uint32_t client[WATCH_CLIENTS]; /* who have waited in vain since the last answer: hashes */
    uint32_t answered_ms;           /* when it last began to answer anybody; wraps */
    uint8_t used;                   /* bit i: slot[i] */
    uint8_t clients;
};

struct shard;
struct flow;

/** A request of the flow goes to its backend. */
void watch_asked(struct shard *shard, struct flow *flow);

/** Its backend answers; only while flow->unanswered. */
void watch_answered(struct shard *shard, struct flow *flow);

/** Whether a request that comes now would get no answer, and may still be sent again by its client:
 * the backend of the flow says nothing to its probes, nor lately to anybody else, while others are
 * well; the flow has no answer to come. */
bool watch_mute(const struct shard *shard, const struct flow *flow);

/** Looks at the watched flows of some backends: bounded work. */
void watch_tick(struct shard *shard);

#endif
