/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Chains are heads of 4 bytes, one and a half per flow at most, so a lookup is two cache misses
 * when the table is cold. Links are indices: half the size of pointers, and checkable. */
#include "dataplane/tcp/flow.h"

#include <stdlib.h>
#include <string.h>

struct flows {
    struct flow *items;
    uint32_t *heads; /* 1 + index; 0 = empty */
    uint32_t mask;
    uint32_t capacity;
    uint32_t used;
    uint32_t free;  /* list of released flows: 1 + index */
    uint32_t fresh; /* items from here on were never used: their memory is untouched */
    struct siphash_key key;
};

static uint32_t power_of_two(uint32_t n)
{
    uint32_t p = 1;
    while (p < n)
        p <<= 1;
    return p;
}

struct flows *flows_new(uint32_t capacity, const struct siphash_key *key)
{
    if (capacity == 0 || capacity > UINT32_C(1) << 27)
        return NULL;
    struct flows *flows = calloc(1, sizeof *flows);
    if (flows == NULL)
        return NULL;
    uint32_t heads = power_of_two(capacity);
    flows->items = aligned_alloc(_Alignof(struct flow), sizeof(struct flow) * capacity);
    flows->heads = calloc(heads, sizeof *flows->heads);
    flows->mask = heads - 1;
    flows->capacity = capacity;
    flows->key = *key;
    if (flows->items == NULL || flows->heads == NULL) {
        flows_free(flows);
        return NULL;
    }
    return flows;
}

void flows_free(struct flows *flows)
{
    if (flows == NULL)
        return;
    free(flows->items);
    free(flows->heads);
    free(flows);
}

uint64_t flow_hash(const struct flows *flows, const struct addr *client, uint16_t client_port)
{
    if (addr_is_v4(client)) {
        uint64_t word = (uint64_t)addr_v4(client) << 16 | client_port;
        return siphash13(&flows->key, &word, 1);
    }
    uint64_t words[3] = {client->quads[0], client->quads[1], client_port};
    return siphash13(&flows->key, words, 3);
}

static bool same_client(const struct flow *flow, const struct addr *client, uint16_t port)
{
    return flow->client_port == port && addr_equal(&flow->client, client);
}

struct flow *flow_find_outside(const struct flows *flows, uint64_t hash, const struct addr *client,
                               uint16_t client_port, uint16_t service)
{
    for (uint32_t at = flows->heads[hash & flows->mask]; at; at = flows->items[at - 1].next) {
        struct flow *flow = &flows->items[at - 1];
        if (same_client(flow, client, client_port) && flow->service == service)
            return flow;
    }
    return NULL;
}

struct flow *flow_find_inside(const struct flows *flows, uint64_t hash, const struct addr *client,
                              uint16_t client_port, uint16_t backend)
{
    for (uint32_t at = flows->heads[hash & flows->mask]; at; at = flows->items[at - 1].next) {
        struct flow *flow = &flows->items[at - 1];
        if (same_client(flow, client, client_port) && flow->backend == backend)
            return flow;
    }
    return NULL;
}

struct flow *flow_reserve(struct flows *flows)
{
    struct flow *flow;
    if (flows->free) {
        flow = &flows->items[flows->free - 1];
        flows->free = flow->next;
    } else if (flows->fresh < flows->capacity) {
        flow = &flows->items[flows->fresh++];
    } else {
        return NULL;
    }
    memset(flow, 0, sizeof *flow);
    flows->used++;
    return flow;
}

static uint32_t *head_of(struct flows *flows, const struct flow *flow)
{
    return &flows->heads[flow_hash(flows, &flow->client, flow->client_port) & flows->mask];
}

void flow_publish(struct flows *flows, struct flow *flow)
{
    uint32_t *head = head_of(flows, flow);
    flow->next = *head;
    *head = flow_index(flows, flow) + 1;
}

static void unlink_flow(struct flows *flows, const struct flow *flow)
{
    uint32_t mine = flow_index(flows, flow) + 1;
    for (uint32_t *link = head_of(flows, flow); *link; link = &flows->items[*link - 1].next) {
        if (*link == mine) {
            *link = flow->next;
            return;
        }
    }
}

void flow_release(struct flows *flows, struct flow *flow)
{
    unlink_flow(flows, flow);
    flow->state = FLOW_FREE;
    flow->next = flows->free;
    flows->free = flow_index(flows, flow) + 1;
    flows->used--;
}

uint32_t flow_index(const struct flows *flows, const struct flow *flow)
{
    return (uint32_t)(flow - flows->items);
}

struct flow *flow_at(const struct flows *flows, uint32_t index)
{
    return &flows->items[index];
}

uint32_t flows_count(const struct flows *flows)
{
    return __atomic_load_n(&flows->used, __ATOMIC_RELAXED);
}

uint32_t flows_capacity(const struct flows *flows)
{
    return flows->capacity;
}
