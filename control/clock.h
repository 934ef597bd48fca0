/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The process's own clock, for deadlines and leases only. Opening and expiry are decided by the
 * database's clock, never by this one. */
#ifndef DROPGATE_CONTROL_CLOCK_H
#define DROPGATE_CONTROL_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NANOSECONDS_PER_MS INT64_C(1000000)
#define NANOSECONDS_PER_S  INT64_C(1000000000)

/** CLOCK_MONOTONIC in nanoseconds. Any thread. */
static inline int64_t clock_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * NANOSECONDS_PER_S + t.tv_nsec;
}

#endif
