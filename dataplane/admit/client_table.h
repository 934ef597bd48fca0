/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The entries behind client.h: a bounded array, a chained hash, and who goes when it is full. It
 * decides nothing about limits. An entry is a client (an IPv4 address, an IPv6 /64) or a network
 * above IPv6 clients (/56, /48, /32), which is there as long as a client below it is. Clients
 * without an open connection stand in lists in the order of their last use, the longest ago first:
 * one of all, and one of each /48 and each /32. Entries are named by a number from 1 on; 0 is none.
 */
#ifndef DROPGATE_DATAPLANE_ADMIT_CLIENT_TABLE_H
#define DROPGATE_DATAPLANE_ADMIT_CLIENT_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"
#include "dataplane/admit/guard.h"

enum client_kind { CLIENT_FREE, CLIENT_V4, CLIENT_64, NETWORK_56, NETWORK_48, NETWORK_32 };

enum {
    CLIENT_REFUSED = 4,      /* refused requests that are remembered */
    CLIENT_SHARE_OF_48 = 64, /* a full table has 1/64 of its entries for clients of one /48, */
    CLIENT_SHARE_OF_32 = 16  /* 1/16 for those of one /32, before they displace each other */
};

/** In which lists a client stands; the numbers of its neighbours there. */
enum client_order { ORDER_ALL, ORDER_48, ORDER_32, CLIENT_ORDERS };
struct client_place {
    uint32_t older, newer;
};

/** What every look-up and every limit needs: one cache line. */
struct client {
    uint64_t prefix; /* IPv4 address; first 64 bits of IPv6, the rest of a network zero */
    uint64_t requests,
        rate; /* when the buckets are full again: nanoseconds of the worker's clock */
    struct client_place
        order[CLIENT_ORDERS]; /* of a network: [0] is its own list, the ends of it */
    uint32_t next;            /* in its chain or the free list */
    uint32_t parent;          /* the network above */
    uint32_t open;            /* connections; of a network those of its clients */
    uint8_t kind;             /* enum client_kind */
    uint8_t listed;           /* LISTED_ flags, as last seen */
    bool cutting;             /* banned, with flows to be ended */
    uint8_t oldest_refused;
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct client) == 64, "one cache line");

/** The rest. */
struct client_more {
    uint32_t refused[CLIENT_REFUSED]; /* keys of requests; 0 = none */
    uint32_t flows;                   /* its flows: 1 + index of the newest */
    uint32_t refusals;                /* since the entry exists */
    uint32_t strike_ms;               /* when the last strike was forgiven or given */
    union {
        uint32_t strikes; /* of a client */
        uint32_t clients; /* of a network: entries below */
    };
};

/** worker: rw; counts and items: others ro, a little old */
struct client_table {
    const struct guard *guard;
    struct client *items; /* [number - 1] */
    struct client_more *more;
    uint32_t *heads;
    uint32_t mask, capacity;
    uint32_t used, networks; /* entries, and how many of them are networks */
    uint32_t free, fresh;
    struct client_place idle; /* of all: older = the longest idle one, newer = the last one */
    uint64_t displaced;
};

/** 0 or -ENOMEM; client_table_end is to be called in either case. */
int client_table_init(struct client_table *table, uint32_t capacity, const struct guard *guard);
void client_table_end(struct client_table *table);

static inline struct client *client_at(const struct client_table *table, uint32_t number)
{
    return &table->items[number - 1];
}

static inline struct client_more *client_more(const struct client_table *table, uint32_t number)
{
    return &table->more[number - 1];
}

/** The chain in which a client with that source's hash would stand. */
static inline uint32_t *client_head(const struct client_table *table, uint64_t source)
{
    return &table->heads[guard_place(source, table->mask)];
}

/** The client's entry, made if there is none; it is the one used last now. 0: all others have open
 * connections. */
uint32_t client_take(struct client_table *table, const struct addr *client);

/** Whether it has an entry. Changes nothing. */
bool client_is_known(const struct client_table *table, const struct addr *client);

/** It has been used. */
void client_used(struct client_table *table, uint32_t number);

/** One more, or one less, open connection. */
void client_opened(struct client_table *table, uint32_t number);
void client_closed(struct client_table *table, uint32_t number);

/** The prefix of an entry, as far as it is one. */
struct prefix client_prefix(const struct client *client);

#endif
