/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What can be configured in dropgate-control: the structs that one file is read into. The rows,
 * with bounds and defaults, are in settings.c; nothing else in the program knows a default. Read
 * once at start, then constant, but for the rules: SIGHUP reads those again. */
#ifndef DROPGATE_CONTROL_SETTINGS_H
#define DROPGATE_CONTROL_SETTINGS_H

#include <stdint.h>

#include "common/conf.h"
#include "common/rule_settings.h"

enum identity_mode { IDENTITY_NONE, IDENTITY_HEADER, IDENTITY_JWT };
enum token_algorithm { TOKEN_HS256, TOKEN_RS256, TOKEN_ALGORITHMS };
enum queue_mode { QUEUE_MEMORY, QUEUE_REDIS };

/** Durations are milliseconds, as conf.h gives them. */
struct control_settings {
    struct conf_list listen; /* of struct endpoint */
    int64_t network_threads, ledger_threads, lookup_connections;
    int identity; /* enum identity_mode */
    char *user_header;
    char *token_issuer, *token_audience; /* NULL: not asked for */
    int64_t clock_skew;
    int queue; /* enum queue_mode */
    int64_t connections_max;
    int64_t idle_timeout, head_timeout, body_timeout, write_timeout;
    int64_t deadline;
    int64_t batch_max, queue_per_sale, queue_total, queue_lookups;
    int64_t drain_notice, drain_max;
    int log_level; /* enum log_level */
};

struct database_settings {
    char *dsn;
    char *timeline_file; /* NULL: not kept */
    int64_t lock_timeout, connect_timeout;
};

struct catalog_settings {
    int64_t refresh;
};

struct events_settings {
    char *token_file; /* NULL: nobody may read events */
};

/** A key that may have signed tokens. */
struct jwt_settings {
    char *name;
    int algorithm; /* enum token_algorithm */
    char *file;
    char *key_id; /* NULL: any */
};

enum payment_provider { PAYMENT_PROVIDER_NONE, PAYMENT_PROVIDER_HTTP };

struct payment_settings {
    int provider;                              /* enum payment_provider */
    char *base_url, *credentials;              /* NULL: without a provider */
    char *ca_file;                             /* NULL: the system's */
    char *webhook_secret, *webhook_secret_old; /* NULL: none */
    int64_t webhook_tolerance;
    int64_t timeout, connections, database_connections;
    int64_t patience, reconcile, queue;
};

struct settings {
    struct control_settings control;
    struct database_settings database;
    struct catalog_settings catalog;
    struct events_settings events;
    struct conf_list jwt; /* of struct jwt_settings */
    struct payment_settings payment;
    struct conf_list rules; /* of struct rule_settings */
};

/** The schema for conf_load, conf_show and conf_sample. */
extern const struct conf_schema SETTINGS_SCHEMA;

#endif
