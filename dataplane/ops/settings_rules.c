/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A rule that could never match is a mistake, and said to be one. */
#include "dataplane/ops/settings_rules.h"

#include <errno.h>
#include <string.h>

static const struct service_settings *find_service(const struct settings *s, const char *name)
{
    const struct service_settings *services = s->services.items;
    for (size_t i = 0; i < s->services.count; i++)
        if (strcmp(services[i].name, name) == 0)
            return &services[i];
    return NULL;
}

static bool of_requests(const struct rule_settings *rule)
{
    return rule->methods.count != 0 || rule->path != NULL || rule->host != NULL;
}

static int check_services(const struct settings *s, const struct rule_settings *rule, char *why,
                          size_t size)
{
    char *const *names = rule->services.items;
    for (size_t i = 0; i < rule->services.count; i++) {
        const struct service_settings *service = find_service(s, names[i]);
        if (service == NULL)
            return conf_refuse(why, size, "[rule %s] services = %s: there is no [service %s]",
                               rule->name, names[i], names[i]);
        if (of_requests(rule) && service->protocol != SERVICE_HTTP)
            return conf_refuse(
                why, size,
                "[rule %s] services = %s: methods, path and host are seen of protocol = "
                "http only",
                rule->name, names[i]);
        if (rule->server_name != NULL && service->protocol != SERVICE_TLS)
            return conf_refuse(
                why, size, "[rule %s] services = %s: a server_name is seen of protocol = tls only",
                rule->name, names[i]);
    }
    return 0;
}

int settings_rules_check(const struct settings *s, char *why, size_t size)
{
    const struct rule_settings *rules = s->rules.items;
    if ((int64_t)s->rules.count > s->tables.rules)
        return conf_refuse(
            why, size,
            "[rule %s]: one more than [tables] rules = %lld has room for; that takes a "
            "restart to change",
            rules[s->tables.rules].name, (long long)s->tables.rules);
    for (size_t i = 0; i < s->rules.count; i++)
        if (check_services(s, &rules[i], why, size) != 0)
            return -EINVAL;
    return rule_settings_check(&s->rules, why, size);
}

static int slot_of(void *context, const char *name)
{
    return rule_slots_find(context, name);
}

struct rules *settings_rules(const struct settings *settings, struct rule_slots *slots, int *error)
{
    return rule_settings_compile(&settings->rules, slot_of, slots, error);
}
