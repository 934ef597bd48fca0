/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What telemetry says of workers whose counters are known. DPDK's part, which turns it into JSON
 * behind a socket, is replaced by one that keeps names and values. */
#include "dataplane/ops/metrics.h"

#include <ctype.h>
#include <inttypes.h>
#include <rte_eal.h>
#include <rte_telemetry.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

enum { WORKERS = 3, BUFFERS = 255, COMMANDS = 16, ENTRIES = 256, VALUE = 64 };

/* ---- in place of librte_telemetry ---- */

struct rte_tel_data {
    uint32_t count;
    struct {
        char name[VALUE], value[VALUE];
        struct rte_tel_data *inner;
    } entry[ENTRIES];
};

static struct {
    const char *name;
    telemetry_cb answer;
} registered[COMMANDS];
static uint32_t registered_count;

int rte_telemetry_register_cmd(const char *name, telemetry_cb answer, const char *help)
{
    if (strncmp(name, "/dropgate/", 10) != 0) /* DPDK's own */
        return 0;
    assert_true(registered_count < COMMANDS && strlen(help) > 0);
    registered[registered_count].name = name;
    registered[registered_count++].answer = answer;
    return 0;
}

struct rte_tel_data *rte_tel_data_alloc(void)
{
    return calloc(1, sizeof(struct rte_tel_data));
}

int rte_tel_data_start_dict(struct rte_tel_data *data)
{
    data->count = 0;
    return 0;
}

/* More entries than fit, and keys that it does not like, DPDK would leave out without a word. */
static int add(struct rte_tel_data *data, const char *name, const char *value,
               struct rte_tel_data *inner)
{
    assert_true(data->count < ENTRIES);
    assert_true(strlen(name) < VALUE && strlen(value) < VALUE);
    for (const char *c = name; *c != '\0'; c++)
        assert_true(isalnum((unsigned char)*c) || *c == '_' || *c == '/');
    for (uint32_t i = 0; i < data->count; i++)
        assert_string_not_equal(data->entry[i].name, name);
    strcpy(data->entry[data->count].name, name);
    strcpy(data->entry[data->count].value, value);
    data->entry[data->count++].inner = inner;
    return 0;
}

int rte_tel_data_add_dict_string(struct rte_tel_data *data, const char *name, const char *value)
{
    return add(data, name, value, NULL);
}

int rte_tel_data_add_dict_int(struct rte_tel_data *data, const char *name, int value)
{
    char text[VALUE];
    snprintf(text, sizeof text, "%d", value);
    return add(data, name, text, NULL);
}

int rte_tel_data_add_dict_u64(struct rte_tel_data *data, const char *name, uint64_t value)
{
    char text[VALUE];
    snprintf(text, sizeof text, "%" PRIu64, value);
    return add(data, name, text, NULL);
}

int rte_tel_data_add_dict_container(struct rte_tel_data *data, const char *name,
                                    struct rte_tel_data *inner, int keep)
{
    assert_int_equal(keep, 0);
    return add(data, name, "", inner);
}

/* ---- asking ---- */

static struct rte_tel_data said;

static void forget(void)
{
    for (uint32_t i = 0; i < said.count; i++)
        free(said.entry[i].inner);
    memset(&said, 0, sizeof said);
}

static int ask(const char *command, const char *parameters)
{
    forget();
    for (uint32_t i = 0; i < registered_count; i++)
        if (strcmp(registered[i].name, command) == 0)
            return registered[i].answer(command, parameters, &said);
    fail_msg("%s is not registered", command);
    return 0;
}

static const char *value_in(const struct rte_tel_data *data, const char *name)
{
    for (uint32_t i = 0; i < data->count; i++)
        if (strcmp(data->entry[i].name, name) == 0)
            return data->entry[i].value;
    fail_msg("%s is not said", name);
    return "";
}

static void says(const char *name, const char *value)
{
    assert_string_equal(value_in(&said, name), value);
}

static void says_of(const char *backend, const char *name, const char *value)
{
    for (uint32_t i = 0; i < said.count; i++)
        if (strcmp(said.entry[i].name, backend) == 0) {
            assert_string_equal(value_in(said.entry[i].inner, name), value);
            return;
        }
    fail_msg("nothing is said of %s", backend);
}

/* ---- the rig ---- */

static const char configuration[] = "[outside]\ndevice = net_null0\naddresses = 198.18.0.1/17\n"
                                    "[inside]\ndevice = net_null1\naddresses = 198.18.128.1/24\n"
                                    "[tables]\nflows = 1024\ntombstones = 1024\nheld = 16\n"
                                    "held_large = 8\n"
                                    "[backend one]\naddress = 198.18.128.2:8080\nweight = 30\n"
                                    "[backend two]\naddress = 198.18.128.3:8081\ndrain = yes\n"
                                    "[service shop]\nlisten = 198.18.0.80:80\n"
                                    "backends = one, two\n";

static struct {
    struct settings *settings;
    struct services *services;
    struct worker workers[WORKERS];
    struct backend_state states[2];
    uint8_t health[2];
    struct upkeep upkeep;
    struct policy_slot slot;
    struct policy row;
    struct rte_mempool *pool;
} rig;

static int start_dpdk(void **state)
{
    (void)state;
    char *arguments[] = {"metrics_test",
                         "-l",
                         "0",
                         "--no-huge",
                         "-m",
                         "64",
                         "--no-pci",
                         "--no-shconf",
                         "--no-telemetry",
                         "--file-prefix",
                         "dropgate-metrics",
                         "--log-level",
                         "error"};
    if (rte_eal_init((int)(sizeof arguments / sizeof *arguments), arguments) < 0)
        return -1;
    rig.pool =
        rte_pktmbuf_pool_create("pool", BUFFERS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    return rig.pool == NULL ? -1 : 0;
}

static int stop_dpdk(void **state)
{
    (void)state;
    return rte_eal_cleanup();
}

static int setup(void **state)
{
    (void)state;
    char why[CONF_WHY];
    const struct siphash_key key = {1, 2};
    const struct mac mac[PORT_SIDES] = {0};
    const struct shard_output output = {0};
    const struct shard_sizes sizes = {.flows = 1024,
                                      .tombstones = 1024,
                                      .held = 16,
                                      .held_large = 8,
                                      .held_bytes = 8192,
                                      .backends = 2,
                                      .clients = 1024,
                                      .bans = 64,
                                      .rules = 4};
    rig.settings =
        conf_load_memory(&SETTINGS_SCHEMA, "metrics", configuration, sizeof configuration - 1, why);
    if (rig.settings == NULL) {
        print_error("%s\n", why);
        return -1;
    }
    rig.services = settings_services(rig.settings);
    for (uint32_t i = 0; i < WORKERS; i++) {
        rig.workers[i] = (struct worker){.pool = rig.pool};
        rig.workers[i].shard = shard_new(&sizes, &key, &output, mac, 1000);
        if (rig.workers[i].shard == NULL)
            return -1;
    }
    memset(rig.states, 0, sizeof rig.states);
    memset(rig.health, HEALTH_UNKNOWN, sizeof rig.health);
    rig.upkeep =
        (struct upkeep){.services = rig.services, .backends = rig.states, .health = rig.health};
    rig.upkeep.slot = &rig.slot;
    rig.slot.row = &rig.row;
    rig.row.services = rig.services;
    if (rule_slots_init(&rig.upkeep.rule_slots, 2, WORKERS) != 0)
        return -1;
    for (uint32_t i = 0; i < WORKERS; i++)
        if (rule_slots_add(&rig.upkeep.rule_slots, &rig.workers[i].shard->rules) != 0)
            return -1;
    registered_count = 0;
    return metrics_register(rig.settings, rig.workers, WORKERS, &rig.upkeep);
}

static int teardown(void **state)
{
    (void)state;
    metrics_close();
    forget();
    for (uint32_t i = 0; i < WORKERS; i++)
        shard_free(rig.workers[i].shard);
    rule_slots_end(&rig.upkeep.rule_slots);
    services_free(rig.services);
    conf_free(&SETTINGS_SCHEMA, rig.settings);
    return 0;
}

/* ---- tests ---- */

static void every_verdict_is_said_by_its_name(void **state)
{
    (void)state;
    for (int i = 0; i < VERDICT_COUNT; i++)
        for (uint32_t w = 0; w < WORKERS; w++)
            rig.workers[w].shard->verdicts[i] = (uint64_t)i * 1000 + w;
    assert_int_equal(ask("/dropgate/verdicts", NULL), 0);
    assert_int_equal(said.count, VERDICT_COUNT);
    for (int i = 0; i < VERDICT_COUNT; i++) {
        char sum[VALUE];
        snprintf(sum, sizeof sum, "%d", i * 1000 * WORKERS + 3);
        says(verdict_name((enum verdict)i), sum);
    }
}

static void a_number_asks_for_one_worker(void **state)
{
    (void)state;
    for (uint32_t w = 0; w < WORKERS; w++) {
        rig.workers[w].shard->verdicts[VERDICT_OPENED] = 10 + w;
        rig.workers[w].shard->openings[1].opened = 20 + w;
        rig.workers[w].busy_loops = 30 + w;
        rig.workers[w].shard->hellos->other = 40 + w;
    }
    ask("/dropgate/verdicts", "0");
    says("opened", "10");
    ask("/dropgate/verdicts", "2");
    says("opened", "12");
    ask("/dropgate/backends", "1");
    says_of("two", "opened", "21");
    ask("/dropgate/worker", "1");
    says("busy_loops", "31");
    ask("/dropgate/ja4", "1");
    says("other", "41");
    ask("/dropgate/verdicts", ""); /* and no number for all, again */
    says("opened", "33");
    ask("/dropgate/backends", NULL);
    says_of("two", "opened", "63");
}

static void a_worker_that_is_not_there_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"3", "4294967296", "-1", "+1", " 1", "1x", "x", "1,2"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        for (uint32_t c = 0; c < registered_count; c++) {
            assert_int_equal(ask(registered[c].name, wrong[i]), -1);
            assert_int_equal(said.count, 0);
        }
}

static void tables_are_said_with_their_capacities(void **state)
{
    (void)state;
    const struct addr client = {.bytes = {[10] = 0xff, 0xff, 198, 18, 64, 1}};
    for (uint32_t w = 0; w < 2; w++) {
        held_take(rig.workers[w].shard->held, HELD_SMALL, &client, true);
        assert_non_null(flow_reserve(rig.workers[w].shard->flows));
    }
    held_take(rig.workers[1].shard->held, HELD_LARGE, &client, true);
    ask("/dropgate/tables", NULL);
    says("flows", "2");
    says("flows_max", "3072");
    says("tombstones", "0");
    says("tombstones_max", "3072");
    says("held", "2");
    says("held_max", "48");
    says("held_large", "1");
    says("held_large_max", "24");
    ask("/dropgate/tables", "1");
    says("flows", "1");
    says("flows_max", "1024");
    says("held_large", "1");
    says("held_large_max", "8");
}

static void workers_are_said_by_side(void **state)
{
    (void)state;
    for (uint32_t w = 0; w < WORKERS; w++) {
        struct worker *worker = &rig.workers[w];
        worker->received[OUTSIDE] = 1 + w;
        worker->received[INSIDE] = 10 + w;
        worker->sent[OUTSIDE] = 100 + w;
        worker->sent[INSIDE] = 1000 + w;
        worker->handover.given = 7;
        worker->handover.taken = 6;
        worker->idle_loops = 5;
        worker->shard->requests = UINT64_C(1) << 62;
    }
    ask("/dropgate/worker", NULL);
    says("workers", "3");
    says("received_outside", "6");
    says("received_inside", "33");
    says("sent_outside", "303");
    says("sent_inside", "3003");
    says("given", "21");
    says("taken", "18");
    says("idle_loops", "15");
    says("requests", "13835058055282163712"); /* more than a signed number holds */
    struct rte_mbuf *taken = rte_pktmbuf_alloc(rig.pool);
    ask("/dropgate/worker", NULL);
    says("buffers_free", "254");
    rte_pktmbuf_free(taken);
}

static void backends_are_said_as_upkeep_knows_them(void **state)
{
    (void)state;
    rig.states[0] =
        (struct backend_state){.well = {.health = HEALTH_UP, .since_unix_ms = 7000},
                               .resolved = true,
                               .answering = true,
                               .learned = true,
                               .options = {.mss = 1460, .sack_ok = true, .window_scale = 0}};
    rig.states[1].well = (struct backend_health){
        .health = HEALTH_DOWN, .reason = PROBE_STATUS, .status = 503, .failures = 4};
    rig.states[1].options.window_scale = 7; /* not learned */
    rig.workers[0].shard->openings[0] = (struct backend_openings){
        .refused = 2, .timeouts = 3, .answered = 5, .unanswered = 6, .cookies = 8};
    ask("/dropgate/backends", NULL);
    assert_int_equal(said.count, 2);
    says_of("one", "address", "198.18.128.2:8080");
    says_of("one", "health", "up");
    says_of("one", "resolved", "1");
    says_of("one", "answering", "1");
    says_of("one", "learned", "1");
    says_of("one", "mss", "1460");
    says_of("one", "window_scale", "0");
    says_of("one", "sack", "1");
    says_of("one", "timestamps", "0");
    says_of("one", "refused", "2");
    says_of("one", "timeouts", "3");
    says_of("one", "reason", "none");
    says_of("one", "since", "7");
    says_of("one", "weight", "30");
    says_of("one", "draining", "0");
    says_of("one", "answered", "5");
    says_of("one", "unanswered", "6");
    says_of("one", "cookies", "8");
    says_of("two", "health", "down");
    says_of("two", "reason", "status");
    says_of("two", "status", "503");
    says_of("two", "failures", "4");
    says_of("two", "weight", "10");
    says_of("two", "draining", "1");
    says_of("two", "window_scale", "-1");
    rig.states[0].options.window_scale = COOKIE_NO_SCALE;
    ask("/dropgate/backends", NULL);
    says_of("one", "window_scale", "-1");
}

static void fingerprints_of_all_workers_are_merged_the_most_frequent_first(void **state)
{
    (void)state;
    for (uint32_t w = 0; w < WORKERS; w++) {
        ja4_count(rig.workers[w].shard->hellos, "t13d0000h2_000000000000_000000000000");
        ja4_count(rig.workers[w].shard->hellos, "t13d0001h2_000000000001_000000000001");
    }
    ja4_count(rig.workers[2].shard->hellos, "t13d0001h2_000000000001_000000000001");
    ja4_count(rig.workers[2].shard->hellos, "t13d0002h2_000000000002_000000000002");
    ask("/dropgate/ja4", NULL);
    assert_int_equal(said.count, 4);
    assert_string_equal(said.entry[0].name, "t13d0001h2_000000000001_000000000001");
    assert_string_equal(said.entry[0].value, "4");
    assert_string_equal(said.entry[1].value, "3");
    assert_string_equal(said.entry[2].value, "1");
    says("other", "0");
}

/* An answer has room for 256; what is rare is said as one sum. */
static void more_fingerprints_than_an_answer_holds_are_summed_up(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 300; i++) {
        char text[JA4_TEXT];
        snprintf(text, sizeof text, "t13d%04uh2_%012u_%012u", i, i, i);
        for (uint32_t n = 0; n < (i < 200 ? 3U : 2U); n++)
            ja4_count(rig.workers[i % WORKERS].shard->hellos, text);
    }
    rig.workers[0].shard->hellos->other = 5;
    ask("/dropgate/ja4", NULL);
    assert_int_equal(said.count, 201);
    says("other", "205");
    for (uint32_t i = 0; i < 200; i++)
        assert_string_equal(said.entry[i].value, "3");
}

static void client_opens(uint32_t worker, const char *text, uint32_t times)
{
    const struct client_limits limits = {
        .connections = 3, .strikes = 2, .ban_ms = 5000, .ban_most_ms = 5000};
    struct addr client;
    uint32_t account;
    assert_int_equal(addr_parse(text, &client), 0);
    while (times-- > 0)
        client_connect(rig.workers[worker].shard->clients, &limits, &client, 0, 1000, &account);
    client_strike(rig.workers[worker].shard->clients, &limits, &client, 0, STRIKE_SLOW, 1000);
}

static void clients_of_all_workers_are_summed_and_the_busiest_named(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 9; i++) {
        char text[ADDR_TEXT];
        snprintf(text, sizeof text, "198.51.100.%u", i);
        client_opens(i % WORKERS, text, 1);
    }
    client_opens(2, "2001:db8:1:2::7", 5);
    ask("/dropgate/clients", NULL);
    says("entries", "13"); /* three of them networks */
    says("networks", "3");
    says("connections", "12");
    says("bans", "0");
    says("strike", "10");
    says_of("most_open_1", "client", "2001:db8:1:2::/64");
    says_of("most_open_1", "connections", "3");
    says_of("most_open_1", "refused", "2");
    says_of("most_open_8", "connections", "1");
    says_of("most_refused_1", "client", "2001:db8:1:2::/64");
    ask("/dropgate/clients", "1");
    says("connections", "3");
}

static void bans_in_force_are_said_with_their_reason(void **state)
{
    (void)state;
    client_opens(0, "198.51.100.7", 1);
    client_opens(0, "198.51.100.7", 1);
    client_opens(2, "2001:db8:1:2::7", 1);
    client_opens(2, "2001:db8:1:2::7", 1);
    ask("/dropgate/bans", NULL);
    assert_int_equal(said.count, 2);
    says_of("ban_1", "client", "198.51.100.7/32");
    says_of("ban_1", "reason", "slow");
    says_of("ban_1", "seconds", "5");
    says_of("ban_2", "client", "2001:db8:1:2::/64");
    rig.workers[2].shard->now_ms += 5000;
    ask("/dropgate/bans", NULL);
    assert_int_equal(said.count, 1);
}

static void once_closed_everything_is_refused(void **state)
{
    (void)state;
    metrics_close();
    for (uint32_t c = 0; c < registered_count; c++)
        assert_int_equal(ask(registered[c].name, NULL), -1);
    assert_int_equal(registered_count, 9);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static void rules_are_said_with_what_they_did(void **state)
{
    (void)state;
    struct rule_source sources[] = {
        {.rule = {.name = "sale-7", .state = RULE_UPCOMING, .opens_at = INT64_C(4102444800000)}},
        {.rule = {
             .name = "rest", .state = RULE_OPEN, .per_second = 50, .burst = 5, .observe = true}}};
    for (size_t i = 0; i < 2; i++) {
        int slot = rule_slots_find(&rig.upkeep.rule_slots, sources[i].rule.name);
        sources[i].rule.slot = (uint32_t)slot;
        for (uint32_t w = 0; w < WORKERS; w++)
            rig.workers[w].shard->rules.account[slot].counts =
                (struct rule_counts){100 + w, 10, 1, i};
    }
    struct rules *rules = rules_new(sources, 2);
    rig.row.rules = rules;
    assert_int_equal(ask("/dropgate/rules", NULL), 0);
    assert_int_equal(said.count, 2);
    says_of("sale_7", "rule", "sale-7");
    says_of("sale_7", "state", "upcoming");
    says_of("sale_7", "opens_at", "2100-01-01T00:00:00Z");
    says_of("sale_7", "passed", "303");
    says_of("rest", "rule", "rest");
    says_of("rest", "mode", "observe");
    assert_int_equal(ask("/dropgate/rules", "rest"), 0);
    says("state", "open");
    says("admit_per_second", "50");
    says("over_rate", "30");
    says("refused", "3");
    says("observed", "3");
    assert_int_equal(ask("/dropgate/rules", "@1"), 0);
    assert_int_equal(said.count, 1);
    says_of("rest", "rule", "rest");
    assert_int_equal(ask("/dropgate/rules", "@2"), 0);
    assert_int_equal(said.count, 0);
    assert_int_equal(ask("/dropgate/rules", "other"), -1);
    rig.row.rules = NULL;
    free(rules);
    assert_int_equal(ask("/dropgate/rules", NULL), 0);
    assert_int_equal(said.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rules_are_said_with_what_they_did),
        TEST(every_verdict_is_said_by_its_name),
        TEST(a_number_asks_for_one_worker),
        TEST(a_worker_that_is_not_there_is_refused),
        TEST(tables_are_said_with_their_capacities),
        TEST(workers_are_said_by_side),
        TEST(backends_are_said_as_upkeep_knows_them),
        TEST(fingerprints_of_all_workers_are_merged_the_most_frequent_first),
        TEST(more_fingerprints_than_an_answer_holds_are_summed_up),
        TEST(clients_of_all_workers_are_summed_and_the_busiest_named),
        TEST(bans_in_force_are_said_with_their_reason),
        TEST(once_closed_everything_is_refused),
    };
    return cmocka_run_group_tests(tests, start_dpdk, stop_dpdk);
}
