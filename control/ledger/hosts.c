/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * libpq parses the connection string; splitting its lists is all that is done here. What it leaves
 * out libpq would take from the environment and its own defaults, and so do we (PQconndefaults). */
#include "control/ledger/hosts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *option(const PQconninfoOption *options, const char *keyword)
{
    for (const PQconninfoOption *o = options; o->keyword; o++)
        if (!strcmp(o->keyword, keyword))
            return o->val ? o->val : "";
    return "";
}

static size_t elements(const char *list)
{
    size_t count = 1;
    for (const char *c = list; *c; c++)
        count += *c == ',';
    return count;
}

/* Copies element `i` of a comma separated list; the only one stands for all. False if too long. */
static bool element(const char *list, size_t i, char *out, size_t size)
{
    const char *from = list;
    if (elements(list) > 1)
        for (; i > 0; i--)
            from = strchr(from, ',') + 1;
    size_t length = strcspn(from, ",");
    if (length >= size)
        return false;
    memcpy(out, from, length);
    out[length] = '\0';
    return true;
}

static bool is_numeric(const char *text)
{
    unsigned char ignored[16];
    return inet_pton(AF_INET, text, ignored) == 1 || inet_pton(AF_INET6, text, ignored) == 1;
}

static bool is_port(const char *text)
{
    char *end;
    long port = strtol(text, &end, 10);
    return *text && !*end && port >= 1 && port <= 65535;
}

static int refuse(char *why, size_t why_size, const char *reason)
{
    snprintf(why, why_size, "%s", reason);
    return -EINVAL;
}

static int read_host(struct host *h, size_t i, size_t count, const char *const lists[3], char *why,
                     size_t why_size)
{
    struct target *t = &h->named;
    if (!element(lists[0], i, t->host, sizeof t->host) ||
        !element(lists[1], i, t->address, sizeof t->address) ||
        !element(lists[2], i, t->port, sizeof t->port))
        return refuse(why, why_size, "a host, hostaddr or port is too long");
    if (count > 1 && !*t->host && !*t->address)
        return refuse(why, why_size, "an empty host in a list of hosts");
    if (!*t->port)
        snprintf(t->port, sizeof t->port, "5432"); /* libpq takes it so in a list */
    if (!is_port(t->port))
        return refuse(why, why_size, "a port must be 1 to 65535");
    if (*t->address && !is_numeric(t->address))
        return refuse(why, why_size, "a hostaddr must be numeric");
    if (!*t->address && is_numeric(t->host))
        memcpy(t->address, t->host, strlen(t->host) + 1);
    h->is_name = !*t->address && *t->host && *t->host != '/' && *t->host != '@';
    return 0;
}

static int read_lists(struct hosts *hosts, const char *host, const char *address, const char *port,
                      char *why, size_t why_size)
{
    size_t count = *address ? elements(address) : elements(host);
    if (count > HOSTS_MAX)
        return refuse(why, why_size, "more than 8 hosts");
    if (*host && elements(host) != count)
        return refuse(why, why_size, "host and hostaddr must be lists of the same length");
    if (elements(port) != 1 && elements(port) != count)
        return refuse(why, why_size, "port must be one, or a list as long as that of the hosts");
    const char *const lists[3] = {host, address, port};
    for (hosts->count = 0; hosts->count < count; hosts->count++) {
        int status =
            read_host(&hosts->host[hosts->count], hosts->count, count, lists, why, why_size);
        if (status)
            return status;
    }
    return 0;
}

int hosts_parse(struct hosts *hosts, const char *dsn, char *why, size_t why_size)
{
    char *error = NULL;
    memset(hosts, 0, sizeof *hosts);
    PQconninfoOption *given = PQconninfoParse(dsn, &error);
    if (!given) {
        snprintf(why, why_size, "%s", error ? error : "out of memory");
        why[strcspn(why, "\n")] = '\0';
        PQfreemem(error);
        return -EINVAL;
    }
    PQconninfoOption *defaults = PQconndefaults();
    int status = defaults ? 0 : refuse(why, why_size, "out of memory");
    if (!status && *option(given, "service"))
        status = refuse(why, why_size, "name the hosts here: service= would hide them");
    if (!status) {
        const char *host = option(given, "host"), *address = option(given, "hostaddr");
        const char *port = option(given, "port");
        if (!*host && !*address) {
            host = option(defaults, "host");
            address = option(defaults, "hostaddr");
        }
        status = read_lists(hosts, host, address, *port ? port : option(defaults, "port"), why,
                            why_size);
        long seconds = strtol(option(given, "connect_timeout"), NULL, 10);
        hosts->connect_timeout = seconds > 0 && seconds < 3600 ? seconds * INT64_C(1000) : 0;
    }
    PQconninfoFree(given);
    PQconninfoFree(defaults);
    return status;
}

/* ---- names ---- */

void hosts_look_up(struct hosts *hosts)
{
    for (size_t i = 0; i < hosts->count; i++) {
        struct host *h = &hosts->host[i];
        if (!h->is_name || h->asked)
            continue;
        h->hints = (struct addrinfo){.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
        h->request = (struct gaicb){.ar_name = h->named.host, .ar_request = &h->hints};
        struct gaicb *list[1] = {&h->request};
        struct sigevent silent = {.sigev_notify = SIGEV_NONE};
        h->asked = getaddrinfo_a(GAI_NOWAIT, list, 1, &silent) == 0;
    }
}

/* Returns whether the addresses differ from those known before. */
static bool take_addresses(struct host *h, const struct addrinfo *found)
{
    char address[HOST_ADDRESSES_MAX][64] = {{0}};
    size_t count = 0;
    for (const struct addrinfo *a = found; a && count < HOST_ADDRESSES_MAX; a = a->ai_next)
        if (!getnameinfo(a->ai_addr, a->ai_addrlen, address[count], sizeof *address, NULL, 0,
                         NI_NUMERICHOST))
            count++;
    if (count == 0 || (count == h->addresses && !memcmp(address, h->address, sizeof address)))
        return false;
    memcpy(h->address, address, sizeof address);
    h->addresses = count;
    return true;
}

bool hosts_take(struct hosts *hosts)
{
    bool changed = false;
    for (size_t i = 0; i < hosts->count; i++) {
        struct host *h = &hosts->host[i];
        int status = h->asked ? gai_error(&h->request) : EAI_INPROGRESS;
        if (status == EAI_INPROGRESS)
            continue;
        h->asked = false;
        h->known = true;
        if (status == 0 && take_addresses(h, h->request.ar_result))
            changed = true;
        if (h->request.ar_result)
            freeaddrinfo(h->request.ar_result);
        h->request.ar_result = NULL;
    }
    return changed;
}

bool hosts_waiting(const struct hosts *hosts)
{
    for (size_t i = 0; i < hosts->count; i++)
        if (hosts->host[i].asked || (hosts->host[i].is_name && !hosts->host[i].known))
            return true;
    return false;
}

static bool is_among(const struct target *t, const struct target *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(t->address, list[i].address) && !strcmp(t->port, list[i].port) &&
            (*t->address || !strcmp(t->host, list[i].host)))
            return true;
    return false;
}

size_t hosts_targets(const struct hosts *hosts, struct target out[TARGETS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < hosts->count; i++) {
        const struct host *h = &hosts->host[i];
        size_t addresses = h->is_name ? h->addresses : 1;
        for (size_t a = 0; a < addresses; a++) {
            struct target t = h->named;
            if (h->is_name)
                memcpy(t.address, h->address[a], sizeof t.address);
            if (!is_among(&t, out, count))
                out[count++] = t;
        }
    }
    return count;
}

bool hosts_close(struct hosts *hosts)
{
    bool closed = true;
    for (size_t i = 0; i < hosts->count; i++)
        if (hosts->host[i].asked)
            gai_cancel(&hosts->host[i].request);
    hosts_take(hosts);
    for (size_t i = 0; i < hosts->count; i++)
        closed = closed && !hosts->host[i].asked;
    return closed;
}

const char *target_print(const struct target *t, char *text, size_t size)
{
    bool both = *t->address && strcmp(t->address, t->host) != 0;
    snprintf(text, size, "%s%s%s%s port %s",
             *t->host      ? t->host
             : *t->address ? ""
                           : "(default)",
             both ? " (" : "", both ? t->address : "", both ? ")" : "", t->port);
    return text;
}
