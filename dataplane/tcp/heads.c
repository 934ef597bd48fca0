/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A request's head in one piece, put to the gate. Of a later head that comes over several segments,
 * each of which goes on as it comes, a copy is kept aside until it is complete: in an entry of the
 * slab of held requests, where it is unfinished, and goes when others need its place more. */
#include "dataplane/tcp/shard.h"

static bool is_head(struct http1_slice method)
{
    return method.length == 4 && memcmp(method.at, "HEAD", 4) == 0;
}

static void describe(const struct http1_head *head, struct refused_request *no)
{
    no->refusal.head = is_head(head->method);
    no->refusal.html = reply_prefers_html(http1_find(head, "accept", NULL));
    no->expects = head->expect_continue;
}

void heads_describe(const uint8_t *bytes, uint32_t length, struct refused_request *no)
{
    struct http1_head head;
    struct http1 parser;
    const void *data;
    size_t used, data_length;
    http1_init(&parser);
    if (http1_scan(&parser, &HTTP1_RELAY_LIMITS, bytes, length, &used, &data, &data_length) ==
            HTTP1_HEAD &&
        http1_head(bytes, used, &HTTP1_RELAY_LIMITS, &head) == HTTP1_OK)
        describe(&head, no);
}

enum verdict heads_judge(struct shard *shard, const struct gate_asker *asker, const uint8_t *bytes,
                         uint32_t length, struct refused_request *no)
{
    struct http1_head head;
    *no = (struct refused_request){.why = VERDICT_FORWARDED};
    if (http1_head(bytes, length, &HTTP1_RELAY_LIMITS, &head) != HTTP1_OK)
        return no->why = VERDICT_REQUEST_MALFORMED; /* the scan has another opinion: never */
    const struct http1_slice *host = http1_find(&head, "host", NULL);
    const struct gate_head asked = {
        .method = head.method,
        .path = head.path,
        .host = host != NULL ? *host : (struct http1_slice){"", 0},
    };
    no->why = gate_request(shard, asker, &asked, &no->refusal);
    if (no->why != VERDICT_FORWARDED)
        describe(&head, no);
    return no->why;
}

/* An unfinished entry for `length` bytes, which become its first. */
static bool keep(struct shard *shard, struct flow *flow, const uint8_t *bytes, uint32_t length)
{
    uint32_t index = reading_take(shard, &flow->client, length, false);
    if (index == HELD_NONE)
        return false;
    struct held_entry *entry = held_at(shard->held, index);
    entry->flow = flow_index(shard->flows, flow);
    flow->held = index;
    return held_store(entry, 0, bytes, length) == length;
}

bool heads_keep(struct shard *shard, struct flow *flow, uint32_t before, const uint8_t *bytes,
                uint32_t length)
{
    if (length == 0)
        return true;
    if (before == 0)
        return keep(shard, flow, bytes, length);
    if (flow->held == HELD_NONE)
        return true; /* its beginning is lost; what that means is for heads_whole */
    struct held_entry *entry = reading_room(shard, flow, before + length);
    /* All or nothing: the copy that comes again may find more room, and is the one that goes on. */
    return before + length <= entry->capacity && held_store(entry, before, bytes, length) == length;
}

bool heads_whole(const struct shard *shard, const struct flow *flow, uint32_t before,
                 const uint8_t *bytes, uint32_t length, uint8_t whole[HTTP1_MAX_HEAD])
{
    if (flow->held == HELD_NONE || before + length > HTTP1_MAX_HEAD)
        return false;
    const struct held_entry *entry = held_at(shard->held, flow->held);
    if (ranges_front(&entry->filled) < before)
        return false;
    memcpy(whole, entry->bytes, before);
    memcpy(whole + before, bytes, length);
    return true;
}

void heads_drop(struct shard *shard, struct flow *flow)
{
    held_drop(shard->held, flow->held);
    flow->held = HELD_NONE;
}

void heads_set_aside(struct shard *shard, struct flow *flow)
{
    uint8_t begun[HTTP1_MAX_HEAD];
    const struct held_entry *entry = held_at(shard->held, flow->held);
    uint32_t length = 0, behind = flow->scan.next - (flow->client_isn + 1);
    if (forward_reads(shard, flow) && !flow->after_last)
        length = http1_head_begun(&flow->scan.parser);
    bool there = length != 0 && length <= behind && behind <= ranges_front(&entry->filled);
    if (there)
        memcpy(begun, entry->bytes + behind - length, length);
    heads_drop(shard, flow);
    if (there)
        keep(shard, flow, begun, length);
}
