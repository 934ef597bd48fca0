/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Text forms of addresses, prefixes and endpoints. Reading is inet_pton with the doors around it
 * closed: it takes one form per meaning, and never a v4-mapped address, which on the inside stands
 * for IPv4. */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>

#include "addr.h"

enum { V4_BITS = 32, V6_BITS = 128, V4_OFFSET = 96 };

/* Reads 1..5 decimal digits without sign or leading zero; -1 if it is anything else or above `max`.
 */
static int parse_number(const char *text, int max)
{
    int value = 0;
    size_t length = strlen(text);
    if (length == 0 || length > 5 || (text[0] == '0' && length > 1))
        return -1;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return -1;
        value = value * 10 + (*text - '0');
    }
    return value <= max ? value : -1;
}

static void mask(struct addr *a, unsigned length)
{
    for (unsigned i = 0; i < sizeof a->bytes; i++) {
        unsigned kept = length > 8 * i ? length - 8 * i : 0;
        if (kept < 8)
            a->bytes[i] &= (uint8_t)(0xff00u >> kept);
    }
}

bool prefix_contains(const struct prefix *p, const struct addr *a)
{
    /* "::/0" is all of IPv6 and none of IPv4, although the mapped form lies inside it bit for bit.
     */
    if (addr_is_v4(&p->base) != addr_is_v4(a))
        return false;
    uint64_t high = be64toh(p->base.quads[0] ^ a->quads[0]);
    uint64_t low = be64toh(p->base.quads[1] ^ a->quads[1]);
    if (p->length <= 64)
        return p->length == 0 || high >> (64 - p->length) == 0;
    return high == 0 && low >> (128 - p->length) == 0;
}

int addr_parse(const char *text, struct addr *out)
{
    struct addr a;
    uint32_t v4;
    if (inet_pton(AF_INET, text, &v4) == 1) {
        *out = addr_from_v4(v4);
        return 0;
    }
    if (inet_pton(AF_INET6, text, a.bytes) != 1 || addr_is_v4(&a))
        return -EINVAL;
    *out = a;
    return 0;
}

/* Reads `length` bytes as an address. */
static int parse_span(const char *text, size_t length, struct addr *out)
{
    char copy[INET6_ADDRSTRLEN];
    if (length >= sizeof copy)
        return -EINVAL;
    memcpy(copy, text, length);
    copy[length] = '\0';
    return addr_parse(copy, out);
}

int prefix_parse(const char *text, struct prefix *out, bool *masked)
{
    struct addr a;
    size_t span = strcspn(text, "/");
    if (parse_span(text, span, &a) != 0)
        return -EINVAL;
    int bits = addr_is_v4(&a) ? V4_BITS : V6_BITS;
    int length = text[span] == '/' ? parse_number(text + span + 1, bits) : bits;
    if (length < 0)
        return -EINVAL;
    out->length = (uint8_t)(length + V6_BITS - bits);
    out->base = a;
    mask(&out->base, out->length);
    if (masked)
        *masked = !addr_equal(&out->base, &a);
    return 0;
}

int endpoint_parse(const char *text, struct endpoint *out)
{
    struct addr a;
    bool bracketed = text[0] == '[';
    const char *start = text + bracketed;
    size_t span = strcspn(start, bracketed ? "]" : ":");
    const char *colon = start + span;
    if (bracketed && *colon++ != ']')
        return -EINVAL;
    if (*colon != ':' || parse_span(start, span, &a) != 0 || addr_is_v4(&a) == bracketed)
        return -EINVAL;
    int port = parse_number(colon + 1, UINT16_MAX);
    if (port < 1)
        return -EINVAL;
    *out = (struct endpoint){.addr = a, .port = (uint16_t)port};
    return 0;
}

const char *addr_print(const struct addr *a, char out[ADDR_TEXT])
{
    if (addr_is_v4(a)) {
        inet_ntop(AF_INET, &a->words[3], out, ADDR_TEXT);
    } else if (a->quads[0] == 0 && a->words[2] == 0 && (a->bytes[12] | a->bytes[13]) != 0) {
        /* inet_ntop writes this range with a dotted quad, which reads like IPv4 and is not. */
        snprintf(out, ADDR_TEXT, "::%x:%x", (unsigned)(a->bytes[12] << 8 | a->bytes[13]),
                 (unsigned)(a->bytes[14] << 8 | a->bytes[15]));
    } else {
        inet_ntop(AF_INET6, a->bytes, out, ADDR_TEXT);
    }
    return out;
}

const char *prefix_print(const struct prefix *p, char out[ADDR_TEXT])
{
    unsigned offset = addr_is_v4(&p->base) ? V4_OFFSET : 0;
    addr_print(&p->base, out);
    size_t length = strlen(out);
    snprintf(out + length, ADDR_TEXT - length, "/%u", p->length - offset);
    return out;
}

const char *endpoint_print(const struct endpoint *e, char out[ADDR_TEXT])
{
    char text[ADDR_TEXT];
    addr_print(&e->addr, text);
    if (addr_is_v4(&e->addr))
        snprintf(out, ADDR_TEXT, "%.45s:%u", text, e->port);
    else
        snprintf(out, ADDR_TEXT, "[%.45s]:%u", text, e->port);
    return out;
}
