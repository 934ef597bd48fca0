/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Policy part: which backend a new connection goes to. One Maglev table per service over those of
 * its backends that are worth asking; services with the same backends share one. It never looks at
 * load, and what it chose holds for the connection's life, because the flow remembers it.
 *
 * The hash covers the client's address and port. Address alone would keep a client on one backend,
 * which no service here needs (a purchase's state is in the database), and would send everybody
 * behind a carrier's translator to the same one, in the very minute of a sale. Address and port
 * spread them, and still lead a port that is used again to the backend that knows it in TIME_WAIT.
 * The key is random, one per process and the same for all of its workers: nobody outside can aim
 * connections at one backend. Gateways need not agree on it, for a connection does not survive a
 * change of gateway. */
#ifndef DROPGATE_DATAPLANE_ADMIT_BALANCE_H
#define DROPGATE_DATAPLANE_ADMIT_BALANCE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/siphash.h"
#include "dataplane/admit/policy.h"

/** What is known of a backend, from the worst to the best. A service uses the best that it has:
 * those that answer probes, or, before the first probes, those that have not failed. Among those of
 * a class the ones without a weight are spares: used when no other is left of it. Those that have
 * failed are used only by a service that says so (ALL_DOWN_TRY), when it has nothing else; those
 * that drain never are. */
enum health { HEALTH_DOWN, HEALTH_UNKNOWN, HEALTH_UP };

/** One block, for free(). */
struct balance {
    struct siphash_key key;
    const uint16_t *entries; /* within the block */
    uint32_t count;          /* of services */
    struct balance_table {
        uint32_t first, size; /* of its entries */
        uint32_t members;     /* backends in it; 0: none may be asked */
    } table[];
};

/** How good a backend is to a service; 0 means that it is not to be used. A service uses those of
 * its backends that share the highest rank. `health` has one per backend of the policy. */
unsigned balance_rank(const struct services *services, const struct service *service,
                      uint16_t backend, const uint8_t *health);

/** The highest rank among the service's backends, 0 when none is to be used. */
unsigned balance_best(const struct services *services, const struct service *service,
                      const uint8_t *health);

/** Builds the part; NULL when memory is short. Up to some 10 ms for each service of thousands of
 * backends: the builder's thread, or before workers start. */
struct balance *balance_new(const struct services *services, const uint8_t *health,
                            const struct siphash_key *key);

/** Whether there is nobody whom a new connection to `service` could go to. */
static inline bool balance_down(const struct balance *balance, uint16_t service)
{
    return balance->table[service].members == 0;
}

/** The hash by which a connection is placed. */
uint64_t balance_hash(const struct balance *balance, const struct addr *client,
                      uint16_t client_port);

/** The backend for a connection to `service`: the first choice (`nth` 0), or the next distinct ones
 * (at most MAGLEV_NTH). -1 when there is none. */
int balance_choose(const struct balance *balance, uint16_t service, uint64_t hash, unsigned nth);

#endif
