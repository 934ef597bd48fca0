/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/both.h"

struct both *both_of(void **state)
{
    struct both *b = calloc(1, sizeof *b);
    assert_non_null(b);
    b->short_cut = wire_of(state);
    b->general = wire_new(b->short_cut->family, NULL);
    return b;
}

void both_free(struct both *b)
{
    wire_free(b->general);
    free(b);
}

struct frame both_frame(uint8_t *bytes, uint32_t length)
{
    return (struct frame){.bytes = bytes, .room = FRAME_ROOM, .length = length, .side = OUTSIDE};
}

void both_begin(struct both *b, uint32_t ms)
{
    wire_step(b->short_cut, ms);
    wire_step(b->general, ms);
    wire_begin(b->short_cut);
    wire_begin(b->general);
}

void both_add(struct both *b, const uint8_t *bytes, uint32_t length, uint32_t padding,
              uint8_t checked)
{
    for (int i = 0; i < 2; i++) {
        memcpy(b->bytes[i][b->count], bytes, length + padding);
        b->frames[i][b->count] = both_frame(b->bytes[i][b->count], length + (i ? padding : 0));
        b->frames[i][b->count].checked = checked;
    }
    b->count++;
}

/* A burst lives on the stack: what it reads of that without having written it is wrong for sure. */
static __attribute__((noinline)) void spoil_stack(void)
{
    uint8_t below[64 << 10];
    memset(below, 0xff, sizeof below);
    __asm__ volatile("" : : "r"(below) : "memory");
}

void both_decide(struct both *b)
{
    spoil_stack();
    shard_burst(b->short_cut->shard, b->frames[0], b->count);
    shard_burst(b->general->shard, b->frames[1], b->count);
    for (uint32_t i = 0; i < b->count; i++) {
        const struct frame *a = &b->frames[0][i], *g = &b->frames[1][i];
        assert_int_equal(a->verdict, g->verdict);
        assert_int_equal(a->to, g->to);
        if (a->to == PORT_NONE)
            continue;
        assert_int_equal(a->length, g->length);
        assert_memory_equal(a->bytes, g->bytes, a->length);
    }
    assert_memory_equal(b->short_cut->shard->verdicts, b->general->shard->verdicts,
                        sizeof b->short_cut->shard->verdicts);
    b->count = 0;
}
