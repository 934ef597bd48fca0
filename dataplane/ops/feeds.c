/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * All feeds together: what a plan makes of those before it, what has lapsed, and the part that is
 * built from what is in use. What becomes of one when its file is looked at, feed_look.c says. */
#include "dataplane/ops/feeds.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "dataplane/ops/feed_look.h"

enum { LAPSE_MS = 60 * 1000 };

/* What the reader is handed. */
struct job {
    struct feeds *feeds;
    struct builder *builder; /* gets the part */
    struct feed_plan *plan;  /* NULL: only what has lapsed is taken out */
};

struct feeds *feeds_new(feeds_clients *clients, void *context)
{
    struct feeds *feeds = calloc(1, sizeof *feeds);
    if (feeds == NULL)
        return NULL;
    feeds->clients = clients;
    feeds->context = context;
    feeds->lapse_ms = INT64_MAX;
    pthread_mutex_init(&feeds->lock, NULL);
    return feeds;
}

void feeds_free(struct feeds *feeds)
{
    if (feeds == NULL)
        return;
    for (size_t i = 0; i < feeds->count; i++)
        feed_empty(&feeds->one[i]);
    free(feeds->one);
    free(feeds->plan);
    pthread_mutex_destroy(&feeds->lock);
    free(feeds);
}

static bool same_ours(const struct feed_plan *a, const struct feed_plan *b)
{
    if (a == NULL || a->ours_count != b->ours_count)
        return false;
    for (size_t i = 0; i < a->ours_count; i++)
        if (a->ours[i].length != b->ours[i].length ||
            !addr_equal(&a->ours[i].base, &b->ours[i].base))
            return false;
    return true;
}

/* The feed of that name moves from the old row to the new one; false if there was none. */
static bool move_one(struct feeds *feeds, const char *name, struct feed_kept *to)
{
    for (size_t i = 0; i < feeds->count; i++)
        if (strcmp(feeds->one[i].spec.name, name) == 0) {
            *to = feeds->one[i];
            feeds->one[i].feed = (struct feed){0};
            feeds->one[i].set.prefix = NULL;
            return true;
        }
    return false;
}

static void set_spec(struct feed_kept *one, const struct feed_spec *spec)
{
    one->spec = *spec;
    snprintf(one->status.name, sizeof one->status.name, "%s", spec->name);
    one->status.kind = spec->kind;
    one->status.mode = spec->mode;
}

/* What was only observed, or of another kind, is to deny now. Clients may have come whom its file,
 * or the copy of it, would deny. */
static bool comes_to_force(const struct feed_spec *before, const struct feed_spec *spec)
{
    return feed_denies(spec) && !feed_denies(before);
}

/* Whether the content in use would be read, cleaned and judged as before. */
static bool judged_alike(const struct feed_spec *before, const struct feed_spec *spec)
{
    return before->format == spec->format && !comes_to_force(before, spec);
}

/* What is looked up is another than before. */
static bool differs(const struct feed_kept *before, const struct feed_kept *one)
{
    return before->taken != one->taken || before->spec.kind != one->spec.kind ||
           before->spec.mode != one->spec.mode;
}

/* What was taken as one kind is no last good content of another: a million denied prefixes would be
 * allowed, or partners denied, for as long as no file is taken. */
static void give_up(struct feed_kept *one, enum list_kind kind)
{
    if (one->status.used) {
        one->was = list_kind_name(one->spec.kind);
        log_warn("feed_kind", "feed %s: was %s and is to be %s: what it had is given up",
                 one->spec.name, one->was, list_kind_name(kind));
    }
    feed_empty(one);
    one->status = (struct feed_status){0};
}

static void renew(struct feeds *feeds, const struct feed_spec *spec, bool ours_changed,
                  struct feed_kept *one)
{
    bool known = move_one(feeds, spec->name, one);
    bool stale = known && (ours_changed || !judged_alike(&one->spec, spec));
    struct feed_kept before = *one;
    if (known && one->spec.kind != spec->kind)
        give_up(one, spec->kind);
    set_spec(one, spec);
    feed_look(feeds, one, stale);
    if (known && comes_to_force(&before.spec, spec) && one->status.used &&
        one->status.state != FEED_IN_FORCE)
        one->spec.mode = one->status.mode = LIST_OBSERVE; /* until a file has been judged for it */
    feeds->changed |= !known || differs(&before, one);
    if (stale && one->taken == before.taken) {
        feed_clean_again(feeds, one);
        feeds->changed = true;
    }
}

/* Takes the plan; false when memory is short, and nothing has changed. */
static bool take_plan(struct feeds *feeds, struct feed_plan *plan)
{
    struct feed_kept *fresh = calloc(plan->count + 1, sizeof *fresh);
    if (fresh == NULL)
        return false;
    bool ours_changed = !same_ours(feeds->plan, plan);
    free(feeds->plan);
    feeds->plan = plan;
    feeds->changed |= plan->count != feeds->count;
    for (size_t i = 0; i < plan->count; i++)
        renew(feeds, &plan->spec[i], ours_changed, &fresh[i]);
    feeds_forget_clients(feeds);
    for (size_t i = 0; i < feeds->count; i++)
        feed_empty(&feeds->one[i]);
    free(feeds->one);
    feeds->one = fresh;
    feeds->count = plan->count;
    return true;
}

static void take_out_lapsed(struct feeds *feeds)
{
    for (size_t i = 0; i < feeds->count; i++) {
        struct feed_kept *one = &feeds->one[i];
        struct feed_set set;
        if (!one->status.used || one->set.until_ms > unix_ms() ||
            feed_merge(&one->feed, unix_ms(), &set) != 0)
            continue;
        uint64_t over = set.lapsed - one->set.lapsed;
        free(one->set.prefix);
        one->set = set;
        one->status.entries -= over;
        feeds->changed = true;
        feed_note_set(one);
        log_info("feed_lapsed",
                 "feed %s: the time of %" PRIu64 " entries is over, %" PRIu64 " are left",
                 one->spec.name, over, one->status.entries);
    }
}

static void show_statuses(struct feeds *feeds)
{
    pthread_mutex_lock(&feeds->lock);
    for (size_t i = 0; i < feeds->count; i++)
        feeds->statuses[i] = feeds->one[i].status;
    feeds->status_count = feeds->count;
    pthread_mutex_unlock(&feeds->lock);
}

static void plan_lapse(struct feeds *feeds)
{
    int64_t next = INT64_MAX, soonest = unix_ms() + LAPSE_MS;
    for (size_t i = 0; i < feeds->count; i++)
        if (feeds->one[i].status.used && feeds->one[i].set.until_ms < next)
            next = feeds->one[i].set.until_ms;
    __atomic_store_n(&feeds->lapse_ms, next < soonest ? soonest : next, __ATOMIC_RELAXED);
}

/* Where its hits are counted. */
static void find_slot(const struct lists *lists, struct feed_status *status)
{
    status->since = 0;
    for (uint32_t slot = 0; slot < LISTS_FEEDS; slot++)
        if (strcmp(lists->feed[slot].name, status->name) == 0) {
            status->slot = slot;
            status->since = lists->feed[slot].since;
        }
}

/* The part from what is in use; NULL: memory is short, or there are too many overlaps. */
static struct lists *compile(struct feeds *feeds)
{
    struct lists_source *sources = calloc(feeds->count + 1, sizeof *sources);
    struct lists *lists = NULL;
    size_t used = 0;
    for (size_t i = 0; i < feeds->count && sources != NULL; i++) {
        const struct feed_kept *one = &feeds->one[i];
        if (one->status.used)
            sources[used++] = (struct lists_source){one->spec.name, one->spec.kind,
                                                    one->spec.mode, one->set.prefix,
                                                    one->set.count, one->status.written_ms / 1000};
    }
    int error = sources == NULL ? -ENOMEM
                                : lists_build(sources, used, feeds->current,
                                              lists_next(lists_generation(feeds->current)), &lists);
    if (error != 0)
        log_error("feeds", "the lists could not be built (%s); those before stay in force",
                  strerror(-error));
    else
        feeds->current = lists;
    for (size_t i = 0; error == 0 && i < feeds->count; i++)
        find_slot(lists, &feeds->one[i].status);
    free(sources);
    return lists;
}

static struct lists *load(struct feeds *feeds, struct feed_plan *plan)
{
    if (plan != NULL && !take_plan(feeds, plan)) {
        free(plan);
        return NULL;
    }
    take_out_lapsed(feeds);
    struct lists *lists = feeds->changed ? compile(feeds) : NULL;
    plan_lapse(feeds);
    show_statuses(feeds);
    if (lists != NULL)
        log_info("feeds", "lists of %zu feeds are built, generation %u", feeds->count,
                 lists_generation(lists));
    else if (!feeds->changed)
        log_info("feeds", "the lists have not changed, generation %u",
                 lists_generation(feeds->current));
    feeds->changed &= lists == NULL; /* if they could not be built: once more, the next time */
    return lists;
}

struct lists *feeds_start(struct feeds *feeds, struct feed_plan *plan)
{
    if (plan == NULL)
        return NULL;
    if (plan->count == 0) { /* no part at all, and look-ups that cost nothing */
        free(plan);
        return NULL;
    }
    if (plan->state_dir[0] == '\0')
        log_warn("feed_copy",
                 "[gateway] state_dir is not set: after a restart, a feed whose file is "
                 "missing or bad will have no last good copy");
    feeds->any = true;
    return load(feeds, plan);
}

static void do_job(void *argument)
{
    const struct job *job = argument;
    const struct lists *before = job->feeds->current;
    struct lists *lists = load(job->feeds, job->plan);
    if (lists == NULL || builder_publish(job->builder, PART_LISTS, lists) == 0)
        return;
    lists_free(lists);
    job->feeds->current = before;
    job->feeds->changed = true;
    log_error("no_memory", "lists could not be published; those before stay in force");
}

static int hand_over(struct feeds *feeds, struct builder *reader, struct builder *builder,
                     struct feed_plan *plan)
{
    struct job *job = malloc(sizeof *job);
    if (job != NULL) {
        *job = (struct job){feeds, builder, plan};
        if (builder_call(reader, do_job, job) == 0)
            return 0;
    }
    free(job);
    free(plan);
    log_error("no_memory", "feeds could not be read; the lists before stay in force");
    return -ENOMEM;
}

int feeds_load(struct feeds *feeds, struct builder *reader, struct builder *builder,
               struct feed_plan *plan)
{
    if (plan == NULL) {
        log_error("no_memory", "feeds could not be read; the lists before stay in force");
        return -ENOMEM;
    }
    if (plan->count == 0 && !feeds->any) {
        free(plan);
        return 0;
    }
    feeds->any = true;
    return hand_over(feeds, reader, builder, plan);
}

void feeds_run(struct feeds *feeds, struct builder *reader, struct builder *builder)
{
    if (unix_ms() < __atomic_load_n(&feeds->lapse_ms, __ATOMIC_RELAXED))
        return;
    __atomic_store_n(&feeds->lapse_ms, unix_ms() + LAPSE_MS, __ATOMIC_RELAXED);
    hand_over(feeds, reader, builder, NULL);
}

bool feeds_status(struct feeds *feeds, size_t index, struct feed_status *out)
{
    pthread_mutex_lock(&feeds->lock);
    bool there = index < feeds->status_count;
    if (there)
        *out = feeds->statuses[index];
    pthread_mutex_unlock(&feeds->lock);
    return there;
}

const char *feed_state_name(enum feed_state state)
{
    static const char *const names[FEED_STATES] = {[FEED_IN_FORCE] = "in_force",
                                                   [FEED_WAITS] = "held_back",
                                                   [FEED_BAD] = "refused",
                                                   [FEED_UNREADABLE] = "missing"};
    return state < FEED_STATES ? names[state] : "unknown";
}
