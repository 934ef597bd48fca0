/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The lab's crowd: addresses, sockets, clock. See crowd.h. */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/addr.h"
#include "crowd.h"

#define FIRST4      0xc6124001U /* 198.18.64.1 */
#define FIRST6_HIGH 0x20010db8U /* 2001:db8:1xxx:yyyy::1, x and y from the client's number */

enum { CLIENTS4 = 16000 }; /* addresses used of the /18, short of its broadcast address */

void crowd_target_add(struct crowd_target *target, const char *text)
{
    struct endpoint e;
    if (endpoint_parse(text, &e) != 0)
        errx(2, "%s: want an address with a port, as 198.18.0.80:80 or [2001:db8::80]:80", text);
    int family = addr_is_v4(&e.addr) ? 0 : 1;
    if (family == 0) {
        struct sockaddr_in *to = (struct sockaddr_in *)&target->address[0];
        *to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(e.port)};
        to->sin_addr.s_addr = addr_v4(&e.addr);
        target->length[0] = sizeof *to;
    } else {
        struct sockaddr_in6 *to = (struct sockaddr_in6 *)&target->address[1];
        *to = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(e.port)};
        memcpy(&to->sin6_addr, e.addr.bytes, 16);
        target->length[1] = sizeof *to;
    }
}

int crowd_family(const struct crowd_target *target, unsigned n)
{
    if (target->length[0] != 0 && target->length[1] != 0)
        return (int)(n & 1);
    return target->length[0] != 0 ? 0 : 1;
}

static int bind_own_address(int fd, int family, unsigned n)
{
    const int on = 1;
    /* The port is chosen at connect, when the whole tuple is known: an address can hold many
     * connections. */
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (family == 0) {
        struct sockaddr_in own = {.sin_family = AF_INET};
        own.sin_addr.s_addr = htonl(FIRST4 + n % CLIENTS4);
        return bind(fd, (struct sockaddr *)&own, sizeof own);
    }
    struct sockaddr_in6 own = {.sin6_family = AF_INET6};
    own.sin6_addr.s6_addr32[0] = htonl(FIRST6_HIGH);
    own.sin6_addr.s6_addr32[1] = htonl(0x10000000U | (n & 0x0fffffffU));
    own.sin6_addr.s6_addr[15] = 1;
    setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof on);
    return bind(fd, (struct sockaddr *)&own, sizeof own);
}

int crowd_socket(const struct crowd_target *target, unsigned n, int flags)
{
    int family = crowd_family(target, n);
    int fd = socket(family == 0 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (fd < 0)
        return -errno;
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind_own_address(fd, family, n) == 0)
        return fd;
    int error = errno;
    close(fd);
    return -error;
}

int crowd_connect(const struct crowd_target *target, unsigned n)
{
    int family = crowd_family(target, n), fd = crowd_socket(target, n, SOCK_NONBLOCK);
    const struct sockaddr *to = (const struct sockaddr *)&target->address[family];
    if (fd < 0 || connect(fd, to, target->length[family]) == 0 || errno == EINPROGRESS)
        return fd;
    int error = errno;
    close(fd);
    return -error;
}

void crowd_allow_files(unsigned files)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = files;
    if (limit.rlim_max < files) /* needs CAP_SYS_RESOURCE, which a container may lack */
        limit.rlim_max = files;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        err(1, "raising the limit of open files to %u (ulimit -Hn shows what is allowed)", files);
}

static int64_t microseconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t crowd_now(void)
{
    return microseconds(CLOCK_MONOTONIC);
}

int64_t crowd_wall(void)
{
    return microseconds(CLOCK_REALTIME);
}

int64_t crowd_number(const char *option, const char *text, int64_t min, int64_t max)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < min || value > max)
        errx(2, "%s %s: want a number from %lld to %lld", option, text, (long long)min,
             (long long)max);
    return value;
}
