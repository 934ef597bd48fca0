/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Retry-After is spread at random, so that those who were refused together do not come back
 * together. */
#include "control/api/handlers.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "control/api/body.h"
#include "control/api/identity.h"
#include "control/api/payment_handlers.h"
#include "control/api/token.h"
#include "control/clock.h"
#include "control/ledger/key.h"

/* Seconds, from and how many more at most. */
enum {
    RETRY_SOON = 1,
    RETRY_SOON_SPREAD = 2,
    RETRY_HELD = 2, /* holds are outstanding; a cancelled one is back at once */
    RETRY_HELD_SPREAD = 3,
    RETRY_OPENING_SPREAD = 2,
    RETRY_OPENING_MAX =
        3600, /* the opening may be brought forward, so nobody is sent away for longer */
};

static int retry(struct network *n, int from, int spread)
{
    return from + (int)network_random(n, (uint32_t)spread + 1);
}

static int retry_soon(struct network *n)
{
    return retry(n, RETRY_SOON, RETRY_SOON_SPREAD);
}

/* ---- heads ---- */

int handler_retry_soon(struct network *n)
{
    return retry_soon(n);
}

void handler_refuse(struct exchange *x, enum problem problem, const char *detail)
{
    x->refused = true;
    x->problem = problem;
    x->detail = detail;
}

static void refuse(struct exchange *x, enum problem problem, const char *detail)
{
    handler_refuse(x, problem, detail);
}

static void read_trusted_header(const char *name, const struct http1_head *head, struct exchange *x)
{
    struct http1_slice user;
    switch (identity_user(head, name, &user)) {
    case IDENTITY_GOOD:
        memcpy(x->request->user, user.at, user.length);
        x->request->user_length = (uint8_t)user.length;
        return;
    case IDENTITY_MISSING:
        refuse(x, PROBLEM_IDENTITY_REQUIRED, "The user header is missing or empty.");
        return;
    case IDENTITY_REPEATED:
        refuse(x, PROBLEM_BAD_USER, "The user header stands more than once.");
        return;
    case IDENTITY_TOO_LONG:
        refuse(x, PROBLEM_BAD_USER, "The user is longer than 255 bytes.");
        return;
    default:
        refuse(x, PROBLEM_BAD_USER, "The user is not UTF-8 text without control characters.");
        return;
    }
}

static void read_token(const struct token_keys *keys, const struct http1_head *head,
                       struct exchange *x)
{
    struct http1_slice token;
    size_t length = 0;
    switch (identity_bearer(head, &token)) {
    case IDENTITY_GOOD: break;
    case IDENTITY_MISSING:
        refuse(x, PROBLEM_IDENTITY_REQUIRED, "Send a token: Authorization: Bearer and the token.");
        return;
    case IDENTITY_REPEATED:
        refuse(x, PROBLEM_INVALID_TOKEN, "The header Authorization stands more than once.");
        return;
    default: refuse(x, PROBLEM_INVALID_TOKEN, token_reason(TOKEN_MALFORMED)); return;
    }
    enum token_result result =
        token_verify(keys, token.at, token.length, time(NULL), x->request->user, &length);
    x->request->user_length = (uint8_t)length;
    if (result != TOKEN_GOOD)
        refuse(x, PROBLEM_INVALID_TOKEN, token_reason(result));
}

static void read_user(struct network *n, const struct http1_head *head, struct exchange *x)
{
    const struct control_settings *settings = &n->context->settings->control;
    switch ((enum identity_mode)settings->identity) {
    case IDENTITY_NONE:
        refuse(x, PROBLEM_IDENTITY_REQUIRED,
               "This service has no way of identifying users configured.");
        return;
    case IDENTITY_HEADER: read_trusted_header(settings->user_header, head, x); return;
    case IDENTITY_JWT: read_token(n->context->tokens, head, x); return;
    }
}

/* RFC 9110 section 15.5.2 wants a challenge beside a 401; RFC 6750 section 3 says which. */
static void challenge(struct network *n, const struct exchange *x, struct reply *reply)
{
    bool events = x->match.route == ROUTE_EVENTS;
    bool bearer = events || n->context->settings->control.identity == IDENTITY_JWT;
    char text[256];
    snprintf(text, sizeof text, "%s realm=\"%s\"%s%s%s", bearer ? "Bearer" : "Dropgate",
             events ? "events" : "reservations",
             x->problem == PROBLEM_INVALID_TOKEN ? ", error=\"invalid_token\", error_description=\""
                                                 : "",
             x->problem == PROBLEM_INVALID_TOKEN ? x->detail : "",
             x->problem == PROBLEM_INVALID_TOKEN ? "\"" : "");
    reply_field(reply, "WWW-Authenticate", text);
}

static void read_key(const struct http1_head *head, struct exchange *x)
{
    struct idempotency_key key;
    struct ledger_request *r = x->request;
    switch (idempotency_key(head, &key)) {
    case IDENTITY_GOOD:
        if (r->kind == LEDGER_PAY ? payment_key(x, key.bytes, key.length)
                                  : key_reservation_id(r->user, r->user_length, x->match.sale,
                                                       key.bytes, key.length, r->id))
            refuse(x, PROBLEM_INTERNAL, NULL);
        return;
    case IDENTITY_MISSING:
        refuse(x, PROBLEM_MISSING_KEY,
               "Send a new key per purchase, and the same one when repeating it.");
        return;
    case IDENTITY_REPEATED:
        refuse(x, PROBLEM_BAD_KEY, "The header Idempotency-Key stands more than once.");
        return;
    case IDENTITY_TOO_LONG: refuse(x, PROBLEM_BAD_KEY, "The key is longer than 255 bytes."); return;
    default:
        refuse(x, PROBLEM_BAD_KEY,
               "The key is neither a quoted string nor visible ASCII without commas.");
        return;
    }
}

/* Absent is accepted; another type is a mistake that would otherwise show as bad JSON. */
static bool is_json(const struct http1_head *head)
{
    static const char json[] = "application/json";
    size_t count = 0, length = sizeof json - 1;
    const struct http1_slice *type = http1_find(head, "Content-Type", &count);
    if (!type)
        return true;
    if (count > 1 || type->length < length || strncasecmp(type->at, json, length) != 0)
        return false;
    return type->length == length || type->at[length] == ';' || type->at[length] == ' ' ||
           type->at[length] == '\t';
}

static void read_ledger_head(struct network *n, const struct http1_head *head, struct exchange *x)
{
    x->request = pool_take(&n->pool);
    if (!x->request) {
        refuse(x, PROBLEM_BUSY, "Memory is short.");
        return;
    }
    struct ledger_request *r = x->request;
    r->kind = x->match.route == ROUTE_RESERVE  ? LEDGER_RESERVE
              : x->match.route == ROUTE_CANCEL ? LEDGER_CANCEL
              : x->match.route == ROUTE_PAY    ? LEDGER_PAY
                                               : LEDGER_READ;
    r->sale = x->match.sale;
    memcpy(r->id, x->match.reservation, sizeof r->id);
    read_user(n, head, x);
    if (x->refused || (r->kind != LEDGER_RESERVE && r->kind != LEDGER_PAY))
        return;
    x->wants_body = true;
    read_key(head, x);
    if (!x->refused && !is_json(head))
        refuse(x, PROBLEM_MEDIA_TYPE, NULL);
}

/* Events are for systems, whoever the shoppers are. */
static void read_events_head(struct network *n, const struct http1_head *head, struct exchange *x)
{
    const struct events_token *token = n->context->events_token;
    struct http1_slice sent;
    if (!token) {
        refuse(x, PROBLEM_EVENTS_OFF, "No token is configured: [events] token_file.");
        return;
    }
    enum identity_result result = identity_bearer(head, &sent);
    if (result == IDENTITY_MISSING)
        refuse(x, PROBLEM_IDENTITY_REQUIRED,
               "Send the token: Authorization: Bearer and the token.");
    else if (result != IDENTITY_GOOD || !events_token_is(token, &sent))
        refuse(x, PROBLEM_INVALID_TOKEN, "This is not the token for events.");
    else if (!(x->request = pool_take(&n->pool)))
        refuse(x, PROBLEM_BUSY, "Memory is short.");
    if (x->refused)
        return;
    x->request->kind = LEDGER_EVENTS;
    const char *wrong = events_parse(&head->query, &x->request->page);
    if (wrong)
        refuse(x, PROBLEM_BAD_QUERY, wrong);
}

static void read_condition(const struct http1_head *head, struct exchange *x)
{
    size_t count = 0;
    const struct http1_slice *value = http1_find(head, "If-None-Match", &count);
    if (!value || count != 1 || value->length > sizeof x->condition)
        return;
    memcpy(x->condition, value->at, value->length);
    x->condition_length = value->length;
}

/* What the operators' rules say, before anything is done for it. Whoever watches over the process
 * is always answered. */
static bool admitted(struct network *n, const struct http1_head *head, struct exchange *x)
{
    struct timespec t;
    if (x->match.route == ROUTE_HEALTH || x->match.route == ROUTE_READY)
        return true;
    clock_gettime(CLOCK_REALTIME, &t);
    int64_t unix_ms = t.tv_sec * INT64_C(1000) + t.tv_nsec / NANOSECONDS_PER_MS;
    x->by_rule = !admission_ask(n->context->admission, head, unix_ms, clock_now(),
                                network_random(n, UINT32_MAX), &x->rule);
    if (x->by_rule)
        refuse(x, x->rule.problem, NULL);
    return !x->by_rule;
}

void handler_head(struct network *n, const struct http1_head *head, struct exchange *x)
{
    memset(x, 0, offsetof(struct exchange, condition));
    x->keep_alive = head->keep_alive;
    x->http_1_0 = head->minor == 0;
    route_match(&head->method, &head->path, &x->match);
    if (!admitted(n, head, x))
        return;
    switch (x->match.route) {
    case ROUTE_NONE: refuse(x, PROBLEM_NOT_FOUND, NULL); break;
    case ROUTE_METHOD: refuse(x, PROBLEM_METHOD_NOT_ALLOWED, NULL); break;
    case ROUTE_ITEM:
    case ROUTE_SALE: read_condition(head, x); break;
    case ROUTE_RESERVE:
    case ROUTE_RESERVATION:
    case ROUTE_CANCEL: read_ledger_head(n, head, x); break;
    case ROUTE_EVENTS: read_events_head(n, head, x); break;
    case ROUTE_PAY:
        if (payment_head(n, x))
            read_ledger_head(n, head, x);
        break;
    case ROUTE_WEBHOOK: payment_webhook_head(n, head, x); break;
    default: break;
    }
}

/* ---- complete messages ---- */

/* Our tags hold no quote or comma, so one that stands in the list with its quotes is in the list.
 * Weak comparison (RFC 9110 section 13.1.2), so W/ before it does not matter. */
static bool condition_names(const struct exchange *x, const char *etag)
{
    if (x->condition_length == 1 && x->condition[0] == '*')
        return true;
    return x->condition_length > 0 && memmem(x->condition, x->condition_length, etag, strlen(etag));
}

static void reply_view(const struct exchange *x, const struct view *view, const char *cache,
                       struct reply *reply)
{
    if (condition_names(x, view->etag))
        reply_begin(reply, 304, NULL, cache, NULL, 0);
    else
        reply_begin(reply, 200, "application/json", cache, view->body, view->length);
    reply_field(reply, "ETag", view->etag);
}

static void reply_text(struct reply *reply, int status, const char *text)
{
    reply_begin(reply, status, "text/plain; charset=utf-8", "no-store", text, strlen(text));
}

static void complete_ready(struct network *n, struct reply *reply)
{
    if (atomic_load(&n->server->phase) == SERVER_RUNNING)
        reply_text(reply, 200, "ready\n");
    else
        reply_problem(reply, PROBLEM_DRAINING, NULL, REPLY_NO_RETRY);
}

static void complete_view(struct network *n, const struct exchange *x, struct reply *reply)
{
    const struct catalog_generation *g = catalog_current(n->context->catalog);
    const struct catalog_item *item = NULL;
    const struct catalog_sale *sale = NULL;
    if (!g) {
        reply_problem(reply, PROBLEM_STARTING, "The catalogue has not been read yet.",
                      retry_soon(n));
    } else if (x->match.route == ROUTE_ITEM) {
        if ((item = catalog_find_item(g, x->match.item)))
            reply_view(x, &item->view, "public, max-age=5", reply);
        else
            reply_problem(reply, PROBLEM_NO_ITEM, NULL, REPLY_NO_RETRY);
    } else {
        if ((sale = catalog_find_sale(g, x->match.sale)))
            reply_view(x, &sale->view, "public, max-age=1", reply);
        else
            reply_problem(reply, PROBLEM_NO_SALE, NULL, REPLY_NO_RETRY);
    }
}

static void not_open(struct network *n, const struct catalog_sale *sale, int64_t now,
                     struct reply *reply)
{
    int64_t seconds =
        sale->closed_till > now ? (sale->closed_till - now) / NANOSECONDS_PER_S + 1 : 0;
    if (seconds > RETRY_OPENING_MAX)
        seconds = RETRY_OPENING_MAX;
    reply_not_open(reply, sale->opens_at, retry(n, (int)seconds + 1, RETRY_OPENING_SPREAD));
}

/* Puts the request into the ledger's hands, or says why not. */
static enum handler_verdict ask(struct network *n, struct exchange *x, uint64_t handle,
                                struct lane *lane, struct reply *reply)
{
    struct ledger_request *r = x->request;
    r->handle = handle;
    r->answers = &n->answers;
    r->invoked = clock_now();
    bool events = r->kind == LEDGER_EVENTS;
    int status = lane     ? ledger_offer(n->context->ledger, lane, r)
                 : events ? outbox_offer(n->context->outbox, r)
                          : lookup_offer(n->context->lookup, r);
    if (!status)
        return HANDLER_ASKED;
    reply_problem(reply, PROBLEM_BUSY,
                  events ? "Ask again." : "Nothing happened. Repeat with the same key.",
                  retry_soon(n));
    return HANDLER_REPLY;
}

static enum handler_verdict complete_reserve(struct network *n, struct exchange *x,
                                             const char *body, size_t length, uint64_t handle,
                                             struct reply *reply)
{
    struct ledger_request *r = x->request;
    const struct catalog_generation *g = catalog_current(n->context->catalog);
    const struct catalog_sale *sale = g ? catalog_find_sale(g, x->match.sale) : NULL;
    const char *wrong = body_parse(body, length, &r->quantity);
    int64_t now = clock_now();
    /* A reading older than two refreshes and two seconds may have missed an edit of the opening. */
    int64_t max_age = (n->context->settings->catalog.refresh * 2 + 2000) * NANOSECONDS_PER_MS;
    if (wrong)
        reply_problem(reply, PROBLEM_BAD_BODY, wrong, REPLY_NO_RETRY);
    else if (!g)
        reply_problem(reply, PROBLEM_STARTING, "The catalogue has not been read yet.",
                      retry_soon(n));
    else if (!sale)
        reply_problem(reply, PROBLEM_NO_SALE, NULL, REPLY_NO_RETRY);
    else if (catalog_not_open(g, sale, now, max_age))
        not_open(n, sale, now,
                 reply); /* no grant can exist before the opening, so no replay is refused here */
    else if (key_fingerprint(r->quantity, r->fingerprint))
        reply_problem(reply, PROBLEM_INTERNAL, NULL, REPLY_NO_RETRY);
    else
        return ask(n, x, handle, sale->lane, reply);
    return HANDLER_REPLY;
}

enum handler_verdict handler_complete(struct network *n, struct exchange *x, const char *body,
                                      size_t length, uint64_t handle, struct reply *reply)
{
    if (x->by_rule && x->problem == PROBLEM_NOT_OPEN) {
        reply_not_open(reply, x->rule.opens_at, x->rule.retry_after);
        return HANDLER_REPLY;
    }
    if (x->by_rule) {
        reply_problem(reply, x->problem, NULL, x->rule.retry_after);
        return HANDLER_REPLY;
    }
    if (x->refused) {
        reply_problem(reply, x->problem, x->detail,
                      x->problem == PROBLEM_BUSY ? retry_soon(n) : REPLY_NO_RETRY);
        if (x->problem == PROBLEM_METHOD_NOT_ALLOWED)
            reply_field(reply, "Allow", x->match.allow);
        if (x->problem == PROBLEM_IDENTITY_REQUIRED || x->problem == PROBLEM_INVALID_TOKEN)
            challenge(n, x, reply);
        return HANDLER_REPLY;
    }
    switch (x->match.route) {
    case ROUTE_HEALTH: reply_text(reply, 200, "ok\n"); return HANDLER_REPLY;
    case ROUTE_READY: complete_ready(n, reply); return HANDLER_REPLY;
    case ROUTE_RESERVE: return complete_reserve(n, x, body, length, handle, reply);
    case ROUTE_EVENTS:
    case ROUTE_RESERVATION:
    case ROUTE_CANCEL: return ask(n, x, handle, NULL, reply);
    case ROUTE_PAY: return payment_complete(n, x, body, length, handle, reply);
    case ROUTE_WEBHOOK: return payment_webhook_complete(n, x, body, length, handle, reply);
    default: complete_view(n, x, reply); return HANDLER_REPLY;
    }
}

/* ---- the ledger's answers ---- */

/* The database refused it as too early; when it opens is in the catalogue, if that still names the
 * sale. */
static void answer_not_open(struct network *n, const struct ledger_request *r, struct reply *reply)
{
    catalog_enter(n->context->catalog);
    const struct catalog_generation *g = catalog_current(n->context->catalog);
    const struct catalog_sale *sale = g ? catalog_find_sale(g, r->sale) : NULL;
    if (sale)
        not_open(n, sale, clock_now(), reply);
    else
        reply_problem(reply, PROBLEM_NOT_OPEN, NULL, retry_soon(n));
    catalog_leave(n->context->catalog);
}

static void answer_not_found(const struct ledger_request *r, struct reply *reply)
{
    reply_problem(reply, r->kind == LEDGER_RESERVE ? PROBLEM_NO_SALE : PROBLEM_NO_RESERVATION, NULL,
                  REPLY_NO_RETRY);
}

/* What the reader needs to go on, in words; the number stands alone in them. */
static void answer_position(const struct ledger_request *r, struct reply *reply)
{
    bool gone = r->status == LEDGER_PAGE_GONE;
    char detail[128];
    snprintf(detail, sizeof detail,
             gone ? "Go on after=%" PRId64 ", and know that some are missing."
                  : "The last position is %" PRId64 ": the database may have been restored.",
             r->page.place);
    reply_problem(reply, gone ? PROBLEM_EVENTS_GONE : PROBLEM_POSITION_AHEAD, detail,
                  REPLY_NO_RETRY);
}

void handler_answer(struct network *n, const struct exchange *x, const struct ledger_request *r,
                    struct reply *reply)
{
    switch (r->status) {
    case LEDGER_GRANTED: reply_granted(reply, r->id, &r->grant); return;
    case LEDGER_FOUND: reply_reservation(reply, x->match.reservation, &r->grant, r->state); return;
    case LEDGER_CANCELLED: reply_begin(reply, 204, NULL, "no-store", NULL, 0); return;
    case LEDGER_NOT_OPEN: answer_not_open(n, r, reply); return;
    case LEDGER_NOT_FOUND: answer_not_found(r, reply); return;
    case LEDGER_LIMIT: reply_problem(reply, PROBLEM_LIMIT_REACHED, NULL, REPLY_NO_RETRY); return;
    case LEDGER_ATTEMPTS: reply_problem(reply, PROBLEM_ATTEMPTS_USED, NULL, REPLY_NO_RETRY); return;
    case LEDGER_SOLD_OUT: reply_problem(reply, PROBLEM_SOLD_OUT, NULL, REPLY_NO_RETRY); return;
    case LEDGER_SOLD_OUT_HELD:
        reply_problem(reply, PROBLEM_SOLD_OUT, "Some are held and not paid; they may come back.",
                      retry(n, RETRY_HELD, RETRY_HELD_SPREAD));
        return;
    case LEDGER_INSUFFICIENT:
        reply_problem(reply, PROBLEM_INSUFFICIENT_STOCK, NULL, REPLY_NO_RETRY);
        return;
    case LEDGER_KEY_REUSED: reply_problem(reply, PROBLEM_KEY_REUSED, NULL, REPLY_NO_RETRY); return;
    case LEDGER_KEY_IN_FLIGHT:
        reply_problem(reply, PROBLEM_KEY_IN_FLIGHT, NULL, retry_soon(n));
        return;
    case LEDGER_CLOSED: reply_problem(reply, PROBLEM_SALE_CLOSED, NULL, REPLY_NO_RETRY); return;
    case LEDGER_PAGE:
        reply_begin(reply, 200, "application/json", "private, no-store", r->page.body,
                    r->page.length);
        return;
    case LEDGER_PAGE_GONE:
    case LEDGER_PAGE_AHEAD: answer_position(r, reply); return;
    case LEDGER_WRONG_STATE:
        reply_problem(reply, PROBLEM_WRONG_STATE, NULL, REPLY_NO_RETRY);
        return;
    case LEDGER_UNKNOWN: handler_deadline(n, x, r->kind, false, reply); return;
    case LEDGER_UNAVAILABLE:
        reply_problem(reply, PROBLEM_LEDGER_UNAVAILABLE,
                      r->kind == LEDGER_EVENTS ? "Ask again."
                                               : "Nothing happened. Repeat with the same key.",
                      retry_soon(n));
        return;
    default:
        if (!payment_answer(x, r, reply))
            reply_problem(reply, PROBLEM_INTERNAL, NULL, REPLY_NO_RETRY);
    }
}

void handler_deadline(struct network *n, const struct exchange *x, enum ledger_kind kind,
                      bool waiting, struct reply *reply)
{
    if (payment_deadline(n, x, kind, waiting, reply))
        return;
    if (waiting || kind == LEDGER_READ || kind == LEDGER_EVENTS)
        reply_problem(reply, PROBLEM_LEDGER_UNAVAILABLE, "Nothing happened. Ask again.",
                      retry_soon(n));
    else if (kind == LEDGER_CANCEL)
        reply_problem(reply, PROBLEM_OUTCOME_UNKNOWN,
                      "Repeat the request; cancelling twice does no harm.", retry_soon(n));
    else
        reply_problem(reply, PROBLEM_OUTCOME_UNKNOWN, "Repeat with the same key to learn it.",
                      retry_soon(n));
}

void handler_malformed(enum http1_error error, struct reply *reply)
{
    static const struct {
        int status;
        enum problem problem;
    } BY_STATUS[] = {{413, PROBLEM_BODY_TOO_LARGE},  {414, PROBLEM_TARGET_TOO_LONG},
                     {417, PROBLEM_EXPECTATION},     {431, PROBLEM_HEAD_TOO_LARGE},
                     {501, PROBLEM_NOT_IMPLEMENTED}, {505, PROBLEM_VERSION}};
    enum problem problem = PROBLEM_BAD_REQUEST;
    for (size_t i = 0; i < sizeof BY_STATUS / sizeof *BY_STATUS; i++)
        if (BY_STATUS[i].status == http1_error_status(error))
            problem = BY_STATUS[i].problem;
    reply_problem(reply, problem, http1_error_name(error), REPLY_NO_RETRY);
}
