/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * One shopper's request to the ledger and its answer: the only thing that crosses between network
 * threads and ledger threads. The network thread makes it, lends it by posting it, and gets it back
 * in its own mailbox whatever happens; only `phase` is looked at by both sides meanwhile. */
#ifndef DROPGATE_CONTROL_LEDGER_REQUEST_H
#define DROPGATE_CONTROL_LEDGER_REQUEST_H

#include <stdatomic.h>
#include <stdint.h>
#include <urcu/wfcqueue.h>

#include "control/mailbox.h"

enum ledger_kind {
    LEDGER_RESERVE,
    LEDGER_READ,
    LEDGER_CANCEL,
    LEDGER_EVENTS,
    LEDGER_PAY,
    LEDGER_WEBHOOK
};

/** Who may still decide. WAITING: both; the one who exchanges it wins. TAKEN: it has been or is
 * being sent, so the outcome is the ledger's. ABANDONED: the network thread has answered or lost
 * its client. DONE: answered. */
enum ledger_phase { PHASE_WAITING, PHASE_TAKEN, PHASE_ABANDONED, PHASE_DONE };

/** The answer. Values below 1000 are those of dropgate.reserve_arrays and
 * dropgate.reservation_cancel. */
enum ledger_status {
    LEDGER_AGAIN = 0, /* internal: goes into the next batch */
    LEDGER_GRANTED = 201,
    LEDGER_CANCELLED = 204,
    LEDGER_NOT_OPEN = 403,
    LEDGER_NOT_FOUND = 404,
    LEDGER_LIMIT = 409,
    LEDGER_SOLD_OUT = 410,      /* nothing can fall due any more */
    LEDGER_INSUFFICIENT = 411,  /* some are left, fewer than asked */
    LEDGER_SOLD_OUT_HELD = 412, /* holds are outstanding: asking again later may succeed */
    LEDGER_ATTEMPTS = 413,      /* the user has given back, or let run out, as many as it may */
    LEDGER_KEY_REUSED = 422,
    LEDGER_CLOSED = 423,
    LEDGER_FOUND = 1000,  /* a read: grant and state are filled in */
    LEDGER_WRONG_STATE,   /* a cancellation of what is being paid or is paid */
    LEDGER_KEY_IN_FLIGHT, /* the same key with another body, in the same batch */
    LEDGER_UNAVAILABLE,   /* PostgreSQL refused; nothing was done */
    LEDGER_UNKNOWN,       /* PostgreSQL refused, but an earlier sending may have been committed */
    LEDGER_FAILED,        /* PostgreSQL refuses this very request; nothing was done */
    LEDGER_PAGE,          /* events: page is filled in */
    LEDGER_PAGE_GONE,   /* events behind `after` have been deleted; page.place: the last of them */
    LEDGER_PAGE_AHEAD,  /* `after` was never given; page.place: the last one that was */
    LEDGER_DROPPED,     /* was abandoned before it was sent */
    LEDGER_PAY_PAID,    /* a payment: `payment` is filled in */
    LEDGER_PAY_ACTION,  /* the shopper must go somewhere first */
    LEDGER_PAY_PENDING, /* begun, and not decided yet */
    LEDGER_PAY_DECLINED,
    LEDGER_PAY_REFUNDED, /* the money came too late, and goes back */
    LEDGER_PAY_EXPIRED,
    LEDGER_PAY_ATTEMPTS, /* too many of them */
    LEDGER_EVENT_TAKEN,  /* a webhook's event is stored, now or before */
};

enum { LEDGER_USER_MAX = 255, LEDGER_STATE_MAX = 15 };

/** A reservation's immutable columns. Times are microseconds since 2000-01-01T00:00:00Z, as
 * PostgreSQL counts. */
struct grant {
    int64_t unit_price; /* in the currency's minor unit */
    int64_t granted_at, expires_at;
    int32_t sale, quantity;
    int16_t render; /* version of the rendering that this row was promised */
    char currency[4];
};

/** LEDGER_EVENTS only: what is asked for, and its answer. */
struct ledger_page {
    int64_t after;       /* events behind this position; -1: from the oldest that is left */
    int32_t limit, wait; /* events at most; seconds to wait for one */
    int32_t events;      /* how many there are */
    int64_t place;       /* the position to go on from */
    char *body;          /* the JSON; the pool frees it */
    size_t length;
};

struct lane;
struct payment_ask;

struct ledger_request {
    struct cds_wfcq_node node;   /* in a lane, the desk or the mailbox; one at a time */
    struct ledger_request *next; // ledger: rw. In a backlog or a batch
    struct ledger_request *twin; // ledger: rw. The same key again, in the same batch
    struct mailbox *answers;     /* where it goes back */
    uint64_t handle;   // network: rw. Names the connection; stale if the generation has moved on
    _Atomic int phase; /* enum ledger_phase */
    bool doubtful;     // ledger: rw while TAKEN. An earlier sending may have been committed
    enum ledger_kind kind;
    int32_t sale, quantity;
    int64_t invoked; /* clock_now when it was read from the wire */
    uint8_t id[16], fingerprint[16];
    struct payment_ask *payment; /* LEDGER_PAY, LEDGER_WEBHOOK: goes where the request goes */
    enum ledger_status status;   // ledger: rw until posted back; network: ro afterwards
    struct grant grant;
    struct ledger_page page;
    char state[LEDGER_STATE_MAX + 1]; /* LEDGER_FOUND only */
    uint8_t user_length;
    char user[LEDGER_USER_MAX];
};

/** Ledger thread: claims a waiting request. False if it was abandoned; then give it back as
 * LEDGER_DROPPED. */
static inline bool ledger_request_take(struct ledger_request *r)
{
    int waiting = PHASE_WAITING;
    return atomic_compare_exchange_strong(&r->phase, &waiting, PHASE_TAKEN);
}

/** Ledger thread: undoes the claim of a request that certainly had no effect. False if it was
 * abandoned since. */
static inline bool ledger_request_untake(struct ledger_request *r)
{
    int taken = PHASE_TAKEN;
    return atomic_compare_exchange_strong(&r->phase, &taken, PHASE_WAITING);
}

/** Network thread: gives up. True if nothing happened and nothing will: it was never sent, or every
 * sending is known to have failed, and the ledger will not take it any more. */
static inline bool ledger_request_abandon(struct ledger_request *r)
{
    return atomic_exchange(&r->phase, PHASE_ABANDONED) == PHASE_WAITING && !r->doubtful;
}

/** Whether the network thread has given up. */
static inline bool ledger_request_abandoned(struct ledger_request *r)
{
    return atomic_load(&r->phase) == PHASE_ABANDONED;
}

/** Ledger thread: gives it back; it must not be touched afterwards. */
static inline void ledger_request_answer(struct ledger_request *r, enum ledger_status status)
{
    r->status = status == LEDGER_UNAVAILABLE && r->doubtful ? LEDGER_UNKNOWN : status;
    atomic_exchange(&r->phase, PHASE_DONE);
    mailbox_post(r->answers, &r->node);
}

#endif
