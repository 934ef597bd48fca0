/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * DPDK calls back without a context, so what it reads is file-wide. Its telemetry threads live as
 * long as the process, hence the lock: it holds off metrics_close, and each other. */
#include "dataplane/ops/metrics.h"

#include <limits.h>
#include <pthread.h>
#include <rte_telemetry.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <urcu/urcu-qsbr.h>

#include "dataplane/ops/metrics_clients.h"
#include "dataplane/ops/metrics_key.h"
#include "dataplane/ops/metrics_rules.h"

static const struct settings *conf;
static const struct worker *workers; /* NULL: closed */
static uint32_t worker_count;
static const struct worker *first, *behind; /* those that the answer in hand is about */
static const struct upkeep *upkeep;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* A 64-bit counter that another thread writes. */
static uint64_t read_counter(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static void show_verdicts(struct rte_tel_data *data)
{
    rte_tel_data_start_dict(data);
    for (int i = 0; i < VERDICT_COUNT; i++) {
        uint64_t sum = 0;
        for (const struct worker *w = first; w < behind; w++)
            sum += read_counter(&w->shard->verdicts[i]);
        rte_tel_data_add_dict_u64(data, verdict_name((enum verdict)i), sum);
    }
}

static void show_tables(struct rte_tel_data *data)
{
    uint64_t flows = 0, flows_max = 0, tombstones = 0, held = 0, held_large = 0;
    uint64_t count = (uint64_t)(behind - first);
    for (const struct worker *w = first; w < behind; w++) {
        flows += flows_count(w->shard->flows);
        flows_max += flows_capacity(w->shard->flows);
        tombstones += tombstones_count(w->shard->tombstones);
        held += held_count_of(w->shard->held, HELD_SMALL);
        held_large += held_count_of(w->shard->held, HELD_LARGE);
    }
    rte_tel_data_start_dict(data);
    rte_tel_data_add_dict_u64(data, "flows", flows);
    rte_tel_data_add_dict_u64(data, "flows_max", flows_max);
    rte_tel_data_add_dict_u64(data, "tombstones", tombstones);
    rte_tel_data_add_dict_u64(data, "tombstones_max", count * (uint64_t)conf->tables.tombstones);
    rte_tel_data_add_dict_u64(data, "held", held);
    rte_tel_data_add_dict_u64(data, "held_max", count * (uint64_t)conf->tables.held);
    rte_tel_data_add_dict_u64(data, "held_large", held_large);
    rte_tel_data_add_dict_u64(data, "held_large_max", count * (uint64_t)conf->tables.held_large);
}

static uint64_t sum_openings(uint32_t backend, size_t offset)
{
    uint64_t sum = 0;
    for (const struct worker *w = first; w < behind; w++)
        sum +=
            read_counter((const uint64_t *)((const char *)&w->shard->openings[backend] + offset));
    return sum;
}

static void add_openings(struct rte_tel_data *into, uint32_t backend)
{
    static const struct {
        const char *name;
        size_t offset;
    } counters[] = {{"opened", offsetof(struct backend_openings, opened)},
                    {"refused", offsetof(struct backend_openings, refused)},
                    {"timeouts", offsetof(struct backend_openings, timeouts)},
                    {"answered", offsetof(struct backend_openings, answered)},
                    {"unanswered", offsetof(struct backend_openings, unanswered)},
                    {"cookies", offsetof(struct backend_openings, cookies)}};
    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++)
        rte_tel_data_add_dict_u64(into, counters[i].name,
                                  sum_openings(backend, counters[i].offset));
}

static void add_health(struct rte_tel_data *into, const struct backend *backend,
                       const struct backend_health *well)
{
    static const char *const healths[] = {
        [HEALTH_DOWN] = "down", [HEALTH_UNKNOWN] = "unknown", [HEALTH_UP] = "up"};
    rte_tel_data_add_dict_string(into, "health", healths[well->health]);
    rte_tel_data_add_dict_string(into, "reason",
                                 health_reason_name((enum health_reason)well->reason));
    rte_tel_data_add_dict_int(into, "status", well->status);
    rte_tel_data_add_dict_u64(into, "failures", well->failures);
    rte_tel_data_add_dict_u64(into, "since", well->since_unix_ms / 1000);
    rte_tel_data_add_dict_int(into, "weight", backend->weight);
    rte_tel_data_add_dict_int(into, "draining", backend->drain);
}

/* One that a reload has removed may have a namesake. */
static void add_backend(struct rte_tel_data *into, const struct services *services, uint32_t index)
{
    const struct backend *backend = &services->backend[index];
    const struct backend_state *state = &upkeep->backends[index];
    char text[ADDR_TEXT], name[sizeof backend->name + 16], key[METRICS_KEY];
    struct rte_tel_data *one = rte_tel_data_alloc();
    if (one == NULL)
        return;
    rte_tel_data_start_dict(one);
    rte_tel_data_add_dict_string(one, "address", endpoint_print(&backend->address, text));
    add_health(one, backend, &state->well);
    rte_tel_data_add_dict_int(one, "resolved", state->resolved);
    rte_tel_data_add_dict_int(one, "answering", state->answering);
    rte_tel_data_add_dict_int(one, "learned", state->learned);
    rte_tel_data_add_dict_int(one, "mss", state->options.mss);
    rte_tel_data_add_dict_int(one, "window_scale",
                              state->learned && state->options.window_scale != COOKIE_NO_SCALE
                                  ? state->options.window_scale
                                  : -1);
    rte_tel_data_add_dict_int(one, "sack", state->options.sack_ok);
    rte_tel_data_add_dict_int(one, "timestamps", state->options.timestamps);
    add_openings(one, index);
    snprintf(name, sizeof name, "%s%s", backend->name,
             backend->presence == LEAVING ? "/leaving" : "");
    rte_tel_data_add_dict_container(into, metrics_key(name, key), one, 0);
}

static void show_backends(struct rte_tel_data *data)
{
    urcu_qsbr_register_thread(); /* the row, and all behind it, stays as long */
    const struct services *services = rcu_dereference(upkeep->slot->row)->services;
    rte_tel_data_start_dict(data);
    for (uint32_t i = 0; i < services->backend_count; i++)
        if (services->backend[i].presence != ABSENT)
            add_backend(data, services, i);
    urcu_qsbr_unregister_thread();
}

static void add_sum(struct rte_tel_data *data, const char *name, size_t offset)
{
    uint64_t sum = 0;
    for (const struct worker *w = first; w < behind; w++)
        sum += read_counter((const uint64_t *)((const char *)w + offset));
    rte_tel_data_add_dict_u64(data, name, sum);
}

static void show_worker(struct rte_tel_data *data)
{
    rte_tel_data_start_dict(data);
    rte_tel_data_add_dict_u64(data, "workers", worker_count);
    add_sum(data, "received_outside", offsetof(struct worker, received[OUTSIDE]));
    add_sum(data, "received_inside", offsetof(struct worker, received[INSIDE]));
    add_sum(data, "sent_outside", offsetof(struct worker, sent[OUTSIDE]));
    add_sum(data, "sent_inside", offsetof(struct worker, sent[INSIDE]));
    add_sum(data, "given", offsetof(struct worker, handover.given));
    add_sum(data, "taken", offsetof(struct worker, handover.taken));
    uint64_t requests = 0;
    for (const struct worker *w = first; w < behind; w++)
        requests += read_counter(&w->shard->requests);
    rte_tel_data_add_dict_u64(data, "requests", requests);
    add_sum(data, "busy_loops", offsetof(struct worker, busy_loops));
    add_sum(data, "idle_loops", offsetof(struct worker, idle_loops));
    rte_tel_data_add_dict_u64(data, "buffers_free", rte_mempool_avail_count(workers[0].pool));
}

/* ---- feeds ---- */

static uint64_t hits_of(const struct feed_status *status)
{
    uint64_t sum = 0;
    for (const struct worker *w = workers; w < workers + worker_count; w++) {
        const struct lists_hits *hits = &w->shard->hits;
        if (status->since != 0 &&
            __atomic_load_n(&hits->since[status->slot], __ATOMIC_ACQUIRE) == status->since)
            sum += read_counter(&hits->count[status->slot]);
    }
    return sum;
}

static int seconds_since(int64_t ms)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t seconds = now.tv_sec - ms / 1000;
    return seconds > INT_MAX ? INT_MAX : seconds < 0 ? 0 : (int)seconds;
}

static void add_feed(struct rte_tel_data *one, const struct feed_status *status)
{
    rte_tel_data_start_dict(one);
    rte_tel_data_add_dict_string(one, "name", status->name);
    rte_tel_data_add_dict_string(one, "kind", list_kind_name(status->kind));
    rte_tel_data_add_dict_string(one, "mode", list_mode_name(status->mode));
    rte_tel_data_add_dict_string(one, "state", feed_state_name(status->state));
    rte_tel_data_add_dict_u64(one, "prefixes", status->used ? status->prefixes : 0);
    rte_tel_data_add_dict_int(one, "age", status->used ? seconds_since(status->written_ms) : -1);
    rte_tel_data_add_dict_u64(one, "hits", hits_of(status));
}

/* Texts of an answer have 127 bytes at most; the log has it all. */
static void add_details(struct rte_tel_data *one, const struct feed_status *status)
{
    rte_tel_data_add_dict_string(one, "format", feed_formats[status->format]);
    rte_tel_data_add_dict_u64(one, "entries", status->entries);
    rte_tel_data_add_dict_u64(one, "lapsed", status->lapsed);
    rte_tel_data_add_dict_u64(one, "left_out", status->left_out);
    rte_tel_data_add_dict_u64(one, "unreadable", status->unreadable);
    rte_tel_data_add_dict_u64(one, "ipv4_addresses", status->v4_addresses);
    rte_tel_data_add_dict_u64(one, "ipv6_networks", status->v6_networks);
    rte_tel_data_add_dict_int(one, "looked", seconds_since(status->looked_ms));
    rte_tel_data_add_dict_string(one, "sha256", status->hash);
    rte_tel_data_add_dict_string(one, "why", status->why);
}

/* An answer holds 16 KiB: all feeds in short, or all about one. */
static bool show_feeds(const char *name, struct rte_tel_data *data)
{
    struct feed_status status;
    bool all = name == NULL || *name == '\0', found = all;
    char key[METRICS_KEY];
    if (all)
        rte_tel_data_start_dict(data);
    for (size_t i = 0; upkeep->feeds != NULL && feeds_status(upkeep->feeds, i, &status); i++) {
        struct rte_tel_data *one = all ? rte_tel_data_alloc() : data;
        if (one == NULL || (!all && strcmp(status.name, name) != 0))
            continue;
        add_feed(one, &status);
        if (all)
            rte_tel_data_add_dict_container(data, metrics_key(status.name, key), one, 0);
        else
            add_details(one, &status);
        found = true;
    }
    return found;
}

static int answer_feeds(const char *command, const char *parameters, struct rte_tel_data *data)
{
    (void)command;
    pthread_mutex_lock(&lock);
    bool good = workers != NULL && show_feeds(parameters, data);
    pthread_mutex_unlock(&lock);
    return good ? 0 : -1;
}

/* ---- the answers ---- */

/* No parameter means all workers, a number the one. False if there is none of that number. */
static bool pick(const char *parameters)
{
    first = workers;
    behind = workers + worker_count;
    if (parameters == NULL || *parameters == '\0')
        return true;
    char *end;
    unsigned long number = strtoul(parameters, &end, 10);
    if (*parameters < '0' || *parameters > '9' || *end != '\0' || number >= worker_count)
        return false;
    first = workers + number;
    behind = first + 1;
    return true;
}

/* ---- fingerprints ---- */

struct fingerprint {
    uint64_t count;
    char text[JA4_TEXT];
};

static int by_text(const void *a, const void *b)
{
    return strcmp(((const struct fingerprint *)a)->text, ((const struct fingerprint *)b)->text);
}

static int by_count(const void *a, const void *b)
{
    uint64_t x = ((const struct fingerprint *)a)->count, y = ((const struct fingerprint *)b)->count;
    return (x < y) - (x > y);
}

/* All workers' fingerprints, each once, the most frequent first. Returns how many. */
static size_t merge_fingerprints(struct fingerprint *all)
{
    size_t count = 0, merged = 0;
    for (const struct worker *w = first; w < behind; w++)
        for (int i = 0; i < JA4_TABLE; i++) {
            uint64_t seen = __atomic_load_n(&w->shard->hellos->slot[i].count, __ATOMIC_ACQUIRE);
            if (seen == 0)
                continue;
            all[count].count = seen;
            memcpy(all[count++].text, w->shard->hellos->slot[i].text, JA4_TEXT);
        }
    qsort(all, count, sizeof *all, by_text);
    for (size_t i = 0; i < count; i++)
        if (merged > 0 && strcmp(all[merged - 1].text, all[i].text) == 0)
            all[merged - 1].count += all[i].count;
        else
            all[merged++] = all[i];
    qsort(all, merged, sizeof *all, by_count);
    return merged;
}

/* An answer holds 256 entries (RTE_TEL_MAX_DICT_ENTRIES): the frequent ones, and the sum of all
 * others. */
static void show_ja4(struct rte_tel_data *data)
{
    enum { SHOWN = 200 };
    struct fingerprint *all = calloc((size_t)(behind - first) * JA4_TABLE, sizeof *all);
    uint64_t other = 0;
    rte_tel_data_start_dict(data);
    if (all == NULL)
        return;
    size_t count = merge_fingerprints(all);
    for (size_t i = 0; i < count; i++)
        if (i < SHOWN)
            rte_tel_data_add_dict_u64(data, all[i].text, all[i].count);
        else
            other += all[i].count;
    for (const struct worker *w = first; w < behind; w++)
        other += read_counter(&w->shard->hellos->other);
    rte_tel_data_add_dict_u64(data, "other", other);
    free(all);
}

static void show_clients(struct rte_tel_data *data)
{
    metrics_clients(first, behind, data);
}

static void show_bans(struct rte_tel_data *data)
{
    metrics_bans(first, behind, data);
}

static int answer(void (*show)(struct rte_tel_data *), const char *parameters,
                  struct rte_tel_data *data)
{
    pthread_mutex_lock(&lock);
    bool good = workers != NULL && pick(parameters);
    if (good)
        show(data);
    pthread_mutex_unlock(&lock);
    return good ? 0 : -1;
}

/* Its parameter is not a worker's number. */
static int answer_rules(const char *command, const char *parameters, struct rte_tel_data *data)
{
    (void)command;
    pthread_mutex_lock(&lock);
    bool good = workers != NULL && metrics_rules(upkeep, parameters, data);
    pthread_mutex_unlock(&lock);
    return good ? 0 : -1;
}

#define COMMAND(name)                                                     \
    static int answer_##name(const char *command, const char *parameters, \
                             struct rte_tel_data *data)                   \
    {                                                                     \
        (void)command;                                                    \
        return answer(show_##name, parameters, data);                     \
    }
COMMAND(verdicts)
COMMAND(tables)
COMMAND(backends)
COMMAND(worker)
COMMAND(clients)
COMMAND(bans)
COMMAND(ja4)

int metrics_register(const struct settings *settings, const struct worker *all, uint32_t count,
                     const struct upkeep *kept)
{
    static const struct {
        const char *name;
        telemetry_cb answer;
        const char *help;
    } commands[] = {
        {"/dropgate/verdicts", answer_verdicts, "Packets per verdict. Parameters: [worker]"},
        {"/dropgate/tables", answer_tables, "Table sizes. Parameters: [worker]"},
        {"/dropgate/rules", answer_rules, "What each rule has let pass. Parameters: [rule]"},
        {"/dropgate/backends", answer_backends, "State of each backend. Parameters: [worker]"},
        {"/dropgate/feeds", answer_feeds, "Lists of addresses. Parameters: [name]"},
        {"/dropgate/clients", answer_clients,
         "Clients, what they were refused, the busiest. Parameters: [worker]"},
        {"/dropgate/bans", answer_bans, "Bans in force. Parameters: [worker]"},
        {"/dropgate/ja4", answer_ja4, "TLS clients by JA4 fingerprint. Parameters: [worker]"},
        {"/dropgate/worker", answer_worker, "Counters of the workers. Parameters: [worker]"},
    };
    conf = settings;
    workers = all;
    worker_count = count;
    upkeep = kept;
    int error = 0;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0] && error == 0; i++)
        error = rte_telemetry_register_cmd(commands[i].name, commands[i].answer, commands[i].help);
    return error;
}

void metrics_close(void)
{
    pthread_mutex_lock(&lock);
    workers = NULL;
    pthread_mutex_unlock(&lock);
}
