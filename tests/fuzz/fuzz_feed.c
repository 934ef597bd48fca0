/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Feeds: any bytes, taken for any format, are refused with a reason or come to prefixes that are in
 * order, apart from each other, and within the bounds. */
#include <stdlib.h>
#include <string.h>

#include "dataplane/ops/feed.h"

enum { MOST = 20000 };

static const int64_t written = INT64_C(1795341600000);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static bool is_masked(const struct prefix *p)
{
    struct prefix again;
    char text[ADDR_TEXT];
    bool masked;
    return prefix_parse(prefix_print(p, text), &again, &masked) == 0 && !masked &&
           again.length == p->length && addr_equal(&again.base, &p->base);
}

static void check_set(const struct feed_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct prefix *p = &set->prefix[i], *q = i > 0 ? p - 1 : NULL;
        check(is_masked(p));
        if (q == NULL || addr_is_v4(&q->base) != addr_is_v4(&p->base)) {
            check(q == NULL || addr_is_v4(&q->base)); /* IPv4 first */
            continue;
        }
        check(memcmp(&q->base, &p->base, sizeof q->base) < 0);
        check(!prefix_contains(q, &p->base));
    }
    check(set->v4_addresses <= UINT64_C(1) << 32);
}

static void check_feed(const struct feed *feed)
{
    struct feed_set at_once, later;
    check(feed->format != FEED_AUTO && feed->format < FEED_FORMATS);
    check(feed->count + feed->lapsing_count + feed->except_count <= MOST);
    check(feed->shown_count <= FEED_SHOWN && feed->shown_count <= feed->unreadable);
    check(feed->masked + feed->passed_over + feed->deleted <= feed->entries);
    for (uint32_t i = 0; i < feed->shown_count; i++) {
        check(strlen(feed->shown[i].text) < FEED_TEXT && feed->shown[i].line <= feed->lines);
        for (const char *p = feed->shown[i].text; *p; p++)
            check(*p >= 0x20 && *p < 0x7f);
    }
    check(feed_merge(feed, written, &at_once) == 0 && feed_merge(feed, INT64_MAX, &later) == 0);
    check_set(&at_once);
    check_set(&later);
    check(later.lapsed == feed->lapsing_count && later.lapsed >= at_once.lapsed);
    check(later.v4_addresses <= at_once.v4_addresses && at_once.until_ms > written);
    free(at_once.prefix);
    free(later.prefix);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    for (int format = FEED_AUTO; format < FEED_FORMATS; format++) {
        const struct feed_how how = {(enum feed_format)format, written, MOST};
        struct feed feed;
        char why[FEED_WHY] = "";
        if (feed_read((const char *)bytes, length, &how, &feed, why) == 0)
            check_feed(&feed);
        else
            check(why[0] != '\0' && feed.prefix == NULL);
        feed_free(&feed);
    }
    return 0;
}
