/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Bare acknowledgements while most of them belong to no flow: an ACK flood. Of such a one only who
 * sent it is read, beyond what every frame must withstand, and the table of flows is asked; what
 * may have a flow goes the general path from its beginning. A short cut and nothing more: what it
 * drops is dropped there, too, for the same reason. Pure. */
#ifndef DROPGATE_DATAPLANE_TCP_STRAY_H
#define DROPGATE_DATAPLANE_TCP_STRAY_H

#include "dataplane/tcp/shard.h"

/** Whether the frame, from outside, is a well-formed acknowledgement without data, SYN, FIN or RST
 * to a service, from a source that nobody could tell to be forged: as packet_parse and outside_sort
 * would find. Then the client and its port are set. One for each family, by its EtherType. */
bool stray_takes_v4(const struct services *services, uint64_t to_us, const struct frame *frame,
                    struct addr *client, uint16_t *port);
bool stray_takes_v6(const struct services *services, uint64_t to_us, const struct frame *frame,
                    struct addr *client, uint16_t *port);

static inline bool stray_takes(const struct services *services, uint64_t to_us,
                               const struct frame *frame, struct addr *client, uint16_t *port)
{
    if (frame->length < ETHERNET_HEADER)
        return false;
    switch (load16(frame->bytes + 12)) {
    case ETHERTYPE_IPV4: return stray_takes_v4(services, to_us, frame, client, port);
    case ETHERTYPE_IPV6: return stray_takes_v6(services, to_us, frame, client, port);
    default: return false;
    }
}

#endif
