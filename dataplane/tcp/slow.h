/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Clients that hold a backend's connection by being slow: half a request's head, a body that drips,
 * an answer that is not read, a kept-alive connection of which nothing is made. Which of these a
 * flow is in follows from what the splice knows of both sides. Each has an average rate that a
 * client must reach over a window, or an absolute time, or both: a byte now and then extends
 * neither, nor does an opened window, nor a keep-alive. Waiting for a backend is nobody's slowness
 * and has a time of its own.
 *
 * A flow is looked at when its timer fires, about once per window in which it has moved anything,
 * and not at all while it is quiet; packets only wake it. So what begins between two looks is
 * noticed a little late, except heads and bodies of requests that begin while no answer is under
 * way: those begin where they are read.
 * It never says a word to either end but the last one. One thread, the flow's owner's.
 *
 * Before a backend has answered, a flow has [tcp] head_timeout, then syn_timeout and syn_tries.
 *
 * What remains open: room that a client has given and takes back (a shrunk window, RFC 9293 section
 * 3.8.6) is not known here, so who does that and has acknowledged everything is idle, not a slow
 * reader; a backend that falls silent in the middle of an answer leaves its client idle; and behind
 * one that never has room for it half a head may wait for as long as both ends say anything. */
#ifndef DROPGATE_DATAPLANE_TCP_SLOW_H
#define DROPGATE_DATAPLANE_TCP_SLOW_H

#include <stdbool.h>
#include <stdint.h>

/** What an open flow is timed for. */
enum slow_phase {
    SLOW_NONE,   /* nothing: not open, or closed */
    SLOW_HEAD,   /* a later request's head has begun and is not complete */
    SLOW_BODY,   /* bytes of a request's body are to come, or have left a hole */
    SLOW_DRAIN,  /* the client has not acknowledged all that its backend has sent, or leaves it no
                    room to send more */
    SLOW_IDLE,   /* nothing is asked, nothing under way */
    SLOW_ANSWER, /* the backend has not begun to answer; all of TLS and TCP that is not DRAIN */
    SLOW_PHASES
};

/** Clocks of phases count in these, in 16 bits: no time may be longer than SLOW_LONGEST_MS. */
enum { SLOW_UNIT_MS = 256, SLOW_LONGEST_MS = 4 * 3600 * 1000 };

/** Zeroed: nothing is ever slow. */
struct slow_limits {
    bool observe;                  /* count only */
    uint32_t window_ms;            /* over which rates are averaged; 0 = never */
    uint32_t rate[SLOW_PHASES];    /* bytes per second; 0 = none */
    uint32_t most_ms[SLOW_PHASES]; /* at all; 0 = no bound, up to SLOW_LONGEST_MS */
};

struct flow;

/** The flow begins another phase now, SLOW_NONE ends all. `http` says that its requests are read.
 * Its timer is the caller's. */
void slow_enter(struct flow *flow, enum slow_phase phase, bool http, uint64_t now_ms);

/** How long it need not be looked at, ms; 0 = now, UINT32_MAX = never. */
uint32_t slow_wait(const struct slow_limits *limits, const struct flow *flow, uint64_t now_ms);

/** A look, when slow_wait says so (else nothing happens): which phase it is in, and whether that
 * lasts too long. Returns the phase that it is too slow in, once per phase if it may live on, or
 * SLOW_NONE. */
enum slow_phase slow_look(const struct slow_limits *limits, struct flow *flow, bool http,
                          uint64_t now_ms);

/** Bytes of requests have been read, of which `heads` heads are complete now, in a segment that
 * acknowledges up to `acked`. Returns whether the flow's timer has to be set by slow_wait. */
bool slow_read(struct flow *flow, uint32_t heads, uint32_t acked, uint64_t now_ms);

/** Whether the flow is quiet: the next segment with data has to wake it. One bit of the cache line
 * that every packet reads. */
enum { SLOW_QUIET = 0x80, SLOW_NOTED = 0x40, SLOW_PHASE = 0x0f };

/** Something moves again on a quiet flow: its timer has to be set by slow_wait. */
void slow_wake(struct flow *flow, uint64_t now_ms);

#endif
