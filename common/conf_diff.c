/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What differs between two roots of one schema, told row by row. Values are compared by the text
 * that they are shown as, which no two values share; so a new type needs nothing here. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf_value.h"

enum { WHAT_BYTES = 160 };

struct diff {
    const struct conf_schema *schema;
    void (*take)(void *context, const struct conf_change *change);
    void *context;
    int count; /* or -ENOMEM */
};

static void tell(struct diff *diff, const char *what, const char *text, enum conf_when when)
{
    if (diff->count < 0)
        return;
    diff->count++;
    diff->take(diff->context, &(struct conf_change){what, text, when});
}

static bool has_element(const struct conf_row *row, const void *field, const char *wanted)
{
    char text[CONF_ELEMENT];
    for (size_t i = 0; i < conf_value_count(field); i++)
        if (strcmp(conf_value_element(row, field, i, text), wanted) == 0)
            return true;
    return false;
}

/* Writes the elements of `field` that `other` has not, each behind `sign`; counts all so written.
 */
static void write_missing(const struct conf_row *row, const void *field, const void *other,
                          char sign, size_t *written, FILE *out)
{
    char text[CONF_ELEMENT];
    for (size_t i = 0; i < conf_value_count(field); i++) {
        const char *element = conf_value_element(row, field, i, text);
        if (!has_element(row, other, element))
            fprintf(out, "%s%c%s", (*written)++ > 0 ? " " : "", sign, element);
    }
}

/* "+b3 -b1", without what both have: a list may be long. */
static void write_list_change(const struct conf_row *row, const void *before, const void *after,
                              FILE *out)
{
    size_t written = 0;
    write_missing(row, after, before, '+', &written, out);
    write_missing(row, before, after, '-', &written, out);
    if (written == 0) /* or one is named twice */
        fputs("in another order", out);
}

static void write_value(const struct conf_row *row, const void *field, FILE *out)
{
    long start = ftell(out);
    conf_value_print(row, field, out);
    if (ftell(out) == start)
        fputs("\"\"", out);
}

/* Runs `write` into a new text; NULL when memory is short. */
static char *text_of(const struct conf_row *row, const void *before, const void *after,
                     void (*write)(const struct conf_row *row, const void *before,
                                   const void *after, FILE *out))
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    if (!out)
        return NULL;
    write(row, before, after, out);
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

static void write_one(const struct conf_row *row, const void *before, const void *after, FILE *out)
{
    (void)after;
    conf_value_print(row, before, out);
}

static void write_change(const struct conf_row *row, const void *before, const void *after,
                         FILE *out)
{
    if (conf_value_is_list(row)) {
        write_list_change(row, before, after, out);
        return;
    }
    write_value(row, before, out);
    fputs(" -> ", out);
    write_value(row, after, out);
}

static void diff_row(struct diff *diff, const struct conf_row *row, const char *name,
                     const void *before, const void *after)
{
    char what[WHAT_BYTES];
    char *old = text_of(row, before, NULL, write_one), *new = text_of(row, after, NULL, write_one);
    char *change = NULL;
    bool same = old && new &&strcmp(old, new) == 0;
    if (!same && old && new)
        change = text_of(row, before, after, write_change);
    snprintf(what, sizeof what, "[%s%s%s] %s", row->section, name ? " " : "", name ? name : "",
             row->key);
    if (change)
        tell(diff, what, change, row->when);
    else if (!same)
        diff->count = -ENOMEM;
    free(old);
    free(new);
    free(change);
}

static void diff_section(struct diff *diff, const struct conf_section *section, const char *name,
                         const char *before, const char *after)
{
    for (size_t i = 0; i < diff->schema->row_count && diff->count >= 0; i++) {
        const struct conf_row *row = &diff->schema->rows[i];
        if (strcmp(row->section, section->name) == 0)
            diff_row(diff, row, name, before + row->offset, after + row->offset);
    }
}

/* A whole section comes or goes only at a start if one of its keys does. */
static enum conf_when when_of(const struct diff *diff, const struct conf_section *section)
{
    for (size_t i = 0; i < diff->schema->row_count; i++)
        if (strcmp(diff->schema->rows[i].section, section->name) == 0 &&
            diff->schema->rows[i].when == CONF_BOOT)
            return CONF_BOOT;
    return CONF_RELOAD;
}

static const char *item_at(const struct conf_section *section, const struct conf_list *list,
                           size_t index)
{
    return (const char *)list->items + index * section->size;
}

static const char *name_of(const char *item)
{
    const char *name;
    memcpy(&name, item, sizeof name);
    return name;
}

/* Where the list has that name, or its count. Files keep their order, so the search begins where
 * the last one has ended. */
static size_t find_name(const struct conf_section *section, const struct conf_list *list,
                        const char *name, size_t from)
{
    for (size_t i = 0; i < list->count; i++) {
        size_t at = (from + i) % list->count;
        if (strcmp(name_of(item_at(section, list, at)), name) == 0)
            return at;
    }
    return list->count;
}

static void tell_whole(struct diff *diff, const struct conf_section *section, const char *name,
                       const char *text, enum conf_when when)
{
    char what[WHAT_BYTES];
    snprintf(what, sizeof what, "[%s %s]", section->name, name);
    tell(diff, what, text, when);
}

static void diff_removed(struct diff *diff, const struct conf_section *section,
                         const struct conf_list *before, const struct conf_list *after)
{
    for (size_t i = 0, next = 0; i < before->count; i++) {
        const char *name = name_of(item_at(section, before, i));
        size_t at = find_name(section, after, name, next);
        if (at == after->count)
            tell_whole(diff, section, name, "removed", when_of(diff, section));
        else
            next = at + 1;
    }
}

static void diff_named(struct diff *diff, const struct conf_section *section,
                       const struct conf_list *before, const struct conf_list *after)
{
    bool moved = false;
    diff_removed(diff, section, before, after);
    for (size_t i = 0, next = 0; i < after->count && diff->count >= 0; i++) {
        const char *item = item_at(section, after, i), *name = name_of(item);
        size_t at = find_name(section, before, name, next);
        if (at == before->count) {
            tell_whole(diff, section, name, "added", when_of(diff, section));
            continue;
        }
        moved |= at < next;
        next = at + 1;
        diff_section(diff, section, name, item_at(section, before, at), item);
    }
    if (moved)
        tell_whole(diff, section, "...", "in another order", CONF_RELOAD);
}

int conf_diff(const struct conf_schema *schema, const void *before, const void *after,
              void (*take)(void *context, const struct conf_change *change), void *context)
{
    struct diff diff = {schema, take, context, 0};
    for (size_t i = 0; i < schema->section_count; i++) {
        const struct conf_section *section = &schema->sections[i];
        const char *old = (const char *)before + section->offset;
        const char *new = (const char *)after + section->offset;
        if (section->named)
            diff_named(&diff, section, (const struct conf_list *)old,
                       (const struct conf_list *)new);
        else
            diff_section(&diff, section, NULL, old, new);
    }
    return diff.count;
}
