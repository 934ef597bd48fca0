/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * SipHash of many short messages under one key, several at once: the packets of a burst are hashed
 * side by side in the lanes of wide registers where the processor has them (AVX2), and one after
 * the other where not. The results are the same to the bit; a test compares them. Nothing is
 * decided here. Pure; any thread. */
#ifndef DROPGATE_COMMON_SIPHASH_LANES_H
#define DROPGATE_COMMON_SIPHASH_LANES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/siphash.h"

enum { SIPHASH_BATCH = 64, SIPHASH_WORDS = 5 };

/** Messages of one length, side by side: word[w][i] is word w of message i. The last word of each
 * carries the message's length in bytes, modulo 256, in its highest byte (siphash_packed). */
struct siphash_batch {
    uint32_t count; /* at most SIPHASH_BATCH */
    uint64_t word[SIPHASH_WORDS][SIPHASH_BATCH];
};

/** The hashes of all messages, each of `words` words (1..SIPHASH_WORDS), into out[0 .. count - 1]:
 * what siphash13_packed and siphash24_packed give for each. What lies behind them in `out` and in
 * the batch up to SIPHASH_BATCH may be overwritten. */
void siphash13_lanes(const struct siphash_key *key, struct siphash_batch *batch, unsigned words,
                     uint64_t out[SIPHASH_BATCH]);
void siphash24_lanes(const struct siphash_key *key, struct siphash_batch *batch, unsigned words,
                     uint64_t out[SIPHASH_BATCH]);

/** The same without wide registers, for the test and for processors without them. */
void siphash13_one_by_one(const struct siphash_key *key, const struct siphash_batch *batch,
                          unsigned words, uint64_t out[SIPHASH_BATCH]);
void siphash24_one_by_one(const struct siphash_key *key, const struct siphash_batch *batch,
                          unsigned words, uint64_t out[SIPHASH_BATCH]);

#endif
