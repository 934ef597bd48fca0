/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The gateway's own map; an array of all /24s beside a hash of addresses; DPDK's tables; and a
 * search in sorted ranges. */
#include "maps.h"

#include <err.h>
#include <rte_errno.h>
#include <rte_fib.h>
#include <rte_fib6.h>
#include <rte_malloc.h>
#include <stdlib.h>

#include "dataplane/admit/prefixes.h"
#include "dataplane/tcp/pages.h"

/* ---- ours ---- */

static void *ours_build(const struct mix *mix)
{
    struct prefixes *map = malloc(sizeof *map);
    const struct prefixes_source source = {mix->prefix, mix->count, 0};
    if (map == NULL || prefixes_build(&source, 1, map) != 0)
        errx(1, "no memory");
    return map;
}

static void ours_free(void *map)
{
    prefixes_end(map);
    free(map);
}

static uint64_t ours_bytes(const void *map)
{
    return ((const struct prefixes *)map)->size;
}

static inline uint32_t ours_find(const struct prefixes *map, const struct addr *addrs,
                                 uint32_t count, bool ahead, bool v4)
{
    uint32_t found = 0;
    for (uint32_t i = 0; ahead && i < count; i++)
        prefixes_fetch(map, &addrs[i], v4);
    for (uint32_t i = 0; i < count; i++)
        found += prefixes_find(map, &addrs[i], v4) != 0;
    return found;
}

static uint32_t ours_find4(const void *map, const struct addr *addrs, uint32_t count, bool ahead)
{
    return ours_find(map, addrs, count, ahead, true);
}

static uint32_t ours_find6(const void *map, const struct addr *addrs, uint32_t count, bool ahead)
{
    return ours_find(map, addrs, count, ahead, false);
}

/* ---- an array of /24s, and a hash of /32s ---- */

enum { FLAT_SLOTS = 8, FLAT_BUCKETS = 1 << 18, FLAT_LONGER = 0x8000 };

struct flat {
    uint16_t *of_24; /* a value, and whether there are longer prefixes */
    struct flat_bucket {
        uint32_t address[FLAT_SLOTS];
        uint16_t value[FLAT_SLOTS], count;
    } __attribute__((aligned(64))) * bucket;
};

static uint32_t flat_hash(uint32_t address)
{
    return address * UINT32_C(2654435761) >> 14;
}

static void flat_add(struct flat *map, const struct prefix *prefix)
{
    const uint32_t address = be32toh(addr_v4(&prefix->base));
    if (prefix->length == 96 + 24) {
        map->of_24[address >> 8] |= 1;
        return;
    }
    uint32_t at = flat_hash(address);
    while (map->bucket[at].count == FLAT_SLOTS)
        at = (at + 1) % FLAT_BUCKETS;
    map->bucket[at].address[map->bucket[at].count] = address;
    map->bucket[at].value[map->bucket[at].count++] = 1;
    map->of_24[address >> 8] |= FLAT_LONGER;
}

static void *flat_build(const struct mix *mix)
{
    struct flat *map = malloc(sizeof *map);
    if (map == NULL || (map->of_24 = pages_new(sizeof(uint16_t) << 24)) == NULL ||
        (map->bucket = pages_new(sizeof *map->bucket * FLAT_BUCKETS)) == NULL)
        errx(1, "no memory");
    memset(map->of_24, 0, sizeof(uint16_t) << 24);
    for (uint32_t i = 0; i < mix->count; i++)
        flat_add(map, &mix->prefix[i]);
    return map;
}

static void flat_free(void *context)
{
    struct flat *map = context;
    pages_free(map->of_24, sizeof(uint16_t) << 24);
    pages_free(map->bucket, sizeof *map->bucket * FLAT_BUCKETS);
    free(map);
}

static uint64_t flat_bytes(const void *map)
{
    (void)map;
    return (sizeof(uint16_t) << 24) + sizeof(struct flat_bucket) * FLAT_BUCKETS;
}

static bool flat_find_one(const struct flat *map, uint32_t address)
{
    const uint16_t value = map->of_24[address >> 8];
    if (!(value & FLAT_LONGER))
        return value != 0;
    const struct flat_bucket *bucket;
    uint32_t at = flat_hash(address);
    do {
        bucket = &map->bucket[at];
        for (unsigned i = 0; i < bucket->count; i++)
            if (bucket->address[i] == address)
                return bucket->value[i];
        at = (at + 1) % FLAT_BUCKETS;
    } while (bucket->count == FLAT_SLOTS);
    return value & ~FLAT_LONGER;
}

static uint32_t flat_find(const void *context, const struct addr *addrs, uint32_t count, bool ahead)
{
    const struct flat *map = context;
    uint32_t found = 0;
    for (uint32_t i = 0; ahead && i < count; i++)
        prefetch(&map->of_24[be32toh(addr_v4(&addrs[i])) >> 8]);
    for (uint32_t i = 0; i < count; i++)
        found += flat_find_one(map, be32toh(addr_v4(&addrs[i])));
    return found;
}

/* ---- sorted ranges ---- */

__extension__ typedef unsigned __int128 u128;

struct sorted {
    uint32_t count;
    struct {
        u128 first, last;
    } range[];
};

static u128 number_of(const struct addr *addr)
{
    return (u128)be64toh(addr->quads[0]) << 64 | be64toh(addr->quads[1]);
}

static int by_first(const void *a, const void *b)
{
    const u128 *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void *sorted_build(const struct mix *mix)
{
    struct sorted *map = malloc(sizeof *map + mix->count * sizeof map->range[0]);
    if (map == NULL)
        errx(1, "no memory");
    for (uint32_t i = 0; i < mix->count; i++) {
        const unsigned length = mix->prefix[i].length;
        map->range[i].first = number_of(&mix->prefix[i].base);
        map->range[i].last =
            map->range[i].first |
            ((((u128)1 << (128 - length) / 2) << ((128 - length) - (128 - length) / 2)) - 1);
    }
    qsort(map->range, mix->count, sizeof map->range[0], by_first);
    map->count = 0;
    for (uint32_t i = 0; i < mix->count; i++)
        if (map->count == 0 || map->range[map->count - 1].last < map->range[i].first)
            map->range[map->count++] = map->range[i];
    return map;
}

static uint64_t sorted_bytes(const void *context)
{
    const struct sorted *map = context;
    return map->count * sizeof map->range[0];
}

static uint32_t sorted_find(const void *context, const struct addr *addrs, uint32_t count,
                            bool ahead)
{
    const struct sorted *map = context;
    uint32_t found = 0;
    (void)ahead; /* where the search will lead is not known before it has */
    for (uint32_t i = 0; i < count; i++) {
        const u128 wanted = number_of(&addrs[i]);
        uint32_t at = 0;
        for (uint32_t left = map->count; left != 0;) {
            const uint32_t half = left / 2;
            const bool beyond = map->range[at + half].first <= wanted;
            at = beyond ? at + half + 1 : at;
            left = beyond ? left - half - 1 : half;
        }
        found += at != 0 && wanted <= map->range[at - 1].last;
    }
    return found;
}

/* ---- DPDK ---- */

static uint64_t heap_before, heap_used;

static uint64_t heap_bytes(void)
{
    struct rte_malloc_socket_stats stats;
    return rte_malloc_get_socket_stats(0, &stats) == 0 ? stats.heap_allocsz_bytes : 0;
}

static void *fib_build(const struct mix *mix)
{
    struct rte_fib_conf conf = {.type = RTE_FIB_DIR24_8, .max_routes = (int)mix->count + 16};
    conf.dir24_8.nh_sz = RTE_FIB_DIR24_8_4B; /* of 2 bytes, it has too few groups of /32s */
    conf.dir24_8.num_tbl8 = 1 << 20;
    heap_before = heap_bytes();
    struct rte_fib *fib = rte_fib_create("fib", 0, &conf);
    for (uint32_t i = 0; fib != NULL && i < mix->count; i++)
        if (rte_fib_add(fib, be32toh(addr_v4(&mix->prefix[i].base)),
                        (uint8_t)(mix->prefix[i].length - 96), 1) != 0) {
            warnx("rte_fib: prefix %u does not go in", i);
            rte_fib_free(fib);
            return NULL;
        }
    heap_used = heap_bytes() - heap_before;
    return fib;
}

static void fib_free(void *fib)
{
    rte_fib_free(fib);
}

static uint64_t fib_bytes(const void *fib)
{
    (void)fib;
    return heap_used;
}

static uint32_t fib_find(const void *fib, const struct addr *addrs, uint32_t count, bool ahead)
{
    uint32_t ips[MAP_BURST], found = 0;
    uint64_t hops[MAP_BURST];
    (void)ahead; /* its own affair */
    for (uint32_t i = 0; i < count; i++)
        ips[i] = be32toh(addr_v4(&addrs[i]));
    rte_fib_lookup_bulk((struct rte_fib *)(uintptr_t)fib, ips, hops, (int)count);
    for (uint32_t i = 0; i < count; i++)
        found += hops[i] != 0;
    return found;
}

static void *fib6_build(const struct mix *mix)
{
    struct rte_fib6_conf conf = {.type = RTE_FIB6_TRIE, .max_routes = (int)mix->count + 16};
    conf.trie.nh_sz = RTE_FIB6_TRIE_4B;
    conf.trie.num_tbl8 = 1 << 20;
    heap_before = heap_bytes();
    struct rte_fib6 *fib = rte_fib6_create("fib6", 0, &conf);
    for (uint32_t i = 0; fib != NULL && i < mix->count; i++)
        if (rte_fib6_add(fib, mix->prefix[i].base.bytes, mix->prefix[i].length, 1) != 0) {
            warnx("rte_fib6: prefix %u does not go in", i);
            rte_fib6_free(fib);
            return NULL;
        }
    heap_used = heap_bytes() - heap_before;
    return fib;
}

static void fib6_free(void *fib)
{
    rte_fib6_free(fib);
}

static uint32_t fib6_find(const void *fib, const struct addr *addrs, uint32_t count, bool ahead)
{
    uint8_t ips[MAP_BURST][RTE_FIB6_IPV6_ADDR_SIZE];
    uint64_t hops[MAP_BURST];
    uint32_t found = 0;
    (void)ahead;
    for (uint32_t i = 0; i < count; i++)
        memcpy(ips[i], addrs[i].bytes, sizeof ips[i]);
    rte_fib6_lookup_bulk((struct rte_fib6 *)(uintptr_t)fib, ips, hops, (int)count);
    for (uint32_t i = 0; i < count; i++)
        found += hops[i] != 0;
    return found;
}

const struct map maps[] = {
    {"cuts", true, ours_build, ours_free, ours_bytes, ours_find4, false},
    {"array_and_hash", true, flat_build, flat_free, flat_bytes, flat_find, false},
    {"sorted", true, sorted_build, free, sorted_bytes, sorted_find, false},
    {"rte_fib", true, fib_build, fib_free, fib_bytes, fib_find, true},
    {"cuts6", false, ours_build, ours_free, ours_bytes, ours_find6, false},
    {"sorted6", false, sorted_build, free, sorted_bytes, sorted_find, false},
    {"rte_fib6", false, fib6_build, fib6_free, fib_bytes, fib6_find, true},
};
const unsigned map_count = sizeof maps / sizeof maps[0];
