/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Asks for a cache line ahead of its use. To the compiler a prefetch alone has no effect, and it
 * leaves out calls of functions that have none: GCC 12 does so with all whose body is not in sight
 * when they are called, which nobody notices but by measuring. Hence not the bare builtin. */
#ifndef DROPGATE_COMMON_PREFETCH_H
#define DROPGATE_COMMON_PREFETCH_H

/** Fetches the cache line of `address`, which may be any. */
static inline void prefetch(const void *address)
{
    __builtin_prefetch(address);
    __asm__ volatile(""); /* this is an effect */
}

#endif
