/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Plays random schedules, one per seed, and says which one failed and how to see it again.
 *
 *   schedules [--seed N] [--count N] [--direct] [--verbose] [--verdicts] [--keep-going] */
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "tests/model/schedule.h"

static const char *program;
static uint64_t playing;
static bool direct;

static void say_seed(const char *what)
{
    printf("seed %" PRIu64 ": %s\n  see it: %s --seed %" PRIu64 "%s --verbose\n", playing, what,
           program, playing, direct ? " --direct" : "");
    fflush(stdout);
}

/* An assertion of the rig's or a sanitizer's report: the seed is what matters. */
static void aborted(int signal)
{
    (void)signal;
    say_seed("the rig or the gateway has aborted");
    _exit(3);
}

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void dying(void)
{
    say_seed("a sanitizer has found something");
}

static void print_verdicts(const struct tally *tally)
{
    for (int v = 0; v < VERDICT_COUNT; v++)
        if (tally->verdicts[v] != 0)
            printf("  %-20s %" PRIu64 "\n", verdict_name((enum verdict)v), tally->verdicts[v]);
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, count = 1, failed = 0;
    bool verbose = false, verdicts = false, keep_going = false;
    struct tally tally = {0};
    program = argv[0];
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--count") == 0 && i + 1 < argc)
            count = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--direct") == 0)
            direct = true;
        else if (strcmp(argv[i], "--verbose") == 0)
            verbose = true;
        else if (strcmp(argv[i], "--verdicts") == 0)
            verdicts = true;
        else if (strcmp(argv[i], "--keep-going") == 0)
            keep_going = true;
        else {
            fprintf(stderr,
                    "usage: %s [--seed N] [--count N] [--direct] [--verbose] [--verdicts] "
                    "[--keep-going]\n",
                    program);
            return 2;
        }
    }
    signal(SIGABRT, aborted);
    mallopt(M_MMAP_THRESHOLD, 1 << 30); /* a rig's pages serve the next one */
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    prctl(PR_SET_THP_DISABLE, 1, 0, 0,
          0); /* small tables: a huge page would have to be cleared for each */
    if (__sanitizer_set_death_callback != NULL)
        __sanitizer_set_death_callback(dying);
    const clock_t begun = clock();
    for (playing = seed; playing < seed + count && (failed == 0 || keep_going); playing++) {
        const char *wrong = schedule_play(playing, direct, verbose, &tally);
        if (wrong == NULL)
            continue;
        failed++;
        say_seed(wrong);
    }
    const double seconds = (double)(clock() - begun) / CLOCKS_PER_SEC;
    if (verdicts)
        print_verdicts(&tally);
    printf("%" PRIu64 " schedules, %" PRIu64 " failed; %" PRIu64 " connections, %" PRIu64
           " of them excused; %" PRIu64 " frames; %.0f schedules/s\n",
           tally.schedules, failed, tally.attempts, tally.excused, tally.frames,
           seconds > 0 ? (double)tally.schedules / seconds : 0.0);
    return failed != 0;
}
