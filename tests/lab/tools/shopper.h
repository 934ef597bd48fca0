/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * One shopper: arrives, asks for a reservation with a key of its own, and asks again, with the same
 * key, as long as the answer is not known or says that stock may come back. Some repeat a granted
 * request (the answer must be the same bytes), some cancel. Everything it was told is written to
 * the history, which history.py checks against the ledger. One thread; `struct shop` is shared by
 * all shoppers of a run. */
#ifndef DROPGATE_TESTS_LAB_SHOPPER_H
#define DROPGATE_TESTS_LAB_SHOPPER_H

#include <stdio.h>

#include "answer.h"
#include "crowd.h"

/** How a request can end without an answer. */
enum shopper_break { BREAK_CONNECT, BREAK_RESET, BREAK_CLOSED, BREAK_TIMEOUT, BREAK_KINDS };

/** What is wanted of the run, and what became of it so far. */
struct shop {
    struct crowd_target target;
    const char *prefix; /* of user names: each run of one sale has its own shoppers */
    int sale;
    int quantity_max; /* shopper n wants 1 + n mod this */
    int cancel_percent, replay_percent;
    int64_t timeout;  /* us for connection and answer of one request */
    int64_t patience; /* us, cap on what a Retry-After may ask for */
    int64_t deadline; /* us, when everybody goes home */
    int epoll;
    FILE *history;
    bool at_rest;       /* nothing more falls due: the refused ask once more, then go */
    int64_t rest_since; /* us, when that was said */

    unsigned requests; /* sent, whatever became of them */
    unsigned arrived, first_answers, granted, cancelled, refused_for_good, failed;
    unsigned holding_off;         /* refused, and will ask again */
    unsigned broken[BREAK_KINDS]; /* requests without an answer, by how they ended */
    unsigned changed;             /* replayed answers that differed from the first */
    unsigned status[600];         /* answers by status */
    uint32_t *latency; /* us from connect or send to the last byte, of each answered POST */
    size_t latencies, latency_room;
};

enum shopper_wish { WISH_RESERVE, WISH_REPLAY, WISH_CANCEL };
enum shopper_state { SHOPPER_AWAY, SHOPPER_CONNECTING, SHOPPER_ANSWER, SHOPPER_GONE };

struct shopper {
    unsigned number;
    int fd; /* -1 without a connection */
    enum shopper_state state;
    enum shopper_wish wish;
    bool arrived, answered, refused, granted;
    bool last_word;  /* this request was sent after the rest began */
    int64_t due;     /* us: when it acts next (away), or when the request has taken too long */
    int64_t invoked; /* us, monotonic */
    int64_t invoked_wall;
    unsigned tries;      /* of the present wish, without an answer */
    uint64_t first_hash; /* of the granted answer */
    char id[40];         /* of the reservation */
    struct answer answer;
};

/** A shopper that arrives at `due`. */
void shopper_init(struct shopper *shopper, unsigned number, int64_t due);

/** Its time has come: arrives, asks again, or gives up on a request that took too long. */
void shopper_on_time(struct shop *shop, struct shopper *shopper);

/** The rest begins: it asks for the last time soon, if it was refused, and gives nothing back any
 * more. */
void shopper_on_rest(struct shopper *shopper);

/** Its descriptor is ready. */
void shopper_on_event(struct shop *shop, struct shopper *shopper, uint32_t events);

/** The run is over: whoever is not done has failed. */
void shopper_give_up(struct shop *shop, struct shopper *shopper);

#endif
