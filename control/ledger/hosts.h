/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Where PostgreSQL may be: the hosts of a connection string, and the addresses that their names
 * have. libpq would try them in turn and take the first that answers; we must see them all, so each
 * address is connected to singly. Names are looked up by glibc's getaddrinfo_a, so nothing here
 * waits. One thread. */
#ifndef DROPGATE_CONTROL_LEDGER_HOSTS_H
#define DROPGATE_CONTROL_LEDGER_HOSTS_H

#include <netdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HOSTS_MAX = 8,
    HOST_ADDRESSES_MAX = 4,
    TARGETS_MAX = HOSTS_MAX * HOST_ADDRESSES_MAX,
    HOST_TEXT = 256,
};

/** One place to connect to. */
struct target {
    char host[HOST_TEXT]; /* a name, an address, a socket's directory; "" is libpq's default */
    char address[64];     /* numeric, or "" when there is none: a socket */
    char port[8];
};

/** A host of the connection string, and what is known of its name. */
struct host {
    struct target named; /* `address` is filled only if the connection string gave it */
    bool is_name;        /* must be looked up */
    bool asked;          /* a look-up is under way */
    bool known;          /* it has been looked up at least once, whatever came out */
    size_t addresses;
    char address[HOST_ADDRESSES_MAX][64]; /* of the last look-up that found any */
    struct gaicb request;
    struct addrinfo hints;
};

struct hosts {
    size_t count;
    int64_t connect_timeout; /* ms that the connection string asks for, 0 if it does not */
    struct host host[HOSTS_MAX];
};

/** Reads libpq's multi-host form: host, hostaddr and port may be lists. Returns 0, or -EINVAL with
 * the reason, one line without the key's name, in `why`: not a connection string, more than
 * HOSTS_MAX hosts, lists of different lengths, an empty host in a list, a port that is none,
 * service= (which would hide the hosts). Looks nothing up. */
int hosts_parse(struct hosts *hosts, const char *dsn, char *why, size_t why_size);

/** Begins a look-up of every name that has none under way. */
void hosts_look_up(struct hosts *hosts);

/** Takes what look-ups have found. A failed one leaves the addresses of the last good one. Returns
 * whether the addresses of any host have changed. */
bool hosts_take(struct hosts *hosts);

/** Whether a look-up is under way, or a name was never looked up. */
bool hosts_waiting(const struct hosts *hosts);

/** Writes all that can be connected to, without duplicates, to `out`. Returns how many. */
size_t hosts_targets(const struct hosts *hosts, struct target out[TARGETS_MAX]);

/** Gives up look-ups. False if one cannot be given up: then `hosts` must not be freed. */
bool hosts_close(struct hosts *hosts);

/** "name (address) port 5432", for people. Returns `text`. */
const char *target_print(const struct target *target, char *text, size_t size);

#endif
