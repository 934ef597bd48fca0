/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The slab of held requests: bytes of a client's first request, copied until its head is complete
 * and its backend has answered, and beyond that as long as they are ours to deliver (tcp-pitfalls
 * 25, 26). Two sizes of entries, each a bounded array apart from the packet pool; nothing is
 * allocated after start.
 *
 * An entry belongs to a client (an IPv4 address, an IPv6 /64) and is unfinished until its head is
 * complete. A client may hold so many and no more. When a size is full, the oldest unfinished entry
 * of the client that has most of them is to go; finished ones never do, because their backend has
 * been asked. Who has most is known at any time, so that choosing is O(1). Pure. One thread, the
 * owner's. */
#ifndef DROPGATE_DATAPLANE_TCP_HELD_H
#define DROPGATE_DATAPLANE_TCP_HELD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/siphash.h"
#include "dataplane/tcp/ranges.h"

enum held_size { HELD_SMALL, HELD_LARGE, HELD_SIZES };

enum { HELD_SMALL_BYTES = 1536 }; /* more than the largest MSS class: any first segment */
enum { HELD_ASKED = 8 };          /* backends for one request: the most of [tcp] syn_tries */
#define HELD_NONE UINT32_MAX

/** What the slab keeps of each client; see there. */
struct held_client;

/** A held request, and what only its flow's opening and delivery need to know: a flow that is open
 * carries none of it. */
struct held_entry {
    /* the slab's: ro to all others */
    uint32_t client;       /* index of the client */
    uint32_t older, newer; /* neighbours among the unfinished of that client and size: 1 + index */
    uint32_t order;        /* counts entries; the smaller is the older */
    uint16_t capacity;     /* of bytes */
    uint8_t size;          /* enum held_size */
    bool finished;
    struct ranges filled;
    /* the flow's */
    uint32_t flow;              /* its index */
    uint32_t announced;         /* right edge of the window that the client was told last */
    uint32_t edge;              /* of the window that the backend told us */
    uint32_t next;              /* to send to the backend; goes back for what is sent again */
    uint32_t sent;              /* behind the highest byte that was sent */
    uint32_t covered;           /* the backend's acknowledgement at which tries was last 0 */
    uint16_t client_mss;        /* its class */
    uint16_t backend_mss;       /* payload per segment */
    uint16_t asked[HELD_ASKED]; /* backends that got our SYN, in this order */
    uint8_t asked_count;
    uint8_t refused; /* which of them said that they will not: bit i is asked[i]'s */
    uint8_t tries;   /* resends since the backend last acknowledged something */
    bool answered;   /* it has said something since the last of them */
    uint8_t bytes[];
};

/** How many there may be, and how large the large ones are. `large` may be 0; `per_client` 0 means
 * no limit. */
struct held_sizes {
    uint32_t small, large;
    uint32_t large_bytes; /* up to 65,535; at least HELD_SMALL_BYTES are taken */
    uint32_t per_client;
};

struct held;

/** NULL when memory is short or sizes are out of range: `small` 1..2^24, `large` up to 2^24. `key`
 * hashes clients. */
struct held *held_new(const struct held_sizes *sizes, const struct siphash_key *key);
void held_free(struct held *held);

/** An empty entry of that size for the client; its flow's fields are zero. Returns its index, or
 * HELD_NONE when the size is full or the client has all that it may: then held_victim. */
uint32_t held_take(struct held *held, enum held_size size, const struct addr *client,
                   bool finished);

/** Moves an entry with all that it has to the large size. Returns its new index, or HELD_NONE, and
 * nothing has changed, when it is large already or the large ones are all in use. */
uint32_t held_grow(struct held *held, uint32_t index);

/** The entry that has to go before held_take of that size (with its client) or held_grow (without:
 * NULL) can succeed: an unfinished one, or HELD_NONE when there is none. Its flow is the caller's
 * to end. */
uint32_t held_victim(const struct held *held, enum held_size size, const struct addr *client);

/** Whether the client has all that it may. */
bool held_client_full(const struct held *held, const struct addr *client);

/** The entry of an index, until it is dropped or grows. */
struct held_entry *held_at(const struct held *held, uint32_t index);

/** Copies bytes to their offset, as far as there is room and nothing is there yet: the first copy
 * of a byte stays. Returns how many were copied; 0 also when they would be a fifth stretch. */
uint32_t held_store(struct held_entry *entry, uint32_t offset, const void *bytes, uint32_t length);

/** The head is complete: the entry is not to be chosen any more. */
void held_finish(struct held *held, uint32_t index);

/** Frees an entry; HELD_NONE is nothing. */
void held_drop(struct held *held, uint32_t index);

/** Entries in use: of both sizes, and of one. Any thread may read them: they may be a little old.
 */
uint32_t held_count(const struct held *held);
uint32_t held_count_of(const struct held *held, enum held_size size);

/** Whether entries, counts and lists agree; walks everything. For tests. */
bool held_consistent(const struct held *held);

#endif
