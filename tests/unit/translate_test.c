/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Translation against a plain model: what a segment should become is written down anew, field by
 * field with fresh checksums, and must equal the rewritten frame byte for byte. */
#include "dataplane/tcp/translate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/random.h"
#include "tests/unit/translate_model.h"

enum { ROUNDS = 100000, PAYLOAD = 300 };

static void set_options(struct frame_tcp *t, const char *hex)
{
    t->options_length = frame_hex(t->options, hex);
}

/* Translates a copy of the frame that ends where its allocation ends. */
static void translate(uint8_t *frame, size_t length, const struct splice *splice, bool v6,
                      enum direction from)
{
    struct packet p;
    uint8_t *copy = malloc(length);
    assert_non_null(copy);
    memcpy(copy, frame, length);
    assert_int_equal(packet_parse(copy, (uint32_t)length, 0, &p), VERDICT_FORWARDED);
    const struct endpoint service = endpoint_of(service_hex, v6, service_port);
    const struct endpoint backend = endpoint_of(backend_hex, v6, backend_port);
    if (from == FROM_CLIENT)
        translate_to_backend(copy, &p, splice, &backend);
    else
        translate_to_client(copy, &p, splice, &service);
    memcpy(frame, copy, length);
    free(copy);
}

static void becomes_what_the_model_says(const struct frame_tcp *t, const struct splice *s,
                                        enum direction from)
{
    uint8_t frame[FRAME_ROOM], expected[FRAME_ROOM];
    const struct frame_tcp after = model(*t, s, from);
    const size_t length = frame_write(frame, t);
    assert_int_equal(frame_write(expected, &after), length);
    translate(frame, length, s, t->v6, from);
    assert_true(frame_checksums_good(frame));
    assert_memory_equal(frame, expected, length);
}

static size_t one_option(uint8_t *at, size_t room, struct random *r)
{
    static const uint8_t others[] = {2, 3, 4, 19, 28, 30, 34, 253, 254};
    static const uint8_t fixed[256] = {[2] = 4, [3] = 3, [4] = 2};
    size_t length = 1;
    switch (random_below(r, 6)) {
    case 0: length = 10, at[0] = OPTION_TIMESTAMPS; break;
    case 1: length = 2 + 8 * (size_t)(1 + random_below(r, 4)), at[0] = OPTION_SACK; break;
    case 2:
        at[0] = others[random_below(r, sizeof others)];
        length = fixed[at[0]] ? fixed[at[0]] : 2 + (size_t)random_below(r, 12);
        break;
    case 3:
        if (random_below(r, 8) == 0) { /* end: what follows is not an option */
            random_bytes(r, at, room);
            at[0] = OPTION_END;
            return room;
        }
        break;
    default: break;
    }
    if (length == 1 || length > room) {
        at[0] = OPTION_NOP;
        return 1;
    }
    at[1] = (uint8_t)length;
    random_bytes(r, at + 2, length - 2);
    return length;
}

static void random_options(struct frame_tcp *t, struct random *r)
{
    t->options_length = (size_t)random_below(r, 11) * 4;
    for (size_t at = 0; at < t->options_length;)
        at += one_option(t->options + at, t->options_length - at, r);
}

static void random_segment_becomes_what_the_model_says(struct random *r)
{
    static uint8_t payload[PAYLOAD];
    static const uint8_t flags[] = {TCP_ACK,
                                    TCP_ACK | TCP_PSH,
                                    TCP_ACK | TCP_FIN,
                                    TCP_RST,
                                    TCP_RST | TCP_ACK,
                                    TCP_ACK | TCP_URG,
                                    TCP_ACK | TCP_URG | TCP_PSH | 0xc0};
    const bool v6 = random_below(r, 2);
    const enum direction from = random_below(r, 2) ? FROM_CLIENT : FROM_BACKEND;
    struct frame_tcp t = arriving(v6, from);
    t.seq = random_32(r);
    t.ack = random_32(r);
    t.window = (uint16_t)random_32(r);
    t.urgent = (uint16_t)(random_below(r, 2) ? random_32(r) : 0);
    t.flags = flags[random_below(r, sizeof flags)];
    t.reserved = (uint8_t)random_below(r, 16);
    t.ttl = (uint8_t)(1 + random_below(r, 255));
    random_options(&t, r);
    random_bytes(r, payload, sizeof payload);
    t.payload = payload;
    t.length = random_below(r, PAYLOAD + 1);

    struct splice s = splice_of(v6);
    s.seq_delta = random_32(r);
    s.ts_delta = random_below(r, 4) ? random_32(r) : 0;
    s.scale_of_client = (uint8_t)random_below(r, 15);
    s.scale_told_backend = (uint8_t)random_below(r, 15);
    s.scale_of_backend = (uint8_t)random_below(r, 15);
    s.scale_told_client = (uint8_t)random_below(r, 15);
    becomes_what_the_model_says(&t, &s, from);
}

static void any_segment_becomes_what_a_plain_model_says(void **state)
{
    (void)state;
    struct random random = {23};
    for (int round = 0; round < ROUNDS; round++)
        random_segment_becomes_what_the_model_says(&random);
}

static void pitfall_05_window_scales_differ(void **state)
{
    (void)state;
    static const struct {
        uint16_t window;
        uint8_t from, to;
        uint16_t expected;
    } rows[] = {
        {502, 7, 7, 502},  {502, 7, 9, 125},      {502, 9, 7, 2008},      {65535, 0, 0, 65535},
        {65535, 0, 14, 3}, {65535, 14, 0, 65535}, {65535, 14, 14, 65535}, {1, 0, 14, 1},
        {1, 7, 9, 1},      {3, 0, 2, 1},          {0, 14, 0, 0},          {0, 0, 14, 0},
        {8192, 0, 7, 64},  {16384, 2, 0, 65535},  {16383, 2, 0, 65532},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(translate_window(rows[i].window, rows[i].from, rows[i].to),
                         rows[i].expected);
}

static void pitfall_05_a_window_that_is_not_zero_never_becomes_zero_nor_promises_more(void **state)
{
    (void)state;
    for (unsigned from = 0; from <= 14; from++)
        for (unsigned to = 0; to <= 14; to++)
            for (uint32_t window = 0; window < 65536; window++) {
                const uint32_t got = translate_window((uint16_t)window, (uint8_t)from, (uint8_t)to);
                assert_true(got == model_window(window, from, to));
                assert_true((got == 0) == (window == 0));
                assert_true((uint64_t)got << to <= (uint64_t)window << from || got == 1);
            }
}

static void pitfall_06_timestamps_are_translated_both_ways(void **state)
{
    (void)state;
    for (int v6 = 0; v6 < 2; v6++) {
        struct splice s = splice_of(v6);
        s.ts_delta = 1000;
        uint8_t frame[FRAME_ROOM];
        struct frame_tcp t = arriving(v6, FROM_CLIENT);
        set_options(&t, "0101080a 00000005 00000064"); /* the client's 5, echoing our 100 */
        size_t length = frame_write(frame, &t);
        translate(frame, length, &s, v6, FROM_CLIENT);
        const uint8_t *options = frame + (v6 ? 54 : 34) + 20;
        assert_int_equal(frame_get32(options + 4), 5);
        assert_int_equal(frame_get32(options + 8), 100U - 1000U); /* wraps */

        t = arriving(v6, FROM_BACKEND);
        set_options(&t,
                    "0101080a fffffc7c 00000005"); /* the backend's -900, echoing the client's 5 */
        length = frame_write(frame, &t);
        translate(frame, length, &s, v6, FROM_BACKEND);
        assert_int_equal(frame_get32(options + 4), 100);
        assert_int_equal(frame_get32(options + 8), 5);
    }
}

static void every_sack_edge_is_translated(void **state)
{
    (void)state;
    struct splice s = splice_of(false);
    s.seq_delta = 0x1000;
    uint8_t frame[FRAME_ROOM];
    struct frame_tcp t = arriving(false, FROM_CLIENT);
    t.ack = 0x1800;
    set_options(
        &t,
        "0101 0522 00001900 00001a00 00001b00 00001c00 00001d00 00001e00 00000100 00000200 0101");
    const size_t length = frame_write(frame, &t);
    translate(frame, length, &s, false, FROM_CLIENT);
    uint8_t expected[40];
    frame_hex(
        expected,
        "0101 0522 00000900 00000a00 00000b00 00000c00 00000d00 00000e00 fffff100 fffff200 0101");
    assert_memory_equal(frame + 54, expected, 38);
    assert_int_equal(frame_get32(frame + 34 + 8), 0x800);
}

static void a_backends_sack_is_about_the_clients_own_numbers(void **state)
{
    (void)state;
    struct splice s = splice_of(false);
    s.seq_delta = 0x1000;
    struct frame_tcp t = arriving(false, FROM_BACKEND);
    set_options(&t, "0101 050a 00001900 00001a00");
    uint8_t frame[FRAME_ROOM];
    const size_t length = frame_write(frame, &t);
    translate(frame, length, &s, false, FROM_BACKEND);
    assert_memory_equal(frame + 54, t.options, 12);
}

static void pitfall_01_options_that_were_not_agreed_become_nops(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "1e0c0081 0102030405060708",                  /* MPTCP */
        "220a0102 030405060708 0101",                 /* Fast Open cookie */
        "020405b4 01 030307 0402 0101",               /* what belongs into a SYN */
        "1312 00112233445566778899aabbccddeeff 0000", /* MD5 signature */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int direction = 0; direction < 2; direction++) {
            struct frame_tcp t = arriving(false, direction ? FROM_BACKEND : FROM_CLIENT);
            const struct splice s = splice_of(false);
            uint8_t frame[FRAME_ROOM], nops[40];
            set_options(&t, rows[i]);
            memset(nops, OPTION_NOP, sizeof nops);
            const size_t length = frame_write(frame, &t);
            translate(frame, length, &s, false, direction ? FROM_BACKEND : FROM_CLIENT);
            assert_memory_equal(frame + 54, nops, t.options_length);
            assert_true(frame_checksums_good(frame));
        }
    }
}

static void the_urgent_pointer_goes_in_both_directions(void **state)
{
    (void)state;
    for (int direction = 0; direction < 2; direction++) {
        struct frame_tcp t = arriving(true, direction ? FROM_BACKEND : FROM_CLIENT);
        const struct splice s = splice_of(true);
        uint8_t frame[FRAME_ROOM];
        t.flags = TCP_ACK | TCP_PSH | TCP_URG;
        t.urgent = 3;
        t.payload = (const uint8_t *)"abc";
        t.length = 3;
        const size_t length = frame_write(frame, &t);
        translate(frame, length, &s, true, direction ? FROM_BACKEND : FROM_CLIENT);
        assert_int_equal(frame[54 + 13], TCP_ACK | TCP_PSH);
        assert_int_equal(frame_get16(frame + 54 + 18), 0);
        assert_memory_equal(frame + 74, "abc", 3);
        assert_true(frame_checksums_good(frame));
    }
}

static void a_reset_without_ack_keeps_its_zero_acknowledgement(void **state)
{
    (void)state;
    struct splice s = splice_of(false);
    s.seq_delta = 0x1234;
    struct frame_tcp t = arriving(false, FROM_CLIENT);
    t.flags = TCP_RST;
    uint8_t frame[FRAME_ROOM];
    const size_t length = frame_write(frame, &t);
    translate(frame, length, &s, false, FROM_CLIENT);
    assert_int_equal(frame_get32(frame + 34 + 8), 0);
}

static void ethernet_padding_and_link_layer_are_left_alone(void **state)
{
    (void)state;
    struct frame_tcp t = arriving(false, FROM_CLIENT);
    const struct splice s = splice_of(false);
    uint8_t frame[FRAME_ROOM];
    frame_hex(t.from, "020000000002");
    frame_hex(t.to, "020000000001");
    const size_t length = frame_write(frame, &t);
    memset(frame + length, 0x5a, 6);
    translate(frame, length + 6, &s, false, FROM_CLIENT);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(frame[length + i], 0x5a);
    assert_memory_equal(frame, t.to, 6);
    assert_memory_equal(frame + 6, t.from, 6);
}

static void a_service_and_a_backend_at_one_address_need_no_correction(void **state)
{
    (void)state;
    const struct endpoint same = endpoint_of(service_hex, true, service_port);
    struct splice s = {0};
    splice_addresses(&s, &same, &same);
    assert_int_equal(s.to_backend_sum % 0xffff, 0);
    assert_int_equal(s.to_client_sum % 0xffff, 0);
}

static void a_segment_that_goes_there_and_back_is_the_same(void **state)
{
    (void)state;
    struct splice s = splice_of(false);
    s.seq_delta = 0xdeadbeef;
    s.ts_delta = 0x12345678;
    /* The client acknowledges X and echoes T; the backend sends X and T: both are the client's
     * numbers. */
    struct frame_tcp from_backend = arriving(false, FROM_BACKEND),
                     from_client = arriving(false, FROM_CLIENT);
    from_backend.seq = 0xfffffff0;
    set_options(&from_backend, "0101080a 89abcdef 00000000");
    uint8_t frame[FRAME_ROOM];
    size_t length = frame_write(frame, &from_backend);
    translate(frame, length, &s, false, FROM_BACKEND);
    from_client.ack = frame_get32(frame + 38);
    set_options(&from_client, "0101080a 00000000 00000000");
    frame_put32(from_client.options + 8, frame_get32(frame + 58));
    length = frame_write(frame, &from_client);
    translate(frame, length, &s, false, FROM_CLIENT);
    assert_int_equal(frame_get32(frame + 42), 0xfffffff0);
    assert_int_equal(frame_get32(frame + 62), 0x89abcdef);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_segment_becomes_what_a_plain_model_says),
        cmocka_unit_test(pitfall_05_window_scales_differ),
        cmocka_unit_test(pitfall_05_a_window_that_is_not_zero_never_becomes_zero_nor_promises_more),
        cmocka_unit_test(pitfall_06_timestamps_are_translated_both_ways),
        cmocka_unit_test(every_sack_edge_is_translated),
        cmocka_unit_test(a_backends_sack_is_about_the_clients_own_numbers),
        cmocka_unit_test(pitfall_01_options_that_were_not_agreed_become_nops),
        cmocka_unit_test(the_urgent_pointer_goes_in_both_directions),
        cmocka_unit_test(a_reset_without_ack_keeps_its_zero_acknowledgement),
        cmocka_unit_test(ethernet_padding_and_link_layer_are_left_alone),
        cmocka_unit_test(a_service_and_a_backend_at_one_address_need_no_correction),
        cmocka_unit_test(a_segment_that_goes_there_and_back_is_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
