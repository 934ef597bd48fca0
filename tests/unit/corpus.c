/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * One pass over the file's lines. */
#include "tests/unit/corpus.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 512, CASES = 1024, BYTES = 16384 };

struct reader {
    struct corpus_case *cases, *last;
    size_t count;
    unsigned line;
};

static void fail(const struct reader *r, const char *what)
{
    errx(1, "%s:%u: %s", CORPUS_FILE, r->line, what);
}

static void add(struct reader *r, uint8_t byte)
{
    if (r->last->length == BYTES)
        fail(r, "too many bytes");
    r->last->bytes[r->last->length++] = byte;
}

static const char *add_bytes(struct reader *r, const char *at, char until);

/* N times the text between parentheses; `at` stands behind "\*". */
static const char *add_times(struct reader *r, const char *at)
{
    char *open;
    unsigned long times = strtoul(at, &open, 10);
    const char *close = NULL;
    if (*open != '(')
        fail(r, "\\*N(text) is meant");
    for (; times > 0; times--)
        close = add_bytes(r, open + 1, ')');
    return close + 1;
}

/* One escape; `at` stands behind the backslash. */
static const char *add_escape(struct reader *r, const char *at)
{
    static const char letters[] = "\\rnt0", bytes[] = "\\\r\n\t";
    const char *letter = *at ? strchr(letters, *at) : NULL;
    unsigned byte;
    if (letter) {
        add(r, (uint8_t)bytes[letter - letters]);
        return at + 1;
    }
    if (*at == '*')
        return add_times(r, at + 1);
    if (sscanf(at, "x%2x", &byte) != 1)
        fail(r, "unknown escape");
    add(r, (uint8_t)byte);
    return at + 3;
}

static const char *add_bytes(struct reader *r, const char *at, char until)
{
    while (*at != until) {
        if (*at == '\0')
            fail(r, "no end");
        if (*at == '\\') {
            at = add_escape(r, at + 1);
        } else {
            add(r, (uint8_t)*at);
            at++;
        }
    }
    return at;
}

static void begin_case(struct reader *r, const char *line)
{
    if (r->count == CASES)
        fail(r, "too many cases");
    r->last = &r->cases[r->count++];
    if (sscanf(line, "[%63[^]]]", r->last->name) != 1)
        fail(r, "[name] is meant");
    for (struct corpus_case *c = r->cases; c < r->last; c++)
        if (strcmp(c->name, r->last->name) == 0)
            fail(r, "this name is taken");
    r->last->bytes = malloc(BYTES);
    if (r->last->bytes == NULL)
        err(1, "corpus");
}

static void set_verdict(struct reader *r, const char *line)
{
    static const char *const ends[CORPUS_BAD] = {"ok", "more", "last", "large"};
    char word[32];
    struct corpus_case *c = r->last;
    if (sscanf(line, "%u %31s", &c->heads, word) != 2)
        fail(r, "HEADS VERDICT is meant");
    for (unsigned i = 0; i < CORPUS_BAD; i++)
        if (strcmp(word, ends[i]) == 0) {
            c->end = (enum corpus_end)i;
            return;
        }
    c->end = CORPUS_BAD;
    for (unsigned i = HTTP1_OK + 1; i < HTTP1_ERRORS; i++)
        if (strcmp(word, http1_error_name((enum http1_error)i)) == 0) {
            c->error = (enum http1_error)i;
            return;
        }
    fail(r, "no such verdict");
}

const struct corpus_case *corpus_read(size_t *count)
{
    static struct corpus_case cases[CASES];
    static struct reader r = {.cases = cases};
    char line[LINE];
    FILE *file = r.count == 0 ? fopen(CORPUS_FILE, "r") : NULL;
    if (file == NULL && r.count == 0)
        err(1, "%s", CORPUS_FILE);
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        r.line++;
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '[')
            begin_case(&r, line);
        else if (line[0] == ' ')
            add_bytes(&r, line + strspn(line, " "), '\0');
        else if (line[0] != '#' && line[0] != '\0')
            set_verdict(&r, line);
    }
    if (file != NULL)
        fclose(file);
    *count = r.count;
    return cases;
}
