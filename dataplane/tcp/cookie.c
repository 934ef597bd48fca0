/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The MAC's message is packed into three 64-bit words for IPv4 and four for IPv6, by value and not
 * by memory, so that gateways of any byte order agree; its length byte keeps the families apart. It
 * is SipHash-2-4 as published over 23 or 31 little-endian bytes. The epoch is in the key and, as
 * far as there is room, in the message. Nothing branches on a secret. */
#include "dataplane/tcp/cookie.h"

#include <endian.h>

enum {
    PARITY_SHIFT = 31,
    CLASS_SHIFT = 29,
    SCALE_SHIFT = 25,
    SACK_SHIFT = 24,
    MAC_MASK = 0xffffff,
    IPV4_BYTES = 23, /* address 4, ISN 4, ports 4, service 4, data 1, epoch 6 */
    IPV6_BYTES = 31, /* address 16, ISN 4, ports 4, service 4, data 1, epoch 2 */
};

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

/* The 24 bits; `data` is the cookie's upper byte. */
static uint32_t cookie_mac(const struct siphash_key *key, const struct cookie_tuple *tuple,
                           uint32_t client_isn, uint64_t epoch, uint32_t data)
{
    const uint64_t ports = (uint64_t)tuple->client_port << 16 | tuple->service_port;
    struct siphash_state s = siphash_begin(key);
    uint64_t last;

    if (addr_is_v4(&tuple->client)) {
        siphash_word(&s, (uint64_t)be32toh(addr_v4(&tuple->client)) << 32 | client_isn, 2);
        siphash_word(&s, ports << 32 | tuple->service, 2);
        last = (uint64_t)IPV4_BYTES << 56 | (epoch & UINT64_C(0xffffffffffff)) << 8 | data;
    } else {
        siphash_word(&s, be64toh(tuple->client.quads[0]), 2);
        siphash_word(&s, be64toh(tuple->client.quads[1]), 2);
        siphash_word(&s, ports << 32 | client_isn, 2);
        last = (uint64_t)IPV6_BYTES << 56 | (epoch & 0xffff) << 40 | (uint64_t)tuple->service << 8 |
               data;
    }
    return (uint32_t)siphash_finish(&s, last, 2, 4) & MAC_MASK;
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
    const uint32_t bits =
        (uint32_t)(epoch & 1) << PARITY_SHIFT | (uint32_t)(options.mss_class & 3) << CLASS_SHIFT |
        (uint32_t)(options.window_scale & 15) << SCALE_SHIFT | (uint32_t)options.sack << SACK_SHIFT;
    bool known;
    const struct siphash_key *key = &keys->epoch[epoch_index(keys, epoch, &known)];
    return bits | cookie_mac(key, tuple, client_isn, epoch, bits >> SACK_SHIFT);
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
    const uint32_t mac = cookie_mac(key, q->tuple, q->client_isn, epoch, q->cookie >> SACK_SHIFT);
    const uint32_t differing = (mac ^ q->cookie) & MAC_MASK;
    return ((differing - 1) >> 31) & known;
}

/* 1 if the cookie was made under these keys and has not expired, else 0. */
static uint32_t made_under(const struct question *q, const struct siphash_key *epochs)
{
    const uint64_t now = q->unix_ms / COOKIE_EPOCH_MS;
    const uint64_t behind =
        (now ^ (q->cookie >> PARITY_SHIFT)) & 1; /* not of this epoch: the one before */

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
        .mss_class = cookie >> CLASS_SHIFT & 3,
        .window_scale = cookie >> SCALE_SHIFT & 15,
        .sack = cookie >> SACK_SHIFT & 1,
    };
    return good;
}

uint32_t cookie_timestamp(const struct cookie_keys *keys, const struct addr *client,
                          const struct addr *service, uint64_t unix_ms)
{
    uint64_t offset;
    if (addr_is_v4(client)) {
        const uint64_t pair = (uint64_t)be32toh(addr_v4(client)) << 32 | be32toh(addr_v4(service));
        offset = siphash13(&keys->timestamp, &pair, 1);
    } else {
        const uint64_t pair[4] = {be64toh(client->quads[0]), be64toh(client->quads[1]),
                                  be64toh(service->quads[0]), be64toh(service->quads[1])};
        offset = siphash13(&keys->timestamp, pair, 4);
    }
    return (uint32_t)(unix_ms + offset);
}
