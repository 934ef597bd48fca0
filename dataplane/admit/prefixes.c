/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * From prefixes to cuts: they are sorted by first address, then by length, so that what contains
 * comes before what is contained; one pass with a stack of those that are open says where the set
 * changes. Then the cuts are laid out. */
#include "dataplane/admit/prefixes.h"

#include <errno.h>
#include <stdlib.h>

#include "dataplane/tcp/pages.h"

__extension__ typedef unsigned __int128 u128;

enum {
    LENGTHS = 129, /* 0..128 */
    V4_BITS = 96,  /* before those of an IPv4 address */
    BLOCK = 256,   /* numbers per bit */
    WORDS = 1 << 18,
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
    return digit == 0 ? item->length : (uint8_t)(item->base >> 8 * (digit - 1));
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

static uint32_t key_of(u128 at, bool v4)
{
    return (uint32_t)(v4 ? at : at >> 96);
}

/* The distinct keys of the cuts, and the /24s (of 32 bits) that they lie in. */
struct extent {
    size_t keys, blocks;
};

static struct extent measure(const struct cuts *cuts, bool v4)
{
    struct extent extent = {0, 0};
    for (size_t i = 0; i < cuts->count; i++) {
        const uint32_t key = key_of(cuts->at[i], v4);
        const uint32_t before = i != 0 ? key_of(cuts->at[i - 1], v4) : 0;
        extent.keys += i == 0 || key != before;
        extent.blocks += i == 0 || key / BLOCK != before / BLOCK;
    }
    return extent;
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

static void lay_out_ranks(struct layout *layout, struct prefixes_ranks *ranks,
                          const struct extent *extent)
{
    ranks->listed = take(layout, WORDS, sizeof *ranks->listed);
    ranks->cut = take(layout, WORDS, sizeof *ranks->cut);
    ranks->rank = take(layout, WORDS, sizeof *ranks->rank);
    ranks->first = take(layout, extent->blocks + 1, sizeof *ranks->first);
    ranks->low = take(layout, extent->keys, sizeof *ranks->low);
}

static void lay_out(struct layout *layout, struct prefixes *out, const struct family family[2])
{
    const struct cuts *v4 = &family[1].cuts, *v6 = &family[0].cuts;
    const struct extent extent4 = measure(v4, true), extent6 = measure(v6, false);
    lay_out_ranks(layout, &out->v4, &extent4);
    lay_out_ranks(layout, &out->v6, &extent6);
    out->v4_set = take(layout, v4->count + 1, sizeof *out->v4_set);
    out->v6_first = take(layout, extent6.keys + 1, sizeof *out->v6_first);
    out->v6_cut = take(layout, v6->count, sizeof *out->v6_cut);
    out->v6_set = take(layout, v6->count + 1, sizeof *out->v6_set);
    out->marks = take(layout, out->set_count, sizeof *out->marks);
}

static void list_blocks(uint64_t *listed, uint32_t first, uint32_t last)
{
    for (uint64_t block = first / BLOCK; block <= last / BLOCK;) {
        if (block % 64 == 0 && block + 63 <= last / BLOCK) {
            listed[block / 64] = ~UINT64_C(0);
            block += 64;
        } else {
            listed[block / 64] |= UINT64_C(1) << block % 64;
            block++;
        }
    }
}

/* What is between a cut and the next: listed, unless its set is empty. */
static void fill_listed(struct prefixes_ranks *ranks, const struct cuts *cuts, bool v4)
{
    for (size_t i = 0; i < cuts->count; i++) {
        if (cuts->set[i] == 0)
            continue;
        const u128 last = i + 1 < cuts->count ? cuts->at[i + 1] - 1 : ~(u128)0;
        list_blocks(ranks->listed, key_of(cuts->at[i], v4), key_of(last, v4));
    }
}

/* Its keys are those of the cuts, each once; `first_cut`, if there is one, says where those of each
 * begin. */
static void fill_ranks(struct prefixes_ranks *ranks, const struct cuts *cuts, bool v4,
                       uint32_t *first_cut)
{
    uint32_t keys = 0, blocks = 0;
    for (size_t i = 0; i < cuts->count; i++) {
        const uint32_t key = key_of(cuts->at[i], v4), block = key / BLOCK;
        if (i != 0 && key == key_of(cuts->at[i - 1], v4))
            continue;
        if (!(ranks->cut[block / 64] >> block % 64 & 1)) {
            ranks->cut[block / 64] |= UINT64_C(1) << block % 64;
            ranks->first[blocks++] = keys;
        }
        if (first_cut != NULL)
            first_cut[keys] = (uint32_t)i;
        ranks->low[keys++] = (uint8_t)key;
    }
    ranks->first[blocks] = keys;
    if (first_cut != NULL)
        first_cut[keys] = (uint32_t)cuts->count;
    for (uint32_t i = 0, sum = 0; i < WORDS; i++) {
        ranks->rank[i] = sum;
        sum += (uint32_t)__builtin_popcountll(ranks->cut[i]);
    }
    fill_listed(ranks, cuts, v4);
}

static void fill(struct prefixes *out, const struct family family[2], const struct sets *sets)
{
    const struct cuts *v4 = &family[1].cuts, *v6 = &family[0].cuts;
    fill_ranks(&out->v4, v4, true, NULL);
    fill_ranks(&out->v6, v6, false, out->v6_first);
    if (v4->count != 0)
        memcpy(out->v4_set + 1, v4->set, v4->count * sizeof *v4->set);
    for (size_t i = 0; i < v6->count; i++) {
        out->v6_cut[i] = (struct prefixes_v6){(uint64_t)(v6->at[i] >> 64), (uint64_t)v6->at[i]};
        out->v6_set[i + 1] = v6->set[i];
    }
    memcpy(out->marks, sets->marks, sets->count * sizeof *out->marks);
}

static int assemble(struct prefixes *out, const struct family family[2], const struct sets *sets)
{
    out->set_count = sets->count;
    struct layout layout = {NULL, 0};
    lay_out(&layout, out, family);
    out->size = layout.size;
    out->pages = pages_new(out->size);
    if (out->pages == NULL)
        return -ENOMEM;
    memset(out->pages, 0, out->size); /* so that all of it is there before it is read */
    layout = (struct layout){out->pages, 0};
    lay_out(&layout, out, family);
    fill(out, family, sets);
    return 0;
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

/* How many keys are at or before `key`. `*equal`: the last of them is the key itself. */
static inline uint32_t rank_of(const struct prefixes_ranks *ranks, uint32_t key, bool *equal)
{
    const uint32_t word = key >> 14;
    const uint64_t bit = UINT64_C(1) << (key >> 8 & 63), cut = ranks->cut[word];
    const uint32_t block = ranks->rank[word] + (uint32_t)__builtin_popcountll(cut & (bit - 1));
    const uint8_t *begin = ranks->low + ranks->first[block], *at = begin;
    *equal = false;
    if (!(cut & bit))
        return ranks->first[block];
    for (uint32_t left = ranks->first[block + 1] - ranks->first[block]; left != 0;) {
        const uint32_t half = left / 2;
        const bool beyond = at[half] <= (uint8_t)key;
        at = beyond ? at + half + 1 : at;
        left = beyond ? left - half - 1 : half;
    }
    *equal = at != begin && at[-1] == (uint8_t)key;
    return (uint32_t)(at - ranks->low);
}

uint16_t prefixes_find_v4(const struct prefixes *prefixes, uint32_t address)
{
    bool equal;
    return prefixes->v4_set[rank_of(&prefixes->v4, address, &equal)];
}

uint16_t prefixes_find_v6(const struct prefixes *prefixes, const struct addr *addr)
{
    const uint64_t high = be64toh(addr->quads[0]), low = be64toh(addr->quads[1]);
    bool equal;
    const uint32_t key = rank_of(&prefixes->v6, (uint32_t)(high >> 32), &equal);
    uint32_t at = prefixes->v6_first[key];
    if (!equal)
        return prefixes->v6_set[at];
    at = prefixes->v6_first[key - 1];
    for (uint32_t left = prefixes->v6_first[key] - at; left != 0;) {
        const uint32_t half = left / 2;
        const struct prefixes_v6 *cut = &prefixes->v6_cut[at + half];
        const bool beyond = cut->high < high || (cut->high == high && cut->low <= low);
        at = beyond ? at + half + 1 : at;
        left = beyond ? left - half - 1 : half;
    }
    return prefixes->v6_set[at];
}
