/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A bad line: carries every frame between two devices and, on the way, drops, duplicates, delays,
 * reorders and splits as its options say; the same seed gives the same fates in the same order.
 *
 * Options: relay_options.h. It says so when it is ready, and at its end (SIGTERM) prints its
 * counters, a line of JSON each. It never has an address and never answers: it only passes on. */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "relay_options.h"
#include "relay_path.h"

enum {
    SLOT = 2048, /* of the receive ring */
    SLOTS = 2048,
    TAG = 4,
    BURST = 32,
    SEND_BUFFER = 4 << 20,
};

/* A device: frames come in by the ring and go out by sendmmsg. */
struct port {
    int fd;
    uint8_t *ring;
    unsigned next; /* slot */
    uint64_t too_long;
    const char *device;
};

struct relay {
    struct port
        port[RELAY_WAYS]; /* port[way] receives what goes that way; the other one sends it */
    struct relay_path *path[RELAY_WAYS];
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void set(int fd, int option, int value)
{
    if (setsockopt(fd, SOL_PACKET, option, &value, sizeof value) != 0)
        err(1, "setsockopt(SOL_PACKET, %d)", option);
}

static struct port open_port(const char *device)
{
    const struct tpacket_req ring = {.tp_block_size = SLOT * 32,
                                     .tp_block_nr = SLOTS / 32,
                                     .tp_frame_size = SLOT,
                                     .tp_frame_nr = SLOTS};
    const int size = SEND_BUFFER;
    struct port port = {.device = device, .fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)};
    if (port.fd < 0)
        err(1, "a packet socket");
    const struct sockaddr_ll at = {.sll_family = AF_PACKET,
                                   .sll_protocol = htons(ETH_P_ALL),
                                   .sll_ifindex = (int)if_nametoindex(device)};
    set(port.fd, PACKET_VERSION, TPACKET_V2);
    set(port.fd, PACKET_RESERVE, TAG); /* room to put a tag back */
    set(port.fd, PACKET_IGNORE_OUTGOING, 1);
    setsockopt(port.fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    if (setsockopt(port.fd, SOL_PACKET, PACKET_RX_RING, &ring, sizeof ring) != 0)
        err(1, "a receive ring");
    port.ring = mmap(NULL, (size_t)SLOT * SLOTS, PROT_READ | PROT_WRITE, MAP_SHARED, port.fd, 0);
    if (port.ring == MAP_FAILED)
        err(1, "mapping the receive ring");
    if (at.sll_ifindex == 0 || bind(port.fd, (const struct sockaddr *)&at, sizeof at) != 0)
        err(1, "binding to %s", device);
    return port;
}

/* The kernel takes a tag out of the frame; it goes back to where it was. */
static uint8_t *with_tag(const struct tpacket2_hdr *slot, uint8_t *frame, size_t *length)
{
    const uint16_t tag[2] = {htons(slot->tp_vlan_tpid), htons(slot->tp_vlan_tci)};
    memmove(frame - TAG, frame, 2 * ETH_ALEN);
    memcpy(frame - TAG + 2 * ETH_ALEN, tag, TAG);
    *length += TAG;
    return frame - TAG;
}

/* Takes what has come. */
static void receive(struct port *port, struct relay_path *path)
{
    for (unsigned taken = 0; taken < SLOTS; taken++) {
        struct tpacket2_hdr *slot = (void *)(port->ring + (size_t)port->next * SLOT);
        const uint32_t status = __atomic_load_n(&slot->tp_status, __ATOMIC_ACQUIRE);
        if (!(status & TP_STATUS_USER))
            return;
        if (status & TP_STATUS_CSUMNOTREADY)
            errx(1, "%s: a frame without a checksum: its sender's offloads are on", port->device);
        uint8_t *frame = (uint8_t *)slot + slot->tp_mac;
        size_t length = slot->tp_len;
        if (status & TP_STATUS_VLAN_VALID)
            frame = with_tag(slot, frame, &length);
        if (slot->tp_len > slot->tp_snaplen || length > RELAY_FRAME_MAX)
            port->too_long++;
        else
            relay_path_take(path, frame, length, now_ns());
        __atomic_store_n(&slot->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
        port->next = (port->next + 1) % SLOTS;
    }
}

/* Sends what is due. */
static void transmit(struct relay_path *path, const struct port *port)
{
    struct relay_frame *frames[BURST];
    struct mmsghdr messages[BURST] = {0};
    struct iovec parts[BURST];
    unsigned count;
    while ((count = relay_path_due(path, now_ns(), frames, BURST)) > 0) {
        for (unsigned i = 0; i < count; i++) {
            parts[i] = (struct iovec){frames[i]->bytes, frames[i]->length};
            messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
        }
        const int sent = sendmmsg(port->fd, messages, count, 0);
        if (sent < 0 && errno != ENOBUFS && errno != ENETDOWN && errno != EINTR)
            err(1, "sending to %s", port->device);
        if (sent > 0)
            relay_path_sent(path, (unsigned)sent);
        else if (errno == ENETDOWN)
            relay_path_sent(path, count); /* the far end has no cable: as on any line */
    }
}

static int stop_descriptor(void)
{
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    return signalfd(-1, &stop, SFD_CLOEXEC);
}

/* Until it is told to stop. */
static void relay_run(struct relay *relay)
{
    struct pollfd on[] = {{relay->port[RELAY_FORWARD].fd, POLLIN, 0},
                          {relay->port[RELAY_BACK].fd, POLLIN, 0},
                          {stop_descriptor(), POLLIN, 0}};
    while (on[2].revents == 0) {
        uint64_t next = UINT64_MAX;
        for (int way = 0; way < RELAY_WAYS; way++) {
            receive(&relay->port[way], relay->path[way]);
            transmit(relay->path[way], &relay->port[1 - way]);
            const uint64_t due = relay_path_next(relay->path[way]);
            next = due < next ? due : next;
        }
        const uint64_t now = now_ns(), wait = next > now ? next - now : 0;
        const struct timespec limit = {(time_t)(wait / 1000000000), (long)(wait % 1000000000)};
        if (ppoll(on, 3, next == UINT64_MAX ? NULL : &limit, NULL) < 0 && errno != EINTR)
            err(1, "ppoll");
    }
}

static void print_counters(const struct relay *relay)
{
    static const char *const names[RELAY_WAYS] = {"forward", "back"};
    for (int way = 0; way < RELAY_WAYS; way++) {
        const struct relay_counters *c = relay_path_counters(relay->path[way]);
        struct tpacket_stats kernel = {0};
        getsockopt(relay->port[way].fd, SOL_PACKET, PACKET_STATISTICS, &kernel,
                   &(socklen_t){sizeof kernel});
        printf("%s\"%s\":{\"seen\":%" PRIu64 ",\"sent\":%" PRIu64 ",\"dropped\":%" PRIu64
               ",\"duplicated\":%" PRIu64 ",\"reordered\":%" PRIu64 ",\"split\":%" PRIu64
               ",\"first_split\":%" PRIu64 ",\"first_overtaken\":%" PRIu64 ",\"overflow\":%" PRIu64
               ",\"too_long\":%" PRIu64 "}",
               way == RELAY_FORWARD ? "{" : ",", names[way], c->seen, c->sent, c->dropped,
               c->duplicated, c->reordered, c->split, c->first_split, c->first_overtaken,
               c->overflow + kernel.tp_drops, relay->port[way].too_long);
    }
    printf("}\n");
}

int main(int argc, char **argv)
{
    struct relay_options options;
    struct relay relay;
    relay_options_read(&options, argc, argv);
    prctl(PR_SET_TIMERSLACK, 1000UL);
    for (int way = 0; way < RELAY_WAYS; way++) {
        relay.port[way] = open_port(options.device[way]);
        relay.path[way] = relay_path_new(&options.rules[way], options.frames,
                                         options.seed * RELAY_WAYS + (unsigned)way);
        if (relay.path[way] == NULL)
            errx(1, "no memory for %u frames", options.frames);
    }
    printf("{\"ready\":true,\"seed\":%" PRIu64 "}\n", options.seed);
    fflush(stdout);
    relay_run(&relay);
    print_counters(&relay);
    for (int way = 0; way < RELAY_WAYS; way++)
        relay_path_free(relay.path[way]);
    return 0;
}
