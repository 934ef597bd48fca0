/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What has to be read of a connection before its backend is asked, by the service's protocol. */
#ifndef DROPGATE_DATAPLANE_TCP_READING_H
#define DROPGATE_DATAPLANE_TCP_READING_H

#include <stdint.h>

#include "dataplane/admit/policy.h"
#include "dataplane/net/verdict.h"
#include "dataplane/tcp/scan.h"
#include "dataplane/tcp/shard.h"
#include "dataplane/tls/ja4.h"

/** Judges the first bytes of a connection, which begins at sequence number `first`: there are
 * `length` in one piece, of which the first `judged` (0 at first) were there at the last call. Each
 * request that they complete, or the connection, is put to the gate.
 * VERDICT_FORWARDED: a request head, a ClientHello or (raw TCP) anything at all has been completed
 * by the new ones, so the backend may be opened; also for what follows while it is.
 * HEAD_INCOMPLETE: not yet. TLS_NAME: refused, and to be told so. Anything else: refused, and to be
 * reset. `scan` goes along: its `next` says how far bytes may be delivered, its `heads` is above 0
 * once the backend may be opened. A ClientHello is counted.
 * no->why is VERDICT_FORWARDED unless the gate has refused something. The first request: that is
 * also what is returned, and the scan stands behind its head. A later one: it ends the connection,
 * and the scan stands where it begins. */
enum verdict reading_judge(struct shard *shard, const struct gate_asker *asker, struct scan *scan,
                           uint32_t first, const uint8_t *bytes, uint32_t judged, uint32_t length,
                           struct refused_request *no);

/** The alert for TLS_NAME, in a segment that also says FIN. */
void reading_alert(struct segment *answer);

/** Whether a client whose bytes were judged so has abused the protocol. */
static inline bool reading_malformed(enum verdict verdict)
{
    return verdict == VERDICT_HEAD_MALFORMED || verdict == VERDICT_TLS_MALFORMED ||
           verdict == VERDICT_REQUEST_MALFORMED;
}

#endif
