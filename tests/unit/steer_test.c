/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Whose a frame is: the hash is the one that ports compute, both directions of a client and the
 * errors about it agree, and no frame, however cut, is read behind its end. */
#include "dataplane/net/steer.h"

#include <rte_thash.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/frames.h"
#include "tests/unit/random.h"

enum { WORKERS = 7, ICMP4 = 1, ICMP6 = 58, QUOTED = 8 };

static struct steer steer;
static uint8_t key[STEER_KEY];
static struct addr own[2];

static int setup(void **state)
{
    (void)state;
    struct random random = {17};
    random_bytes(&random, key, sizeof key);
    addr_parse("198.18.128.1", &own[0]);
    addr_parse("2001:db8:0:1::1", &own[1]);
    steer_init(&steer, key, WORKERS, own, 2);
    return 0;
}

static struct addr addr_of(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse(text, &a), 0);
    return a;
}

static struct addr random_client(struct random *random)
{
    struct addr a = addr_from_v4(random_32(random));
    if (random_below(random, 2))
        random_bytes(random, a.bytes, 16);
    return a;
}

/* A frame from one address to another, with `bytes` behind the IP header. */
static uint32_t write_ip(uint8_t *out, const struct addr *from, const struct addr *to,
                         uint8_t protocol, const uint8_t *bytes, uint32_t length)
{
    const bool v4 = addr_is_v4(from);
    uint8_t *ip = out + 14;
    memset(out, 0, 54);
    frame_put16(out + 12, v4 ? 0x0800 : 0x86dd);
    ip[0] = v4 ? 0x45 : 0x60;
    ip[v4 ? 9 : 6] = protocol;
    frame_put16(ip + (v4 ? 2 : 4), length + (v4 ? 20 : 0));
    memcpy(ip + (v4 ? 12 : 8), from->bytes + (v4 ? 12 : 0), v4 ? 4 : 16);
    memcpy(ip + (v4 ? 16 : 24), to->bytes + (v4 ? 12 : 0), v4 ? 4 : 16);
    uint8_t *at = ip + (v4 ? 20 : 40);
    memcpy(at, bytes, length);
    return (uint32_t)(at - out) + length;
}

/* An ICMP error that quotes a packet from `from` to `to`. */
static uint32_t write_error(uint8_t *out, const struct addr *router, const struct addr *receiver,
                            const struct addr *from, const struct addr *to, uint8_t type)
{
    static const uint8_t tcp[8] = {0, 80, 200};
    uint8_t quoted[FRAME_ROOM], icmp[FRAME_ROOM] = {type};
    const uint32_t length = write_ip(quoted, from, to, 6, tcp, sizeof tcp) - 14;
    memcpy(icmp + QUOTED, quoted + 14, length);
    return write_ip(out, router, receiver, addr_is_v4(router) ? ICMP4 : ICMP6, icmp,
                    QUOTED + length);
}

static void the_hash_is_the_one_that_ports_compute(void **state)
{
    (void)state;
    struct random random = {1};
    static struct steer other;
    uint8_t one[STEER_KEY];
    for (int k = 0; k < 50; k++) {
        random_bytes(&random, one, sizeof one);
        steer_init(&other, one, 1, NULL, 0);
        for (int i = 0; i < 2000; i++) {
            uint8_t bytes[8];
            random_bytes(&random, bytes, sizeof bytes);
            uint32_t words[2] = {frame_get32(bytes), frame_get32(bytes + 4)};
            assert_int_equal(steer_hash4(&other, bytes), rte_softrss(words, 1, one));
            words[1] &= 0xffff0000; /* what is not set adds nothing: six bytes */
            assert_int_equal(steer_hash6(&other, bytes), rte_softrss(words, 2, one));
        }
    }
}

static void both_directions_of_a_client_have_one_owner(void **state)
{
    (void)state;
    static const uint8_t tcp[20];
    struct random random = {2};
    uint8_t out[FRAME_ROOM], in[FRAME_ROOM];
    for (int i = 0; i < 20000; i++) {
        const struct addr client = random_client(&random);
        const bool v4 = addr_is_v4(&client);
        const struct addr service = addr_of(v4 ? "198.18.0.80" : "2001:db8::80");
        const struct addr backend = addr_of(v4 ? "198.18.128.2" : "2001:db8:0:1::2");
        const uint32_t length = write_ip(out, &client, &service, 6, tcp, sizeof tcp);
        write_ip(in, &backend, &client, 6, tcp, sizeof tcp);
        const uint32_t owner = steer_frame(&steer, OUTSIDE, out, length);
        assert_true(owner < WORKERS);
        assert_int_equal(owner, steer_frame(&steer, INSIDE, in, length));
        assert_int_equal(owner, steer_client(&steer, OUTSIDE, &client));
        assert_int_equal(owner, steer_client(&steer, INSIDE, &client));
    }
}

static void the_clients_of_an_ipv6_48_have_one_owner(void **state)
{
    (void)state;
    struct random random = {3};
    for (int i = 0; i < 1000; i++) {
        struct addr client, other;
        random_bytes(&random, client.bytes, 16);
        other = client;
        random_bytes(&random, other.bytes + 6, 10);
        assert_int_equal(steer_client(&steer, OUTSIDE, &client),
                         steer_client(&steer, OUTSIDE, &other));
    }
}

static void clients_are_spread_over_all_workers(void **state)
{
    (void)state;
    for (int v4 = 0; v4 < 2; v4++) {
        uint32_t counts[WORKERS] = {0};
        struct addr client = addr_of(v4 ? "10.0.0.0" : "2001:db8:1000::");
        for (uint32_t i = 0; i < 70000; i++) {
            frame_put32(client.bytes + (v4 ? 12 : 2), 0x0a000000 + i);
            counts[steer_client(&steer, OUTSIDE, &client)]++;
        }
        for (int i = 0; i < WORKERS; i++)
            assert_in_range(counts[i], 9000, 11000);
    }
}

static void another_key_spreads_them_in_another_way(void **state)
{
    (void)state;
    static struct steer other;
    struct random random = {4};
    uint8_t second[STEER_KEY];
    uint32_t same = 0;
    random_bytes(&random, second, sizeof second);
    steer_init(&other, second, WORKERS, NULL, 0);
    for (int i = 0; i < 7000; i++) {
        const struct addr client = random_client(&random);
        same += steer_client(&steer, OUTSIDE, &client) == steer_client(&other, OUTSIDE, &client);
    }
    assert_in_range(same, 800, 1200);
}

static void an_error_belongs_to_the_client_that_it_quotes(void **state)
{
    (void)state;
    struct random random = {5};
    uint8_t frame[FRAME_ROOM];
    for (int i = 0; i < 20000; i++) {
        struct addr client = random_client(&random);
        const bool v4 = addr_is_v4(&client);
        const struct addr service = addr_of(v4 ? "198.18.0.80" : "2001:db8::80");
        const struct addr backend = addr_of(v4 ? "198.18.128.2" : "2001:db8:0:1::2");
        const struct addr router = addr_of(v4 ? "192.0.2.7" : "2001:db8:7::7");
        const uint32_t owner = steer_client(&steer, OUTSIDE, &client);
        const uint8_t type = v4 ? 3 : (uint8_t)(1 + random_below(&random, 4));
        uint32_t length = write_error(frame, &router, &service, &service, &client, type);
        assert_int_equal(steer_frame(&steer, OUTSIDE, frame, length), owner);
        length = write_error(frame, &router, &client, &client, &backend, type);
        assert_int_equal(steer_frame(&steer, INSIDE, frame, length), owner);
    }
}

static void an_error_behind_extension_headers_is_found(void **state)
{
    (void)state;
    const struct addr client = addr_of("2001:db8:1000::9"), service = addr_of("2001:db8::80");
    const struct addr router = addr_of("2001:db8:7::7");
    uint8_t plain[FRAME_ROOM], frame[FRAME_ROOM];
    const uint32_t length = write_error(plain, &router, &service, &service, &client, 2);
    for (uint32_t extensions = 1; extensions <= 9; extensions++) {
        memcpy(frame, plain, 54);
        memset(frame + 54, 0, (size_t)extensions * 8);
        memcpy(frame + 54 + extensions * 8, plain + 54, length - 54);
        frame[20] = 0;
        for (uint32_t i = 0; i < extensions; i++)
            frame[54 + i * 8] = i + 1 == extensions ? ICMP6 : i % 2 ? 43 : 60;
        assert_int_equal(steer_frame(&steer, OUTSIDE, frame, length + extensions * 8),
                         steer_client(&steer, OUTSIDE, extensions <= 8 ? &client : &router));
    }
}

static void what_is_about_the_gateway_itself_belongs_to_worker_0(void **state)
{
    (void)state;
    static const uint8_t tcp[20];
    uint8_t frame[FRAME_ROOM] = {0};
    struct random random = {6};
    frame_put16(frame + 12, 0x0806);
    assert_int_equal(steer_frame(&steer, OUTSIDE, frame, 60), 0);
    assert_int_equal(steer_frame(&steer, INSIDE, frame, 60), 0);
    for (int i = 0; i < 100; i++) {
        const struct addr host = random_client(&random);
        uint32_t length = write_ip(frame, &host, &own[!addr_is_v4(&host)], 6, tcp, sizeof tcp);
        assert_int_equal(steer_frame(&steer, INSIDE, frame, length), 0);
        if (addr_is_v4(&host))
            continue;
        for (uint8_t type = 133; type <= 137; type++) {
            length = write_ip(frame, &host, &host, ICMP6, &type, 1);
            assert_int_equal(steer_frame(&steer, OUTSIDE, frame, length + 23), 0);
        }
    }
}

/* An own address is told from clients that share its slot of the table. */
static void only_own_addresses_are_own(void **state)
{
    (void)state;
    uint32_t others = 0;
    struct addr client = addr_of("198.18.128.1");
    for (uint32_t i = 0; i < 100000; i++) {
        frame_put32(client.bytes + 12, i * 2654435761U);
        others += steer_client(&steer, INSIDE, &client) != 0;
        assert_int_equal(steer_client(&steer, INSIDE, &client),
                         steer_client(&steer, OUTSIDE, &client));
    }
    assert_in_range(others, 80000, 90000);
}

static void what_has_no_owner_stays_where_it_is(void **state)
{
    (void)state;
    uint8_t frame[FRAME_ROOM] = {0};
    const struct addr client = addr_of("10.1.2.3"), service = addr_of("198.18.0.80");
    const uint32_t length = write_error(frame, &client, &service, &service, &client, 3);
    for (uint32_t cut = 0; cut < length - 8; cut++) /* all of the quoted header, or nobody's */
        assert_int_equal(steer_frame(&steer, OUTSIDE, frame, cut), STEER_NOBODY);
    assert_true(steer_frame(&steer, OUTSIDE, frame, length - 8) < WORKERS);
    frame[42] = 0x65; /* quotes another version */
    assert_int_equal(steer_frame(&steer, OUTSIDE, frame, length), STEER_NOBODY);
    frame_put16(frame + 12, 0x88cc); /* LLDP */
    assert_int_equal(steer_frame(&steer, OUTSIDE, frame, length), STEER_NOBODY);
}

static void a_syns_source_is_found_and_nothing_else(void **state)
{
    (void)state;
    for (int v6 = 0; v6 < 2; v6++) {
        struct frame_tcp t = {.v6 = v6, .flags = TCP_SYN, .ttl = 9};
        uint8_t frame[FRAME_ROOM];
        bool v4;
        uint32_t length = (uint32_t)frame_write(frame, &t);
        const size_t l4 = frame_map(frame).l4;
        assert_ptr_equal(steer_syn_source(frame, length, &v4), frame + (v6 ? 22 : 26));
        assert_int_equal(v4, !v6);
        assert_ptr_equal(steer_syn_source(frame, (uint32_t)l4 + 20, &v4), frame + (v6 ? 22 : 26));
        assert_null(steer_syn_source(frame, (uint32_t)l4 + 19, &v4));
        for (unsigned flags = 0; flags < 64; flags++) {
            frame[l4 + 13] = (uint8_t)flags;
            assert_int_equal(steer_syn_source(frame, length, &v4) != NULL,
                             (flags & TCP_SYN) && !(flags & TCP_ACK));
        }
        frame[l4 + 13] = TCP_SYN;
        frame[v6 ? 20 : 23] = 17;
        assert_null(steer_syn_source(frame, length, &v4));
        frame[v6 ? 20 : 23] = 6;
        frame_put16(frame + 12, 0x88cc);
        assert_null(steer_syn_source(frame, length, &v4));
    }
}

/* Each in a block of its very size, so that a sanitizer sees a byte too many. */
static void no_frame_is_read_behind_its_end(void **state)
{
    (void)state;
    static const uint16_t types[] = {0x0800, 0x86dd, 0x0806, 0x0800, 0x86dd};
    static const uint8_t protocols[] = {1, 58, 6, 0, 43, 60};
    struct random random = {7};
    for (int i = 0; i < 200000; i++) {
        const uint32_t length = random_below(&random, 150);
        uint8_t *frame = malloc(length + !length);
        assert_non_null(frame);
        random_bytes(&random, frame, length);
        if (length > 14)
            frame_put16(frame + 12, types[random_below(&random, 5)]);
        if (length > 23)
            frame[random_below(&random, 2) ? 23 : 20] = protocols[random_below(&random, 6)];
        const uint32_t owner =
            steer_frame(&steer, random_below(&random, 2) ? OUTSIDE : INSIDE, frame, length);
        bool v4;
        assert_true(owner < WORKERS || owner == STEER_NOBODY);
        steer_syn_source(frame, length, &v4);
        free(frame);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_hash_is_the_one_that_ports_compute),
        cmocka_unit_test(both_directions_of_a_client_have_one_owner),
        cmocka_unit_test(the_clients_of_an_ipv6_48_have_one_owner),
        cmocka_unit_test(clients_are_spread_over_all_workers),
        cmocka_unit_test(another_key_spreads_them_in_another_way),
        cmocka_unit_test(an_error_belongs_to_the_client_that_it_quotes),
        cmocka_unit_test(an_error_behind_extension_headers_is_found),
        cmocka_unit_test(what_is_about_the_gateway_itself_belongs_to_worker_0),
        cmocka_unit_test(only_own_addresses_are_own),
        cmocka_unit_test(what_has_no_owner_stays_where_it_is),
        cmocka_unit_test(a_syns_source_is_found_and_nothing_else),
        cmocka_unit_test(no_frame_is_read_behind_its_end),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
