/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Reading and splitting TCP segments, a byte at a time and in network order: clear before fast. */
#include "relay_segment.h"

#include <string.h>

enum {
    ETHERNET = 14,
    TAG = 4,
    TYPE_TAG = 0x8100,
    TYPE_4 = 0x0800,
    TYPE_6 = 0x86dd,
    IP4_HEADER = 20,
    IP6_HEADER = 40,
    TCP_HEADER = 20,
    PROTOCOL_TCP = 6,
    /* into the IP headers */
    IP4_LENGTH = 2,
    IP4_FRAGMENT = 6,
    IP4_PROTOCOL = 9,
    IP4_CHECKSUM = 10,
    IP4_SOURCE = 12,
    IP6_LENGTH = 4,
    IP6_NEXT = 6,
    IP6_SOURCE = 8,
    /* into the TCP header */
    TCP_SEQ = 4,
    TCP_OFFSET = 12,
    TCP_FLAGS = 13,
    TCP_CHECKSUM = 16,
};

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put16(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static void put32(uint8_t *p, uint32_t value)
{
    put16(p, value >> 16);
    put16(p + 2, value);
}

/* FNV-1a: connections of a laboratory, not of an attacker. */
static uint64_t hash(uint64_t h, const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        h = (h ^ bytes[i]) * UINT64_C(0x100000001b3);
    return h;
}

bool relay_segment_parse(const uint8_t *frame, size_t length, struct relay_segment *segment)
{
    size_t ip = ETHERNET, tcp, end;
    if (length >= ETHERNET + TAG && get16(frame + 12) == TYPE_TAG)
        ip += TAG;
    if (length < ip + IP4_HEADER)
        return false;
    const uint8_t *header = frame + ip;
    const bool v4 = get16(header - 2) == TYPE_4;
    if (v4) {
        tcp = ip + (size_t)(header[0] & 15) * 4;
        end = ip + get16(header + IP4_LENGTH);
        /* More fragments, or an offset. */
        if (header[IP4_PROTOCOL] != PROTOCOL_TCP || (get16(header + IP4_FRAGMENT) & 0x3fff) != 0 ||
            tcp < ip + IP4_HEADER)
            return false;
    } else {
        if (get16(header - 2) != TYPE_6 || length < ip + IP6_HEADER ||
            header[IP6_NEXT] != PROTOCOL_TCP)
            return false;
        tcp = ip + IP6_HEADER;
        end = tcp + get16(header + IP6_LENGTH);
    }
    if (end > length || tcp + TCP_HEADER > end)
        return false;
    const size_t payload = tcp + (size_t)(frame[tcp + TCP_OFFSET] >> 4) * 4;
    if (payload < tcp + TCP_HEADER || payload > end)
        return false;
    uint64_t connection = UINT64_C(0xcbf29ce484222325);
    connection = hash(connection, header + (v4 ? IP4_SOURCE : IP6_SOURCE), v4 ? 8 : 32);
    connection = hash(connection, frame + tcp, 4);
    *segment = (struct relay_segment){.ip = (uint16_t)ip,
                                      .tcp = (uint16_t)tcp,
                                      .payload = (uint16_t)payload,
                                      .end = (uint16_t)end,
                                      .v4 = v4,
                                      .flags = frame[tcp + TCP_FLAGS],
                                      .seq = get32(frame + tcp + TCP_SEQ),
                                      .connection = connection};
    return true;
}

static uint32_t sum(uint32_t sum, const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        sum += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
    return sum;
}

static uint16_t fold(uint32_t sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

/* Writes length and checksums of a frame whose payload ends at `end`. */
static void finish(uint8_t *frame, const struct relay_segment *at, size_t end)
{
    uint8_t *ip = frame + at->ip, *tcp = frame + at->tcp;
    const size_t length = end - at->tcp;
    if (at->v4) {
        put16(ip + IP4_LENGTH, (uint32_t)(end - at->ip));
        put16(ip + IP4_CHECKSUM, 0);
        put16(ip + IP4_CHECKSUM, fold(sum(0, ip, (size_t)(at->tcp - at->ip))));
    } else {
        put16(ip + IP6_LENGTH, (uint32_t)length);
    }
    put16(tcp + TCP_CHECKSUM, 0);
    uint32_t total = sum(PROTOCOL_TCP + (uint32_t)length, ip + (at->v4 ? IP4_SOURCE : IP6_SOURCE),
                         at->v4 ? 8 : 32);
    put16(tcp + TCP_CHECKSUM, fold(sum(total, tcp, length)));
}

bool relay_segment_split(const uint8_t *frame, const struct relay_segment *segment, uint16_t at,
                         uint8_t *first, size_t *first_length, uint8_t *second,
                         size_t *second_length)
{
    const size_t headers = segment->payload;
    if (at == 0 || at >= relay_segment_payload(segment) || segment->end > RELAY_FRAME_MAX ||
        (segment->flags & (RELAY_SYN | RELAY_URG)) != 0)
        return false;
    *first_length = headers + at;
    memcpy(first, frame, *first_length);
    first[segment->tcp + TCP_FLAGS] &= (uint8_t) ~(RELAY_FIN | RELAY_PSH);
    finish(first, segment, *first_length);

    *second_length = segment->end - (size_t)at;
    memcpy(second, frame, headers);
    memcpy(second + headers, frame + headers + at, *second_length - headers);
    put32(second + segment->tcp + TCP_SEQ, segment->seq + at);
    second[segment->tcp + TCP_FLAGS] &= (uint8_t)~RELAY_CWR;
    finish(second, segment, *second_length);
    return true;
}
