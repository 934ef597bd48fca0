/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * /dropgate/rules: of each rule its state now, and what it has let pass and refused, on all
 * workers, since there is a rule of its name. A telemetry thread. */
#ifndef DROPGATE_DATAPLANE_OPS_METRICS_RULES_H
#define DROPGATE_DATAPLANE_OPS_METRICS_RULES_H

#include <rte_telemetry.h>
#include <stdbool.h>

#include "dataplane/ops/upkeep.h"

/** The one of that name; without a name the first forty, and for "@N", which no name begins with,
 * the forty from number N on. False if there is none of that name. */
bool metrics_rules(const struct upkeep *upkeep, const char *name, struct rte_tel_data *data);

#endif
