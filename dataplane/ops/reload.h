/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * SIGHUP: the configuration is read again, checked as at a start, compared with the one in force,
 * and taken over as a whole or not at all. All parts of policy that follow from it are built here
 * and put in force by one swap. What takes long to read (the feeds' files) keeps a path of its own.
 * Control thread only. */
#ifndef DROPGATE_DATAPLANE_OPS_RELOAD_H
#define DROPGATE_DATAPLANE_OPS_RELOAD_H

#include "dataplane/ops/settings.h"
#include "dataplane/ops/upkeep.h"

struct reload {
    const char *path;
    const struct settings *first; /* of the start, the caller's: what only a start takes */
    struct settings *now;         /* in force; NULL: still the first */
    struct upkeep *upkeep;
};

/** The settings in force. */
static inline const struct settings *reload_settings(const struct reload *reload)
{
    return reload->now != NULL ? reload->now : reload->first;
}

/** Reads the file again. A file that cannot be read or has a mistake, a change of a key that only a
 * start takes, and too little memory change nothing. The log says what has changed, or each reason
 * why nothing has, with file and line. Returns 0 or -errno. */
int reload_run(struct reload *reload);

/** Forgets what earlier reloads have removed, once no connection needs it. Often; rarely does much.
 */
void reload_look(struct reload *reload);

/** Frees the settings that a reload has read; after all that was built from them. */
void reload_end(struct reload *reload);

#endif
