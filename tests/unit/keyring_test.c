/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The cookies' masters over time: from a file or drawn, changed with an overlap, and nowhere that a
 * core dump would show. */
#include "dataplane/ops/keyring.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "dataplane/ops/secret.h"

/* The first millisecond of an epoch. */
static const uint64_t start = UINT64_C(1767225600000);

static char path[] = "/tmp/keyring_test.XXXXXX";

/* The file now holds a master of that number. */
static void put(int number)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "%064d\n", number);
    fclose(file);
}

static int setup(void **state)
{
    (void)state;
    strcpy(strchr(path, '.'), ".XXXXXX");
    const int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

static struct keyring *with_master(int number)
{
    char why[MASTER_WHY];
    struct keyring *keyring = keyring_new();
    assert_non_null(keyring);
    put(number);
    assert_int_equal(keyring_read(keyring, path, start, why), 1);
    return keyring;
}

static void change(struct keyring *keyring, int number, uint64_t at, int result)
{
    char why[MASTER_WHY];
    put(number);
    assert_int_equal(keyring_read(keyring, path, at, why), result);
}

static struct cookie_keys keys_of(struct keyring *keyring, uint64_t at)
{
    struct cookie_keys *keys = keyring_keys(keyring, at), copy;
    assert_non_null(keys);
    copy = *keys;
    keyring_keys_free(keys);
    return copy;
}

static bool accepts(const struct cookie_keys *a, const struct cookie_keys *b, uint64_t at)
{
    struct cookie_tuple tuple = {.client_port = 40000, .service_port = 80, .service = 7};
    const struct cookie_options options = {.mss_class = 3, .window_scale = 7, .sack = true};
    struct cookie_options got;
    assert_int_equal(addr_parse("198.18.64.1", &tuple.client), 0);
    return cookie_check(b, &tuple, 1, cookie_make(a, &tuple, 1, options, at), at, &got);
}

static void two_gateways_accept_each_others_cookies_exactly_when_they_share_a_file(void **state)
{
    (void)state;
    struct keyring *a = with_master(1), *b = with_master(1), *c = with_master(2),
                   *d = keyring_new(), *e = keyring_new();
    struct keyring *all[] = {a, b, c, d, e};
    struct addr client, service;
    assert_int_equal(addr_parse("2001:db8::1", &client) | addr_parse("2001:db8::2", &service), 0);
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 5; k++) {
            const struct cookie_keys made = keys_of(all[i], start),
                                     checked = keys_of(all[k], start + 1000);
            const bool same = i == k || (i < 2 && k < 2);
            assert_int_equal(accepts(&made, &checked, start + 1000), same);
            assert_int_equal(cookie_timestamp(&made, &client, &service, start) ==
                                 cookie_timestamp(&checked, &client, &service, start),
                             same);
        }
    for (int i = 0; i < 5; i++)
        keyring_free(all[i]);
}

static void without_a_file_any_more_a_master_is_drawn_beside_that_of_the_file(void **state)
{
    (void)state;
    struct keyring *keyring = with_master(1), *leaked = with_master(1);
    const uint64_t changed = start + 30000, end = changed + COOKIE_LIFE_MS;
    const struct cookie_keys before = keys_of(keyring, start);
    assert_int_equal(keyring_draw(keyring, changed), 1);
    assert_true(keyring_due(keyring, changed));
    const struct cookie_keys during = keys_of(keyring, changed);
    assert_true(accepts(&before, &during, changed));
    assert_int_equal(during.previous_until_ms, end);
    const struct cookie_keys after = keys_of(keyring, end), stolen = keys_of(leaked, end);
    assert_false(accepts(&stolen, &after, end));
    assert_int_equal(keyring_draw(keyring, end), 0); /* a drawn one stays */
    assert_false(keyring_due(keyring, end));
    keyring_free(leaked);
    keyring_free(keyring);
}

static void a_changed_master_overlaps_for_the_life_of_a_cookie(void **state)
{
    (void)state;
    struct keyring *keyring = with_master(1);
    const struct cookie_keys before = keys_of(keyring, start);
    assert_int_equal(before.previous_until_ms, 0); /* the random one never made a cookie */
    const uint64_t changed = start + 30000, end = changed + COOKIE_LIFE_MS;
    change(keyring, 2, changed, 1);
    assert_true(keyring_due(keyring, changed));
    const struct cookie_keys during = keys_of(keyring, changed);
    assert_false(keyring_due(keyring, changed));
    assert_true(accepts(&before, &during, changed));
    assert_false(accepts(&during, &before, changed));
    assert_int_equal(during.previous_until_ms, end);
    assert_memory_equal(&during.timestamp, &before.timestamp, sizeof before.timestamp);

    assert_int_equal(keys_of(keyring, end - 1).previous_until_ms, end);
    assert_false(keyring_due(keyring, end - 1));
    assert_true(keyring_due(keyring, end));
    const struct cookie_keys after = keys_of(keyring, end);
    static const struct siphash_key none[COOKIE_EPOCHS];
    assert_int_equal(after.previous_until_ms, 0);
    assert_memory_equal(after.previous, none, sizeof none);
    assert_memory_equal(&after.timestamp, &before.timestamp, sizeof before.timestamp);
    assert_false(keyring_due(keyring, end));
    keyring_free(keyring);
}

static void a_second_change_within_the_overlap_drops_the_oldest(void **state)
{
    (void)state;
    struct keyring *keyring = with_master(1);
    const struct cookie_keys first = keys_of(keyring, start);
    change(keyring, 2, start, 1);
    const struct cookie_keys second = keys_of(keyring, start);
    change(keyring, 3, start + 1, 1);
    const struct cookie_keys third = keys_of(keyring, start + 1);
    assert_false(accepts(&first, &third, start + 1));
    assert_true(accepts(&second, &third, start + 1));
    change(keyring, 2, start + 2, 1); /* and back */
    const struct cookie_keys fourth = keys_of(keyring, start + 2);
    assert_true(accepts(&third, &fourth, start + 2));
    assert_true(accepts(&second, &fourth, start + 2));
    keyring_free(keyring);
}

static void the_same_file_again_and_a_bad_one_change_nothing(void **state)
{
    (void)state;
    struct keyring *keyring = with_master(1);
    const struct cookie_keys before = keys_of(keyring, start);
    char why[MASTER_WHY] = "";
    change(keyring, 1, start, 0);
    put(0); /* guessable */
    assert_int_equal(keyring_read(keyring, path, start, why), -EINVAL);
    assert_non_null(strstr(why, path));
    assert_false(keyring_due(keyring, start));
    const struct cookie_keys after = keys_of(keyring, start);
    assert_memory_equal(&after, &before, sizeof before);
    keyring_free(keyring);
}

static void keys_are_due_with_every_epoch(void **state)
{
    (void)state;
    struct keyring *keyring = keyring_new();
    assert_true(keyring_due(keyring, start));
    for (uint64_t at = start; at < start + 3 * (uint64_t)COOKIE_EPOCH_MS; at += 1000) {
        assert_int_equal(keyring_due(keyring, at), (at - start) % COOKIE_EPOCH_MS == 0);
        if (keyring_due(keyring, at))
            keys_of(keyring, at);
    }
    keyring_free(keyring);
}

/* The kernel's flags of the mapping that holds an address (proc(5), smaps). */
static void flags_of(const void *memory, char *flags, size_t size)
{
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[512];
    bool within = false;
    assert_non_null(maps);
    *flags = '\0';
    while (fgets(line, sizeof line, maps) != NULL) {
        uintptr_t from, to;
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &from, &to) == 2)
            within = (uintptr_t)memory >= from && (uintptr_t)memory < to;
        else if (within && strncmp(line, "VmFlags:", 8) == 0)
            snprintf(flags, size, "%s", line);
    }
    fclose(maps);
}

static void masters_and_keys_are_in_no_core_dump_and_no_child(void **state)
{
    (void)state;
    struct keyring *keyring = with_master(1);
    struct cookie_keys *keys = keyring_keys(keyring, start);
    const void *memory[] = {keyring, keys};
    for (int i = 0; i < 2; i++) {
        char flags[512];
        flags_of(memory[i], flags, sizeof flags);
        assert_non_null(strstr(flags, " dd")); /* MADV_DONTDUMP */
        assert_non_null(strstr(flags, " wf")); /* MADV_WIPEONFORK */
    }
    keyring_keys_free(keys);
    keyring_free(keyring);
    keyring_free(NULL);
    keyring_keys_free(NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(two_gateways_accept_each_others_cookies_exactly_when_they_share_a_file),
        TEST(without_a_file_any_more_a_master_is_drawn_beside_that_of_the_file),
        TEST(a_changed_master_overlaps_for_the_life_of_a_cookie),
        TEST(a_second_change_within_the_overlap_drops_the_oldest),
        TEST(the_same_file_again_and_a_bad_one_change_nothing),
        TEST(keys_are_due_with_every_epoch),
        TEST(masters_and_keys_are_in_no_core_dump_and_no_child),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
