/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The HTTP/1.1 parser as a request smuggler would test it: what is taken, what is refused and on
 * which byte, and that no cut of the stream changes anything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/http1.h"
#include "random.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define GET          "GET / HTTP/1.1\r\nHost: a\r\n"
#define POST         "POST / HTTP/1.1\r\nHost: a\r\n"
#define CHUNKED      POST "Transfer-Encoding: chunked\r\n\r\n"

/* What came out of a stream: 'H' head, "(...)" body bytes, 'E' end, 'L' behind the last request,
 * "!name@offset" refused. */
struct transcript {
    char text[4096];
    size_t length;
    size_t offset;
    bool in_data, stopped;
};

static void note(struct transcript *t, const char *bytes, size_t length)
{
    assert_true(t->length + length < sizeof t->text);
    memcpy(t->text + t->length, bytes, length);
    t->length += length;
    t->text[t->length] = '\0';
}

static void note_event(struct transcript *t, const struct http1 *parser, enum http1_event event,
                       const void *data, size_t data_length)
{
    char text[64];
    assert_true((event == HTTP1_DATA) == (data != NULL) && (data != NULL) == (data_length > 0));
    if (event == HTTP1_DATA) {
        note(t, "(", t->in_data ? 0 : 1);
        note(t, data, data_length);
        t->in_data = true;
        return;
    }
    if (event == HTTP1_MORE)
        return;
    note(t, ")", t->in_data ? 1 : 0);
    t->in_data = false;
    t->stopped = event == HTTP1_BAD || event == HTTP1_LAST;
    int length = event == HTTP1_HEAD   ? snprintf(text, sizeof text, "H")
                 : event == HTTP1_END  ? snprintf(text, sizeof text, "E")
                 : event == HTTP1_LAST ? snprintf(text, sizeof text, "L")
                                       : snprintf(text, sizeof text, "!%s@%zu",
                                                  http1_error_name(parser->error), t->offset);
    note(t, text, (size_t)length);
}

/* Feeds one piece, in memory of exactly its size so that a sanitizer sees any look beyond. */
static void feed(struct transcript *t, struct http1 *parser, const struct http1_limits *limits,
                 const char *bytes, size_t length)
{
    char *copy = malloc(length ? length : 1);
    size_t at = 0;
    enum http1_event event;
    assert_non_null(copy);
    memcpy(copy, bytes, length);
    do {
        const void *data;
        size_t used, data_length;
        event = http1_scan(parser, limits, copy + at, length - at, &used, &data, &data_length);
        assert_true(used <= length - at);
        assert_true(event != HTTP1_DATA || (const char *)data + data_length == copy + at + used);
        at += used;
        t->offset += used;
        note_event(t, parser, event, data, data_length);
    } while (event != HTTP1_MORE && !t->stopped);
    assert_true(t->stopped || at == length);
    free(copy);
}

/* Feeds `text` cut at two places; 0 and the length are no cut. */
static void run_cut(struct transcript *t, const struct http1_limits *limits, const char *text,
                    size_t length, size_t first, size_t second)
{
    struct http1 parser;
    const size_t cuts[] = {0, first, second, length};
    memset(t, 0, sizeof *t);
    http1_init(&parser);
    for (size_t i = 0; i + 1 < COUNT(cuts) && !t->stopped; i++)
        feed(t, &parser, limits, text + cuts[i], cuts[i + 1] - cuts[i]);
}

static void run_bytewise(struct transcript *t, const struct http1_limits *limits, const char *text,
                         size_t length)
{
    struct http1 parser;
    memset(t, 0, sizeof *t);
    http1_init(&parser);
    for (size_t i = 0; i < length && !t->stopped; i++)
        feed(t, &parser, limits, text + i, 1);
}

static struct transcript run(const char *text, size_t length)
{
    struct transcript t;
    run_cut(&t, &HTTP1_DEFAULT_LIMITS, text, length, length, length);
    return t;
}

static const struct {
    const char *text, *transcript;
} taken[] = {
    {"", ""},
    {"GET / HT", ""},
    {GET "\r\n", "HE"},
    {GET "\r\n" GET "\r\n" GET, "HEHE"},
    {"GET / HTTP/1.0\r\n\r\n", "HEL"},
    {"GET / HTTP/1.0\r\n\r\n" GET "\r\n", "HEL"},
    {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" GET "\r\n", "HEHE"},
    {POST "Connection: x ,\tCLOSE \r\nContent-Length: 1\r\n\r\na\r\n", "H(a)EL"},
    {GET "Connection: close x, x close, , \"close\", closed, clos\r\n\r\n" GET "\r\n", "HEHE"},
    {"GET /a/b?c=d&e=%20[]|{}^`\"<>\\ HTTP/1.1\r\nHost: a\r\n\r\n", "HE"},
    {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "HE"},
    {"OPTIONS /x HTTP/1.1\r\nHost: a\r\n\r\n", "HE"},
    {"M-SEARCH!#$%&'*+ / HTTP/1.1\r\nHost: a\r\n\r\n", "HE"},
    {"connect / HTTP/1.1\r\nHost: a\r\n\r\n", "HE"},
    {"GET / HTTP/1.1\r\nHOST:a\r\n\r\n", "HE"},
    {"GET / HTTP/1.1\r\nhost:\t a.b-c_d.example \t\r\n\r\n", "HE"},
    {"GET / HTTP/1.1\r\nHost: 198.51.100.7:8080\r\n\r\n", "HE"},
    {"GET / HTTP/1.1\r\nHost: [2001:db8::7]:65535\r\n\r\n", "HE"},
    {"GET / HTTP/1.1\r\nHost: [::ffff:1.2.3.4]\r\n\r\n", "HE"},
    {"GET / HTTP/1.1\r\nHost: a:\r\n\r\n", "HE"},
    {GET "A:\r\nB: \r\nC: \t\r\nD:x y\tz \r\n\r\n", "HE"},
    {GET "A: caf\xc3\xa9 \x80\xff\r\n\r\n", "HE"},
    {GET "!#$%&'*+-.^_`|~0aZ: x\r\n\r\n", "HE"},
    {GET
     "Hos: x\r\nHostx: x\r\nContent-Lengt: x\r\nContent-Length2: x\r\nUpgrade-Insecure-Requests: "
     "1\r\nTE: trailers\r\n\r\n",
     "HE"},
    {GET "Content-Length: 0\r\n\r\n", "HE"},
    {GET "Content-Length: 3\r\n\r\nabc" GET "\r\n", "H(abc)EHE"},
    {POST "content-LENGTH:\t3 \r\n\r\nab", "H(ab"},
    {POST "Content-Length: 3\r\nExpect: 100-Continue\r\n\r\nabcG", "H(abc)E"},
    {"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\n\r\n", "H(\r\n)EL"},
    {CHUNKED "3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\n" GET "\r\n", "H(abc0123456789)EHE"},
    {CHUNKED "0\r\n\r\n", "HE"},
    {CHUNKED "0000000000000000\r\n\r\n", "HE"},
    {CHUNKED "a\r\n0\r\n\r\nabcde\r\n0\r\n\r\n", "H(0\r\n\r\nabcde)E"},
    {POST "transfer-encoding:CHUNKED \r\n\r\n1\r\nx\r\n", "H(x"},
};

/* `good` is consumed and the first byte of `bad` is refused. */
static const struct {
    const char *good, *bad;
    enum http1_error error;
} refused[] = {
    /* request line */
    {"", "\r\n" GET "\r\n", HTTP1_BAD_METHOD},
    {"", " GET / HTTP/1.1\r\n", HTTP1_BAD_METHOD},
    {"", "\n", HTTP1_BAD_METHOD},
    {"", "\x16\x03\x01", HTTP1_BAD_METHOD},
    {"", "\xc3\xa9 / HTTP/1.1\r\n", HTTP1_BAD_METHOD},
    {"GET", "\t/ HTTP/1.1\r\n", HTTP1_BAD_METHOD},
    {"GET", "\r\n", HTTP1_BAD_METHOD},
    {"G", "@T / HTTP/1.1\r\n", HTTP1_BAD_METHOD},
    {"ABCDEFGHIJKLMNOP", "Q / HTTP/1.1\r\n", HTTP1_BAD_METHOD},
    {"CONNECT", " a:443 HTTP/1.1\r\n", HTTP1_UPGRADE},
    {"GET ", " / HTTP/1.1\r\n", HTTP1_BAD_TARGET},
    {"GET ", "http://a/ HTTP/1.1\r\n", HTTP1_BAD_TARGET},
    {"GET ", "a:80 HTTP/1.1\r\n", HTTP1_BAD_TARGET},
    {"GET ", "?x HTTP/1.1\r\n", HTTP1_BAD_TARGET},
    {"GET * HTTP/1.1", "\r\n", HTTP1_BAD_TARGET},
    {"options * HTTP/1.1", "\r\n", HTTP1_BAD_TARGET},
    {"OPTIONS *", "x HTTP/1.1\r\n", HTTP1_BAD_TARGET},
    {"GET /a", "#b HTTP/1.1\r\n", HTTP1_BAD_TARGET},
    {"GET /", "\tx HTTP/1.1\r\n", HTTP1_BAD_TARGET},
    {"GET /", "\xc3\xa9 HTTP/1.1\r\n", HTTP1_BAD_TARGET},
    {"GET /", "\x7f HTTP/1.1\r\n", HTTP1_BAD_TARGET},
    {"GET /", "\r\n", HTTP1_BAD_VERSION},
    {"GET /", "\n", HTTP1_BAD_VERSION},
    {"GET / ", "\r\n", HTTP1_BAD_VERSION},
    {"GET / ", " HTTP/1.1\r\n", HTTP1_BAD_VERSION},
    {"GET / ", "http/1.1\r\n", HTTP1_BAD_VERSION},
    {"GET / HTTP/1", ",1\r\n", HTTP1_BAD_VERSION},
    {"GET / HTTP/1.", "2\r\n", HTTP1_BAD_VERSION},
    {"GET / HTTP/1.1", "1\r\n", HTTP1_BAD_VERSION},
    {"GET / HTTP/1.1", " \r\n", HTTP1_BAD_VERSION},
    {"GET /x ", "y HTTP/1.1\r\n", HTTP1_BAD_VERSION},
    {"PRI * HTTP/", "2.0\r\n\r\nSM\r\n\r\n", HTTP1_BAD_VERSION},
    {"GET / HTTP/1.1", "\n", HTTP1_BAD_LINE_END},
    {"GET / HTTP/1.1\r", "Host: a\r\n", HTTP1_BAD_LINE_END},
    {"GET / HTTP/1.1\r", "\r\n", HTTP1_BAD_LINE_END},
    /* fields */
    {"GET / HTTP/1.1\r\n", " Host: a\r\n", HTTP1_OBS_FOLD},
    {GET, " x: y\r\n", HTTP1_OBS_FOLD},
    {GET "A: b\r\n", "\tc\r\n", HTTP1_OBS_FOLD},
    {GET "Transfer-Encoding: chunked\r\n", " , identity\r\n", HTTP1_OBS_FOLD},
    {GET, ": x\r\n", HTTP1_BAD_FIELD_NAME},
    {GET "A", " : x\r\n", HTTP1_BAD_FIELD_NAME},
    {GET "Transfer-Encoding", " : chunked\r\n", HTTP1_BAD_FIELD_NAME},
    {GET "Transfer-Encoding", "\t: chunked\r\n", HTTP1_BAD_FIELD_NAME},
    {GET "Transfer-Encoding", "\x0b: chunked\r\n", HTTP1_BAD_FIELD_NAME},
    {GET "Content-Length", "\r\n: 5\r\n", HTTP1_BAD_FIELD_NAME},
    {GET "A", "\r\n", HTTP1_BAD_FIELD_NAME},
    {GET "A", "\n", HTTP1_BAD_FIELD_NAME},
    {GET "A", "\x80: x\r\n", HTTP1_BAD_FIELD_NAME},
    {GET "A", "(: x\r\n", HTTP1_BAD_FIELD_NAME},
    {GET, "\x01: x\r\n", HTTP1_BAD_FIELD_NAME},
    {GET, "\n", HTTP1_BAD_LINE_END},
    {GET "\r", "X", HTTP1_BAD_LINE_END},
    {GET "A: b", "\n", HTTP1_BAD_LINE_END},
    {GET "A: b\r", "c: d\r\n", HTTP1_BAD_LINE_END},
    {GET "A: b\r", "\r\n", HTTP1_BAD_LINE_END},
    {GET "A: b", "\x0b\r\n", HTTP1_BAD_FIELD_VALUE},
    {GET "A: b", "\x7f\r\n", HTTP1_BAD_FIELD_VALUE},
    {GET "Content-Length: ",
     "\x0c"
     "5\r\n",
     HTTP1_BAD_FIELD_VALUE},
    {GET "Content-Length: 5", "\n", HTTP1_BAD_LINE_END},
    /* Host */
    {"GET / HTTP/1.1\r\n\r", "\n", HTTP1_BAD_HOST},
    {"GET / HTTP/1.1\r\nX-Host: a\r\n\r", "\n", HTTP1_BAD_HOST},
    {GET "Host", ": a\r\n", HTTP1_BAD_HOST},
    {"GET / HTTP/1.0\r\nHost: a\r\nhOST", ": a\r\n", HTTP1_BAD_HOST},
    {"GET / HTTP/1.1\r\nHost:", "\r\n", HTTP1_BAD_HOST},
    {"GET / HTTP/1.1\r\nHost: ", "\r\n", HTTP1_BAD_HOST},
    {"GET / HTTP/1.1\r\nHost: ", ":80\r\n", HTTP1_BAD_HOST},
    {"GET / HTTP/1.1\r\nHost: ", "/a\r\n", HTTP1_BAD_HOST},
    {"GET / HTTP/1.1\r\nHost: ", "\xe4.example\r\n", HTTP1_BAD_HOST},
    {"GET / HTTP/1.1\r\nHost: a", "/b\r\n", HTTP1_BAD_HOST},
    {"GET / HTTP/1.1\r\nHost: a", "@b\r\n", HTTP1_BAD_HOST},
    {"GET / HTTP/1.1\r\nHost: a", ",b\r\n", HTTP1_BAD_HOST},
    {"GET / HTTP/1.1\r\nHost: a ", "b\r\n", HTTP1_BAD_HOST},
    {"GET / HTTP/1.1\r\nHost: a:", "b\r\n", HTTP1_BAD_HOST},
    {"GET / HTTP/1.1\r\nHost: a:6553", "6\r\n", HTTP1_BAD_HOST},
    {"GET / HTTP/1.1\r\nHost: a:80", ":80\r\n", HTTP1_BAD_HOST},
    {"GET / HTTP/1.1\r\nHost: [", "]\r\n", HTTP1_BAD_HOST},
    {"GET / HTTP/1.1\r\nHost: [::1", "\r\n", HTTP1_BAD_HOST},
    {"GET / HTTP/1.1\r\nHost: [fe80::1", "%eth0]\r\n", HTTP1_BAD_HOST},
    {"GET / HTTP/1.1\r\nHost: [::1]", "80\r\n", HTTP1_BAD_HOST},
    {"GET / HTTP/1.1\r\nHost: a", "[::1]\r\n", HTTP1_BAD_HOST},
    /* Content-Length */
    {POST "Content-Length:", "\r\n", HTTP1_BAD_LENGTH},
    {POST "Content-Length: \t", "\r\n", HTTP1_BAD_LENGTH},
    {POST "Content-Length: ", "+5\r\n", HTTP1_BAD_LENGTH},
    {POST "Content-Length: ", "-5\r\n", HTTP1_BAD_LENGTH},
    {POST "Content-Length: 0", "x5\r\n", HTTP1_BAD_LENGTH},
    {POST "Content-Length: 0", "5\r\n", HTTP1_BAD_LENGTH},
    {POST "Content-Length: 0", "0\r\n", HTTP1_BAD_LENGTH},
    {POST "Content-Length: 5", ", 5\r\n", HTTP1_BAD_LENGTH},
    {POST "Content-Length: 5 ", "5\r\n", HTTP1_BAD_LENGTH},
    {POST "Content-Length: 5", ";\r\n", HTTP1_BAD_LENGTH},
    {POST "Content-Length: 5", ".0\r\n", HTTP1_BAD_LENGTH},
    {POST "Content-Length: 1", "e3\r\n", HTTP1_BAD_LENGTH},
    {POST "Content-Length: ", "\"5\"\r\n", HTTP1_BAD_LENGTH},
    {POST "Content-Length: ", "\xd9\xa5\r\n", HTTP1_BAD_LENGTH}, /* Arabic digit five */
    {POST "Content-Length: 5\r\nContent-Length", ": 5\r\n", HTTP1_BAD_LENGTH},
    {POST "Content-Length: 5\r\nA: b\r\ncontent-length", ": 6\r\n", HTTP1_BAD_LENGTH},
    {POST "Content-Length: 6553", "7\r\n", HTTP1_BODY_TOO_LARGE},
    {POST "Content-Length: 65536", "0\r\n", HTTP1_BODY_TOO_LARGE},
    {POST "Content-Length: 18446", "744073709551621\r\n", HTTP1_BODY_TOO_LARGE},
    /* Transfer-Encoding */
    {POST "Content-Length: 5\r\nTransfer-Encoding", ": chunked\r\n", HTTP1_LENGTH_AND_CODING},
    {POST "Transfer-Encoding: chunked\r\nContent-Length", ": 5\r\n", HTTP1_LENGTH_AND_CODING},
    {POST "Transfer-Encoding: chunked\r\nTransfer-Encoding", ": chunked\r\n", HTTP1_BAD_CODING},
    {POST "Transfer-Encoding: chunked", ", identity\r\n", HTTP1_BAD_CODING},
    {POST "Transfer-Encoding: ", "identity\r\n", HTTP1_BAD_CODING},
    {POST "Transfer-Encoding: ", "gzip, chunked\r\n", HTTP1_BAD_CODING},
    {POST "Transfer-Encoding: ", "\"chunked\"\r\n", HTTP1_BAD_CODING},
    {POST "Transfer-Encoding: ", ",chunked\r\n", HTTP1_BAD_CODING},
    {POST "Transfer-Encoding: chunked", ";q=1\r\n", HTTP1_BAD_CODING},
    {POST "Transfer-Encoding: chunked", "x\r\n", HTTP1_BAD_CODING},
    {POST "Transfer-Encoding: chunked ", "chunked\r\n", HTTP1_BAD_CODING},
    {POST "Transfer-Encoding: chunke", "\r\n", HTTP1_BAD_CODING},
    {POST "Transfer-Encoding:", "\r\n", HTTP1_BAD_CODING},
    {POST "Transfer-Encoding: ",
     "\x0b"
     "chunked\r\n",
     HTTP1_BAD_FIELD_VALUE},
    {"POST / HTTP/1.0\r\nTransfer-Encoding", ": chunked\r\n", HTTP1_BAD_CODING},
    /* Upgrade, Expect */
    {GET "Upgrade", ": h2c\r\n", HTTP1_UPGRADE},
    {GET "Connection: upgrade\r\nuPGRADE", ": websocket\r\n", HTTP1_UPGRADE},
    {POST "Expect: ", "200-ok\r\n", HTTP1_BAD_EXPECT},
    {POST "Expect:", "\r\n", HTTP1_BAD_EXPECT},
    {POST "Expect: 100-continue", ", x\r\n", HTTP1_BAD_EXPECT},
    {POST "Expect: 100-continue\r\nExpect", ": 100-continue\r\n", HTTP1_BAD_EXPECT},
    /* chunks */
    {CHUNKED, "\r\n", HTTP1_BAD_CHUNK},
    {CHUNKED, " 5\r\n", HTTP1_BAD_CHUNK},
    {CHUNKED, "+5\r\n", HTTP1_BAD_CHUNK},
    {CHUNKED, "-1\r\n", HTTP1_BAD_CHUNK},
    {CHUNKED, "\n5\r\n", HTTP1_BAD_CHUNK},
    {CHUNKED "0", "x5\r\n", HTTP1_BAD_CHUNK},
    {CHUNKED "5", " \r\n", HTTP1_BAD_CHUNK},
    {CHUNKED "5", ";a=b\r\n", HTTP1_BAD_CHUNK},
    {CHUNKED "5", "\nhello", HTTP1_BAD_CHUNK},
    {CHUNKED "5\r", "hello", HTTP1_BAD_CHUNK},
    {CHUNKED "f", "g\r\n", HTTP1_BAD_CHUNK},
    {CHUNKED "5\r\nhello", "0\r\n\r\n", HTTP1_BAD_CHUNK},
    {CHUNKED "5\r\nhello", "\n0\r\n\r\n", HTTP1_BAD_CHUNK},
    {CHUNKED "5\r\nhello\r", "0\r\n\r\n", HTTP1_BAD_CHUNK},
    {CHUNKED "0000000000000005", "5\r\n", HTTP1_BAD_CHUNK},
    {CHUNKED "0000000000000000", "0\r\n", HTTP1_BAD_CHUNK},
    {CHUNKED "1000", "1\r\n", HTTP1_BODY_TOO_LARGE},
    {CHUNKED "ffff", "ffffffffffffffffff\r\n", HTTP1_BODY_TOO_LARGE},
    {CHUNKED "5\r\nhello\r\nfff", "c\r\n", HTTP1_BODY_TOO_LARGE},
    {CHUNKED "0\r\n", "A: b\r\n\r\n", HTTP1_BAD_TRAILER},
    {CHUNKED "0\r\n", "\n", HTTP1_BAD_TRAILER},
    {CHUNKED "0\r\n\r", "X", HTTP1_BAD_TRAILER},
    /* the next request of a connection */
    {GET "\r\n", "\r\n" GET "\r\n", HTTP1_BAD_METHOD},
    {POST "Content-Length: 1\r\n\r\nx", "\r\n" GET "\r\n", HTTP1_BAD_METHOD},
};

static size_t join(size_t i, char *out, size_t size)
{
    int length = snprintf(out, size, "%s%s", refused[i].good, refused[i].bad);
    assert_true(length > 0 && (size_t)length < size);
    return (size_t)length;
}

static void a_well_formed_request_is_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(taken); i++) {
        struct transcript t = run(taken[i].text, strlen(taken[i].text));
        if (strcmp(t.text, taken[i].transcript) != 0)
            fail_msg("%s\ngave %s instead of %s", taken[i].text, t.text, taken[i].transcript);
    }
}

static void a_refusal_names_the_fault_and_falls_on_its_byte(void **state)
{
    char text[1024], expected[64];
    (void)state;
    for (size_t i = 0; i < COUNT(refused); i++) {
        struct transcript t = run(text, join(i, text, sizeof text));
        snprintf(expected, sizeof expected, "!%s@%zu", http1_error_name(refused[i].error),
                 strlen(refused[i].good));
        const char *got = strchr(t.text, '!');
        if (!got || strcmp(got, expected) != 0)
            fail_msg("%s\ngave %s instead of %s", text, t.text, expected);
    }
}

static void check_all_cuts(const char *text, size_t length)
{
    struct transcript whole = run(text, length), cut;
    run_bytewise(&cut, &HTTP1_DEFAULT_LIMITS, text, length);
    if (strcmp(whole.text, cut.text) != 0)
        fail_msg("%s\nbyte by byte gave %s instead of %s", text, cut.text, whole.text);
    for (size_t first = 0; first <= length; first++) {
        for (size_t second = first; second <= length; second++) {
            run_cut(&cut, &HTTP1_DEFAULT_LIMITS, text, length, first, second);
            if (strcmp(whole.text, cut.text) != 0)
                fail_msg("%s\ncut at %zu and %zu gave %s instead of %s", text, first, second,
                         cut.text, whole.text);
        }
    }
}

static void no_cut_of_the_stream_changes_what_comes_out(void **state)
{
    char text[1024];
    (void)state;
    for (size_t i = 0; i < COUNT(taken); i++)
        check_all_cuts(taken[i].text, strlen(taken[i].text));
    for (size_t i = 0; i < COUNT(refused); i++)
        check_all_cuts(text, join(i, text, sizeof text));
}

static void every_byte_is_judged_in_every_place(void **state)
{
    static const struct {
        const char *before, *after;
        const char *allowed; /* beside letters and digits */
        bool high;           /* 0x80 to 0xff as well */
    } places[] = {
        {"G", "T / HTTP/1.1\r\nHost: a\r\n\r\n", "!#$%&'*+-.^_`|~", false},
        {"GET /", " HTTP/1.1\r\nHost: a\r\n\r\n", "!\"$%&'()*+,-./:;<=>?@[\\]^_`{|}~", false},
        {GET "A", ": b\r\n\r\n", "!#$%&'*+-.^_`|~:", false},
        {GET "A: b", "c\r\n\r\n", " \t!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", true},
        {GET "A: eight to", " be read at once\r\n\r\n", " \t!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
         true},
        {"GET / HTTP/1.1\r\nHost: a", "1\r\n\r\n", "-._:", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(places); i++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            char text[256];
            size_t before = strlen(places[i].before), after = strlen(places[i].after);
            memcpy(text, places[i].before, before);
            text[before] = (char)byte;
            memcpy(text + before + 1, places[i].after, after);
            struct transcript t = run(text, before + 1 + after);
            bool letter = (byte | 0x20) >= 'a' && (byte | 0x20) <= 'z';
            bool allowed = letter || (byte >= '0' && byte <= '9') ||
                           (byte >= 0x80 && places[i].high) ||
                           (byte > 0 && byte < 0x80 && strchr(places[i].allowed, (int)byte));
            if (allowed != (strcmp(t.text, "HE") == 0))
                fail_msg("0x%02x behind \"%s\": %s", byte, places[i].before, t.text);
        }
    }
}

static void a_refusal_is_for_good(void **state)
{
    struct http1 parser;
    const void *data;
    size_t used, data_length;
    (void)state;
    http1_init(&parser);
    assert_int_equal(http1_scan(&parser, &HTTP1_DEFAULT_LIMITS, " ", 1, &used, &data, &data_length),
                     HTTP1_BAD);
    assert_int_equal(http1_scan(&parser, &HTTP1_DEFAULT_LIMITS, GET "\r\n", sizeof GET + 1, &used,
                                &data, &data_length),
                     HTTP1_BAD);
    assert_int_equal(used, 0);
    assert_int_equal(parser.error, HTTP1_BAD_METHOD);
    assert_int_equal(
        http1_scan(&parser, &HTTP1_DEFAULT_LIMITS, NULL, 0, &used, &data, &data_length), HTTP1_BAD);
}

static void nothing_at_all_may_be_fed(void **state)
{
    struct http1 parser;
    const void *data;
    size_t used, data_length;
    (void)state;
    http1_init(&parser);
    assert_int_equal(
        http1_scan(&parser, &HTTP1_DEFAULT_LIMITS, NULL, 0, &used, &data, &data_length),
        HTTP1_MORE);
}

/* Runs `text` under small bounds, whole and byte by byte. */
static void expect_under(const struct http1_limits *limits, const char *text, const char *expected)
{
    struct transcript whole, bytewise;
    size_t length = strlen(text);
    run_cut(&whole, limits, text, length, length, length);
    run_bytewise(&bytewise, limits, text, length);
    assert_string_equal(whole.text, expected);
    assert_string_equal(bytewise.text, expected);
}

static void each_bound_holds_to_the_byte(void **state)
{
    const struct http1_limits limits = {.head = 40, .target = 5, .fields = 2, .body = 10};
    (void)state;
    expect_under(&limits, "GET / HTTP/1.1\r\nHost: a\r\nA: 234567890\r\n\r\n",
                 "!head_too_large@40");
    expect_under(&limits, "GET / HTTP/1.1\r\nHost: a\r\nA: 23456789\r\n\r\n", "HE");
    expect_under(&limits, "GET /2345 HTTP/1.0\r\n\r\n", "HEL");
    expect_under(&limits, "GET /23456 HTTP/1.0\r\n\r\n", "!target_too_long@9");
    expect_under(&limits, "GET / HTTP/1.0\r\nA:\r\nB:\r\n\r\n", "HEL");
    expect_under(&limits, "GET / HTTP/1.0\r\nA:\r\nB:\r\nC:\r\n\r\n", "!too_many_fields@24");
    expect_under(&limits, "GET / HTTP/1.0\r\nContent-Length:10\r\n\r\n0123456789",
                 "H(0123456789)EL");
    expect_under(&limits, "GET / HTTP/1.0\r\nContent-Length:11\r\n\r\n", "!body_too_large@32");
}

static void no_more_fields_than_a_head_can_hold_are_taken(void **state)
{
    struct http1_limits limits = HTTP1_DEFAULT_LIMITS;
    static struct http1_head head;
    char text[1024];
    (void)state;
    limits.fields = UINT16_MAX;
    for (int extra = 0; extra <= 1; extra++) {
        int length = snprintf(text, sizeof text, "GET / HTTP/1.0\r\n");
        for (int i = 0; i < HTTP1_MAX_FIELDS + extra; i++)
            length += snprintf(text + length, sizeof text - (size_t)length, "A: b\r\n");
        snprintf(text + length, sizeof text - (size_t)length, "\r\n");
        assert_int_equal(http1_head(text, strlen(text), &limits, &head),
                         extra ? HTTP1_TOO_MANY_FIELDS : HTTP1_OK);
    }
}

static void a_length_of_any_size_is_read_without_overflow(void **state)
{
    struct http1_limits limits = HTTP1_DEFAULT_LIMITS;
    static struct http1_head head;
    const char largest[] = POST "Content-Length: 18446744073709551615\r\n\r\n";
    const char over[] = POST "Content-Length: 18446744073709551616\r\n\r\n";
    (void)state;
    limits.body = UINT64_MAX;
    assert_int_equal(http1_head(largest, sizeof largest - 1, &limits, &head), HTTP1_OK);
    assert_true(head.content_length == UINT64_MAX);
    assert_int_equal(http1_head(over, sizeof over - 1, &limits, &head), HTTP1_BODY_TOO_LARGE);
    expect_under(&limits, CHUNKED "fffffffffffffffe\r\nx", "H(x");
    expect_under(&limits, CHUNKED "1\r\nx\r\nffffffffffffffff\r\n", "H(x)!body_too_large@77");
}

static bool is(struct http1_slice slice, const char *text)
{
    return slice.length == strlen(text) && memcmp(slice.at, text, slice.length) == 0;
}

static enum http1_error sliced(const char *text, struct http1_head *head)
{
    return http1_head(text, strlen(text), &HTTP1_DEFAULT_LIMITS, head);
}

static void a_head_is_cut_into_its_parts(void **state)
{
    static struct http1_head head;
    size_t count;
    (void)state;
    assert_int_equal(sliced("POST /v1/sales/7?x=1?y HTTP/1.1\r\nHost: shop.example:80\r\n"
                            "Idempotency-Key:\t k 1 \t\r\nX:\r\nx: second\r\n"
                            "Expect: 100-continue\r\nContent-Length: 14\r\n\r\n",
                            &head),
                     HTTP1_OK);
    assert_true(is(head.method, "POST") && is(head.target, "/v1/sales/7?x=1?y"));
    assert_true(is(head.path, "/v1/sales/7") && is(head.query, "x=1?y"));
    assert_int_equal(head.minor, 1);
    assert_true(head.keep_alive && head.expect_continue && !head.chunked);
    assert_true(head.content_length == 14);
    assert_int_equal(head.field_count, 6);
    assert_true(is(head.fields[1].name, "Idempotency-Key") && is(head.fields[1].value, "k 1"));
    assert_true(is(*http1_find(&head, "idempotency-key", &count), "k 1"));
    assert_int_equal(count, 1);
    assert_true(is(*http1_find(&head, "X", &count), ""));
    assert_int_equal(count, 2);
    assert_null(http1_find(&head, "Idempotency", &count));
    assert_int_equal(count, 0);
    assert_non_null(http1_find(&head, "HOST", NULL));
}

static void a_head_without_query_or_fields_has_empty_parts(void **state)
{
    static struct http1_head head;
    (void)state;
    assert_int_equal(sliced("GET /a HTTP/1.0\r\n\r\n", &head), HTTP1_OK);
    assert_true(is(head.path, "/a") && is(head.query, ""));
    assert_true(head.minor == 0 && head.field_count == 0 && head.content_length == 0);
    assert_int_equal(sliced(CHUNKED, &head), HTTP1_OK);
    assert_true(head.chunked && head.content_length == 0);
    assert_int_equal(sliced("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", &head), HTTP1_OK);
    assert_false(head.expect_continue);
}

static void close_beats_keep_alive_and_the_version(void **state)
{
    static const struct {
        const char *text;
        bool keep;
    } cases[] = {
        {GET "\r\n", true},
        {GET "Connection: close\r\n\r\n", false},
        {GET "connection: CLOSE , keep-alive\r\n\r\n", false},
        {GET "Connection: keep-alive\r\nConnection: x,close\r\n\r\n", false},
        {GET "Connection: closed, xclose, clos\r\n\r\n", true},
        {GET "Connection: ,,\r\n\r\n", true},
        {GET "Connection:\r\n\r\n", true},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", false},
    };
    static struct http1_head head;
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(sliced(cases[i].text, &head), HTTP1_OK);
        if (head.keep_alive != cases[i].keep)
            fail_msg("%s", cases[i].text);
    }
}

static void slicing_refuses_what_scanning_refuses(void **state)
{
    static struct http1_head head;
    char text[1024];
    (void)state;
    for (size_t i = 0; i < COUNT(refused); i++) {
        size_t length = join(i, text, sizeof text);
        if (strncmp(run(text, length).text, "H", 1) != 0)
            assert_int_equal(http1_head(text, length, &HTTP1_DEFAULT_LIMITS, &head),
                             refused[i].error);
    }
    assert_int_equal(sliced(GET, &head), HTTP1_BAD_LINE_END);
    assert_int_equal(sliced(GET "\r\nX", &head), HTTP1_BAD_LINE_END);
    assert_int_equal(sliced("", &head), HTTP1_BAD_LINE_END);
    assert_int_equal(http1_head(GET "\0\r\n\r\n", sizeof GET + 4, &HTTP1_DEFAULT_LIMITS, &head),
                     HTTP1_BAD_FIELD_NAME);
}

static void mutations_never_depend_on_the_cut(void **state)
{
    struct random random = {.state = 1};
    char text[1024];
    (void)state;
    for (int round = 0; round < 20000; round++) {
        const char *base = taken[random_below(&random, COUNT(taken))].text;
        size_t length = strlen(base);
        memcpy(text, base, length + 1);
        for (uint32_t i = random_below(&random, 4); length > 0 && i > 0; i--)
            text[random_below(&random, (uint32_t)length)] =
                "\r\n \t:,;0519afx/*\x00\x80"[random_below(&random, 18)];
        struct transcript whole = run(text, length), cut;
        run_bytewise(&cut, &HTTP1_DEFAULT_LIMITS, text, length);
        assert_string_equal(whole.text, cut.text);
    }
}

static void every_error_has_a_name_and_a_status(void **state)
{
    (void)state;
    for (int i = 0; i < HTTP1_ERRORS; i++) {
        assert_non_null(http1_error_name((enum http1_error)i));
        for (int k = 0; k < i; k++)
            assert_string_not_equal(http1_error_name((enum http1_error)i),
                                    http1_error_name((enum http1_error)k));
        assert_true(i == 0 || (http1_error_status((enum http1_error)i) >= 400 &&
                               http1_error_status((enum http1_error)i) <= 505));
    }
    assert_int_equal(http1_error_status(HTTP1_TARGET_TOO_LONG), 414);
    assert_int_equal(http1_error_status(HTTP1_HEAD_TOO_LARGE), 431);
    assert_int_equal(http1_error_status(HTTP1_BODY_TOO_LARGE), 413);
    assert_int_equal(http1_error_status(HTTP1_BAD_VERSION), 505);
    assert_string_equal(http1_error_name(HTTP1_ERRORS), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_well_formed_request_is_taken),
        cmocka_unit_test(a_refusal_names_the_fault_and_falls_on_its_byte),
        cmocka_unit_test(no_cut_of_the_stream_changes_what_comes_out),
        cmocka_unit_test(every_byte_is_judged_in_every_place),
        cmocka_unit_test(a_refusal_is_for_good),
        cmocka_unit_test(nothing_at_all_may_be_fed),
        cmocka_unit_test(each_bound_holds_to_the_byte),
        cmocka_unit_test(no_more_fields_than_a_head_can_hold_are_taken),
        cmocka_unit_test(a_length_of_any_size_is_read_without_overflow),
        cmocka_unit_test(a_head_is_cut_into_its_parts),
        cmocka_unit_test(a_head_without_query_or_fields_has_empty_parts),
        cmocka_unit_test(close_beats_keep_alive_and_the_version),
        cmocka_unit_test(slicing_refuses_what_scanning_refuses),
        cmocka_unit_test(mutations_never_depend_on_the_cut),
        cmocka_unit_test(every_error_has_a_name_and_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
