/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 */
#include "dataplane/ops/feed_trial.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* All but the judgement. */
static int read_all(const struct feed_spec *spec, const struct feed_ground *ground,
                    const struct feed_file *file, struct feed_trial *out)
{
    const struct feed_how how = {spec->format, file->written_ms, spec->prefixes_max};
    int error = feed_read(file->bytes, file->length, &how, &out->feed, out->why);
    if (error != 0)
        return error;
    if (spec->kind == LIST_DENY)
        feed_leave_out_of(&out->feed, ground->ours, ground->ours_count, &out->left_out);
    error = feed_merge(&out->feed, ground->now_ms, &out->set);
    if (error != 0)
        snprintf(out->why, FEED_WHY, "memory is short");
    return error;
}

void feed_try(const struct feed_spec *spec, const struct feed_ground *ground,
              const struct feed_file *file, struct feed_trial *out)
{
    *out = (struct feed_trial){.judgement = FEED_REFUSED};
    if (read_all(spec, ground, file, out) != 0)
        return;
    const struct feed *feed = &out->feed;
    out->facts = (struct feed_facts){
        .entries = feed->entries,
        .unreadable = feed->unreadable,
        .size = feed->count + feed->lapsing_count + feed->except_count - out->set.lapsed,
        .size_before = ground->size_before,
        .v4_addresses = out->set.v4_addresses,
        .v6_networks = out->set.v6_networks,
    };
    if (spec->kind == LIST_DENY && spec->mode == LIST_ENFORCE) {
        out->facts.clients = ground->client_count;
        out->facts.clients_denied =
            feed_set_holds(&out->set, ground->clients, ground->client_count);
    }
    out->judgement = feed_judge(&out->facts, &spec->limits, out->why);
    if (out->judgement == FEED_HELD_BACK && feed_hash_is(file->hash, spec->accept)) {
        out->judgement = FEED_GOOD;
        out->accepted = true;
    }
}

void feed_trial_free(struct feed_trial *trial)
{
    feed_free(&trial->feed);
    free(trial->set.prefix);
    trial->set.prefix = NULL;
}

/* ---- remarks ---- */

struct text {
    char *at;
    size_t room;
};

static void say(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Cut when there is no more room. */
static void say(struct text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text->at, text->room, format, arguments);
    va_end(arguments);
    size_t used = length < 0 ? 0 : (size_t)length < text->room ? (size_t)length : text->room - 1;
    text->at += used;
    text->room -= used;
}

static void say_left_out(struct text *text, uint64_t count, const struct prefix *first,
                         const char *what)
{
    char printed[ADDR_TEXT];
    if (count > 0)
        say(text, "; %" PRIu64 " left out, %s: %s%s", count, what, prefix_print(first, printed),
            count > 1 ? " and others" : "");
}

static void say_unreadable(struct text *text, const struct feed *feed, const char *name)
{
    say(text, "; %" PRIu64 " unreadable", feed->unreadable);
    for (uint32_t i = 0; i < feed->shown_count; i++) {
        const struct feed_unreadable *shown = &feed->shown[i];
        if (i == 0 && shown->line > 0)
            say(text, ": %s:%" PRIu64 ":", name, shown->line);
        else if (shown->line > 0)
            say(text, ", line %" PRIu64 ":", shown->line);
        else
            say(text, i == 0 ? ": %s:" : ",", name);
        say(text, " \"%s\" (%s)", shown->text, shown->wrong);
    }
}

int feed_remarks(const struct feed_trial *trial, const char *name, char *out, size_t size)
{
    struct text text = {out, size};
    const struct feed_left_out *left = &trial->left_out;
    out[0] = '\0';
    if (trial->feed.masked > 0)
        say(&text, "; %" PRIu64 " with bits behind the prefix, which were masked",
            trial->feed.masked);
    say_left_out(&text, left->too_short, &left->first_short, "shorter than /8 or, of IPv6, /19");
    say_left_out(&text, left->ours, &left->first_ours, "would block the gateway or its backends");
    say_left_out(&text, left->reserved, &left->first_reserved, "private, link-local or loopback");
    if (trial->feed.unreadable > 0)
        say_unreadable(&text, &trial->feed, name);
    if (out[0] != '\0')
        memmove(out, out + 2, strlen(out + 2) + 1); /* the first separator */
    return out[0] != '\0';
}
