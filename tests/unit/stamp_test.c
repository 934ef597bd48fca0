/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What is remembered of a download counts only for the same URL and the very file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "feeds/stamp.h"

static char directory[] = "/tmp/stamp_test.XXXXXX";
static char path[64], beside[64];

/* SHA-256 of "abc": FIPS 180-2, appendix B.1. */
static const struct stamp abc = {
    .url = "https://lists.example/x",
    .etag = "\"1\"",
    .modified = "",
    .asked = INT64_C(1) << 40,
    .sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"};

static void write_text(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int make_directory(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/list", directory);
    snprintf(beside, sizeof beside, "%s/.list.json", directory);
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    unlink(path);
    unlink(beside);
    return rmdir(directory);
}

static bool is_known(const char *url)
{
    static const struct stamp none;
    struct stamp stamp;
    stamp_load(path, url, &stamp);
    bool known = memcmp(&stamp, &none, sizeof stamp) != 0;
    if (known)
        assert_true(strcmp(stamp.etag, abc.etag) == 0 &&
                    strcmp(stamp.modified, abc.modified) == 0 && stamp.asked == abc.asked);
    return known;
}

static void it_is_known_of_that_file_and_that_url(void **state)
{
    (void)state;
    write_text(path, "abc");
    assert_int_equal(stamp_save(path, &abc), 0);
    assert_true(is_known(abc.url));
    assert_false(is_known("https://lists.example/y"));
    write_text(path, "abd");
    assert_false(is_known(abc.url));
    unlink(path);
    assert_false(is_known(abc.url));
}

static void whatever_else_stands_there_is_nothing(void **state)
{
    static const char *const bad[] = {
        "",
        "{}",
        "[]",
        "{\"url\":\"https://lists.example/x\"}",
        "{\"url\":\"https://lists.example/x\",\"etag\":\"\",\"modified\":\"\",\"sha256\":"
        "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\",\"asked\":\"1\"}",
        "{\"url\":\"https://lists.example/x\",\"etag\":7,\"modified\":\"\",\"sha256\":"
        "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\",\"asked\":1}"};
    (void)state;
    write_text(path, "abc");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_text(beside, bad[i]);
        assert_false(is_known(abc.url));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_known_of_that_file_and_that_url),
        cmocka_unit_test(whatever_else_stands_there_is_nothing),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
