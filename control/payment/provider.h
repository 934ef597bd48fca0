/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What a payment provider can be asked, and what it can answer. Every call names an attempt, and
 * asking the same again is asking once: a provider that cannot promise that cannot be used. Every
 * answer is the state of the attempt at the provider, so whatever was asked, what is to be done
 * next depends on the answer alone. Nothing here blocks. One thread, the payment engine's. */
#ifndef DROPGATE_CONTROL_PAYMENT_PROVIDER_H
#define DROPGATE_CONTROL_PAYMENT_PROVIDER_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

enum provider_operation {
    PROVIDER_AUTHORISE, /* reserve the amount; never takes money */
    PROVIDER_CAPTURE,   /* take what was authorised */
    PROVIDER_VOID, /* make sure that this attempt is never captured, even if it is not known yet */
    PROVIDER_REFUND, /* give back what was captured, whole, once */
    PROVIDER_GET,    /* only tell */
    PROVIDER_OPERATIONS
};

enum provider_outcome {
    PROVIDER_UNKNOWN,  /* no answer in time, no connection, or one that cannot be understood */
    PROVIDER_ABSENT,   /* it says that it has never heard of the attempt */
    PROVIDER_PENDING,  /* it will decide later, and tell by webhook */
    PROVIDER_ACTION,   /* the shopper must go to `action` first */
    PROVIDER_DECLINED, /* for ever: nothing was taken, nothing will be. `reason` */
    PROVIDER_AUTHORISED,
    PROVIDER_CAPTURED,
    PROVIDER_VOIDED, /* for ever, as DECLINED */
    PROVIDER_REFUNDED,
    PROVIDER_OUTCOMES
};

enum { PROVIDER_BESIDE_MAX = 80 };

enum { PROVIDER_METHOD_MAX = 255, PROVIDER_ACTION_MAX = 1024, PROVIDER_REASON_MAX = 64 };

struct provider_answer {
    enum provider_outcome outcome;
    char action[PROVIDER_ACTION_MAX +
                1]; /* https, visible ASCII without quotes and backslashes; else empty */
    char reason[PROVIDER_REASON_MAX + 1]; /* small letters, digits and _; or empty */
};

/** One question. The asker's until it is begun, the provider's until it is finished. */
struct provider_call {
    enum provider_operation operation;
    uint8_t attempt[16], reservation[16];
    int64_t amount;   /* in the currency's minor unit, 1.. */
    char currency[4]; /* ISO 4217 */
    char method[PROVIDER_METHOD_MAX +
                1]; /* PROVIDER_AUTHORISE: the provider's token for how to pay */
    struct provider_answer answer;
    struct provider_call *next; // provider: rw
};

struct provider;

struct provider_class {
    /** Begins a call. 0, or -EBUSY (as many as it takes are under way), or -ENOMEM: then nothing
     * was sent. */
    int (*begin)(struct provider *provider, struct provider_call *call);
    /** Waits for `timeout_ms` at most until something may have finished or one of `beside` (revents
     * are set; at most PROVIDER_BESIDE_MAX) is ready. */
    void (*wait)(struct provider *provider, struct pollfd *beside, unsigned int count,
                 int timeout_ms);
    /** A call that is finished, with its answer; or NULL. Each call that was begun is finished
     * once. */
    struct provider_call *(*finished)(struct provider *provider);
    /** Ends every call under way: it is finished, as PROVIDER_UNKNOWN. */
    void (*cancel)(struct provider *provider);
    /** Ends it; no call is under way or waits to be taken. */
    void (*close)(struct provider *provider);
};

/** What every provider begins with. */
struct provider {
    const struct provider_class *class;
};

#endif
