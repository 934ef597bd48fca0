/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Whether something was seen about a second ago, without keeping what: a Bloom filter (Bloom, 1970)
 * of which every cell has a bit for each quarter of a second, and the four places of a hash lie in
 * two cache lines (compare Putze, Sanders and Singler, 2007). A host whose SYN was refused sends
 * the same one again after 1 s, and after 2 s more; a flood from forged addresses does not. It
 * never forgets within that time; it may believe to have seen what it has not: of what is new, 1 in
 * 1,500 at a million notes per second, 1 in 25 at four million (seen_test). Pure. One thread, the
 * owner's. */
#ifndef DROPGATE_DATAPLANE_ADMIT_SEEN_H
#define DROPGATE_DATAPLANE_ADMIT_SEEN_H

#include <stdbool.h>
#include <stdint.h>

enum {
    SEEN_QUARTER_MS = 250,
    SEEN_QUARTERS = 16,
    SEEN_YOUNGEST = 3, /* quarters: at least 500 ms ago, and 750 ms surely */
    SEEN_OLDEST = 14,  /* 3.5 s ago surely; the next older one is being cleared */
    SEEN_LINE = 32,    /* cells of a cache line */
    SEEN_LINES = 1 << 19
};

struct seen {
    uint16_t (*line)[SEEN_LINE];
    uint64_t quarter; /* of the clock */
    uint32_t cleared; /* lines whose bits of the next quarter are clear */
    uint16_t noted;   /* quarters in which anything was noted */
};

/** An empty filter of 32 MiB. Returns 0 or -ENOMEM. */
int seen_init(struct seen *seen, uint64_t now_ms);
void seen_end(struct seen *seen);

/** The line of a hash's i-th place. */
static inline uint32_t seen_line(uint64_t hash, int i)
{
    return (uint32_t)(i < 2 ? hash : hash / SEEN_LINES) % SEEN_LINES;
}

/** Fetches what the hash needs ahead of its use. */
static inline void seen_prefetch(const struct seen *seen, uint64_t hash)
{
    __builtin_prefetch(seen->line[seen_line(hash, 0)], 1);
    __builtin_prefetch(seen->line[seen_line(hash, 2)], 1);
}

/** Notes what has that keyed hash. */
void seen_note(struct seen *seen, uint64_t hash);

/** Whether it was noted some 0.75 to 3.5 s ago. */
bool seen_before(const struct seen *seen, uint64_t hash);

/** Moves the clock on, never back, and clears a part of what comes next, in proportion to the time
 * that has passed; nothing when nothing was noted for long. Once per burst. */
void seen_tick(struct seen *seen, uint64_t now_ms);

#endif
