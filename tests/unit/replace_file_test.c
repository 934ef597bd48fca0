/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A file is replaced as a whole or not at all, and nothing is left beside it. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/replace_file.h"

enum { LENGTH = 100000 };

static char directory[] = "/tmp/replace_file_test.XXXXXX";
static char path[64];

static int make_directory(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/file", directory);
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(directory); /* fails if anything was left aside */
}

static size_t read_all(char out[LENGTH + 1])
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t length = fread(out, 1, LENGTH + 1, file);
    fclose(file);
    return length;
}

static void what_was_written_is_there_with_its_permissions(void **state)
{
    static char text[LENGTH + 1];
    struct stat about;
    (void)state;
    assert_int_equal(replace_file(path, 0640, "first", 5), 0);
    assert_int_equal(replace_file(path, 0644, "", 0), 0);
    assert_int_equal(read_all(text), 0);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 07777, 0644);
}

static void what_is_abandoned_leaves_the_old(void **state)
{
    static char text[LENGTH + 1];
    struct replacement replacement;
    (void)state;
    assert_int_equal(replace_file(path, 0600, "old", 3), 0);
    assert_int_equal(replace_begin(&replacement, path, 0600), 0);
    assert_int_equal(write(replacement.fd, "newer", 5), 5);
    replace_abandon(&replacement);
    assert_int_equal(read_all(text), 3);
    assert_memory_equal(text, "old", 3);
}

static bool stop;

static void *write_over_and_over(void *argument)
{
    static char bytes[LENGTH];
    (void)argument;
    for (int i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
        memset(bytes, 'a' + i % 26, sizeof bytes);
        assert_int_equal(replace_file(path, 0600, bytes, sizeof bytes), 0);
    }
    return NULL;
}

static void a_reader_never_sees_a_part(void **state)
{
    static char text[LENGTH + 1], whole[LENGTH];
    pthread_t writer;
    (void)state;
    memset(whole, 'z', sizeof whole);
    assert_int_equal(replace_file(path, 0600, whole, sizeof whole), 0);
    pthread_create(&writer, NULL, write_over_and_over, NULL);
    for (int i = 0; i < 500; i++) {
        assert_int_equal(read_all(text), LENGTH);
        assert_int_equal(text[0], text[LENGTH - 1]);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    pthread_join(writer, NULL);
}

static void a_place_that_cannot_be_written_is_told_and_left_clean(void **state)
{
    char under[128], longest[PATH_MAX];
    (void)state;
    assert_int_equal(replace_file("/nonexistent/file", 0600, "x", 1), -ENOENT);
    snprintf(under, sizeof under, "%s/directory", directory);
    assert_int_equal(mkdir(under, 0700), 0);
    assert_int_equal(replace_file(under, 0600, "x", 1), -EISDIR);
    assert_int_equal(rmdir(under), 0);
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(replace_file(longest, 0600, "x", 1), -ENAMETOOLONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_there_with_its_permissions),
        cmocka_unit_test(what_is_abandoned_leaves_the_old),
        cmocka_unit_test(a_reader_never_sees_a_part),
        cmocka_unit_test(a_place_that_cannot_be_written_is_told_and_left_clean),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
