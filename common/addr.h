/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * IP addresses, prefixes and endpoints, both families in one type. An IPv4 address is kept as its
 * v4-mapped IPv6 form (RFC 4291 section 2.5.5.2), so every table has one key and one comparison; a
 * v4-mapped address on the wire is refused as a bogon, so the two cannot be confused.
 * Pure: no allocation, no name resolution, no global. Any thread. */
#ifndef DROPGATE_COMMON_ADDR_H
#define DROPGATE_COMMON_ADDR_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/** An address in network byte order; IPv4 as ::ffff:a.b.c.d. */
struct addr {
    union {
        uint8_t bytes[16];
        uint32_t words[4];
        uint64_t quads[2];
    };
};

/** A prefix; `length` counts from the start of the 128-bit form, so IPv4 /24 is 120. Bits behind it
 * are zero. */
struct prefix {
    struct addr base;
    uint8_t length; /* 0..128 */
};

/** A transport endpoint; the port is in host byte order. */
struct endpoint {
    struct addr addr;
    uint16_t port;
};

/** Room for any printed form: "[v6]:port" or "v6/128", with the terminator. */
enum { ADDR_TEXT = 64 };

/** The v4-mapped form of an IPv4 address given in network byte order. Written in the width in which
 * addresses are compared and hashed: what is read in another one waits for the store buffer. */
static inline struct addr addr_from_v4(uint32_t be)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return (struct addr){.quads = {0, (uint64_t)be << 32 | htobe32(0xffff)}};
#else
    return (struct addr){.quads = {0, (uint64_t)htobe32(0xffff) << 32 | be}};
#endif
}

/** The IPv6 address whose 16 bytes stand at `bytes`. */
static inline struct addr addr_from_v6(const void *bytes)
{
    struct addr a;
    memcpy(a.bytes, bytes, sizeof a.bytes);
    return a;
}

/** Whether `a` is an IPv4 address. */
static inline bool addr_is_v4(const struct addr *a)
{
    return a->quads[0] == 0 && a->words[2] == htobe32(0xffff);
}

/** The IPv4 address in network byte order; only meaningful when addr_is_v4. */
static inline uint32_t addr_v4(const struct addr *a)
{
    return a->words[3];
}

/** Whether two addresses are the same. */
static inline bool addr_equal(const struct addr *a, const struct addr *b)
{
    return a->quads[0] == b->quads[0] && a->quads[1] == b->quads[1];
}

/** Whether `a` lies within `p`. */
bool prefix_contains(const struct prefix *p, const struct addr *a);

/** Reads "198.51.100.7" or "2001:db8::7". Zone ids, ports, leading zeros in IPv4 and v4-mapped text
 * are refused. Returns 0 or -EINVAL; `out` is untouched on error. */
int addr_parse(const char *text, struct addr *out);

/** Reads "addr" or "addr/length". Host bits behind the length are masked; `*masked` (may be NULL)
 * says whether any was set. Returns 0 or -EINVAL. */
int prefix_parse(const char *text, struct prefix *out, bool *masked);

/** Reads "198.51.100.7:80" or "[2001:db8::7]:80"; port 1..65535. Returns 0 or -EINVAL. */
int endpoint_parse(const char *text, struct endpoint *out);

/** Print into `out` (ADDR_TEXT bytes) and return it; IPv4 as dotted quad, IPv6 as RFC 5952 text. */
const char *addr_print(const struct addr *a, char out[ADDR_TEXT]);
const char *prefix_print(const struct prefix *p, char out[ADDR_TEXT]);
const char *endpoint_print(const struct endpoint *e, char out[ADDR_TEXT]);

#endif
