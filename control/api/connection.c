/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The life of a connection:
 *
 *   HEAD --head--> BODY --complete--> answered at once, or WORK --ledger--> answered
 *   answered --keep--> HEAD (or FLUSH first, until a slow reader has taken what is there)
 *   answered --close--> CLOSING --all sent--> LINGER --client's end, or time--> gone
 *
 * LINGER reads and forgets: closing with unread bytes would send a reset, which can destroy the
 * answer on its way (RFC 9112 section 9.6). A client that has sent its end while it waits is still
 * answered: it may have closed only its own direction. A reset means that nobody is there, and
 * takes back a request that has not been sent. */
#include "control/api/connection.h"

#include <assert.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/failpoint.h"
#include "control/api/body.h"
#include "control/api/handlers.h"

enum state { HEAD, BODY, WORK, FLUSH, CLOSING, LINGER };

enum {
    INPUT_MAX = 16 * 1024,  /* more than the largest head, so that reading never stops within one */
    OUTPUT_MAX = 64 * 1024, /* unsent answers before the next request is looked at */
    LINGER_MAX = 64 * 1024, /* bytes read and forgotten before we close anyway */
};

struct connection {
    struct network *network;
    struct bufferevent *bev;
    struct event timer;
    enum wait waits; /* what the timer is for */
    bool timed;      /* the timer is set */
    enum state state;
    bool ended; /* the client has sent its end */
    bool last;  /* close behind the next answer */
    uint32_t slot;
    size_t scanned;   /* bytes of the input that the parser has seen: an incomplete head */
    size_t forgotten; /* while LINGER */
    struct http1 parser;
    struct exchange x;
    char *body;
    size_t body_length, body_room;
};

/* ---- waiting ---- */

static void wait_for(struct connection *c, enum wait what)
{
    if (c->timed && c->waits == what)
        return; /* an absolute time: a byte now and then does not extend it */
    c->waits = what;
    c->timed = true;
    event_add(&c->timer, c->network->waits[what]);
}

static void wait_anew(struct connection *c, enum wait what)
{
    c->timed = false;
    wait_for(c, what);
}

/* ---- slots and handles ---- */

static struct slot *slot_of(const struct connection *c)
{
    return &c->network->slots[c->slot];
}

static uint64_t handle_of(const struct connection *c)
{
    return (uint64_t)c->slot << 32 | slot_of(c)->generation;
}

/* Room for one more slot. Returns its index or SLOT_NONE. */
static uint32_t take_slot(struct network *n)
{
    if (n->free_slot == SLOT_NONE) {
        uint32_t count = n->slot_count ? n->slot_count * 2 : 64;
        struct slot *slots = realloc(n->slots, count * sizeof *slots);
        if (!slots)
            return SLOT_NONE;
        n->slots = slots;
        for (uint32_t i = n->slot_count; i < count; i++)
            slots[i] = (struct slot){.next_free = i + 1 < count ? i + 1 : SLOT_NONE};
        n->free_slot = n->slot_count;
        n->slot_count = count;
    }
    uint32_t slot = n->free_slot;
    n->free_slot = n->slots[slot].next_free;
    return slot;
}

static void give_slot(struct network *n, uint32_t slot)
{
    n->slots[slot].connection = NULL;
    n->slots[slot].generation++;
    n->slots[slot].next_free = n->free_slot;
    n->free_slot = slot;
}

/* The request is no longer ours to touch: the ledger gives it back some day, to nobody. Returns
 * whether it was still waiting, so that nothing has happened and nothing will. */
static bool forget_request(struct connection *c)
{
    struct ledger_request *r = c->x.request;
    c->x.request = NULL;
    slot_of(c)->generation++;
    return ledger_request_abandon(r);
}

static void end_exchange(struct connection *c)
{
    if (c->x.request)
        pool_give(&c->network->pool, c->x.request);
    c->x.request = NULL;
    free(c->body);
    c->body = NULL;
    c->body_length = c->body_room = 0;
}

/* ---- ends ---- */

static void close_connection(struct connection *c)
{
    struct network *n = c->network;
    if (c->state == WORK)
        forget_request(c);
    end_exchange(c);
    event_del(&c->timer);
    bufferevent_free(c->bev);
    give_slot(n, c->slot);
    free(c);
    n->connections--;
    atomic_fetch_sub(&n->server->connections, 1);
    if (n->draining && n->connections == 0)
        event_base_loopbreak(n->base);
}

/* With a reset: what the kernel still holds for this client is thrown away at once. */
static void reset_connection(struct connection *c)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(bufferevent_getfd(c->bev), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close_connection(c);
}

void connection_abort(struct connection *c)
{
    close_connection(c);
}

/* All is sent: our end goes out, and what the client still sends is read and forgotten for a while.
 * False if the connection is gone. */
static bool linger(struct connection *c)
{
    if (c->ended) {
        close_connection(c);
        return false;
    }
    struct evbuffer *input = bufferevent_get_input(c->bev);
    c->state = LINGER;
    shutdown(bufferevent_getfd(c->bev), SHUT_WR);
    evbuffer_drain(input, evbuffer_get_length(input));
    wait_for(c, WAIT_LINGER);
    return true;
}

/* Nothing more will be read; what is still unsent goes out first. */
static void finish(struct connection *c)
{
    if (evbuffer_get_length(bufferevent_get_output(c->bev)) == 0) {
        close_connection(c);
        return;
    }
    c->state = CLOSING;
    wait_anew(c, WAIT_WRITE);
}

/* ---- answers ---- */

static void queue_rest(struct evbuffer *output, const struct iovec *parts, int count, size_t sent)
{
    for (int i = 0; i < count; i++) {
        if (sent < parts[i].iov_len)
            evbuffer_add(output, (const char *)parts[i].iov_base + sent, parts[i].iov_len - sent);
        sent -= sent < parts[i].iov_len ? sent : parts[i].iov_len;
    }
}

/* Straight to the socket where nothing waits before it, which saves a turn of the loop; the rest by
 * the bufferevent. */
static void send_parts(struct connection *c, const struct iovec *parts, int count)
{
    struct evbuffer *output = bufferevent_get_output(c->bev);
    size_t sent = 0;
    if (evbuffer_get_length(output) == 0) {
        const struct msghdr message = {.msg_iov = (struct iovec *)parts,
                                       .msg_iovlen = (size_t)count};
        ssize_t n = sendmsg(bufferevent_getfd(c->bev), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        sent = n > 0 ? (size_t)n : 0; /* an error shows again when the bufferevent writes */
    }
    queue_rest(output, parts, count, sent);
}

/* Sends the answer and goes on. False if the connection is gone. */
static bool respond(struct connection *c, const struct reply *reply)
{
    struct network *n = c->network;
    char head[REPLY_HEAD_MAX];
    /* From the announcement on, so that few connections are idle when the doors close. */
    bool ending = atomic_load(&n->server->phase) != SERVER_RUNNING;
    bool last = c->last || ending || !c->x.keep_alive;
    enum reply_connection how = last ? REPLY_CLOSE : c->x.http_1_0 ? REPLY_KEEP_1_0 : REPLY_KEEP;
    bool body = reply->content_type && !c->x.match.head_only;
    struct iovec parts[2] = {{head, reply_head(reply, network_date(n), how, head)},
                             {(char *)reply->body, body ? reply->body_length : 0}};
    send_parts(c, parts, 2);
    end_exchange(c);
    size_t unsent = evbuffer_get_length(bufferevent_get_output(c->bev));
    if (last) {
        c->state = CLOSING;
        wait_anew(c, WAIT_WRITE);
        return unsent > 0 || linger(c);
    }
    if (unsent > OUTPUT_MAX) {
        c->state = FLUSH;
        wait_anew(c, WAIT_WRITE);
    } else {
        c->state = HEAD;
        wait_anew(c, WAIT_IDLE);
    }
    return true;
}

static bool respond_and_close(struct connection *c, const struct reply *reply)
{
    c->last = true;
    return respond(c, reply);
}

/* ---- requests ---- */

/* Keeps body bytes, up to what any call accepts. False if there are more. */
static bool keep_body(struct connection *c, const void *bytes, size_t length)
{
    if (c->body_length + length > BODY_MAX)
        return false;
    if (!c->x.wants_body) {
        c->body_length += length;
        return true;
    }
    if (c->body_length + length > c->body_room) {
        size_t room = c->body_length + length <= 256 ? 256 : BODY_MAX;
        char *body = realloc(c->body, room);
        if (!body)
            return false;
        c->body = body;
        c->body_room = room;
    }
    memcpy(c->body + c->body_length, bytes, length);
    c->body_length += length;
    return true;
}

static bool refuse_body(struct connection *c)
{
    struct reply reply;
    reply_problem(&reply, PROBLEM_BODY_TOO_LARGE, "Bodies of up to 4096 bytes are accepted.",
                  REPLY_NO_RETRY);
    return respond_and_close(c, &reply);
}

/* What the head asks of us before the message is complete. */
enum after_head { GO_ON, SEND_CONTINUE, REFUSE_EARLY, REFUSE_BODY, REFUSE_HEAD };

/* Reads the head; `behind` bytes have already come after it. Sends nothing: its bytes are still in
 * use. */
static enum after_head read_head(struct connection *c, const char *bytes, size_t length,
                                 size_t behind)
{
    struct http1_head head;
    c->state = BODY;
    if (http1_head(bytes, length, &HTTP1_DEFAULT_LIMITS, &head) != HTTP1_OK)
        return REFUSE_HEAD; /* the scan has let it pass, so this is never seen; but never trust a
                               claim like that */
    handler_head(c->network, &head, &c->x);
    if (!head.chunked && head.content_length > BODY_MAX)
        return REFUSE_BODY;
    if (!head.expect_continue)
        return GO_ON;
    if (c->x.refused)
        return REFUSE_EARLY; /* the client need not send its body now, so what follows may be
                                anything */
    return behind == 0 && head.minor == 1 ? SEND_CONTINUE : GO_ON;
}

/* False if the connection is gone. */
static bool act_on_head(struct connection *c, enum after_head what)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    const struct iovec part = {(char *)go_on, sizeof go_on - 1};
    struct reply reply;
    switch (what) {
    case GO_ON: return true;
    case SEND_CONTINUE: send_parts(c, &part, 1); return true;
    case REFUSE_BODY: return refuse_body(c);
    case REFUSE_HEAD: handler_malformed(HTTP1_OK, &reply); break;
    case REFUSE_EARLY: handler_complete(c->network, &c->x, NULL, 0, 0, &reply); break;
    }
    return respond_and_close(c, &reply);
}

static bool on_complete(struct connection *c)
{
    struct reply reply;
    const struct catalog *catalog = c->network->context->catalog;
    catalog_enter(catalog); /* the reply may point into it until it has been sent or copied */
    enum handler_verdict verdict =
        handler_complete(c->network, &c->x, c->body ? c->body : "", c->body ? c->body_length : 0,
                         handle_of(c), &reply);
    bool here = true;
    if (verdict == HANDLER_REPLY) {
        here = respond(c, &reply);
    } else {
        c->state = WORK;
        wait_anew(c, c->x.request->page.wait > 0 ? WAIT_EVENTS : WAIT_LEDGER);
    }
    catalog_leave(catalog);
    return here;
}

static bool on_bad(struct connection *c)
{
    struct reply reply;
    if (c->state == HEAD)
        memset(&c->x, 0, sizeof c->x);
    handler_malformed((enum http1_error)c->parser.error, &reply);
    return respond_and_close(c, &reply);
}

enum progress { MORE, ALL_READ, GONE };

/* One event of the parser. */
static enum progress step(struct connection *c)
{
    struct evbuffer *input = bufferevent_get_input(c->bev);
    size_t length = evbuffer_get_length(input), used = 0, data_length = 0;
    const void *data = NULL;
    const char *bytes = length ? (const char *)evbuffer_pullup(input, -1) : "";
    if (!bytes) {
        c->last = true;
        return ALL_READ; /* no memory: the timer ends it */
    }
    enum http1_event event = http1_scan(&c->parser, &HTTP1_DEFAULT_LIMITS, bytes + c->scanned,
                                        length - c->scanned, &used, &data, &data_length);
    c->scanned += used;
    size_t drop = c->state == BODY || event != HTTP1_MORE ? c->scanned : 0;
    enum after_head after = GO_ON;
    bool fits = true;
    if (event == HTTP1_HEAD)
        after = read_head(c, bytes, c->scanned, length - c->scanned);
    else if (event == HTTP1_DATA)
        fits = keep_body(c, data, data_length);
    evbuffer_drain(input, drop); /* `bytes` and `data` end here */
    c->scanned -= drop;
    bool here = true;
    if (event == HTTP1_HEAD)
        here = act_on_head(c, after);
    else if (!fits)
        here = refuse_body(c);
    else if (event == HTTP1_END)
        here = on_complete(c);
    else if (event == HTTP1_BAD)
        here = on_bad(c);
    return !here ? GONE : event == HTTP1_MORE || event == HTTP1_LAST ? ALL_READ : MORE;
}

/* Reads as many requests as there are, until one is in work, the output is full or the input is
 * used up. May end the connection. */
static void process(struct connection *c)
{
    enum progress progress = MORE;
    while (progress == MORE && (c->state == HEAD || c->state == BODY))
        progress = step(c);
    if (progress == GONE || (c->state != HEAD && c->state != BODY))
        return;
    if (c->ended || (c->network->draining && c->state == HEAD && c->scanned == 0))
        finish(c); /* the rest of this request will never come */
    else if (c->state == BODY)
        wait_for(c, WAIT_BODY);
    else if (c->scanned > 0)
        wait_for(c, WAIT_HEAD);
}

void connection_answer(struct network *n, struct ledger_request *r)
{
    uint32_t slot = (uint32_t)(r->handle >> 32);
    struct connection *c = slot < n->slot_count && n->slots[slot].generation == (uint32_t)r->handle
                               ? n->slots[slot].connection
                               : NULL;
    if (!c) {
        pool_give(&n->pool, r);
        return;
    }
    assert(c->state == WORK && c->x.request == r);
    struct reply reply;
    handler_answer(n, &c->x, r, &reply);
    slot_of(c)->generation++;
    FAILPOINT("reply.send");
    if (respond(c, &reply)) /* gives the request back to the pool */
        process(c);         /* what was pipelined behind it */
}

/* ---- libevent's callbacks ---- */

static void on_read(struct bufferevent *bev, void *context)
{
    struct connection *c = context;
    struct evbuffer *input = bufferevent_get_input(bev);
    if (c->state != LINGER) {
        process(c);
        return;
    }
    c->forgotten += evbuffer_get_length(input);
    evbuffer_drain(input, evbuffer_get_length(input));
    if (c->forgotten > LINGER_MAX)
        close_connection(c);
}

static void on_written(struct bufferevent *bev, void *context)
{
    struct connection *c = context;
    (void)bev;
    if (c->state == CLOSING) {
        linger(c);
    } else if (c->state == FLUSH) {
        c->state = HEAD;
        wait_anew(c, WAIT_IDLE);
        process(c);
    }
}

static void on_event(struct bufferevent *bev, short what, void *context)
{
    struct connection *c = context;
    (void)bev;
    if (!(what & BEV_EVENT_EOF) || c->state == LINGER) {
        close_connection(c);
        return;
    }
    c->ended = true;
    if (c->state == HEAD || c->state == BODY)
        process(c);
}

static void on_deadline(struct connection *c)
{
    enum ledger_kind kind = c->x.request->kind; /* the request is soon not ours any more */
    struct reply reply;
    bool waiting = forget_request(c);
    handler_deadline(c->network, &c->x, kind, waiting, &reply);
    if (respond(c, &reply))
        process(c);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct connection *c = context;
    struct reply reply;
    (void)fd, (void)what;
    c->timed = false;
    switch (c->waits) {
    case WAIT_LEDGER:
    case WAIT_EVENTS: on_deadline(c); break;
    case WAIT_HEAD:
        memset(&c->x, 0, sizeof c->x);
        reply_problem(&reply, PROBLEM_REQUEST_TIMEOUT, NULL, REPLY_NO_RETRY);
        respond_and_close(c, &reply);
        break;
    case WAIT_BODY:
        reply_problem(&reply, PROBLEM_REQUEST_TIMEOUT, NULL, REPLY_NO_RETRY);
        respond_and_close(c, &reply);
        break;
    case WAIT_WRITE: reset_connection(c); break;
    default: close_connection(c); break;
    }
}

/* ---- opening ---- */

static struct connection *new_connection(struct network *n, evutil_socket_t fd)
{
    uint32_t slot = take_slot(n);
    struct connection *c = slot == SLOT_NONE ? NULL : calloc(1, sizeof *c);
    struct bufferevent *bev = c ? bufferevent_socket_new(n->base, fd, BEV_OPT_CLOSE_ON_FREE) : NULL;
    if (!bev) {
        free(c);
        if (slot != SLOT_NONE)
            give_slot(n, slot);
        return NULL;
    }
    c->network = n;
    c->bev = bev;
    c->slot = slot;
    n->slots[slot].connection = c;
    n->connections++;
    return c;
}

void connection_open(struct network *n, evutil_socket_t fd, bool refuse)
{
    struct connection *c = new_connection(n, fd);
    if (!c) {
        evutil_closesocket(fd);
        atomic_fetch_sub(&n->server->connections, 1);
        return;
    }
    http1_init(&c->parser);
    evtimer_assign(&c->timer, n->base, on_timer, c);
    bufferevent_setcb(c->bev, on_read, on_written, on_event, c);
    bufferevent_setwatermark(c->bev, EV_READ, 0, INPUT_MAX);
    bufferevent_enable(c->bev, EV_READ | EV_WRITE);
    if (!refuse) {
        wait_anew(c, WAIT_IDLE);
        return;
    }
    struct reply reply;
    reply_problem(&reply, PROBLEM_TOO_MANY_CONNECTIONS, NULL, 1 + (int)network_random(n, 5));
    respond_and_close(c, &reply);
}

void connection_drain(struct connection *c)
{
    if (c->state == HEAD && c->scanned == 0 &&
        evbuffer_get_length(bufferevent_get_input(c->bev)) == 0)
        finish(c);
}
