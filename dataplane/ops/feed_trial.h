/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A file tried as the new content of a feed: read, cleaned, merged and judged, and put in force by
 * nobody. The gateway and `--check-feed` ask the same. Any thread but a worker's; allocates. */
#ifndef DROPGATE_DATAPLANE_OPS_FEED_TRIAL_H
#define DROPGATE_DATAPLANE_OPS_FEED_TRIAL_H

#include "dataplane/ops/feed.h"
#include "dataplane/ops/feed_file.h"
#include "dataplane/ops/feed_guard.h"
#include "dataplane/ops/settings_feeds.h"

/** Against what. */
struct feed_ground {
    const struct prefix *ours; /* as in struct feed_plan */
    size_t ours_count;
    int64_t size_before;        /* as in struct feed_facts */
    const struct addr *clients; /* distinct */
    size_t client_count;
    int64_t now_ms; /* unix time */
};

struct feed_trial {
    struct feed feed; /* what it says, less what was left out */
    struct feed_set set;
    struct feed_left_out left_out;
    struct feed_facts facts;
    enum feed_judgement judgement;
    bool accepted;      /* it would have been held back */
    char why[FEED_WHY]; /* of any other judgement than FEED_GOOD, and of what was accepted */
};

/** Tries `file` as the content of that feed. `out` is to be given back by feed_trial_free,
 * whatever the judgement. */
void feed_try(const struct feed_spec *spec, const struct feed_ground *ground,
              const struct feed_file *file, struct feed_trial *out);

void feed_trial_free(struct feed_trial *trial);

/** Appends what an operator should know although the file is readable: unreadable lines, those that
 * were masked, and what was left out; `name` is the file's. Returns 0, and an empty text, if there
 * is nothing. */
int feed_remarks(const struct feed_trial *trial, const char *name, char *out, size_t size);

#endif
