/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The ledger's batch under a closed load, as the service sends it: a fixed number of requests is
 * outstanding at all times; each connection takes what waits, up to its cap, into one batch, and
 * every answered shopper is followed by a new one at once. Prints one JSON line: grants (not
 * statements) per second, and what a request waited. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "tests/lab/tools/crowd.h"
#include "tests/lab/tools/ledger_client.h"

/* Latencies in steps of 10 µs up to 2 s; the last bucket holds whatever took longer. */
enum { BUCKETS = 200000, BUCKET_US = 10, CONNECTIONS_MAX = 64 };

static struct {
    const char *dsn, *function;
    int64_t sale, connections, outstanding, cap, seconds;
    bool crowd;
} options = {.function = "dropgate.reserve_batch",
             .sale = 1,
             .connections = 1,
             .outstanding = 1024,
             .cap = 256,
             .seconds = 5};

/** One connection's shoppers, waiting in a ring in the order in which they came. */
struct lane {
    pthread_t thread; // main: rw; the rest is the thread's until it has ended
    struct ledger_client *client;
    struct ledger_want *wants;
    struct ledger_reply *replies;
    int64_t *since;
    bool *told;        /* this id has been granted: another 201 is a replay, not a grant */
    size_t size, head; /* shoppers, and the one that has waited longest */
    uint64_t random;
    unsigned long requests, grants, units, batches;
    double server_cpu; /* seconds that the session behind this connection has computed */
    unsigned *waits;   /* histogram */
    int error;
};

static atomic_bool stop;
static atomic_ulong next_user;

/** splitmix64: a well-known generator with 64 bits of state, fast enough not to be measured. */
static uint64_t draw(struct lane *lane)
{
    uint64_t z = lane->random += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

/** A new shopper in place of an answered one. In a crowd, one in eight comes back under a user that
 * has just asked, one in sixteen repeats its request (a retry whose answer was lost), and
 * quantities are 1 to 3. */
static void new_shopper(struct lane *lane, size_t slot)
{
    struct ledger_want *want = &lane->wants[slot];
    uint64_t dice = draw(lane);
    if (options.crowd && want->quantity > 0 && (dice & 15) == 0)
        return;
    unsigned long user = options.crowd && want->quantity > 0 && (dice & 7) == 1
                             ? atomic_load(&next_user)
                             : atomic_fetch_add(&next_user, 1);
    uint64_t id[2] = {draw(lane), draw(lane)};
    lane->told[slot] = false;
    memcpy(want->id, id, sizeof want->id);
    want->quantity = options.crowd ? 1 + (int32_t)((dice >> 32) % 3) : 1;
    memset(want->fingerprint, want->quantity, sizeof want->fingerprint);
    snprintf(want->user, sizeof want->user, "shopper-%lu", user);
}

/** Sends what waits: the ring's head, up to the cap and up to the ring's end (arrays are
 * contiguous). */
static int one_batch(struct lane *lane)
{
    size_t count = lane->size - lane->head;
    if (count > (size_t)options.cap)
        count = (size_t)options.cap;
    int error = ledger_client_reserve(lane->client, (int32_t)options.sale, lane->wants + lane->head,
                                      count, lane->replies);
    if (error)
        return error;
    int64_t now = crowd_now();
    for (size_t i = 0; i < count; i++) {
        size_t slot = lane->head + i;
        int64_t waited = (now - lane->since[slot]) / BUCKET_US;
        lane->waits[waited < BUCKETS ? waited : BUCKETS - 1]++;
        if (lane->replies[i].status == 201 && !lane->told[slot]) {
            lane->told[slot] = true;
            lane->grants++;
            lane->units += (unsigned long)lane->replies[i].quantity;
        }
        if (lane->replies[i].status == 0)
            continue; /* not decided: this one asks again */
        new_shopper(lane, slot);
        lane->since[slot] = now;
    }
    lane->requests += count;
    lane->batches++;
    lane->head += count;
    if (lane->head == lane->size)
        lane->head = 0;
    return 0;
}

/** Processor seconds of the session's own process so far (proc(5): utime and stime), or 0 if it is
 * not on this machine. Unlike rates this is comparable between runs on a busy machine. */
static double server_cpu(const struct lane *lane)
{
    char path[64];
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/stat",
             PQbackendPID(ledger_client_connection(lane->client)));
    FILE *stat = fopen(path, "r");
    if (!stat)
        return 0;
    if (fscanf(stat, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
               &system) != 2)
        user = system = 0;
    fclose(stat);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static void *run_lane(void *argument)
{
    struct lane *lane = argument;
    int64_t now = crowd_now();
    for (size_t i = 0; i < lane->size; i++) {
        new_shopper(lane, i);
        lane->since[i] = now;
    }
    lane->server_cpu = server_cpu(lane);
    while (!lane->error && !atomic_load(&stop))
        lane->error = one_batch(lane);
    lane->server_cpu = server_cpu(lane) - lane->server_cpu;
    return NULL;
}

static int open_lane(struct lane *lane)
{
    lane->size = (size_t)(options.outstanding / options.connections);
    lane->client = options.function ? ledger_client_open_function(options.dsn, options.function)
                                    : ledger_client_open(options.dsn);
    lane->wants = calloc(lane->size, sizeof *lane->wants);
    lane->replies = calloc(lane->size, sizeof *lane->replies);
    lane->since = calloc(lane->size, sizeof *lane->since);
    lane->told = calloc(lane->size, sizeof *lane->told);
    lane->waits = calloc(BUCKETS, sizeof *lane->waits);
    if (getrandom(&lane->random, sizeof lane->random, 0) != sizeof lane->random)
        return -EIO;
    if (!lane->client)
        return -ENOTCONN;
    return lane->wants && lane->replies && lane->since && lane->told && lane->waits ? 0 : -ENOMEM;
}

static void close_lane(struct lane *lane)
{
    ledger_client_close(lane->client);
    free(lane->wants);
    free(lane->replies);
    free(lane->since);
    free(lane->told);
    free(lane->waits);
}

/** The wait that `share` of all requests did not exceed, in milliseconds. */
static double quantile(const struct lane *lanes, unsigned long requests, double share)
{
    unsigned long below = 0;
    for (int bucket = 0; bucket < BUCKETS; bucket++) {
        for (int64_t i = 0; i < options.connections; i++)
            below += lanes[i].waits[bucket];
        if ((double)below >= share * (double)requests)
            return (bucket + 1) * (BUCKET_US / 1e3);
    }
    return BUCKETS * (BUCKET_US / 1e3);
}

static void print_result(const struct lane *lanes, double seconds)
{
    unsigned long requests = 0, grants = 0, units = 0, batches = 0;
    double cpu = 0;
    for (int64_t i = 0; i < options.connections; i++) {
        cpu += lanes[i].server_cpu;
        requests += lanes[i].requests;
        grants += lanes[i].grants;
        units += lanes[i].units;
        batches += lanes[i].batches;
    }
    printf("{\"connections\": %" PRId64 ", \"outstanding\": %" PRId64 ", \"cap\": %" PRId64 ", ",
           options.connections, options.outstanding, options.cap);
    printf("\"requests\": %lu, \"granted\": %lu, \"units\": %lu, \"batches\": %lu, ", requests,
           grants, units, batches);
    printf("\"seconds\": %.3f, \"grants_per_s\": %.0f, \"statements_per_s\": %.0f, ", seconds,
           (double)grants / seconds, (double)batches / seconds);
    printf("\"cpu_us_per_grant\": %.1f, ", grants ? cpu * 1e6 / (double)grants : 0);
    printf("\"p50_ms\": %.2f, \"p99_ms\": %.2f}\n", quantile(lanes, requests, 0.50),
           quantile(lanes, requests, 0.99));
}

static int usage(void)
{
    fputs("usage: bench_deduct -d DSN [-s SALE] [-c CONNECTIONS] [-o OUTSTANDING] [-n CAP]\n"
          "                    [-t SECONDS] [-m simple|crowd] [-f FUNCTION]\n",
          stderr);
    return 2;
}

static bool parse(int argc, char **argv)
{
    for (int option; (option = getopt(argc, argv, "d:s:c:o:n:t:m:f:")) != -1;) {
        switch (option) {
        case 'd': options.dsn = optarg; break;
        case 's': options.sale = crowd_number("-s", optarg, 1, INT32_MAX); break;
        case 'c': options.connections = crowd_number("-c", optarg, 1, CONNECTIONS_MAX); break;
        case 'o': options.outstanding = crowd_number("-o", optarg, 1, 100000); break;
        case 'n': options.cap = crowd_number("-n", optarg, 1, 10000); break;
        case 't': options.seconds = crowd_number("-t", optarg, 1, 3600); break;
        case 'f': options.function = optarg; break;
        case 'm': options.crowd = strcmp(optarg, "crowd") == 0; break;
        default: return false;
        }
    }
    return options.dsn && optind == argc && options.outstanding >= options.connections;
}

int main(int argc, char **argv)
{
    static struct lane lanes[CONNECTIONS_MAX];
    int error = 0;
    if (!parse(argc, argv))
        return usage();
    atomic_store(&next_user, (unsigned long)crowd_now()); /* never a user of an earlier run */
    for (int64_t i = 0; i < options.connections && !error; i++)
        error = open_lane(&lanes[i]);
    if (error) {
        fprintf(stderr, "bench_deduct: %s\n", strerror(-error));
        return 1;
    }
    int64_t began = crowd_now();
    for (int64_t i = 0; i < options.connections; i++)
        pthread_create(&lanes[i].thread, NULL, run_lane, &lanes[i]);
    nanosleep(&(struct timespec){.tv_sec = options.seconds}, NULL);
    atomic_store(&stop, true);
    for (int64_t i = 0; i < options.connections; i++) {
        pthread_join(lanes[i].thread, NULL);
        if (lanes[i].error)
            error = lanes[i].error;
    }
    print_result(lanes, (double)(crowd_now() - began) / 1e6);
    for (int64_t i = 0; i < options.connections; i++)
        close_lane(&lanes[i]);
    return error ? 1 : 0;
}
