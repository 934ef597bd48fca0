/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Configuration files, good and broken, against a schema that has every type; the message of each
 * refusal is compared whole, because it is what an operator at night has to work with. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/conf.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

struct main_settings {
    bool enabled;
    int64_t workers, offset, memory, timeout, linger, opens, never;
    int mode;
    char *title, *dsn;
    struct addr gateway, optional;
    struct prefix inside, spare;
    struct endpoint metrics, off;
    struct conf_list interfaces, resolvers, listen, words;
};

struct service_settings {
    char *name;
    struct endpoint vip;
    struct conf_list backends;
    int64_t weight;
};

struct pool_settings {
    char *name;
    int64_t size;
};

struct root {
    struct main_settings main;
    int64_t depth; /* a section may be a part of the root itself */
    struct conf_list services, pools;
};

static const char *const modes[] = {"fast", "safe", NULL};
static const struct conf_section sections[] = {
    {"main", 0, offsetof(struct root, main), sizeof(struct main_settings), 0, 0, "The main part."},
    {"queue", 0, offsetof(struct root, depth), sizeof(int64_t), 0, 0, "Has only defaults."},
    {"service", 1, offsetof(struct root, services), sizeof(struct service_settings), 1, 3,
     "One virtual service."},
    {"pool", 1, offsetof(struct root, pools), sizeof(struct pool_settings), 0, 2, "A pool."},
};

#define M(field) offsetof(struct main_settings, field)
#define S(field) offsetof(struct service_settings, field)
static const struct conf_row rows[] = {
    {"main", "enabled", CONF_BOOL, M(enabled), 0, 0, "yes", NULL, CONF_RELOAD, "Whether at all."},
    {"main", "workers", CONF_INT, M(workers), 1, 64, "2", NULL, CONF_BOOT, "Threads."},
    {"main", "offset", CONF_INT, M(offset), INT64_MIN, INT64_MAX, "-5", NULL, CONF_RELOAD, "Any."},
    {"main", "memory", CONF_SIZE, M(memory), 0, INT64_C(1) << 40, "64M", NULL, CONF_BOOT, "Bytes."},
    {"main", "timeout", CONF_DURATION, M(timeout), 1, 86400000, "1500ms", NULL, CONF_RELOAD,
     "How long to wait for an answer before the request is given up, told in so many words that "
     "the sample has to break the line."},
    {"main", "linger", CONF_DURATION, M(linger), 0, 86400000, "0", NULL, CONF_RELOAD, "After."},
    {"main", "opens", CONF_TIME, M(opens), 0, 0, "2026-11-27T10:00:00Z", NULL, CONF_RELOAD,
     "When."},
    {"main", "never", CONF_TIME, M(never), 0, 0, "", NULL, CONF_RELOAD, "When, or not at all."},
    {"main", "mode", CONF_ENUM, M(mode), 0, 0, "safe", modes, CONF_RELOAD, "How."},
    {"main", "title", CONF_STRING, M(title), 0, 8, "", NULL, CONF_RELOAD, "A title."},
    {"main", "dsn", CONF_STRING, M(dsn), 1, 4000, NULL, NULL, CONF_BOOT, "Where the data is."},
    {"main", "gateway", CONF_ADDR, M(gateway), 0, 0, "198.51.100.1", NULL, CONF_RELOAD, "Next."},
    {"main", "optional", CONF_ADDR, M(optional), 0, 0, "", NULL, CONF_RELOAD, "Or none."},
    {"main", "inside", CONF_PREFIX, M(inside), 0, 0, "2001:db8::/32", NULL, CONF_RELOAD, "Net."},
    {"main", "spare", CONF_PREFIX, M(spare), 0, 0, "", NULL, CONF_RELOAD, "Net, or none."},
    {"main", "metrics", CONF_ENDPOINT, M(metrics), 0, 0, "[::1]:9100", NULL, CONF_BOOT, "Where."},
    {"main", "off", CONF_ENDPOINT, M(off), 0, 0, "", NULL, CONF_BOOT, "Where, or nowhere."},
    {"main", "interfaces", CONF_INTERFACES, M(interfaces), 1, 4, "198.18.0.1/17, 2001:db8::1/64",
     NULL, CONF_BOOT, "Own."},
    {"main", "resolvers", CONF_ADDRS, M(resolvers), 0, 4, "", NULL, CONF_RELOAD, "Of names."},
    {"main", "listen", CONF_ENDPOINTS, M(listen), 1, 4, "127.0.0.1:80, [::1]:80", NULL, CONF_BOOT,
     "Where."},
    {"main", "words", CONF_STRINGS, M(words), 0, 3, "one, two", NULL, CONF_RELOAD, "Any words."},
    {"queue", "depth", CONF_INT, 0, 1, 1000, "100", NULL, CONF_RELOAD, "Places."},
    {"service", "vip", CONF_ENDPOINT, S(vip), 0, 0, NULL, NULL, CONF_RELOAD, "Its address."},
    {"service", "backends", CONF_ENDPOINTS, S(backends), 1, 64, NULL, NULL, CONF_RELOAD, "Who."},
    {"service", "weight", CONF_INT, S(weight), 1, 10, "1", NULL, CONF_RELOAD, "Share."},
    {"pool", "size", CONF_SIZE, offsetof(struct pool_settings, size), 1, 1 << 20, NULL, NULL,
     CONF_BOOT, "Bytes."},
};

static int check(const void *root, char *why, size_t why_size)
{
    const struct root *r = root;
    if (r->main.linger <= r->main.timeout)
        return 0;
    snprintf(why, why_size, "[main] linger is longer than timeout");
    return -EINVAL;
}

static const struct conf_schema schema = {
    "conf-test", sizeof(struct root), sections, COUNT(sections), rows, COUNT(rows), check};

#define REQUIRED_MAIN "[main]\ndsn = host=/run\n"
#define SERVICE       "[service shop]\nvip = 198.18.0.80:80\nbackends = 198.18.128.2:8080\n"
#define MINIMAL       REQUIRED_MAIN SERVICE

static struct root *load(const char *text, char why[CONF_WHY])
{
    /* Exactly as much memory as there is text, for the sanitizers. */
    size_t length = strlen(text);
    char *copy = malloc(length ? length : 1);
    assert_non_null(copy);
    for (size_t i = 0; i < length; i++)
        copy[i] = text[i];
    struct root *root = conf_load_memory(&schema, "f.conf", copy, length, why);
    free(copy);
    return root;
}

static struct root *good(const char *text)
{
    char why[CONF_WHY];
    struct root *root = load(text, why);
    if (!root)
        fail_msg("%s", why);
    return root;
}

/* What conf_show or conf_sample writes; to be freed. (Inlined, gcc 12 at -O3 takes the text for a
 * local variable.) */
static __attribute__((noinline)) char *shown(const struct root *root)
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    assert_non_null(out);
    if (root)
        conf_show(&schema, root, out);
    else
        conf_sample(&schema, out);
    fclose(out);
    return text;
}

static void defaults_fill_what_a_file_leaves_out(void **state)
{
    struct root *root = good(MINIMAL);
    const struct main_settings *m = &root->main;
    (void)state;
    assert_true(m->enabled && m->workers == 2 && m->offset == -5 && m->memory == 64 << 20);
    assert_true(m->timeout == 1500 && m->linger == 0 && m->mode == 1);
    assert_null(m->title);
    assert_string_equal(m->dsn, "host=/run");
    assert_int_equal(m->off.port, 0);
    assert_int_equal(m->metrics.port, 9100);
    assert_int_equal(m->interfaces.count, 2);
    const struct conf_interface *own = m->interfaces.items;
    assert_int_equal(own[0].on_link.length, 96 + 17);
    assert_true(own[0].addr.bytes[15] == 1 && own[0].on_link.base.bytes[15] == 0);
    assert_int_equal(m->resolvers.count, 0);
    assert_string_equal(((char **)m->words.items)[1], "two");
    assert_int_equal(root->depth, 100);
    assert_int_equal(root->services.count, 1);
    const struct service_settings *service = root->services.items;
    assert_string_equal(service->name, "shop");
    assert_true(service->weight == 1 && service->vip.port == 80 && service->backends.count == 1);
    assert_int_equal(root->pools.count, 0);
    conf_free(&schema, root);
}

static void every_spelling_of_a_value_is_read(void **state)
{
    struct root *root = good("\n; a comment\n  # an indented one\n\t\n"
                             "[main]\r\n"
                             "dsn=a = b;c#d\r\n"
                             "enabled=off\n"
                             " \t# neither a value nor a setting = 1\n"
                             "   \n"
                             "workers =64   \n"
                             "offset\t=\t-9223372036854775808\n"
                             "memory = 3K\n"
                             "timeout = 2h\n"
                             "linger = 1s\n"
                             "title =\n"
                             "resolvers = 198.51.100.7 ,2001:db8::7\n"
                             "words = a b,c\n"
                             "[queue]\n"
                             "depth = 1\n" SERVICE);
    const struct main_settings *m = &root->main;
    (void)state;
    assert_string_equal(m->dsn, "a = b;c#d");
    assert_true(!m->enabled && m->workers == 64 && m->offset == INT64_MIN && m->memory == 3072);
    assert_true(m->timeout == 7200000 && m->linger == 1000 && root->depth == 1);
    assert_null(m->title);
    assert_int_equal(m->resolvers.count, 2);
    assert_string_equal(((char **)m->words.items)[0], "a b");
    conf_free(&schema, root);
}

static void units_multiply(void **state)
{
    static const struct {
        const char *setting;
        int64_t memory, timeout;
    } cases[] = {
        {"memory = 0", 0, 1500},
        {"memory = 1B", 1, 1500},
        {"memory = 3K", 3072, 1500},
        {"memory = 3M", 3 << 20, 1500},
        {"memory = 1024G", INT64_C(1) << 40, 1500},
        {"timeout = 7ms", 64 << 20, 7},
        {"timeout = 7s", 64 << 20, 7000},
        {"timeout = 7m", 64 << 20, 420000},
        {"timeout = 7h", 64 << 20, 25200000},
        {"timeout = 1d", 64 << 20, 86400000},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[256];
        snprintf(text, sizeof text, "%s%s\n%s", REQUIRED_MAIN, cases[i].setting, SERVICE);
        struct root *root = good(text);
        assert_true(root->main.memory == cases[i].memory);
        assert_true(root->main.timeout == cases[i].timeout);
        char *show = shown(root);
        assert_non_null(strstr(show, cases[i].setting));
        free(show);
        conf_free(&schema, root);
    }
}

static void named_sections_keep_their_order(void **state)
{
    struct root *root =
        good(REQUIRED_MAIN "[service z.1]\nvip = [::1]:1\nbackends = [::2]:2\nweight = 7\n"
                           "[pool p]\nsize = 1B\n"
                           "[service \t a_b-c]\nvip = [::1]:2\nbackends = 1.2.3.4:5\n"
                           "[service B]\nvip = [::1]:3\nbackends = 1.2.3.4:5\n");
    const struct service_settings *service = root->services.items;
    (void)state;
    assert_int_equal(root->services.count, 3);
    assert_string_equal(service[0].name, "z.1");
    assert_int_equal(service[0].weight, 7);
    assert_string_equal(service[1].name, "a_b-c");
    assert_string_equal(service[2].name, "B");
    assert_int_equal(service[2].vip.port, 3);
    assert_int_equal(((struct pool_settings *)root->pools.items)->size, 1);
    conf_free(&schema, root);
}

/* Each is put behind "[main]\ndsn = x\n", so its own first line is line 3, unless it begins with
 * '['. */
static const struct {
    const char *text, *why;
} broken[] = {
    /* lines */
    {"enabled yes\n", "f.conf:3: [main] enabled yes: not a setting; allowed: key = value"},
    {"= yes\n", "f.conf:3: [main] = yes: not a setting; allowed: key = value"},
    {"enabled: yes\n", "f.conf:3: [main] enabled: yes: not a setting; allowed: key = value"},
    {"title: x = y\n", "f.conf:3: [main] title: x = y: not a setting; allowed: key = value"},
    {"title = a\n  b\n", "f.conf:4: the line begins with white space; a value stands on one line"},
    {"title = a # b\n",
     "f.conf:3: [main] title: '#' at the beginning of a word could be meant as a "
     "comment; a comment has a line of its own"},
    {"title =\t;b\n", "f.conf:3: [main] title: ';' at the beginning of a word could be meant as a "
                      "comment; a comment has a line of its own"},
    {"title =#b\n", "f.conf:3: [main] title: '#' at the beginning of a word could be meant as a "
                    "comment; a comment has a line of its own"},
    {"title = a\rb\n", "f.conf:3: byte 10 is the control character 0x0d"},
    {"# a\x1b[2J\n", "f.conf:3: byte 4 is the control character 0x1b"},
    {"title = \xff\x7f\n", "f.conf:3: byte 10 is the control character 0x7f"},
    /* keys */
    {"colour = red\n",
     "f.conf:3: [main] colour: unknown key; known are: enabled, workers, offset, memory, timeout, "
     "linger, opens, never, mode, title, dsn, gateway, optional, inside, spare, metrics, off, "
     "interfaces, "
     "resolvers, listen, words"},
    {"opens = 2026-11-27\n",
     "f.conf:3: [main] opens = 2026-11-27: not a time; allowed: a time (2026-11-27T10:00:00Z, "
     "2026-11-27T11:00:00+01:00)"},
    {"opens =\n", "f.conf:3: [main] opens = : empty; allowed: a time (2026-11-27T10:00:00Z, "
                  "2026-11-27T11:00:00+01:00)"},
    {"wrokers = 1\n", "f.conf:3: [main] wrokers: unknown key; did you mean \"workers\"?"},
    {"Workers = 1\n", "f.conf:3: [main] Workers: unknown key; did you mean \"workers\"?"},
    {"depth = 1\n", "f.conf:3: [main] depth: unknown key; it belongs into [queue]"},
    {"dsn = y\n", "f.conf:3: [main] dsn: this key is already set in line 2"},
    /* numbers */
    {"workers = 0\n",
     "f.conf:3: [main] workers = 0: too small; allowed: a whole number from 1 to 64"},
    {"workers = 65\n",
     "f.conf:3: [main] workers = 65: too large; allowed: a whole number from 1 to 64"},
    {"workers =\n", "f.conf:3: [main] workers = : empty; allowed: a whole number from 1 to 64"},
    {"workers = 2x\n",
     "f.conf:3: [main] workers = 2x: not a whole number; allowed: a whole number from 1 to 64"},
    {"workers = 1.5\n",
     "f.conf:3: [main] workers = 1.5: not a whole number; allowed: a whole number from 1 to 64"},
    {"workers = +2\n",
     "f.conf:3: [main] workers = +2: not a whole number; allowed: a whole number from 1 to 64"},
    {"workers = 0x10\n",
     "f.conf:3: [main] workers = 0x10: not a whole number; allowed: a whole number from 1 to 64"},
    {"workers = 010\n",
     "f.conf:3: [main] workers = 010: not a whole number; allowed: a whole number from 1 to 64"},
    {"workers = 1 2\n",
     "f.conf:3: [main] workers = 1 2: not a whole number; allowed: a whole number from 1 to 64"},
    {"workers = -9223372036854775809\n",
     "f.conf:3: [main] workers = -9223372036854775809: too small for any number here; allowed: a "
     "whole number from 1 to 64"},
    {"workers = 9223372036854775808\n",
     "f.conf:3: [main] workers = 9223372036854775808: too large for any number here; allowed: a "
     "whole number from 1 to 64"},
    {"memory = 5\n", "f.conf:3: [main] memory = 5: the unit is missing; allowed: a size from 0 to "
                     "1024G, units B, K, M, G"},
    {"memory = 5T\n", "f.conf:3: [main] memory = 5T: \"T\" is not a unit known here; allowed: a "
                      "size from 0 to 1024G, units B, K, M, G"},
    {"memory = 1025G\n", "f.conf:3: [main] memory = 1025G: too large; allowed: a size from 0 to "
                         "1024G, units B, K, M, G"},
    {"memory = 9999999999999G\n", "f.conf:3: [main] memory = 9999999999999G: too large for any "
                                  "number here; allowed: a size from 0 to 1024G, units B, K, M, G"},
    {"memory = -1G\n", "f.conf:3: [main] memory = -1G: too small; allowed: a size from 0 to 1024G, "
                       "units B, K, M, G"},
    {"timeout = 5\n", "f.conf:3: [main] timeout = 5: the unit is missing; allowed: a duration from "
                      "1ms to 1d, units ms, s, m, h, d"},
    {"timeout = 0\n", "f.conf:3: [main] timeout = 0: too small; allowed: a duration from 1ms to "
                      "1d, units ms, s, m, h, d"},
    {"timeout = 5 s\n", "f.conf:3: [main] timeout = 5 s: \" s\" is not a unit known here; allowed: "
                        "a duration from 1ms to 1d, units ms, s, m, h, d"},
    {"timeout = s\n", "f.conf:3: [main] timeout = s: not a whole number with a unit; allowed: a "
                      "duration from 1ms to 1d, units ms, s, m, h, d"},
    /* words */
    {"enabled = Yes\n", "f.conf:3: [main] enabled = Yes: neither yes nor no; allowed: yes or no "
                        "(true, false, on, off, 1, 0)"},
    {"mode = slow\n", "f.conf:3: [main] mode = slow: not one of the choices; allowed: one of fast, "
                      "safe"},
    {"title = 123456789\n", "f.conf:3: [main] title: 9 bytes long; allowed: 0 to 8 bytes"},
    /* addresses */
    {"gateway = 1.2.3\n",
     "f.conf:3: [main] gateway = 1.2.3: not an address; allowed: an IPv4 or IPv6 address"},
    {"gateway =\n", "f.conf:3: [main] gateway = : empty; allowed: an IPv4 or IPv6 address"},
    {"optional = none\n", "f.conf:3: [main] optional = none: not an address; allowed: an IPv4 or "
                          "IPv6 address, or empty"},
    {"inside = 198.51.100.7/24\n",
     "f.conf:3: [main] inside = 198.51.100.7/24: bits behind the length are set (198.51.100.0/24 "
     "would be the prefix); allowed: a prefix (198.51.100.0/24, 2001:db8::/32)"},
    {"metrics = ::1:80\n", "f.conf:3: [main] metrics = ::1:80: not an address with a port; "
                           "allowed: an address with port (198.51.100.7:80, [2001:db8::7]:80)"},
    /* lists */
    {"listen =\n", "f.conf:3: [main] listen = : empty; allowed: 1 to 4 addresses with port "
                   "(198.51.100.7:80, [2001:db8::7]:80), separated by commas"},
    {"words = a,,b\n", "f.conf:3: [main] words = a,,b: element 2 is empty; allowed: 0 to 3 words, "
                       "separated by commas"},
    {"words = a, b ,\n", "f.conf:3: [main] words = a, b ,: element 3 is empty; allowed: 0 to 3 "
                         "words, separated by commas"},
    {"words = ,\n", "f.conf:3: [main] words = ,: element 1 is empty; allowed: 0 to 3 words, "
                    "separated by commas"},
    {"words = a,#b\n", "f.conf:3: [main] words = a,#b: element 2, \"#b\", is like a comment; "
                       "allowed: 0 to 3 words, separated by commas"},
    {"words = a,b,c,d\n", "f.conf:3: [main] words = a,b,c,d: too many elements; allowed: 0 to 3 "
                          "words, separated by commas"},
    {"resolvers = ::1, x\n", "f.conf:3: [main] resolvers = ::1, x: element 2, \"x\", is not an "
                             "address; allowed: 0 to 4 IP addresses, separated by commas"},
    {"interfaces = 198.18.0.1\n",
     "f.conf:3: [main] interfaces = 198.18.0.1: element 1, \"198.18.0.1\", is not an address with "
     "the length of its prefix; allowed: 1 to 4 own addresses with prefix length "
     "(198.51.100.1/24), separated by commas"},
    /* sections */
    {"[mian]\n", "f.conf:3: [mian]: unknown section; did you mean \"main\"?"},
    {"[accounts]\n",
     "f.conf:3: [accounts]: unknown section; known are: main, queue, service, pool"},
    {"[]\n", "f.conf:3: []: unknown section; known are: main, queue, service, pool"},
    {"[queue\n", "f.conf:3: [queue: the closing ']' is missing"},
    {"[queue] depth = 1\n",
     "f.conf:3: [queue] depth = 1: text behind ']'; a comment has a line of its own"},
    {"[queue]]\n", "f.conf:3: [queue]]: text behind ']'; a comment has a line of its own"},
    {"[ queue]\n", "f.conf:3: [ queue]: white space behind '['"},
    {"[queue one]\n", "f.conf:3: [queue one]: this section takes no name; allowed: [queue]"},
    {"[main]\n", "f.conf:3: [main]: this section is already in the file"},
    {"[service]\n", "f.conf:3: [service]: a name is missing; allowed: [service NAME]"},
    {"[service a ]\n", "f.conf:3: [service a ]: not a name; allowed: 1 to 63 of letters, digits, "
                       "'_', '.', '-'"},
    {"[service a b]\n", "f.conf:3: [service a b]: not a name; allowed: 1 to 63 of letters, digits, "
                        "'_', '.', '-'"},
    {SERVICE SERVICE, "f.conf:6: [service shop]: this section is already in the file"},
    {SERVICE "[pool a]\nsize = 1K\n[pool b]\nsize = 1K\n[pool c]\n",
     "f.conf:10: [pool c]: too many sections; allowed: 0 to 2 [pool ...]"},
    {"", "f.conf: too few [service ...] sections: 0; allowed: 1 to 3"},
    {"[service a]\nvip = 1.2.3.4:5\n[queue]\n",
     "f.conf:3: [service a]: the key \"backends\" is missing; allowed: 1 to 64 addresses with port "
     "(198.51.100.7:80, [2001:db8::7]:80), separated by commas"},
    {SERVICE "[pool last]\n", "f.conf:6: [pool last]: the key \"size\" is missing; allowed: a size "
                              "from 1B to 1M, units B, K, M, G"},
    /* across fields */
    {"linger = 2s\n" SERVICE, "f.conf:3: [main] linger is longer than timeout"},

};

static void expect_refused(const char *text, const char *expected)
{
    char why[CONF_WHY];
    void *root = load(text, why);
    if (root || strcmp(why, expected) != 0)
        fail_msg("%s\ngave      %s\ninstead of %s", text, root ? "success" : why, expected);
}

static void a_broken_file_is_refused_with_line_key_and_what_is_allowed(void **state)
{
    char text[1024];
    (void)state;
    for (size_t i = 0; i < COUNT(broken); i++) {
        snprintf(text, sizeof text, "[main]\ndsn = x\n%s", broken[i].text);
        expect_refused(text, broken[i].why);
    }
}

static void the_last_line_needs_no_line_end(void **state)
{
    (void)state;
    conf_free(&schema, good(MINIMAL "weight = 10"));
    expect_refused(MINIMAL "weight = 11", "f.conf:6: [service shop] weight = 11: too large; "
                                          "allowed: a whole number from 1 to 10");
    expect_refused(MINIMAL "weight", "f.conf:6: [service shop] weight: not a setting; allowed: key "
                                     "= value");
}

static void a_file_must_begin_with_a_section(void **state)
{
    (void)state;
    expect_refused("dsn = x\n", "f.conf:1: dsn = x: text outside of a section; a [section] comes "
                                "first");
    expect_refused("\xef\xbb\xbf" MINIMAL,
                   "f.conf:1: the file begins with a byte order mark; remove it");
    expect_refused("", "f.conf: [main]: the key \"dsn\" is missing; allowed: 1 to 4000 bytes");
    expect_refused(SERVICE, "f.conf: [main]: the key \"dsn\" is missing; allowed: 1 to 4000 bytes");
    expect_refused("[main]\n" SERVICE,
                   "f.conf:1: [main]: the key \"dsn\" is missing; allowed: 1 to 4000 bytes");
}

static void nul_bytes_are_refused(void **state)
{
    static const char text[] = "[main]\ndsn = x\0y\n" SERVICE;
    char why[CONF_WHY];
    (void)state;
    assert_null(conf_load_memory(&schema, "f.conf", text, sizeof text - 1, why));
    assert_string_equal(why, "f.conf:2: byte 8 is the control character 0x00");
}

static void a_line_of_4096_bytes_is_read_whole_and_a_longer_one_refused(void **state)
{
    char text[6000], why[CONF_WHY];
    (void)state;
    for (size_t length = 4095; length <= 4097; length++) {
        size_t at = (size_t)sprintf(text, "# ");
        memset(text + at, 'x', length - at);
        sprintf(text + length, "\r\n" MINIMAL);
        struct root *root = load(text, why);
        assert_int_equal(root != NULL, length <= 4096);
        conf_free(&schema, root);
    }
    assert_string_equal(why, "f.conf:1: the line has 4097 bytes; allowed: 4096");
    sprintf(text, "[main]\ndsn = ");
    memset(text + 13, 'x', 4001);
    text[13 + 4001] = '\0';
    assert_null(load(text, why));
    assert_non_null(strstr(why, "[main] dsn: 4001 bytes long; allowed: 1 to 4000 bytes"));
    sprintf(text + 13 + 4000, "\n" SERVICE);
    struct root *root = good(text);
    assert_int_equal(strlen(root->main.dsn), 4000);
    conf_free(&schema, root);
}

static void a_name_has_at_most_63_bytes_and_all_of_them_count(void **state)
{
    char text[512], name[65];
    (void)state;
    memset(name, 'n', sizeof name - 1);
    name[64] = '\0';
    snprintf(text, sizeof text, "%s[pool %s]\nsize = 1K\n", MINIMAL, name);
    char why[CONF_WHY];
    assert_null(load(text, why));
    assert_non_null(strstr(why, "not a name; allowed: 1 to 63"));
    snprintf(text, sizeof text, "%s[pool %.62sa]\nsize = 1K\n[pool %.62sb]\nsize = 2K\n", MINIMAL,
             name, name);
    struct root *root = good(text);
    assert_int_equal(root->pools.count, 2);
    conf_free(&schema, root);
}

static const char full[] = REQUIRED_MAIN "enabled = no\n"
                                         "workers = 64\n"
                                         "offset = 9223372036854775807\n"
                                         "memory = 1537B\n"
                                         "timeout = 90m\n"
                                         "linger = 36s\n"
                                         "mode = fast\n"
                                         "title = t\xc3\xa4g#1\n"
                                         "gateway = 2001:db8::1\n"
                                         "optional = 198.51.100.9\n"
                                         "inside = 198.51.100.0/24\n"
                                         "spare = ::/0\n"
                                         "metrics = 198.51.100.9:9\n"
                                         "off = [::]:65535\n"
                                         "interfaces = 2001:db8::1/64\n"
                                         "resolvers = 198.51.100.1, ::1\n"
                                         "listen = [::]:80\n"
                                         "words = a b\n" SERVICE "weight = 10\n"
                                         "[pool p]\nsize = 1M\n[queue]\ndepth = 7\n";

static void what_is_shown_loads_to_the_same_again(void **state)
{
    const char *const texts[] = {MINIMAL, full};
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct root *root = good(texts[i]);
        char *once = shown(root);
        conf_free(&schema, root);
        root = good(once);
        char *twice = shown(root);
        conf_free(&schema, root);
        assert_string_equal(once, twice);
        free(once);
        free(twice);
    }
}

/* Copies the sample with the keys that have no default filled in. */
static char *filled_sample(void)
{
    static const struct {
        const char *empty, *filled;
    } fills[] = {{"\ndsn =\n", "\ndsn = host=/run\n"},
                 {"\nvip =\n", "\nvip = 198.18.0.80:80\n"},
                 {"\nbackends =\n", "\nbackends = 198.18.128.2:8080\n"}};
    char *text = shown(NULL);
    for (size_t i = 0; i < COUNT(fills); i++) {
        char *filled = NULL, *at = strstr(text, fills[i].empty);
        assert_non_null(at);
        assert_true(asprintf(&filled, "%.*s%s%s", (int)(at - text), text, fills[i].filled,
                             at + strlen(fills[i].empty)) > 0);
        free(text);
        text = filled;
    }
    return text;
}

static void the_sample_loads_once_its_required_keys_are_filled_in(void **state)
{
    char *sample = filled_sample();
    (void)state;
    struct root *root = good(sample), *plain = good(MINIMAL);
    char *from_sample = shown(root), *from_defaults = shown(plain);
    char *name = strstr(from_defaults, "[service shop]");
    assert_non_null(name);
    assert_non_null(strstr(from_sample, "[service example]"));
    assert_int_equal(strncmp(from_sample, from_defaults, (size_t)(name - from_defaults)), 0);
    assert_string_equal(strstr(from_sample, "vip"), strstr(from_defaults, "vip"));
    conf_free(&schema, root);
    conf_free(&schema, plain);
    free(sample);
    free(from_sample);
    free(from_defaults);
}

static void the_defaults_in_the_sample_are_true(void **state)
{
    char *sample = filled_sample(), *optional = strstr(sample, "#[pool example]");
    (void)state;
    assert_non_null(optional);
    *optional = '\0'; /* its required key has no value to try */
    struct root *commented = good(sample);
    char *before = shown(commented);
    for (char *p = sample; (p = strstr(p, "\n#")) != NULL; p++)
        if (p[2] != ' ') /* "#key = value", not "# prose" */
            memmove(p + 1, p + 2, strlen(p + 2) + 1);
    struct root *bared = good(sample);
    char *after = shown(bared);
    assert_string_equal(before, after);
    conf_free(&schema, commented);
    conf_free(&schema, bared);
    free(sample);
    free(before);
    free(after);
}

static void the_sample_says_what_each_key_may_be(void **state)
{
    char *sample = shown(NULL);
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_non_null(strstr(sample, rows[i].key));
    assert_non_null(strstr(sample, "\n# Threads.\n# A whole number from 1 to 64; a change needs a "
                                   "restart.\n#workers = 2\n"));
    for (const char *p = sample; *p; p += strcspn(p, "\n") + 1)
        assert_true(strcspn(p, "\n") <= 100);
    free(sample);
}

static void a_file_is_read_from_its_path(void **state)
{
    char path[] = "/tmp/conf_test.XXXXXX", why[CONF_WHY];
    int fd = mkstemp(path);
    (void)state;
    assert_true(fd >= 0);
    /* Longer than one read. */
    for (int i = 0; i < 1000; i++)
        assert_int_equal(write(fd, "# a comment that takes some room\n\n", 34), 34);
    assert_int_equal(write(fd, MINIMAL, sizeof MINIMAL - 1), sizeof MINIMAL - 1);
    void *root = conf_load(&schema, path, why);
    assert_non_null(root);
    conf_free(&schema, root);
    assert_int_equal(write(fd, "x\n", 2), 2);
    assert_null(conf_load(&schema, path, why));
    assert_int_equal(strncmp(why, path, strlen(path)), 0);
    assert_string_equal(why + strlen(path),
                        ":2006: [service shop] x: not a setting; allowed: key = value");
    close(fd);
    unlink(path);
}

static void a_file_that_cannot_be_read_is_named(void **state)
{
    char why[CONF_WHY];
    (void)state;
    assert_null(conf_load(&schema, "/nonexistent/f.conf", why));
    assert_string_equal(why, "/nonexistent/f.conf: cannot be read: No such file or directory");
    assert_null(conf_load(&schema, "/", why));
    assert_string_equal(why, "/: cannot be read: Is a directory");
}

static void the_longest_message_fits(void **state)
{
    char name[400], text[4096], why[CONF_WHY];
    (void)state;
    memset(name, 'f', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    int used = snprintf(text, sizeof text, "[main]\n");
    memset(text + used, 'k', 4000);
    memcpy(text + used + 4000, "=v", 3);
    assert_null(conf_load_memory(&schema, name, text, strlen(text), why));
    assert_true(strlen(why) < CONF_WHY);
    assert_non_null(strstr(why, "kkkk: unknown key; known are: enabled"));
}

/* ---- what differs ---- */

struct told {
    char text[2048];
    int boots;
};

static void note_change(void *context, const struct conf_change *change)
{
    struct told *told = context;
    size_t used = strlen(told->text);
    snprintf(told->text + used, sizeof told->text - used, "%s: %s\n", change->what, change->text);
    told->boots += change->when == CONF_BOOT;
}

/* Both files are read, and what differs is compared whole. */
static void expect_changes(const char *before, const char *after, int count, int boots,
                           const char *expected)
{
    struct root *old = good(before), *new = good(after);
    struct told told = {.text = ""};
    assert_int_equal(conf_diff(&schema, old, new, note_change, &told), count);
    assert_string_equal(told.text, expected);
    assert_int_equal(told.boots, boots);
    conf_free(&schema, old);
    conf_free(&schema, new);
}

static void the_same_written_otherwise_is_no_change(void **state)
{
    (void)state;
    expect_changes(MINIMAL, MINIMAL, 0, 0, "");
    expect_changes(full, full, 0, 0, "");
    expect_changes(REQUIRED_MAIN
                   "timeout = 1500ms\nenabled = true\nlisten = 127.0.0.1:80,[::1]:80\n" SERVICE,
                   MINIMAL, 0, 0, "");
}

static void a_changed_key_is_told_with_its_old_and_its_new_value(void **state)
{
    (void)state;
    expect_changes(REQUIRED_MAIN "timeout = 15m\ntitle = x\n" SERVICE,
                   REQUIRED_MAIN "timeout = 600s\nmode = fast\nspare = 10.0.0.0/8\n" SERVICE, 4, 0,
                   "[main] timeout: 15m -> 10m\n[main] mode: safe -> fast\n"
                   "[main] title: x -> \"\"\n[main] spare: \"\" -> 10.0.0.0/8\n");
}

static void a_key_that_needs_a_start_is_told_as_such(void **state)
{
    (void)state;
    expect_changes(MINIMAL, REQUIRED_MAIN "workers = 3\nlinger = 1s\n" SERVICE, 2, 1,
                   "[main] workers: 2 -> 3\n[main] linger: 0 -> 1s\n");
}

static void of_a_list_only_what_comes_and_goes_is_told(void **state)
{
    (void)state;
    expect_changes(REQUIRED_MAIN "words = a, b, c\nresolvers = ::1, ::2\n" SERVICE,
                   REQUIRED_MAIN "words = b, a, d\nresolvers = ::2, ::1\n" SERVICE, 2, 0,
                   "[main] resolvers: in another order\n[main] words: +d -c\n");
    expect_changes(REQUIRED_MAIN "words = a\n" SERVICE, REQUIRED_MAIN "words =\n" SERVICE, 1, 0,
                   "[main] words: -a\n");
}

#define POOL(name, size) "[pool " name "]\nsize = " size "\n"

static void named_sections_come_go_and_change_by_their_names(void **state)
{
    (void)state;
    expect_changes(MINIMAL POOL("a", "1K") POOL("b", "2K"), MINIMAL POOL("c", "3K") POOL("b", "1M"),
                   3, 3, "[pool a]: removed\n[pool c]: added\n[pool b] size: 2K -> 1M\n");
    expect_changes(MINIMAL POOL("a", "1K") POOL("b", "2K"), MINIMAL POOL("b", "2K") POOL("a", "1K"),
                   1, 0, "[pool ...]: in another order\n");
    expect_changes(MINIMAL, MINIMAL "[service two]\nvip = 1.2.3.4:5\nbackends = 1.2.3.4:6\n", 1, 0,
                   "[service two]: added\n");
}

static void a_key_s_line_is_found_in_the_text(void **state)
{
    static const char lines[] = "[main]\ndsn = x\n\n[pool a]\nsize = 1K\n[pool b]\n\nsize=2K\n";
    const struct conf_text text = {(char *)(uintptr_t)lines, sizeof lines - 1};
    (void)state;
    assert_int_equal(conf_line(&text, "[main] dsn"), 2);
    assert_int_equal(conf_line(&text, "[pool a] size"), 5);
    assert_int_equal(conf_line(&text, "[pool b] size"), 8);
    assert_int_equal(conf_line(&text, "[pool b]"), 6);
    assert_int_equal(conf_line(&text, "[main] title"), 1); /* it was left out */
    assert_int_equal(conf_line(&text, "[queue] depth"), 0);
    assert_int_equal(conf_line(&text, "[pool c]"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_fill_what_a_file_leaves_out),
        cmocka_unit_test(every_spelling_of_a_value_is_read),
        cmocka_unit_test(units_multiply),
        cmocka_unit_test(named_sections_keep_their_order),
        cmocka_unit_test(a_broken_file_is_refused_with_line_key_and_what_is_allowed),
        cmocka_unit_test(the_last_line_needs_no_line_end),
        cmocka_unit_test(a_file_must_begin_with_a_section),
        cmocka_unit_test(nul_bytes_are_refused),
        cmocka_unit_test(a_line_of_4096_bytes_is_read_whole_and_a_longer_one_refused),
        cmocka_unit_test(a_name_has_at_most_63_bytes_and_all_of_them_count),
        cmocka_unit_test(what_is_shown_loads_to_the_same_again),
        cmocka_unit_test(the_sample_loads_once_its_required_keys_are_filled_in),
        cmocka_unit_test(the_defaults_in_the_sample_are_true),
        cmocka_unit_test(the_sample_says_what_each_key_may_be),
        cmocka_unit_test(a_file_is_read_from_its_path),
        cmocka_unit_test(a_file_that_cannot_be_read_is_named),
        cmocka_unit_test(the_longest_message_fits),
        cmocka_unit_test(the_same_written_otherwise_is_no_change),
        cmocka_unit_test(a_changed_key_is_told_with_its_old_and_its_new_value),
        cmocka_unit_test(a_key_that_needs_a_start_is_told_as_such),
        cmocka_unit_test(of_a_list_only_what_comes_and_goes_is_told),
        cmocka_unit_test(named_sections_come_go_and_change_by_their_names),
        cmocka_unit_test(a_key_s_line_is_found_in_the_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
