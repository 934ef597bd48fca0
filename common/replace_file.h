/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Replaces a file as a whole: written aside in the same directory, flushed, renamed over the old
 * one, and the directory flushed. Whoever reads it, and whatever crashes, there is the old file or
 * the new one. Blocks. Any thread. */
#ifndef DROPGATE_COMMON_REPLACE_FILE_H
#define DROPGATE_COMMON_REPLACE_FILE_H

#include <limits.h>
#include <stddef.h>
#include <sys/types.h>

/** A file on its way. */
struct replacement {
    int fd; /* to be written to by the caller, who leaves it open */
    char path[PATH_MAX], aside[PATH_MAX];
};

/** Begins a new content for `path`, with these permissions. Returns 0 or -errno; on success the
 * caller ends it by one of the next two. A process that is killed meanwhile leaves "PATH.XXXXXX".
 */
int replace_begin(struct replacement *replacement, const char *path, mode_t mode);

/** Puts what was written in the place of the old content. Returns 0 or -errno; if anything but the
 * last flush of the directory fails, the old content is still there, and nothing is left beside
 * it. */
int replace_commit(struct replacement *replacement);

/** Leaves the old content. */
void replace_abandon(struct replacement *replacement);

/** All of it at once. Returns 0 or -errno. */
int replace_file(const char *path, mode_t mode, const void *bytes, size_t length);

#endif
