/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What becomes of each feed; it is told in the log whenever its file is looked at. */
#include "dataplane/ops/feed_look.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "dataplane/ops/feed_file.h"
#include "dataplane/ops/feed_trial.h"

enum { CLIENTS_COUNTED = 1 << 18, WHEN = 32 };

static const char *print_time(int64_t ms, char out[WHEN])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm parts;
    if (gmtime_r(&seconds, &parts) == NULL || strftime(out, WHEN, "%FT%TZ", &parts) == 0)
        snprintf(out, WHEN, "an unknown time");
    return out;
}

void feed_empty(struct feed_kept *one)
{
    feed_free(&one->feed);
    free(one->set.prefix);
    one->set = (struct feed_set){.until_ms = INT64_MAX};
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

void feeds_forget_clients(struct feeds *feeds)
{
    free(feeds->seen);
    feeds->seen = NULL;
    feeds->seen_count = 0;
}

/* ---- one feed ---- */

bool feed_denies(const struct feed_spec *spec)
{
    return spec->kind == LIST_DENY && spec->mode == LIST_ENFORCE;
}

static struct feed_ground ground_of(struct feeds *feeds, const struct feed_kept *one,
                                    int64_t size_before)
{
    if (feed_denies(&one->spec))
        ask_for_clients(feeds);
    return (struct feed_ground){feeds->plan->ours, feeds->plan->ours_count, size_before,
                                feeds->seen,       feeds->seen_count,       unix_ms()};
}

void feed_note_set(struct feed_kept *one)
{
    struct feed_status *status = &one->status;
    status->prefixes = one->set.count;
    status->lapsed = one->set.lapsed;
    status->v4_addresses = one->set.v4_addresses;
    status->v6_networks = one->set.v6_networks;
}

/* The trial's content becomes what is in use; what it counted stays with it. */
static void use(struct feed_kept *one, const struct feed_file *file, struct feed_trial *trial)
{
    struct feed_status *status = &one->status;
    const struct feed_left_out *left = &trial->left_out;
    feed_empty(one);
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
    feed_note_set(one);
    trial->set.prefix = NULL;
    if (trial->feed.lapsing_count == 0)
        return; /* it will never come to anything else */
    one->feed = trial->feed;
    trial->feed.prefix = trial->feed.except = NULL;
    trial->feed.lapsing = NULL;
}

/* What goes on in the place of a file that was not taken. */
static void tell_what_stays(const struct feed_kept *one, char out[FEED_TEXT * 2])
{
    char when[WHEN];
    if (one->status.used)
        snprintf(out, FEED_TEXT * 2,
                 "the last good one, of %s with %" PRIu64 " entries, stays in force",
                 print_time(one->status.written_ms, when), one->status.entries);
    else
        snprintf(out, FEED_TEXT * 2, "there is no last good one: nothing of this feed is in force");
}

static void note_failure(struct feed_kept *one, enum feed_state state, const char *why)
{
    one->status.state = state;
    snprintf(one->status.why, FEED_WHY, "%s", why);
}

/* Why there is no last good one, if there might have been. `copy` is what is wrong with that on
 * disk; empty: nothing. */
static void note_absence(struct feed_kept *one, const char *copy)
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

static void tell_failure(const struct feed_kept *one)
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

static void tell_success(const struct feed_kept *one, const struct feed_trial *trial)
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

static void save_copy(const struct feeds *feeds, const struct feed_kept *one,
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
static bool find_copy(const struct feeds *feeds, const struct feed_kept *one,
                      struct feed_file *copy, char why[FEED_WHY])
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
static void use_copy(struct feeds *feeds, struct feed_kept *one, const struct feed_file *copy)
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

static void judge_file(struct feeds *feeds, struct feed_kept *one, const struct feed_file *file,
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

/* Times that are left begin anew with a newer file. */
static bool is_in_use(const struct feed_kept *one, const struct feed_file *file)
{
    return one->status.used && memcmp(one->hash, file->hash, FEED_HASH) == 0 &&
           (one->feed.lapsing_count == 0 || one->status.written_ms == file->written_ms);
}

void feed_look(struct feeds *feeds, struct feed_kept *one, bool stale)
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

void feed_clean_again(const struct feeds *feeds, struct feed_kept *one)
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
