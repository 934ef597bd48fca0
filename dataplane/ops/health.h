/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What is known of one backend's health, why, and since when: probes and clients say something, and
 * it is decided whether new connections go there. Pure: clocks come in as numbers, and whoever
 * calls logs what has changed. Control thread; telemetry reads, a little old. */
#ifndef DROPGATE_DATAPLANE_OPS_HEALTH_H
#define DROPGATE_DATAPLANE_OPS_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/admit/balance.h"
#include "dataplane/tcp/shard.h"

/** Why it is down, or what spoke against it last: first what a probe may say, as it says it. */
enum health_reason {
    REASON_NONE = PROBE_ANSWERED,
    REASON_OPENINGS = PROBE_RESULTS, /* clients' openings fail */
    REASON_RESPONSES,                /* clients' requests are not answered */
    REASON_OPTIONS,                  /* refused a TCP option that its probe had shown */
    REASON_NEXT_HOP,                 /* its next hop does not answer */
    REASON_UNPROBED,                 /* nothing has been heard of it yet */
    HEALTH_REASONS
};

struct backend_health {
    uint8_t health, reason; /* enum health, enum health_reason */
    uint16_t status;        /* of its last answer to a probe, 0 if that had none */
    uint32_t failures;      /* probes in a row that failed */
    uint64_t since_unix_ms; /* it has this health */
    uint64_t not_before_ms; /* good probes do not bring it back until then */
    uint32_t pause_ms;      /* how long that was */
    uint64_t answered;      /* requests, when it was taken out for not answering */
};

/** What the caller may want to log. */
enum health_change { HEALTH_SAME, HEALTH_CAME_UP, HEALTH_WENT_DOWN, HEALTH_OTHER_REASON };

/** Now, by both clocks. */
struct health_now {
    uint64_t ms, unix_ms;
};

/** Nothing is known yet. */
void health_init(struct backend_health *h, uint64_t unix_ms);

/** The result of a probe (PROBE_* and its status); `failures` in a row are needed to take it out,
 * one good one brings it back, but not during a pause. */
enum health_change health_probed(struct backend_health *h, int result, uint16_t status,
                                 uint32_t failures, struct health_now now);

/** Taken out at once, until a probe is good again. */
enum health_change health_failed(struct backend_health *h, enum health_reason reason,
                                 struct health_now now);

/** Taken out because it leaves requests without an answer, for at least `pause_ms`. Its probes may
 * be good all the same, so that pause doubles each time, up to HEALTH_LONGEST_PAUSE_MS, until it
 * has answered somebody: `answered` counts that. */
enum { HEALTH_LONGEST_PAUSE_MS = 5 * 60 * 1000 };
enum health_change health_unanswered(struct backend_health *h, uint64_t answered, uint32_t pause_ms,
                                     struct health_now now);

/** The reason as one word for telemetry, "none" for none, and as a sentence behind the backend's
 * name for the log. */
const char *health_reason_name(enum health_reason reason);
const char *health_sentence(const struct backend_health *h, char *text, size_t size);

#endif
