/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What each client may do, and has done. A client is an IPv4 address or an IPv6 /64; it has an
 * entry only once it is verified: it has answered with a cookie. An entry holds two token buckets
 * (requests per minute, new connections per second), the connections that are open, strikes, and
 * the last requests that were refused, so that one that is sent again is refused again and counted
 * once. Of an IPv6 client the same limits hold 8-fold for its /56 and 32-fold for its /48, which
 * have entries of their own as long as one of their clients has.
 *
 * A token bucket is kept as the time at which it will be full again (the generic cell rate
 * algorithm, ITU-T I.371): exact in whole numbers, and nothing to be refilled.
 *
 * The table is of fixed size. When it is full, the client that has been idle longest goes; none
 * with an open connection ever does. An IPv6 network that has more than its share of the table, a
 * /48 or a /32, only displaces clients of its own. What is displaced loses its buckets, which were
 * full most likely; bans are kept elsewhere (bans.h). All choices are O(1): lists in the order of
 * last use, one of all clients and one of each /48 and /32.
 *
 * Classes, by the lists (admit/lists.h): who is allowed is never limited, counted or banned.
 * `proxies` have no limits of a client's, only the gateway's; `shared` addresses have theirs
 * multiplied; neither is banned for strikes. That a rate is exceeded is never a strike: behind one
 * address a crowd may sit.
 *
 * Limits that are only observed count what they would have refused, beside the packet's own
 * verdict, and let it pass. Pure: no clock but the one that goes in, milliseconds that never go
 * back. One thread, the owner's, unless it says so. */
#ifndef DROPGATE_DATAPLANE_ADMIT_CLIENT_H
#define DROPGATE_DATAPLANE_ADMIT_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"
#include "dataplane/admit/bans.h"
#include "dataplane/admit/guard.h"
#include "dataplane/admit/lists.h"
#include "dataplane/admit/quota.h"
#include "dataplane/net/verdict.h"

/** Limits that can be observed instead of enforced. */
enum client_limit {
    CLIENT_LIMIT_REQUESTS,    /* of a client, per minute */
    CLIENT_LIMIT_RATE,        /* of a client, new connections per second */
    CLIENT_LIMIT_CONNECTIONS, /* of a client, open at once */
    CLIENT_LIMIT_ALL_RATE,    /* of the gateway: all clients' new connections per second */
    CLIENT_LIMIT_ALL,         /* of the gateway: open at once */
    CLIENT_LIMIT_BANS,
    CLIENT_LIMITS
};

/** What clients may do; a limit of 0 is none. May change at any time. */
struct client_limits {
    uint32_t requests, requests_burst; /* per minute; at once, at least 1 */
    uint32_t rate, rate_burst;         /* new connections per second; at once, at least 1 */
    uint32_t connections;              /* open at once */
    uint32_t all_rate;                 /* of the gateway; LEASE_CONNECTIONS */
    uint32_t all_connections;          /* of the gateway; quota.h */
    uint32_t shared_factor;            /* of `shared` addresses, at least 1 */
    uint32_t strikes;                  /* that make a ban */
    uint32_t strike_decay_ms;          /* after which one strike is forgiven */
    uint32_t ban_ms, ban_most_ms;      /* the first ban, and the longest */
    bool observe[CLIENT_LIMITS];
};

/** What clients are struck for: abuse of the protocol. */
enum strike {
    STRIKE_MALFORMED,
    STRIKE_REPLAY,
    STRIKE_SLOW,
    STRIKE_OPTIMISTIC_ACK,
    STRIKE_EXCESS,
    STRIKES
};

enum { CLIENT_NOBODY = 0 };
#define CLIENT_NO_FLOW UINT32_MAX

struct clients_sizes {
    uint32_t clients; /* entries, networks included: 16..2^26 */
    uint32_t bans;
    uint32_t flows; /* of the shard's table */
};

/** What a table of clients shares with the rest of its shard; all outlive it. */
struct clients_shard {
    const struct guard *guard; /* whose hashes of sources are used here, too */
    struct quota *quota;       /* of the gateway's open connections */
    struct lease *rate;        /* of its new connections */
    uint64_t *verdicts;        /* counters of what happens beside a packet's own verdict */
    uint32_t *bans;            /* set: 0 while nobody is banned and no flow is to be cut */
};

struct clients;

/** An empty table, or NULL when memory is short. */
struct clients *clients_new(const struct clients_sizes *sizes, const struct clients_shard *shard);
void clients_free(struct clients *clients);

/** Fetches ahead of a look-up what is read first, by the hash of its source (guard_source_of), and
 * then the entry: one call each, some time apart. */
void clients_prefetch(const struct clients *clients, uint64_t source);
void clients_prefetch_found(const struct clients *clients, uint64_t source);

/** Fetches what clients_is_banned reads. */
void clients_prefetch_ban(const struct clients *clients, uint64_t source);

/** Whether the client with that source's hash is banned: the caller asks the allowlist, and whether
 * bans are only observed. */
bool clients_is_banned(const struct clients *clients, uint64_t source, uint64_t now_ms);

/** Whether it has been verified, not too long ago: it has an entry. */
bool clients_know(const struct clients *clients, const struct addr *client);

/** A verified client opens a connection: takes one, for `*account`, which is to be given back by
 * client_disconnect. `listed` are LISTED_ flags. FORWARDED, or CONNECTION_RATE, CLIENT_CONNECTIONS,
 * CONNECTIONS_FULL, GATEWAY_RATE or CLIENT_TABLE_FULL: then nothing is taken, and *account is
 * CLIENT_NOBODY. So it is for who is allowed. */
enum verdict client_connect(struct clients *clients, const struct client_limits *limits,
                            const struct addr *client, uint8_t listed, uint64_t now_ms,
                            uint32_t *account);

/** The connection is that flow from now on: a ban can find it. */
void client_attach(struct clients *clients, uint32_t account, uint32_t flow);

/** Gives back a connection. `flow`: what it was attached to, or CLIENT_NO_FLOW. CLIENT_NOBODY gives
 * nothing back. */
void client_disconnect(struct clients *clients, uint32_t account, uint32_t flow);

/** Charges a verified client for a request, which is told by `key` (of its port and ISN; 0: it
 * cannot come again): one that was refused is refused again, and not counted again. FORWARDED, or
 * REQUEST_RATE with the seconds (at least 1) after which one more would pass; or CLIENT_TABLE_FULL.
 */
enum verdict client_request(struct clients *clients, const struct client_limits *limits,
                            const struct addr *client, uint8_t listed, uint32_t key,
                            uint64_t now_ms, uint32_t *retry_after_s);

/** The same for a further request on an open connection, in its place in the sequence. */
enum verdict client_request_on(struct clients *clients, const struct client_limits *limits,
                               uint32_t account, uint64_t now_ms, uint32_t *retry_after_s);

/** A verified client has abused the protocol: enough strikes make a ban, which also ends its flows:
 * clients_to_cut. Counted: STRIKE, BAN or BAN_TABLE_FULL. */
void client_strike(struct clients *clients, const struct client_limits *limits,
                   const struct addr *client, uint8_t listed, enum strike reason, uint64_t now_ms);
/** The same by a flow's account; CLIENT_NOBODY is not struck. */
void client_strike_on(struct clients *clients, const struct client_limits *limits, uint32_t account,
                      enum strike reason, uint64_t now_ms);

/** The next flow of a banned client, which is to be ended (client_disconnect takes it out), or
 * CLIENT_NO_FLOW. */
uint32_t clients_to_cut(const struct clients *clients);

/** Forgets a few bans that are over. Now and then. */
void clients_tick(struct clients *clients, uint64_t now_ms);

/** Entries in use (clients, and the IPv6 networks above them), room in all, bans, connections. Any
 * thread: a little old. */
struct clients_counts {
    uint32_t entries, capacity, networks, bans, bans_capacity, connections;
};
struct clients_counts clients_count(const struct clients *clients);

/** A client as telemetry shows it. */
struct client_view {
    struct prefix prefix;
    uint32_t open, refused; /* connections now; requests and connections since its entry exists */
};

/** The client with that number (below the capacity); false if there is none. Any thread: what is
 * read may be half of one client's and half of its successor's. */
bool clients_view(const struct clients *clients, uint32_t number, struct client_view *view);

/** The same of the ban with that number (below bans_capacity), if it is in force. */
bool clients_ban(const struct clients *clients, uint32_t number, uint64_t now_ms, struct ban *ban);

#endif
