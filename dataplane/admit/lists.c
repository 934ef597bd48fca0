/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Feeds get their slots, prefixes.c finds the sets in which they overlap, and what each set means
 * is worked out once, here, so that a packet has but to read it. */
#include "dataplane/admit/lists.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = {
    [LIST_DENY] = "deny",
    [LIST_ALLOW] = "allow",
    [LIST_SHARED] = "shared",
    [LIST_PROXIES] = "proxies",
};
static const char *const modes[] = {[LIST_ENFORCE] = "enforce", [LIST_OBSERVE] = "observe"};

const char *list_kind_name(enum list_kind kind)
{
    return kinds[kind];
}

const char *list_mode_name(enum list_mode mode)
{
    return modes[mode];
}

static bool is_valid(const struct lists_source *source)
{
    const size_t length = source->name != NULL ? strlen(source->name) : 0;
    return length != 0 && length < LISTS_NAME && source->kind <= LIST_PROXIES &&
           source->mode <= LIST_OBSERVE &&
           (source->kind == LIST_DENY || source->mode == LIST_ENFORCE);
}

static int check(const struct lists_source *sources, size_t count)
{
    if (count > LISTS_FEEDS)
        return -E2BIG;
    for (size_t i = 0; i < count; i++) {
        if (!is_valid(&sources[i]))
            return -EINVAL;
        for (size_t k = 0; k < i; k++)
            if (strcmp(sources[i].name, sources[k].name) == 0)
                return -EEXIST;
    }
    return 0;
}

/* ---- slots ---- */

static int slot_named(const struct lists *lists, const char *name)
{
    for (int slot = 0; lists != NULL && slot < LISTS_FEEDS; slot++)
        if (strcmp(lists->feed[slot].name, name) == 0)
            return slot;
    return -1;
}

static void give_slot(struct lists *lists, const struct lists_source *source, uint32_t slot,
                      uint16_t since)
{
    struct lists_feed *feed = &lists->feed[slot];
    memcpy(feed->name, source->name, strlen(source->name));
    feed->kind = (uint8_t)source->kind;
    feed->mode = (uint8_t)source->mode;
    feed->since = since;
    feed->prefixes = source->count;
    feed->fetched = source->fetched;
}

/* Those that had a slot keep it; then the others take what is left. */
static void give_slots(struct lists *lists, const struct lists *previous,
                       const struct lists_source *sources, size_t count,
                       struct prefixes_source marked[LISTS_FEEDS])
{
    uint32_t empty = 0;
    for (size_t i = 0; i < count; i++) {
        const int slot = slot_named(previous, sources[i].name);
        if (slot >= 0)
            give_slot(lists, &sources[i], (uint32_t)slot, previous->feed[slot].since);
    }
    for (size_t i = 0; i < count; i++) {
        int slot = slot_named(lists, sources[i].name);
        if (slot < 0) {
            while (lists->feed[empty].name[0] != '\0')
                empty++;
            slot = (int)empty;
            give_slot(lists, &sources[i], empty, lists->generation);
        }
        marked[i] = (struct prefixes_source){sources[i].prefixes, sources[i].count, (uint8_t)slot};
    }
}

/* ---- what a set means ---- */

static uint8_t flags_of(const struct lists *lists, uint64_t slots)
{
    static const uint8_t meaning[] = {
        [LIST_DENY] = LISTED_DENIED,
        [LIST_ALLOW] = LISTED_ALLOWED,
        [LIST_SHARED] = LISTED_SHARED,
        [LIST_PROXIES] = LISTED_PROXY,
    };
    unsigned flags = 0;
    for (; slots != 0; slots &= slots - 1) {
        const struct lists_feed *feed = &lists->feed[__builtin_ctzll(slots)];
        flags |= feed->mode == LIST_OBSERVE ? LISTED_OBSERVED : meaning[feed->kind];
    }
    if (flags & LISTED_ALLOWED)
        flags &= ~(unsigned)(LISTED_DENIED | LISTED_OBSERVED);
    return (uint8_t)flags;
}

static int find_meanings(struct lists *lists)
{
    uint8_t *flags = malloc(lists->prefixes.set_count);
    if (flags == NULL)
        return -ENOMEM;
    for (uint32_t set = 0; set < lists->prefixes.set_count; set++)
        flags[set] = flags_of(lists, lists->prefixes.marks[set]);
    lists->flags = flags;
    return 0;
}

int lists_build(const struct lists_source *sources, size_t count, const struct lists *previous,
                uint16_t generation, struct lists **out)
{
    struct prefixes_source marked[LISTS_FEEDS];
    *out = NULL;
    int error = generation != 0 ? check(sources, count) : -EINVAL;
    if (error != 0)
        return error;
    struct lists *lists = calloc(1, sizeof *lists);
    if (lists == NULL)
        return -ENOMEM;
    lists->generation = generation;
    lists->count = (uint32_t)count;
    give_slots(lists, previous, sources, count, marked);
    if (count != 0)
        error = prefixes_build(marked, count, &lists->prefixes);
    if (count != 0 && error == 0)
        error = find_meanings(lists);
    if (error != 0) {
        lists_free(lists);
        return error;
    }
    *out = lists;
    return 0;
}

void lists_free(struct lists *lists)
{
    if (lists == NULL)
        return;
    prefixes_end(&lists->prefixes);
    free((void *)(uintptr_t)lists->flags);
    free(lists);
}

/* ---- hits ---- */

void lists_hit(const struct lists *lists, uint16_t set, struct lists_hits *hits)
{
    for (uint64_t slots = lists->prefixes.marks[set]; slots != 0; slots &= slots - 1)
        hits->count[__builtin_ctzll(slots)]++;
}

void lists_hits_begin(const struct lists *lists, struct lists_hits *hits)
{
    for (uint32_t slot = 0; lists != NULL && slot < LISTS_FEEDS; slot++) {
        if (lists->feed[slot].name[0] == '\0' || hits->since[slot] == lists->feed[slot].since)
            continue;
        __atomic_store_n(&hits->count[slot], 0, __ATOMIC_RELAXED);
        __atomic_store_n(&hits->since[slot], lists->feed[slot].since, __ATOMIC_RELEASE);
    }
}

uint64_t lists_hits_of(const struct lists *lists, const struct lists_hits *hits, uint32_t slot)
{
    if (__atomic_load_n(&hits->since[slot], __ATOMIC_ACQUIRE) != lists->feed[slot].since)
        return 0;
    return __atomic_load_n(&hits->count[slot], __ATOMIC_RELAXED);
}
