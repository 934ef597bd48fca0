/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The size of a table follows from how many backends the service has in the configuration, so that
 * one that fails or returns moves no more than its share. */
#include "dataplane/admit/balance.h"

#include <stdlib.h>

#include "dataplane/admit/maglev.h"

unsigned balance_rank(const struct services *services, const struct service *service,
                      uint16_t backend, const uint8_t *health)
{
    const struct backend *one = &services->backend[backend];
    if (one->drain || (health[backend] == HEALTH_DOWN && service->all_down == ALL_DOWN_REFUSE))
        return 0;
    return 1 + 2U * health[backend] + (one->weight != 0);
}

unsigned balance_best(const struct services *services, const struct service *service,
                      const uint8_t *health)
{
    unsigned best = 0;
    for (uint32_t i = 0; i < service->backend_count; i++) {
        unsigned rank = balance_rank(services, service, service->backends[i], health);
        best = rank > best ? rank : best;
    }
    return best;
}

/* The service before this one that has the same list of backends, or the service itself. */
static uint32_t same_as(const struct services *services, uint32_t service)
{
    uint32_t i = 0;
    while (services->service[i].backends != services->service[service].backends)
        i++;
    return i;
}

static uint32_t entries_of(const struct services *services, uint32_t service)
{
    return services->service[service].backend_count != 0 && same_as(services, service) == service
               ? maglev_size(services->service[service].backend_count)
               : 0;
}

static void fill(struct balance *balance, uint16_t *entries, const struct services *services,
                 uint32_t index, const uint8_t *health, struct maglev_backend *room)
{
    const struct service *service = &services->service[index];
    struct balance_table *table = &balance->table[index];
    unsigned best = balance_best(services, service, health);
    for (uint32_t i = 0; i < service->backend_count && best != 0; i++) {
        uint16_t backend = service->backends[i];
        const struct backend *one = &services->backend[backend];
        if (balance_rank(services, service, backend, health) == best)
            room[table->members++] =
                (struct maglev_backend){.address = one->address,
                                        .value = backend,
                                        .weight = one->weight != 0 ? one->weight : 1};
    }
    if (table->members != 0)
        maglev_fill(entries + table->first, table->size, room, table->members);
}

struct balance *balance_new(const struct services *services, const uint8_t *health,
                            const struct siphash_key *key)
{
    size_t total = 0,
           head = sizeof(struct balance) + services->count * sizeof(struct balance_table);
    for (uint32_t i = 0; i < services->count; i++)
        total += entries_of(services, i);
    struct maglev_backend *room = calloc(services->backend_count, sizeof *room);
    struct balance *balance = calloc(1, head + total * sizeof(uint16_t));
    if (room == NULL || balance == NULL) {
        free(room);
        free(balance);
        return NULL;
    }
    uint16_t *entries = (uint16_t *)(void *)((uint8_t *)balance + head);
    uint32_t first = 0;
    balance->key = *key;
    balance->entries = entries;
    balance->count = services->count;
    for (uint32_t i = 0; i < services->count; i++) {
        uint32_t size = entries_of(services, i);
        if (size == 0) {
            balance->table[i] = balance->table[same_as(services, i)];
            continue;
        }
        balance->table[i] = (struct balance_table){.first = first, .size = size};
        fill(balance, entries, services, i, health, room);
        first += size;
    }
    free(room);
    return balance;
}

uint64_t balance_hash(const struct balance *balance, const struct addr *client,
                      uint16_t client_port)
{
    const uint64_t words[3] = {client->quads[0], client->quads[1], client_port};
    return siphash13(&balance->key, words, 3);
}

int balance_choose(const struct balance *balance, uint16_t service, uint64_t hash, unsigned nth)
{
    const struct balance_table *table = &balance->table[service];
    if (nth >= table->members)
        return -1;
    return maglev_choose(balance->entries + table->first, table->size, hash, nth);
}
