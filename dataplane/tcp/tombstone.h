/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What a closed flow leaves behind until its cookie has expired: enough to recognise a late
 * duplicate or a replay of its first segment, which must not be executed again (tcp-pitfalls 24). A
 * bounded ring: the oldest goes when it is full, and is counted. The tuple is kept as a 64-bit
 * keyed hash, so an entry is 32 bytes for both families. Pure. One thread, the owner's. */
#ifndef DROPGATE_DATAPLANE_TCP_TOMBSTONE_H
#define DROPGATE_DATAPLANE_TCP_TOMBSTONE_H

#include <stdbool.h>
#include <stdint.h>

struct tombstone {
    uint64_t tuple;      /* keyed hash of client address, client port and service */
    uint32_t client_isn; /* of the connection that closed */
    uint32_t client_end; /* the next sequence number expected from the client */
    uint32_t server_end; /* the next one towards the client, in the client's numbers */
    uint32_t expires;    /* seconds of the table's clock */
    uint32_t next;       /* chain within a bucket: 1 + index */
    bool reset;          /* the flow ended by RST: duplicates are dropped, not acknowledged */
    bool struck; /* its client has had a strike for a duplicate: who owns a machine on the way
                    could send one again and again, to have it banned. The finder's to set */
};

struct tombstones;

/** Room for `capacity` (1..2^27) entries, all allocated now; NULL when memory is short. */
struct tombstones *tombstones_new(uint32_t capacity);
void tombstones_free(struct tombstones *table);

/** Remembers a closed flow until `now_ms` + `life_ms`, rounded up to a second; `expires` and `next`
 * are the table's to fill. Returns true if the oldest, still living entry had to go for it. */
bool tombstones_add(struct tombstones *table, const struct tombstone *entry, uint64_t now_ms,
                    uint32_t life_ms);

/** The living entry of that tuple and client ISN (the newest, if added twice), or NULL. The pointer
 * holds until the next add or expire. */
struct tombstone *tombstones_find(struct tombstones *table, uint64_t tuple, uint32_t client_isn,
                                  uint64_t now_ms);

/** Lets go of entries whose time is over, oldest first, at most `most` and up to the first that
 * still lives; returns how many. */
uint32_t tombstones_expire(struct tombstones *table, uint64_t now_ms, uint32_t most);

/** Entries held now, with those that have expired but were not let go yet. */
uint32_t tombstones_count(const struct tombstones *table);

#endif
