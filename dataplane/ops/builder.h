/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The builder thread: builds policy parts, puts a row with them in force by swapping one pointer,
 * waits for a grace period (liburcu QSBR) and frees what was replaced, so that neither the control
 * thread nor a worker ever waits for that. Parts that belong together change in one swap: nobody
 * sees some of them new and others old. */
#ifndef DROPGATE_DATAPLANE_OPS_BUILDER_H
#define DROPGATE_DATAPLANE_OPS_BUILDER_H

#include "dataplane/admit/policy.h"

struct builder;

/** The parts of policy: one for each pointer of the row. */
enum part {
    PART_SERVICES,
    PART_BALANCE,
    PART_OFFERS,
    PART_NEIGHBORS,
    PART_LIMITS,
    PART_KEYS,
    PART_LISTS,
    PART_RULES,
    PARTS
};

/** A row to begin with: a copy of `parts`, which it owns from here on, and frees when it cannot be
 * made (NULL). Before the builder starts. */
const struct policy *builder_first_row(const struct policy *parts);

/** Starts the thread over a slot with a first row, which it owns as long as it runs. NULL when
 * memory or threads are short. */
struct builder *builder_start(struct policy_slot *slot);

/** Starts a thread beside that of a builder, for calls that take seconds, or wait for a disk: the
 * builder's own queue does not wait for them. Only for builder_call; what is called publishes by
 * the builder. To be stopped before the builder is. NULL when memory or threads are short. */
struct builder *builder_start_reader(void);

/** Hands over a finished part, which the builder owns from here on. The swap happens soon, in the
 * order of the calls. Control thread, and what builder_build and builder_call call. Returns 0, or
 * -ENOMEM (the part is then still the caller's). */
int builder_publish(struct builder *builder, enum part part, void *block);

/** Makes room for the next builder_publish_all, which cannot fail then: for what must not be done
 * unless parts follow. Control thread. Returns 0 or -ENOMEM. */
int builder_reserve(struct builder *builder);

/** The same as builder_publish for several finished parts that are to be seen together or not at
 * all: those of `parts` that are not NULL. What is NULL stays as it is. Control thread. */
int builder_publish_all(struct builder *builder, const struct policy *parts);

/** The same for a part that takes a while to build: the thread calls `build(plan)`, swaps in what
 * it returns (NULL: memory is short, and the old part stays in force) and frees `plan`. */
int builder_build(struct builder *builder, enum part part, void *(*build)(const void *plan),
                  void *plan);

/** Has the thread call `call(argument)`, which may take its time and publish parts, or none; then
 * `argument` is freed. */
int builder_call(struct builder *builder, void (*call)(void *argument), void *argument);

/** Puts a block into a row that is being made. */
void builder_set(struct policy *row, enum part part, void *block);

/** Whether all that was handed over is in force, and what it replaced is not looked at any more.
 * Control thread. */
bool builder_idle(struct builder *builder);

/** Frees a part that was replaced, or never published; NULL is nothing. Any thread. */
void builder_free(enum part part, void *block);

/** Frees all parts of the row; NULL ones are nothing. The row itself stays. Any thread. */
void builder_free_all(const struct policy *parts);

/** Frees the row and all its parts; NULL is nothing. After builder and workers have ended. */
void builder_free_row(const struct policy *row);

/** Finishes what was handed over and ends the thread; the row in force stays. Workers must still
 * report quiescent states. */
void builder_stop(struct builder *builder);

#endif
