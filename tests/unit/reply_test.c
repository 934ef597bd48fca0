/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Answers as bytes: the reservation that is repeated for ever, problems, and heads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "control/api/reply.h"

static const char DATE[] = "Fri, 27 Nov 2026 10:00:00 GMT";
static const uint8_t ID[16] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                               0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};

static const char *head_of(const struct reply *reply, enum reply_connection connection)
{
    static char head[REPLY_HEAD_MAX + 1];
    head[reply_head(reply, DATE, connection, head)] = '\0';
    return head;
}

static struct grant grant(void)
{
    return (struct grant){.sale = 7,
                          .quantity = 2,
                          .unit_price = 4900,
                          .currency = "EUR",
                          .render = 1,
                          .granted_at = INT64_C(849088800123456),
                          .expires_at = INT64_C(849089400123456)};
}

static void a_granted_reservation_reads_the_same_for_ever(void **state)
{
    struct reply reply;
    struct grant g = grant();
    (void)state;
    reply_granted(&reply, ID, &g);
    static const char body[] =
        "{\"id\":\"00112233-4455-6677-8899-aabbccddeeff\",\"sale\":7,\"quantity\":2,"
        "\"unit_price\":4900,\"currency\":\"EUR\",\"granted_at\":\"2026-11-27T10:00:00.123456Z\","
        "\"expires_at\":\"2026-11-27T10:10:00.123456Z\"}";
    assert_int_equal(reply.body_length, sizeof body - 1);
    assert_memory_equal(reply.body, body, sizeof body - 1);
    assert_string_equal(
        head_of(&reply, REPLY_KEEP),
        "HTTP/1.1 201 Created\r\nDate: Fri, 27 Nov 2026 10:00:00 GMT\r\n"
        "Content-Type: application/json\r\nContent-Length: 188\r\nCache-Control: no-store\r\n"
        "Location: /v1/reservations/00112233-4455-6677-8899-aabbccddeeff\r\n\r\n");
}

static void a_rendering_of_the_future_is_not_guessed(void **state)
{
    struct reply reply;
    struct grant g = grant();
    (void)state;
    g.render = 2;
    reply_granted(&reply, ID, &g);
    assert_int_equal(reply.status, 500);
}

static void a_reservation_that_is_read_tells_its_state(void **state)
{
    struct reply reply;
    struct grant g = grant();
    (void)state;
    reply_reservation(&reply, ID, &g, "cancelled");
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.body, ",\"state\":\"cancelled\"}"));
}

static void every_problem_is_json_with_its_type_and_status(void **state)
{
    (void)state;
    for (int p = 0; p < PROBLEMS; p++) {
        struct reply reply;
        reply_problem(&reply, (enum problem)p, p % 2 ? "A detail." : NULL, REPLY_NO_RETRY);
        json_t *root = json_loadb(reply.body, reply.body_length, 0, NULL);
        assert_non_null(root);
        const char *type = json_string_value(json_object_get(root, "type"));
        assert_int_equal(strncmp(type, PROBLEM_TYPE_PREFIX, strlen(PROBLEM_TYPE_PREFIX)), 0);
        assert_int_equal(json_integer_value(json_object_get(root, "status")), reply.status);
        assert_true(reply.status >= 400 && reply.status < 600);
        assert_non_null(json_object_get(root, "title"));
        assert_true(p % 2 == !!json_object_get(root, "detail"));
        assert_null(strstr(head_of(&reply, REPLY_KEEP), "Unknown"));
        json_decref(root);
    }
}

static void problem_names_are_unique(void **state)
{
    (void)state;
    for (int p = 0; p < PROBLEMS; p++)
        for (int q = 0; q < p; q++)
            assert_string_not_equal(PROBLEM_ROWS[p].name, PROBLEM_ROWS[q].name);
}

static void retry_after_is_whole_seconds_or_absent(void **state)
{
    struct reply reply;
    (void)state;
    reply_problem(&reply, PROBLEM_SOLD_OUT, NULL, 3);
    assert_non_null(strstr(head_of(&reply, REPLY_KEEP), "\r\nRetry-After: 3\r\n"));
    reply_problem(&reply, PROBLEM_SOLD_OUT, NULL, REPLY_NO_RETRY);
    assert_null(strstr(head_of(&reply, REPLY_KEEP), "Retry-After"));
}

static void not_open_says_when(void **state)
{
    struct reply reply;
    (void)state;
    reply_not_open(&reply, INT64_C(849088800000000), 60);
    assert_non_null(strstr(reply.body, "\"opens_at\":\"2026-11-27T10:00:00.000000Z\""));
    assert_int_equal(reply.status, 403);
}

static void an_answer_without_a_body_has_no_length(void **state)
{
    struct reply reply;
    (void)state;
    reply_begin(&reply, 204, NULL, "no-store", NULL, 0);
    assert_string_equal(head_of(&reply, REPLY_CLOSE),
                        "HTTP/1.1 204 No Content\r\nDate: Fri, 27 Nov 2026 10:00:00 GMT\r\n"
                        "Cache-Control: no-store\r\nConnection: close\r\n\r\n");
    assert_non_null(strstr(head_of(&reply, REPLY_KEEP_1_0), "Connection: keep-alive\r\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_granted_reservation_reads_the_same_for_ever),
        cmocka_unit_test(a_rendering_of_the_future_is_not_guessed),
        cmocka_unit_test(a_reservation_that_is_read_tells_its_state),
        cmocka_unit_test(every_problem_is_json_with_its_type_and_status),
        cmocka_unit_test(problem_names_are_unique),
        cmocka_unit_test(retry_after_is_whole_seconds_or_absent),
        cmocka_unit_test(not_open_says_when),
        cmocka_unit_test(an_answer_without_a_body_has_no_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
