/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Hosts and sockets of the model: life, applications, timers. */
#include "tests/model/tcp.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/wire_must.h"

enum { ISN_PER_MS = 250, KEEPALIVE_TRIES = 4, KEEPALIVE_STEP = 1000, REUSE_MS = 1000 };

const char *model_state_name(enum model_state state)
{
    static const char *const names[] = {"CLOSED",     "SYN_SENT",   "SYN_RECEIVED", "ESTABLISHED",
                                        "FIN_WAIT_1", "FIN_WAIT_2", "CLOSE_WAIT",   "CLOSING",
                                        "LAST_ACK",   "TIME_WAIT"};
    return names[state];
}

const char *model_end_name(enum model_end end)
{
    static const char *const names[] = {"open", "done", "refused", "reset", "timed out", "aborted"};
    return names[end];
}

/* ---- hosts ---- */

void model_host_start(struct model_host *host, uint32_t isn, uint32_t clock)
{
    host->isn_key = isn - (uint32_t)*host->now_ms * ISN_PER_MS;
    host->clock_offset = clock - (uint32_t)*host->now_ms;
}

struct model_socket *model_host_crash(struct model_host *host)
{
    struct model_socket *all = host->sockets;
    for (struct model_socket *s = all; s != NULL; s = s->next)
        if (s->state != MODEL_CLOSED)
            model_finish(s, MODEL_ABORTED);
    host->sockets = NULL;
    return all;
}

uint32_t model_clock(const struct model_host *host)
{
    return (uint32_t)*host->now_ms + host->clock_offset;
}

/* RFC 6528: a clock of 4 microseconds and an offset per tuple. */
uint32_t model_isn(const struct model_host *host, const struct endpoint *local,
                   const struct endpoint *remote)
{
    uint32_t mix = (uint32_t)local->port << 16 | remote->port;
    return host->isn_key + (uint32_t)*host->now_ms * ISN_PER_MS + (mix * 2654435761U >> 20);
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return b != 0 && b < a ? b : a;
}

uint64_t model_host_due(const struct model_host *host)
{
    uint64_t due = UINT64_MAX;
    for (const struct model_socket *s = host->sockets; s != NULL; s = s->next) {
        due = sooner(due, s->resend_at);
        due = sooner(due, s->probe_at);
        due = sooner(due, s->ack_at);
        due = sooner(due, s->keepalive_at);
        due = sooner(due, s->wait_at);
    }
    return due;
}

static bool is_due(uint64_t *timer, uint64_t now)
{
    if (*timer == 0 || *timer > now)
        return false;
    *timer = 0;
    return true;
}

static void keepalive_due(struct model_socket *s, uint64_t now)
{
    const uint64_t quiet = now - s->heard_at;
    if (s->state == MODEL_TIME_WAIT || s->state == MODEL_CLOSED)
        return;
    if (quiet < s->traits.keepalive_ms || s->una != s->max) { /* retransmission does the same */
        s->keepalive_at =
            (quiet < s->traits.keepalive_ms ? s->heard_at : now) + s->traits.keepalive_ms;
        s->keepalive_tries = 0;
        return;
    }
    if (s->keepalive_tries++ >= KEEPALIVE_TRIES) {
        model_send_reset(s);
        model_finish(s, MODEL_TIMED_OUT);
        return;
    }
    s->keepalive_at = now + KEEPALIVE_STEP;
    model_keepalive(s);
}

void model_host_tick(struct model_host *host)
{
    const uint64_t now = *host->now_ms;
    for (struct model_socket *s = host->sockets; s != NULL; s = s->next) {
        if (is_due(&s->ack_at, now))
            model_send_ack(s);
        if (is_due(&s->resend_at, now))
            model_resend_timeout(s);
        if (is_due(&s->probe_at, now))
            model_probe(s);
        if (is_due(&s->keepalive_at, now))
            keepalive_due(s, now);
        if (is_due(&s->wait_at, now))
            model_finish(s, s->state == MODEL_TIME_WAIT ? MODEL_DONE : MODEL_TIMED_OUT);
    }
}

uint32_t model_host_open(const struct model_host *host)
{
    uint32_t count = 0;
    for (const struct model_socket *s = host->sockets; s != NULL; s = s->next)
        count += s->state != MODEL_CLOSED;
    return count;
}

void model_sockets_free(struct model_socket *list)
{
    while (list != NULL) {
        struct model_socket *next = list->next;
        free(list->ring);
        free(list);
        list = next;
    }
}

/* ---- sockets ---- */

struct model_socket *model_socket_new(struct model_host *host, const struct endpoint *local,
                                      const struct endpoint *remote)
{
    struct model_socket *s = calloc(1, sizeof *s);
    uint8_t *ring = malloc(MODEL_RING);
    if (s == NULL || ring == NULL)
        abort();
    s->host = host;
    s->traits = host->traits;
    s->local = *local;
    s->remote = *remote;
    s->ring = ring;
    s->rto = MODEL_RTO_FIRST;
    s->heard_at = *host->now_ms;
    s->next = host->sockets;
    host->sockets = s;
    return s;
}

void model_finish(struct model_socket *s, enum model_end end)
{
    if (s->end == MODEL_OPEN)
        s->end = end;
    s->state = MODEL_CLOSED;
    s->resend_at = s->probe_at = s->ack_at = s->keepalive_at = s->wait_at = 0;
}

/* The application's connection is over, but the tuple is kept for what is sent again. */
void model_time_wait(struct model_socket *s)
{
    s->state = MODEL_TIME_WAIT;
    s->end = MODEL_DONE;
    s->resend_at = s->probe_at = s->keepalive_at = 0;
    s->wait_at = *s->host->now_ms + s->traits.time_wait_ms;
}

static struct model_socket *on_tuple(const struct model_host *host, uint16_t port,
                                     const struct endpoint *remote)
{
    for (struct model_socket *s = host->sockets; s != NULL; s = s->next)
        if (s->local.port == port && s->state != MODEL_CLOSED && s->remote.port == remote->port &&
            addr_equal(&s->remote.addr, &remote->addr))
            return s;
    return NULL;
}

struct model_socket *model_connect(struct model_host *host, uint16_t local_port,
                                   const struct endpoint *remote)
{
    const struct endpoint local = {.addr = host->address, .port = local_port};
    uint32_t isn = model_isn(host, &local, remote);
    struct model_socket *old = on_tuple(host, local_port, remote);
    if (old != NULL) { /* RFC 6191: the new numbers must lie beyond the old ones */
        const uint64_t since = old->wait_at - old->traits.time_wait_ms;
        if (old->state != MODEL_TIME_WAIT || !old->timestamps || *host->now_ms < since + REUSE_MS)
            return NULL;
        if (model_before(isn, old->max + 65535))
            isn = old->max + 65535;
        model_finish(old, MODEL_DONE);
    }
    struct model_socket *s = model_socket_new(host, &local, remote);
    s->state = MODEL_SYN_SENT;
    s->iss = s->una = s->nxt = s->max = isn;
    model_send_syn(s);
    model_arm(s, true);
    return s;
}

void model_write(struct model_socket *s, const uint8_t *stream, uint32_t written, bool finish)
{
    s->stream = stream;
    s->written = written;
    s->finish = s->finish || finish;
    if (s->state >= MODEL_ESTABLISHED && s->state != MODEL_TIME_WAIT)
        model_output(s);
}

uint32_t model_readable(const struct model_socket *s)
{
    return s->arrived - s->read;
}

/* A window that its scale has rounded up may have let in a little more than the buffer. */
uint32_t model_room(const struct model_socket *s)
{
    const uint32_t used = model_readable(s);
    return used < s->traits.buffer ? s->traits.buffer - used : 0;
}

bool model_at_end(const struct model_socket *s)
{
    return s->fin_received && s->arrived == s->read;
}

/* Tells the peer of room that it will want: at least a segment's, or half of the buffer (RFC 9293
 * section 3.8.6.2.2). */
static void maybe_update_window(struct model_socket *s)
{
    const uint32_t told = s->edge - s->rcv_nxt, room = model_room(s);
    uint32_t worth = s->traits.buffer / 2 < s->mss ? s->traits.buffer / 2 : s->mss;
    if (worth == 0)
        worth = 1;
    const bool receiving = s->state == MODEL_ESTABLISHED || s->state == MODEL_FIN_WAIT_1 ||
                           s->state == MODEL_FIN_WAIT_2;
    if (receiving && room > told && room - told >= worth)
        model_send_ack(s);
}

uint32_t model_read(struct model_socket *s, uint8_t *out, uint32_t room)
{
    uint32_t count = model_readable(s);
    if (count > room)
        count = room;
    for (uint32_t i = 0; i < count; i++)
        out[i] = s->ring[(s->read + i) % MODEL_RING];
    s->read += count;
    if (count != 0)
        maybe_update_window(s);
    return count;
}

void model_abort(struct model_socket *s)
{
    if (s->state == MODEL_CLOSED || s->state == MODEL_TIME_WAIT)
        return;
    if (s->state != MODEL_SYN_SENT)
        model_send_reset(s);
    model_finish(s, MODEL_ABORTED);
}

void model_close(struct model_socket *s)
{
    if (s->state == MODEL_CLOSED || s->state == MODEL_TIME_WAIT || s->closed)
        return;
    if (model_readable(s) != 0) { /* RFC 2525 section 2.17: what was not read is lost */
        model_abort(s);
        return;
    }
    s->closed = true;
    if (s->state == MODEL_FIN_WAIT_2)
        s->wait_at = *s->host->now_ms + s->traits.fin_wait_ms;
    model_write(s, s->stream, s->written, true);
}
