/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Held requests: bytes of first segments, copied out of receive buffers until the backend answers
 * (tcp-pitfalls 25). A bounded array of equal slots, apart from the packet pool. Pure. One thread,
 * the owner's. */
#ifndef DROPGATE_DATAPLANE_TCP_HELD_H
#define DROPGATE_DATAPLANE_TCP_HELD_H

#include <stdint.h>

enum { HELD_SLOT = 1536 }; /* bytes: more than the largest MSS class */
#define HELD_NONE UINT32_MAX

/** A held request, and what only an opening needs to know: a flow that is open carries none of it.
 */
struct held_entry {
    uint32_t client_tsecr;  /* our clock as the client last echoed it */
    uint16_t length;        /* bytes held */
    uint16_t client_window; /* of the first segment, as sent */
    uint16_t client_mss;
    uint8_t bytes[HELD_SLOT];
};

struct held;

/** Room for `capacity` (1..2^24) requests; NULL when memory is short. */
struct held *held_new(uint32_t capacity);
void held_free(struct held *held);

/** Copies `length` (1..HELD_SLOT) bytes into a free slot, whose other fields are the caller's to
 * fill. Returns its number, or HELD_NONE when all are in use. */
uint32_t held_put(struct held *held, const void *bytes, uint32_t length);

/** The entry in a slot, until held_drop. */
struct held_entry *held_at(const struct held *held, uint32_t slot);

/** Frees a slot; HELD_NONE is nothing. */
void held_drop(struct held *held, uint32_t slot);

/** Slots in use. Any thread may read it: it may be a little old. */
uint32_t held_count(const struct held *held);

#endif
