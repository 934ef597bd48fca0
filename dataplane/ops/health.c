/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * One lost packet is no reason to move a backend's clients; several in a row are. */
#include "dataplane/ops/health.h"

#include <stdio.h>

static const struct {
    const char *name, *sentence;
} reasons[HEALTH_REASONS] = {
    [REASON_NONE] = {"none", "is well"},
    [PROBE_REFUSED] = {"refused", "refuses connections"},
    [PROBE_SILENT] = {"silent", "does not answer"},
    [PROBE_UNANSWERED] = {"unanswered", "takes connections, but its probe got no answer in time"},
    [PROBE_CLOSED] = {"closed", "closed its probe's connection without an answer"},
    [PROBE_STATUS] = {"status", "answered its probe with another status than 200"},
    [PROBE_REDIRECT] = {"redirect", "answered its probe with a redirect, which is not followed"},
    [PROBE_GARBAGE] = {"garbage", "answered its probe with something else than HTTP"},
    [REASON_OPENINGS] = {"openings", "clients' openings fail"},
    [REASON_RESPONSES] = {"responses", "clients wait for its answers in vain"},
    [REASON_OPTIONS] = {"options", "refused a TCP option that its probe had shown"},
    [REASON_NEXT_HOP] = {"next_hop", "its next hop does not answer"},
    [REASON_UNPROBED] = {"unprobed", "nothing has been heard of it"},
};

const char *health_reason_name(enum health_reason reason)
{
    return reasons[reason].name;
}

const char *health_sentence(const struct backend_health *h, char *text, size_t size)
{
    int length = snprintf(text, size, "%s", reasons[h->reason].sentence);
    if (h->status != 0 && length > 0 && (size_t)length < size)
        snprintf(text + length, size - (size_t)length, " (status %u)", h->status);
    return text;
}

void health_init(struct backend_health *h, uint64_t unix_ms)
{
    *h = (struct backend_health){
        .health = HEALTH_UNKNOWN, .reason = REASON_UNPROBED, .since_unix_ms = unix_ms};
}

static enum health_change become(struct backend_health *h, enum health health,
                                 enum health_reason reason, uint16_t status, struct health_now now)
{
    bool same = h->health == health, other = h->reason != reason || h->status != status;
    h->reason = (uint8_t)reason;
    h->status = status;
    if (same)
        return other && health == HEALTH_DOWN ? HEALTH_OTHER_REASON : HEALTH_SAME;
    h->health = (uint8_t)health;
    h->since_unix_ms = now.unix_ms;
    return health == HEALTH_UP ? HEALTH_CAME_UP : HEALTH_WENT_DOWN;
}

enum health_change health_probed(struct backend_health *h, int result, uint16_t status,
                                 uint32_t failures, struct health_now now)
{
    if (result == PROBE_ANSWERED) {
        h->failures = 0;
        if (now.ms < h->not_before_ms)
            return HEALTH_SAME;
        return become(h, HEALTH_UP, REASON_NONE, status, now);
    }
    h->failures += h->failures < UINT32_MAX;
    bool enough = h->failures >= failures || h->health == HEALTH_DOWN;
    return become(h, enough ? HEALTH_DOWN : (enum health)h->health, (enum health_reason)result,
                  status, now);
}

enum health_change health_failed(struct backend_health *h, enum health_reason reason,
                                 struct health_now now)
{
    return become(h, HEALTH_DOWN, reason, 0, now);
}

enum health_change health_unanswered(struct backend_health *h, uint64_t answered, uint32_t pause_ms,
                                     struct health_now now)
{
    bool again = h->pause_ms != 0 && h->answered == answered;
    uint64_t pause = again ? 2 * (uint64_t)h->pause_ms : pause_ms;
    h->pause_ms = pause < HEALTH_LONGEST_PAUSE_MS ? (uint32_t)pause : HEALTH_LONGEST_PAUSE_MS;
    h->not_before_ms = now.ms + h->pause_ms;
    h->answered = answered;
    return become(h, HEALTH_DOWN, REASON_RESPONSES, 0, now);
}
