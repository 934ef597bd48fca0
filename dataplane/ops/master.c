/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 */
#include "dataplane/ops/master.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "common/secret_file.h"

enum { DIGITS = 2 * MASTER_BYTES };

static int refuse(char why[MASTER_WHY], int error, const char *path, const char *what)
{
    snprintf(why, MASTER_WHY,
             "[cookie] master_file = %s: %s; make one by: (umask 077; dropgate-dataplane "
             "--new-master > %s)",
             path, what, path);
    return error;
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
static int decode(const char *text, size_t length, uint8_t out[MASTER_BYTES])
{
    if (length != DIGITS && !(length == DIGITS + 1 && text[DIGITS] == '\n'))
        return -EINVAL;
    for (size_t i = 0; i < MASTER_BYTES; i++) {
        int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return -EINVAL;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

static const char *is_constant(const uint8_t master[MASTER_BYTES])
{
    for (size_t i = 1; i < MASTER_BYTES; i++)
        if (master[i] != master[0])
            return NULL;
    return "is one byte 32 times, which anyone could guess";
}

int master_read(const char *path, uint8_t out[MASTER_BYTES], char why[MASTER_WHY])
{
    static const char form[] = "must hold 64 hexadecimal digits on one line, and nothing else";
    char text[DIGITS + 1];
    uint8_t master[MASTER_BYTES];
    const char *wrong = NULL;
    ssize_t length = secret_file_read(path, text, sizeof text, &wrong);
    if (length == -EFBIG)
        return refuse(why, -EINVAL, path, form);
    if (length < 0)
        return refuse(why, (int)length, path, wrong);
    wrong = decode(text, (size_t)length, master) ? form : is_constant(master);
    if (!wrong)
        memcpy(out, master, sizeof master);
    explicit_bzero(text, sizeof text);
    explicit_bzero(master, sizeof master);
    return wrong ? refuse(why, -EINVAL, path, wrong) : 0;
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
