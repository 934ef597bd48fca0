/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors */
#include "common/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *judge(const struct stat *file)
{
    if (!S_ISREG(file->st_mode))
        return "not a regular file";
    if (file->st_uid != 0 && file->st_uid != geteuid())
        return "belongs neither to root nor to the user who runs this";
    if (file->st_mode & (S_IRWXG | S_IRWXO))
        return "others than its owner have access to it (chmod 600)";
    return NULL;
}

/* One byte more is asked for than there is room, to notice a file that is longer. */
static ssize_t read_all(int fd, char *out, size_t room)
{
    size_t length = 0;
    char more;
    for (;;) {
        ssize_t got = length < room ? read(fd, out + length, room - length) : read(fd, &more, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : (ssize_t)length;
        if (length == room)
            return -EFBIG;
        length += (size_t)got;
    }
}

static ssize_t read_open(int fd, char *out, size_t room, const char **wrong)
{
    struct stat file;
    if (fstat(fd, &file) != 0) {
        *wrong = strerror(errno);
        return -errno;
    }
    *wrong = judge(&file);
    if (*wrong)
        return -EPERM;
    ssize_t length = read_all(fd, out, room);
    if (length < 0) {
        explicit_bzero(out, room);
        *wrong = length == -EFBIG ? "is longer than it may be" : strerror((int)-length);
    }
    return length;
}

ssize_t secret_file_read(const char *path, char *out, size_t room, const char **wrong)
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        int error = errno;
        *wrong = error == ELOOP ? "a symbolic link" : strerror(error);
        return -error;
    }
    ssize_t length = read_open(fd, out, room, wrong);
    close(fd);
    return length;
}

ssize_t secret_file_read_line(const char *path, char *out, size_t room, const char **wrong)
{
    ssize_t length = secret_file_read(path, out, room, wrong);
    if (length > 0 && out[length - 1] == '\n')
        length--;
    if (length > 0 && out[length - 1] == '\r')
        length--;
    return length;
}
