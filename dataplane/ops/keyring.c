/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * All of it lies in memory for secrets. */
#include "dataplane/ops/keyring.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "dataplane/ops/secret.h"

struct keyring {
    uint8_t current[MASTER_BYTES], previous[MASTER_BYTES];
    uint8_t clock[MASTER_BYTES]; /* keys the timestamps: the first that was used */
    uint64_t previous_until_ms;  /* unix time; 0 = there is none */
    uint64_t epoch;              /* of the keys derived last */
    bool derived, changed;       /* since then */
    bool read;                   /* the current one comes from a file */
};

struct keyring *keyring_new(void)
{
    struct keyring *keyring = secret_new(sizeof *keyring);
    if (keyring == NULL)
        return NULL;
    if (getrandom(keyring->current, MASTER_BYTES, 0) != MASTER_BYTES) {
        keyring_free(keyring);
        return NULL;
    }
    memcpy(keyring->clock, keyring->current, MASTER_BYTES);
    return keyring;
}

void keyring_free(struct keyring *keyring)
{
    secret_free(keyring, sizeof *keyring);
}

/* Wipes what it is given. Whether that is a new master. */
static bool take(struct keyring *keyring, uint8_t master[MASTER_BYTES], uint64_t unix_ms)
{
    bool same = memcmp(master, keyring->current, MASTER_BYTES) == 0; /* both are ours: no secret */
    if (!same && keyring->derived) {
        memcpy(keyring->previous, keyring->current, MASTER_BYTES);
        keyring->previous_until_ms = unix_ms + COOKIE_LIFE_MS;
    }
    memcpy(keyring->current, master, MASTER_BYTES);
    if (!keyring->derived)
        memcpy(keyring->clock, master, MASTER_BYTES);
    explicit_bzero(master, MASTER_BYTES);
    keyring->changed |= !same;
    return !same;
}

int keyring_read(struct keyring *keyring, const char *path, uint64_t unix_ms, char why[MASTER_WHY])
{
    uint8_t master[MASTER_BYTES];
    int error = master_read(path, master, why);
    if (error != 0)
        return error;
    keyring->read = true;
    return take(keyring, master, unix_ms);
}

int keyring_draw(struct keyring *keyring, uint64_t unix_ms)
{
    uint8_t master[MASTER_BYTES];
    if (!keyring->read)
        return 0;
    if (getrandom(master, MASTER_BYTES, 0) != MASTER_BYTES)
        return -EIO;
    keyring->read = false;
    return take(keyring, master, unix_ms);
}

static bool previous_over(const struct keyring *keyring, uint64_t unix_ms)
{
    return keyring->previous_until_ms != 0 && unix_ms >= keyring->previous_until_ms;
}

bool keyring_due(const struct keyring *keyring, uint64_t unix_ms)
{
    return !keyring->derived || keyring->changed || previous_over(keyring, unix_ms) ||
           unix_ms / COOKIE_EPOCH_MS != keyring->epoch;
}

struct cookie_keys *keyring_keys(struct keyring *keyring, uint64_t unix_ms)
{
    struct cookie_keys *keys = secret_new(sizeof *keys);
    if (keys == NULL)
        return NULL;
    if (previous_over(keyring, unix_ms)) {
        explicit_bzero(keyring->previous, MASTER_BYTES);
        keyring->previous_until_ms = 0;
    }
    cookie_keys_derive(keys, keyring->current, unix_ms);
    cookie_keys_clock(keys, keyring->clock);
    if (keyring->previous_until_ms != 0)
        cookie_keys_overlap(keys, keyring->previous, keyring->previous_until_ms);
    keyring->epoch = unix_ms / COOKIE_EPOCH_MS;
    keyring->derived = true;
    keyring->changed = false;
    return keys;
}

void keyring_keys_free(struct cookie_keys *keys)
{
    secret_free(keys, sizeof *keys);
}
