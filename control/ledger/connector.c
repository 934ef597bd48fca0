/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * One loop, which never blocks: probes (one session per target, asked every WATCH_MS who it is) and
 * one opening at a time, for the link that has waited longest. Before a link is given a connection,
 * every target that can answer has answered since that link asked: between a link's loss and its
 * next connection a standby may have been promoted and the old primary come back. */
#include "control/ledger/connector.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "control/clock.h"
#include "control/ledger/lineage.h"
#include "control/ledger/session.h"
#include "control/ledger/statements.h"

enum {
    PAUSE_FIRST_MS = 50, /* between attempts to give links a connection */
    PAUSE_MAX_MS = 1000,
    WATCH_MS = 1000,        /* between looks at a target, and between attempts to reach it */
    GRACE_MS = 500,         /* for one that did not answer before */
    NAMES_MS = 30000,       /* between look-ups of names */
    NAMES_PENDING_MS = 20,  /* a look-up under way is asked after */
    NAMES_TROUBLE_MS = 5000 /* between look-ups while there is no primary */
};

/* What is known of one target. */
struct probe {
    struct target target;
    struct session session;
    struct sighting seen;
    int64_t asked; /* when the question was begun that `seen` answers, ns; 0 if there is none yet */
    int64_t next;  /* when it is looked at again, ns */
    enum standing said; /* what the log said of it last */
    bool spoken;        /* whether it said anything */
    bool heard;         /* something new since the watch looked last */
};

struct connector {
    const struct database_settings *settings;
    pthread_t thread;
    pthread_mutex_t lock; /* the two lists, and `need` */
    struct link *first, *last;
    struct link *known;
    int64_t need; /* when a link asked last: older answers are not enough */
    struct mailbox wake;
    _Atomic bool stopping;
    _Atomic uint32_t timeline; // thread: w, any: r. That of `lineage`
    /* thread: rw */
    struct hosts hosts;
    int64_t names_next;
    struct probe probe[TARGETS_MAX];
    size_t probes;
    struct lineage lineage;
    int64_t started;
    struct target primary; /* the one chosen last */
    bool has_primary;
    char set[512];
    struct session_plan look_plan, link_plan, listen_plan;
    char listen_set[600];
    struct session opening;
    struct link *opening_for;
    int64_t retry; /* no opening before, ns */
    int pause;     /* ms */
    unsigned int seed;
};

uint32_t connector_timeline(const struct connector *c)
{
    return atomic_load_explicit(&c->timeline, memory_order_acquire);
}

/* ---- what is known ---- */

/* A higher timeline: it is written down before anything is based on it, and all links hear of it.
 */
static void publish_lineage(struct connector *c)
{
    const char *path = c->settings->timeline_file;
    int status = path ? lineage_save(path, &c->lineage) : 0;
    if (status)
        log_error("timeline_file",
                  "%s: %s; a restart of this instance would not know of timeline %" PRIu32, path,
                  strerror(-status), c->lineage.timeline);
    atomic_store_explicit(&c->timeline, c->lineage.timeline, memory_order_release);
    pthread_mutex_lock(&c->lock);
    for (struct link *link = c->known; link; link = link->known)
        mailbox_wake(link->owner);
    pthread_mutex_unlock(&c->lock);
}

static void say_standing(const struct connector *c, struct probe *p, enum standing standing)
{
    char where[HOST_TEXT + 96];
    target_print(&p->target, where, sizeof where);
    if (standing == STANDING_OUTDATED)
        log_error("old_primary",
                  "%s is a primary of timeline %" PRIu32 ", and %" PRIu32
                  " has been seen: it is not used; stop it and rejoin it by pg_rewind "
                  "(docs/failover.md)",
                  where, p->seen.is.timeline, c->lineage.timeline);
    else if (standing == STANDING_STRANGER)
        log_error(
            "other_database",
            "%s has system identifier %" PRIu64 ", the ledger has %" PRIu64
            ": it is not used; correct [database] dsn, or, if the ledger was really replaced, "
            "remove timeline_file and restart",
            where, p->seen.is.system, c->lineage.system);
    else if (standing == STANDING_SILENT)
        log_warn("database_silent", "%s: %s", where, p->session.why);
    else
        log_info("database_seen", "%s is %s of timeline %" PRIu32, where,
                 standing == STANDING_STANDBY   ? "a standby"
                 : standing == STANDING_PRIMARY ? "a primary"
                                                : "a read-only primary",
                 p->seen.is.timeline);
}

static void say_changes(struct connector *c)
{
    for (size_t i = 0; i < c->probes; i++) {
        struct probe *p = &c->probe[i];
        enum standing standing = election_standing(&c->lineage, &p->seen);
        if (!p->asked || (p->spoken && p->said == standing))
            continue;
        p->said = standing;
        p->spoken = true;
        say_standing(c, p, standing);
    }
}

static size_t sightings(const struct connector *c, struct sighting seen[TARGETS_MAX])
{
    for (size_t i = 0; i < c->probes; i++)
        seen[i] = c->probe[i].seen;
    return c->probes;
}

/* ---- probes ---- */

static void note_probe(struct probe *p, int64_t asked)
{
    p->seen.answered = p->session.step == SESSION_READY;
    p->seen.is = p->session.is;
    p->asked = asked;
    p->heard = true;
    /* A session keeps the default that it was given; a new one shows whether that has changed. */
    if (p->seen.answered && p->seen.is.primary && !p->seen.is.writable)
        session_end(&p->session);
}

static void begin_probe(struct connector *c, struct probe *p, int64_t now)
{
    p->next = now + WATCH_MS * NANOSECONDS_PER_MS;
    if (p->session.step == SESSION_READY)
        session_look(&p->session, now);
    else
        session_begin(&p->session, &p->target, &c->look_plan, now);
    if (p->session.step == SESSION_FAILED)
        note_probe(p, now);
}

static void advance_probe(struct connector *c, struct probe *p, int64_t now)
{
    bool busy = session_busy(&p->session), ready = p->session.step == SESSION_READY;
    session_advance(&p->session, now);
    if (busy && !session_busy(&p->session))
        note_probe(p, p->session.begun);
    else if (ready && p->session.step == SESSION_FAILED)
        note_probe(p, now);
    if (!session_busy(&p->session) && now >= p->next)
        begin_probe(c, p, now);
}

/* Whether this target's answer is younger than the need for it, or not to be had. */
static bool is_heard(const struct connector *c, const struct probe *p, int64_t need, int64_t now)
{
    if (p->asked >= need && p->asked)
        return true;
    int64_t from = need > c->started ? need : c->started;
    bool spoke = p->seen.answered || !p->asked;
    int64_t wait = spoke ? c->look_plan.timeout : GRACE_MS;
    return now >= from + wait * NANOSECONDS_PER_MS;
}

/* Asks all those that have not been asked since. One that did not answer before is tried anew: its
 * attempt may hang in the kernel's growing pauses while the server has come back. */
static void ask_all(struct connector *c, int64_t need, int64_t now)
{
    for (size_t i = 0; i < c->probes; i++) {
        struct probe *p = &c->probe[i];
        bool busy = session_busy(&p->session);
        if (p->asked >= need || (busy && p->session.begun >= need))
            continue;
        if (!busy || (p->session.step == SESSION_CONNECTING && p->asked))
            begin_probe(c, p, now);
    }
}

static bool all_heard(const struct connector *c, int64_t need, int64_t now)
{
    int64_t names = c->started + c->look_plan.timeout * NANOSECONDS_PER_MS;
    if (hosts_waiting(&c->hosts) && !c->has_primary && now < names)
        return false;
    for (size_t i = 0; i < c->probes; i++)
        if (!is_heard(c, &c->probe[i], need, now))
            return false;
    return true;
}

static bool same_target(const struct target *a, const struct target *b)
{
    return !strcmp(a->host, b->host) && !strcmp(a->address, b->address) &&
           !strcmp(a->port, b->port);
}

/* Probes for what is to be probed now; those that stay keep their connections. */
static void set_targets(struct connector *c)
{
    struct target target[TARGETS_MAX];
    struct probe old[TARGETS_MAX];
    size_t count = hosts_targets(&c->hosts, target), had = c->probes;
    memcpy(old, c->probe, sizeof old);
    memset(c->probe, 0, sizeof c->probe);
    c->probes = count;
    for (size_t i = 0; i < count; i++) {
        c->probe[i].target = target[i];
        for (size_t o = 0; o < had; o++) {
            if (!same_target(&old[o].target, &target[i]))
                continue;
            c->probe[i] = old[o];
            old[o].session.conn = NULL;
        }
    }
    for (size_t o = 0; o < had; o++)
        session_end(&old[o].session);
}

static void keep_names(struct connector *c, int64_t now)
{
    if (now >= c->names_next) {
        hosts_look_up(&c->hosts);
        int64_t ms = c->pause > PAUSE_FIRST_MS ? NAMES_TROUBLE_MS : NAMES_MS;
        c->names_next = now + ms * NANOSECONDS_PER_MS;
    }
    if (hosts_take(&c->hosts))
        set_targets(c);
}

/* ---- links ---- */

static void pause_links(struct connector *c, int64_t now)
{
    int ms = c->pause / 2 + (int)((unsigned int)rand_r(&c->seed) %
                                  (unsigned int)c->pause); /* instances spread out */
    c->retry = now + ms * NANOSECONDS_PER_MS;
    c->pause = c->pause * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : c->pause * 2;
}

/* Takes the first link off the list, or NULL. */
static struct link *next_link(struct connector *c)
{
    pthread_mutex_lock(&c->lock);
    struct link *link = c->first;
    if (link) {
        c->first = link->next;
        if (!c->first)
            c->last = NULL;
    }
    pthread_mutex_unlock(&c->lock);
    return link;
}

/* Puts a link that could not be served back to the head of the list; what is known is not good
 * enough any more. */
static void put_back(struct connector *c, struct link *link, int64_t now)
{
    pthread_mutex_lock(&c->lock);
    link->next = c->first;
    c->first = link;
    if (!c->last)
        c->last = link;
    c->need = now;
    pthread_mutex_unlock(&c->lock);
}

static void say_nobody(const struct connector *c, enum election outcome)
{
    char text[900] = "";
    size_t used = 0;
    for (size_t i = 0; i < c->probes && used < sizeof text - 1; i++) {
        const struct probe *p = &c->probe[i];
        char where[HOST_TEXT + 96];
        target_print(&p->target, where, sizeof where);
        static const char *const STANDS[] = {[STANDING_PRIMARY] = "a primary",
                                             [STANDING_STANDBY] = "a standby",
                                             [STANDING_READ_ONLY] =
                                                 "a primary whose sessions are read-only",
                                             [STANDING_OUTDATED] = "an old primary",
                                             [STANDING_STRANGER] = "another database"};
        enum standing standing = election_standing(&c->lineage, &p->seen);
        int length = snprintf(text + used, sizeof text - used, "; %s: %s", where,
                              standing == STANDING_SILENT ? p->session.why : STANDS[standing]);
        used += length > 0 ? (size_t)length : 0;
    }
    const char *what = outcome == ELECTION_STRANGERS
                           ? "the hosts are not copies of one database: correct [database] dsn"
                       : outcome == ELECTION_TWO
                           ? "two primaries have the same timeline: stop the one that was promoted "
                             "by mistake"
                           : "no primary answers";
    log_warn("database_unavailable", "%s%s; trying again", what,
             c->probes ? text : "; no host's name could be looked up");
}

static int index_of_primary(const struct connector *c)
{
    for (size_t i = 0; c->has_primary && i < c->probes; i++)
        if (same_target(&c->probe[i].target, &c->primary))
            return (int)i;
    return -1;
}

/* Chooses the server for a link. False if there is none now. */
static bool elect(struct connector *c, int64_t now)
{
    struct sighting seen[TARGETS_MAX];
    size_t winner = 0, count = sightings(c, seen);
    struct lineage before = c->lineage;
    enum election outcome = election_choose(&c->lineage, seen, count, index_of_primary(c), &winner);
    if (c->lineage.system != before.system || c->lineage.timeline != before.timeline)
        publish_lineage(c);
    say_changes(c);
    if (outcome != ELECTION_PRIMARY) {
        say_nobody(c, outcome);
        pause_links(c, now);
        return false;
    }
    if (!c->has_primary || !same_target(&c->primary, &c->probe[winner].target)) {
        char where[HOST_TEXT + 96];
        log_info("database_primary", "%s, timeline %" PRIu32,
                 target_print(&c->probe[winner].target, where, sizeof where), c->lineage.timeline);
    }
    c->primary = c->probe[winner].target;
    c->has_primary = true;
    return true;
}

/* Gives the oldest asking link an opening, once everybody has been heard. */
static void serve_links(struct connector *c, int64_t now)
{
    pthread_mutex_lock(&c->lock);
    bool wanted = c->first != NULL;
    int64_t need = c->need;
    pthread_mutex_unlock(&c->lock);
    if (!wanted || c->opening_for || now < c->retry)
        return;
    ask_all(c, need, now);
    if (!all_heard(c, need, now))
        return;
    if (!elect(c, now)) {
        pthread_mutex_lock(&c->lock);
        c->need = c->retry; /* the next attempt asks everybody again */
        pthread_mutex_unlock(&c->lock);
        return;
    }
    c->opening_for = next_link(c);
    session_begin(&c->opening, &c->primary,
                  c->opening_for->listens ? &c->listen_plan : &c->link_plan, now);
}

/* The session itself has said who it leads to: nothing can have changed in between. */
static bool leads_to_the_primary(const struct connector *c)
{
    return c->opening.is.system == c->lineage.system &&
           c->opening.is.timeline == c->lineage.timeline;
}

static void hand_over(struct connector *c)
{
    struct link *link = c->opening_for;
    struct mailbox *owner = link->owner;
    if (c->pause > PAUSE_FIRST_MS)
        log_info("database_available", "connected to PostgreSQL again");
    c->pause = PAUSE_FIRST_MS;
    c->opening_for = NULL;
    link->offered_timeline = c->opening.is.timeline;
    atomic_store(&link->offered, session_take(&c->opening)); /* from here it is its owner's again */
    mailbox_wake(owner);
}

static void advance_opening(struct connector *c, int64_t now)
{
    if (!c->opening_for)
        return;
    session_advance(&c->opening, now);
    if (c->opening.step == SESSION_READY && leads_to_the_primary(c)) {
        hand_over(c);
    } else if (c->opening.step == SESSION_READY || c->opening.step == SESSION_FAILED) {
        char where[HOST_TEXT + 96];
        log_warn("database_unavailable", "%s: %s; trying again",
                 target_print(&c->primary, where, sizeof where),
                 c->opening.step == SESSION_FAILED ? c->opening.why
                                                   : "it has another timeline than a moment ago");
        session_end(&c->opening);
        put_back(c, c->opening_for, now);
        c->opening_for = NULL;
        pause_links(c, now);
    }
}

/* ---- the loop ---- */

static int64_t earliest(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t session_due(const struct session *s, int64_t otherwise)
{
    return session_busy(s) ? s->deadline : otherwise;
}

/* When something has to be done though nothing is readable. */
static int64_t next_due(struct connector *c, int64_t now)
{
    int64_t due = c->names_next;
    if (hosts_waiting(&c->hosts))
        due = earliest(due, now + NAMES_PENDING_MS * NANOSECONDS_PER_MS);
    for (size_t i = 0; i < c->probes; i++)
        due = earliest(due, session_due(&c->probe[i].session, c->probe[i].next));
    if (c->opening_for)
        return earliest(due, session_due(&c->opening, now));
    pthread_mutex_lock(&c->lock);
    bool wanted = c->first != NULL;
    pthread_mutex_unlock(&c->lock);
    /* Links wait for a pause to end, or for the grace of those that do not answer. */
    if (wanted)
        due =
            earliest(due, c->retry > now ? c->retry : now + NAMES_PENDING_MS * NANOSECONDS_PER_MS);
    return due;
}

static void add_session(struct pollfd *fds, nfds_t *count, const struct session *s)
{
    fds[*count].fd = session_poll(s, &fds[*count].events);
    if (fds[*count].fd >= 0)
        ++*count;
}

static void wait_for_work(struct connector *c)
{
    struct pollfd fds[2 + TARGETS_MAX] = {{.fd = c->wake.wake, .events = POLLIN}};
    nfds_t count = 1;
    for (size_t i = 0; i < c->probes; i++)
        add_session(fds, &count, &c->probe[i].session);
    add_session(fds, &count, &c->opening);
    int64_t now = clock_now(), left = next_due(c, now) - now;
    poll(fds, count, left <= 0 ? 0 : (int)(left / NANOSECONDS_PER_MS) + 1);
    mailbox_clear(&c->wake);
}

static void watch(struct connector *c, int64_t now)
{
    bool heard = false;
    for (size_t i = 0; i < c->probes; i++) {
        advance_probe(c, &c->probe[i], now);
        heard = heard || c->probe[i].heard;
        c->probe[i].heard = false;
    }
    struct sighting seen[TARGETS_MAX];
    if (!heard)
        return;
    if (election_learn(&c->lineage, seen, sightings(c, seen))) {
        log_warn("database_failover", "timeline %" PRIu32 " has been seen: leaving the old primary",
                 c->lineage.timeline);
        publish_lineage(c);
    }
    if (c->lineage.system)
        say_changes(c);
}

static void *connector_main(void *context)
{
    struct connector *c = context;
    while (!atomic_load(&c->stopping)) {
        int64_t now = clock_now();
        keep_names(c, now);
        watch(c, now);
        advance_opening(c, now);
        serve_links(c, now);
        wait_for_work(c);
    }
    session_end(&c->opening);
    for (size_t i = 0; i < c->probes; i++)
        session_end(&c->probe[i].session);
    return NULL;
}

/* ---- start and end ---- */

/* The server, too, must notice an instance that is gone, and let go of its locks. */
static void make_plans(struct connector *c)
{
    const struct database_settings *s = c->settings;
    snprintf(c->set, sizeof c->set,
             "SET lock_timeout = %lld; SET statement_timeout = 0; SET idle_session_timeout = 0; "
             "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; "
             "SET tcp_keepalives_count = 2; SET tcp_user_timeout = 10000",
             (long long)s->lock_timeout);
    snprintf(c->listen_set, sizeof c->listen_set, "%s; LISTEN dropgate_catalog", c->set);
    int64_t timeout = c->hosts.connect_timeout ? c->hosts.connect_timeout : s->connect_timeout;
    c->look_plan =
        (struct session_plan){.dsn = s->dsn, .application = "dropgate-watch", .timeout = timeout};
    c->link_plan = (struct session_plan){s->dsn,     "dropgate-control", c->set,
                                         STATEMENTS, LINK_STATEMENTS,    timeout};
    c->listen_plan = c->link_plan;
    c->listen_plan.set = c->listen_set;
}

static int prepare(struct connector *c)
{
    char why[256];
    const char *path = c->settings->timeline_file;
    if (hosts_parse(&c->hosts, c->settings->dsn, why, sizeof why)) {
        log_error("cannot_start", "[database] dsn: %s", why);
        return -EINVAL;
    }
    if (path && lineage_load(path, &c->lineage, why, sizeof why)) {
        log_error("cannot_start", "[database] timeline_file = %s: %s", path, why);
        return -EINVAL;
    }
    atomic_init(&c->timeline, c->lineage.timeline);
    make_plans(c);
    c->started = clock_now();
    c->pause = PAUSE_FIRST_MS;
    c->seed = (unsigned int)c->started;
    set_targets(c);
    return mailbox_open(&c->wake);
}

struct connector *connector_start(const struct database_settings *settings)
{
    struct connector *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->settings = settings;
    c->wake.wake = -1;
    pthread_mutex_init(&c->lock, NULL);
    if (prepare(c) || pthread_create(&c->thread, NULL, connector_main, c)) {
        if (c->wake.wake >= 0)
            mailbox_close(&c->wake);
        free(c);
        return NULL;
    }
    return c;
}

void connector_adopt(struct connector *c, struct link *link)
{
    pthread_mutex_lock(&c->lock);
    link->known = c->known;
    c->known = link;
    pthread_mutex_unlock(&c->lock);
}

void connector_ask(struct connector *c, struct link *link)
{
    pthread_mutex_lock(&c->lock);
    link->next = NULL;
    if (c->last)
        c->last->next = link;
    else
        c->first = link;
    c->last = link;
    c->need = clock_now();
    pthread_mutex_unlock(&c->lock);
    mailbox_wake(&c->wake);
}

void connector_stop(struct connector *c)
{
    if (!c)
        return;
    atomic_store(&c->stopping, true);
    mailbox_wake(&c->wake);
    pthread_join(c->thread, NULL);
    mailbox_close(&c->wake);
    pthread_mutex_destroy(&c->lock);
    if (hosts_close(&c->hosts)) /* else a look-up still writes there; the process ends anyway */
        free(c);
}
