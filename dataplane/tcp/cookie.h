/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * SYN cookies (RFC 4987 section 3.6): the whole state of a half-open connection, carried by the
 * client. Its bits, from the highest:
 *   epoch parity 1 | MSS class 2 | client window scale 4 (15 = none) | SACK 1 | MAC 24
 * The MAC is SipHash-2-4 under a key per epoch of 64 s. Nothing is stored, so a SYN flood costs no
 * memory. Pure: bytes and a clock value in, a cookie or a verdict out. Any thread. */
#ifndef DROPGATE_DATAPLANE_TCP_COOKIE_H
#define DROPGATE_DATAPLANE_TCP_COOKIE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"
#include "common/siphash_lanes.h"

enum {
    COOKIE_EPOCH_MS = 64 * 1000,
    COOKIE_LEAD_MS = 2 * 1000, /* the next epoch is accepted this early */
    COOKIE_LIFE_MS = 2 * COOKIE_EPOCH_MS + COOKIE_LEAD_MS, /* no cookie is valid for longer */
    COOKIE_NO_SCALE = 15,
    COOKIE_EPOCHS = 4,
    COOKIE_TICKS = 1024, /* in an epoch, for cookie_sent */
};

/** Keys for COOKIE_EPOCHS consecutive epochs: the previous, the current and the next two, so that a
 * late builder thread costs nothing; and the same under the master before, while cookies that it
 * made are still out. Immutable once published; a part of the policy. */
struct cookie_keys {
    uint64_t first_epoch; /* unix time in ms / COOKIE_EPOCH_MS of epoch[0] */
    struct siphash_key epoch[COOKIE_EPOCHS];
    struct siphash_key timestamp; /* of the TSval offset; does not change with the epoch */
    uint64_t
        previous_until_ms; /* unix time up to which previous[] is accepted; 0 = there is none */
    struct siphash_key previous[COOKIE_EPOCHS];
};

/** Who speaks to which service. `service` is the same number on every gateway (service_id), and
 * changes when the window scale announced by the service does, so that a cookie never outlives its
 * promise. */
struct cookie_tuple {
    struct addr client;
    uint16_t client_port; /* host byte order */
    uint16_t service_port;
    uint32_t service;
};

/** What the client offered and was granted. */
struct cookie_options {
    uint8_t mss_class;    /* 0..3: 536, 1220, 1440, 1460 */
    uint8_t window_scale; /* 0..14, or COOKIE_NO_SCALE */
    bool sack;
};

/** Derives the keys in force at `unix_ms` from a 32-byte master key. */
void cookie_keys_derive(struct cookie_keys *out, const uint8_t master[32], uint64_t unix_ms);

/** After a change of the master: cookies of the one before are still accepted, and none are made,
 * up to `until_ms` (unix time): the moment of the change plus COOKIE_LIFE_MS. Meanwhile a forger
 * has two chances instead of one. */
void cookie_keys_overlap(struct cookie_keys *keys, const uint8_t previous[32], uint64_t until_ms);

/** Takes the timestamps' key from another master: the one with which the process began, so that a
 * change of the master makes no pair's clock jump. */
void cookie_keys_clock(struct cookie_keys *keys, const uint8_t master[32]);

/** The largest class whose MSS is at most `mss`; class 0 for anything smaller than 536 (RFC
 * 9293 3.7.1). */
uint8_t cookie_mss_class(uint16_t mss);

/** The MSS of a class, in bytes. */
uint16_t cookie_mss(uint8_t mss_class);

/** The ISN of a SYN-ACK, host byte order. At a time for which `keys` has no epoch it is one that no
 * check accepts: stale keys close the door, they never lengthen a cookie's life. */
uint32_t cookie_make(const struct cookie_keys *keys, const struct cookie_tuple *tuple,
                     uint32_t client_isn, struct cookie_options options, uint64_t unix_ms);

/** Whether `cookie` (the ISN that we sent: the client's acknowledgement minus one) is ours and
 * still valid; then `*options` is filled (with what the bits say, good or bad). Accepted are the
 * epoch of `unix_ms`, the one before, and within COOKIE_LEAD_MS of its end the one after; under the
 * master of today, then, during an overlap, under the one before. The cost depends on the clock, on
 * the public epoch bit and on the answer only. */
bool cookie_check(const struct cookie_keys *keys, const struct cookie_tuple *tuple,
                  uint32_t client_isn, uint32_t cookie, uint64_t unix_ms,
                  struct cookie_options *options);

/** TSval of a SYN-ACK (RFC 7323): a millisecond clock plus an offset keyed by the address pair, so
 * it is monotone per pair and tells nobody the uptime. */
uint32_t cookie_timestamp(const struct cookie_keys *keys, const struct addr *client,
                          const struct addr *service, uint64_t unix_ms);

/** Cookies and timestamps of a burst, made together and as the two functions above make them. Up to
 * SIPHASH_BATCH of each; where a result goes must stay in place until cookie_batch_finish. */
struct cookie_batch {
    const struct cookie_keys *keys;
    uint64_t unix_ms, epoch;
    struct cookie_batch_part {
        struct siphash_batch messages;
        uint32_t *out[SIPHASH_BATCH];
    } mac[2], pair[2]; /* of IPv4, of IPv6 */
};

void cookie_batch_begin(struct cookie_batch *batch, const struct cookie_keys *keys,
                        uint64_t unix_ms);

/** Wants *cookie = cookie_make(...) and *tsval = cookie_timestamp(...). */
void cookie_batch_make(struct cookie_batch *batch, const struct cookie_tuple *tuple,
                       uint32_t client_isn, struct cookie_options options, uint32_t *cookie);
void cookie_batch_timestamp(struct cookie_batch *batch, const struct addr *client,
                            const struct addr *service, uint32_t *tsval);

/** Now they are there. */
void cookie_batch_finish(struct cookie_batch *batch);

/** When the SYN-ACK of a cookie that cookie_check has just accepted was sent, in ticks (a
 * COOKIE_TICKS-th of an epoch, 62.5 ms) since 1970, modulo 2^32. `echoed` is the client's TSecr, or
 * NULL: if it is a clock value of ours from that epoch the answer is exact to a tick, else it is
 * the epoch's beginning. */
uint32_t cookie_sent(const struct cookie_keys *keys, const struct addr *client,
                     const struct addr *service, uint32_t cookie, const uint32_t *echoed,
                     uint64_t unix_ms, bool *exact);

#endif
