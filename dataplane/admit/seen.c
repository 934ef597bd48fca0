/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Quarter q of the clock has bit q mod 16 in every cell. While one quarter is being written, the
 * bits of the next one are cleared, so that its beginning costs no more than any other moment. */
#include "dataplane/admit/seen.h"

#include <errno.h>

#include "dataplane/tcp/pages.h"

enum { PLACES = 4, PLACE_BITS = 5, FIRST_PLACE_BIT = 40 /* above those that choose the lines */ };
_Static_assert(1 << PLACE_BITS == SEEN_LINE, "a place is a cell of the line");

static size_t size_of(const struct seen *seen)
{
    return SEEN_LINES * sizeof *seen->line;
}

static uint16_t bit_of(uint64_t quarter)
{
    return (uint16_t)(1U << quarter % SEEN_QUARTERS);
}

int seen_init(struct seen *seen, uint64_t now_ms)
{
    *seen = (struct seen){.line = pages_new(size_of(seen)), .quarter = now_ms / SEEN_QUARTER_MS};
    return seen->line == NULL ? -ENOMEM : 0;
}

void seen_end(struct seen *seen)
{
    pages_free(seen->line, size_of(seen));
}

static uint16_t *cell(const struct seen *seen, uint64_t hash, int i)
{
    uint32_t place = hash >> (FIRST_PLACE_BIT + i * PLACE_BITS) & (SEEN_LINE - 1);
    return &seen->line[seen_line(hash, i)][place];
}

void seen_note(struct seen *seen, uint64_t hash)
{
    const uint16_t bit = bit_of(seen->quarter);
    for (int i = 0; i < PLACES; i++)
        *cell(seen, hash, i) |= bit;
    seen->noted |= bit;
}

bool seen_before(const struct seen *seen, uint64_t hash)
{
    uint32_t old = 0;
    for (uint64_t age = SEEN_YOUNGEST; age <= SEEN_OLDEST && age <= seen->quarter; age++)
        old |= bit_of(seen->quarter - age);
    old &= seen->noted;
    for (int i = 0; i < PLACES; i++)
        old &= *cell(seen, hash, i);
    return old != 0;
}

/* Clears bits in the lines up to `end`. */
static void clear(struct seen *seen, uint16_t bits, uint32_t end)
{
    const uint16_t keep = (uint16_t)~bits;
    for (; seen->cleared < end; seen->cleared++)
        for (int i = 0; i < SEEN_LINE; i++)
            seen->line[seen->cleared][i] &= keep;
    if (seen->cleared == SEEN_LINES)
        seen->noted &= keep;
}

/* From the current quarter to `quarter`: those in between were seen by nobody, and what bits of
 * them are left over from sixteen quarters before goes. */
static void advance(struct seen *seen, uint64_t quarter)
{
    uint16_t bits = 0;
    for (uint64_t i = 1; i <= SEEN_QUARTERS && seen->quarter + i <= quarter; i++)
        bits |= bit_of(seen->quarter + i);
    bits &= seen->noted;
    if (bits != 0) {
        seen->cleared = 0;
        clear(seen, bits, SEEN_LINES);
    }
    seen->quarter = quarter;
    seen->cleared = 0;
}

void seen_tick(struct seen *seen, uint64_t now_ms)
{
    const uint64_t quarter = now_ms / SEEN_QUARTER_MS;
    if (quarter > seen->quarter)
        advance(seen, quarter);
    const uint16_t next = bit_of(seen->quarter + 1) & seen->noted;
    if (next == 0 || quarter < seen->quarter)
        return;
    /* Done by the middle of the quarter. */
    uint64_t due = (now_ms % SEEN_QUARTER_MS + 1) * 2 * SEEN_LINES / SEEN_QUARTER_MS;
    clear(seen, next, due < SEEN_LINES ? (uint32_t)due : SEEN_LINES);
}
