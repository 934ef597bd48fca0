/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Each statement by its number, its name and its SQL: calls of functions, whose rules are in
 * sql/functions. */
#include "control/ledger/statements.h"

const struct session_statement STATEMENTS[LINK_STATEMENTS] = {
    [LINK_RESERVE] =
        {"reserve_arrays",
         "SELECT status, granted_at, expires_at, unit_price, currency, render, repeated, "
         "repeated_quantity, repeated_granted_at, repeated_expires_at, repeated_unit_price, "
         "repeated_currency, repeated_render FROM dropgate.reserve_arrays($1, $2, $3, $4, $5)"},
    [LINK_READ] =
        {"reservation_get",
         "SELECT sale, quantity, unit_price, currency, state, granted_at, expires_at, render "
         "FROM dropgate.reservation_get($1, $2)"},
    [LINK_CANCEL] = {"reservation_cancel", "SELECT dropgate.reservation_cancel($1, $2)"},
    [LINK_CATALOG] =
        {"catalog", "SELECT sale, item, title, description, total, avail, held, per_user, hold_ms, "
                    "unit_price, currency, opens_at, closes_at, state, clock_timestamp() "
                    "FROM dropgate.catalog() ORDER BY sale"},
    [LINK_RELAY] = {"outbox_relay", "SELECT dropgate.outbox_relay($1, $2)"},
    [LINK_FORGET] = {"outbox_forget", "SELECT dropgate.outbox_forget()"},
    [LINK_EVENTS] = {"events_read",
                     "SELECT status, place, event FROM dropgate.events_read($1, $2, $3)"},
    [LINK_EVENTS_LAST] = {"events_last", "SELECT dropgate.events_last()"},
    [LINK_PAY_BEGIN] = {"payment_begin",
                        "SELECT status, state, amount, currency, action, reason, placed "
                        "FROM dropgate.payment_begin($1, $2, $3, $4, $5, $6)"},
    [LINK_PAY_AUTHORISED] = {"payment_authorised", "SELECT dropgate.payment_authorised($1, $2)"},
    [LINK_PAY_DECLINED] = {"payment_declined", "SELECT dropgate.payment_declined($1, $2)"},
    [LINK_PAY_VOIDED] = {"payment_voided", "SELECT dropgate.payment_voided($1, $2)"},
    [LINK_PAY_UNKNOWN] = {"payment_unknown", "SELECT dropgate.payment_unknown($1, $2)"},
    [LINK_PAY_CAPTURED] = {"payment_captured", "SELECT dropgate.payment_captured($1)"},
    [LINK_PAY_REFUNDED] = {"payment_refunded", "SELECT dropgate.payment_refunded($1)"},
    [LINK_PAY_ACTION] = {"payment_action", "SELECT dropgate.payment_action($1, $2, $3)"},
    [LINK_PAY_CHECKED] = {"payment_checked", "SELECT dropgate.payment_checked($1, $2)"},
    [LINK_PAY_DUE] = {"payment_due", "SELECT attempt, reservation, state, amount, currency, tries "
                                     "FROM dropgate.payment_due($1, $2)"},
    [LINK_PAY_WEBHOOK] = {"payment_webhook", "SELECT dropgate.payment_webhook($1, $2, $3)"},
    [LINK_PAY_PRUNE] = {"payment_prune", "SELECT dropgate.payment_prune($1, $2)"},
    [LINK_PAY_BACKLOG] = {"payment_backlog", "SELECT unknown, refunding, voiding, open, overdue_ms "
                                             "FROM dropgate.payment_backlog()"},
};
