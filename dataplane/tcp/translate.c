/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The TCP checksum follows by RFC 1624: what was in a field is removed from the sum, what is there
 * now is added, both as the field is written. Options may begin at any offset, so unless they are
 * timestamps alone, where everybody puts them, their area is summed whole before and after (it is a
 * multiple of 4 bytes, at most 40); nothing else in the packet is read. */
#include "dataplane/tcp/translate.h"

#include <endian.h>
#include <string.h>

#include "dataplane/net/checksum.h"

enum { TTL_TO_BACKEND = 64, PROTOCOL_TCP = 6 };

void splice_addresses(struct splice *splice, const struct endpoint *service,
                      const struct endpoint *backend)
{
    uint16_t service_port = __builtin_bswap16(service->port),
             backend_port = __builtin_bswap16(backend->port);
    /* The v4-mapped prefix is the same on both sides, so both families sum alike. */
    uint16_t old = checksum_fold(checksum_add(service_port, &service->addr, sizeof service->addr));
    uint16_t new = checksum_fold(checksum_add(backend_port, &backend->addr, sizeof backend->addr));
    splice->to_backend_sum = checksum_fold((uint64_t) new + (uint16_t)~old);
    splice->to_client_sum = checksum_fold((uint64_t)old + (uint16_t) ~new);
}

/* What the options of one direction are changed by. */
struct option_change {
    uint32_t sack, tsval, tsecr; /* added to every edge, and to each timestamp */
};

static void add32(uint8_t *at, uint32_t delta)
{
    store32(at, load32(at) + delta);
}

static void change_option(const struct tcp_option *o, const struct option_change *change)
{
    switch (o->kind) {
    case OPTION_TIMESTAMPS:
        add32(o->data, change->tsval);
        add32(o->data + 4, change->tsecr);
        return;
    case OPTION_SACK:
        for (uint8_t at = 0; at + 4 <= o->length; at = (uint8_t)(at + 4))
            add32(o->data + at, change->sack);
        return;
    default: memset(o->start, OPTION_NOP, (size_t)o->length + 2);
    }
}

/* What a checksum changes by: a sum of what is added, and of the complements of what is removed. A
 * few words are added plainly; what they carry beyond 32 bits has room. */

/* Puts a new value into a 32-bit word that stands at an even offset. */
static inline void replace32(uint8_t *at, uint32_t value, uint64_t *change)
{
    uint32_t old;
    memcpy(&old, at, 4);
    value = htobe32(value);
    memcpy(at, &value, 4);
    *change += (uint64_t)value + ~old;
}

/* The same of a 16-bit word, as it is in memory. */
static inline void replace16(uint8_t *at, uint16_t value, uint64_t *change)
{
    uint16_t old;
    memcpy(&old, at, 2);
    memcpy(at, &value, 2);
    *change += (uint64_t)value + (uint16_t)~old;
}

static inline void update_checksum(uint8_t *field, uint64_t change)
{
    uint16_t sum;
    memcpy(&sum, field, 2);
    sum = (uint16_t)~checksum_fold(checksum_plus(change, (uint16_t)~sum));
    memcpy(field, &sum, 2);
}

/* Options behind "end of list" are made NOPs too: a receiver must not read them, but an odd one
 * might. */
static void change_any_options(uint8_t *at, uint32_t length, const struct option_change *change,
                               uint64_t *sum)
{
    struct tcp_option_iterator it = {at, at + length, false};
    struct tcp_option o;
    uint64_t removed = checksum_add(0, at, length);
    while (tcp_option_next(&it, &o))
        change_option(&o, change);
    if (it.at < it.end)
        memset(it.at, OPTION_NOP, (size_t)(it.end - it.at));
    *sum = checksum_plus(checksum_add(*sum, at, length), ~removed);
}

static inline void change_options(uint8_t *tcp, uint32_t header, const struct option_change *change,
                                  uint64_t *sum)
{
    enum { NOPS_TIMESTAMPS = OPTION_NOP << 24 | OPTION_NOP << 16 | OPTION_TIMESTAMPS << 8 | 10 };
    uint8_t *at = tcp + TCP_HEADER;
    uint32_t length = header - TCP_HEADER;
    if (length == 12 && load32(at) == NOPS_TIMESTAMPS) {
        replace32(at + 4, load32(at + 4) + change->tsval, sum);
        replace32(at + 8, load32(at + 8) + change->tsecr, sum);
    } else if (length != 0) {
        change_any_options(at, length, change, sum);
    }
}

/* Flags and window. The urgent pointer is meaningless to HTTP and a way to hide a byte from a
 * scanner: flag and pointer go. */
static inline void change_control(uint8_t *tcp, uint16_t window, uint64_t *change)
{
    uint32_t control = load32(tcp + 12) & ~(UINT32_C(0xffff) | (uint32_t)TCP_URG << 16);
    replace32(tcp + 12, control | window, change);
    replace16(tcp + 18, 0, change);
}

/* Replaces an IPv4 address and the TTL with the header's checksum following, or an IPv6 address and
 * hop limit. */
static inline void change_ip(uint8_t *ip, bool v4, uint32_t offset, const struct addr *to,
                             uint8_t ttl)
{
    if (!v4) {
        ip[7] = ttl;
        memcpy(ip + offset, to, 16);
        return;
    }
    uint64_t change = 0;
    replace16(ip + 8, htobe16((uint16_t)(ttl << 8 | ip[9])), &change); /* and the protocol */
    replace32(ip + offset, be32toh(addr_v4(to)), &change);
    update_checksum(ip + 10, change);
}

void translate_to_backend(uint8_t *frame, const struct packet *packet, const struct splice *splice,
                          const struct endpoint *backend)
{
    uint8_t *tcp = frame + packet->l4;
    uint64_t sum = splice->to_backend_sum;
    const struct option_change change = {.sack = -splice->seq_delta, .tsecr = -splice->ts_delta};
    change_ip(frame + packet->l3, packet->v4, packet->v4 ? 16 : 24, &backend->addr, TTL_TO_BACKEND);
    store16(tcp + 2, backend->port);
    if (packet->flags & TCP_ACK)
        replace32(tcp + 8, packet->ack - splice->seq_delta, &sum);
    change_control(
        tcp, translate_window(packet->window, splice->scale_of_client, splice->scale_told_backend),
        &sum);
    change_options(tcp, (uint32_t)(packet->payload - packet->l4), &change, &sum);
    update_checksum(tcp + 16, sum);
}

void translate_cut(uint8_t *frame, struct packet *packet, uint32_t seq, uint16_t length, bool fin)
{
    uint8_t *ip = frame + packet->l3, *tcp = frame + packet->l4;
    packet->seq = seq;
    packet->length = length;
    packet->end = (uint16_t)(packet->payload + length);
    packet->flags &= (uint8_t) ~(fin ? 0 : TCP_FIN);
    store32(tcp + 4, seq);
    tcp[13] &= (uint8_t) ~(fin ? 0 : TCP_FIN);
    if (packet->v4) {
        uint64_t change = 0;
        replace16(ip + 2, htobe16((uint16_t)(packet->end - packet->l3)), &change);
        update_checksum(ip + 10, change);
    } else {
        store16(ip + 4, (uint16_t)(packet->end - packet->l3 - IPV6_HEADER));
    }
    uint32_t total = (uint32_t)(packet->end - packet->l4);
    memset(tcp + 16, 0, 2);
    uint64_t sum = checksum_pseudo(&packet->source, &packet->destination, PROTOCOL_TCP, total);
    uint16_t field = (uint16_t)~checksum_fold(checksum_add(sum, tcp, total));
    memcpy(tcp + 16, &field, 2);
}

void translate_to_client(uint8_t *frame, const struct packet *packet, const struct splice *splice,
                         const struct endpoint *service)
{
    uint8_t *ip = frame + packet->l3, *tcp = frame + packet->l4;
    uint64_t sum = splice->to_client_sum;
    const struct option_change change = {.tsval = splice->ts_delta};
    uint8_t ttl = ip[packet->v4 ? 8 : 7];
    change_ip(ip, packet->v4, packet->v4 ? 12 : 8, &service->addr,
              ttl > 1 ? (uint8_t)(ttl - 1) : 1);
    store16(tcp, service->port);
    replace32(tcp + 4, packet->seq + splice->seq_delta, &sum);
    change_control(
        tcp, translate_window(packet->window, splice->scale_of_backend, splice->scale_told_client),
        &sum);
    change_options(tcp, (uint32_t)(packet->payload - packet->l4), &change, &sum);
    update_checksum(tcp + 16, sum);
}
