/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A compiled set of rules, as rules_build.c makes it and rules.c reads it; nobody else includes
 * this. A forest of path segments in one hash table: a tree belongs to a kind (requests or
 * connections), a service or all, and a host or all; its nodes are segments, and each holds the
 * rules whose path ends there. */
#ifndef DROPGATE_COMMON_RULES_SET_H
#define DROPGATE_COMMON_RULES_SET_H

#include <string.h>

#include "common/rules.h"

#define NONE UINT32_MAX /* no node, no rule, no link */

enum {
    HOST_MOST = 255,
    HOST_ROOM = HOST_MOST + 1,
    METHOD_MOST = 16,
    ROOT_KEY = 1 + sizeof(uint64_t) + HOST_MOST,
    OTHER_METHODS = RULES_METHODS, /* the bit of those that no rule names */
};

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

static inline char small(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static inline bool same_method(const char *known, const struct http1_slice *method)
{
    for (size_t i = 0; i < method->length; i++)
        if (small(known[i]) != small(method->at[i]))
            return false;
    return known[method->length] == '\0';
}

/* Ours only tells the operators' segments apart, so nobody gains by knowing it: who makes a request
 * with the hash of a segment is told that it is another one. */
static inline uint32_t hash_text(uint32_t parent, const char *text, size_t length)
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

/* A root's text: kind, service, host in small letters. */
struct root_key {
    char bytes[ROOT_KEY];
    size_t length;
};

static inline void make_root_key(struct root_key *key, bool http, uint64_t service,
                                 const char *host, size_t length)
{
    key->bytes[0] = (char)http;
    memcpy(key->bytes + 1, &service, sizeof service);
    memcpy(key->bytes + 1 + sizeof service, host, length);
    key->length = 1 + sizeof service + length;
}

/* The node of that text behind its parent (NONE: the root of that key), or NONE. */
static inline uint32_t find_node(const struct rules *rules, uint32_t parent, const char *text,
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

#endif
