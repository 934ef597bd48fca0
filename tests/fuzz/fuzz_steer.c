/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Whose a frame is, of any bytes on either side: some worker's or nobody's, and for what the parser
 * takes as TCP the owner of the client that the parser sees. */
#include <stdlib.h>
#include <string.h>

#include "dataplane/net/packet.h"
#include "dataplane/net/steer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { WORKERS = 5, FRAME = 4096 };
    static const struct addr own[1] = {{.bytes = {[10] = 0xff, 0xff, 198, 18, 128, 1}}};
    static struct steer steer;
    uint8_t key[STEER_KEY];
    struct packet packet;
    if (size < 1 || size > FRAME)
        return 0;
    memset(key, 0x5b, sizeof key);
    if (steer.own == NULL)
        steer_init(&steer, key, WORKERS, own, 1);
    const enum port_side side = data[0] & 1 ? INSIDE : OUTSIDE;
    uint8_t *frame = malloc(size - 1 + (size == 1)); /* of its very size, for the sanitizer */
    if (frame == NULL)
        return 0;
    memcpy(frame, data + 1, size - 1);
    const uint32_t owner = steer_frame(&steer, side, frame, (uint32_t)size - 1);
    if (owner >= WORKERS && owner != STEER_NOBODY)
        abort();
    if (packet_parse(frame, (uint32_t)size - 1, PACKET_IP_CHECKED | PACKET_TCP_CHECKED, &packet) ==
            VERDICT_FORWARDED &&
        packet.kind == PACKET_TCP) {
        const struct addr *client = side == OUTSIDE ? &packet.source : &packet.destination;
        if (steer_client(&steer, side, client) != owner)
            abort();
        bool v4, syn = (packet.flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
        const uint8_t *source = steer_syn_source(frame, (uint32_t)size - 1, &v4);
        if ((source != NULL) != syn ||
            (syn && (v4 != packet.v4 ||
                     memcmp(source, packet.source.bytes + (v4 ? 12 : 0), v4 ? 4 : 16) != 0)))
            abort();
    }
    free(frame);
    return 0;
}
