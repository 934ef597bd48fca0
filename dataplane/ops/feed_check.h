/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * `--check-feed FILE`: says what a gateway would do with a file as a feed, and does nothing. Main
 * thread of a program that does nothing else. */
#ifndef DROPGATE_DATAPLANE_OPS_FEED_CHECK_H
#define DROPGATE_DATAPLANE_OPS_FEED_CHECK_H

#include <stdio.h>

#include "dataplane/ops/settings.h"

/** Exit codes. */
enum { FEED_CHECK_GOOD = 0, FEED_CHECK_NOT_TAKEN = 1, FEED_CHECK_USAGE = 2 };

/** Checks `file`, which is read as `format` (NULL: that of the feed, else auto). Without `settings`
 * only whether it can be read; with them as the feed `name` (NULL: the one whose file it is, else a
 * new denylist), against its last good copy, our addresses and its limits. Clients with open
 * connections only a running gateway knows. Returns one of the above, having written to `out`. */
int feed_check(const char *file, const char *format, const struct settings *settings,
               const char *name, FILE *out);

#endif
