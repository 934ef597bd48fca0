/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * VLAN tags on buffers: made by hand, so no DPDK has to run. */
#include "dataplane/net/vlan_mbuf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/frames.h"

enum { LENGTH = 60 };

struct buffer {
    struct rte_mbuf mbuf;
    uint8_t bytes[256];
};

static uint8_t *fill(struct buffer *b, uint16_t headroom)
{
    *b = (struct buffer){.mbuf = {.buf_addr = b->bytes,
                                  .buf_len = sizeof b->bytes,
                                  .data_off = headroom,
                                  .data_len = LENGTH,
                                  .pkt_len = LENGTH,
                                  .nb_segs = 1}};
    uint8_t *frame = b->bytes + headroom;
    for (int i = 0; i < LENGTH; i++)
        frame[i] = (uint8_t)i;
    frame_put16(frame + 12, 0x0800);
    return frame;
}

static struct vlan vlan_of(const char *text)
{
    struct vlan vlan;
    assert_int_equal(vlan_parse(text, &vlan), 0);
    return vlan;
}

static void an_untagged_side_leaves_buffers_alone(void **state)
{
    (void)state;
    const struct vlan none = {0};
    struct buffer b;
    fill(&b, 128);
    assert_int_equal(vlan_take_mbuf(&none, &b.mbuf), VERDICT_FORWARDED);
    assert_true(vlan_put_mbuf(&none, &b.mbuf));
    assert_int_equal(b.mbuf.data_off, 128);
    assert_int_equal(b.mbuf.data_len, LENGTH);
}

static void tags_go_on_and_off_within_the_headroom(void **state)
{
    (void)state;
    const struct vlan vlan = vlan_of("100.7");
    struct buffer b, plain;
    fill(&b, 128);
    const uint8_t *expected = fill(&plain, 128);
    assert_true(vlan_put_mbuf(&vlan, &b.mbuf));
    assert_int_equal(b.mbuf.data_off, 120);
    assert_int_equal(b.mbuf.data_len, LENGTH + 8);
    assert_int_equal(b.mbuf.pkt_len, LENGTH + 8);
    assert_int_equal(frame_get16(b.bytes + 120 + 12), 0x88a8);
    assert_int_equal(vlan_take_mbuf(&vlan, &b.mbuf), VERDICT_FORWARDED);
    assert_int_equal(b.mbuf.data_off, 128);
    assert_int_equal(b.mbuf.data_len, LENGTH);
    assert_memory_equal(rte_pktmbuf_mtod(&b.mbuf, uint8_t *), expected, LENGTH);
}

static void a_tag_that_the_driver_took_off_is_judged_on_either_kind_of_side(void **state)
{
    (void)state;
    const struct vlan none = {0}, seven = vlan_of("7"), eight = vlan_of("8");
    struct buffer b;
    fill(&b, 128);
    b.mbuf.ol_flags = RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
    b.mbuf.vlan_tci = 0x6007;
    assert_int_equal(vlan_take_mbuf(&none, &b.mbuf), VERDICT_VLAN);
    assert_int_equal(vlan_take_mbuf(&eight, &b.mbuf), VERDICT_VLAN_OTHER);
    assert_int_equal(vlan_take_mbuf(&seven, &b.mbuf), VERDICT_FORWARDED);
    assert_int_equal(b.mbuf.data_len, LENGTH);
    b.mbuf.vlan_tci = 0x6000;
    assert_int_equal(vlan_take_mbuf(&none, &b.mbuf), VERDICT_FORWARDED);
}

static void a_buffer_without_room_in_front_is_not_sent(void **state)
{
    (void)state;
    const struct vlan vlan = vlan_of("7");
    struct buffer b;
    fill(&b, 3);
    assert_false(vlan_put_mbuf(&vlan, &b.mbuf));
    assert_int_equal(b.mbuf.data_off, 3);
    assert_int_equal(b.mbuf.data_len, LENGTH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_untagged_side_leaves_buffers_alone),
        cmocka_unit_test(tags_go_on_and_off_within_the_headroom),
        cmocka_unit_test(a_tag_that_the_driver_took_off_is_judged_on_either_kind_of_side),
        cmocka_unit_test(a_buffer_without_room_in_front_is_not_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
