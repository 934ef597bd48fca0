/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * One direction of the relay: what becomes of each frame, and when it goes on. The same frames at
 * the same times with the same seed have the same fate. Frames keep their order unless a rule says
 * otherwise. Pure: it knows no socket and no clock, and allocates nothing after relay_path_new.
 *
 * Times are in ns of any monotonic clock. */
#ifndef DROPGATE_TESTS_LAB_RELAY_PATH_H
#define DROPGATE_TESTS_LAB_RELAY_PATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "relay_segment.h"

enum { RELAY_MILLION = 1000000 }; /* chances are parts of a million */

struct relay_rules {
    uint32_t drop, duplicate, reorder, split; /* chances; `split` is for TCP data */
    unsigned overtaken_by; /* a reordered frame waits until so many others have passed, */
    uint64_t patience;     /* but no longer than this */
    unsigned rate;         /* Mbit/s of the line; 0: as fast as it can */
    uint64_t delay;        /* every frame waits that long */
    uint64_t jitter;       /* and up to that much longer, in order */
    bool data_only;        /* chances are for TCP segments with payload; others are only delayed */
    bool first_split;      /* the first data segment of each connection becomes two halves */
    bool first_overtaken;  /* it, or its first half, waits until the next data has passed */
};

struct relay_counters {
    uint64_t seen, sent; /* frames that came; frames that went, copies and halves included */
    uint64_t dropped, duplicated, reordered, split;
    uint64_t first_split, first_overtaken;
    uint64_t overflow; /* lost for want of room: not intended */
};

struct relay_frame {
    uint64_t due;
    uint16_t length;
    uint8_t bytes[RELAY_FRAME_MAX];
};

struct relay_path;

/** A direction that holds up to `frames` frames. NULL when there is no memory. */
struct relay_path *relay_path_new(const struct relay_rules *rules, unsigned frames, uint64_t seed);
void relay_path_free(struct relay_path *path);

/** A frame has come; it is copied. `length` is at most RELAY_FRAME_MAX, `now` never goes back. */
void relay_path_take(struct relay_path *path, const uint8_t *frame, size_t length, uint64_t now);

/** The frames that are to go on now, in order, at most `most` of them; valid until the next call
 * for this path. Those that went are then counted off by relay_path_sent. */
unsigned relay_path_due(struct relay_path *path, uint64_t now, struct relay_frame **frames,
                        unsigned most);
void relay_path_sent(struct relay_path *path, unsigned count);

/** When to ask again; UINT64_MAX when nothing waits. */
uint64_t relay_path_next(const struct relay_path *path);

const struct relay_counters *relay_path_counters(const struct relay_path *path);

#endif
