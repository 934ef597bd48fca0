/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A crowd of shoppers at one sale: each with a user, a source address and TCP connections of its
 * own. Progress goes to stdout as a line of JSON twice a second, the result as the last line; what
 * every shopper was told goes to the history file. SIGUSR1 says that nothing more falls due: the
 * refused ask once more and go home. */
#include <err.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include "shopper.h"

enum { TICK_MS = 5, EVENTS = 256, PROGRESS_US = 500000, SPARE_FILES = 64 };

static const char usage[] =
    "usage: shoppers --to ADDRESS:PORT [--to [ADDRESS6]:PORT] --sale N [options]\n"
    "  --shoppers N     how many (2000)            --within S      they arrive within S seconds "
    "(10)\n"
    "  --quantity N     they want 1..N units (1)   --prefix TEXT   of their user names (shopper-)\n"
    "  --cancel P       percent that cancel (0)    --replay P      percent that repeat a granted "
    "request (0)\n"
    "  --timeout S      for one request (15)       --patience MS   cap on a Retry-After (2000)\n"
    "  --deadline S     all must be done by (120)  --history FILE  JSON lines of everything they "
    "were told\n"
    "  --rest           nothing falls due from the start: a refusal is final\n"
    "  --evenly         they arrive at one rate; without it most are there when the doors open\n";

struct run {
    struct shop shop;
    unsigned shoppers;
    int64_t within;
    bool evenly;
    struct shopper *crowd;
    int64_t start;
    int signals;
};

static void open_history(struct run *run, const char *path)
{
    run->shop.history = fopen(path, "w");
    if (run->shop.history == NULL)
        err(1, "%s", path);
}

static void set_option(struct run *run, int option, const char *value)
{
    struct shop *shop = &run->shop;
    switch (option) {
    case 't': crowd_target_add(&shop->target, value); break;
    case 's': shop->sale = (int)crowd_number("--sale", value, 1, INT32_MAX); break;
    case 'n': run->shoppers = (unsigned)crowd_number("--shoppers", value, 1, 500000); break;
    case 'w': run->within = crowd_number("--within", value, 0, 3600) * 1000000; break;
    case 'q': shop->quantity_max = (int)crowd_number("--quantity", value, 1, 1000); break;
    case 'x': shop->prefix = value; break;
    case 'c': shop->cancel_percent = (int)crowd_number("--cancel", value, 0, 100); break;
    case 'r': shop->replay_percent = (int)crowd_number("--replay", value, 0, 100); break;
    case 'o': shop->timeout = crowd_number("--timeout", value, 1, 600) * 1000000; break;
    case 'p': shop->patience = crowd_number("--patience", value, 1, 600000) * 1000; break;
    case 'd': shop->deadline = crowd_number("--deadline", value, 1, 86400) * 1000000; break;
    case 'h': open_history(run, value); break;
    case 'R': shop->at_rest = true; break;
    case 'e': run->evenly = true; break;
    default: fputs(usage, stderr); exit(2);
    }
}

static void read_options(struct run *run, int argc, char **argv)
{
    static const struct option options[] = {
        {"to", 1, NULL, 't'},       {"sale", 1, NULL, 's'},     {"shoppers", 1, NULL, 'n'},
        {"within", 1, NULL, 'w'},   {"quantity", 1, NULL, 'q'}, {"prefix", 1, NULL, 'x'},
        {"cancel", 1, NULL, 'c'},   {"replay", 1, NULL, 'r'},   {"timeout", 1, NULL, 'o'},
        {"patience", 1, NULL, 'p'}, {"deadline", 1, NULL, 'd'}, {"history", 1, NULL, 'h'},
        {"rest", 0, NULL, 'R'},     {"evenly", 0, NULL, 'e'},   {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        set_option(run, option, optarg);
    if (optind != argc || run->shop.sale == 0 ||
        (run->shop.target.length[0] == 0 && run->shop.target.length[1] == 0)) {
        fputs(usage, stderr);
        exit(2);
    }
}

static void gather(struct run *run)
{
    struct shop *shop = &run->shop;
    crowd_allow_files(run->shoppers + SPARE_FILES);
    run->crowd = calloc(run->shoppers, sizeof *run->crowd);
    shop->epoll = epoll_create1(EPOLL_CLOEXEC);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    run->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (run->crowd == NULL)
        errx(1, "no memory for %u shoppers", run->shoppers);
    if (shop->epoll < 0 || run->signals < 0 ||
        epoll_ctl(shop->epoll, EPOLL_CTL_ADD, run->signals, &event) != 0)
        err(1, "starting");
    run->start = crowd_now();
    shop->deadline += run->start;
    for (unsigned n = 0; n < run->shoppers; n++) {
        /* The doors open and most are there at once: the square of a uniform draw. */
        double draw = (double)random() / RAND_MAX;
        double at = run->evenly ? (double)n / run->shoppers : draw * draw;
        shopper_init(&run->crowd[n], n, run->start + (int64_t)((double)run->within * at));
    }
}

/* The rest begins: whoever holds off asks now (spread over half a second), for the last time. */
static void begin_rest(struct run *run)
{
    struct signalfd_siginfo ignored;
    while (read(run->signals, &ignored, sizeof ignored) > 0)
        continue;
    run->shop.at_rest = true;
    for (struct shopper *shopper = run->crowd; shopper < run->crowd + run->shoppers; shopper++)
        shopper_on_rest(shopper);
}

static unsigned act_on_time(struct run *run, int64_t now)
{
    unsigned present = 0;
    for (struct shopper *shopper = run->crowd; shopper < run->crowd + run->shoppers; shopper++) {
        if (shopper->state != SHOPPER_GONE && shopper->due <= now)
            shopper_on_time(&run->shop, shopper);
        present += shopper->state != SHOPPER_GONE;
    }
    return present;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double percentile(const struct shop *shop, double share)
{
    if (shop->latencies == 0)
        return 0;
    return shop->latency[(size_t)((double)(shop->latencies - 1) * share)] / 1000.0;
}

static unsigned count_broken(const struct shop *shop)
{
    unsigned count = 0;
    for (int how = 0; how < BREAK_KINDS; how++)
        count += shop->broken[how];
    return count;
}

/* "settled": all have arrived, and each one has gone or holds off; only a change of stock can move
 * anything. */
static void print_progress(const struct run *run, unsigned present)
{
    const struct shop *shop = &run->shop;
    bool settled = shop->arrived == run->shoppers && present == shop->holding_off;
    printf("{\"seconds\":%.1f,\"shoppers\":%u,\"arrived\":%u,\"answered\":%u,\"granted\":%u,"
           "\"cancelled\":%u,"
           "\"holding_off\":%u,\"present\":%u,\"requests\":%u,\"broken\":%u,\"settled\":%s}\n",
           (double)(crowd_now() - run->start) / 1e6, run->shoppers, shop->arrived,
           shop->first_answers, shop->granted, shop->cancelled, shop->holding_off, present,
           shop->requests, count_broken(shop), settled ? "true" : "false");
    fflush(stdout);
}

static void print_result(struct run *run)
{
    struct shop *shop = &run->shop;
    if (shop->latencies != 0)
        qsort(shop->latency, shop->latencies, sizeof *shop->latency, compare);
    printf("{\"result\":{\"attempted\":%u,\"granted\":%u,\"sold_out\":%u,\"cancelled\":%u,"
           "\"failed\":%u,"
           "\"p50_ms\":%.2f,\"p99_ms\":%.2f,\"max_ms\":%.2f,\"seconds\":%.1f,\"requests\":%u,"
           "\"connection_failures\":%u,\"failures\":{\"connect\":%u,\"reset\":%u,\"closed\":%u,"
           "\"timeout\":%u},\"changed_replays\":%u,\"answers\":{",
           run->shoppers, shop->granted, shop->refused_for_good, shop->cancelled, shop->failed,
           percentile(shop, 0.5), percentile(shop, 0.99), percentile(shop, 1),
           (double)(crowd_now() - run->start) / 1e6, shop->requests, count_broken(shop),
           shop->broken[BREAK_CONNECT], shop->broken[BREAK_RESET], shop->broken[BREAK_CLOSED],
           shop->broken[BREAK_TIMEOUT], shop->changed);
    const char *comma = "";
    for (int status = 0; status < 600; status++) {
        if (shop->status[status] == 0)
            continue;
        printf("%s\"%d\":%u", comma, status, shop->status[status]);
        comma = ",";
    }
    printf("}}}\n");
}

static void live(struct run *run)
{
    struct shop *shop = &run->shop;
    int64_t next_progress = run->start;
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(shop->epoll, events, EVENTS, TICK_MS);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL)
                begin_rest(run);
            else
                shopper_on_event(shop, events[i].data.ptr, events[i].events);
        }
        int64_t now = crowd_now();
        unsigned present = act_on_time(run, now);
        if (now >= next_progress || present == 0) {
            print_progress(run, present);
            next_progress = now + PROGRESS_US;
        }
        if (present == 0 || now >= shop->deadline)
            return;
    }
}

int main(int argc, char **argv)
{
    static struct run run = {
        .shop = {.prefix = "shopper-",
                 .quantity_max = 1,
                 .timeout = 15000000,
                 .patience = 2000000,
                 .deadline = 120000000},
        .shoppers = 2000,
        .within = 10000000,
    };
    read_options(&run, argc, argv);
    gather(&run);
    live(&run);
    for (unsigned n = 0; n < run.shoppers; n++)
        shopper_give_up(&run.shop, &run.crowd[n]);
    print_result(&run);
    if (run.shop.history != NULL && fclose(run.shop.history) != 0)
        err(1, "writing the history");
    return run.shop.failed == 0 && run.shop.changed == 0 ? 0 : 1;
}
