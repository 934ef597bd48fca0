/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Keys, and what is made and checked under them. Nothing branches on a secret. */
#include "dataplane/tcp/cookie.h"

#include <endian.h>

#include "dataplane/tcp/cookie_words.h"

/* What a derived key is for: the first word under the master, so that no two purposes share a key.
 */
enum { PURPOSE_EPOCH = 1, PURPOSE_TIMESTAMP = 2 };

static const uint16_t class_mss[4] = {536, 1220, 1440, 1460};

/* A sub-key: each half of the master is the key of a PRF that gives one half of it. */
static struct siphash_key derive(const struct siphash_key master[2], uint64_t purpose,
                                 uint64_t epoch)
{
    const uint64_t input[2] = {purpose, epoch};
    return (struct siphash_key){siphash24(&master[0], input, 2), siphash24(&master[1], input, 2)};
}

/* `count` keys of a purpose, for as many consecutive epochs. */
static void derive_all(struct siphash_key *out, uint64_t count, const uint8_t master[32],
                       uint64_t purpose, uint64_t first_epoch)
{
    uint64_t words[4];
    memcpy(words, master, sizeof words);
    struct siphash_key halves[2] = {{le64toh(words[0]), le64toh(words[1])},
                                    {le64toh(words[2]), le64toh(words[3])}};
    for (uint64_t i = 0; i < count; i++)
        out[i] = derive(halves, purpose, first_epoch + i);
    explicit_bzero(words, sizeof words);
    explicit_bzero(halves, sizeof halves);
}

void cookie_keys_derive(struct cookie_keys *out, const uint8_t master[32], uint64_t unix_ms)
{
    *out = (struct cookie_keys){.first_epoch = unix_ms / COOKIE_EPOCH_MS - 1};
    derive_all(out->epoch, COOKIE_EPOCHS, master, PURPOSE_EPOCH, out->first_epoch);
    cookie_keys_clock(out, master);
}

void cookie_keys_overlap(struct cookie_keys *keys, const uint8_t previous[32], uint64_t until_ms)
{
    derive_all(keys->previous, COOKIE_EPOCHS, previous, PURPOSE_EPOCH, keys->first_epoch);
    keys->previous_until_ms = until_ms;
}

void cookie_keys_clock(struct cookie_keys *keys, const uint8_t master[32])
{
    derive_all(&keys->timestamp, 1, master, PURPOSE_TIMESTAMP, 0);
}

uint8_t cookie_mss_class(uint16_t mss)
{
    return (uint8_t)((mss >= class_mss[1]) + (mss >= class_mss[2]) + (mss >= class_mss[3]));
}

uint16_t cookie_mss(uint8_t mss_class)
{
    return class_mss[mss_class & 3];
}

/* The 24 bits. */
static uint32_t cookie_mac(const struct siphash_key *key, const struct cookie_tuple *tuple,
                           uint32_t client_isn, uint64_t epoch, uint32_t data)
{
    uint64_t words[4];
    unsigned count = cookie_mac_words(tuple, client_isn, epoch, data, words, 1);
    return (uint32_t)siphash24_packed(key, words, count) & COOKIE_MAC_MASK;
}

/* Where the key of an epoch stands. Outside the table it is one that the caller must not accept,
 * never a read out of bounds. */
static uint64_t epoch_index(const struct cookie_keys *keys, uint64_t epoch, bool *known)
{
    const uint64_t index = epoch - keys->first_epoch;
    *known = index < COOKIE_EPOCHS;
    return index % COOKIE_EPOCHS;
}

uint32_t cookie_make(const struct cookie_keys *keys, const struct cookie_tuple *tuple,
                     uint32_t client_isn, struct cookie_options options, uint64_t unix_ms)
{
    const uint64_t epoch = unix_ms / COOKIE_EPOCH_MS;
    const uint32_t bits = cookie_data(epoch, options);
    bool known;
    const struct siphash_key *key = &keys->epoch[epoch_index(keys, epoch, &known)];
    return bits | cookie_mac(key, tuple, client_isn, epoch, bits >> COOKIE_SACK_SHIFT);
}

/* What is asked of a cookie, under either master. */
struct question {
    const struct cookie_keys *keys;
    const struct cookie_tuple *tuple;
    uint32_t client_isn, cookie;
    uint64_t unix_ms;
};

/* 1 if the cookie carries the MAC of that epoch, else 0, without a branch on the comparison. */
static uint32_t made_in(const struct question *q, const struct siphash_key *epochs, uint64_t epoch)
{
    bool known;
    const struct siphash_key *key = &epochs[epoch_index(q->keys, epoch, &known)];
    const uint32_t mac =
        cookie_mac(key, q->tuple, q->client_isn, epoch, q->cookie >> COOKIE_SACK_SHIFT);
    const uint32_t differing = (mac ^ q->cookie) & COOKIE_MAC_MASK;
    return ((differing - 1) >> 31) & known;
}

/* 1 if the cookie was made under these keys and has not expired, else 0. */
static uint32_t made_under(const struct question *q, const struct siphash_key *epochs)
{
    const uint64_t now = q->unix_ms / COOKIE_EPOCH_MS;
    const uint64_t behind =
        (now ^ (q->cookie >> COOKIE_PARITY_SHIFT)) & 1; /* not of this epoch: the one before */

    uint32_t good = made_in(q, epochs, now - behind);
    if (behind && q->unix_ms % COOKIE_EPOCH_MS >= COOKIE_EPOCH_MS - COOKIE_LEAD_MS)
        good |= made_in(q, epochs, now + 1); /* has the same parity */
    return good;
}

bool cookie_check(const struct cookie_keys *keys, const struct cookie_tuple *tuple,
                  uint32_t client_isn, uint32_t cookie, uint64_t unix_ms,
                  struct cookie_options *options)
{
    const struct question question = {keys, tuple, client_isn, cookie, unix_ms};
    uint32_t good = made_under(&question, keys->epoch);
    if (!good && unix_ms < keys->previous_until_ms)
        good = made_under(&question, keys->previous);

    *options = (struct cookie_options){
        .mss_class = cookie >> COOKIE_CLASS_SHIFT & 3,
        .window_scale = cookie >> COOKIE_SCALE_SHIFT & 15,
        .sack = cookie >> COOKIE_SACK_SHIFT & 1,
    };
    return good;
}

uint32_t cookie_timestamp(const struct cookie_keys *keys, const struct addr *client,
                          const struct addr *service, uint64_t unix_ms)
{
    uint64_t words[5];
    unsigned count = cookie_pair_words(client, service, words, 1);
    return (uint32_t)(unix_ms + siphash13_packed(&keys->timestamp, words, count));
}

/* ---- a burst's cookies and timestamps together ---- */

/* The place of one more message, whose result goes to *out. */
static inline uint64_t *batch_add(struct cookie_batch_part *part, uint32_t *out)
{
    uint32_t i = part->messages.count++;
    part->out[i] = out;
    return &part->messages.word[0][i];
}

void cookie_batch_begin(struct cookie_batch *batch, const struct cookie_keys *keys,
                        uint64_t unix_ms)
{
    batch->keys = keys;
    batch->unix_ms = unix_ms;
    batch->epoch = unix_ms / COOKIE_EPOCH_MS;
    for (int v6 = 0; v6 < 2; v6++) {
        batch->mac[v6].messages.count = 0;
        batch->pair[v6].messages.count = 0;
    }
}

void cookie_batch_make(struct cookie_batch *batch, const struct cookie_tuple *tuple,
                       uint32_t client_isn, struct cookie_options options, uint32_t *cookie)
{
    const uint32_t bits = cookie_data(batch->epoch, options);
    *cookie = bits;
    cookie_mac_words(tuple, client_isn, batch->epoch, bits >> COOKIE_SACK_SHIFT,
                     batch_add(&batch->mac[!addr_is_v4(&tuple->client)], cookie), SIPHASH_BATCH);
}

void cookie_batch_timestamp(struct cookie_batch *batch, const struct addr *client,
                            const struct addr *service, uint32_t *tsval)
{
    *tsval = (uint32_t)batch->unix_ms;
    cookie_pair_words(client, service, batch_add(&batch->pair[!addr_is_v4(client)], tsval),
                      SIPHASH_BATCH);
}

void cookie_batch_finish(struct cookie_batch *batch)
{
    static const unsigned mac_count[2] = {3, 4}, pair_count[2] = {2, 5};
    bool known;
    uint64_t hash[SIPHASH_BATCH];
    const struct siphash_key *key =
        &batch->keys->epoch[epoch_index(batch->keys, batch->epoch, &known)];
    for (int v6 = 0; v6 < 2; v6++) {
        struct cookie_batch_part *mac = &batch->mac[v6], *pair = &batch->pair[v6];
        siphash24_lanes(key, &mac->messages, mac_count[v6], hash);
        for (uint32_t i = 0; i < mac->messages.count; i++)
            *mac->out[i] |= (uint32_t)hash[i] & COOKIE_MAC_MASK;
        siphash13_lanes(&batch->keys->timestamp, &pair->messages, pair_count[v6], hash);
        for (uint32_t i = 0; i < pair->messages.count; i++)
            *pair->out[i] += (uint32_t)hash[i];
    }
}

void cookie_lane_finish(struct cookie_lane *lane)
{
    bool known;
    uint64_t hash[SIPHASH_BATCH];
    const struct siphash_key *key =
        &lane->keys->epoch[epoch_index(lane->keys, lane->epoch, &known)];
    siphash24_lanes(key, &lane->mac, lane->v4 ? COOKIE_IPV4_WORDS : COOKIE_IPV6_WORDS, hash);
    for (uint32_t i = 0; i < lane->mac.count; i++)
        lane->cookie[i] |= (uint32_t)hash[i] & COOKIE_MAC_MASK;
    siphash13_lanes(&lane->keys->timestamp, &lane->pair,
                    lane->v4 ? COOKIE_IPV4_PAIR : COOKIE_IPV6_PAIR, hash);
    for (uint32_t i = 0; i < lane->pair.count; i++)
        lane->tsval[i] = (uint32_t)(lane->unix_ms + hash[i]);
}

uint32_t cookie_sent(const struct cookie_keys *keys, const struct addr *client,
                     const struct addr *service, uint32_t cookie, const uint32_t *echoed,
                     uint64_t unix_ms, bool *exact)
{
    const uint64_t now = unix_ms / COOKIE_EPOCH_MS;
    const uint64_t epoch = now - ((now ^ (cookie >> COOKIE_PARITY_SHIFT)) & 1);
    *exact = false;
    if (echoed != NULL) {
        const uint32_t age = cookie_timestamp(keys, client, service, unix_ms) - *echoed;
        const uint64_t sent = unix_ms - age;
        *exact = age <= COOKIE_LIFE_MS && sent / COOKIE_EPOCH_MS == epoch;
        if (*exact)
            return (uint32_t)(sent * COOKIE_TICKS / COOKIE_EPOCH_MS);
    }
    return (uint32_t)(epoch * COOKIE_TICKS);
}
