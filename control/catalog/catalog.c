/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A generation is two sorted arrays and a copy of the items' ids: built once, searched by
 * bisection, freed at once. A thousand sales are ten steps; the alternatives are faster only where
 * it no longer matters. */
#include "control/catalog/catalog.h"

#include <stdlib.h>
#include <string.h>
#include <urcu/urcu-memb.h>

#include "control/clock.h"
#include "control/race.h"

/* How far the estimate of the opening may be wrong before the ledger is asked instead: clocks drift
 * apart between two readings, and asking a little early costs one batch. */
#define OPENING_MARGIN (1 * NANOSECONDS_PER_S)

struct catalog_generation {
    int64_t asked;
    size_t sales, items;
    struct catalog_sale *sale; /* by id */
    struct catalog_item *item; /* by id */
};

static int compare_rows_by_item(const void *a, const void *b)
{
    const struct catalog_row *x = *(const struct catalog_row *const *)a,
                             *y = *(const struct catalog_row *const *)b;
    int order = strcmp(x->item, y->item);
    return order ? order : (x->sale > y->sale) - (x->sale < y->sale);
}

/* The database's clock read `read_at` at or after `asked` on ours, so at `now` it reads at most
 * read_at + now - asked. */
static int64_t certainly_closed_till(const struct catalog_row *row, int64_t asked)
{
    const int64_t century =
        INT64_C(100) * 365 * 86400 * 1000000; /* microseconds; as good as never */
    int64_t ahead;
    if (row->opens_at <= row->read_at)
        return 0;
    if (__builtin_sub_overflow(row->opens_at, row->read_at, &ahead) || ahead > century)
        ahead = century;
    return asked + ahead * 1000 - OPENING_MARGIN;
}

static int build_sales(struct catalog_generation *g, const struct catalog_row *rows,
                       struct lane *const *lanes)
{
    for (size_t i = 0; i < g->sales; i++) {
        struct catalog_sale *sale = &g->sale[i];
        sale->id = rows[i].sale;
        sale->lane = lanes[i];
        sale->opens_at = rows[i].opens_at;
        sale->closed_till = certainly_closed_till(&rows[i], g->asked);
        sale->held = rows[i].held > 0;
        int status = view_sale(&rows[i], &sale->view);
        if (status)
            return status;
    }
    return 0;
}

/* `sorted` has the rows by item, so the rows of one item are neighbours. */
static int build_items(struct catalog_generation *g, const struct catalog_row **sorted,
                       size_t count)
{
    for (size_t first = 0, next; first < count; first = next) {
        for (next = first + 1; next < count && !strcmp(sorted[next]->item, sorted[first]->item);)
            next++;
        struct catalog_item *item = &g->item[g->items++];
        item->id = strdup(sorted[first]->item);
        int status = view_item(sorted + first, next - first, &item->view);
        if (status || !item->id)
            return -1;
    }
    return 0;
}

struct catalog_generation *catalog_build(const struct catalog_row *rows, struct lane *const *lanes,
                                         size_t count, int64_t asked)
{
    struct catalog_generation *g = calloc(1, sizeof *g);
    const struct catalog_row **sorted = calloc(count + 1, sizeof(const struct catalog_row *));
    if (g) {
        g->asked = asked;
        g->sales = count;
        g->sale = calloc(count + 1, sizeof *g->sale);
        g->item = calloc(count + 1, sizeof *g->item);
    }
    bool good = g && sorted && g->sale && g->item;
    for (size_t i = 0; good && i < count; i++)
        sorted[i] = &rows[i];
    if (good && count > 0)
        qsort(sorted, count, sizeof(const struct catalog_row *), compare_rows_by_item);
    good = good && !build_sales(g, rows, lanes) && !build_items(g, sorted, count);
    free(sorted);
    if (good)
        return g;
    catalog_discard(g);
    return NULL;
}

void catalog_discard(struct catalog_generation *g)
{
    if (!g)
        return;
    for (size_t i = 0; g->sale && i < g->sales; i++)
        view_free(&g->sale[i].view);
    for (size_t i = 0; i < g->items; i++) {
        free(g->item[i].id);
        view_free(&g->item[i].view);
    }
    free(g->sale);
    free(g->item);
    free(g);
}

void catalog_publish(struct catalog *catalog, struct catalog_generation *generation)
{
    struct catalog_generation *old = atomic_exchange(&catalog->current, generation);
    if (!old)
        return;
    urcu_memb_synchronize_rcu();
    RACE_AFTER(catalog);
    catalog_discard(old);
}

void catalog_enter(const struct catalog *catalog)
{
    (void)catalog;
    urcu_memb_read_lock();
}

void catalog_leave(const struct catalog *catalog)
{
    RACE_BEFORE(catalog);
    urcu_memb_read_unlock();
}

const struct catalog_generation *catalog_current(const struct catalog *catalog)
{
    return atomic_load_explicit(&catalog->current, memory_order_acquire);
}

static int compare_sale(const void *key, const void *element)
{
    int32_t x = *(const int32_t *)key, y = ((const struct catalog_sale *)element)->id;
    return (x > y) - (x < y);
}

static int compare_item(const void *key, const void *element)
{
    return strcmp(key, ((const struct catalog_item *)element)->id);
}

const struct catalog_sale *catalog_find_sale(const struct catalog_generation *g, int32_t id)
{
    return bsearch(&id, g->sale, g->sales, sizeof *g->sale, compare_sale);
}

const struct catalog_item *catalog_find_item(const struct catalog_generation *g, const char *id)
{
    return bsearch(id, g->item, g->items, sizeof *g->item, compare_item);
}

bool catalog_not_open(const struct catalog_generation *g, const struct catalog_sale *sale,
                      int64_t now, int64_t max_age)
{
    return now < sale->closed_till && now - g->asked <= max_age;
}

const struct catalog_sale *catalog_sale_at(const struct catalog_generation *g, size_t index)
{
    return index < g->sales ? &g->sale[index] : NULL;
}
