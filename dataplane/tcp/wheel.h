/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Hashed timing wheel (Varghese and Lauck, 1987) over objects of one array. Setting, moving and
 * cancelling are O(1); links are indices, so a node is 12 bytes. Deadlines beyond one turn stay in
 * their slot and are looked at once per turn. Pure: time is what the caller says. One thread, the
 * owner's. */
#ifndef DROPGATE_DATAPLANE_TCP_WHEEL_H
#define DROPGATE_DATAPLANE_TCP_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WHEEL_TICK_MS = 8, WHEEL_SLOTS = 4096 }; /* one turn: 32.8 s */

/** Embedded in each object; zero means not set. */
struct wheel_node {
    uint32_t next, prev; /* 1 + index of the neighbour; prev of the first in a slot is 0 */
    uint32_t deadline; /* ms of the wheel's clock, wraps; 0 = not set (a deadline of 0 becomes 1) */
};

struct wheel;

/** A wheel over `count` objects of `stride` bytes at `base`, whose nodes stand at `offset` in each.
 * Returns NULL when memory is short. `now_ms` starts the clock. */
struct wheel *wheel_new(void *base, size_t stride, size_t offset, uint32_t count, uint64_t now_ms);
void wheel_free(struct wheel *wheel);

/** (Re)arms object `index` for `delay_ms` (0..2^30) from the wheel's clock; fires no earlier, and
 * at most one tick plus the interval between two calls of wheel_advance later. */
void wheel_set(struct wheel *wheel, uint32_t index, uint32_t delay_ms);

/** Disarms; nothing happens if it is not armed. */
void wheel_cancel(struct wheel *wheel, uint32_t index);

bool wheel_armed(const struct wheel *wheel, uint32_t index);

/** Moves the clock to `now_ms` (never back) and hands out due objects, disarmed, into `due`;
 *  returns how many, at most `room`. If it returns `room`, more may be due: call again with the
 * same time. Work per call is bounded by `room` + slots passed + nodes looked at; at most `room` *
 * 4 nodes are looked at per call, so after a great many that are not due yet a due one may wait for
 *  the next call. Objects may be set and cancelled between any two calls. */
uint32_t wheel_advance(struct wheel *wheel, uint64_t now_ms, uint32_t *due, uint32_t room);

#endif
