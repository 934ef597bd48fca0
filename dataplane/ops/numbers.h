/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Which number a service's or a backend's endpoint has. Flows remember numbers, so one stays an
 * endpoint's while anything may still refer to it: as long as it is configured; then until its last
 * flow has ended (leaving); then for as long as a tombstone, a cookie or a message under way may
 * name it (resting). An endpoint that is configured again before that gets its old number back.
 * Pure. Control thread. */
#ifndef DROPGATE_DATAPLANE_OPS_NUMBERS_H
#define DROPGATE_DATAPLANE_OPS_NUMBERS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"

enum number_state { NUMBER_FREE, NUMBER_TAKEN, NUMBER_LEAVING, NUMBER_RESTING };

struct numbers;

/** `room` (1..65535) numbers from 0 on, all free; a copy of a table; NULL when memory is short. */
struct numbers *numbers_new(uint32_t room);
struct numbers *numbers_copy(const struct numbers *numbers);
void numbers_free(struct numbers *numbers);

/** Everybody leaves who is not taken again. Numbers that have rested for `rest_ms` are free. False
 * when memory is short: the table is of no use then. */
bool numbers_begin(struct numbers *numbers, uint64_t now_ms, uint64_t rest_ms);

/** The endpoint's number, its own if it has one, else the lowest that is free; -1 when none is. */
int numbers_take(struct numbers *numbers, const struct endpoint *endpoint);

/** The number of an endpoint that is taken, leaves or rests, or -1. */
int numbers_find(const struct numbers *numbers, const struct endpoint *endpoint);

/** Whose number it is, and whether numbers_take has given it to somebody new since numbers_begin:
 * what is remembered of it is another's, or too old. */
enum number_state numbers_state(const struct numbers *numbers, uint32_t number);
bool numbers_new_owner(const struct numbers *numbers, uint32_t number);

/** Whether numbers_take has given it back, since numbers_begin, to its owner who was leaving: what
 * was kept up meanwhile is right, what was not is too old. */
bool numbers_returned(const struct numbers *numbers, uint32_t number);

/** Behind the highest number that is taken or leaves. */
uint32_t numbers_end(const struct numbers *numbers);

uint32_t numbers_room(const struct numbers *numbers);

/** How many are in that state. */
uint32_t numbers_count(const struct numbers *numbers, enum number_state state);

/** The last flow of one that leaves has ended. */
void numbers_rest(struct numbers *numbers, uint32_t number, uint64_t now_ms);

#endif
