/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Reads a file that holds a secret. Who else could read or replace it is part of what makes it one,
 * so that is judged first, on the file that was opened and never on its name a second time. Main
 * and control threads; never waits for a FIFO's writer. */
#ifndef DROPGATE_COMMON_SECRET_FILE_H
#define DROPGATE_COMMON_SECRET_FILE_H

#include <stddef.h>
#include <sys/types.h>

/** Reads at most `room` bytes of `path`, which must be a regular file (no symbolic link) of root or
 * of the user who runs this, without any access for others. Returns their number; -EFBIG if there
 * are more; or another -errno. After an error `*wrong` says what is wrong, in words that follow a
 * file's name, and nothing of the secret stays in `out`. The caller wipes it. */
ssize_t secret_file_read(const char *path, char *out, size_t room, const char **wrong);

/** The same for a file whose secret is a line of text: the line end that editors leave is dropped.
 */
ssize_t secret_file_read_line(const char *path, char *out, size_t room, const char **wrong);

#endif
