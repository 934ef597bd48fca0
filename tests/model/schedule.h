/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A random schedule: everything that happens to a few clients, their backend and the network
 * between them, decided by one number; played, and judged. */
#ifndef DROPGATE_TESTS_MODEL_SCHEDULE_H
#define DROPGATE_TESTS_MODEL_SCHEDULE_H

#include "tests/model/shop.h"

enum { SCHEDULE_ATTEMPTS = 8, SCHEDULE_EVENTS = 12 };

enum event_kind {
    EVENT_CLIENT_CRASH,
    EVENT_SERVER_CRASH,
    EVENT_SERVER_LISTENS,
    EVENT_PROMISE, /* services promise something else from now on */
    EVENT_FORGERY,
    EVENT_GUESS,
};

struct event {
    enum event_kind kind;
    uint64_t at_ms;
    uint32_t host; /* or, of a forgery, the attempt */
};

struct schedule {
    struct world *world;
    struct shop shop;
    struct attempt attempts[SCHEDULE_ATTEMPTS];
    struct event events[SCHEDULE_EVENTS];
    uint32_t event_count;
    bool eventful;       /* there were any */
    uint32_t down_ms;    /* how long a crashed host is away */
    bool few_tombstones; /* so few that a replay could be executed */
    uint32_t replays;    /* chance in 1/1000 that a client's segment comes again much later */
    uint64_t deadline_ms;
    uint64_t server_crash_ms, server_back_ms;
    uint32_t crashed; /* index of the server */
    struct model_socket *graveyard;
    enum verdict verdict;       /* of the frame that the shard had last */
    struct wire_segment judged; /* that frame; its payload is gone */
    enum world_leg judged_leg;
    const char *wrong;
};

/** What `count` schedules came to. */
struct tally {
    uint64_t schedules, attempts, excused, frames;
    uint64_t verdicts[VERDICT_COUNT];
};

/** Plays the schedule of that number. NULL if all was well, else what was not. `direct`: without a
 * gateway. Adds to *tally. */
const char *schedule_play(uint64_t seed, bool direct, bool verbose, struct tally *tally);

/** The plan's part: hosts, links, attempts, events, table sizes and limits. */
void schedule_sizes(struct random *random, struct shard_sizes *sizes);
void schedule_plan(struct schedule *schedule);
/** What the services of a family may promise is chosen anew. */
void schedule_promise(struct world *world, bool v4, bool all);

#endif
