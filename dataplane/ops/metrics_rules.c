/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The rules in force are the workers' and may go at any time, so this thread is a reader of the
 * policy too, for as long as it writes its answer. */
#include "dataplane/ops/metrics_rules.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <urcu/urcu-qsbr.h>

#include "common/rfc3339.h"
#include "common/rules.h"
#include "dataplane/ops/metrics_key.h"

enum { SHOWN = 40 }; /* DPDK sends 16 KiB or nothing, and a rule takes up to 380 bytes */

static int64_t unix_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void fill(struct rte_tel_data *one, const struct upkeep *upkeep, const struct rule *rule)
{
    struct rule_counts counts = rule_slots_count(&upkeep->rule_slots, rule->slot);
    char opens_at[RFC3339_TEXT];
    rte_tel_data_add_dict_string(one, "rule", rule->name);
    rte_tel_data_add_dict_string(one, "state", rule_states[rule_state_at(rule, unix_ms())]);
    rte_tel_data_add_dict_string(one, "mode", rule->observe ? "observe" : "enforce");
    if (rule->state == RULE_UPCOMING)
        rte_tel_data_add_dict_string(one, "opens_at", rfc3339_print(rule->opens_at, opens_at));
    rte_tel_data_add_dict_u64(one, "admit_per_second", rule->per_second);
    rte_tel_data_add_dict_u64(one, "passed", counts.passed);
    rte_tel_data_add_dict_u64(one, "over_rate", counts.over);
    rte_tel_data_add_dict_u64(one, "refused", counts.refused);
    rte_tel_data_add_dict_u64(one, "observed", counts.observed);
}

/* In the file's order. */
static bool show_some(const struct upkeep *upkeep, const struct rules *rules, size_t from,
                      struct rte_tel_data *data)
{
    size_t count = rules != NULL ? rules_count(rules) : 0;
    char key[METRICS_KEY];
    rte_tel_data_start_dict(data);
    for (size_t i = from; i < count && i - from < SHOWN; i++) {
        struct rte_tel_data *one = rte_tel_data_alloc();
        if (one == NULL)
            return true;
        rte_tel_data_start_dict(one);
        fill(one, upkeep, rules_at(rules, i));
        rte_tel_data_add_dict_container(data, metrics_key(rules_at(rules, i)->name, key), one, 0);
    }
    return true;
}

static bool show_one(const struct upkeep *upkeep, const struct rules *rules, const char *name,
                     struct rte_tel_data *data)
{
    for (size_t i = 0; rules != NULL && i < rules_count(rules); i++) {
        if (strcmp(rules_at(rules, i)->name, name) != 0)
            continue;
        rte_tel_data_start_dict(data);
        fill(data, upkeep, rules_at(rules, i));
        return true;
    }
    return false;
}

bool metrics_rules(const struct upkeep *upkeep, const char *name, struct rte_tel_data *data)
{
    urcu_qsbr_register_thread();
    const struct policy *row = rcu_dereference(upkeep->slot->row);
    bool all = name == NULL || *name == '\0';
    bool found = all            ? show_some(upkeep, row->rules, 0, data)
                 : *name == '@' ? show_some(upkeep, row->rules, strtoul(name + 1, NULL, 10), data)
                                : show_one(upkeep, row->rules, name, data);
    urcu_qsbr_unregister_thread();
    return found;
}
