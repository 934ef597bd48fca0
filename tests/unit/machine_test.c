/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What a machine must have is known before anything is taken from it. */
#include "dataplane/ops/machine.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

/* Takes 2 * (1 M * 192 + 1 M * 32 + 1,024 * 1,536 + 1,024 * 8,192 + 32 M) + 256 M bytes: 787
 * MB. */
static struct settings settings = {
    .gateway = {.cores = "0,3,3", .workers = 2, .memory = INT64_C(256) << 20},
    .tables = {.flows = 1 << 20, .tombstones = 1 << 20, .held = 1024, .held_large = 1024},
    .tcp = {.window = 8192},
};

static void tables_that_do_not_fit_are_refused_with_both_sums(void **state)
{
    (void)state;
    char why[256] = "";
    const struct machine small = {.processors = 4, .memory = UINT64_C(786) << 20};
    const struct machine enough = {.processors = 4, .memory = UINT64_C(788) << 20};
    const struct machine unknown = {.processors = 4};
    assert_int_equal(machine_check(&enough, &settings, why, sizeof why), 0);
    assert_int_equal(machine_check(&unknown, &settings, why, sizeof why), 0);
    assert_int_equal(machine_check(&small, &settings, why, sizeof why), -ENOMEM);
    assert_non_null(strstr(why, "take 787 MB at least, and this machine has 786 MB to give"));
}

static void buffers_in_hugepages_take_nothing_of_the_rest(void **state)
{
    (void)state;
    struct settings huge = settings;
    huge.gateway.hugepages = true;
    assert_int_equal(machine_bytes_wanted(&settings) - machine_bytes_wanted(&huge),
                     settings.gateway.memory);
}

static void a_processor_that_is_not_there_is_named(void **state)
{
    (void)state;
    char why[256] = "";
    const struct machine machine = {.processors = 3};
    assert_int_equal(machine_check(&machine, &settings, why, sizeof why), -ENODEV);
    assert_string_equal(why,
                        "[gateway] cores = 0,3,3: this machine has no processor 3, only 0 to 2");
}

static void this_machine_is_read(void **state)
{
    (void)state;
    const struct machine machine = machine_read();
    assert_in_range(machine.processors, 1, 4096);
    assert_true(machine.memory > 1 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_that_do_not_fit_are_refused_with_both_sums),
        cmocka_unit_test(buffers_in_hugepages_take_nothing_of_the_rest),
        cmocka_unit_test(a_processor_that_is_not_there_is_named),
        cmocka_unit_test(this_machine_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
