/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Configuration files: any bytes are either refused with one printable line that names the file, or
 * loaded to values that show and load to the same again. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/conf.h"

struct part {
    char *name;
    bool flag;
    int64_t number, size, duration, time;
    int choice;
    char *string;
    struct addr addr;
    struct prefix prefix;
    struct endpoint endpoint;
    struct conf_list addrs, interfaces, endpoints, strings;
};

struct root {
    struct part main;
    struct conf_list parts;
};

static const char *const choices[] = {"fast", "safe", NULL};
static const struct conf_section sections[] = {
    {"main", 0, offsetof(struct root, main), sizeof(struct part), 0, 0, "One."},
    {"part", 1, offsetof(struct root, parts), sizeof(struct part), 0, 4, "Many."},
};

#define P(field) offsetof(struct part, field)
#define ROWS(section, needed)                                                                        \
    {section, "flag", CONF_BOOL, P(flag), 0, 0, "yes", NULL, CONF_RELOAD, "."},                      \
        {section, "number", CONF_INT, P(number), INT64_MIN, INT64_MAX, "1", NULL, CONF_BOOT, "."},   \
        {section, "size", CONF_SIZE, P(size), INT64_MIN, INT64_MAX, "1K", NULL, CONF_BOOT, "."},     \
        {section, "duration", CONF_DURATION, P(duration), 0, INT64_MAX, "1s", NULL, CONF_BOOT, "."}, \
        {section, "choice", CONF_ENUM, P(choice), 0, 0, "safe", choices, CONF_BOOT, "."},            \
        {section, "time", CONF_TIME, P(time), 0, 0, "", NULL, CONF_BOOT, "."},                       \
        {section, "string", CONF_STRING, P(string), 0, 100, needed, NULL, CONF_BOOT, "."},           \
        {section, "addr", CONF_ADDR, P(addr), 0, 0, "", NULL, CONF_BOOT, "."},                       \
        {section, "prefix", CONF_PREFIX, P(prefix), 0, 0, "", NULL, CONF_BOOT, "."},                 \
        {section, "endpoint", CONF_ENDPOINT, P(endpoint), 0, 0, "", NULL, CONF_BOOT, "."},           \
        {section, "addrs", CONF_ADDRS, P(addrs), 0, 9, "", NULL, CONF_BOOT, "."},                    \
        {section, "interfaces", CONF_INTERFACES, P(interfaces), 0, 9, "", NULL, CONF_BOOT, "."},     \
        {section, "endpoints", CONF_ENDPOINTS, P(endpoints), 0, 9, "", NULL, CONF_BOOT, "."},        \
    {                                                                                                \
        section, "strings", CONF_STRINGS, P(strings), 0, 9, "", NULL, CONF_BOOT, "."                 \
    }
static const struct conf_row rows[] = {ROWS("main", ""), ROWS("part", NULL)};
static const struct conf_schema schema = {"fuzz", sizeof(struct root),        sections, 2,
                                          rows,   sizeof rows / sizeof *rows, NULL};

static void check(bool holds)
{
    if (!holds)
        abort();
}

static char *show(const void *root, size_t *length)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, length);
    check(out != NULL);
    conf_show(&schema, root, out);
    fclose(out);
    return text;
}

/* What is told of a difference: a key with both values, or a whole section; one line of text. */
static void check_change(void *context, const struct conf_change *change)
{
    int *count = context;
    ++*count;
    check(change->what[0] == '[' && strchr(change->what, ']') != NULL && change->text[0] != '\0');
    for (const char *p = change->text; *p; p++)
        check((unsigned char)*p >= 0x20 || *p == '\t');
}

/* Against itself nothing differs; against a file with defaults alone, the same number either way of
 * keys, and whoever comes one way goes the other. */
static void check_differences(const void *root, const void *same)
{
    static const char plain[] = "[main]\n";
    char why[CONF_WHY];
    int told = 0;
    check(conf_diff(&schema, root, same, check_change, &told) == 0 && told == 0);
    void *other = conf_load_memory(&schema, "plain", plain, sizeof plain - 1, why);
    if (!other)
        return;
    int there = conf_diff(&schema, root, other, check_change, &told);
    check(there == told);
    check(conf_diff(&schema, other, root, check_change, &told) == there && told == 2 * there);
    conf_free(&schema, other);
}

static void check_round_trip(const void *root)
{
    char why[CONF_WHY];
    size_t once_length, twice_length;
    char *once = show(root, &once_length);
    void *again = conf_load_memory(&schema, "shown", once, once_length, why);
    check(again != NULL);
    char *twice = show(again, &twice_length);
    check(once_length == twice_length && memcmp(once, twice, once_length) == 0);
    check_differences(root, again);
    conf_free(&schema, again);
    free(once);
    free(twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    char why[CONF_WHY];
    void *root = conf_load_memory(&schema, "f", (const char *)bytes, length, why);
    if (!root) {
        check(strncmp(why, "f:", 2) == 0 && strlen(why) < CONF_WHY && strlen(why) > 4);
        for (const char *p = why; *p; p++)
            check((unsigned char)*p >= 0x20 || *p == '\t');
        return 0;
    }
    check(memchr(bytes, 0, length) == NULL);
    check_round_trip(root);
    conf_free(&schema, root);
    return 0;
}
