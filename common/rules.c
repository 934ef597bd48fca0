/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A forest of path segments in one hash table. A tree belongs to a kind (requests or connections),
 * a service or all, and a host or all; its nodes are segments, and each holds the rules whose path
 * ends there. A request walks the trees that may concern it, of which there are six at most and
 * mostly one, from their roots as far down as its path goes, and the rule that stands first in the
 * file wins. */
#include "common/rules.h"

#include <stdlib.h>
#include <string.h>

#include "common/path.h"
#include "common/siphash.h"

#define NONE UINT32_MAX /* no node, no rule, no link */

enum {
    HOST_MOST = 255,
    HOST_ROOM = HOST_MOST + 1,
    LABEL_MOST = 63,
    METHOD_MOST = 16,
    ROOTS = 6,
    ROOT_KEY = 1 + sizeof(uint64_t) + HOST_MOST,
    OTHER_METHODS = RULES_METHODS, /* the bit of those that no rule names */
    RETRY_OPENING_MAX = 3600,
};

const char *const rule_states[RULE_STATES + 1] = {[RULE_UPCOMING] = "upcoming",
                                                  [RULE_OPEN] = "open",
                                                  [RULE_SOLD_OUT] = "sold_out",
                                                  [RULE_CLOSED] = "closed"};

/* A segment behind its parent; a root has none, and its text is its key. */
struct node {
    uint32_t parent, hash;
    uint32_t text; /* into texts */
    uint32_t length;
    uint32_t first, last; /* its rules, in the file's order */
};

/* A rule at a node. */
struct link {
    uint32_t rule, next;
    uint32_t methods; /* a bit for each that it is for */
};

struct rules {
    uint32_t count, node_count, link_count, method_count, text_count;
    uint32_t mask; /* of `table` */
    bool by_service, by_host, by_wildcard;
    char methods[RULES_METHODS][METHOD_MOST + 1];
    struct rule *rule;
    struct node *node;
    struct link *link;
    uint32_t *table; /* node + 1, or 0 */
    char *texts;
};

/* ---- words ---- */

static char small(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static bool is_word(char c)
{
    c = small(c);
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static bool same_method(const char *known, const struct http1_slice *method)
{
    for (size_t i = 0; i < method->length; i++)
        if (small(known[i]) != small(method->at[i]))
            return false;
    return known[method->length] == '\0';
}

/* Ours only tells the operators' segments apart, so nobody gains by knowing it: who makes a request
 * with the hash of a segment is told that it is another one. */
static uint32_t hash_text(uint32_t parent, const char *text, size_t length)
{
    uint64_t hash = (parent + UINT64_C(1)) * UINT64_C(0x9e3779b97f4a7c15), word;
    for (; length >= sizeof word; text += sizeof word, length -= sizeof word) {
        memcpy(&word, text, sizeof word);
        hash = (hash ^ word) * UINT64_C(0xff51afd7ed558ccd);
        hash ^= hash >> 32;
    }
    word = length;
    for (size_t i = 0; i < length; i++)
        word = word << 8 | (uint8_t)text[i];
    hash = (hash ^ word) * UINT64_C(0xc4ceb9fe1a85ec53);
    return (uint32_t)(hash ^ hash >> 32) ^ (uint32_t)(hash >> 17);
}

uint64_t rules_service(const char *name)
{
    /* A name, not a secret. 0 is no service. */
    static const struct siphash_key fixed = {UINT64_C(0x64726f7067617465), UINT64_C(0x72756c6573)};
    uint64_t number = siphash_bytes(&fixed, name, strlen(name));
    return number != 0 ? number : 1;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = small(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The next byte of a rule's path, decoded, or -1 for a percent sign that begins no escape. */
static int path_byte(const char **at)
{
    const char *p = (*at)++;
    if (*p != '%')
        return (uint8_t)*p;
    int high = hex(p[1]), low = high >= 0 ? hex(p[2]) : -1;
    *at = p + 3;
    return low >= 0 ? high << 4 | low : -1;
}

/* ---- what a rule may be ---- */

static const char *refuse_path(const char *path)
{
    char text[RULES_PATH];
    size_t length = 0;
    if (path[0] != '/')
        return "a path begins with a slash";
    for (const char *at = path; *at != '\0';) {
        bool escaped = *at == '%';
        int byte = path_byte(&at);
        if (byte < 0)
            return "a percent sign must be followed by two hexadecimal digits";
        if (byte <= ' ' || byte == 0x7f || (escaped && byte == '/') || byte == '%' || byte == ';' ||
            byte == '\\' || (!escaped && (byte == '?' || byte == '#')))
            return "a path has no blanks, controls, queries or fragments, and a rule's none of "
                   "%2F, %25, ';' and '\\' either: servers differ about them";
        if (length == sizeof text)
            return "too long";
        text[length++] = (char)byte;
    }
    return path_is_plain(text, length) ? NULL : "empty and dot segments are not looked for";
}

static const char *refuse_host(const char *host)
{
    size_t label = 0, length = strlen(host);
    bool wildcard = strncmp(host, "*.", 2) == 0;
    if (length == 0 || length > HOST_MOST)
        return "a host name has 1 to 255 characters";
    host += wildcard ? 2 : 0;
    if (wildcard && strchr(host, '.') == NULL)
        return "a wildcard for a whole top-level domain";
    for (; *host != '\0'; host++) {
        if (!is_word(*host) && (*host != '.' || label == 0))
            return "not a host name without port: letters, digits, hyphens and single dots";
        label = *host != '.' ? label + 1 : 0;
        if (label > LABEL_MOST)
            return "a label of more than 63 characters";
    }
    return label == 0 ? "ends with a dot" : NULL;
}

static const char *refuse_method(const char *method)
{
    size_t length = strlen(method);
    for (const char *at = method; *at != '\0'; at++)
        if (!is_word(*at))
            return "a method is a word, such as GET or POST";
    return length == 0 || length > METHOD_MOST ? "a method has 1 to 16 letters" : NULL;
}

const char *rules_refuse(const struct rule_source *source, const char **key)
{
    const char *why = NULL;
    *key = "methods";
    for (size_t i = 0; i < source->method_count && why == NULL; i++)
        why = refuse_method(source->methods[i]);
    if (why == NULL && source->host != NULL) {
        *key = "host";
        why = refuse_host(source->host);
    }
    if (why == NULL && source->path != NULL) {
        *key = "path";
        why = refuse_path(source->path);
    }
    return why;
}

/* ---- compiling ---- */

/* A root's text: kind, service, host in small letters. */
struct root_key {
    char bytes[ROOT_KEY];
    size_t length;
};

static void make_root_key(struct root_key *key, bool http, uint64_t service, const char *host,
                          size_t length)
{
    key->bytes[0] = (char)http;
    memcpy(key->bytes + 1, &service, sizeof service);
    memcpy(key->bytes + 1 + sizeof service, host, length);
    key->length = 1 + sizeof service + length;
}

static uint32_t find_node(const struct rules *rules, uint32_t parent, const char *text,
                          size_t length)
{
    uint32_t hash = hash_text(parent, text, length);
    for (uint32_t at = hash & rules->mask; rules->table[at] != 0; at = (at + 1) & rules->mask) {
        const struct node *node = &rules->node[rules->table[at] - 1];
        if (node->hash == hash && node->parent == parent && node->length == length &&
            memcmp(rules->texts + node->text, text, length) == 0)
            return rules->table[at] - 1;
    }
    return NONE;
}

/* Finds the node, or adds it: there is room. */
static uint32_t make_node(struct rules *rules, uint32_t parent, const char *text, size_t length)
{
    uint32_t index = find_node(rules, parent, text, length);
    if (index != NONE)
        return index;
    index = rules->node_count++;
    rules->node[index] = (struct node){
        parent, hash_text(parent, text, length), rules->text_count, (uint32_t)length, NONE, NONE};
    memcpy(rules->texts + rules->text_count, text, length);
    rules->text_count += (uint32_t)length;
    uint32_t at = rules->node[index].hash & rules->mask;
    while (rules->table[at] != 0)
        at = (at + 1) & rules->mask;
    rules->table[at] = index + 1;
    return index;
}

static uint32_t make_path(struct rules *rules, uint32_t node, const char *path)
{
    char text[RULES_PATH];
    size_t length = 0;
    for (const char *at = path; at != NULL && *at != '\0';) {
        if (*at == '/') {
            at++;
            continue;
        }
        for (length = 0; *at != '\0' && *at != '/';)
            text[length++] = (char)path_byte(&at);
        node = make_node(rules, node, text, length);
    }
    return node;
}

static void add_link(struct rules *rules, uint32_t index, uint32_t rule, uint32_t methods)
{
    struct node *node = &rules->node[index];
    uint32_t link = rules->link_count++;
    rules->link[link] = (struct link){rule, NONE, methods};
    if (node->last == NONE)
        node->first = link;
    else
        rules->link[node->last].next = link;
    node->last = link;
}

/* The bit of a method; a name that is new gets one while there are some left. */
static uint32_t method_bit(struct rules *rules, const char *name)
{
    const struct http1_slice slice = {name, strlen(name)};
    uint32_t i = 0;
    while (i < rules->method_count && !same_method(rules->methods[i], &slice))
        i++;
    if (i == RULES_METHODS)
        return 1U << OTHER_METHODS;
    if (i == rules->method_count)
        memcpy(rules->methods[rules->method_count++], name, slice.length + 1);
    return 1U << i;
}

static uint32_t method_bits(struct rules *rules, const struct rule_source *source)
{
    static const struct http1_slice get = {"GET", 3};
    uint32_t bits = 0;
    for (size_t i = 0; i < source->method_count; i++) {
        bits |= method_bit(rules, source->methods[i]);
        if (same_method(source->methods[i], &get))
            bits |= method_bit(rules, "HEAD");
    }
    return source->method_count != 0 ? bits : UINT32_MAX;
}

/* Puts a rule into the trees of one kind: one, or one per service. */
static void add_to_trees(struct rules *rules, const struct rule_source *source, uint32_t rule,
                         bool http, uint32_t methods)
{
    char host[HOST_ROOM] = "";
    size_t length = source->host != NULL ? strlen(source->host) : 0;
    struct root_key key;
    for (size_t i = 0; i < length; i++)
        host[i] = small(source->host[i]);
    for (size_t i = 0; i < source->service_count || i == 0; i++) {
        uint64_t service = source->service_count != 0 ? rules_service(source->services[i]) : 0;
        make_root_key(&key, http, service, host, length);
        uint32_t root = make_node(rules, NONE, key.bytes, key.length);
        add_link(rules, make_path(rules, root, source->path), rule, methods);
    }
    rules->by_service |= source->service_count != 0;
    rules->by_wildcard |= length != 0 && host[0] == '*';
    rules->by_host |= length != 0 && host[0] != '*';
}

/* What is said of requests holds for requests, what is said of server names for connections, and
 * what says nothing of either for both. */
static void add_rule(struct rules *rules, const struct rule_source *source)
{
    uint32_t index = rules->count++;
    bool of_requests =
        source->method_count != 0 || source->path != NULL || (source->host != NULL && !source->tls);
    struct rule *rule = &rules->rule[index];
    char *name = rules->texts + rules->text_count;
    size_t length = strlen(source->rule.name) + 1;
    memcpy(name, source->rule.name, length);
    rules->text_count += (uint32_t)length;
    *rule = source->rule;
    rule->name = name;
    if (!source->tls)
        add_to_trees(rules, source, index, true, method_bits(rules, source));
    if (!of_requests)
        add_to_trees(rules, source, index, false, UINT32_MAX);
}

/* Room for it all, at most: what rules share is not known yet. */
struct room {
    size_t nodes, links, texts;
};

static struct room room_for(const struct rule_source *sources, size_t count)
{
    struct room room = {0};
    for (size_t i = 0; i < count; i++) {
        const char *path = sources[i].path != NULL ? sources[i].path : "";
        size_t trees = 2 * (sources[i].service_count != 0 ? sources[i].service_count : 1);
        size_t segments = 0;
        for (const char *at = path; *at != '\0'; at++)
            segments += *at == '/';
        room.nodes += trees * (1 + segments);
        room.links += trees;
        room.texts += strlen(sources[i].rule.name) + 1 + trees * (ROOT_KEY + strlen(path));
    }
    return room;
}

static size_t aligned(size_t size)
{
    return (size + 15) & ~(size_t)15;
}

static struct rules *allocate(const struct room *room, size_t count)
{
    size_t slots = 16;
    while (slots < 2 * room->nodes)
        slots *= 2;
    size_t rules_at = aligned(sizeof(struct rules)),
           nodes_at = rules_at + aligned(count * sizeof(struct rule)),
           links_at = nodes_at + aligned(room->nodes * sizeof(struct node)),
           table_at = links_at + aligned(room->links * sizeof(struct link)),
           texts_at = table_at + aligned(slots * sizeof(uint32_t));
    char *block = calloc(1, texts_at + room->texts);
    if (block == NULL)
        return NULL;
    struct rules *rules = (struct rules *)(void *)block;
    rules->rule = (struct rule *)(void *)(block + rules_at);
    rules->node = (struct node *)(void *)(block + nodes_at);
    rules->link = (struct link *)(void *)(block + links_at);
    rules->table = (uint32_t *)(void *)(block + table_at);
    rules->texts = block + texts_at;
    rules->mask = (uint32_t)slots - 1;
    return rules;
}

struct rules *rules_new(const struct rule_source *sources, size_t count)
{
    struct room room = room_for(sources, count);
    struct rules *rules = allocate(&room, count);
    for (size_t i = 0; rules != NULL && i < count; i++)
        add_rule(rules, &sources[i]);
    return rules;
}

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
