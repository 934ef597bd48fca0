/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The one keyed hash of the project: SipHash (Aumasson and Bernstein, 2012) over whole 64-bit
 * words. SipHash-2-4 where the result is a MAC (SYN cookies), SipHash-1-3 where it only spreads a
 * hash table. A word is read in host order, so results are for this machine, except through
 * siphash_bytes, which follows the paper byte for byte. Pure; any thread. */
#ifndef DROPGATE_COMMON_SIPHASH_H
#define DROPGATE_COMMON_SIPHASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct siphash_key {
    uint64_t k0, k1;
};

#define SIPHASH_ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

struct siphash_state {
    uint64_t v0, v1, v2, v3;
};

static inline void siphash_round(struct siphash_state *s)
{
    s->v0 += s->v1;
    s->v1 = SIPHASH_ROTL(s->v1, 13) ^ s->v0;
    s->v0 = SIPHASH_ROTL(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = SIPHASH_ROTL(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = SIPHASH_ROTL(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = SIPHASH_ROTL(s->v1, 17) ^ s->v2;
    s->v2 = SIPHASH_ROTL(s->v2, 32);
}

static inline struct siphash_state siphash_begin(const struct siphash_key *key)
{
    return (struct siphash_state){
        key->k0 ^ UINT64_C(0x736f6d6570736575), key->k1 ^ UINT64_C(0x646f72616e646f6d),
        key->k0 ^ UINT64_C(0x6c7967656e657261), key->k1 ^ UINT64_C(0x7465646279746573)};
}

/* c compression rounds for one word; c and d are constants at every call, so the loops unroll. */
static inline void siphash_word(struct siphash_state *s, uint64_t m, int c)
{
    s->v3 ^= m;
    for (int i = 0; i < c; i++)
        siphash_round(s);
    s->v0 ^= m;
}

static inline uint64_t siphash_finish(struct siphash_state *s, uint64_t last, int c, int d)
{
    siphash_word(s, last, c);
    s->v2 ^= 0xff;
    for (int i = 0; i < d; i++)
        siphash_round(s);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

/** SipHash-2-4 over `count` words: a MAC. */
static inline uint64_t siphash24(const struct siphash_key *key, const uint64_t *words, size_t count)
{
    struct siphash_state s = siphash_begin(key);
    for (size_t i = 0; i < count; i++)
        siphash_word(&s, words[i], 2);
    return siphash_finish(&s, (uint64_t)count << 59, 2, 4);
}

/** SipHash-1-3 over `count` words: for hash tables. */
static inline uint64_t siphash13(const struct siphash_key *key, const uint64_t *words, size_t count)
{
    struct siphash_state s = siphash_begin(key);
    for (size_t i = 0; i < count; i++)
        siphash_word(&s, words[i], 1);
    return siphash_finish(&s, (uint64_t)count << 59, 1, 3);
}

/** SipHash over words that are the padded message already: the last one carries the message's
 * length in bytes in its highest byte, and up to seven bytes of it below. For short messages of
 * known shape this saves a word. `count` is at least 1. */
static inline uint64_t siphash24_packed(const struct siphash_key *key, const uint64_t *words,
                                        size_t count)
{
    struct siphash_state s = siphash_begin(key);
    for (size_t i = 0; i + 1 < count; i++)
        siphash_word(&s, words[i], 2);
    return siphash_finish(&s, words[count - 1], 2, 4);
}

static inline uint64_t siphash13_packed(const struct siphash_key *key, const uint64_t *words,
                                        size_t count)
{
    struct siphash_state s = siphash_begin(key);
    for (size_t i = 0; i + 1 < count; i++)
        siphash_word(&s, words[i], 1);
    return siphash_finish(&s, words[count - 1], 1, 3);
}

/** SipHash-2-4 exactly as published, over bytes. */
static inline uint64_t siphash_bytes(const struct siphash_key *key, const void *data, size_t length)
{
    const uint8_t *p = data;
    struct siphash_state s = siphash_begin(key);
    uint64_t word, last = (uint64_t)length << 56;
    for (; length >= 8; p += 8, length -= 8) {
        memcpy(&word, p, 8);
        siphash_word(&s, word, 2);
    }
    for (size_t i = 0; i < length; i++)
        last |= (uint64_t)p[i] << (8 * i);
    return siphash_finish(&s, last, 2, 4);
}

#endif
