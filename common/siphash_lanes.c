/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Eight messages at a time, as two sets of four: one set's additions fill the time in which the
 * other's rotations are on their way. AVX2 has no 64-bit rotation: by 16 and 32 it is a shuffle of
 * bytes, else two shifts. Which way is taken is asked for once per burst. */
#include "common/siphash_lanes.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define HAVE_LANES 1
#else
#define HAVE_LANES 0
#endif

enum { LANES = 8, WORTH_IT = 3 }; /* fewer messages than that are as quick one by one */

static inline void one_by_one(const struct siphash_key *key, const struct siphash_batch *batch,
                              unsigned words, int c, int d, uint64_t *out)
{
    for (uint32_t i = 0; i < batch->count; i++) {
        struct siphash_state s = siphash_begin(key);
        for (unsigned w = 0; w + 1 < words; w++)
            siphash_word(&s, batch->word[w][i], c);
        out[i] = siphash_finish(&s, batch->word[words - 1][i], c, d);
    }
}

void siphash13_one_by_one(const struct siphash_key *key, const struct siphash_batch *batch,
                          unsigned words, uint64_t out[SIPHASH_BATCH])
{
    one_by_one(key, batch, words, 1, 3, out);
}

void siphash24_one_by_one(const struct siphash_key *key, const struct siphash_batch *batch,
                          unsigned words, uint64_t out[SIPHASH_BATCH])
{
    one_by_one(key, batch, words, 2, 4, out);
}

#if HAVE_LANES

#define AVX2 __attribute__((target("avx2"))) static inline __attribute__((always_inline))

enum { SETS = 2, PER_SET = LANES / SETS };

/* Unrolled, so that both sets stay in registers. */
#define EACH_SET(i) _Pragma("GCC unroll 2") for (int i = 0; i < SETS; i++)

struct lanes {
    __m256i v0[SETS], v1[SETS], v2[SETS], v3[SETS];
};

AVX2 __m256i rotate(__m256i x, int bits)
{
    return _mm256_or_si256(_mm256_slli_epi64(x, bits), _mm256_srli_epi64(x, 64 - bits));
}

AVX2 __m256i rotate_32(__m256i x)
{
    return _mm256_shuffle_epi32(x, _MM_SHUFFLE(2, 3, 0, 1));
}

AVX2 __m256i rotate_16(__m256i x)
{
    const __m256i order = _mm256_set_epi8(13, 12, 11, 10, 9, 8, 15, 14, 5, 4, 3, 2, 1, 0, 7, 6, 13,
                                          12, 11, 10, 9, 8, 15, 14, 5, 4, 3, 2, 1, 0, 7, 6);
    return _mm256_shuffle_epi8(x, order);
}

/* siphash_round on all lanes. */
AVX2 void round_lanes(struct lanes *s)
{
    EACH_SET(i)
    {
        s->v0[i] = _mm256_add_epi64(s->v0[i], s->v1[i]);
        s->v2[i] = _mm256_add_epi64(s->v2[i], s->v3[i]);
        s->v1[i] = _mm256_xor_si256(rotate(s->v1[i], 13), s->v0[i]);
        s->v3[i] = _mm256_xor_si256(rotate_16(s->v3[i]), s->v2[i]);
        s->v0[i] = _mm256_add_epi64(rotate_32(s->v0[i]), s->v3[i]);
        s->v2[i] = _mm256_add_epi64(s->v2[i], s->v1[i]);
        s->v3[i] = _mm256_xor_si256(rotate(s->v3[i], 21), s->v0[i]);
        s->v1[i] = _mm256_xor_si256(rotate(s->v1[i], 17), s->v2[i]);
        s->v2[i] = rotate_32(s->v2[i]);
    }
}

AVX2 void word_lanes(struct lanes *s, const uint64_t *words, int c)
{
    __m256i m[SETS];
    EACH_SET(i)
    {
        m[i] = _mm256_loadu_si256((const __m256i *)(const void *)(words + i * PER_SET));
        s->v3[i] = _mm256_xor_si256(s->v3[i], m[i]);
    }
    for (int i = 0; i < c; i++)
        round_lanes(s);
    EACH_SET(i)
    s->v0[i] = _mm256_xor_si256(s->v0[i], m[i]);
}

AVX2 void finish_lanes(struct lanes *s, int d, uint64_t *out)
{
    EACH_SET(i)
    s->v2[i] = _mm256_xor_si256(s->v2[i], _mm256_set1_epi64x(0xff));
    for (int i = 0; i < d; i++)
        round_lanes(s);
    EACH_SET(i)
    {
        __m256i hash = _mm256_xor_si256(_mm256_xor_si256(s->v0[i], s->v1[i]),
                                        _mm256_xor_si256(s->v2[i], s->v3[i]));
        _mm256_storeu_si256((__m256i *)(void *)(out + i * PER_SET), hash);
    }
}

AVX2 void all_lanes(const struct siphash_key *key, const struct siphash_batch *batch,
                    unsigned words, int c, int d, uint64_t *out)
{
    const struct siphash_state begin = siphash_begin(key);
    for (uint32_t at = 0; at < batch->count; at += LANES) {
        struct lanes s;
        EACH_SET(i)
        {
            s.v0[i] = _mm256_set1_epi64x((long long)begin.v0);
            s.v1[i] = _mm256_set1_epi64x((long long)begin.v1);
            s.v2[i] = _mm256_set1_epi64x((long long)begin.v2);
            s.v3[i] = _mm256_set1_epi64x((long long)begin.v3);
        }
        for (unsigned w = 0; w < words; w++)
            word_lanes(&s, &batch->word[w][at], c);
        finish_lanes(&s, d, out + at);
    }
}

__attribute__((target("avx2"))) static void lanes_13(const struct siphash_key *key,
                                                     const struct siphash_batch *batch,
                                                     unsigned words, uint64_t *out)
{
    all_lanes(key, batch, words, 1, 3, out);
}

__attribute__((target("avx2"))) static void lanes_24(const struct siphash_key *key,
                                                     const struct siphash_batch *batch,
                                                     unsigned words, uint64_t *out)
{
    all_lanes(key, batch, words, 2, 4, out);
}

/* Whether to take the lanes; then the last eight are filled up, so that nothing unwritten is read.
 */
static bool use_lanes(struct siphash_batch *batch, unsigned words)
{
    if (batch->count < WORTH_IT || !__builtin_cpu_supports("avx2"))
        return false;
    for (unsigned w = 0; w < words; w++)
        for (uint32_t i = batch->count; i % LANES; i++)
            batch->word[w][i] = 0;
    return true;
}

#endif

void siphash13_lanes(const struct siphash_key *key, struct siphash_batch *batch, unsigned words,
                     uint64_t out[SIPHASH_BATCH])
{
#if HAVE_LANES
    if (use_lanes(batch, words)) {
        lanes_13(key, batch, words, out);
        return;
    }
#endif
    siphash13_one_by_one(key, batch, words, out);
}

void siphash24_lanes(const struct siphash_key *key, struct siphash_batch *batch, unsigned words,
                     uint64_t out[SIPHASH_BATCH])
{
#if HAVE_LANES
    if (use_lanes(batch, words)) {
        lanes_24(key, batch, words, out);
        return;
    }
#endif
    siphash24_one_by_one(key, batch, words, out);
}
