/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A frame is recognised by comparing it, sixteen bytes at a time, with what such a SYN looks like
 * where they are all the same. Then each of its fields stands at a place that is known beforehand.
 * The same functions serve both families: `v4` is a constant in each of their two callers. */
#include "dataplane/tcp/syn_lane.h"

#include "dataplane/net/checksum.h"

#define INLINE static inline __attribute__((always_inline))

enum {
    HEADER = SYN_LANE_HEADER,
    PROTOCOL_TCP = 6,
    CHUNK = 16,
    /* from the TCP header on */
    AT_DESTINATION_PORT = 2,
    AT_SEQ = 4,
    AT_ACK = 8,
    AT_CHECKSUM = 16,
    AT_MSS = 22,
    AT_TSVAL = 28,
    AT_TSECR = 32,
    AT_SCALE = 39,
    /* from the frame's beginning on */
    AT_IP_CHECKSUM = 24,
};

typedef uint64_t chunk __attribute__((vector_size(CHUNK)));

/* Bytes of a frame, and which of their bits count. */
struct layout {
    uint8_t wanted[SYN_LANE_V6_FRAME], mask[SYN_LANE_V6_FRAME];
};

#define ALL 0xff
/* MSS, SACK-permitted, timestamps, NOP, window scale, behind the offset of 40 bytes and the flags:
 * SYN alone, beside which only ECN's may be set. */
#define TCP_WANTED(l4)                                                                         \
    [(l4) + 12] = 0xa0, TCP_SYN, [(l4) + 20] = OPTION_MSS, 4, [(l4) + 24] = OPTION_SACK_OK, 2, \
            OPTION_TIMESTAMPS, 10, [(l4) + 36] = OPTION_NOP, OPTION_SCALE, 3
#define TCP_MASK(l4)                                                                    \
    [(l4) + 12] = 0xf0, 0x3f, [(l4) + 20] = ALL, ALL, [(l4) + 24] = ALL, ALL, ALL, ALL, \
            [(l4) + 36] = ALL, ALL, ALL

/* No options, no fragment (DF may be set), 60 bytes, TCP. */
static const struct layout v4_layout = {
    .wanted = {[12] = 0x08, 0x00, 0x45, [16] = 0, 60, [23] = PROTOCOL_TCP, TCP_WANTED(34)},
    .mask = {[12] = ALL, ALL, ALL, [16] = ALL, ALL, [20] = 0xbf, ALL, [23] = ALL, TCP_MASK(34)},
};
static const struct layout v6_layout = {
    .wanted = {[12] = 0x86, 0xdd, 0x60, [18] = 0, 40, PROTOCOL_TCP, TCP_WANTED(54)},
    .mask = {[12] = ALL, ALL, 0xf0, [18] = ALL, ALL, ALL, TCP_MASK(54)},
};

INLINE uint32_t frame_length(bool v4)
{
    return v4 ? SYN_LANE_V4_FRAME : SYN_LANE_V6_FRAME;
}

INLINE uint32_t l4_offset(bool v4)
{
    return frame_length(v4) - HEADER;
}

INLINE uint32_t source_offset(bool v4)
{
    return ETHERNET_HEADER + (v4 ? 12 : 8);
}

INLINE uint32_t destination_offset(bool v4)
{
    return ETHERNET_HEADER + (v4 ? 16 : 24);
}

INLINE uint16_t raw16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE uint32_t raw32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE uint64_t raw64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE chunk raw_chunk(const uint8_t *p)
{
    chunk v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE struct addr raw_addr(const uint8_t *p, bool v4)
{
    return v4 ? addr_from_v4(raw32(p)) : addr_from_v6(p);
}

/* ---- recognising ---- */

/* The last chunk overlaps the one before it. */
INLINE bool looks_like(const uint8_t *frame, const struct layout *layout, bool v4)
{
    const uint32_t length = frame_length(v4);
    chunk differing = {0};
#pragma GCC unroll 6
    for (uint32_t i = 0; i < length; i += CHUNK) {
        const uint32_t at = i + CHUNK <= length ? i : length - CHUNK;
        differing |=
            (raw_chunk(frame + at) ^ raw_chunk(layout->wanted + at)) & raw_chunk(layout->mask + at);
    }
    return (differing[0] | differing[1]) == 0;
}

/* Both checksums, each unless the port has verified it. */
INLINE bool is_intact(const uint8_t *frame, unsigned checked, bool v4)
{
    const uint8_t *l4 = frame + l4_offset(v4);
    uint64_t ip = 0xffff, tcp = htobe16(PROTOCOL_TCP) + (uint64_t)htobe16(HEADER);
    if (v4 && !(checked & PACKET_IP_CHECKED))
        ip = checksum_plus(
            checksum_plus(raw32(frame + destination_offset(v4)), raw64(frame + ETHERNET_HEADER)),
            raw64(frame + ETHERNET_HEADER + 8));
    if (checked & PACKET_TCP_CHECKED)
        return checksum_fold(ip) == 0xffff;
    for (uint32_t at = source_offset(v4); at < l4_offset(v4); at += 8)
        tcp = checksum_plus(tcp, raw64(frame + at));
    for (uint32_t at = 0; at < HEADER; at += 8)
        tcp = checksum_plus(tcp, raw64(l4 + at));
    return checksum_fold(ip) == 0xffff && checksum_fold(tcp) == 0xffff;
}

/* The answer of a service that may grant everything; false if this one may not. */
static bool prepare(struct syn_lane_service *service, const struct shard *shard, uint32_t target)
{
    const struct offer *offer = &shard->policy.offers->offer[target];
    const struct promise *promise = &offer->promise[0];
    const bool all = offer->mss != 0 && offer->sack && offer->timestamps &&
                     promise->window_scale != COOKIE_NO_SCALE;
    static const uint8_t nowhere[16];
    uint8_t frame[SEGMENT_HEADERS];
    struct segment answer = {
        .from = shard->mac[OUTSIDE],
        .source = service->address,
        .destination = service->v4 ? addr_from_v4(0) : addr_from_v6(nowhere),
        .source_port = be16toh(service->port),
        .window = shard->policy.limits->window,
        .flags = TCP_SYN | TCP_ACK,
        .options = {offer->mss, promise->window_scale, true, true, 0, 0},
    };
    if (!all || build_segment(frame, sizeof frame, &answer) != frame_length(service->v4))
        return false;
    memcpy(service->answer, frame, frame_length(service->v4));
    service->ip_sum = (uint16_t)~raw16(frame + AT_IP_CHECKSUM);
    service->tcp_sum = (uint16_t)~raw16(frame + l4_offset(service->v4) + AT_CHECKSUM);
    service->cookie_service = promise->cookie_service;
    return true;
}

/* Another service than those that the burst has spoken to. */
static __attribute__((noinline)) uint32_t add_service(struct syn_lane *lane,
                                                      const struct shard *shard,
                                                      const struct addr *address, uint16_t port,
                                                      bool v4)
{
    if (lane->services == SYN_LANE_SERVICES)
        return SYN_LANE_NONE;
    struct syn_lane_service *service = &lane->service[lane->services];
    if (addr_is_v4(address) != v4) /* by its v4-mapped address: a bogon */
        return SYN_LANE_NONE;
    const int target = policy_service(shard->policy.services, address, be16toh(port));
    *service = (struct syn_lane_service){.address = *address, .port = port, .v4 = v4};
    return target >= 0 && prepare(service, shard, (uint32_t)target) ? lane->services++
                                                                    : SYN_LANE_NONE;
}

INLINE uint32_t find_service(struct syn_lane *lane, const struct shard *shard, const uint8_t *frame,
                             bool v4)
{
    const struct addr address = raw_addr(frame + destination_offset(v4), v4);
    const uint16_t port = raw16(frame + l4_offset(v4) + AT_DESTINATION_PORT);
    for (uint32_t i = 0; i < lane->services; i++)
        if (lane->service[i].v4 == v4 && lane->service[i].port == port &&
            addr_equal(&lane->service[i].address, &address))
            return i;
    return add_service(lane, shard, &address, port, v4);
}

INLINE uint32_t takes(struct syn_lane *lane, const struct shard *shard, const struct frame *frame,
                      const struct layout *layout, bool v4)
{
    const uint8_t *bytes = frame->bytes;
    const uint32_t room = l4_offset(v4) + TCP_HEADER + TCP_OPTIONS_MAX; /* as for any answer */
    if (frame->room < room || !looks_like(bytes, layout, v4))
        return SYN_LANE_NONE;
    const struct addr source = raw_addr(bytes + source_offset(v4), v4);
    if (!frame_is_to(bytes, lane->to_us) || raw16(bytes + l4_offset(v4)) == 0 ||
        policy_forged(shard->policy.services, &source, v4) || !is_intact(bytes, frame->checked, v4))
        return SYN_LANE_NONE;
    return find_service(lane, shard, bytes, v4);
}

uint32_t syn_lane_takes_v4(struct syn_lane *lane, const struct shard *shard,
                           const struct frame *frame)
{
    return takes(lane, shard, frame, &v4_layout, true);
}

uint32_t syn_lane_takes_v6(struct syn_lane *lane, const struct shard *shard,
                           const struct frame *frame)
{
    return takes(lane, shard, frame, &v6_layout, false);
}

/* ---- answering ---- */

/* What the SYN's cookie and timestamp are made of. */
INLINE void add_cookie(struct cookie_lane *cookies, const struct syn_lane_service *service,
                       const uint8_t *frame, bool v4)
{
    const uint8_t *l4 = frame + l4_offset(v4);
    const struct cookie_tuple tuple = {raw_addr(frame + source_offset(v4), v4), load16(l4),
                                       load16(l4 + AT_DESTINATION_PORT), service->cookie_service};
    const struct addr own = raw_addr(frame + destination_offset(v4), v4);
    const struct cookie_options granted = {
        .mss_class = cookie_mss_class(load16(l4 + AT_MSS)),
        .window_scale = l4[AT_SCALE] > 14 ? 14 : l4[AT_SCALE],
        .sack = true,
    };
    cookie_lane_add(cookies, &tuple, &own, load32(l4 + AT_SEQ), granted);
}

/* Writes the answer over the SYN: the service's, and what is the client's. Everything that is read
 * of the SYN is read before anything is written. */
INLINE void write_answer(uint8_t *frame, const struct syn_lane_service *service, uint32_t cookie,
                         uint32_t tsval, bool v4)
{
    const struct addr client = raw_addr(frame + source_offset(v4), v4);
    const uint16_t port = raw16(frame + l4_offset(v4));
    const uint32_t ack = htobe32(load32(frame + l4_offset(v4) + AT_SEQ) + 1);
    const uint32_t echo = raw32(frame + l4_offset(v4) + AT_TSVAL);
    const uint64_t from = raw64(frame + 6); /* six bytes of it */
    const uint32_t from_first = (uint32_t)from, seq = htobe32(cookie), clock = htobe32(tsval);
    const uint16_t from_last = (uint16_t)(from >> 32);
    uint64_t sum = (uint64_t)service->tcp_sum + port + seq + ack + clock + echo;
    uint8_t *l4 = frame + l4_offset(v4);

    memcpy(frame, service->answer, frame_length(v4));
    memcpy(frame, &from_first, 4);
    memcpy(frame + 4, &from_last, 2);
    if (v4) {
        const uint64_t address = addr_v4(&client);
        const uint16_t ip = (uint16_t)~checksum_fold(service->ip_sum + address);
        memcpy(frame + AT_IP_CHECKSUM, &ip, 2);
        memcpy(frame + destination_offset(v4), &client.words[3], 4);
        sum += address;
    } else {
        memcpy(frame + destination_offset(v4), &client, sizeof client);
        sum = checksum_plus(checksum_plus(sum, client.quads[0]), client.quads[1]);
    }
    const uint16_t checksum = (uint16_t)~checksum_fold(sum);
    memcpy(l4 + AT_DESTINATION_PORT, &port, 2);
    memcpy(l4 + AT_SEQ, &seq, 4);
    memcpy(l4 + AT_ACK, &ack, 4);
    memcpy(l4 + AT_CHECKSUM, &checksum, 2);
    memcpy(l4 + AT_TSVAL, &clock, 4);
    memcpy(l4 + AT_TSECR, &echo, 4);
}

INLINE void answer_list(struct syn_lane *lane, struct shard *shard, struct frame *frames, bool v4)
{
    const struct syn_lane_list *list = &lane->list[v4];
    struct cookie_lane *cookies = &lane->cookies;
    cookie_lane_begin(cookies, shard->policy.keys, shard->unix_ms, v4);
    for (uint32_t i = 0; i < list->count; i++)
        add_cookie(cookies, &lane->service[list->service[i]], frames[list->number[i]].bytes, v4);
    cookie_lane_finish(cookies);
    for (uint32_t i = 0; i < list->count; i++) {
        struct frame *frame = &frames[list->number[i]];
        write_answer(frame->bytes, &lane->service[list->service[i]], cookies->cookie[i],
                     cookies->tsval[i], v4);
        frame->length = frame_length(v4);
        frame->to = OUTSIDE;
        frame->verdict = VERDICT_SYN_COOKIE;
    }
    shard->verdicts[VERDICT_SYN_COOKIE] += list->count;
}

void syn_lane_answer(struct syn_lane *lane, struct shard *shard, struct frame *frames)
{
    if (lane->list[1].count != 0)
        answer_list(lane, shard, frames, true);
    if (lane->list[0].count != 0)
        answer_list(lane, shard, frames, false);
}
