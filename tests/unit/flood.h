/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Floods on open connections: copies of one segment of a client's, and how many of them the limit
 * of what moves nothing (dataplane/tcp/excess.h) lets pass. */
#ifndef DROPGATE_TESTS_UNIT_FLOOD_H
#define DROPGATE_TESTS_UNIT_FLOOD_H

#include "tests/unit/wire.h"

/** What passes before a flow's count is full: one in four is counted, by chance. And a flood. */
enum { FLOOD_BURST = 4 * 255, FLOOD = 20 * FLOOD_BURST };

/** So many copies of a client's segment arrive, `each_ms` apart, and each gets that verdict or is
 * dropped as EXCESS. Returns how many got it. What leaves is forgotten. */
uint32_t flood_send(struct wire *w, const struct wire_segment *segment, uint32_t count,
                    uint32_t each_ms, enum verdict passes);

/** So many of a flood that took that long (0: no time) are about a burst and, for each second, some
 * 60: as many as are as good as honest. */
void flood_expect_limited(uint32_t passed, uint32_t seconds);

#endif
