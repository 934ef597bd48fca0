/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * JSON by jansson; replaced as a whole. */
#include "feeds/stamp.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <limits.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/replace_file.h"

static int path_of(const char *file, char path[PATH_MAX])
{
    const char *slash = strrchr(file, '/');
    const char *name = slash != NULL ? slash + 1 : file;
    int length = snprintf(path, PATH_MAX, "%.*s.%s.json", (int)(name - file), file, name);
    return length < PATH_MAX ? 0 : -ENAMETOOLONG;
}

int stamp_hash(int fd, char sha256[STAMP_SHA256])
{
    struct sha256_ctx context;
    uint8_t bytes[1 << 16], digest[SHA256_DIGEST_SIZE];
    off_t at = 0;
    ssize_t count;
    sha256_init(&context);
    while ((count = pread(fd, bytes, sizeof bytes, at)) != 0) {
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return -errno;
        sha256_update(&context, (size_t)count, bytes);
        at += count;
    }
    sha256_digest(&context, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(sha256 + 2 * i, 3, "%02x", digest[i]);
    return 0;
}

static bool take(const json_t *root, const char *key, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(root, key));
    if (text == NULL || strlen(text) >= size)
        return false;
    memcpy(out, text, strlen(text) + 1);
    return true;
}

static bool is_of_file(const char *file, const struct stamp *stamp)
{
    char sha256[STAMP_SHA256];
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return false;
    bool same = stamp_hash(fd, sha256) == 0 && strcmp(sha256, stamp->sha256) == 0;
    close(fd);
    return same;
}

void stamp_load(const char *file, const char *url, struct stamp *stamp)
{
    char path[PATH_MAX];
    json_t *root =
        path_of(file, path) == 0 ? json_load_file(path, JSON_REJECT_DUPLICATES, NULL) : NULL;
    const json_t *asked = json_object_get(root, "asked");
    bool good = take(root, "url", stamp->url, sizeof stamp->url) &&
                take(root, "etag", stamp->etag, sizeof stamp->etag) &&
                take(root, "modified", stamp->modified, sizeof stamp->modified) &&
                take(root, "sha256", stamp->sha256, sizeof stamp->sha256) && json_is_integer(asked);
    stamp->asked = json_integer_value(asked);
    json_decref(root);
    if (!good || strcmp(stamp->url, url) != 0 || !is_of_file(file, stamp))
        memset(stamp, 0, sizeof *stamp);
}

int stamp_save(const char *file, const struct stamp *stamp)
{
    char path[PATH_MAX];
    json_t *root =
        json_pack("{s:s, s:s, s:s, s:s, s:I}", "url", stamp->url, "etag", stamp->etag, "modified",
                  stamp->modified, "sha256", stamp->sha256, "asked", (json_int_t)stamp->asked);
    char *text = root != NULL ? json_dumps(root, JSON_INDENT(2)) : NULL;
    int error = text == NULL ? -ENOMEM : path_of(file, path);
    if (error == 0)
        error = replace_file(path, 0644, text, strlen(text));
    free(text);
    json_decref(root);
    return error;
}
