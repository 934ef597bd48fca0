/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * dropgate-feeds: downloads deny and allow lists into a directory, once, and ends; a timer starts
 * it again (configs/dropgate-feeds.timer). It speaks to strangers, so it runs as a user who owns
 * nothing but that directory, and refuses to be root. Exit status: 0 when every feed is as its
 * server has it, 1 when one could not be fetched, 2 when the command line or the configuration is
 * wrong. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <glob.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "feeds/fetch.h"

enum { EXIT_CONFIGURATION = 2 };

static volatile bool stop; /* signal handler: rw, main: ro */

static const char USAGE[] =
    "usage: dropgate-feeds -c FILE [--force] [NAME…]\n"
    "       dropgate-feeds -c FILE --check | --show-config\n"
    "       dropgate-feeds --sample | --help\n"
    "  NAME…               these feeds only\n"
    "  -c, --config FILE   the configuration\n"
    "      --force         ask for them whenever they were asked for last, and whole\n"
    "      --check         read it, say whether it is good, and exit\n"
    "      --show-config   print every key with its effective value, and exit\n"
    "      --sample        print a commented sample configuration, and exit\n";

struct options {
    const char *config;
    bool check, show, sample, help, force;
    char **names;
    int name_count;
};

static int read_options(int argc, char **argv, struct options *out)
{
    static const struct option LONG[] = {{"config", required_argument, NULL, 'c'},
                                         {"check", no_argument, NULL, 'k'},
                                         {"show-config", no_argument, NULL, 's'},
                                         {"sample", no_argument, NULL, 'e'},
                                         {"force", no_argument, NULL, 'f'},
                                         {"help", no_argument, NULL, 'h'},
                                         {NULL, 0, NULL, 0}};
    for (int c; (c = getopt_long(argc, argv, "c:h", LONG, NULL)) != -1;) {
        switch (c) {
        case 'c': out->config = optarg; break;
        case 'k': out->check = true; break;
        case 's': out->show = true; break;
        case 'e': out->sample = true; break;
        case 'f': out->force = true; break;
        case 'h': out->help = true; break;
        default: return -EINVAL;
        }
    }
    out->names = argv + optind;
    out->name_count = argc - optind;
    return out->config != NULL || out->sample || out->help ? 0 : -EINVAL;
}

static void on_signal(int number)
{
    (void)number;
    stop = true;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* The feeds that the command line names, or NULL with `*good` saying whether that means all. */
static bool *choose(const struct settings *settings, const struct options *options, bool *good)
{
    const struct source_settings *sources = settings->sources.items;
    bool *wanted = options->name_count ? calloc(settings->sources.count, sizeof *wanted) : NULL;
    *good = options->name_count == 0 || wanted != NULL;
    for (int n = 0; wanted != NULL && n < options->name_count; n++) {
        size_t i = 0;
        while (i < settings->sources.count && strcmp(sources[i].name, options->names[n]) != 0)
            i++;
        if (i == settings->sources.count) {
            fprintf(stderr, "%s: there is no [feed %s]\n", options->config, options->names[n]);
            free(wanted);
            *good = false;
            return NULL;
        }
        wanted[i] = true;
    }
    return wanted;
}

/* One run at a time; the lock is the directory's own, and goes with the process. */
static int take_directory(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || faccessat(fd, ".", W_OK, 0) != 0) {
        log_error("directory", "[fetch] directory = %s: %s", path, strerror(errno));
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    log_error("directory", "[fetch] directory = %s: another run is under way", path);
    close(fd);
    return -1;
}

/* A feed may have a name that looks like what is left of another: firehol.netset beside firehol. */
static bool is_feed(const struct settings *settings, const char *path)
{
    const struct source_settings *sources = settings->sources.items;
    const char *name = strrchr(path, '/') + 1;
    for (size_t i = 0; i < settings->sources.count; i++)
        if (strcmp(sources[i].name, name) == 0)
            return true;
    return false;
}

/* What a run that was killed has left beside the files. */
static void sweep(const struct settings *settings)
{
    static const char *const forms[] = {"%s/%s.??????", "%s/.%s.json.??????"};
    const struct source_settings *sources = settings->sources.items;
    for (size_t i = 0; i < 2 * settings->sources.count; i++) {
        char pattern[PATH_MAX];
        glob_t found;
        int length = snprintf(pattern, sizeof pattern, forms[i % 2], settings->fetch.directory,
                              sources[i / 2].name);
        if (length >= (int)sizeof pattern || glob(pattern, GLOB_NOSORT, NULL, &found) != 0)
            continue;
        for (size_t k = 0; k < found.gl_pathc; k++)
            if (!is_feed(settings, found.gl_pathv[k]))
                unlink(found.gl_pathv[k]);
        globfree(&found);
    }
}

static int serve(const struct settings *settings, const struct options *options)
{
    struct fetched fetched;
    bool good;
    bool *wanted = choose(settings, options, &good);
    if (!good)
        return EXIT_CONFIGURATION;
    int fd = take_directory(settings->fetch.directory), error = -EBUSY;
    if (fd >= 0) {
        sweep(settings);
        error = fetch_all(settings, wanted, options->force, &stop, &fetched);
        if (error != 0)
            log_error("start", "nothing could be fetched: %s", strerror(-error));
        close(fd);
    }
    free(wanted);
    if (error != 0)
        return EXIT_FAILURE;
    log_info("done",
             "%u feeds changed, %u not, %u left out until their interval is over, %u failed",
             fetched.changed, fetched.unchanged, fetched.early, fetched.failed);
    return fetched.failed != 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    char why[CONF_WHY];
    if (read_options(argc, argv, &options) != 0) {
        fputs(USAGE, stderr);
        return EXIT_CONFIGURATION;
    }
    if (options.help || options.sample) {
        if (options.help)
            fputs(USAGE, stdout);
        else
            conf_sample(&FEEDS_SCHEMA, stdout);
        return EXIT_SUCCESS;
    }
    struct settings *settings = conf_load(&FEEDS_SCHEMA, options.config, why);
    if (settings == NULL) {
        fprintf(stderr, "%s\n", why);
        return EXIT_CONFIGURATION;
    }
    int status = EXIT_SUCCESS;
    if (options.show) {
        conf_show(&FEEDS_SCHEMA, settings, stdout);
    } else if (!options.check && geteuid() == 0) {
        fputs("dropgate-feeds downloads from strangers and must not be root: run it as a user who "
              "owns the directory "
              "and nothing else (configs/dropgate-feeds.service)\n",
              stderr);
        status = EXIT_CONFIGURATION;
    } else if (!options.check) {
        log_open("dropgate-feeds", LOG_LEVEL_INFO);
        umask(022);
        catch_signals();
        status = serve(settings, &options);
    }
    conf_free(&FEEDS_SCHEMA, settings);
    return status;
}
