/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * SipHash against the paper's vector and against a second implementation, written from the paper's
 * text with bytes and arrays only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/siphash_lanes.h"
#include "tests/unit/random.h"

/* The key of the paper's appendix A: bytes 00 to 0f. */
static const struct siphash_key paper_key = {UINT64_C(0x0706050403020100),
                                             UINT64_C(0x0f0e0d0c0b0a0908)};

static uint64_t load_le(const uint8_t *p, size_t count)
{
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++)
        value |= (uint64_t)p[i] << (8 * i);
    return value;
}

static void add_rotate_xor(uint64_t v[4], int a, int b, int bits)
{
    v[a] += v[b];
    v[b] = (v[b] << bits) | (v[b] >> (64 - bits));
    v[b] ^= v[a];
}

static void rounds(uint64_t v[4], int count)
{
    while (count-- > 0) {
        add_rotate_xor(v, 0, 1, 13);
        v[0] = (v[0] << 32) | (v[0] >> 32);
        add_rotate_xor(v, 2, 3, 16);
        add_rotate_xor(v, 0, 3, 21);
        add_rotate_xor(v, 2, 1, 17);
        v[2] = (v[2] << 32) | (v[2] >> 32);
    }
}

static uint64_t reference(const uint8_t key[16], const uint8_t *data, size_t length, int c, int d)
{
    static const char init[] = "somepseudorandomlygeneratedbytes";
    uint64_t v[4];
    for (size_t i = 0; i < 4; i++) { /* the constants are this text, most significant byte first */
        v[i] = 0;
        for (size_t k = 0; k < 8; k++)
            v[i] = v[i] << 8 | (uint8_t)init[8 * i + k];
        v[i] ^= load_le(key + 8 * (i % 2), 8);
    }
    for (size_t at = 0; at <= length; at += 8) {
        size_t left = length - at;
        uint64_t m = load_le(data + at, left < 8 ? left : 8);
        if (left < 8)
            m |= (uint64_t)length << 56;
        v[3] ^= m;
        rounds(v, c);
        v[0] ^= m;
    }
    v[2] ^= 0xff;
    rounds(v, d);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static void the_vector_of_the_paper_comes_out(void **state)
{
    uint8_t message[15];
    (void)state;
    for (size_t i = 0; i < sizeof message; i++)
        message[i] = (uint8_t)i;
    assert_true(siphash_bytes(&paper_key, message, sizeof message) == UINT64_C(0xa129ca6149be45e5));
    assert_true(siphash_bytes(&paper_key, message, 0) == UINT64_C(0x726fdb47dd0e0e31));
}

static void every_length_agrees_with_the_second_implementation(void **state)
{
    uint8_t key[16], message[64];
    (void)state;
    memcpy(key, &paper_key, sizeof key);
    for (size_t i = 0; i < sizeof message; i++)
        message[i] = (uint8_t)(i * 37 + 11);
    for (size_t length = 0; length <= sizeof message; length++)
        assert_true(siphash_bytes(&paper_key, message, length) ==
                    reference(key, message, length, 2, 4));
}

static void whole_words_hash_like_their_bytes(void **state)
{
    uint64_t words[6];
    uint8_t key[16];
    (void)state;
    memcpy(key, &paper_key, sizeof key);
    for (size_t i = 0; i < 6; i++)
        words[i] = UINT64_C(0x9e3779b97f4a7c15) * (i + 1);
    for (size_t count = 0; count <= 6; count++) {
        const uint8_t *bytes = (const uint8_t *)words;
        assert_true(siphash24(&paper_key, words, count) ==
                    siphash_bytes(&paper_key, words, 8 * count));
        assert_true(siphash13(&paper_key, words, count) == reference(key, bytes, 8 * count, 1, 3));
    }
}

static void each_bit_of_key_and_message_matters(void **state)
{
    uint64_t words[2] = {1, 2}, plain = siphash24(&paper_key, words, 2);
    (void)state;
    for (int bit = 0; bit < 64; bit++) {
        struct siphash_key low = paper_key, high = paper_key;
        low.k0 ^= UINT64_C(1) << bit;
        high.k1 ^= UINT64_C(1) << bit;
        assert_true(siphash24(&low, words, 2) != plain);
        assert_true(siphash24(&high, words, 2) != plain);
        for (int i = 0; i < 2; i++) {
            words[i] ^= UINT64_C(1) << bit;
            assert_true(siphash24(&paper_key, words, 2) != plain);
            words[i] ^= UINT64_C(1) << bit;
        }
    }
}

static void messages_side_by_side_hash_like_each_alone(void **state)
{
    (void)state;
    static struct siphash_batch batch;
    struct random random = {24};
    for (int round = 0; round < 20000; round++) {
        const struct siphash_key key = {random_64(&random), random_64(&random)};
        const unsigned words = 1 + random_below(&random, SIPHASH_WORDS);
        uint64_t alone[SIPHASH_BATCH], lanes[SIPHASH_BATCH];
        batch.count = random_below(&random, SIPHASH_BATCH + 1);
        random_bytes(&random, batch.word, sizeof batch.word);
        siphash13_one_by_one(&key, &batch, words, alone);
        siphash13_lanes(&key, &batch, words, lanes);
        assert_memory_equal(lanes, alone, batch.count * sizeof alone[0]);
        siphash24_one_by_one(&key, &batch, words, alone);
        siphash24_lanes(&key, &batch, words, lanes);
        assert_memory_equal(lanes, alone, batch.count * sizeof alone[0]);
        for (uint32_t i = 0; i < batch.count; i++) {
            uint64_t message[SIPHASH_WORDS];
            for (unsigned w = 0; w < words; w++)
                message[w] = batch.word[w][i];
            assert_true(siphash24_packed(&key, message, words) == alone[i]);
        }
    }
}

static void a_packed_message_hashes_like_its_bytes(void **state)
{
    (void)state;
    uint8_t bytes[48];
    struct random random = {13};
    random_bytes(&random, bytes, sizeof bytes);
    for (size_t length = 0; length < sizeof bytes; length++) {
        uint64_t words[7] = {0};
        for (size_t i = 0; i < length; i++)
            words[i / 8] |= (uint64_t)bytes[i] << (i % 8 * 8);
        words[length / 8] |= (uint64_t)length << 56;
        uint8_t key[16];
        memcpy(key, &paper_key, sizeof key);
        assert_true(siphash24_packed(&paper_key, words, length / 8 + 1) ==
                    siphash_bytes(&paper_key, bytes, length));
        assert_true(siphash13_packed(&paper_key, words, length / 8 + 1) ==
                    reference(key, bytes, length, 1, 3));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vector_of_the_paper_comes_out),
        cmocka_unit_test(every_length_agrees_with_the_second_implementation),
        cmocka_unit_test(whole_words_hash_like_their_bytes),
        cmocka_unit_test(each_bit_of_key_and_message_matters),
        cmocka_unit_test(messages_side_by_side_hash_like_each_alone),
        cmocka_unit_test(a_packed_message_hashes_like_its_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
