/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Collisions at the ledger: users with two keys each want one to three units from several
 * connections at once, far more than there are. Batches hold repetitions of earlier requests,
 * connections are lost and what was on its way is sent again with the same ids. At the end every
 * request is asked once more and the clients' log is held against the ledger.
 *
 * With --kills it asks for a crash (a line `kill` on stdout) whenever enough answers have come
 * since the last one, and goes on meanwhile; whoever reads that line kills and restarts PostgreSQL.
 * It never does so itself. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/ledger/wire.h"
#include "tests/lab/tools/collide.h"
#include "tests/lab/tools/crowd.h"

enum { CONNECTIONS_MAX = 64, BATCH_MAX = 1000, REPEATS_IN_20 = 1 };

static struct {
    const char *service, *admin;
    int64_t runs, requests, units, per_user, connections, batch, kills, kill_every, deadline, seed;
} options = {.runs = 1,
             .requests = 5000,
             .units = 1000,
             .per_user = 3,
             .connections = 8,
             .batch = 97,
             .kill_every = 500,
             .deadline = 120};

/** What the clients of a run share, all of it under `lock`. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t turn; /* something below has changed */
    struct run run;
    size_t *queue; /* requests that wait to be asked, a ring of run.count */
    size_t head, waiting;
    size_t out;            /* requests taken from the queue and not answered yet */
    unsigned long answers; /* including repetitions */
    int64_t crashes;       /* other postmasters than the first that a client has met */
    int64_t wanted_crashes;
    char postmaster[64]; /* start time of the newest one */
    bool failed;
    uint64_t random;
} shared = {.lock = PTHREAD_MUTEX_INITIALIZER, .turn = PTHREAD_COND_INITIALIZER};

struct client {
    pthread_t thread;
    struct ledger_client *ledger;
    size_t requests[BATCH_MAX]; /* the batch: places in the log */
    bool repeated[BATCH_MAX];   /* asked again, not from the queue */
    struct ledger_want wants[BATCH_MAX];
    struct ledger_reply replies[BATCH_MAX];
    size_t count;
};

static uint64_t draw(void)
{
    uint64_t z = shared.random += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

/** Requests 2i and 2i+1 are of one user; they are asked in a random order. */
static bool make_requests(struct run *run)
{
    run->count = (size_t)options.requests & ~(size_t)1;
    run->wants = calloc(run->count, sizeof *run->wants);
    run->log = calloc(run->count, sizeof *run->log);
    shared.queue = calloc(run->count, sizeof *shared.queue);
    if (!run->wants || !run->log || !shared.queue)
        return false;
    for (size_t i = 0; i < run->count; i++) {
        struct ledger_want *want = &run->wants[i];
        uint64_t id[2] = {draw(), draw()};
        memcpy(want->id, id, sizeof want->id);
        want->quantity = 1 + (int32_t)(draw() % 3);
        memset(want->fingerprint, want->quantity, sizeof want->fingerprint);
        snprintf(want->user, sizeof want->user, "user-%zu", i / 2);
        size_t place = draw() % (i + 1);
        shared.queue[i] = shared.queue[place];
        shared.queue[place] = i;
    }
    shared.head = 0;
    shared.waiting = run->count;
    return true;
}

/** Everything has been answered and the server has crashed as often as it should. */
static bool finished(void)
{
    return shared.failed || (shared.waiting + shared.out == 0 && shared.crashes >= options.kills);
}

/** Fills the client's batch: mostly from the queue, one in twenty a repetition of any request,
 * asked before or not, or of one in this very batch. Waits if there is nothing to do. False when
 * the run is over. */
static bool take(struct client *client)
{
    pthread_mutex_lock(&shared.lock);
    while (!finished() && shared.waiting == 0 && shared.crashes >= options.kills)
        pthread_cond_wait(&shared.turn, &shared.lock);
    size_t most = 1 + draw() % (size_t)options.batch;
    client->count = 0;
    while (!finished() && client->count < most) {
        size_t place = client->count++;
        bool repeat = shared.waiting == 0 || draw() % 20 < REPEATS_IN_20;
        client->repeated[place] = repeat;
        if (repeat) {
            bool own = place > 0 && draw() % 2;
            client->requests[place] =
                own ? client->requests[draw() % place] : draw() % shared.run.count;
        } else {
            client->requests[place] = shared.queue[shared.head];
            shared.head = (shared.head + 1) % shared.run.count;
            shared.waiting--;
            shared.out++;
        }
        client->wants[place] = shared.run.wants[client->requests[place]];
    }
    bool more = client->count > 0;
    pthread_mutex_unlock(&shared.lock);
    return more;
}

/** Takes the answers into the log. What is not open yet or is to be asked again goes back into the
 * queue. */
static void put(struct client *client)
{
    pthread_mutex_lock(&shared.lock);
    for (size_t i = 0; i < client->count; i++) {
        const struct ledger_reply *reply = &client->replies[i];
        bool again = reply->status == 0 || reply->status == 403;
        if (!again)
            collide_record(&shared.run, client->requests[i], reply);
        if (client->repeated[i])
            continue;
        shared.out--;
        if (again)
            shared.queue[(shared.head + shared.waiting++) % shared.run.count] = client->requests[i];
    }
    shared.answers += client->count;
    pthread_cond_broadcast(&shared.turn);
    pthread_mutex_unlock(&shared.lock);
}

/** Notes which postmaster has answered: another one means that the last has crashed. */
static bool meet(struct client *client)
{
    PGresult *result =
        PQexec(ledger_client_connection(client->ledger), "select pg_postmaster_start_time()");
    bool ok = PQresultStatus(result) == PGRES_TUPLES_OK;
    if (ok) {
        const char *started = PQgetvalue(result, 0, 0);
        pthread_mutex_lock(&shared.lock);
        if (strcmp(started, shared.postmaster) > 0) {
            shared.crashes += shared.postmaster[0] != '\0';
            snprintf(shared.postmaster, sizeof shared.postmaster, "%s", started);
            pthread_cond_broadcast(&shared.turn);
        }
        pthread_mutex_unlock(&shared.lock);
    }
    PQclear(result);
    return ok;
}

/** Connects, as often as it takes while the server is away. */
static bool connect_client(struct client *client)
{
    int64_t end = crowd_now() + options.deadline * 1000000;
    do {
        ledger_client_close(client->ledger);
        client->ledger = ledger_client_open(options.service);
        if (client->ledger && meet(client))
            return true;
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    } while (crowd_now() < end);
    return false;
}

static void *run_client(void *argument)
{
    struct client *client = argument;
    int error = client->ledger || connect_client(client) ? 0 : -ENOTCONN;
    while (!error && take(client)) {
        while ((error = ledger_client_reserve(client->ledger, shared.run.sale, client->wants,
                                              client->count, client->replies)) == -ENOTCONN) {
            if (!connect_client(client))
                break;
            pthread_mutex_lock(&shared.lock);
            shared.run.repeated++; /* nobody knows whether it was committed: the same ids again */
            pthread_mutex_unlock(&shared.lock);
        }
        if (!error)
            put(client);
    }
    if (error) {
        pthread_mutex_lock(&shared.lock);
        shared.failed = true;
        pthread_cond_broadcast(&shared.turn);
        pthread_mutex_unlock(&shared.lock);
    }
    return NULL;
}

/** Asks for the crashes, each when enough answers have come since the one before. */
static void ask_for_crashes(void)
{
    pthread_mutex_lock(&shared.lock);
    unsigned long next = (unsigned long)options.kill_every;
    while (!finished()) {
        if (shared.wanted_crashes < options.kills && shared.crashes == shared.wanted_crashes &&
            shared.answers >= next) {
            shared.wanted_crashes++;
            puts("kill");
            fflush(stdout);
        } else if (shared.crashes < shared.wanted_crashes) {
            next = shared.answers + (unsigned long)options.kill_every;
        }
        pthread_cond_wait(&shared.turn, &shared.lock);
    }
    pthread_mutex_unlock(&shared.lock);
}

/** Every request once more, now that all is over: the same words, and no refusal that becomes a
 * grant. */
static bool replay_everything(struct client *client)
{
    for (size_t from = 0; from < shared.run.count; from += client->count) {
        client->count = shared.run.count - from;
        if (client->count > BATCH_MAX)
            client->count = BATCH_MAX;
        if (ledger_client_reserve(client->ledger, shared.run.sale, shared.run.wants + from,
                                  client->count, client->replies) != 0)
            return false;
        for (size_t i = 0; i < client->count; i++)
            collide_record(&shared.run, from + i, &client->replies[i]);
    }
    return true;
}

/* $1 units, $2 per user. */
static const char sale_query[] =
    "with new as (select coalesce(max(id), 0) + 1 as id,"
    "  clock_timestamp() + interval '50 milliseconds' as opens from dropgate.sale),"
    " item as (select dropgate.item_put('collide', 'Collision', '')),"
    " put as (select dropgate.sale_put(new.id, 'collide', $1, $2, '1 hour', 1999, 'EUR', new.opens)"
    "  from new, item)"
    "select new.id, (extract(epoch from opens - '2000-01-01Z'::timestamptz) * 1000000)::bigint"
    " from new, put";

/** A new sale that opens while the clients are already asking. */
static bool make_sale(PGconn *admin)
{
    char units[24], per_user[24];
    const char *parameters[] = {units, per_user};
    snprintf(units, sizeof units, "%" PRId64, options.units);
    snprintf(per_user, sizeof per_user, "%" PRId64, options.per_user);
    PGresult *result = PQexecParams(admin, sale_query, 2, NULL, parameters, NULL, NULL, 1);
    bool ok = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1;
    if (ok)
        shared.run = (struct run){.sale = wire_int32(PQgetvalue(result, 0, 0)),
                                  .opens_at = wire_int64(PQgetvalue(result, 0, 1)),
                                  .units = options.units,
                                  .per_user = (int32_t)options.per_user};
    else
        fprintf(stderr, "collide: %s", PQerrorMessage(admin));
    PQclear(result);
    return ok;
}

static void report(int64_t number)
{
    long long reservations = 0, units = 0;
    for (size_t i = 0; i < shared.run.count; i++) {
        if (shared.run.log[i].reply.status == 201) {
            reservations++;
            units += shared.run.log[i].reply.quantity;
        }
    }
    printf("run %" PRId64 ": sale %d, %zu requests on %" PRId64 " connections: ", number,
           shared.run.sale, shared.run.count, options.connections);
    printf("%lld of %" PRId64 " units in %lld reservations; ", units, options.units, reservations);
    printf("%lu answers, %" PRId64 " crashes, %lu batches sent again\n", shared.answers,
           shared.crashes, shared.run.repeated);
}

/** One run; how many things did not hold. */
static int run_once(int64_t number, struct client *clients, PGconn *admin)
{
    if (!make_sale(admin) || !make_requests(&shared.run))
        return 1;
    shared.answers = 0;
    shared.out = 0;
    shared.crashes = shared.wanted_crashes = 0;
    for (int64_t i = 0; i < options.connections; i++)
        pthread_create(&clients[i].thread, NULL, run_client, &clients[i]);
    ask_for_crashes();
    for (int64_t i = 0; i < options.connections; i++)
        pthread_join(clients[i].thread, NULL);
    int broken = shared.failed || !replay_everything(&clients[0]);
    if (broken)
        puts("  does not hold: every client could go on to the end");
    if (PQstatus(admin) != CONNECTION_OK || options.kills > 0)
        PQreset(admin);
    broken += collide_check(&shared.run, admin);
    report(number);
    free(shared.run.wants);
    free(shared.run.log);
    free(shared.queue);
    return broken;
}

static int usage(void)
{
    fputs("usage: collide --service DSN --admin DSN [--runs N] [--requests N] [--units N]\n"
          "               [--per-user N] [--connections N] [--batch N] [--seed N]\n"
          "               [--deadline SECONDS] [--kills N [--kill-every ANSWERS]]\n",
          stderr);
    return 2;
}

static const struct {
    struct option name;
    int64_t *value, min, max;
} numbers[] = {
    {{"runs", 1, NULL, 0}, &options.runs, 1, 1000000},
    {{"requests", 1, NULL, 0}, &options.requests, 2, 10000000},
    {{"units", 1, NULL, 0}, &options.units, 1, 1000000000},
    {{"per-user", 1, NULL, 0}, &options.per_user, 1, 10000},
    {{"connections", 1, NULL, 0}, &options.connections, 1, CONNECTIONS_MAX},
    {{"batch", 1, NULL, 0}, &options.batch, 1, BATCH_MAX},
    {{"seed", 1, NULL, 0}, &options.seed, 0, INT64_MAX},
    {{"kills", 1, NULL, 0}, &options.kills, 0, 1000},
    {{"kill-every", 1, NULL, 0}, &options.kill_every, 1, 1000000},
    {{"deadline", 1, NULL, 0}, &options.deadline, 1, 86400},
};
enum { NUMBERS = sizeof numbers / sizeof numbers[0] };

static bool parse(int argc, char **argv)
{
    struct option names[NUMBERS + 3] = {0};
    for (int i = 0; i < NUMBERS; i++)
        names[i] = numbers[i].name;
    names[NUMBERS] = (struct option){"service", 1, NULL, 's'};
    names[NUMBERS + 1] = (struct option){"admin", 1, NULL, 'a'};
    for (int option, i; (option = getopt_long(argc, argv, "", names, &i)) != -1;) {
        switch (option) {
        case 's': options.service = optarg; break;
        case 'a': options.admin = optarg; break;
        case 0:
            *numbers[i].value = crowd_number(names[i].name, optarg, numbers[i].min, numbers[i].max);
            break;
        default: return false;
        }
    }
    return options.service && options.admin && optind == argc;
}

int main(int argc, char **argv)
{
    static struct client clients[CONNECTIONS_MAX];
    int broken = 0;
    if (!parse(argc, argv))
        return usage();
    if (options.seed == 0)
        options.seed = crowd_wall();
    shared.random = (uint64_t)options.seed;
    printf("seed %" PRId64 "\n", options.seed);
    PGconn *admin = PQconnectdb(options.admin);
    for (int64_t run = 1; run <= options.runs && broken == 0; run++)
        broken = run_once(run, clients, admin);
    for (int64_t i = 0; i < options.connections; i++)
        ledger_client_close(clients[i].ledger);
    PQfinish(admin);
    puts(broken ? "FAILED" : "everything holds");
    return broken ? 1 : 0;
}
