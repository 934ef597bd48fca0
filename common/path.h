/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * How servers may read a request's path. RFC 3986 lets a resource be spelled in many ways, and
 * servers differ in which of them they take for the same: some decode percent-encoding, some merge
 * slashes, some resolve dot segments, some do it all, in some order. Who decides by a path before
 * such a server has to look at each of its readings, or else the decision is passed by spelling
 * the path differently. It never says which reading is right. Pure; any thread. */
#ifndef DROPGATE_COMMON_PATH_H
#define DROPGATE_COMMON_PATH_H

#include <stdbool.h>
#include <stddef.h>

/** Readings of one path at most: six ways to decode it, each with five ways to treat its segments.
 */
enum { PATH_READINGS = 30, PATH_MAX_BYTES = 2048 };

/** Whether all servers read it as it stands: no percent sign, semicolon or backslash, no empty
 * segment but the last, no dot segment. Nearly all paths are so. */
bool path_is_plain(const char *path, size_t length);

/** A path being read; private. */
struct path {
    const char *raw;
    size_t raw_length;
    size_t length; /* of `decoded` */
    unsigned level, variant, oddities;
    char decoded[PATH_MAX_BYTES], text[PATH_MAX_BYTES];
};

/** Begins with the first reading, which is the path as it stands. A path of more than
 * PATH_MAX_BYTES, which the parser of requests refuses, has no reading. */
void path_begin(struct path *path, const char *raw, size_t length);

/** The next reading, into *text and *length; false when there are no more. It is valid until the
 * next call. The same may come twice. Readings: percent-encoding left alone, decoded but for
 * slashes (%2F), decoded, decoded twice, and decoded with backslashes as slashes and parameters
 * (";x=y") dropped, behind the decoding or before it (as servlet containers do: there an encoded
 * slash in a parameter goes with it); each of them as it is, with several slashes as one, with dot
 * segments resolved (RFC 3986 section 5.2.4), and with both in either order. */
bool path_next(struct path *path, const char **text, size_t *length);

#endif
