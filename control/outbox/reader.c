/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Reading may be repeated without harm, so what was lost with its connection is sent again until
 * its client gives up. A doubtful page is read again as well: its events may not be as durable yet
 * as they must be before anybody acts on them. */
#include "control/outbox/reader.h"

#include <stdlib.h>
#include <string.h>

#include "common/failpoint.h"
#include "common/log.h"
#include "control/clock.h"
#include "control/ledger/rows.h"
#include "control/ledger/wire.h"
#include "control/outbox/page.h"

enum { NEWS_MS = 50 }; /* between questions for news, while somebody waits */

static void append(struct reader_list *list, struct ledger_request *r)
{
    r->next = NULL;
    if (list->last)
        list->last->next = r;
    else
        list->first = r;
    list->last = r;
}

static struct ledger_request *pop(struct reader_list *list)
{
    struct ledger_request *r = list->first;
    if (!r)
        return NULL;
    list->first = r->next;
    if (!list->first)
        list->last = NULL;
    return r;
}

void reader_open(struct reader *reader, struct connector *connector, struct mailbox *owner)
{
    memset(reader, 0, sizeof *reader);
    link_open(&reader->link, connector, owner, false);
}

void reader_add(struct reader *reader, struct ledger_request *r)
{
    reader->count++;
    append(&reader->ready, r);
}

void reader_hurry(struct reader *reader)
{
    reader->hurried = true;
}

static bool may_wait(const struct reader *reader, const struct ledger_request *r, int64_t now)
{
    return !reader->hurried && now < r->invoked + r->page.wait * NANOSECONDS_PER_S;
}

static void answer(struct reader *reader, struct ledger_request *r, enum ledger_status status)
{
    reader->count--;
    ledger_request_answer(r, status);
}

/* ---- answers ---- */

/* A page has come: it is given back, or its reader waits for one with something in it. */
static void take_page(struct reader *reader, int64_t now)
{
    struct ledger_request *r = reader->current;
    reader->current = NULL;
    enum ledger_status status = page_render(reader->link.result, &r->page);
    if (status == LEDGER_FAILED)
        log_error("events_unreadable", "the rows of dropgate.events_read are misshapen");
    if (status != LEDGER_PAGE || r->page.events > 0 || !may_wait(reader, r, now)) {
        answer(reader, r, status);
        return;
    }
    r->page.after = r->page.place; /* all there was: from here on, for one who named no position */
    free(r->page.body);
    r->page.body = NULL;
    if (ledger_request_untake(r))
        append(&reader->waiting, r);
    else
        answer(reader, r, LEDGER_DROPPED);
}

static void drop_abandoned(struct reader *reader, struct reader_list *list)
{
    struct reader_list kept = {NULL, NULL};
    for (struct ledger_request *r; (r = pop(list));) {
        if (ledger_request_abandoned(r))
            answer(reader, r, LEDGER_DROPPED);
        else
            append(&kept, r);
    }
    *list = kept;
}

/* Moves those on for whom `last` is news, or whose time is over. */
static void review(struct reader *reader, int64_t last, int64_t now)
{
    struct reader_list kept = {NULL, NULL};
    for (struct ledger_request *r; (r = pop(&reader->waiting));) {
        if (last > r->page.after || !may_wait(reader, r, now))
            append(&reader->ready, r);
        else
            append(&kept, r);
    }
    reader->waiting = kept;
}

static void on_answered(struct reader *reader, int64_t now)
{
    if (!reader->asked) {
        if (reader->current)
            take_page(reader, now);
        return;
    }
    int64_t last = 0;
    reader->asked = false;
    if (PQntuples(reader->link.result) == 1)
        rows_int64(reader->link.result, 0, 0, &last);
    review(reader, last, now);
}

static void on_refused(struct reader *reader)
{
    const char *state = link_sqlstate(&reader->link);
    log_error("events_refused", "%s %s", state, link_message(&reader->link));
    reader->asked = false;
    if (reader->current)
        answer(reader, reader->current, LEDGER_UNAVAILABLE);
    reader->current = NULL;
    if (!strcmp(state, "25006") || !strcmp(state, "0A000") || !strcmp(state, "26000"))
        link_drop(&reader->link);
}

/* ---- questions ---- */

static void send_page(struct reader *reader)
{
    char after[8], limit[4], bytes[4];
    const struct ledger_page *page = &reader->current->page;
    wire_put64(after, (uint64_t)page->after);
    wire_put32(limit, (uint32_t)page->limit);
    wire_put32(bytes, PAGE_BYTES);
    const struct link_parameter parameters[3] = {{page->after < 0 ? NULL : after, sizeof after},
                                                 {limit, sizeof limit},
                                                 {bytes, sizeof bytes}};
    FAILPOINT("events.send");
    link_send(&reader->link, LINK_EVENTS, 3, parameters);
}

/* The next whose client is still there, claimed; or NULL. */
static struct ledger_request *next_request(struct reader *reader)
{
    for (struct ledger_request *r; (r = pop(&reader->ready));) {
        if (ledger_request_take(r))
            return r;
        answer(reader, r, LEDGER_DROPPED);
    }
    return NULL;
}

static void send_next(struct reader *reader, int64_t now)
{
    if (!reader->current)
        reader->current = next_request(reader);
    if (reader->current) {
        send_page(reader);
    } else if (reader->waiting.first && now >= reader->ask_at) {
        reader->asked = true;
        reader->ask_at = now + NEWS_MS * NANOSECONDS_PER_MS;
        link_send(&reader->link, LINK_EVENTS_LAST, 0, NULL);
    }
}

/* Without a connection nobody is asked for news, but clients still go, and times still end. */
static void keep_time(struct reader *reader, int64_t now)
{
    if (reader->current && ledger_request_abandoned(reader->current) &&
        reader->link.state != LINK_BUSY) {
        answer(reader, reader->current, LEDGER_DROPPED);
        reader->current = NULL;
    }
    drop_abandoned(reader, &reader->ready);
    drop_abandoned(reader, &reader->waiting);
    review(reader, -1, now);
}

uint32_t reader_advance(struct reader *reader, int64_t now)
{
    uint32_t before = reader->count;
    switch (link_advance(&reader->link)) {
    case LINK_ANSWERED: on_answered(reader, now); break;
    case LINK_DOUBTFUL:
        if (reader->asked)
            on_answered(reader, now);
        break;
    case LINK_REFUSED: on_refused(reader); break;
    case LINK_LOST: reader->asked = false; break;
    default: break;
    }
    keep_time(reader, now);
    if (reader->link.state == LINK_IDLE)
        send_next(reader, now);
    return before - reader->count;
}

int64_t reader_due(const struct reader *reader, int64_t now)
{
    return reader->count > 0 ? now + NEWS_MS * NANOSECONDS_PER_MS : INT64_MAX;
}
