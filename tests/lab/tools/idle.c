/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Many clients that finish the handshake and then say nothing: the cheapest way to hold a server's
 * memory, and one that must cost the gateway none. Prints a line of JSON when all connections
 * stand, holds them until SIGTERM, and says at the end how many were still open. It resets them
 * then: their FINs, of which the gateway answers a budget's worth in a second, would stand in the
 * way of what is measured next. */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "crowd.h"

enum { IN_FLIGHT = 512, EVENTS = 256, SPARE_FILES = 64, LIMIT_US = 60000000 };

struct idle {
    struct crowd_target target;
    unsigned first, wanted, begun, established, failed;
    int epoll;
    int *fds;
};

static void begin(struct idle *idle)
{
    unsigned n = idle->begun++;
    idle->fds[n] = crowd_connect(&idle->target, idle->first + n);
    struct epoll_event event = {.events = EPOLLOUT, .data.u32 = n};
    if (idle->fds[n] < 0 || epoll_ctl(idle->epoll, EPOLL_CTL_ADD, idle->fds[n], &event) != 0)
        idle->failed++;
}

static void on_event(struct idle *idle, const struct epoll_event *event)
{
    unsigned n = event->data.u32;
    epoll_ctl(idle->epoll, EPOLL_CTL_DEL, idle->fds[n], NULL);
    if (event->events & (EPOLLERR | EPOLLHUP)) {
        idle->failed++;
        close(idle->fds[n]);
        idle->fds[n] = -1;
    } else {
        idle->established++;
    }
}

static void connect_all(struct idle *idle)
{
    int64_t end = crowd_now() + LIMIT_US;
    while (idle->established + idle->failed < idle->wanted && crowd_now() < end) {
        while (idle->begun < idle->wanted &&
               idle->begun - idle->established - idle->failed < IN_FLIGHT)
            begin(idle);
        struct epoll_event events[EVENTS];
        int count = epoll_wait(idle->epoll, events, EVENTS, 100);
        for (int i = 0; i < count; i++)
            on_event(idle, &events[i]);
    }
}

/* A connection is open when nothing has come and neither side has closed it. */
static unsigned count_open(const struct idle *idle)
{
    unsigned open = 0;
    for (unsigned n = 0; n < idle->begun; n++) {
        char byte;
        if (idle->fds[n] >= 0 && recv(idle->fds[n], &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
            errno == EAGAIN)
            open++;
    }
    return open;
}

static void reset_all(const struct idle *idle)
{
    const struct linger none = {.l_onoff = 1, .l_linger = 0};
    for (unsigned n = 0; n < idle->begun; n++) {
        if (idle->fds[n] < 0)
            continue;
        setsockopt(idle->fds[n], SOL_SOCKET, SO_LINGER, &none, sizeof none);
        close(idle->fds[n]);
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"to", 1, NULL, 't'},
                                            {"connections", 1, NULL, 'n'},
                                            {"first", 1, NULL, 'f'},
                                            {NULL, 0, NULL, 0}};
    struct idle idle = {.wanted = 20000};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 't': crowd_target_add(&idle.target, optarg); break;
        case 'n': idle.wanted = (unsigned)crowd_number("--connections", optarg, 1, 500000); break;
        case 'f': idle.first = (unsigned)crowd_number("--first", optarg, 0, 1 << 24); break;
        default: return 2;
        }
    }
    if (idle.target.length[0] == 0 && idle.target.length[1] == 0)
        errx(2, "usage: idle --to ADDRESS:PORT [--to [ADDRESS6]:PORT] [--connections N] [--first "
                "CLIENT]");
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    crowd_allow_files(idle.wanted + SPARE_FILES);
    idle.fds = calloc(idle.wanted, sizeof *idle.fds);
    idle.epoll = epoll_create1(EPOLL_CLOEXEC);
    struct pollfd end = {.fd = signalfd(-1, &set, SFD_CLOEXEC), .events = POLLIN};
    if (idle.fds == NULL || idle.epoll < 0 || end.fd < 0)
        err(1, "starting");

    connect_all(&idle);
    printf("{\"wanted\":%u,\"established\":%u}\n", idle.wanted, idle.established);
    fflush(stdout);
    poll(&end, 1, -1);
    printf("{\"wanted\":%u,\"established\":%u,\"open\":%u}\n", idle.wanted, idle.established,
           count_open(&idle));
    reset_all(&idle);
    free(idle.fds);
    return idle.established == idle.wanted ? 0 : 1;
}
