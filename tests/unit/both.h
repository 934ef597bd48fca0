/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A short cut through the walk must come to the same as the general path. Two rigs get the same
 * frames, one of them by the short cut, and whatever leaves, and every count, is compared. */
#ifndef DROPGATE_TESTS_UNIT_BOTH_H
#define DROPGATE_TESTS_UNIT_BOTH_H

#include "tests/unit/wire.h"

struct both {
    struct wire *short_cut, *general;
    uint8_t bytes[2][SHARD_BURST][FRAME_ROOM];
    struct frame frames[2][SHARD_BURST];
    uint32_t count;
};

/** The test's rig takes the short cut; another one of its kind goes the general path. */
struct both *both_of(void **state);
void both_free(struct both *b);

/** Bytes from outside, as a burst describes them. */
struct frame both_frame(uint8_t *bytes, uint32_t length);

/** Time passes on both, and a burst begins. */
void both_begin(struct both *b, uint32_t ms);

/** Adds a frame from outside to the burst; on the general path it is followed by so many bytes
 * more, which `bytes` must have. */
void both_add(struct both *b, const uint8_t *bytes, uint32_t length, uint32_t padding,
              uint8_t checked);

/** Both shards decide, and agree about every byte and every count. The burst is empty again. */
void both_decide(struct both *b);

#endif
