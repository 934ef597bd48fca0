/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Rewrites a segment of a spliced connection in place: one function per direction. The client's own
 * sequence numbers reach the backend unchanged, because the gateway repeats the client's ISN; what
 * differs is the server's side (cookie against the backend's ISN), timestamps, windows and one
 * address. Pure: bytes and a splice in; nothing is looked up. Worker only, but holds no state of
 * its own. */
#ifndef DROPGATE_DATAPLANE_TCP_TRANSLATE_H
#define DROPGATE_DATAPLANE_TCP_TRANSLATE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/addr.h"
#include "dataplane/net/packet.h"

enum { SCALE_NONE = 15 };

/** How one flow's two halves differ. "Client" numbers are those on the outside. */
struct splice {
    uint32_t seq_delta;      /* server sequence: client number = backend number + delta */
    uint32_t ts_delta;       /* server TSval: client number = backend number + delta */
    uint16_t to_backend_sum; /* folded checksum change of the address and port put in towards the
                                backend */
    uint16_t to_client_sum;
    uint8_t scale_told_client;  /* shift of the server's window as announced to the client; 0 when
                                   not agreed */
    uint8_t scale_of_backend;   /* as announced by the backend; 0 when not agreed */
    uint8_t scale_of_client;    /* as announced by the client; 0 when not agreed */
    uint8_t scale_told_backend; /* shift of the client's window as announced to the backend; 0 when
                                   not agreed */
};

/** Prepares the two checksum changes for replacing service endpoint by backend endpoint; same
 * family. */
void splice_addresses(struct splice *splice, const struct endpoint *service,
                      const struct endpoint *backend);

/** A window in the receiver's scale: shifted from scale `from` to scale `to`, clamped to 65,535;
 * what is not zero never becomes zero (tcp-pitfalls 5). */
static inline uint16_t translate_window(uint16_t window, uint8_t from, uint8_t to)
{
    uint32_t scaled = ((uint32_t)window << from) >> to;
    if (scaled == 0 && window != 0)
        return 1;
    return scaled > 65535 ? 65535 : (uint16_t)scaled;
}

/** Rewrites a client's segment for the backend: destination, acknowledgement, SACK edges, TSecr,
 * window, TTL; unknown options become NOPs, URG goes. The packet must have been parsed from this
 * frame, and its options found well formed; it is an error to pass a SYN. Link-layer addresses are
 * the caller's. */
void translate_to_backend(uint8_t *frame, const struct packet *packet, const struct splice *splice,
                          const struct endpoint *backend);

/** Leaves `length` bytes of the segment's payload, as if it began at `seq`, without what followed;
 * a FIN stays only if `fin`. `packet`, parsed from this frame, follows. Both checksums are put
 * right. */
void translate_cut(uint8_t *frame, struct packet *packet, uint32_t seq, uint16_t length, bool fin);

/** Rewrites a backend's segment for the client: source, sequence, TSval, window; likewise. The TTL
 * stays the backend's, less one. */
void translate_to_client(uint8_t *frame, const struct packet *packet, const struct splice *splice,
                         const struct endpoint *service);

#endif
