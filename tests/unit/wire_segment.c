/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Segments as frames and back, for the bench and for the model endpoints: by code of its own, so
 * that the gateway's is not tested by itself. */
#include <string.h>

#include "tests/unit/wire.h"
#include "tests/unit/wire_must.h"

static uint8_t *put_option(uint8_t *at, uint8_t kind, uint8_t length)
{
    at[0] = kind;
    at[1] = length;
    return at + 2;
}

/* Every option that the segment has, in no stack's order, padded with NOPs in front. */
static size_t write_options(uint8_t *out, const struct wire_segment *s)
{
    uint8_t bytes[128], *at = bytes;
    if (s->options.timestamps) {
        at = put_option(at, OPTION_TIMESTAMPS, 10);
        frame_put32(at, s->options.tsval);
        frame_put32(at + 4, s->options.tsecr);
        at += 8;
    }
    if (s->options.mss) {
        at = put_option(at, OPTION_MSS, 4);
        frame_put16(at, s->options.mss);
        at += 2;
    }
    if (s->options.window_scale != COOKIE_NO_SCALE) {
        at = put_option(at, OPTION_SCALE, 3);
        *at++ = s->options.window_scale;
    }
    if (s->options.sack_ok)
        at = put_option(at, OPTION_SACK_OK, 2);
    if (s->sack_edges) {
        at = put_option(at, OPTION_SACK, (uint8_t)(2 + 4 * s->sack_edges));
        for (int i = 0; i < s->sack_edges; i++, at += 4)
            frame_put32(at, s->sack[i]);
    }
    memcpy(at, s->extra, s->extra_length);
    at += s->extra_length;
    const size_t length = (size_t)(at - bytes), pad = (4 - length % 4) % 4;
    MUST(length + pad <= TCP_OPTIONS_MAX);
    memset(out, OPTION_NOP, pad);
    memcpy(out + pad, bytes, length);
    return length + pad;
}

static void put_addr(uint8_t *out, const struct addr *a)
{
    if (addr_is_v4(a))
        memcpy(out, a->bytes + 12, 4);
    else
        memcpy(out, a->bytes, 16);
}

uint32_t wire_segment_write(uint8_t *out, const struct wire_segment *s)
{
    struct frame_tcp t = {
        .v6 = !addr_is_v4(&s->source),
        .source_port = s->source_port,
        .destination_port = s->destination_port,
        .seq = s->seq,
        .ack = s->ack,
        .window = s->window,
        .urgent = s->urgent,
        .flags = s->flags,
        .ttl = s->ttl,
        .payload = s->payload,
        .length = s->length,
    };
    memcpy(t.from, &s->from, 6);
    memcpy(t.to, &s->to, 6);
    put_addr(t.source, &s->source);
    put_addr(t.destination, &s->destination);
    t.options_length = write_options(t.options, s);
    return (uint32_t)frame_write(out, &t);
}

/* Only what a gateway may send: no other option has any business there. */
static void read_options(const uint8_t *at, const uint8_t *end, struct wire_segment *s)
{
    s->options = NO_OPTIONS;
    while (at < end) {
        if (*at == OPTION_NOP) {
            at++;
            continue;
        }
        MUST(end - at >= 2 && at[1] >= 2 && at[1] <= end - at);
        const uint8_t *data = at + 2;
        const uint8_t length = (uint8_t)(at[1] - 2);
        switch (*at) {
        case OPTION_MSS:
            MUST(length == 2);
            s->options.mss = frame_get16(data);
            break;
        case OPTION_SCALE:
            MUST(length == 1);
            s->options.window_scale = data[0];
            break;
        case OPTION_SACK_OK: s->options.sack_ok = true; break;
        case OPTION_SACK:
            MUST(length % 8 == 0);
            for (; s->sack_edges < length / 4; s->sack_edges++)
                s->sack[s->sack_edges] = frame_get32(data + (size_t)4 * s->sack_edges);
            break;
        case OPTION_TIMESTAMPS:
            MUST(length == 8);
            s->options.timestamps = true;
            s->options.tsval = frame_get32(data);
            s->options.tsecr = frame_get32(data + 4);
            break;
        default: MUST(false); /* an option that no gateway sends */
        }
        at += at[1];
    }
}

static struct addr get_addr(const uint8_t *at, bool v6)
{
    if (v6)
        return addr_from_v6(at);
    uint32_t v4;
    memcpy(&v4, at, 4);
    return addr_from_v4(v4);
}

struct wire_segment wire_segment_read(const uint8_t *frame, uint32_t length)
{
    const struct frame_map m = frame_map(frame);
    MUST(m.protocol == 6 && m.end == length);
    MUST(frame_checksums_good(frame));
    const uint8_t *ip = frame + 14, *tcp = frame + m.l4;
    const size_t header = (size_t)(tcp[12] / 16) * 4;
    struct wire_segment s = {
        .source = get_addr(ip + (m.v6 ? 8 : 12), m.v6),
        .destination = get_addr(ip + (m.v6 ? 24 : 16), m.v6),
        .source_port = frame_get16(tcp),
        .destination_port = frame_get16(tcp + 2),
        .seq = frame_get32(tcp + 4),
        .ack = frame_get32(tcp + 8),
        .flags = tcp[13],
        .window = frame_get16(tcp + 14),
        .urgent = frame_get16(tcp + 18),
        .ttl = ip[m.v6 ? 7 : 8],
        .payload = tcp + header,
        .length = (uint16_t)(m.end - m.l4 - header),
    };
    MUST(tcp[12] % 16 == 0 && header >= 20 && m.l4 + header <= m.end);
    memcpy(&s.to, frame, 6);
    memcpy(&s.from, frame + 6, 6);
    read_options(tcp + 20, tcp + header, &s);
    return s;
}
