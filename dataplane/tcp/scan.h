/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The client's side of an HTTP connection, read in order segment by segment with the control
 * service's own parser, so that every request is seen and nothing but requests passes. It keeps no
 * bytes, only where the parser stands. Pure. One thread, the flow's owner's.
 *
 * What remains open, and why: bytes below the scan point pass without a look, because a backend
 * that has lost the first copy must get the second, and to compare the two would need the bytes of
 * the first. So who sends other bytes the second time gets those executed, if the backend never saw
 * the first. That must not be in a client's hand: what is read is held to what the backend has to
 * take, and joins without a hole what it has or was sent before (requests.c); only body bytes,
 * which mean nothing here, may differ. It takes loss behind the gateway then: on the way (also of
 * what is too large for it), or by a backend that has no memory left for what its window allows, to
 * which its clients may have added. What is won so are requests that no rule and no rate here has
 * seen; the control service checks each itself, other backends must not rely on rules alone. No two
 * clients share a connection to a backend. */
#ifndef DROPGATE_DATAPLANE_TCP_SCAN_H
#define DROPGATE_DATAPLANE_TCP_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/http1.h"
#include "dataplane/net/verdict.h"
#include "dataplane/tcp/refuse.h"

/** Where the scan of one connection stands. worker: rw */
struct scan {
    union {
        struct http1 parser;
        struct refused refused; /* once a request was refused: nothing is read any more */
    };
    uint32_t next;  /* sequence number behind what was scanned, or is known to be body */
    uint32_t heads; /* request heads completed so far */
};
_Static_assert(sizeof(struct scan) <= 40, "a flow has room for no more");

/** Begins with the connection's first byte, at sequence number `first`. */
void scan_begin(struct scan *scan, uint32_t first);

/** Reads what is new in a segment of `length` bytes at `seq`, which must lie within 2^31 of `next`.
 * It stops behind each request head that these bytes complete: `*head` is its length then, and it
 * ends at `next`; called again with the same bytes, it goes on from there. 0: all has been read. A
 * FIN without data behind a hole is asked about with a length of 0.
 * VERDICT_FORWARDED: may pass. Bytes at and behind `next` afterwards, if there are any, follow the
 *   connection's last request ("Connection: close", HTTP/1.0): they are nobody's (surplus.h).
 * SCAN_GAP: begins behind `next` and would have to be read: to be dropped, the client sends it
 *   again. What ends within a known body passes unread, and `next` goes over the hole: then the
 *   caller has nothing read before that is filled, since who fills it may send all up to `next`
 *   once more.
 * AFTER_LAST: lies as a whole behind the last request, and behind a hole there.
 * HEAD_MALFORMED, REQUEST_MALFORMED (the first head; all that follows it): the connection is to be
 *   reset.
 * Bytes below `next` are never read again. Only FORWARDED and the last two change anything. */
enum verdict scan_segment(struct scan *scan, uint32_t seq, const uint8_t *bytes, uint32_t length,
                          uint32_t *head);

/** Whether the bytes up to `end` hold any that would have to be read: not old, not body. */
bool scan_reads(const struct scan *scan, uint32_t end);

/** Whether the connection's last request is complete, so that all that follows is nobody's. */
bool scan_ended(struct scan *scan);

#endif
