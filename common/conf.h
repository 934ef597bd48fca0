/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Configuration as one table: each key is a row {section, key, type, bounds, default, reload or
 * boot, doc}. The rows drive parsing (inih), bounds, defaults, `--show-config`, the sample file and
 * the man page; nothing about a key is written anywhere else. A file is read into a fresh struct,
 * wholly or not at all. Main or control thread only; allocates. */
#ifndef DROPGATE_COMMON_CONF_H
#define DROPGATE_COMMON_CONF_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "addr.h"

enum conf_type {
    CONF_BOOL,       /* bool: yes/no, true/false, on/off, 1/0                       */
    CONF_INT,        /* int64_t within [min, max]                                    */
    CONF_SIZE,       /* int64_t, bytes within [min, max]; B, K, M, G (powers of 1,024) */
    CONF_DURATION,   /* int64_t, milliseconds within [min, max]; ms, s, m, h, d      */
    CONF_ENUM,       /* int: index into choices                                      */
    CONF_TIME,       /* int64_t, Unix time in milliseconds; RFC 3339                 */
    CONF_STRING,     /* char *, length within [min, max]; NULL if empty              */
    CONF_ADDR,       /* struct addr                                                  */
    CONF_PREFIX,     /* struct prefix, host bits kept out (refused when set)         */
    CONF_ENDPOINT,   /* struct endpoint                                              */
    CONF_ADDRS,      /* struct conf_list of struct addr, comma separated             */
    CONF_INTERFACES, /* struct conf_list of struct conf_interface, comma separated   */
    CONF_ENDPOINTS,  /* struct conf_list of struct endpoint, comma separated         */
    CONF_STRINGS,    /* struct conf_list of char *, comma separated                  */
};

/** Whether a new value is taken by a reload, or only at start. */
enum conf_when { CONF_RELOAD, CONF_BOOT };

/** A value with several parts: `count` elements of the row's type (min..max of them). */
struct conf_list {
    size_t count;
    void *items;
};

/** An own address with the length of its on-link prefix, "198.18.0.1/24": host bits stay. */
struct conf_interface {
    struct addr addr;
    struct prefix on_link;
};

/** One key. `min` and `max` bound a number, a string's bytes, or a list's elements; other types
 * ignore them. A time, address, prefix or endpoint with the fallback "" may be left empty and is
 * all zero then. A row without `fallback` (NULL) is required in every instance of its section. */
struct conf_row { /* NOLINT(clang-analyzer-optin.performance.Padding): in the order it reads */
    const char *section;
    const char *key;
    enum conf_type type;
    size_t offset; /* into the section's struct */
    int64_t min, max;
    const char *fallback;       /* default, written as in a file; NULL = required */
    const char *const *choices; /* CONF_ENUM: NULL-terminated */
    enum conf_when when;
    const char *doc; /* one sentence, with the unit */
};

/** One kind of section. A single one is a struct within the root at `offset`; a named one
 * ("[service shop]") may come min..max times and is a conf_list at `offset` of structs of `size`
 * bytes, each of which begins with `char *name` (1..63 of [A-Za-z0-9_.-], unique within the kind),
 * in the file's order. */
struct conf_section {
    const char *name;
    int named;
    size_t offset;
    size_t size;
    size_t min, max; /* named only */
    const char *doc;
};

/** The whole file of one program. `check` (may be NULL) looks across fields; it writes the reason,
 * as "[section] key = value: what is wrong; what is allowed", into `why` and returns -EINVAL to
 * refuse. The file and the line of that key are put in front of it. */
struct conf_schema {
    const char *program;
    size_t size; /* of the root struct */
    const struct conf_section *sections;
    size_t section_count;
    const struct conf_row *rows;
    size_t row_count;
    int (*check)(const void *root, char *why, size_t why_size);
};

/** For a `check`: writes the reason, cut to `size` bytes. Returns -EINVAL. */
int conf_refuse(char *why, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** Room for one refusal: "FILE:LINE: [section] key = value: what is wrong; what is allowed". */
enum { CONF_WHY = 512 };

/** Reads `path`. Returns a new root struct (conf_free it), or NULL with the reason, naming file,
 * line, key and what is allowed, in `why` (CONF_WHY bytes). Unknown or repeated keys and sections,
 * missing ones, text outside a section, NUL bytes, lines over 4,096 bytes and values out of bounds
 * are errors. A comment
 *  ("#" or ";") has a line of its own; behind a value it is refused, never read as one or the
 * other. */
void *conf_load(const struct conf_schema *schema, const char *path, char why[CONF_WHY]);

/** The same from memory; `name` stands for the path in messages. For tests, fuzzing and
 * descriptors. */
void *conf_load_memory(const struct conf_schema *schema, const char *name, const char *text,
                       size_t length, char why[CONF_WHY]);

/** The text of a file, for those who need it beside the struct. */
struct conf_text {
    char *bytes; /* free() */
    size_t length;
};

/** Reads the whole of `path`. Returns 0, or -errno with the reason in `why`; then there is nothing
 * to free. */
int conf_read(const char *path, struct conf_text *text, char why[CONF_WHY]);

/** The line of "[section] key" or "[section name] key" in the text, or that of the section's
 * heading; 0 when it has neither. */
unsigned conf_line(const struct conf_text *text, const char *what);

/** One difference between two roots. The texts live as long as the call. */
struct conf_change {
    const char *what; /* "[section] key", "[section name] key"; "[section name]" of a whole one;
                         "[section ...]" of all of a kind */
    const char *text; /* "15m -> 10m", of a list "+b3 -b1"; "added", "removed", "in another order"
                       */
    enum conf_when when; /* CONF_BOOT: only a start takes it, for one of its keys */
};

/** Tells every difference, in the order of the sections and rows: keys by their values, as they
 * would be shown; named sections by their names. Returns how many there are, or -ENOMEM. */
int conf_diff(const struct conf_schema *schema, const void *before, const void *after,
              void (*take)(void *context, const struct conf_change *change), void *context);

/** Frees a root struct and all that it owns; NULL is nothing. */
void conf_free(const struct conf_schema *schema, void *root);

/** Writes every key with its effective value, as a file that conf_load would read to the same
 * struct, unless a value fills its line so far that the blanks of "key = a, b" pass the limit. */
void conf_show(const struct conf_schema *schema, const void *root, FILE *out);

/** Writes the commented sample file: every section, key, default, bounds and doc. It loads once the
 * keys that have no default are filled in. */
void conf_sample(const struct conf_schema *schema, FILE *out);

#endif
