/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What the table of keys cannot say about rules. */
#include "common/rule_settings.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>

const char *const rule_modes[] = {[RULE_OBSERVE] = "observe", [RULE_ENFORCE] = "enforce", NULL};

enum {
    BURST_PART = 10,  /* of a second's worth, unless said otherwise */
    BURST_LEAST = 20, /* the bucket must hold what comes in while nobody lends */
};

static int64_t part_of(int64_t per_second, int64_t part)
{
    return (per_second + part - 1) / part;
}

static struct rule_source source_of(const struct rule_settings *s)
{
    int64_t burst = s->burst != 0 ? s->burst : part_of(s->admit_per_second, BURST_PART);
    return (struct rule_source){
        .rule = {.name = s->name,
                 .opens_at = s->opens_at,
                 .per_second = (uint32_t)s->admit_per_second,
                 .burst = (uint32_t)burst,
                 .state = (uint8_t)s->state,
                 .observe = s->mode == RULE_OBSERVE},
        .methods = s->methods.items,
        .method_count = s->methods.count,
        .path = s->path,
        .host = s->server_name != NULL ? s->server_name : s->host,
        .tls = s->server_name != NULL,
        .services = s->services.items,
        .service_count = s->services.count,
    };
}

/* The method that was refused. */
static const char *bad_method(const struct rule_settings *s)
{
    char *const *methods = s->methods.items;
    const char *key;
    size_t i = 0;
    while (i + 1 < s->methods.count &&
           rules_refuse(&(struct rule_source){.methods = methods + i, .method_count = 1}, &key) ==
               NULL)
        i++;
    return methods[i];
}

static int check_conditions(const struct rule_settings *s, char *why, size_t size)
{
    const struct rule_source source = source_of(s);
    const char *key, *wrong = rules_refuse(&source, &key);
    if (wrong != NULL && key[0] == 'h' && s->server_name != NULL)
        key = "server_name";
    if (wrong != NULL)
        return conf_refuse(why, size, "[rule %s] %s = %.200s: %s", s->name, key,
                           key[0] == 'p'   ? s->path
                           : key[0] == 'm' ? bad_method(s)
                                           : source.host,
                           wrong);
    if (s->server_name != NULL && (s->host != NULL || s->path != NULL || s->methods.count != 0))
        return conf_refuse(
            why, size,
            "[rule %s] server_name = %s: of TLS nothing else is seen; methods, path and "
            "host are for plain HTTP, in a rule of their own",
            s->name, s->server_name);
    return 0;
}

static int check_state(const struct rule_settings *s, char *why, size_t size)
{
    int64_t least = part_of(s->admit_per_second, BURST_LEAST);
    if (s->state == RULE_UPCOMING && s->opens_at == 0)
        return conf_refuse(
            why, size, "[rule %s] state = upcoming: opens_at is missing, the time when it opens",
            s->name);
    if (s->burst != 0 && s->admit_per_second == 0)
        return conf_refuse(why, size, "[rule %s] burst = %lld: stands without admit_per_second",
                           s->name, (long long)s->burst);
    if (s->burst != 0 && s->burst < least)
        return conf_refuse(
            why, size,
            "[rule %s] burst = %lld: too few for admit_per_second = %lld; allowed: %lld "
            "(50 ms) or more, or 0 (100 ms)",
            s->name, (long long)s->burst, (long long)s->admit_per_second, (long long)least);
    return 0;
}

/* Methods by different names over all rules: the set has a bit for each, and some for HEAD. */
static int check_methods(const struct conf_list *rules, char *why, size_t size)
{
    const struct rule_settings *rule = rules->items;
    const char *known[RULES_METHODS - 1];
    size_t count = 0;
    for (size_t i = 0; i < rules->count; i++) {
        char *const *methods = rule[i].methods.items;
        for (size_t k = 0; k < rule[i].methods.count; k++) {
            size_t at = 0;
            while (at < count && strcasecmp(known[at], methods[k]) != 0)
                at++;
            if (at == RULES_METHODS - 1)
                return conf_refuse(
                    why, size, "[rule %s] methods = %s: more than %d different ones over all rules",
                    rule[i].name, methods[k], RULES_METHODS - 1);
            if (at == count)
                known[count++] = methods[k];
        }
    }
    return 0;
}

int rule_settings_check(const struct conf_list *rules, char *why, size_t size)
{
    const struct rule_settings *rule = rules->items;
    for (size_t i = 0; i < rules->count; i++)
        if (check_conditions(&rule[i], why, size) != 0 || check_state(&rule[i], why, size) != 0)
            return -EINVAL;
    return check_methods(rules, why, size);
}

struct rules *rule_settings_compile(const struct conf_list *rules,
                                    int (*slot)(void *context, const char *name), void *context,
                                    int *error)
{
    const struct rule_settings *rule = rules->items;
    struct rule_source *sources = calloc(rules->count + 1, sizeof *sources);
    struct rules *set = NULL;
    int at = 0;
    for (size_t i = 0; sources != NULL && i < rules->count && at >= 0; i++) {
        sources[i] = source_of(&rule[i]);
        at = slot != NULL ? slot(context, rule[i].name) : (int)i;
        sources[i].rule.slot = (uint32_t)at;
    }
    if (sources != NULL && at >= 0)
        set = rules_new(sources, rules->count);
    if (set == NULL)
        *error = at < 0 ? at : -ENOMEM;
    free(sources);
    return set;
}
