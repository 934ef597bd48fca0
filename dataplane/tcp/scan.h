/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The client's side of an HTTP connection, read in order segment by segment with the control
 * service's own parser, so that every request is seen and nothing but requests passes. It keeps no
 * bytes, only where the parser stands. Pure. One thread, the flow's owner's.
 *
 * What remains open, and why: bytes below the scan point pass without a look, since a
 * retransmission must reach a backend that has lost the first copy, and to compare it with that
 * copy would need its bytes. So who sends other bytes the second time gets those executed, if the
 * backend has never seen the first. That cannot be brought about from outside, because a segment
 * moves the scan on only if a backend could not refuse it (window_latest, and nothing beyond the
 * backend's window): it takes real loss between gateway and backend. What could be won is requests
 * that are not counted; the control service checks each itself, and no two clients share a
 * connection to a backend. */
#ifndef DROPGATE_DATAPLANE_TCP_SCAN_H
#define DROPGATE_DATAPLANE_TCP_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/http1.h"
#include "dataplane/net/verdict.h"

/** Where the scan of one connection stands. worker: rw */
struct scan {
    struct http1 parser;
    uint32_t next;  /* sequence number behind what was scanned, or is known to be body */
    uint32_t heads; /* request heads completed so far */
};
_Static_assert(sizeof(struct scan) <= 40, "a flow has room for no more");

/** Begins with the connection's first byte, at sequence number `first`. */
void scan_begin(struct scan *scan, uint32_t first);

/** Reads what is new in a segment of `length` bytes at `seq`, which must lie within 2^31 of `next`;
 * `*heads` says how many request heads these bytes have completed. A FIN without data behind a hole
 * is asked about with a length of 0.
 * VERDICT_FORWARDED: may pass. Bytes at and behind `next` afterwards, if there are any, follow the
 *   connection's last request ("Connection: close", HTTP/1.0): they are nobody's and to be cut off.
 * SCAN_GAP: begins behind `next` while a head or a chunk's frame is being read: to be dropped, the
 *   client sends it again. Within a known body it is no gap: all up to its end passes unread.
 * AFTER_LAST: lies as a whole behind the last request: to be dropped.
 * HEAD_MALFORMED, REQUEST_MALFORMED (the first head; all that follows it): the connection is to be
 *   reset.
 * Bytes below `next` are never read again. Only FORWARDED and the last two change anything. */
enum verdict scan_segment(struct scan *scan, uint32_t seq, const uint8_t *bytes, uint32_t length,
                          uint32_t *heads);

/** Whether the next byte belongs to a body, so that nothing would be read of it. */
bool scan_in_body(const struct scan *scan);

#endif
