/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The flow table of one worker: a bounded array of flows and one chained hash over (client address,
 * client port). Outside a flow is told by its service, inside by its backend; both lookups walk the
 * same, short chain. Nothing is allocated after start; a flow is published to the table only when
 * all that it needs has been reserved. One thread, the owner's. */
#ifndef DROPGATE_DATAPLANE_TCP_FLOW_H
#define DROPGATE_DATAPLANE_TCP_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/siphash_lanes.h"
#include "dataplane/net/build.h"
#include "dataplane/tcp/scan.h"
#include "dataplane/tcp/states.h"
#include "dataplane/tcp/translate.h"
#include "dataplane/tcp/wheel.h"
#include "dataplane/tcp/window.h"

/** One spliced connection. At most 192 bytes, three cache lines: a bare acknowledgement reads and
 * writes the first two, data of the client's the third as well. worker: rw */
struct flow {
    /* what every packet of the flow reads */
    struct addr client;
    uint32_t next; /* in a bucket's overflow or the free list: 1 + index, 0 = end */
    uint16_t client_port;
    uint16_t service; /* index into the policy's services */
    uint16_t backend; /* index into the policy's backends, or BACKEND_NONE */
    uint8_t state;    /* enum flow_state */
    union {
        uint8_t tries;     /* opening: SYNs sent to the backend */
        uint8_t leaked_at; /* from then on: when `excess` has last leaked (tcp/excess.h) */
    };
    bool timestamps : 1;   /* agreed */
    bool sack : 1;         /* agreed */
    bool scaling : 1;      /* agreed */
    bool held_fin : 1;     /* a FIN has come before the backend answered; at from_client.fin. Of a
                              refused flow: it has come, and is acknowledged by us */
    bool delivering : 1;   /* open, but held bytes are still to be delivered */
    bool after_last : 1;   /* its last request is complete: what follows is surplus */
    bool unanswered : 1;   /* its backend has not begun to answer the last request (tcp/watch.h) */
    bool reset : 1;        /* closed, because its backend has reset it */
    uint8_t phase;         /* what it is timed for (tcp/slow.h) */
    uint16_t admitted;     /* generation of the lists that let it in (admit/lists.h) */
    struct mac client_mac; /* last hop towards the client, from its own packets */
    uint8_t excess;        /* packets in a row that have moved nothing (tcp/excess.h) */
    uint8_t refusal;       /* what it is answered instead of its backend (tcp/refuse.h) */
    struct splice splice;
    uint32_t last_ms; /* the worker's clock at the last packet, for the idle timer */
    uint32_t newest;  /* the client's highest TSval */
    /* 64 */
    struct side from_client, from_backend;
    uint32_t client_isn;
    uint32_t held;      /* entry in the slab of held requests, or HELD_NONE */
    uint32_t owned_end; /* behind the highest byte of the client's that we acknowledged ourselves:
                           up to there it is ours to deliver, or (surplus.h) was discarded. HTTP,
                           between these two: the backend was sent all from there to scan.next in
                           order; if it has not acknowledged that much, there may be a hole below */
    uint32_t sent;      /* when we answered its SYN, as in cookie_sent */
    /* 128 */
    struct wheel_node timer;
    uint32_t account; /* entry in the table of clients, which counts it (admit/client.h) */
    struct scan scan; /* of the client's requests; of what is not HTTP, once it is open: `heads` is
                         how far its server had got when the last exchange began */
    uint16_t phase_since, phase_window; /* when its phase, and the window at hand, began */
    uint32_t phase_mark;                /* how far it had come when the latter did */
} __attribute__((aligned(64)));
_Static_assert(offsetof(struct flow, from_client) == 64 && offsetof(struct flow, timer) == 128,
               "what belongs together shares a cache line");
_Static_assert(sizeof(struct flow) <= 192, "a flow is at most three cache lines");

/** Of HTTP: whether its backend may lack bytes of a body before others that it was sent; which the
 * client has to send, so that the body is not complete. */
static inline bool flow_has_hole(const struct flow *flow)
{
    return !flow->delivering && !flow->after_last &&
           seq_before(flow->from_backend.acked, flow->owned_end);
}

struct flows;

/** A table for `capacity` (1..2^27) flows, hashed under `key`. NULL when memory is short. */
struct flows *flows_new(uint32_t capacity, const struct siphash_key *key);
void flows_free(struct flows *flows);

/** The keyed hash of a client's address and port; also names a tuple in tombstones and misses. */
uint64_t flow_hash(const struct flows *flows, const struct addr *client, uint16_t client_port);

/** Tuples of a burst, hashed together and as flow_hash does: up to SIPHASH_BATCH, each under a
 * number of the caller's below that. */
struct flow_batch {
    struct flow_batch_part {
        struct siphash_batch messages;
        uint8_t number[SIPHASH_BATCH];
    } part[2]; /* IPv4, IPv6 */
};

static inline void flow_batch_begin(struct flow_batch *batch)
{
    batch->part[0].messages.count = batch->part[1].messages.count = 0;
}

void flow_batch_add(struct flow_batch *batch, unsigned number, const struct addr *client,
                    uint16_t client_port);

/** Sets hash[number] of all that were added. */
void flow_batch_hash(const struct flows *flows, struct flow_batch *batch,
                     uint64_t hash[SIPHASH_BATCH]);

/** Fetches the bucket of a hash, and then what it points at, ahead of a lookup: one call each, some
 * packets apart. `with_data` says that the packet carries some: more of the flow is looked at then.
 * The latter returns whether it may find a flow: false is certain.
 */
void flow_prefetch(const struct flows *flows, uint64_t hash);
bool flow_prefetch_found(const struct flows *flows, uint64_t hash, bool with_data);

/** Whether there is certainly no flow of that hash: of that client and port at any service or
 * backend. */
bool flow_is_absent(const struct flows *flows, uint64_t hash);

/** The flow of that client and port at a service (outside) or a backend (inside), or NULL. */
struct flow *flow_find_outside(const struct flows *flows, uint64_t hash, const struct addr *client,
                               uint16_t client_port, uint16_t service);
struct flow *flow_find_inside(const struct flows *flows, uint64_t hash, const struct addr *client,
                              uint16_t client_port, uint16_t backend);

/** A zeroed flow that is not in the table yet, or NULL when all are in use. Give it back by
 * flow_release. */
struct flow *flow_reserve(struct flows *flows);

/** Puts a reserved flow, whose client, client_port, service and backend are set, into the table. */
void flow_publish(struct flows *flows, struct flow *flow);

/** Takes a flow out of the table (if it is in it) and makes it free. Its timer must not be armed.
 */
void flow_release(struct flows *flows, struct flow *flow);

/** Index of a flow within the table's array, and back; the timing wheel speaks of indices. */
uint32_t flow_index(const struct flows *flows, const struct flow *flow);
struct flow *flow_at(const struct flows *flows, uint32_t index);

/** Flows in use, and room in all. Any thread may read them: they may be a little old. */
uint32_t flows_count(const struct flows *flows);
uint32_t flows_capacity(const struct flows *flows);

/** Copies the clients of flows in use, one for each, at most `room`, and returns how many. Any
 * thread: of a flow that begins or ends meanwhile it may be what was there before. */
size_t flows_clients(const struct flows *flows, struct addr *out, size_t room);

/** No flow from that index on was ever in use. */
uint32_t flows_high(const struct flows *flows);

#endif
