/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What is judged is the file that was opened, never its name a second time. */
#include "dataplane/ops/master.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIGITS = 2 * MASTER_BYTES };

static int refuse(char why[MASTER_WHY], int error, const char *path, const char *what)
{
    snprintf(why, MASTER_WHY,
             "[cookie] master_file = %s: %s; make one by: (umask 077; dropgate-dataplane "
             "--new-master > %s)",
             path, what, path);
    return error;
}

/* Who may read it is part of what makes it a key. */
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

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* 64 digits and at most one line end. */
static const char *decode(const char *text, size_t length, uint8_t out[MASTER_BYTES])
{
    static const char form[] = "must hold 64 hexadecimal digits on one line, and nothing else";
    if (length != DIGITS && !(length == DIGITS + 1 && text[DIGITS] == '\n'))
        return form;
    for (size_t i = 0; i < MASTER_BYTES; i++) {
        int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return form;
        out[i] = (uint8_t)(high << 4 | low);
    }
    for (size_t i = 1; i < MASTER_BYTES; i++)
        if (out[i] != out[0])
            return NULL;
    return "is one byte 32 times, which anyone could guess";
}

/* At most `room` bytes; more than a master has show that it is none. */
static ssize_t read_all(int fd, char *text, size_t room)
{
    size_t length = 0;
    while (length < room) {
        ssize_t got = read(fd, text + length, room - length);
        if (got < 0 && errno != EINTR)
            return -errno;
        if (got == 0)
            break;
        length += got > 0 ? (size_t)got : 0;
    }
    return (ssize_t)length;
}

static int read_open(int fd, const char *path, uint8_t out[MASTER_BYTES], char why[MASTER_WHY])
{
    char text[DIGITS + 2];
    uint8_t master[MASTER_BYTES];
    struct stat file;
    if (fstat(fd, &file) != 0)
        return refuse(why, -errno, path, strerror(errno));
    const char *wrong = judge(&file);
    if (wrong != NULL)
        return refuse(why, -EPERM, path, wrong);
    ssize_t length = read_all(fd, text, sizeof text);
    if (length < 0)
        return refuse(why, (int)length, path, strerror((int)-length));
    wrong = decode(text, (size_t)length, master);
    if (wrong == NULL)
        memcpy(out, master, sizeof master);
    explicit_bzero(text, sizeof text);
    explicit_bzero(master, sizeof master);
    return wrong == NULL ? 0 : refuse(why, -EINVAL, path, wrong);
}

int master_read(const char *path, uint8_t out[MASTER_BYTES], char why[MASTER_WHY])
{
    /* Not to wait for a FIFO's writer either. */
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return refuse(why, -errno, path, errno == ELOOP ? "a symbolic link" : strerror(errno));
    int error = read_open(fd, path, out, why);
    close(fd);
    return error;
}

int master_print(FILE *out)
{
    uint8_t master[MASTER_BYTES];
    if (getrandom(master, sizeof master, 0) != sizeof master)
        return -EIO;
    for (size_t i = 0; i < sizeof master; i++)
        fprintf(out, "%02x", master[i]);
    fputc('\n', out);
    explicit_bzero(master, sizeof master);
    return fflush(out) == 0 && !ferror(out) ? 0 : -EIO;
}
