/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A reservation's id and the fingerprint of its body, both from SHA-256. The id is known before
 * PostgreSQL is asked, is the same on every instance, and cannot be chosen: another user's key
 * gives another id. Pure. */
#ifndef DROPGATE_CONTROL_LEDGER_KEY_H
#define DROPGATE_CONTROL_LEDGER_KEY_H

#include <stddef.h>
#include <stdint.h>

/** The first 128 bits of SHA-256 over (user, sale, key), each behind its length as four big-endian
 * bytes, the sale as four big-endian bytes; so no two triples share their bytes. Lengths 1..255.
 * Returns 0 or -ENOMEM. Any thread. */
int key_reservation_id(const char *user, size_t user_length, int32_t sale, const char *key,
                       size_t key_length, uint8_t id[16]);

/** 128 bits over the parsed body, so that spelling ({"quantity": 1} or {"quantity":1}) does not
 * matter. Returns 0 or -ENOMEM. */
int key_fingerprint(int32_t quantity, uint8_t fingerprint[16]);

/** The id of an attempt to pay: the first 128 bits of SHA-256 over (reservation, key), in another
 * domain than reservations. Returns 0, -EINVAL (length of the key) or -ENOMEM. */
int key_attempt_id(const uint8_t reservation[16], const char *key, size_t key_length,
                   uint8_t attempt[16]);

/** 128 bits over the parsed body of a payment: its method, 1..255 bytes. */
int key_payment_fingerprint(const char *method, size_t length, uint8_t fingerprint[16]);

enum { KEY_UUID_TEXT = 37 };

/** The 8-4-4-4-12 form in lower case, with the terminator. Returns `out`. */
const char *key_print(const uint8_t id[16], char out[KEY_UUID_TEXT]);

/** Reads exactly that form, either case, from `length` bytes. Returns 0 or -EINVAL. */
int key_parse(const char *text, size_t length, uint8_t id[16]);

#endif
