/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * dropgate-dataplane: reads the configuration, opens the ports, builds the first policy, starts the
 * workers, then does the control thread's upkeep until a signal ends it. */
#include <errno.h>
#include <getopt.h>
#include <rte_eal.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>

#include "common/log.h"
#include "dataplane/ops/feed_check.h"
#include "dataplane/ops/machine.h"
#include "dataplane/ops/metrics.h"
#include "dataplane/ops/reload.h"
#include "dataplane/ops/settings.h"
#include "dataplane/ops/settings_rules.h"
#include "dataplane/ops/upkeep.h"
#include "dataplane/worker.h"

enum { EXIT_CONFIGURATION = 2, UPKEEP_NS = 5000000 };

static bool stop, hangup; /* signal handler: rw, loops: ro */

/* All that the process owns, in the order in which it is made. */
struct gateway {
    struct settings *settings;
    struct rte_mempool *pool;
    struct port ports[PORT_SIDES];
    struct policy_slot policy;
    uint32_t worker_count;
    struct worker *workers;
    struct handover *ends[STEER_WORKERS]; /* of the workers */
    struct steer *steer;                  /* NULL: one worker */
    struct addr *own_inside;
    struct upkeep upkeep;
    bool opened[PORT_SIDES];
    struct reload reload;
    struct feeds *feeds;
};

static void on_signal(int number)
{
    __atomic_store_n(number == SIGHUP ? &hangup : &stop, true, __ATOMIC_RELAXED);
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

_Static_assert((int)SETTINGS_HANDOVER_BUFFERS == (int)HANDOVER_RING, "a full ring of frames");

/* How many queues a port has is known only now; the settings were checked with one. */
static int check_buffers(const struct gateway *gateway)
{
    const struct settings *settings = gateway->settings;
    int64_t wanted = settings_worker_buffers(gateway->worker_count);
    for (int side = 0; side < PORT_SIDES; side++)
        wanted += gateway->ports[side].rx_queues * settings->port[side].rx_descriptors +
                  gateway->ports[side].tx_queues * settings->port[side].tx_descriptors;
    if (settings->gateway.buffers >= wanted)
        return 0;
    log_error("buffers",
              "[gateway] buffers = %lld: the rings of all queues and %u workers hold %lld; raise "
              "it, or lower rx_descriptors and tx_descriptors",
              (long long)settings->gateway.buffers, gateway->worker_count, (long long)wanted);
    return -1;
}

static int open_ports(struct gateway *gateway)
{
    static const char *const names[PORT_SIDES] = {[OUTSIDE] = "outside", [INSIDE] = "inside"};
    gateway->pool = ports_pool(gateway->settings);
    if (gateway->pool == NULL) {
        log_error("no_memory",
                  "no room for %lld packet buffers: raise [gateway] memory, or lower buffers",
                  (long long)gateway->settings->gateway.buffers);
        return -1;
    }
    for (int side = 0; side < PORT_SIDES; side++) {
        if (ports_open(&gateway->ports[side], &gateway->settings->port[side], names[side],
                       gateway->pool, gateway->worker_count) != 0)
            return -1;
        gateway->opened[side] = true;
    }
    return check_buffers(gateway);
}

/* What operators have said, with room for what is counted of it. */
static int make_rules(struct gateway *gateway)
{
    const struct settings *settings = gateway->settings;
    int error = upkeep_rule_slots(&gateway->upkeep, (uint32_t)settings->tables.rules);
    if (error != 0)
        return error;
    struct rules *rules = settings_rules(settings, &gateway->upkeep.rule_slots, &error);
    if (rules != NULL)
        upkeep_first_rules(&gateway->upkeep, rules);
    return error;
}

/* Each worker has its part of the room: what is asked for is a share of all. */
static size_t clients_of(void *context, struct addr *out, size_t room)
{
    const struct gateway *gateway = context;
    size_t count = 0, each = room / gateway->worker_count;
    for (uint32_t i = 0; i < gateway->worker_count; i++)
        count += flows_clients(gateway->workers[i].shard->flows, out + count, each);
    return count;
}

/* Lists are in force before the first packet; nobody reads the row yet. */
static int make_lists(struct gateway *gateway)
{
    gateway->feeds = feeds_new(clients_of, gateway);
    if (gateway->feeds == NULL)
        return -ENOMEM;
    struct lists *lists = feeds_start(gateway->feeds, settings_feeds(gateway->settings));
    builder_set((struct policy *)(uintptr_t)gateway->policy.row, PART_LISTS, lists);
    gateway->upkeep.feeds = gateway->feeds;
    return 0;
}

static int make_policy(struct gateway *gateway)
{
    int error =
        upkeep_init(&gateway->upkeep, &gateway->policy, settings_services(gateway->settings),
                    settings_limits(gateway->settings), gateway->workers, gateway->worker_count,
                    gateway->settings->cookie.master_file);
    return error == 0 ? make_rules(gateway) : error;
}

/* Who belongs to whom, under a key that nobody outside knows. One worker has everybody. */
static int make_steering(struct gateway *gateway)
{
    const struct conf_list *list = &gateway->settings->port[INSIDE].addresses;
    const struct conf_interface *inside = list->items;
    uint8_t key[STEER_KEY];
    if (gateway->worker_count == 1)
        return 0;
    gateway->steer = malloc(sizeof *gateway->steer);
    gateway->own_inside = calloc(list->count, sizeof *gateway->own_inside);
    if (gateway->steer == NULL || gateway->own_inside == NULL ||
        getrandom(key, sizeof key, 0) != sizeof key)
        return -ENOMEM;
    for (size_t i = 0; i < list->count; i++)
        gateway->own_inside[i] = inside[i].addr;
    steer_init(gateway->steer, key, gateway->worker_count, gateway->own_inside,
               (uint32_t)list->count);
    return 0;
}

static struct rte_ring *ring_of(const char *name, uint32_t worker, size_t element)
{
    char text[RTE_RING_NAMESIZE];
    snprintf(text, sizeof text, "%s%u", name, worker);
    return rte_ring_create_elem(text, (unsigned)element, WORKER_RING, (int)rte_socket_id(),
                                RING_F_SP_ENQ | RING_F_SC_DEQ);
}

static int make_worker(struct gateway *gateway, uint32_t index, unsigned lcore)
{
    struct worker *worker = &gateway->workers[index];
    const struct settings *settings = gateway->settings;
    struct siphash_key secret;
    struct shard_sizes sizes = {.flows = (uint32_t)settings->tables.flows,
                                .tombstones = (uint32_t)settings->tables.tombstones,
                                .held = (uint32_t)settings->tables.held,
                                .held_large = (uint32_t)settings->tables.held_large,
                                .held_bytes = (uint32_t)settings->tcp.window,
                                .held_per_client = (uint32_t)settings->tables.held_per_client,
                                .backends = (uint32_t)settings->tables.backends,
                                .clients = (uint32_t)settings->tables.clients,
                                .bans = (uint32_t)settings->tables.bans,
                                .rules = rule_slots_for((uint32_t)settings->tables.rules)};
    struct mac macs[PORT_SIDES] = {gateway->ports[OUTSIDE].mac, gateway->ports[INSIDE].mac};
    *worker = (struct worker){
        .policy = &gateway->policy,
        .ports = gateway->ports,
        .steer = gateway->steer,
        .pool = gateway->pool,
        .poll = settings->gateway.idle == IDLE_POLL,
        .stop = &stop,
        .lcore = lcore,
        .messages = ring_of("messages", index, sizeof(struct message)),
        .commands = ring_of("commands", index, sizeof(struct command)),
    };
    if (getrandom(&secret, sizeof secret, 0) != sizeof secret || worker->messages == NULL ||
        worker->commands == NULL)
        return -ENOMEM;
    struct shard_output output = worker_output(worker);
    worker->shard = shard_new(&sizes, &secret, &output, macs, worker_clock_ms());
    if (worker->shard == NULL)
        return -ENOMEM;
    shard_steered(worker->shard, gateway->steer, index);
    return 0;
}

/* Limits of networks are the gateway's. */
static void join_guards(struct gateway *gateway)
{
    struct guard *guards[STEER_WORKERS];
    for (uint32_t i = 0; i < gateway->worker_count; i++)
        guards[i] = &gateway->workers[i].shard->guard;
    guard_join(guards, gateway->worker_count);
}

/* Only the first probes the backends: their answers come to an own address, which is its own. */
static int make_workers(struct gateway *gateway)
{
    unsigned lcore = rte_get_main_lcore();
    int error = make_steering(gateway);
    for (uint32_t i = 0; i < gateway->worker_count && error == 0; i++) {
        lcore = rte_get_next_lcore(lcore, 1, 0);
        error = make_worker(gateway, i, lcore);
    }
    if (error == 0)
        join_guards(gateway);
    if (error == 0)
        error = handover_connect(gateway->ends, gateway->worker_count, gateway->ports);
    if (error == 0)
        error =
            shard_probe_backends(gateway->workers[0].shard, gateway->upkeep.services->backend_room);
    return error == 0 ? upkeep_lend(&gateway->upkeep) : error;
}

/* Every table is resident before the first packet: a page fault in the packet path would cost more
 * than the packet. */
static void lock_memory(void)
{
    if (mlockall(MCL_CURRENT) != 0)
        log_warn("memory_lock",
                 "memory could not be locked (%s): the first packets may wait for pages",
                 strerror(errno));
}

/* Launches all, or ends those that run already. */
static int launch(struct gateway *gateway)
{
    for (uint32_t i = 0; i < gateway->worker_count; i++)
        if (rte_eal_remote_launch(worker_run, &gateway->workers[i], gateway->workers[i].lcore) !=
            0) {
            __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
            rte_eal_mp_wait_lcore();
            return -EBUSY;
        }
    return 0;
}

static uint32_t flows_open(const struct gateway *gateway)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < gateway->worker_count; i++)
        sum += flows_count(gateway->workers[i].shard->flows);
    return sum;
}

/* Feeds are read again even if the configuration has a mistake: then by the one in force. */
static void reload_all(struct gateway *gateway)
{
    reload_run(&gateway->reload);
    feeds_load(gateway->feeds, gateway->upkeep.reader, gateway->upkeep.builder,
               settings_feeds(reload_settings(&gateway->reload)));
}

/* The reader first: it may still have something for the builder. */
static void stop_builders(struct upkeep *upkeep)
{
    if (upkeep->reader != NULL)
        builder_stop(upkeep->reader);
    builder_stop(upkeep->builder);
}

static int start_builders(struct upkeep *upkeep)
{
    upkeep->builder = builder_start(upkeep->slot);
    if (upkeep->builder == NULL)
        return -ENOMEM;
    upkeep->reader = builder_start_reader();
    if (upkeep->reader != NULL)
        return 0;
    stop_builders(upkeep);
    return -ENOMEM;
}

static int run(struct gateway *gateway)
{
    const struct timespec pause = {.tv_nsec = UPKEEP_NS};
    int error = start_builders(&gateway->upkeep);
    if (error != 0)
        return error;
    lock_memory();
    error = launch(gateway);
    if (error != 0) {
        stop_builders(&gateway->upkeep);
        return error;
    }
    log_info("started", "%u addresses served by %u backends, %u workers",
             gateway->upkeep.services->count, gateway->upkeep.services->backend_count,
             gateway->worker_count);
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        upkeep_run(&gateway->upkeep);
        if (__atomic_exchange_n(&hangup, false, __ATOMIC_RELAXED))
            reload_all(gateway);
        reload_look(&gateway->reload);
        nanosleep(&pause, NULL);
    }
    rte_eal_mp_wait_lcore();
    stop_builders(&gateway->upkeep);
    log_info("stopped", "ended by a signal, %u flows were open", flows_open(gateway));
    return 0;
}

static int check_machine(const struct settings *settings)
{
    char why[CONF_WHY];
    struct machine machine = machine_read();
    int error = machine_check(&machine, settings, why, sizeof why);
    if (error != 0)
        log_error("machine", "%s", why);
    return error;
}

static int serve(struct gateway *gateway)
{
    if (ports_start_eal(gateway->settings, "dropgate-dataplane") != 0)
        return EXIT_FAILURE;
    gateway->worker_count = (uint32_t)gateway->settings->gateway.workers;
    gateway->workers = calloc(gateway->worker_count, sizeof(struct worker));
    if (gateway->workers == NULL)
        return EXIT_FAILURE;
    for (uint32_t i = 0; i < gateway->worker_count; i++)
        gateway->ends[i] = &gateway->workers[i].handover;
    if (open_ports(gateway) != 0)
        return EXIT_FAILURE;
    int error = make_policy(gateway);
    if (error == 0)
        error = make_workers(gateway);
    if (error == 0)
        error = make_lists(gateway);
    if (error == 0)
        error = metrics_register(gateway->settings, gateway->workers, gateway->worker_count,
                                 &gateway->upkeep);
    if (error == 0)
        error = run(gateway);
    if (error != 0)
        log_error("start", "could not start: %s; lower [tables] if memory is short",
                  strerror(-error));
    return error == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static void free_workers(struct gateway *gateway)
{
    if (gateway->workers == NULL)
        return;
    handover_disconnect(gateway->ends, gateway->worker_count);
    for (uint32_t i = 0; i < gateway->worker_count; i++)
        shard_free(gateway->workers[i].shard);
    free(gateway->workers);
    free(gateway->steer);
    free(gateway->own_inside);
}

static void clean_up(struct gateway *gateway)
{
    metrics_close();
    for (int side = 0; side < PORT_SIDES; side++)
        if (gateway->opened[side])
            ports_close(&gateway->ports[side]);
    free_workers(gateway);
    rte_eal_cleanup();
    upkeep_end(&gateway->upkeep);
    feeds_free(gateway->feeds);
    reload_end(&gateway->reload);
    conf_free(&SETTINGS_SCHEMA, gateway->settings);
}

static void usage(FILE *out)
{
    fputs("usage: dropgate-dataplane -c FILE [--check | --show-config]\n"
          "       dropgate-dataplane [-c FILE] --check-feed FILE [--format FORMAT] [--feed NAME]\n"
          "       dropgate-dataplane --sample\n"
          "       dropgate-dataplane --new-master > FILE\n"
          "  -c, --config FILE  configuration (see --sample)\n"
          "      --check        read it, say what is wrong with it, and exit (0 good, 2 bad)\n"
          "      --check-feed   say what would become of a list of addresses: whether it can be "
          "read,\n"
          "                     and, with -c, whether [feed NAME] (else the one with that file,\n"
          "                     else a new denylist) would take it (0), or not (1)\n"
          "      --show-config  print it with every default filled in\n"
          "      --sample       print a commented sample\n"
          "      --new-master   print a new master key for [cookie] master_file\n",
          out);
}

/* What the command line says. */
struct options {
    const char *path, *list, *format, *feed;
    int mode; /* OPTION_CHECK, OPTION_SHOW, or 0 */
};

enum {
    OPTION_CHECK = 256,
    OPTION_SHOW,
    OPTION_SAMPLE,
    OPTION_MASTER,
    OPTION_CHECK_FEED,
    OPTION_FORMAT,
    OPTION_FEED
};

/* Returns false, and with what status to end, when nothing is left to be done. */
static bool read_options(int argc, char **argv, struct options *options, int *status)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'},
        {"check", no_argument, NULL, OPTION_CHECK},
        {"show-config", no_argument, NULL, OPTION_SHOW},
        {"sample", no_argument, NULL, OPTION_SAMPLE},
        {"new-master", no_argument, NULL, OPTION_MASTER},
        {"check-feed", required_argument, NULL, OPTION_CHECK_FEED},
        {"format", required_argument, NULL, OPTION_FORMAT},
        {"feed", required_argument, NULL, OPTION_FEED},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0}};
    int letter;
    *status = EXIT_SUCCESS;
    while ((letter = getopt_long(argc, argv, "c:h", longs, NULL)) != -1) {
        switch (letter) {
        case 'c': options->path = optarg; break;
        case 'h': usage(stdout); return false;
        case OPTION_SAMPLE: conf_sample(&SETTINGS_SCHEMA, stdout); return false;
        case OPTION_MASTER:
            *status = master_print(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
            return false;
        case OPTION_CHECK_FEED: options->list = optarg; break;
        case OPTION_FORMAT: options->format = optarg; break;
        case OPTION_FEED: options->feed = optarg; break;
        case OPTION_CHECK:
        case OPTION_SHOW: options->mode = letter; break;
        default:
            usage(stderr);
            *status = EXIT_CONFIGURATION;
            return false;
        }
    }
    return true;
}

/* What is asked about the settings without serving by them. */
static int show(const struct settings *settings, const struct options *options)
{
    if (options->list != NULL)
        return feed_check(options->list, options->format, settings, options->feed, stdout);
    if (options->mode == OPTION_SHOW)
        conf_show(&SETTINGS_SCHEMA, settings, stdout);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    struct gateway gateway = {0};
    char why[CONF_WHY];
    int status;
    if (!read_options(argc, argv, &options, &status))
        return status;
    if (options.list != NULL && options.path == NULL && options.feed == NULL && optind == argc)
        return feed_check(options.list, options.format, NULL, NULL, stdout);
    if (options.path == NULL || optind != argc ||
        (options.list == NULL && (options.format != NULL || options.feed != NULL))) {
        usage(stderr);
        return EXIT_CONFIGURATION;
    }
    gateway.settings = conf_load(&SETTINGS_SCHEMA, options.path, why);
    if (gateway.settings == NULL) {
        fprintf(stderr, "%s\n", why);
        return EXIT_CONFIGURATION;
    }
    if (options.list != NULL || options.mode != 0) {
        status = show(gateway.settings, &options);
        conf_free(&SETTINGS_SCHEMA, gateway.settings);
        return status;
    }
    log_open("dropgate-dataplane", (enum log_level)gateway.settings->gateway.log_level);
    if (check_machine(gateway.settings) != 0) {
        conf_free(&SETTINGS_SCHEMA, gateway.settings);
        return EXIT_FAILURE;
    }
    gateway.reload =
        (struct reload){.path = options.path, .first = gateway.settings, .upkeep = &gateway.upkeep};
    catch_signals();
    status = serve(&gateway);
    clean_up(&gateway);
    return status;
}
