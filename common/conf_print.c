/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * From the table to text: the configuration in effect, and the sample file. Both are files that
 * conf_load reads; the sample as soon as the keys without a default are filled in. */
#include <string.h>

#include "conf_value.h"

enum { COMMENT_WIDTH = 98 };

static void show_section(const struct conf_schema *schema, const struct conf_section *section,
                         const char *fields, const char *name, FILE *out)
{
    fprintf(out, "[%s%s%s]\n", section->name, name ? " " : "", name ? name : "");
    for (size_t i = 0; i < schema->row_count; i++) {
        const struct conf_row *row = &schema->rows[i];
        if (strcmp(row->section, section->name) != 0)
            continue;
        fprintf(out, "%s = ", row->key);
        conf_value_print(row, fields + row->offset, out);
        fputc('\n', out);
    }
    fputc('\n', out);
}

void conf_show(const struct conf_schema *schema, const void *root, FILE *out)
{
    for (size_t i = 0; i < schema->section_count; i++) {
        const struct conf_section *section = &schema->sections[i];
        const char *fields = (const char *)root + section->offset;
        if (!section->named) {
            show_section(schema, section, fields, NULL, out);
            continue;
        }
        const struct conf_list *list = (const struct conf_list *)fields;
        for (size_t k = 0; k < list->count; k++) {
            const char *item = (const char *)list->items + k * section->size;
            show_section(schema, section, item, *(char *const *)item, out);
        }
    }
}

/* Writes prose as comment lines, broken between words. */
static void comment(const char *prose, FILE *out)
{
    size_t column = 0;
    while (*prose) {
        size_t word = strcspn(prose, " ");
        if (column > 0 && column + 1 + word > COMMENT_WIDTH) {
            fputc('\n', out);
            column = 0;
        }
        fprintf(out, "%s%.*s", column > 0 ? " " : "# ", (int)word, prose);
        column += word + (column > 0 ? 1 : 2);
        prose += word;
        prose += strspn(prose, " ");
    }
    fputc('\n', out);
}

static void sample_row(const struct conf_row *row, bool optional_section, FILE *out)
{
    char allowed[512], about[640];
    conf_value_describe(row, allowed, sizeof allowed);
    snprintf(about, sizeof about, "%s%s; %s.", row->fallback ? "" : "Required: ", allowed,
             row->when == CONF_BOOT ? "a change needs a restart" : "a reload takes a change");
    if (about[0] >= 'a' && about[0] <= 'z')
        about[0] = (char)(about[0] - 'a' + 'A');
    fputc('\n', out);
    comment(row->doc, out);
    comment(about, out);
    fprintf(out, "%s%s =%s%s\n", row->fallback || optional_section ? "#" : "", row->key,
            row->fallback && *row->fallback ? " " : "", row->fallback ? row->fallback : "");
}

void conf_sample(const struct conf_schema *schema, FILE *out)
{
    fprintf(out, "# Configuration of %s: every key with its default.\n", schema->program);
    comment("A setting stands on one line, a comment on a line of its own. A key that is commented "
            "out has the value shown; one that is not must be filled in.",
            out);
    for (size_t i = 0; i < schema->section_count; i++) {
        const struct conf_section *section = &schema->sections[i];
        bool optional = section->named && section->min == 0;
        char count[96];
        fputc('\n', out);
        comment(section->doc, out);
        if (section->named) {
            snprintf(count, sizeof count, "%zu to %zu such sections, each with a name of its own.",
                     section->min, section->max);
            comment(count, out);
        }
        fprintf(out, "%s[%s%s]\n", optional ? "#" : "", section->name,
                section->named ? " example" : "");
        for (size_t k = 0; k < schema->row_count; k++)
            if (strcmp(schema->rows[k].section, section->name) == 0)
                sample_row(&schema->rows[k], optional, out);
    }
}
