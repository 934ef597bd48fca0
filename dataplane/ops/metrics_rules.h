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

/** All rules, as far as an answer has room for them, or the one of that name. False if there is
 * none. */
bool metrics_rules(const struct upkeep *upkeep, const char *name, struct rte_tel_data *data);

#endif
