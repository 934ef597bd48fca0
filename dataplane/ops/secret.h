/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Memory for keys: pages of their own that no core dump and no child contains, that are not swapped
 * out as far as the system permits, and that are wiped before they are given back. Not for the
 * packet path, which only reads what stands there. Any thread. */
#ifndef DROPGATE_DATAPLANE_OPS_SECRET_H
#define DROPGATE_DATAPLANE_OPS_SECRET_H

#include <stddef.h>

/** `size` zeroed bytes, or NULL. Give them back by secret_free with the same size. */
void *secret_new(size_t size);

/** Wipes and frees; NULL is nothing. */
void secret_free(void *secret, size_t size);

#endif
