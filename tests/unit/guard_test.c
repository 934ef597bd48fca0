/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Floods of one source and of one network: what is too much is dropped, at once and for no longer
 * than it lasts; connections, other sources, and clients that try again are served. */
#include "dataplane/admit/guard.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "tests/unit/random.h"
#include "tests/unit/wire.h"

enum { RATE = 40, WORKERS = 4 };

/* A rig with these limits at the beginning of a second. */
static struct wire *limited(void **state, uint32_t source_rate, uint32_t network_rate)
{
    struct wire *w = wire_of(state);
    w->limits.source_rate = source_rate;
    w->limits.network_rate = network_rate;
    wire_begin(w);
    return w;
}

/* A client of that network (/24 or /48), subnet and host of it. In IPv4 the last two are one. */
static struct wire_talk client_of(struct wire *w, uint8_t network, uint8_t subnet, uint8_t host)
{
    struct wire_talk t = wire_talk(w);
    uint8_t *addr = t.client.at.addr.bytes;
    if (w->family == WIRE_V4) {
        addr[14] = network;
        addr[15] = subnet;
    } else {
        addr[5] = network;
        addr[7] = subnet;
        addr[15] = host;
    }
    return t;
}

static enum verdict send_syn(struct wire *w, const struct wire_talk *t)
{
    const struct wire_segment syn = wire_segment(t, FROM_CLIENT, TCP_SYN);
    enum verdict verdict = wire_send(w, &syn, FROM_CLIENT);
    wire_forget_frames(w);
    return verdict;
}

static enum verdict send_stray(struct wire *w, const struct wire_talk *t, uint8_t flags,
                               const char *text)
{
    const struct wire_segment stray = wire_data(t, FROM_CLIENT, flags, text);
    enum verdict verdict = wire_send(w, &stray, FROM_CLIENT);
    wire_forget_frames(w);
    return verdict;
}

/* ---- one source ---- */

static void flood_of(struct wire *w, uint8_t subnet)
{
    for (uint32_t i = 0; i < RATE; i++) {
        const struct wire_talk t = client_of(w, 7, subnet, (uint8_t)i);
        assert_int_equal(send_syn(w, &t), VERDICT_SYN_COOKIE);
    }
    for (uint32_t i = 0; i < 2 * RATE; i++) {
        const struct wire_talk t = client_of(w, 7, subnet, (uint8_t)i);
        assert_int_equal(send_syn(w, &t), VERDICT_SOURCE_RATE);
    }
}

static void pitfall_19_a_flood_from_a_second_source_is_seen_at_once(void **state)
{
    struct wire *w = limited(state, RATE, 0);
    for (int second = 0; second < 3; second++) {
        flood_of(w, 1);
        flood_of(w, 2);
        const struct wire_talk other = client_of(w, 7, 3, 1);
        assert_int_equal(send_syn(w, &other), VERDICT_SYN_COOKIE);
        wire_step(w, 1000);
    }
    const struct wire_talk after = client_of(w, 7, 1, 1);
    assert_int_equal(send_syn(w, &after), VERDICT_SYN_COOKIE);
}

static void what_has_no_flow_and_must_be_looked_into_counts(void **state)
{
    struct wire *w = limited(state, RATE, 0);
    const struct wire_talk t = client_of(w, 7, 1, 1);
    struct wire_talk promised = client_of(w, 7, 1, 2);
    wire_handshake(w, &promised);
    for (uint32_t i = 1; i < RATE / 2; i++) {
        assert_int_equal(send_stray(w, &t, TCP_ACK, "text"), VERDICT_MISS_SILENT);
        assert_int_equal(send_stray(w, &t, TCP_ACK | TCP_FIN, ""), VERDICT_MISS_SILENT);
    }
    assert_int_equal(send_stray(w, &t, TCP_ACK, "text"), VERDICT_MISS_SILENT);
    assert_int_equal(send_stray(w, &t, TCP_ACK, "text"), VERDICT_SOURCE_RATE);
    assert_int_equal(send_stray(w, &t, TCP_ACK | TCP_FIN, ""), VERDICT_SOURCE_RATE);
    assert_int_equal(send_syn(w, &t), VERDICT_SOURCE_RATE);
    assert_int_equal(send_stray(w, &promised, TCP_ACK, wire_request), VERDICT_SOURCE_RATE);
    wire_expect_tables(w, 0, 0);
    wire_step(w, 1000);
    wire_ask(w, &promised, wire_request); /* its cookie is good in the next second */
    wire_accept(w, &promised);
}

/* Or else a few forged ones would keep somebody out. */
static void what_is_dropped_in_any_case_does_not_count(void **state)
{
    struct wire *w = limited(state, RATE, 0);
    const struct wire_talk t = client_of(w, 7, 1, 1);
    for (uint32_t i = 0; i < 2 * RATE; i++) {
        assert_int_equal(send_stray(w, &t, TCP_ACK, ""), VERDICT_ACK_NO_FLOW);
        assert_int_equal(send_stray(w, &t, TCP_RST, ""), VERDICT_RST_NO_FLOW);
        assert_int_equal(send_stray(w, &t, TCP_SYN | TCP_ACK, ""), VERDICT_SYN_ACK_NO_FLOW);
    }
    assert_int_equal(send_syn(w, &t), VERDICT_SYN_COOKIE);
}

static void connections_of_a_flooding_source_go_on(void **state)
{
    struct wire *w = limited(state, RATE, 0);
    struct wire_talk t = client_of(w, 7, 1, 1);
    wire_open(w, &t);
    for (uint32_t i = 0; i < RATE; i++, t.client.at.port++)
        send_syn(w, &t);
    assert_int_equal(send_syn(w, &t), VERDICT_SOURCE_RATE);
    t.client.at.port = (uint16_t)(w->next_port - 1);
    for (uint32_t i = 0; i < 3 * RATE; i++) {
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK | TCP_PSH, "more");
        wire_pass(w, &t, FROM_BACKEND, TCP_ACK | TCP_PSH, "answer");
    }
    wire_close(w, &t, FROM_CLIENT);
}

static void a_connection_does_not_count(void **state)
{
    struct wire *w = limited(state, RATE, 0);
    struct wire_talk t = client_of(w, 7, 1, 1);
    wire_open(w, &t); /* a SYN and the first data */
    for (uint32_t i = 0; i < 3 * RATE; i++)
        wire_pass(w, &t, FROM_CLIENT, TCP_ACK | TCP_PSH, "more");
    for (uint32_t i = 2; i < RATE; i++) {
        const struct wire_talk next = client_of(w, 7, 1, 1);
        assert_int_equal(send_syn(w, &next), VERDICT_SYN_COOKIE);
    }
    const struct wire_talk next = client_of(w, 7, 1, 1);
    assert_int_equal(send_syn(w, &next), VERDICT_SOURCE_RATE);
}

/* It may be another connection's on the same tuple, which only its cookie can tell. */
static void data_that_does_not_fit_its_connection_counts(void **state)
{
    struct wire *w = limited(state, RATE, 0);
    struct wire_talk t = client_of(w, 7, 1, 1);
    wire_open(w, &t); /* a SYN and the first data */
    struct wire_talk misfit = t;
    misfit.client.next += 0x40000000;
    for (uint32_t i = 2; i < RATE; i++)
        assert_int_equal(send_stray(w, &misfit, TCP_ACK, "text"), VERDICT_OUT_OF_WINDOW);
    assert_int_equal(send_stray(w, &misfit, TCP_ACK, "text"), VERDICT_SOURCE_RATE);
    wire_pass(w, &t, FROM_CLIENT, TCP_ACK | TCP_PSH, "more");
    wire_step(w, 1000);
    assert_int_equal(send_stray(w, &misfit, TCP_ACK, "text"), VERDICT_OUT_OF_WINDOW);
}

/* ---- one network ---- */

/* Uses up the network's limit, from a source for each SYN. */
static void flood_network(struct wire *w, uint8_t network)
{
    for (uint32_t i = 0; i < 3 * RATE; i++) {
        const struct wire_talk t = client_of(w, network, (uint8_t)(i + 1), 1);
        assert_int_equal(send_syn(w, &t), i < RATE ? VERDICT_SYN_COOKIE : VERDICT_REFLECTION_RATE);
    }
}

static void pitfall_19_a_flood_to_a_second_network_is_seen_at_once(void **state)
{
    struct wire *w = limited(state, 0, RATE);
    for (int second = 0; second < 3; second++) {
        flood_network(w, 1);
        flood_network(w, 2);
        const struct wire_talk other = client_of(w, 3, 1, 1);
        assert_int_equal(send_syn(w, &other), VERDICT_SYN_COOKIE);
        wire_step(w, 5000);
    }
}

static void the_second_try_of_a_client_in_a_flooded_network_is_answered(void **state)
{
    struct wire *w = limited(state, 0, RATE);
    struct wire_talk shopper = client_of(w, 1, 200, 1);
    flood_network(w, 1);
    assert_int_equal(send_syn(w, &shopper), VERDICT_REFLECTION_RATE);
    wire_step(w, 400);
    assert_int_equal(send_syn(w, &shopper), VERDICT_REFLECTION_RATE); /* too early to be one */
    wire_step(w, 600);
    flood_network(w, 1);
    struct wire_talk other = shopper;
    other.client.isn++;
    other.client.next++;
    assert_int_equal(send_syn(w, &other), VERDICT_REFLECTION_RATE); /* not the same SYN */
    other = shopper;
    other.client.at.port++;
    assert_int_equal(send_syn(w, &other), VERDICT_REFLECTION_RATE);
    other = shopper;
    other.client.at.addr.bytes[15]++;
    assert_int_equal(send_syn(w, &other), VERDICT_REFLECTION_RATE);
    other = shopper;
    wire_talk_to(w, &other, (uint16_t)(shopper.service + 2));
    assert_int_equal(send_syn(w, &other), VERDICT_REFLECTION_RATE);
    assert_int_equal(w->shard->verdicts[VERDICT_SYN_REMEMBERED], 0);
    wire_open(w, &shopper);
    assert_int_equal(w->shard->verdicts[VERDICT_SYN_REMEMBERED], 1);
    wire_close(w, &shopper, FROM_CLIENT);
}

/* Who has been here is answered at once, as often as anybody opens connections, and not as often as
 * a flood to one victim would want it. */
static void a_verified_client_of_a_flooded_network_is_answered_at_once(void **state)
{
    struct wire *w = limited(state, 0, RATE);
    struct wire_talk shopper = client_of(w, 1, 200, 1);
    wire_open(w, &shopper);
    wire_close(w, &shopper, FROM_CLIENT);
    wire_step(w, 5000);
    flood_network(w, 1);
    const struct wire_talk next = client_of(w, 1, 200, 2), other = client_of(w, 1, 201, 2);
    for (uint32_t i = 0; i < RATE; i++)
        assert_int_equal(send_syn(w, &next),
                         i < RATE / GUARD_KNOWN + 1 ? VERDICT_SYN_COOKIE : VERDICT_REFLECTION_RATE);
    assert_int_equal(send_syn(w, &other), VERDICT_REFLECTION_RATE);
}

static void second_tries_come_from_a_budget_of_their_own(void **state)
{
    enum { SHOPPERS = 20, BUDGET = 7 };
    struct wire *w = limited(state, 0, RATE);
    struct wire_talk shopper[SHOPPERS];
    w->limits.per_second[LEASE_SYNS_AGAIN] = BUDGET;
    uint32_t answered = 0;
    flood_network(w, 1);
    for (int i = 0; i < SHOPPERS; i++) {
        shopper[i] = client_of(w, 1, (uint8_t)(200 + i), 1);
        assert_int_equal(send_syn(w, &shopper[i]), VERDICT_REFLECTION_RATE);
    }
    wire_step(w, 1000);
    flood_network(w, 1);
    for (int i = 0; i < SHOPPERS; i++)
        answered += send_syn(w, &shopper[i]) == VERDICT_SYN_COOKIE;
    assert_int_equal(answered, BUDGET);
    wire_step(w, 2000); /* who was refused again tries again */
    flood_network(w, 1);
    for (int i = BUDGET; i < SHOPPERS; i++)
        answered += send_syn(w, &shopper[i]) == VERDICT_SYN_COOKIE;
    assert_int_equal(answered, 2 * BUDGET);
    assert_int_equal(w->shard->verdicts[VERDICT_SYN_REMEMBERED], 2 * BUDGET);
}

static void a_burst_is_judged_packet_by_packet(void **state)
{
    static uint8_t bytes[SHARD_BURST][FRAME_ROOM];
    struct wire *w = limited(state, RATE, RATE / 2);
    struct frame frames[SHARD_BURST];
    for (uint8_t i = 0; i < SHARD_BURST; i++) {
        const struct wire_talk t = client_of(w, 1, 1, 1);
        const struct wire_segment syn = wire_segment(&t, FROM_CLIENT, TCP_SYN);
        frames[i] = (struct frame){.bytes = bytes[i], .room = FRAME_ROOM, .side = OUTSIDE};
        frames[i].length = wire_segment_write(bytes[i], &syn);
    }
    shard_burst(w->shard, frames, SHARD_BURST);
    for (uint32_t i = 0; i < SHARD_BURST; i++) {
        assert_int_equal(frames[i].verdict, i < RATE / 2 ? VERDICT_SYN_COOKIE
                                            : i < RATE   ? VERDICT_REFLECTION_RATE
                                                         : VERDICT_SOURCE_RATE);
        assert_int_equal(frames[i].to, i < RATE / 2 ? OUTSIDE : PORT_NONE);
    }
}

/* ---- several workers ---- */

static void a_network_has_one_limit_at_two_workers(void **state)
{
    struct wire *w[2] = {limited(state, 0, RATE), wire_new(wire_of(state)->family, NULL)};
    struct guard *guards[2] = {&w[0]->shard->guard, &w[1]->shard->guard};
    guard_join(guards, 2);
    w[1]->limits.network_rate = RATE;
    wire_begin(w[1]);
    uint32_t answered = 0;
    for (uint32_t i = 0; i < 4 * RATE; i++) {
        const struct wire_talk t = client_of(w[i % 2], 1, (uint8_t)(i + 1), 1);
        answered += send_syn(w[i % 2], &t) == VERDICT_SYN_COOKIE;
    }
    assert_in_range(answered, RATE - RATE / GUARD_SPARE, RATE);
    wire_free(w[1]);
}

struct crew {
    struct guard guard[WORKERS];
    struct addr source;
    pthread_barrier_t barrier;
};

static struct crew *crew_new(uint32_t workers, uint32_t limit)
{
    static const struct siphash_key key[WORKERS] = {{1, 2}, {3, 4}, {5, 6}, {7, 8}};
    struct crew *crew = calloc(1, sizeof *crew);
    struct guard *all[WORKERS];
    assert_non_null(crew);
    addr_parse("198.51.100.7", &crew->source);
    for (uint32_t i = 0; i < workers; i++) {
        assert_int_equal(guard_init(&crew->guard[i], &key[i], 0), 0);
        all[i] = &crew->guard[i];
    }
    guard_join(all, workers);
    for (uint32_t i = 0; i < workers; i++)
        guard_begin(&crew->guard[i], 0, limit, 0);
    return crew;
}

static void crew_free(struct crew *crew, uint32_t workers)
{
    for (uint32_t i = 0; i < workers; i++)
        guard_end(&crew->guard[i]);
    free(crew);
}

/* A SYN of the source at one of them: whether it is answered. */
static bool crew_syn(struct crew *crew, uint32_t index)
{
    struct guard *guard = &crew->guard[index];
    return guard_network(guard, guard_network_of(guard, &crew->source, true));
}

/* However the SYNs fall to the workers, the sum is at the limit, or less than an eighth below. */
static void pitfall_20_a_networks_limit_holds_for_all_workers_however_skewed(void **state)
{
    (void)state;
    for (uint32_t workers = 1; workers <= WORKERS; workers++)
        for (uint32_t limit = 1; limit < 3000; limit = limit * 3 + 1) {
            struct crew *crew = crew_new(workers, limit);
            for (uint32_t skew = 0; skew <= 100; skew += 25) {
                struct random random = {limit + skew};
                uint32_t passed = 0;
                for (uint32_t i = 0; i < workers; i++)
                    guard_begin(&crew->guard[i], 0, limit, 1000 * (uint64_t)(skew + 1));
                for (uint32_t n = 0; n < 5 * limit; n++) {
                    uint32_t i =
                        random_below(&random, 100) < skew ? 0 : random_below(&random, workers);
                    passed += crew_syn(crew, i);
                }
                assert_in_range(passed, limit - limit / GUARD_SPARE, limit);
            }
            crew_free(crew, workers);
        }
}

enum { ROUNDS = 400, AT_ONCE = 500, SHARED = 1000 };
static uint32_t passed_in[WORKERS][ROUNDS];

struct member {
    struct crew *crew;
    uint32_t index;
};

static void *work(void *argument)
{
    const struct member *me = argument;
    struct guard *guard = &me->crew->guard[me->index];
    for (uint32_t round = 0; round < ROUNDS; round++) {
        guard_begin(guard, 0, SHARED, 1000 * (uint64_t)round);
        pthread_barrier_wait(&me->crew->barrier);
        for (int n = 0; n < AT_ONCE; n++)
            passed_in[me->index][round] += crew_syn(me->crew, me->index);
    }
    return NULL;
}

static void pitfall_20_four_threads_answer_a_network_no_more_than_its_limit(void **state)
{
    (void)state;
    struct crew *crew = crew_new(WORKERS, SHARED);
    struct member member[WORKERS];
    pthread_t thread[WORKERS];
    pthread_barrier_init(&crew->barrier, NULL, WORKERS);
    for (uint32_t i = 0; i < WORKERS; i++) {
        member[i] = (struct member){crew, i};
        assert_int_equal(pthread_create(&thread[i], NULL, work, &member[i]), 0);
    }
    for (uint32_t i = 0; i < WORKERS; i++)
        pthread_join(thread[i], NULL);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t sum = 0;
        for (uint32_t i = 0; i < WORKERS; i++)
            sum += passed_in[i][round];
        assert_in_range(sum, SHARED - SHARED / GUARD_SPARE, SHARED);
    }
    pthread_barrier_destroy(&crew->barrier);
    crew_free(crew, WORKERS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(pitfall_19_a_flood_from_a_second_source_is_seen_at_once),
        WIRE_TEST(what_has_no_flow_and_must_be_looked_into_counts),
        WIRE_TEST(what_is_dropped_in_any_case_does_not_count),
        WIRE_TEST(connections_of_a_flooding_source_go_on),
        WIRE_TEST(a_connection_does_not_count),
        WIRE_TEST(data_that_does_not_fit_its_connection_counts),
        WIRE_TEST(pitfall_19_a_flood_to_a_second_network_is_seen_at_once),
        WIRE_TEST(the_second_try_of_a_client_in_a_flooded_network_is_answered),
        WIRE_TEST(a_verified_client_of_a_flooded_network_is_answered_at_once),
        WIRE_TEST(second_tries_come_from_a_budget_of_their_own),
        WIRE_TEST(a_burst_is_judged_packet_by_packet),
        WIRE_TEST(a_network_has_one_limit_at_two_workers),
        cmocka_unit_test(pitfall_20_a_networks_limit_holds_for_all_workers_however_skewed),
        cmocka_unit_test(pitfall_20_four_threads_answer_a_network_no_more_than_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
