/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The timeline file: what was saved is loaded, what is damaged is refused, and nobody lowers it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/ledger/lineage.h"

static char directory[] = "/tmp/lineage_test.XXXXXX";
static char path[64];

static int make_directory(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/timeline", directory);
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(directory); /* fails if anything was left aside */
}

static int load(struct lineage *lineage)
{
    char why[256] = "";
    int status = lineage_load(path, lineage, why, sizeof why);
    assert_true(!status == !*why);
    return status;
}

static void write_text(const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void what_was_saved_is_loaded(void **state)
{
    struct lineage saved = {UINT64_MAX - 5, 7}, loaded;
    (void)state;
    unlink(path);
    assert_int_equal(load(&loaded), 0);
    assert_int_equal(loaded.system, 0);
    assert_int_equal(lineage_save(path, &saved), 0);
    assert_int_equal(load(&loaded), 0);
    assert_true(loaded.system == saved.system && loaded.timeline == saved.timeline);
}

static void a_lower_timeline_of_the_same_system_is_not_written_over_a_higher_one(void **state)
{
    struct lineage high = {71, 9}, low = {71, 8}, other = {72, 1}, loaded;
    (void)state;
    assert_int_equal(lineage_save(path, &high), 0);
    assert_int_equal(lineage_save(path, &low), 0);
    assert_int_equal(load(&loaded), 0);
    assert_int_equal(loaded.timeline, 9);
    assert_int_equal(lineage_save(path, &other), 0);
    assert_int_equal(load(&loaded), 0);
    assert_int_equal(loaded.system, 72);
}

static void anything_else_in_the_file_is_refused(void **state)
{
    static const char *const bad[] = {"",          "71\n",  "71 9",  "71 9 1\n",
                                      "71 nine\n", "0 9\n", "71 0\n"};
    struct lineage loaded;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_text(bad[i]);
        assert_int_equal(load(&loaded), -EINVAL);
        assert_int_equal(loaded.system, 0);
    }
}

static void a_place_that_cannot_be_written_is_told(void **state)
{
    struct lineage lineage = {71, 9};
    (void)state;
    assert_int_equal(lineage_save("/nonexistent/timeline", &lineage), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_saved_is_loaded),
        cmocka_unit_test(a_lower_timeline_of_the_same_system_is_not_written_over_a_higher_one),
        cmocka_unit_test(anything_else_in_the_file_is_refused),
        cmocka_unit_test(a_place_that_cannot_be_written_is_told),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
