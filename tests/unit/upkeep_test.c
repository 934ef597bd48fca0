/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The control thread's upkeep with a real builder, real rings and no ports: what workers tell
 * becomes policy. */
#include "dataplane/ops/upkeep.h"

#include <rte_eal.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "dataplane/ops/settings.h"
#include "dataplane/ops/settings_rules.h"

#define CONFIGURATION                                             \
    "[outside]\ndevice = net_null0\naddresses = 198.18.0.1/17\n"  \
    "[inside]\ndevice = net_null1\naddresses = 198.18.128.1/24\n" \
    "[backend one]\naddress = 198.18.128.2:8080\n"                \
    "[backend two]\naddress = 198.18.128.3:8080\n"                \
    "[backend three]\naddress = 198.18.128.4:8080\n"              \
    "[service shop]\nlisten = 198.18.0.80:80\nbackends = one\n"   \
    "[service both]\nlisten = 198.18.0.80:81\n"                   \
    "backends = two, three\nall_down = try\n"

static const char configuration[] = CONFIGURATION;

static struct rte_mempool *pool;
static struct rte_ring *messages, *commands;
static bool busy; /* the builder is kept so */

struct rig {
    struct policy_slot policy;
    struct port ports[PORT_SIDES];
    struct worker worker;
    struct shard shard;
    struct backend_openings openings[3];
    struct upkeep upkeep;
};

static int start_dpdk(void **state)
{
    (void)state;
    char *arguments[] = {"upkeep_test",
                         "-l",
                         "0",
                         "--no-huge",
                         "-m",
                         "64",
                         "--no-pci",
                         "--no-shconf",
                         "--no-telemetry",
                         "--file-prefix",
                         "dropgate-upkeep",
                         "--log-level",
                         "error"};
    if (rte_eal_init((int)(sizeof arguments / sizeof *arguments), arguments) < 0)
        return -1;
    pool = rte_pktmbuf_pool_create("pool", 255, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    messages = rte_ring_create_elem("m", sizeof(struct message), 64, SOCKET_ID_ANY, 0);
    commands = rte_ring_create_elem("c", sizeof(struct command), 64, SOCKET_ID_ANY, 0);
    return pool == NULL || messages == NULL || commands == NULL ? -1 : 0;
}

static int setup(void **state)
{
    char why[CONF_WHY];
    struct rig *r = calloc(1, sizeof *r);
    struct settings *settings =
        conf_load_memory(&SETTINGS_SCHEMA, "upkeep", configuration, sizeof configuration - 1, why);
    if (r == NULL || settings == NULL)
        return -1;
    r->worker = (struct worker){
        .ports = r->ports, .pool = pool, .messages = messages, .commands = commands};
    r->shard.openings = r->openings;
    r->worker.shard = &r->shard;
    *state = r;
    int error = upkeep_init(&r->upkeep, &r->policy, settings_services(settings),
                            settings_limits(settings), &r->worker, 1, NULL);
    conf_free(&SETTINGS_SCHEMA, settings);
    if (error != 0)
        return -1;
    r->upkeep.builder = builder_start(&r->policy);
    return r->upkeep.builder == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;
    struct command command;
    __atomic_store_n(&busy, false, __ATOMIC_RELAXED);
    if (r->upkeep.builder != NULL)
        builder_stop(r->upkeep.builder);
    upkeep_end(&r->upkeep);
    free(r);
    while (rte_ring_dequeue_elem(commands, &command, sizeof command) == 0)
        rte_pktmbuf_free(command.mbuf);
    return 0;
}

/* Gives the message to the upkeep, and ends the builder, so that what follows from it is published.
 */
static void tell(struct rig *r, const struct message *message)
{
    struct message copy = *message;
    assert_int_equal(rte_ring_enqueue_elem(messages, &copy, sizeof copy), 0);
    upkeep_run(&r->upkeep);
    builder_stop(r->upkeep.builder);
    r->upkeep.builder = builder_start(&r->policy);
    assert_non_null(r->upkeep.builder);
}

static struct message neighbor(const char *text, uint8_t last)
{
    struct message m = {.kind = MESSAGE_NEIGHBOR, .side = INSIDE, .mac = {{2, 0, 0, 0, 0, last}}};
    assert_int_equal(addr_parse(text, &m.addr), 0);
    return m;
}

static struct message answered(uint8_t scale)
{
    return (struct message){
        .kind = MESSAGE_PROBE,
        .probe = PROBE_ANSWERED,
        .connected = true,
        .options = {.mss = 1400, .window_scale = scale, .sack_ok = true, .timestamps = true}};
}

static void a_next_hop_is_asked_for_at_once_and_once(void **state)
{
    struct rig *r = *state;
    struct command command;
    upkeep_run(&r->upkeep);
    upkeep_run(&r->upkeep);                        /* not again so soon */
    assert_int_equal(rte_ring_count(commands), 3); /* one each */
    assert_int_equal(rte_ring_dequeue_elem(commands, &command, sizeof command), 0);
    const uint8_t *arp = rte_pktmbuf_mtod(command.mbuf, const uint8_t *);
    assert_int_equal(command.side, INSIDE);
    assert_int_equal(command.mbuf->data_len, 42);
    assert_int_equal(load16(arp + 12), ETHERTYPE_ARP);
    assert_int_equal(load32(arp + 38), 0xc6128002); /* who has 198.18.128.2 */
    rte_pktmbuf_free(command.mbuf);
}

static void only_the_answer_of_a_next_hop_is_believed(void **state)
{
    struct rig *r = *state;
    assert_false(r->policy.row->neighbors->backend[0].known);
    struct message other = neighbor("198.18.128.3", 7), outside = neighbor("198.18.128.2", 8);
    struct message group = neighbor("198.18.128.2", 9), good = neighbor("198.18.128.2", 1);
    upkeep_run(&r->upkeep); /* asks */
    outside.side = OUTSIDE;
    group.mac.bytes[0] = 3;
    tell(r, &other);
    tell(r, &outside);
    tell(r, &group);
    assert_false(r->policy.row->neighbors->backend[0].known);
    tell(r, &good);
    assert_true(r->policy.row->neighbors->backend[0].known);
    assert_int_equal(r->policy.row->neighbors->backend[0].mac.bytes[5], 1);
}

static uint32_t asked(void)
{
    struct command command;
    uint32_t count = 0;
    for (; rte_ring_dequeue_elem(commands, &command, sizeof command) == 0; count++)
        rte_pktmbuf_free(command.mbuf);
    return count;
}

/* All have answered, a second ago. */
static void resolve_all(struct rig *r)
{
    const struct message good[] = {neighbor("198.18.128.2", 1), neighbor("198.18.128.3", 2),
                                   neighbor("198.18.128.4", 3)};
    upkeep_run(&r->upkeep); /* asks */
    for (int i = 0; i < 3; i++) {
        tell(r, &good[i]);
        r->upkeep.backends[i].asked_ms -= 1000;
    }
    asked();
    upkeep_run(&r->upkeep);
    assert_int_equal(asked(), 0);
}

static void news_of_a_next_hop_is_a_reason_to_ask_and_not_believed(void **state)
{
    struct rig *r = *state;
    struct message news = neighbor("198.18.128.2", 7), answer = neighbor("198.18.128.2", 8);
    news.kind = MESSAGE_NEIGHBOR_NEWS;
    resolve_all(r);
    const uint64_t confirmed = r->upkeep.backends[0].confirmed_ms;
    tell(r, &news);
    assert_int_equal(asked(), 1);
    r->upkeep.backends[0].asked_ms = worker_clock_ms();
    tell(r, &news);
    assert_int_equal(asked(), 0); /* once a second */
    assert_int_equal(r->policy.row->neighbors->backend[0].mac.bytes[5], 1);
    assert_true(r->policy.row->neighbors->backend[0].known);
    assert_int_equal(r->upkeep.backends[0].confirmed_ms, confirmed);
    r->upkeep.backends[0].asked_ms -= 1000;
    upkeep_run(&r->upkeep);
    assert_int_equal(asked(), 1); /* until it answers */
    tell(r, &answer);
    assert_int_equal(r->policy.row->neighbors->backend[0].mac.bytes[5], 8);
    r->upkeep.backends[0].asked_ms -= 1000;
    upkeep_run(&r->upkeep);
    assert_int_equal(asked(), 0);
}

static void the_next_hop_of_who_falls_silent_is_asked_at_once(void **state)
{
    struct rig *r = *state;
    const struct message silence[] = {{.kind = MESSAGE_PROBE, .probe = PROBE_SILENT, .backend = 1},
                                      {.kind = MESSAGE_BACKEND_FAILED, .backend = 2}};
    const struct message hangs = {.kind = MESSAGE_PROBE, .probe = PROBE_UNANSWERED, .backend = 0};
    resolve_all(r);
    tell(r, &hangs); /* its host does answer */
    assert_int_equal(asked(), 0);
    for (int i = 0; i < 2; i++) {
        tell(r, &silence[i]);
        assert_int_equal(asked(), 1);
        r->upkeep.backends[silence[i].backend].doubted = false; /* or it is asked again */
    }
    assert_true(r->policy.row->neighbors->backend[1].known);
}

static void a_router_in_doubt_is_asked_once_for_all_behind_it(void **state)
{
    struct rig *r = *state;
    struct message news = neighbor("198.18.128.9", 7);
    struct services *services = (struct services *)(uintptr_t)r->upkeep.services;
    news.kind = MESSAGE_NEIGHBOR_NEWS;
    resolve_all(r);
    for (int i = 0; i < 3; i++)
        services->backend[i].next_hop = news.addr;
    tell(r, &news);
    assert_int_equal(asked(), 1);
}

static void only_mss_is_offered_until_a_probe_has_shown_more(void **state)
{
    struct rig *r = *state;
    const struct offer *offer = &r->policy.row->offers->offer[0];
    assert_int_equal(offer->mss, 1460);
    assert_int_equal(offer->promise[0].window_scale, COOKIE_NO_SCALE);
    assert_false(offer->sack || offer->timestamps);
    const struct message probe = answered(9);
    tell(r, &probe);
    offer = &r->policy.row->offers->offer[0];
    assert_int_equal(offer->mss, 1400);
    assert_int_equal(offer->promise[0].window_scale, 9);
    assert_true(offer->sack && offer->timestamps);
}

static void the_promise_before_is_kept_for_cookies_that_are_out(void **state)
{
    struct rig *r = *state;
    const struct message first = answered(9), second = answered(5);
    tell(r, &first);
    const uint32_t nine = r->policy.row->offers->offer[0].promise[0].cookie_service;
    tell(r, &second);
    assert_int_equal(r->policy.row->offers->offer[0].promise[0].window_scale, 5);
    assert_int_equal(r->policy.row->offers->offer[0].promise[1].window_scale, 9);
    assert_int_equal(r->policy.row->offers->offer[0].promise[1].cookie_service, nine);
    assert_int_not_equal(r->policy.row->offers->offer[0].promise[0].cookie_service, nine);
}

static void the_same_answer_again_publishes_nothing(void **state)
{
    struct rig *r = *state;
    const struct message probe = answered(9);
    tell(r, &probe);
    const struct offers *published = r->policy.row->offers;
    tell(r, &probe);
    assert_ptr_equal(r->policy.row->offers, published);
}

static void a_backend_that_refuses_an_option_is_offered_as_unknown(void **state)
{
    struct rig *r = *state;
    const struct message probe = answered(9), refused = {.kind = MESSAGE_BACKEND_OPTIONS};
    tell(r, &probe);
    tell(r, &refused);
    assert_int_equal(r->policy.row->offers->offer[0].promise[0].window_scale, COOKIE_NO_SCALE);
    assert_false(r->policy.row->offers->offer[0].sack ||
                 r->policy.row->offers->offer[0].timestamps);
    tell(r, &probe); /* until it is probed again */
    assert_true(r->policy.row->offers->offer[0].sack);
}

static void a_silent_backend_keeps_what_is_known_of_it(void **state)
{
    struct rig *r = *state;
    const struct message probe = answered(9);
    struct message silent = {.kind = MESSAGE_PROBE, .probe = PROBE_SILENT};
    tell(r, &probe);
    tell(r, &silent);
    assert_false(r->upkeep.backends[0].answering);
    assert_int_equal(r->policy.row->offers->offer[0].promise[0].window_scale, 9);
}

static struct message probed(uint16_t backend, int probe)
{
    struct message m = answered(7);
    m.backend = backend;
    m.probe = probe;
    m.connected = probe != PROBE_SILENT && probe != PROBE_REFUSED;
    return m;
}

/* A bit for each backend to which the second service's connections are led. */
static unsigned used(const struct rig *r)
{
    unsigned met = 0;
    for (uint64_t hash = 0; hash < 100; hash++)
        met |= 1U << balance_choose(r->policy.row->balance, 1, hash, 0);
    return met;
}

static void a_backend_leaves_after_failures_in_a_row_and_comes_back_with_one_answer(void **state)
{
    struct rig *r = *state;
    const struct message two = probed(1, PROBE_ANSWERED), three = probed(2, PROBE_ANSWERED);
    const struct message silent = probed(1, PROBE_SILENT), refused = probed(1, PROBE_REFUSED);
    assert_int_equal(used(r), 6); /* nothing is known: both */
    tell(r, &two);
    assert_int_equal(used(r), 2); /* it answers, the other has not yet */
    tell(r, &three);
    assert_int_equal(used(r), 6);
    tell(r, &silent);
    assert_int_equal(used(r), 6);
    tell(r, &two); /* not in a row */
    tell(r, &refused);
    assert_int_equal(used(r), 6);
    tell(r, &silent);
    assert_int_equal(used(r), 4);
    tell(r, &two);
    assert_int_equal(used(r), 6);
}

static void when_all_have_failed_a_service_that_tries_uses_all(void **state)
{
    struct rig *r = *state;
    const struct message two = probed(1, PROBE_SILENT), three = probed(2, PROBE_SILENT);
    tell(r, &two);
    tell(r, &two);
    assert_int_equal(used(r), 4);
    tell(r, &three);
    tell(r, &three);
    assert_int_equal(used(r), 6);
}

static void a_service_is_down_when_all_have_failed_until_one_answers(void **state)
{
    struct rig *r = *state;
    const struct message silent = probed(0, PROBE_SILENT), good = probed(0, PROBE_ANSWERED);
    tell(r, &good);
    tell(r, &silent);
    assert_false(balance_down(r->policy.row->balance, 0));
    tell(r, &silent);
    assert_true(balance_down(r->policy.row->balance, 0));
    assert_int_equal(r->policy.row->offers->offer[0].promise[0].window_scale, 7); /* as it was */
    tell(r, &good);
    assert_false(balance_down(r->policy.row->balance, 0));
}

static void a_backend_that_is_not_well_still_shows_its_options(void **state)
{
    struct rig *r = *state;
    struct message sick = probed(0, PROBE_STATUS);
    sick.status = 503;
    tell(r, &sick);
    tell(r, &sick);
    assert_true(balance_down(r->policy.row->balance, 0));
    assert_int_equal(r->upkeep.backends[0].well.reason, PROBE_STATUS);
    assert_int_equal(r->upkeep.backends[0].well.status, 503);
    assert_int_equal(r->policy.row->offers->offer[0].promise[0].window_scale, 7);
}

static void
a_backend_that_answers_nobody_is_out_until_its_pause_is_over_and_a_probe_is_good(void **state)
{
    struct rig *r = *state;
    const struct message two = probed(1, PROBE_ANSWERED), three = probed(2, PROBE_ANSWERED);
    const struct message hangs = {.kind = MESSAGE_BACKEND_UNANSWERED, .backend = 2};
    tell(r, &two);
    tell(r, &three);
    tell(r, &hangs);
    assert_int_equal(used(r), 2);
    tell(r, &three); /* its kernel answers */
    assert_int_equal(used(r), 2);
    r->upkeep.backends[2].well.not_before_ms = 0;
    tell(r, &three);
    assert_int_equal(used(r), 6);
}

static void the_last_backend_of_a_service_is_not_taken_out_for_slow_answers(void **state)
{
    struct rig *r = *state;
    const struct message one = probed(0, PROBE_ANSWERED), two = probed(1, PROBE_ANSWERED);
    struct message hangs = {.kind = MESSAGE_BACKEND_UNANSWERED};
    tell(r, &one);
    tell(r, &two);
    tell(r, &hangs);
    assert_false(balance_down(r->policy.row->balance, 0));
    hangs.backend = 1; /* of the other two, nothing is known of the third */
    tell(r, &hangs);
    assert_int_equal(used(r), 2);
}

static void the_last_backend_of_a_service_is_left_to_its_probes(void **state)
{
    struct rig *r = *state;
    const struct message two = probed(1, PROBE_ANSWERED), three = probed(2, PROBE_ANSWERED);
    struct message failed = {.kind = MESSAGE_BACKEND_FAILED, .backend = 2};
    tell(r, &two);
    tell(r, &three);
    tell(r, &failed);
    assert_int_equal(used(r), 2);
    failed.backend = 1; /* too busy for some clients is better than none */
    tell(r, &failed);
    assert_int_equal(used(r), 2);
}

static void who_says_nothing_is_mute_while_others_are_well(void **state)
{
    struct rig *r = *state;
    const struct message two = probed(1, PROBE_ANSWERED), three = probed(2, PROBE_ANSWERED);
    const struct message silent = probed(1, PROBE_SILENT), other = probed(2, PROBE_UNANSWERED);
    const struct message refused = probed(1, PROBE_REFUSED);
    tell(r, &two);
    tell(r, &three);
    tell(r, &refused);
    tell(r, &refused);
    assert_false(r->policy.row->neighbors->backend[1].mute); /* its kernel speaks for it */
    tell(r, &silent);
    assert_true(r->policy.row->neighbors->backend[1].mute);
    tell(r, &other);
    tell(r, &other);
    assert_false(r->policy.row->neighbors->backend[1].mute); /* nobody else is there */
    assert_false(r->policy.row->neighbors->backend[2].mute);
    tell(r, &three);
    assert_true(r->policy.row->neighbors->backend[1].mute);
    tell(r, &two);
    assert_false(r->policy.row->neighbors->backend[1].mute);
}

/* It is too busy for its probes; the worker of a connection that has been quiet sees nothing of
 * what others' clients get. */
static void who_answers_clients_is_not_mute_however_its_probes_end(void **state)
{
    struct rig *r = *state;
    const struct message two = probed(1, PROBE_ANSWERED), three = probed(2, PROBE_ANSWERED);
    const struct message silent = probed(1, PROBE_SILENT);
    tell(r, &two);
    tell(r, &three);
    for (int i = 0; i < 4; i++) {
        r->openings[1].answered++;
        tell(r, &silent);
    }
    assert_int_equal(used(r), 4);
    assert_false(r->policy.row->neighbors->backend[1].mute);
    r->upkeep.backends[1].answered_ms -= 2000;
    tell(r, &silent); /* nobody since */
    assert_true(r->policy.row->neighbors->backend[1].mute);
    r->openings[1].answered++;
    tell(r, &silent);
    assert_false(r->policy.row->neighbors->backend[1].mute);
}

/* A client every second and a half, and a probe that fails every second: some gaps see nobody. */
static void who_answers_clients_between_some_of_its_probes_only_is_not_mute(void **state)
{
    struct rig *r = *state;
    const struct message two = probed(1, PROBE_ANSWERED), three = probed(2, PROBE_ANSWERED);
    const struct message hangs = probed(1, PROBE_UNANSWERED);
    tell(r, &two);
    tell(r, &three);
    r->openings[1].answered++;
    tell(r, &hangs);
    tell(r, &hangs);
    assert_int_equal(used(r), 4);
    const struct neighbors *before = r->policy.row->neighbors;
    for (int second = 0; second < 9; second++) {
        r->upkeep.backends[1].answered_ms -= 1000;
        if (second % 3 != 0)
            r->openings[1].answered++;
        tell(r, &hangs);
        assert_false(r->policy.row->neighbors->backend[1].mute);
    }
    assert_ptr_equal(r->policy.row->neighbors, before); /* nothing to publish */
    for (int second = 0; second < 2; second++) {
        assert_false(r->policy.row->neighbors->backend[1].mute);
        r->upkeep.backends[1].answered_ms -= 1000;
        tell(r, &hangs);
    }
    assert_true(r->policy.row->neighbors->backend[1].mute);
}

static void openings_that_fail_take_a_backend_out_until_its_next_good_probe(void **state)
{
    struct rig *r = *state;
    const struct message two = probed(1, PROBE_ANSWERED), three = probed(2, PROBE_ANSWERED);
    const struct message failed = {.kind = MESSAGE_BACKEND_FAILED, .backend = 2};
    tell(r, &two);
    tell(r, &three);
    tell(r, &failed);
    assert_int_equal(used(r), 2);
    tell(r, &three);
    assert_int_equal(used(r), 6);
}

static void pitfall_30_only_what_all_backends_in_use_support_is_offered(void **state)
{
    struct rig *r = *state;
    struct message two = probed(1, PROBE_ANSWERED), three = probed(2, PROBE_ANSWERED);
    const struct message silent = probed(2, PROBE_SILENT);
    two.options.window_scale = 9;
    two.options.mss = 1300;
    tell(r, &two);
    three.options.sack_ok = false;
    tell(r, &three);
    const struct offer *offer = &r->policy.row->offers->offer[1];
    assert_int_equal(offer->mss, 1300);
    assert_int_equal(offer->promise[0].window_scale, 7); /* at most each one's own */
    assert_false(offer->sack);
    assert_true(offer->timestamps);
    three.options.window_scale = COOKIE_NO_SCALE;
    three.options.timestamps = false;
    tell(r, &three);
    offer = &r->policy.row->offers->offer[1];
    assert_int_equal(offer->promise[0].window_scale, COOKIE_NO_SCALE);
    assert_false(offer->timestamps);
    tell(r, &silent); /* it leaves: what is left supports more */
    tell(r, &silent);
    offer = &r->policy.row->offers->offer[1];
    assert_int_equal(offer->promise[0].window_scale, 9);
    assert_true(offer->sack && offer->timestamps);
    assert_int_equal(r->policy.row->offers->offer[0].promise[0].window_scale, COOKIE_NO_SCALE);
}

static void pitfall_30_a_backend_that_refuses_what_its_probe_had_shown_is_taken_out(void **state)
{
    struct rig *r = *state;
    const struct message two = probed(1, PROBE_ANSWERED), three = probed(2, PROBE_ANSWERED);
    struct message refusal = three;
    refusal.kind = MESSAGE_BACKEND_OPTIONS;
    tell(r, &two);
    tell(r, &three);
    tell(r, &refusal); /* it has all that it had shown: the client was promised too much */
    assert_int_equal(used(r), 6);
    refusal.options.timestamps = false;
    tell(r, &refusal);
    assert_int_equal(used(r), 2);
    tell(r, &three);
    assert_int_equal(used(r), 6);
}

static void pitfall_30_the_last_backend_stays_and_nothing_is_promised_for_it(void **state)
{
    struct rig *r = *state;
    const struct message two = probed(1, PROBE_ANSWERED);
    struct message refusal = two;
    const struct offer *offer;
    refusal.kind = MESSAGE_BACKEND_OPTIONS;
    refusal.options.timestamps = false;
    tell(r, &two);
    tell(r, &refusal);
    assert_int_equal(used(r), 2);
    offer = &r->policy.row->offers->offer[1];
    assert_false(offer->sack || offer->timestamps);
    assert_int_equal(offer->promise[0].window_scale, COOKIE_NO_SCALE);
    tell(r, &two);
    offer = &r->policy.row->offers->offer[1];
    assert_true(offer->sack && offer->timestamps);
}

static void pitfall_21_a_new_master_takes_over_and_a_bad_file_changes_nothing(void **state)
{
    struct rig *r = *state;
    const struct message nothing = {.kind = MESSAGE_PROBE, .probe = PROBE_SILENT};
    char path[] = "/tmp/upkeep_test.XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    const struct cookie_keys before = *r->policy.row->keys;
    assert_int_not_equal(upkeep_take_master(&r->upkeep, path), 0); /* empty */
    tell(r, &nothing);
    assert_memory_equal(r->policy.row->keys, &before, sizeof before);

    assert_int_equal(dprintf(fd, "%064d\n", 1), 65);
    assert_int_equal(upkeep_take_master(&r->upkeep, path), 0);
    tell(r, &nothing);
    const struct cookie_keys after = *r->policy.row->keys;
    assert_memory_not_equal(after.epoch, before.epoch, sizeof after.epoch);
    assert_true(after.previous_until_ms > 0);
    assert_memory_equal(&after.timestamp, &before.timestamp, sizeof after.timestamp);

    assert_int_equal(upkeep_take_master(&r->upkeep, path), 0); /* the same again */
    tell(r, &nothing);
    assert_memory_equal(r->policy.row->keys, &after, sizeof after);
    assert_int_equal(close(fd) | unlink(path), 0);
}

/* ---- rules that change while the builder is busy ---- */

static void wait_for_test(void *argument)
{
    (void)argument;
    while (__atomic_load_n(&busy, __ATOMIC_RELAXED))
        usleep(1000);
}

static void keep_builder_busy(struct rig *r)
{
    __atomic_store_n(&busy, true, __ATOMIC_RELAXED);
    assert_int_equal(builder_call(r->upkeep.builder, wait_for_test, NULL), 0);
}

static void await_builder(struct rig *r)
{
    __atomic_store_n(&busy, false, __ATOMIC_RELAXED);
    builder_stop(r->upkeep.builder);
    r->upkeep.builder = builder_start(&r->policy);
    assert_non_null(r->upkeep.builder);
}

static void reload_rules(struct rig *r, const char *text)
{
    char why[CONF_WHY];
    int error = 0;
    struct settings *settings =
        conf_load_memory(&SETTINGS_SCHEMA, "upkeep", text, strlen(text), why);
    assert_non_null(settings);
    struct policy parts = {.rules = settings_rules(settings, &r->upkeep.rule_slots, &error)};
    assert_int_equal(error, 0);
    assert_int_equal(upkeep_reload(&r->upkeep, settings, &parts, NULL, why), 0);
    conf_free(&SETTINGS_SCHEMA, settings);
}

/* What a worker may take of a slot that it still has a rule for, after each of some rounds. */
static uint32_t take_of(struct rig *r, uint32_t slot, int rounds)
{
    uint32_t got = 0;
    while (rounds-- > 0) {
        upkeep_run(&r->upkeep);
        rule_accounts_begin(&r->shard.rules);
        got += lease_take(&r->shard.rules.account[slot].lease, 1);
    }
    return got;
}

static void rules_keep_rate_and_slot_until_those_after_them_are_in_force(void **state)
{
    enum { RULES = 8, ROUNDS = 20 };
    struct rig *r = *state;
    assert_int_equal(rule_accounts_init(&r->shard.rules, rule_slots_for(RULES)), 0);
    assert_int_equal(upkeep_rule_slots(&r->upkeep, RULES), 0);
    assert_int_equal(upkeep_lend(&r->upkeep), 0);
    reload_rules(r, CONFIGURATION "[rule a]\nadmit_per_second = 100000\n"
                                  "[rule b]\nadmit_per_second = 100000\n");
    const uint32_t of_a = rules_at(r->upkeep.rules, 0)->slot;
    const uint32_t of_b = rules_at(r->upkeep.rules, 1)->slot;
    keep_builder_busy(r);
    reload_rules(r, CONFIGURATION "[rule a]\n");
    assert_int_equal(take_of(r, of_a, ROUNDS), ROUNDS);
    assert_int_equal(take_of(r, of_b, ROUNDS), ROUNDS);
    reload_rules(r, CONFIGURATION "[rule c]\nadmit_per_second = 100000\n");
    const uint32_t of_c = rules_at(r->upkeep.rules, 0)->slot;
    assert_true(of_c != of_a && of_c != of_b);
    /* Nor does it wait for a round: a worker may have its rule before. */
    assert_true(r->shard.rules.account[of_c].lease.lent != 0);
    assert_int_equal(take_of(r, of_a, ROUNDS), ROUNDS);
    assert_int_equal(take_of(r, of_b, ROUNDS), ROUNDS);
    await_builder(r);
    take_of(r, of_c, 4); /* what was lent is called back */
    assert_int_equal(r->upkeep.rule_slots.slot[of_a].use, SLOT_FREE);
    assert_int_equal(r->upkeep.rule_slots.slot[of_b].use, SLOT_FREE);
    assert_int_equal(take_of(r, of_a, ROUNDS), 0);
    assert_int_equal(take_of(r, of_c, ROUNDS), ROUNDS);
    rule_accounts_end(&r->shard.rules);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_next_hop_is_asked_for_at_once_and_once),
        TEST(only_the_answer_of_a_next_hop_is_believed),
        TEST(news_of_a_next_hop_is_a_reason_to_ask_and_not_believed),
        TEST(the_next_hop_of_who_falls_silent_is_asked_at_once),
        TEST(a_router_in_doubt_is_asked_once_for_all_behind_it),
        TEST(only_mss_is_offered_until_a_probe_has_shown_more),
        TEST(the_promise_before_is_kept_for_cookies_that_are_out),
        TEST(the_same_answer_again_publishes_nothing),
        TEST(a_backend_that_refuses_an_option_is_offered_as_unknown),
        TEST(a_silent_backend_keeps_what_is_known_of_it),
        TEST(a_backend_leaves_after_failures_in_a_row_and_comes_back_with_one_answer),
        TEST(when_all_have_failed_a_service_that_tries_uses_all),
        TEST(a_service_is_down_when_all_have_failed_until_one_answers),
        TEST(a_backend_that_is_not_well_still_shows_its_options),
        TEST(a_backend_that_answers_nobody_is_out_until_its_pause_is_over_and_a_probe_is_good),
        TEST(the_last_backend_of_a_service_is_not_taken_out_for_slow_answers),
        TEST(the_last_backend_of_a_service_is_left_to_its_probes),
        TEST(who_says_nothing_is_mute_while_others_are_well),
        TEST(who_answers_clients_is_not_mute_however_its_probes_end),
        TEST(who_answers_clients_between_some_of_its_probes_only_is_not_mute),
        TEST(openings_that_fail_take_a_backend_out_until_its_next_good_probe),
        TEST(pitfall_30_only_what_all_backends_in_use_support_is_offered),
        TEST(pitfall_30_a_backend_that_refuses_what_its_probe_had_shown_is_taken_out),
        TEST(pitfall_30_the_last_backend_stays_and_nothing_is_promised_for_it),
        TEST(rules_keep_rate_and_slot_until_those_after_them_are_in_force),
        TEST(pitfall_21_a_new_master_takes_over_and_a_bad_file_changes_nothing),
    };
    return cmocka_run_group_tests(tests, start_dpdk, NULL);
}
