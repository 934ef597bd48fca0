/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What is hashed for a SYN cookie and for its timestamp, for those who make them: cookie.c, and the
 * lane of SYNs. The MAC's message is packed into three 64-bit words for IPv4 and four for IPv6, by
 * value and not by memory, so that gateways of any byte order agree; its length byte keeps the
 * families apart. It is SipHash-2-4 as published over 23 or 31 little-endian bytes. The epoch is in
 * the key and, as far as there is room, in the message. Pure. */
#ifndef DROPGATE_DATAPLANE_TCP_COOKIE_WORDS_H
#define DROPGATE_DATAPLANE_TCP_COOKIE_WORDS_H

#include <endian.h>

#include "dataplane/tcp/cookie.h"

enum {
    COOKIE_PARITY_SHIFT = 31,
    COOKIE_CLASS_SHIFT = 29,
    COOKIE_SCALE_SHIFT = 25,
    COOKIE_SACK_SHIFT = 24,
    COOKIE_MAC_MASK = 0xffffff,
    COOKIE_IPV4_BYTES = 23, /* address 4, ISN 4, ports 4, service 4, data 1, epoch 6 */
    COOKIE_IPV6_BYTES = 31, /* address 16, ISN 4, ports 4, service 4, data 1, epoch 2 */
    COOKIE_IPV4_WORDS = 3,  /* of the MAC's message */
    COOKIE_IPV6_WORDS = 4,
    COOKIE_IPV4_PAIR = 2, /* of the timestamp's */
    COOKIE_IPV6_PAIR = 5
};

/** The cookie without its MAC. */
static inline uint32_t cookie_data(uint64_t epoch, struct cookie_options options)
{
    return (uint32_t)(epoch & 1) << COOKIE_PARITY_SHIFT |
           (uint32_t)(options.mss_class & 3) << COOKIE_CLASS_SHIFT |
           (uint32_t)(options.window_scale & 15) << COOKIE_SCALE_SHIFT |
           (uint32_t)options.sack << COOKIE_SACK_SHIFT;
}

/** The MAC's message, its words `stride` apart; `data` is the cookie's upper byte. Returns how many
 * words there are. */
static inline unsigned cookie_mac_words(const struct cookie_tuple *tuple, uint32_t client_isn,
                                        uint64_t epoch, uint32_t data, uint64_t *words,
                                        size_t stride)
{
    const uint64_t ports = (uint64_t)tuple->client_port << 16 | tuple->service_port;
    if (addr_is_v4(&tuple->client)) {
        words[0] = (uint64_t)be32toh(addr_v4(&tuple->client)) << 32 | client_isn;
        words[stride] = ports << 32 | tuple->service;
        words[2 * stride] =
            (uint64_t)COOKIE_IPV4_BYTES << 56 | (epoch & UINT64_C(0xffffffffffff)) << 8 | data;
        return COOKIE_IPV4_WORDS;
    }
    words[0] = be64toh(tuple->client.quads[0]);
    words[stride] = be64toh(tuple->client.quads[1]);
    words[2 * stride] = ports << 32 | client_isn;
    words[3 * stride] = (uint64_t)COOKIE_IPV6_BYTES << 56 | (epoch & 0xffff) << 40 |
                        (uint64_t)tuple->service << 8 | data;
    return COOKIE_IPV6_WORDS;
}

/** The timestamp's message: the address pair. Likewise. */
static inline unsigned cookie_pair_words(const struct addr *client, const struct addr *service,
                                         uint64_t *words, size_t stride)
{
    if (addr_is_v4(client)) {
        words[0] = (uint64_t)be32toh(addr_v4(client)) << 32 | be32toh(addr_v4(service));
        words[stride] = UINT64_C(8) << 56;
        return COOKIE_IPV4_PAIR;
    }
    words[0] = be64toh(client->quads[0]);
    words[stride] = be64toh(client->quads[1]);
    words[2 * stride] = be64toh(service->quads[0]);
    words[3 * stride] = be64toh(service->quads[1]);
    words[4 * stride] = UINT64_C(32) << 56;
    return COOKIE_IPV6_PAIR;
}

/** Cookies and timestamps of packets of one family, made together and as cookie_make and
 * cookie_timestamp make them; each packet gets both. */
struct cookie_lane {
    const struct cookie_keys *keys;
    uint64_t unix_ms, epoch;
    bool v4;
    struct siphash_batch mac, pair;
    uint32_t cookie[SIPHASH_BATCH], tsval[SIPHASH_BATCH]; /* in the order of the packets */
};

static inline void cookie_lane_begin(struct cookie_lane *lane, const struct cookie_keys *keys,
                                     uint64_t unix_ms, bool v4)
{
    lane->keys = keys;
    lane->unix_ms = unix_ms;
    lane->epoch = unix_ms / COOKIE_EPOCH_MS;
    lane->v4 = v4;
    lane->mac.count = lane->pair.count = 0;
}

/** One more packet, of the lane's family; at most SIPHASH_BATCH. */
static inline void cookie_lane_add(struct cookie_lane *lane, const struct cookie_tuple *tuple,
                                   const struct addr *service, uint32_t client_isn,
                                   struct cookie_options options)
{
    const uint32_t i = lane->mac.count++, bits = cookie_data(lane->epoch, options);
    lane->pair.count++;
    lane->cookie[i] = bits;
    cookie_mac_words(tuple, client_isn, lane->epoch, bits >> COOKIE_SACK_SHIFT,
                     &lane->mac.word[0][i], SIPHASH_BATCH);
    cookie_pair_words(&tuple->client, service, &lane->pair.word[0][i], SIPHASH_BATCH);
}

/** Now cookie[] and tsval[] are there. */
void cookie_lane_finish(struct cookie_lane *lane);

#endif
