/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * One value of a configuration: its text form read, written, described and freed, for each enum
 * conf_type. Private to conf*.c; knows nothing of files, lines and sections. */
#ifndef DROPGATE_COMMON_CONF_VALUE_H
#define DROPGATE_COMMON_CONF_VALUE_H

#include <stdbool.h>

#include "conf.h"

/** Room for the text of an address in a list. */
enum { CONF_ELEMENT = 2 * ADDR_TEXT };

/** Reads `text` (no white space around it) into `field`, which is zero or holds nothing owned.
 * Returns 0, or -EINVAL with "what is wrong" in `wrong`, or -ENOMEM; after an error conf_value_free
 * is still right. */
int conf_value_parse(const struct conf_row *row, const char *text, void *field, char *wrong,
                     size_t wrong_size);

/** Writes the text that conf_value_parse would read back to the same value. */
void conf_value_print(const struct conf_row *row, const void *field, FILE *out);

/** Whether the row's values are lists; how many elements `field` has, and the text of one, which is
 * in `text` or lives as long as the value. */
bool conf_value_is_list(const struct conf_row *row);
size_t conf_value_count(const void *field);
const char *conf_value_element(const struct conf_row *row, const void *field, size_t index,
                               char text[CONF_ELEMENT]);

/** Says what a value of this row may be, as a phrase: "a duration from 1ms to 1h (ms, s, m, h, d)".
 */
void conf_value_describe(const struct conf_row *row, char *out, size_t size);

/** Frees what the value owns. */
void conf_value_free(const struct conf_row *row, void *field);

#endif
