/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The builder thread: builds policy parts, swaps them in, waits for a grace period (liburcu QSBR)
 * and frees the old ones, so that neither the control thread nor a worker ever waits for that. */
#ifndef DROPGATE_DATAPLANE_OPS_BUILDER_H
#define DROPGATE_DATAPLANE_OPS_BUILDER_H

#include "dataplane/admit/policy.h"

struct builder;

/** A policy part that can be replaced. */
enum part { PART_OFFERS, PART_NEIGHBORS, PART_KEYS, PART_BALANCE };

/** Starts the thread over `policy`, whose parts are all present. NULL when memory or threads are
 * short. */
struct builder *builder_start(struct policy *policy);

/** Hands over a finished part, which the builder owns from here on. The swap happens soon, in the
 * order of the calls. Control thread. Returns 0, or -ENOMEM (the part is then still the caller's).
 */
int builder_publish(struct builder *builder, enum part part, void *block);

/** The same for a part that takes a while to build: the thread calls `build(plan)`, swaps in what
 * it returns (NULL: memory is short, and the old part stays in force) and frees `plan`. */
int builder_build(struct builder *builder, enum part part, void *(*build)(const void *plan),
                  void *plan);

/** Frees a part that was replaced, or never published; NULL is nothing. Any thread. */
void builder_free(enum part part, void *block);

/** Finishes what was handed over and ends the thread. Workers must still report quiescent states.
 */
void builder_stop(struct builder *builder);

#endif
