/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * IPv6 extension headers: what says nothing is removed and the client served, what says something
 * is refused by its name, and nothing behind one is judged by a wrong offset or not at all. */
#include "dataplane/net/extension.h"

#include <stdlib.h>

#include "tests/unit/wire.h"
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
// clang-format on

/* Headers as text, each begins with the number of the one behind it. */
#define PAD6 "01 04 0000 0000" /* PadN of 6 bytes */
#define PADS "00 00 00 00 00 00"

enum { AT = 54 };

/* Puts a chain, whose first header is `first`, between IPv6 and what follows; returns the length.
 */
static uint32_t insert(uint8_t *frame, uint32_t length, uint8_t first, const uint8_t *chain,
                       uint32_t bytes)
{
    memmove(frame + AT + bytes, frame + AT, length - AT);
    memcpy(frame + AT, chain, bytes);
    frame_put16(frame + 18, frame_get16(frame + 18) + bytes);
    frame[20] = first;
    return length + bytes;
}

static uint32_t insert_hex(uint8_t *frame, uint32_t length, uint8_t first, const char *hex)
{
    uint8_t chain[512];
    const size_t bytes = frame_hex(chain, hex);
    return insert(frame, length, first, chain, (uint32_t)bytes);
}

/* A SYN of the rig's client, in IPv6. */
static uint32_t syn_of(struct wire *w, uint8_t *frame)
{
    const struct wire_talk t = wire_talk(w);
    const struct wire_segment syn = wire_segment(&t, FROM_CLIENT, TCP_SYN);
    return wire_segment_write(frame, &syn);
}

struct row {
    uint8_t first;
    const char *chain;
    enum verdict verdict;
};

static const struct row rows[] = {
    /* what says nothing */
    {0, "06 00" PAD6, VERDICT_FORWARDED},
    {0, "06 00" PADS, VERDICT_FORWARDED},
    {60, "06 00" PAD6, VERDICT_FORWARDED},
    {60, "06 01 01 0c 000000000000000000000000", VERDICT_FORWARDED},
    {60, "06 00 01 03 000000 00", VERDICT_FORWARDED},
    {0, "3c 00" PAD6 "06 00" PAD6, VERDICT_FORWARDED},
    {60, "3c 00" PAD6 "06 00" PAD6, VERDICT_FORWARDED},
    {0, "3c 00" PAD6 "2b 00" PAD6 "3c 00 04 00 00000000 06 00" PAD6, VERDICT_FORWARDED},
    {43, "06 00 00 00 00000000", VERDICT_FORWARDED},
    {43, "06 02 04 00 00000000 20010db8000000000000000000000099", VERDICT_FORWARDED},
    /* options that ask for something: router alert, jumbo, home address, tunnel limit, unknown */
    {0, "06 00 05 02 0000 0000", VERDICT_IPV6_OPTIONS},
    {0, "06 00 c2 04 00010000", VERDICT_IPV6_OPTIONS},
    {60, "06 02 c9 10 20010db8000000000000000000000001 0000 0000", VERDICT_IPV6_OPTIONS},
    {60, "06 00 04 01 04 00 00 00", VERDICT_IPV6_OPTIONS},
    {60, "06 00 1e 04 00000000", VERDICT_IPV6_OPTIONS},
    {60, "06 00 00 00 00 3e 00 00", VERDICT_IPV6_OPTIONS}, /* behind padding */
    {60, "06 00 01 05 0000 0000", VERDICT_IPV6_CHAIN},     /* padding past the header */
    {60, "06 00 00 00 00 00 00 01", VERDICT_IPV6_CHAIN},   /* without its length */
    /* source routes */
    {43, "06 02 00 01 00000000 20010db8000000000000000000000099", VERDICT_IPV6_ROUTING},
    {43, "06 02 04 ff 00000000 20010db8000000000000000000000099", VERDICT_IPV6_ROUTING},
    {0, "2b 00" PAD6 "06 00 00 01 00000000", VERDICT_IPV6_ROUTING},
    /* fragments */
    {44, "06 00 0001 00000001", VERDICT_FRAGMENT},
    {44, "06 00 0008 00000001", VERDICT_FRAGMENT},
    {44, "06 00 fff8 00000001", VERDICT_FRAGMENT},
    {44, "06 00 0000 00000001", VERDICT_IPV6_ATOMIC},
    {44, "06 00 0006 00000001", VERDICT_IPV6_ATOMIC}, /* reserved bits */
    {0, "2c 00" PAD6 "06 00 0001 00000001", VERDICT_FRAGMENT},
    {60, "2c 00" PAD6 "06 00 0000 00000001", VERDICT_IPV6_ATOMIC},
    /* what hides or covers TCP, and what has no business here */
    {50, "00000001 00000001", VERDICT_IPV6_ESP},
    {0, "32 00" PAD6 "00000001 00000001", VERDICT_IPV6_ESP},
    {51, "06 04 0000 00000001 00000001 000000000000000000000000", VERDICT_IPV6_AH},
    {60, "33 00" PAD6 "06 04 0000 00000001 00000001 000000000000000000000000", VERDICT_IPV6_AH},
    {135, "3b 00 00 00 0000 0000", VERDICT_IPV6_EXTENSION},
    {139, "3b 00 00 00 0000 0000", VERDICT_IPV6_EXTENSION},
    {140, "3b 00 00 00 0000 0000", VERDICT_IPV6_EXTENSION},
    /* order, number, size */
    {60, "06 0f 01 04 00000000", VERDICT_TRUNCATED}, /* reaches into TCP, and past it */
    {43, "06 0f 00 00 00000000", VERDICT_TRUNCATED},
    {60, "00 00" PAD6 "06 00" PAD6, VERDICT_IPV6_CHAIN},
    {0, "00 00" PAD6 "06 00" PAD6, VERDICT_IPV6_CHAIN},
    {60, "3c 00" PAD6 "3c 00" PAD6 "06 00" PAD6, VERDICT_IPV6_CHAIN},
    {43, "2b 00 00 00 00000000 06 00 00 00 00000000", VERDICT_IPV6_CHAIN},
    {0, "3c 00" PAD6 "2b 00" PAD6 "3c 00 04 00 00000000 3c 00" PAD6 "06 00" PAD6,
     VERDICT_IPV6_CHAIN},
    /* what is not TCP in the end */
    {0, "3a 00" PAD6, VERDICT_IPV6_ICMP},
    {60, "11 00" PAD6, VERDICT_UNSUPPORTED},
    {60, "3b 00" PAD6, VERDICT_UNSUPPORTED},
    {60, "fd 00" PAD6, VERDICT_UNSUPPORTED},
    {17, "", VERDICT_UNSUPPORTED},
    {59, "", VERDICT_UNSUPPORTED},
    {4, "", VERDICT_UNSUPPORTED},
    {41, "", VERDICT_UNSUPPORTED},
};

static void pitfall_18_every_chain_has_its_verdict(void **state)
{
    struct wire *w = wire_of(state);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t frame[FRAME_ROOM], plain[FRAME_ROOM], before[FRAME_ROOM];
        const uint32_t bare = syn_of(w, plain);
        memcpy(frame, plain, bare);
        uint32_t length = insert_hex(frame, bare, rows[i].first, rows[i].chain);
        const uint32_t whole = length;
        memcpy(before, frame, length);
        const enum verdict verdict = extension_remove(frame, &length);
        if (verdict != rows[i].verdict)
            fail_msg("%u %s: %s", rows[i].first, rows[i].chain, verdict_name(verdict));
        if (verdict == VERDICT_FORWARDED) {
            assert_int_equal(length, bare);
            assert_memory_equal(frame, plain, bare);
        } else {
            assert_int_equal(length, whole);
            assert_memory_equal(frame, before, whole);
        }
        assert_int_equal(wire_in_bytes(w, OUTSIDE, before, whole),
                         verdict == VERDICT_FORWARDED ? VERDICT_SYN_COOKIE : verdict);
        wire_forget_frames(w);
    }
}

static void a_chain_cut_anywhere_is_truncated(void **state)
{
    struct wire *w = wire_of(state);
    uint8_t frame[FRAME_ROOM];
    const uint32_t bare = syn_of(w, frame);
    const uint32_t length =
        insert_hex(frame, bare, 0, "3c 00" PAD6 "2b 00" PAD6 "06 00 04 00 00000000");
    const uint32_t chain = length - bare;
    for (uint32_t cut = 0; cut < length; cut++) { /* the frame ends early */
        uint8_t *part = malloc(cut + 1);
        uint32_t left = cut;
        memcpy(part, frame, cut);
        assert_int_equal(extension_remove(part, &left), VERDICT_TRUNCATED);
        free(part);
    }
    for (uint32_t cut = 0; cut < chain; cut++) { /* the packet does */
        uint32_t left = length;
        frame_put16(frame + 18, cut);
        assert_int_equal(extension_remove(frame, &left), VERDICT_TRUNCATED);
    }
}

static void up_to_128_bytes_are_walked(void **state)
{
    struct wire *w = wire_of(state);
    for (uint8_t units = 0; units < 60; units++) {
        uint8_t chain[512] = {6, units}, frame[FRAME_ROOM];
        const uint32_t bytes = (units + 1U) * 8;
        uint32_t length = insert(frame, syn_of(w, frame), 60, chain, bytes);
        assert_int_equal(extension_remove(frame, &length),
                         bytes <= EXTENSION_BYTES ? VERDICT_FORWARDED : VERDICT_IPV6_CHAIN);
    }
}

/* A whole connection of a client whose every packet has padding in front. */
static void pitfall_18_a_client_that_pads_is_served_and_its_backend_sees_none_of_it(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    uint8_t frame[FRAME_ROOM];
    struct wire_segment s = wire_segment(&t, FROM_CLIENT, TCP_SYN);
    uint32_t length = insert_hex(frame, wire_segment_write(frame, &s), 0, "06 00" PAD6);
    assert_int_equal(wire_in_bytes(w, OUTSIDE, frame, length), VERDICT_SYN_COOKIE);
    const struct wire_segment answer = wire_out(w, OUTSIDE);
    t.client.next++;
    t.cookie = answer.seq;
    t.client.expects = answer.seq + 1;

    s = wire_data(&t, FROM_CLIENT, TCP_ACK | TCP_PSH, wire_request);
    length = insert_hex(frame, wire_segment_write(frame, &s), 60,
                        "3c 00" PAD6 "06 01 01 0c 000000000000000000000000");
    assert_int_equal(wire_in_bytes(w, OUTSIDE, frame, length), VERDICT_OPENED);
    const struct wire_segment syn = wire_out(w, INSIDE); /* which is checked to be plain */
    assert_int_equal(syn.flags, TCP_SYN);
    assert_int_equal(syn.seq, t.client.isn);
    assert_int_equal(w->shard->verdicts[VERDICT_IPV6_PADDING], 2);
}

static void pitfall_18_what_stands_behind_padding_is_checked_like_anything(void **state)
{
    struct wire *w = wire_of(state);
    struct wire_talk t = wire_talk(w);
    const struct wire_segment syn = wire_segment(&t, FROM_CLIENT, TCP_SYN);
    uint8_t frame[FRAME_ROOM];
    uint32_t length = insert_hex(frame, wire_segment_write(frame, &syn), 0, "06 00" PAD6);
    frame[length - 1] ^= 1;
    assert_int_equal(wire_in_bytes(w, OUTSIDE, frame, length), VERDICT_TCP_CHECKSUM);
    frame[length - 1] ^= 1;

    struct frame in = {.bytes = frame, .room = FRAME_ROOM, .length = length, .side = OUTSIDE};
    frame[length - 1] ^= 1; /* nor does a port's word count, which may not have looked behind it */
    assert_int_equal(shard_packet(w->shard, &in, PACKET_IP_CHECKED | PACKET_TCP_CHECKED),
                     VERDICT_TCP_CHECKSUM);

    struct wire_segment forged = syn;
    forged.source.bytes[0] = 0xff;
    length = insert_hex(frame, wire_segment_write(frame, &forged), 0, "06 00" PAD6);
    assert_int_equal(wire_in_bytes(w, OUTSIDE, frame, length), VERDICT_BOGON);
    forged = syn;
    forged.flags = TCP_SYN | TCP_FIN;
    length = insert_hex(frame, wire_segment_write(frame, &forged), 0, "06 00" PAD6);
    assert_int_equal(wire_in_bytes(w, OUTSIDE, frame, length), VERDICT_BAD_TCP);
    wire_quiet(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pitfall_18_every_chain_has_its_verdict, wire_setup_v6,
                                        wire_teardown),
        cmocka_unit_test_setup_teardown(a_chain_cut_anywhere_is_truncated, wire_setup_v6,
                                        wire_teardown),
        cmocka_unit_test_setup_teardown(up_to_128_bytes_are_walked, wire_setup_v6, wire_teardown),
        cmocka_unit_test_setup_teardown(
            pitfall_18_a_client_that_pads_is_served_and_its_backend_sees_none_of_it, wire_setup_v6,
            wire_teardown),
        cmocka_unit_test_setup_teardown(
            pitfall_18_what_stands_behind_padding_is_checked_like_anything, wire_setup_v6,
            wire_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
