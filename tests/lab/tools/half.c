/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Many clients that send the beginning of a request head, one byte per segment, and then no more:
 * what a slow-headers attack does, and what must cost a backend nothing. Prints a line of JSON when
 * all bytes are out, holds the connections until SIGTERM, and says at the end how many the other
 * side had reset by then. */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "crowd.h"

enum { IN_FLIGHT = 256, EVENTS = 256, SPARE_FILES = 64, LIMIT_US = 60000000, SHARE = 100 };

static const char head[] = "POST /v1/sales/1/reservations HTTP/1.1\r\nHost: shop.example\r\n";

struct half {
    struct crowd_target target;
    unsigned first, wanted, bytes, begun, established, failed;
    int epoll;
    int *fds;
};

static void begin(struct half *half)
{
    unsigned n = half->begun++;
    half->fds[n] = crowd_connect(&half->target, half->first + n);
    struct epoll_event event = {.events = EPOLLOUT, .data.u32 = n};
    if (half->fds[n] < 0 || epoll_ctl(half->epoll, EPOLL_CTL_ADD, half->fds[n], &event) != 0)
        half->failed++;
}

static void connect_all(struct half *half)
{
    int64_t end = crowd_now() + LIMIT_US;
    while (half->established + half->failed < half->wanted && crowd_now() < end) {
        while (half->begun < half->wanted &&
               half->begun - half->established - half->failed < IN_FLIGHT)
            begin(half);
        struct epoll_event events[EVENTS];
        int count = epoll_wait(half->epoll, events, EVENTS, 100);
        for (int i = 0; i < count; i++) {
            epoll_ctl(half->epoll, EPOLL_CTL_DEL, half->fds[events[i].data.u32], NULL);
            if (events[i].events & (EPOLLERR | EPOLLHUP))
                half->failed++;
            else
                half->established++;
        }
    }
}

/* A byte of each connection, then the next byte of each; in shares, so that the burst of all of
 * them does not overrun a queue. A connection that was reset meanwhile sends no more. */
static uint64_t send_all(const struct half *half)
{
    uint64_t sent = 0;
    for (unsigned at = 0; at < half->bytes; at++)
        for (unsigned n = 0; n < half->begun; n++) {
            sent += half->fds[n] >= 0 && send(half->fds[n], head + at, 1, MSG_NOSIGNAL) == 1;
            if (n % SHARE == SHARE - 1)
                poll(NULL, 0, 1);
        }
    return sent;
}

/* Connections that the other side has ended; the error itself may have been told to send. */
static unsigned count_reset(const struct half *half)
{
    unsigned reset = 0;
    for (unsigned n = 0; n < half->begun; n++) {
        char byte;
        reset += half->fds[n] >= 0 &&
                 (recv(half->fds[n], &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN);
    }
    return reset;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"to", 1, NULL, 't'},
                                            {"connections", 1, NULL, 'n'},
                                            {"first", 1, NULL, 'f'},
                                            {"bytes", 1, NULL, 'b'},
                                            {NULL, 0, NULL, 0}};
    struct half half = {.wanted = 5000, .bytes = sizeof head / 2};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 't': crowd_target_add(&half.target, optarg); break;
        case 'n': half.wanted = (unsigned)crowd_number("--connections", optarg, 1, 500000); break;
        case 'f': half.first = (unsigned)crowd_number("--first", optarg, 0, 1 << 24); break;
        case 'b': half.bytes = (unsigned)crowd_number("--bytes", optarg, 1, sizeof head - 1); break;
        default: return 2;
        }
    }
    if (half.target.length[0] == 0 && half.target.length[1] == 0)
        errx(2, "usage: half --to ADDRESS:PORT [--to [ADDRESS6]:PORT] [--connections N] [--first "
                "CLIENT] [--bytes N]");
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    crowd_allow_files(half.wanted + SPARE_FILES);
    half.fds = calloc(half.wanted, sizeof *half.fds);
    half.epoll = epoll_create1(EPOLL_CLOEXEC);
    struct pollfd end = {.fd = signalfd(-1, &set, SFD_CLOEXEC), .events = POLLIN};
    if (half.fds == NULL || half.epoll < 0 || end.fd < 0)
        err(1, "starting");

    connect_all(&half);
    uint64_t sent = send_all(&half);
    printf("{\"established\":%u,\"sent\":%llu}\n", half.established, (unsigned long long)sent);
    fflush(stdout);
    poll(&end, 1, -1);
    printf("{\"established\":%u,\"reset\":%u}\n", half.established, count_reset(&half));
    free(half.fds);
    return half.established == half.wanted ? 0 : 1;
}
