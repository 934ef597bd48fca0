/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Frames for tests, made and checked by plain code of their own: bytes from hexadecimal text, TCP
 * frames written field by field, checksums summed two bytes at a time. It uses nothing that it is
 * there to test. */
#ifndef DROPGATE_TESTS_UNIT_FRAMES_H
#define DROPGATE_TESTS_UNIT_FRAMES_H

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { FRAME_ROOM = 2048 };

/** Reads hexadecimal digits, white space between them ignored, into `out`; returns the number of
 * bytes. */
static inline size_t frame_hex(uint8_t *out, const char *text)
{
    static const char digits[] = "0123456789abcdef";
    size_t nibbles = 0;
    for (; *text; text++) {
        if (isspace((unsigned char)*text))
            continue;
        const uint8_t value = (uint8_t)(strchr(digits, *text) - digits);
        out[nibbles / 2] = (uint8_t)(nibbles & 1 ? out[nibbles / 2] << 4 | value : value);
        nibbles++;
    }
    return nibbles / 2;
}

static inline uint16_t frame_get16(const uint8_t *p)
{
    return (uint16_t)(p[0] * 256 + p[1]);
}

static inline uint32_t frame_get32(const uint8_t *p)
{
    return (uint32_t)frame_get16(p) * 65536 + frame_get16(p + 2);
}

static inline void frame_put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v / 256);
    p[1] = (uint8_t)v;
}

static inline void frame_put32(uint8_t *p, uint32_t v)
{
    frame_put16(p, v / 65536);
    frame_put16(p + 2, v % 65536);
}

/** The one's complement sum (RFC 1071), written as in the RFC: deferred carries are added at the
 * end. `length` is below 65,536. */
static inline uint32_t frame_sum(uint32_t sum, const uint8_t *p, size_t length)
{
    for (size_t i = 0; i + 1 < length; i += 2)
        sum += frame_get16(p + i);
    if (length % 2)
        sum += p[length - 1] * 256U;
    while (sum > 65535)
        sum = sum % 65536 + sum / 65536;
    return sum;
}

/** Where things stand in a frame without VLAN tags. */
struct frame_map {
    bool v6;
    size_t l4, end;
    uint8_t protocol;
};

static inline struct frame_map frame_map(const uint8_t *frame)
{
    const uint8_t *ip = frame + 14;
    if (frame_get16(frame + 12) == 0x86dd)
        return (struct frame_map){true, 54, 54U + frame_get16(ip + 4), ip[6]};
    return (struct frame_map){false, 14 + 4U * (ip[0] % 16), 14U + frame_get16(ip + 2), ip[9]};
}

/** The sum over pseudo header, TCP or ICMPv6 header and payload: 0xffff if the checksum in it is
 * right. */
static inline uint32_t frame_l4_sum(const uint8_t *frame)
{
    const struct frame_map m = frame_map(frame);
    uint32_t sum = m.protocol + (uint32_t)(m.end - m.l4);
    sum = m.v6 ? frame_sum(sum, frame + 22, 32) : frame_sum(sum, frame + 26, 8);
    return frame_sum(sum, frame + m.l4, m.end - m.l4);
}

static inline bool frame_checksums_good(const uint8_t *frame)
{
    const struct frame_map m = frame_map(frame);
    return (m.v6 || frame_sum(0, frame + 14, m.l4 - 14) == 0xffff) && frame_l4_sum(frame) == 0xffff;
}

/** Writes right checksums into a TCP frame. */
static inline void frame_fix_checksums(uint8_t *frame)
{
    const struct frame_map m = frame_map(frame);
    if (!m.v6) {
        frame_put16(frame + 24, 0);
        frame_put16(frame + 24, 0xffff - frame_sum(0, frame + 14, m.l4 - 14));
    }
    frame_put16(frame + m.l4 + 16, 0);
    frame_put16(frame + m.l4 + 16, 0xffff - frame_l4_sum(frame));
}

/** Puts one VLAN tag in front of what is there; returns the new length. */
static inline size_t frame_tag(uint8_t *frame, size_t length, uint16_t type, uint16_t tci)
{
    memmove(frame + 16, frame + 12, length - 12);
    frame_put16(frame + 12, type);
    frame_put16(frame + 14, tci);
    return length + 4;
}

/** Takes the foremost tag off; returns the new length. */
static inline size_t frame_untag(uint8_t *frame, size_t length)
{
    memmove(frame + 12, frame + 16, length - 16);
    return length - 4;
}

/** Whether TCP options are well formed: a plain reading of RFC 9293 section 3.1 and the lengths of
 * the known options. */
static inline bool frame_options_good(const uint8_t *p, size_t length)
{
    static const int lengths[256] = {[2] = 4, [3] = 3, [4] = 2, [8] = 10};
    for (size_t i = 0; i < length;) {
        if (p[i] == 0)
            return true;
        if (p[i] == 1) {
            i++;
            continue;
        }
        if (i + 1 >= length || p[i + 1] < 2 || i + p[i + 1] > length)
            return false;
        if (lengths[p[i]] && p[i + 1] != lengths[p[i]])
            return false;
        if (p[i] == 5 && (p[i + 1] < 10 || (p[i + 1] - 2) % 8 != 0))
            return false;
        i += p[i + 1];
    }
    return true;
}

/** A TCP frame to write. Addresses are text's job elsewhere: here they are bytes, 4 or 16 of them.
 */
struct frame_tcp {
    bool v6;
    uint8_t from[6], to[6];
    uint8_t source[16], destination[16];
    uint16_t source_port, destination_port;
    uint32_t seq, ack;
    uint16_t window, urgent;
    uint8_t flags, ttl;
    uint8_t reserved; /* the four bits beside the data offset */
    uint8_t ip_options[40], options[40];
    size_t ip_options_length, options_length; /* multiples of 4 */
    const uint8_t *payload;
    size_t length;
};

static inline size_t frame_write_ip(uint8_t *ip, const struct frame_tcp *t, size_t total)
{
    if (t->v6) {
        memset(ip, 0, 40);
        ip[0] = 0x60;
        frame_put16(ip + 4, (uint32_t)total);
        ip[6] = 6;
        ip[7] = t->ttl;
        memcpy(ip + 8, t->source, 16);
        memcpy(ip + 24, t->destination, 16);
        return 40;
    }
    const size_t header = 20 + t->ip_options_length;
    memset(ip, 0, 20);
    ip[0] = (uint8_t)(0x40 + header / 4);
    frame_put16(ip + 2, (uint32_t)(header + total));
    ip[6] = 0x40;
    ip[8] = t->ttl;
    ip[9] = 6;
    memcpy(ip + 12, t->source, 4);
    memcpy(ip + 16, t->destination, 4);
    memcpy(ip + 20, t->ip_options, t->ip_options_length);
    return header;
}

/** Writes it, with right checksums; returns its length. `out` has FRAME_ROOM bytes. */
static inline size_t frame_write(uint8_t *out, const struct frame_tcp *t)
{
    const size_t header = 20 + t->options_length, total = header + t->length;
    memcpy(out, t->to, 6);
    memcpy(out + 6, t->from, 6);
    frame_put16(out + 12, t->v6 ? 0x86dd : 0x0800);
    uint8_t *tcp = out + 14 + frame_write_ip(out + 14, t, total);
    frame_put16(tcp, t->source_port);
    frame_put16(tcp + 2, t->destination_port);
    frame_put32(tcp + 4, t->seq);
    frame_put32(tcp + 8, t->ack);
    tcp[12] = (uint8_t)(header / 4 * 16 + t->reserved);
    tcp[13] = t->flags;
    frame_put16(tcp + 14, t->window);
    frame_put16(tcp + 18, t->urgent);
    memcpy(tcp + 20, t->options, t->options_length);
    if (t->length)
        memcpy(tcp + header, t->payload, t->length);
    frame_fix_checksums(out);
    return (size_t)(tcp - out) + total;
}

#endif
