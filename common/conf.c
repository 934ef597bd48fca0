/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * From a file to a struct. inih splits lines into key and value; it forgives much (continuation
 * lines, text behind "]", ':' for '=', cut section names, over-long lines), so every line is looked
 * at before inih gets it, and what inih would forgive is refused here. The first refusal ends the
 * reading. */
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "conf_value.h"

enum {
    LINE_MAX_BYTES = 4096,
    FILE_MAX_BYTES = 64 << 20, /* a file of this size is a mistake, such as a device or a log */
    NAME_MAX_BYTES = 63,
    HEADING_SIZE = 160,
    SHOWN_VALUE = 64, /* bytes of a refused value that a message repeats */
};

/* A file being read. */
struct load {
    const struct conf_schema *schema;
    const char *file; /* for messages */
    const char *all;  /* the whole text */
    const char *text; /* what is left of it */
    size_t length;
    unsigned line;
    char *root;
    bool *met;                       /* per kind of section: seen at all */
    unsigned *set;                   /* per row: the line in the open section, or 0 */
    const struct conf_section *open; /* NULL before the first heading */
    char *fields;                    /* the open section's struct */
    char heading[HEADING_SIZE];      /* "[service shop]" */
    unsigned heading_line;
    char *why;
    bool failed;
};

static bool __attribute__((format(printf, 3, 4)))
refuse(struct load *load, unsigned line, const char *format, ...)
{
    if (load->failed)
        return false;
    load->failed = true;
    int used = line > 0 ? snprintf(load->why, CONF_WHY, "%.256s:%u: ", load->file, line)
                        : snprintf(load->why, CONF_WHY, "%.256s: ", load->file);
    va_list args;
    va_start(args, format);
    vsnprintf(load->why + used, CONF_WHY - (size_t)used, format, args);
    va_end(args);
    return false;
}

/* Appends to a bounded text; what does not fit is cut. */
static void __attribute__((format(printf, 3, 4)))
append(char *text, size_t size, const char *format, ...)
{
    size_t used = strlen(text);
    va_list args;
    va_start(args, format);
    vsnprintf(text + used, size - used, format, args);
    va_end(args);
}

/* Levenshtein's distance, with two rows; texts over 63 bytes are as far as can be. */
static size_t distance(const char *a, const char *b)
{
    size_t costs[64], length = strlen(b);
    if (strlen(a) >= 64 || length >= 64)
        return SIZE_MAX;
    for (size_t i = 0; i <= length; i++)
        costs[i] = i;
    for (; *a; a++) {
        size_t diagonal = costs[0]++;
        for (size_t i = 1; i <= length; i++) {
            size_t best = diagonal + (*a != b[i - 1]);
            diagonal = costs[i];
            if (diagonal + 1 < best)
                best = diagonal + 1;
            if (costs[i - 1] + 1 < best)
                best = costs[i - 1] + 1;
            costs[i] = best;
        }
    }
    return costs[length];
}

/* "did you mean 'listen'?" when one known name is close, else all of them. */
struct names {
    const char *wanted, *closest;
    size_t best;
    char list[CONF_WHY];
};

static void names_add(struct names *names, const char *name)
{
    size_t d = distance(names->wanted, name);
    if (d < names->best) {
        names->best = d;
        names->closest = name;
    }
    append(names->list, sizeof names->list, "%s%s", *names->list ? ", " : "", name);
}

static bool refuse_unknown(struct load *load, struct names *names, const char *what)
{
    if (names->closest && names->best <= 2)
        return refuse(load, load->line, "%s; did you mean \"%s\"?", what, names->closest);
    return refuse(load, load->line, "%s; known are: %s", what, names->list);
}

static bool unknown_section(struct load *load, const char *kind)
{
    char what[HEADING_SIZE];
    struct names names = {.wanted = kind, .best = SIZE_MAX};
    for (size_t i = 0; i < load->schema->section_count; i++)
        names_add(&names, load->schema->sections[i].name);
    snprintf(what, sizeof what, "[%.*s]: unknown section", NAME_MAX_BYTES, kind);
    return refuse_unknown(load, &names, what);
}

static bool unknown_key(struct load *load, const char *key)
{
    char what[2 * HEADING_SIZE];
    struct names names = {.wanted = key, .best = SIZE_MAX};
    snprintf(what, sizeof what, "%s %.*s: unknown key", load->heading, SHOWN_VALUE, key);
    for (size_t i = 0; i < load->schema->row_count; i++) {
        const struct conf_row *row = &load->schema->rows[i];
        if (strcmp(row->section, load->open->name) == 0)
            names_add(&names, row->key);
        else if (strcmp(row->key, key) == 0)
            return refuse(load, load->line, "%s; it belongs into [%s]", what, row->section);
    }
    return refuse_unknown(load, &names, what);
}

static const struct conf_section *find_section(const struct conf_schema *schema, const char *name)
{
    for (size_t i = 0; i < schema->section_count; i++)
        if (strcmp(schema->sections[i].name, name) == 0)
            return &schema->sections[i];
    return NULL;
}

static bool no_memory(struct load *load)
{
    return refuse(load, 0, "out of memory");
}

static bool set_field(struct load *load, const struct conf_row *row, const char *text,
                      unsigned line)
{
    char wrong[256], allowed[256];
    int error = conf_value_parse(row, text, load->fields + row->offset, wrong, sizeof wrong);
    if (error == 0)
        return true;
    if (error != -EINVAL)
        return no_memory(load);
    conf_value_describe(row, allowed, sizeof allowed);
    if (row->type == CONF_STRING) /* may hold a secret, and only its length can be wrong */
        return refuse(load, line, "%s %s: %s; allowed: %s", load->heading, row->key, wrong,
                      allowed);
    return refuse(load, line, "%s %s = %.*s%s: %s; allowed: %s", load->heading, row->key,
                  SHOWN_VALUE, text, strlen(text) > SHOWN_VALUE ? "..." : "", wrong, allowed);
}

/* Gives the open section its defaults, or refuses it for a key that has none. */
static bool close_section(struct load *load)
{
    if (!load->open)
        return true;
    for (size_t i = 0; i < load->schema->row_count; i++) {
        const struct conf_row *row = &load->schema->rows[i];
        if (load->set[i] > 0 || strcmp(row->section, load->open->name) != 0)
            continue;
        if (!row->fallback) {
            char allowed[256];
            conf_value_describe(row, allowed, sizeof allowed);
            return refuse(load, load->heading_line, "%s: the key \"%s\" is missing; allowed: %s",
                          load->heading, row->key, allowed);
        }
        if (!set_field(load, row, row->fallback, load->heading_line))
            return false;
    }
    load->open = NULL;
    return true;
}

/* Begins a section whose heading has been checked; `line` 0 stands for one that the file left out.
 */
static void begin_section(struct load *load, const struct conf_section *section, char *fields,
                          const char *name, unsigned line)
{
    load->open = section;
    load->fields = fields;
    load->heading_line = line;
    load->met[section - load->schema->sections] = true;
    memset(load->set, 0, load->schema->row_count * sizeof *load->set);
    snprintf(load->heading, sizeof load->heading, "[%s%s%s]", section->name, name ? " " : "",
             name ? name : "");
}

static bool valid_name(const char *name)
{
    size_t length = strlen(name);
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("_.-", *p))
            return false;
    return length >= 1 && length <= NAME_MAX_BYTES;
}

static bool begin_named(struct load *load, const struct conf_section *section, const char *name)
{
    struct conf_list *list = (struct conf_list *)(load->root + section->offset);
    if (!valid_name(name))
        return refuse(load, load->line,
                      "[%s %.*s]: not a name; allowed: 1 to 63 of letters, digits, '_', '.', '-'",
                      section->name, SHOWN_VALUE, name);
    for (size_t i = 0; i < list->count; i++) {
        char *const *other = (char *const *)((char *)list->items + i * section->size);
        if (strcmp(*other, name) == 0)
            return refuse(load, load->line, "[%s %s]: this section is already in the file",
                          section->name, name);
    }
    if (list->count >= section->max)
        return refuse(load, load->line, "[%s %s]: too many sections; allowed: %zu to %zu [%s ...]",
                      section->name, name, section->min, section->max, section->name);
    void *items = reallocarray(list->items, list->count + 1, section->size);
    if (!items)
        return no_memory(load);
    list->items = items;
    char *item = (char *)items + list->count * section->size;
    memset(item, 0, section->size);
    char *copy = strdup(name);
    if (!copy)
        return no_memory(load);
    memcpy(item, &copy, sizeof copy);
    list->count++;
    begin_section(load, section, item, name, load->line);
    return true;
}

/* Takes a heading: "[kind]" or "[kind name]". */
static bool take_heading(struct load *load, char *line)
{
    char *end = strchr(line, ']');
    if (!end)
        return refuse(load, load->line, "%.*s: the closing ']' is missing", SHOWN_VALUE, line);
    if (end[1 + strspn(end + 1, " \t")] != '\0')
        return refuse(load, load->line, "%.*s: text behind ']'; a comment has a line of its own",
                      SHOWN_VALUE, line);
    *end = '\0';
    if (line[1] == ' ' || line[1] == '\t')
        return refuse(load, load->line, "%.*s]: white space behind '['", SHOWN_VALUE, line);
    char *kind = line + 1, *name = kind + strcspn(kind, " \t");
    if (*name)
        *name++ = '\0';
    name += strspn(name, " \t");
    if (!close_section(load))
        return false;
    const struct conf_section *section = find_section(load->schema, kind);
    if (!section)
        return unknown_section(load, kind);
    if (section->named)
        return *name ? begin_named(load, section, name)
                     : refuse(load, load->line, "[%s]: a name is missing; allowed: [%s NAME]", kind,
                              kind);
    if (*name)
        return refuse(load, load->line, "[%s %.*s]: this section takes no name; allowed: [%s]",
                      kind, SHOWN_VALUE, name, kind);
    if (load->met[section - load->schema->sections])
        return refuse(load, load->line, "[%s]: this section is already in the file", kind);
    begin_section(load, section, load->root + section->offset, NULL, load->line);
    return true;
}

/* The mark of what some would read as a comment in a value: at its start or behind white space. */
static char comment_mark(const char *value)
{
    for (const char *p = value; *p; p++)
        if ((*p == ';' || *p == '#') && (p == value || p[-1] == ' ' || p[-1] == '\t'))
            return *p;
    return '\0';
}

/* Whether inih will read "key = value" from this line just as a person would. */
static bool check_pair(struct load *load, const char *line)
{
    const char *equals = strchr(line, '=');
    if (!load->open)
        return refuse(load, load->line, "%.*s: text outside of a section; a [section] comes first",
                      SHOWN_VALUE, line);
    if (!equals || equals == line || memchr(line, ':', (size_t)(equals - line)))
        return refuse(load, load->line, "%s %.*s: not a setting; allowed: key = value",
                      load->heading, SHOWN_VALUE, line);
    size_t key = (size_t)(equals - line);
    while (line[key - 1] == ' ' || line[key - 1] == '\t')
        key--;
    char mark = comment_mark(equals + 1);
    if (mark)
        return refuse(load, load->line,
                      "%s %.*s: '%c' at the beginning of a word could be meant as a comment; a "
                      "comment has a line of its own",
                      load->heading, key < SHOWN_VALUE ? (int)key : SHOWN_VALUE, line, mark);
    return true;
}

/* Looks at a line that has lost its line end; true if inih may have it. */
static bool check_line(struct load *load, char *line, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (((unsigned char)line[i] < 0x20 && line[i] != '\t') || line[i] == 0x7f)
            return refuse(load, load->line, "byte %zu is the control character 0x%02x", i + 1,
                          (unsigned)line[i]);
    if (load->line == 1 && strncmp(line, "\xef\xbb\xbf", 3) == 0)
        return refuse(load, load->line, "the file begins with a byte order mark; remove it");
    size_t blank = strspn(line, " \t");
    if (line[blank] == '\0' || line[blank] == '#' || line[blank] == ';')
        return true;
    if (blank > 0)
        return refuse(load, load->line,
                      "the line begins with white space; a value stands on one line");
    return line[0] == '[' || check_pair(load, line);
}

/* inih's reader: one whole line per call into `out` (`size` bytes), NULL at the end or after a
 * refusal. */
static char *next_line(char *out, int size, void *stream)
{
    struct load *load = stream;
    if (load->failed || load->length == 0)
        return NULL;
    const char *newline = memchr(load->text, '\n', load->length);
    size_t whole = newline ? (size_t)(newline - load->text) + 1 : load->length;
    size_t length = newline ? whole - 1 : whole;
    if (length > 0 && load->text[length - 1] == '\r')
        length--;
    load->line++;
    if (length > LINE_MAX_BYTES || length + 2 > (size_t)size) {
        refuse(load, load->line, "the line has %zu bytes; allowed: %d", length,
               size - 2 < LINE_MAX_BYTES ? size - 2 : LINE_MAX_BYTES);
        return NULL;
    }
    memcpy(out, load->text, length);
    out[length] = '\0';
    load->text += whole;
    load->length -= whole;
    if (!check_line(load, out, length))
        return NULL;
    if (out[0] == '[') {
        if (!take_heading(load, out))
            return NULL;
        length = 0; /* inih has no more to say about it */
    }
    memcpy(out + length, "\n", 2);
    return out;
}

/* inih's handler. Which section is open is known better here: inih cuts names. */
static int take_pair(void *user, const char *section, const char *key, const char *value)
{
    struct load *load = user;
    (void)section;
    for (size_t i = 0; i < load->schema->row_count; i++) {
        const struct conf_row *row = &load->schema->rows[i];
        if (strcmp(row->section, load->open->name) != 0 || strcmp(row->key, key) != 0)
            continue;
        if (load->set[i] > 0)
            return refuse(load, load->line, "%s %s: this key is already set in line %u",
                          load->heading, key, load->set[i]);
        load->set[i] = load->line;
        return set_field(load, row, value, load->line);
    }
    return unknown_key(load, key);
}

/* Sections that the file leaves out: defaults where each key has one, else an error. */
static bool finish_sections(struct load *load)
{
    if (!close_section(load))
        return false;
    for (size_t i = 0; i < load->schema->section_count; i++) {
        const struct conf_section *section = &load->schema->sections[i];
        const struct conf_list *list = (const struct conf_list *)(load->root + section->offset);
        if (section->named && list->count < section->min)
            return refuse(load, 0, "too few [%s ...] sections: %zu; allowed: %zu to %zu",
                          section->name, list->count, section->min, section->max);
        if (section->named || load->met[i])
            continue;
        begin_section(load, section, load->root + section->offset, NULL, 0);
        if (!close_section(load))
            return false;
    }
    return true;
}

/* How many bytes of `line` (which ends at `end`) say the same as the first `length` of `words`,
 * where any run of blanks is as good as one; 0 if they differ. */
static size_t says(const char *line, const char *end, const char *words, size_t length)
{
    const char *at = line;
    for (size_t i = 0; i < length; i++, at++) {
        if (at == end || (words[i] == ' ' ? *at != ' ' && *at != '\t' : *at != words[i]))
            return 0;
        while (words[i] == ' ' && at + 1 < end && (at[1] == ' ' || at[1] == '\t'))
            at++;
    }
    return (size_t)(at - line);
}

/* The line that a reason "[heading] key ..." is about, or that of its heading; 0 if the file has
 * neither. */
static unsigned line_of(const char *text, const char *text_end, const char *reason)
{
    size_t heading = strcspn(reason, "]") + 1;
    if (reason[0] != '[' || heading > strlen(reason))
        return 0;
    const char *key = reason + heading + strspn(reason + heading, " ");
    size_t key_length = strcspn(key, " :=");
    unsigned found = 0, number = 1;
    bool inside = false;
    for (const char *end; text < text_end; text = end + 1, number++) {
        const char *newline = memchr(text, '\n', (size_t)(text_end - text));
        end = newline ? newline : text_end;
        if (*text == '[') {
            inside = says(text, end, reason, heading) > 0;
            found = inside ? number : found;
        }
        size_t said = inside ? says(text, end, key, key_length) : 0;
        if (said > 0 && text + said < end && strchr(" \t=", text[said]))
            return number;
    }
    return found;
}

static bool read_all(struct load *load)
{
#ifdef HAVE_INI_MAX_LINE
    ini_max_line = LINE_MAX_BYTES + 3; /* 200 if nothing is said; next_line obeys in any case */
#endif
    int bad_line = ini_parse_stream(next_line, load, take_pair, load);
    if (bad_line < 0)
        return no_memory(load);
    if (bad_line > 0) /* check_line should have said why */
        refuse(load, load->line, "not understood");
    if (load->failed || !finish_sections(load))
        return false;
    char reason[CONF_WHY] = "refused";
    if (load->schema->check && load->schema->check(load->root, reason, sizeof reason) != 0)
        return refuse(load, line_of(load->all, load->text + load->length, reason), "%s", reason);
    return true;
}

void *conf_load_memory(const struct conf_schema *schema, const char *name, const char *text,
                       size_t length, char why[CONF_WHY])
{
    struct load load = {
        .schema = schema, .file = name, .all = text, .text = text, .length = length, .why = why};
    why[0] = '\0';
    load.root = calloc(1, schema->size);
    load.met = calloc(schema->section_count + 1, sizeof *load.met);
    load.set = calloc(schema->row_count + 1, sizeof *load.set);
    if (!load.root || !load.met || !load.set)
        no_memory(&load);
    else
        read_all(&load);
    free(load.met);
    free(load.set);
    if (!load.failed)
        return load.root;
    conf_free(schema, load.root);
    return NULL;
}

/* Reads the file into *text (to be freed). Returns 0 or -errno. */
static int read_file(const char *path, char **text, size_t *length)
{
    size_t room = 0;
    FILE *file = fopen(path, "re");
    *text = NULL;
    *length = 0;
    if (!file)
        return -errno;
    do {
        room = room ? 2 * room : 16384;
        char *grown = realloc(*text, room);
        if (!grown) {
            fclose(file);
            return -ENOMEM;
        }
        *text = grown;
        *length += fread(*text + *length, 1, room - *length, file);
    } while (*length == room && room < FILE_MAX_BYTES);
    int error = ferror(file) ? -errno : *length == FILE_MAX_BYTES ? -EFBIG : 0;
    fclose(file);
    return error;
}

int conf_read(const char *path, struct conf_text *text, char why[CONF_WHY])
{
    int error = read_file(path, &text->bytes, &text->length);
    if (error == 0)
        return 0;
    snprintf(why, CONF_WHY, "%.256s: cannot be read: %s", path, strerror(-error));
    free(text->bytes);
    *text = (struct conf_text){0};
    return error;
}

int conf_refuse(char *why, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, size, format, args);
    va_end(args);
    return -EINVAL;
}

void *conf_load(const struct conf_schema *schema, const char *path, char why[CONF_WHY])
{
    struct conf_text text;
    if (conf_read(path, &text, why) != 0)
        return NULL;
    void *root = conf_load_memory(schema, path, text.bytes, text.length, why);
    free(text.bytes);
    return root;
}

unsigned conf_line(const struct conf_text *text, const char *what)
{
    return line_of(text->bytes, text->bytes + text->length, what);
}

static void free_fields(const struct conf_schema *schema, const struct conf_section *section,
                        char *fields)
{
    for (size_t i = 0; i < schema->row_count; i++)
        if (strcmp(schema->rows[i].section, section->name) == 0)
            conf_value_free(&schema->rows[i], fields + schema->rows[i].offset);
}

void conf_free(const struct conf_schema *schema, void *root)
{
    if (!root)
        return;
    for (size_t i = 0; i < schema->section_count; i++) {
        const struct conf_section *section = &schema->sections[i];
        char *fields = (char *)root + section->offset;
        if (!section->named) {
            free_fields(schema, section, fields);
            continue;
        }
        struct conf_list *list = (struct conf_list *)fields;
        for (size_t k = 0; k < list->count; k++) {
            char *item = (char *)list->items + k * section->size, *name;
            free_fields(schema, section, item);
            memcpy(&name, item, sizeof name);
            free(name);
        }
        free(list->items);
    }
    free(root);
}
