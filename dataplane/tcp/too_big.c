/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Path MTU discovery through the gateway (RFC 1191, RFC 8201): a router's "too big" about a packet
 * of a flow is passed on to whoever sent the packet, in the sender's own numbers. Anyone can forge
 * one (tcp-pitfalls 29), so what it quotes must be a packet of ours in flight (RFC 5927
 * section 4.1), larger than the MTU that it names, and that no smaller than any link may have. What
 * goes on is written anew around the quoted IP header and TCP header: nothing else of the router's
 * message is passed on, nor any other ICMP error. It comes from an address that its receiver knows:
 * the service's towards clients, our own inside address towards backends. What we have acknowledged
 * ourselves is ours to send again in smaller segments; its sender is not told. */
#include "dataplane/net/checksum.h"
#include "dataplane/tcp/shard.h"

enum {
    ICMP_HEADER = 8,
    PROTOCOL_ICMP = 1,
    PROTOCOL_TCP = 6,
    PROTOCOL_ICMP6 = 58,
    LEAST_MTU_V4 = 576,  /* RFC 791's least datagram: less is an attack, or 0 of before RFC 1191 */
    LEAST_MTU_V6 = 1280, /* RFC 8200 section 5 */
    PORTS_AND_SEQ = 8,   /* of a TCP header, that every router quotes (RFC 792) */
    TTL = 64,
};

/** The packet that was too big, as far as it is quoted. Numbers and addresses are those of the side
 * on which the router is. */
struct quote {
    struct addr source, destination;
    uint16_t source_port, destination_port;
    uint32_t seq, mtu;
    uint32_t total;   /* length that the packet had */
    uint16_t ip, tcp; /* offsets of its headers within the frame */
    uint16_t length;  /* bytes of IP and TCP header to pass on */
};

static enum verdict read_quote(const uint8_t *frame, const struct packet *packet, struct quote *out)
{
    const uint32_t header = packet->v4 ? IPV4_HEADER : IPV6_HEADER;
    const uint32_t room = (uint32_t)(packet->end - packet->l4);
    const uint8_t *icmp = frame + packet->l4, *ip = icmp + ICMP_HEADER, *tcp = ip + header;
    if (room < ICMP_HEADER + header + PORTS_AND_SEQ)
        return VERDICT_ICMP_QUOTE;
    if (packet->v4) {
        enum { FRAGMENT_OFFSET = 0x1fff };
        uint32_t address;
        if (ip[0] != 0x45 || ip[9] != PROTOCOL_TCP || (load16(ip + 6) & FRAGMENT_OFFSET))
            return VERDICT_ICMP_QUOTE;
        memcpy(&address, ip + 12, 4);
        out->source = addr_from_v4(address);
        memcpy(&address, ip + 16, 4);
        out->destination = addr_from_v4(address);
        out->total = load16(ip + 2);
        out->mtu = load16(icmp + 6);
    } else {
        if (ip[0] >> 4 != 6 || ip[6] != PROTOCOL_TCP)
            return VERDICT_ICMP_QUOTE;
        out->source = addr_from_v6(ip + 8);
        out->destination = addr_from_v6(ip + 24);
        out->total = IPV6_HEADER + (uint32_t)load16(ip + 4);
        out->mtu = load32(icmp + 4);
    }
    out->source_port = load16(tcp);
    out->destination_port = load16(tcp + 2);
    out->seq = load32(tcp + 4);
    out->ip = (uint16_t)(packet->l4 + ICMP_HEADER);
    out->tcp = (uint16_t)(out->ip + header);
    out->length =
        (uint16_t)(header + (packet->end >= out->tcp + TCP_HEADER ? TCP_HEADER : PORTS_AND_SEQ));
    return VERDICT_FORWARDED;
}

/* The flow that the quoted packet belongs to, seen from the side that the router is on. */
static struct flow *find_flow(const struct shard *shard, enum port_side side,
                              const struct quote *quote)
{
    const struct services *services = shard->policy.services;
    if (side == OUTSIDE) {
        int service = policy_service(services, &quote->source, quote->source_port);
        if (service < 0)
            service = policy_leaving(services, &quote->source, quote->source_port);
        if (service < 0)
            return NULL;
        uint64_t hash = flow_hash(shard->flows, &quote->destination, quote->destination_port);
        return flow_find_outside(shard->flows, hash, &quote->destination, quote->destination_port,
                                 (uint16_t)service);
    }
    int backend = policy_backend(services, &quote->destination, quote->destination_port);
    if (backend < 0)
        return NULL;
    uint64_t hash = flow_hash(shard->flows, &quote->source, quote->source_port);
    return flow_find_inside(shard->flows, hash, &quote->source, quote->source_port,
                            (uint16_t)backend);
}

/* Whether the quoted packet has been sent and not been acknowledged: what a forger off the path
 * would have to guess. Until the backend has answered nothing is. Client numbers on either side:
 * the backend sees the client's own. */
static bool in_flight(const struct flow *flow, enum port_side side, uint32_t seq)
{
    const struct side *sender = side == OUTSIDE ? &flow->from_backend : &flow->from_client;
    const struct side *receiver = side == OUTSIDE ? &flow->from_client : &flow->from_backend;
    uint32_t end = sender->end;
    if (flow->state == FLOW_REFUSED && side == OUTSIDE)
        end = flow->scan.refused.at; /* what follows is ours, and fits through any link */
    return flow->state >= FLOW_ESTABLISHED && !seq_before(seq, receiver->acked) &&
           seq_before(seq, end) && flow->backend != BACKEND_NONE;
}

static bool mtu_plausible(const struct packet *packet, const struct quote *quote)
{
    uint32_t least = packet->v4 ? LEAST_MTU_V4 : LEAST_MTU_V6;
    return quote->mtu >= least && quote->mtu < quote->total;
}

static void update(uint8_t *field, uint64_t removed, uint64_t added)
{
    uint16_t sum;
    memcpy(&sum, field, 2);
    sum = checksum_update(sum, removed, added);
    memcpy(field, &sum, 2);
}

/* The quoted headers, as the packet's sender has written them: one endpoint, and the numbers of the
 * server's side. Their checksums follow what is changed here. */
static void translate_quote(uint8_t *quoted, const struct packet *packet, const struct quote *quote,
                            const struct flow *flow, const struct services *services,
                            enum port_side side)
{
    const struct endpoint *endpoint = side == OUTSIDE ? &services->backend[flow->backend].address
                                                      : &services->service[flow->service].listen;
    uint8_t *tcp = quoted + (quote->tcp - quote->ip);
    uint8_t *address = quoted + (packet->v4 ? 12 : 8), *port = tcp;
    const size_t size = packet->v4 ? 4 : 16;
    const bool whole = quote->length == (quote->tcp - quote->ip) + TCP_HEADER;
    if (side == INSIDE) {
        address += size;
        port += 2;
    }
    uint64_t removed = checksum_add(0, address, size), added;
    memcpy(address, endpoint->addr.bytes + sizeof endpoint->addr - size, size);
    added = checksum_add(0, address, size);
    if (packet->v4)
        update(quoted + 10, removed, added);
    removed = checksum_add(removed, tcp, whole ? 12 : 8);
    store16(port, endpoint->port);
    if (side == OUTSIDE)
        store32(tcp + 4, quote->seq - flow->splice.seq_delta);
    else if (whole)
        store32(tcp + 8, load32(tcp + 8) + flow->splice.seq_delta);
    if (whole)
        update(tcp + 16, removed, checksum_add(added, tcp, 12));
}

/* Writes IP and ICMP header in front of the quoted ones, which stand where they belong. */
static uint32_t write_message(uint8_t *ip, bool v4, const struct addr *source,
                              const struct addr *destination, const struct quote *quote)
{
    const uint32_t header = v4 ? IPV4_HEADER : IPV6_HEADER, length = ICMP_HEADER + quote->length;
    uint8_t *icmp = ip + header;
    uint64_t sum = 0;
    memset(ip, 0, header + ICMP_HEADER);
    if (v4) {
        ip[0] = 0x45;
        store16(ip + 2, (uint16_t)(header + length));
        ip[8] = TTL;
        ip[9] = PROTOCOL_ICMP;
        memcpy(ip + 12, &source->words[3], 4);
        memcpy(ip + 16, &destination->words[3], 4);
        update(ip + 10, 0, checksum_add(0, ip, header));
        icmp[0] = 3;
        icmp[1] = 4;
        store16(icmp + 6, (uint16_t)quote->mtu);
    } else {
        ip[0] = 0x60;
        store16(ip + 4, (uint16_t)length);
        ip[6] = PROTOCOL_ICMP6;
        ip[7] = TTL;
        memcpy(ip + 8, source, 16);
        memcpy(ip + 24, destination, 16);
        icmp[0] = 2;
        store32(icmp + 4, quote->mtu);
        sum = checksum_pseudo(source, destination, PROTOCOL_ICMP6, length);
    }
    uint16_t checksum = (uint16_t)~checksum_fold(checksum_add(sum, icmp, length));
    memcpy(icmp + 2, &checksum, 2);
    return header + length;
}

/* Over the frame in hand, and out on the other side. */
static void pass_on(struct shard *shard, struct frame *frame, const struct packet *packet,
                    const struct quote *quote, const struct flow *flow)
{
    const struct services *services = shard->policy.services;
    const struct backend *backend = &services->backend[flow->backend];
    enum port_side to = frame->side == OUTSIDE ? INSIDE : OUTSIDE;
    const struct mac *mac =
        to == INSIDE ? &shard->policy.neighbors->backend[flow->backend].mac : &flow->client_mac;
    const struct addr *source =
        to == INSIDE ? &backend->source : &services->service[flow->service].listen.addr;
    const struct addr *destination = to == INSIDE ? &backend->address.addr : &flow->client;
    uint8_t *ip = frame->bytes + ETHERNET_HEADER;
    uint8_t *quoted = ip + (packet->v4 ? IPV4_HEADER : IPV6_HEADER) + ICMP_HEADER;
    memmove(quoted, frame->bytes + quote->ip, quote->length);
    translate_quote(quoted, packet, quote, flow, services, (enum port_side)frame->side);
    memcpy(frame->bytes, mac, 6);
    memcpy(frame->bytes + 6, &shard->mac[to], 6);
    frame->length = ETHERNET_HEADER + write_message(ip, packet->v4, source, destination, quote);
    frame->to = (uint8_t)to;
}

enum verdict too_big(struct shard *shard, struct frame *frame, const struct packet *packet)
{
    const struct services *services = shard->policy.services;
    struct quote quote;
    if (!shard_addressed(shard, frame))
        return VERDICT_NOT_FOR_US;
    if (packet_bogon(&packet->source, packet->v4) ||
        (frame->side == OUTSIDE && policy_behind(services, &packet->source)))
        return VERDICT_BOGON;
    enum verdict verdict = read_quote(frame->bytes, packet, &quote);
    if (verdict != VERDICT_FORWARDED)
        return verdict;
    struct flow *flow = find_flow(shard, (enum port_side)frame->side, &quote);
    if (flow == NULL || !addr_equal(&packet->destination, &quote.source))
        return VERDICT_TOO_BIG_NO_FLOW;
    if (!in_flight(flow, (enum port_side)frame->side, quote.seq))
        return VERDICT_TOO_BIG_STALE;
    if (!mtu_plausible(packet, &quote))
        return VERDICT_TOO_BIG_MTU;
    if (frame->side == OUTSIDE && !shard->policy.neighbors->backend[flow->backend].known)
        return VERDICT_BACKEND_UNRESOLVED;
    if (!lease_take(&shard->lease[LEASE_TOO_BIGS], 1))
        return VERDICT_BUDGET;
    if (frame->side == INSIDE && flow->delivering &&
        deliver_too_big(shard, flow, quote.seq, quote.mtu))
        return VERDICT_TOO_BIG_OURS;
    pass_on(shard, frame, packet, &quote, flow);
    return VERDICT_TOO_BIG;
}
