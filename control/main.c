/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * dropgate-control: the purchase service. Starts the parts in the order in which they need each
 * other, waits for a signal, and ends them in the opposite order. Exit status: 0 after SIGTERM or
 * SIGINT, 1 if it cannot start, 2 if the command line or the configuration is wrong. */
#include <errno.h>
#include <event2/event.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "common/log.h"
#include "control/api/server.h"
#include "control/catalog/refresh.h"
#include "control/payment/engine.h"
#include "control/settings.h"

enum { EXIT_USAGE = 2, DESCRIPTORS_BESIDE = 512 };

static const char USAGE[] =
    "usage: dropgate-control -c FILE [--check | --show-config]\n"
    "       dropgate-control --sample | --help\n"
    "  -c, --config FILE   the configuration\n"
    "      --check         read it, say whether it is good, and exit\n"
    "      --show-config   print every key with its effective value, and exit\n"
    "      --sample        print a commented sample configuration, and exit\n";

struct options {
    const char *config;
    bool check, show, sample, help;
};

static int read_options(int argc, char **argv, struct options *out)
{
    static const struct option LONG[] = {
        {"config", required_argument, NULL, 'c'}, {"check", no_argument, NULL, 'k'},
        {"show-config", no_argument, NULL, 's'},  {"sample", no_argument, NULL, 'e'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
    for (int c; (c = getopt_long(argc, argv, "c:h", LONG, NULL)) != -1;) {
        switch (c) {
        case 'c': out->config = optarg; break;
        case 'k': out->check = true; break;
        case 's': out->show = true; break;
        case 'e': out->sample = true; break;
        case 'h': out->help = true; break;
        default: return -EINVAL;
        }
    }
    if (optind < argc || (!out->config && !out->sample && !out->help))
        return -EINVAL;
    return 0;
}

/* Connections need descriptors; the soft limit is often 1,024 though the hard one is far higher. */
static void raise_descriptors(const struct settings *settings)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)settings->control.connections_max + DESCRIPTORS_BESIDE;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur < wanted)
        log_warn("few_descriptors",
                 "only %llu open files are allowed, connections_max needs %llu: raise LimitNOFILE",
                 (unsigned long long)limit.rlim_cur, (unsigned long long)wanted);
}

/* Blocked in every thread; main takes them one by one. */
static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* Gives load balancers time to see /readyz; a second signal cuts it short. */
static void give_notice(const struct settings *settings, const sigset_t *signals)
{
    int64_t ms = settings->control.drain_notice;
    const struct timespec notice = {ms / 1000, ms % 1000 * 1000000};
    if (ms > 0)
        sigtimedwait(signals, NULL, &notice);
}

struct service {
    const struct settings *settings;
    const char *path;          /* of the configuration */
    struct settings *reloaded; /* what SIGHUP has read last; only its rules are looked at */
    struct admission *admission;
    struct server *server;
    struct token_keys *tokens;
    struct connector *connector;
    struct ledger *ledger;
    struct lookup *lookup;
    struct payments *payments; /* NULL: none are taken */
    struct refresh *refresh;
    struct outbox *outbox;
    struct events_token *events_token;
    struct catalog catalog;
    struct api_context context;
};

/* ---- SIGHUP ---- */

/* A change that stands in the way of a reload: the key is only read at a start. */
static void look_for_boot(void *context, const struct conf_change *change)
{
    int *boots = context;
    if (change->when != CONF_BOOT)
        return;
    ++*boots;
    log_error("reload_refused", "%s: %s: only a restart takes this", change->what, change->text);
}

static void tell_change(void *context, const struct conf_change *change)
{
    (void)context;
    log_info("reload_change", "%s: %s", change->what, change->text);
}

/* Puts new rules in force, or says why nothing changes. False: `after` is the caller's. */
static bool take_over(struct service *s, struct settings *after)
{
    const struct settings *before = s->reloaded ? s->reloaded : s->settings;
    int boots = 0, changes = conf_diff(&SETTINGS_SCHEMA, before, after, look_for_boot, &boots);
    if (boots > 0) {
        log_error("reload_refused", "%d of %d changes need a restart; nothing was changed", boots,
                  changes);
        return false;
    }
    if (changes < 0 || admission_replace(s->admission, &after->rules)) {
        log_error("reload_refused", "memory is short; nothing was changed");
        return false;
    }
    conf_diff(&SETTINGS_SCHEMA, before, after, tell_change, NULL);
    log_info("reload", "%s: read again, %d %s in force", s->path, changes,
             changes == 1 ? "change is" : "changes are");
    conf_free(&SETTINGS_SCHEMA, s->reloaded);
    s->reloaded = after;
    return true;
}

static void reload(struct service *s)
{
    char why[CONF_WHY];
    struct settings *after = conf_load(&SETTINGS_SCHEMA, s->path, why);
    admission_report(s->admission);
    if (!after)
        log_error("reload_refused", "%s; nothing was changed", why);
    else if (!take_over(s, after))
        conf_free(&SETTINGS_SCHEMA, after);
}

static void wait_for_end(struct service *s, const sigset_t *signals)
{
    for (int number = 0;;) {
        if (sigwait(signals, &number))
            continue;
        if (number != SIGHUP)
            return;
        reload(s);
    }
}

/* ---- start and end ---- */

static int start(struct service *s)
{
    char why[CONF_WHY];
    s->admission = admission_new();
    if (!s->admission || admission_replace(s->admission, &s->settings->rules)) {
        log_error("cannot_start", "memory is short");
        return -ENOMEM;
    }
    bool tokens = s->settings->control.identity == IDENTITY_JWT;
    s->tokens = tokens ? token_keys_open(s->settings, why, sizeof why) : NULL;
    if (tokens && !s->tokens) {
        log_error("cannot_start", "%s", why);
        return -EINVAL;
    }
    bool payments = s->settings->payment.provider != PAYMENT_PROVIDER_NONE;
    s->payments = payments ? payments_open(&s->settings->payment, why, sizeof why) : NULL;
    if (payments && !s->payments) {
        log_error("cannot_start", "%s", why);
        return -EINVAL;
    }
    const char *token_file = s->settings->events.token_file;
    s->events_token = token_file ? events_token_open(token_file, why, sizeof why) : NULL;
    if (token_file && !s->events_token) {
        log_error("cannot_start", "%s", why);
        return -EINVAL;
    }
    s->server = server_open(s->settings, why, sizeof why);
    if (!s->server) {
        log_error("cannot_start", "%s", why);
        return -EADDRINUSE;
    }
    s->connector = connector_start(&s->settings->database);
    s->ledger = s->connector ? ledger_start(&s->settings->control, s->connector) : NULL;
    s->lookup = s->ledger ? lookup_start(&s->settings->control, s->connector) : NULL;
    s->refresh = s->lookup
                     ? refresh_start(&s->settings->catalog, s->connector, s->ledger, &s->catalog)
                     : NULL;
    s->outbox = s->refresh ? outbox_start(s->connector) : NULL;
    s->context = (struct api_context){.settings = s->settings,
                                      .admission = s->admission,
                                      .tokens = s->tokens,
                                      .events_token = s->events_token,
                                      .catalog = &s->catalog,
                                      .ledger = s->ledger,
                                      .lookup = s->lookup,
                                      .outbox = s->outbox,
                                      .payments = s->payments};
    if (!s->outbox || (s->payments && payments_start(s->payments, s->connector)) ||
        server_start(s->server, &s->context)) {
        log_error("cannot_start", "memory, threads or descriptors are short");
        return -ENOMEM;
    }
    return 0;
}

static void stop(struct service *s)
{
    outbox_hurry(s->outbox);
    server_drain(s->server);
    refresh_stop(s->refresh);
    ledger_stop(s->ledger);
    lookup_stop(s->lookup);
    outbox_stop(s->outbox);
    payments_stop(s->payments);
    connector_stop(s->connector);
    refresh_free(s->refresh);
    outbox_free(s->outbox);
    lookup_free(s->lookup);
    payments_free(s->payments);
    ledger_free(s->ledger);
    server_free(s->server);
    admission_report(s->admission);
    admission_free(s->admission);
    conf_free(&SETTINGS_SCHEMA, s->reloaded);
    token_keys_free(s->tokens);
    events_token_free(s->events_token);
    catalog_discard(atomic_load(&s->catalog.current));
    libevent_global_shutdown();
}

static int serve(const struct settings *settings, const char *path)
{
    sigset_t signals;
    struct service service = {.settings = settings, .path = path};
    log_open("dropgate-control", (enum log_level)settings->control.log_level);
    block_signals(&signals);
    raise_descriptors(settings);
    if (start(&service))
        return EXIT_FAILURE; /* threads may run: the process ends with them, nothing is freed */
    log_info("started", "accepting connections");
    wait_for_end(&service, &signals);
    log_info("stopping", "finishing the requests in work");
    server_announce_end(service.server);
    give_notice(settings, &signals);
    stop(&service);
    log_info("stopped", "all requests are answered");
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    if (read_options(argc, argv, &options)) {
        fputs(USAGE, stderr);
        return EXIT_USAGE;
    }
    if (options.help) {
        fputs(USAGE, stdout);
        return EXIT_SUCCESS;
    }
    if (options.sample) {
        conf_sample(&SETTINGS_SCHEMA, stdout);
        return EXIT_SUCCESS;
    }
    char why[CONF_WHY];
    struct settings *settings = conf_load(&SETTINGS_SCHEMA, options.config, why);
    if (!settings) {
        fprintf(stderr, "%s\n", why);
        return EXIT_USAGE;
    }
    int status = EXIT_SUCCESS;
    if (options.show)
        conf_show(&SETTINGS_SCHEMA, settings, stdout);
    else if (options.check)
        printf("%s: good\n", options.config);
    else
        status = serve(settings, options.config);
    conf_free(&SETTINGS_SCHEMA, settings);
    return status;
}
