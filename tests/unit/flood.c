/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Floods on open connections, counted. What a connection is in is the tests' business. */
#include "tests/unit/flood.h"

#include <setjmp.h>
#include <stdarg.h>
// clang-format off
#include <cmocka.h>
// clang-format on

uint32_t flood_send(struct wire *w, const struct wire_segment *segment, uint32_t count,
                    uint32_t each_ms, enum verdict passes)
{
    uint32_t passed = 0;
    for (uint32_t i = 0; i < count; i++) {
        const enum verdict verdict = wire_send(w, segment, FROM_CLIENT);
        assert_true(verdict == passes || verdict == VERDICT_EXCESS);
        if (passes != VERDICT_REFUSAL_TAKEN) /* of these not all are answered */
            assert_int_equal(wire_pending(w), verdict == passes);
        passed += verdict == passes;
        wire_forget_frames(w);
        wire_wait(w, each_ms);
    }
    return passed;
}

void flood_expect_limited(uint32_t passed, uint32_t seconds)
{
    assert_in_range(passed, FLOOD_BURST / 2 + seconds * 20, 2 * FLOOD_BURST + seconds * 120);
}
