/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The master key's file: one form is taken, all else is refused in words that say what to do, and
 * then nothing of it was taken. Each test has a directory of its own. */
#include "dataplane/ops/master.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define DIGITS "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F"

struct place {
    char directory[32], file[64], link[64];
};

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    strcpy(p->directory, "/tmp/master_test.XXXXXX");
    if (mkdtemp(p->directory) == NULL)
        return -1;
    snprintf(p->file, sizeof p->file, "%s/master", p->directory);
    snprintf(p->link, sizeof p->link, "%s/link", p->directory);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    unlink(p->file);
    unlink(p->link);
    rmdir(p->directory);
    free(p);
    return 0;
}

static void put(const struct place *p, const char *text, size_t length, mode_t mode)
{
    unlink(p->file);
    const int fd = open(p->file, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, length), length);
    assert_int_equal(fchmod(fd, mode) | close(fd), 0);
}

static void expect_refused(const char *path, int error, const char *reason)
{
    uint8_t master[MASTER_BYTES], untouched[MASTER_BYTES];
    char why[MASTER_WHY] = "", wanted[MASTER_WHY];
    memset(master, 0x5a, sizeof master);
    memset(untouched, 0x5a, sizeof untouched);
    assert_int_equal(master_read(path, master, why), -error);
    snprintf(wanted, sizeof wanted,
             "[cookie] master_file = %s: %s; make one by: (umask 077; dropgate-dataplane "
             "--new-master > %s)",
             path, reason, path);
    assert_string_equal(why, wanted);
    assert_memory_equal(master, untouched, sizeof master);
}

static void sixty_four_digits_are_a_master_with_or_without_a_line_end(void **state)
{
    const struct place *p = *state;
    uint8_t master[MASTER_BYTES];
    char why[MASTER_WHY];
    for (size_t length = 64; length <= 65; length++)
        for (mode_t mode = 0400; mode <= 0600; mode += 0200) {
            put(p, DIGITS "\n", length, mode);
            memset(master, 0, sizeof master);
            assert_int_equal(master_read(p->file, master, why), 0);
            for (int i = 0; i < MASTER_BYTES; i++)
                assert_int_equal(master[i], i);
        }
}

static void anything_else_is_refused(void **state)
{
    const struct place *p = *state;
    static const char form[] = "must hold 64 hexadecimal digits on one line, and nothing else";
    static const char *const bad[] = {
        "",
        "\n",
        "0",
        DIGITS "0",
        DIGITS "00",
        DIGITS "\n\n",
        DIGITS "\r\n",
        DIGITS " ",
        "\n" DIGITS,
        " " DIGITS,
        DIGITS "\n" DIGITS "\n",
        "g00102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put(p, bad[i], strlen(bad[i]), 0600);
        expect_refused(p->file, EINVAL, form);
    }
    char text[65] = DIGITS;
    for (size_t at = 0; at < 64; at++) /* a byte that is no digit, also NUL, anywhere */
        for (int i = 0; i < 6; i++) {
            memcpy(text, DIGITS, 64);
            text[at] = "\0/:@`g"[i];
            put(p, text, 64, 0600);
            expect_refused(p->file, EINVAL, form);
        }
    for (size_t length = 0; length < 64; length++) {
        put(p, DIGITS, length, 0600);
        expect_refused(p->file, EINVAL, form);
    }
}

static void one_byte_over_and_over_is_no_secret(void **state)
{
    const struct place *p = *state;
    char text[64];
    memset(text, '0', sizeof text);
    put(p, text, sizeof text, 0600);
    expect_refused(p->file, EINVAL, "is one byte 32 times, which anyone could guess");
}

static void a_file_that_others_can_reach_is_refused(void **state)
{
    const struct place *p = *state;
    for (mode_t bit = 01; bit <= 040; bit <<= 1) {
        put(p, DIGITS, 64, 0600 | bit);
        expect_refused(p->file, EPERM, "others than its owner have access to it (chmod 600)");
    }
}

static void a_file_of_somebody_elses_is_refused(void **state)
{
    const struct place *p = *state;
    if (geteuid() != 0)
        skip();
    put(p, DIGITS, 64, 0600);
    assert_int_equal(chown(p->file, 65534, 65534), 0);
    expect_refused(p->file, EPERM, "belongs neither to root nor to the user who runs this");
}

static void only_a_regular_file_is_opened(void **state)
{
    const struct place *p = *state;
    expect_refused(p->file, ENOENT, "No such file or directory");
    expect_refused(p->directory, EPERM, "not a regular file");
    put(p, DIGITS, 64, 0600);
    assert_int_equal(symlink(p->file, p->link), 0);
    expect_refused(p->link, ELOOP, "a symbolic link");
    assert_int_equal(unlink(p->file), 0);
    assert_int_equal(mkfifo(p->file, 0600), 0); /* without a writer: it must not be waited for */
    expect_refused(p->file, EPERM, "not a regular file");
    expect_refused("/dev/zero", EPERM, "not a regular file");
}

static void a_new_master_is_one_that_can_be_read_and_never_the_same(void **state)
{
    const struct place *p = *state;
    uint8_t first[MASTER_BYTES], second[MASTER_BYTES];
    char why[MASTER_WHY];
    for (int i = 0; i < 2; i++) {
        put(p, "", 0, 0600);
        FILE *out = fopen(p->file, "w");
        assert_int_equal(master_print(out), 0);
        fclose(out);
        assert_int_equal(master_read(p->file, i ? second : first, why), 0);
    }
    assert_memory_not_equal(first, second, sizeof first);
    FILE *full = fopen("/dev/full", "w");
    assert_non_null(full);
    assert_int_equal(master_print(full), -EIO);
    fclose(full);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(sixty_four_digits_are_a_master_with_or_without_a_line_end),
        TEST(anything_else_is_refused),
        TEST(one_byte_over_and_over_is_no_secret),
        TEST(a_file_that_others_can_reach_is_refused),
        TEST(a_file_of_somebody_elses_is_refused),
        TEST(only_a_regular_file_is_opened),
        TEST(a_new_master_is_one_that_can_be_read_and_never_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
