/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Applications for model hosts: clients that make HTTP requests and a server that answers them,
 * each by a plan. What one side has written the other must read, every byte once and in order, and
 * no request twice: the first thing that is wrong ends the program's schedule. */
#ifndef DROPGATE_TESTS_MODEL_SHOP_H
#define DROPGATE_TESTS_MODEL_SHOP_H

#include "tests/model/world.h"

enum { SHOP_REQUESTS = 6, SHOP_EXTRA = 6 };

/** Who says FIN first. */
enum shop_close {
    SHOP_CLIENT_LAST_ANSWER, /* the client, when it has all answers */
    SHOP_CLIENT_HALF,        /* the client, behind its last request; answers follow */
    SHOP_SERVER,             /* the server, behind its last answer */
    SHOP_CLOSES
};

/** How one end reads and writes. Times in ms, sizes in bytes. */
struct shop_manner {
    uint32_t write_size, write_gap; /* at most that much at once; 0 = all */
    uint32_t read_size, read_gap;
    uint32_t stall_at, stall_ms; /* reads nothing for so long once that much has been read */
    uint32_t think_ms;           /* before each request or answer */
    uint32_t abort_at;           /* RST once that much has been read; UINT32_MAX = never */
    uint64_t abort_ms;           /* RST at that time; 0 = never */
};

struct shop_request {
    uint32_t head_end, end; /* in the client's stream */
    uint32_t answer_end;    /* in the server's stream */
};

/** One connection, as its client plans it. */
struct attempt {
    struct model_host *client;
    uint16_t port;
    bool v4, second_service, started, over;
    uint64_t start_ms, over_ms;
    struct shop_request request[SHOP_REQUESTS];
    uint32_t requests;
    uint8_t *ask, *answer; /* the two streams; of a refused one the refusal stands behind it */
    uint32_t ask_length, answer_length, refusal_length;
    uint32_t requests_length; /* of the first stream; what is behind them nobody may read */
    bool pipelined, whole_head, close_for_good;
    bool answers_early; /* the server does not wait for bodies */
    bool malformed;     /* its last request is: nobody but the gateway may see all of its head */
    bool refused;       /* the same */
    bool unserved;      /* it was refused, though it should not be: no backend would have it */
    enum shop_close close;
    struct shop_manner client_manner, server_manner;
    bool excused; /* something will happen, or has, after which it may fail */
    const char *excuse;

    uint32_t owned;   /* the gateway's own acknowledgements reach there; 0 = none */
    uint32_t covered; /* what it knows that the backend has acknowledged of it */

    /* how far it is */
    struct model_socket *socket, *server, *extra[SHOP_EXTRA];
    uint32_t extra_count;
    uint32_t asked, received, taken, executed, answered;
    uint64_t client_writes_ms, client_reads_ms, server_writes_ms, server_reads_ms;
    bool client_stalled, server_stalled, saw_end;
    uint32_t thought;      /* requests for which the client has waited its think time */
    uint32_t thought_over; /* answers for which the server has */
};

struct shop {
    struct world *world;
    struct attempt *attempts;
    uint32_t count;
    bool forgetful;       /* the gateway may have too few tombstones, and says so */
    uint64_t patience_ms; /* an attempt that takes longer has failed */
    const char *wrong;    /* NULL while all is well */
    const struct attempt *wrong_attempt;
};

/** How many of its requests a backend may see. */
static inline uint32_t shop_served(const struct attempt *a)
{
    return a->requests - a->refused;
}

/** A connection of the listener. */
void shop_accepted(struct shop *shop, struct model_socket *socket);
/** Lets every application do what it wants to now; returns when one wants to go on, UINT64_MAX if
 * none does by itself. */
uint64_t shop_step(struct shop *shop);
/** Sockets of an attempt that do not exist any more must be forgotten: all is over for them. */
void shop_wrong(struct shop *shop, const struct attempt *attempt, const char *what);
/** Whether every attempt has come to its end. */
bool shop_over(const struct shop *shop);
void shop_excuse(struct attempt *attempt, const char *why);

#endif
