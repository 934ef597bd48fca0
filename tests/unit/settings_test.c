/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The configuration of dropgate-control: its sample is good, and what crosses keys is checked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/settings.h"

static char why[CONF_WHY];

static struct settings *load(const char *control, const char *dsn)
{
    char text[1024];
    int length = snprintf(text, sizeof text, "[control]\n%s\n[database]\ndsn = %s\n", control, dsn);
    return conf_load_memory(&SETTINGS_SCHEMA, "test.conf", text, (size_t)length, why);
}

static void assert_refused(const char *control, const char *dsn, const char *reason)
{
    struct settings *settings = load(control, dsn);
    assert_null(settings);
    if (!strstr(why, reason))
        fail_msg("\"%s\" does not say \"%s\"", why, reason);
}

static void a_dsn_is_enough(void **state)
{
    (void)state;
    struct settings *s = load("", "host=/run/postgresql dbname=shop");
    assert_non_null(s);
    assert_int_equal(s->control.listen.count, 2);
    assert_int_equal(s->control.identity, IDENTITY_NONE);
    assert_int_equal(s->control.deadline, 5000);
    conf_free(&SETTINGS_SCHEMA, s);
}

static void the_sample_with_a_dsn_is_good(void **state)
{
    char *sample = NULL;
    size_t length = 0;
    (void)state;
    FILE *out = open_memstream(&sample, &length);
    conf_sample(&SETTINGS_SCHEMA, out);
    fclose(out);
    assert_non_null(strstr(sample, "batch_max"));
    free(sample);
}

static void what_is_not_built_yet_is_refused_by_name(void **state)
{
    (void)state;
    assert_refused("queue = redis", "dbname=shop", "queue = redis is not built yet");
}

static void tokens_without_a_key_are_refused(void **state)
{
    (void)state;
    assert_refused("identity = jwt", "dbname=shop",
                   "[control] identity = jwt: there is no key; a [jwt NAME] section");
}

static void a_password_in_the_dsn_is_refused(void **state)
{
    (void)state;
    assert_refused("", "dbname=shop password=secret", "passfile");
    assert_refused("", "postgresql://shop:secret@db/shop", "passfile");
    assert_null(strstr(why, "secret"));
}

static void a_dsn_that_libpq_does_not_understand_is_refused(void **state)
{
    (void)state;
    assert_refused("", "dbname", "[database] dsn");
    assert_refused("", "colour=red", "colour");
}

static void bounds_that_contradict_each_other_are_refused(void **state)
{
    (void)state;
    assert_refused("queue_per_sale = 100\nqueue_total = 99", "dbname=shop", "queue_total");
    assert_refused("deadline = 500ms", "dbname=shop", "lock_timeout");
    assert_refused("user_header = X User", "dbname=shop", "not a header name");
}

static void assert_payment_refused(const char *payment, const char *reason)
{
    char control[512];
    snprintf(control, sizeof control, "[payment]\n%s", payment);
    assert_refused(control, "dbname=shop", reason);
}

static void a_provider_needs_all_that_belongs_to_it(void **state)
{
    (void)state;
    assert_payment_refused("provider = http", "[payment] base_url is missing");
    assert_payment_refused("provider = http\nbase_url = http://pay.example",
                           "[payment] base_url is neither https");
    assert_payment_refused("provider = http\nbase_url = https://pay.example",
                           "[payment] credentials is missing");
    assert_payment_refused(
        "provider = http\nbase_url = https://pay.example\ncredentials = k\nwebhook_secret_old = s",
        "webhook_secret_old stands without webhook_secret");
    assert_payment_refused("provider = http\nbase_url = https://pay.example\ncredentials = "
                           "k\ntimeout = 10s\npatience = 20s",
                           "patience must be more than twice the timeout");
    struct settings *s =
        load("[payment]\nprovider = http\nbase_url = https://pay.example\ncredentials = k",
             "dbname=shop");
    assert_non_null(s);
    assert_int_equal(s->payment.patience, 15 * 60 * 1000);
    assert_null(s->payment.webhook_secret);
    conf_free(&SETTINGS_SCHEMA, s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dsn_is_enough),
        cmocka_unit_test(a_provider_needs_all_that_belongs_to_it),
        cmocka_unit_test(the_sample_with_a_dsn_is_good),
        cmocka_unit_test(what_is_not_built_yet_is_refused_by_name),
        cmocka_unit_test(tokens_without_a_key_are_refused),
        cmocka_unit_test(a_password_in_the_dsn_is_refused),
        cmocka_unit_test(a_dsn_that_libpq_does_not_understand_is_refused),
        cmocka_unit_test(bounds_that_contradict_each_other_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
