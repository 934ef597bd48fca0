/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The formats in JSON. A document is held as a tree, so what that may take is estimated before it
 * is built. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "dataplane/ops/feed_reader.h"

static struct span text_of(const json_t *value)
{
    const char *text = json_is_string(value) ? json_string_value(value) : "";
    return (struct span){text, text + json_string_length(value)};
}

static struct span member(const json_t *object, const char *key)
{
    return text_of(json_object_get(object, key));
}

/* ---- a line ---- */

static json_t *load_line(struct span line)
{
    return json_loadb(line.at, span_length(line), 0, NULL);
}

bool feed_is_json_line(struct span line)
{
    json_t *object = load_line(line);
    bool is = json_is_string(json_object_get(object, "cidr")) ||
              span_is(member(object, "type"), "metadata");
    json_decref(object);
    return is;
}

/* The metadata counts the records: whoever loses some on the way is found out. Publishers may count
 * that line as well, or duplicates once. */
static const char *take_metadata(struct feed_reader *reader, const json_t *object)
{
    const json_t *records = json_object_get(object, "records");
    uint64_t seen = reader->feed->entries + reader->feed->unreadable;
    reader->closed = true;
    if (json_is_integer(records) && json_integer_value(records) > (json_int_t)seen + 1)
        feed_refuse(reader, -EINVAL, "its metadata counts %lld records, and there are %llu",
                    (long long)json_integer_value(records), (unsigned long long)seen);
    return NULL;
}

const char *feed_line_json(struct feed_reader *reader, struct span line)
{
    json_t *object = load_line(line);
    struct span cidr = member(object, "cidr");
    const char *wrong = NULL;
    if (!json_is_object(object))
        wrong = "not a JSON object on a line";
    else if (span_length(cidr) > 0)
        wrong = feed_add_text(reader, cidr, INT64_MAX);
    else if (span_is(member(object, "type"), "metadata"))
        wrong = take_metadata(reader, object);
    else
        wrong = "without \"cidr\"";
    json_decref(object);
    return wrong;
}

/* ---- durations ---- */

static double unit_ms(const char **text)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"ns", 1e-6}, {"us", 1e-3}, {"\xc2\xb5s", 1e-3}, {"\xce\xbcs", 1e-3},
                 {"ms", 1},    {"s", 1e3},   {"m", 6e4},          {"h", 3.6e6}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        size_t length = strlen(units[i].name);
        if (strncmp(*text, units[i].name, length) == 0) {
            *text += length;
            return units[i].ms;
        }
    }
    return -1;
}

/* Digits, and a fraction; false if there is neither. */
static bool read_decimal(const char **text, double *out)
{
    double value = 0, place = 1;
    const char *at = *text;
    bool any = false;
    for (; *at >= '0' && *at <= '9'; at++, any = true)
        value = value * 10 + (*at - '0');
    if (*at == '.')
        for (at++; *at >= '0' && *at <= '9'; at++, any = true)
            value += (*at - '0') * (place /= 10);
    *text = at;
    *out = value;
    return any;
}

bool feed_duration(const char *text, int64_t *ms)
{
    static const double most = 1e13; /* 300 years, as Go's */
    bool negative = *text == '-';
    double sum = 0;
    text += *text == '-' || *text == '+';
    if (strcmp(text, "0") == 0) {
        *ms = 0;
        return true;
    }
    if (*text == '\0')
        return false;
    while (*text != '\0') {
        double value, unit = -1;
        if (read_decimal(&text, &value))
            unit = unit_ms(&text);
        if (unit < 0 || (sum += value * unit) > most)
            return false;
    }
    *ms = (int64_t)(negative ? -sum : sum);
    return true;
}

/* ---- CrowdSec ---- */

/* What a document takes back: decisions by their number; where they have none, by what they say. */
struct gone {
    json_int_t *ids;
    struct prefix *numbered, *bare; /* without a number of its own */
    size_t id_count, numbered_count, bare_count;
};

static int by_id(const void *a, const void *b)
{
    json_int_t x = *(const json_int_t *)a, y = *(const json_int_t *)b;
    return (x > y) - (x < y);
}

static int by_prefix(const void *a, const void *b)
{
    const struct prefix *x = a, *y = b;
    int order = memcmp(&x->base, &y->base, sizeof x->base);
    return order != 0 ? order : x->length - y->length;
}

/* A ban of an address or a prefix; all else is for others than packet filters. */
static bool is_ours(const json_t *decision)
{
    struct span scope = member(decision, "scope"), type = member(decision, "type");
    return (span_is(scope, "Ip") || span_is(scope, "Range")) &&
           (span_length(type) == 0 || span_is(type, "ban")) &&
           !json_is_true(json_object_get(decision, "simulated"));
}

static void note_gone(struct gone *gone, const json_t *decision)
{
    const json_t *id = json_object_get(decision, "id");
    struct prefix prefix = {.length = 0};
    bool masked,
        good = is_ours(decision) && span_prefix(member(decision, "value"), &prefix, &masked);
    if (json_is_integer(id))
        gone->ids[gone->id_count++] = json_integer_value(id);
    if (good && json_is_integer(id))
        gone->numbered[gone->numbered_count++] = prefix;
    else if (good)
        gone->bare[gone->bare_count++] = prefix;
}

static bool is_gone(const struct gone *gone, const json_t *decision, const struct prefix *prefix)
{
    const json_t *id = json_object_get(decision, "id");
    json_int_t number = json_integer_value(id);
    if (bsearch(prefix, gone->bare, gone->bare_count, sizeof *prefix, by_prefix) != NULL)
        return true;
    return json_is_integer(id)
               ? bsearch(&number, gone->ids, gone->id_count, sizeof number, by_id) != NULL
               : bsearch(prefix, gone->numbered, gone->numbered_count, sizeof *prefix, by_prefix) !=
                     NULL;
}

static bool gather_gone(struct gone *gone, const json_t *deleted)
{
    size_t index, count = json_array_size(deleted);
    json_t *decision;
    gone->ids = calloc(count + 1, sizeof *gone->ids);
    gone->numbered = calloc(count + 1, sizeof *gone->numbered);
    gone->bare = calloc(count + 1, sizeof *gone->bare);
    if (gone->ids == NULL || gone->numbered == NULL || gone->bare == NULL)
        return false;
    json_array_foreach(deleted, index, decision) note_gone(gone, decision);
    qsort(gone->ids, gone->id_count, sizeof *gone->ids, by_id);
    qsort(gone->numbered, gone->numbered_count, sizeof *gone->numbered, by_prefix);
    qsort(gone->bare, gone->bare_count, sizeof *gone->bare, by_prefix);
    return true;
}

static const char *take_decision(struct feed_reader *reader, const json_t *decision,
                                 const struct gone *gone)
{
    struct span duration = member(decision, "duration"), value = member(decision, "value");
    struct prefix prefix;
    bool masked;
    int64_t left, until = INT64_MAX;
    if (!json_is_object(decision) || json_object_get(decision, "value") == NULL)
        return "not a decision";
    if (!is_ours(decision)) {
        reader->feed->entries++;
        reader->feed->passed_over++;
        return NULL;
    }
    if (!span_prefix(value, &prefix, &masked))
        return "its value is neither an address nor a prefix";
    if (span_length(duration) > 0) {
        if (!feed_duration(duration.at, &left))
            return "its duration is none";
        until = reader->how->written_ms + left;
    }
    if (is_gone(gone, decision, &prefix)) {
        reader->feed->entries++;
        reader->feed->deleted++;
        return NULL;
    }
    feed_add(reader, &prefix, masked, until);
    return NULL;
}

static void take_decisions(struct feed_reader *reader, const json_t *decisions,
                           const struct gone *gone)
{
    size_t index;
    json_t *decision;
    json_array_foreach(decisions, index, decision)
    {
        const char *wrong = take_decision(reader, decision, gone);
        if (wrong != NULL)
            feed_note(reader, 0, member(decision, "value"), wrong);
        if (reader->error != 0)
            return;
    }
}

static bool is_list(const json_t *value)
{
    return value == NULL || json_is_null(value) || json_is_array(value);
}

static void read_crowdsec(struct feed_reader *reader, const json_t *root)
{
    struct gone gone = {0};
    const json_t *fresh = json_is_object(root) ? json_object_get(root, "new") : root;
    const json_t *deleted = json_object_get(root, "deleted");
    if (!is_list(fresh) || !is_list(deleted) ||
        (json_is_object(root) && fresh == NULL && deleted == NULL))
        feed_refuse(reader, -EINVAL, "is JSON, and not decisions of CrowdSec");
    else if (!gather_gone(&gone, deleted))
        feed_refuse(reader, -ENOMEM, "memory is short");
    else
        take_decisions(reader, fresh, &gone);
    free(gone.ids);
    free(gone.numbered);
    free(gone.bare);
}

/* ---- AWS ---- */

static void take_ranges(struct feed_reader *reader, const json_t *ranges, const char *key)
{
    size_t index;
    json_t *range;
    json_array_foreach(ranges, index, range)
    {
        struct span text = member(range, key);
        const char *wrong = feed_add_text(reader, text, INT64_MAX);
        if (wrong != NULL)
            feed_note(reader, 0, text, wrong);
        if (reader->error != 0)
            return;
    }
}

static bool is_aws(const json_t *root)
{
    return json_is_array(json_object_get(root, "prefixes")) ||
           json_is_array(json_object_get(root, "ipv6_prefixes"));
}

static void read_aws(struct feed_reader *reader, const json_t *root)
{
    if (!is_aws(root)) {
        feed_refuse(reader, -EINVAL, "is JSON, and not ranges of AWS");
        return;
    }
    take_ranges(reader, json_object_get(root, "prefixes"), "ip_prefix");
    take_ranges(reader, json_object_get(root, "ipv6_prefixes"), "ipv6_prefix");
}

/* ---- a document ---- */

/* What the tree of these bytes takes at most: each value begins behind one of these marks, or is
 * the first. Marks within strings count as well, which errs towards refusing. */
static size_t weight(struct span all)
{
    enum { OBJECT = 400, OTHER = 150 };
    size_t sum = OBJECT + span_length(all);
    for (const char *at = all.at; at < all.end; at++)
        sum += *at == '{' ? OBJECT : *at == '[' || *at == ',' || *at == ':' ? OTHER : 0;
    return sum;
}

void feed_document(struct feed_reader *reader, struct span all)
{
    json_error_t error;
    if (span_length(all) > FEED_DOCUMENT_MAX || weight(all) > FEED_DOCUMENT_MEMORY) {
        feed_refuse(reader, -EFBIG,
                    "is too large a JSON document; allowed: %d MiB, and %d MiB in memory",
                    FEED_DOCUMENT_MAX >> 20, FEED_DOCUMENT_MEMORY >> 20);
        return;
    }
    json_t *root = json_loadb(all.at, span_length(all), JSON_DECODE_ANY, &error);
    if (root == NULL) {
        feed_refuse(reader, -EINVAL, "line %d: not JSON: %s", error.line, error.text);
        return;
    }
    if (reader->how->format == FEED_AUTO && is_aws(root))
        reader->feed->format = FEED_AWS;
    if (reader->feed->format == FEED_AWS)
        read_aws(reader, root);
    else
        read_crowdsec(reader, root);
    json_decref(root);
}
