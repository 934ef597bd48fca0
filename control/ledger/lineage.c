/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * After a crash there is the old line or the new one. Several instances of one machine may share
 * the file: nobody writes a lower timeline over a higher one. */
#include "control/ledger/lineage.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/replace_file.h"

enum { LINE_MAX_BYTES = 64 };

int lineage_load(const char *path, struct lineage *lineage, char *why, size_t why_size)
{
    char line[LINE_MAX_BYTES] = "", end;
    *lineage = (struct lineage){0};
    FILE *file = fopen(path, "re");
    if (!file && errno == ENOENT)
        return 0;
    if (!file) {
        int status = -errno;
        snprintf(why, why_size, "cannot read it: %s", strerror(errno));
        return status;
    }
    bool read = fgets(line, sizeof line, file) != NULL;
    fclose(file);
    if (read &&
        sscanf(line, "%" SCNu64 " %" SCNu32 "%c", &lineage->system, &lineage->timeline, &end) ==
            3 &&
        end == '\n' && lineage->system && lineage->timeline)
        return 0;
    *lineage = (struct lineage){0};
    snprintf(why, why_size,
             "it does not hold a system identifier and a timeline; look at it, and remove it if "
             "you know which server is the primary");
    return -EINVAL;
}

int lineage_save(const char *path, const struct lineage *lineage)
{
    char line[LINE_MAX_BYTES], ignored[LINE_MAX_BYTES];
    struct lineage other;
    if (!lineage_load(path, &other, ignored, sizeof ignored) && other.system == lineage->system &&
        other.timeline > lineage->timeline)
        return 0;
    int length = snprintf(line, sizeof line, "%" PRIu64 " %" PRIu32 "\n", lineage->system,
                          lineage->timeline);
    return replace_file(path, 0600, line, (size_t)length);
}
