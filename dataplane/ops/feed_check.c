/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 */
#include "dataplane/ops/feed_check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dataplane/ops/feed_trial.h"

/* As the rows of [feed] have it, for a file that no section names. */
static const struct feed_spec new_denylist = {
    .name = "NEW",
    .kind = LIST_DENY,
    .mode = LIST_ENFORCE,
    .size_max = 64 << 20,
    .prefixes_max = 2000000,
    .limits = {.change = 50, .share = 5, .clients = 10},
};

/* Whether it can be read is all that matters. */
static const struct feed_spec no_feed = {
    .kind = LIST_ALLOW,
    .size_max = 1 << 30,
    .prefixes_max = 20000000,
    .limits = {.change = 0, .share = 100, .clients = 100},
};

/* The spec to judge by; NULL: there is no feed of that name. */
static const struct feed_spec *find_spec(const struct feed_plan *plan, const char *file,
                                         const char *name)
{
    if (plan == NULL)
        return &no_feed;
    for (size_t i = 0; i < plan->count; i++)
        if (strcmp(name != NULL ? plan->spec[i].name : plan->spec[i].file,
                   name != NULL ? name : file) == 0)
            return &plan->spec[i];
    return name == NULL ? &new_denylist : NULL;
}

static bool set_format(struct feed_spec *spec, const char *format)
{
    for (int i = 0; format != NULL && feed_formats[i] != NULL; i++)
        if (strcmp(feed_formats[i], format) == 0) {
            spec->format = (enum feed_format)i;
            return true;
        }
    return format == NULL;
}

static int64_t size_before(const struct feed_plan *plan, const struct feed_spec *spec)
{
    struct feed_file copy;
    char why[FEED_WHY];
    if (plan == NULL || plan->state_dir[0] == '\0' ||
        feed_copy_read(plan->state_dir, spec->name, spec->kind, spec->size_max, &copy, why) != 0)
        return -1;
    int64_t size = copy.size;
    feed_file_free(&copy);
    return size;
}

static void tell_content(const char *name, const struct feed_file *file,
                         const struct feed_trial *trial, FILE *out)
{
    const struct feed *feed = &trial->feed;
    char text[FEED_WHY * 2], hash[FEED_HASH_TEXT];
    size_t v4 = 0;
    for (size_t i = 0; i < trial->set.count; i++)
        v4 += addr_is_v4(&trial->set.prefix[i].base);
    fprintf(out, "%s: %s, SHA-256 %s\n", name, feed_formats[feed->format],
            feed_hash_print(file->hash, hash));
    fprintf(out, "  %" PRIu64 " entries in force: %zu prefixes of IPv4, %zu of IPv6\n",
            trial->facts.size, v4, trial->set.count - v4);
    fprintf(out, "  %.4f %% of IPv4, %.4f %% of IPv6 (2000::/3)\n",
            100 * (double)trial->facts.v4_addresses / 0x1p32,
            100 * (double)trial->facts.v6_networks / 0x1p61);
    if (trial->set.lapsed + feed->deleted + feed->passed_over > 0)
        fprintf(out,
                "  not in force: %" PRIu64 " whose time is over, %" PRIu64 " taken back, %" PRIu64
                " that are no bans of addresses\n",
                trial->set.lapsed, feed->deleted, feed->passed_over);
    if (feed_remarks(trial, name, text, sizeof text))
        fprintf(out, "  %s\n", text);
}

static int tell_judgement(const struct feed_plan *plan, const struct feed_spec *spec,
                          const struct feed_file *file, const struct feed_trial *trial, FILE *out)
{
    char hash[FEED_HASH_TEXT];
    if (plan == NULL && trial->judgement == FEED_GOOD)
        fprintf(out, "  can be read; -c FILE judges it as a feed\n");
    else if (plan == NULL)
        fprintf(out, "  would be refused: %s\n", trial->why);
    else if (trial->judgement == FEED_REFUSED)
        fprintf(out, "  [feed %s] would refuse it: %s\n", spec->name, trial->why);
    else if (trial->judgement == FEED_HELD_BACK)
        fprintf(out, "  [feed %s] would hold it back: %s; to take it: accept = %s\n", spec->name,
                trial->why, feed_hash_print(file->hash, hash));
    else
        fprintf(out, "  [feed %s] (%s, %s) would take it%s\n", spec->name,
                list_kind_name(spec->kind), list_mode_name(spec->mode),
                trial->accepted ? ", because it is accepted" : "");
    return trial->judgement == FEED_GOOD ? FEED_CHECK_GOOD : FEED_CHECK_NOT_TAKEN;
}

static int try_file(const char *path, const struct feed_plan *plan, const struct feed_spec *spec,
                    FILE *out)
{
    struct feed_file file;
    struct feed_trial trial;
    char why[FEED_WHY];
    struct feed_ground ground = {.size_before = size_before(plan, spec),
                                 .now_ms = (int64_t)time(NULL) * 1000};
    if (plan != NULL) {
        ground.ours = plan->ours;
        ground.ours_count = plan->ours_count;
    }
    if (feed_file_read(path, spec->size_max, &file, why) != 0) {
        fprintf(out, "%s: %s\n", path, why);
        return FEED_CHECK_NOT_TAKEN;
    }
    feed_try(spec, &ground, &file, &trial);
    if (trial.feed.format != FEED_AUTO)
        tell_content(path, &file, &trial, out);
    else
        fprintf(out, "%s:\n", path);
    int result = tell_judgement(plan, spec, &file, &trial, out);
    feed_trial_free(&trial);
    feed_file_free(&file);
    return result;
}

int feed_check(const char *file, const char *format, const struct settings *settings,
               const char *name, FILE *out)
{
    struct feed_plan *plan = settings != NULL ? settings_feeds(settings) : NULL;
    if (settings != NULL && plan == NULL) {
        fprintf(out, "memory is short\n");
        return FEED_CHECK_USAGE;
    }
    const struct feed_spec *found = find_spec(plan, file, name);
    struct feed_spec spec = found != NULL ? *found : no_feed;
    int result = FEED_CHECK_USAGE;
    if (found == NULL)
        fprintf(out, "there is no [feed %s]\n", name);
    else if (!set_format(&spec, format))
        fprintf(out, "format %s: not one that is known; allowed: those of [feed] format\n", format);
    else
        result = try_file(file, plan, &spec, out);
    free(plan);
    return result;
}
