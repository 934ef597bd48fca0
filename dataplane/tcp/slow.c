/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * One clock and one mark per flow. Whom a stand-still is put down to: a head or a body that does
 * not come is the client's doing only while the backend has room for it; an answer that is not
 * taken only if some of it lies there, or there is no room for more. In doubt it is nobody's. */
#include "dataplane/tcp/slow.h"

#include "dataplane/tcp/flow.h"

enum { FULL_SEGMENT = 1460 };

static uint16_t units(uint64_t now_ms)
{
    return (uint16_t)(now_ms / SLOW_UNIT_MS);
}

static uint32_t since(uint16_t then, uint64_t now_ms)
{
    return (uint32_t)(uint16_t)(units(now_ms) - then) * SLOW_UNIT_MS;
}

static enum slow_phase phase_of(const struct flow *flow)
{
    return (enum slow_phase)(flow->phase & SLOW_PHASE);
}

/* Whether a sender that has come to `end` has to wait for room: less than a segment, or than half
 * of the largest window that its receiver ever had (RFC 9293 section 3.8.6.2.1). */
static bool closed(const struct side *sender, const struct side *receiver, uint32_t end)
{
    uint32_t half = receiver->window / 2 > 0 ? receiver->window / 2 : 1;
    uint32_t least = half < FULL_SEGMENT ? half : FULL_SEGMENT;
    return (int32_t)(sender->limit - end) < (int32_t)least;
}

/* Whether it is open and may have something to wait for. */
static bool timed(const struct flow *flow)
{
    return flow->state >= FLOW_ESTABLISHED && flow->state != FLOW_CLOSED;
}

/* Whether the client, which has acknowledged up to `acked`, has to read before more can come. To
 * read a refusal it has a time of its own (tcp/refuse.c). */
static bool drains(const struct flow *flow, uint32_t acked)
{
    const struct side *backend = &flow->from_backend;
    if (flow->state == FLOW_REFUSED)
        return seq_before(acked, flow->scan.refused.at);
    if (backend->end != acked)
        return true;
    return !states_backend_ended(flow->state) && closed(backend, &flow->from_client, backend->end);
}

/* Whether the backend, and not its client, holds up a body. */
static bool backend_full(const struct flow *flow)
{
    return closed(&flow->from_client, &flow->from_backend, flow->from_backend.acked);
}

/* Whether the client has to wait for it before it can go on with a head, of which nothing is sent
 * beyond the window. */
static bool head_waits(const struct flow *flow)
{
    return closed(&flow->from_client, &flow->from_backend, flow->scan.next);
}

/* A body over a hole has been passed over, and is not complete for all that; nor does a FIN behind
 * it change that. */
static enum http1_part part_of(const struct flow *flow, bool http)
{
    if (!http || flow->after_last)
        return HTTP1_BETWEEN;
    if (flow_has_hole(flow))
        return HTTP1_IN_BODY;
    return states_client_ended((enum flow_state)flow->state) ? HTTP1_BETWEEN
                                                             : http1_part(&flow->scan.parser);
}

static uint32_t head_start(const struct flow *flow)
{
    return flow->scan.next - flow->scan.parser.seen;
}

/* How far the flow has come, as its phase counts it. What lies behind a last request counts for
 * nothing. */
static uint32_t mark_of(const struct flow *flow, enum slow_phase phase, bool http)
{
    switch (phase) {
    case SLOW_HEAD: return head_start(flow);
    case SLOW_BODY: return flow->from_backend.acked;
    case SLOW_DRAIN: return flow->from_client.acked;
    default: return flow->from_backend.end + (http ? flow->scan.next : flow->from_client.end);
    }
}

void slow_enter(struct flow *flow, enum slow_phase phase, bool http, uint64_t now_ms)
{
    flow->phase = (uint8_t)phase;
    flow->phase_since = flow->phase_window = units(now_ms);
    flow->phase_mark = mark_of(flow, phase, http);
}

/* Whether it is still what it was at the last look. */
static bool goes_on(const struct flow *flow, bool http)
{
    enum slow_phase phase = phase_of(flow);
    enum http1_part part = part_of(flow, http);
    bool draining = drains(flow, flow->from_client.acked);
    if (!timed(flow))
        return false;
    switch (phase) {
    case SLOW_HEAD: /* one that had to wait has its time from now on */
        return part == HTTP1_IN_HEAD && head_start(flow) == flow->phase_mark && !head_waits(flow);
    case SLOW_BODY: return part == HTTP1_IN_BODY && !(draining && backend_full(flow));
    case SLOW_DRAIN: return draining;
    default:
        return !draining && part == HTTP1_BETWEEN && mark_of(flow, phase, http) == flow->phase_mark;
    }
}

/* What it is now. Behind a body, who has answered since cannot be told: in doubt nobody. */
static enum slow_phase next_phase(const struct flow *flow, bool http)
{
    if (!timed(flow))
        return SLOW_NONE;
    if (drains(flow, flow->from_client.acked))
        return SLOW_DRAIN;
    if (flow->state == FLOW_REFUSED)
        return SLOW_NONE;
    switch (part_of(flow, http)) {
    case HTTP1_IN_HEAD: return SLOW_HEAD;
    case HTTP1_IN_BODY: return SLOW_BODY;
    default: return !http || phase_of(flow) == SLOW_BODY ? SLOW_ANSWER : SLOW_IDLE;
    }
}

/* Whether the window that is over moved less than it had to, for which the client is to blame. */
static bool below_rate(const struct slow_limits *limits, const struct flow *flow, bool http,
                       uint32_t ms)
{
    enum slow_phase phase = phase_of(flow);
    uint32_t moved = mark_of(flow, phase, http) - flow->phase_mark;
    if (moved >= (uint64_t)limits->rate[phase] * ms / 1000)
        return false;
    if (phase == SLOW_BODY)
        return !backend_full(flow);
    /* With room left, and more taken than lies there now, it is the backend that has little to
     * say. */
    return closed(&flow->from_backend, &flow->from_client, flow->from_backend.end) ||
           moved < flow->from_backend.end - flow->from_client.acked;
}

static bool has_rate(enum slow_phase phase)
{
    return phase == SLOW_BODY || phase == SLOW_DRAIN;
}

static uint32_t left_of(uint32_t all, uint32_t gone)
{
    return gone < all ? all - gone : 0;
}

static uint32_t window_left(const struct slow_limits *limits, const struct flow *flow,
                            uint64_t now_ms)
{
    if (limits->window_ms == 0)
        return UINT32_MAX;
    return left_of(limits->window_ms, since(flow->phase_window, now_ms));
}

uint32_t slow_wait(const struct slow_limits *limits, const struct flow *flow, uint64_t now_ms)
{
    enum slow_phase phase = phase_of(flow);
    uint32_t most = limits->most_ms[phase], left = UINT32_MAX;
    if (phase == SLOW_NONE)
        return UINT32_MAX;
    if (most != 0 && !(flow->phase & SLOW_NOTED))
        left = left_of(most, since(flow->phase_since, now_ms));
    uint32_t window = flow->phase & SLOW_QUIET ? UINT32_MAX : window_left(limits, flow, now_ms);
    return window < left ? window : left;
}

/* A window is over and was good enough. A client that keeps up with its backend begins anew, and
 * who is quiet is left alone. */
static void next_window(struct flow *flow, bool http, uint64_t now_ms)
{
    enum slow_phase phase = phase_of(flow);
    uint32_t moved = mark_of(flow, phase, http) - flow->phase_mark;
    bool abreast = phase == SLOW_DRAIN &&
                   moved >= flow->from_backend.end - flow->from_client.acked &&
                   !closed(&flow->from_backend, &flow->from_client, flow->from_backend.end);
    if (abreast)
        slow_enter(flow, phase, http, now_ms);
    flow->phase_window = units(now_ms);
    flow->phase_mark = mark_of(flow, phase, http);
    if (phase == SLOW_IDLE || phase == SLOW_ANSWER)
        flow->phase |= SLOW_QUIET;
}

enum slow_phase slow_look(const struct slow_limits *limits, struct flow *flow, bool http,
                          uint64_t now_ms)
{
    enum slow_phase phase = phase_of(flow);
    if (phase == SLOW_NONE || slow_wait(limits, flow, now_ms) != 0)
        return SLOW_NONE;
    if (!goes_on(flow, http)) {
        enum slow_phase next = next_phase(flow, http);
        slow_enter(flow, next, http, now_ms);
        if (next == SLOW_IDLE || next == SLOW_ANSWER)
            flow->phase |= SLOW_QUIET;
        return SLOW_NONE;
    }
    uint32_t all = since(flow->phase_since, now_ms), most = limits->most_ms[phase];
    uint32_t window = since(flow->phase_window, now_ms);
    bool slow = most != 0 && all >= most;
    if (has_rate(phase) && limits->window_ms != 0 && window >= limits->window_ms)
        slow |= below_rate(limits, flow, http, window);
    bool said = (flow->phase & SLOW_NOTED) != 0;
    next_window(flow, http, now_ms);
    if (!slow || said)
        return SLOW_NONE;
    flow->phase |= SLOW_NOTED;
    return phase;
}

bool slow_read(struct flow *flow, uint32_t heads, uint32_t acked, uint64_t now_ms)
{
    enum slow_phase phase = phase_of(flow), next = SLOW_ANSWER;
    bool quiet = (flow->phase & SLOW_QUIET) != 0;
    if (seq_before(acked, flow->from_client.acked))
        acked = flow->from_client.acked;
    /* Who does not read could begin anew by every piece of a request. */
    if (phase == SLOW_NONE || drains(flow, acked))
        return false;
    switch (http1_part(&flow->scan.parser)) {
    case HTTP1_IN_HEAD:
        next = SLOW_HEAD;
        if (phase == SLOW_HEAD && flow->phase_mark == head_start(flow))
            return false;
        break;
    case HTTP1_IN_BODY:
        next = SLOW_BODY;
        if (phase == SLOW_BODY && heads == 0)
            return false;
        break;
    default: break;
    }
    slow_enter(flow, next, true, now_ms);
    return quiet || next != SLOW_ANSWER;
}

void slow_wake(struct flow *flow, uint64_t now_ms)
{
    flow->phase &= (uint8_t)~SLOW_QUIET;
    flow->phase_window = units(now_ms);
}
