/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * From prefixes to cuts: they are sorted by first address, then by length, so that what contains
 * comes before what is contained; one pass with a stack of those that are open says where the set
 * changes. Then the cuts are laid out. */
#include "dataplane/admit/prefixes.h"

#include <errno.h>
#include <stdlib.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "dataplane/tcp/pages.h"

__extension__ typedef unsigned __int128 u128;

enum {
    LENGTHS = 129, /* 0..128 */
    V4_BITS = 96,  /* before those of an IPv4 address */
    BLOCK = 256,   /* numbers in a block */
    BLOCKS = 1 << 24,
    GROUP = PREFIXES_MIXED, /* blocks, or networks, that are counted from a common base */
    GROUPS = BLOCKS / GROUP,
    NETWORK_GROUPS = 1 << 17,
};

/* A prefix in host byte order. */
struct item {
    u128 base;
    uint8_t length, mark;
};

/* Cuts in rising order; before the first the set is empty. */
struct cuts {
    u128 *at;
    uint16_t *set;
    size_t count;
};

/* Sets as they are found. */
struct sets {
    uint64_t *marks;  /* per number */
    uint32_t *bucket; /* a number, or 0 */
    uint32_t count;
};

struct family {
    struct item *items;
    size_t count;
    struct cuts cuts;
};

static u128 to_u128(const struct addr *addr)
{
    return (u128)be64toh(addr->quads[0]) << 64 | be64toh(addr->quads[1]);
}

/* The bits behind a prefix of that length. */
static u128 host_bits(unsigned length)
{
    return length == 0 ? ~(u128)0 : ((u128)1 << (128 - length)) - 1;
}

static u128 last_of(const struct item *item)
{
    return item->base | host_bits(item->length);
}

/* ---- sorting ---- */

/* The digits of an item, least significant first: its length, then the bytes of its address. */
enum { DIGITS = 17, DIGIT_VALUES = 256 };

static uint8_t digit_of(const struct item *item, unsigned digit)
{
    if (digit == 0)
        return item->length;
    return (uint8_t)(item->base >> 8 * (digit - 1));
}

/* One pass of a radix sort; `before` says how many items have a lower digit. */
static void sort_by(const struct item *from, struct item *to, size_t count, unsigned digit,
                    uint32_t before[DIGIT_VALUES])
{
    for (size_t i = 0; i < count; i++)
        to[before[digit_of(&from[i], digit)]++] = from[i];
}

/* Sorts by a digit after another, but for those in which all are alike: of IPv4 that leaves five of
 * seventeen. Returns 0 or -ENOMEM. */
static int sort_items(struct family *family)
{
    struct item *other = malloc((family->count + 1) * sizeof *other);
    if (other == NULL)
        return -ENOMEM;
    for (unsigned digit = 0; digit < DIGITS && family->count != 0; digit++) {
        uint32_t before[DIGIT_VALUES] = {0}, sum = 0;
        for (size_t i = 0; i < family->count; i++)
            before[digit_of(&family->items[i], digit)]++;
        if (before[digit_of(&family->items[0], digit)] == family->count)
            continue;
        for (unsigned value = 0; value < DIGIT_VALUES; value++) {
            const uint32_t here = before[value];
            before[value] = sum;
            sum += here;
        }
        sort_by(family->items, other, family->count, digit, before);
        struct item *sorted = other;
        other = family->items;
        family->items = sorted;
    }
    free(other);
    return 0;
}

/* ---- sets ---- */

enum { BUCKETS = 2 * PREFIXES_SETS };

/* The number of a set; 0 if it is empty, or one too many, which sets->count then tells. */
static uint16_t number_of(struct sets *sets, uint64_t marks)
{
    if (marks == 0)
        return 0;
    uint32_t at = (uint32_t)(marks * UINT64_C(0x9e3779b97f4a7c15) >> 40) % BUCKETS;
    for (; sets->bucket[at] != 0; at = (at + 1) % BUCKETS)
        if (sets->marks[sets->bucket[at]] == marks)
            return (uint16_t)sets->bucket[at];
    if (sets->count >= PREFIXES_SETS) {
        sets->count = PREFIXES_SETS + 1;
        return 0;
    }
    sets->marks[sets->count] = marks;
    sets->bucket[at] = sets->count;
    return (uint16_t)sets->count++;
}

/* ---- cuts ---- */

/* From `at` on it is that set. The last word about an address counts. */
static void cut(struct cuts *cuts, u128 at, uint16_t set)
{
    if (cuts->count != 0 && cuts->at[cuts->count - 1] == at)
        cuts->count--;
    if (set == (cuts->count != 0 ? cuts->set[cuts->count - 1] : 0))
        return;
    cuts->at[cuts->count] = at;
    cuts->set[cuts->count++] = set;
}

/* Prefixes that contain the one in hand, each within the one before. */
struct open {
    uint32_t depth;
    struct {
        u128 base, last;
        uint64_t marks;    /* of it and of those around it */
    } prefix[LENGTHS + 1]; /* the first is the family's whole space, in no list */
};

static void close_one(struct open *open, struct cuts *cuts, struct sets *sets)
{
    const u128 last = open->prefix[open->depth--].last;
    if (last != open->prefix[0].last)
        cut(cuts, last + 1, number_of(sets, open->prefix[open->depth].marks));
}

static void find_cuts(struct family *family, bool v4, struct sets *sets)
{
    struct open open = {0};
    open.prefix[0].last = v4 ? (u128)0xffffffffffff : ~(u128)0;
    for (size_t i = 0; i < family->count; i++) {
        const struct item *item = &family->items[i];
        const u128 last = last_of(item);
        while (open.depth != 0 && open.prefix[open.depth].last < item->base)
            close_one(&open, &family->cuts, sets);
        const uint64_t marks = open.prefix[open.depth].marks | UINT64_C(1) << item->mark;
        if (open.depth == 0 || open.prefix[open.depth].base != item->base ||
            open.prefix[open.depth].last != last) { /* else the same once more */
            open.depth++;
            open.prefix[open.depth].base = item->base;
            open.prefix[open.depth].last = last;
        }
        open.prefix[open.depth].marks = marks;
        cut(&family->cuts, item->base, number_of(sets, marks));
    }
    while (open.depth != 0)
        close_one(&open, &family->cuts, sets);
}

static int cut_family(struct family *family, bool v4, struct sets *sets)
{
    /* Each prefix begins once and ends once. */
    const size_t most = 2 * family->count + 1;
    if (sort_items(family) != 0)
        return -ENOMEM;
    family->cuts.at = malloc(most * sizeof *family->cuts.at);
    family->cuts.set = malloc(most * sizeof *family->cuts.set);
    if (family->cuts.at == NULL || family->cuts.set == NULL)
        return -ENOMEM;
    find_cuts(family, v4, sets);
    free(family->items);
    family->items = NULL;
    return sets->count <= PREFIXES_SETS ? 0 : -E2BIG;
}

/* ---- layout ---- */

/* Cuts among numbers of 32 bits, as `top` is made of them. */
struct steps {
    uint32_t *at;
    uint16_t *value;
    size_t count;
};

static int steps_new(struct steps *steps, size_t most)
{
    steps->at = malloc((most + 1) * sizeof *steps->at);
    steps->value = malloc((most + 1) * sizeof *steps->value);
    return steps->at != NULL && steps->value != NULL ? 0 : -ENOMEM;
}

static void steps_free(struct steps *steps)
{
    free(steps->at);
    free(steps->value);
}

static void step(struct steps *steps, uint32_t at, uint16_t value)
{
    steps->at[steps->count] = at;
    steps->value[steps->count++] = value;
}

/* How much of everything there is. */
struct extent {
    size_t blocks, lines;          /* of one family */
    size_t networks, network_cuts; /* of IPv6 */
};

/* Steps from the i-th on that lie in its block. */
static size_t steps_in_block(const struct steps *steps, size_t i)
{
    size_t n = 1;
    while (i + n < steps->count && steps->at[i + n] / BLOCK == steps->at[i] / BLOCK)
        n++;
    return n;
}

/* Whether one value holds for the whole block of the n steps from the i-th on. */
static bool is_plain(const struct steps *steps, size_t i, size_t n)
{
    return n == 1 && steps->at[i] % BLOCK == 0;
}

enum { FEW = 4, LINE = sizeof(struct prefixes_line) }; /* steps that a block has room for */

static size_t lines_of(size_t bytes)
{
    return (bytes + LINE - 1) / LINE;
}

static void measure_blocks(const struct steps *steps, struct extent *extent)
{
    for (size_t i = 0, n; i < steps->count; i += n) {
        n = steps_in_block(steps, i);
        extent->blocks += !is_plain(steps, i, n);
        extent->lines += n > FEW ? lines_of(n) + lines_of(2 * n) : 0;
    }
}

/* Takes a piece of the pages, or only says how much there will be. */
struct layout {
    uint8_t *pages; /* NULL: only says */
    size_t size;
};

static void *take(struct layout *layout, size_t count, size_t size)
{
    enum { CACHE_LINE = 64 };
    void *piece = layout->pages == NULL ? NULL : layout->pages + layout->size;
    layout->size += (count * size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    return piece;
}

static void lay_out_top(struct layout *layout, struct prefixes_top *top,
                        const struct extent *extent)
{
    top->of_256 = take(layout, BLOCKS, sizeof *top->of_256);
    top->block = take(layout, extent->blocks, sizeof *top->block);
    top->line = take(layout, extent->lines, sizeof *top->line);
}

static void lay_out(struct layout *layout, struct prefixes *out, const struct extent extent[2])
{
    lay_out_top(layout, &out->v4, &extent[1]);
    lay_out_top(layout, &out->v6, &extent[0]);
    out->v6_base = take(layout, NETWORK_GROUPS, sizeof *out->v6_base);
    out->v6_first = take(layout, extent[0].networks + 1, sizeof *out->v6_first);
    out->v6_cut = take(layout, extent[0].network_cuts, sizeof *out->v6_cut);
    out->marks = take(layout, out->set_count, sizeof *out->marks);
}

/* ---- blocks ---- */

/* Where the next of everything goes. */
struct fill {
    uint32_t blocks, lines, networks, cuts;
};

/* The n steps from the i-th on, before which it is `before`. */
static void fill_block(struct prefixes_top *top, struct fill *fill, const struct steps *steps,
                       size_t i, size_t n, uint16_t before)
{
    struct prefixes_block *block = &top->block[fill->blocks++];
    if (n > FEW) {
        struct prefixes_line *low = &top->line[fill->lines], *value = low + lines_of(n);
        block->more = 1;
        block->lines = fill->lines;
        block->before = before;
        block->count = (uint16_t)n;
        for (size_t k = 0; k < n; k++) {
            low[k / LINE].low[k % LINE] = (uint8_t)steps->at[i + k];
            value[k / 8].value[k % 8] = steps->value[i + k];
        }
        fill->lines += (uint32_t)(lines_of(n) + lines_of(2 * n));
        return;
    }
    block->value[0] = before;
    for (size_t k = 0; k < FEW; k++) {
        block->low[k] = k < n ? (uint8_t)steps->at[i + k] : 255;
        block->value[k + 1] = steps->value[i + (k < n ? k : n - 1)];
    }
}

static void fill_top(struct prefixes_top *top, const struct steps *steps)
{
    struct fill fill = {0};
    uint16_t value = 0;
    size_t i = 0;
    for (uint32_t block = 0; block < BLOCKS; block++) {
        if (block % GROUP == 0)
            top->base[block / GROUP] = fill.blocks;
        if (i == steps->count || steps->at[i] / BLOCK != block) {
            top->of_256[block] = value;
            continue;
        }
        const size_t n = steps_in_block(steps, i);
        const uint16_t before = value;
        value = steps->value[i + n - 1];
        top->of_256[block] = value;
        if (!is_plain(steps, i, n)) {
            top->of_256[block] =
                (uint16_t)(PREFIXES_MIXED | (fill.blocks - top->base[block / GROUP]));
            fill_block(top, &fill, steps, i, n, before);
        }
        i += n;
    }
}

/* ---- networks of IPv6 ---- */

static uint32_t network_of(u128 at)
{
    return (uint32_t)(at >> 96);
}

static size_t cuts_in_network(const struct cuts *cuts, size_t i)
{
    size_t n = 1;
    while (i + n < cuts->count && network_of(cuts->at[i + n]) == network_of(cuts->at[i]))
        n++;
    return n;
}

static bool is_whole(const struct cuts *cuts, size_t i, size_t n)
{
    return n == 1 && cuts->at[i] << 32 == 0;
}

/* Leaves no step that changes nothing. */
static void step_on(struct steps *steps, uint32_t at, uint16_t value)
{
    if (value != (steps->count != 0 ? steps->value[steps->count - 1] : 0))
        step(steps, at, value);
}

/* The steps of the first 32 bits: sets, and networks that are cut within, numbered within their
 * group. */
static void step_networks(const struct cuts *cuts, struct steps *steps, struct extent *extent)
{
    uint32_t group = UINT32_MAX, in_group = 0;
    for (size_t i = 0, n; i < cuts->count; i += n) {
        const uint32_t network = network_of(cuts->at[i]);
        n = cuts_in_network(cuts, i);
        const uint16_t after = cuts->set[i + n - 1];
        if (is_whole(cuts, i, n)) {
            step_on(steps, network, after);
            continue;
        }
        in_group = network / GROUP == group ? in_group + 1 : 0;
        group = network / GROUP;
        step(steps, network, (uint16_t)(PREFIXES_MIXED | in_group));
        const bool follows = i + n < cuts->count && network_of(cuts->at[i + n]) == network + 1;
        if (network != UINT32_MAX && !follows)
            step_on(steps, network + 1, after);
        extent->networks++;
        extent->network_cuts += n + (cuts->at[i] << 32 != 0);
    }
}

static void put_cut(struct prefixes *out, struct fill *fill, u128 at, uint16_t set)
{
    out->v6_cut[fill->cuts++] = (struct prefixes_v6){(uint64_t)(at >> 64), (uint64_t)at, set};
}

static void fill_networks(struct prefixes *out, const struct cuts *cuts)
{
    struct fill fill = {0};
    uint32_t group = 0;
    for (size_t i = 0, n; i < cuts->count; i += n) {
        const uint32_t network = network_of(cuts->at[i]);
        n = cuts_in_network(cuts, i);
        if (is_whole(cuts, i, n))
            continue;
        while (group <= network / GROUP)
            out->v6_base[group++] = fill.networks;
        out->v6_first[fill.networks++] = fill.cuts;
        if (cuts->at[i] << 32 != 0)
            put_cut(out, &fill, (u128)network << 96, i != 0 ? cuts->set[i - 1] : 0);
        for (size_t k = 0; k < n; k++)
            put_cut(out, &fill, cuts->at[i + k], cuts->set[i + k]);
    }
    out->v6_first[fill.networks] = fill.cuts;
}

/* ---- assembly ---- */

static int make_steps(const struct family family[2], struct steps steps[2], struct extent extent[2])
{
    const struct cuts *v4 = &family[1].cuts, *v6 = &family[0].cuts;
    if (steps_new(&steps[1], v4->count) != 0 || steps_new(&steps[0], 2 * v6->count) != 0)
        return -ENOMEM;
    for (size_t i = 0; i < v4->count; i++)
        step(&steps[1], (uint32_t)v4->at[i], v4->set[i]);
    step_networks(v6, &steps[0], &extent[0]);
    for (int v4_too = 0; v4_too < 2; v4_too++)
        measure_blocks(&steps[v4_too], &extent[v4_too]);
    return 0;
}

static int fill_pages(struct prefixes *out, const struct family family[2], const struct sets *sets,
                      const struct steps steps[2], const struct extent extent[2])
{
    struct layout layout = {NULL, 0};
    out->set_count = sets->count;
    lay_out(&layout, out, extent);
    out->size = layout.size;
    out->pages = pages_new(out->size);
    if (out->pages == NULL)
        return -ENOMEM;
    memset(out->pages, 0, out->size); /* so that all of it is there before it is read */
    layout = (struct layout){out->pages, 0};
    lay_out(&layout, out, extent);
    fill_top(&out->v4, &steps[1]);
    fill_top(&out->v6, &steps[0]);
    fill_networks(out, &family[0].cuts);
    memcpy(out->marks, sets->marks, sets->count * sizeof *out->marks);
    return 0;
}

static int assemble(struct prefixes *out, const struct family family[2], const struct sets *sets)
{
    struct steps steps[2] = {{0}, {0}};
    struct extent extent[2] = {{0}, {0}};
    int error = make_steps(family, steps, extent);
    if (error == 0)
        error = fill_pages(out, family, sets, steps, extent);
    steps_free(&steps[0]);
    steps_free(&steps[1]);
    return error;
}

/* ---- building ---- */

static bool is_valid(const struct prefixes_source *source)
{
    if (source->mark >= PREFIXES_MARKS)
        return false;
    for (size_t i = 0; i < source->count; i++) {
        const struct prefix *prefix = &source->prefixes[i];
        if (prefix->length > 128 || (addr_is_v4(&prefix->base) && prefix->length < V4_BITS))
            return false;
    }
    return true;
}

static int count_all(const struct prefixes_source *sources, size_t count, struct family family[2])
{
    for (size_t i = 0; i < count; i++) {
        if (!is_valid(&sources[i]))
            return -EINVAL;
        for (size_t k = 0; k < sources[i].count; k++)
            family[addr_is_v4(&sources[i].prefixes[k].base)].count++;
    }
    return family[0].count + family[1].count > PREFIXES_MOST ? -E2BIG : 0;
}

static int collect(const struct prefixes_source *sources, size_t count, struct family family[2])
{
    size_t filled[2] = {0, 0};
    for (int v4 = 0; v4 < 2; v4++) {
        family[v4].items = malloc((family[v4].count + 1) * sizeof *family[v4].items);
        if (family[v4].items == NULL)
            return -ENOMEM;
    }
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < sources[i].count; k++) {
            const struct prefix *prefix = &sources[i].prefixes[k];
            const bool v4 = addr_is_v4(&prefix->base);
            family[v4].items[filled[v4]++] =
                (struct item){to_u128(&prefix->base) & ~host_bits(prefix->length), prefix->length,
                              sources[i].mark};
        }
    return 0;
}

static int build(const struct prefixes_source *sources, size_t count, struct family family[2],
                 struct sets *sets, struct prefixes *out)
{
    int error = count_all(sources, count, family);
    if (error == 0)
        error = collect(sources, count, family);
    for (int v4 = 0; v4 < 2 && error == 0; v4++)
        error = cut_family(&family[v4], v4, sets);
    return error != 0 ? error : assemble(out, family, sets);
}

int prefixes_build(const struct prefixes_source *sources, size_t count, struct prefixes *out)
{
    struct family family[2] = {{0}, {0}};
    struct sets sets = {
        .marks = calloc(PREFIXES_SETS, sizeof *sets.marks),
        .bucket = calloc(BUCKETS, sizeof *sets.bucket),
        .count = 1,
    };
    *out = (struct prefixes){0};
    int error = -ENOMEM;
    if (sets.marks != NULL && sets.bucket != NULL)
        error = build(sources, count, family, &sets, out);
    for (int v4 = 0; v4 < 2; v4++) {
        free(family[v4].items);
        free(family[v4].cuts.at);
        free(family[v4].cuts.set);
    }
    free(sets.marks);
    free(sets.bucket);
    if (error != 0)
        *out = (struct prefixes){0};
    return error;
}

void prefixes_end(struct prefixes *prefixes)
{
    pages_free(prefixes->pages, prefixes->size);
    *prefixes = (struct prefixes){0};
}

/* ---- looking up ---- */

/* A bit for each of the sixteen bytes that is at or below `low`. */
static inline uint32_t at_or_below(const struct prefixes_line *line, uint8_t low)
{
#ifdef __SSE2__
    const __m128i bytes = _mm_load_si128((const __m128i *)(const void *)line);
    const __m128i least = _mm_min_epu8(bytes, _mm_set1_epi8((char)low));
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(least, bytes));
#else
    uint32_t bits = 0;
    for (unsigned i = 0; i < LINE; i++)
        bits |= (uint32_t)(line->low[i] <= low) << i;
    return bits;
#endif
}

/* How many of the `count` rising bytes are at or below `low`. */
static inline uint32_t count_low(const struct prefixes_line *line, uint32_t count, uint8_t low)
{
    uint32_t before = 0, here = LINE;
    while (here == LINE && before < count) {
        here = (uint32_t)__builtin_ctz(~at_or_below(line++, low));
        before += here;
    }
    return before < count ? before : count; /* behind the last are zeros */
}

uint16_t prefixes_mixed(const struct prefixes_top *top, uint32_t number, uint16_t value)
{
    const struct prefixes_block *block =
        &top->block[top->base[number / BLOCK / GROUP] + (value & (PREFIXES_MIXED - 1))];
    const uint8_t low = (uint8_t)number;
    if (!block->more)
        return block->value[(block->low[0] <= low) + (block->low[1] <= low) +
                            (block->low[2] <= low) + (block->low[3] <= low)];
    const struct prefixes_line *line = &top->line[block->lines];
    const uint32_t count = count_low(line, block->count, low);
    line += (block->count + LINE - 1) / LINE;
    return count == 0 ? block->before : line[(count - 1) / 8].value[(count - 1) % 8];
}

uint16_t prefixes_network(const struct prefixes *prefixes, const struct addr *addr, uint16_t value)
{
    const uint64_t high = be64toh(addr->quads[0]), low = be64toh(addr->quads[1]);
    const uint32_t group = (uint32_t)(high >> 32) / GROUP,
                   network = prefixes->v6_base[group] + (value & (PREFIXES_MIXED - 1));
    uint32_t at = prefixes->v6_first[network];
    for (uint32_t left = prefixes->v6_first[network + 1] - at; left != 0;) {
        const uint32_t half = left / 2;
        const struct prefixes_v6 *cut = &prefixes->v6_cut[at + half];
        const bool beyond = cut->high < high || (cut->high == high && cut->low <= low);
        at = beyond ? at + half + 1 : at;
        left = beyond ? left - half - 1 : half;
    }
    return prefixes->v6_cut[at - 1].set; /* the first cut is the network's begin */
}
