/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A request walks the trees that may concern it, of which there are six at most and mostly one,
 * from their roots as far down as its path goes, and the rule that stands first in the file wins.
 */
#include "common/path.h"
#include "common/rules_set.h"

enum { ROOTS = 6, RETRY_OPENING_MAX = 3600 };

size_t rules_count(const struct rules *rules)
{
    return rules->count;
}

const struct rule *rules_at(const struct rules *rules, size_t index)
{
    return &rules->rule[index];
}

/* ---- finding ---- */

/* A look-up: where to begin, and what has been found so far. */
struct search {
    const struct rules *rules;
    uint32_t method; /* its bit */
    uint32_t roots, root[ROOTS];
    uint32_t rule, observed; /* the first that match */
};

static uint32_t bit_of(const struct rules *rules, const struct http1_slice *method)
{
    for (uint32_t i = 0; i < rules->method_count && method->length <= METHOD_MOST; i++)
        if (same_method(rules->methods[i], method))
            return 1U << i;
    return 1U << OTHER_METHODS;
}

/* A Host field's value or a server name in small letters, without port and the dot of the root;
 * returns its length, 0 when it is no name that a rule could have. */
static size_t clean_host(const struct http1_slice *host, char out[HOST_ROOM])
{
    const char *colon = host->length != 0 ? memchr(host->at, ':', host->length) : NULL;
    size_t length = colon != NULL ? (size_t)(colon - host->at) : host->length;
    if (length != 0 && host->at[length - 1] == '.')
        length--;
    if (length > HOST_MOST)
        return 0;
    for (size_t i = 0; i < length; i++)
        out[i] = small(host->at[i]);
    return length;
}

static void add_root(struct search *search, const struct rules_request *request, bool any_service,
                     const char *host, size_t length)
{
    struct root_key key;
    make_root_key(&key, request->http, any_service ? 0 : request->service, host, length);
    uint32_t root = find_node(search->rules, NONE, key.bytes, key.length);
    if (root != NONE)
        search->root[search->roots++] = root;
}

static void find_roots(struct search *search, const struct rules_request *request)
{
    const struct rules *rules = search->rules;
    char host[HOST_ROOM], wildcard[HOST_ROOM];
    size_t length = 0, rest = 0;
    if (rules->by_host || rules->by_wildcard)
        length = clean_host(&request->host, host);
    const char *dot = length != 0 ? memchr(host, '.', length) : NULL;
    if (rules->by_wildcard && dot != NULL && dot != host) {
        rest = length - (size_t)(dot - host);
        wildcard[0] = '*';
        memcpy(wildcard + 1, dot, rest++);
    }
    for (int any = 0; any < 2; any++) {
        if (!any && (!rules->by_service || request->service == 0))
            continue;
        add_root(search, request, any, "", 0);
        if (length != 0 && rules->by_host)
            add_root(search, request, any, host, length);
        if (rest != 0)
            add_root(search, request, any, wildcard, rest);
    }
}

/* Takes what stands at a node, as far as it is before what was found. */
static void visit(struct search *search, uint32_t node)
{
    const struct rules *rules = search->rules;
    for (uint32_t at = rules->node[node].first; at != NONE; at = rules->link[at].next) {
        const struct link *link = &rules->link[at];
        if (link->rule >= search->rule)
            return;
        if (!(link->methods & search->method))
            continue;
        if (!rules->rule[link->rule].observe) {
            search->rule = link->rule;
            return;
        }
        if (link->rule < search->observed)
            search->observed = link->rule;
    }
}

static void walk(struct search *search, uint32_t node, const char *path, size_t length)
{
    const char *at = path, *end = path + length;
    visit(search, node);
    while (at < end && *at == '/') {
        const char *segment = ++at, *slash = memchr(at, '/', (size_t)(end - at));
        at = slash != NULL ? slash : end;
        node = find_node(search->rules, node, segment, (size_t)(at - segment));
        if (node == NONE)
            return;
        visit(search, node);
    }
}

static struct rules_found look_up(struct search *search, const char *path, size_t length)
{
    const struct rule *rule = search->rules->rule;
    search->rule = search->observed = NONE;
    for (uint32_t i = 0; i < search->roots; i++)
        walk(search, search->root[i], path, length);
    return (struct rules_found){search->rule != NONE ? &rule[search->rule] : NULL,
                                search->observed < search->rule ? &rule[search->observed] : NULL};
}

/* How much a rule lets pass: the less, the stricter. */
static uint64_t allows(const struct rule *rule, int64_t unix_ms)
{
    if (rule == NULL)
        return UINT64_MAX;
    if (rule_state_at(rule, unix_ms) != RULE_OPEN)
        return 0;
    return rule->per_second != 0 ? rule->per_second : UINT64_MAX - 1;
}

/* The stricter of two, or of equals the one that stands first. */
static const struct rule *stricter(const struct rule *a, const struct rule *b, int64_t unix_ms)
{
    uint64_t of_a = allows(a, unix_ms), of_b = allows(b, unix_ms);
    return of_a < of_b || (of_a == of_b && (b == NULL || a < b)) ? a : b;
}

static struct rules_found look_up_all(struct search *search, const struct http1_slice *raw,
                                      int64_t unix_ms)
{
    struct rules_found found = {0};
    struct path path;
    const char *text;
    size_t length;
    path_begin(&path, raw->at, raw->length);
    while (path_next(&path, &text, &length)) {
        struct rules_found one = look_up(search, text, length);
        found.rule = stricter(found.rule, one.rule, unix_ms);
        found.observed = stricter(found.observed, one.observed, unix_ms);
    }
    return found;
}

struct rules_found rules_find(const struct rules *rules, const struct rules_request *request,
                              int64_t unix_ms)
{
    struct search search = {.rules = rules, .method = UINT32_MAX};
    if (rules->count == 0)
        return (struct rules_found){0};
    if (request->http)
        search.method = bit_of(rules, &request->method);
    find_roots(&search, request);
    if (search.roots == 0)
        return (struct rules_found){0};
    if (!request->http || path_is_plain(request->path.at, request->path.length))
        return look_up(&search, request->path.at, request->http ? request->path.length : 0);
    return look_up_all(&search, &request->path, unix_ms);
}

/* ---- when to come again ---- */

uint32_t rule_line_join(struct rule_line *line, uint64_t place_us, uint64_t now_ms)
{
    const uint64_t now = now_ms * 1000, most = now + RULES_RETRY_MAX * UINT64_C(1000000);
    uint64_t end = (line->end_us > now ? line->end_us : now) + place_us;
    line->end_us = end < most ? end : most;
    return (uint32_t)((line->end_us - now) / 1000);
}

uint32_t rules_retry_after(uint64_t wait_ms, uint32_t random)
{
    uint64_t seconds = (wait_ms + 999) / 1000;
    uint64_t spread = seconds / 4 + 3;
    return (uint32_t)((seconds != 0 ? seconds : 1) + (random * spread >> 32));
}

uint32_t rules_retry_opening(const struct rule *rule, int64_t unix_ms, uint32_t random)
{
    uint64_t wait = rule->opens_at > unix_ms ? (uint64_t)(rule->opens_at - unix_ms) : 0;
    uint64_t most = RETRY_OPENING_MAX * UINT64_C(1000);
    uint64_t seconds = ((wait < most ? wait : most) + 999) / 1000;
    return (uint32_t)((seconds != 0 ? seconds : 1) + (random * UINT64_C(3) >> 32));
}
