/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * From bytes to lines, or to a document; and the arrays that entries end up in. */
#include "dataplane/ops/feed.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "dataplane/ops/feed_reader.h"

const char *const feed_formats[FEED_FORMATS + 1] = {
    [FEED_AUTO] = "auto",       [FEED_PLAIN] = "plain",       [FEED_IPSET] = "ipset",
    [FEED_DSHIELD] = "dshield", [FEED_CSV] = "csv",           [FEED_TOR] = "tor",
    [FEED_JSONLINES] = "jsonl", [FEED_CROWDSEC] = "crowdsec", [FEED_AWS] = "aws",
};

static const char *(*const line_readers[FEED_FORMATS])(struct feed_reader *, struct span) = {
    [FEED_PLAIN] = feed_line_plain,     [FEED_IPSET] = feed_line_ipset,
    [FEED_DSHIELD] = feed_line_dshield, [FEED_CSV] = feed_line_csv,
    [FEED_TOR] = feed_line_tor,         [FEED_JSONLINES] = feed_line_json,
};

/* ---- words ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

struct span span_trim(struct span text)
{
    while (text.at < text.end && is_blank(*text.at))
        text.at++;
    while (text.at < text.end && is_blank(text.end[-1]))
        text.end--;
    return text;
}

struct span span_token(struct span *rest)
{
    struct span token = {rest->at, rest->at};
    while (token.end < rest->end && !is_blank(*token.end))
        token.end++;
    rest->at = token.end;
    *rest = span_trim(*rest);
    return token;
}

bool span_is(struct span text, const char *word)
{
    size_t length = strlen(word);
    return span_length(text) == length && strncasecmp(text.at, word, length) == 0;
}

/* As a string for those who want one; false if it is longer than any address. */
static bool copy(struct span text, char out[ADDR_TEXT])
{
    size_t length = span_length(text);
    if (length >= ADDR_TEXT || memchr(text.at, '\0', length) != NULL)
        return false;
    memcpy(out, text.at, length);
    out[length] = '\0';
    return true;
}

bool span_prefix(struct span text, struct prefix *out, bool *masked)
{
    char string[ADDR_TEXT];
    return copy(text, string) && prefix_parse(string, out, masked) == 0;
}

bool span_addr(struct span text, struct addr *out)
{
    char string[ADDR_TEXT];
    return copy(text, string) && addr_parse(string, out) == 0;
}

/* ---- what has been read ---- */

#define MAPPED ((feed_number)0xffff << 32) /* ::ffff:0:0/96 stands for IPv4 */

int feed_refuse(struct feed_reader *reader, int error, const char *format, ...)
{
    va_list arguments;
    if (reader->error != 0)
        return reader->error;
    va_start(arguments, format);
    vsnprintf(reader->why, FEED_WHY, format, arguments);
    va_end(arguments);
    return reader->error = error;
}

/* Makes room for one more of `size` bytes; false ends the reading. */
static bool grow(struct feed_reader *reader, void *array, size_t size, size_t count, size_t *room)
{
    const struct feed *feed = reader->feed;
    void **items = array;
    if (feed->count + feed->lapsing_count + feed->except_count >= reader->how->most_prefixes) {
        feed_refuse(reader, -EFBIG, "holds more than %zu prefixes", reader->how->most_prefixes);
        return false;
    }
    if (count < *room)
        return true;
    size_t more = *room ? 2 * *room : 256;
    void *grown = reallocarray(*items, more, size);
    if (grown == NULL) {
        feed_refuse(reader, -ENOMEM, "memory is short");
        return false;
    }
    *items = grown;
    *room = more;
    return true;
}

static void append(struct feed_reader *reader, const struct prefix *prefix, int64_t until_ms)
{
    struct feed *feed = reader->feed;
    if (until_ms == INT64_MAX) {
        if (grow(reader, &feed->prefix, sizeof *prefix, feed->count, &feed->room))
            feed->prefix[feed->count++] = *prefix;
    } else if (grow(reader, &feed->lapsing, sizeof *feed->lapsing, feed->lapsing_count,
                    &feed->lapsing_room)) {
        feed->lapsing[feed->lapsing_count++] = (struct feed_lapsing){*prefix, until_ms};
    }
}

void feed_add(struct feed_reader *reader, const struct prefix *prefix, bool masked,
              int64_t until_ms)
{
    reader->feed->entries++;
    reader->feed->masked += masked;
    append(reader, prefix, until_ms);
}

void feed_except(struct feed_reader *reader, const struct prefix *prefix)
{
    struct feed *feed = reader->feed;
    feed->entries++;
    if (grow(reader, &feed->except, sizeof *prefix, feed->except_count, &feed->except_room))
        feed->except[feed->except_count++] = *prefix;
}

uint8_t feed_cut(feed_number first, feed_number last, feed_number *behind)
{
    unsigned bits = 0; /* that the prefix leaves open */
    while (bits < 128) {
        feed_number rest = bits == 127 ? ~(feed_number)0 : ((feed_number)2 << bits) - 1;
        if ((first & rest) != 0 || rest > last - first)
            break;
        bits++;
    }
    *behind = bits == 128 ? 0 : first + ((feed_number)1 << bits);
    return (uint8_t)(128 - bits);
}

const char *feed_add_range(struct feed_reader *reader, const struct addr *first,
                           const struct addr *last, int64_t until_ms)
{
    feed_number from = feed_number_of(first), to = feed_number_of(last), behind = from;
    if (addr_is_v4(first) != addr_is_v4(last))
        return "from one family to the other";
    if (from > to)
        return "ends before it begins";
    if (!addr_is_v4(first) && from <= MAPPED + UINT32_MAX && to >= MAPPED)
        return "reaches into the IPv4-mapped addresses";
    reader->feed->entries++;
    do {
        uint8_t length = feed_cut(behind, to, &behind);
        struct prefix prefix = {feed_addr_of(from), length};
        append(reader, &prefix, until_ms);
        from = behind;
    } while (behind != 0 && behind <= to && reader->error == 0);
    return NULL;
}

const char *feed_add_text(struct feed_reader *reader, struct span text, int64_t until_ms)
{
    struct prefix prefix;
    struct addr first, last;
    bool masked;
    if (span_prefix(text, &prefix, &masked)) {
        feed_add(reader, &prefix, masked, until_ms);
        return NULL;
    }
    const char *dash = memchr(text.at, '-', span_length(text));
    if (dash != NULL && span_addr(span_trim((struct span){text.at, dash}), &first) &&
        span_addr(span_trim((struct span){dash + 1, text.end}), &last))
        return feed_add_range(reader, &first, &last, until_ms);
    return "neither an address, nor a prefix, nor a range";
}

void feed_note(struct feed_reader *reader, uint64_t line, struct span text, const char *wrong)
{
    struct feed *feed = reader->feed;
    feed->unreadable++;
    if (feed->shown_count == FEED_SHOWN)
        return;
    struct feed_unreadable *shown = &feed->shown[feed->shown_count++];
    size_t length = span_length(text) < FEED_TEXT - 1 ? span_length(text) : FEED_TEXT - 1;
    shown->line = line;
    shown->wrong = wrong;
    for (size_t i = 0; i < length; i++)
        shown->text[i] = text.at[i] >= 0x20 && text.at[i] < 0x7f ? text.at[i] : '?';
    shown->text[length] = '\0';
}

/* ---- lines ---- */

/* Cuts the next line off; its end, whichever it is, is gone. */
static struct span next_line(struct span *rest)
{
    const char *newline = memchr(rest->at, '\n', span_length(*rest));
    struct span line = {rest->at, newline != NULL ? newline : rest->end};
    rest->at = newline != NULL ? newline + 1 : rest->end;
    return line;
}

static bool says_something(struct span line)
{
    return line.at < line.end && *line.at != '#' && *line.at != ';';
}

static void read_lines(struct feed_reader *reader, struct span all)
{
    struct feed *feed = reader->feed;
    while (all.at < all.end && reader->error == 0) {
        struct span line = next_line(&all);
        feed->lines++;
        if (span_length(line) > FEED_LINE_MAX) {
            feed_note(reader, feed->lines, line, "longer than 4,096 bytes");
            continue;
        }
        line = span_trim(line);
        const char *wrong = says_something(line) ? line_readers[feed->format](reader, line) : NULL;
        if (wrong != NULL)
            feed_note(reader, feed->lines, line, wrong);
    }
}

/* ---- which format ---- */

static bool is_tor(struct span word)
{
    return span_is(word, "ExitNode") || span_is(word, "Published") || span_is(word, "LastStatus") ||
           span_is(word, "ExitAddress");
}

/* A longer line could not be read as one. It may be a whole document, and what its tree takes is
 * bounded only where documents are read. */
static bool is_json_line(struct span line)
{
    return *line.at == '{' && span_length(line) <= FEED_LINE_MAX && feed_is_json_line(line);
}

static enum feed_format format_of_line(struct span line)
{
    struct span rest = line, word = span_token(&rest);
    if (is_json_line(line))
        return FEED_JSONLINES;
    if (*line.at == '{' || *line.at == '[' || span_is(line, "null"))
        return FEED_CROWDSEC; /* or FEED_AWS: the document says so */
    if ((span_is(word, "create") || span_is(word, "add")) && rest.at < rest.end)
        return FEED_IPSET;
    if (is_tor(word))
        return FEED_TOR;
    if (feed_is_dshield(line))
        return FEED_DSHIELD;
    return feed_is_csv(line) ? FEED_CSV : FEED_PLAIN;
}

/* By the first line that says something; a banner of comments may be long. */
static enum feed_format format_of(struct span all)
{
    while (all.at < all.end) {
        struct span line = span_trim(next_line(&all));
        if (says_something(line))
            return format_of_line(line);
    }
    return FEED_PLAIN;
}

int feed_read(const char *bytes, size_t length, const struct feed_how *how, struct feed *out,
              char why[FEED_WHY])
{
    static const char mark[] = "\xef\xbb\xbf";
    struct span all = {bytes, bytes + length};
    struct feed_reader reader = {.feed = out, .how = how, .why = why, .column = 1};
    *out = (struct feed){.format = how->format};
    if (length >= 3 && memcmp(bytes, mark, 3) == 0)
        all.at += 3;
    if (out->format == FEED_AUTO)
        out->format = format_of(all);
    if (out->format == FEED_CROWDSEC || out->format == FEED_AWS)
        feed_document(&reader, all);
    else
        read_lines(&reader, all);
    if (reader.error != 0)
        feed_free(out);
    return reader.error;
}

void feed_free(struct feed *feed)
{
    free(feed->prefix);
    free(feed->lapsing);
    free(feed->except);
    *feed = (struct feed){0};
}
