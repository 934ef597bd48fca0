/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What a payment request carries beside a ledger_request: too large for every request to have. It
 * belongs to its request and is freed with it; the engine fills the second half before it gives the
 * request back. */
#ifndef DROPGATE_CONTROL_PAYMENT_ASK_H
#define DROPGATE_CONTROL_PAYMENT_ASK_H

#include <stdbool.h>
#include <stdint.h>

#include "control/payment/provider.h"
#include "control/payment/read.h"
#include "control/payment/signature.h"

enum { PAYMENT_TEXT_MAX = PROVIDER_ACTION_MAX + 512 };

struct payment_ask {
    /* network: rw until lent, engine: ro */
    uint8_t attempt[16];
    char method[PROVIDER_METHOD_MAX + 1];
    struct payment_event event; /* LEDGER_WEBHOOK */
    /* engine: rw until given back, network: ro afterwards */
    int64_t amount;
    char currency[4];
    uint8_t reservation[16]; /* the one that was paid */
    char action[PROVIDER_ACTION_MAX + 1];
    char reason[PROVIDER_REASON_MAX + 1];
    /* network: rw */
    size_t signature_length;
    char signature[SIGNATURE_FIELD_MAX];
    char text[PAYMENT_TEXT_MAX]; /* the answer's body */
};

#endif
