/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A SYN flood from spoofed sources, from nobody's addresses or from those of one prefix: what an
 * attacker who never listens sends, as fast as the lab can carry it, with all the processor time
 * that nobody else wants, so that what is measured is the gateway and not the sender. Frames go out
 * of one device through a packet socket; each is as a real client's SYN, with random source, port
 * and sequence number and valid checksums. Prints
 * {"sent":N,…} once a second and at the end (SIGTERM, or --seconds). */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/addr.h"
#include "crowd.h"
#include "flood.h"

enum { BURST = 64, FRAME = 128, PAD = 2, OPTIONS = 20, SECOND = 1000000 };

struct flood {
    struct crowd_target target;
    const char *device;
    struct prefix from[2]; /* of each family */
    uint8_t destination[6], source[6];
    int64_t rate;    /* frames per second, 0 = as fast as possible */
    int64_t seconds; /* 0 = until SIGTERM */
    int fd;
    uint64_t random; /* state of the generator */
    uint64_t sent, refused;
    struct mmsghdr messages[BURST];
    struct iovec parts[BURST];
    _Alignas(16) uint8_t frames[BURST][FRAME];
};

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

static uint64_t draw(struct flood *flood)
{
    uint64_t x = flood->random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return flood->random = x;
}

/* A source out of the family's prefix. */
static struct addr draw_source(struct flood *flood, int family)
{
    const struct prefix *from = &flood->from[family];
    struct addr source = {.quads = {draw(flood), draw(flood)}};
    for (unsigned i = 0; i < sizeof source.bytes; i++) {
        unsigned fixed = from->length < 8 * i ? 0 : from->length - 8 * i;
        unsigned keep = fixed < 8 ? 0xff00U >> fixed & 0xff : 0xff;
        source.bytes[i] = (uint8_t)((from->base.bytes[i] & keep) | (source.bytes[i] & ~keep));
    }
    return source;
}

static uint32_t sum(const void *bytes, size_t length, uint32_t start)
{
    const uint8_t *b = bytes;
    for (size_t i = 0; i + 1 < length; i += 2)
        start += (uint32_t)(b[i] << 8 | b[i + 1]);
    return start;
}

static uint16_t fold(uint32_t total)
{
    total = (total & 0xffff) + (total >> 16);
    total = (total & 0xffff) + (total >> 16);
    return htons((uint16_t)~total);
}

/* A Linux client's SYN: MSS 1460, SACK permitted, timestamps, window scale 7. */
static void write_tcp(struct flood *flood, struct tcphdr *tcp, uint16_t port)
{
    static const uint8_t options[OPTIONS] = {2, 4, 5, 180, 4, 2, 8, 10, 0, 0,
                                             0, 0, 0, 0,   0, 0, 1, 3,  3, 7};
    uint64_t bits = draw(flood);
    *tcp = (struct tcphdr){
        .th_dport = port, .th_flags = TH_SYN, .th_off = (20 + OPTIONS) / 4, .th_win = htons(64240)};
    tcp->th_sport = htons((uint16_t)(1024 + (bits & 0xffff) % 64000));
    tcp->th_seq = (uint32_t)(bits >> 32);
    memcpy(tcp + 1, options, OPTIONS);
    memcpy((uint8_t *)(tcp + 1) + 8, &bits, 4);
}

static size_t write_ip4(struct flood *flood, uint8_t *at)
{
    const struct sockaddr_in *to = (const struct sockaddr_in *)&flood->target.address[0];
    struct ip *ip = (struct ip *)at;
    uint64_t bits = draw(flood);
    const struct addr source = draw_source(flood, 0);
    *ip = (struct ip){
        .ip_v = 4, .ip_hl = 5, .ip_ttl = 64, .ip_p = IPPROTO_TCP, .ip_dst = to->sin_addr};
    ip->ip_len = htons(20 + 20 + OPTIONS);
    ip->ip_off = htons(IP_DF);
    ip->ip_id = (uint16_t)(bits >> 32);
    ip->ip_src.s_addr = addr_v4(&source);
    ip->ip_sum = fold(sum(ip, 20, 0));
    struct tcphdr *tcp = (struct tcphdr *)(ip + 1);
    write_tcp(flood, tcp, to->sin_port);
    uint32_t pseudo = sum(&ip->ip_src, 8, IPPROTO_TCP + 20 + OPTIONS);
    tcp->th_sum = fold(sum(tcp, 20 + OPTIONS, pseudo));
    return 20 + 20 + OPTIONS;
}

static size_t write_ip6(struct flood *flood, uint8_t *at)
{
    const struct sockaddr_in6 *to = (const struct sockaddr_in6 *)&flood->target.address[1];
    struct ip6_hdr *ip = (struct ip6_hdr *)at;
    const struct addr source = draw_source(flood, 1);
    *ip = (struct ip6_hdr){.ip6_dst = to->sin6_addr};
    ip->ip6_flow = htonl(6U << 28);
    ip->ip6_plen = htons(20 + OPTIONS);
    ip->ip6_nxt = IPPROTO_TCP;
    ip->ip6_hlim = 64;
    memcpy(&ip->ip6_src, source.bytes, 16);
    struct tcphdr *tcp = (struct tcphdr *)(ip + 1);
    write_tcp(flood, tcp, to->sin6_port);
    uint32_t pseudo = sum(&ip->ip6_src, 32, IPPROTO_TCP + 20 + OPTIONS);
    tcp->th_sum = fold(sum(tcp, 20 + OPTIONS, pseudo));
    return 40 + 20 + OPTIONS;
}

static void write_frame(struct flood *flood, unsigned n)
{
    uint8_t *frame = flood->frames[n] + PAD; /* so that the IP header is aligned */
    struct ether_header *ether = (struct ether_header *)frame;
    int family = crowd_family(&flood->target, n);
    memcpy(ether->ether_dhost, flood->destination, 6);
    memcpy(ether->ether_shost, flood->source, 6);
    ether->ether_type = htons(family == 0 ? ETHERTYPE_IP : ETHERTYPE_IPV6);
    size_t length = family == 0 ? write_ip4(flood, frame + ETHER_HDR_LEN)
                                : write_ip6(flood, frame + ETHER_HDR_LEN);
    flood->parts[n] = (struct iovec){frame, ETHER_HDR_LEN + length};
    flood->messages[n].msg_hdr = (struct msghdr){.msg_iov = &flood->parts[n], .msg_iovlen = 1};
}

static void open_device(struct flood *flood)
{
    const int on = 1;
    struct sockaddr_ll at = {.sll_family = AF_PACKET,
                             .sll_ifindex = (int)if_nametoindex(flood->device)};
    if (at.sll_ifindex == 0)
        err(1, "%s", flood->device);
    flood->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0); /* protocol 0: it never receives */
    if (flood->fd < 0 || bind(flood->fd, (struct sockaddr *)&at, sizeof at) != 0)
        err(1, "packet socket on %s", flood->device);
    setsockopt(flood->fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on);
    socklen_t size = sizeof at;
    getsockname(flood->fd, (struct sockaddr *)&at, &size);
    memcpy(flood->source, at.sll_addr, 6);
    const struct sched_param none = {0};
    sched_setscheduler(0, SCHED_IDLE,
                       &none); /* attackers bring machines of their own; this one shares */
}

static void print_count(const struct flood *flood, int64_t start)
{
    double seconds = (double)(crowd_now() - start) / SECOND;
    printf("{\"sent\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"seconds\":%.1f,\"per_second\":%.0f}\n",
           flood->sent, flood->refused, seconds, seconds > 0 ? (double)flood->sent / seconds : 0);
    fflush(stdout);
}

/* Holds the rate: sleeps until the frames sent so far are due. */
static void keep_rate(const struct flood *flood, int64_t start)
{
    if (flood->rate == 0)
        return;
    int64_t due = start + (int64_t)flood->sent * SECOND / flood->rate, now = crowd_now();
    if (due > now) {
        struct timespec pause = {.tv_sec = (due - now) / SECOND,
                                 .tv_nsec = (due - now) % SECOND * 1000};
        nanosleep(&pause, NULL);
    }
}

static void send_burst(struct flood *flood)
{
    for (unsigned n = 0; n < BURST; n++)
        write_frame(flood, n);
    int sent = sendmmsg(flood->fd, flood->messages, BURST, 0);
    if (sent < 0 && errno != ENOBUFS && errno != EAGAIN && errno != EINTR)
        err(1, "sending on %s", flood->device);
    flood->sent += sent > 0 ? (unsigned)sent : 0;
    flood->refused += BURST - (sent > 0 ? (unsigned)sent : 0);
}

static void run(struct flood *flood)
{
    int64_t start = crowd_now(), next = start + SECOND;
    while (!stop && (flood->seconds == 0 || crowd_now() - start < flood->seconds * SECOND)) {
        send_burst(flood);
        keep_rate(flood, start);
        if (crowd_now() >= next) {
            print_count(flood, start);
            next += SECOND;
        }
    }
    print_count(flood, start);
}

static void read_mac(struct flood *flood, const char *text)
{
    struct ether_addr mac;
    if (ether_aton_r(text, &mac) == NULL)
        errx(2, "--mac %s: want six bytes, as 02:00:00:00:00:01", text);
    memcpy(flood->destination, mac.ether_addr_octet, 6);
}

static void read_from(struct flood *flood, const char *text)
{
    struct prefix prefix;
    if (prefix_parse(text, &prefix, NULL) != 0)
        errx(2, "--from %s: want a prefix, as 198.18.64.0/24 or 2001:db8:1000::/48", text);
    flood->from[addr_is_v4(&prefix.base) ? 0 : 1] = prefix;
}

/* Nobody's addresses (flood.h), unless options say otherwise. */
static void read_defaults(struct flood *flood)
{
    char text[ADDR_TEXT];
    struct in_addr four = {htonl(FLOOD4)};
    struct in6_addr six = {.s6_addr32 = {htonl(FLOOD6_HIGH), htonl(FLOOD6_NEXT), 0, 0}};
    char printed[INET6_ADDRSTRLEN];
    snprintf(text, sizeof text, "%s/%d", inet_ntop(AF_INET, &four, printed, sizeof printed),
             __builtin_popcount(FLOOD4_MASK));
    read_from(flood, text);
    snprintf(text, sizeof text, "%s/%d", inet_ntop(AF_INET6, &six, printed, sizeof printed),
             32 + __builtin_popcount(FLOOD6_NEXT_MASK));
    read_from(flood, text);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"to", 1, NULL, 't'},      {"device", 1, NULL, 'd'},
                                            {"mac", 1, NULL, 'm'},     {"rate", 1, NULL, 'r'},
                                            {"seconds", 1, NULL, 's'}, {"from", 1, NULL, 'f'},
                                            {NULL, 0, NULL, 0}};
    static struct flood flood;
    int option;
    read_defaults(&flood);
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 't': crowd_target_add(&flood.target, optarg); break;
        case 'd': flood.device = optarg; break;
        case 'f': read_from(&flood, optarg); break;
        case 'm': read_mac(&flood, optarg); break;
        case 'r': flood.rate = crowd_number("--rate", optarg, 0, 100000000); break;
        case 's': flood.seconds = crowd_number("--seconds", optarg, 0, 86400); break;
        default: exit(2);
        }
    }
    if (flood.device == NULL || (flood.target.length[0] == 0 && flood.target.length[1] == 0))
        errx(2, "usage: flood --device DEV --mac GATEWAY --to ADDRESS:PORT [--to [ADDRESS6]:PORT] "
                "[--from PREFIX] [--from PREFIX6] [--rate PER_SECOND] [--seconds S]");
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    flood.random = (uint64_t)crowd_wall() | 1;
    open_device(&flood);
    run(&flood);
    return 0;
}
