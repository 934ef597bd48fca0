/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What a request pays for the operators' rules: a look-up in sets of growing size, beside looking
 * at one rule after another, which is what it has to beat; for paths that are plain, and for the
 * oddest that a client can send. Prints a table, and JSON into the file that is named. */
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/path.h"
#include "common/rules.h"

enum { ASKED = 1024, RUNS = 5, SMALLEST_NS = 20000000 };

static char paths[RULES_MAX][64], names[RULES_MAX][32];
static struct rule_source sources[RULES_MAX];
static char asked[ASKED][PATH_MAX_BYTES + 1];
static struct http1_slice slices[ASKED];

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* As a shop has them: for each sale one for purchases. */
static void make_sources(size_t count)
{
    static char *const post[] = {"POST"};
    for (size_t i = 0; i < count; i++) {
        snprintf(paths[i], sizeof paths[i], "/v1/sales/%zu/reservations", i + 1);
        snprintf(names[i], sizeof names[i], "sale-%zu", i + 1);
        sources[i] = (struct rule_source){.rule = {.name = names[i], .state = RULE_OPEN},
                                          .methods = post,
                                          .method_count = 1,
                                          .path = paths[i]};
    }
}

/* Requests for any of them. */
static void ask_for(const char *format, size_t rules)
{
    for (size_t i = 0; i < ASKED; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        int length = snprintf(asked[i], sizeof asked[i], format, i * 7919 % rules + 1);
#pragma GCC diagnostic pop
        slices[i] = (struct http1_slice){asked[i], (size_t)length};
    }
}

/* The longest path with everything in it that servers differ about. */
static void ask_oddly(void)
{
    static const char odd[] = "//%2e%2e/a;b\\%252e/..";
    for (size_t i = 0; i < ASKED; i++) {
        for (size_t k = 0; k < PATH_MAX_BYTES; k++)
            asked[i][k] = odd[k % (sizeof odd - 1)];
        slices[i] = (struct http1_slice){asked[i], PATH_MAX_BYTES};
    }
}

static const struct rule *one_after_another(size_t count, const struct http1_slice *path)
{
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(sources[i].path);
        if (length <= path->length && memcmp(sources[i].path, path->at, length) == 0 &&
            (length == path->length || path->at[length] == '/'))
            return &sources[i].rule;
    }
    return NULL;
}

/* Nanoseconds per request, the best of some runs; `rules` NULL: one after another. */
static double measure(const struct rules *rules, size_t count, size_t *found)
{
    double best = 1e18;
    for (int run = 0; run < RUNS; run++) {
        uint64_t begin = now_ns(), spent = 0, requests = 0;
        for (*found = 0; spent < SMALLEST_NS; spent = now_ns() - begin, requests += ASKED)
            for (size_t i = 0; i < ASKED; i++) {
                const struct rules_request request = {
                    .http = true, .method = {"POST", 4}, .path = slices[i]};
                *found += (rules != NULL ? rules_find(rules, &request, 0).rule
                                         : one_after_another(count, &slices[i])) != NULL;
            }
        double each = (double)spent / (double)requests;
        best = each < best ? each : best;
    }
    return best;
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = {1, 10, 100, 1000, RULES_MAX};
    FILE *json = argc > 1 ? fopen(argv[1], "w") : NULL;
    if (json == NULL)
        err(1, "usage: bench_rules FILE.json");
    printf("%6s %12s %12s %12s %14s %12s %12s\n", "rules", "compile us", "match ns", "none ns",
           "one by one ns", "%73 ns", "oddest ns");
    fprintf(json, "[");
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        size_t count = sizes[s], found;
        make_sources(count);
        uint64_t begin = now_ns();
        struct rules *rules = rules_new(sources, count);
        double compile = (double)(now_ns() - begin) / 1000;
        ask_for("/v1/sales/%zu/reservations", count);
        double match = measure(rules, count, &found);
        size_t by_one;
        double linear = measure(NULL, count, &by_one);
        if (found == 0 || by_one == 0)
            errx(1, "no rule was found");
        ask_for("/v1/items/lamp-%zu", count);
        double none = measure(rules, count, &found);
        ask_for("/v1/%%73ales/%zu/reservations", count);
        double spelled = measure(rules, count, &found);
        ask_oddly();
        double oddest = measure(rules, count, &found);
        printf("%6zu %12.0f %12.0f %12.0f %14.0f %12.0f %12.0f\n", count, compile, match, none,
               linear, spelled, oddest);
        fprintf(json,
                "%s{\"rules\":%zu,\"compile_us\":%.0f,\"match_ns\":%.1f,\"none_ns\":%.1f,"
                "\"one_by_one_ns\":%.1f,\"spelled_ns\":%.1f,\"oddest_ns\":%.1f}",
                s > 0 ? "," : "", count, compile, match, none, linear, spelled, oddest);
        free(rules);
    }
    fprintf(json, "]\n");
    return fclose(json) == 0 ? 0 : 1;
}
