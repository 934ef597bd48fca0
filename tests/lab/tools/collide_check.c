/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The log against the ledger. Each check is a sentence that is printed when it does not hold. */
#include "tests/lab/tools/collide.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/ledger/wire.h"
#include "tests/lab/tools/crowd.h"

enum { GRANTED = 201, LIMIT = 409, SOLD_OUT = 410, INSUFFICIENT = 411, SOLD_OUT_HELD = 412 };

/** This machine's clock, which is the private server's too, as PostgreSQL counts. */
static int64_t now(void)
{
    return crowd_wall() - INT64_C(946684800000000);
}

void collide_record(struct run *run, size_t request, const struct ledger_reply *reply)
{
    struct log_entry *entry = &run->log[request];
    bool same = memcmp(&entry->reply, reply, sizeof *reply) == 0;
    bool was_granted = entry->reply.status == GRANTED,
         was_refused = entry->reply.status != 0 && !was_granted;
    run->changed += (was_granted && !same) || (was_refused && reply->status == GRANTED);
    if (was_granted)
        return;
    entry->reply = *reply;
    entry->answered = now();
}

static int complain(bool broken, const char *sentence, long long number)
{
    if (broken)
        printf("  does not hold: %s (%lld)\n", sentence, number);
    return broken;
}

static int by_id(const void *a, const void *b)
{
    return memcmp(((const struct ledger_want *)a)->id, ((const struct ledger_want *)b)->id, 16);
}

/** The run's wants in the order of their ids, each with its place in `fingerprint` (which the check
 * does not need). */
static struct ledger_want *index_wants(const struct run *run)
{
    struct ledger_want *sorted = malloc(run->count * sizeof *sorted);
    if (!sorted)
        return NULL;
    memcpy(sorted, run->wants, run->count * sizeof *sorted);
    for (size_t i = 0; i < run->count; i++)
        memcpy(sorted[i].fingerprint, &i, sizeof i);
    qsort(sorted, run->count, sizeof *sorted, by_id);
    return sorted;
}

/** Whether row `row` of the ledger is exactly what its client was told. */
static bool row_was_told(const struct run *run, const struct ledger_want *sorted,
                         const PGresult *rows, int row)
{
    struct ledger_want key;
    memcpy(key.id, PQgetvalue(rows, row, 0), sizeof key.id);
    const struct ledger_want *want = bsearch(&key, sorted, run->count, sizeof key, by_id);
    if (!want)
        return false;
    size_t request;
    memcpy(&request, want->fingerprint, sizeof request);
    const struct ledger_reply *told = &run->log[request].reply;
    return told->status == GRANTED && strcmp(PQgetvalue(rows, row, 1), want->user) == 0 &&
           wire_int32(PQgetvalue(rows, row, 2)) == told->quantity &&
           told->quantity == want->quantity &&
           wire_int64(PQgetvalue(rows, row, 3)) == told->unit_price &&
           wire_int64(PQgetvalue(rows, row, 4)) == told->granted_at &&
           wire_int64(PQgetvalue(rows, row, 5)) == told->expires_at;
}

/** H1, H6, I4: the rows of the ledger are the grants that clients know of, each once. */
static int check_rows(const struct run *run, const PGresult *rows)
{
    struct ledger_want *sorted = index_wants(run);
    long long untold = 0, told = 0;
    if (!sorted)
        return complain(true, "there is memory for the check", 0);
    for (int row = 0; row < PQntuples(rows); row++)
        untold += !row_was_told(run, sorted, rows, row);
    for (size_t i = 0; i < run->count; i++)
        told += run->log[i].reply.status == GRANTED;
    free(sorted);
    return complain(untold != 0,
                    "every row is a grant that its client was told of, in the same words", untold) +
           complain(told != PQntuples(rows), "every grant that a client was told of is a row",
                    told);
}

struct moment {
    int64_t at, units;
};

static int by_time(const void *a, const void *b)
{
    const struct moment *x = a, *y = b;
    return (x->at > y->at) - (x->at < y->at);
}

/** Units left when everything granted up to `at` was out. */
static int64_t left_at(const struct run *run, const struct moment *grants, size_t count, int64_t at)
{
    int64_t left = run->units;
    for (size_t i = 0; i < count && grants[i].at <= at; i++)
        left -= grants[i].units;
    return left;
}

/** H4, I6: nobody was refused for stock while there was enough. Nothing returns in such a run, so
 * what is left only falls, and an answer is right if too little was left when it arrived. */
static int check_refusals(const struct run *run)
{
    struct moment *grants = calloc(run->count, sizeof *grants);
    size_t count = 0;
    long long early = 0, unsold = 0;
    if (!grants)
        return complain(true, "there is memory for the check", 0);
    for (size_t i = 0; i < run->count; i++) {
        const struct ledger_reply *r = &run->log[i].reply;
        if (r->status == GRANTED)
            grants[count++] = (struct moment){r->granted_at, r->quantity};
    }
    qsort(grants, count, sizeof *grants, by_time);
    int64_t rest = left_at(run, grants, count, INT64_MAX);
    for (size_t i = 0; i < run->count; i++) {
        int32_t status = run->log[i].reply.status;
        if (status != SOLD_OUT && status != SOLD_OUT_HELD && status != INSUFFICIENT)
            continue;
        int64_t left = left_at(run, grants, count, run->log[i].answered);
        early += status == INSUFFICIENT ? left >= run->wants[i].quantity : left > 0;
        unsold += rest >= run->wants[i].quantity;
    }
    free(grants);
    return complain(early != 0,
                    "nobody is told sold-out or insufficient-stock while there is enough", early) +
           complain(unsold != 0, "nobody goes away who could have been served", unsold) +
           complain(rest != 0, "every unit is granted, by the clients' count", rest);
}

/** I3: the first request of each pair stands at an even place, the second behind it (see
 * collide.c). */
static int check_limits(const struct run *run)
{
    long long over = 0, without_reason = 0;
    for (size_t i = 0; i + 1 < run->count; i += 2) {
        int32_t held = 0;
        for (size_t k = i; k < i + 2; k++)
            if (run->log[k].reply.status == GRANTED)
                held += run->wants[k].quantity;
        over += held > run->per_user;
        for (size_t k = i; k < i + 2; k++)
            if (run->log[k].reply.status == LIMIT)
                without_reason += held + run->wants[k].quantity <= run->per_user;
    }
    return complain(over != 0, "nobody has more than the limit", over) +
           complain(without_reason != 0, "nobody is refused for a limit that he has not reached",
                    without_reason);
}

static int check_answers(const struct run *run)
{
    long long open = 0, early = 0, odd = 0;
    for (size_t i = 0; i < run->count; i++) {
        const struct ledger_reply *r = &run->log[i].reply;
        open += r->status == 0;
        early += r->status == GRANTED && r->granted_at < run->opens_at;
        odd += r->status != 0 && r->status != GRANTED &&
               (r->status < LIMIT || r->status > SOLD_OUT_HELD);
    }
    return complain(open != 0, "every request has been answered", open) +
           complain(early != 0, "nothing is granted before the opening", early) +
           complain(odd != 0, "no answer is anything but a grant or a refusal", odd) +
           complain(run->changed != 0, "a grant is answered in the same words ever after",
                    (long long)run->changed);
}

/** H3: grants and releases, replayed in the order of the ledger's entries, never exceed the total.
 */
static const char replay_query[] =
    "select coalesce(max(units), 0)::bigint from ("
    " select sum(unit) over (order by entry, unit rows unbounded preceding) as units from ("
    "  select granted_entry as entry, quantity as unit from dropgate.reservation where sale = $1"
    "  union all select released_entry, -quantity from dropgate.reservation"
    "   where sale = $1 and released_entry is not null) moves) replay";
static const char rows_query[] = "select id, user_id, quantity, unit_price, granted_at, expires_at"
                                 " from dropgate.reservation where sale = $1";

int collide_check(const struct run *run, PGconn *admin)
{
    char sale[16];
    const char *parameters[] = {sale};
    snprintf(sale, sizeof sale, "%d", run->sale);
    PGresult *rows = PQexecParams(admin, rows_query, 1, NULL, parameters, NULL, NULL, 1);
    PGresult *replay = PQexecParams(admin, replay_query, 1, NULL, parameters, NULL, NULL, 1);
    int broken = 0;
    if (PQresultStatus(rows) != PGRES_TUPLES_OK || PQresultStatus(replay) != PGRES_TUPLES_OK) {
        printf("  the ledger cannot be read: %s", PQerrorMessage(admin));
        broken = 1;
    } else {
        long long most = wire_int64(PQgetvalue(replay, 0, 0));
        broken =
            check_rows(run, rows) + check_refusals(run) + check_limits(run) + check_answers(run) +
            complain(most > run->units,
                     "replayed in order, the ledger never gives out more than the total", most);
    }
    PQclear(rows);
    PQclear(replay);
    return broken;
}
