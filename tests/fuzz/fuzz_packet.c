/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The packet parser: any bytes give a verdict, no byte behind the frame is read, offsets of what is
 * accepted lie in order within it, and only frames whose checksums a plain sum finds right are
 * accepted. The first byte of the input says whether checksums are made right first and whether the
 * parser is told to trust them. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/net/packet.h"
#include "tests/unit/frames.h"

enum { REPAIR = 1, TRUST = 2 };

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* Right checksums for whatever looks like a whole TCP frame, so that the fuzzer gets behind them.
 */
static void repair(uint8_t *frame, size_t length)
{
    if (length < 54 || (frame_get16(frame + 12) != 0x0800 && frame_get16(frame + 12) != 0x86dd))
        return;
    const struct frame_map m = frame_map(frame);
    if (m.protocol == 6 && m.end <= length && m.l4 + 20 <= m.end)
        frame_fix_checksums(frame);
}

static void check_tcp(const uint8_t *frame, size_t length, const struct packet *p)
{
    check(p->l3 == ETHERNET_HEADER && p->l4 >= p->l3 + (p->v4 ? IPV4_HEADER : IPV6_HEADER));
    check(p->payload >= p->l4 + TCP_HEADER && p->payload <= p->l4 + TCP_HEADER + TCP_OPTIONS_MAX);
    check(p->payload <= p->end && p->end <= length && p->payload + p->length == p->end);
    check(p->source_port && p->destination_port);
    check(p->v4 == addr_is_v4(&p->source) && p->v4 == addr_is_v4(&p->destination));

    struct tcp_options options;
    const bool good = packet_options(frame, p, &options);
    check(good == frame_options_good(frame + p->l4 + TCP_HEADER,
                                     (size_t)(p->payload - p->l4 - TCP_HEADER)));
    check(options.window_scale <= 15);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const uint8_t how = *data;
    const size_t length = size - 1;
    uint8_t *frame = malloc(length ? length : 1); /* ends with the frame: the sanitizer watches */
    check(frame != NULL);
    memcpy(frame, data + 1, length);
    if (how & REPAIR)
        repair(frame, length);

    struct packet p, trusting;
    const enum verdict verdict = packet_parse(frame, (uint32_t)length, 0, &p);
    const enum verdict trusted =
        packet_parse(frame, (uint32_t)length, PACKET_IP_CHECKED | PACKET_TCP_CHECKED, &trusting);
    check(verdict < VERDICT_COUNT &&
          (verdict != VERDICT_FORWARDED || trusted == VERDICT_FORWARDED));
    check(verdict != VERDICT_FORWARDED || length >= 42); /* the shortest: ARP, or ICMP over IPv4 */
    if (verdict == VERDICT_FORWARDED && p.kind == PACKET_TCP)
        check(frame_checksums_good(frame));
    if (verdict == VERDICT_FORWARDED && p.kind == PACKET_ICMP6)
        check(frame_l4_sum(frame) == 0xffff);
    if (trusted == VERDICT_FORWARDED && trusting.kind == PACKET_TCP &&
        (verdict == trusted || how & TRUST))
        check_tcp(frame, length, &trusting);
    free(frame);
    return 0;
}
