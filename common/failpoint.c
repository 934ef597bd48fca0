/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The table is read once and never changes afterwards but for its counters, which any thread counts
 * up: of many threads that pass together, exactly one is the Nth. */
#include "common/failpoint.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"

enum { POINTS_MAX = 16, NAME_MAX_BYTES = 63, EXIT_MALFORMED = 2 };

enum action { ACTION_ABORT, ACTION_STOP, ACTION_SLEEP, ACTION_ERROR, ACTIONS };

static const char *const ACTION_NAMES[ACTIONS] = {"abort", "stop", "sleep", "error"};

struct point {
    char name[NAME_MAX_BYTES + 1];
    enum action action;
    uint32_t milliseconds; /* ACTION_SLEEP only */
    uint32_t nth;
    _Atomic uint32_t passed;
};

static struct point points[POINTS_MAX];
static size_t point_count;
static pthread_once_t reading = PTHREAD_ONCE_INIT;

/* A number from 1 behind a colon; moves `*at` behind it. False if there is none. */
static bool read_number(const char **at, uint32_t *out)
{
    if (**at != ':' || (*at)[1] < '1' || (*at)[1] > '9')
        return false;
    char *end;
    errno = 0;
    unsigned long value = strtoul(*at + 1, &end, 10);
    if (errno || value > UINT32_MAX)
        return false;
    *out = (uint32_t)value;
    *at = end;
    return true;
}

static bool read_action(const char **at, enum action *out)
{
    for (int a = 0; a < ACTIONS; a++) {
        size_t length = strlen(ACTION_NAMES[a]);
        if (strncmp(*at, ACTION_NAMES[a], length) == 0) {
            *out = (enum action)a;
            *at += length;
            return true;
        }
    }
    return false;
}

/* One PLACE=ACTION[:N]; moves `*at` behind it. */
static bool read_point(const char **at, struct point *p)
{
    size_t length = strspn(*at, "abcdefghijklmnopqrstuvwxyz0123456789_.");
    if (length == 0 || length > NAME_MAX_BYTES || (*at)[length] != '=')
        return false;
    memcpy(p->name, *at, length);
    *at += length + 1;
    p->nth = 1;
    if (!read_action(at, &p->action))
        return false;
    if (p->action == ACTION_SLEEP && !read_number(at, &p->milliseconds))
        return false;
    if (**at == ':' && !read_number(at, &p->nth))
        return false;
    return **at == '\0' || **at == ',';
}

static void read_environment(void)
{
    const char *text = getenv("DROPGATE_FAILPOINTS");
    for (const char *at = text; at && *at;) {
        if (point_count == POINTS_MAX || !read_point(&at, &points[point_count])) {
            log_error("failpoint_malformed", "DROPGATE_FAILPOINTS=%s: not PLACE=ACTION[:N],…",
                      text);
            _exit(EXIT_MALFORMED);
        }
        point_count++;
        at += *at == ',';
    }
}

static bool act(const struct point *p)
{
    log_warn("failpoint", "%s %s", p->name, ACTION_NAMES[p->action]);
    struct timespec pause = {p->milliseconds / 1000, p->milliseconds % 1000 * 1000000L};
    switch (p->action) {
    case ACTION_ABORT: kill(getpid(), SIGKILL); break;
    case ACTION_STOP: kill(getpid(), SIGSTOP); break;
    case ACTION_SLEEP:
        while (nanosleep(&pause, &pause) && errno == EINTR)
            continue;
        break;
    default: break;
    }
    return p->action == ACTION_ERROR;
}

bool failpoint_pass(const char *name)
{
    pthread_once(&reading, read_environment);
    bool fails = false;
    for (size_t i = 0; i < point_count; i++) { /* all: a place may be named twice */
        struct point *p = &points[i];
        if (strcmp(p->name, name) == 0 && ++p->passed == p->nth)
            fails = act(p) || fails;
    }
    return fails;
}
