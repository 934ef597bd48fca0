/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What each backend is asked by its probe, as the settings say it. Main and builder thread. */
#ifndef DROPGATE_DATAPLANE_OPS_SETTINGS_PROBE_H
#define DROPGATE_DATAPLANE_OPS_SETTINGS_PROBE_H

#include <stdbool.h>

#include "dataplane/ops/settings.h"

/** Bounds of [probe] and [backend] path and host, bytes: a request fits any segment. */
enum { SETTINGS_PROBE_PATH = 200, SETTINGS_PROBE_HOST = 128 };

/** Refuses what could not be asked. 0, or -EINVAL with the reason in `why`. */
int settings_probe_check(const struct settings *settings, char *why, size_t size);

/** Writes what the backends of `out` are asked, which are those of the settings, in any order.
 * False when memory is short. */
bool settings_probe_fill(const struct settings *settings, struct services *out);

#endif
