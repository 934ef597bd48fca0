/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Users and idempotency keys: what is accepted, and that what could mean two things is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "control/api/identity.h"

static char bytes[8192];
static struct http1_head head;

/* A head with these fields, in the same static place each time. */
static const struct http1_head *with(const char *fields)
{
    int length = snprintf(bytes, sizeof bytes, "GET / HTTP/1.1\r\nHost: shop\r\n%s\r\n", fields);
    assert_int_equal(http1_head(bytes, (size_t)length, &HTTP1_DEFAULT_LIMITS, &head), HTTP1_OK);
    return &head;
}

static enum identity_result user(const char *value)
{
    char fields[2048];
    struct http1_slice out;
    snprintf(fields, sizeof fields, "X-User: %s\r\n", value);
    return identity_user(with(fields), "X-User", &out);
}

static enum identity_result key(const char *value, struct idempotency_key *out)
{
    char fields[2048];
    snprintf(fields, sizeof fields, "Idempotency-Key: %s\r\n", value);
    return idempotency_key(with(fields), out);
}

static void assert_key(const char *value, const char *expected)
{
    struct idempotency_key out;
    assert_int_equal(key(value, &out), IDENTITY_GOOD);
    assert_int_equal(out.length, strlen(expected));
    assert_memory_equal(out.bytes, expected, out.length);
}

static void a_user_is_text(void **state)
{
    struct http1_slice out;
    (void)state;
    assert_int_equal(identity_user(with("x-user: ann\r\n"), "X-User", &out), IDENTITY_GOOD);
    assert_int_equal(out.length, 3);
    assert_memory_equal(out.at, "ann", 3);
    assert_int_equal(user("J\xc3\xbcrgen \xe2\x82\xac \xf0\x9f\x92\xa1"), IDENTITY_GOOD);
}

static void a_user_that_is_not_utf8_is_refused(void **state)
{
    static const char *const wrong[] = {
        "\x80",             /* continuation alone */
        "\xc3",             /* cut off */
        "\xc0\xaf",         /* overlong */
        "\xe0\x80\xaf",     /* overlong */
        "\xf0\x80\x80\xaf", /* overlong */
        "\xed\xa0\x80",     /* surrogate */
        "\xf4\x90\x80\x80", /* beyond U+10FFFF */
        "\xf8\x88\x80\x80\x80",
        "\xff",
        "a\xc2\x85z", /* a C1 control character */
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(user(wrong[i]), IDENTITY_MALFORMED);
    assert_int_equal(user("a\tb"), IDENTITY_MALFORMED);
}

static void a_user_has_1_to_255_bytes(void **state)
{
    char name[257];
    (void)state;
    memset(name, 'u', sizeof name);
    name[256] = '\0';
    assert_int_equal(user(name), IDENTITY_TOO_LONG);
    name[255] = '\0';
    assert_int_equal(user(name), IDENTITY_GOOD);
    assert_int_equal(user(""), IDENTITY_MISSING);
}

static void two_users_are_nobody(void **state)
{
    struct http1_slice out;
    (void)state;
    assert_int_equal(identity_user(with("X-User: ann\r\nx-USER: ann\r\n"), "X-User", &out),
                     IDENTITY_REPEATED);
    assert_int_equal(identity_user(with(""), "X-User", &out), IDENTITY_MISSING);
}

static void a_key_is_the_same_with_and_without_quotes(void **state)
{
    (void)state;
    assert_key("\"8e03978e-40d5\"", "8e03978e-40d5");
    assert_key("8e03978e-40d5", "8e03978e-40d5");
    assert_key("\"a \\\"b\\\\c\"", "a \"b\\c");
}

static void a_key_that_could_be_two_is_refused(void **state)
{
    static const char *const wrong[] = {
        "a,b", "a, b", "\"a\", \"b\"", "\"a\"b", "a\"b",         "\"a",      "\"",
        "a b", "a;b",  "\"a\\n\"",     "\"a\\",  "\"\xc3\xa4\"", "\xc3\xa4", "\"a\tb\""};
    struct idempotency_key out;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(key(wrong[i], &out), IDENTITY_MALFORMED);
    assert_int_equal(idempotency_key(with("Idempotency-Key: a\r\nIdempotency-Key: a\r\n"), &out),
                     IDENTITY_REPEATED);
}

static void a_key_has_1_to_255_bytes_without_its_quotes(void **state)
{
    char value[260] = "\"";
    struct idempotency_key out;
    (void)state;
    memset(value + 1, 'k', 256);
    memcpy(value + 257, "\"", 2);
    assert_int_equal(key(value, &out), IDENTITY_TOO_LONG);
    memcpy(value + 256, "\"", 2);
    assert_int_equal(key(value, &out), IDENTITY_GOOD);
    assert_int_equal(out.length, 255);
    value[256] = '\0';
    assert_int_equal(key(value + 1, &out), IDENTITY_GOOD);
    value[256] = 'k';
    value[257] = '\0';
    assert_int_equal(key(value + 1, &out), IDENTITY_TOO_LONG);
    assert_int_equal(key("\"\"", &out), IDENTITY_MISSING);
    assert_int_equal(key("", &out), IDENTITY_MISSING);
    assert_int_equal(idempotency_key(with(""), &out), IDENTITY_MISSING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_user_is_text),
        cmocka_unit_test(a_user_that_is_not_utf8_is_refused),
        cmocka_unit_test(a_user_has_1_to_255_bytes),
        cmocka_unit_test(two_users_are_nobody),
        cmocka_unit_test(a_key_is_the_same_with_and_without_quotes),
        cmocka_unit_test(a_key_that_could_be_two_is_refused),
        cmocka_unit_test(a_key_has_1_to_255_bytes_without_its_quotes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
