/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * One feed of those that feeds.c keeps: looking at its file, and what goes on when that is not
 * taken. Private to feeds.c and feed_look.c. The reader; allocates, and says in the log what became
 * of the file. It builds no part of policy. */
#ifndef DROPGATE_DATAPLANE_OPS_FEED_LOOK_H
#define DROPGATE_DATAPLANE_OPS_FEED_LOOK_H

#include <pthread.h>
#include <time.h>

#include "dataplane/ops/feed.h"
#include "dataplane/ops/feed_file.h"
#include "dataplane/ops/feeds.h"

/** A feed as it is. reader: rw */
struct feed_kept {
    struct feed_spec spec;
    struct feed feed;    /* what it says: kept only if entries of it end */
    struct feed_set set; /* what is in use */
    uint8_t hash[FEED_HASH];
    uint32_t taken;  /* contents so far */
    const char *was; /* the kind with which the last content was given up; NULL: none was */
    struct feed_status status;
};

/** All of them; opaque to everybody else. */
struct feeds {
    feeds_clients *clients;
    void *context;
    pthread_mutex_t lock;
    struct feed_status statuses[LISTS_FEEDS]; /* what telemetry reads, under the lock */
    size_t status_count;
    int64_t lapse_ms; /* when entries are to be taken out. reader: w, control: rw */
    bool any;         /* there has ever been a feed. control: rw */
    /* reader: rw */
    struct feed_plan *plan;
    struct feed_kept *one;
    size_t count;
    const struct lists *current; /* in force, or next to be */
    bool changed;                /* what is in use is not what they were built from */
    struct addr *seen;           /* distinct clients, while files are judged; NULL: not asked yet */
    size_t seen_count;
};

static inline int64_t unix_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/** Looks at the feed's file. `stale`: what is in use was read in another way, or cleaned with other
 * addresses in mind. */
void feed_look(struct feeds *feeds, struct feed_kept *one, bool stale);

/** Cleans again what stays in use although it was cleaned with other addresses in mind. */
void feed_clean_again(const struct feeds *feeds, struct feed_kept *one);

/** Nothing is in use any more; the status stays. */
void feed_empty(struct feed_kept *one);

/** The status says what the set in use comes to. */
void feed_note_set(struct feed_kept *one);

/** Whom it lists gets no answer: it is more than observed. */
bool feed_denies(const struct feed_spec *spec);

/** Clients are asked for anew when the next denylist is judged. */
void feeds_forget_clients(struct feeds *feeds);

#endif
