/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Points in time as people write them (RFC 3339) and as clocks count them. Pure. */
#ifndef DROPGATE_COMMON_RFC3339_H
#define DROPGATE_COMMON_RFC3339_H

#include <stdint.h>

enum { RFC3339_TEXT = 32 };

/** Reads "2026-11-27T10:00:00Z", also with up to nine decimals behind the seconds, of which three
 * count, and with an offset "+01:00" for the 'Z'; years 1970 to 9999, no leap second. Returns 0 and
 * Unix time in milliseconds, or -EINVAL. */
int rfc3339_parse(const char *text, int64_t *unix_ms);

/** Writes it in UTC, with three decimals unless they are zero; what no year of four digits holds as
 * the nearest that one does. Returns `out`. */
const char *rfc3339_print(int64_t unix_ms, char out[RFC3339_TEXT]);

#endif
