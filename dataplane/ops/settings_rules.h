/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The [rule] sections of dropgate.conf. Main and control thread. */
#ifndef DROPGATE_DATAPLANE_OPS_SETTINGS_RULES_H
#define DROPGATE_DATAPLANE_OPS_SETTINGS_RULES_H

#include "common/rule_settings.h"
#include "dataplane/admit/rule_slots.h"
#include "dataplane/ops/settings.h"

/** Checks across the keys of rules and services: 0, or -EINVAL and why. */
int settings_rules_check(const struct settings *settings, char *why, size_t size);

/** The part of policy, also where there is no rule; the caller owns it. Each rule has its slot, for
 * which rule_slots_hold is to be called, with this part or the one that stays in force. NULL with
 * `*error` set: -ENOMEM; or -ENOSPC while slots of rules that have just gone are being vacated. */
struct rules *settings_rules(const struct settings *settings, struct rule_slots *slots, int *error);

#endif
