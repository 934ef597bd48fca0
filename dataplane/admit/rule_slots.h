/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What is kept of rules beside the rules themselves: rates that hold for all workers together, and
 * counters. A rule has a slot, by its name, for as long as a rule of that name is in force, so it
 * keeps its rate and its counts when rules are read again. A worker has an account for each slot;
 * its events are lent by the control thread (admit/lease.h). Workers may have the rules of before
 * for a while after new ones were handed over, so the slot and the rate of a rule that has gone
 * stay until all have the new ones; the slot is given to another only when, besides, no worker
 * holds any of its events. Pure. */
#ifndef DROPGATE_DATAPLANE_ADMIT_RULE_SLOTS_H
#define DROPGATE_DATAPLANE_ADMIT_RULE_SLOTS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/rules.h"
#include "dataplane/admit/lease.h"

/** What a worker knows of one slot: a cache line. */
struct rule_account {
    struct lease lease;    /* as its fields say */
    struct rule_line line; /* worker: rw; its own part of those who were over the rate */
    struct rule_counts {
        uint64_t passed, over, refused, observed;
    } counts; /* worker: rw, others: ro */
};

/** One worker's. */
struct rule_accounts {
    struct rule_account *account; /* one per slot */
    uint32_t count;
    uint32_t workers; /* that share the rates. control: rw before the start, worker: ro */
    uint32_t used;    /* control: rw, worker: ro; behind the last slot that was ever in use */
    uint32_t next;    /* worker: rw; the one to be visited next */
};

/** As many accounts as there are slots. Returns 0 or -ENOMEM. */
int rule_accounts_init(struct rule_accounts *accounts, uint32_t slots);
void rule_accounts_end(struct rule_accounts *accounts);

/** Reads what is lent of a few accounts, so that each is acknowledged in time, also those of which
 * nothing is asked. The worker, before each burst. */
static inline void rule_accounts_begin(struct rule_accounts *accounts)
{
    enum { AT_ONCE = 16 };
    uint32_t used = __atomic_load_n(&accounts->used, __ATOMIC_RELAXED);
    for (uint32_t i = 0; i < AT_ONCE && i < used; i++) {
        if (accounts->next >= used)
            accounts->next = 0;
        lease_begin(&accounts->account[accounts->next++].lease);
    }
}

/** A rule's slot, as the control thread knows it. */
struct rule_slot {
    char name[64];
    enum {
        SLOT_FREE,
        SLOT_FOUND,   /* for a rule that is being made */
        SLOT_HELD,    /* by a rule of the last set */
        SLOT_LEAVING, /* its rule has gone, but workers may still have it */
        SLOT_LEFT,    /* they have not, but may hold events */
    } use;
    bool limited; /* its rule in the last set has a rate; if not, the one before is lent until no
                     worker has a rule with a rate any more: it would refuse everybody */
    uint32_t per_second, burst;
    struct rule_counts before; /* of those who had it earlier */
    struct lease_pool pool;
};

struct rule_slots {
    uint32_t count, workers, used;
    uint64_t now_ms; /* of the last round */
    bool waiting;    /* for rule_slots_let_go */
    struct rule_slot *slot;
    struct lease_share *shares;
    struct rule_accounts *worker[LEASE_WORKERS];
};

/** Slots for `rules` rules, and as many to change all of them at once; all free. Returns 0 or
 * -ENOMEM. */
int rule_slots_init(struct rule_slots *slots, uint32_t rules, uint32_t workers);
void rule_slots_end(struct rule_slots *slots);

/** How many accounts a worker needs for so many rules. */
uint32_t rule_slots_for(uint32_t rules);

/** Adds a worker, before the first round; `accounts` outlives the slots. Returns 0 or -ENOSPC. */
int rule_slots_add(struct rule_slots *slots, struct rule_accounts *accounts);

/** The slot of the rule of that name, which it has or gets; -ENOSPC when none is free, which passes
 * within a moment when rules have just gone. Keeps nothing: only rule_slots_hold does. */
int rule_slots_find(struct rule_slots *slots, const char *name);

/** These rules are to be in force (NULL: none), by their slots: their rates are lent from the next
 * round on, instead of any before. A rule that has gone, or has no rate any more, leaves what it
 * had as it was. Also takes back what rule_slots_find gave for rules that are not to be in force
 * after all. Before workers get the rules, and however often before rule_slots_let_go. */
void rule_slots_hold(struct rule_slots *slots, const struct rules *rules);

/** No worker has any but the rules that were held last: rates and slots of others end. To be called
 * when that is so and `waiting` is set. */
void rule_slots_let_go(struct rule_slots *slots);

/** One round of lending; every few milliseconds. */
void rule_slots_run(struct rule_slots *slots, uint64_t now_ms);

/** What all workers have counted for the slot since its rule has it. */
struct rule_counts rule_slots_count(const struct rule_slots *slots, uint32_t slot);

#endif
