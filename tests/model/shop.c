/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Plans are followed by looking at what is possible now; nothing is remembered but how far each end
 * is. */
#include "tests/model/shop.h"

#include <string.h>

enum { CHUNK = 4096, PORT_BUSY_MS = 300 };

void shop_wrong(struct shop *shop, const struct attempt *attempt, const char *what)
{
    if (shop->wrong == NULL) {
        shop->wrong = what;
        shop->wrong_attempt = attempt;
    }
}

void shop_excuse(struct attempt *a, const char *why)
{
    if (a->excused)
        return;
    a->excused = true;
    a->excuse = why;
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Whether an end may do it now; if not, when. */
static bool may(uint64_t now, uint64_t at, uint64_t *next)
{
    if (now >= at)
        return true;
    if (at < *next)
        *next = at;
    return false;
}

static bool ended(const struct model_socket *s)
{
    return s->end != MODEL_OPEN;
}

/* Reads by a manner and compares with what the other end wrote. Returns how many bytes. */
static uint32_t read_some(struct model_socket *s, const struct shop_manner *m, const uint8_t *truth,
                          uint32_t truth_length, uint32_t at, bool *stalled, uint64_t *reads_ms,
                          uint64_t now, uint64_t *next, const char **wrong)
{
    uint8_t bytes[CHUNK];
    if (model_readable(s) == 0)
        return 0;
    if (!*stalled && m->stall_ms != 0 && at >= m->stall_at) {
        *stalled = true;
        *reads_ms = now + m->stall_ms;
    }
    if (!may(now, *reads_ms, next))
        return 0;
    const uint32_t most = m->read_size ? smaller(m->read_size, CHUNK) : CHUNK;
    const uint32_t count = model_read(s, bytes, most);
    *reads_ms = now + m->read_gap;
    if (at + count > truth_length)
        *wrong = "more bytes arrived than were written";
    else if (memcmp(bytes, truth + at, count) != 0)
        *wrong = "other bytes arrived than were written";
    if (model_readable(s) != 0)
        may(now, *reads_ms > now ? *reads_ms : now + 1, next);
    return count;
}

/* ---- the client ---- */

static void client_over(struct attempt *a, uint64_t now)
{
    a->over = true;
    a->over_ms = now;
}

static uint32_t answers_received(const struct attempt *a)
{
    uint32_t n = 0;
    while (n < a->requests && a->received >= a->request[n].answer_end)
        n++;
    return n;
}

static void client_writes(struct attempt *a, uint64_t now, uint64_t *next)
{
    const struct shop_manner *m = &a->client_manner;
    const uint32_t answered = answers_received(a);
    for (;;) {
        const uint32_t current =
            a->pipelined ? a->requests - 1 : smaller(answered, a->requests - 1);
        const uint32_t allowed =
            current == a->requests - 1 ? a->ask_length : a->request[current].end;
        if (a->asked >= allowed)
            return;
        if (!a->pipelined && a->thought < current) { /* the next request: after a while */
            a->thought = current;
            a->client_writes_ms = now + m->think_ms;
        }
        if (!may(now, a->client_writes_ms, next))
            return;
        uint32_t count = allowed - a->asked;
        if (m->write_size != 0)
            count = smaller(count, m->write_size);
        if (a->asked == 0 && a->whole_head && count < a->request[0].head_end)
            count = a->request[0].head_end;
        a->asked += count;
        const bool last = a->asked == a->ask_length;
        model_write(a->socket, a->ask, a->asked, last && a->close == SHOP_CLIENT_HALF);
        a->client_writes_ms = now + m->write_gap;
    }
}

static void client_closes(struct attempt *a)
{
    struct model_socket *s = a->socket;
    const bool all =
        a->received == a->answer_length + a->refusal_length && a->asked == a->ask_length;
    if (s->finish || s->state < MODEL_ESTABLISHED)
        return;
    if ((all && a->close == SHOP_CLIENT_LAST_ANSWER) ||
        (model_at_end(s) && (a->asked == a->ask_length || a->unserved))) {
        if (a->close_for_good && all)
            model_close(s);
        else
            model_write(s, a->ask, a->asked, true);
    }
}

static void start(struct attempt *a, struct world *w, uint64_t *next)
{
    const struct endpoint to = world_service(w, a->v4, a->second_service);
    if (!may(w->now_ms, a->start_ms, next))
        return;
    a->socket = model_connect(a->client, a->port, &to);
    if (a->socket == NULL) { /* the port's last connection is not over yet */
        a->start_ms = w->now_ms + PORT_BUSY_MS;
        may(w->now_ms, a->start_ms, next);
        return;
    }
    a->socket->owner = a;
    a->started = true;
}

static void client_step(struct shop *shop, struct attempt *a, uint64_t *next)
{
    const uint64_t now = shop->world->now_ms;
    const struct shop_manner *m = &a->client_manner;
    if (!a->started) {
        start(a, shop->world, next);
        return;
    }
    struct model_socket *s = a->socket;
    if (s->state >= MODEL_ESTABLISHED && s->state != MODEL_TIME_WAIT)
        client_writes(a, now, next);
    const char *wrong = NULL;
    uint32_t said = a->answered + (a->answered == a->answer_length ? a->refusal_length : 0);
    const uint8_t *truth = a->answer;
    if (shop_served(a) != 0 && a->answered == 0 && model_readable(s) != 0)
        a->unserved = true;
    if (a->unserved) {
        truth = a->answer + a->answer_length;
        said = REPLY_MOST;
    }
    a->received += read_some(s, m, truth, said, a->received, &a->client_stalled,
                             &a->client_reads_ms, now, next, &wrong);
    if (wrong != NULL)
        shop_wrong(shop, a, wrong);
    const bool aborts = a->received >= m->abort_at || (m->abort_ms != 0 && now >= m->abort_ms);
    if (aborts && !ended(s))
        model_abort(s);
    else if (m->abort_ms != 0 && now < m->abort_ms)
        may(now, m->abort_ms, next);
    client_closes(a);
    a->saw_end = a->saw_end || model_at_end(s);
    if (ended(s) && (model_readable(s) == 0 || s->end != MODEL_DONE))
        client_over(a, now);
    if (now > a->start_ms + shop->patience_ms) {
        if (!a->excused)
            shop_wrong(shop, a, "it does not come to an end");
        model_abort(s);
        client_over(a, now);
    }
    may(now, a->start_ms + shop->patience_ms + 1, next);
}

/* ---- the server ---- */

static struct attempt *attempt_of(struct shop *shop, const struct model_socket *s)
{
    for (uint32_t i = 0; i < shop->count; i++) {
        struct attempt *a = &shop->attempts[i];
        if (a->started && a->port == s->remote.port && a->socket->iss == s->irs &&
            addr_equal(&a->client->address, &s->remote.addr))
            return a;
    }
    return NULL;
}

void shop_accepted(struct shop *shop, struct model_socket *s)
{
    struct attempt *a = attempt_of(shop, s);
    s->owner = a;
    if (a == NULL) {
        shop_wrong(shop, NULL, "the backend has a connection that no client made");
        return;
    }
    if (a->server == NULL || a->taken == 0) {
        a->server = s;
        return;
    }
    if (a->extra_count < SHOP_EXTRA)
        a->extra[a->extra_count++] = s;
    else
        shop_wrong(shop, a, "it is opened again and again");
}

/* A connection that was executed before may be opened again by what is late, but nothing of it may
 * reach the application. */
static void check_extra(struct shop *shop, struct attempt *a)
{
    for (uint32_t i = 0; i < a->extra_count; i++) {
        if (model_readable(a->extra[i]) != 0 && !shop->forgetful)
            shop_wrong(shop, a, "a request reached the backend twice");
        else if (model_readable(a->extra[i]) != 0)
            model_abort(a->extra[i]);
        if (a->extra[i]->fin_received && !a->extra[i]->finish)
            model_write(a->extra[i], a->answer, 0, true);
    }
}

static void server_writes(struct attempt *a, uint64_t now, uint64_t *next)
{
    const struct shop_manner *m = &a->server_manner;
    while (a->thought_over < a->executed) {
        if (!may(now, a->server_writes_ms, next))
            return;
        const uint32_t allowed = a->request[a->thought_over].answer_end;
        uint32_t count = allowed - a->answered;
        if (m->write_size != 0)
            count = smaller(count, m->write_size);
        a->answered += count;
        a->server_writes_ms = now + m->write_gap;
        if (a->answered == allowed) {
            a->thought_over++;
            a->server_writes_ms = now + m->think_ms;
        }
        const bool last = a->thought_over == shop_served(a);
        model_write(a->server, a->answer, a->answered, last && a->close == SHOP_SERVER);
    }
}

static void server_step(struct shop *shop, struct attempt *a, uint64_t *next)
{
    const uint64_t now = shop->world->now_ms;
    const struct shop_manner *m = &a->server_manner;
    struct model_socket *s = a->server;
    const char *wrong = NULL;
    check_extra(shop, a);
    if (s == NULL || (s->state == MODEL_CLOSED && s->end != MODEL_DONE))
        return;
    const uint32_t most =
        a->refused ? a->request[a->requests - 1].head_end - 1 : a->requests_length;
    a->taken += read_some(s, m, a->ask, smaller(a->asked, most), a->taken, &a->server_stalled,
                          &a->server_reads_ms, now, next, &wrong);
    if (wrong != NULL)
        shop_wrong(shop, a, wrong);
    for (; a->executed < shop_served(a); a->executed++) {
        const struct shop_request *r = &a->request[a->executed];
        if (a->taken < (a->answers_early ? r->head_end : r->end))
            break;
        if (a->thought_over == a->executed)
            a->server_writes_ms = now + m->think_ms;
    }
    if (a->taken >= m->abort_at) {
        model_abort(s);
        return;
    }
    server_writes(a, now, next);
    const bool answered = a->answered == a->answer_length && a->taken >= a->requests_length;
    if (model_at_end(s) && answered && !s->finish)
        model_write(s, a->answer, a->answered, true);
    else if (model_at_end(s) && a->taken < a->requests_length &&
             !s->finish) /* it went away early */
        model_write(s, a->answer, a->answered, true);
}

uint64_t shop_step(struct shop *shop)
{
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < shop->count; i++) {
        struct attempt *a = &shop->attempts[i];
        if (!a->over)
            client_step(shop, a, &next);
        if (a->started)
            server_step(shop, a, &next);
    }
    return next;
}

/* Its connection may be over, but what came is still to be read. */
static bool still_reads(const struct model_socket *s)
{
    return s != NULL && s->end == MODEL_DONE && model_readable(s) != 0;
}

bool shop_over(const struct shop *shop)
{
    for (uint32_t i = 0; i < shop->count; i++)
        if (!shop->attempts[i].over || still_reads(shop->attempts[i].server))
            return false;
    return true;
}
