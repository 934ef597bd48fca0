/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * mkostemp, fsync, rename, fsync of the directory. */
#include "common/replace_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int replace_begin(struct replacement *replacement, const char *path, mode_t mode)
{
    const size_t length = strlen(path);
    if (length + sizeof ".XXXXXX" > sizeof replacement->aside)
        return -ENAMETOOLONG;
    memcpy(replacement->path, path, length + 1);
    memcpy(replacement->aside, path, length);
    memcpy(replacement->aside + length, ".XXXXXX", sizeof ".XXXXXX");
    replacement->fd = mkostemp(replacement->aside, O_CLOEXEC);
    if (replacement->fd < 0)
        return -errno;
    if (fchmod(replacement->fd, mode) == 0)
        return 0;
    int error = -errno;
    replace_abandon(replacement);
    return error;
}

static int flush_directory(const char *path)
{
    char copy[PATH_MAX];
    memcpy(copy, path, strlen(path) + 1);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int error = fsync(fd) != 0 ? -errno : 0;
    close(fd);
    return error;
}

int replace_commit(struct replacement *replacement)
{
    if (fsync(replacement->fd) != 0 || rename(replacement->aside, replacement->path) != 0) {
        int error = -errno;
        replace_abandon(replacement);
        return error;
    }
    close(replacement->fd);
    return flush_directory(replacement->path);
}

void replace_abandon(struct replacement *replacement)
{
    close(replacement->fd);
    unlink(replacement->aside);
}

int replace_file(const char *path, mode_t mode, const void *bytes, size_t length)
{
    struct replacement replacement;
    int error = replace_begin(&replacement, path, mode);
    if (error != 0)
        return error;
    for (size_t done = 0; done < length;) {
        ssize_t count = write(replacement.fd, (const char *)bytes + done, length - done);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0) {
            error = count < 0 ? -errno : -ENOSPC;
            replace_abandon(&replacement);
            return error;
        }
        done += (size_t)count;
    }
    return replace_commit(&replacement);
}
