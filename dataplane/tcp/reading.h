/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What has to be read of a connection before its backend is asked, by the service's protocol. Pure.
 */
#ifndef DROPGATE_DATAPLANE_TCP_READING_H
#define DROPGATE_DATAPLANE_TCP_READING_H

#include <stdint.h>

#include "dataplane/admit/policy.h"
#include "dataplane/net/verdict.h"
#include "dataplane/tcp/scan.h"
#include "dataplane/tls/ja4.h"

/** Judges the first bytes of a connection, which begins at sequence number `first`: there are
 * `length` in one piece, of which the first `judged` (0 at first) were there at the last call.
 * VERDICT_FORWARDED: a request head, a ClientHello or (raw TCP) anything at all has been completed
 * by the new ones, so the backend may be opened; also for what follows while it is.
 * HEAD_INCOMPLETE: not yet. TLS_NAME: refused, and to be told so. Anything else: refused, and to be
 * reset. `scan` goes along: its `next` says how far bytes may be delivered, its `heads` is above 0
 * once the backend may be opened. A ClientHello is counted in `seen`. */
enum verdict reading_judge(const struct service *service, struct ja4_table *seen, struct scan *scan,
                           uint32_t first, const uint8_t *bytes, uint32_t judged, uint32_t length);

/** The alert for TLS_NAME, in a segment that also says FIN. */
void reading_alert(struct segment *answer);

#endif
