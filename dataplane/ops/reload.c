/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Everything that can fail comes first; what follows is one hand-over to the builder. */
#include "dataplane/ops/reload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "dataplane/ops/builder.h"
#include "dataplane/ops/settings_rules.h"

/* ---- what is said of it ---- */

enum { LINE_BYTES = 900, LINES = 16 }; /* of what one event may write in a second (common/log.h) */

/* Changes, several to a line, so that a thousand new backends are told, too. */
struct report {
    const char *file;
    struct conf_text text;
    char line[LINE_BYTES]; /* being filled */
    int lines, changes, boots;
};

static void write_line(struct report *report, enum log_level level, const char *event)
{
    if (*report->line != '\0' && report->lines++ < LINES)
        log_write(level, event, "%s", report->line);
    *report->line = '\0';
}

static void add(struct report *report, enum log_level level, const char *event, const char *what)
{
    size_t used = strlen(report->line);
    if (used > 0 && used + 2 + strlen(what) >= LINE_BYTES) {
        write_line(report, level, event);
        used = 0;
    }
    snprintf(report->line + used, LINE_BYTES - used, "%s%s", used > 0 ? "; " : "", what);
}

/* Counts the change; names it if it stands in the way. */
static void look_for_boot(void *context, const struct conf_change *change)
{
    struct report *report = context;
    char what[LINE_BYTES], at[16] = "";
    report->changes++;
    if (change->when != CONF_BOOT)
        return;
    report->boots++;
    unsigned line = conf_line(&report->text, change->what); /* none: the file leaves it out */
    if (line > 0)
        snprintf(at, sizeof at, ":%u", line);
    snprintf(what, sizeof what, "%.256s%s: %s: %.256s: only a restart takes this", report->file, at,
             change->what, change->text);
    add(report, LOG_LEVEL_ERROR, "reload_refused", what);
}

static void tell_change(void *context, const struct conf_change *change)
{
    char what[LINE_BYTES];
    snprintf(what, sizeof what, "%s: %s", change->what, change->text);
    add(context, LOG_LEVEL_INFO, "reload_change", what);
}

static int refuse(int error, const char *why)
{
    log_error("reload_refused", "%s; nothing was changed", why);
    return error;
}

/* ---- the parts ---- */

static void *build_limits(const struct settings *settings)
{
    return settings_limits(settings);
}

/* Parts that follow from the settings alone. */
static const struct {
    enum part part;
    void *(*build)(const struct settings *settings); /* NULL when memory is short */
} kinds[] = {
    {PART_LIMITS, build_limits},
};

/* Builds all parts, or none. */
static int build_parts(const struct settings *settings, struct upkeep *upkeep, struct policy *parts)
{
    int error = 0;
    parts->rules = settings_rules(settings, &upkeep->rule_slots, &error);
    if (error != 0)
        return error;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        void *block = kinds[i].build(settings);
        if (block == NULL) {
            builder_free_all(parts);
            return -ENOMEM;
        }
        builder_set(parts, kinds[i].part, block);
    }
    return 0;
}

/* ---- the reload ---- */

/* What is in force beside policy. */
static void apply(struct reload *reload, struct settings *settings)
{
    log_set_lowest((enum log_level)settings->gateway.log_level);
    conf_free(&SETTINGS_SCHEMA, reload->now);
    reload->now = settings;
}

/* Also when the setting is the same: the file may be another. */
static int take_master(struct upkeep *upkeep, const struct settings *settings)
{
    return upkeep_take_master(upkeep, settings->cookie.master_file);
}

/* A reason that names a key gets its line, as those of a start have. */
static int refuse_key(int error, const struct report *report, const char *why)
{
    char what[LINE_BYTES];
    unsigned line = *why == '[' ? conf_line(&report->text, why) : 0;
    if (line == 0)
        return refuse(error, why);
    snprintf(what, sizeof what, "%.256s:%u: %s", report->file, line, why);
    return refuse(error, what);
}

/* The file was read, and may be taken over. */
static int take_over(struct reload *reload, const struct settings *settings,
                     const struct report *report)
{
    struct policy parts = {.services = NULL};
    char why[CONF_WHY];
    int error = build_parts(settings, reload->upkeep, &parts);
    if (error == -ENOSPC)
        snprintf(why, sizeof why,
                 "rules that were taken out a moment ago still have their places; try again");
    else if (error != 0)
        snprintf(why, sizeof why, "memory is short");
    if (error == 0)
        error = upkeep_reload(reload->upkeep, settings, &parts, take_master, why);
    if (error == 0)
        return 0;
    upkeep_keep_rules(reload->upkeep);
    return refuse_key(error, report, why);
}

/* Compares with what is in force. */
static int compare(struct reload *reload, struct settings *settings, struct report *report)
{
    const struct settings *before = reload_settings(reload);
    if (conf_diff(&SETTINGS_SCHEMA, before, settings, look_for_boot, report) < 0)
        return refuse(-ENOMEM, "memory is short");
    write_line(report, LOG_LEVEL_ERROR, "reload_refused");
    if (report->boots == 0)
        return 0;
    log_error("reload_refused", "%s: %d of %d changes need a restart; nothing was changed",
              report->file, report->boots, report->changes);
    return -EINVAL;
}

static int run(struct reload *reload, struct settings *settings, struct report *report)
{
    int error = compare(reload, settings, report);
    if (error == 0)
        error = take_over(reload, settings, report);
    if (error != 0)
        return error;
    if (settings->gateway.log_level < reload_settings(reload)->gateway.log_level)
        log_set_lowest((enum log_level)settings->gateway.log_level);
    conf_diff(&SETTINGS_SCHEMA, reload_settings(reload), settings, tell_change, report);
    write_line(report, LOG_LEVEL_INFO, "reload_change");
    log_info("reload", "%s: read again, %d %s in force", report->file, report->changes,
             report->changes == 1 ? "change is" : "changes are");
    return 0;
}

int reload_run(struct reload *reload)
{
    char why[CONF_WHY];
    struct report report = {.file = reload->path};
    if (conf_read(reload->path, &report.text, why) != 0)
        return refuse(-EINVAL, why);
    struct settings *settings = conf_load_memory(&SETTINGS_SCHEMA, reload->path, report.text.bytes,
                                                 report.text.length, why);
    int error = settings != NULL ? run(reload, settings, &report) : refuse(-EINVAL, why);
    if (error == 0)
        apply(reload, settings);
    else
        conf_free(&SETTINGS_SCHEMA, settings);
    free(report.text.bytes);
    return error;
}

void reload_look(struct reload *reload)
{
    upkeep_forget(reload->upkeep, reload_settings(reload));
}

void reload_end(struct reload *reload)
{
    conf_free(&SETTINGS_SCHEMA, reload->now);
    reload->now = NULL;
}
