/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What lists of a million prefixes cost: to build, in memory, per look-up, per packet, and for a
 * worker while others are put in force. Prints tables, and the same as JSON into a file. */
#include <err.h>
#include <rte_cycles.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "maps.h"
#include "swap.h"
#include "tests/bench/pipeline/rig.h"
#include "tests/unit/random.h"

static FILE *json;
static bool first_row = true;

static void put(const char *name, const char *what, double value)
{
    fprintf(json, "%s\n  \"%s_%s\": %.3f", first_row ? "{" : ",", name, what, value);
    first_row = false;
}

static double seconds_since(uint64_t start)
{
    return (double)(rte_rdtsc_precise() - start) / rig_hz();
}

/* ---- the mix ---- */

/* In 1.0.0.0 to 223.255.255.255. */
static struct addr random_v4(struct random *random)
{
    return addr_from_v4(htobe32(0x01000000 + random_below(random, 223U << 24)));
}

/* In one of the registries' large networks. */
static struct addr random_v6(struct random *random)
{
    static const uint16_t networks[] = {0x2001, 0x2400, 0x2600, 0x2800, 0x2a00, 0x2c00};
    struct addr addr;
    random_bytes(random, addr.bytes, sizeof addr.bytes);
    const uint16_t network = networks[random_below(random, 6)];
    addr.bytes[0] = (uint8_t)(network >> 8);
    addr.bytes[1] = (uint8_t)(network == 0x2001 ? 1 : addr.bytes[1] & 0x0f);
    return addr;
}

static struct addr random_addr(struct random *random, bool v4)
{
    return v4 ? random_v4(random) : random_v6(random);
}

static uint8_t random_length(struct random *random, bool v4)
{
    static const uint8_t lengths[10] = {29, 32, 40, 48, 48, 56, 64, 64, 64, 128};
    if (v4)
        return random_below(random, 10) < 3 ? 96 + 24 : 128;
    return lengths[random_below(random, 10)];
}

struct mix mix_new(bool v4)
{
    struct random random = {v4 ? 4 : 6};
    struct mix mix = {NULL, v4 ? 1000000 : 100000, v4};
    mix.prefix = malloc(mix.count * sizeof *mix.prefix);
    if (mix.prefix == NULL)
        errx(1, "no memory");
    for (uint32_t i = 0; i < mix.count; i++) {
        struct prefix *prefix = &mix.prefix[i];
        *prefix = (struct prefix){random_addr(&random, v4), random_length(&random, v4)};
        for (unsigned bit = prefix->length; bit < 128; bit++)
            prefix->base.bytes[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
    }
    return mix;
}

/* ---- look-ups ---- */

/* Whom is asked for. */
enum load { LOAD_MISS, LOAD_HIT_24, LOAD_HIT_LONG, LOADS };
static const char *const load_names[LOADS] = {"random", "short", "long"};

static struct addr pick(const struct mix *mix, struct random *random, enum load load)
{
    if (load == LOAD_MISS)
        return random_addr(random, mix->v4);
    const bool longer = load == LOAD_HIT_LONG;
    const struct prefix *prefix;
    do
        prefix = &mix->prefix[random_below(random, mix->count)];
    while ((prefix->length == 128) != longer);
    struct addr addr = prefix->base;
    if (!longer) /* anywhere in it */
        for (unsigned bit = prefix->length; bit < 128; bit++)
            if (random_below(random, 2))
                addr.bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
    return addr;
}

/* Displaces all that caches hold. */
static void cool(void)
{
    enum { SIZE = 96 << 20 };
    static volatile uint8_t *memory;
    if (memory == NULL && (memory = malloc(SIZE)) == NULL)
        errx(1, "no memory");
    for (size_t i = 0; i < SIZE; i += 64)
        memory[i]++;
}

struct lookup {
    double cycles; /* the median of all bursts */
    double listed; /* share of the addresses */
};

static struct lookup measure(const struct map *map, const void *built, const struct mix *mix,
                             enum load load, bool ahead, bool cold)
{
    enum { BURSTS = 20000, COLD_BURSTS = 60 };
    const int bursts = cold ? COLD_BURSTS : BURSTS;
    double *cycles = malloc(sizeof *cycles * BURSTS);
    struct random random = {load};
    uint64_t listed = 0;
    for (int i = 0; i < bursts; i++) {
        struct addr addrs[MAP_BURST];
        for (int k = 0; k < MAP_BURST; k++)
            addrs[k] = pick(mix, &random, load);
        if (cold)
            cool();
        const uint64_t start = rte_rdtsc_precise();
        listed += map->find(built, addrs, MAP_BURST, ahead);
        cycles[i] = (double)(rte_rdtsc_precise() - start) / MAP_BURST;
    }
    const struct lookup result = {rig_median(cycles, bursts),
                                  (double)listed / (double)bursts / MAP_BURST};
    free(cycles);
    return result;
}

static void bench_load(const struct map *map, const void *built, const struct mix *mix,
                       enum load load)
{
    char what[32];
    const struct lookup warm = measure(map, built, mix, load, true, false),
                        bare = measure(map, built, mix, load, false, false),
                        cold = measure(map, built, mix, load, true, true);
    printf("  %-8s %5.1f %% listed %8.1f %8.1f %8.1f\n", load_names[load], 100 * warm.listed,
           warm.cycles, bare.cycles, cold.cycles);
    snprintf(what, sizeof what, "%s_cycles", load_names[load]);
    put(map->name, what, warm.cycles);
    snprintf(what, sizeof what, "%s_cold_cycles", load_names[load]);
    put(map->name, what, cold.cycles);
    fflush(stdout);
}

static void bench_map(const struct map *map, const struct mix *mix)
{
    uint64_t start = rte_rdtsc_precise();
    void *built = map->build(mix);
    const double built_s = seconds_since(start);
    if (built == NULL) {
        printf("%s: does not hold them\n", map->name);
        return;
    }
    const double mib = (double)map->bytes(built) / (1 << 20);
    printf("%s: built in %.3f s, %.1f MiB; cycles per look-up: asked ahead, not, cold\n", map->name,
           built_s, mib);
    put(map->name, "build_s", built_s);
    put(map->name, "mib", mib);
    for (int load = 0; load < LOADS; load++)
        bench_load(map, built, mix, (enum load)load);
    start = rte_rdtsc_precise();
    map->free(built);
    put(map->name, "free_s", seconds_since(start));
}

static void bench_maps(const struct mix mix[2], bool quick)
{
    for (unsigned i = 0; i < map_count; i++)
        if (!quick || !maps[i].slow)
            bench_map(&maps[i], &mix[maps[i].v4]);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        errx(2, "usage: lists FILE.json [--quick]");
    json = fopen(argv[1], "w");
    if (json == NULL)
        err(1, "%s", argv[1]);
    const bool quick = argc > 2 && strcmp(argv[2], "--quick") == 0;
    rig_start_with("1", 1, quick ? 256 : 4096);
    const struct mix mix[2] = {mix_new(false), mix_new(true)};
    bench_maps(mix, quick);
    bench_walk(mix, put);
    bench_swap(mix, put);
    fprintf(json, "\n}\n");
    return fclose(json) == 0 ? 0 : 1;
}
