/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A client's segments before its backend has answered: bytes are kept by their offset, and the
 * gapless front is judged as it grows. As long as a head is incomplete the front is also
 * acknowledged, so that a client that waits for it goes on; from then on these bytes are ours to
 * deliver (tcp-pitfalls 26). Once it is complete nothing more is acknowledged: the backend will do
 * that, and what is lost until then the client sends again.
 *
 * Nobody may hold a place by sending slowly: an absolute time is given to a first head, and when
 * places are short, the oldest unfinished head of who has most is reset. */
#include "dataplane/tcp/reading.h"

#include "dataplane/tcp/shard.h"

static enum verdict judge_http(struct shard *shard, const struct gate_asker *asker,
                               struct scan *scan, uint32_t first, const uint8_t *bytes,
                               uint32_t judged, uint32_t length, struct refused_request *no)
{
    enum verdict verdict;
    uint32_t head;
    for (;;) {
        verdict = scan_segment(scan, first + judged, bytes + judged, length - judged, &head);
        if (head == 0)
            break;
        const uint32_t begins = scan->next - head;
        if (heads_judge(shard, asker, bytes + (begins - first), head, no) == VERDICT_FORWARDED)
            continue;
        if (scan->heads == 1)
            return no->why;
        scan->next = begins;
        scan->heads--;
        return VERDICT_FORWARDED;
    }
    if (verdict == VERDICT_AFTER_LAST) /* is not delivered: reading_front */
        return VERDICT_FORWARDED;
    if (verdict != VERDICT_FORWARDED)
        return verdict;
    return scan->heads ? VERDICT_FORWARDED : VERDICT_HEAD_INCOMPLETE;
}

static enum verdict judge_tls(const struct service *service, struct ja4_table *seen,
                              const uint8_t *bytes, uint32_t length, struct hello *hello)
{
    char fingerprint[JA4_TEXT];
    switch (hello_read(bytes, length, hello)) {
    case HELLO_MORE: return VERDICT_HEAD_INCOMPLETE;
    case HELLO_BAD: return VERDICT_TLS_MALFORMED;
    case HELLO_OK: break;
    }
    ja4_print(hello, fingerprint);
    ja4_count(seen, fingerprint);
    return service->names == NULL || names_allow(service->names, hello->name) ? VERDICT_FORWARDED
                                                                              : VERDICT_TLS_NAME;
}

enum verdict reading_judge(struct shard *shard, const struct gate_asker *asker, struct scan *scan,
                           uint32_t first, const uint8_t *bytes, uint32_t judged, uint32_t length,
                           struct refused_request *no)
{
    const struct service *service = &shard->policy.services->service[asker->service];
    no->why = VERDICT_FORWARDED;
    if (service->protocol == SERVICE_HTTP)
        return judge_http(shard, asker, scan, first, bytes, judged, length, no);
    enum verdict verdict = VERDICT_FORWARDED;
    struct hello hello;
    hello.name[0] = '\0';
    scan->next = first + length;
    if (scan->heads != 0)
        return VERDICT_FORWARDED;
    if (service->protocol == SERVICE_TLS)
        verdict = judge_tls(service, shard->hellos, bytes, length, &hello);
    if (verdict != VERDICT_FORWARDED)
        return verdict;
    const struct gate_head asked = {{"", 0}, {"", 0}, {hello.name, strlen(hello.name)}};
    verdict = gate_request(shard, asker, &asked, &no->refusal);
    if (verdict == VERDICT_FORWARDED)
        scan->heads = 1;
    return verdict;
}

void reading_alert(struct segment *answer)
{
    /* record: alert, TLS 1.2's version, 2 bytes; fatal, unrecognized_name (RFC 6066 section 3) */
    static const uint8_t alert[] = {21, 3, 3, 0, 2, 2, 112};
    answer->flags = TCP_PSH | TCP_FIN | TCP_ACK;
    answer->payload = alert;
    answer->length = sizeof alert;
}

uint32_t reading_front(const struct flow *flow, const struct held_entry *entry)
{
    uint32_t front = flow->client_isn + 1 + ranges_front(&entry->filled);
    return seq_before(flow->scan.next, front) ? flow->scan.next : front;
}

/* ---- places ---- */

static void evict(struct shard *shard, uint32_t index)
{
    struct flow *flow = flow_at(shard->flows, held_at(shard->held, index)->flow);
    flow_reset_both(shard, flow); /* a backend knows of a later head only */
    flow_end(shard, flow, true);
    shard_count(shard, VERDICT_HELD_EVICTED);
}

uint32_t reading_take(struct shard *shard, const struct addr *client, uint32_t length,
                      bool finished)
{
    enum held_size size = length > HELD_SMALL_BYTES ? HELD_LARGE : HELD_SMALL;
    uint32_t index = held_take(shard->held, size, client, finished);
    for (int i = 0; index == HELD_NONE && i < 2; i++) { /* one for the client, one for the size */
        uint32_t victim = held_victim(shard->held, size, client);
        if (victim == HELD_NONE)
            return HELD_NONE;
        evict(shard, victim);
        index = held_take(shard->held, size, client, finished);
    }
    return index;
}

/* The flow's own entry is a small one when it has to grow, so it is not the victim. */
struct held_entry *reading_room(struct shard *shard, struct flow *flow, uint32_t end)
{
    struct held_entry *entry = held_at(shard->held, flow->held);
    if (end <= entry->capacity || entry->size == HELD_LARGE)
        return entry;
    uint32_t grown = held_grow(shard->held, flow->held);
    if (grown == HELD_NONE) {
        uint32_t victim = held_victim(shard->held, HELD_LARGE, NULL);
        if (victim == HELD_NONE)
            return entry;
        evict(shard, victim);
        grown = held_grow(shard->held, flow->held);
    }
    flow->held = grown;
    return held_at(shard->held, grown);
}

/* ---- ends ---- */

/* Told in the client's own protocol, and closed. Its bytes are acknowledged: it waits for an
 * answer, not for us. Of that nothing is kept, so who has lost it is reset when it asks again. */
static enum verdict refuse_name(struct shard *shard, struct frame *frame, struct flow *flow)
{
    flow->owned_end = reading_front(flow, held_at(shard->held, flow->held));
    struct segment alert = flow_ack_to_client(shard, flow);
    reading_alert(&alert);
    shard_replace(frame, OUTSIDE, &alert);
    flow->from_client.end = flow->owned_end;
    flow->from_backend.end += alert.length + 1U;
    flow_end(shard, flow, true);
    return VERDICT_TLS_NAME;
}

static enum verdict refuse(struct shard *shard, struct flow *flow, enum verdict verdict)
{
    if (reading_malformed(verdict))
        flow_strike(shard, flow, STRIKE_MALFORMED);
    flow_reset_backend(shard, flow);
    flow_reset_client(shard, flow);
    flow_end(shard, flow, true);
    return verdict;
}

/* The client has said all that it will, and it is no request. Closed as it asks for it; who has
 * lost that is reset, likewise. */
static enum verdict close_unfinished(struct shard *shard, struct frame *frame, struct flow *flow)
{
    flow->owned_end = flow->from_client.fin;
    struct segment fin = flow_ack_to_client(shard, flow);
    fin.flags = TCP_FIN | TCP_ACK;
    shard_replace(frame, OUTSIDE, &fin);
    flow->from_client.end = flow->from_client.fin;
    flow->from_backend.end++;
    flow_end(shard, flow, true);
    return VERDICT_HEAD_INCOMPLETE;
}

void reading_timeout(struct shard *shard, struct flow *flow)
{
    flow_strike(shard, flow, STRIKE_SLOW);
    refuse(shard, flow, VERDICT_HEAD_TIMEOUT);
    shard_count(shard, VERDICT_HEAD_TIMEOUT);
}

/* ---- segments ---- */

enum verdict reading_acknowledge(struct shard *shard, struct frame *frame, struct flow *flow)
{
    flow->owned_end = reading_front(flow, held_at(shard->held, flow->held));
    flow->from_backend.acked = flow->owned_end;
    struct segment ack = flow_ack_to_client(shard, flow);
    shard_replace(frame, OUTSIDE, &ack);
    return VERDICT_READING;
}

/* The first request is refused. */
static enum verdict refuse_request(struct shard *shard, struct frame *frame, struct flow *flow,
                                   const struct refused_request *no)
{
    const uint32_t first = flow->client_isn + 1;
    uint32_t front = ranges_front(&held_at(shard->held, flow->held)->filled);
    bool fin = flow->held_fin && flow->from_client.fin == first + front + 1;
    refuse_alone(shard, frame, flow, no, front, fin, refuse_awaited(shard, &flow->scan, first, no));
    return no->why;
}

/* What becomes of a flow whose front has been judged. */
static enum verdict go_on(struct shard *shard, struct frame *frame, struct flow *flow,
                          const struct held_entry *entry, enum verdict verdict)
{
    uint32_t front = reading_front(flow, entry);
    if (verdict == VERDICT_TLS_NAME)
        return refuse_name(shard, frame, flow);
    if (verdict != VERDICT_FORWARDED && verdict != VERDICT_HEAD_INCOMPLETE)
        return refuse(shard, flow, verdict);
    if (flow->state == FLOW_OPENING)
        return VERDICT_HELD;
    if (verdict == VERDICT_FORWARDED)
        return opening_ask(shard, frame, flow);
    if (flow->held_fin && front + 1 == flow->from_client.fin)
        return close_unfinished(shard, frame, flow);
    if (!seq_before(front, entry->announced)) /* no room for the rest */
        return refuse(shard, flow, VERDICT_HELD_TOO_LARGE);
    return reading_acknowledge(shard, frame, flow);
}

/* Data, FIN or both, within the window. */
static enum verdict hold(struct shard *shard, struct frame *frame, const struct packet *packet,
                         struct flow *flow)
{
    const struct service *service = &shard->policy.services->service[flow->service];
    uint32_t first = flow->client_isn + 1, offset = packet->seq - first;
    uint32_t end = packet->length ? offset + packet->length : 0;
    struct held_entry *entry = reading_room(shard, flow, end);
    uint32_t judged = ranges_front(&entry->filled);
    bool fin = (packet->flags & TCP_FIN) && !flow->held_fin;
    uint32_t kept = held_store(entry, offset, frame->bytes + packet->payload, packet->length);
    uint32_t front = ranges_front(&entry->filled);
    flow->held_fin |= fin;
    if (packet->length == 0 && !fin)
        return VERDICT_OPENING_BUSY;
    if (kept == 0 && !fin)
        return flow->state == FLOW_READING ? reading_acknowledge(shard, frame, flow)
                                           : VERDICT_OPENING_BUSY;
    enum verdict verdict = VERDICT_HEAD_INCOMPLETE;
    uint32_t heads = flow->scan.heads;
    const struct gate_asker asker = {&flow->client, flow->service,
                                     gate_key(flow->client_port, flow->client_isn), false};
    struct refused_request no = {.why = VERDICT_FORWARDED};
    if (front > judged && flow->refusal == REFUSAL_NONE)
        verdict =
            reading_judge(shard, &asker, &flow->scan, first, entry->bytes, judged, front, &no);
    if (no.why != VERDICT_FORWARDED && verdict != VERDICT_FORWARDED)
        return refuse_request(shard, frame, flow, &no);
    if (service->protocol == SERVICE_HTTP)
        shard->requests += flow->scan.heads - heads;
    if (no.why != VERDICT_FORWARDED) {
        refuse_note(shard, flow, &no.refusal);
        shard_count(shard, no.why);
    }
    return go_on(shard, frame, flow, entry, verdict);
}

static enum segment_class classify(const struct packet *packet, const struct flow *flow,
                                   const struct held_entry *entry)
{
    uint32_t first = flow->client_isn + 1, seq = packet->seq;
    if (!(packet->flags & TCP_RST))
        return packet->flags & TCP_FIN ? SEGMENT_FIN : SEGMENT_DATA;
    bool exact = seq == flow->owned_end || seq == first + ranges_front(&entry->filled) ||
                 seq == first + ranges_end(&entry->filled) + flow->held_fin;
    return exact ? SEGMENT_RST_EXACT : SEGMENT_RST_WINDOW;
}

enum verdict reading_packet(struct shard *shard, struct frame *frame, const struct packet *packet,
                            struct flow *flow)
{
    struct tcp_options options;
    if (!packet_options(frame->bytes, packet, &options))
        return VERDICT_BAD_OPTIONS;
    enum segment_class class = classify(packet, flow, held_at(shard->held, flow->held));
    enum action action = states_next((enum flow_state)flow->state, FROM_CLIENT, class).action;
    if (action == ACTION_ABANDON) {
        flow_reset_backend(shard, flow);
        flow_end(shard, flow, true);
        return VERDICT_FLOW_RESET;
    }
    if (action != ACTION_HOLD || !(packet->flags & TCP_ACK))
        return VERDICT_STATE;
    if (packet->ack != flow->from_client.acked) /* nothing but our SYN can be acknowledged yet */
        return VERDICT_ACK_UNSENT;
    struct window_segment segment = flow_segment(flow, packet, &options, FROM_CLIENT);
    enum verdict verdict = window_check(&flow->from_client, &flow->from_backend, &segment);
    if (verdict != VERDICT_FORWARDED)
        return verdict;
    if (seq_before(packet->seq, flow->client_isn + 1)) /* nothing was sent before it */
        return VERDICT_OUT_OF_WINDOW;
    window_note(&flow->from_client, &flow->from_backend, &segment);
    if (segment.timestamps && seq_before(flow->newest, options.tsval))
        flow->newest = options.tsval;
    if (segment.timestamps && seq_before(flow->from_backend.ts_recent, options.tsecr))
        flow->from_backend.ts_recent = options.tsecr;
    memcpy(&flow->client_mac, frame->bytes + 6, sizeof flow->client_mac);
    return hold(shard, frame, packet, flow);
}
