/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The highest timeline seen, kept over restarts of this process: one line, "SYSTEM TIMELINE", in a
 * file that is replaced as a whole. Without it an instance that starts while the new primary does
 * not answer could take an old one that does. */
#ifndef DROPGATE_CONTROL_LEDGER_LINEAGE_H
#define DROPGATE_CONTROL_LEDGER_LINEAGE_H

#include "control/ledger/election.h"

/** Reads the file into `*lineage`, which is zero if there is none yet. Returns 0, or -errno with
 * the reason in `why` (-EINVAL: it holds something else). Blocks on the disk. */
int lineage_load(const char *path, struct lineage *lineage, char *why, size_t why_size);

/** Replaces the file, durably, unless it holds a higher timeline of the same system. Returns 0 or
 * -errno. Blocks on the disk. */
int lineage_save(const char *path, const struct lineage *lineage);

#endif
