/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Sockets are bound by the main thread before anything starts, so that a wrong address is one clear
 * line and an exit. Draining: listeners go first, idle connections next, the others behind their
 * answers, all of them at drain_max. */
#include "control/api/server.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <urcu/urcu-memb.h>

#include "common/addr.h"
#include "common/log.h"
#include "control/api/connection.h"
#include "control/api/network.h"
#include "control/outbox/page.h"

enum {
    LISTEN_BACKLOG = 4096, /* the kernel cuts it to net.core.somaxconn */
    SOCKET_BUFFER =
        64 *
        1024, /* requests and answers are small; self-tuning would grant a slow reader megabytes */
    REFUSE_SLACK =
        256, /* connections above the cap that are told so; beyond these they are just closed */
    LINGER_MS = 2000,
    DRAIN_IDLE_MS = 200,   /* a request may be on its way on a connection that looks idle */
    ACCEPT_PAUSE_MS = 100, /* after running out of descriptors */
};

uint32_t network_random(struct network *n, uint32_t bound)
{
    n->random ^= n->random << 13; /* xorshift64 (Marsaglia, 2003): jitter needs no more */
    n->random ^= n->random >> 7;
    n->random ^= n->random << 17;
    return (uint32_t)((n->random >> 32) * bound >> 32);
}

const char *network_date(struct network *n)
{
    time_t now = time(NULL);
    if (now != n->date_second) {
        struct tm t;
        n->date_second = now;
        strftime(n->date, sizeof n->date, "%a, %d %b %Y %H:%M:%S GMT",
                 gmtime_r(&now, &t)); /* the locale is C */
    }
    return n->date;
}

/* ---- listening ---- */

static socklen_t to_sockaddr(const struct endpoint *e, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    if (addr_is_v4(&e->addr)) {
        struct sockaddr_in *in = (struct sockaddr_in *)out;
        in->sin_family = AF_INET;
        in->sin_port = htons(e->port);
        in->sin_addr.s_addr = addr_v4(&e->addr);
        return sizeof *in;
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(e->port);
    memcpy(&in6->sin6_addr, e->addr.bytes, sizeof in6->sin6_addr);
    return sizeof *in6;
}

static int listen_on(const struct endpoint *e)
{
    struct sockaddr_storage address;
    socklen_t length = to_sockaddr(e, &address);
    int on = 1, buffer = SOCKET_BUFFER;
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    bool v6 = address.ss_family == AF_INET6;
    if ((v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on)) ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) ||
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer) ||
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer) ||
        bind(fd, (struct sockaddr *)&address, length) || listen(fd, LISTEN_BACKLOG)) {
        int status = -errno;
        close(fd);
        return status;
    }
    return fd;
}

struct server *server_open(const struct settings *settings, char *why, size_t why_size)
{
    const struct conf_list *listen_list = &settings->control.listen;
    const struct endpoint *endpoints = listen_list->items;
    size_t networks = (size_t)settings->control.network_threads;
    struct server *s = calloc(1, sizeof *s + networks * sizeof *s->network);
    int *sockets = calloc(networks * listen_list->count, sizeof *sockets);
    if (!s || !sockets) {
        snprintf(why, why_size, "out of memory");
        free(s);
        free(sockets);
        return NULL;
    }
    s->settings = settings;
    s->networks = networks;
    s->endpoints = listen_list->count;
    s->sockets = sockets;
    for (size_t i = 0; i < networks * s->endpoints; i++)
        sockets[i] = -1;
    for (size_t i = 0; i < networks * s->endpoints; i++) {
        sockets[i] = listen_on(&endpoints[i % s->endpoints]);
        if (sockets[i] < 0) {
            char text[ADDR_TEXT];
            snprintf(why, why_size, "[control] listen: cannot listen on %s: %s",
                     endpoint_print(&endpoints[i % s->endpoints], text), strerror(-sockets[i]));
            server_free(s);
            return NULL;
        }
    }
    return s;
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                      int length, void *context)
{
    struct network *n = context;
    (void)listener, (void)address, (void)length;
    uint32_t max = (uint32_t)n->server->settings->control.connections_max;
    uint32_t before = atomic_fetch_add(&n->server->connections, 1);
    if (before >= max + REFUSE_SLACK) {
        atomic_fetch_sub(&n->server->connections, 1);
        evutil_closesocket(fd);
        return;
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* every answer is one write */
    if (before >= max)
        log_warn("connections_max", "more than %u connections: refusing with 503", max);
    connection_open(n, fd, before >= max);
}

static void on_resume(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    evconnlistener_enable(context);
}

/* Out of descriptors or memory: the backlog waits, instead of the loop spinning. */
static void on_accept_error(struct evconnlistener *listener, void *context)
{
    struct network *n = context;
    const struct timeval pause = {0, ACCEPT_PAUSE_MS * INT64_C(1000)};
    log_error("accept_failed", "%s; raise the limit of open files or lower connections_max",
              strerror(errno));
    evconnlistener_disable(listener);
    event_base_once(n->base, -1, EV_TIMEOUT, on_resume, listener, &pause);
}

/* ---- draining ---- */

static void on_drain_end(evutil_socket_t fd, short what, void *context)
{
    struct network *n = context;
    (void)fd, (void)what;
    log_warn("drain_cut", "%u connections were still at work after drain_max", n->connections);
    event_base_loopbreak(n->base);
}

static void free_listeners(struct network *n)
{
    for (size_t i = 0; n->listeners && i < n->server->endpoints; i++)
        if (n->listeners[i])
            evconnlistener_free(n->listeners[i]);
    free(n->listeners);
    n->listeners = NULL;
}

/* Who is in the queue has been told by the kernel that it is connected, and its request is there.
 */
static void accept_the_rest(struct network *n)
{
    for (size_t i = 0; i < n->server->endpoints; i++) {
        evutil_socket_t from = evconnlistener_get_fd(n->listeners[i]);
        for (int fd; (fd = accept4(from, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;)
            on_accept(n->listeners[i], fd, NULL, 0, n);
    }
}

static void on_drain_idle(evutil_socket_t fd, short what, void *context)
{
    struct network *n = context;
    (void)fd, (void)what;
    for (uint32_t i = 0; i < n->slot_count; i++)
        if (n->slots[i].connection)
            connection_drain(n->slots[i].connection);
    if (n->connections == 0)
        event_base_loopbreak(n->base);
}

static void begin_drain(struct network *n)
{
    int64_t ms = n->server->settings->control.drain_max;
    const struct timeval end = {ms / 1000, ms % 1000 * 1000};
    const struct timeval idle = {0, DRAIN_IDLE_MS * INT64_C(1000)};
    accept_the_rest(n);
    n->draining = true;
    free_listeners(n);
    if (n->connections == 0) {
        event_base_loopbreak(n->base);
        return;
    }
    event_add(n->drain_idle, &idle);
    event_add(n->drain_end, &end);
}

/* ---- the thread ---- */

static void on_wake(evutil_socket_t fd, short what, void *context)
{
    struct network *n = context;
    (void)fd, (void)what;
    mailbox_clear(&n->answers);
    for (struct cds_wfcq_node *node; (node = mailbox_take(&n->answers));)
        connection_answer(n, caa_container_of(node, struct ledger_request, node));
    if (!n->draining && atomic_load(&n->server->phase) == SERVER_DRAINING)
        begin_drain(n);
}

static void *network_main(void *context)
{
    struct network *n = context;
    urcu_memb_register_thread();
    event_base_loop(n->base, EVLOOP_NO_EXIT_ON_EMPTY);
    for (uint32_t i = 0; i < n->slot_count; i++)
        if (n->slots[i].connection)
            connection_abort(n->slots[i].connection);
    urcu_memb_unregister_thread();
    return NULL;
}

static int set_waits(struct network *n)
{
    const struct control_settings *s = &n->server->settings->control;
    const int64_t ms[WAITS] = {[WAIT_IDLE] = s->idle_timeout,
                               [WAIT_HEAD] = s->head_timeout,
                               [WAIT_BODY] = s->body_timeout,
                               [WAIT_LEDGER] = s->deadline,
                               [WAIT_EVENTS] = s->deadline + PAGE_WAIT_MAX * 1000,
                               [WAIT_WRITE] = s->write_timeout,
                               [WAIT_LINGER] = LINGER_MS};
    for (int i = 0; i < WAITS; i++) {
        const struct timeval length = {ms[i] / 1000, ms[i] % 1000 * 1000};
        n->waits[i] = event_base_init_common_timeout(n->base, &length);
        if (!n->waits[i])
            return -ENOMEM;
    }
    return 0;
}

static int add_listeners(struct network *n, int *sockets)
{
    n->listeners = calloc(n->server->endpoints, sizeof(struct evconnlistener *));
    for (size_t i = 0; n->listeners && i < n->server->endpoints; i++) {
        n->listeners[i] = evconnlistener_new(
            n->base, on_accept, n, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, sockets[i]);
        if (!n->listeners[i])
            return -ENOMEM;
        sockets[i] = -1; /* the listener closes it */
        evconnlistener_set_error_cb(n->listeners[i], on_accept_error);
    }
    return n->listeners ? 0 : -ENOMEM;
}

static struct event_base *new_base(void)
{
    struct event_config *config = event_config_new();
    if (!config)
        return NULL;
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK); /* one thread each */
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

static int start_network(struct network *n, const struct api_context *context, int *sockets)
{
    n->context = context;
    n->free_slot = SLOT_NONE;
    n->base = new_base();
    if (getrandom(&n->random, sizeof n->random, 0) != sizeof n->random || !n->random)
        n->random = 1;
    if (!n->base || set_waits(n) || add_listeners(n, sockets))
        return -ENOMEM;
    n->wake = event_new(n->base, n->answers.wake, EV_READ | EV_PERSIST, on_wake, n);
    n->drain_end = evtimer_new(n->base, on_drain_end, n);
    n->drain_idle = evtimer_new(n->base, on_drain_idle, n);
    if (!n->wake || !n->drain_end || !n->drain_idle || event_add(n->wake, NULL))
        return -ENOMEM;
    int status = -pthread_create(&n->thread, NULL, network_main, n);
    n->started = status == 0;
    return status;
}

int server_start(struct server *s, const struct api_context *context)
{
    for (size_t i = 0; i < s->networks; i++)
        s->network[i].answers.wake = -1;
    for (size_t i = 0; i < s->networks; i++) {
        struct network *n = &s->network[i];
        n->server = s;
        int status = mailbox_open(&n->answers);
        if (!status)
            status = start_network(n, context, s->sockets + i * s->endpoints);
        if (status)
            return status;
    }
    return 0;
}

void server_announce_end(struct server *s)
{
    atomic_store(&s->phase, SERVER_ENDING);
}

void server_drain(struct server *s)
{
    atomic_store(&s->phase, SERVER_DRAINING);
    for (size_t i = 0; i < s->networks; i++)
        if (s->network[i].started)
            mailbox_wake(&s->network[i].answers);
    for (size_t i = 0; i < s->networks; i++)
        if (s->network[i].started)
            pthread_join(s->network[i].thread, NULL);
}

static void free_network(struct network *n)
{
    free_listeners(n);
    if (n->wake)
        event_free(n->wake);
    if (n->drain_end)
        event_free(n->drain_end);
    if (n->drain_idle)
        event_free(n->drain_idle);
    if (n->base)
        event_base_free(n->base);
    pool_free(&n->pool);
    free(n->slots);
    mailbox_close(&n->answers);
}

void server_free(struct server *s)
{
    for (size_t i = 0; i < s->networks; i++)
        if (s->network[i].server)
            free_network(&s->network[i]);
    for (size_t i = 0; i < s->networks * s->endpoints; i++)
        if (s->sockets[i] >= 0)
            close(s->sockets[i]);
    free(s->sockets);
    free(s);
}
