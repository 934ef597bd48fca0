/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A reading is made whole, into a buffer, before it is looked at: that costs more than to decode
 * while looking, but only odd paths pay, and each step is one that can be seen to be right. */
#include "common/path.h"

#include <string.h>

enum level {
    AS_IT_STANDS,
    ALL_BUT_SLASHES,
    DECODED,
    DECODED_TWICE,
    DECODED_STRIPPED,
    STRIPPED_DECODED,
    LEVELS
};

/* What servers do to the segments of a decoded path, and in which order. A variant is a reading of
 * its own only where the path has what it acts on. */
enum { EMPTY_SEGMENTS = 1, DOT_SEGMENTS = 2 };
enum variant { UNTOUCHED, MERGED, RESOLVED, MERGED_RESOLVED, RESOLVED_MERGED, VARIANTS };
static const unsigned acts_on[VARIANTS] = {
    0, EMPTY_SEGMENTS, DOT_SEGMENTS, EMPTY_SEGMENTS | DOT_SEGMENTS, EMPTY_SEGMENTS | DOT_SEGMENTS};

/* How many dots stand behind the slash at `at` when they are all of its segment, else 0; three are
 * a name like any other. */
static size_t dots_behind(const char *text, size_t length, size_t at)
{
    size_t dots = 0;
    while (dots < 3 && at + 1 + dots < length && text[at + 1 + dots] == '.')
        dots++;
    bool whole = at + 1 + dots == length || text[at + 1 + dots] == '/';
    return whole && dots < 3 ? dots : 0;
}

/* What of it some servers would change. */
static unsigned oddities_of(const char *text, size_t length)
{
    unsigned oddities = 0;
    for (size_t i = 0; i + 1 < length; i++) {
        if (text[i] != '/')
            continue;
        if (text[i + 1] == '/')
            oddities |= EMPTY_SEGMENTS;
        else if (dots_behind(text, length, i) != 0)
            oddities |= DOT_SEGMENTS;
    }
    return oddities;
}

bool path_is_plain(const char *path, size_t length)
{
    bool after_slash = false;
    for (size_t i = 0; i < length; i++) {
        char c = path[i];
        if (c == '%' || c == ';' || c == '\\')
            return false;
        /* A segment that begins with a dot is rare enough to be looked at twice. */
        if (after_slash && (c == '/' || c == '.') && oddities_of(path, length) != 0)
            return false;
        after_slash = c == '/';
    }
    return true;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes in place; what is no escape stays as it is. Returns the new length. */
static size_t decode(char *text, size_t length, bool slashes)
{
    size_t out = 0;
    for (size_t i = 0; i < length; i++) {
        int high = text[i] == '%' && length - i > 2 ? hex(text[i + 1]) : -1;
        int low = high >= 0 ? hex(text[i + 2]) : -1;
        int byte = low >= 0 ? high << 4 | low : -1;
        if (byte < 0 || (byte == '/' && !slashes)) {
            text[out++] = text[i];
            continue;
        }
        text[out++] = (char)byte;
        i += 2;
    }
    return out;
}

/* A parameter lasts as long as its segment. */
static size_t drop_parameters(char *text, size_t length)
{
    size_t out = 0;
    bool parameter = false;
    for (size_t i = 0; i < length; i++) {
        parameter = text[i] == ';' || (parameter && text[i] != '/');
        if (!parameter)
            text[out++] = text[i];
    }
    return out;
}

static void turn_backslashes(char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (text[i] == '\\')
            text[i] = '/';
}

static size_t merge_slashes(char *text, size_t length)
{
    size_t out = 0;
    for (size_t i = 0; i < length; i++)
        if (text[i] != '/' || out == 0 || text[out - 1] != '/')
            text[out++] = text[i];
    return out;
}

/* RFC 3986 section 5.2.4, for a path that begins with a slash. */
static size_t resolve_dots(char *text, size_t length)
{
    size_t out = 0;
    for (size_t at = 0; at < length;) {
        size_t dots = dots_behind(text, length, at);
        if (dots == 0) {
            do
                text[out++] = text[at++];
            while (at < length && text[at] != '/');
            continue;
        }
        while (dots == 2 && out > 0 && text[--out] != '/')
            ;
        at += 1 + dots;
        if (at == length)
            text[out++] = '/';
    }
    return out;
}

/* Fills `decoded`; false when this level says the same as the one before it. */
static bool decode_level(struct path *path)
{
    size_t length = path->raw_length;
    memcpy(path->text, path->raw, length);
    if (path->level == STRIPPED_DECODED)
        length = drop_parameters(path->text, length);
    if (path->level != AS_IT_STANDS)
        length = decode(path->text, length, path->level != ALL_BUT_SLASHES);
    if (path->level == DECODED_TWICE)
        length = decode(path->text, length, true);
    if (path->level >= DECODED_STRIPPED)
        turn_backslashes(path->text, length);
    if (path->level == DECODED_STRIPPED)
        length = drop_parameters(path->text, length);
    if (path->level != AS_IT_STANDS && length == path->length &&
        memcmp(path->text, path->decoded, length) == 0)
        return false;
    memcpy(path->decoded, path->text, length);
    path->length = length;
    return true;
}

void path_begin(struct path *path, const char *raw, size_t length)
{
    path->raw = raw;
    path->raw_length = length;
    path->level = length <= PATH_MAX_BYTES ? AS_IT_STANDS : LEVELS;
    path->variant = VARIANTS;
}

/* Goes to the next variant of this level, or to the first of the next one. */
static bool step(struct path *path)
{
    while (path->variant < VARIANTS) {
        unsigned needed = acts_on[path->variant++];
        if ((needed & ~path->oddities) == 0)
            return true;
    }
    while (path->level < LEVELS) {
        bool differs = decode_level(path);
        path->level++;
        if (!differs)
            continue;
        path->oddities = oddities_of(path->decoded, path->length);
        path->variant = UNTOUCHED + 1;
        return true;
    }
    return false;
}

bool path_next(struct path *path, const char **text, size_t *length)
{
    if (!step(path))
        return false;
    const enum variant variant = path->variant - 1;
    size_t bytes = path->length;
    memcpy(path->text, path->decoded, bytes);
    if (variant == MERGED || variant == MERGED_RESOLVED)
        bytes = merge_slashes(path->text, bytes);
    if (variant >= RESOLVED)
        bytes = resolve_dots(path->text, bytes);
    if (variant == RESOLVED_MERGED)
        bytes = merge_slashes(path->text, bytes);
    *text = path->text;
    *length = bytes;
    return true;
}
