/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The TCP checksum follows by RFC 1624: what was in a field is removed from the sum, what is there
 * now is added. Options may begin at any offset, so their area is summed whole before and after (it
 * is a multiple of 4 bytes, at most 40); nothing else in the packet is read. */
#include "dataplane/tcp/translate.h"

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

/* Rewrites the options; gives back what the checksum has to lose and to gain. Options behind "end
 * of list" are made NOPs too: a receiver must not read them, but an odd one might. */
static void change_options(uint8_t *tcp, uint32_t header, const struct option_change *change,
                           uint64_t *removed, uint64_t *added)
{
    uint32_t length = header - TCP_HEADER;
    if (length == 0)
        return;
    struct tcp_option_iterator it = {tcp + TCP_HEADER, tcp + header, false};
    struct tcp_option o;
    *removed = checksum_add(*removed, it.at, length);
    while (tcp_option_next(&it, &o))
        change_option(&o, change);
    if (it.at < it.end)
        memset(it.at, OPTION_NOP, (size_t)(it.end - it.at));
    *added = checksum_add(*added, tcp + TCP_HEADER, length);
}

/* The urgent pointer is meaningless to HTTP and a way to hide a byte from a scanner: flag and
 * pointer go. */
static void strip_urgent(uint8_t *tcp)
{
    tcp[13] &= (uint8_t)~TCP_URG;
    tcp[18] = 0;
    tcp[19] = 0;
}

static void update_checksum(uint8_t *field, uint64_t removed, uint64_t added)
{
    uint16_t sum;
    memcpy(&sum, field, 2);
    sum = checksum_update(sum, removed, added);
    memcpy(field, &sum, 2);
}

/* Replaces an IPv4 address and the TTL with the header's checksum following, or an IPv6 address and
 * hop limit. */
static void change_ip(uint8_t *ip, bool v4, uint32_t offset, const struct addr *to, uint8_t ttl)
{
    if (!v4) {
        ip[7] = ttl;
        memcpy(ip + offset, to, 16);
        return;
    }
    uint64_t removed = checksum_add(0, ip + 8, 2);
    removed = checksum_add(removed, ip + offset, 4);
    ip[8] = ttl;
    memcpy(ip + offset, &to->words[3], 4);
    uint64_t added = checksum_add(0, ip + 8, 2);
    update_checksum(ip + 10, removed, checksum_add(added, ip + offset, 4));
}

void translate_to_backend(uint8_t *frame, const struct packet *packet, const struct splice *splice,
                          const struct endpoint *backend)
{
    uint8_t *tcp = frame + packet->l4;
    uint64_t removed = checksum_add(0, tcp + 8, 8),
             added = splice->to_backend_sum; /* ack, flags, window */
    removed = checksum_add(removed, tcp + 18, 2);
    const struct option_change change = {.sack = -splice->seq_delta, .tsecr = -splice->ts_delta};
    change_ip(frame + packet->l3, packet->v4, packet->v4 ? 16 : 24, &backend->addr, TTL_TO_BACKEND);
    store16(tcp + 2, backend->port);
    if (packet->flags & TCP_ACK)
        store32(tcp + 8, packet->ack - splice->seq_delta);
    store16(tcp + 14,
            translate_window(packet->window, splice->scale_of_client, splice->scale_told_backend));
    strip_urgent(tcp);
    change_options(tcp, (uint32_t)(packet->payload - packet->l4), &change, &removed, &added);
    update_checksum(tcp + 16, removed,
                    checksum_add(added, tcp + 8, 8)); /* the zero pointer adds nothing */
}

void translate_cut(uint8_t *frame, struct packet *packet, uint32_t seq, uint16_t length)
{
    uint8_t *ip = frame + packet->l3, *tcp = frame + packet->l4;
    packet->seq = seq;
    packet->length = length;
    packet->end = (uint16_t)(packet->payload + length);
    packet->flags &= (uint8_t)~TCP_FIN;
    store32(tcp + 4, seq);
    tcp[13] &= (uint8_t)~TCP_FIN;
    if (packet->v4) {
        uint64_t removed = checksum_add(0, ip + 2, 2);
        store16(ip + 2, (uint16_t)(packet->end - packet->l3));
        update_checksum(ip + 10, removed, checksum_add(0, ip + 2, 2));
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
    uint64_t removed = checksum_add(0, tcp + 4, 12),
             added = splice->to_client_sum; /* seq, ack, flags, window */
    removed = checksum_add(removed, tcp + 18, 2);
    const struct option_change change = {.tsval = splice->ts_delta};
    uint8_t ttl = ip[packet->v4 ? 8 : 7];
    change_ip(ip, packet->v4, packet->v4 ? 12 : 8, &service->addr,
              ttl > 1 ? (uint8_t)(ttl - 1) : 1);
    store16(tcp, service->port);
    store32(tcp + 4, packet->seq + splice->seq_delta);
    store16(tcp + 14,
            translate_window(packet->window, splice->scale_of_backend, splice->scale_told_client));
    strip_urgent(tcp);
    change_options(tcp, (uint32_t)(packet->payload - packet->l4), &change, &removed, &added);
    update_checksum(tcp + 16, removed, checksum_add(added, tcp + 4, 12));
}
