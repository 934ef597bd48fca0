/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * One attempt at a time, for the link that has waited longest; after a failure all wait, since they
 * want the same server. Session settings are made here, in one place, so that no statement ever
 * runs without its lock_timeout. */
#include "control/ledger/connector.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "control/clock.h"

enum { PAUSE_FIRST_MS = 50, PAUSE_MAX_MS = 1000 };

struct connector {
    const struct database_settings *settings;
    pthread_t thread;
    pthread_mutex_t lock; /* the list and stopping */
    pthread_cond_t changed;
    struct link *first, *last;
    bool stopping;
};

static const struct {
    const char *name, *sql;
} STATEMENTS[LINK_STATEMENTS] = {
    [LINK_RESERVE] =
        {"reserve_batch",
         "SELECT ord, status, quantity, unit_price, currency, granted_at, expires_at, render "
         "FROM dropgate.reserve_batch($1, $2, $3, $4, $5)"},
    [LINK_READ] =
        {"reservation_get",
         "SELECT sale, quantity, unit_price, currency, state, granted_at, expires_at, render "
         "FROM dropgate.reservation_get($1, $2)"},
    [LINK_CANCEL] = {"reservation_cancel", "SELECT dropgate.reservation_cancel($1, $2)"},
    [LINK_CATALOG] =
        {"catalog", "SELECT sale, item, title, description, total, avail, held, per_user, hold_ms, "
                    "unit_price, currency, opens_at, closes_at, state, clock_timestamp() "
                    "FROM dropgate.catalog() ORDER BY sale"},
};

const char *connector_statement_name(enum link_statement statement)
{
    return STATEMENTS[statement].name;
}

/* What the DSN says wins; these are only defaults. A peer that vanishes without a word is noticed
 * within ten seconds, by keepalives when idle and by tcp_user_timeout when data is unacknowledged.
 */
static PGconn *connect_with_defaults(const struct database_settings *settings)
{
    char timeout[24];
    snprintf(timeout, sizeof timeout, "%lld", (long long)(settings->connect_timeout / 1000));
    const char *keys[] = {"connect_timeout",  "keepalives_idle",  "keepalives_interval",
                          "keepalives_count", "tcp_user_timeout", "application_name",
                          "client_encoding",  "dbname",           NULL};
    const char *values[] = {timeout, "5",           "2", "2", "10000", "dropgate-control",
                            "UTF8",  settings->dsn, NULL};
    return PQconnectdbParams(keys, values, 1); /* a dsn in dbname is expanded, and later keys win */
}

static bool run(PGconn *conn, const char *sql, ExecStatusType expected)
{
    PGresult *result = PQexec(conn, sql);
    bool good = PQresultStatus(result) == expected;
    PQclear(result);
    return good;
}

/* A session that may not write is refused here, where failures are followed by a pause, and not
 * when the first batch finds out. */
static bool is_writable_primary(PGconn *conn)
{
    PGresult *result = PQexec(
        conn, "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean");
    bool writable =
        PQresultStatus(result) == PGRES_TUPLES_OK && !strcmp(PQgetvalue(result, 0, 0), "f");
    PQclear(result);
    return writable;
}

static bool prepare(PGconn *conn)
{
    for (int i = 0; i < LINK_STATEMENTS; i++) {
        PGresult *result = PQprepare(conn, STATEMENTS[i].name, STATEMENTS[i].sql, 0, NULL);
        bool good = PQresultStatus(result) == PGRES_COMMAND_OK;
        PQclear(result);
        if (!good)
            return false;
    }
    return true;
}

static void complain(PGconn *conn, const char *step)
{
    char text[512];
    snprintf(text, sizeof text, "%s", PQerrorMessage(conn));
    text[strcspn(text, "\n")] = '\0';
    log_warn("database_unavailable", "%s: %s; trying again", step, *text ? text : "no message");
}

/* A session that is ready to be used, or NULL, with the reason logged. */
static PGconn *open_session(const struct database_settings *settings, bool listens)
{
    PGconn *conn = connect_with_defaults(settings);
    char set[256];
    snprintf(set, sizeof set,
             "SET lock_timeout = %lld; SET statement_timeout = 0; SET idle_session_timeout = 0",
             (long long)settings->lock_timeout);
    const char *failed = NULL;
    if (PQstatus(conn) != CONNECTION_OK)
        failed = "cannot connect to PostgreSQL";
    else if (!is_writable_primary(conn))
        failed = "the server is not a primary (pg_is_in_recovery), or its sessions are read-only";
    else if (!run(conn, set, PGRES_COMMAND_OK))
        failed = "cannot prepare the session";
    else if (!prepare(conn))
        failed = "cannot prepare the statements (has scripts/migrate been run, and may this role "
                 "EXECUTE?)";
    else if (listens && !run(conn, "LISTEN dropgate_catalog", PGRES_COMMAND_OK))
        failed = "cannot LISTEN";
    else if (PQsetnonblocking(conn, 1))
        failed = "cannot make the connection non-blocking";
    if (!failed)
        return conn;
    complain(conn, failed);
    PQfinish(conn);
    return NULL;
}

/* Waits until `pause` has passed or the connector stops. Called with the lock held. */
static void wait_for(struct connector *c, int pause_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(pause_ms % 1000) * 1000000;
    until.tv_sec += pause_ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    while (!c->stopping && pthread_cond_timedwait(&c->changed, &c->lock, &until) == 0)
        continue;
}

/* Takes the first link off the list. Called with the lock held. */
static struct link *next_link(struct connector *c)
{
    while (!c->stopping && !c->first)
        pthread_cond_wait(&c->changed, &c->lock);
    struct link *link = c->stopping ? NULL : c->first;
    if (link) {
        c->first = link->next;
        if (!c->first)
            c->last = NULL;
    }
    return link;
}

/* Puts a link that could not be served back to the head of the list. Called with the lock held. */
static void put_back(struct connector *c, struct link *link)
{
    link->next = c->first;
    c->first = link;
    if (!c->last)
        c->last = link;
}

static void *connector_main(void *context)
{
    struct connector *c = context;
    int pause = PAUSE_FIRST_MS;
    unsigned int seed = (unsigned int)clock_now();
    pthread_mutex_lock(&c->lock);
    for (struct link *link; (link = next_link(c));) {
        pthread_mutex_unlock(&c->lock);
        PGconn *conn = open_session(c->settings, link->listens);
        if (conn) {
            if (pause > PAUSE_FIRST_MS)
                log_info("database_available", "connected to PostgreSQL again");
            pause = PAUSE_FIRST_MS;
            struct mailbox *owner = link->owner;
            atomic_store(&link->offered, conn); /* from here the link is its owner's again */
            mailbox_wake(owner);
            pthread_mutex_lock(&c->lock);
            continue;
        }
        pthread_mutex_lock(&c->lock);
        put_back(c, link);
        wait_for(c, pause / 2 + (int)((unsigned int)rand_r(&seed) %
                                      (unsigned int)pause)); /* instances spread out */
        pause = pause * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : pause * 2;
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

struct connector *connector_start(const struct database_settings *settings)
{
    struct connector *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->settings = settings;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&c->thread, NULL, connector_main, c)) {
        free(c);
        return NULL;
    }
    return c;
}

void connector_ask(struct connector *c, struct link *link)
{
    pthread_mutex_lock(&c->lock);
    link->next = NULL;
    if (c->last)
        c->last->next = link;
    else
        c->first = link;
    c->last = link;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

void connector_stop(struct connector *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    free(c);
}
