/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Which worker a frame belongs to. All packets of a client (an IPv4 address, an IPv6 /64) have one
 * owner, in both directions, and so have all clients of an IPv6 /48, so that what a network may do
 * has one writer, too. From outside it is told by their source, from inside by their destination,
 * and for an ICMP error by the client within the header that it quotes. What is about the gateway
 * itself, ARP, neighbour discovery and packets to its own inside addresses, belongs to worker 0.
 * Runs before the parser, so it believes nothing but lengths. Pure.
 *
 * The hash is Toeplitz, as ports compute it for RSS, over a random key: whoever does not know the
 * key cannot choose addresses that fall to one worker. It is linear, so the parts of each byte come
 * from a table; both families share the tables, for a hash over 4 bytes is one over 6 that ends
 * early. */
#ifndef DROPGATE_DATAPLANE_NET_STEER_H
#define DROPGATE_DATAPLANE_NET_STEER_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/admit/policy.h"

enum {
    STEER_WORKERS = 64,
    STEER_KEY = 40,   /* bytes of an RSS key; the first 10 matter */
    STEER_BYTES = 6,  /* hashed at most: a /48 */
    STEER_SLOTS = 512 /* of the indirection table */
};

/** What steer_frame says of a frame that has no owner: whoever received it drops it, with its
 * verdict. */
enum { STEER_NOBODY = STEER_WORKERS };

/** Written once at start; workers: ro. */
struct steer {
    uint32_t part[STEER_BYTES][256]; /* of the hash, for each value of each byte */
    struct {
        uint8_t owner;
        bool own; /* an own inside address has this slot: look closely */
    } slot[STEER_SLOTS];
    uint32_t own_count;
    const struct addr *own;
};

/** Prepares for 1..STEER_WORKERS workers. `own` are the gateway's inside addresses; they must
 * outlive *steer. */
void steer_init(struct steer *steer, const uint8_t key[STEER_KEY], uint32_t workers,
                const struct addr *own, uint32_t own_count);

/** The owner of a client that is seen on that side; on the inside, of an own address too. */
uint32_t steer_client(const struct steer *steer, enum port_side side, const struct addr *client);

/** The owner of a frame without VLAN tags that was received on that side, or STEER_NOBODY. Reads at
 * most `length` bytes. */
uint32_t steer_frame(const struct steer *steer, enum port_side side, const uint8_t *frame,
                     uint32_t length);

/** Where the source address of a TCP SYN begins, or NULL if the frame is something else: what needs
 * no flow to be judged. IPv6 behind extension headers is something else. Reads at most `length`
 * bytes; sets *v4. */
const uint8_t *steer_syn_source(const uint8_t *frame, uint32_t length, bool *v4);

/** The Toeplitz hash of an address's first bytes: 4 or 6. */
static inline uint32_t steer_hash4(const struct steer *steer, const uint8_t *at)
{
    return steer->part[0][at[0]] ^ steer->part[1][at[1]] ^ steer->part[2][at[2]] ^
           steer->part[3][at[3]];
}

static inline uint32_t steer_hash6(const struct steer *steer, const uint8_t *at)
{
    return steer_hash4(steer, at) ^ steer->part[4][at[4]] ^ steer->part[5][at[5]];
}

#endif
