/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The scan of a client's side: what counts, what passes unread, what is a gap, and that no cut of
 * the stream into segments changes what is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "dataplane/tcp/scan.h"
#include "tests/unit/random.h"

#define GET     "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST    "POST / HTTP/1.1\r\nHost: a\r\n"
#define LAST    "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

#define FIRST UINT32_C(0xfffffff0) /* sequence numbers wrap within the first head */

/* A scan, and the number of heads that its last segment has completed. */
struct rig {
    struct scan scan;
    uint32_t heads;
};

static struct rig begin(void)
{
    struct rig r = {.heads = 0};
    scan_begin(&r.scan, FIRST);
    return r;
}

/* A segment that begins `at` bytes into the stream, in memory of exactly its size. */
static enum verdict piece(struct rig *r, uint32_t at, const char *bytes, uint32_t length)
{
    uint8_t *copy = malloc(length ? length : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, length);
    enum verdict verdict;
    uint32_t head;
    r->heads = 0;
    do {
        verdict = scan_segment(&r->scan, FIRST + at, copy, length, &head);
        r->heads += head != 0;
    } while (head != 0);
    free(copy);
    return verdict;
}

static enum verdict text(struct rig *r, uint32_t at, const char *string)
{
    return piece(r, at, string, (uint32_t)strlen(string));
}

static uint32_t scanned(const struct rig *r)
{
    return r->scan.next - FIRST;
}

/* ---- heads ---- */

static void a_head_counts_when_it_is_complete(void **state)
{
    (void)state;
    struct rig r = begin();
    const uint32_t length = sizeof GET - 1;
    assert_int_equal(piece(&r, 0, GET, length - 1), VERDICT_FORWARDED);
    assert_int_equal(r.heads, 0);
    assert_int_equal(piece(&r, length - 1, "\n", 1), VERDICT_FORWARDED);
    assert_int_equal(r.heads, 1);
    assert_int_equal(scanned(&r), length);
    assert_int_equal(text(&r, length, GET), VERDICT_FORWARDED);
    assert_int_equal(r.heads, 1);
    assert_int_equal(r.scan.heads, 2);
}

static void pipelined_requests_count_one_by_one(void **state)
{
    (void)state;
    struct rig r = begin();
    assert_int_equal(text(&r, 0, GET POST "Content-Length: 3\r\n\r\nabc" GET "GET"),
                     VERDICT_FORWARDED);
    assert_int_equal(r.heads, 3);
}

static void what_the_first_head_may_not_be_is_told_from_what_a_later_one_may_not(void **state)
{
    (void)state;
    struct rig r = begin();
    assert_int_equal(text(&r, 0, "\r\n" GET), VERDICT_HEAD_MALFORMED);
    r = begin();
    assert_int_equal(text(&r, 0, GET), VERDICT_FORWARDED);
    assert_int_equal(text(&r, sizeof GET - 1, "\r\n" GET), VERDICT_REQUEST_MALFORMED);
    r = begin();
    assert_int_equal(text(&r, 0, GET "PRI * HTTP/2.0\r\n\r\n"), VERDICT_REQUEST_MALFORMED);
    assert_int_equal(r.heads, 1);
    r = begin();
    assert_int_equal(text(&r, 0, CHUNKED "g"), VERDICT_REQUEST_MALFORMED);
    assert_int_equal(text(&r, sizeof CHUNKED - 1, "1"), VERDICT_REQUEST_MALFORMED);
}

static void a_large_body_is_the_backends_business(void **state)
{
    (void)state;
    struct rig r = begin();
    assert_int_equal(text(&r, 0, POST "Content-Length: 9223372036854775807\r\n\r\n"),
                     VERDICT_FORWARDED);
    r = begin();
    assert_int_equal(text(&r, 0, POST "Content-Length: 9223372036854775808\r\n\r\n"),
                     VERDICT_HEAD_MALFORMED);
}

/* ---- order ---- */

static void a_hole_within_a_head_is_a_gap(void **state)
{
    (void)state;
    struct rig r = begin();
    assert_int_equal(piece(&r, 5, GET + 5, sizeof GET - 6), VERDICT_SCAN_GAP);
    assert_int_equal(scanned(&r), 0);
    assert_int_equal(piece(&r, 0, GET, 5), VERDICT_FORWARDED);
    assert_int_equal(piece(&r, 5, GET + 5, sizeof GET - 6), VERDICT_FORWARDED);
    assert_int_equal(r.heads, 1);
    assert_int_equal(text(&r, sizeof GET, GET), VERDICT_SCAN_GAP); /* one byte behind */
}

static void a_hole_before_a_fin_is_a_gap_too(void **state)
{
    (void)state;
    struct rig r = begin();
    assert_int_equal(text(&r, 0, GET "GET"), VERDICT_FORWARDED);
    assert_int_equal(text(&r, scanned(&r), ""), VERDICT_FORWARDED);
    assert_int_equal(text(&r, scanned(&r) + 1, ""), VERDICT_SCAN_GAP);
}

static void bytes_below_the_scan_point_are_never_read_again(void **state)
{
    (void)state;
    struct rig r = begin();
    const uint32_t length = sizeof GET - 1;
    assert_int_equal(text(&r, 0, GET), VERDICT_FORWARDED);
    assert_int_equal(piece(&r, 0, "\0nonsense", 9), VERDICT_FORWARDED);
    assert_int_equal(piece(&r, length - 1, "x", 1), VERDICT_FORWARDED); /* a keep-alive probe */
    assert_int_equal(r.heads, 0);
    assert_int_equal(text(&r, length - 3, "???" GET), VERDICT_FORWARDED); /* partly old */
    assert_int_equal(r.heads, 1);
    assert_int_equal(scanned(&r), 2 * length);
}

/* ---- bodies ---- */

static void a_body_passes_unread_in_any_order(void **state)
{
    (void)state;
    static const char head[] = POST "Content-Length: 100\r\n\r\n";
    const uint32_t body = sizeof head - 1;
    struct rig r = begin();
    assert_int_equal(text(&r, 0, head), VERDICT_FORWARDED);
    assert_false(scan_reads(&r.scan, r.scan.next + 1));
    assert_int_equal(text(&r, body + 50, "\r\nGET"), VERDICT_FORWARDED);
    assert_int_equal(scanned(&r), body + 55);
    assert_int_equal(text(&r, body, "the hole, filled late"), VERDICT_FORWARDED);
    assert_int_equal(scanned(&r), body + 55);
    assert_int_equal(text(&r, body + 96, "body"), VERDICT_FORWARDED); /* over another hole */
    assert_int_equal(scanned(&r), body + 100);
    assert_true(scan_reads(&r.scan, r.scan.next + 1));
}

/* Whoever fills the hole could go on with another head, for which the backend drops this one. */
static void no_head_is_read_over_a_hole_in_a_body(void **state)
{
    (void)state;
    static const char head[] = POST "Content-Length: 4\r\n\r\n";
    const uint32_t body = sizeof head - 1;
    struct rig r = begin();
    assert_int_equal(text(&r, 0, head), VERDICT_FORWARDED);
    assert_int_equal(text(&r, body + 5, GET), VERDICT_SCAN_GAP);
    assert_int_equal(text(&r, body + 4, GET), VERDICT_SCAN_GAP); /* the hole is body only */
    assert_int_equal(text(&r, body + 3, "y" GET), VERDICT_SCAN_GAP);
    assert_int_equal(scanned(&r), body);
    assert_int_equal(text(&r, body, "body" LAST), VERDICT_FORWARDED);
    assert_int_equal(r.heads, 1);
    assert_int_equal(scanned(&r), body + 4 + sizeof LAST - 1); /* it is this one that was read */
}

static void a_body_longer_than_the_sequence_space_ends_where_it_says(void **state)
{
    (void)state;
    static uint8_t zeros[65536];
    const uint64_t length = UINT64_C(0x100000000) + 65536 * 3 + 7;
    struct rig r = begin();
    assert_int_equal(text(&r, 0, POST "Content-Length: 4295163911\r\n\r\n"), VERDICT_FORWARDED);
    uint32_t at = r.scan.next;
    for (uint64_t left = length; left > 0;) {
        uint32_t n = left < sizeof zeros ? (uint32_t)left : (uint32_t)sizeof zeros;
        assert_false(scan_reads(&r.scan, r.scan.next + 1));
        assert_int_equal(scan_segment(&r.scan, at, zeros, n, &r.heads), VERDICT_FORWARDED);
        at += n;
        left -= n;
    }
    assert_true(scan_reads(&r.scan, r.scan.next + 1));
    assert_int_equal(scan_segment(&r.scan, at, zeros, 1, &r.heads), VERDICT_REQUEST_MALFORMED);
}

static void chunk_data_passes_unread_but_its_frame_is_read_in_order(void **state)
{
    (void)state;
    const uint32_t size = sizeof CHUNKED - 1, data = size + 4;
    struct rig r = begin();
    assert_int_equal(text(&r, 0, CHUNKED), VERDICT_FORWARDED);
    assert_int_equal(text(&r, size + 1, "0\r\n"), VERDICT_SCAN_GAP);
    assert_int_equal(text(&r, size, "10\r\n"), VERDICT_FORWARDED);
    assert_int_equal(text(&r, data + 8, "89abcdef"), VERDICT_FORWARDED);
    assert_int_equal(text(&r, data + 18, "0\r\n\r\n"), VERDICT_SCAN_GAP);
    assert_int_equal(text(&r, data, "01234567"), VERDICT_FORWARDED);
    assert_int_equal(text(&r, data + 16, "\r\n0\r\n\r\n" GET), VERDICT_FORWARDED);
    assert_int_equal(r.heads, 1);
    assert_int_equal(r.scan.heads, 2);
}

static void no_frame_of_a_chunk_is_read_over_a_hole_in_its_data(void **state)
{
    (void)state;
    const uint32_t data = sizeof CHUNKED "4\r\n" - 1;
    struct rig r = begin();
    assert_int_equal(text(&r, 0, CHUNKED "4\r\n"), VERDICT_FORWARDED);
    assert_int_equal(text(&r, data + 3, "d\r\n0\r\n\r\n" GET), VERDICT_SCAN_GAP);
    assert_int_equal(text(&r, data + 4, "\r\n"), VERDICT_SCAN_GAP);
    assert_int_equal(scanned(&r), data);
    assert_int_equal(text(&r, data, "data\r\n0\r\n\r\n" GET), VERDICT_FORWARDED);
    assert_int_equal(r.heads, 1);
}

/* ---- the last request ---- */

static void what_follows_the_last_request_is_nobodys(void **state)
{
    (void)state;
    static const char *const last[] = {
        LAST,
        "GET / HTTP/1.0\r\n\r\n",
        POST "Connection: Close\r\nContent-Length: 4\r\n\r\nbody",
        POST
        "Connection: keep-alive, close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof last / sizeof *last; i++) {
        char stream[512];
        const uint32_t end = (uint32_t)strlen(last[i]);
        strcpy(stream, last[i]);
        strcat(stream, GET);
        struct rig r = begin();
        assert_int_equal(text(&r, 0, stream), VERDICT_FORWARDED);
        assert_int_equal(r.heads, 1);
        assert_int_equal(scanned(&r), end); /* where the caller cuts */
        assert_int_equal(text(&r, end, GET), VERDICT_FORWARDED);
        assert_int_equal(scanned(&r), end);
        assert_int_equal(text(&r, end + 1, GET), VERDICT_AFTER_LAST);
        assert_int_equal(text(&r, end, ""), VERDICT_FORWARDED); /* its FIN */
    }
}

static void http_1_0_that_asks_to_is_kept(void **state)
{
    (void)state;
    struct rig r = begin();
    assert_int_equal(text(&r, 0, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n" GET),
                     VERDICT_FORWARDED);
    assert_int_equal(r.heads, 2);
}

/* ---- any cut, any order ---- */

/* Sends a stream in random pieces, some twice, some too early, some overlapping. */
static void shuffled(const char *stream, uint32_t length, uint32_t heads, uint64_t seed)
{
    struct rig r = begin();
    struct random random = {.state = seed};
    uint32_t sent = 0, rounds = 0;
    while (sent < length) {
        assert_true(++rounds < 100000);
        uint32_t early = random_below(&random, 3) == 0 ? random_below(&random, 40) : 0;
        uint32_t late = random_below(&random, 3) == 0 ? random_below(&random, 40) : 0;
        uint32_t at = sent + early > late ? sent + early - late : 0;
        uint32_t n = 1 + random_below(&random, 30);
        if (at >= length)
            continue;
        n = n < length - at ? n : length - at;
        const uint32_t before = scanned(&r);
        enum verdict verdict = piece(&r, at, stream + at, n);
        if (verdict == VERDICT_SCAN_GAP) {
            assert_true(at > before);
            assert_int_equal(scanned(&r), before);
            continue;
        }
        assert_int_equal(verdict, VERDICT_FORWARDED);
        assert_int_equal(scanned(&r), at + n > before ? at + n : before);
        sent = scanned(&r);
    }
    assert_int_equal(r.scan.heads, heads);
}

static void no_order_of_segments_changes_what_is_found(void **state)
{
    (void)state;
    static const char stream[] = GET CHUNKED
        "3c\r\n012345678901234567890123456789012345678901234567890123456789\r\n"
        "1\r\nx\r\n0\r\n\r\n" POST "Content-Length: 80\r\n\r\n"
        "01234567890123456789012345678901234567890123456789012345678901234567890123456789" GET POST
        "Content-Length: 0\r\n\r\n" GET;
    for (uint64_t seed = 1; seed <= 3000; seed++)
        shuffled(stream, sizeof stream - 1, 6, seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_counts_when_it_is_complete),
        cmocka_unit_test(pipelined_requests_count_one_by_one),
        cmocka_unit_test(what_the_first_head_may_not_be_is_told_from_what_a_later_one_may_not),
        cmocka_unit_test(a_large_body_is_the_backends_business),
        cmocka_unit_test(a_hole_within_a_head_is_a_gap),
        cmocka_unit_test(a_hole_before_a_fin_is_a_gap_too),
        cmocka_unit_test(bytes_below_the_scan_point_are_never_read_again),
        cmocka_unit_test(a_body_passes_unread_in_any_order),
        cmocka_unit_test(no_head_is_read_over_a_hole_in_a_body),
        cmocka_unit_test(a_body_longer_than_the_sequence_space_ends_where_it_says),
        cmocka_unit_test(chunk_data_passes_unread_but_its_frame_is_read_in_order),
        cmocka_unit_test(no_frame_of_a_chunk_is_read_over_a_hole_in_its_data),
        cmocka_unit_test(what_follows_the_last_request_is_nobodys),
        cmocka_unit_test(http_1_0_that_asks_to_is_kept),
        cmocka_unit_test(no_order_of_segments_changes_what_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
