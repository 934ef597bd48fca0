/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The body of a reservation request. Strict: what it does not know it refuses, since a misspelt
 * member would otherwise buy something else than was meant. Pure. */
#ifndef DROPGATE_CONTROL_API_BODY_H
#define DROPGATE_CONTROL_API_BODY_H

#include <stddef.h>
#include <stdint.h>

enum { BODY_MAX = 4096, BODY_QUANTITY_MAX = 10000 };

/** Reads {"quantity": 1..10000} (RFC 8259; exactly this member, once). Returns NULL and sets
 * `*quantity`, or what is wrong, as a sentence without quotes for a problem's detail. Any thread.
 */
const char *body_parse(const char *bytes, size_t length, int32_t *quantity);

#endif
