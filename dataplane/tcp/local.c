/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What a host must answer for its own addresses: ARP (RFC 826), neighbour discovery (RFC 4861) and
 * echo (RFC 792, RFC 4443). Answers to our own questions are handed to the control thread, which
 * keeps the neighbours. */
#include "dataplane/net/checksum.h"
#include "dataplane/tcp/shard.h"

enum { ND_TTL = 255, ND_LEAST = 24, ECHO_TTL = 64 };

static const struct addr all_nodes = {.bytes = {0xff, 0x02, [15] = 1}};

/* Only backends' next hops are kept. Of others nothing is told: whoever is on the outside's link
 * could fill the ring with it, and what backends say would be lost. */
static void tell_neighbor(struct shard *shard, const struct frame *frame, int kind,
                          const struct addr *addr, const uint8_t *mac)
{
    if (frame->side != INSIDE)
        return;
    struct message message = {.kind = kind, .side = frame->side, .addr = *addr};
    memcpy(&message.mac, mac, sizeof message.mac);
    shard->output.tell(shard->output.context, &message);
}

/* Whether a backend's packets go to that address, and by another link-layer address so far. */
static bool is_news(const struct shard *shard, const struct addr *addr, const uint8_t *mac)
{
    const struct services *services = shard->policy.services;
    const struct neighbors *neighbors = shard->policy.neighbors;
    for (uint32_t i = 0; i < services->backend_count; i++)
        if (services->backend[i].presence != ABSENT && neighbors->backend[i].known &&
            addr_equal(&services->backend[i].next_hop, addr) &&
            memcmp(&neighbors->backend[i].mac, mac, sizeof neighbors->backend[i].mac) != 0)
            return true;
    return false;
}

/* All hosts of a link are told that an address has moved, as when a router takes over from another;
 * and who asks for our address gives its own with it. Anybody can say so: it is a reason to ask,
 * and no more. However much is said, the ring to the control thread has room for the rest. */
static void note_news(struct shard *shard, const struct frame *frame, const struct addr *addr,
                      const uint8_t *mac)
{
    enum { NEWS_PER_SECOND = 256 };
    if (shard->now_ms - shard->news_since_ms >= 1000) {
        shard->news_since_ms = shard->now_ms;
        shard->news = 0;
    }
    if (frame->side == INSIDE && shard->news < NEWS_PER_SECOND && is_news(shard, addr, mac)) {
        shard->news++;
        tell_neighbor(shard, frame, MESSAGE_NEIGHBOR_NEWS, addr, mac);
    }
}

enum verdict local_arp(struct shard *shard, struct frame *frame, const struct packet *packet)
{
    const uint8_t *arp = frame->bytes + packet->l3;
    uint32_t v4;
    if (load16(arp) != 1 || load16(arp + 2) != ETHERTYPE_IPV4 || arp[4] != 6 || arp[5] != 4)
        return VERDICT_NOT_FOR_US;
    memcpy(&v4, arp + 14, 4);
    struct addr sender = addr_from_v4(v4);
    memcpy(&v4, arp + 24, 4);
    struct addr target = addr_from_v4(v4);
    if (!policy_own(shard->policy.services, frame->side, &target)) {
        if (addr_equal(&sender, &target))
            note_news(shard, frame, &sender, arp + 8);
        return VERDICT_NOT_FOR_US;
    }
    if (load16(arp + 6) == 2) {
        tell_neighbor(shard, frame, MESSAGE_NEIGHBOR, &sender, arp + 8);
        return VERDICT_NEIGHBOR;
    }
    if (load16(arp + 6) != 1 || (arp[8] & 1)) /* an answer to a group would go to everybody */
        return VERDICT_NOT_FOR_US;
    struct mac asker;
    note_news(shard, frame, &sender, arp + 8);
    memcpy(&asker, arp + 8, sizeof asker);
    frame->length =
        build_arp(frame->bytes, frame->room, 2, &shard->mac[frame->side], &target, &asker, &sender);
    frame->to = frame->length ? frame->side : PORT_NONE;
    return VERDICT_ARP_ANSWERED;
}

enum link_address { SOURCE_LINK_ADDRESS = 1, TARGET_LINK_ADDRESS = 2 };

/* The link-layer address that a solicitation or an advertisement gives, or NULL (RFC 4861 section
 * 4.6.1). */
static const uint8_t *link_address(enum link_address option, const struct frame *frame,
                                   const struct packet *packet)
{
    const uint8_t *at = frame->bytes + packet->l4 + ND_LEAST, *end = frame->bytes + packet->end;
    while (end - at >= 8) {
        ptrdiff_t length = (ptrdiff_t)at[1] * 8;
        if (length == 0 || length > end - at)
            return NULL;
        if (at[0] == option)
            return at + 2;
        at += length;
    }
    return NULL;
}

/* A solicitation for one of our addresses. From "::" it is duplicate address detection: answered to
 * all nodes. */
static enum verdict answer_solicitation(struct shard *shard, struct frame *frame,
                                        const struct packet *packet)
{
    static const struct mac all_nodes_mac = {{0x33, 0x33, 0, 0, 0, 1}};
    static const struct addr unspecified;
    struct addr target = addr_from_v6(frame->bytes + packet->l4 + 8);
    if (!policy_own(shard->policy.services, frame->side, &target))
        return VERDICT_NOT_FOR_US;
    bool detection = addr_equal(&packet->source, &unspecified);
    if (!detection && packet_bogon(&packet->source, false))
        return VERDICT_BOGON;
    const uint8_t *mac = link_address(SOURCE_LINK_ADDRESS, frame, packet);
    if (mac != NULL)
        note_news(shard, frame, &packet->source, mac);
    struct mac asker;
    memcpy(&asker, frame->bytes + 6, sizeof asker);
    frame->length = build_advertisement(frame->bytes, frame->room, &shard->mac[frame->side],
                                        &target, detection ? &all_nodes_mac : &asker,
                                        detection ? &all_nodes : &packet->source, !detection);
    frame->to = frame->length ? frame->side : PORT_NONE;
    return VERDICT_ND_ANSWERED;
}

/* An answer to us, or what a host tells all others unasked (RFC 4861 section 7.2.6). */
static enum verdict note_advertisement(struct shard *shard, const struct frame *frame,
                                       const struct packet *packet)
{
    enum { SOLICITED = 0x40 };
    const uint8_t *icmp = frame->bytes + packet->l4;
    const uint8_t *mac = link_address(TARGET_LINK_ADDRESS, frame, packet);
    if (mac == NULL)
        return VERDICT_NOT_FOR_US;
    struct addr target = addr_from_v6(icmp + 8);
    if (addr_equal(&packet->destination, &all_nodes) && !(icmp[4] & SOLICITED)) {
        note_news(shard, frame, &target, mac);
        return VERDICT_NOT_FOR_US;
    }
    if (!policy_own(shard->policy.services, frame->side, &packet->destination))
        return VERDICT_NOT_FOR_US;
    tell_neighbor(shard, frame, MESSAGE_NEIGHBOR, &target, mac);
    return VERDICT_NEIGHBOR;
}

/* Swaps the addresses and turns request into reply. Swapping does not change a sum; type and TTL
 * do. */
static enum verdict answer_echo(struct shard *shard, struct frame *frame,
                                const struct packet *packet, uint8_t reply)
{
    if (!policy_own(shard->policy.services, frame->side, &packet->destination) ||
        packet_bogon(&packet->source, packet->v4) || !shard_addressed(shard, frame))
        return VERDICT_NOT_FOR_US;
    uint8_t listed;
    if (shard->lists != NULL && frame->side == OUTSIDE &&
        admission_source(shard, &packet->source, packet->v4, &listed) != VERDICT_FORWARDED)
        return VERDICT_DENIED;
    if (!lease_take(&shard->lease[LEASE_ECHOES], 1))
        return VERDICT_BUDGET;
    uint8_t *ip = frame->bytes + packet->l3, *icmp = frame->bytes + packet->l4;
    uint64_t removed = checksum_add(0, icmp, 2);
    uint16_t sum;
    icmp[0] = reply;
    memcpy(&sum, icmp + 2, 2);
    sum = checksum_update(sum, removed, checksum_add(0, icmp, 2));
    memcpy(icmp + 2, &sum, 2);
    if (packet->v4) {
        removed = checksum_add(0, ip + 8, 2);
        ip[8] = ECHO_TTL;
        memcpy(&sum, ip + 10, 2);
        sum = checksum_update(sum, removed, checksum_add(0, ip + 8, 2));
        memcpy(ip + 10, &sum, 2);
        memcpy(ip + 12, &packet->destination.words[3], 4);
        memcpy(ip + 16, &packet->source.words[3], 4);
    } else {
        ip[7] = ECHO_TTL;
        memcpy(ip + 8, &packet->destination, 16);
        memcpy(ip + 24, &packet->source, 16);
    }
    memcpy(frame->bytes, frame->bytes + 6, 6);
    memcpy(frame->bytes + 6, &shard->mac[frame->side], 6);
    frame->length = packet->end;
    frame->to = frame->side;
    return VERDICT_ECHO_ANSWERED;
}

/* RFC 792; a redirect is none: it says something to hosts. */
static bool is_error4(uint8_t type)
{
    enum { UNREACHABLE = 3, SOURCE_QUENCH = 4, TIME_EXCEEDED = 11, PARAMETER_PROBLEM = 12 };
    return type == UNREACHABLE || type == SOURCE_QUENCH || type == TIME_EXCEEDED ||
           type == PARAMETER_PROBLEM;
}

static enum verdict error4(struct shard *shard, struct frame *frame, const struct packet *packet)
{
    enum { UNREACHABLE = 3, FRAGMENTATION_NEEDED = 4 };
    const uint8_t *icmp = frame->bytes + packet->l4;
    return icmp[0] == UNREACHABLE && icmp[1] == FRAGMENTATION_NEEDED ? too_big(shard, frame, packet)
                                                                     : VERDICT_ICMP_ERROR;
}

enum verdict local_icmp(struct shard *shard, struct frame *frame, const struct packet *packet)
{
    enum {
        ECHO4 = 8,
        ECHO4_REPLY = 0,
        TOO_BIG6 = 2,
        LAST_ERROR6 = 127,
        ECHO6 = 128,
        ECHO6_REPLY = 129,
        SOLICITATION = 135,
        ADVERTISEMENT = 136
    };
    uint8_t type = frame->bytes[packet->l4];
    if (packet->v4) {
        if (type == ECHO4)
            return answer_echo(shard, frame, packet, ECHO4_REPLY);
        return is_error4(type) ? error4(shard, frame, packet) : VERDICT_ICMP_OTHER;
    }
    if (type == TOO_BIG6)
        return too_big(shard, frame, packet);
    if (type <= LAST_ERROR6)
        return VERDICT_ICMP_ERROR;
    if (type == ECHO6)
        return answer_echo(shard, frame, packet, ECHO6_REPLY);
    if (type != SOLICITATION && type != ADVERTISEMENT)
        return VERDICT_ICMP_OTHER;
    /* A hop limit below 255 has crossed a router: not our neighbour (RFC 4861 section 7.1). */
    if (packet->end - packet->l4 < ND_LEAST || frame->bytes[packet->l3 + 7] != ND_TTL ||
        frame->bytes[packet->l4 + 1] != 0)
        return VERDICT_BAD_ICMP;
    return type == SOLICITATION ? answer_solicitation(shard, frame, packet)
                                : note_advertisement(shard, frame, packet);
}
