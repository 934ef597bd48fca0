/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The reader of feeds: a sample of each format (tests/feeds, with what it must come to beside it),
 * its traps, its bounds, and the merging of what it has read. */
#include "dataplane/ops/feed.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/random.h"

static const int64_t written = INT64_C(1795341600000);
enum { LATER_MS = 100 * 1000 };

static char why[FEED_WHY];

static char *slurp(const char *name, size_t *length)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", FEED_SAMPLES, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("%s: cannot be opened", path);
    char *bytes = malloc(1 << 16);
    assert_non_null(bytes);
    *length = fread(bytes, 1, (1 << 16) - 1, file);
    bytes[*length] = '\0';
    fclose(file);
    return bytes;
}

static int read_as(enum feed_format format, const char *text, struct feed *feed)
{
    const struct feed_how how = {format, written, 1000};
    return feed_read(text, strlen(text), &how, feed, why);
}

/* What is in force at that time, a prefix per line. */
static char *in_force(const struct feed *feed, int64_t now_ms)
{
    struct feed_set set;
    char *text = NULL, printed[ADDR_TEXT];
    size_t length;
    assert_int_equal(feed_merge(feed, now_ms, &set), 0);
    FILE *out = open_memstream(&text, &length);
    for (size_t i = 0; i < set.count; i++)
        fprintf(out, "%s\n", prefix_print(&set.prefix[i], printed));
    fclose(out);
    free(set.prefix);
    return text;
}

/* All of it is read without a fault, and comes to that. */
static void comes_to(enum feed_format format, const char *text, const char *wanted)
{
    struct feed feed;
    assert_int_equal(read_as(format, text, &feed), 0);
    if (feed.unreadable > 0)
        fail_msg("line %llu: %s: %s", (unsigned long long)feed.shown[0].line, feed.shown[0].text,
                 feed.shown[0].wrong);
    char *seen = in_force(&feed, written + LATER_MS);
    assert_string_equal(seen, wanted);
    free(seen);
    feed_free(&feed);
}

/* ---- each format ---- */

static void every_sample_is_recognised_and_comes_to_what_it_says(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum feed_format format;
        uint64_t entries, masked;
    } samples[] = {
        {"plain.txt", FEED_PLAIN, 6, 1},
        {"ranges.txt", FEED_PLAIN, 4, 0},
        {"spamhaus_drop.txt", FEED_PLAIN, 3, 0},
        {"spamhaus_drop_v4.json", FEED_JSONLINES, 4, 0},
        {"spamhaus_drop_v6.json", FEED_JSONLINES, 2, 0},
        {"firehol.netset", FEED_PLAIN, 7, 0},
        {"ipset.save", FEED_IPSET, 7, 0},
        {"dshield.txt", FEED_DSHIELD, 3, 0},
        {"emerging.txt", FEED_PLAIN, 4, 0},
        {"feodo.txt", FEED_PLAIN, 2, 0},
        {"feodo.csv", FEED_CSV, 2, 0},
        {"tor_exit_addresses.txt", FEED_TOR, 3, 0},
        {"tor_bulk.txt", FEED_PLAIN, 3, 0},
        {"crowdsec.json", FEED_CROWDSEC, 10, 0},
        {"aws.json", FEED_AWS, 4, 0},
        {"cloudflare_v4.txt", FEED_PLAIN, 3, 0},
        {"cloudflare_v6.txt", FEED_PLAIN, 2, 0},
    };
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++)
        for (int named = 0; named < 2; named++) {
            const struct feed_how how = {named ? samples[i].format : FEED_AUTO, written, 1000};
            char name[64];
            size_t length, want_length;
            struct feed feed;
            char *bytes = slurp(samples[i].name, &length);
            snprintf(name, sizeof name, "%s.want", samples[i].name);
            char *wanted = slurp(name, &want_length);
            assert_int_equal(feed_read(bytes, length, &how, &feed, why), 0);
            char *seen = in_force(&feed, written + LATER_MS);
            if (feed.format != samples[i].format || feed.entries != samples[i].entries ||
                feed.masked != samples[i].masked || feed.unreadable != 0 || strcmp(seen, wanted))
                fail_msg("%s: format %s, %llu entries, %llu masked, %llu unreadable:\n%s",
                         samples[i].name, feed_formats[feed.format],
                         (unsigned long long)feed.entries, (unsigned long long)feed.masked,
                         (unsigned long long)feed.unreadable, seen);
            free(seen);
            free(wanted);
            free(bytes);
            feed_free(&feed);
        }
}

static void nothing_at_all_is_an_empty_feed(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "\n\n", "\xef\xbb\xbf", "\xef\xbb\xbf\r\n# only\r\n",
                                        ";"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        comes_to(FEED_AUTO, texts[i], "");
}

static void lists_of_crowdsec_that_are_null_are_empty(void **state)
{
    (void)state;
    comes_to(FEED_AUTO, "{\"new\":null,\"deleted\":null}", "");
    comes_to(FEED_AUTO, "{\"deleted\":null,\"new\":[]}", "");
    comes_to(FEED_AUTO, "null\n", "");
    comes_to(FEED_AUTO, "[{\"scope\":\"Ip\",\"value\":\"192.0.2.9\",\"duration\":\"1h\"}]",
             "192.0.2.9/32\n");
}

static void what_crowdsec_deletes_goes_by_number_or_by_what_it_says(void **state)
{
    (void)state;
#define BAN(id, value) "{" id "\"scope\":\"Ip\",\"type\":\"ban\",\"value\":\"" value "\"}"
    comes_to(
        FEED_AUTO,
        "{\"new\":[" BAN("\"id\":1,", "192.0.2.1") "," BAN("\"id\":2,", "192.0.2.2") "," BAN(
            "",
            "192.0.2.3") "," BAN("",
                                 "192.0.2.4") "],"
                                              "\"deleted\":[" BAN("\"id\":9,", "192.0.2.1") "," BAN(
                                                  "\"id\":2,",
                                                  "192.0.2.2") "," BAN("\"id\":8,",
                                                                       "192.0.2.3") "," BAN("",
                                                                                            "192.0."
                                                                                            "2.4") "]}",
        "192.0.2.1/32\n");
    comes_to(FEED_AUTO,
             "{\"new\":[" BAN("\"id\":1,", "192.0.2.1") "],\"deleted\":[" BAN(
                 "", "192.0.2.1/32") ",{\"id\":1,\"scope\":\"Ip\",\"type\":\"captcha\",\"value\":"
                                     "\"192.0.2.5\"}]}",
             "");
    comes_to(FEED_AUTO,
             "{\"new\":[" BAN("", "192.0.2.1") "],\"deleted\":[{\"scope\":\"Ip\",\"type\":"
                                               "\"captcha\",\"value\":\"192.0.2.1\"}]}",
             "192.0.2.1/32\n");
}

static void durations_are_gos(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"3h59m49.3s", 14389300},
                {"0", 0},
                {"0s", 0},
                {"1.5h", 5400000},
                {"-1m", -60000},
                {"+2s", 2000},
                {".5s", 500},
                {"1500us", 1},
                {"1500\xc2\xb5s", 1},
                {"2000\xce\xbcs", 2},
                {"2000000ns", 2},
                {"1h1h", 7200000}};
    static const char *const bad[] = {
        "", "-", "3", "h", "3x", "3h ", "1h2", ".s", "--1s", "9999999999999h", "1e3s"};
    int64_t ms;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        if (!feed_duration(good[i].text, &ms))
            fail_msg("%s is refused", good[i].text);
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (feed_duration(bad[i], &ms))
            fail_msg("%s is taken", bad[i]);
}

static void entries_end_with_their_time_counted_from_the_files(void **state)
{
    (void)state;
    struct feed feed;
    struct feed_set set;
    assert_int_equal(read_as(FEED_AUTO,
                             "add s 192.0.2.1 timeout 60\nadd s 192.0.2.4 timeout 3600\n"
                             "add s 192.0.2.6 timeout 0\n",
                             &feed),
                     0);
    static const struct {
        int64_t now, until;
        size_t count;
        uint64_t lapsed;
    } at[] = {{0, 60000, 3, 0}, {59999, 60000, 3, 0}, {60000, 3600000, 2, 1}, {3600000, -1, 1, 2}};
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
        assert_int_equal(feed_merge(&feed, written + at[i].now, &set), 0);
        assert_int_equal(set.count, at[i].count);
        assert_int_equal(set.lapsed, at[i].lapsed);
        assert_true(set.until_ms == (at[i].until < 0 ? INT64_MAX : written + at[i].until));
        free(set.prefix);
    }
    feed_free(&feed);
}

static void metadata_that_counts_other_records_gives_a_cut_file_away(void **state)
{
    (void)state;
    struct feed feed;
    assert_int_equal(read_as(FEED_AUTO,
                             "{\"cidr\":\"192.0.2.0/24\"}\n"
                             "{\"type\":\"metadata\",\"records\":3}\n",
                             &feed),
                     -EINVAL);
    assert_string_equal(why, "its metadata counts 3 records, and there are 1");
    assert_null(feed.prefix);
    comes_to(FEED_AUTO, /* some count that line, too */
             "{\"cidr\":\"192.0.2.0/24\"}\n{\"type\":\"metadata\",\"records\":2}\n",
             "192.0.2.0/24\n");
}

static void a_document_that_is_none_or_another_is_refused_by_its_line(void **state)
{
    (void)state;
    static const struct {
        enum feed_format format;
        const char *text, *why;
    } bad[] = {
        {FEED_AUTO, "{\"new\":[\n{\"scope\":\"Ip\",", "line 2: not JSON: "},
        {FEED_AUTO, "{\"message\":\"access forbidden\"}", "is JSON, and not decisions of CrowdSec"},
        {FEED_AUTO, "{\"new\":7}", "is JSON, and not decisions of CrowdSec"},
        {FEED_AWS, "{\"new\":[]}", "is JSON, and not ranges of AWS"},
        {FEED_CROWDSEC, "{\"prefixes\":[]}", "is JSON, and not decisions of CrowdSec"},
        {FEED_CROWDSEC, "192.0.2.1\n", "line 1: not JSON: "},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct feed feed;
        assert_int_equal(read_as(bad[i].format, bad[i].text, &feed), -EINVAL);
        if (strncmp(why, bad[i].why, strlen(bad[i].why)) != 0)
            fail_msg("%s", why);
    }
}

static void a_tree_that_would_not_fit_is_refused_before_it_is_built(void **state)
{
    (void)state;
    enum { LENGTH = 8 << 20 };
    char *text = malloc(LENGTH);
    const struct feed_how how = {FEED_AUTO, written, 1000};
    struct feed feed;
    assert_non_null(text);
    for (int i = 0; i < LENGTH; i += 4)
        memcpy(text + i, "[{},", 4);
    assert_int_equal(feed_read(text, LENGTH, &how, &feed, why), -EFBIG);
    assert_non_null(strstr(why, "too large a JSON document"));
    free(text);
}

static size_t asked; /* bytes, for trees */

static void *counted_malloc(size_t size)
{
    asked += size;
    return malloc(size);
}

static void no_tree_is_built_only_to_tell_the_format(void **state)
{
    (void)state;
    enum { LENGTH = 8 << 20 };
    char *text = malloc(LENGTH + 1);
    const struct feed_how how = {FEED_AUTO, written, 1000};
    struct feed feed;
    assert_non_null(text);
    size_t length = (size_t)sprintf(text, "{\"a\":[{}");
    for (; length + 5 <= LENGTH; length += 3)
        memcpy(text + length, ",{}", 3);
    memcpy(text + length, "]}", 3);
    asked = 0;
    json_set_alloc_funcs(counted_malloc, free);
    int error = feed_read(text, length + 2, &how, &feed, why);
    json_set_alloc_funcs(malloc, free);
    free(text);
    assert_int_equal(error, -EFBIG);
    assert_non_null(strstr(why, "too large a JSON document"));
    assert_int_equal(asked, 0);
}

/* Whichever of its members a line of JSON would have, too. */
static void a_document_on_one_long_line_is_read_as_a_document(void **state)
{
    (void)state;
    static const struct {
        enum feed_format format;
        const char *head, *entry, *tail;
    } documents[] = {
        {FEED_CROWDSEC, "{\"deleted\":null,\"new\":[", "{\"scope\":\"Ip\",\"value\":\"192.0.2.1\"}",
         "]}\n"},
        {FEED_CROWDSEC, "[", "{\"scope\":\"Ip\",\"value\":\"192.0.2.1\"}", "]\n"},
        {FEED_AWS, "{\"type\":\"metadata\",\"prefixes\":[", "{\"ip_prefix\":\"192.0.2.1/32\"}",
         "]}\n"},
    };
    for (size_t i = 0; i < sizeof documents / sizeof documents[0]; i++) {
        enum { ENTRIES = 200 };
        char text[4 * FEED_LINE_MAX];
        struct feed feed;
        size_t length = (size_t)snprintf(text, sizeof text, "%s", documents[i].head);
        for (int entry = 0; entry < ENTRIES; entry++)
            length += (size_t)snprintf(text + length, sizeof text - length, "%s%s",
                                       entry > 0 ? "," : "", documents[i].entry);
        length += (size_t)snprintf(text + length, sizeof text - length, "%s", documents[i].tail);
        assert_in_range(length, FEED_LINE_MAX + 2, sizeof text - 1);
        assert_int_equal(read_as(FEED_AUTO, text, &feed), 0);
        assert_int_equal(feed.format, documents[i].format);
        assert_int_equal(feed.entries, ENTRIES);
        assert_int_equal(feed.unreadable, 0);
        feed_free(&feed);
    }
}

/* ---- what cannot be read ---- */

static void what_cannot_be_read_is_counted_and_the_first_five_named(void **state)
{
    (void)state;
    static const char text[] = "192.0.2.1\n# fine\n192.0.2.256\n\n192.0.2.0/33\nexample.com\n"
                               "2001:db8::/129\n192.0.2.9-192.0.2.1\n::ffff:192.0.2.1\n"
                               "192.0.2.1 192.0.2.2\n\x01\x7f\xff\n";
    static const uint64_t lines[FEED_SHOWN] = {3, 5, 6, 7, 8};
    struct feed feed;
    assert_int_equal(read_as(FEED_AUTO, text, &feed), 0);
    assert_int_equal(feed.entries, 1);
    assert_int_equal(feed.unreadable, 8);
    assert_int_equal(feed.lines, 11);
    assert_int_equal(feed.shown_count, FEED_SHOWN);
    for (int i = 0; i < FEED_SHOWN; i++)
        assert_int_equal(feed.shown[i].line, lines[i]);
    assert_string_equal(feed.shown[2].text, "example.com");
    assert_string_equal(feed.shown[2].wrong, "neither an address, nor a prefix, nor a range");
    assert_string_equal(feed.shown[4].wrong, "ends before it begins");
    feed_free(&feed);
}

static void lines_that_are_not_of_their_format_are_unreadable(void **state)
{
    (void)state;
    static const struct {
        enum feed_format format;
        const char *line;
    } bad[] = {
        {FEED_PLAIN, "192.0.2.1-2001:db8::1"},
        {FEED_PLAIN, "::fffe:0:0-::1:0:0:0"}, /* would hold IPv4's mapped form */
        {FEED_PLAIN, "192.0.2.01"},
        {FEED_IPSET, "del s 192.0.2.1"},
        {FEED_IPSET, "add s"},
        {FEED_IPSET, "add s 192.0.2.1 timeout soon"},
        {FEED_IPSET, "add s 192.0.2.1 surprise 1"},
        {FEED_IPSET, "add s 192.0.2.0/24,tcp:80"},
        {FEED_IPSET, "add s 192.0.2.0-192.0.2.9 nomatch"},
        {FEED_DSHIELD, "192.0.2.0\t192.0.2.255\t23"},
        {FEED_DSHIELD, "192.0.2.255\t192.0.2.0\t24"},
        {FEED_DSHIELD, "192.0.2.0"},
        {FEED_CSV, "\"2026-10-01\""},
        {FEED_CSV, "\"2026-10-01\",\"example.com\",\"443\""},
        {FEED_TOR, "ExitAddress"},
        {FEED_TOR, "192.0.2.1"},
        {FEED_JSONLINES, "{\"cidr\":\"192.0.2.0/24\""},
        {FEED_JSONLINES, "{\"cidr\":7}"},
        {FEED_JSONLINES, "[]"},
        {FEED_CROWDSEC, "[{\"scope\":\"Ip\",\"value\":\"nobody\"}]"},
        {FEED_CROWDSEC, "[{\"scope\":\"Ip\",\"value\":\"192.0.2.1\",\"duration\":\"soon\"}]"},
        {FEED_CROWDSEC, "[7]"},
        {FEED_AWS, "{\"prefixes\":[{\"ip_prefix\":7}]}"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct feed feed;
        assert_int_equal(read_as(bad[i].format, bad[i].line, &feed), 0);
        if (feed.unreadable != 1 || feed.entries != 0 || feed.count != 0)
            fail_msg("read: %s", bad[i].line);
        feed_free(&feed);
    }
}

static void a_line_is_at_most_4096_bytes(void **state)
{
    (void)state;
    char text[FEED_LINE_MAX + 16];
    struct feed feed;
    for (size_t length = FEED_LINE_MAX; length <= FEED_LINE_MAX + 1; length++) {
        memset(text, ' ', sizeof text);
        memcpy(text, "192.0.2.1", 9);
        text[length] = '\n';
        strcpy(text + length + 1, "192.0.2.2");
        assert_int_equal(read_as(FEED_AUTO, text, &feed), 0);
        assert_int_equal(feed.unreadable, length > FEED_LINE_MAX);
        assert_int_equal(feed.count, 2 - feed.unreadable);
        feed_free(&feed);
    }
}

static void more_prefixes_than_allowed_end_the_reading_however_they_are_written(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "192.0.2.1\n192.0.2.3\n192.0.2.5\n192.0.2.7",
        "0.0.0.1-255.255.255.254",
        "add s 192.0.2.1 timeout 9\nadd s 192.0.2.3 timeout 9\nadd s 192.0.2.0/24 nomatch\nadd s "
        "192.0.2.7",
    };
    const struct feed_how how = {FEED_AUTO, written, 3};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct feed feed;
        assert_int_equal(feed_read(texts[i], strlen(texts[i]), &how, &feed, why), -EFBIG);
        assert_string_equal(why, "holds more than 3 prefixes");
    }
}

/* ---- merging ---- */

static void overlaps_are_merged_and_neighbours_joined(void **state)
{
    (void)state;
    comes_to(FEED_PLAIN,
             "198.51.100.0/24\n198.51.100.7\n198.51.100.0/25\n198.51.100.0/24\n"
             "192.0.2.0/25\n192.0.2.128/25\n203.0.113.1\n203.0.113.2\n"
             "2001:db8::/33\n2001:db8:8000::/33\n2001:db8::1\n",
             "192.0.2.0/24\n198.51.100.0/24\n203.0.113.1/32\n203.0.113.2/32\n2001:db8::/32\n");
    comes_to(FEED_PLAIN, "0.0.0.0/1\n128.0.0.0/1\n::/1\n8000::/1", "0.0.0.0/0\n::/0\n");
    comes_to(FEED_PLAIN,
             "0.0.0.0/0\n255.255.255.255\n::/0\nffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
             "0.0.0.0/0\n::/0\n");
}

static void an_exception_holds_against_what_is_wider_only(void **state)
{
    (void)state;
    comes_to(FEED_IPSET,
             "add s 192.0.2.0/24\nadd s 192.0.2.0/26 nomatch\nadd s 192.0.2.5\n"
             "add s 198.51.100.0/24 nomatch\nadd s 198.51.100.1\n"
             "add s 203.0.113.0/24\nadd s 203.0.113.0/24 nomatch\n",
             "192.0.2.5/32\n192.0.2.64/26\n192.0.2.128/25\n198.51.100.1/32\n");
    comes_to(FEED_IPSET, "add s ffff::/16\nadd s ffff:8000::/17 nomatch\n", "ffff::/17\n");
}

static void the_mapped_form_of_ipv4_is_never_cut_out_of_ipv6(void **state)
{
    (void)state;
    struct feed feed;
    struct feed_set set;
    assert_int_equal(read_as(FEED_IPSET, "add s ::/80\nadd s ::fffe:0:0/96 nomatch\n", &feed), 0);
    assert_int_equal(feed_merge(&feed, written, &set), 0);
    for (size_t i = 0; i < set.count; i++)
        assert_false(addr_is_v4(&set.prefix[i].base));
    assert_int_equal(set.count, 15);
    assert_int_equal(set.v4_addresses, 0);
    free(set.prefix);
    feed_free(&feed);
}

static void what_is_covered_is_counted_by_family(void **state)
{
    (void)state;
    struct feed feed;
    struct feed_set set;
    assert_int_equal(read_as(FEED_PLAIN,
                             "192.0.2.0/24\n192.0.2.1\n10.0.0.0/8\n2001:db8::/48\n"
                             "2001:db8:1::1\n2001:db8:1::3\n",
                             &feed),
                     0);
    assert_int_equal(feed_merge(&feed, written, &set), 0);
    assert_int_equal(set.v4_addresses, (1 << 24) + 256);
    assert_int_equal(set.v6_networks, (1 << 16) + 2);
    free(set.prefix);
    feed_free(&feed);
    assert_int_equal(read_as(FEED_PLAIN, "0.0.0.0/0\n::/0\n", &feed), 0);
    assert_int_equal(feed_merge(&feed, written, &set), 0);
    assert_true(set.v4_addresses == UINT64_C(1) << 32);
    assert_true(set.v6_networks == UINT64_MAX);
    free(set.prefix);
    feed_free(&feed);
}

/* The longest entry that holds an address decides; small prefixes in a small space, so that they
 * meet. */
static bool decided(const struct feed *feed, const struct addr *a)
{
    int best = -1, length;
    bool in = false;
    for (size_t i = 0; i < feed->count; i++)
        if (prefix_contains(&feed->prefix[i], a) && (length = feed->prefix[i].length) > best) {
            best = length;
            in = true;
        }
    for (size_t i = 0; i < feed->except_count; i++)
        if (prefix_contains(&feed->except[i], a) && (length = feed->except[i].length) >= best) {
            best = length;
            in = false;
        }
    return in;
}

static void merged_or_not_every_address_is_decided_alike(void **state)
{
    (void)state;
    struct random seed = {1};
    for (int round = 0; round < 2000; round++) {
        char text[2048] = "";
        size_t length = 0;
        struct feed feed;
        struct feed_set set;
        bool v4 = round & 1;
        for (int i = 0; i < 12; i++) {
            unsigned bits = random_below(&seed, 9), host = random_below(&seed, 256);
            length += (size_t)snprintf(
                text + length, sizeof text - length,
                v4 ? "add s 255.255.255.%u/%u%s\n"
                   : "add s ffff:ffff:ffff:ffff:ffff:ffff:ffff:ff%02x/%u%s\n",
                host, (v4 ? 24 : 120) + bits, random_below(&seed, 3) == 0 ? " nomatch" : "");
        }
        assert_int_equal(read_as(FEED_IPSET, text, &feed), 0);
        assert_int_equal(feed_merge(&feed, written, &set), 0);
        for (unsigned host = 0; host < 256; host++) {
            struct addr a;
            char printed[ADDR_TEXT];
            size_t in = 0;
            snprintf(printed, sizeof printed,
                     v4 ? "255.255.255.%u" : "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ff%02x", host);
            assert_int_equal(addr_parse(printed, &a), 0);
            for (size_t i = 0; i < set.count; i++)
                in += prefix_contains(&set.prefix[i], &a);
            if (in != decided(&feed, &a))
                fail_msg("%s is in %zu prefixes of\n%s", printed, in, text);
        }
        free(set.prefix);
        feed_free(&feed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sample_is_recognised_and_comes_to_what_it_says),
        cmocka_unit_test(nothing_at_all_is_an_empty_feed),
        cmocka_unit_test(lists_of_crowdsec_that_are_null_are_empty),
        cmocka_unit_test(what_crowdsec_deletes_goes_by_number_or_by_what_it_says),
        cmocka_unit_test(durations_are_gos),
        cmocka_unit_test(entries_end_with_their_time_counted_from_the_files),
        cmocka_unit_test(metadata_that_counts_other_records_gives_a_cut_file_away),
        cmocka_unit_test(a_document_that_is_none_or_another_is_refused_by_its_line),
        cmocka_unit_test(a_tree_that_would_not_fit_is_refused_before_it_is_built),
        cmocka_unit_test(no_tree_is_built_only_to_tell_the_format),
        cmocka_unit_test(a_document_on_one_long_line_is_read_as_a_document),
        cmocka_unit_test(what_cannot_be_read_is_counted_and_the_first_five_named),
        cmocka_unit_test(lines_that_are_not_of_their_format_are_unreadable),
        cmocka_unit_test(a_line_is_at_most_4096_bytes),
        cmocka_unit_test(more_prefixes_than_allowed_end_the_reading_however_they_are_written),
        cmocka_unit_test(overlaps_are_merged_and_neighbours_joined),
        cmocka_unit_test(an_exception_holds_against_what_is_wider_only),
        cmocka_unit_test(the_mapped_form_of_ipv4_is_never_cut_out_of_ipv6),
        cmocka_unit_test(what_is_covered_is_counted_by_family),
        cmocka_unit_test(merged_or_not_every_address_is_decided_alike),
    };
    return cmocka_run_group_tests_name("feed", tests, NULL, NULL);
}
