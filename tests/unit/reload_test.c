/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Reloads with a real file and a real builder: what is in force afterwards, and what the log says,
 * which is all that an operator has. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/log.h"
#include "dataplane/ops/reload.h"

#define BASE                                                      \
    "[outside]\ndevice = net_null0\naddresses = 198.18.0.1/17\n"  \
    "[inside]\ndevice = net_null1\naddresses = 198.18.128.1/24\n" \
    "[backend one]\naddress = 198.18.128.2:8080\n"                \
    "[service shop]\nlisten = 198.18.0.80:80\nbackends = one\n"

#define ROOM_FOR_FEW  "[tables]\nbackends = 3\nservices = 2\n"
#define ONE           "[backend one]\naddress = 198.18.128.2:8080\n"
#define TWO           "[backend two]\naddress = 198.18.128.3:8080\n"
#define THREE         "[backend three]\naddress = 198.18.128.4:8080\n"
#define FOUR          "[backend four]\naddress = 198.18.128.5:8080\n"
#define SIDE          "[service side]\nlisten = 198.18.0.80:81\nbackends = one\n"
#define SHOP_OF(list) "[service shop]\nlisten = 198.18.0.80:80\nbackends = " list "\n"
#define PORTS                                                    \
    "[outside]\ndevice = net_null0\naddresses = 198.18.0.1/17\n" \
    "[inside]\ndevice = net_null1\naddresses = 198.18.128.1/24\n"

static bool short_of_memory, short_of_randomness;

int __real_builder_reserve(struct builder *builder);
int __wrap_builder_reserve(struct builder *builder);

int __wrap_builder_reserve(struct builder *builder)
{
    return short_of_memory ? -ENOMEM : __real_builder_reserve(builder);
}

ssize_t __real_getrandom(void *out, size_t length, unsigned flags);
ssize_t __wrap_getrandom(void *out, size_t length, unsigned flags);

ssize_t __wrap_getrandom(void *out, size_t length, unsigned flags)
{
    return short_of_randomness ? -1 : __real_getrandom(out, length, flags);
}

struct rig {
    struct worker worker;
    uint64_t now_ms;
    char path[32], log[32];
    int kept_stderr;
    struct settings *first;
    struct policy_slot slot;
    struct upkeep upkeep;
    struct reload reload;
};

static void write_file(const struct rig *r, const char *text)
{
    FILE *file = fopen(r->path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void no_frame(void *context, enum port_side to, const uint8_t *bytes, uint32_t length)
{
    (void)context, (void)to, (void)bytes, (void)length;
}

static void no_message(void *context, const struct message *message)
{
    (void)context, (void)message;
}

static struct shard *make_shard(void)
{
    static const struct shard_sizes sizes = {
        .flows = 256, .tombstones = 256, .held = 4, .clients = 256, .bans = 16, .backends = 4096};
    static const struct siphash_key secret = {1, 2};
    static const struct shard_output output = {no_frame, no_message, NULL};
    static const struct mac mac[PORT_SIDES];
    return shard_new(&sizes, &secret, &output, mac, 1000);
}

static int setup_with(void **state, const char *text)
{
    struct rig *r = calloc(1, sizeof *r);
    char why[CONF_WHY];
    strcpy(r->path, "/tmp/reload_test.XXXXXX");
    strcpy(r->log, "/tmp/reload_test.XXXXXX");
    int file = mkstemp(r->path), log = mkstemp(r->log);
    *state = r;
    if (file < 0 || log < 0 || close(file) != 0)
        return -1;
    r->now_ms = 1000;
    r->worker.shard = make_shard();
    write_file(r, text);
    r->first = conf_load(&SETTINGS_SCHEMA, r->path, why);
    if (r->first == NULL || upkeep_init(&r->upkeep, &r->slot, settings_services(r->first),
                                        settings_limits(r->first), &r->worker, 1, NULL) != 0)
        return -1;
    if (upkeep_rule_slots(&r->upkeep, 4) != 0)
        return -1;
    r->upkeep.builder = builder_start(&r->slot);
    r->reload = (struct reload){.path = r->path, .first = r->first, .upkeep = &r->upkeep};
    fflush(stderr);
    r->kept_stderr = dup(STDERR_FILENO);
    return r->upkeep.builder == NULL || dup2(log, STDERR_FILENO) < 0 || close(log) != 0 ? -1 : 0;
}

static int setup(void **state)
{
    return setup_with(state, BASE);
}

static int setup_small(void **state)
{
    return setup_with(state, ROOM_FOR_FEW BASE TWO);
}

static int teardown(void **state)
{
    struct rig *r = *state;
    short_of_memory = short_of_randomness = false;
    dup2(r->kept_stderr, STDERR_FILENO);
    close(r->kept_stderr);
    builder_stop(r->upkeep.builder);
    upkeep_end(&r->upkeep);
    shard_free(r->worker.shard);
    reload_end(&r->reload);
    conf_free(&SETTINGS_SCHEMA, r->first);
    log_set_lowest(LOG_LEVEL_INFO);
    int error = unlink(r->path) | unlink(r->log);
    free(r);
    return error;
}

/* Reloads with that file, and waits until what follows from it is in force, as upkeep_run does. */
static int reload_with(struct rig *r, const char *text)
{
    write_file(r, text);
    assert_int_equal(ftruncate(STDERR_FILENO, 0), 0);
    assert_int_equal(lseek(STDERR_FILENO, 0, SEEK_SET), 0);
    int error = reload_run(&r->reload);
    builder_stop(r->upkeep.builder);
    r->upkeep.builder = builder_start(&r->slot);
    assert_non_null(r->upkeep.builder);
    rule_slots_let_go(&r->upkeep.rule_slots);
    return error;
}

/* Whether the log of the last reload has `format`, in which %s stands for the file's name. */
static void __attribute__((format(printf, 2, 0))) logged(const struct rig *r, const char *format)
{
    char wanted[1024], text[16384];
    FILE *file = fopen(r->log, "r");
    assert_non_null(file);
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = '\0';
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(wanted, sizeof wanted, format, r->path);
#pragma GCC diagnostic pop
    if (strstr(text, wanted) == NULL) {
        print_message("the log has\n%s\nbut not\n%s\n", text, wanted); /* stderr is the log */
        fail();
    }
}

static void is_silent(void)
{
    assert_int_equal(lseek(STDERR_FILENO, 0, SEEK_END), 0);
}

static const struct limits *limits(const struct rig *r)
{
    return r->slot.row->limits;
}

static void a_change_is_in_force_and_told_with_both_values(void **state)
{
    struct rig *r = *state;
    assert_int_equal(reload_with(r, BASE "[tcp]\nidle = 10m\n[guard]\nsource_rate = 5\n"), 0);
    assert_int_equal(limits(r)->idle_ms, 600000);
    assert_int_equal(limits(r)->source_rate, 5);
    assert_ptr_equal(r->upkeep.limits, limits(r));
    logged(r, "[tcp] idle: 15m -> 10m; [guard] source_rate: 20000 -> 5");
    logged(r, "%s: read again, 2 changes are in force");
    assert_int_equal(reload_with(r, BASE "[tcp]\nidle = 10m\n"), 0); /* and back */
    assert_int_equal(limits(r)->source_rate, 20000);
    logged(r, "\"[guard] source_rate: 5 -> 20000\"");
    logged(r, "%s: read again, 1 change is in force");
}

static void a_file_that_says_the_same_changes_nothing(void **state)
{
    struct rig *r = *state;
    assert_int_equal(reload_with(r, "# again\n" BASE "[tcp]\nidle = 15m\n"), 0);
    logged(r, "%s: read again, 0 changes are in force");
}

static void a_mistake_changes_nothing_and_is_told_with_its_line(void **state)
{
    struct rig *r = *state;
    const struct policy *before = r->slot.row;
    assert_int_equal(reload_with(r, BASE "[tcp]\nidle = 10m\nlinger = soon\n"), -EINVAL);
    logged(r, "%s:14: [tcp] linger = soon: not a whole number with a unit");
    logged(r, "nothing was changed");
    assert_int_equal(reload_with(r, BASE "[tcp]\nidle = 10m\n[gateway]\nbuffers = 1024\n"),
                     -EINVAL); /* across fields */
    logged(r, "%s:15: [gateway] buffers = 1024: ");
    assert_int_equal(unlink(r->path), 0);
    assert_int_equal(reload_run(&r->reload), -EINVAL);
    logged(r, "%s: cannot be read: No such file or directory; nothing was changed");
    assert_ptr_equal(r->slot.row, before);
    assert_ptr_equal(reload_settings(&r->reload), r->first);
    write_file(r, BASE);
}

static void a_key_that_only_a_restart_takes_refuses_the_whole_file(void **state)
{
    struct rig *r = *state;
    const struct policy *before = r->slot.row;
    assert_int_equal(
        reload_with(r, BASE "[tables]\nflows = 1000\n[tcp]\nidle = 10m\nwindow = 4K\n"), -EINVAL);
    logged(r, "%s:13: [tables] flows: 262144 -> 1000: only a restart takes this");
    logged(r, ":16: [tcp] window: 8K -> 4K: only a restart takes this");
    logged(r, "%s: 2 of 3 changes need a restart; nothing was changed");
    assert_ptr_equal(r->slot.row, before);
}

static void the_level_of_the_log_follows(void **state)
{
    struct rig *r = *state;
    assert_int_equal(reload_with(r, BASE "[gateway]\nlog_level = error\n"), 0);
    logged(r, "[gateway] log_level: info -> error"); /* the last that is told */
    assert_int_equal(reload_with(r, BASE "[gateway]\nlog_level = error\n[tcp]\nidle = 1m\n"), 0);
    is_silent();
    assert_int_equal(reload_with(r, BASE), 0);
    logged(r, "[gateway] log_level: error -> info");
}

static void two_hundred_reloads_leave_nothing_behind(void **state)
{
    struct rig *r = *state;
    for (int i = 0; i < 200; i++) {
        char text[1024];
        snprintf(text, sizeof text, "%s[tcp]\nidle = %ds\n%s", BASE, 100 + i,
                 i % 3 == 1   ? "idle = 1s\n"
                 : i % 3 == 2 ? "[tables]\nheld = 5\n"
                              : "");
        assert_int_equal(reload_with(r, text), i % 3 == 0 ? 0 : -EINVAL);
        assert_int_equal(limits(r)->idle_ms, 1000 * (100 + i / 3 * 3));
    }
}

/* ---- services and backends ---- */

static const struct services *services(const struct rig *r)
{
    return r->slot.row->services;
}

/* A round of the worker: it sees the row in force, and its timers run. */
static void tick(struct rig *r)
{
    r->now_ms++;
    shard_begin(r->worker.shard, r->slot.row, r->now_ms, r->now_ms);
    shard_tick(r->worker.shard);
}

static struct flow *open_flow(struct rig *r, uint16_t service, uint16_t backend)
{
    struct flow *flow = flow_reserve(r->worker.shard->flows);
    assert_non_null(flow);
    flow->client_port = (uint16_t)(1000 + flow_index(r->worker.shard->flows, flow));
    flow->service = service;
    flow->backend = backend;
    flow->state = FLOW_ESTABLISHED;
    flow_publish(r->worker.shard->flows, flow);
    return flow;
}

/* Looks twice, with rounds of the worker between: who leaves has been counted. */
static void look(struct rig *r)
{
    for (int i = 0; i < 2; i++) {
        r->upkeep.look_ms = 0;
        reload_look(&r->reload);
        builder_stop(r->upkeep.builder);
        r->upkeep.builder = builder_start(&r->slot);
        tick(r);
    }
}

static int backend_at(const struct rig *r, const char *text)
{
    struct endpoint endpoint;
    assert_int_equal(endpoint_parse(text, &endpoint), 0);
    return policy_backend(services(r), &endpoint.addr, endpoint.port);
}

static struct endpoint side(void)
{
    struct endpoint endpoint;
    assert_int_equal(endpoint_parse("198.18.0.80:81", &endpoint), 0);
    return endpoint;
}

/* A bit for each backend that connections to the first service are led to. */
static unsigned used(const struct rig *r)
{
    unsigned met = 0;
    for (uint64_t hash = 0; hash < 200; hash++)
        met |= 1U << balance_choose(r->slot.row->balance, 0, hash, 0);
    return met;
}

static void who_stays_is_remembered_and_who_comes_is_unknown(void **state)
{
    struct rig *r = *state;
    r->upkeep.backends[0].resolved = true;
    r->upkeep.health[0] = HEALTH_UP;
    r->upkeep.offers->offer[0].promise[0].window_scale = 7;
    const struct promise before = r->upkeep.offers->offer[0].promise[0];
    assert_int_equal(reload_with(r, PORTS TWO ONE SIDE SHOP_OF("two, one")), 0);
    assert_int_equal(backend_at(r, "198.18.128.2:8080"), 0); /* wherever it stands in the file */
    assert_int_equal(backend_at(r, "198.18.128.3:8080"), 1);
    assert_true(r->slot.row->neighbors->backend[0].known);
    assert_false(r->slot.row->neighbors->backend[1].known);
    assert_int_equal(r->upkeep.health[1], HEALTH_UNKNOWN);
    assert_int_equal(used(r), 1); /* the other not before it has answered a probe */
    assert_int_equal(r->slot.row->offers->count, 2);
    assert_int_equal(r->slot.row->offers->offer[0].promise[1].cookie_service,
                     before.cookie_service);
    assert_int_equal(r->slot.row->offers->offer[0].promise[1].window_scale, 7);
    const struct endpoint listen = side();
    const uint32_t plain = policy_cookie_service(&listen, COOKIE_NO_SCALE);
    for (int i = 0; i < 2; i++) {
        const struct promise *promise = &r->slot.row->offers->offer[1].promise[i];
        assert_int_equal(promise->cookie_service, plain);
        assert_int_equal(promise->window_scale, COOKIE_NO_SCALE);
    }
    logged(r, "[backend two]: added; [service side]: added; [service shop] backends: +two");
}

static void a_removed_backend_keeps_its_number_until_its_last_flow_has_ended(void **state)
{
    struct rig *r = *state;
    assert_int_equal(reload_with(r, PORTS ONE TWO SHOP_OF("one, two")), 0);
    struct flow *flow = open_flow(r, 0, 1);
    assert_int_equal(used(r), 3);
    assert_int_equal(reload_with(r, PORTS ONE SHOP_OF("one")), 0);
    look(r);
    assert_int_equal(backend_at(r, "198.18.128.3:8080"), 1); /* it still speaks for its flow */
    assert_int_equal(services(r)->backend[1].presence, LEAVING);
    assert_true(services(r)->backend[1].drain);
    assert_int_equal(used(r), 1);
    assert_int_equal(reload_with(r, PORTS ONE THREE SHOP_OF("one, three")), 0);
    assert_int_equal(backend_at(r, "198.18.128.4:8080"), 2);
    flow_release(r->worker.shard->flows, flow);
    look(r);
    logged(r, "backend two at 198.18.128.3:8080: removed, and its last connection has ended");
    assert_int_equal(backend_at(r, "198.18.128.3:8080"), -1);
    assert_int_equal(services(r)->backend[1].presence, ABSENT);
    /* Nor is the number another's for as long as a tombstone may name it. */
    assert_int_equal(reload_with(r, PORTS ONE THREE FOUR SHOP_OF("one, four")), 0);
    assert_int_equal(backend_at(r, "198.18.128.5:8080"), 3);
}

static void a_removed_service_is_found_by_its_flows_alone(void **state)
{
    struct rig *r = *state;
    const struct endpoint listen = side();
    assert_int_equal(reload_with(r, BASE SIDE), 0);
    struct flow *flow = open_flow(r, 1, 0);
    assert_int_equal(policy_service(services(r), &listen.addr, listen.port), 1);
    assert_int_equal(reload_with(r, BASE), 0);
    look(r);
    assert_int_equal(policy_service(services(r), &listen.addr, listen.port), -1);
    assert_int_equal(policy_leaving(services(r), &listen.addr, listen.port), 1);
    assert_true(balance_down(r->slot.row->balance, 1));
    assert_int_equal(services(r)->service[1].listen.port, 81);
    flow_release(r->worker.shard->flows, flow);
    look(r);
    logged(r, "service side at 198.18.0.80:81: removed, and its last connection has ended");
    assert_int_equal(policy_leaving(services(r), &listen.addr, listen.port), -1);
    assert_int_equal(services(r)->count, 1);
}

static struct backend_state well_known(void)
{
    struct backend_state state = {
        .mac = {{2, 0, 0, 0, 0, 9}},
        .resolved = true,
        .confirmed_ms = 1000,
        .answering = true,
        .learned = true,
        .options = {.mss = 1400, .window_scale = 7, .sack_ok = true, .timestamps = true},
        .mute = true};
    state.well.health = HEALTH_UP;
    return state;
}

static void
who_comes_back_before_that_has_its_number_and_is_unknown_until_it_is_probed(void **state)
{
    struct rig *r = *state;
    assert_int_equal(reload_with(r, PORTS ONE TWO SHOP_OF("one, two")), 0);
    open_flow(r, 0, 1);
    for (int i = 0; i < 2; i++) {
        r->upkeep.backends[i] = well_known();
        r->upkeep.health[i] = HEALTH_UP;
    }
    assert_int_equal(reload_with(r, PORTS ONE SHOP_OF("one")), 0);
    look(r);
    assert_int_equal(reload_with(r, PORTS ONE TWO SHOP_OF("one, two")), 0);
    const struct backend_state *back = &r->upkeep.backends[1];
    assert_int_equal(services(r)->backend[1].presence, PRESENT);
    assert_int_equal(r->upkeep.health[1], HEALTH_UNKNOWN);
    assert_int_equal(back->well.reason, REASON_UNPROBED);
    assert_false(back->learned || back->answering || back->mute);
    assert_int_equal(used(r), 1); /* as any who comes */
    assert_true(r->slot.row->neighbors->backend[1].known);
    assert_int_equal(r->slot.row->neighbors->backend[1].mac.bytes[5], 9);
    assert_int_equal(back->confirmed_ms, 1000);
    assert_true(r->upkeep.backends[0].learned && r->upkeep.health[0] == HEALTH_UP);
    /* Alone, it is used, and nothing is promised that it may not keep. */
    assert_int_equal(reload_with(r, PORTS TWO SHOP_OF("two")), 0);
    assert_int_equal(used(r), 2);
    assert_false(r->slot.row->offers->offer[0].sack);
}

/* What was counted before a reload says nothing of who leaves since. */
static void a_count_that_was_begun_before_is_not_believed(void **state)
{
    struct rig *r = *state;
    assert_int_equal(reload_with(r, PORTS ONE TWO THREE SHOP_OF("one, two, three")), 0);
    open_flow(r, 0, 1);
    assert_int_equal(reload_with(r, PORTS ONE THREE SHOP_OF("one, three")), 0);
    r->upkeep.look_ms = 0;
    reload_look(&r->reload); /* begins to count */
    tick(r);                 /* has counted */
    open_flow(r, 0, 2);
    assert_int_equal(reload_with(r, PORTS ONE SHOP_OF("one")), 0);
    r->upkeep.look_ms = 0;
    reload_look(&r->reload);
    assert_int_equal(numbers_state(r->upkeep.backend_numbers, 2), NUMBER_LEAVING);
}

static void more_than_there_is_room_for_is_refused_by_name(void **state)
{
    struct rig *r = *state; /* room for three backends */
    open_flow(r, 0, 1);
    assert_int_equal(reload_with(r, ROOM_FOR_FEW BASE THREE), 0); /* two leaves */
    look(r);
    const struct policy *before = r->slot.row;
    assert_int_equal(reload_with(r, ROOM_FOR_FEW BASE THREE FOUR), -ENOSPC);
    logged(r, "%s:2: [tables] backends = 3: all are in use, 1 of them by removed ones whose "
              "connections go on");
    assert_ptr_equal(r->slot.row, before);
    assert_int_equal(numbers_state(r->upkeep.backend_numbers, 1), NUMBER_LEAVING);
    assert_int_equal(reload_with(r, ROOM_FOR_FEW BASE TWO THREE FOUR), -EINVAL);
    assert_int_equal(reload_with(r, ROOM_FOR_FEW BASE TWO THREE), 0); /* it comes back */
    assert_int_equal(services(r)->backend[1].presence, PRESENT);
}

static void a_protocol_does_not_change_under_open_connections(void **state)
{
    struct rig *r = *state;
    const struct policy *before = r->slot.row;
    assert_int_equal(reload_with(r, BASE "protocol = tcp\n"), -EINVAL);
    logged(r, "%s:12: [service shop] protocol: connections to 198.18.0.80:80 that are open speak "
              "another");
    assert_ptr_equal(r->slot.row, before);
}

static void names_weights_and_drains_are_taken_over(void **state)
{
    struct rig *r = *state;
    assert_int_equal(reload_with(r, PORTS "[backend uno]\naddress = 198.18.128.2:8080\nweight = 3\n"
                                          "drain = yes\n" SHOP_OF("uno")),
                     0);
    assert_int_equal(backend_at(r, "198.18.128.2:8080"), 0); /* its address is what it is */
    assert_string_equal(services(r)->backend[0].name, "uno");
    assert_int_equal(services(r)->backend[0].weight, 3);
    assert_true(services(r)->backend[0].drain);
    assert_true(balance_down(r->slot.row->balance, 0));
}

static void another_router_is_asked_for_at_once_and_the_old_one_used_until_then(void **state)
{
    struct rig *r = *state;
    const char far[] = "[backend far]\naddress = 10.1.2.3:8080\n" SHOP_OF("far");
    char text[512];
    snprintf(text, sizeof text, "%srouters = 198.18.128.5\n%s", PORTS, far);
    assert_int_equal(reload_with(r, text), 0);
    struct backend_state *state_of = &r->upkeep.backends[1];
    *state_of =
        (struct backend_state){.resolved = true, .confirmed_ms = 100000, .asked_ms = 100000};
    assert_int_equal(reload_with(r, text), 0);
    assert_int_equal(state_of->asked_ms, 100000);
    snprintf(text, sizeof text, "%srouters = 198.18.128.6\n%s", PORTS, far);
    assert_int_equal(reload_with(r, text), 0);
    assert_int_equal(services(r)->backend[1].next_hop.bytes[15], 6);
    assert_true(r->slot.row->neighbors->backend[1].known);
    assert_int_equal(state_of->asked_ms, 0);
    assert_true(state_of->confirmed_ms < 100000);
}

static void a_hundred_memberships_leave_nothing_behind(void **state)
{
    static const char *const texts[] = {
        PORTS ONE SHOP_OF("one"), PORTS ONE TWO SIDE SHOP_OF("one, two"),
        PORTS TWO THREE SHOP_OF("two, three"), PORTS ONE FOUR SIDE SHOP_OF("four, one"),
        PORTS TWO SHOP_OF("two")};
    struct rig *r = *state;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(reload_with(r, texts[(i + i / 5) % 5]), 0);
        if (i % 3 == 0)
            look(r);
    }
    look(r);
    assert_int_equal(numbers_count(r->upkeep.backend_numbers, NUMBER_LEAVING), 0);
    assert_true(services(r)->backend_count <= 4); /* each has had one number all the time */
}

static const struct rule *rule_in_force(const struct rig *r, size_t index)
{
    assert_true(index < rules_count(r->slot.row->rules));
    return rules_at(r->slot.row->rules, index);
}

static void rules_come_change_and_go_and_keep_their_slots(void **state)
{
    struct rig *r = *state;
    assert_int_equal(reload_with(r, BASE "[rule a]\npath = /a\nadmit_per_second = 50\n"), 0);
    assert_int_equal(rules_count(r->slot.row->rules), 1);
    const uint32_t slot = rule_in_force(r, 0)->slot;
    assert_int_equal(r->upkeep.rule_slots.slot[slot].per_second, 50);
    assert_int_equal(reload_with(r, BASE "[rule b]\n[rule a]\npath = /a\nstate = sold_out\n"), 0);
    assert_string_equal(rule_in_force(r, 1)->name, "a");
    assert_int_equal(rule_in_force(r, 1)->state, RULE_SOLD_OUT);
    assert_int_equal(rule_in_force(r, 1)->slot, slot);
    assert_true(rule_in_force(r, 0)->slot != slot);
    assert_int_equal(r->upkeep.rule_slots.slot[slot].per_second, 0);
    assert_int_equal(reload_with(r, BASE), 0);
    assert_int_equal(rules_count(r->slot.row->rules), 0);
}

static void a_rule_that_cannot_be_leaves_those_of_before(void **state)
{
    struct rig *r = *state;
    assert_int_equal(reload_with(r, BASE "[rule a]\nadmit_per_second = 50\n"), 0);
    assert_int_equal(reload_with(r, BASE "[rule b]\nstate = upcoming\n"), -EINVAL);
    logged(r, "[rule b] state = upcoming: opens_at is missing");
    assert_string_equal(rule_in_force(r, 0)->name, "a");
    assert_int_equal(r->upkeep.rule_slots.slot[rule_in_force(r, 0)->slot].per_second, 50);
    /* Nor does one for which there is no place for now. */
    assert_int_equal(reload_with(r, BASE "[rule b]\n[rule c]\n[rule d]\n[rule e]\n"), 0);
    assert_int_equal(reload_with(r, BASE "[rule f]\n[rule g]\n[rule h]\n[rule i]\n"), -ENOSPC);
    logged(r, "still have their places; try again");
    assert_string_equal(rule_in_force(r, 3)->name, "e");
    rule_slots_run(&r->upkeep.rule_slots, 1000);
    assert_int_equal(reload_with(r, BASE "[rule f]\n[rule g]\n[rule h]\n[rule i]\n"), 0);
    assert_string_equal(rule_in_force(r, 0)->name, "f");
}

/* Nobody trusts a master any more that was in a file which the configuration does not name. */
static void a_master_file_that_is_taken_out_leaves_its_master_beside_a_drawn_one(void **state)
{
    struct rig *r = *state;
    char text[512], path[] = "/tmp/reload_test.XXXXXX";
    const int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(dprintf(file, "%064d\n", 1), 65);
    snprintf(text, sizeof text, "%s[cookie]\nmaster_file = %s\n", BASE, path);
    assert_int_equal(reload_with(r, text), 0);
    const uint64_t now = (uint64_t)time(NULL) * 1000;
    struct cookie_keys *of_file = keyring_keys(r->upkeep.keyring, now);
    assert_false(keyring_due(r->upkeep.keyring, now));

    assert_int_equal(reload_with(r, BASE), 0);
    logged(r, "a master was drawn");
    assert_true(keyring_due(r->upkeep.keyring, now));
    struct cookie_keys *drawn = keyring_keys(r->upkeep.keyring, now);
    assert_memory_not_equal(drawn->epoch, of_file->epoch, sizeof drawn->epoch);
    assert_memory_equal(drawn->previous, of_file->epoch, sizeof drawn->previous);
    assert_int_equal(reload_with(r, BASE), 0); /* and no other one at each reload */
    assert_false(keyring_due(r->upkeep.keyring, now));
    keyring_keys_free(of_file);
    keyring_keys_free(drawn);
    assert_int_equal(close(file) | unlink(path), 0);
}

/* Or the gateway would soon refuse the cookies of those that still have the file. */
static void a_reload_that_lacks_memory_or_randomness_leaves_the_master_as_it_is(void **state)
{
    struct rig *r = *state;
    char text[512], path[] = "/tmp/reload_test.XXXXXX";
    const int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(dprintf(file, "%064d\n", 1), 65);
    snprintf(text, sizeof text, "%s[cookie]\nmaster_file = %s\n", BASE, path);
    assert_int_equal(reload_with(r, text), 0);
    const uint64_t now = (uint64_t)time(NULL) * 1000;
    keyring_keys_free(keyring_keys(r->upkeep.keyring, now));
    const struct policy *before = r->slot.row;

    short_of_memory = true;
    assert_int_equal(reload_with(r, BASE), -ENOMEM);
    assert_false(keyring_due(r->upkeep.keyring, now)); /* none was drawn */
    assert_int_equal(pwrite(file, "2", 1, 0), 1);
    assert_int_equal(reload_with(r, text), -ENOMEM);
    assert_false(keyring_due(r->upkeep.keyring, now)); /* nor the new one taken */
    logged(r, "memory is short; nothing was changed");
    assert_ptr_equal(r->slot.row, before);
    short_of_memory = false;
    short_of_randomness = true;
    assert_int_equal(reload_with(r, BASE), -EIO);
    logged(r, "the master of the cookies could not be taken; nothing was changed");
    assert_false(keyring_due(r->upkeep.keyring, now));
    short_of_randomness = false;
    assert_int_equal(reload_with(r, text), 0);
    assert_true(keyring_due(r->upkeep.keyring, now));
    assert_int_equal(close(file) | unlink(path), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_change_is_in_force_and_told_with_both_values),
        TEST(a_file_that_says_the_same_changes_nothing),
        TEST(a_mistake_changes_nothing_and_is_told_with_its_line),
        TEST(a_key_that_only_a_restart_takes_refuses_the_whole_file),
        TEST(the_level_of_the_log_follows),
        TEST(who_stays_is_remembered_and_who_comes_is_unknown),
        TEST(a_removed_backend_keeps_its_number_until_its_last_flow_has_ended),
        TEST(a_removed_service_is_found_by_its_flows_alone),
        TEST(who_comes_back_before_that_has_its_number_and_is_unknown_until_it_is_probed),
        TEST(a_count_that_was_begun_before_is_not_believed),
        cmocka_unit_test_setup_teardown(more_than_there_is_room_for_is_refused_by_name, setup_small,
                                        teardown),
        TEST(a_protocol_does_not_change_under_open_connections),
        TEST(names_weights_and_drains_are_taken_over),
        TEST(another_router_is_asked_for_at_once_and_the_old_one_used_until_then),
        TEST(rules_come_change_and_go_and_keep_their_slots),
        TEST(a_rule_that_cannot_be_leaves_those_of_before),
        TEST(a_master_file_that_is_taken_out_leaves_its_master_beside_a_drawn_one),
        TEST(a_reload_that_lacks_memory_or_randomness_leaves_the_master_as_it_is),
        /* Last, for an event is written twenty times a second at most. */
        TEST(two_hundred_reloads_leave_nothing_behind),
        TEST(a_hundred_memberships_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
