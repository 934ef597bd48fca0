/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Counts what arrives on a device and has to do with the flood's addresses (flood.h): packets from
 * them (nothing of the flood may reach a backend), or SYN-ACKs to them (how many were answered).
 * The kernel's packet filter does the counting: nothing is ever read, so counting a flood costs
 * next to nothing. Prints {"packets":N} once a second and at the end (SIGTERM). */
#include <arpa/inet.h>
#include <err.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "flood.h"

enum {
    AT_TYPE = 12, /* offsets into the frame */
    AT_IP = 14,
    IP4_PROTOCOL = AT_IP + 9,
    IP4_SOURCE = AT_IP + 12,
    IP4_DESTINATION = AT_IP + 16,
    IP6_NEXT = AT_IP + 6,
    IP6_SOURCE = AT_IP + 8,
    IP6_DESTINATION = AT_IP + 24,
    TCP_FLAGS = 13, /* into the TCP header */
    SYN_ACK = 0x12,
};

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

/* Accepts TCP packets with an address of the flood at the given offsets, and (flags & mask) ==
 * flags. */
static void attach(int fd, uint32_t at4, uint32_t at6, uint32_t flags)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, AT_TYPE),
        BPF_JUMP(BPF_JMP | BPF_JEQ, ETHERTYPE_IP, 0, 7),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, IP4_PROTOCOL),
        BPF_JUMP(BPF_JMP | BPF_JEQ, IPPROTO_TCP, 0, 17),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at4),
        BPF_STMT(BPF_ALU | BPF_AND, FLOOD4_MASK),
        BPF_JUMP(BPF_JMP | BPF_JEQ, FLOOD4, 0, 14),
        BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, AT_IP),
        BPF_JUMP(BPF_JMP | BPF_JA, 8, 0, 0), /* to the flags, x = length of the IPv4 header */
        BPF_JUMP(BPF_JMP | BPF_JEQ, ETHERTYPE_IPV6, 0, 11),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, IP6_NEXT),
        BPF_JUMP(BPF_JMP | BPF_JEQ, IPPROTO_TCP, 0, 9),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at6),
        BPF_JUMP(BPF_JMP | BPF_JEQ, FLOOD6_HIGH, 0, 7),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at6 + 4),
        BPF_STMT(BPF_ALU | BPF_AND, FLOOD6_NEXT_MASK),
        BPF_JUMP(BPF_JMP | BPF_JEQ, FLOOD6_NEXT, 0, 4),
        BPF_STMT(BPF_LDX | BPF_IMM, 40),
        BPF_STMT(BPF_LD | BPF_B | BPF_IND, AT_IP + TCP_FLAGS), /* the flags */
        BPF_STMT(BPF_ALU | BPF_AND, flags),
        BPF_JUMP(BPF_JMP | BPF_JEQ, flags, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, 1),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0)
        err(1, "attaching the filter");
}

static int open_socket(const char *device, uint32_t at4, uint32_t at6, uint32_t flags)
{
    const int on = 1, tiny = 0;
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    at.sll_ifindex = (int)if_nametoindex(device);
    if (at.sll_ifindex == 0)
        err(1, "%s", device);
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (fd < 0)
        err(1, "packet socket");
    attach(fd, at4, at6, flags);
    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &tiny,
               sizeof tiny); /* what passes is counted, then dropped */
    if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0)
        err(1, "binding to %s", device);
    return fd;
}

/* tp_packets counts whatever passed the filter, dropped or not, since it was last asked for. */
static uint64_t count_more(int fd)
{
    struct tpacket_stats stats;
    socklen_t size = sizeof stats;
    if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size) != 0)
        err(1, "reading the count");
    return stats.tp_packets;
}

int main(int argc, char **argv)
{
    int fd;
    if (argc == 3 && strcmp(argv[2], "from-flood") == 0)
        fd = open_socket(argv[1], IP4_SOURCE, IP6_SOURCE, 0);
    else if (argc == 3 && strcmp(argv[2], "answers-to-flood") == 0)
        fd = open_socket(argv[1], IP4_DESTINATION, IP6_DESTINATION, SYN_ACK);
    else
        errx(2, "usage: witness DEVICE from-flood|answers-to-flood");

    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    struct pollfd end = {.fd = signalfd(-1, &set, SFD_CLOEXEC), .events = POLLIN};
    uint64_t packets = 0;
    int stop = 0;
    for (;;) { /* the first line, at once, says that it is counting */
        packets += count_more(fd);
        printf("{\"packets\":%" PRIu64 "}\n", packets);
        fflush(stdout);
        if (stop != 0)
            return 0;
        stop = poll(&end, 1, 1000);
    }
}
