/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The relay's options, a row each. */
#include "relay_options.h"

#include <err.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum kind { CHANCE, TIME, COUNT, FLAG };

#define RULE(name, kind, field)                         \
    {                                                   \
        name, kind, offsetof(struct relay_rules, field) \
    }

static const struct row {
    const char *name;
    enum kind kind;
    size_t field;
} rows[] = {
    RULE("drop", CHANCE, drop),
    RULE("duplicate", CHANCE, duplicate),
    RULE("reorder", CHANCE, reorder),
    RULE("split", CHANCE, split),
    RULE("overtaken-by", COUNT, overtaken_by),
    RULE("patience", TIME, patience),
    RULE("rate", COUNT, rate),
    RULE("delay", TIME, delay),
    RULE("jitter", TIME, jitter),
    RULE("data-only", FLAG, data_only),
    RULE("first-split", FLAG, first_split),
    RULE("first-overtaken", FLAG, first_overtaken),
};

enum { MS = 1000000 }; /* in ns */

/* A decimal from `least` to `most`, times `unit`. */
static uint64_t number(const char *name, const char *text, double least, double most, double unit)
{
    char *end;
    const double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= least && value <= most))
        errx(2, "--%s: want a number from %g to %g, not \"%s\"", name, least, most, text);
    return (uint64_t)llround(value * unit);
}

static void set_rule(struct relay_rules *rules, const struct row *row, const char *text)
{
    void *field = (char *)rules + row->field;
    switch (row->kind) {
    case CHANCE:
        *(uint32_t *)field = (uint32_t)number(row->name, text, 0, 100, RELAY_MILLION / 100.0);
        break;
    case TIME: *(uint64_t *)field = number(row->name, text, 0, 10000, MS); break;
    case COUNT: *(unsigned *)field = (unsigned)number(row->name, text, 1, 100000, 1); break;
    case FLAG: *(bool *)field = true; break;
    }
}

static const struct row *row_of(const char *name)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    }
    errx(2, "--%s: there is no such option", name);
}

/* The ways that "--way TEXT" names: from *first up to, not including, *end. */
static void set_way(const char *text, int *first, int *end)
{
    *first = strcmp(text, "back") == 0 ? RELAY_BACK : RELAY_FORWARD;
    *end = strcmp(text, "forward") == 0 ? RELAY_BACK : RELAY_WAYS;
    if (strcmp(text, "forward") != 0 && strcmp(text, "back") != 0 && strcmp(text, "both") != 0)
        errx(2, "--way: want forward, back or both, not \"%s\"", text);
}

void relay_options_read(struct relay_options *options, int argc, char **argv)
{
    int devices = 0, first = RELAY_FORWARD, end = RELAY_WAYS;
    const struct relay_rules rules = {.overtaken_by = 3, .patience = 20 * MS};
    *options = (struct relay_options){.rules = {rules, rules}, .seed = 1, .frames = 4096};
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i] + 2, *text = i + 1 < argc ? argv[i + 1] : "";
        const struct row *row = NULL;
        if (strncmp(argv[i], "--", 2) != 0) {
            if (devices == RELAY_WAYS)
                errx(2, "%s: want two devices", argv[i]);
            options->device[devices++] = argv[i];
            continue;
        }
        if (strcmp(name, "seed") == 0)
            options->seed = number(name, text, 0, 1e15, 1);
        else if (strcmp(name, "frames") == 0)
            options->frames = (unsigned)number(name, text, 1, 1000000, 1);
        else if (strcmp(name, "way") == 0)
            set_way(text, &first, &end);
        else
            row = row_of(name);
        for (int way = first; row != NULL && way < end; way++)
            set_rule(&options->rules[way], row, text);
        i += row == NULL || row->kind != FLAG;
    }
    if (devices != RELAY_WAYS)
        errx(2, "usage: relay [OPTION…] DEVICE DEVICE (options: tests/lab/tools/relay_options.h)");
}
