/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Rules: what they match, which of them decides, and that the compiled set says the same as to look
 * at one rule after another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "common/path.h"
#include "common/rules.h"
#include "tests/unit/random.h"

#define LIST(...) \
    (char *const[]){__VA_ARGS__}, sizeof((char *const[]){__VA_ARGS__}) / sizeof(char *)

static struct http1_slice slice(const char *text)
{
    return (struct http1_slice){text, text != NULL ? strlen(text) : 0};
}

static struct rules_found ask_at(const struct rules *rules, const char *method, const char *host,
                                 const char *path, int64_t now)
{
    struct rules_request request = {
        .http = true, .method = slice(method), .host = slice(host), .path = slice(path)};
    return rules_find(rules, &request, now);
}

/* The name of the rule that decides, or "-". */
static const char *ask(const struct rules *rules, const char *method, const char *host,
                       const char *path)
{
    const struct rule *rule = ask_at(rules, method, host, path, 0).rule;
    return rule != NULL ? rule->name : "-";
}

static const char *connect_as(const struct rules *rules, const char *name, uint64_t service)
{
    struct rules_request request = {.host = slice(name), .service = service};
    const struct rule *rule = rules_find(rules, &request, 0).rule;
    return rule != NULL ? rule->name : "-";
}

static void a_path_matches_whole_segments(void **state)
{
    (void)state;
    const struct rule_source sources[] = {{.rule = {.name = "seven"}, .path = "/v1/sales/7"},
                                          {.rule = {.name = "slash"}, .path = "/v2/"}};
    struct rules *rules = rules_new(sources, 2);
    assert_string_equal(ask(rules, "GET", "h", "/v1/sales/7"), "seven");
    assert_string_equal(ask(rules, "GET", "h", "/v1/sales/7/"), "seven");
    assert_string_equal(ask(rules, "POST", "h", "/v1/sales/7/reservations"), "seven");
    assert_string_equal(ask(rules, "GET", "h", "/v1/sales/70"), "-");
    assert_string_equal(ask(rules, "GET", "h", "/v1/sales"), "-");
    assert_string_equal(ask(rules, "GET", "h", "/V1/sales/7"), "-");
    assert_string_equal(ask(rules, "GET", "h", "/"), "-");
    assert_string_equal(ask(rules, "GET", "h", "/v2"), "slash");
    assert_string_equal(ask(rules, "GET", "h", "/v2/x"), "slash");
    assert_string_equal(ask(rules, "OPTIONS", "h", "*"), "-");
    free(rules);
}

static void a_path_in_a_rule_may_be_written_encoded(void **state)
{
    (void)state;
    const struct rule_source sources[] = {{.rule = {.name = "bread"}, .path = "/br%C3%B6tchen"}};
    struct rules *rules = rules_new(sources, 1);
    assert_string_equal(ask(rules, "GET", "h", "/br%C3%B6tchen"), "bread");
    assert_string_equal(ask(rules, "GET", "h", "/br%c3%b6tchen/x"), "bread");
    assert_string_equal(ask(rules, "GET", "h", "/br\xc3\xb6tchen"), "bread");
    free(rules);
}

static void a_method_is_any_of_those_listed_and_get_is_head_too(void **state)
{
    (void)state;
    const struct rule_source sources[] = {
        {.rule = {.name = "buy"}, LIST("POST", "Purge"), .path = "/a"},
        {.rule = {.name = "look"}, LIST("GET"), .path = "/a"},
    };
    struct rules *rules = rules_new(sources, 2);
    assert_string_equal(ask(rules, "POST", "h", "/a"), "buy");
    assert_string_equal(ask(rules, "PURGE", "h", "/a"), "buy");
    assert_string_equal(ask(rules, "GET", "h", "/a"), "look");
    assert_string_equal(ask(rules, "HEAD", "h", "/a"), "look");
    assert_string_equal(ask(rules, "PUT", "h", "/a"), "-");
    assert_string_equal(ask(rules, "POS", "h", "/a"), "-");
    assert_string_equal(ask(rules, "POSTS", "h", "/a"), "-");
    free(rules);
}

static void a_host_is_compared_without_case_port_and_last_dot(void **state)
{
    (void)state;
    const struct rule_source sources[] = {
        {.rule = {.name = "shop"}, .host = "Shop.Example"},
        {.rule = {.name = "any"}, .host = "*.shop.example"},
    };
    struct rules *rules = rules_new(sources, 2);
    assert_string_equal(ask(rules, "GET", "shop.example", "/"), "shop");
    assert_string_equal(ask(rules, "GET", "SHOP.example:8080", "/x"), "shop");
    assert_string_equal(ask(rules, "GET", "shop.example.", "/x"), "shop");
    assert_string_equal(ask(rules, "GET", "a.shop.example", "/x"), "any");
    assert_string_equal(ask(rules, "GET", "a.b.shop.example", "/x"), "-");
    assert_string_equal(ask(rules, "GET", ".shop.example", "/x"), "-");
    assert_string_equal(ask(rules, "GET", "shop.example.evil", "/x"), "-");
    assert_string_equal(ask(rules, "GET", "[2001:db8::1]:80", "/x"), "-");
    assert_string_equal(ask(rules, "GET", "", "/x"), "-");
    assert_string_equal(ask(rules, "GET", NULL, "/x"), "-");
    free(rules);
}

static void a_rule_is_for_the_services_that_it_names(void **state)
{
    (void)state;
    const struct rule_source sources[] = {
        {.rule = {.name = "two"}, LIST("GET"), .services = LIST("shop", "tickets")},
        {.rule = {.name = "all"}, .path = "/a"},
    };
    struct rules *rules = rules_new(sources, 2);
    struct rules_request request = {.http = true, .method = slice("GET"), .path = slice("/a")};
    assert_string_equal(rules_find(rules, &request, 0).rule->name, "all");
    request.service = rules_service("tickets");
    assert_string_equal(rules_find(rules, &request, 0).rule->name, "two");
    request.service = rules_service("shop");
    assert_string_equal(rules_find(rules, &request, 0).rule->name, "two");
    request.service = rules_service("other");
    assert_string_equal(rules_find(rules, &request, 0).rule->name, "all");
    free(rules);
}

static void connections_have_rules_by_server_name_or_none(void **state)
{
    (void)state;
    const struct rule_source sources[] = {
        {.rule = {.name = "path"}, .path = "/a"},
        {.rule = {.name = "host"}, .host = "shop.example"},
        {.rule = {.name = "tls"}, .host = "shop.example", .tls = true},
        {.rule = {.name = "raw"}, .services = LIST("raw")},
    };
    struct rules *rules = rules_new(sources, 4);
    assert_string_equal(connect_as(rules, "shop.example", 0), "tls");
    assert_string_equal(connect_as(rules, "other.example", 0), "-");
    assert_string_equal(connect_as(rules, NULL, 0), "-");
    assert_string_equal(connect_as(rules, NULL, rules_service("raw")), "raw");
    assert_string_equal(ask(rules, "GET", "shop.example", "/"), "host");
    free(rules);
}

static void the_first_that_matches_decides(void **state)
{
    (void)state;
    const struct rule_source sources[] = {
        {.rule = {.name = "deep"}, .path = "/a/b/c"},
        {.rule = {.name = "shop"}, .host = "shop.example"},
        {.rule = {.name = "post"}, LIST("POST")},
        {.rule = {.name = "a"}, .path = "/a"},
        {.rule = {.name = "never"}, .path = "/a/b"},
    };
    struct rules *rules = rules_new(sources, 5);
    assert_string_equal(ask(rules, "POST", "shop.example", "/a/b/c"), "deep");
    assert_string_equal(ask(rules, "POST", "shop.example", "/a/b"), "shop");
    assert_string_equal(ask(rules, "POST", "h", "/a/b"), "post");
    assert_string_equal(ask(rules, "GET", "h", "/a/b"), "a");
    assert_string_equal(ask(rules, "GET", "h", "/b"), "-");
    free(rules);
}

static void a_rule_that_observes_never_decides(void **state)
{
    (void)state;
    const struct rule_source sources[] = {
        {.rule = {.name = "see", .observe = true}, .path = "/a/b"},
        {.rule = {.name = "do", .state = RULE_CLOSED}, .path = "/a"},
        {.rule = {.name = "late", .observe = true}, .path = "/"},
    };
    struct rules *rules = rules_new(sources, 3);
    struct rules_found found = ask_at(rules, "GET", "h", "/a/b", 0);
    assert_string_equal(found.rule->name, "do");
    assert_string_equal(found.observed->name, "see");
    found = ask_at(rules, "GET", "h", "/a", 0);
    assert_string_equal(found.rule->name, "do");
    assert_null(found.observed); /* it would not have been asked */
    found = ask_at(rules, "GET", "h", "/x", 0);
    assert_null(found.rule);
    assert_string_equal(found.observed->name, "late");
    free(rules);
}

static void no_spelling_of_a_path_gets_around_a_rule(void **state)
{
    (void)state;
    const struct rule_source sources[] = {
        {.rule = {.name = "eight", .state = RULE_OPEN}, .path = "/v1/sales/8"},
        {.rule = {.name = "seven", .state = RULE_SOLD_OUT}, .path = "/v1/sales/7"},
        {.rule = {.name = "rest", .state = RULE_OPEN, .per_second = 10}, .path = "/"},
    };
    static const char *const spelled[] = {
        "/v1/%73ales/7", "//v1/sales/7",     "/v1/./sales/7",        "/v1/sales/8/../7",
        "/v1/sales/%37", "/v1/sales/7/../8", "/v1/sales/7%2f..%2f8", "/v1/sales/8%2f..%2F7",
        "/v1/sales/7;x", "/v1/sales//7/x",   "/v1%2Fsales/7",        "/v1/%2573ales/7",
        "/v1/sales\\7",
    };
    struct rules *rules = rules_new(sources, 3);
    for (size_t i = 0; i < sizeof spelled / sizeof *spelled; i++)
        if (strcmp(ask(rules, "GET", "h", spelled[i]), "seven") != 0)
            fail_msg("%s: %s", spelled[i], ask(rules, "GET", "h", spelled[i]));
    assert_string_equal(ask(rules, "GET", "h", "/v1/sales/8"), "eight");
    assert_string_equal(ask(rules, "GET", "h", "/v1/%73ales/8"), "rest"); /* the lower rate */
    free(rules);
}

static void upcoming_becomes_open_by_itself(void **state)
{
    (void)state;
    const struct rule rule = {.state = RULE_UPCOMING, .opens_at = 1000};
    assert_int_equal(rule_state_at(&rule, 999), RULE_UPCOMING);
    assert_int_equal(rule_state_at(&rule, 1000), RULE_OPEN);
    const struct rule closed = {.state = RULE_CLOSED, .opens_at = 1000};
    assert_int_equal(rule_state_at(&closed, 2000), RULE_CLOSED);
    /* As long as it is upcoming it is the stricter reading of a path, then it is not. */
    const struct rule_source sources[] = {
        {.rule = {.name = "soon", .state = RULE_UPCOMING, .opens_at = 1000}, .path = "/soon"},
        {.rule = {.name = "slow", .state = RULE_OPEN, .per_second = 1}, .path = "/slow"},
    };
    struct rules *rules = rules_new(sources, 2);
    assert_string_equal(ask_at(rules, "GET", "h", "/slow/../soon", 999).rule->name, "soon");
    assert_string_equal(ask_at(rules, "GET", "h", "/slow/../soon", 1000).rule->name, "slow");
    free(rules);
}

static void what_no_rule_can_be_is_refused_by_key(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "",     "v1",   "//", "/a//b", "/./a",  "/a/..", "/a b",  "/%zz", "/%2F",       "/%2e",
        "/%25", "/a?b", "/#", "/a;b",  "/a\\b", "/%00",  "/a%7f", "/%5c", "/a/%2e%2e/b"};
    static const char *const hosts[] = {"", "a..b", "*.com", "a:80", "b\xc3\xbc.c", "a.", "*"};
    static const char *const methods[] = {"", "GET ", "AVERYLONGMETHODNAME", "G,T"};
    const char *key;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        if (rules_refuse(&(struct rule_source){.path = paths[i]}, &key) == NULL)
            fail_msg("%s", paths[i]);
        assert_string_equal(key, "path");
    }
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        assert_non_null(rules_refuse(&(struct rule_source){.host = hosts[i]}, &key));
        assert_string_equal(key, "host");
    }
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        char *const list[] = {(char *)(uintptr_t)methods[i]};
        const struct rule_source source = {.methods = list, .method_count = 1};
        assert_non_null(rules_refuse(&source, &key));
        assert_string_equal(key, "methods");
    }
    char path[RULES_PATH + 2];
    memset(path, 'a', sizeof path);
    path[0] = '/';
    path[RULES_PATH] = '\0';
    assert_null(rules_refuse(&(struct rule_source){.path = path}, &key));
    path[RULES_PATH] = 'a';
    path[RULES_PATH + 1] = '\0';
    assert_non_null(rules_refuse(&(struct rule_source){.path = path}, &key));
    assert_null(rules_refuse(&(struct rule_source){.path = "/", .host = "*.a.b"}, &key));
    assert_null(rules_refuse(&(struct rule_source){0}, &key));
}

static void no_rules_are_a_set_that_matches_nothing(void **state)
{
    (void)state;
    struct rules *rules = rules_new(NULL, 0);
    assert_int_equal(rules_count(rules), 0);
    assert_string_equal(ask(rules, "GET", "h", "/"), "-");
    free(rules);
}

/* ---- the model: one rule after another ---- */

static bool model_path(const char *rule, const char *text, size_t length)
{
    size_t own = rule != NULL ? strlen(rule) : 0;
    while (own > 0 && rule[own - 1] == '/')
        own--;
    return own <= length && memcmp(text, own != 0 ? rule : "", own) == 0 &&
           (own == length || own == 0 || text[own] == '/');
}

static bool model_host(const char *rule, const char *host)
{
    if (rule == NULL)
        return true;
    if (host == NULL)
        return false;
    const char *dot = strchr(host, '.');
    return strcasecmp(rule, host) == 0 ||
           (rule[0] == '*' && dot != NULL && dot != host && strcasecmp(rule + 1, dot) == 0);
}

static bool model_word(char *const *list, size_t count, const char *word)
{
    for (size_t i = 0; i < count; i++)
        if (strcasecmp(list[i], word) == 0 ||
            (strcasecmp(list[i], "GET") == 0 && strcasecmp(word, "HEAD") == 0))
            return true;
    return count == 0;
}

struct asked {
    const char *method, *host, *path, *service;
};

static int model_first(const struct rule_source *sources, size_t count, const struct asked *asked,
                       const char *text, size_t length)
{
    for (size_t i = 0; i < count; i++)
        if (!sources[i].tls && model_path(sources[i].path, text, length) &&
            model_host(sources[i].host, asked->host) &&
            model_word(sources[i].methods, sources[i].method_count, asked->method) &&
            model_word(sources[i].services, sources[i].service_count, asked->service))
            return (int)i;
    return -1;
}

static unsigned model_allows(const struct rule_source *sources, int rule)
{
    if (rule < 0)
        return UINT32_MAX;
    if (sources[rule].rule.state != RULE_OPEN)
        return 0;
    return sources[rule].rule.per_second != 0 ? sources[rule].rule.per_second : UINT32_MAX - 1;
}

static int model_find(const struct rule_source *sources, size_t count, const struct asked *asked)
{
    struct path path;
    const char *text;
    size_t length;
    int best = -1;
    path_begin(&path, asked->path, strlen(asked->path));
    while (path_next(&path, &text, &length)) {
        int one = model_first(sources, count, asked, text, length);
        unsigned a = model_allows(sources, one), b = model_allows(sources, best);
        if (a < b || (a == b && one >= 0 && one < best))
            best = one;
    }
    return best;
}

enum { PATH_ROOM = 96 };

static char *random_path(struct random *r, char out[PATH_ROOM], bool odd)
{
    static const char *const plain[] = {"/a", "/b", "/ab", "/v1", "/long-segment-of-a-path"};
    static const char *const strange[] = {"//", "/..", "/.", "/%61", "/%2e%2e", "%2fb", "/a;x"};
    out[0] = '\0';
    for (uint32_t n = random_below(r, 4); n > 0; n--)
        strcat(out, odd && random_below(r, 3) == 0 ? strange[random_below(r, 7)]
                                                   : plain[random_below(r, 5)]);
    return out[0] == '/' ? out : strcpy(out, "/");
}

static void the_compiled_set_agrees_with_looking_at_each_rule(void **state)
{
    (void)state;
    enum { MOST = 40 };
    static char *const methods[] = {"GET", "POST", "DELETE"};
    static char *const services[] = {"one", "two"};
    static const char *const hosts[] = {NULL, NULL, "a.example", "b.example", "*.a.example"};
    static const char *const asked_hosts[] = {NULL, "A.example", "b.example", "x.a.example", "c"};
    static const char *const asked_methods[] = {"GET", "HEAD", "POST", "DELETE", "PUT"};
    struct random r = {5};
    unsigned matched = 0;
    for (int round = 0; round < 4000; round++) {
        struct rule_source sources[MOST] = {0};
        char paths[MOST][PATH_ROOM], asked_path[PATH_ROOM];
        size_t count = random_below(&r, MOST + 1);
        for (size_t i = 0; i < count; i++) {
            sources[i] = (struct rule_source){.rule = {.name = "r",
                                                       .state = (uint8_t)(1 + random_below(&r, 3)),
                                                       .per_second = random_below(&r, 3),
                                                       .slot = (uint32_t)i},
                                              .methods = methods + random_below(&r, 3),
                                              .host = hosts[random_below(&r, 5)],
                                              .path = random_path(&r, paths[i], false),
                                              .services = services + random_below(&r, 2)};
            sources[i].method_count = random_below(&r, 3) == 0;
            sources[i].service_count = random_below(&r, 3) == 0;
        }
        struct rules *rules = rules_new(sources, count);
        for (int k = 0; k < 20; k++) {
            struct asked asked = {
                asked_methods[random_below(&r, 5)], asked_hosts[random_below(&r, 5)],
                random_path(&r, asked_path, k % 2), services[random_below(&r, 2)]};
            struct rules_request request = {.service = rules_service(asked.service),
                                            .http = true,
                                            .method = slice(asked.method),
                                            .path = slice(asked.path),
                                            .host = slice(asked.host)};
            const struct rule *got = rules_find(rules, &request, 0).rule;
            int wanted = model_find(sources, count, &asked);
            if ((got != NULL ? (int)got->slot : -1) != wanted)
                fail_msg("round %d, %s %s: %d, not %d", round, asked.method, asked.path,
                         got != NULL ? (int)got->slot : -1, wanted);
            matched += wanted >= 0;
        }
        free(rules);
    }
    assert_true(matched > 20000);
}

static void thousands_of_rules_are_each_found(void **state)
{
    (void)state;
    static struct rule_source sources[RULES_MAX];
    static char paths[RULES_MAX][32], names[RULES_MAX][8];
    for (int i = 0; i < RULES_MAX; i++) {
        snprintf(paths[i], sizeof paths[i], "/v1/sales/%d", i);
        snprintf(names[i], sizeof names[i], "r%d", i);
        sources[i] = (struct rule_source){.rule = {.name = names[i]}, .path = paths[i]};
    }
    struct rules *rules = rules_new(sources, RULES_MAX);
    assert_int_equal(rules_count(rules), RULES_MAX);
    for (int i = 0; i < RULES_MAX; i++) {
        assert_string_equal(ask(rules, "GET", "h", paths[i]), names[i]);
        assert_string_equal(rules_at(rules, (size_t)i)->name, names[i]);
    }
    assert_string_equal(ask(rules, "GET", "h", "/v1/sales/4096"), "-");
    free(rules);
}

/* ---- when to come again ---- */

static void the_line_grows_by_a_place_each_and_moves_on_with_time(void **state)
{
    (void)state;
    struct rule_line line = {0};
    assert_int_equal(rule_line_join(&line, 10000, 5000), 10); /* 100 per second */
    assert_int_equal(rule_line_join(&line, 10000, 5000), 20);
    for (int i = 0; i < 498; i++)
        rule_line_join(&line, 10000, 5000);
    assert_int_equal(rule_line_join(&line, 10000, 5000), 5010);
    assert_int_equal(rule_line_join(&line, 10000, 9000), 1020);
    assert_int_equal(rule_line_join(&line, 10000, 60000), 10);
    for (int i = 0; i < 100000; i++)
        rule_line_join(&line, 10000, 60000);
    assert_int_equal(rule_line_join(&line, 10000, 60000), RULES_RETRY_MAX * 1000);
}

static void retry_after_is_never_before_the_wait_and_little_behind_it(void **state)
{
    (void)state;
    assert_int_equal(rules_retry_after(0, 0), 1);
    assert_int_equal(rules_retry_after(1, 0), 1);
    assert_int_equal(rules_retry_after(1001, 0), 2);
    assert_int_equal(rules_retry_after(1000, UINT32_MAX), 3);
    assert_int_equal(rules_retry_after(60000, 0), 60);
    assert_int_equal(rules_retry_after(60000, UINT32_MAX), 77);
}

static void who_is_too_early_is_told_the_opening_but_no_more_than_an_hour(void **state)
{
    (void)state;
    const struct rule rule = {.state = RULE_UPCOMING, .opens_at = INT64_C(1000000000000)};
    assert_int_equal(rules_retry_opening(&rule, rule.opens_at - 1, 0), 1);
    assert_int_equal(rules_retry_opening(&rule, rule.opens_at - 90000, 0), 90);
    assert_int_equal(rules_retry_opening(&rule, rule.opens_at - 90000, UINT32_MAX), 92);
    assert_int_equal(rules_retry_opening(&rule, 0, 0), 3600);
    assert_int_equal(rules_retry_opening(&rule, rule.opens_at + 5, 0), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_matches_whole_segments),
        cmocka_unit_test(a_path_in_a_rule_may_be_written_encoded),
        cmocka_unit_test(a_method_is_any_of_those_listed_and_get_is_head_too),
        cmocka_unit_test(a_host_is_compared_without_case_port_and_last_dot),
        cmocka_unit_test(a_rule_is_for_the_services_that_it_names),
        cmocka_unit_test(connections_have_rules_by_server_name_or_none),
        cmocka_unit_test(the_first_that_matches_decides),
        cmocka_unit_test(a_rule_that_observes_never_decides),
        cmocka_unit_test(no_spelling_of_a_path_gets_around_a_rule),
        cmocka_unit_test(upcoming_becomes_open_by_itself),
        cmocka_unit_test(what_no_rule_can_be_is_refused_by_key),
        cmocka_unit_test(no_rules_are_a_set_that_matches_nothing),
        cmocka_unit_test(the_compiled_set_agrees_with_looking_at_each_rule),
        cmocka_unit_test(thousands_of_rules_are_each_found),
        cmocka_unit_test(the_line_grows_by_a_place_each_and_moves_on_with_time),
        cmocka_unit_test(retry_after_is_never_before_the_wait_and_little_behind_it),
        cmocka_unit_test(who_is_too_early_is_told_the_opening_but_no_more_than_an_hour),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
