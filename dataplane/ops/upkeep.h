/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What the control thread does over and over: reads what workers tell, resolves and refreshes next
 * hops, turns probe results and failed openings into health, tables of backends and offers, rolls
 * the cookie keys, lends the budgets to the workers. Every change of policy becomes a new part,
 * published by the builder. Control thread only. */
#ifndef DROPGATE_DATAPLANE_OPS_UPKEEP_H
#define DROPGATE_DATAPLANE_OPS_UPKEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/admit/balance.h"
#include "dataplane/admit/policy.h"
#include "dataplane/admit/rule_slots.h"
#include "dataplane/ops/builder.h"
#include "dataplane/ops/feeds.h"
#include "dataplane/ops/health.h"
#include "dataplane/ops/keyring.h"
#include "dataplane/ops/settings.h"
#include "dataplane/worker.h"

/** What is known of a backend. control: rw, telemetry: ro, a little old. */
struct backend_state {
    struct mac mac;
    bool resolved;
    uint64_t confirmed_ms; /* last answer to ARP or neighbour discovery */
    uint64_t asked_ms;
    bool doubted;   /* the next hop may have another address: it is asked until it answers */
    bool answering; /* the last probe was good */
    bool learned;   /* options are known */
    struct tcp_options options;
    struct backend_health well;
    uint64_t answered;    /* requests, by all workers' counts, at the end of its last probe */
    uint64_t answered_ms; /* end of the last probe that found more of them than the one before */
    bool speaks;          /* that is not long ago */
    bool mute;            /* as in struct neighbors */
};

struct upkeep {
    struct policy_slot *slot;
    /* Handed over last: at the latest in force with the next part that is handed over. Parts that
     * were handed over before are the builder's to free, and not to be looked at. */
    const struct services *services;
    const struct limits *limits;
    const struct rules *rules;
    struct builder *builder;
    struct builder *reader; /* of feeds; may be NULL without them */
    struct worker *workers;
    uint32_t worker_count;
    struct lender lender; /* of the budgets */
    struct rule_slots rule_slots;
    struct quota_pool connections; /* open ones, of all clients */
    struct backend_state *backends;
    uint8_t *health;       /* enum health of each backend, for balance_new. control: rw */
    bool rebalance;        /* health or options have changed since the last round */
    bool hear;             /* who is down has begun to answer clients, or ceased */
    struct offers *offers; /* own copy of what was published last, with all the room */
    struct numbers *service_numbers, *backend_numbers;
    struct census **census; /* one per worker, NULL before it is needed */
    uint32_t census_of; /* generation of the services that it counts for; 0: none is under way */
    uint64_t look_ms;   /* next look at those who leave */
    bool gone;          /* some have, and are to be forgotten */
    struct siphash_key balance_key;
    struct keyring *keyring;
    struct feeds *feeds; /* the caller's; NULL: none are kept up */
};

/** Prepares: fills the slot with a first row of `services` and `limits`, which are its own from
 * here on, whatever it returns, and their first offers, neighbours and keys. The master key of the
 * cookies is read from `master_file`, or drawn from the kernel when that is NULL. The workers need
 * not have shards yet. Returns 0 or -errno (-ENOMEM also when a part is NULL); upkeep_end is to be
 * called in either case. Before workers start. */
int upkeep_init(struct upkeep *upkeep, struct policy_slot *slot, struct services *services,
                struct limits *limits, struct worker *workers, uint32_t worker_count,
                const char *master_file);

/** Room for what is kept of so many rules. Once, before rules are made. Returns 0 or -ENOMEM. */
int upkeep_rule_slots(struct upkeep *upkeep, uint32_t rules);

/** The rules to begin with, which the row owns from here on. Before the builder starts. */
void upkeep_first_rules(struct upkeep *upkeep, struct rules *rules);

/** Lends the workers' shards their first events of the budgets and rules; once, before they start.
 * Returns 0 or -ENOSPC. */
int upkeep_lend(struct upkeep *upkeep);

/** Reads the master key again; a new one is in force from the next round, beside the one before.
 * One that cannot be read changes nothing. Without a file (NULL) one is drawn in the place of one
 * that was read. Either is logged. Returns 0 or -errno. */
int upkeep_take_master(struct upkeep *upkeep, const char *path);

/** Takes new settings over. `parts` has those that follow from them alone, or NULL where one stays
 * as it is; services, offers, neighbours and balance are added, and all are handed over, to be seen
 * together. `last` (may be NULL) is what must succeed, too, called once nothing else can fail.
 * Returns 0; or -EINVAL, -ENOSPC, -ENOMEM, or what `last` returned, with the reason in `why`: then
 * nothing has happened. The parts are not the caller's any more in either case. */
int upkeep_reload(struct upkeep *upkeep, const struct settings *settings, struct policy *parts,
                  int (*last)(struct upkeep *upkeep, const struct settings *settings),
                  char why[CONF_WHY]);

/** Looks now and then whether those who were removed still have flows, and forgets those who have
 * none. `settings` are those in force. Beside upkeep_run. */
void upkeep_forget(struct upkeep *upkeep, const struct settings *settings);

/** The rules that were handed over last keep their slots, and no others do: after rules were made
 * that are not in force. */
void upkeep_keep_rules(struct upkeep *upkeep);

/** One round; call every few milliseconds. The builder must have been set. */
void upkeep_run(struct upkeep *upkeep);

/** Frees what upkeep_init made, and the row in force with its parts; after workers and builder have
 * ended. */
void upkeep_end(struct upkeep *upkeep);

#endif
