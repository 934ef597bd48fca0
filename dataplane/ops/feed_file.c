/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 */
#include "dataplane/ops/feed_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/replace_file.h"

enum { HEAD_MAX = 256, KIND_MAX = 16 };

static void hash_of(const void *bytes, size_t length, uint8_t out[FEED_HASH])
{
    struct sha256_ctx context;
    sha256_init(&context);
    sha256_update(&context, length, bytes);
    sha256_digest(&context, FEED_HASH, out);
}

const char *feed_hash_print(const uint8_t hash[FEED_HASH], char out[FEED_HASH_TEXT])
{
    for (int i = 0; i < FEED_HASH; i++)
        snprintf(out + 2 * i, 3, "%02x", hash[i]);
    return out;
}

bool feed_hash_is(const uint8_t hash[FEED_HASH], const char *text)
{
    char printed[FEED_HASH_TEXT];
    return strcasecmp(feed_hash_print(hash, printed), text) == 0;
}

static int wrong(char why[FEED_WHY], int error)
{
    snprintf(why, FEED_WHY, "%s", strerror(-error));
    return error;
}

/* To the end of the file or of the room; how much it was, or -errno. */
static ssize_t read_up_to(int fd, char *out, size_t room)
{
    size_t length = 0;
    while (length < room) {
        ssize_t got = read(fd, out + length, room - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        length += (size_t)got;
    }
    return (ssize_t)length;
}

/* A file that grows while it is read is longer than what fstat said: one byte more is asked for. */
static int read_open(int fd, size_t most, struct feed_file *out, char why[FEED_WHY])
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return wrong(why, -errno);
    if (!S_ISREG(status.st_mode)) {
        snprintf(why, FEED_WHY, "not a regular file");
        return -EINVAL;
    }
    size_t expected = (size_t)status.st_size;
    out->block = expected <= most ? malloc(expected + 1) : NULL;
    ssize_t length = out->block != NULL ? read_up_to(fd, out->block, expected + 1) : 0;
    if (expected > most || (size_t)length > most) {
        snprintf(why, FEED_WHY, "has more than %zu bytes; allowed: size_max", most);
        return -EFBIG;
    }
    if (out->block == NULL)
        return wrong(why, -ENOMEM);
    if (length < 0)
        return wrong(why, (int)length);
    if ((size_t)length != expected) {
        snprintf(why, FEED_WHY, "was changed while it was read; write it aside and rename it");
        return -EAGAIN;
    }
    out->bytes = out->block;
    out->length = (size_t)length;
    out->written_ms =
        (int64_t)status.st_mtim.tv_sec * 1000 + (int64_t)status.st_mtim.tv_nsec / 1000000;
    return 0;
}

static int read_file(const char *path, size_t most, struct feed_file *out, char why[FEED_WHY])
{
    *out = (struct feed_file){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return wrong(why, -errno);
    int error = read_open(fd, most, out, why);
    close(fd);
    if (error != 0)
        feed_file_free(out);
    return error;
}

int feed_file_read(const char *path, size_t most, struct feed_file *out, char why[FEED_WHY])
{
    int error = read_file(path, most, out, why);
    if (error == 0)
        hash_of(out->bytes, out->length, out->hash);
    return error;
}

void feed_file_free(struct feed_file *file)
{
    free(file->block);
    *file = (struct feed_file){0};
}

/* ---- copies ---- */

static int copy_path(char out[PATH_MAX], const char *directory, const char *name)
{
    return snprintf(out, PATH_MAX, "%s/%s.feed", directory, name) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* The checksum is of all behind it: of the second line and the bytes. */
static void sum_of(const char *line, size_t line_length, const char *bytes, size_t length,
                   char out[FEED_HASH_TEXT])
{
    struct sha256_ctx context;
    uint8_t hash[FEED_HASH];
    sha256_init(&context);
    sha256_update(&context, line_length, (const uint8_t *)line);
    sha256_update(&context, length, (const uint8_t *)bytes);
    sha256_digest(&context, FEED_HASH, hash);
    feed_hash_print(hash, out);
}

static int write_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t put = write(fd, bytes, length);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -errno;
        bytes += put;
        length -= (size_t)put;
    }
    return 0;
}

int feed_copy_save(const char *directory, const char *name, enum list_kind kind,
                   const struct feed_file *file, int64_t size)
{
    struct replacement replacement;
    char path[PATH_MAX], line[HEAD_MAX / 2], head[HEAD_MAX], sum[FEED_HASH_TEXT];
    int error = copy_path(path, directory, name);
    int line_length =
        snprintf(line, sizeof line, "written_ms=%" PRId64 " entries=%" PRId64 " kind=%s\n",
                 file->written_ms, size, list_kind_name(kind));
    sum_of(line, (size_t)line_length, file->bytes, file->length, sum);
    int head_length = snprintf(head, sizeof head, "dropgate feed 2 sha256=%s\n%s", sum, line);
    if (error == 0)
        error = replace_begin(&replacement, path, 0600);
    if (error != 0)
        return error;
    error = write_all(replacement.fd, head, (size_t)head_length);
    if (error == 0)
        error = write_all(replacement.fd, file->bytes, file->length);
    if (error == 0)
        return replace_commit(&replacement);
    replace_abandon(&replacement);
    return error;
}

/* Takes the two lines off, and says as what kind it was taken (empty: it does not say); false if
 * they are not as they were written. */
static bool open_copy(struct feed_file *file, char kind[KIND_MAX])
{
    char head[HEAD_MAX], sum[FEED_HASH_TEXT], seen[FEED_HASH_TEXT];
    const char *end = file->bytes + file->length;
    const char *first = memchr(file->bytes, '\n', file->length);
    const char *second = first ? memchr(first + 1, '\n', (size_t)(end - first - 1)) : NULL;
    if (second == NULL || second + 1 - file->bytes >= HEAD_MAX)
        return false;
    size_t length = (size_t)(second + 1 - file->bytes);
    memcpy(head, file->bytes, length);
    head[length] = '\0';
    int version;
    kind[0] = '\0';
    int said = sscanf(head,
                      "dropgate feed %1d sha256=%64[0-9a-f]\nwritten_ms=%" SCNd64
                      " entries=%" SCNd64 " kind=%15[a-z]",
                      &version, sum, &file->written_ms, &file->size, kind);
    if (!(said == 5 && version == 2) && !(said == 4 && version == 1))
        return false;
    sum_of(first + 1, (size_t)(second - first), second + 1, (size_t)(end - second - 1), seen);
    file->bytes += length;
    file->length -= length;
    return strcmp(sum, seen) == 0;
}

/* A copy of the first format does not say its kind. It is not used at all: whoever guesses may
 * allow what was denied. The next file that is taken replaces it; until then the feed is as after
 * its first start. */
static bool is_of_kind(const char *said, enum list_kind kind, char why[FEED_WHY])
{
    if (strcmp(said, list_kind_name(kind)) == 0)
        return true;
    if (said[0] == '\0')
        snprintf(why, FEED_WHY, "it does not say as what kind it was taken");
    else
        snprintf(why, FEED_WHY, "it was taken as %s, and the feed is to be %s", said,
                 list_kind_name(kind));
    return false;
}

int feed_copy_read(const char *directory, const char *name, enum list_kind kind, size_t most,
                   struct feed_file *out, char why[FEED_WHY])
{
    char path[PATH_MAX], said[KIND_MAX];
    int error = copy_path(path, directory, name);
    *out = (struct feed_file){0};
    if (error != 0)
        return wrong(why, error);
    error = read_file(path, most + HEAD_MAX, out, why);
    if (error != 0)
        return error;
    if (!open_copy(out, said)) {
        feed_file_free(out);
        snprintf(why, FEED_WHY, "its checksum is wrong");
        return -EBADMSG;
    }
    if (!is_of_kind(said, kind, why)) {
        feed_file_free(out);
        return -EINVAL;
    }
    hash_of(out->bytes, out->length, out->hash);
    return 0;
}
