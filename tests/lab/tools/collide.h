/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The clients' own log of a run of collisions, and its comparison with the ledger. The log is
 * written while connections die and come back; the check believes nothing that the ledger says
 * about itself. */
#ifndef DROPGATE_TESTS_LAB_COLLIDE_H
#define DROPGATE_TESTS_LAB_COLLIDE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/lab/tools/ledger_client.h"

/** What one request got. `reply` is the last final answer; a 201 never changes any more. */
struct log_entry {
    struct ledger_reply reply; /* status 0: none yet */
    int64_t answered;          /* microseconds since 2000-01-01, when that answer had arrived */
};

struct run {
    int32_t sale;
    int64_t units;    /* for sale */
    int32_t per_user; /* limit */
    int64_t opens_at; /* microseconds since 2000-01-01 */
    size_t count;     /* requests */
    struct ledger_want *wants;
    struct log_entry *log;
    unsigned long changed;  /* a 201 that read differently later, or a refusal that became one
                               although nothing returned */
    unsigned long repeated; /* batches sent again after a lost connection */
};

/** Takes an answer into the log; the caller holds whatever guards the run. */
void collide_record(struct run *run, size_t request, const struct ledger_reply *reply);

/** Compares log and ledger (I3, I4, I6 of the invariants, H1 to H6 of the history checks), with a
 * line on stdout for each thing that does not hold. Returns how many. `admin` may read the tables.
 */
int collide_check(const struct run *run, PGconn *admin);

#endif
