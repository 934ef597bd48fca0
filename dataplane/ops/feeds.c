/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What becomes of each feed; it is told in the log whenever its file is looked at. */
#include "dataplane/ops/feeds.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/log.h"
#include "dataplane/ops/feed_file.h"
#include "dataplane/ops/feed_trial.h"

enum { LAPSE_MS = 60 * 1000, CLIENTS_COUNTED = 1 << 18, WHEN = 32 };

/* A feed as it is. reader: rw */
struct one {
    struct feed_spec spec;
    struct feed feed;    /* what it says: kept only if entries of it end */
    struct feed_set set; /* what is in use */
    uint8_t hash[FEED_HASH];
    uint32_t taken;  /* contents so far */
    const char *was; /* the kind with which the last content was given up; NULL: none was */
    struct feed_status status;
};

struct feeds {
    feeds_clients *clients;
    void *context;
    pthread_mutex_t lock;
    struct feed_status statuses[LISTS_FEEDS]; /* what telemetry reads, under the lock */
    size_t status_count;
    int64_t lapse_ms; /* when entries are to be taken out. reader: w, control: rw */
    bool any;         /* there has ever been a feed. control: rw */
    /* reader: rw */
    struct feed_plan *plan;
    struct one *one;
    size_t count;
    const struct lists *current; /* in force, or next to be */
    bool changed;                /* what is in use is not what they were built from */
    struct addr *seen;           /* distinct clients, while files are judged; NULL: not asked yet */
    size_t seen_count;
};

/* What the reader is handed. */
struct job {
    struct feeds *feeds;
    struct builder *builder; /* gets the part */
    struct feed_plan *plan;  /* NULL: only what has lapsed is taken out */
};

static int64_t unix_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static const char *print_time(int64_t ms, char out[WHEN])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm parts;
    if (gmtime_r(&seconds, &parts) == NULL || strftime(out, WHEN, "%FT%TZ", &parts) == 0)
        snprintf(out, WHEN, "an unknown time");
    return out;
}

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

static void empty(struct one *one)
{
    feed_free(&one->feed);
    free(one->set.prefix);
    one->set = (struct feed_set){.until_ms = INT64_MAX};
}

void feeds_free(struct feeds *feeds)
{
    if (feeds == NULL)
        return;
    for (size_t i = 0; i < feeds->count; i++)
        empty(&feeds->one[i]);
    free(feeds->one);
    free(feeds->plan);
    pthread_mutex_destroy(&feeds->lock);
    free(feeds);
}

/* ---- who is there ---- */

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct addr));
}

/* Each client once, however many connections it has: who attacks shall not outvote the others. */
static void ask_for_clients(struct feeds *feeds)
{
    if (feeds->seen != NULL || feeds->clients == NULL)
        return;
    feeds->seen = calloc(CLIENTS_COUNTED, sizeof *feeds->seen);
    if (feeds->seen == NULL)
        return;
    size_t all = feeds->clients(feeds->context, feeds->seen, CLIENTS_COUNTED), kept = 0;
    qsort(feeds->seen, all, sizeof *feeds->seen, by_bytes);
    for (size_t i = 0; i < all; i++)
        if (i == 0 || !addr_equal(&feeds->seen[i], &feeds->seen[kept - 1]))
            feeds->seen[kept++] = feeds->seen[i];
    feeds->seen_count = kept;
}

static void forget_clients(struct feeds *feeds)
{
    free(feeds->seen);
    feeds->seen = NULL;
    feeds->seen_count = 0;
}

/* ---- one feed ---- */

static bool denies(const struct feed_spec *spec)
{
    return spec->kind == LIST_DENY && spec->mode == LIST_ENFORCE;
}

static struct feed_ground ground_of(struct feeds *feeds, const struct one *one, int64_t size_before)
{
    if (denies(&one->spec))
        ask_for_clients(feeds);
    return (struct feed_ground){feeds->plan->ours, feeds->plan->ours_count, size_before,
                                feeds->seen,       feeds->seen_count,       unix_ms()};
}

static void note_set(struct one *one)
{
    struct feed_status *status = &one->status;
    status->prefixes = one->set.count;
    status->lapsed = one->set.lapsed;
    status->v4_addresses = one->set.v4_addresses;
    status->v6_networks = one->set.v6_networks;
}

/* The trial's content becomes what is in use; what it counted stays with it. */
static void use(struct one *one, const struct feed_file *file, struct feed_trial *trial)
{
    struct feed_status *status = &one->status;
    const struct feed_left_out *left = &trial->left_out;
    empty(one);
    one->taken++;
    one->was = NULL;
    one->set = trial->set;
    memcpy(one->hash, file->hash, FEED_HASH);
    status->used = true;
    status->format = trial->feed.format;
    status->written_ms = file->written_ms;
    status->entries = trial->facts.size;
    status->left_out = left->too_short + left->ours + left->reserved;
    status->unreadable = trial->feed.unreadable;
    note_set(one);
    trial->set.prefix = NULL;
    if (trial->feed.lapsing_count == 0)
        return; /* it will never come to anything else */
    one->feed = trial->feed;
    trial->feed.prefix = trial->feed.except = NULL;
    trial->feed.lapsing = NULL;
}

/* What goes on in the place of a file that was not taken. */
static void tell_what_stays(const struct one *one, char out[FEED_TEXT * 2])
{
    char when[WHEN];
    if (one->status.used)
        snprintf(out, FEED_TEXT * 2,
                 "the last good one, of %s with %" PRIu64 " entries, stays in force",
                 print_time(one->status.written_ms, when), one->status.entries);
    else
        snprintf(out, FEED_TEXT * 2, "there is no last good one: nothing of this feed is in force");
}

static void note_failure(struct one *one, enum feed_state state, const char *why)
{
    one->status.state = state;
    snprintf(one->status.why, FEED_WHY, "%s", why);
}

/* Why there is no last good one, if there might have been. `copy` is what is wrong with that on
 * disk; empty: nothing. */
static void note_absence(struct one *one, const char *copy)
{
    size_t length = strlen(one->status.why);
    char *end = one->status.why + length;
    if (one->status.used)
        return;
    if (one->was != NULL)
        snprintf(end, FEED_WHY - length, "; what was in force as %s went with that kind", one->was);
    else if (copy[0] != '\0')
        snprintf(end, FEED_WHY - length, "; its last good copy: %s", copy);
}

static void tell_failure(const struct one *one)
{
    const struct feed_spec *spec = &one->spec;
    const struct feed_status *status = &one->status;
    char stays[FEED_TEXT * 2];
    tell_what_stays(one, stays);
    switch (status->state) {
    case FEED_WAITS:
        log_error("feed_held_back",
                  "feed %s: %s: %s; %s; to take it: accept = %s in [feed %s], then SIGHUP",
                  spec->name, spec->file, status->why, stays, status->hash, spec->name);
        break;
    case FEED_BAD:
        log_error("feed_refused", "feed %s: %s: %s; %s", spec->name, spec->file, status->why,
                  stays);
        break;
    case FEED_UNREADABLE:
        log_error("feed_missing", "feed %s: %s: %s; %s", spec->name, spec->file, status->why,
                  stays);
        break;
    default: break;
    }
}

static void tell_success(const struct one *one, const struct feed_trial *trial)
{
    const struct feed_spec *spec = &one->spec;
    const struct feed_status *status = &one->status;
    char remarks[FEED_WHY];
    if (feed_remarks(trial, spec->file, remarks, sizeof remarks))
        log_warn("feed_remarks", "feed %s: %s", spec->name, remarks);
    if (trial->accepted)
        log_warn("feed_accepted", "feed %s: %s: %s; accepted by its SHA-256", spec->name,
                 spec->file, trial->why);
    log_info("feed",
             "feed %s (%s, %s): %s: %s, %" PRIu64 " entries, %" PRIu64
             " prefixes, %.3f %% of IPv4, "
             "%" PRIu64 " /64s of IPv6; SHA-256 %s",
             spec->name, list_kind_name(spec->kind), list_mode_name(spec->mode), spec->file,
             feed_formats[status->format], status->entries, status->prefixes,
             (double)status->v4_addresses * 100 / 4294967296.0, status->v6_networks, status->hash);
}

/* ---- copies ---- */

static bool keeps_copies(const struct feeds *feeds)
{
    return feeds->plan->state_dir[0] != '\0';
}

static void save_copy(const struct feeds *feeds, const struct one *one,
                      const struct feed_file *file)
{
    if (!keeps_copies(feeds))
        return;
    int error = feed_copy_save(feeds->plan->state_dir, one->spec.name, one->spec.kind, file,
                               (int64_t)one->status.entries);
    if (error != 0)
        log_error(
            "feed_copy",
            "feed %s: no copy could be kept in [gateway] state_dir = %s (%s); a restart would "
            "have none, or an older one",
            one->spec.name, feeds->plan->state_dir, strerror(-error));
}

/* After a start, or when the kind has changed: the copy of what was last taken as this kind, if
 * there is one that can be believed. */
static bool find_copy(const struct feeds *feeds, const struct one *one, struct feed_file *copy,
                      char why[FEED_WHY])
{
    why[0] = '\0';
    *copy = (struct feed_file){.size = -1};
    if (one->status.used || !keeps_copies(feeds))
        return false;
    int error = feed_copy_read(feeds->plan->state_dir, one->spec.name, one->spec.kind,
                               one->spec.size_max, copy, why);
    if (error == 0)
        return true;
    copy->size = -1;
    if (error == -ENOENT)
        why[0] = '\0';
    else
        log_error("feed_copy", "feed %s: its last good copy in %s cannot be used: %s",
                  one->spec.name, feeds->plan->state_dir, why);
    return false;
}

/* A copy was judged when it was made. It is cleaned again: our addresses may be others now. */
static void use_copy(struct feeds *feeds, struct one *one, const struct feed_file *copy)
{
    struct feed_trial trial;
    struct feed_ground ground = {feeds->plan->ours, feeds->plan->ours_count, -1, NULL, 0,
                                 unix_ms()};
    feed_try(&one->spec, &ground, copy, &trial);
    if (trial.judgement != FEED_REFUSED)
        use(one, copy, &trial);
    else
        log_error("feed_copy", "feed %s: its last good copy in %s cannot be used: %s",
                  one->spec.name, feeds->plan->state_dir, trial.why);
    feed_trial_free(&trial);
}

/* ---- looking at a file ---- */

static void judge_file(struct feeds *feeds, struct one *one, const struct feed_file *file,
                       int64_t size_before)
{
    struct feed_trial trial;
    struct feed_ground ground = ground_of(feeds, one, size_before);
    feed_try(&one->spec, &ground, file, &trial);
    if (trial.judgement == FEED_GOOD) {
        use(one, file, &trial);
        note_failure(one, FEED_IN_FORCE, "");
        tell_success(one, &trial);
        save_copy(feeds, one, file);
    } else {
        note_failure(one, trial.judgement == FEED_REFUSED ? FEED_BAD : FEED_WAITS, trial.why);
        if (trial.feed.unreadable > 0) {
            size_t length = strlen(one->status.why);
            snprintf(one->status.why + length, FEED_WHY - length, "; ");
            feed_remarks(&trial, one->spec.file, one->status.why + length + 2,
                         FEED_WHY - length - 2);
        }
    }
    feed_trial_free(&trial);
}

/* What was only observed, or of another kind, is to deny now. Clients may have come whom its file,
 * or the copy of it, would deny. */
static bool comes_to_force(const struct feed_spec *before, const struct feed_spec *spec)
{
    return denies(spec) && !denies(before);
}

/* Whether the content in use would be read, cleaned and judged as before. */
static bool judged_alike(const struct feed_spec *before, const struct feed_spec *spec)
{
    return before->format == spec->format && !comes_to_force(before, spec);
}

/* Times that are left begin anew with a newer file. */
static bool is_in_use(const struct one *one, const struct feed_file *file)
{
    return one->status.used && memcmp(one->hash, file->hash, FEED_HASH) == 0 &&
           (one->feed.lapsing_count == 0 || one->status.written_ms == file->written_ms);
}

/* Looks at the feed's file. `stale`: what is in use was read in another way, or cleaned with other
 * addresses in mind. */
static void look(struct feeds *feeds, struct one *one, bool stale)
{
    struct feed_file file, copy;
    char why[FEED_WHY], why_no_copy[FEED_WHY];
    bool has_copy = find_copy(feeds, one, &copy, why_no_copy);
    int64_t before = one->status.used ? (int64_t)one->status.entries : copy.size;
    int error = feed_file_read(one->spec.file, one->spec.size_max, &file, why);
    one->status.looked_ms = unix_ms();
    one->status.hash[0] = '\0';
    if (error != 0) {
        note_failure(one, error == -EFBIG ? FEED_BAD : FEED_UNREADABLE, why);
    } else {
        feed_hash_print(file.hash, one->status.hash);
        if (!stale && is_in_use(one, &file)) {
            note_failure(one, FEED_IN_FORCE, "");
            one->status.written_ms = file.written_ms; /* fetched anew, and the same */
        } else {
            judge_file(feeds, one, &file, before);
        }
        feed_file_free(&file);
    }
    if (has_copy && !one->status.used)
        use_copy(feeds, one, &copy);
    feed_file_free(&copy);
    note_absence(one, why_no_copy);
    tell_failure(one);
}

/* What stays in use although it was cleaned with other addresses in mind. */
static void clean_again(const struct feeds *feeds, struct one *one)
{
    const struct feed_plan *plan = feeds->plan;
    struct feed_left_out left = {0};
    if (one->spec.kind != LIST_DENY)
        return;
    feed_leave_out_of(&one->feed, plan->ours, plan->ours_count, &left);
    one->set.count =
        feed_leave_out(one->set.prefix, one->set.count, plan->ours, plan->ours_count, &left);
    one->status.prefixes = one->set.count;
}

/* ---- all of them ---- */

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
static bool move_one(struct feeds *feeds, const char *name, struct one *to)
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

static void set_spec(struct one *one, const struct feed_spec *spec)
{
    one->spec = *spec;
    snprintf(one->status.name, sizeof one->status.name, "%s", spec->name);
    one->status.kind = spec->kind;
    one->status.mode = spec->mode;
}

/* What is looked up is another than before. */
static bool differs(const struct one *before, const struct one *one)
{
    return before->taken != one->taken || before->spec.kind != one->spec.kind ||
           before->spec.mode != one->spec.mode;
}

/* What was taken as one kind is no last good content of another: a million denied prefixes would be
 * allowed, or partners denied, for as long as no file is taken. */
static void give_up(struct one *one, enum list_kind kind)
{
    if (one->status.used) {
        one->was = list_kind_name(one->spec.kind);
        log_warn("feed_kind", "feed %s: was %s and is to be %s: what it had is given up",
                 one->spec.name, one->was, list_kind_name(kind));
    }
    empty(one);
    one->status = (struct feed_status){0};
}

static void renew(struct feeds *feeds, const struct feed_spec *spec, bool ours_changed,
                  struct one *one)
{
    bool known = move_one(feeds, spec->name, one);
    bool stale = known && (ours_changed || !judged_alike(&one->spec, spec));
    struct one before = *one;
    if (known && one->spec.kind != spec->kind)
        give_up(one, spec->kind);
    set_spec(one, spec);
    look(feeds, one, stale);
    if (known && comes_to_force(&before.spec, spec) && one->status.used &&
        one->status.state != FEED_IN_FORCE)
        one->spec.mode = one->status.mode = LIST_OBSERVE; /* until a file has been judged for it */
    feeds->changed |= !known || differs(&before, one);
    if (stale && one->taken == before.taken) {
        clean_again(feeds, one);
        feeds->changed = true;
    }
}

/* Takes the plan; false when memory is short, and nothing has changed. */
static bool take_plan(struct feeds *feeds, struct feed_plan *plan)
{
    struct one *fresh = calloc(plan->count + 1, sizeof *fresh);
    if (fresh == NULL)
        return false;
    bool ours_changed = !same_ours(feeds->plan, plan);
    free(feeds->plan);
    feeds->plan = plan;
    feeds->changed |= plan->count != feeds->count;
    for (size_t i = 0; i < plan->count; i++)
        renew(feeds, &plan->spec[i], ours_changed, &fresh[i]);
    forget_clients(feeds);
    for (size_t i = 0; i < feeds->count; i++)
        empty(&feeds->one[i]);
    free(feeds->one);
    feeds->one = fresh;
    feeds->count = plan->count;
    return true;
}

static void take_out_lapsed(struct feeds *feeds)
{
    for (size_t i = 0; i < feeds->count; i++) {
        struct one *one = &feeds->one[i];
        struct feed_set set;
        if (!one->status.used || one->set.until_ms > unix_ms() ||
            feed_merge(&one->feed, unix_ms(), &set) != 0)
            continue;
        uint64_t over = set.lapsed - one->set.lapsed;
        free(one->set.prefix);
        one->set = set;
        one->status.entries -= over;
        feeds->changed = true;
        note_set(one);
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
        const struct one *one = &feeds->one[i];
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
