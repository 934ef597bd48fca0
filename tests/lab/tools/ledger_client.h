/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * dropgate.reserve_arrays straight over libpq, for tests and benches that want the ledger without
 * the service: one prepared autocommit statement per batch, parameters and answers in binary. Never
 * merges or hides anything that it is given: duplicates and malformed elements go out as they are.
 * Blocking; one connection, one thread. */
#ifndef DROPGATE_TESTS_LAB_LEDGER_CLIENT_H
#define DROPGATE_TESTS_LAB_LEDGER_CLIENT_H

#include <libpq-fe.h>
#include <stddef.h>
#include <stdint.h>

struct ledger_want {
    uint8_t id[16], fingerprint[16];
    int32_t quantity;
    char user[32];
};

/** One row of the answer. Times are microseconds since 2000-01-01T00:00:00Z. Padding is zero, so
 * that two answers can be compared as bytes. What a refusal leaves empty is zero. */
struct ledger_reply {
    int32_t status, quantity;
    int64_t unit_price, granted_at, expires_at;
    int32_t render;
    char currency[4];
};

struct ledger_client;

/** Connects and prepares. NULL with a line on stderr if that fails; ledger_client_close frees it.
 */
struct ledger_client *ledger_client_open(const char *dsn);

/** The same for a function with the signature of dropgate.reserve_batch, whose answer is rows; its
 * name has at most 60 bytes. */
struct ledger_client *ledger_client_open_function(const char *dsn, const char *function);
void ledger_client_close(struct ledger_client *client);

/** The libpq connection, for other statements in between. */
PGconn *ledger_client_connection(struct ledger_client *client);

/** Asks for `count` wants of one sale at once and fills in as many replies. Returns 0, -ENOTCONN if
 * the connection was lost (then nobody knows whether it was committed), -EPROTO for any other
 * refusal (with a line on stderr), or -ENOMEM. */
int ledger_client_reserve(struct ledger_client *client, int32_t sale,
                          const struct ledger_want *wants, size_t count,
                          struct ledger_reply *replies);

#endif
