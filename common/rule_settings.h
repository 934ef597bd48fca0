/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * [rule NAME] sections of a configuration, the same in every program: their rows, the checks that
 * look at more than one key, and the way to a compiled set. Main, control or builder thread. */
#ifndef DROPGATE_COMMON_RULE_SETTINGS_H
#define DROPGATE_COMMON_RULE_SETTINGS_H

#include "common/conf.h"
#include "common/rules.h"

enum rule_mode { RULE_OBSERVE, RULE_ENFORCE };

struct rule_settings {
    char *name;
    struct conf_list services; /* char *; the gateway's */
    struct conf_list methods;  /* char * */
    char *path, *host;         /* NULL: any */
    char *server_name;         /* the gateway's; NULL: any */
    int state;                 /* enum rule_state */
    int mode;                  /* enum rule_mode */
    int64_t opens_at;          /* Unix time in milliseconds; 0 = not said */
    int64_t admit_per_second, burst;
};

extern const char *const rule_modes[];

#define RULE_ROW(k, t, f, lo, hi, def, ch, text)                                            \
    {                                                                                       \
        "rule", k, t, offsetof(struct rule_settings, f), lo, hi, def, ch, CONF_RELOAD, text \
    }

/* clang-format off */
/** Rows of keys that every program has. */
#define RULE_ROWS \
    RULE_ROW("methods", CONF_STRINGS, methods, 0, RULES_METHODS, "", NULL, "Methods that it is for; GET is also HEAD. Empty: all."), \
    RULE_ROW("path", CONF_STRING, path, 0, RULES_PATH, "", NULL, "Path that it is for, with all below: /v1/sales/7 is also /v1/sales/7/reservations, and not /v1/sales/70. However a request spells it (%73ales, //, /./, /../), the strictest rule for any of its readings holds. Empty: all."), \
    RULE_ROW("host", CONF_STRING, host, 0, 255, "", NULL, "Host that it is for, without port; *.example.com for any one label. A backend that serves the same by other names, or by its address, must be protected without it. Empty: all."), \
    RULE_ROW("state", CONF_ENUM, state, 0, 0, "open", rule_states, "upcoming: refused (403 not-open) until opens_at, open from then on; open; sold_out (409 sold-out); closed (410 sale-closed)."), \
    RULE_ROW("opens_at", CONF_TIME, opens_at, 0, 0, "", NULL, "With state = upcoming: when it opens by itself."), \
    RULE_ROW("mode", CONF_ENUM, mode, 0, 0, "enforce", rule_modes, "Count only what it would have refused, and go on with the next rule (observe), or refuse it (enforce).")
/* clang-format on */

/** Whether the rules can be compiled: 0, or -EINVAL with "[rule NAME] key = value: …" in `why`. */
int rule_settings_check(const struct conf_list *rules, char *why, size_t size);

/** Compiles them. `slot` (may be NULL) says where a rule's rate and counters are, by its name, or
 * -errno. Returns the set, or NULL with `*error` set: that one, or -ENOMEM. */
struct rules *rule_settings_compile(const struct conf_list *rules,
                                    int (*slot)(void *context, const char *name), void *context,
                                    int *error);

#endif
