/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The cookies' master keys, and what follows from them. There is one master; after a change, the
 * one before is kept for as long as a cookie lives, so that no handshake is lost. Gateways with the
 * same file accept each other's cookies and show the same timestamps; one without a file draws a
 * master at start, and its cookies end with it.
 *
 * What a change of the master does not do: it does not reach gateways that have not read the new
 * file yet (change all within a second or two; until then a client whose packets move between them
 * has to connect again), and it does not change the timestamps' key, which stays the one of the
 * process's start: each pair's clock goes on (RFC 7323 section 5.4). It begins anew with a restart,
 * when all connections of that gateway end anyway. A restart also forgets the master before.
 * Control thread. */
#ifndef DROPGATE_DATAPLANE_OPS_KEYRING_H
#define DROPGATE_DATAPLANE_OPS_KEYRING_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/ops/master.h"
#include "dataplane/tcp/cookie.h"

struct keyring;

/** With a master drawn from the kernel. NULL when memory or randomness is short. */
struct keyring *keyring_new(void);

/** Wipes and frees; NULL is nothing. */
void keyring_free(struct keyring *keyring);

/** Takes the master from a file. Before keys were derived it takes the place of the random one,
 * later the one before stays in force beside it for COOKIE_LIFE_MS; a third one goes at once.
 * Returns 1 when it is a new one, 0 when it is the one in use, or -errno with the reason in `why`,
 * and nothing has changed. */
int keyring_read(struct keyring *keyring, const char *path, uint64_t unix_ms, char why[MASTER_WHY]);

/** Takes a master drawn from the kernel in the place of one that was read from a file, which stays
 * in force beside it in the same way. Returns 1 when it is a new one, 0 when the one in use was
 * drawn, or -EIO when randomness is short, and nothing has changed. */
int keyring_draw(struct keyring *keyring, uint64_t unix_ms);

/** Whether keys must be derived anew: a new epoch, a new master, or an old one has had its time. */
bool keyring_due(const struct keyring *keyring, uint64_t unix_ms);

/** The keys in force, in memory for secrets: keyring_keys_free gives them back. NULL when memory is
 * short. */
struct cookie_keys *keyring_keys(struct keyring *keyring, uint64_t unix_ms);
void keyring_keys_free(struct cookie_keys *keys);

#endif
