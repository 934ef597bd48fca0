/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The three texts that payments read, all JSON (RFC 8259): a shopper's body, a provider's answer,
 * and an event that it sends. What they contain ends in answers, logs and SQL, so each value has
 * its alphabet and its length here. Pure. Any thread. */
#ifndef DROPGATE_CONTROL_PAYMENT_READ_H
#define DROPGATE_CONTROL_PAYMENT_READ_H

#include <stddef.h>

#include "control/payment/provider.h"

/** A shopper's {"method":"…"}: exactly this member, 1..255 visible ASCII characters without quotes
 * and backslashes. Returns NULL, or what is wrong, as a sentence without quotes. */
const char *payment_read_body(const char *bytes, size_t length,
                              char method[PROVIDER_METHOD_MAX + 1]);

enum { PAYMENT_ANSWER_MAX = 16384 };

/** A provider's answer to `call` (docs/payments.md). Its attempt, amount and currency must be those
 * of the call, or it is about something else. Members that are not known are passed over. Returns
 * NULL and fills `answer`, or what is wrong: then the outcome is PROVIDER_UNKNOWN. */
const char *payment_read_answer(const char *bytes, size_t length, const struct provider_call *call,
                                struct provider_answer *answer);

enum { PAYMENT_EVENT_MAX = 255, PAYMENT_KIND_MAX = 64 };

struct payment_event {
    char id[PAYMENT_EVENT_MAX + 1];
    char kind[PAYMENT_KIND_MAX + 1];
    unsigned char attempt[16];
};

/** A webhook's {"id":"…","type":"…","attempt":"…",…}. Returns NULL, or what is wrong, as a sentence
 * without quotes. */
const char *payment_read_event(const char *bytes, size_t length, struct payment_event *event);

#endif
