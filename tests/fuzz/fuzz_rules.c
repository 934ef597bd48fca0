/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Rules made of the input's first lines, asked for what the rest says: the compiled set agrees with
 * looking at one rule after another in each reading of the path. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/path.h"
#include "common/rules.h"

enum { MOST = 16 };

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* Cuts a line off the text; NULL when there is none left. */
static char *line(char **rest)
{
    char *at = *rest, *end = at != NULL ? strchr(at, '\n') : NULL;
    if (at == NULL)
        return NULL;
    *rest = end != NULL ? end + 1 : NULL;
    if (end != NULL)
        *end = '\0';
    return at;
}

/* "[!][host] path": a rule, unless it is refused. Its state follows from its number. */
static bool read_rule(char *text, size_t number, struct rule_source *out)
{
    const char *key;
    char *space = strchr(text, ' ');
    *out = (struct rule_source){.rule = {.name = "r", .slot = (uint32_t)number}};
    out->rule.state = (uint8_t)(number % RULE_STATES);
    out->rule.per_second = (uint32_t)number % 3;
    out->rule.opens_at = 1000;
    if (*text == '!') {
        out->rule.observe = true;
        text++;
    }
    if (space != NULL) {
        *space = '\0';
        out->host = *text != '\0' ? text : NULL;
        out->path = space + 1;
    } else {
        out->path = text;
    }
    return rules_refuse(out, &key) == NULL;
}

static int hex(char c)
{
    const char *digits = "0123456789abcdef", *at = c != '\0' ? strchr(digits, c | 0x20) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

/* Whether the rule's path, decoded, is the text or stands before a slash in it. */
static bool path_matches(const char *rule, const char *text, size_t length)
{
    char own[RULES_PATH];
    size_t size = 0;
    for (const char *at = rule; *at != '\0'; at++) {
        own[size++] = *at;
        if (*at != '%')
            continue;
        own[size - 1] = (char)(hex(at[1]) << 4 | hex(at[2]));
        at += 2;
    }
    while (size > 0 && own[size - 1] == '/')
        size--;
    return size == 0 || (size <= length && memcmp(own, text, size) == 0 &&
                         (size == length || text[size] == '/'));
}

static bool host_matches(const char *rule, const char *host)
{
    const char *dot = strchr(host, '.');
    return rule == NULL || strcasecmp(rule, host) == 0 ||
           (rule[0] == '*' && dot != NULL && dot != host && strcasecmp(rule + 1, dot) == 0);
}

static uint64_t allows(const struct rule_source *sources, int rule)
{
    if (rule < 0)
        return UINT64_MAX;
    if (rule_state_at(&sources[rule].rule, 0) != RULE_OPEN)
        return 0;
    uint32_t rate = sources[rule].rule.per_second;
    return rate != 0 ? rate : UINT64_MAX - 1;
}

static int model(const struct rule_source *sources, size_t count, const char *host,
                 const char *path)
{
    struct path readings;
    const char *text;
    size_t length;
    int best = -1;
    path_begin(&readings, path, strlen(path));
    while (path_next(&readings, &text, &length)) {
        int first = -1;
        for (size_t i = 0; i < count && first < 0; i++)
            if (!sources[i].rule.observe && host_matches(sources[i].host, host) &&
                path_matches(sources[i].path, text, length))
                first = (int)i;
        uint64_t a = allows(sources, first), b = allows(sources, best);
        if (a < b || (a == b && first >= 0 && first < best))
            best = first;
    }
    return best;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct rule_source sources[MOST];
    size_t count = 0;
    char *text = malloc(length + 1), *rest = text, *one;
    if (text == NULL || length > PATH_MAX_BYTES) {
        free(text);
        return 0;
    }
    memcpy(text, bytes, length);
    text[length] = '\0';
    char *host = line(&rest);
    char *path = line(&rest);
    while ((one = line(&rest)) != NULL && count < MOST)
        count += read_rule(one, count, &sources[count]);
    size_t size = host != NULL ? strlen(host) : 0;
    if (path != NULL && path[0] == '/' && strpbrk(host, ":") == NULL &&
        (size == 0 || host[size - 1] != '.') && size < 256) {
        const struct rules_request request = {
            .http = true, .method = {"GET", 3}, .host = {host, size}, .path = {path, strlen(path)}};
        struct rules *rules = rules_new(sources, count);
        struct rules_found found = rules_find(rules, &request, 0);
        int wanted = model(sources, count, host, path);
        check(wanted < 0 ? found.rule == NULL
                         : found.rule != NULL && (int)found.rule->slot == wanted);
        check(found.observed == NULL || found.observed->observe);
        free(rules);
    }
    free(text);
    return 0;
}
