/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Sequence numbers around the parser. A body is passed over by arithmetic: what was skipped comes
 * later, below the scan point, and passes unread like all that is below. So nothing that has to be
 * read is read over a hole, also one of body bytes alone: what fills that could go on beyond it. */
#include "dataplane/tcp/scan.h"

void scan_begin(struct scan *scan, uint32_t first)
{
    http1_init(&scan->parser);
    scan->next = first;
    scan->heads = 0;
}

bool scan_reads(const struct scan *scan, uint32_t end)
{
    int32_t beyond = (int32_t)(end - scan->next);
    return beyond > 0 && (uint32_t)beyond > http1_data_left(&scan->parser);
}

bool scan_ended(struct scan *scan)
{
    const void *data;
    size_t used, data_length;
    return http1_scan(&scan->parser, &HTTP1_RELAY_LIMITS, NULL, 0, &used, &data, &data_length) ==
           HTTP1_LAST;
}

/* Bytes that begin at the scan point. */
static enum verdict read_bytes(struct scan *scan, const uint8_t *bytes, uint32_t length,
                               uint32_t *head)
{
    enum http1_event event;
    do {
        const void *data;
        size_t used, data_length;
        event = http1_scan(&scan->parser, &HTTP1_RELAY_LIMITS, bytes, length, &used, &data,
                           &data_length);
        bytes += used;
        length -= (uint32_t)used;
        scan->next += (uint32_t)used;
    } while (event == HTTP1_DATA || event == HTTP1_END);
    if (event == HTTP1_HEAD) {
        *head = http1_head_length(&scan->parser);
        scan->heads++;
        scan_ended(scan); /* a request without a body ends with its head */
    }
    if (event != HTTP1_BAD)
        return VERDICT_FORWARDED;
    return scan->heads == 0 ? VERDICT_HEAD_MALFORMED : VERDICT_REQUEST_MALFORMED;
}

enum verdict scan_segment(struct scan *scan, uint32_t seq, const uint8_t *bytes, uint32_t length,
                          uint32_t *head)
{
    *head = 0;
    int32_t ahead = (int32_t)(seq - scan->next); /* where it begins, and below where it ends */
    int64_t beyond = (int64_t)ahead + length;
    if (beyond <= 0)
        return VERDICT_FORWARDED;
    uint64_t body = http1_data_left(&scan->parser);
    if ((uint64_t)beyond <= body) {
        http1_data_pass(&scan->parser, (uint64_t)beyond);
        scan->next += (uint32_t)beyond;
        return VERDICT_FORWARDED;
    }
    if (ahead <= 0)
        return read_bytes(scan, bytes + -(int64_t)ahead, (uint32_t)beyond, head);
    return scan_ended(scan) ? VERDICT_AFTER_LAST : VERDICT_SCAN_GAP;
}
