/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Moves many bytes over HTTP/1.1 and proves that they arrived: the same stream of numbers is
 * generated at both ends, and its SHA-256 must be equal. `serve` answers GET /BYTES with that many
 * bytes and PUT or POST with the digest of what came, and says on its
 * standard output that it was executed; `get` and `put` are the client. Sockets can be given
 * a small buffer or segment size, and a congestion control. */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "crowd.h"

enum { BLOCK = 65536, HEAD = 2048, DIGEST = 32, HEX = 2 * DIGEST + 1 };

struct transfer {
    struct crowd_target target;
    int64_t bytes;
    int rcvbuf, maxseg;
    int64_t timeout;        /* seconds without progress before giving up */
    unsigned client;        /* which of the crowd's addresses is ours */
    const char *congestion; /* the sender's congestion control, NULL: the system's */
    bool half_close; /* put: closes its direction behind the last byte, then reads the answer */
};

/* Block n of the stream; the same on both ends. */
static void fill(uint8_t block[BLOCK], uint64_t n)
{
    uint64_t x = (n + 1) * 0x9e3779b97f4a7c15;
    for (size_t i = 0; i < BLOCK; i += sizeof x) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(block + i, &x, sizeof x);
    }
}

static EVP_MD_CTX *digest_begin(void)
{
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    if (digest == NULL || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1)
        errx(1, "SHA-256 is not available");
    return digest;
}

static void digest_end(EVP_MD_CTX *digest, char hex[HEX])
{
    uint8_t bytes[DIGEST];
    EVP_DigestFinal_ex(digest, bytes, NULL);
    EVP_MD_CTX_free(digest);
    for (size_t i = 0; i < DIGEST; i++)
        snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
}

static void write_all(int fd, const void *bytes, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
        if (sent <= 0)
            err(1, "sending");
        bytes = (const uint8_t *)bytes + sent;
        length -= (size_t)sent;
    }
}

/* Sends `bytes` bytes of the stream; their digest in `hex`. */
static void send_stream(int fd, int64_t bytes, char hex[HEX])
{
    static uint8_t block[BLOCK];
    EVP_MD_CTX *digest = digest_begin();
    for (uint64_t n = 0; bytes > 0; n++) {
        size_t part = bytes < BLOCK ? (size_t)bytes : BLOCK;
        fill(block, n);
        EVP_DigestUpdate(digest, block, part);
        write_all(fd, block, part);
        bytes -= (int64_t)part;
    }
    digest_end(digest, hex);
}

/* What the digest of the stream's first `bytes` bytes must be. */
static void expect_stream(int64_t bytes, char hex[HEX])
{
    static uint8_t block[BLOCK];
    EVP_MD_CTX *digest = digest_begin();
    for (uint64_t n = 0; bytes > 0; n++) {
        fill(block, n);
        EVP_DigestUpdate(digest, block, bytes < BLOCK ? (size_t)bytes : BLOCK);
        bytes -= BLOCK;
    }
    digest_end(digest, hex);
}

/* Reads `bytes` bytes of body, `have` of which came with the head; their digest in `hex`. */
static void receive_stream(int fd, int64_t bytes, const char *first, size_t have, char hex[HEX])
{
    static uint8_t block[BLOCK];
    EVP_MD_CTX *digest = digest_begin();
    if ((int64_t)have > bytes)
        errx(1, "%zu bytes came where %" PRId64 " were announced", have, bytes);
    EVP_DigestUpdate(digest, first, have);
    for (bytes -= (int64_t)have; bytes > 0;) {
        ssize_t got = recv(fd, block, bytes < BLOCK ? (size_t)bytes : BLOCK, 0);
        if (got <= 0)
            err(1, "receiving, with %" PRId64 " bytes to come", bytes);
        EVP_DigestUpdate(digest, block, (size_t)got);
        bytes -= got;
    }
    digest_end(digest, hex);
}

/* Reads a head into `head`, and perhaps the begin of the body behind it. Returns where the body
 * begins, NULL when the peer closed before a head; `length` is all that was read. */
static char *read_head(int fd, char head[HEAD], size_t *length)
{
    *length = 0;
    while (*length < HEAD - 1) {
        ssize_t got = recv(fd, head + *length, HEAD - 1 - *length, 0);
        if (got < 0)
            err(1, "receiving a head");
        if (got == 0)
            return NULL;
        *length += (size_t)got;
        head[*length] = '\0';
        char *end = strstr(head, "\r\n\r\n");
        if (end != NULL)
            return end + 4;
    }
    errx(1, "a head of more than %d bytes", HEAD);
}

static int64_t content_length(const char *head)
{
    const char *field = strcasestr(head, "\r\nContent-Length:");
    if (field == NULL)
        errx(1, "a head without Content-Length: %.80s", head);
    return strtoll(field + 17, NULL, 10);
}

static void serve_one(int fd)
{
    char head[HEAD], hex[HEX];
    size_t length;
    char *body;
    while ((body = read_head(fd, head, &length)) != NULL) {
        size_t have = length - (size_t)(body - head);
        char answer[256];
        if (strncmp(head, "GET /", 5) == 0) {
            int64_t bytes = strtoll(head + 5, NULL, 10);
            write_all(fd, answer,
                      (size_t)snprintf(answer, sizeof answer,
                                       "HTTP/1.1 200 OK\r\nContent-Length: %" PRId64 "\r\n\r\n",
                                       bytes));
            send_stream(fd, bytes, hex);
        } else {
            receive_stream(fd, content_length(head), body, have, hex);
            printf("{\"executed\":\"%s\"}\n", hex);
            fflush(stdout);
            write_all(fd, answer,
                      (size_t)snprintf(answer, sizeof answer,
                                       "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", HEX - 1,
                                       hex));
        }
    }
}

static void set_sizes(const struct transfer *t, int fd)
{
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (t->rcvbuf != 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &t->rcvbuf, sizeof t->rcvbuf);
    if (t->maxseg != 0)
        setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &t->maxseg, sizeof t->maxseg);
    if (t->congestion != NULL && setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, t->congestion,
                                            (socklen_t)strlen(t->congestion)) != 0)
        err(1, "congestion control %s", t->congestion);
}

/* A child per connection: one that fails ends alone. */
static void serve(const struct transfer *t)
{
    struct pollfd listeners[2];
    nfds_t count = 0;
    const int on = 1;
    signal(SIGCHLD, SIG_IGN);
    for (int family = 0; family < 2; family++) {
        if (t->target.length[family] == 0)
            continue;
        int fd = socket(family == 0 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (family == 1)
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
        set_sizes(t, fd);
        if (bind(fd, (const struct sockaddr *)&t->target.address[family],
                 t->target.length[family]) != 0 ||
            listen(fd, 4096) != 0)
            err(1, "listening");
        listeners[count++] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    for (;;) {
        poll(listeners, count, -1);
        for (nfds_t i = 0; i < count; i++) {
            int fd = listeners[i].revents != 0 ? accept(listeners[i].fd, NULL, NULL) : -1;
            if (fd >= 0 && fork() == 0) {
                serve_one(fd);
                _exit(0);
            }
            if (fd >= 0)
                close(fd);
        }
    }
}

static int open_connection(const struct transfer *t)
{
    int family = crowd_family(&t->target, t->client), fd = crowd_socket(&t->target, t->client, 0);
    if (fd < 0)
        errx(1, "socket: %s", strerror(-fd));
    struct timeval limit = {.tv_sec = t->timeout};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    set_sizes(t, fd);
    if (connect(fd, (const struct sockaddr *)&t->target.address[family],
                t->target.length[family]) != 0)
        err(1, "connecting");
    return fd;
}

/* Sends the stream and reads back what the server says its digest was. */
static void put(const struct transfer *t, int fd, char ours[HEX], char theirs[HEX])
{
    char head[HEAD];
    size_t length;
    write_all(fd, head,
              (size_t)snprintf(head, sizeof head,
                               "PUT /sink HTTP/1.1\r\nHost: lab.test\r\n"
                               "Content-Length: %" PRId64 "\r\n\r\n",
                               t->bytes));
    send_stream(fd, t->bytes, ours);
    if (t->half_close)
        shutdown(fd, SHUT_WR);
    char *body = read_head(fd, head, &length);
    if (body == NULL || content_length(head) != HEX - 1)
        errx(1, "the server gave no digest");
    while (length < (size_t)(body - head) + HEX - 1) {
        ssize_t got = recv(fd, head + length, HEAD - 1 - length, 0);
        if (got <= 0)
            err(1, "receiving the digest");
        length += (size_t)got;
    }
    memcpy(theirs, body, HEX - 1);
    theirs[HEX - 1] = '\0';
}

/* Asks for the stream; its digest as it came, beside what it must be. */
static void get(const struct transfer *t, int fd, char ours[HEX], char theirs[HEX])
{
    char head[HEAD];
    size_t length;
    write_all(fd, head,
              (size_t)snprintf(head, sizeof head,
                               "GET /%" PRId64 " HTTP/1.1\r\nHost: lab.test\r\n\r\n", t->bytes));
    char *body = read_head(fd, head, &length);
    if (body == NULL || content_length(head) != t->bytes)
        errx(1, "the server does not send what was asked for");
    receive_stream(fd, t->bytes, body, length - (size_t)(body - head), theirs);
    expect_stream(t->bytes, ours);
}

/* Returns whether the digests are equal; prints one line of JSON. */
static bool fetch(const struct transfer *t, bool upload)
{
    char ours[HEX], theirs[HEX];
    int64_t start = crowd_now();
    int fd = open_connection(t);
    (upload ? put : get)(t, fd, ours, theirs);
    close(fd);
    double seconds = (double)(crowd_now() - start) / 1e6;
    bool equal = strcmp(ours, theirs) == 0;
    printf("{\"bytes\":%" PRId64
           ",\"seconds\":%.2f,\"mbit_s\":%.0f,\"sha256\":\"%s\",\"equal\":%s}\n",
           t->bytes, seconds, (double)t->bytes * 8 / 1e6 / seconds, ours, equal ? "true" : "false");
    return equal;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"to", 1, NULL, 't'},         {"bytes", 1, NULL, 'b'},      {"rcvbuf", 1, NULL, 'r'},
        {"maxseg", 1, NULL, 'm'},     {"client", 1, NULL, 'c'},     {"timeout", 1, NULL, 'o'},
        {"half-close", 0, NULL, 'h'}, {"congestion", 1, NULL, 'g'}, {NULL, 0, NULL, 0}};
    struct transfer t = {.bytes = 100000000, .timeout = 20};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 't': crowd_target_add(&t.target, optarg); break;
        case 'b': t.bytes = crowd_number("--bytes", optarg, 0, INT64_C(1) << 40); break;
        case 'r': t.rcvbuf = (int)crowd_number("--rcvbuf", optarg, 1, 1 << 30); break;
        case 'm': t.maxseg = (int)crowd_number("--maxseg", optarg, 88, 65535); break;
        case 'c': t.client = (unsigned)crowd_number("--client", optarg, 0, 1 << 24); break;
        case 'o': t.timeout = crowd_number("--timeout", optarg, 1, 3600); break;
        case 'g': t.congestion = optarg; break;
        case 'h': t.half_close = true; break;
        default: return 2;
        }
    }
    const char *mode = optind == argc - 1 ? argv[optind] : "";
    if (t.target.length[0] == 0 && t.target.length[1] == 0)
        mode = "";
    if (strcmp(mode, "serve") == 0)
        serve(&t);
    else if (strcmp(mode, "get") == 0 || strcmp(mode, "put") == 0)
        return fetch(&t, strcmp(mode, "put") == 0) ? 0 : 1;
    errx(2, "usage: transfer serve|get|put --to ADDRESS:PORT [--to [ADDRESS6]:PORT] [--bytes N] "
            "[--rcvbuf N] "
            "[--maxseg N] [--client N] [--timeout S] [--half-close] [--congestion NAME]");
}
