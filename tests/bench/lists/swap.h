/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A worker with lists of a million prefixes: what its packets cost, and how long it is away while
 * others are put in force. */
#ifndef DROPGATE_TESTS_BENCH_LISTS_SWAP_H
#define DROPGATE_TESTS_BENCH_LISTS_SWAP_H

#include "maps.h"

/** Puts a figure into the results. */
typedef void put_figure(const char *name, const char *what, double value);

/** Both want rig_start; `mix` is of IPv6 and of IPv4, and lies in one deny feed. */
void bench_walk(const struct mix mix[2], put_figure *put);
void bench_swap(const struct mix mix[2], put_figure *put);

#endif
