/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Held bytes on their way to a backend that has answered: cut at its MSS, within its window, no
 * more at once than a new connection may send (RFC 6928). What we have acknowledged the client
 * cannot send again, so it is kept and resent until the backend's acknowledgement covers it
 * (tcp-pitfalls 26). Until then the client must not see that the backend is behind us: it is never
 * told an acknowledgement, a window's edge or a SACK block below what we have told it. What was not
 * acknowledged is sent once; after that its loss is the client's to repair, as ever. */
#include "dataplane/net/checksum.h"
#include "dataplane/tcp/shard.h"

enum {
    FLIGHT = 10, /* segments under way */
    RTO_MS = 200,
    RESENDS = 5,
    PROBES = 2, /* of those, at most so many count while a closed window answers */
    DEFAULT_MSS = 536,
    LEAST_MSS = 48, /* as Linux */
    TIMESTAMPS = 12
};

static uint32_t earlier(uint32_t a, uint32_t b)
{
    return seq_before(a, b) ? a : b;
}

static uint32_t later(uint32_t a, uint32_t b)
{
    return seq_before(a, b) ? b : a;
}

static uint16_t payload_per_segment(const struct shard *shard, const struct flow *flow,
                                    uint16_t mss)
{
    const struct limits *limits = shard->policy.limits;
    uint16_t most = addr_is_v4(&flow->client) ? limits->mss_v4 : limits->mss_v6;
    mss = mss == 0 ? DEFAULT_MSS : mss < LEAST_MSS ? LEAST_MSS : mss;
    mss = mss > most ? most : mss;
    return (uint16_t)(flow->timestamps ? mss - TIMESTAMPS : mss);
}

static void arm(struct shard *shard, const struct flow *flow, uint32_t delay_ms)
{
    wheel_set(shard->wheel, flow_index(shard->flows, flow), delay_ms);
}

/* In the client's name. What completes the handshake echoes no timestamp: the backend would take
 * the time from its SYN-ACK for the round trip to the client (opening_backend.c). 0 stands for no
 * echo with the receivers that there are, though RFC 7323 section 3.2 only says so of segments
 * without ACK. A backend that has answered by a cookie has to do without: backend_cookie.c. */
static struct segment towards_backend(const struct shard *shard, const struct flow *flow)
{
    struct segment segment = flow_to_backend(shard, flow);
    if (flow->state == FLOW_OPENING)
        segment.options.tsecr = 0;
    return segment;
}

/* Sends from entry->next up to `to`; the last piece replaces the frame in hand, if there is one. */
static void send_up_to(struct shard *shard, struct flow *flow, uint32_t to, struct frame *frame)
{
    struct held_entry *entry = held_at(shard->held, flow->held);
    uint32_t first = flow->client_isn + 1, front = reading_front(flow, entry);
    struct segment data = towards_backend(shard, flow);
    while (seq_before(entry->next, to)) {
        uint32_t left = to - entry->next;
        data.seq = entry->next;
        data.payload = entry->bytes + (entry->next - first);
        data.length = (uint16_t)(left < entry->backend_mss ? left : entry->backend_mss);
        entry->next += data.length;
        if (entry->next == front)
            data.flags |= (uint8_t)(TCP_PSH | (flow->held_fin ? TCP_FIN : 0));
        if (entry->next == to && frame != NULL)
            shard_replace(frame, INSIDE, &data);
        else
            shard_send(shard, INSIDE, &data);
    }
    /* A probe of a closed window may have been refused: it counts for what may be acknowledged, not
     * as sent. */
    entry->sent = later(entry->sent, earlier(entry->next, entry->edge));
    flow->from_client.end = later(flow->from_client.end, entry->next);
}

/* How far may be sent now: all that has not been sent yet, or what is owned. */
static uint32_t sendable(const struct flow *flow, const struct held_entry *entry)
{
    uint32_t front = reading_front(flow, entry);
    uint32_t to = seq_before(entry->sent, front) ? front : flow->owned_end;
    to = earlier(to, flow->from_backend.acked + FLIGHT * entry->backend_mss);
    return earlier(to, entry->edge);
}

static bool delivered(const struct flow *flow, const struct held_entry *entry)
{
    return !seq_before(flow->from_backend.acked, flow->owned_end) &&
           !seq_before(entry->sent, reading_front(flow, entry));
}

static void finish(struct shard *shard, struct flow *flow)
{
    flow->delivering = false;
    heads_set_aside(shard, flow);
    forward_watch(shard, flow);
}

void deliver_first(struct shard *shard, struct frame *frame, const struct packet *packet,
                   struct flow *flow, const struct tcp_options *options)
{
    struct held_entry *entry = held_at(shard->held, flow->held);
    uint32_t first = flow->client_isn + 1, front = reading_front(flow, entry);
    entry->backend_mss = payload_per_segment(shard, flow, options->mss);
    entry->edge = first + packet->window; /* not scaled in a SYN-ACK */
    entry->next = entry->sent = entry->covered = first;
    uint32_t to = sendable(flow, entry);
    /* A FIN goes along if everything before it does; else the client sends it again. */
    flow->held_fin = flow->held_fin && flow->from_client.fin == front + 1 && to == front;
    send_up_to(shard, flow, to, frame);
    if (to == first) {
        struct segment ack = towards_backend(shard, flow);
        shard_replace(frame, INSIDE, &ack);
    }
    if (flow->held_fin)
        flow->from_client.end = flow->from_client.fin;
    flow->state = flow->held_fin ? FLOW_CLIENT_FIN : FLOW_ESTABLISHED;
    flow->delivering = true;
    flow->after_last = flow->refusal != REFUSAL_NONE || scan_ended(&flow->scan);
    watch_asked(shard, flow);
    forward_begin(shard, flow);
    if (delivered(flow, entry))
        finish(shard, flow);
    else
        arm(shard, flow, RTO_MS);
}

/* What a segment says besides its bytes is for the backend all the same. */
static void pass_acknowledgement(struct shard *shard, struct flow *flow,
                                 const struct window_segment *segment)
{
    struct side *client = &flow->from_client, *backend = &flow->from_backend;
    uint32_t acked = client->acked, limit = backend->limit;
    struct window_segment bare = *segment;
    bare.seq = earlier(segment->seq, client->end);
    bare.length = 0;
    bare.flags = TCP_ACK;
    window_note(client, backend, &bare);
    if (segment->timestamps)
        flow->newest = later(flow->newest, segment->tsval);
    if (client->acked == acked && backend->limit == limit)
        return;
    struct segment ack = flow_to_backend(shard, flow);
    ack.seq = client->end;
    shard_send(shard, INSIDE, &ack);
}

enum verdict deliver_from_client(struct shard *shard, struct frame *frame, struct flow *flow,
                                 const struct window_segment *segment)
{
    const struct held_entry *entry = held_at(shard->held, flow->held);
    if (segment->length == 0 || (segment->flags & TCP_RST) ||
        !seq_before(segment->seq, reading_front(flow, entry)))
        return VERDICT_FORWARDED;
    if (segment->flags & TCP_ACK)
        pass_acknowledgement(shard, flow, segment);
    struct segment ack = flow_ack_to_client(shard, flow);
    shard_replace(frame, OUTSIDE, &ack);
    return VERDICT_REPEATED;
}

bool deliver_resets(const struct shard *shard, const struct flow *flow, uint32_t seq)
{
    return seq == flow->owned_end ||
           seq == reading_front(flow, held_at(shard->held, flow->held)) + flow->held_fin;
}

enum verdict deliver_from_backend(struct shard *shard, struct flow *flow,
                                  const struct window_segment *segment)
{
    struct held_entry *entry = held_at(shard->held, flow->held);
    uint32_t edge = segment->ack + segment->window;
    bool progress = seq_before(entry->covered, flow->from_backend.acked);
    if (!(segment->flags & TCP_ACK))
        return VERDICT_FORWARDED;
    entry->answered = true;
    if (seq_before(entry->edge, edge)) {
        entry->next = earlier(entry->next, entry->edge); /* what was a probe is sent again */
        entry->edge = edge;
        entry->tries = 0;
    } else if (!seq_before(segment->ack, entry->edge) && entry->tries > PROBES) {
        entry->tries = PROBES; /* asked and answered: no loss, nor is one lost probe the end */
    }
    entry->next = later(entry->next, flow->from_backend.acked);
    if (progress) {
        entry->covered = flow->from_backend.acked;
        entry->tries = 0;
    }
    uint32_t to = sendable(flow, entry);
    bool more = seq_before(entry->next, to);
    send_up_to(shard, flow, to, NULL);
    if (progress || more)
        arm(shard, flow, RTO_MS);
    uint32_t unit = UINT32_C(1) << flow->splice.scale_told_client;
    bool news = segment->length != 0 || (segment->flags & (TCP_FIN | TCP_RST)) ||
                !seq_before(segment->ack, flow->owned_end) ||
                !seq_before(edge, entry->announced + unit);
    if (delivered(flow, entry))
        finish(shard, flow);
    return news ? VERDICT_FORWARDED : VERDICT_ACK_COVERED;
}

/* SACK blocks at or below an acknowledgement speak of duplicates (RFC 2883), and these were ours.
 */
static void hide_sack(uint8_t *tcp, uint32_t header, uint32_t ack)
{
    struct tcp_option_iterator it = {tcp + TCP_HEADER, tcp + header, false};
    struct tcp_option o;
    while (tcp_option_next(&it, &o)) {
        bool below = false;
        if (o.kind != OPTION_SACK)
            continue;
        for (uint8_t at = 0; at + 4 <= o.length; at = (uint8_t)(at + 4))
            below |= !seq_before(ack, load32(o.data + at));
        if (below)
            memset(o.start, OPTION_NOP, (size_t)o.length + 2);
    }
}

/* Our acknowledgement, and a window that ends where the backend's does, but not before what the
 * client has been told already. */
static void raise_ack(uint8_t *tcp, struct held_entry *entry, const struct flow *flow,
                      const struct window_segment *segment)
{
    uint8_t scale = flow->splice.scale_told_client;
    uint32_t ack = flow->owned_end, edge = later(segment->ack + segment->window, entry->announced);
    uint32_t units = seq_before(ack, edge) ? (edge - ack) >> scale : 0;
    units += seq_before(ack + (units << scale), entry->announced);
    units = units > UINT16_MAX ? UINT16_MAX : units;
    store32(tcp + 8, ack);
    store16(tcp + 14, (uint16_t)units);
    entry->announced = later(entry->announced, ack + (units << scale));
}

void deliver_raise(struct shard *shard, uint8_t *frame, const struct packet *packet,
                   const struct flow *flow, const struct window_segment *segment)
{
    uint8_t *tcp = frame + packet->l4;
    uint32_t header = (uint32_t)(packet->payload - packet->l4), options = header - TCP_HEADER;
    if (!(segment->flags & TCP_ACK) || (segment->flags & TCP_RST))
        return;
    uint64_t removed = checksum_add(checksum_add(0, tcp + 8, 8), tcp + TCP_HEADER, options);
    if (flow->delivering && seq_before(segment->ack, flow->owned_end))
        raise_ack(tcp, held_at(shard->held, flow->held), flow, segment);
    hide_sack(tcp, header, flow_acknowledged(flow));
    uint64_t added = checksum_add(checksum_add(0, tcp + 8, 8), tcp + TCP_HEADER, options);
    uint16_t sum;
    memcpy(&sum, tcp + 16, sizeof sum);
    sum = checksum_update(sum, removed, added);
    memcpy(tcp + 16, &sum, sizeof sum);
}

bool deliver_too_big(struct shard *shard, struct flow *flow, uint32_t seq, uint32_t mtu)
{
    struct held_entry *entry = held_at(shard->held, flow->held);
    uint32_t header = addr_is_v4(&flow->client) ? IPV4_HEADER : IPV6_HEADER;
    uint32_t payload = mtu - header - TCP_HEADER - (flow->timestamps ? TIMESTAMPS : 0);
    if (payload < entry->backend_mss) { /* else another one of the same flight */
        entry->backend_mss = (uint16_t)payload;
        entry->next = flow->from_backend.acked;
        send_up_to(shard, flow, sendable(flow, entry), NULL);
        arm(shard, flow, RTO_MS);
    }
    return seq_before(seq, flow->owned_end);
}

void deliver_timeout(struct shard *shard, struct flow *flow)
{
    struct held_entry *entry = held_at(shard->held, flow->held);
    uint32_t from = flow->from_backend.acked;
    /* A backend whose window is closed is not lost as long as it says so. */
    bool waits = entry->answered && !seq_before(from, entry->edge);
    if (entry->tries >= RESENDS && !waits) {
        flow_reset_backend(shard, flow);
        flow_reset_client(shard, flow);
        flow_end(shard, flow, true);
        shard_count(shard, VERDICT_UNDELIVERED);
        return;
    }
    if (entry->tries < RESENDS)
        entry->tries++;
    entry->answered = false;
    entry->next = from;
    uint32_t to = earlier(from + entry->backend_mss, reading_front(flow, entry));
    to = earlier(to, later(entry->edge, from + 1)); /* a closed window is probed with a byte */
    send_up_to(shard, flow, to, NULL);
    arm(shard, flow, (uint32_t)RTO_MS << entry->tries);
}
