/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Memory for large tables: zeroed, page-aligned, on huge pages where the kernel has them to give (a
 * table of a million flows misses the TLB on nearly every packet otherwise). Untouched pages cost
 * nothing. Before and after the workers. */
#ifndef DROPGATE_DATAPLANE_TCP_PAGES_H
#define DROPGATE_DATAPLANE_TCP_PAGES_H

#include <stddef.h>

/** `size` zeroed bytes, or NULL. Give them back by pages_free with the same size. */
void *pages_new(size_t size);

/** NULL is nothing. */
void pages_free(void *pages, size_t size);

#endif
