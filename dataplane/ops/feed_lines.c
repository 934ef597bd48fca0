/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The text formats, a line at a time. */
#include <stdlib.h>

#include "dataplane/ops/feed_reader.h"

static struct span up_to(struct span text, char c)
{
    const char *found = text.at < text.end ? memchr(text.at, c, span_length(text)) : NULL;
    return (struct span){text.at, found != NULL ? found : text.end};
}

/* ---- plain ---- */

/* A comment needs no blank before it: neither mark is part of an address. */
const char *feed_line_plain(struct feed_reader *reader, struct span line)
{
    return feed_add_text(reader, span_trim(up_to(up_to(line, '#'), ';')), INT64_MAX);
}

/* ---- ipset save ---- */

struct options {
    bool nomatch;
    int64_t left_s; /* INT64_MAX: for good */
};

static bool read_number(struct span text, int64_t *out)
{
    int64_t value = 0;
    if (span_length(text) == 0 || span_length(text) > 12)
        return false;
    for (; text.at < text.end; text.at++) {
        if (*text.at < '0' || *text.at > '9')
            return false;
        value = value * 10 + (*text.at - '0');
    }
    *out = value;
    return true;
}

/* A word, or all between quotes: a comment may say "nomatch". */
static struct span option_token(struct span *rest)
{
    if (rest->at == rest->end || *rest->at != '"')
        return span_token(rest);
    struct span token = up_to((struct span){rest->at + 1, rest->end}, '"');
    rest->at = token.end < rest->end ? token.end + 1 : rest->end;
    *rest = span_trim(*rest);
    return token;
}

static const char *read_options(struct span rest, struct options *out)
{
    static const char *const with_value[] = {"comment", "packets", "bytes",
                                             "skbmark", "skbprio", "skbqueue"};
    while (rest.at < rest.end) {
        struct span word = option_token(&rest);
        if (span_is(word, "nomatch")) {
            out->nomatch = true;
            continue;
        }
        struct span value = option_token(&rest);
        bool known = span_is(word, "timeout");
        if (known && !read_number(value, &out->left_s))
            return "timeout is not followed by a number";
        for (size_t i = 0; !known && i < sizeof with_value / sizeof with_value[0]; i++)
            known = span_is(word, with_value[i]);
        if (!known)
            return "an option that is not known";
    }
    return NULL;
}

const char *feed_line_ipset(struct feed_reader *reader, struct span line)
{
    struct options options = {.left_s = 0};
    struct prefix prefix;
    bool masked;
    struct span word = span_token(&line);
    if (span_is(word, "create") || span_is(word, "flush"))
        return NULL;
    if (!span_is(word, "add"))
        return "neither create nor add";
    span_token(&line); /* the set's name */
    struct span entry = span_token(&line);
    const char *wrong = read_options(line, &options);
    if (wrong != NULL)
        return wrong;
    if (options.nomatch) {
        if (!span_prefix(entry, &prefix, &masked))
            return "not an address or prefix";
        feed_except(reader, &prefix);
        return NULL;
    }
    return feed_add_text(reader, entry,
                         options.left_s == 0 ? INT64_MAX
                                             : reader->how->written_ms + 1000 * options.left_s);
}

/* ---- DShield ---- */

static struct span next_field(struct span *rest, char separator)
{
    struct span field = up_to(*rest, separator);
    rest->at = field.end < rest->end ? field.end + 1 : rest->end;
    return span_trim(field);
}

bool feed_is_dshield(struct span line)
{
    struct addr a, b;
    struct span first = next_field(&line, '\t'), last = next_field(&line, '\t');
    return (span_is(first, "Start") && span_is(last, "End")) ||
           (span_addr(first, &a) && span_addr(last, &b));
}

/* The netmask says the same once more, and a line that contradicts itself is not believed. */
const char *feed_line_dshield(struct feed_reader *reader, struct span line)
{
    struct addr first, last;
    int64_t bits;
    struct span start = next_field(&line, '\t'), end = next_field(&line, '\t');
    struct span netmask = next_field(&line, '\t');
    if (span_is(start, "Start") && span_is(end, "End"))
        return NULL;
    if (!span_addr(start, &first) || !span_addr(end, &last))
        return "the first two columns are not addresses";
    if (span_length(netmask) > 0) {
        feed_number behind, from = feed_number_of(&first), to = feed_number_of(&last);
        int64_t family = addr_is_v4(&first) ? 96 : 0;
        if (!read_number(netmask, &bits) || from > to ||
            feed_cut(from, to, &behind) != bits + family || behind != to + 1)
            return "start, end and netmask contradict each other";
    }
    return feed_add_range(reader, &first, &last, INT64_MAX);
}

/* ---- comma-separated ---- */

/* Quotes around a field go; what is quoted holds no comma in the columns that matter. */
static struct span next_csv(struct span *rest)
{
    struct span field = *rest;
    if (rest->at < rest->end && *rest->at == '"') {
        field = up_to((struct span){rest->at + 1, rest->end}, '"');
        rest->at = field.end < rest->end ? field.end + 1 : rest->end;
        next_field(rest, ',');
        return span_trim(field);
    }
    return next_field(rest, ',');
}

/* The column that the header gives to addresses, or -1 if this is no header. */
static int header_column(struct span line)
{
    for (int column = 0; line.at < line.end; column++)
        if (span_is(next_csv(&line), "dst_ip"))
            return column;
    return -1;
}

bool feed_is_csv(struct span line)
{
    struct addr a;
    if (memchr(line.at, ',', span_length(line)) == NULL)
        return false;
    if (header_column(line) >= 0)
        return true;
    next_csv(&line);
    return span_addr(next_csv(&line), &a);
}

const char *feed_line_csv(struct feed_reader *reader, struct span line)
{
    int header = header_column(line);
    struct span field = {line.at, line.at};
    if (header >= 0) {
        reader->column = header;
        return NULL;
    }
    for (int column = 0; column <= reader->column; column++) {
        if (line.at == line.end)
            return "has too few columns";
        field = next_csv(&line);
    }
    return feed_add_text(reader, field, INT64_MAX);
}

/* ---- Tor ---- */

const char *feed_line_tor(struct feed_reader *reader, struct span line)
{
    struct span word = span_token(&line);
    if (span_is(word, "ExitNode") || span_is(word, "Published") || span_is(word, "LastStatus"))
        return NULL;
    if (!span_is(word, "ExitAddress"))
        return "not a kind of line that is known";
    return feed_add_text(reader, span_token(&line), INT64_MAX);
}
