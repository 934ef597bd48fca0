/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Part of the policy: whom the operators' lists name. A feed is a list with a kind:
 *   deny     dropped, silently; its flows are cut. mode = observe: only counted
 *   allow    never denied, limited or banned, whatever other lists say
 *   shared   many users behind one address: higher limits, no bans for rate
 *   proxies  speak for many clients: no limits per client
 * Within a feed prefixes merge. Across feeds an address has the set of all feeds that it lies in,
 * so that each feed keeps its own counters and mode. A part is built aside, on the reader thread,
 * and never changed; NULL, and a look-up that costs nothing, while there is no feed. */
#ifndef DROPGATE_DATAPLANE_ADMIT_LISTS_H
#define DROPGATE_DATAPLANE_ADMIT_LISTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/addr.h"
#include "dataplane/admit/prefixes.h"

enum { LISTS_FEEDS = PREFIXES_MARKS, LISTS_NAME = 64 };

enum list_kind { LIST_DENY, LIST_ALLOW, LIST_SHARED, LIST_PROXIES };
enum list_mode { LIST_ENFORCE, LIST_OBSERVE }; /* observe: deny only */

/** What a look-up says about an address. DENIED and OBSERVED never with ALLOWED. */
enum {
    LISTED_DENIED = 1,   /* is to be dropped */
    LISTED_ALLOWED = 2,  /* exempt from all limits and bans */
    LISTED_SHARED = 4,   /* stands for many users */
    LISTED_PROXY = 8,    /* exempt from limits per client */
    LISTED_OBSERVED = 16 /* would be dropped if a feed did not only observe */
};

/** Those whose packets without a connection are not counted against their source. */
enum { LISTED_UNCOUNTED = LISTED_ALLOWED | LISTED_PROXY };

struct listed {
    uint16_t set; /* of feeds; 0: in none */
    uint8_t flags;
};

/** One feed's content, in any order, overlapping or not. */
struct lists_source {
    const char *name; /* 1..63 bytes, unlike all others */
    enum list_kind kind;
    enum list_mode mode;
    const struct prefix *prefixes;
    size_t count;
    int64_t fetched; /* unix seconds of the copy in use; 0: not known */
};

/** builder: rw until it is built, then all: ro. */
struct lists {
    struct prefixes prefixes;  /* marks: slots of feeds */
    const uint8_t *flags;      /* per set */
    uint32_t count;            /* feeds; 0: it is only a generation, and not to be asked */
    uint16_t generation;       /* never 0, which stands for no lists */
    struct lists_feed {        /* by slot: a feed keeps its own from one part to the next */
        char name[LISTS_NAME]; /* empty: nobody's */
        uint8_t kind, mode;    /* enum list_kind, list_mode */
        uint16_t since;        /* generation with which it got the slot */
        uint64_t prefixes;     /* as given */
        int64_t fetched;
    } feed[LISTS_FEEDS];
};

/** Hits per slot of a feed, of one worker. worker: rw, others: ro, a little old. */
struct lists_hits {
    uint64_t count[LISTS_FEEDS];
    uint16_t since[LISTS_FEEDS]; /* whose they are, as in struct lists_feed */
};

/** Builds a part, to be freed by lists_free. `generation` is not 0, and not one of which a flow may
 * still know: lists_next of the last one. `previous` (NULL: none) is the part that this one will
 * replace: feeds of the same name keep their slots, and so their counters. Returns 0, -ENOMEM,
 * -EINVAL (a name, kind or mode that is none), -EEXIST (a name twice) or -E2BIG (more than
 * LISTS_FEEDS feeds, or they overlap in more ways than are told apart); `*out` is NULL then.
 * Reader thread; some tenths of a second for a million prefixes. */
int lists_build(const struct lists_source *sources, size_t count, const struct lists *previous,
                uint16_t generation, struct lists **out);

/** NULL is nothing. */
void lists_free(struct lists *lists);

/** The generation of a part; 0 of NULL. */
static inline uint16_t lists_generation(const struct lists *lists)
{
    return lists != NULL ? lists->generation : 0;
}

/** The generation that follows one. */
static inline uint16_t lists_next(uint16_t generation)
{
    return generation == UINT16_MAX ? 1 : (uint16_t)(generation + 1);
}

/** The part if it has feeds, else NULL: there is nothing to be looked up. */
static inline const struct lists *lists_to_ask(const struct lists *lists)
{
    return lists != NULL && lists->count != 0 ? lists : NULL;
}

/** Fetches what lists_find reads first, some packets ahead. `lists` is not NULL. */
static inline void lists_fetch(const struct lists *lists, const struct addr *addr, bool v4)
{
    prefixes_fetch(&lists->prefixes, addr, v4);
}

/** Fetches what it reads next, some packets after lists_fetch. Returns whether the address may be
 * in any list: false is certain. */
static inline bool lists_fetch_more(const struct lists *lists, const struct addr *addr, bool v4)
{
    return prefixes_fetch_mixed(&lists->prefixes, addr, v4);
}

/** What the lists say about an address; nothing when there are none to ask (NULL). */
static inline struct listed lists_find(const struct lists *lists, const struct addr *addr, bool v4)
{
    const uint16_t set = lists != NULL ? prefixes_find(&lists->prefixes, addr, v4) : 0;
    return (struct listed){set, set != 0 ? lists->flags[set] : (uint8_t)0};
}

/** Counts a packet of an address whose set is not empty, for each feed of the set. */
void lists_hit(const struct lists *lists, uint16_t set, struct lists_hits *hits);

/** Another part is in force: slots that have gone to another feed count from zero. Its worker. */
void lists_hits_begin(const struct lists *lists, struct lists_hits *hits);

/** The hits of the feed in a slot of `lists` that a worker has counted. Any thread. */
uint64_t lists_hits_of(const struct lists *lists, const struct lists_hits *hits, uint32_t slot);

/** "deny", "allow", "shared", "proxies"; "enforce", "observe". */
const char *list_kind_name(enum list_kind kind);
const char *list_mode_name(enum list_mode mode);

#endif
