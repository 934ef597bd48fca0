/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The feeds of a running gateway: their files are read, judged and built into the part of policy
 * that admit/lists.h looks up in. Each feed for itself, all or nothing: one whose file is missing,
 * refused or held back keeps its last good content, while the others load. That content outlives a
 * restart as a copy in [gateway] state_dir. It serves as the kind that it was taken as, or not at
 * all: a feed whose kind changes is empty until a file is taken as the new one. Entries with a time
 * of their own are taken out within a minute of its end.
 *
 * The control thread says what is wanted and when; reading and building happen on a thread of
 * their own (at the start: before any other thread), always the same one. It hands finished parts
 * to the builder, so the rest of policy waits for no file. Telemetry reads a copy of what is known,
 * under a lock. */
#ifndef DROPGATE_DATAPLANE_OPS_FEEDS_H
#define DROPGATE_DATAPLANE_OPS_FEEDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/admit/lists.h"
#include "dataplane/ops/builder.h"
#include "dataplane/ops/settings_feeds.h"

struct feeds;

/** What became of a feed's file when it was looked at last. */
enum feed_state {
    FEED_IN_FORCE,   /* it is the content in use */
    FEED_WAITS,      /* held back */
    FEED_BAD,        /* refused */
    FEED_UNREADABLE, /* not there, or not to be opened */
    FEED_STATES
};

/** What telemetry says of a feed. */
struct feed_status {
    char name[LISTS_NAME];
    enum list_kind kind;
    enum list_mode mode;
    enum feed_format format; /* of the content in use */
    enum feed_state state;
    bool used;           /* some content is in use, if only an older one */
    int64_t written_ms;  /* unix time of that content */
    int64_t looked_ms;   /* unix time at which the file was looked at */
    uint64_t entries;    /* in use, as written */
    uint64_t prefixes;   /* they come to */
    uint64_t lapsed;     /* entries whose time is over */
    uint64_t left_out;   /* entries that a denylist must not have */
    uint64_t unreadable; /* lines */
    uint64_t v4_addresses, v6_networks;
    uint32_t slot;              /* in struct lists, whose hits are counted there */
    uint16_t since;             /* as there; 0: it is in no lists */
    char hash[FEED_ACCEPT + 1]; /* SHA-256 of the file that was looked at; empty: none was read */
    char why[FEED_WHY];         /* empty while in force */
};

/** Copies at most `room` clients that have connections open into `out`, once per connection;
 * returns how many. The reader. */
typedef size_t feeds_clients(void *context, struct addr *out, size_t room);

/** None yet. `clients` (may be NULL: nobody is counted) is asked when a denylist is judged. NULL
 * when memory is short. */
struct feeds *feeds_new(feeds_clients *clients, void *context);

/** NULL is nothing. The part in force is the policy's. After the reader has ended. */
void feeds_free(struct feeds *feeds);

/** Reads the files of the plan, which it owns from here on, and builds the first part. NULL when
 * there are no feeds, or memory is short: then the log says so. Before the builder starts. */
struct lists *feeds_start(struct feeds *feeds, struct feed_plan *plan);

/** Has the reader (builder_start_reader) do the same, and the builder publish the part. `plan`
 * (NULL: memory was short) is owned from here on. Control thread. Returns 0, or -ENOMEM: all stays
 * as it is. */
int feeds_load(struct feeds *feeds, struct builder *reader, struct builder *builder,
               struct feed_plan *plan);

/** Once per round of the control thread: has entries taken out whose time is over. */
void feeds_run(struct feeds *feeds, struct builder *reader, struct builder *builder);

/** What is known of the feed at `index`; false behind the last. Any thread but a worker's. */
bool feeds_status(struct feeds *feeds, size_t index, struct feed_status *out);

/** "in_force", "held_back", "refused", "missing". */
const char *feed_state_name(enum feed_state state);

#endif
