/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * How many flows of a shard belong to each service, and lead to each backend: what a reload has
 * removed may be forgotten once nothing refers to it. Counted on demand, by a walk over the table
 * of flows that goes a little further at each tick, so that flows themselves keep no count. What a
 * count finds of a number is exact if no flow gets that number meanwhile: no new flow gets that of
 * one who leaves. */
#ifndef DROPGATE_DATAPLANE_TCP_CENSUS_H
#define DROPGATE_DATAPLANE_TCP_CENSUS_H

#include <stdbool.h>
#include <stdint.h>

/** One count. Control: rw before it is handed over and once it is back; worker: rw between. */
struct census {
    uint32_t services, backends; /* numbers that there may be */
    uint32_t left;               /* flows to be looked at */
    bool begun;
    uint32_t *of_service, *of_backend; /* behind this struct */
    uint32_t count[];
};

/** A count for so many numbers; NULL when memory is short. For free(). */
struct census *census_new(uint32_t services, uint32_t backends);

struct shard;

/** Hands it over; all counts begin at 0. Not before the last one is back. Control thread. */
void census_begin(struct census *census, struct shard *shard);

/** Whether the shard has none (any more): what was handed over may be read. Control thread. */
bool census_is_back(const struct shard *shard);

/** A few flows more. Returns how many were looked at. The worker. */
uint32_t census_tick(struct shard *shard);

#endif
