/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Counters and table sizes over DPDK's telemetry socket (/run/dpdk/INSTANCE/dpdk_telemetry.v2):
 *   /dropgate/verdicts  name → packets (or ends of flows)
 *   /dropgate/tables    flows, tombstones, held, with their capacities
 *   /dropgate/backends  per backend: resolved, answering, learned options
 *   /dropgate/rules     per rule: its state, and what it let pass and refused; with a name behind
 *                       the comma of that one, with @40 of the forty from there on
 *   /dropgate/feeds     per feed: kind, mode, what became of its file, prefixes, age in seconds,
 * and hits: packets looked up that it names; with a name behind the comma, more /dropgate/worker
 * packets in and out per side, busy and idle loops, and frames received for
 *                       (`given`) and by (`taken`) other workers: what is missing between the
 *                       two waits in a ring, or is counted as handover_full
 * Each is the sum over all workers; with a number behind a comma (/dropgate/worker,1), of that one.
 * Reads what the owners write, without locks: numbers may be a little old. */
#ifndef DROPGATE_DATAPLANE_OPS_METRICS_H
#define DROPGATE_DATAPLANE_OPS_METRICS_H

#include "dataplane/ops/settings.h"
#include "dataplane/ops/upkeep.h"
#include "dataplane/worker.h"

/** Registers the commands; the arguments must live until metrics_close. Main thread, once.
 * Returns 0 or -errno. */
int metrics_register(const struct settings *settings, const struct worker *workers,
                     uint32_t worker_count, const struct upkeep *upkeep);

/** From here on every command is refused, so what it would read may be freed. Main thread. */
void metrics_close(void);

#endif
