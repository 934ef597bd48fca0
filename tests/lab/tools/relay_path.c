/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A queue in order of time, and beside it the few frames that wait to be overtaken. When a frame is
 * put into the queue, whoever waited for it follows directly behind. */
#include "relay_path.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/random.h"

enum { ASIDE = 64, CONNECTIONS = 4096 };

/* A frame that waits to be overtaken: by `others` frames of any kind, or (others = 0) by data of
 * its own connection. */
struct aside {
    struct relay_frame *frame;
    uint64_t patience_ends;
    unsigned others;
    uint64_t connection;
    uint32_t seq;
};

/* A connection whose SYN has passed: where its first data will begin, until it has come.
 * Connections with the same place push each other out: then a rule is not applied, and the counters
 * tell. */
struct connection {
    uint64_t connection;
    uint32_t first;
    bool awaited;
};

struct relay_path {
    struct relay_rules rules;
    struct relay_counters counters;
    struct random random;
    uint64_t line_free; /* when the last frame so far will be on the line */
    unsigned capacity, head, queued, idle, asides;
    struct aside aside[ASIDE];
    struct connection connections[CONNECTIONS];
    struct relay_frame **queue; /* a ring of `capacity` */
    struct relay_frame **spare; /* a stack of `idle` */
    struct relay_frame frames[];
};

struct relay_path *relay_path_new(const struct relay_rules *rules, unsigned frames, uint64_t seed)
{
    struct relay_path *path = calloc(1, sizeof *path + frames * sizeof path->frames[0]);
    if (path == NULL)
        return NULL;
    path->queue = calloc(frames, sizeof *path->queue);
    path->spare = calloc(frames, sizeof *path->spare);
    if (path->queue == NULL || path->spare == NULL) {
        relay_path_free(path);
        return NULL;
    }
    path->rules = *rules;
    path->random.state = seed;
    path->capacity = path->idle = frames;
    for (unsigned i = 0; i < frames; i++)
        path->spare[i] = &path->frames[i];
    return path;
}

void relay_path_free(struct relay_path *path)
{
    if (path == NULL)
        return;
    free(path->queue);
    free(path->spare);
    free(path);
}

static bool chance(struct relay_path *path, uint32_t of_million)
{
    return of_million != 0 && random_below(&path->random, RELAY_MILLION) < of_million;
}

/* It goes when it is due and all before it have gone. */
static void enqueue(struct relay_path *path, struct relay_frame *frame, uint64_t due)
{
    frame->due = due;
    path->queue[(path->head + path->queued++) % path->capacity] = frame;
}

static void release(struct relay_path *path, unsigned i, uint64_t due)
{
    struct relay_frame *frame = path->aside[i].frame;
    path->asides--;
    memmove(&path->aside[i], &path->aside[i + 1], (path->asides - i) * sizeof path->aside[0]);
    enqueue(path, frame, due);
}

/* A frame was put into the queue: those that waited for it follow. */
static void overtaken(struct relay_path *path, const struct relay_segment *segment)
{
    for (unsigned i = 0; i < path->asides;) {
        struct aside *a = &path->aside[i];
        bool over = false;
        if (a->others != 0)
            over = --a->others == 0;
        else if (segment != NULL && relay_segment_payload(segment) != 0)
            over = a->connection == segment->connection && a->seq != segment->seq;
        if (over)
            release(path, i, 0);
        else
            i++;
    }
}

/* A copy of the frame, or NULL when there is no room. */
static struct relay_frame *copy(struct relay_path *path, const uint8_t *bytes, size_t length)
{
    if (path->idle == 0) {
        path->counters.overflow++;
        return NULL;
    }
    struct relay_frame *frame = path->spare[--path->idle];
    memcpy(frame->bytes, bytes, length);
    frame->length = (uint16_t)length;
    return frame;
}

/* When a frame that comes now has left: behind those before it on the line, and after the delay. */
static uint64_t due_at(struct relay_path *path, size_t length, uint64_t now)
{
    const struct relay_rules *rules = &path->rules;
    if (rules->rate != 0) {
        if (path->line_free < now)
            path->line_free = now;
        path->line_free += length * 8 * 1000 / rules->rate;
        now = path->line_free;
    }
    const uint64_t jitter = rules->jitter == 0 ? 0 : random_64(&path->random) % (rules->jitter + 1);
    return now + rules->delay + jitter;
}

/* Puts a frame aside, to follow what overtakes it. False when too many wait already. */
static bool put_aside(struct relay_path *path, const uint8_t *bytes, size_t length, uint64_t now,
                      const struct aside *what)
{
    if (path->asides == ASIDE)
        return false;
    struct relay_frame *frame = copy(path, bytes, length);
    if (frame == NULL)
        return true;
    struct aside *a = &path->aside[path->asides++];
    *a = *what;
    a->frame = frame;
    a->patience_ends = due_at(path, length, now) + path->rules.patience;
    return true;
}

static void pass(struct relay_path *path, const uint8_t *bytes, size_t length, uint64_t now,
                 const struct relay_segment *segment)
{
    struct relay_frame *frame = copy(path, bytes, length);
    if (frame == NULL)
        return;
    enqueue(path, frame, due_at(path, length, now));
    overtaken(path, segment);
}

/* A frame, or half of one, by the chances for duplicates and reordering. */
static void disturb(struct relay_path *path, const uint8_t *bytes, size_t length, uint64_t now,
                    const struct relay_segment *segment)
{
    const struct relay_rules *rules = &path->rules;
    if (chance(path, rules->duplicate)) {
        path->counters.duplicated++;
        pass(path, bytes, length, now, segment);
    }
    if (chance(path, rules->reorder) &&
        put_aside(path, bytes, length, now, &(struct aside){.others = rules->overtaken_by})) {
        path->counters.reordered++;
        return;
    }
    pass(path, bytes, length, now, segment);
}

static void note_syn(struct relay_path *path, const struct relay_segment *segment)
{
    path->connections[segment->connection % CONNECTIONS] =
        (struct connection){segment->connection, segment->seq + 1, true};
}

/* Whether this is the first data of a connection whose SYN was seen, for the first time. */
static bool is_first_data(struct relay_path *path, const struct relay_segment *segment)
{
    struct connection *c = &path->connections[segment->connection % CONNECTIONS];
    if (!c->awaited || c->connection != segment->connection || c->first != segment->seq ||
        relay_segment_payload(segment) == 0)
        return false;
    c->awaited = false;
    return true;
}

/* The rules for a connection's first data. `bytes` may be its first half. */
static void pass_first(struct relay_path *path, const uint8_t *bytes, size_t length, uint64_t now,
                       const struct relay_segment *segment)
{
    const struct aside what = {.connection = segment->connection, .seq = segment->seq};
    if (path->rules.first_overtaken && put_aside(path, bytes, length, now, &what))
        path->counters.first_overtaken++;
    else
        pass(path, bytes, length, now, segment);
}

static void take_segment(struct relay_path *path, const uint8_t *frame, size_t length, uint64_t now,
                         const struct relay_segment *segment)
{
    const struct relay_rules *rules = &path->rules;
    const bool first =
        (rules->first_split || rules->first_overtaken) && is_first_data(path, segment);
    const uint16_t payload = relay_segment_payload(segment);
    const bool split = first ? rules->first_split : payload > 1 && chance(path, rules->split);
    uint16_t at = payload / 2;
    if (split && !first)
        at = (uint16_t)(1 + random_below(&path->random, payload - 1u));

    uint8_t half[2][RELAY_FRAME_MAX];
    size_t lengths[2];
    struct relay_segment second;
    if (split &&
        relay_segment_split(frame, segment, at, half[0], &lengths[0], half[1], &lengths[1])) {
        relay_segment_parse(half[1], lengths[1], &second);
        *(first ? &path->counters.first_split : &path->counters.split) += 1;
        (first ? pass_first : disturb)(path, half[0], lengths[0], now, segment);
        (first ? pass : disturb)(path, half[1], lengths[1], now, &second);
    } else {
        (first ? pass_first : disturb)(path, frame, length, now, segment);
    }
}

void relay_path_take(struct relay_path *path, const uint8_t *frame, size_t length, uint64_t now)
{
    struct relay_segment segment;
    const bool tcp = relay_segment_parse(frame, length, &segment);
    const bool touched = !path->rules.data_only || (tcp && relay_segment_payload(&segment) != 0);
    path->counters.seen++;
    if (tcp && (segment.flags & RELAY_SYN))
        note_syn(path, &segment);
    if (!touched)
        pass(path, frame, length, now, NULL);
    else if (chance(path, path->rules.drop))
        path->counters.dropped++;
    else if (tcp)
        take_segment(path, frame, length, now, &segment);
    else
        disturb(path, frame, length, now, NULL);
}

unsigned relay_path_due(struct relay_path *path, uint64_t now, struct relay_frame **frames,
                        unsigned most)
{
    unsigned count = 0;
    for (unsigned i = 0; i < path->asides;) {
        if (path->aside[i].patience_ends <= now)
            release(path, i, path->aside[i].patience_ends);
        else
            i++;
    }
    for (; count < most && count < path->queued; count++) {
        struct relay_frame *frame = path->queue[(path->head + count) % path->capacity];
        if (frame->due > now)
            break;
        frames[count] = frame;
    }
    return count;
}

void relay_path_sent(struct relay_path *path, unsigned count)
{
    path->counters.sent += count;
    for (; count > 0; count--) {
        path->spare[path->idle++] = path->queue[path->head];
        path->head = (path->head + 1) % path->capacity;
        path->queued--;
    }
}

uint64_t relay_path_next(const struct relay_path *path)
{
    uint64_t next = path->queued > 0 ? path->queue[path->head]->due : UINT64_MAX;
    for (unsigned i = 0; i < path->asides; i++) {
        if (path->aside[i].patience_ends < next)
            next = path->aside[i].patience_ends;
    }
    return next;
}

const struct relay_counters *relay_path_counters(const struct relay_path *path)
{
    return &path->counters;
}
