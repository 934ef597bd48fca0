/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Policy: what operators, feeds and probes have decided, as a row of pointers to immutable parts. A
 * change builds one new part aside, checks it, and swaps one pointer (ops/builder); a worker reads
 * the row once per burst. Nothing here is ever written after it was published. */
#ifndef DROPGATE_DATAPLANE_ADMIT_POLICY_H
#define DROPGATE_DATAPLANE_ADMIT_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"
#include "dataplane/admit/client.h"
#include "dataplane/admit/endpoints.h"
#include "dataplane/admit/lease.h"
#include "dataplane/admit/lists.h"
#include "dataplane/net/build.h"
#include "dataplane/net/packet.h"
#include "dataplane/tcp/cookie.h"
#include "dataplane/tcp/slow.h"
#include "dataplane/tls/names.h"

/** The two sides of the gateway; also the index of their port. */
enum port_side { OUTSIDE, INSIDE, PORT_SIDES, PORT_NONE = PORT_SIDES };

/** What clients speak: it decides what is read of a connection before its backend is asked. */
enum service_protocol { SERVICE_HTTP, SERVICE_TLS, SERVICE_TCP };

/** What clients of a service get while none of its backends is known to be well: an answer that
 * says so, at once; or a try at all of them, for its probes may be what is wrong. */
enum all_down { ALL_DOWN_REFUSE, ALL_DOWN_TRY };

/** Whether a number stands for somebody. Flows remember the numbers of their service and backend,
 * so one that a reload has removed keeps its own until they have ended: it gets no new ones. */
enum presence { PRESENT, LEAVING, ABSENT };

/** One address and port that clients connect to. A configured service that listens on several is
 * several of these. */
struct service {
    struct endpoint listen;
    char name[64];
    uint64_t rule_number;         /* rules_service(name) */
    const uint16_t *backends;     /* indices of those of its family, within members */
    uint32_t backend_count;       /* at least one, if it is present */
    uint8_t presence;             /* enum presence */
    uint8_t protocol;             /* enum service_protocol */
    uint8_t all_down;             /* enum all_down */
    const struct names *names;    /* TLS: server names that are served; NULL = any, and none */
    uint32_t response_timeout_ms; /* for the first byte of an answer; 0 = for ever */
};

struct backend {
    struct endpoint address;
    char name[64];
    struct addr source;   /* own inside address of the same family: probes come from here */
    struct addr next_hop; /* itself when on-link, else the router */
    uint8_t weight;       /* 0: used only when none of the service's that has one can be */
    uint8_t presence;     /* enum presence */
    bool drain;           /* gets no new connections */
    const char *probe;    /* request that it must answer by 200; NULL: a connection suffices */
    uint16_t probe_length;
};

/** The address space of each family in 4,096 pieces, and a bit for those in which nobody outside
 * can be forging: no bogon, none of our addresses, nothing behind us. It answers for nearly every
 * packet at the price of one load. Zeroed it answers for none, and everything is looked up. */
enum { SOURCE_PIECES = 4096 };
struct source_filter {
    uint64_t harmless[2][SOURCE_PIECES / 64]; /* IPv6, IPv4 */
};

/** Part: who is served, by whom, and which addresses are ours. */
struct services {
    uint32_t count, backend_count; /* behind the highest number of each */
    uint32_t room, backend_room;   /* numbers that there may be */
    uint32_t generation;           /* another one with each reload */
    struct service *service;
    struct backend *backend;
    uint32_t names_count;
    struct names **names;              /* of services that have some */
    uint16_t *members;                 /* the backends of each service, one list after another */
    char *probes;                      /* what the backends are asked, one after another */
    struct endpoints *by_listen;       /* → index of service; of those that are present */
    struct endpoints *by_leaving;      /* → the same of those that leave; NULL: none does */
    struct endpoints *by_backend;      /* → index of backend */
    struct endpoints *own[PORT_SIDES]; /* addresses answered for on each side, port 0 → 0 */
    struct endpoints *behind;          /* own inside addresses and the backends', port 0 → 0 */
    uint32_t inside_link_count;
    struct prefix *inside_link;   /* networks of the inside port */
    struct source_filter sources; /* by services_note_sources */
};

/** What a service may promise in a SYN-ACK: what all the backends that it uses have shown in
 * probes. Until it is known, only MSS. The window scale decides how windows are read for a
 * connection's whole life, so it is part of the number by which cookies name the service;
 * promise[1] is the one before, whose cookies are still out. */
struct offer {
    uint16_t mss;
    bool sack, timestamps;
    struct promise {
        uint32_t cookie_service;
        uint8_t window_scale; /* announced to clients; COOKIE_NO_SCALE = none */
    } promise[2];
};

/** Part: one offer per service, in the order of the services. */
struct offers {
    uint32_t count;
    struct offer offer[];
};

/** Part: the link-layer address of each backend's next hop, in the order of the backends. */
struct neighbors {
    uint32_t count;
    struct {
        struct mac mac;
        bool known;
        bool mute; /* it says nothing any more, to no worker's clients either, while others of its
                      services are well */
    } backend[];
};

/** Part: bounds and times; milliseconds and events per second. */
struct limits {
    uint32_t syn_timeout_ms, syn_tries, head_timeout_ms;
    uint32_t idle_ms, half_closed_ms, closing_ms, linger_ms;
    uint16_t window; /* announced in a SYN-ACK, bytes */
    uint16_t mss_v4, mss_v6;
    uint32_t per_second[LEASES];        /* of all workers together */
    uint32_t source_rate, network_rate; /* admit/guard.h */
    uint32_t probe_interval_ms, probe_timeout_ms;
    uint32_t probe_failures, opening_failures, response_failures; /* in a row */
    struct slow_limits slow;
    bool excess_observe; /* tcp/excess.h */
    struct client_limits clients;
};

/** The row: parts that belong together, for their indices do. Like them it is never written once
 * it is in force; a change is a new row. */
struct policy {
    const struct services *services;
    const struct balance *balance; /* admit/balance.h */
    const struct offers *offers;
    const struct neighbors *neighbors;
    const struct limits *limits;
    const struct cookie_keys *keys;
    const struct lists *lists; /* admit/lists.h; NULL: none */
    const struct rules *rules; /* common/rules.h; NULL: none */
};

/** Where the row in force is found. Whoever reads it (rcu_dereference, once per burst) sees parts
 * that belong together, and all of them until its next quiescent state. builder: rw, others: ro */
struct policy_slot {
    const struct policy *row;
};

/** The number by which cookies name a service that announces `window_scale`: the same on every
 * gateway. */
uint32_t policy_cookie_service(const struct endpoint *listen, uint8_t window_scale);

/** The index of the service that listens there, or -1. */
static inline int policy_service(const struct services *services, const struct addr *addr,
                                 uint16_t port)
{
    return endpoints_find(services->by_listen, addr, port);
}

/** The index of the service that was there, and still has flows; or -1. */
static inline int policy_leaving(const struct services *services, const struct addr *addr,
                                 uint16_t port)
{
    return services->by_leaving == NULL ? -1 : endpoints_find(services->by_leaving, addr, port);
}

/** The index of the backend with that address and port, or -1. */
static inline int policy_backend(const struct services *services, const struct addr *addr,
                                 uint16_t port)
{
    return endpoints_find(services->by_backend, addr, port);
}

/** Whether we answer for `addr` on that side. */
static inline bool policy_own(const struct services *services, enum port_side side,
                              const struct addr *addr)
{
    return endpoints_find(services->own[side], addr, 0) >= 0;
}

/** Whether `addr` belongs behind the gateway: a packet from outside that claims it is forged. */
static inline bool policy_behind(const struct services *services, const struct addr *addr)
{
    if (endpoints_find(services->behind, addr, 0) >= 0)
        return true;
    for (uint32_t i = 0; i < services->inside_link_count; i++)
        if (prefix_contains(&services->inside_link[i], addr))
            return true;
    return false;
}

/** The piece of its family's space that an address lies in: IPv4 by 12 bits, IPv6 by a mixture of
 * its first 32. */
static inline uint32_t source_piece(const struct addr *a, bool v4)
{
    uint32_t first = be32toh(v4 ? addr_v4(a) : a->words[0]);
    return v4 ? first >> 20 : (first ^ first >> 12 ^ first >> 24) % SOURCE_PIECES;
}

/** Looks up what the filter does not answer. */
bool policy_forged_there(const struct services *services, const struct addr *source, bool v4);

/** Whether nobody outside can have that address: a bogon, one of ours, or one behind us. */
static inline bool policy_forged(const struct services *services, const struct addr *source,
                                 bool v4)
{
    uint32_t piece = source_piece(source, v4);
    if (services->sources.harmless[v4][piece / 64] >> piece % 64 & 1 &&
        (v4 || source->bytes[0] != 0xff))
        return false;
    return policy_forged_there(services, source, v4);
}

/** Fills the filter, once own[OUTSIDE], behind and inside_link are complete. */
void services_note_sources(struct services *services);

/** Frees the part and all that it holds; NULL is nothing. The other parts are single blocks for
 * free(). */
void services_free(struct services *services);

#endif
