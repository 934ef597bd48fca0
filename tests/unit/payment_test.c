/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Payments without threads and sockets: which signatures count, what is read from bodies and
 * answers, and which way an attempt goes from each state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "control/ledger/key.h"
#include "control/payment/course.h"
#include "control/payment/http_provider.h"
#include "control/payment/read.h"
#include "control/payment/signature.h"

/* ---- signatures ---- */

static struct signature_secrets secrets = {.length = {20, 18},
                                           .bytes = {"the-present-one-....", "the-old-one-......"}};

static const char *sign(const char *secret, const char *time, const char *body, char out[65])
{
    char text[256];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    int length = snprintf(text, sizeof text, "%s.%s", time, body);
    HMAC(EVP_sha256(), secret, (int)strlen(secret), (unsigned char *)text, (size_t)length, digest,
         &size);
    for (unsigned int i = 0; i < size; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
    return out;
}

static enum signature_result check(const char *field, const char *body, int64_t now)
{
    return signature_check(&secrets, field, strlen(field), body, strlen(body), now, 300);
}

static void a_signature_counts_under_either_secret(void **state)
{
    char field[256], hex[65];
    (void)state;
    snprintf(field, sizeof field, "t=1700000000,v1=%s",
             sign("the-present-one-....", "1700000000", "{}", hex));
    assert_int_equal(check(field, "{}", 1700000000), SIGNATURE_GOOD);
    snprintf(field, sizeof field, "t=1700000000,v1=%s",
             sign("the-old-one-......", "1700000000", "{}", hex));
    assert_int_equal(check(field, "{}", 1700000000), SIGNATURE_GOOD);
    snprintf(field, sizeof field, "t=1700000000,v1=%s", sign("another", "1700000000", "{}", hex));
    assert_int_equal(check(field, "{}", 1700000000), SIGNATURE_WRONG);
}

static void one_of_several_signatures_is_enough(void **state)
{
    char field[512], hex[65];
    (void)state;
    snprintf(field, sizeof field, "v0=x,t=1700000000,v1=%064d,v1=%s,v2=what", 0,
             sign("the-old-one-......", "1700000000", "{}", hex));
    assert_int_equal(check(field, "{}", 1700000000), SIGNATURE_GOOD);
}

static void the_time_and_the_body_are_signed(void **state)
{
    char field[256], hex[65];
    (void)state;
    snprintf(field, sizeof field, "t=1700000001,v1=%s",
             sign("the-old-one-......", "1700000000", "{}", hex));
    assert_int_equal(check(field, "{}", 1700000000), SIGNATURE_WRONG);
    snprintf(field, sizeof field, "t=1700000000,v1=%s", hex);
    assert_int_equal(check(field, "{ }", 1700000000), SIGNATURE_WRONG);
}

static void a_signature_is_good_for_the_tolerance_either_way(void **state)
{
    char field[256], hex[65];
    (void)state;
    snprintf(field, sizeof field, "t=1700000000,v1=%s",
             sign("the-old-one-......", "1700000000", "{}", hex));
    assert_int_equal(check(field, "{}", 1700000300), SIGNATURE_GOOD);
    assert_int_equal(check(field, "{}", 1700000301), SIGNATURE_UNTIMELY);
    assert_int_equal(check(field, "{}", 1699999700), SIGNATURE_GOOD);
    assert_int_equal(check(field, "{}", 1699999699), SIGNATURE_UNTIMELY);
}

static void a_field_that_is_not_one_is_malformed(void **state)
{
    char hex[65], five[600];
    (void)state;
    sign("the-old-one-......", "1", "{}", hex);
    snprintf(five, sizeof five, "t=1,v1=%s,v1=%s,v1=%s,v1=%s,v1=%s", hex, hex, hex, hex, hex);
    const char *const fields[] = {
        "",         "t=1",     "v1=",    "t=,v1=00", "t=1,v1=00", "t=-1,v1=", "t=123456789012,v1=",
        "nonsense", "t=1,t=1", "t=1,v1", five};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        assert_int_equal(check(fields[i], "{}", 1), SIGNATURE_MALFORMED);
}

static void without_a_secret_nothing_is_right(void **state)
{
    struct signature_secrets none = {0};
    char field[256], hex[65];
    (void)state;
    snprintf(field, sizeof field, "t=1,v1=%s", sign("", "1", "{}", hex));
    assert_int_equal(signature_check(&none, field, strlen(field), "{}", 2, 1, 300),
                     SIGNATURE_WRONG);
}

/* ---- bodies ---- */

static const char *body(const char *text, char method[PROVIDER_METHOD_MAX + 1])
{
    return payment_read_body(text, strlen(text), method);
}

static void a_body_is_exactly_a_method(void **state)
{
    char method[PROVIDER_METHOD_MAX + 1], longest[300], one_more[300];
    (void)state;
    assert_null(body("{\"method\": \"tok_1\"}", method));
    assert_string_equal(method, "tok_1");
    snprintf(longest, sizeof longest, "{\"method\":\"%0255d\"}", 0);
    assert_null(body(longest, method));
    assert_int_equal(strlen(method), 255);
    snprintf(one_more, sizeof one_more, "{\"method\":\"%0256d\"}", 0);
    const char *const bad[] = {"",
                               "x",
                               "[]",
                               "{}",
                               "{\"method\":1}",
                               "{\"method\":\"\"}",
                               "{\"method\":\"a b\"}",
                               "{\"method\":\"\\u00e9\"}",
                               "{\"method\":\"\\\"\"}",
                               "{\"method\":\"a\",\"b\":1}",
                               "{\"method\":\"a\",\"method\":\"b\"}",
                               one_more};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_non_null(body(bad[i], method));
}

static struct provider_call call = {.attempt = {1, 2, 3}, .amount = 4900, .currency = "EUR"};

static enum provider_outcome heard(const char *members, struct provider_answer *answer)
{
    char text[2048], attempt[KEY_UUID_TEXT];
    int length = snprintf(text, sizeof text, "{\"attempt\":\"%s\",%s}",
                          key_print(call.attempt, attempt), members);
    const char *wrong = payment_read_answer(text, (size_t)length, &call, answer);
    assert_int_equal(wrong != NULL, answer->outcome == PROVIDER_UNKNOWN);
    return answer->outcome;
}

#define MONEY "\"amount\":4900,\"currency\":\"EUR\""

static void an_answer_is_the_state_of_the_attempt(void **state)
{
    struct provider_answer a;
    (void)state;
    assert_int_equal(heard("\"state\":\"authorised\"," MONEY, &a), PROVIDER_AUTHORISED);
    assert_int_equal(heard("\"state\":\"captured\"," MONEY ",\"more\":[]", &a), PROVIDER_CAPTURED);
    assert_int_equal(heard("\"state\":\"absent\"", &a), PROVIDER_ABSENT);
    assert_int_equal(heard("\"state\":\"voided\"", &a), PROVIDER_VOIDED);
    assert_int_equal(heard("\"state\":\"refunded\"," MONEY, &a), PROVIDER_REFUNDED);
    assert_int_equal(heard("\"state\":\"pending\"," MONEY, &a), PROVIDER_PENDING);
    assert_int_equal(heard("\"state\":\"declined\",\"reason\":\"insufficient_funds\"," MONEY, &a),
                     PROVIDER_DECLINED);
    assert_string_equal(a.reason, "insufficient_funds");
    assert_int_equal(heard("\"state\":\"declined\",\"reason\":\"<b>\"," MONEY, &a),
                     PROVIDER_DECLINED);
    assert_string_equal(a.reason, "declined");
    assert_int_equal(
        heard("\"state\":\"requires_action\",\"action\":\"https://b.example/?a=1&b\"," MONEY, &a),
        PROVIDER_ACTION);
    assert_string_equal(a.action, "https://b.example/?a=1&b");
}

static void an_answer_about_something_else_is_none(void **state)
{
    struct provider_answer a;
    const char *other =
        "{\"attempt\":\"00000000-0000-0000-0000-000000000001\",\"state\":\"captured\"," MONEY "}";
    (void)state;
    assert_non_null(payment_read_answer(other, strlen(other), &call, &a));
    assert_int_equal(a.outcome, PROVIDER_UNKNOWN);
    assert_int_equal(heard("\"state\":\"captured\",\"amount\":4901,\"currency\":\"EUR\"", &a),
                     PROVIDER_UNKNOWN);
    assert_int_equal(heard("\"state\":\"captured\",\"amount\":4900,\"currency\":\"USD\"", &a),
                     PROVIDER_UNKNOWN);
    assert_int_equal(heard("\"state\":\"captured\",\"amount\":4900.0,\"currency\":\"EUR\"", &a),
                     PROVIDER_UNKNOWN);
    assert_int_equal(heard("\"state\":\"captured\"", &a), PROVIDER_UNKNOWN);
    assert_int_equal(heard("\"state\":\"voided\",\"amount\":1,\"currency\":\"EUR\"", &a),
                     PROVIDER_UNKNOWN);
    assert_int_equal(heard("\"state\":\"Captured\"," MONEY, &a), PROVIDER_UNKNOWN);
    assert_int_equal(
        heard("\"state\":\"requires_action\",\"action\":\"javascript:alert(1)\"," MONEY, &a),
        PROVIDER_UNKNOWN);
    assert_int_equal(heard("\"state\":\"requires_action\"," MONEY, &a), PROVIDER_UNKNOWN);
    assert_non_null(payment_read_answer("<html>404", 9, &call, &a));
    assert_non_null(payment_read_answer("", 0, &call, &a));
}

static void an_event_names_itself_its_kind_and_the_attempt(void **state)
{
    struct payment_event e;
    const char *good = "{\"id\":\"evt:1\",\"type\":\"captured\",\"attempt\":\"01020300-0000-0000-"
                       "0000-000000000000\",\"x\":{}}";
    const char *const bad[] = {
        "{}",
        "{\"id\":\"\",\"type\":\"a\",\"attempt\":\"01020300-0000-0000-0000-000000000000\"}",
        "{\"id\":\"a\",\"type\":\"A\",\"attempt\":\"01020300-0000-0000-0000-000000000000\"}",
        "{\"id\":\"a\",\"type\":\"a\",\"attempt\":\"01020300\"}",
        "{\"id\":\"a\",\"type\":\"a\"}",
        ""};
    (void)state;
    assert_null(payment_read_event(good, strlen(good), &e));
    assert_string_equal(e.id, "evt:1");
    assert_string_equal(e.kind, "captured");
    assert_memory_equal(e.attempt, call.attempt, 16);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_non_null(payment_read_event(bad[i], strlen(bad[i]), &e));
}

/* ---- the course ---- */

static void money_is_taken_only_behind_a_claim(void **state)
{
    (void)state;
    for (int s = PAYMENT_NONE; s < PAYMENT_STATES; s++)
        for (int asked = STEP_AUTHORISE; asked <= STEP_GET; asked++)
            for (int o = 0; o < PROVIDER_OUTCOMES; o++)
                if (course_heard((enum payment_state)s, (enum payment_step)asked,
                                 (enum provider_outcome)o) == STEP_CAPTURE)
                    assert_true(s == PAYMENT_CAPTURING || s == PAYMENT_UNKNOWN);
    assert_int_equal(course_heard(PAYMENT_BEGUN, STEP_AUTHORISE, PROVIDER_AUTHORISED), STEP_CLAIM);
    assert_int_equal(course_stored(STEP_CLAIM, PAYMENT_CAPTURING), STEP_CAPTURE);
    assert_int_equal(course_stored(STEP_CLAIM, PAYMENT_VOIDING), STEP_VOID);
    assert_int_equal(course_stored(STEP_CLAIM, PAYMENT_CAPTURED), STEP_DONE);
}

static void nothing_is_given_back_on_a_guess(void **state)
{
    static const enum provider_outcome VAGUE[] = {PROVIDER_UNKNOWN, PROVIDER_PENDING,
                                                  PROVIDER_ACTION};
    (void)state;
    for (int s = PAYMENT_BEGUN; s < PAYMENT_STATES; s++)
        for (int asked = STEP_AUTHORISE; asked <= STEP_GET; asked++)
            for (size_t i = 0; i < sizeof VAGUE / sizeof *VAGUE; i++) {
                enum payment_step next =
                    course_heard((enum payment_state)s, (enum payment_step)asked, VAGUE[i]);
                assert_true(next != STEP_STORE_DECLINED && next != STEP_STORE_VOIDED &&
                            next != STEP_STORE_REFUNDED && next != STEP_STORE_CAPTURED);
            }
    assert_int_equal(course_heard(PAYMENT_BEGUN, STEP_GET, PROVIDER_ABSENT), STEP_STORE_CHECKED);
    assert_int_equal(course_heard(PAYMENT_CAPTURING, STEP_GET, PROVIDER_ABSENT),
                     STEP_STORE_UNKNOWN);
    assert_int_equal(course_heard(PAYMENT_VOIDING, STEP_VOID, PROVIDER_ABSENT), STEP_STORE_VOIDED);
}

static void captured_money_is_always_told(void **state)
{
    (void)state;
    for (int s = PAYMENT_BEGUN; s <= PAYMENT_VOIDED; s++)
        assert_int_equal(course_heard((enum payment_state)s, STEP_GET, PROVIDER_CAPTURED),
                         STEP_STORE_CAPTURED);
    assert_int_equal(course_stored(STEP_STORE_CAPTURED, PAYMENT_REFUNDING), STEP_REFUND);
    assert_int_equal(course_heard(PAYMENT_REFUNDING, STEP_REFUND, PROVIDER_CAPTURED),
                     STEP_STORE_CHECKED);
    assert_int_equal(course_heard(PAYMENT_REFUNDING, STEP_REFUND, PROVIDER_REFUNDED),
                     STEP_STORE_REFUNDED);
}

static void a_late_authorisation_is_voided(void **state)
{
    (void)state;
    assert_int_equal(course_heard(PAYMENT_VOIDED, STEP_GET, PROVIDER_AUTHORISED), STEP_CLAIM);
    assert_int_equal(course_heard(PAYMENT_VOIDING, STEP_GET, PROVIDER_AUTHORISED), STEP_VOID);
    assert_int_equal(course_heard(PAYMENT_VOIDING, STEP_VOID, PROVIDER_AUTHORISED),
                     STEP_STORE_CHECKED);
}

static void a_capture_that_does_nothing_does_not_go_round(void **state)
{
    (void)state;
    assert_int_equal(course_heard(PAYMENT_UNKNOWN, STEP_GET, PROVIDER_AUTHORISED), STEP_CAPTURE);
    assert_int_equal(course_heard(PAYMENT_UNKNOWN, STEP_CAPTURE, PROVIDER_AUTHORISED),
                     STEP_STORE_UNKNOWN);
}

static void states_have_the_ledgers_names(void **state)
{
    (void)state;
    assert_int_equal(course_state("refunding", 9), PAYMENT_REFUNDING);
    assert_int_equal(course_state("refund", 6), PAYMENT_NONE);
    assert_int_equal(course_state("", 0), PAYMENT_NONE);
}

static void pauses_grow_to_a_minute(void **state)
{
    (void)state;
    assert_int_equal(course_pause(0, 0), 500);
    assert_in_range(course_pause(0, UINT32_MAX), 1498, 1500);
    assert_int_equal(course_pause(1000, 0), 30000);
    assert_in_range(course_pause(1000, UINT32_MAX), 89000, 90000);
}

/* ---- the rest ---- */

static void attempts_and_reservations_have_ids_of_their_own(void **state)
{
    uint8_t one[16], other[16], reservation[16] = {7};
    (void)state;
    assert_int_equal(key_attempt_id(reservation, "k", 1, one), 0);
    assert_int_equal(key_attempt_id(reservation, "l", 1, other), 0);
    assert_memory_not_equal(one, other, 16);
    reservation[15] = 1;
    assert_int_equal(key_attempt_id(reservation, "k", 1, other), 0);
    assert_memory_not_equal(one, other, 16);
    assert_int_not_equal(key_attempt_id(reservation, "", 0, other), 0);
}

static void a_provider_is_reached_over_tls(void **state)
{
    (void)state;
    assert_true(http_provider_accepts("https://pay.example/v1"));
    assert_true(http_provider_accepts("http://127.0.0.1:8099/v1"));
    assert_true(http_provider_accepts("http://[::1]:1"));
    const char *const bad[] = {"http://pay.example",
                               "http://127.0.0.1.pay.example",
                               "https://",
                               "https://pay.example/",
                               "https://user@pay.example",
                               "https://pay.example/?a",
                               "ftp://pay.example",
                               "https:///x",
                               "https://pay.example/a b",
                               ""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(http_provider_accepts(bad[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signature_counts_under_either_secret),
        cmocka_unit_test(one_of_several_signatures_is_enough),
        cmocka_unit_test(the_time_and_the_body_are_signed),
        cmocka_unit_test(a_signature_is_good_for_the_tolerance_either_way),
        cmocka_unit_test(a_field_that_is_not_one_is_malformed),
        cmocka_unit_test(without_a_secret_nothing_is_right),
        cmocka_unit_test(a_body_is_exactly_a_method),
        cmocka_unit_test(an_answer_is_the_state_of_the_attempt),
        cmocka_unit_test(an_answer_about_something_else_is_none),
        cmocka_unit_test(an_event_names_itself_its_kind_and_the_attempt),
        cmocka_unit_test(money_is_taken_only_behind_a_claim),
        cmocka_unit_test(nothing_is_given_back_on_a_guess),
        cmocka_unit_test(captured_money_is_always_told),
        cmocka_unit_test(a_late_authorisation_is_voided),
        cmocka_unit_test(a_capture_that_does_nothing_does_not_go_round),
        cmocka_unit_test(states_have_the_ledgers_names),
        cmocka_unit_test(pauses_grow_to_a_minute),
        cmocka_unit_test(attempts_and_reservations_have_ids_of_their_own),
        cmocka_unit_test(a_provider_is_reached_over_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
