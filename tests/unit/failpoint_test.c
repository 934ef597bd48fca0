/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Failpoints, each in a process of its own: what the environment says is read once per process, and
 * most actions end it or hold it up. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/failpoint.h"

enum { CHILD_FAILED = 99, THREADS = 8, PASSAGES = 10000 };

/* Starts a process with these failpoints that does `deed` and ends with what it returns. */
static pid_t start(const char *failpoints, int (*deed)(void))
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(STDERR_FILENO); /* the log's lines are not this test's subject */
        setenv("DROPGATE_FAILPOINTS", failpoints, 1);
        _exit(deed());
    }
    return child;
}

static int status_of(const char *failpoints, int (*deed)(void))
{
    int status = 0;
    pid_t child = start(failpoints, deed);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static int exit_of(const char *failpoints, int (*deed)(void))
{
    int status = status_of(failpoints, deed);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* Which of five passages of `a` fail, as bits. */
static int five_passages(void)
{
    int failed = 0;
    for (int i = 0; i < 5; i++)
        failed |= FAILPOINT("a") << i;
    return failed;
}

static int both_places(void)
{
    return FAILPOINT("ledger.sent") << 0 | FAILPOINT("ledger.answered") << 1 |
           FAILPOINT("ledger") << 2;
}

static void nothing_happens_without_being_asked(void **state)
{
    (void)state;
    assert_int_equal(exit_of("", five_passages), 0);
    assert_int_equal(exit_of("b=error", five_passages), 0);
}

static void the_nth_passage_acts_and_only_that(void **state)
{
    (void)state;
    assert_int_equal(exit_of("a=error", five_passages), 1 << 0);
    assert_int_equal(exit_of("a=error:3", five_passages), 1 << 2);
    assert_int_equal(exit_of("a=error:6", five_passages), 0);
    assert_int_equal(exit_of("a=error:2,a=error:4", five_passages), 1 << 1 | 1 << 3);
}

static void places_are_told_apart_by_their_whole_name(void **state)
{
    (void)state;
    assert_int_equal(exit_of("ledger.answered=error", both_places), 1 << 1);
    assert_int_equal(exit_of("ledger=error,ledger.sent=error", both_places), 1 << 2 | 1 << 0);
}

static void abort_ends_the_process_at_once(void **state)
{
    (void)state;
    assert_int_equal(exit_of("a=abort:2", five_passages), -SIGKILL);
}

static void stop_holds_the_process_until_it_is_continued(void **state)
{
    (void)state;
    int status = 0;
    pid_t child = start("a=stop", five_passages);
    assert_int_equal(waitpid(child, &status, WUNTRACED), child);
    assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    kill(child, SIGCONT);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static int slept_50_ms(void)
{
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    if (FAILPOINT("a"))
        return CHILD_FAILED;
    clock_gettime(CLOCK_MONOTONIC, &to);
    return (to.tv_sec - from.tv_sec) * 1000000000 + to.tv_nsec - from.tv_nsec >= 50000000;
}

static void sleep_lasts_as_long_as_asked(void **state)
{
    (void)state;
    assert_int_equal(exit_of("a=sleep:50", slept_50_ms), 1);
    assert_int_equal(exit_of("a=sleep:50:1", slept_50_ms), 1);
}

static void a_malformed_value_ends_the_process(void **state)
{
    (void)state;
    static const char *const MALFORMED[] = {"a",
                                            "a=",
                                            "=error",
                                            "a=explode",
                                            "a=error:0",
                                            "a=error:",
                                            "a=error:x",
                                            "a=sleep",
                                            "a=sleep:0",
                                            "a=errors",
                                            "A=error",
                                            "a=error b=error",
                                            "a=error,b",
                                            ",",
                                            "a=error:-1",
                                            "a=error:1:2",
                                            "a=error:99999999999"};
    for (size_t i = 0; i < sizeof MALFORMED / sizeof *MALFORMED; i++)
        assert_int_equal(exit_of(MALFORMED[i], five_passages), 2);
}

static void *pass_often(void *failed)
{
    for (int i = 0; i < PASSAGES; i++)
        *(int *)failed += FAILPOINT("a");
    return NULL;
}

static int threads_that_failed(void)
{
    pthread_t threads[THREADS];
    int failed[THREADS] = {0}, sum = 0;
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, pass_often, &failed[i]))
            return CHILD_FAILED;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL), sum += failed[i];
    return sum;
}

static void of_threads_that_pass_together_one_is_the_nth(void **state)
{
    (void)state;
    assert_int_equal(exit_of("a=error:40000", threads_that_failed), 1);
    assert_int_equal(exit_of("a=error:80000", threads_that_failed), 1);
    assert_int_equal(exit_of("a=error:80001", threads_that_failed), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_happens_without_being_asked),
        cmocka_unit_test(the_nth_passage_acts_and_only_that),
        cmocka_unit_test(places_are_told_apart_by_their_whole_name),
        cmocka_unit_test(abort_ends_the_process_at_once),
        cmocka_unit_test(stop_holds_the_process_until_it_is_continued),
        cmocka_unit_test(sleep_lasts_as_long_as_asked),
        cmocka_unit_test(a_malformed_value_ends_the_process),
        cmocka_unit_test(of_threads_that_pass_together_one_is_the_nth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
