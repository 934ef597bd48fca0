/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * DPDK calls back without a context, so the three pointers are file-wide. Its telemetry thread
 * lives as long as the process, hence the lock: it holds off only metrics_close. */
#include "dataplane/ops/metrics.h"

#include <pthread.h>
#include <rte_telemetry.h>

static const struct settings *conf;
static const struct worker *worker;
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
    for (int i = 0; i < VERDICT_COUNT; i++)
        rte_tel_data_add_dict_u64(data, verdict_name((enum verdict)i),
                                  read_counter(&worker->shard->verdicts[i]));
}

static void show_tables(struct rte_tel_data *data)
{
    const struct shard *shard = worker->shard;
    rte_tel_data_start_dict(data);
    rte_tel_data_add_dict_u64(data, "flows", flows_count(shard->flows));
    rte_tel_data_add_dict_u64(data, "flows_max", flows_capacity(shard->flows));
    rte_tel_data_add_dict_u64(data, "tombstones", tombstones_count(shard->tombstones));
    rte_tel_data_add_dict_u64(data, "tombstones_max", (uint64_t)conf->tables.tombstones);
    rte_tel_data_add_dict_u64(data, "held", held_count(shard->held));
    rte_tel_data_add_dict_u64(data, "held_max", (uint64_t)conf->tables.held);
}

static void add_openings(struct rte_tel_data *into, const struct backend_openings *openings)
{
    rte_tel_data_add_dict_u64(into, "opened", read_counter(&openings->opened));
    rte_tel_data_add_dict_u64(into, "refused", read_counter(&openings->refused));
    rte_tel_data_add_dict_u64(into, "timeouts", read_counter(&openings->timeouts));
}

static void add_backend(struct rte_tel_data *into, uint32_t index)
{
    static const char *const healths[] = {
        [HEALTH_DOWN] = "down", [HEALTH_UNKNOWN] = "unknown", [HEALTH_UP] = "up"};
    const struct backend *backend = &upkeep->policy->services->backend[index];
    const struct backend_state *state = &upkeep->backends[index];
    char text[ADDR_TEXT];
    struct rte_tel_data *one = rte_tel_data_alloc();
    if (one == NULL)
        return;
    rte_tel_data_start_dict(one);
    rte_tel_data_add_dict_string(one, "address", endpoint_print(&backend->address, text));
    rte_tel_data_add_dict_string(one, "health", healths[upkeep->health[index]]);
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
    add_openings(one, &worker->shard->openings[index]);
    rte_tel_data_add_dict_container(into, backend->name, one, 0);
}

static void show_backends(struct rte_tel_data *data)
{
    const struct services *services = upkeep->policy->services;
    rte_tel_data_start_dict(data);
    for (uint32_t i = 0; i < services->backend_count; i++)
        add_backend(data, i);
}

static void show_worker(struct rte_tel_data *data)
{
    rte_tel_data_start_dict(data);
    rte_tel_data_add_dict_u64(data, "received_outside", read_counter(&worker->received[OUTSIDE]));
    rte_tel_data_add_dict_u64(data, "received_inside", read_counter(&worker->received[INSIDE]));
    rte_tel_data_add_dict_u64(data, "sent_outside", read_counter(&worker->sent[OUTSIDE]));
    rte_tel_data_add_dict_u64(data, "sent_inside", read_counter(&worker->sent[INSIDE]));
    rte_tel_data_add_dict_u64(data, "requests", read_counter(&worker->shard->requests));
    rte_tel_data_add_dict_u64(data, "busy_loops", read_counter(&worker->busy_loops));
    rte_tel_data_add_dict_u64(data, "idle_loops", read_counter(&worker->idle_loops));
    rte_tel_data_add_dict_u64(data, "buffers_free", rte_mempool_avail_count(worker->pool));
}

static int answer(void (*show)(struct rte_tel_data *), struct rte_tel_data *data)
{
    pthread_mutex_lock(&lock);
    bool open = worker != NULL;
    if (open)
        show(data);
    pthread_mutex_unlock(&lock);
    return open ? 0 : -1;
}

#define COMMAND(name)                                                     \
    static int answer_##name(const char *command, const char *parameters, \
                             struct rte_tel_data *data)                   \
    {                                                                     \
        (void)command, (void)parameters;                                  \
        return answer(show_##name, data);                                 \
    }
COMMAND(verdicts)
COMMAND(tables)
COMMAND(backends)
COMMAND(worker)

int metrics_register(const struct settings *settings, const struct worker *one,
                     const struct upkeep *kept)
{
    conf = settings;
    worker = one;
    upkeep = kept;
    int error = rte_telemetry_register_cmd("/dropgate/verdicts", answer_verdicts,
                                           "Packets per verdict. No parameters.");
    if (error == 0)
        error = rte_telemetry_register_cmd("/dropgate/tables", answer_tables,
                                           "Table sizes. No parameters.");
    if (error == 0)
        error = rte_telemetry_register_cmd("/dropgate/backends", answer_backends,
                                           "State of each backend. No parameters.");
    if (error == 0)
        error = rte_telemetry_register_cmd("/dropgate/worker", answer_worker,
                                           "Counters of the worker. No parameters.");
    return error;
}

void metrics_close(void)
{
    pthread_mutex_lock(&lock);
    worker = NULL;
    pthread_mutex_unlock(&lock);
}
