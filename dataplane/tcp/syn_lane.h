/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * SYNs as Linux and Android send them: untagged, without IP options or extension headers, with
 * those TCP options in that order, to a service that may grant all of them. A lane of a burst
 * answers them together, each by a copy of the service's answer into which the client's own numbers
 * are put. It is a short cut and nothing more: what it takes the general path (outside.c) answers
 * to the same bytes, and what it does not take goes that way.
 *
 * It keeps nothing from one burst to the next, and looks at no flow: a SYN is answered alike in
 * every state of its connection (states.c). One thread, the shard's. */
#ifndef DROPGATE_DATAPLANE_TCP_SYN_LANE_H
#define DROPGATE_DATAPLANE_TCP_SYN_LANE_H

#include "dataplane/tcp/cookie_words.h"
#include "dataplane/tcp/shard.h"

enum {
    SYN_LANE_SERVICES = 4,
    SYN_LANE_NONE = SYN_LANE_SERVICES,
    SYN_LANE_HEADER = TCP_HEADER + 20,
    SYN_LANE_V4_FRAME = ETHERNET_HEADER + IPV4_HEADER + SYN_LANE_HEADER,
    SYN_LANE_V6_FRAME = ETHERNET_HEADER + IPV6_HEADER + SYN_LANE_HEADER
};

/** One of the services to which a burst's SYNs are, and its answer. */
struct syn_lane_service {
    struct addr address;
    uint16_t port; /* in network byte order */
    bool v4;
    uint32_t cookie_service;
    uint8_t answer[SYN_LANE_V6_FRAME]; /* to nobody: all that is the client's is zero */
    uint16_t ip_sum, tcp_sum;          /* of that answer, as the complements of its checksums */
};

struct syn_lane {
    uint64_t to_us; /* shard_to_us */
    uint32_t services;
    struct syn_lane_service service[SYN_LANE_SERVICES];
    struct syn_lane_list {
        uint32_t count;
        uint8_t number[SHARD_BURST], service[SHARD_BURST];
    } list[2]; /* what is to be answered: IPv6, IPv4 */
    struct cookie_lane cookies;
};

static inline void syn_lane_begin(struct syn_lane *lane, const struct shard *shard)
{
    lane->to_us = shard_to_us(shard);
    lane->services = lane->list[0].count = lane->list[1].count = 0;
}

/** Whether the frame, from outside, is a well-formed SYN of that kind to a service, from whom
 * nobody could tell to be forged: as packet_parse and outside_sort would find. Returns which of the
 * lane's services, or SYN_LANE_NONE; nothing else is written. One for each length. */
uint32_t syn_lane_takes_v4(struct syn_lane *lane, const struct shard *shard,
                           const struct frame *frame);
uint32_t syn_lane_takes_v6(struct syn_lane *lane, const struct shard *shard,
                           const struct frame *frame);

static inline uint32_t syn_lane_takes(struct syn_lane *lane, const struct shard *shard,
                                      const struct frame *frame)
{
    switch (frame->length) {
    case SYN_LANE_V4_FRAME: return syn_lane_takes_v4(lane, shard, frame);
    case SYN_LANE_V6_FRAME: return syn_lane_takes_v6(lane, shard, frame);
    default: return SYN_LANE_NONE;
    }
}

/** The source of a frame that was taken. */
static inline struct addr syn_lane_source(const struct frame *frame, bool v4)
{
    uint32_t four;
    if (!v4)
        return addr_from_v6(frame->bytes + ETHERNET_HEADER + 8);
    memcpy(&four, frame->bytes + ETHERNET_HEADER + 12, sizeof four);
    return addr_from_v4(four);
}

/** Frame `number` of the burst, which was taken, is to be answered. */
static inline void syn_lane_add(struct syn_lane *lane, uint32_t number, uint32_t service)
{
    struct syn_lane_list *list = &lane->list[lane->service[service].v4];
    list->number[list->count] = (uint8_t)number;
    list->service[list->count++] = (uint8_t)service;
}

/** Answers all that was added, in place, and counts it. */
void syn_lane_answer(struct syn_lane *lane, struct shard *shard, struct frame *frames);

#endif
