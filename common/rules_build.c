/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * From what operators wrote to a set: first what a rule may say, then the set, in one block whose
 * size is known beforehand, at most. */
#include <stdlib.h>

#include "common/path.h"
#include "common/rules_set.h"
#include "common/siphash.h"

enum { LABEL_MOST = 63 };

const char *const rule_states[RULE_STATES + 1] = {[RULE_UPCOMING] = "upcoming",
                                                  [RULE_OPEN] = "open",
                                                  [RULE_SOLD_OUT] = "sold_out",
                                                  [RULE_CLOSED] = "closed"};

uint64_t rules_service(const char *name)
{
    /* A name, not a secret. 0 is no service. */
    static const struct siphash_key fixed = {UINT64_C(0x64726f7067617465), UINT64_C(0x72756c6573)};
    uint64_t number = siphash_bytes(&fixed, name, strlen(name));
    return number != 0 ? number : 1;
}

/* ---- what a rule may be ---- */

static bool is_word(char c)
{
    c = small(c);
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
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
