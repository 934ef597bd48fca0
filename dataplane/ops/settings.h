/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * dropgate.conf: its rows, the struct that they fill, the checks across rows, and the policy parts
 * that follow from it alone. Main and builder thread. */
#ifndef DROPGATE_DATAPLANE_OPS_SETTINGS_H
#define DROPGATE_DATAPLANE_OPS_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/conf.h"
#include "dataplane/admit/policy.h"
#include "dataplane/net/steer.h"
#include "dataplane/ops/numbers.h"

/** Packet buffers of one worker: in its hands and in its cache; and a full ring (HANDOVER_RING) on
 * its way to each of the others. */
enum { SETTINGS_WORKER_BUFFERS = 1024, SETTINGS_HANDOVER_BUFFERS = 2048 };

static inline int64_t settings_worker_buffers(int64_t workers)
{
    return workers * (SETTINGS_WORKER_BUFFERS + (workers - 1) * SETTINGS_HANDOVER_BUFFERS);
}

/** Processors that can be named: one for control and one per worker. */
enum { SETTINGS_CORES = 1 + STEER_WORKERS };

enum idle_mode { IDLE_ADAPTIVE, IDLE_POLL };

/** What becomes of what a limit refuses: counted only, or refused. */
enum enforcement { OBSERVE, ENFORCE };

struct port_settings {
    char *device, *vlan;
    struct conf_list addresses; /* struct conf_interface */
    struct conf_list routers;   /* struct addr: at most one per family */
    int64_t rx_descriptors, tx_descriptors;
};

enum probe_by { PROBE_AUTO, PROBE_BY_HTTP, PROBE_BY_CONNECTING };

struct backend_settings {
    char *name;
    struct endpoint address;
    int64_t weight;
    bool drain;
    int probe;                     /* enum probe_by */
    char *probe_path, *probe_host; /* NULL: those of [probe] */
};

struct service_settings {
    char *name;
    int protocol;              /* enum service_protocol */
    struct conf_list names;    /* char *: server names, TLS only */
    struct conf_list listen;   /* struct endpoint */
    struct conf_list backends; /* char * */
    int all_down;              /* enum all_down */
    int64_t response_timeout;
};

struct settings {
    struct {
        char *instance, *cores;
        int idle; /* enum idle_mode */
        bool hugepages;
        int64_t workers, memory, buffers;
        int log_level;   /* enum log_level */
        char *state_dir; /* NULL: nothing is kept */
    } gateway;
    struct port_settings port[PORT_SIDES];
    struct {
        int64_t services, backends, flows, tombstones, held, held_large, held_per_client, clients,
            bans, rules;
    } tables;
    struct {
        int64_t requests, requests_burst, connection_rate, connection_burst, connections,
            shared_factor;
        int requests_mode, connection_rate_mode, connections_mode; /* enum enforcement */
    } clients;
    struct {
        int64_t connections, connection_rate;
        int connections_mode, connection_rate_mode; /* enum enforcement */
    } limits;
    struct {
        int64_t strikes, strike_decay, first, longest;
        int mode; /* enum enforcement */
    } bans;
    struct {
        int64_t syn_timeout, syn_tries, head_timeout, idle, half_closed, closing, linger, window,
            mss_v4, mss_v6;
        int excess_mode; /* enum enforcement */
    } tcp;
    struct {
        int64_t resets, fins, echoes, too_bigs, inside_resets;
    } budgets;
    struct {
        int64_t source_rate, reflection_rate, remembered_syns;
    } guard;
    struct {
        int64_t interval, timeout, failures, opening_failures, response_failures;
        char *path, *host; /* host NULL: the backend's address */
    } probe;
    struct {
        int mode; /* enum enforcement */
        int64_t window, body_rate, drain_rate, body, drain, idle, answer;
    } slow;
    struct {
        char *master_file; /* NULL: a random master */
    } cookie;
    struct conf_list backends; /* struct backend_settings */
    struct conf_list services; /* struct service_settings */
    struct conf_list rules;    /* struct rule_settings */
    struct conf_list feeds;    /* struct feed_settings */
};

extern const struct conf_schema SETTINGS_SCHEMA;

/** The processors of [gateway] cores, in its order; returns their number, or -EINVAL if it is no
 * list of numbers. */
int settings_cores(const struct settings *settings, uint16_t cores[SETTINGS_CORES]);

/** Helpers of those that check and fill: the position of a backend by its name, or -1; the own
 * address whose link `to` is on, or NULL; where packets to an address inside go next, itself when
 * it is on-link, else its family's router, or NULL. */
int settings_find_backend(const struct settings *s, const char *name);
const struct conf_interface *settings_on_link(const struct port_settings *port,
                                              const struct addr *to);
const struct addr *settings_next_hop(const struct settings *s, const struct addr *to);

/** Addresses and ports that all services listen on. */
size_t settings_listen_count(const struct settings *settings);

/** The parts of policy that follow from checked settings; the caller owns them. NULL when memory is
 * short. */
struct services *settings_services(const struct settings *settings);
struct limits *settings_limits(const struct settings *settings);

/** Give every service, and every backend, of the settings its number, after numbers_begin. False
 * when there are too few. */
bool settings_take_services(const struct settings *settings, struct numbers *services);
bool settings_take_backends(const struct settings *settings, struct numbers *backends);

/** The services at those numbers; those that leave are taken from `before` (NULL: none do). NULL
 * when memory is short. */
struct services *settings_services_at(const struct settings *settings,
                                      const struct services *before, const struct numbers *services,
                                      const struct numbers *backends);

#endif
