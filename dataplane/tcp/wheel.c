/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A slot is swept when its tick has wholly passed. Sweeping takes the slot's list aside ("pending")
 * and puts back what is not due, so a sweep that runs out of room goes on where it stopped,
 * whatever was set or cancelled in between. Deadlines are compared modulo 2^32: no delay is longer
 * than 2^30, and the clock moves on by more than that only once nothing older is armed. */
#include "dataplane/tcp/wheel.h"

#include <assert.h>
#include <stdlib.h>

enum { WHEEL_LONGEST = 1 << 30, LOOKS_PER_ROOM = 4 };

struct wheel {
    char *nodes; /* the first object's node */
    size_t stride;
    uint32_t count;
    uint32_t armed;
    uint64_t now;       /* ms; what wheel_set counts from */
    uint64_t next_tick; /* the first one that was not swept */
    uint64_t swept;     /* ms; the clock when a sweep was last complete */
    uint32_t pending;   /* list taken from a slot: 1 + index of its first */
    uint32_t slots[WHEEL_SLOTS];
};

struct wheel *wheel_new(void *base, size_t stride, size_t offset, uint32_t count, uint64_t now_ms)
{
    assert(count < UINT32_MAX && offset + sizeof(struct wheel_node) <= stride);
    struct wheel *wheel = calloc(1, sizeof *wheel);
    if (!wheel)
        return NULL;
    wheel->nodes = (char *)base + offset;
    wheel->stride = stride;
    wheel->count = count;
    wheel->now = now_ms;
    wheel->swept = now_ms;
    wheel->next_tick = now_ms / WHEEL_TICK_MS;
    return wheel;
}

void wheel_free(struct wheel *wheel)
{
    free(wheel);
}

static struct wheel_node *node_at(const struct wheel *wheel, uint32_t index)
{
    assert(index < wheel->count);
    return (struct wheel_node *)(void *)(wheel->nodes + index * wheel->stride);
}

static uint32_t *slot_of(struct wheel *wheel, uint32_t deadline)
{
    return &wheel->slots[deadline / WHEEL_TICK_MS % WHEEL_SLOTS];
}

static void link_first(struct wheel *wheel, uint32_t index, struct wheel_node *node)
{
    uint32_t *head = slot_of(wheel, node->deadline);
    node->prev = 0;
    node->next = *head;
    if (node->next)
        node_at(wheel, node->next - 1)->prev = index + 1;
    *head = index + 1;
}

static void unlink_node(struct wheel *wheel, uint32_t index, const struct wheel_node *node)
{
    if (node->next)
        node_at(wheel, node->next - 1)->prev = node->prev;
    if (node->prev)
        node_at(wheel, node->prev - 1)->next = node->next;
    else if (wheel->pending == index + 1)
        wheel->pending = node->next;
    else
        *slot_of(wheel, node->deadline) = node->next;
}

void wheel_set(struct wheel *wheel, uint32_t index, uint32_t delay_ms)
{
    struct wheel_node *node = node_at(wheel, index);
    if (node->deadline)
        unlink_node(wheel, index, node);
    else
        wheel->armed++;

    if (delay_ms > WHEEL_LONGEST)
        delay_ms = WHEEL_LONGEST;
    node->deadline = (uint32_t)wheel->now + delay_ms;
    if (!node->deadline)
        node->deadline = 1;
    link_first(wheel, index, node);
}

void wheel_cancel(struct wheel *wheel, uint32_t index)
{
    struct wheel_node *node = node_at(wheel, index);
    if (!node->deadline)
        return;
    unlink_node(wheel, index, node);
    *node = (struct wheel_node){0};
    wheel->armed--;
}

bool wheel_armed(const struct wheel *wheel, uint32_t index)
{
    return node_at(wheel, index)->deadline != 0;
}

/* Moves the clock, but past the longest delay only when nothing is armed that could then look like
 * the future. */
static void move_clock(struct wheel *wheel, uint64_t now_ms)
{
    if (!wheel->armed) {
        wheel->swept = now_ms;
        wheel->next_tick = now_ms / WHEEL_TICK_MS;
    }
    const uint64_t furthest = wheel->swept + WHEEL_LONGEST;
    wheel->now = now_ms - wheel->swept > WHEEL_LONGEST ? furthest : now_ms;

    const uint64_t tick = wheel->now / WHEEL_TICK_MS;
    if (tick - wheel->next_tick > WHEEL_SLOTS) /* each slot once is enough */
        wheel->next_tick = tick - WHEEL_SLOTS;
}

/* Takes the next non-empty slot aside; false when all that have passed are swept. */
static bool take_slot(struct wheel *wheel)
{
    const uint64_t tick = wheel->now / WHEEL_TICK_MS;
    while (!wheel->pending && wheel->next_tick < tick) {
        uint32_t *head = &wheel->slots[wheel->next_tick++ % WHEEL_SLOTS];
        wheel->pending = *head;
        *head = 0;
    }
    if (!wheel->pending)
        wheel->swept = wheel->now;
    return wheel->pending != 0;
}

uint32_t wheel_advance(struct wheel *wheel, uint64_t now_ms, uint32_t *due, uint32_t room)
{
    uint64_t looks = (uint64_t)room * LOOKS_PER_ROOM;
    uint32_t found = 0;

    while (now_ms > wheel->now || wheel->pending || wheel->next_tick < wheel->now / WHEEL_TICK_MS) {
        if (now_ms > wheel->now)
            move_clock(wheel, now_ms);
        while (take_slot(wheel)) {
            if (found == room || looks-- == 0)
                return found;
            const uint32_t index = wheel->pending - 1;
            struct wheel_node *node = node_at(wheel, index);
            unlink_node(wheel, index, node);
            if ((int32_t)(node->deadline - (uint32_t)wheel->now) > 0) {
                link_first(wheel, index, node); /* a later turn */
                continue;
            }
            *node = (struct wheel_node){0};
            wheel->armed--;
            due[found++] = index;
        }
    }
    return found;
}
