/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Reloads with a real file and a real builder: what is in force afterwards, and what the log says,
 * which is all that an operator has. */
#include <errno.h>
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

#include "common/log.h"
#include "dataplane/ops/reload.h"

#define BASE                                                      \
    "[outside]\ndevice = net_null0\naddresses = 198.18.0.1/17\n"  \
    "[inside]\ndevice = net_null1\naddresses = 198.18.128.1/24\n" \
    "[backend one]\naddress = 198.18.128.2:8080\n"                \
    "[service shop]\nlisten = 198.18.0.80:80\nbackends = one\n"

struct rig {
    char path[32], log[32];
    int kept_stderr;
    struct settings *first;
    struct policy_slot slot;
    struct upkeep upkeep;
    struct reload reload;
};

static void write_file(const struct rig *r, const char *text)
{
    FILE *file = fopen(r->path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int setup(void **state)
{
    struct rig *r = calloc(1, sizeof *r);
    char why[CONF_WHY];
    strcpy(r->path, "/tmp/reload_test.XXXXXX");
    strcpy(r->log, "/tmp/reload_test.XXXXXX");
    int file = mkstemp(r->path), log = mkstemp(r->log);
    *state = r;
    if (file < 0 || log < 0 || close(file) != 0)
        return -1;
    write_file(r, BASE);
    r->first = conf_load(&SETTINGS_SCHEMA, r->path, why);
    if (r->first == NULL || upkeep_init(&r->upkeep, &r->slot, settings_services(r->first),
                                        settings_limits(r->first), NULL, 0, NULL) != 0)
        return -1;
    r->upkeep.builder = builder_start(&r->slot);
    r->reload = (struct reload){.path = r->path, .first = r->first, .upkeep = &r->upkeep};
    fflush(stderr);
    r->kept_stderr = dup(STDERR_FILENO);
    return r->upkeep.builder == NULL || dup2(log, STDERR_FILENO) < 0 || close(log) != 0 ? -1 : 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;
    dup2(r->kept_stderr, STDERR_FILENO);
    close(r->kept_stderr);
    builder_stop(r->upkeep.builder);
    upkeep_end(&r->upkeep);
    reload_end(&r->reload);
    conf_free(&SETTINGS_SCHEMA, r->first);
    log_set_lowest(LOG_LEVEL_INFO);
    int error = unlink(r->path) | unlink(r->log);
    free(r);
    return error;
}

/* Reloads with that file, and waits until what follows from it is in force. */
static int reload_with(struct rig *r, const char *text)
{
    write_file(r, text);
    assert_int_equal(ftruncate(STDERR_FILENO, 0), 0);
    assert_int_equal(lseek(STDERR_FILENO, 0, SEEK_SET), 0);
    int error = reload_run(&r->reload);
    builder_stop(r->upkeep.builder);
    r->upkeep.builder = builder_start(&r->slot);
    assert_non_null(r->upkeep.builder);
    return error;
}

/* Whether the log of the last reload has `format`, in which %s stands for the file's name. */
static void __attribute__((format(printf, 2, 0))) logged(const struct rig *r, const char *format)
{
    char wanted[1024], text[16384];
    FILE *file = fopen(r->log, "r");
    assert_non_null(file);
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = '\0';
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(wanted, sizeof wanted, format, r->path);
#pragma GCC diagnostic pop
    if (strstr(text, wanted) == NULL)
        fail_msg("the log has\n%s\nbut not\n%s", text, wanted);
}

static void is_silent(void)
{
    assert_int_equal(lseek(STDERR_FILENO, 0, SEEK_END), 0);
}

static const struct limits *limits(const struct rig *r)
{
    return r->slot.row->limits;
}

static void a_change_is_in_force_and_told_with_both_values(void **state)
{
    struct rig *r = *state;
    assert_int_equal(reload_with(r, BASE "[tcp]\nidle = 10m\n[guard]\nsource_rate = 5\n"), 0);
    assert_int_equal(limits(r)->idle_ms, 600000);
    assert_int_equal(limits(r)->source_rate, 5);
    assert_ptr_equal(r->upkeep.limits, limits(r));
    logged(r, "[tcp] idle: 15m -> 10m; [guard] source_rate: 20000 -> 5");
    logged(r, "%s: read again, 2 changes are in force");
    assert_int_equal(reload_with(r, BASE "[tcp]\nidle = 10m\n"), 0); /* and back */
    assert_int_equal(limits(r)->source_rate, 20000);
    logged(r, "\"[guard] source_rate: 5 -> 20000\"");
    logged(r, "%s: read again, 1 change is in force");
}

static void a_file_that_says_the_same_changes_nothing(void **state)
{
    struct rig *r = *state;
    assert_int_equal(reload_with(r, "# again\n" BASE "[tcp]\nidle = 15m\n"), 0);
    logged(r, "%s: read again, 0 changes are in force");
}

static void a_mistake_changes_nothing_and_is_told_with_its_line(void **state)
{
    struct rig *r = *state;
    const struct policy *before = r->slot.row;
    assert_int_equal(reload_with(r, BASE "[tcp]\nidle = 10m\nlinger = soon\n"), -EINVAL);
    logged(r, "%s:14: [tcp] linger = soon: not a whole number with a unit");
    logged(r, "nothing was changed");
    assert_int_equal(reload_with(r, BASE "[tcp]\nidle = 10m\n[gateway]\nbuffers = 1024\n"),
                     -EINVAL); /* across fields */
    logged(r, "%s:15: [gateway] buffers = 1024: ");
    assert_int_equal(unlink(r->path), 0);
    assert_int_equal(reload_run(&r->reload), -EINVAL);
    logged(r, "%s: cannot be read: No such file or directory; nothing was changed");
    assert_ptr_equal(r->slot.row, before);
    assert_ptr_equal(reload_settings(&r->reload), r->first);
    write_file(r, BASE);
}

static void a_key_that_only_a_restart_takes_refuses_the_whole_file(void **state)
{
    struct rig *r = *state;
    const struct policy *before = r->slot.row;
    assert_int_equal(
        reload_with(r, BASE "[tables]\nflows = 1000\n[tcp]\nidle = 10m\nwindow = 4K\n"), -EINVAL);
    logged(r, "%s:13: [tables] flows: 262144 -> 1000: only a restart takes this");
    logged(r, ":16: [tcp] window: 8K -> 4K: only a restart takes this");
    logged(r, "%s: 2 of 3 changes need a restart; nothing was changed");
    assert_ptr_equal(r->slot.row, before);
}

static void the_level_of_the_log_follows(void **state)
{
    struct rig *r = *state;
    assert_int_equal(reload_with(r, BASE "[gateway]\nlog_level = error\n"), 0);
    logged(r, "[gateway] log_level: info -> error"); /* the last that is told */
    assert_int_equal(reload_with(r, BASE "[gateway]\nlog_level = error\n[tcp]\nidle = 1m\n"), 0);
    is_silent();
    assert_int_equal(reload_with(r, BASE), 0);
    logged(r, "[gateway] log_level: error -> info");
}

static void two_hundred_reloads_leave_nothing_behind(void **state)
{
    struct rig *r = *state;
    for (int i = 0; i < 200; i++) {
        char text[1024];
        snprintf(text, sizeof text, "%s[tcp]\nidle = %ds\n%s", BASE, 100 + i,
                 i % 3 == 1   ? "idle = 1s\n"
                 : i % 3 == 2 ? "[tables]\nheld = 5\n"
                              : "");
        assert_int_equal(reload_with(r, text), i % 3 == 0 ? 0 : -EINVAL);
        assert_int_equal(limits(r)->idle_ms, 1000 * (100 + i / 3 * 3));
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_change_is_in_force_and_told_with_both_values),
        TEST(a_file_that_says_the_same_changes_nothing),
        TEST(a_mistake_changes_nothing_and_is_told_with_its_line),
        TEST(a_key_that_only_a_restart_takes_refuses_the_whole_file),
        TEST(the_level_of_the_log_follows),
        TEST(two_hundred_reloads_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
