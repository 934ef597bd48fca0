/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Tells the thread sanitizer what liburcu orders by means that it cannot see (barriers in
 * assembly): a hand-over through a queue, and a grace period. Nothing in other builds. */
#ifndef DROPGATE_CONTROL_RACE_H
#define DROPGATE_CONTROL_RACE_H

#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
/** What this thread did before is seen by whoever calls RACE_AFTER on the same address. */
#define RACE_BEFORE(address) __tsan_release((void *)(address))
#define RACE_AFTER(address)  __tsan_acquire((void *)(address))
#else
#define RACE_BEFORE(address) ((void)(address))
#define RACE_AFTER(address)  ((void)(address))
#endif

#endif
