/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Numbers for property tests: SplitMix64 (Steele, Lea and Flood, 2014) from a fixed seed, so that a
 * failure can be repeated. Not for anything secret. */
#ifndef DROPGATE_TESTS_UNIT_RANDOM_H
#define DROPGATE_TESTS_UNIT_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/** Zero-initialised or holding a seed. */
struct random {
    uint64_t state;
};

static inline uint64_t random_64(struct random *r)
{
    uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static inline uint32_t random_32(struct random *r)
{
    return (uint32_t)(random_64(r) >> 32);
}

/** 0 .. below - 1; `below` is not 0. */
static inline uint32_t random_below(struct random *r, uint32_t below)
{
    return (uint32_t)((uint64_t)random_32(r) * below >> 32);
}

static inline void random_bytes(struct random *r, void *out, size_t length)
{
    uint8_t *p = out;
    for (size_t i = 0; i < length; i++)
        p[i] = (uint8_t)(random_64(r) >> 56);
}

#endif
