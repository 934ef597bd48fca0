/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A bucket is one cache line: eight 16-bit tags, compared at once, and eight indices. Buckets are
 * half full at most on average; the few flows that find theirs full (about 0.4 %) are chained
 * behind it. So a packet that belongs to no flow costs one line, and one that does costs two: the
 * bucket, then the flow. */
#include "dataplane/tcp/flow.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif
#include <stdlib.h>
#include <string.h>

#include "common/prefetch.h"
#include "dataplane/tcp/pages.h"

enum { SLOTS = 8, FLOWS_PER_BUCKET = 4 };

struct bucket {
    uint16_t tag[SLOTS]; /* 0 = empty */
    uint32_t index[SLOTS];
    uint32_t overflow; /* chain of flows: 1 + index */
} __attribute__((aligned(64)));

struct flows {
    struct flow *items;
    struct bucket *buckets;
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

static size_t buckets_size(const struct flows *flows)
{
    return ((size_t)flows->mask + 1) * sizeof(struct bucket);
}

struct flows *flows_new(uint32_t capacity, const struct siphash_key *key)
{
    if (capacity == 0 || capacity > UINT32_C(1) << 27)
        return NULL;
    struct flows *flows = calloc(1, sizeof *flows);
    if (flows == NULL)
        return NULL;
    flows->mask = power_of_two((capacity + FLOWS_PER_BUCKET - 1) / FLOWS_PER_BUCKET) - 1;
    flows->capacity = capacity;
    flows->key = *key;
    flows->items = pages_new(sizeof(struct flow) * capacity);
    flows->buckets = pages_new(buckets_size(flows));
    if (flows->items == NULL || flows->buckets == NULL) {
        flows_free(flows);
        return NULL;
    }
    return flows;
}

void flows_free(struct flows *flows)
{
    if (flows == NULL)
        return;
    pages_free(flows->items, sizeof(struct flow) * flows->capacity);
    pages_free(flows->buckets, buckets_size(flows));
    free(flows);
}

enum { IPV4_WORDS = 1, IPV6_WORDS = 3 };

/* The tuple as a message whose length tells the families apart: 6 bytes or 18; its words stand
 * `stride` apart. Returns how many there are. */
static inline unsigned tuple_words(const struct addr *client, uint16_t client_port, uint64_t *words,
                                   size_t stride)
{
    if (addr_is_v4(client)) {
        words[0] = UINT64_C(6) << 56 | (uint64_t)client_port << 32 | addr_v4(client);
        return IPV4_WORDS;
    }
    words[0] = client->quads[0];
    words[stride] = client->quads[1];
    words[2 * stride] = UINT64_C(18) << 56 | client_port;
    return IPV6_WORDS;
}

uint64_t flow_hash(const struct flows *flows, const struct addr *client, uint16_t client_port)
{
    uint64_t words[IPV6_WORDS];
    unsigned count = tuple_words(client, client_port, words, 1);
    return siphash13_packed(&flows->key, words, count);
}

void flow_batch_add(struct flow_batch *batch, unsigned number, const struct addr *client,
                    uint16_t client_port)
{
    struct flow_batch_part *part = &batch->part[!addr_is_v4(client)];
    uint32_t i = part->messages.count++;
    tuple_words(client, client_port, &part->messages.word[0][i], SIPHASH_BATCH);
    part->number[i] = (uint8_t)number;
}

void flow_batch_hash(const struct flows *flows, struct flow_batch *batch,
                     uint64_t hash[SIPHASH_BATCH])
{
    static const unsigned words[2] = {IPV4_WORDS, IPV6_WORDS};
    for (int v6 = 0; v6 < 2; v6++) {
        struct flow_batch_part *part = &batch->part[v6];
        uint64_t out[SIPHASH_BATCH];
        siphash13_lanes(&flows->key, &part->messages, words[v6], out);
        for (uint32_t i = 0; i < part->messages.count; i++)
            hash[part->number[i]] = out[i];
    }
}

static struct bucket *bucket_of(const struct flows *flows, uint64_t hash)
{
    return &flows->buckets[hash & flows->mask];
}

static uint16_t tag_of(uint64_t hash)
{
    return (uint16_t)(hash >> 48 | 1);
}

/* A bit for each slot of that tag. */
static uint32_t slots_of(const struct bucket *bucket, uint16_t tag)
{
#ifdef __SSE2__
    __m128i tags = _mm_load_si128((const __m128i *)(const void *)bucket->tag);
    __m128i equal = _mm_cmpeq_epi16(tags, _mm_set1_epi16((short)tag));
    return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(equal, _mm_setzero_si128()));
#else
    uint32_t bits = 0;
    for (unsigned i = 0; i < SLOTS; i++)
        bits |= (uint32_t)(bucket->tag[i] == tag) << i;
    return bits;
#endif
}

void flow_prefetch(const struct flows *flows, uint64_t hash)
{
    prefetch(bucket_of(flows, hash));
}

bool flow_is_absent(const struct flows *flows, uint64_t hash)
{
    const struct bucket *bucket = bucket_of(flows, hash);
    return bucket->overflow == 0 && slots_of(bucket, tag_of(hash)) == 0;
}

bool flow_prefetch_found(const struct flows *flows, uint64_t hash, bool with_data)
{
    const struct bucket *bucket = bucket_of(flows, hash);
    uint32_t bits = slots_of(bucket, tag_of(hash));
    if (bits == 0)
        return bucket->overflow != 0;
    const char *flow = (const char *)&flows->items[bucket->index[__builtin_ctz(bits)]];
    prefetch(flow);
    prefetch(flow + 64);
    if (with_data)
        prefetch(flow + 128);
    return true;
}

/* What the caller asks for, besides client and port. */
enum wanted { WANT_SERVICE, WANT_BACKEND };

static bool is_wanted(const struct flow *flow, const struct addr *client, uint16_t port,
                      enum wanted wanted, uint16_t value)
{
    return flow->client_port == port &&
           (wanted == WANT_SERVICE ? flow->service : flow->backend) == value &&
           addr_equal(&flow->client, client);
}

static inline struct flow *find(const struct flows *flows, uint64_t hash, const struct addr *client,
                                uint16_t port, enum wanted wanted, uint16_t value)
{
    const struct bucket *bucket = bucket_of(flows, hash);
    for (uint32_t bits = slots_of(bucket, tag_of(hash)); bits; bits &= bits - 1) {
        struct flow *flow = &flows->items[bucket->index[__builtin_ctz(bits)]];
        if (is_wanted(flow, client, port, wanted, value))
            return flow;
    }
    for (uint32_t at = bucket->overflow; at; at = flows->items[at - 1].next)
        if (is_wanted(&flows->items[at - 1], client, port, wanted, value))
            return &flows->items[at - 1];
    return NULL;
}

struct flow *flow_find_outside(const struct flows *flows, uint64_t hash, const struct addr *client,
                               uint16_t client_port, uint16_t service)
{
    return find(flows, hash, client, client_port, WANT_SERVICE, service);
}

struct flow *flow_find_inside(const struct flows *flows, uint64_t hash, const struct addr *client,
                              uint16_t client_port, uint16_t backend)
{
    return find(flows, hash, client, client_port, WANT_BACKEND, backend);
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

void flow_publish(struct flows *flows, struct flow *flow)
{
    uint64_t hash = flow_hash(flows, &flow->client, flow->client_port);
    struct bucket *bucket = bucket_of(flows, hash);
    uint32_t empty = slots_of(bucket, 0);
    if (empty == 0) {
        flow->next = bucket->overflow;
        bucket->overflow = flow_index(flows, flow) + 1;
        return;
    }
    unsigned slot = (unsigned)__builtin_ctz(empty);
    bucket->tag[slot] = tag_of(hash);
    bucket->index[slot] = flow_index(flows, flow);
}

/* The first flow of the overflow moves into a slot that has become free. */
static void refill(struct flows *flows, struct bucket *bucket, unsigned slot)
{
    if (bucket->overflow == 0)
        return;
    const struct flow *flow = &flows->items[bucket->overflow - 1];
    bucket->tag[slot] = tag_of(flow_hash(flows, &flow->client, flow->client_port));
    bucket->index[slot] = bucket->overflow - 1;
    bucket->overflow = flow->next;
}

static void unlink_flow(struct flows *flows, const struct flow *flow)
{
    uint64_t hash = flow_hash(flows, &flow->client, flow->client_port);
    uint32_t mine = flow_index(flows, flow);
    struct bucket *bucket = bucket_of(flows, hash);
    for (uint32_t bits = slots_of(bucket, tag_of(hash)); bits; bits &= bits - 1) {
        unsigned slot = (unsigned)__builtin_ctz(bits);
        if (bucket->index[slot] == mine) {
            bucket->tag[slot] = 0;
            refill(flows, bucket, slot);
            return;
        }
    }
    for (uint32_t *link = &bucket->overflow; *link; link = &flows->items[*link - 1].next) {
        if (*link == mine + 1) {
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

uint32_t flows_high(const struct flows *flows)
{
    return flows->fresh;
}

size_t flows_clients(const struct flows *flows, struct addr *out, size_t room)
{
    uint32_t high = __atomic_load_n(&flows->fresh, __ATOMIC_RELAXED);
    size_t count = 0;
    for (uint32_t i = 0; i < high && count < room; i++) {
        const struct flow *flow = &flows->items[i];
        if (__atomic_load_n(&flow->state, __ATOMIC_RELAXED) == FLOW_FREE)
            continue;
        out[count].quads[0] = __atomic_load_n(&flow->client.quads[0], __ATOMIC_RELAXED);
        out[count++].quads[1] = __atomic_load_n(&flow->client.quads[1], __ATOMIC_RELAXED);
    }
    return count;
}
