/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Two counts of one stream: they part at the end of the last request. */
#include "dataplane/tcp/surplus.h"

#include "dataplane/net/checksum.h"

static uint32_t backends_count(const struct flow *flow, uint32_t seq)
{
    uint32_t last = flow->scan.next;
    if (!seq_before(last, seq))
        return seq;
    uint32_t count = surplus_count(flow);
    return seq_before(seq, last + count) ? last : seq - count;
}

void surplus_begin(struct flow *flow)
{
    flow->after_last = true;
    if (!flow->delivering) /* then all that was owned is acknowledged */
        flow->owned_end = flow->from_backend.acked;
}

void surplus_strip(const struct flow *flow, struct window_segment *s)
{
    const uint32_t from = s->seq, to = s->seq + s->length, last = flow->scan.next;
    if (!seq_before(last, to))
        return;
    if (seq_before(to, last + surplus_count(flow))) /* there was no end */
        s->flags &= (uint8_t)~TCP_FIN;
    s->seq = backends_count(flow, from);
    s->length = backends_count(flow, to) - s->seq;
    if ((s->flags & TCP_RST) && s->seq == last && seq_before(from, last + surplus_count(flow)))
        s->seq = last - 1;
}

bool surplus_discard(struct flow *flow, uint32_t length)
{
    if (length > SURPLUS_MOST - surplus_count(flow))
        return false;
    if (length != 0)
        flow->owned_end = flow->scan.next + surplus_count(flow) + length;
    return true;
}

void surplus_raise(uint8_t *frame, const struct packet *packet, const struct flow *flow,
                   const struct window_segment *segment)
{
    uint8_t *tcp = frame + packet->l4;
    uint32_t shown = surplus_shown(flow, segment->ack);
    if (!(segment->flags & TCP_ACK) || shown == segment->ack)
        return;
    uint64_t removed = checksum_add(0, tcp + 8, 4);
    store32(tcp + 8, shown);
    uint64_t added = checksum_add(0, tcp + 8, 4);
    uint16_t sum;
    memcpy(&sum, tcp + 16, sizeof sum);
    sum = checksum_update(sum, removed, added);
    memcpy(tcp + 16, &sum, sizeof sum);
}
