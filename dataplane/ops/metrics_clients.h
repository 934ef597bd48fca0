/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * /dropgate/clients and /dropgate/bans: who asks the most, who is refused, who is banned. DPDK's
 * telemetry threads, which read what workers are writing. */
#ifndef DROPGATE_DATAPLANE_OPS_METRICS_CLIENTS_H
#define DROPGATE_DATAPLANE_OPS_METRICS_CLIENTS_H

#include <rte_telemetry.h>

#include "dataplane/worker.h"

/** Sums over the workers from `first` up to `behind`: entries, bans, connections, what each limit
 * has refused, and the clients with most connections and most refusals. */
void metrics_clients(const struct worker *first, const struct worker *behind,
                     struct rte_tel_data *data);

/** The bans in force, as many as an answer holds. */
void metrics_bans(const struct worker *first, const struct worker *behind,
                  struct rte_tel_data *data);

#endif
