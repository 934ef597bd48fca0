/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Reading and writing of single values. A number is decimal digits and nothing else, a unit is
 * never implied, a list has no empty element: whatever could be read in two ways is refused. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/rfc3339.h"
#include "conf_value.h"

struct unit {
    const char *name;
    int64_t factor;
};

/* Largest first: printing takes the first that divides. */
static const struct unit size_units[] = {
    {"G", INT64_C(1) << 30}, {"M", 1 << 20}, {"K", 1 << 10}, {"B", 1}, {NULL, 0}};
static const struct unit duration_units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000},
                                             {"s", 1000},     {"ms", 1},      {NULL, 0}};

static int __attribute__((format(printf, 3, 4)))
refuse(char *wrong, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(wrong, size, format, args);
    va_end(args);
    return -EINVAL;
}

/* Reads [-]digits up to the first other byte, which *rest points at. A leading zero is refused: it
 * means octal to some. */
static int parse_digits(const char *text, int64_t *out, const char **rest)
{
    bool negative = *text == '-';
    const char *p = text + negative;
    int64_t value = 0;
    if (!isdigit((unsigned char)*p) || (p[0] == '0' && (negative || isdigit((unsigned char)p[1]))))
        return -EINVAL;
    for (; isdigit((unsigned char)*p); p++) {
        int digit = negative ? '0' - *p : *p - '0';
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return -ERANGE;
    }
    *out = value;
    *rest = p;
    return 0;
}

static int check_bounds(const struct conf_row *row, int64_t value, char *wrong, size_t size)
{
    if (value < row->min)
        return refuse(wrong, size, "too small");
    if (value > row->max)
        return refuse(wrong, size, "too large");
    return 0;
}

static int parse_integer(const struct conf_row *row, const char *text, int64_t *out, char *wrong,
                         size_t size)
{
    const char *rest = text;
    int error = parse_digits(text, out, &rest);
    if (error == -ERANGE)
        return refuse(wrong, size, "too %s for any number here", *text == '-' ? "small" : "large");
    if (error != 0 || *rest != '\0')
        return refuse(wrong, size, "not a whole number");
    return check_bounds(row, *out, wrong, size);
}

static int parse_with_unit(const struct conf_row *row, const struct unit *units, const char *text,
                           int64_t *out, char *wrong, size_t size)
{
    const char *rest = text;
    int64_t value;
    int error = parse_digits(text, &value, &rest);
    if (error == -ERANGE)
        return refuse(wrong, size, "too %s for any number here", *text == '-' ? "small" : "large");
    if (error != 0)
        return refuse(wrong, size, "not a whole number with a unit");
    if (*rest == '\0') {
        if (value != 0)
            return refuse(wrong, size, "the unit is missing");
        *out = 0;
        return check_bounds(row, 0, wrong, size);
    }
    for (; units->name; units++) {
        if (strcmp(units->name, rest) != 0)
            continue;
        if (__builtin_mul_overflow(value, units->factor, out))
            return refuse(wrong, size, "too %s for any number here", value < 0 ? "small" : "large");
        return check_bounds(row, *out, wrong, size);
    }
    return refuse(wrong, size, "\"%.16s\" is not a unit known here", rest);
}

static int parse_bool(const char *text, bool *out, char *wrong, size_t size)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(words[i], text) == 0) {
            *out = i % 2 == 1;
            return 0;
        }
    }
    return refuse(wrong, size, "neither yes nor no");
}

static int parse_enum(const struct conf_row *row, const char *text, int *out, char *wrong,
                      size_t size)
{
    for (int i = 0; row->choices[i]; i++) {
        if (strcmp(row->choices[i], text) == 0) {
            *out = i;
            return 0;
        }
    }
    return refuse(wrong, size, "not one of the choices");
}

static int parse_string(const struct conf_row *row, const char *text, char **out, char *wrong,
                        size_t size)
{
    size_t length = strlen(text);
    *out = NULL;
    if (length == 0 && row->min > 0)
        return refuse(wrong, size, "empty");
    if ((int64_t)length < row->min || (int64_t)length > row->max)
        return refuse(wrong, size, "%zu bytes long", length);
    if (length == 0)
        return 0;
    *out = strdup(text);
    return *out ? 0 : -ENOMEM;
}

static int parse_time(const char *text, int64_t *out, char *wrong, size_t size)
{
    if (rfc3339_parse(text, out) == 0)
        return 0;
    return refuse(wrong, size, "not a time");
}

static int parse_addr(const char *text, struct addr *out, char *wrong, size_t size)
{
    if (addr_parse(text, out) == 0)
        return 0;
    return refuse(wrong, size, "not an address");
}

static int parse_prefix(const char *text, struct prefix *out, char *wrong, size_t size)
{
    bool masked;
    char shown[ADDR_TEXT];
    struct prefix p;
    if (prefix_parse(text, &p, &masked) != 0)
        return refuse(wrong, size, "not a prefix");
    if (masked)
        return refuse(wrong, size, "bits behind the length are set (%s would be the prefix)",
                      prefix_print(&p, shown));
    out->base = p.base; /* not the padding, which is looked at: all_zero */
    out->length = p.length;
    return 0;
}

static int parse_endpoint(const char *text, struct endpoint *out, char *wrong, size_t size)
{
    if (endpoint_parse(text, out) == 0)
        return 0;
    return refuse(wrong, size, "not an address with a port");
}

static int parse_interface(const char *text, struct conf_interface *out, char *wrong, size_t size)
{
    char copy[ADDR_TEXT];
    size_t span = strcspn(text, "/");
    if (text[span] != '/' || span >= sizeof copy || prefix_parse(text, &out->on_link, NULL) != 0)
        return refuse(wrong, size, "not an address with the length of its prefix");
    memcpy(copy, text, span);
    copy[span] = '\0';
    return parse_addr(copy, &out->addr, wrong, size);
}

static size_t element_size(enum conf_type type)
{
    switch (type) {
    case CONF_ADDRS: return sizeof(struct addr);
    case CONF_INTERFACES: return sizeof(struct conf_interface);
    case CONF_ENDPOINTS: return sizeof(struct endpoint);
    case CONF_STRINGS: return sizeof(char *);
    default: return 0;
    }
}

static int parse_word(const char *text, char **out, char *wrong, size_t size)
{
    *out = NULL;
    if (*text == '#' || *text == ';') /* behind ", ", as it would be shown, a comment */
        return refuse(wrong, size, "like a comment");
    *out = strdup(text);
    return *out ? 0 : -ENOMEM;
}

static int parse_element(enum conf_type type, const char *text, void *out, char *wrong, size_t size)
{
    switch (type) {
    case CONF_ADDRS: return parse_addr(text, out, wrong, size);
    case CONF_INTERFACES: return parse_interface(text, out, wrong, size);
    case CONF_ENDPOINTS: return parse_endpoint(text, out, wrong, size);
    default: return parse_word(text, out, wrong, size);
    }
}

/* Cuts the first element off *rest (white space around it goes); *rest becomes NULL behind the
 * last. */
static char *next_element(char **rest)
{
    char *start = *rest + strspn(*rest, " \t");
    char *comma = strchr(start, ',');
    char *end = comma ? comma : start + strlen(start);
    *rest = comma ? comma + 1 : NULL;
    while (end > start && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    *end = '\0';
    return start;
}

static int parse_elements(const struct conf_row *row, char *text, struct conf_list *list,
                          char *wrong, size_t size)
{
    size_t one = element_size(row->type);
    for (char *rest = text; rest;) {
        char reason[128];
        char *element = next_element(&rest);
        if (*element == '\0')
            return refuse(wrong, size, "element %zu is empty", list->count + 1);
        void *items = reallocarray(list->items, list->count + 1, one);
        if (!items)
            return -ENOMEM;
        list->items = items;
        void *item = (char *)items + list->count * one;
        memset(item, 0, one);
        int error = parse_element(row->type, element, item, reason, sizeof reason);
        if (error == -EINVAL)
            return refuse(wrong, size, "element %zu, \"%.48s\", is %s", list->count + 1, element,
                          reason);
        if (error != 0)
            return error;
        list->count++;
    }
    return 0;
}

static int parse_list(const struct conf_row *row, const char *text, struct conf_list *list,
                      char *wrong, size_t size)
{
    *list = (struct conf_list){0};
    if (*text == '\0')
        return row->min > 0 ? refuse(wrong, size, "empty") : 0;
    char *copy = strdup(text);
    if (!copy)
        return -ENOMEM;
    int error = parse_elements(row, copy, list, wrong, size);
    free(copy);
    if (error != 0)
        return error;
    if ((int64_t)list->count < row->min)
        return refuse(wrong, size, "too few elements");
    if ((int64_t)list->count > row->max)
        return refuse(wrong, size, "too many elements");
    return 0;
}

/* A time, address, prefix or endpoint may be left empty only where the default is: it is zero bytes
 * then. */
static bool may_be_empty(const struct conf_row *row)
{
    return row->fallback && *row->fallback == '\0';
}

static size_t plain_size(enum conf_type type)
{
    switch (type) {
    case CONF_TIME: return sizeof(int64_t);
    case CONF_ADDR: return sizeof(struct addr);
    case CONF_PREFIX: return sizeof(struct prefix);
    case CONF_ENDPOINT: return sizeof(struct endpoint);
    default: return 0;
    }
}

int conf_value_parse(const struct conf_row *row, const char *text, void *field, char *wrong,
                     size_t wrong_size)
{
    if (row->type == CONF_STRING)
        return parse_string(row, text, field, wrong, wrong_size);
    if (element_size(row->type) > 0)
        return parse_list(row, text, field, wrong, wrong_size);
    if (*text == '\0') {
        if (plain_size(row->type) == 0 || !may_be_empty(row))
            return refuse(wrong, wrong_size, "empty");
        memset(field, 0, plain_size(row->type));
        return 0;
    }
    switch (row->type) {
    case CONF_BOOL: return parse_bool(text, field, wrong, wrong_size);
    case CONF_INT: return parse_integer(row, text, field, wrong, wrong_size);
    case CONF_SIZE: return parse_with_unit(row, size_units, text, field, wrong, wrong_size);
    case CONF_DURATION: return parse_with_unit(row, duration_units, text, field, wrong, wrong_size);
    case CONF_ENUM: return parse_enum(row, text, field, wrong, wrong_size);
    case CONF_TIME: return parse_time(text, field, wrong, wrong_size);
    case CONF_ADDR: return parse_addr(text, field, wrong, wrong_size);
    case CONF_PREFIX: return parse_prefix(text, field, wrong, wrong_size);
    case CONF_ENDPOINT: return parse_endpoint(text, field, wrong, wrong_size);
    default: return refuse(wrong, wrong_size, "of a type unknown to this program");
    }
}

static void with_unit(const struct unit *units, int64_t value, char *out, size_t size)
{
    while (value % units->factor != 0)
        units++;
    snprintf(out, size, "%" PRId64 "%s", value == 0 ? 0 : value / units->factor,
             value == 0 ? "" : units->name);
}

/* A number as a person would write it in this row. */
static void number_text(const struct conf_row *row, int64_t value, char *out, size_t size)
{
    if (row->type == CONF_SIZE)
        with_unit(size_units, value, out, size);
    else if (row->type == CONF_DURATION)
        with_unit(duration_units, value, out, size);
    else
        snprintf(out, size, "%" PRId64, value);
}

static const char *element_text(enum conf_type type, const void *item, char out[CONF_ELEMENT])
{
    const struct conf_interface *own = item;
    char address[ADDR_TEXT], on_link[ADDR_TEXT];
    switch (type) {
    case CONF_ADDRS: return addr_print(item, out);
    case CONF_ENDPOINTS: return endpoint_print(item, out);
    case CONF_INTERFACES:
        snprintf(out, CONF_ELEMENT, "%s%s", addr_print(&own->addr, address),
                 strchr(prefix_print(&own->on_link, on_link), '/'));
        return out;
    default: return *(char *const *)item;
    }
}

static bool all_zero(const void *bytes, size_t length)
{
    for (const unsigned char *p = bytes; length > 0; p++, length--)
        if (*p != 0)
            return false;
    return true;
}

bool conf_value_is_list(const struct conf_row *row)
{
    return element_size(row->type) > 0;
}

size_t conf_value_count(const void *field)
{
    return ((const struct conf_list *)field)->count;
}

const char *conf_value_element(const struct conf_row *row, const void *field, size_t index,
                               char text[CONF_ELEMENT])
{
    const struct conf_list *list = field;
    return element_text(row->type, (const char *)list->items + index * element_size(row->type),
                        text);
}

static void print_list(const struct conf_row *row, const struct conf_list *list, FILE *out)
{
    char text[CONF_ELEMENT];
    for (size_t i = 0; i < list->count; i++)
        fprintf(out, "%s%s", i > 0 ? ", " : "", conf_value_element(row, list, i, text));
}

void conf_value_print(const struct conf_row *row, const void *field, FILE *out)
{
    char text[2 * ADDR_TEXT];
    if (element_size(row->type) > 0) {
        print_list(row, field, out);
        return;
    }
    if (plain_size(row->type) > 0 && may_be_empty(row) && all_zero(field, plain_size(row->type)))
        return;
    switch (row->type) {
    case CONF_BOOL: fputs(*(const bool *)field ? "yes" : "no", out); break;
    case CONF_INT:
    case CONF_SIZE:
    case CONF_DURATION:
        number_text(row, *(const int64_t *)field, text, sizeof text);
        fputs(text, out);
        break;
    case CONF_ENUM: fputs(row->choices[*(const int *)field], out); break;
    case CONF_STRING:
        if (*(char *const *)field)
            fputs(*(char *const *)field, out);
        break;
    case CONF_TIME: fputs(rfc3339_print(*(const int64_t *)field, text), out); break;
    case CONF_ADDR: fputs(addr_print(field, text), out); break;
    case CONF_PREFIX: fputs(prefix_print(field, text), out); break;
    case CONF_ENDPOINT: fputs(endpoint_print(field, text), out); break;
    default: break;
    }
}

static void describe_choices(const struct conf_row *row, char *out, size_t size)
{
    size_t used = (size_t)snprintf(out, size, "one of");
    for (int i = 0; row->choices[i] && used < size; i++)
        used +=
            (size_t)snprintf(out + used, size - used, "%s %s", i > 0 ? "," : "", row->choices[i]);
}

void conf_value_describe(const struct conf_row *row, char *out, size_t size)
{
    static const char *const elements[] = {
        [CONF_ADDRS] = "IP addresses",
        [CONF_INTERFACES] = "own addresses with prefix length (198.51.100.1/24)",
        [CONF_ENDPOINTS] = "addresses with port (198.51.100.7:80, [2001:db8::7]:80)",
        [CONF_STRINGS] = "words",
    };
    char low[32], high[32];
    number_text(row, row->min, low, sizeof low);
    number_text(row, row->max, high, sizeof high);
    const char *empty = may_be_empty(row) ? ", or empty" : "";
    switch (row->type) {
    case CONF_BOOL: snprintf(out, size, "yes or no (true, false, on, off, 1, 0)"); break;
    case CONF_INT: snprintf(out, size, "a whole number from %s to %s", low, high); break;
    case CONF_SIZE: snprintf(out, size, "a size from %s to %s, units B, K, M, G", low, high); break;
    case CONF_DURATION:
        snprintf(out, size, "a duration from %s to %s, units ms, s, m, h, d", low, high);
        break;
    case CONF_ENUM: describe_choices(row, out, size); break;
    case CONF_STRING: snprintf(out, size, "%s to %s bytes", low, high); break;
    case CONF_TIME:
        snprintf(out, size, "a time (2026-11-27T10:00:00Z, 2026-11-27T11:00:00+01:00)%s", empty);
        break;
    case CONF_ADDR: snprintf(out, size, "an IPv4 or IPv6 address%s", empty); break;
    case CONF_PREFIX:
        snprintf(out, size, "a prefix (198.51.100.0/24, 2001:db8::/32)%s", empty);
        break;
    case CONF_ENDPOINT:
        snprintf(out, size, "an address with port (198.51.100.7:80, [2001:db8::7]:80)%s", empty);
        break;
    default:
        snprintf(out, size, "%s to %s %s, separated by commas", low, high, elements[row->type]);
    }
}

void conf_value_free(const struct conf_row *row, void *field)
{
    struct conf_list *list = field;
    if (row->type == CONF_STRING) {
        free(*(char **)field);
        *(char **)field = NULL;
    } else if (element_size(row->type) > 0) {
        for (size_t i = 0; row->type == CONF_STRINGS && i < list->count; i++)
            free(((char **)list->items)[i]);
        free(list->items);
        *list = (struct conf_list){0};
    }
}
