/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * One shopper's life. See shopper.h. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "shopper.h"

enum {
    RETRY_FIRST_MS = 100,    /* after a connection that failed; doubles with each try … */
    RETRY_LAST_MS = 2000,    /* … up to this */
    CANCEL_AFTER_MS = 1500,  /* a shopper who cancels thinks for up to this long */
    LATENCIES_FIRST = 16384, /* room for measured answers; doubles as needed */
};

static int64_t milliseconds(int64_t ms)
{
    return ms * 1000;
}

/* Between half of `span` and all of it: shoppers do not act in step. */
static int64_t jitter(int64_t span)
{
    return span / 2 + random() % (span / 2 + 1);
}

void shopper_init(struct shopper *shopper, unsigned number, int64_t due)
{
    *shopper = (struct shopper){.number = number, .fd = -1, .due = due};
}

static int quantity_of(const struct shop *shop, const struct shopper *shopper)
{
    return 1 + (int)(shopper->number % (unsigned)shop->quantity_max);
}

/* Spreads a trait over shoppers without making neighbours alike. */
static bool has_trait(const struct shopper *shopper, unsigned salt, int percent)
{
    uint32_t mixed = (shopper->number + salt) * 2654435761U;
    return (int)((mixed >> 16) % 100) < percent;
}

static void hang_up(struct shopper *shopper)
{
    if (shopper->fd >= 0)
        close(shopper->fd);
    shopper->fd = -1;
}

static void leave(struct shopper *shopper)
{
    hang_up(shopper);
    shopper->state = SHOPPER_GONE;
}

static void wait_until(struct shopper *shopper, int64_t due)
{
    shopper->state = SHOPPER_AWAY;
    shopper->due = due;
}

static const char *wish_name(enum shopper_wish wish)
{
    static const char *const names[] = {"reserve", "replay", "cancel"};
    return names[wish];
}

/* One line per request: a status of 0 means that the outcome is not known. */
static void remember(struct shop *shop, const struct shopper *shopper, const char *type)
{
    if (shop->history == NULL)
        return;
    const struct answer *answer = &shopper->answer;
    bool known = answer->head != 0 && answer->length == answer->head + answer->body;
    fprintf(shop->history,
            "{\"user\":\"%s%u\",\"sale\":%d,\"op\":\"%s\",\"key\":\"key-%u\",\"quantity\":%d,"
            "\"invoked\":%" PRId64 ",\"answered\":%" PRId64
            ",\"status\":%d,\"type\":\"%s\",\"id\":\"%s\","
            "\"hash\":\"%016" PRIx64 "\",\"final\":%s}\n",
            shop->prefix, shopper->number, shop->sale, wish_name(shopper->wish), shopper->number,
            quantity_of(shop, shopper), shopper->invoked_wall, crowd_wall(),
            known ? answer->status : 0, type, shopper->id, known ? answer_hash(answer) : 0,
            shopper->last_word ? "true" : "false");
}

/* No answer came: the outcome is unknown, so the same request is made again, later and on a new
 * connection. */
static void try_again(struct shop *shop, struct shopper *shopper, enum shopper_break how)
{
    shop->broken[how]++;
    remember(shop, shopper, "");
    hang_up(shopper);
    unsigned shift = shopper->tries < 6 ? shopper->tries : 6;
    int64_t pause = milliseconds(RETRY_FIRST_MS) << shift;
    if (pause > milliseconds(RETRY_LAST_MS))
        pause = milliseconds(RETRY_LAST_MS);
    shopper->tries++;
    wait_until(shopper, crowd_now() + jitter(pause));
}

static void watch(struct shop *shop, struct shopper *shopper, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = shopper};
    epoll_ctl(shop->epoll, operation, shopper->fd, &event);
}

static void send_request(struct shop *shop, struct shopper *shopper)
{
    char text[640];
    int length;
    if (shopper->wish == WISH_CANCEL) {
        length = snprintf(text, sizeof text,
                          "DELETE /v1/reservations/%s HTTP/1.1\r\nHost: shop.test\r\n"
                          "X-Dropgate-User: %s%u\r\n\r\n",
                          shopper->id, shop->prefix, shopper->number);
    } else {
        char body[32];
        int size = snprintf(body, sizeof body, "{\"quantity\":%d}", quantity_of(shop, shopper));
        length = snprintf(text, sizeof text,
                          "POST /v1/sales/%d/reservations HTTP/1.1\r\nHost: shop.test\r\n"
                          "X-Dropgate-User: %s%u\r\nIdempotency-Key: key-%u\r\n"
                          "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                          shop->sale, shop->prefix, shopper->number, shopper->number, size, body);
    }
    shop->requests++;
    shopper->state = SHOPPER_ANSWER;
    if (send(shopper->fd, text, (size_t)length, MSG_NOSIGNAL) != length)
        try_again(shop, shopper, BREAK_RESET);
    else
        watch(shop, shopper, EPOLL_CTL_MOD, EPOLLIN | EPOLLRDHUP);
}

static void begin_request(struct shop *shop, struct shopper *shopper)
{
    answer_reset(&shopper->answer);
    shopper->invoked = crowd_now();
    shopper->invoked_wall = crowd_wall();
    shopper->due = shopper->invoked + shop->timeout;
    shopper->last_word = shop->at_rest;
    if (shopper->fd >= 0) {
        send_request(shop, shopper);
        return;
    }
    shopper->state = SHOPPER_CONNECTING;
    shopper->fd = crowd_connect(&shop->target, shopper->number);
    if (shopper->fd < 0)
        try_again(shop, shopper, BREAK_CONNECT);
    else
        watch(shop, shopper, EPOLL_CTL_ADD, EPOLLOUT);
}

static void set_refused(struct shop *shop, struct shopper *shopper, bool refused)
{
    if (shopper->refused != refused)
        shop->holding_off += refused ? 1 : -1U;
    shopper->refused = refused;
}

void shopper_on_time(struct shop *shop, struct shopper *shopper)
{
    if (shopper->state == SHOPPER_CONNECTING || shopper->state == SHOPPER_ANSWER) {
        try_again(shop, shopper, BREAK_TIMEOUT);
        return;
    }
    if (!shopper->arrived)
        shop->arrived++;
    shopper->arrived = true;
    begin_request(shop, shopper);
}

void shopper_on_rest(struct shopper *shopper)
{
    if (shopper->state != SHOPPER_AWAY)
        return;
    if (shopper->refused)
        shopper->due = crowd_now() + random() % 500000;
    else if (shopper->wish == WISH_CANCEL && shopper->tries == 0)
        leave(shopper); /* what it gave back now, others would have been refused already */
}

static void measure(struct shop *shop, int64_t microseconds)
{
    if (shop->latencies == shop->latency_room) {
        shop->latency_room = shop->latency_room != 0 ? 2 * shop->latency_room : LATENCIES_FIRST;
        shop->latency = realloc(shop->latency, shop->latency_room * sizeof *shop->latency);
        if (shop->latency == NULL)
            abort();
    }
    shop->latency[shop->latencies++] = (uint32_t)microseconds;
}

/* The reservation's id, or the last part of the problem's type, from the body. */
static void read_body(const struct answer *answer, const char *name, char *out, size_t room)
{
    json_t *body = json_loadb(answer_body(answer), answer->body, 0, NULL);
    const char *text = json_string_value(json_object_get(body, name));
    if (text != NULL) {
        const char *slash = strrchr(text, '/');
        snprintf(out, room, "%s", slash != NULL ? slash + 1 : text);
    }
    json_decref(body);
}

/* A reservation is ours: what this shopper does with it is decided by its traits. */
static void on_granted(struct shop *shop, struct shopper *shopper)
{
    set_refused(shop, shopper, false);
    if (!shopper->granted) {
        shop->granted++;
        shopper->granted = true;
        shopper->first_hash = answer_hash(&shopper->answer);
    } else if (shopper->first_hash != answer_hash(&shopper->answer)) {
        shop->changed++;
    }
    shopper->tries = 0;
    if (shopper->wish == WISH_RESERVE && has_trait(shopper, 1, shop->replay_percent)) {
        shopper->wish = WISH_REPLAY;
        wait_until(shopper, crowd_now() + jitter(milliseconds(RETRY_FIRST_MS)));
    } else if (!shop->at_rest && has_trait(shopper, 2, shop->cancel_percent)) {
        shopper->wish = WISH_CANCEL;
        wait_until(shopper, crowd_now() + jitter(milliseconds(CANCEL_AFTER_MS)));
    } else {
        leave(shopper);
    }
}

/* What Retry-After asks for (a second without it), within the shopper's patience. */
static int64_t asked_pause(const struct shop *shop, const struct answer *answer)
{
    int64_t pause =
        milliseconds(INT64_C(1000) * (answer->retry_after > 0 ? answer->retry_after : 1));
    return pause < shop->patience ? pause : shop->patience;
}

static void on_refused(struct shop *shop, struct shopper *shopper)
{
    const struct answer *answer = &shopper->answer;
    set_refused(shop, shopper, true);
    shopper->tries = 0;
    /* Only a request that was sent after the rest began is the last one. */
    if (shopper->last_word) {
        shop->refused_for_good++;
        set_refused(shop, shopper, false);
        leave(shopper);
        return;
    }
    wait_until(shopper, crowd_now() + jitter(asked_pause(shop, answer)));
}

static void fail(struct shop *shop, struct shopper *shopper)
{
    set_refused(shop, shopper, false);
    shop->failed++;
    leave(shopper);
}

static void on_answer(struct shop *shop, struct shopper *shopper)
{
    const struct answer *answer = &shopper->answer;
    char type[40] = "";
    int status = answer->status;
    shop->status[status < 600 ? status : 0]++;
    if (!shopper->answered)
        shop->first_answers++;
    shopper->answered = true;
    if (shopper->wish != WISH_CANCEL)
        measure(shop, crowd_now() - shopper->invoked);
    if (status == 201)
        read_body(answer, "id", shopper->id, sizeof shopper->id);
    else if (answer->body > 0)
        read_body(answer, "type", type, sizeof type);
    remember(shop, shopper, type);
    /* Half of the crowd keeps its connection, the other half opens one for each request. */
    if (answer->close || has_trait(shopper, 3, 50))
        hang_up(shopper);
    else
        watch(shop, shopper, EPOLL_CTL_MOD, EPOLLRDHUP);

    if (status == 201) {
        on_granted(shop, shopper);
    } else if (status == 204) {
        shop->cancelled++;
        leave(shopper);
    } else if (shopper->wish == WISH_CANCEL && (status == 404 || status == 409)) {
        leave(shopper);
    } else if (status == 409 && strcmp(type, "limit-reached") != 0) {
        on_refused(shop, shopper);
    } else if (status == 403 || status == 429 || status >= 500) {
        shopper->tries++;
        wait_until(shopper, crowd_now() + jitter(asked_pause(shop, answer)));
    } else {
        fail(shop, shopper);
    }
}

static void on_readable(struct shop *shop, struct shopper *shopper)
{
    struct answer *answer = &shopper->answer;
    ssize_t got =
        recv(shopper->fd, answer->bytes + answer->length, ANSWER_ROOM - answer->length, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        try_again(shop, shopper, got < 0 ? BREAK_RESET : BREAK_CLOSED);
        return;
    }
    answer->length += (size_t)got;
    int whole = answer_look(answer);
    if (whole > 0)
        on_answer(shop, shopper);
    else if (whole < 0)
        fail(shop, shopper);
}

void shopper_on_event(struct shop *shop, struct shopper *shopper, uint32_t events)
{
    if (shopper->state == SHOPPER_CONNECTING) {
        if (events & (EPOLLERR | EPOLLHUP))
            try_again(shop, shopper, BREAK_CONNECT);
        else
            send_request(shop, shopper);
    } else if (shopper->state == SHOPPER_ANSWER) {
        on_readable(shop, shopper);
    } else {
        hang_up(shopper); /* an idle connection was closed: nothing was lost */
    }
}

void shopper_give_up(struct shop *shop, struct shopper *shopper)
{
    if (shopper->state == SHOPPER_GONE)
        return;
    remember(shop, shopper, "");
    fail(shop, shopper);
}
