/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Written aside, flushed, renamed, and the directory flushed: after a crash there is the old line
 * or the new one. Several instances of one machine may share the file: nobody writes a lower
 * timeline over a higher one. */
#include "control/ledger/lineage.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static int flush_directory(const char *path)
{
    char copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int status = fsync(fd) ? -errno : 0;
    close(fd);
    return status;
}

static int write_line(int fd, const struct lineage *lineage)
{
    char line[LINE_MAX_BYTES];
    int length = snprintf(line, sizeof line, "%" PRIu64 " %" PRIu32 "\n", lineage->system,
                          lineage->timeline);
    ssize_t written = write(fd, line, (size_t)length);
    if (written != length)
        return written < 0 ? -errno : -ENOSPC;
    return fsync(fd) ? -errno : 0;
}

int lineage_save(const char *path, const struct lineage *lineage)
{
    char aside[PATH_MAX], ignored[LINE_MAX_BYTES];
    struct lineage other;
    if (!lineage_load(path, &other, ignored, sizeof ignored) && other.system == lineage->system &&
        other.timeline > lineage->timeline)
        return 0;
    if (snprintf(aside, sizeof aside, "%s.XXXXXX", path) >= (int)sizeof aside)
        return -ENAMETOOLONG;
    int fd = mkostemp(aside, O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int status = write_line(fd, lineage);
    close(fd);
    if (!status && rename(aside, path))
        status = -errno;
    if (status) {
        unlink(aside);
        return status;
    }
    return flush_directory(path);
}
