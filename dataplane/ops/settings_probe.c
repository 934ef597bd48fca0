/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A backend of an HTTP service is asked for a path, any other only whether it takes a connection,
 * unless it says otherwise. */
#include "dataplane/ops/settings_probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REQUEST_MOST = SETTINGS_PROBE_PATH + SETTINGS_PROBE_HOST + 128 };

/* The first service of that protocol that the backend belongs to, or NULL. */
static const char *used_by(const struct settings *s, const char *backend, int protocol)
{
    const struct service_settings *services = s->services.items;
    for (size_t i = 0; i < s->services.count; i++) {
        char *const *names = services[i].backends.items;
        for (size_t k = 0; k < services[i].backends.count && services[i].protocol == protocol; k++)
            if (strcmp(names[k], backend) == 0)
                return services[i].name;
    }
    return NULL;
}

static bool is_visible(const char *text)
{
    for (; *text != '\0'; text++)
        if (*text <= ' ' || *text > '~')
            return false;
    return true;
}

static int check_path(const char *section, const char *key, const char *path, char *why,
                      size_t size)
{
    if (path == NULL || (path[0] == '/' && is_visible(path) && strchr(path, '#') == NULL))
        return 0;
    return conf_refuse(why, size,
                       "[%s] %s = %s: not a path; allowed: '/', then visible ASCII but no '#'",
                       section, key, path);
}

static int check_host(const char *section, const char *key, const char *host, char *why,
                      size_t size)
{
    if (host == NULL || is_visible(host))
        return 0;
    return conf_refuse(why, size, "[%s] %s = %s: not a name; allowed: visible ASCII", section, key,
                       host);
}

static int check_backend(const struct settings *s, const struct backend_settings *b, char *why,
                         size_t size)
{
    char section[80];
    snprintf(section, sizeof section, "backend %s", b->name);
    const char *tls = used_by(s, b->name, SERVICE_TLS);
    if (b->probe == PROBE_BY_HTTP && tls != NULL)
        return conf_refuse(
            why, size,
            "[%s] probe = http: [service %s] speaks TLS with it, and the gateway has no "
            "key; allowed: auto, connect",
            section, tls);
    if (check_path(section, "probe_path", b->probe_path, why, size) != 0)
        return -EINVAL;
    return check_host(section, "probe_host", b->probe_host, why, size);
}

int settings_probe_check(const struct settings *s, char *why, size_t size)
{
    const struct backend_settings *backends = s->backends.items;
    if (check_path("probe", "path", s->probe.path, why, size) != 0 ||
        check_host("probe", "host", s->probe.host, why, size) != 0)
        return -EINVAL;
    for (size_t i = 0; i < s->backends.count; i++)
        if (check_backend(s, &backends[i], why, size) != 0)
            return -EINVAL;
    return 0;
}

static bool asks(const struct settings *s, const struct backend_settings *b)
{
    if (b->probe == PROBE_AUTO)
        return used_by(s, b->name, SERVICE_HTTP) != NULL &&
               used_by(s, b->name, SERVICE_TLS) == NULL;
    return b->probe == PROBE_BY_HTTP;
}

/* Without a Host of its own it is asked for by its address, as a browser beside it would. */
static int write_request(const struct settings *s, const struct backend_settings *b, char *out)
{
    char address[ADDR_TEXT];
    const char *path = b->probe_path != NULL ? b->probe_path : s->probe.path;
    const char *host = b->probe_host != NULL ? b->probe_host : s->probe.host;
    return snprintf(out, REQUEST_MOST,
                    "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: dropgate-probe\r\n"
                    "Connection: close\r\n\r\n",
                    path, host != NULL ? host : endpoint_print(&b->address, address));
}

bool settings_probe_fill(const struct settings *s, struct services *out)
{
    const struct backend_settings *backends = s->backends.items;
    size_t used = 0;
    out->probes = malloc(s->backends.count * REQUEST_MOST);
    if (out->probes == NULL)
        return false;
    for (size_t i = 0; i < s->backends.count; i++) {
        if (!asks(s, &backends[i]))
            continue;
        const struct endpoint *address = &backends[i].address;
        int length = write_request(s, &backends[i], out->probes + used);
        struct backend *to = &out->backend[policy_backend(out, &address->addr, address->port)];
        to->probe = out->probes + used;
        to->probe_length = (uint16_t)length;
        used += (size_t)length;
    }
    return true;
}
