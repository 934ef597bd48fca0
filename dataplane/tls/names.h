/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The server names that a TLS service answers to: exact ones, and wildcards for one label
 * (*.example.com), as certificates have them (RFC 6125 section 6.4.3). Pure; immutable once made.
 */
#ifndef DROPGATE_DATAPLANE_TLS_NAMES_H
#define DROPGATE_DATAPLANE_TLS_NAMES_H

#include <stdbool.h>
#include <stddef.h>

struct names;

/** A list of `count` names, which are copied. NULL when memory is short. */
struct names *names_new(char *const *name, size_t count);
void names_free(struct names *names);

/** Whether `name`, in small letters, is on the list. */
bool names_allow(const struct names *names, const char *name);

/** Why `name` cannot be on a list, or NULL if it can. */
const char *names_refuse(const char *name);

#endif
