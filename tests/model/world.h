/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Model hosts, a lossy network between them, one clock for all, and (unless the world is direct) a
 * real shard in the middle. Frames travel as bytes, so whatever the shard sends is read by a parser
 * that is not its own. Everything random comes from one seed. No threads, no real time. */
#ifndef DROPGATE_TESTS_MODEL_WORLD_H
#define DROPGATE_TESTS_MODEL_WORLD_H

#include "tests/model/tcp.h"

enum { WORLD_CLIENTS = 4, WORLD_SERVERS = 2 * WIRE_BACKENDS };

/** Where a frame is on its way to. */
enum world_leg { LEG_TO_GATEWAY_OUT, LEG_TO_GATEWAY_IN, LEG_TO_CLIENTS, LEG_TO_SERVERS, LEGS };

/** What happens to frames on one side of the gateway, both ways. Chances in 1/1000. */
struct world_link {
    uint32_t delay_ms, jitter_ms;
    uint32_t lost, doubled, late; /* late: by up to `late_ms` more */
    uint32_t late_ms;
    uint32_t split; /* data segments that arrive as two */
};

struct world_frame {
    uint64_t at_ms, order;
    enum world_leg leg;
    uint32_t length;
    uint8_t *bytes;
};

struct world {
    uint64_t now_ms;
    struct random random;
    struct world_link link[PORT_SIDES];
    uint64_t heals_ms; /* from then on nothing is lost, doubled, late or split */
    bool split_first;  /* also what may be a connection's first data */
    struct wire *wire; /* NULL: hosts speak to each other directly */
    uint64_t ticked_ms;
    struct model_host clients[WORLD_CLIENTS], servers[WORLD_SERVERS];
    uint32_t client_count, server_count;
    uint64_t down_until[2][WORLD_SERVERS]; /* [clients, servers]: frames to it vanish */
    struct world_frame *heap;
    uint32_t heap_count, heap_room;
    uint64_t order, frames;
    bool verbose;
    void (*seen)(void *context, const struct wire_segment *segment, enum world_leg leg);
    /** The shard was given this frame (its bytes as they were before) and has decided. */
    void (*decided)(void *context, const struct wire_segment *in, enum world_leg leg,
                    enum verdict verdict);
    void *context;
};

/** An empty world; with `sizes`, a shard of these tables in the middle. */
struct world *world_new(uint64_t seed, const struct shard_sizes *sizes, bool direct);
void world_free(struct world *world);

/** The next host; its traits are the caller's. `v4` says of which family a client is; a server is
 * the rig's backend of that index (even ones IPv4). */
struct model_host *world_client(struct world *world, bool v4);
struct model_host *world_server(struct world *world, uint16_t backend);
/** What clients of that family connect to; with a gateway there is a second service, which leads to
 * the same backends. */
struct endpoint world_service(const struct world *world, bool v4, bool second);

/** Runs until nothing is left to do before `until_ms`, or `step` says that it is enough: it is
 * called after each moment in which something happened, and returns when it wants to be called
 * next (UINT64_MAX: whenever), or 0 to stop. */
void world_run(struct world *world, uint64_t until_ms, uint64_t (*step)(void *context));

/** A segment of nobody's enters a leg, as a forger's or a replayer's. */
void world_inject(struct world *world, enum world_leg leg, const uint8_t *bytes, uint32_t length,
                  uint64_t at_ms);
void world_inject_segment(struct world *world, enum world_leg leg,
                          const struct wire_segment *segment, uint64_t at_ms);

/** Frames under way. */
uint32_t world_in_flight(const struct world *world);

/** One line about a segment, as tcpdump would. */
void world_print(const struct world *world, const char *where, const struct wire_segment *segment,
                 const char *verdict);

#endif
