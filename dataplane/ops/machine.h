/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Whether this machine can hold what a configuration asks for. Apart from settings.h, because a
 * file may be checked on another machine than the one it is for. Main thread, before the start. */
#ifndef DROPGATE_DATAPLANE_OPS_MACHINE_H
#define DROPGATE_DATAPLANE_OPS_MACHINE_H

#include <stddef.h>
#include <stdint.h>

#include "dataplane/ops/settings.h"

struct machine {
    uint32_t processors;
    uint64_t memory; /* bytes that can be had without swapping; 0: not known */
};

/** What the kernel says of this one. */
struct machine machine_read(void);

/** Bytes that the tables of all workers take at least, and the packet buffers unless they lie in
 * hugepages. All of it becomes resident at the start. */
uint64_t machine_bytes_wanted(const struct settings *settings);

/** Returns 0, or -ENODEV or -ENOMEM with what to change in `why`. Without this the process would
 * end by DPDK's usage text, or by the kernel's out-of-memory killer, which may choose another. */
int machine_check(const struct machine *machine, const struct settings *settings, char *why,
                  size_t size);

#endif
