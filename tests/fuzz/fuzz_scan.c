/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The scan against the plain parser: a stream in segments of any size, too early, twice and
 * overlapping gives the same heads, the same refusal and the same end as the parser over the whole.
 * The first byte of the input chooses the segments. */
#include <stdint.h>
#include <stdlib.h>

#include "dataplane/tcp/scan.h"

enum { MOST = 4096, REACH = 48 };
#define FIRST UINT32_C(0xffffffe0) /* sequence numbers wrap early */

struct end {
    uint32_t heads, at; /* at: bytes that were read, or the length if all passes */
    enum verdict verdict;
};

static void check(bool holds)
{
    if (!holds)
        abort();
}

static uint32_t pick(uint32_t *random, uint32_t below)
{
    *random = *random * 1103515245 + 12345;
    return (*random >> 8) % below;
}

static struct end parse(const uint8_t *bytes, uint32_t length)
{
    struct end end = {.verdict = VERDICT_FORWARDED};
    struct http1 parser;
    enum http1_event event;
    http1_init(&parser);
    do {
        const void *data;
        size_t used, data_length;
        event = http1_scan(&parser, &HTTP1_RELAY_LIMITS, bytes + end.at, length - end.at, &used,
                           &data, &data_length);
        end.at += (uint32_t)used;
        end.heads += event == HTTP1_HEAD;
    } while (event != HTTP1_MORE && event != HTTP1_LAST && event != HTTP1_BAD);
    if (event == HTTP1_BAD)
        end.verdict = end.heads == 0 ? VERDICT_HEAD_MALFORMED : VERDICT_REQUEST_MALFORMED;
    return end;
}

/* A segment, head by head: each ends where the scan stands, and began in what has been read. */
static enum verdict read_all(struct scan *s, uint32_t seq, const uint8_t *bytes, uint32_t length,
                             uint32_t *heads)
{
    enum verdict verdict;
    uint32_t head;
    *heads = 0;
    do {
        verdict = scan_segment(s, seq, bytes, length, &head);
        *heads += head != 0;
        check(head <= s->next - FIRST && head <= HTTP1_MAX_HEAD);
        check(head == 0 || (verdict == VERDICT_FORWARDED && s->next - seq <= length));
    } while (head != 0);
    return verdict;
}

/* As a client would send it that repeats what was dropped, until nothing is left to send. */
static struct end scan(const uint8_t *bytes, uint32_t length, uint32_t random)
{
    struct scan s;
    struct end end = {.verdict = VERDICT_FORWARDED};
    const uint32_t most = 1 + random % REACH;
    scan_begin(&s, FIRST);
    for (uint32_t done = 0; done < length && end.verdict == VERDICT_FORWARDED;) {
        const uint32_t move = pick(&random, 3) == 0 ? pick(&random, 2 * REACH) : REACH;
        const uint32_t at = done + move > REACH ? done + move - REACH : 0;
        if (at >= length)
            continue;
        uint32_t n = 1 + pick(&random, most), heads;
        n = n < length - at ? n : length - at;
        const bool reads = scan_reads(&s, FIRST + at + n);
        const struct scan before = s;
        end.verdict = read_all(&s, FIRST + at, bytes + at, n, &heads);
        end.heads += heads;
        check(reads || (heads == 0 && end.verdict == VERDICT_FORWARDED));
        if (end.verdict == VERDICT_SCAN_GAP || end.verdict == VERDICT_AFTER_LAST) {
            check(at > done && s.next == before.next && heads == 0);
            end.verdict = VERDICT_FORWARDED;
        } else if (end.verdict == VERDICT_FORWARDED && s.next - FIRST < at + n && at <= done) {
            break; /* behind the last request: the rest would be cut off */
        }
        done = s.next - FIRST;
    }
    end.at = s.next - FIRST;
    check(s.heads == end.heads);
    return end;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    if (length == 0)
        return 0;
    const uint32_t seed = *bytes++;
    length = length - 1 < MOST ? length - 1 : MOST;
    const struct end alone = parse(bytes, (uint32_t)length);
    for (uint32_t i = 0; i < 4; i++) {
        const struct end end = scan(bytes, (uint32_t)length, seed * 4 + i);
        check(end.heads == alone.heads && end.verdict == alone.verdict && end.at == alone.at);
    }
    struct scan whole;
    uint32_t heads;
    scan_begin(&whole, FIRST);
    check(read_all(&whole, FIRST, bytes, (uint32_t)length, &heads) == alone.verdict);
    check(heads == alone.heads && whole.next - FIRST == alone.at);
    return 0;
}
