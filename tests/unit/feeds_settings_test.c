/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Which servers the fetcher may be sent to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "feeds/settings.h"

/* Why a feed with that URL is refused; "" if it is not. */
static const char *refusal(const char *url)
{
    static char why[CONF_WHY];
    char text[1024];
    snprintf(text, sizeof text, "[fetch]\ndirectory = /tmp\n[feed list]\nurl = %s\n", url);
    struct settings *settings =
        conf_load_memory(&FEEDS_SCHEMA, "feeds.conf", text, strlen(text), why);
    if (settings != NULL)
        why[0] = '\0';
    conf_free(&FEEDS_SCHEMA, settings);
    return why;
}

static void https_is_taken_from_anybody(void **state)
{
    (void)state;
    assert_string_equal(refusal("https://lists.example/drop.txt"), "");
    assert_string_equal(refusal("HTTPS://lists.example:8443/a?list=x@y"), "");
}

static void plain_http_is_only_taken_from_this_machine(void **state)
{
    static const char *const local[] = {"http://localhost/x", "http://localhost:8080",
                                        "http://127.0.0.1:8080/v1?x=y", "http://[::1]:8080/",
                                        "http://localhost"};
    static const char *const strange[] = {"http://lists.example/x", "http://localhost.example/",
                                          "http://127.0.0.10/",     "ftp://lists.example/",
                                          "file:///etc/passwd",     "lists.example"};
    (void)state;
    for (size_t i = 0; i < sizeof local / sizeof *local; i++)
        assert_string_equal(refusal(local[i]), "");
    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++)
        assert_non_null(strstr(refusal(strange[i]), "feeds.conf:4: [feed list] url = "));
}

static void a_password_in_a_url_is_refused_and_not_repeated(void **state)
{
    static const char *const urls[] = {"https://user:sesame@lists.example/x",
                                       "https://sesame@lists.example", "http://localhost@sesame/"};
    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof *urls - 1; i++) {
        assert_non_null(strstr(refusal(urls[i]), "header_file"));
        assert_null(strstr(refusal(urls[i]), "sesame"));
    }
    assert_string_not_equal(refusal(urls[2]), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(https_is_taken_from_anybody),
        cmocka_unit_test(plain_http_is_only_taken_from_this_machine),
        cmocka_unit_test(a_password_in_a_url_is_refused_and_not_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
