/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The Internet checksum (RFC 1071) and its incremental update (RFC 1624), in software. Sums are
 * kept as 16-bit words in memory order, so they work on either byte order without swapping. Pure.
 */
#ifndef DROPGATE_DATAPLANE_NET_CHECKSUM_H
#define DROPGATE_DATAPLANE_NET_CHECKSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/addr.h"

/** A sum and one more word of up to 64 bits; the carry comes round, so that a sum of any length is
 * right modulo 65,535. */
static inline uint64_t checksum_plus(uint64_t sum, uint64_t word)
{
    sum += word;
    return sum + (sum < word);
}

/** The unfolded sum of `length` bytes that begin at an even offset of what is summed. */
static inline uint64_t checksum_add(uint64_t sum, const void *bytes, size_t length)
{
    const uint8_t *p = bytes;
    uint64_t eight;
    uint32_t four;
    uint16_t two = 0;
    for (; length >= 8; p += 8, length -= 8) {
        memcpy(&eight, p, 8);
        sum = checksum_plus(sum, eight);
    }
    if (length & 4) {
        memcpy(&four, p, 4);
        sum = checksum_plus(sum, four);
        p += 4;
    }
    if (length & 2) {
        memcpy(&two, p, 2);
        sum = checksum_plus(sum, two);
        p += 2;
    }
    if (length & 1) {
        two = 0;
        memcpy(&two, p, 1); /* the first byte of a word whose second is zero */
        sum = checksum_plus(sum, two);
    }
    return sum;
}

/** The sum of its four 16-bit words: a number added to itself with its halves exchanged has their
 * sum, carry and all, in its upper half. */
static inline uint16_t checksum_fold(uint64_t sum)
{
    sum += sum << 32 | sum >> 32;
    uint32_t half = (uint32_t)(sum >> 32);
    half += half << 16 | half >> 16;
    return (uint16_t)(half >> 16);
}

/** Whether a sum that its checksum field is part of is what it must be: all ones, folded. That is a
 * multiple of 65,535 other than zero, and to see that takes one multiplication, but no folding. */
static inline bool checksum_good(uint64_t sum)
{
    return sum % 0xffff == 0 && sum != 0;
}

/** checksum_add of a TCP segment. Most are no more than a header, with timestamps or without, and
 * are summed without a loop. */
static inline uint64_t checksum_add_tcp(uint64_t sum, const void *bytes, size_t length)
{
    switch (length) {
    case 20: return checksum_add(sum, bytes, 20);
    case 32: return checksum_add(sum, bytes, 32);
    default: return checksum_add(sum, bytes, length);
    }
}

/** The sum of a pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1). */
static inline uint64_t checksum_pseudo(const struct addr *source, const struct addr *destination,
                                       uint8_t protocol, uint32_t length)
{
    uint64_t sum = (uint64_t)__builtin_bswap32(length) + __builtin_bswap32(protocol);
    if (addr_is_v4(source))
        return sum + addr_v4(source) + addr_v4(destination);
    sum = checksum_plus(sum, source->quads[0]);
    sum = checksum_plus(sum, source->quads[1]);
    sum = checksum_plus(sum, destination->quads[0]);
    return checksum_plus(sum, destination->quads[1]);
}

/** A checksum field's new value after words that summed to `removed` were replaced by words that
 * sum to `added` (RFC 1624 equation 3). */
static inline uint16_t checksum_update(uint16_t field, uint64_t removed, uint64_t added)
{
    /* The complement of 64 bits is that of their folded sum too: 2^64 - 1 is a multiple of 65,535.
     */
    return (uint16_t)~checksum_fold(
        checksum_plus(checksum_plus(added, ~removed), (uint16_t)~field));
}

#endif
