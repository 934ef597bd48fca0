/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Downloads feeds, several at once. A file is put in its place only when its download has come to
 * its end, within its size and time, from a server that proved its name; otherwise the one before
 * stays. What a file says is not looked at: that is the gateway's part. Main thread; blocks. */
#ifndef DROPGATE_FEEDS_FETCH_H
#define DROPGATE_FEEDS_FETCH_H

#include <stdbool.h>

#include "feeds/settings.h"

/** How the feeds of a run have fared. */
struct fetched {
    unsigned changed, unchanged, early, failed;
};

/** Fetches all feeds of `settings` for which `wanted` (by their place; NULL: all) is true and whose
 * interval is over, or, by `force`, whenever they were asked last and as if they never had been.
 * Each outcome is logged. `*stop`, set by a signal handler, ends it early: what has not come counts
 * as failed. Returns 0, or -errno when nothing could be tried. */
int fetch_all(const struct settings *settings, const bool *wanted, bool force,
              const volatile bool *stop, struct fetched *fetched);

#endif
