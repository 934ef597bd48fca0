/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What a schedule's number decides, before anything happens. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/model/schedule.h"

enum { NEVER = UINT32_MAX, TEXT = 12 * 1024, ASK_ROOM = 96 * 1024 };

static uint32_t below(struct world *w, uint32_t n)
{
    return random_below(&w->random, n);
}

static bool one_in(struct world *w, uint32_t n)
{
    return below(w, n) == 0;
}

static uint32_t between(struct world *w, uint32_t low, uint32_t high)
{
    return low + below(w, high - low + 1);
}

void schedule_sizes(struct random *random, struct shard_sizes *sizes)
{
    *sizes = (struct shard_sizes){
        .flows = random_below(random, 8) == 0 ? 1 + random_below(random, 3) : 64,
        .held = random_below(random, 8) == 0 ? 1 + random_below(random, 2) : 32,
        .held_large = random_below(random, 8) == 0 ? 1 + random_below(random, 2) : 32,
        .held_bytes = 8192,
        .held_per_client = random_below(random, 8) == 0 ? 1 + random_below(random, 2) : 0,
        .tombstones = random_below(random, 8) == 0 ? 1 + random_below(random, 3) : 256,
    };
}

/* ---- hosts and links ---- */

static struct model_traits traits_of(struct world *w, bool client)
{
    static const uint8_t scales[] = {0, 2, 7, 7, 7, 10, 14};
    static const uint16_t mss[] = {1460, 1460, 1440, 1400, 1220, 536, 216, 88};
    struct model_traits t = {
        .mss = mss[below(w, sizeof mss / sizeof mss[0])],
        .scale = one_in(w, 5) ? COOKIE_NO_SCALE : scales[below(w, sizeof scales)],
        .sack = !one_in(w, 4),
        .timestamps = !one_in(w, 4),
        .duplicate_sack = !one_in(w, 2),
        .tail_probe = !one_in(w, 2),
        .probe_without_data = !one_in(w, 2),
        .lazy_ack = !one_in(w, 3),
        .keepalive_ms = one_in(w, 3) ? between(w, 2000, 20000) : 60000,
        .time_wait_ms = between(w, 9000, 15000), /* outlives what is sent again */
        .fin_wait_ms = 30000,
        .tries = 18,
    };
    t.send_mss = one_in(w, 3) ? mss[below(w, sizeof mss / sizeof mss[0])] : 1460;
    if (client && !w->split_first && w->wire != NULL && t.send_mss < 536)
        t.send_mss = 536;
    t.buffer = one_in(w, 4) ? between(w, client ? 1 : 200, 2000) : between(w, 2000, MODEL_BUFFER);
    while (t.scale != COOKIE_NO_SCALE && UINT32_C(1) << t.scale > t.buffer)
        t.scale--; /* else it could never open its window */
    return t;
}

static void start_host(struct world *w, struct model_host *host)
{
    const bool wraps = one_in(w, 3);
    model_host_start(host, wraps ? UINT32_MAX - below(w, 3000) : random_32(&w->random),
                     wraps ? UINT32_MAX - below(w, 3000) : random_32(&w->random));
}

/* What the probes would have found: no more than all backends of a family keep; or less. */
void schedule_promise(struct world *w, bool v4, bool all)
{
    struct model_traits least = {
        .mss = 1460, .scale = COOKIE_NO_SCALE, .sack = true, .timestamps = true};
    bool first = true;
    for (uint32_t i = 0; i < w->server_count; i++) {
        const struct model_traits *t = &w->servers[i].traits;
        if (addr_is_v4(&w->servers[i].address) != v4)
            continue;
        least.mss = t->mss < least.mss ? t->mss : least.mss;
        least.sack = least.sack && t->sack;
        least.timestamps = least.timestamps && t->timestamps;
        if (first || t->scale == COOKIE_NO_SCALE)
            least.scale = t->scale;
        else if (least.scale != COOKIE_NO_SCALE && t->scale < least.scale)
            least.scale = t->scale;
        first = false;
    }
    if (!all) {
        least.sack = least.sack && one_in(w, 2);
        least.timestamps = least.timestamps && one_in(w, 2);
        least.scale = one_in(w, 3) || least.scale == COOKIE_NO_SCALE
                          ? COOKIE_NO_SCALE
                          : (uint8_t)below(w, least.scale + 1U);
    }
    for (uint16_t i = v4 ? WIRE_V4 : WIRE_V6; i < 4; i = (uint16_t)(i + 2))
        wire_offer(w->wire, i, least.mss > 536 ? least.mss : 536, least.scale, least.sack,
                   least.timestamps);
}

static void plan_servers(struct world *w)
{
    struct model_traits traits = traits_of(w, false);
    uint32_t several = 1;
    if (w->wire != NULL && one_in(w, 3)) {
        several = between(w, 2, WIRE_BACKENDS);
        w->wire->family = (enum wire_family)below(w, WIRE_FAMILIES);
        wire_backends(w->wire, several);
    }
    for (uint32_t i = 0; i < 2 * several; i++) {
        if (i >= 2 && i % 2 != (uint32_t)w->wire->family)
            continue;
        struct model_host *host = world_server(w, (uint16_t)i);
        if (one_in(w, 2))
            traits = traits_of(w, false);
        host->traits = traits;
        host->traits.keepalive_ms = between(w, 5000, 20000);
        start_host(w, host);
    }
    for (int v4 = 0; v4 < 2 && w->wire != NULL; v4++)
        schedule_promise(w, v4 != 0, true);
}

static void plan_hosts(struct world *w)
{
    const uint32_t clients = between(w, 1, 3);
    const bool both = one_in(w, 3), first_v4 = one_in(w, 2);
    for (uint32_t i = 0; i < clients; i++) {
        struct model_host *host = world_client(w, both ? i % 2 == 0 : first_v4);
        host->traits = traits_of(w, true);
        start_host(w, host);
    }
    plan_servers(w);
}

static void plan_link(struct world *w, struct world_link *link, bool bad)
{
    static const uint32_t delays[] = {0, 1, 5, 20, 60};
    *link = (struct world_link){.delay_ms = delays[below(w, 5)],
                                .jitter_ms = one_in(w, 2) ? 0 : below(w, 20)};
    if (!bad)
        return;
    link->lost = one_in(w, 3) ? below(w, 250) : below(w, 50);
    link->doubled = one_in(w, 3) ? below(w, 200) : below(w, 30);
    link->late = one_in(w, 3) ? below(w, 200) : below(w, 50);
    link->late_ms = one_in(w, 4) ? 900 : 300; /* a miss that comes again after a second is reset */
    link->split = one_in(w, 3) ? below(w, 300) : 0;
}

/* ---- requests ---- */

struct text {
    uint8_t bytes[ASK_ROOM];
    uint32_t length;
};

static void put(struct text *t, const char *words)
{
    const size_t length = strlen(words);
    memcpy(t->bytes + t->length, words, length);
    t->length += (uint32_t)length;
}

static void put_bytes(struct world *w, struct text *t, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        t->bytes[t->length++] = (uint8_t)(random_64(&w->random) >> 56);
}

static uint32_t body_size(struct world *w)
{
    switch (below(w, 8)) {
    case 0: return 0;
    case 1: return between(w, 4000, 12000);
    default: return between(w, 1, 1500);
    }
}

static void put_head(struct world *w, struct text *t, const char *first, uint32_t most, bool last,
                     bool refused)
{
    char line[160];
    snprintf(line, sizeof line, "%s /%s/items/%u HTTP/1.1\r\nHost: shop.example\r\n", first,
             refused ? "no" : "v1", below(w, 100000));
    put(t, line);
    if (!one_in(w, 3)) {
        const uint32_t pad = below(w, most);
        put(t, "X-Pad: ");
        for (uint32_t i = 0; i < pad; i++)
            t->bytes[t->length++] = (uint8_t)('a' + i % 26);
        put(t, "\r\n");
    }
    if (last)
        put(t, "Connection: close\r\n");
}

static void put_chunks(struct world *w, struct text *t)
{
    char line[32];
    put(t, "Transfer-Encoding: chunked\r\n\r\n");
    for (uint32_t n = below(w, 5); n != 0; n--) {
        const uint32_t size = between(w, 1, one_in(w, 4) ? 2000 : 40);
        snprintf(line, sizeof line, "%x\r\n", size);
        put(t, line);
        put_bytes(w, t, size);
        put(t, "\r\n");
    }
    put(t, "0\r\n\r\n");
}

static uint32_t find_head_end(const struct text *t, uint32_t from)
{
    for (uint32_t i = from; i + 4 <= t->length; i++)
        if (memcmp(t->bytes + i, "\r\n\r\n", 4) == 0)
            return i + 4;
    abort();
}

static void put_request(struct world *w, struct text *t, struct shop_request *request,
                        uint32_t most, bool last, bool refused)
{
    const uint32_t from = t->length;
    char line[64];
    switch (below(w, 4)) {
    case 0:
        put_head(w, t, "POST", most, last, refused);
        put_chunks(w, t);
        break;
    case 1: {
        const uint32_t size = body_size(w);
        put_head(w, t, "POST", most, last, refused);
        snprintf(line, sizeof line, "Content-Length: %u\r\n\r\n", size);
        put(t, line);
        put_bytes(w, t, size);
        break;
    }
    default: put_head(w, t, "GET", most, last, refused); put(t, "\r\n");
    }
    request->head_end = find_head_end(t, from);
    request->end = t->length;
}

/* What no two parsers agree on. */
static void put_malformed(struct world *w, struct text *t, struct shop_request *request)
{
    static const char *const heads[] = {
        "GET /x HTTP/1.1\nHost: shop.example\n\n\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        "GET /x HTTP/1.1\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost : a\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n",
    };
    const uint32_t from = t->length;
    put(t, heads[below(w, sizeof heads / sizeof heads[0])]);
    request->head_end = find_head_end(t, from);
    request->end = t->length;
}

/* What a client may send behind its last request: it has not heard that it is, or does not care. */
static void put_surplus(struct world *w, struct text *t)
{
    if (one_in(w, 2))
        put(t, "\r\n");
    else if (one_in(w, 2))
        put(t, "GET /v1/items/1 HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    else
        put_bytes(w, t, between(w, 1, one_in(w, 4) ? 12000 : 1500));
}

static uint8_t *copy(const uint8_t *bytes, uint32_t length)
{
    uint8_t *out = malloc(length + 1);
    if (out == NULL)
        abort();
    if (length != 0)
        memcpy(out, bytes, length);
    return out;
}

static void plan_requests(struct world *w, struct attempt *a)
{
    static struct text text;
    const uint32_t heads = w->split_first ? 3000 : 300;
    text.length = 0;
    a->requests = one_in(w, 2) ? 1 : between(w, 1, SHOP_REQUESTS);
    const bool surplus = w->wire != NULL && one_in(w, 8),
               refused = w->wire != NULL && one_in(w, 6) && a->client->traits.buffer >= 200;
    for (uint32_t i = 0; i < a->requests; i++) {
        a->malformed = one_in(w, 40);
        if (a->malformed) {
            put_malformed(w, &text, &a->request[i]);
            a->requests = i + 1;
        } else if (refused && i + 1 == a->requests) {
            a->refused = true;
            a->requests_length = text.length;
            put_request(w, &text, &a->request[i], heads, false, true);
            a->request[i].answer_end = a->answer_length;
            a->refusal_length = REPLY_MOST;
            break;
        } else
            put_request(w, &text, &a->request[i], heads, surplus && i + 1 == a->requests, false);
        a->answer_length += one_in(w, 8) ? between(w, 4000, 20000) : between(w, 1, 1500);
        if (a->client->traits.buffer < 200 && a->answer_length > 600) /* it would take hours */
            a->answer_length = 600 + i;
        a->request[i].answer_end = a->answer_length;
    }
    if (!a->refused)
        a->requests_length = text.length;
    if (surplus && !a->malformed)
        put_surplus(w, &text);
    a->ask_length = text.length;
    a->ask = copy(text.bytes, text.length);
    a->answer = copy(text.bytes, 0);
    free(a->answer);
    a->answer = malloc(a->answer_length + REPLY_MOST);
    if (a->answer == NULL)
        abort();
    random_bytes(&w->random, a->answer, a->answer_length);
    reply_write(NULL, 0, a->answer + a->answer_length);
}

/* ---- manners ---- */

static struct shop_manner manner_of(struct world *w, uint32_t writes, uint32_t reads)
{
    struct shop_manner m = {.abort_at = NEVER, .think_ms = one_in(w, 3) ? below(w, 3000) : 0};
    const uint32_t pieces = between(w, 1, 40);
    if (one_in(w, 2)) {
        m.write_size = writes / pieces + 1;
        m.write_gap = one_in(w, 2) ? 0 : below(w, 100);
    }
    if (one_in(w, 30) && writes < 400)
        m.write_size = 1;
    if (one_in(w, 4)) {
        m.read_size = reads / between(w, 1, 40) + 1;
        m.read_gap = below(w, 60);
    }
    if (one_in(w, 6)) {
        m.stall_at = below(w, reads + 1);
        m.stall_ms = between(w, 100, 9000);
    }
    return m;
}

static void plan_aborts(struct world *w, struct attempt *a)
{
    if (!one_in(w, 8))
        return;
    shop_excuse(a, "one end aborts");
    switch (below(w, 3)) {
    case 0: a->client_manner.abort_at = below(w, a->answer_length + a->refusal_length); break;
    case 1: a->client_manner.abort_ms = a->start_ms + below(w, 3000); break;
    default: a->server_manner.abort_at = 1 + below(w, a->ask_length); break;
    }
}

/* Long silences: before the first request, while a cookie lasts, or later, when the gateway may
 * lose patience. */
static void plan_silence(struct world *w, struct attempt *a)
{
    if (one_in(w, 20)) /* nobody answers a keep-alive probe before it */
        a->client_writes_ms = a->start_ms + below(w, a->client->traits.keepalive_ms * 9 / 10);
    if (!one_in(w, 40))
        return;
    struct shop_manner *m = one_in(w, 2) ? &a->client_manner : &a->server_manner;
    m->think_ms = between(w, 30000, 110000);
    shop_excuse(a, "it may be silent for too long");
}

static void plan_attempt(struct schedule *s, uint32_t i)
{
    struct world *w = s->world;
    struct attempt *a = &s->attempts[i];
    const uint32_t host = below(w, w->client_count);
    a->client = &w->clients[host];
    a->v4 = addr_is_v4(&a->client->address);
    a->port = (uint16_t)(40000 + i);
    a->start_ms = w->now_ms + (one_in(w, 2) ? below(w, 300) : below(w, 8000));
    if (i != 0 && one_in(w, 3)) { /* an earlier connection's port again */
        const struct attempt *old = &s->attempts[below(w, i)];
        a->client = old->client;
        a->v4 = old->v4;
        a->port = old->port;
        a->start_ms = old->start_ms + below(w, 12000);
    }
    a->second_service = w->wire != NULL && one_in(w, 6);
    plan_requests(w, a);
    a->whole_head = !w->split_first;
    a->pipelined = one_in(w, 3);
    a->answers_early = one_in(w, 5);
    a->close = (enum shop_close)below(w, SHOP_CLOSES);
    a->close_for_good = one_in(w, 2);
    a->client_manner = manner_of(w, a->ask_length, a->answer_length + a->refusal_length);
    a->server_manner = manner_of(w, a->answer_length + a->refusal_length, a->ask_length);
    plan_aborts(w, a);
    plan_silence(w, a);
}

/* ---- the rest ---- */

static void add_event(struct schedule *s, enum event_kind kind, uint64_t at_ms, uint32_t host)
{
    if (s->event_count < SCHEDULE_EVENTS)
        s->events[s->event_count++] = (struct event){kind, at_ms, host};
}

static void plan_events(struct schedule *s)
{
    struct world *w = s->world;
    s->down_ms = one_in(w, 2) ? 0 : below(w, 3000);
    if (one_in(w, 5))
        add_event(s, EVENT_CLIENT_CRASH, w->now_ms + below(w, 6000), below(w, w->client_count));
    if (one_in(w, 6)) {
        const uint64_t at = w->now_ms + below(w, 6000);
        s->crashed = below(w, w->server_count);
        s->server_crash_ms = at;
        s->server_back_ms = at + s->down_ms + (one_in(w, 2) ? 0 : below(w, 1000));
        add_event(s, EVENT_SERVER_CRASH, at, s->crashed);
        add_event(s, EVENT_SERVER_LISTENS, s->server_back_ms, s->crashed);
    }
    for (uint32_t n = one_in(w, 3) ? below(w, 6) : 0; n != 0; n--)
        add_event(s, one_in(w, 2) ? EVENT_FORGERY : EVENT_GUESS, w->now_ms + below(w, 8000),
                  below(w, s->shop.count));
    if (one_in(w, 8)) /* once: a cookie outlives one change */
        add_event(s, EVENT_PROMISE, w->now_ms + below(w, 6000), below(w, 2));
    s->eventful = s->event_count != 0;
}

static void plan_limits(struct world *w)
{
    if (w->wire == NULL)
        return;
    struct limits *limits = &w->wire->limits;
    limits->syn_timeout_ms = between(w, 200, 400);
    limits->syn_tries = 8;
    limits->head_timeout_ms = between(w, 15000, 60000);
    limits->idle_ms = between(w, 40000, 90000);
    limits->half_closed_ms = between(w, 30000, 60000);
    limits->closing_ms = between(w, 20000, 60000);
    limits->linger_ms = between(w, 1000, 5000);
    limits->clients.connections = limits->clients.rate =
        1; /* observed: counts change, nothing else */
    for (int i = 0; i < CLIENT_LIMITS; i++)
        limits->clients.observe[i] = true;
    w->wire->unix_ms += below(w, 4 * COOKIE_EPOCH_MS); /* a cookie's key may change at any time */
    wire_begin(w->wire);
}

void schedule_plan(struct schedule *s)
{
    struct world *w = s->world;
    w->heals_ms = w->now_ms + between(w, 3000, 12000);
    w->split_first = !one_in(w, 3); /* heads over several segments */
    plan_hosts(w);
    const bool bad = !one_in(w, 4);
    plan_link(w, &w->link[OUTSIDE], bad);
    plan_link(w, &w->link[INSIDE], bad && one_in(w, 2));
    plan_limits(w);
    s->shop.attempts = s->attempts;
    s->shop.count = one_in(w, 3) ? 1 : between(w, 1, SCHEDULE_ATTEMPTS - 2);
    for (uint32_t i = 0; i < s->shop.count; i++) {
        plan_attempt(s, i);
        if (s->attempts[i].refused) /* half of a refusal without a flow would acknowledge all */
            w->link[OUTSIDE].split = 0;
    }
    plan_events(s);
    s->replays = s->few_tombstones || !one_in(w, 4) ? 0 : between(w, 5, 100);
}
