/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Which of several PostgreSQL servers is the primary that may be written to. Every promotion begins
 * a timeline of its own, so of all servers of one lineage (one system identifier) the highest
 * timeline ever seen is the true one, and a primary on a lower one is an old primary that came
 * back. Pure. */
#ifndef DROPGATE_CONTROL_LEDGER_ELECTION_H
#define DROPGATE_CONTROL_LEDGER_ELECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** What a server said of itself. */
struct identity {
    uint64_t system;   /* pg_control_system(): the same for a cluster and all its copies */
    uint32_t timeline; /* of a primary: that of the insert position; else the highest it knows of */
    int64_t started;   /* when its postmaster started, us: tells two servers from one seen twice */
    bool primary;      /* not in recovery */
    bool writable;     /* … and its sessions are not read-only */
};

struct sighting {
    bool answered; /* else the rest means nothing */
    struct identity is;
};

/** The lineage that is served, and the highest timeline of it ever seen; zero when nothing is
 * known. */
struct lineage {
    uint64_t system;
    uint32_t timeline;
};

enum election {
    ELECTION_PRIMARY,   /* `*winner` */
    ELECTION_NONE,      /* nobody who answers is a primary of the highest timeline */
    ELECTION_STRANGERS, /* the servers are not copies of one cluster, and nothing says which is ours
                         */
    ELECTION_TWO,       /* two primaries on one timeline: one of them was promoted by mistake */
};

/** What one server is to us. */
enum standing {
    STANDING_PRIMARY,
    STANDING_STANDBY,
    STANDING_READ_ONLY, /* a primary whose sessions may not write */
    STANDING_OUTDATED,  /* a primary of a lower timeline: an old primary that has come back */
    STANDING_STRANGER,  /* another cluster altogether */
    STANDING_SILENT,
};

/** Raises `lineage` to the highest timeline among the sightings of the same system. An empty
 * lineage stays empty. Returns whether it has risen. */
bool election_learn(struct lineage *lineage, const struct sighting *seen, size_t count);

/** Chooses. An empty lineage is filled in from the winner only. Of two primaries on one timeline
 * the one at index `current` (or -1) is kept. */
enum election election_choose(struct lineage *lineage, const struct sighting *seen, size_t count,
                              int current, size_t *winner);

/** Where a server stands, given all that is known. */
enum standing election_standing(const struct lineage *lineage, const struct sighting *seen);

#endif
