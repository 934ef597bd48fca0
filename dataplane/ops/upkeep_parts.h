/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What is known of backends, between the files of the upkeep, and private to them: upkeep.c runs
 * the rounds, upkeep_backends.c learns and decides, upkeep_reload.c has it begin anew for those who
 * come. Control thread. */
#ifndef DROPGATE_DATAPLANE_OPS_UPKEEP_PARTS_H
#define DROPGATE_DATAPLANE_OPS_UPKEEP_PARTS_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "dataplane/ops/upkeep.h"

static inline uint64_t unix_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/** Hands a part to the builder, which owns it from here on. When memory is short (NULL is that,
 * too) the log says so, and the one before stays in force. */
void upkeep_publish(struct upkeep *upkeep, enum part part, void *block);

/* ---- of a round ---- */

/** Reads what a worker tells, as much as a round may. `now` is the workers' clock. */
void upkeep_take_messages(struct upkeep *upkeep, struct worker *worker, uint64_t now);

/** Asks for next hops where it is time; forgets what has been silent for too long. */
void upkeep_refresh_neighbors(struct upkeep *upkeep, uint64_t now);

/** Publishes what follows from health and options that have changed. Behind the messages. */
void upkeep_rebalance(struct upkeep *upkeep);

/* ---- of a start, and of a reload ---- */

/** The offer of a service that has just come: an MSS and nothing else. */
void upkeep_first_offer(struct upkeep *upkeep, uint32_t service);
size_t upkeep_offers_size(uint32_t count);

/** A backend's next hop is another one: it is asked for at once, and the one before used until it
 * has answered. */
void upkeep_ask_anew(struct backend_state *state);

/** Parts as they follow from what is known now; NULL when memory is short. */
struct offers *upkeep_offers(struct upkeep *upkeep);
struct neighbors *upkeep_neighbors(const struct upkeep *upkeep);

#endif
