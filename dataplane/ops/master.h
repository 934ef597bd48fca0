/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The file of the cookies' master key: 32 bytes as 64 hexadecimal digits on one line, so that it
 * can be made and copied by any tool, and a cut one is noticed. Whoever can read it can forge
 * cookies, so it must belong to root or to who runs this, and be nobody else's to read. Main and
 * control thread. */
#ifndef DROPGATE_DATAPLANE_OPS_MASTER_H
#define DROPGATE_DATAPLANE_OPS_MASTER_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { MASTER_BYTES = 32, MASTER_WHY = 512 };

/** Reads the file. Returns 0, or -errno with the reason, naming the file and what to type, in `why`
 * (MASTER_WHY bytes); then *out is unchanged. A symbolic link, anything but a regular file, a file
 * that others may read or write, and one byte repeated 32 times are refused. */
int master_read(const char *path, uint8_t out[MASTER_BYTES], char why[MASTER_WHY]);

/** Writes a new, random one. Returns 0 or -errno. */
int master_print(FILE *out);

#endif
