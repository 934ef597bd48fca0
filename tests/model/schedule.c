/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A schedule is played until all is over and given back, and then judged. */
#include "tests/model/schedule.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PATIENCE_MS = 150 * 1000,
    DEADLINE_MS = 500 * 1000,
    REPLAY_MS = 140 * 1000,
    SERVER_PORT = 8080
};

/* ---- what happens ---- */

static bool alive(const struct model_socket *s)
{
    return s != NULL && s->state != MODEL_CLOSED;
}

static void bury(struct schedule *s, struct model_socket *list)
{
    while (list != NULL) {
        struct model_socket *next = list->next;
        list->next = s->graveyard;
        s->graveyard = list;
        list = next;
    }
}

static void restart(struct schedule *s, struct model_host *host)
{
    struct world *w = s->world;
    bury(s, model_host_crash(host));
    model_host_start(host, random_32(&w->random), random_32(&w->random));
}

static void client_crashes(struct schedule *s, uint32_t index)
{
    struct model_host *host = &s->world->clients[index];
    for (uint32_t i = 0; i < s->shop.count; i++) {
        struct attempt *a = &s->attempts[i];
        if (a->client == host && a->started && (alive(a->socket) || alive(a->server) || !a->over))
            shop_excuse(a, "its client restarts");
    }
    restart(s, host);
    s->world->down_until[0][index] = s->world->now_ms + s->down_ms;
    for (uint32_t i = 0; i < s->shop.count; i++)
        if (s->attempts[i].client == host && !s->attempts[i].started &&
            s->attempts[i].start_ms < s->world->down_until[0][index])
            s->attempts[i].start_ms = s->world->down_until[0][index];
}

static bool speaks_to(const struct model_host *server, const struct attempt *a)
{
    for (const struct model_socket *k = server->sockets; k != NULL; k = k->next)
        if (k->state != MODEL_CLOSED && k->remote.port == a->port &&
            addr_equal(&k->remote.addr, &a->client->address))
            return true;
    return false;
}

static void server_crashes(struct schedule *s, uint32_t index)
{
    struct world *w = s->world;
    for (uint32_t i = 0; i < s->shop.count; i++)
        if (s->attempts[i].started && speaks_to(&w->servers[index], &s->attempts[i]))
            shop_excuse(&s->attempts[i], "its backend restarts");
    restart(s, &w->servers[index]);
    w->servers[index].listens = 0;
    w->down_until[1][index] = w->now_ms + s->down_ms;
}

/* A segment that neither end has sent, as if from that side. */
static void inject(struct schedule *s, const struct attempt *a, bool from_client, uint32_t seq,
                   uint32_t ack, uint8_t flags, uint16_t length)
{
    struct world *w = s->world;
    const struct endpoint client = {.addr = a->client->address, .port = a->port};
    const struct endpoint service =
        from_client ? world_service(w, a->v4, a->second_service) : a->server->local;
    const struct endpoint *from = from_client ? &client : &service;
    const struct endpoint *to = from_client ? &service : &client;
    const struct model_host *as = from_client ? a->client : a->server->host;
    struct wire_segment forged = {
        .from = as->mac,
        .to = as->gateway,
        .source = from->addr,
        .source_port = from->port,
        .destination = to->addr,
        .destination_port = to->port,
        .seq = seq,
        .ack = ack,
        .window = (uint16_t)random_32(&w->random),
        .flags = flags,
        .ttl = 60,
        .options = NO_OPTIONS,
        .payload = "forged",
        .length = length,
    };
    if (random_below(&w->random, 2) == 0) {
        forged.options.timestamps = true;
        forged.options.tsval = random_32(&w->random);
    }
    enum world_leg leg = from_client ? LEG_TO_GATEWAY_OUT : LEG_TO_GATEWAY_IN;
    if (w->wire == NULL)
        leg = from_client ? LEG_TO_SERVERS : LEG_TO_CLIENTS;
    if (w->verbose)
        printf("          forged\n");
    world_inject_segment(w, leg, &forged, w->now_ms);
}

/* A third party that knows both addresses and ports, but no numbers (RFC 5961). */
static void forge(struct schedule *s, const struct attempt *a)
{
    static const uint8_t flags[] = {
        TCP_RST, TCP_RST | TCP_ACK, TCP_SYN, TCP_ACK, TCP_ACK | TCP_PSH, TCP_ACK | TCP_FIN,
    };
    struct random *r = &s->world->random;
    const uint32_t kind = random_below(r, sizeof flags);
    inject(s, a, true, random_32(r), random_32(r), flags[kind], kind >= 4 ? 6 : 0);
}

/* One that has even guessed a number within the window, but not the very next one. A receiver asks
 * back; an end that is there answers, and nothing happens. */
static void guess(struct schedule *s, const struct attempt *a)
{
    static const uint8_t flags[] = {TCP_RST, TCP_RST | TCP_ACK, TCP_SYN, TCP_ACK | TCP_PSH};
    enum { WINDOW_LEAST = 1000, FAR = 1 << 20 };
    struct random *r = &s->world->random;
    const uint32_t kind = random_below(r, sizeof flags);
    if (!alive(a->socket) || !alive(a->server) || a->server->state < MODEL_ESTABLISHED ||
        a->server->irs != a->socket->iss)
        return;
    const bool from_client = random_below(r, 2) == 0;
    const struct model_socket *from = from_client ? a->socket : a->server;
    const struct model_socket *to = from_client ? a->server : a->socket;
    const uint32_t window = to->edge - to->rcv_nxt;
    if (window < WINDOW_LEAST || from->una != from->max)
        return;
    const uint32_t offset = to->edge - to->irs - 1 - random_below(r, 8);
    inject(s, a, from_client, from->iss + offset, from->rcv_nxt + FAR, flags[kind],
           kind == 3 ? 6 : 0);
}

static void happen(struct schedule *s, const struct event *event)
{
    if (s->world->verbose && event->kind < EVENT_FORGERY)
        printf("%9.3f event %d host %u\n", (double)s->world->now_ms / 1000, (int)event->kind,
               event->host);
    switch (event->kind) {
    case EVENT_CLIENT_CRASH: client_crashes(s, event->host); return;
    case EVENT_SERVER_CRASH: server_crashes(s, event->host); return;
    case EVENT_SERVER_LISTENS: s->world->servers[event->host].listens = SERVER_PORT; return;
    case EVENT_PROMISE:
        if (s->world->wire != NULL)
            schedule_promise(s->world, event->host != 0, false);
        return;
    case EVENT_FORGERY: forge(s, &s->attempts[event->host]); return;
    case EVENT_GUESS: guess(s, &s->attempts[event->host]); return;
    }
}

/* ---- what is watched ---- */

static bool was_sent(uint32_t seq, const struct model_socket *s)
{
    return !model_before(seq, s->iss) && !model_before(s->max, seq);
}

/* Acknowledged, selectively acknowledged, echoed: all of it is what that socket has sent. What
 * completes the backend's handshake echoes nothing, and says so by 0. */
static bool acknowledges_sent(const struct wire_segment *out, const struct model_socket *s,
                              bool completes)
{
    enum { LONG_AGO = 600 * 1000 };
    bool good = was_sent(out->ack, s);
    for (unsigned i = 0; i < out->sack_edges; i++)
        good = good && was_sent(out->sack[i], s);
    if (completes && out->options.tsecr == 0)
        return good;
    if (out->options.timestamps && s->end == MODEL_OPEN)
        good = good && model_clock(s->host) - out->options.tsecr < LONG_AGO;
    return good;
}

/* A translated segment acknowledges only what its receiver has sent, on this or on an earlier
 * connection of the tuple. */
static void check_ack(struct schedule *s, const struct wire_segment *out, enum world_leg leg)
{
    bool known = false, good = false, completes = s->verdict == VERDICT_BACKEND_ANSWERED;
    if (!(out->flags & TCP_ACK) ||
        (s->verdict != VERDICT_FORWARDED && s->verdict != VERDICT_OPENED &&
         s->verdict != VERDICT_BACKEND_ANSWERED))
        return;
    if (leg == LEG_TO_SERVERS) {
        for (uint32_t i = 0; i <= s->world->server_count; i++) {
            const struct model_socket *k =
                i == s->world->server_count ? s->graveyard : s->world->servers[i].sockets;
            for (; k != NULL; k = k->next) {
                if (k->remote.port != out->source_port ||
                    !addr_equal(&k->remote.addr, &out->source))
                    continue;
                known = true;
                good = good || acknowledges_sent(out, k, completes);
            }
        }
    } else {
        for (uint32_t i = 0; i < s->shop.count; i++) {
            const struct attempt *a = &s->attempts[i];
            if (!a->started || a->port != out->destination_port ||
                !addr_equal(&a->client->address, &out->destination))
                continue;
            known = true;
            good = good || acknowledges_sent(out, a->socket, false);
        }
    }
    if (known && !good)
        shop_wrong(&s->shop, NULL, "the gateway acknowledged what was never sent");
}

static uint32_t window_of(const struct wire_segment *segment, const struct model_socket *by)
{
    const bool scaled = by->scaling && !(segment->flags & TCP_SYN);
    return (uint32_t)segment->window << (scaled ? by->traits.scale : 0);
}

/* What one end says of its window the other must hear, as exactly as the scale that it was told
 * allows: never nothing for something, nor something for nothing. */
static void check_window(struct schedule *s, const struct wire_segment *out, enum world_leg leg)
{
    const struct wire_segment *in = &s->judged;
    const bool to_client = leg == LEG_TO_CLIENTS;
    const uint16_t port = to_client ? out->destination_port : out->source_port;
    const struct addr *client = to_client ? &out->destination : &out->source;
    if (s->verdict != VERDICT_FORWARDED || (in->flags | out->flags) & (TCP_SYN | TCP_RST) ||
        (to_client ? s->judged_leg != LEG_TO_GATEWAY_IN : s->judged_leg != LEG_TO_GATEWAY_OUT))
        return;
    for (uint32_t i = 0; i < s->shop.count; i++) {
        const struct attempt *a = &s->attempts[i];
        if (a->port != port || !a->started || !addr_equal(&a->client->address, client) ||
            a->server == NULL || !alive(a->socket) || !alive(a->server) ||
            a->server->irs != a->socket->iss)
            continue;
        const struct model_socket *from = to_client ? a->server : a->socket;
        const struct model_socket *to = to_client ? a->socket : a->server;
        if (out->seq - to->irs != in->seq - from->iss || out->ack - to->iss != in->ack - from->irs)
            continue; /* of another connection */
        const uint32_t unit = UINT32_C(1) << to->peer_scale, said = window_of(in, from);
        const uint32_t told = (uint32_t)out->window << to->peer_scale;
        const uint32_t most = UINT16_MAX << to->peer_scale;
        if ((said == 0) != (told == 0) || (told > said && told > unit) ||
            (told + unit <= said && told < most))
            shop_wrong(&s->shop, a, "the gateway tells another window than it was told");
    }
}

/* What the gateway has acknowledged by itself stays acknowledged, as long as the backend has not
 * got as far. Afterwards an old acknowledgement is an old one, as ever. */
static void check_owned(struct schedule *s, const struct wire_segment *out)
{
    enum { NEAR = 1 << 20 };
    if ((out->flags & (TCP_SYN | TCP_RST | TCP_ACK)) != TCP_ACK)
        return;
    for (uint32_t i = 0; i < s->shop.count; i++) {
        struct attempt *a = &s->attempts[i];
        if (a->port != out->destination_port || !a->started || !alive(a->socket) ||
            !addr_equal(&a->client->address, &out->destination) ||
            a->socket->remote.port != out->source_port || out->seq - a->socket->irs > NEAR ||
            out->ack - a->socket->iss > NEAR)
            continue;
        const uint32_t last = a->socket->iss + 1 + a->requests_length; /* no backend gets more */
        if (s->judged_leg == LEG_TO_GATEWAY_OUT) {
            if (a->owned == 0 || model_before(a->owned, out->ack))
                a->owned = model_before(last, out->ack) ? last : out->ack;
            continue;
        }
        if (a->covered == 0 || model_before(a->covered, s->judged.ack))
            a->covered = s->judged.ack;
        if (a->owned != 0 && model_before(a->covered, a->owned) && model_before(out->ack, a->owned))
            shop_wrong(&s->shop, a, "the gateway takes an acknowledgement back");
    }
}

/* Whether it may be what opens a connection. */
static bool is_first(const struct schedule *s, const struct wire_segment *segment)
{
    for (uint32_t i = 0; i < s->shop.count; i++) {
        const struct attempt *a = &s->attempts[i];
        if (a->started && a->port == segment->source_port && segment->seq == a->socket->iss + 1)
            return true;
    }
    return segment->length == 0;
}

/* Some of what clients send comes again, up to the life of a cookie later, and longer. Data that
 * cannot open a connection only after the shard has forgotten that it missed it: the same again is
 * taken for a half-open peer. */
static void replay(struct schedule *s, const struct wire_segment *segment)
{
    struct world *w = s->world;
    if (s->replays == 0 || random_below(&w->random, 1000) >= s->replays)
        return;
    const uint32_t least = is_first(s, segment) ? 50 : 2 * MISS_FORGET_MS;
    const uint32_t most = random_below(&w->random, 2) == 0 ? REPLAY_MS : 5000;
    world_inject_segment(w, w->wire ? LEG_TO_GATEWAY_OUT : LEG_TO_SERVERS, segment,
                         w->now_ms + least + random_below(&w->random, most));
}

static void seen(void *context, const struct wire_segment *segment, enum world_leg leg)
{
    struct schedule *s = context;
    const bool of_host =
        s->world->wire == NULL || leg == LEG_TO_GATEWAY_OUT || leg == LEG_TO_GATEWAY_IN;
    if (!of_host) {
        check_ack(s, segment, leg);
        check_window(s, segment, leg);
        if (leg == LEG_TO_CLIENTS)
            check_owned(s, segment);
    } else if (leg == LEG_TO_GATEWAY_OUT)
        replay(s, segment);
}

static void decided(void *context, const struct wire_segment *in, enum world_leg leg,
                    enum verdict verdict)
{
    struct schedule *s = context;
    s->verdict = verdict;
    s->judged = *in;
    s->judged_leg = leg;
}

static void accepted(void *context, struct model_socket *socket)
{
    struct schedule *s = ((struct world *)context)->context;
    shop_accepted(&s->shop, socket);
}

/* ---- play ---- */

static uint32_t flows_left(const struct schedule *s)
{
    return s->world->wire != NULL ? flows_count(s->world->wire->shard->flows) : 0;
}

static uint32_t sockets_left(const struct schedule *s)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->world->client_count; i++)
        count += model_host_open(&s->world->clients[i]);
    for (uint32_t i = 0; i < s->world->server_count; i++)
        count += model_host_open(&s->world->servers[i]);
    return count;
}

static uint64_t step(void *context)
{
    struct schedule *s = context;
    uint64_t next = UINT64_MAX;
    uint32_t left = 0;
    for (uint32_t i = 0; i < s->event_count; i++) {
        if (s->events[i].at_ms > s->world->now_ms) {
            next = s->events[i].at_ms < next ? s->events[i].at_ms : next;
            s->events[left++] = s->events[i];
        } else
            happen(s, &s->events[i]);
    }
    s->event_count = left;
    const uint64_t shop = shop_step(&s->shop);
    if (s->shop.wrong != NULL)
        return 0;
    if (left == 0 && world_in_flight(s->world) == 0 && shop_over(&s->shop) &&
        sockets_left(s) == 0 && flows_left(s) == 0)
        return 0;
    return shop < next ? shop : next;
}

/* ---- judge ---- */

/* Whether nobody else can serve while the one that crashes is down, or up and refusing: there is no
 * other, or what the others said to the gateway was lost, and it comes to each only once. */
static bool only_backend_left(const struct schedule *s, const struct attempt *a)
{
    const struct world *w = s->world;
    const uint64_t *verdicts = w->wire != NULL ? w->wire->shard->verdicts : NULL;
    uint32_t others = 0;
    if (verdicts != NULL &&
        verdicts[VERDICT_BACKEND_REFUSED] + verdicts[VERDICT_BACKEND_TIMEOUT] != 0)
        return a->taken == 0;
    for (uint32_t i = 0; i < w->server_count; i++)
        others += i != s->crashed && addr_is_v4(&w->servers[i].address) == a->v4;
    return addr_is_v4(&w->servers[s->crashed].address) == a->v4 && others == 0;
}

static bool tables_were_full(const struct schedule *s)
{
    if (s->world->wire == NULL)
        return false;
    const uint64_t *verdicts = s->world->wire->shard->verdicts;
    return verdicts[VERDICT_FLOW_TABLE_FULL] + verdicts[VERDICT_HELD_FULL] +
               verdicts[VERDICT_HELD_PER_CLIENT] + verdicts[VERDICT_TUPLE_CONFLICT] +
               verdicts[VERDICT_CLIENT_TABLE_FULL] !=
           0;
}

/* Unfinished heads that were reset, as they may be. */
static bool heads_were_reset(const struct schedule *s)
{
    if (s->world->wire == NULL)
        return false;
    const uint64_t *verdicts = s->world->wire->shard->verdicts;
    return verdicts[VERDICT_HELD_EVICTED] + verdicts[VERDICT_HEAD_TIMEOUT] +
               verdicts[VERDICT_HEAD_UNKEPT] !=
           0;
}

/* Only a link that loses very much loses that many in a row. A backend that has nothing to
 * answer may give up before: its keep-alives, or what answers them, were lost, or are not for a
 * client that has been told more by the gateway. */
static bool undelivered(const struct schedule *s, const struct attempt *a)
{
    const struct world *w = s->world;
    bool gave_up = a->server != NULL && a->server->end == MODEL_TIMED_OUT && a->answered == 0;
    return w->wire != NULL && w->link[INSIDE].lost > 80 &&
           (gave_up || w->wire->shard->verdicts[VERDICT_UNDELIVERED] != 0);
}

/* The second half of a first segment that is sent again, overtaking its first half, may look like a
 * segment that is sent again by itself. */
static bool split_again(const struct schedule *s)
{
    const struct world *w = s->world;
    return w->wire != NULL && w->split_first && w->link[OUTSIDE].split != 0 &&
           w->wire->shard->verdicts[VERDICT_MISS_RESET] != 0;
}

/* Whether some request was held until no backend would have it. */
static bool tried_in_vain(const struct schedule *s)
{
    if (s->world->wire == NULL)
        return false;
    const uint64_t *verdicts = s->world->wire->shard->verdicts;
    return verdicts[VERDICT_BACKEND_REFUSED] + verdicts[VERDICT_BACKEND_TIMEOUT] +
               verdicts[VERDICT_BACKEND_OPTIONS] !=
           0;
}

static void judge_attempt(struct schedule *s, struct attempt *a)
{
    if (s->server_back_ms != 0 && a->start_ms <= s->server_back_ms &&
        a->over_ms >= s->server_crash_ms && only_backend_left(s, a))
        shop_excuse(a, "the only backend that is left is away");
    /* Or until the client had given up: a late copy of its request may still be served then. */
    if (a->socket != NULL && a->received == 0 && a->socket->end != MODEL_DONE &&
        tables_were_full(s))
        shop_excuse(a, "a table is full, or its tuple taken, for too long");
    if (a->socket != NULL && a->socket->end == MODEL_RESET && heads_were_reset(s))
        shop_excuse(a, "its head took too long, or too much room");
    if (a->socket != NULL && a->socket->end == MODEL_RESET && undelivered(s, a))
        shop_excuse(a, "what is acknowledged is sent five times, and each of them was lost");
    if (a->socket != NULL && a->socket->end == MODEL_RESET && a->taken == 0 && split_again(s))
        shop_excuse(a, "the network split what was sent again where a segment had begun before");
    if (a->refused && a->socket != NULL && a->socket->end != MODEL_DONE &&
        s->world->wire->shard->verdicts[VERDICT_REFUSAL_UNREAD] != 0)
        shop_excuse(a, "it did not read its refusal, or did not close, for ten seconds");
    if (a->refused && shop_served(a) == 0 && a->socket != NULL && a->socket->end == MODEL_TIMED_OUT)
        shop_excuse(a,
                    "it did not close, and of what was refused without a flow none is kept alive");
    if (a->socket != NULL && a->socket->end == MODEL_TIMED_OUT && s->world->wire != NULL &&
        s->world->wire->shard->verdicts[VERDICT_HELD_FULL] != 0)
        shop_excuse(a, "there was no place for a later head, for too long");
    if (a->unserved && (a->taken != 0 || !tried_in_vain(s)))
        shop_wrong(&s->shop, a, "a request was refused that should have been served");
    else if (a->unserved)
        shop_excuse(a, "no backend would have it");
    if (a->malformed && s->world->wire != NULL) {
        if (a->taken >= a->request[a->requests - 1].head_end)
            shop_wrong(&s->shop, a, "a malformed head has reached the backend");
        if (!a->excused && (a->socket == NULL || a->socket->end != MODEL_RESET))
            shop_wrong(&s->shop, a, "a malformed head was not refused");
        return;
    }
    if (a->excused)
        return;
    /* Its last segment, sent again after the gateway has forgotten the closed connection, may be
     * answered by a reset: nothing is lost by that. */
    /* A backend that ends by itself may do so before the refused request comes: then there is no
     * more to be said. */
    const bool silent = a->refused && a->close == SHOP_SERVER && a->received == a->answer_length;
    const bool received = silent || a->received == a->answer_length + a->refusal_length;
    const bool all = received && a->taken >= a->requests_length && a->saw_end;
    if (a->socket == NULL ||
        (a->socket->end != MODEL_DONE && !(all && a->socket->end == MODEL_RESET)))
        shop_wrong(&s->shop, a, "a client's connection did not end well, for no reason");
    else if (!received || !a->saw_end)
        shop_wrong(&s->shop, a, "a client has not got all of its answers");
    else if (a->taken < a->requests_length)
        shop_wrong(&s->shop, a, "the backend has not got all of a client's requests");
}

static void judge_tables(struct schedule *s)
{
    struct wire *wire = s->world->wire;
    if (wire == NULL)
        return;
    struct shard *shard = wire->shard;
    if (held_count(shard->held) != 0)
        shop_wrong(&s->shop, NULL, "requests are held that nobody waits for");
    struct client_view view;
    if (clients_count(shard->clients).connections != 0)
        shop_wrong(&s->shop, NULL, "connections are counted that nobody has");
    for (uint32_t i = 0; i < clients_count(shard->clients).capacity; i++)
        if (clients_view(shard->clients, i, &view) && view.open != 0)
            shop_wrong(&s->shop, NULL, "a client's connections are counted that it does not have");
    for (uint32_t i = 0; i < flows_capacity(shard->flows); i++)
        if (wheel_armed(shard->wheel, i))
            shop_wrong(&s->shop, NULL, "timers are armed for no flow");
    wire_step(wire, COOKIE_LIFE_MS + 2000);
    while (tombstones_count(shard->tombstones) != 0) {
        const uint32_t before = tombstones_count(shard->tombstones);
        wire_step(wire, 1);
        if (tombstones_count(shard->tombstones) == before) {
            shop_wrong(&s->shop, NULL, "tombstones do not expire");
            return;
        }
    }
    if (wire_pending(wire) != 0)
        shop_wrong(&s->shop, NULL, "the gateway speaks when all is over");
}

/* Where nothing goes wrong flows end by FIN and are forgotten soon, not when they have been silent
 * for long. */
static void judge_ends(struct schedule *s)
{
    bool calm = s->world->wire != NULL && s->replays == 0 && !s->eventful;
    for (uint32_t i = 0; i < s->shop.count; i++)
        calm = calm && !s->attempts[i].excused && s->attempts[i].socket->end == MODEL_DONE;
    if (calm && s->world->wire->shard->verdicts[VERDICT_FLOW_IDLE] != 0)
        shop_wrong(&s->shop, NULL,
                   "a flow that ended well was only forgotten because it was silent");
}

static void judge(struct schedule *s)
{
    for (uint32_t i = 0; i < s->shop.count && s->shop.wrong == NULL; i++)
        judge_attempt(s, &s->attempts[i]);
    if (s->shop.wrong != NULL)
        return;
    if (flows_left(s) != 0)
        shop_wrong(&s->shop, NULL, "flows are left");
    else if (sockets_left(s) != 0)
        shop_wrong(&s->shop, NULL, "sockets are left");
    else {
        judge_ends(s);
        judge_tables(s);
    }
}

static void explain(const struct schedule *s)
{
    for (uint32_t i = 0; i < s->shop.count; i++) {
        const struct attempt *a = &s->attempts[i];
        char addr[ADDR_TEXT];
        printf("  %s%u: %s:%u from %.3f: client %s/%s, backend %s/%s, asked %u of %u, taken %u, "
               "answered %u "
               "of %u, received %u%s%s\n",
               a == s->shop.wrong_attempt ? "!" : " ", i, addr_print(&a->client->address, addr),
               a->port, (double)a->start_ms / 1000,
               a->socket ? model_state_name(a->socket->state) : "-",
               a->socket ? model_end_name(a->socket->end) : "-",
               a->server ? model_state_name(a->server->state) : "-",
               a->server ? model_end_name(a->server->end) : "-", a->asked, a->ask_length, a->taken,
               a->answered, a->answer_length, a->received, a->excused ? ", excused: " : "",
               a->excused ? a->excuse : "");
    }
    printf("  flows %u, sockets %u, in flight %u, at %.3f\n", flows_left(s), sockets_left(s),
           world_in_flight(s->world), (double)s->world->now_ms / 1000);
}

static void add_up(struct schedule *s, struct tally *tally)
{
    tally->schedules++;
    tally->attempts += s->shop.count;
    tally->frames += s->world->frames;
    for (uint32_t i = 0; i < s->shop.count; i++)
        tally->excused += s->attempts[i].excused;
    for (int v = 0; s->world->wire != NULL && v < VERDICT_COUNT; v++)
        tally->verdicts[v] += s->world->wire->shard->verdicts[v];
}

const char *schedule_play(uint64_t seed, bool direct, bool verbose, struct tally *tally)
{
    struct random sizing = {seed ^ UINT64_C(0x5bd1e995)};
    struct shard_sizes sizes;
    struct schedule *s = calloc(1, sizeof *s);
    if (s == NULL)
        abort();
    schedule_sizes(&sizing, &sizes);
    s->few_tombstones = sizes.tombstones < 200;
    s->world = world_new(seed, &sizes, direct);
    s->world->verbose = verbose;
    s->world->context = s;
    s->shop.world = s->world;
    s->shop.patience_ms = PATIENCE_MS;
    s->shop.forgetful = s->few_tombstones;
    schedule_plan(s);
    for (uint32_t i = 0; i < s->world->server_count; i++)
        s->world->servers[i].accepted = accepted;
    s->world->seen = seen;
    s->world->decided = decided;
    world_run(s->world, s->world->now_ms + DEADLINE_MS, step);
    if (s->shop.wrong == NULL)
        judge(s);
    if (s->shop.wrong != NULL || verbose)
        explain(s);
    add_up(s, tally);
    const char *wrong = s->shop.wrong;
    for (uint32_t i = 0; i < s->shop.count; i++) {
        free(s->attempts[i].ask);
        free(s->attempts[i].answer);
    }
    model_sockets_free(s->graveyard);
    world_free(s->world);
    free(s);
    return wrong;
}
