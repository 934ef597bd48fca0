/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Notifications only say that something has changed; however many come, the catalogue is read once,
 * at most every GAP_MS. A refused or misshapen reading changes nothing and is tried again at the
 * regular time. */
#include "control/catalog/refresh.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <urcu/urcu-memb.h>

#include "common/log.h"
#include "control/clock.h"
#include "control/ledger/rows.h"
#include "control/timestamp.h"

enum { GAP_MS = 20, EXPIRE_EVERY_MS = 1000 };

struct refresh {
    struct connector *connector;
    struct ledger *ledger;
    struct catalog *catalog;
    int64_t interval; /* nanoseconds */
    pthread_t thread;
    struct mailbox box; /* nothing is posted; its eventfd wakes us */
    struct link link;
    bool wanted;     /* something has changed */
    int64_t asked;   /* when the last reading was sent */
    int64_t expired; /* when expiry was last asked for */
    _Atomic bool stopping;
};

/* ---- one reading ---- */

enum column {
    SALE,
    ITEM,
    TITLE,
    DESCRIPTION,
    TOTAL,
    AVAIL,
    HELD,
    PER_USER,
    HOLD_MS,
    UNIT_PRICE,
    CURRENCY,
    OPENS_AT,
    CLOSES_AT,
    STATE,
    READ_AT,
    COLUMNS
};

static int read_row(const PGresult *result, int i, struct catalog_row *row)
{
    static const enum column texts[] = {ITEM, TITLE, DESCRIPTION, CURRENCY, STATE};
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++)
        if (PQgetisnull(result, i, texts[t]))
            return -EPROTO;
    row->item = PQgetvalue(result, i, ITEM);
    row->title = PQgetvalue(result, i, TITLE);
    row->description = PQgetvalue(result, i, DESCRIPTION);
    row->currency = PQgetvalue(result, i, CURRENCY);
    row->state = PQgetvalue(result, i, STATE);
    row->closes_at = TIMESTAMP_INFINITY;
    if (!PQgetisnull(result, i, CLOSES_AT) && rows_int64(result, i, CLOSES_AT, &row->closes_at))
        return -EPROTO;
    if (rows_int32(result, i, SALE, &row->sale) || rows_int64(result, i, TOTAL, &row->total) ||
        rows_int64(result, i, AVAIL, &row->avail) || rows_int64(result, i, HELD, &row->held) ||
        rows_int32(result, i, PER_USER, &row->per_user) ||
        rows_int64(result, i, HOLD_MS, &row->hold_ms) ||
        rows_int64(result, i, UNIT_PRICE, &row->unit_price) ||
        rows_int64(result, i, OPENS_AT, &row->opens_at) ||
        rows_int64(result, i, READ_AT, &row->read_at))
        return -EPROTO;
    return 0;
}

static int find_lane(struct refresh *r, int32_t sale, struct lane **lane)
{
    *lane = ledger_lane(r->ledger, sale);
    return *lane ? 0 : -ENOMEM;
}

static struct catalog_generation *build(struct refresh *r)
{
    const PGresult *result = r->link.result;
    int count = PQntuples(result);
    struct catalog_row *rows = calloc((size_t)count + 1, sizeof *rows);
    struct lane **lanes = calloc((size_t)count + 1, sizeof(struct lane *));
    int status = !rows || !lanes ? -ENOMEM : PQnfields(result) == COLUMNS ? 0 : -EPROTO;
    for (int i = 0; !status && i < count; i++) {
        status = read_row(result, i, &rows[i]);
        if (!status)
            status = find_lane(r, rows[i].sale, &lanes[i]);
    }
    struct catalog_generation *built =
        status ? NULL : catalog_build(rows, lanes, (size_t)count, r->asked);
    free(rows);
    free(lanes);
    if (!built)
        log_error("catalog_unreadable", "%s; the last catalogue stays",
                  status == -EPROTO ? "a row is misshapen" : "no memory");
    return built;
}

/* Lanes with holds out get an empty batch, or have expiry done by the batch that comes anyway. */
static void ask_for_expiry(struct refresh *r, const struct catalog_generation *g, int64_t now)
{
    if (now - r->expired < EXPIRE_EVERY_MS * NANOSECONDS_PER_MS)
        return;
    r->expired = now;
    const struct catalog_sale *sale;
    for (size_t i = 0; (sale = catalog_sale_at(g, i)); i++)
        if (sale->held)
            lane_expire(sale->lane);
}

static void take_reading(struct refresh *r)
{
    struct catalog_generation *built = build(r);
    if (!built)
        return;
    if (!catalog_current(r->catalog))
        log_info("catalog_loaded", "the catalogue has been read: %d sales",
                 PQntuples(r->link.result));
    catalog_publish(r->catalog, built);
    ask_for_expiry(
        r, built,
        clock_now()); /* this thread alone publishes, so `built` is still the current one */
}

/* ---- the loop ---- */

static void take_notifications(struct refresh *r)
{
    if (r->link.state == LINK_DOWN)
        return;
    for (PGnotify *n; (n = PQnotifies(r->link.conn)); PQfreemem(n))
        r->wanted = true;
}

static int64_t next_reading(const struct refresh *r)
{
    return r->asked + (r->wanted ? GAP_MS * NANOSECONDS_PER_MS : r->interval);
}

static void advance(struct refresh *r)
{
    switch (link_advance(&r->link)) {
    case LINK_UP: r->wanted = true; break; /* what was notified meanwhile is lost */
    case LINK_ANSWERED:
    case LINK_DOUBTFUL: take_reading(r); break; /* a reading commits nothing */
    case LINK_REFUSED:
        log_error("catalog_unreadable", "%s %s", link_sqlstate(&r->link), link_message(&r->link));
        link_drop(&r->link);
        break;
    default: break;
    }
    take_notifications(r);
    int64_t now = clock_now();
    if (r->link.state != LINK_IDLE || now < next_reading(r))
        return;
    r->wanted = false;
    r->asked = now;
    link_send(&r->link, LINK_CATALOG, 0, NULL);
}

static void wait_for_work(struct refresh *r)
{
    struct pollfd fds[2] = {{.fd = r->box.wake, .events = POLLIN}};
    fds[1].fd = link_poll(&r->link, &fds[1].events);
    int timeout = -1;
    if (r->link.state == LINK_IDLE) {
        int64_t left = next_reading(r) - clock_now();
        timeout = left <= 0 ? 0 : (int)(left / NANOSECONDS_PER_MS) + 1;
    }
    poll(fds, 2, timeout);
    mailbox_clear(&r->box);
}

static void *thread_main(void *context)
{
    struct refresh *r = context;
    urcu_memb_register_thread();
    while (!atomic_load(&r->stopping)) {
        wait_for_work(r);
        advance(r);
    }
    urcu_memb_unregister_thread();
    return NULL;
}

struct refresh *refresh_start(const struct catalog_settings *settings, struct connector *connector,
                              struct ledger *ledger, struct catalog *catalog)
{
    struct refresh *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->connector = connector;
    r->ledger = ledger;
    r->catalog = catalog;
    r->interval = settings->refresh * NANOSECONDS_PER_MS;
    if (mailbox_open(&r->box)) {
        free(r);
        return NULL;
    }
    link_open(&r->link, connector, &r->box, true);
    if (pthread_create(&r->thread, NULL, thread_main, r))
        return NULL; /* the process ends; the connector still knows the link */
    return r;
}

void refresh_stop(struct refresh *r)
{
    atomic_store(&r->stopping, true);
    mailbox_wake(&r->box);
    pthread_join(r->thread, NULL);
}

void refresh_free(struct refresh *r)
{
    link_close(&r->link);
    mailbox_close(&r->box);
    free(r);
}
