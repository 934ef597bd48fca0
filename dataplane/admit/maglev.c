/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * As in the paper: the backends take turns, and each takes the next entry of its own permutation
 * that is still free. The turns go in the order of the addresses, not of the configuration.
 *
 * The paper leaves weights to the reader. Here a backend of weight w takes its turns at the times
 * 1/w, 3/w, 5/w …: evenly among the others', so that a heavy one does not take the entries that it
 * likes best all at once and move everybody else's. The next turn is found by a heap. */
#include "dataplane/admit/maglev.h"

#include <stdbool.h>
#include <string.h>

#include "common/siphash.h"

enum { NOBODY = UINT16_MAX };

uint32_t maglev_size(uint32_t backends)
{
    enum { LEAST_SHARE = 100 };
    static const uint32_t primes[] = {1021, 8191, 65537, MAGLEV_SIZE};
    uint32_t i = 0;
    while (i + 1 < sizeof primes / sizeof primes[0] && primes[i] / LEAST_SHARE < backends)
        i++;
    return primes[i];
}

static int by_address(const struct maglev_backend *a, const struct maglev_backend *b)
{
    int order = memcmp(&a->address.addr, &b->address.addr, sizeof a->address.addr);
    return order != 0 ? order : (int)a->address.port - (int)b->address.port;
}

/* Where a backend's permutation begins, and how far it steps: every step is coprime to a prime. The
 * keys tell two hashes of one address apart; they are no secret. */
static void begin(struct maglev_backend *backend, uint32_t size)
{
    static const struct siphash_key offset = {UINT64_C(0x6f6666736574), 1},
                                    step = {UINT64_C(0x73746570), 2};
    uint8_t bytes[18];
    memcpy(bytes, &backend->address.addr, 16);
    bytes[16] = (uint8_t)(backend->address.port >> 8);
    bytes[17] = (uint8_t)backend->address.port;
    backend->at = (uint32_t)(siphash_bytes(&offset, bytes, sizeof bytes) % size);
    backend->skip = (uint32_t)(siphash_bytes(&step, bytes, sizeof bytes) % (size - 1) + 1);
    backend->turns = 0;
}

/* The backend's favourite among the entries that are free. */
static void take(uint16_t *table, uint32_t size, struct maglev_backend *backend)
{
    while (table[backend->at] != NOBODY)
        backend->at = (backend->at + backend->skip) % size;
    table[backend->at] = backend->value;
}

/* Whether `a` has its next turn before `b`: at the same time, in the order of the addresses. */
static bool is_before(const struct maglev_backend *a, const struct maglev_backend *b)
{
    uint64_t x = (2 * (uint64_t)a->turns + 1) * b->weight;
    uint64_t y = (2 * (uint64_t)b->turns + 1) * a->weight;
    return x != y ? x < y : by_address(a, b) < 0;
}

/* Puts the backend at `at` of the heap where it belongs, its children being in order. */
static void sink(struct maglev_backend *heap, uint32_t count, uint32_t at)
{
    const struct maglev_backend moved = heap[at];
    for (uint32_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && is_before(&heap[child + 1], &heap[child]))
            child++;
        if (is_before(&moved, &heap[child]))
            break;
        heap[at] = heap[child];
    }
    heap[at] = moved;
}

void maglev_fill(uint16_t *table, uint32_t size, struct maglev_backend *backends, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        begin(&backends[i], size);
    for (uint32_t i = count / 2; i-- > 0;)
        sink(backends, count, i);
    memset(table, 0xff, size * sizeof *table); /* NOBODY */
    for (uint32_t filled = 0; filled < size; filled++) {
        take(table, size, &backends[0]);
        backends[0].turns++;
        sink(backends, count, 0);
    }
}

static bool met_before(const uint16_t *met, uint32_t count, uint16_t value)
{
    for (uint32_t i = 0; i < count; i++)
        if (met[i] == value)
            return true;
    return false;
}

int maglev_choose(const uint16_t *table, uint32_t size, uint64_t hash, uint32_t nth)
{
    uint16_t met[MAGLEV_NTH];
    uint32_t at = (uint32_t)(hash % size), count = 0;
    if (nth == 0)
        return table[at];
    if (nth > MAGLEV_NTH)
        return -1;
    for (uint32_t i = 0; i < size; i++, at = at + 1 == size ? 0 : at + 1) {
        if (met_before(met, count, table[at]))
            continue;
        if (count == nth)
            return table[at];
        met[count++] = table[at];
    }
    return -1;
}
