/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 */
#include "dataplane/ops/numbers.h"

#include <stdlib.h>
#include <string.h>

#include "dataplane/admit/endpoints.h"

struct number {
    struct endpoint endpoint;
    uint64_t since_ms; /* it rests */
    uint8_t state;     /* enum number_state */
    bool new_owner;
    bool was_leaving; /* already before numbers_begin */
};

struct numbers {
    struct endpoints *map; /* → number, of all that are not free */
    uint32_t room, lowest; /* below the latter none is free */
    struct number number[];
};

static size_t size_of(uint32_t room)
{
    return sizeof(struct numbers) + room * sizeof(struct number);
}

/* The map forgets nobody, so it is made again from those who are left. */
static bool make_map(struct numbers *numbers)
{
    endpoints_free(numbers->map);
    numbers->map = endpoints_new(numbers->room);
    if (numbers->map == NULL)
        return false;
    for (uint32_t i = 0; i < numbers->room; i++)
        if (numbers->number[i].state != NUMBER_FREE)
            endpoints_add(numbers->map, &numbers->number[i].endpoint.addr,
                          numbers->number[i].endpoint.port, (int32_t)i);
    return true;
}

struct numbers *numbers_new(uint32_t room)
{
    struct numbers *numbers = calloc(1, size_of(room));
    if (numbers == NULL)
        return NULL;
    numbers->room = room;
    if (make_map(numbers))
        return numbers;
    free(numbers);
    return NULL;
}

struct numbers *numbers_copy(const struct numbers *numbers)
{
    struct numbers *copy = malloc(size_of(numbers->room));
    if (copy == NULL)
        return NULL;
    memcpy(copy, numbers, size_of(numbers->room));
    copy->map = NULL;
    if (make_map(copy))
        return copy;
    free(copy);
    return NULL;
}

void numbers_free(struct numbers *numbers)
{
    if (numbers == NULL)
        return;
    endpoints_free(numbers->map);
    free(numbers);
}

bool numbers_begin(struct numbers *numbers, uint64_t now_ms, uint64_t rest_ms)
{
    numbers->lowest = 0;
    for (uint32_t i = 0; i < numbers->room; i++) {
        struct number *number = &numbers->number[i];
        number->new_owner = false;
        number->was_leaving = number->state == NUMBER_LEAVING;
        if (number->state == NUMBER_TAKEN)
            number->state = NUMBER_LEAVING;
        else if (number->state == NUMBER_RESTING && now_ms - number->since_ms >= rest_ms)
            number->state = NUMBER_FREE;
    }
    return make_map(numbers);
}

int numbers_find(const struct numbers *numbers, const struct endpoint *endpoint)
{
    return endpoints_find(numbers->map, &endpoint->addr, endpoint->port);
}

static int take_free(struct numbers *numbers, const struct endpoint *endpoint)
{
    uint32_t at = numbers->lowest;
    while (at < numbers->room && numbers->number[at].state != NUMBER_FREE)
        at++;
    numbers->lowest = at;
    if (at == numbers->room)
        return -1;
    numbers->number[at].endpoint = *endpoint;
    numbers->number[at].state = NUMBER_TAKEN;
    numbers->number[at].new_owner = true;
    return (int)at;
}

int numbers_take(struct numbers *numbers, const struct endpoint *endpoint)
{
    int at = numbers_find(numbers, endpoint);
    if (at >= 0) {
        struct number *number = &numbers->number[at];
        number->new_owner |= number->state == NUMBER_RESTING;
        number->state = NUMBER_TAKEN;
        return at;
    }
    at = take_free(numbers, endpoint);
    if (at >= 0) /* there is room: as many as there are numbers */
        endpoints_add(numbers->map, &endpoint->addr, endpoint->port, at);
    return at;
}

enum number_state numbers_state(const struct numbers *numbers, uint32_t number)
{
    return numbers->number[number].state;
}

bool numbers_new_owner(const struct numbers *numbers, uint32_t number)
{
    return numbers->number[number].new_owner;
}

bool numbers_returned(const struct numbers *numbers, uint32_t number)
{
    return numbers->number[number].was_leaving && numbers->number[number].state == NUMBER_TAKEN;
}

uint32_t numbers_end(const struct numbers *numbers)
{
    uint32_t end = numbers->room;
    while (end > 0 && numbers->number[end - 1].state != NUMBER_TAKEN &&
           numbers->number[end - 1].state != NUMBER_LEAVING)
        end--;
    return end;
}

uint32_t numbers_room(const struct numbers *numbers)
{
    return numbers->room;
}

uint32_t numbers_count(const struct numbers *numbers, enum number_state state)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < numbers->room; i++)
        count += numbers->number[i].state == state;
    return count;
}

void numbers_rest(struct numbers *numbers, uint32_t number, uint64_t now_ms)
{
    numbers->number[number].state = NUMBER_RESTING;
    numbers->number[number].since_ms = now_ms;
}
