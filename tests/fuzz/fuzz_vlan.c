/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * VLAN tags: any bytes on any side give a verdict, nothing behind the frame is read, what is
 * refused is not touched, and what is taken off and put on again is the same frame with priority 0.
 * The first bytes of the input say what the side's tags are and what the port tells beside. */
#include <stdlib.h>
#include <string.h>

#include "dataplane/net/vlan.h"

static void check(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { HEAD = 7 };
    if (size < HEAD || size - HEAD > UINT16_MAX)
        return 0;
    const struct vlan vlan = {{load16(data) & 0xfff, load16(data + 2) & 0xfff}, data[4] % 3};
    const int beside = data[4] & 0x80 ? load16(data + 5) : VLAN_NONE_BESIDE;
    const size_t length = size - HEAD;
    uint8_t *frame = malloc(length ? length : 1), *front = malloc(length + VLAN_TAGS * VLAN_TAG);
    check(frame != NULL && front != NULL);
    memcpy(frame, data + HEAD, length);

    uint32_t taken;
    const enum verdict verdict = vlan_take(&vlan, frame, (uint32_t)length, beside, &taken);
    check(taken % VLAN_TAG == 0 && taken <= VLAN_TAGS * VLAN_TAG && taken <= length);
    if (verdict != VERDICT_FORWARDED) {
        check(taken == 0 && memcmp(frame, data + HEAD, length) == 0);
    } else if (vlan.count > 0 || taken > 0) {
        check(length - taken >= ETHERNET_HEADER);
        const size_t tags = (size_t)vlan.count * VLAN_TAG;
        memcpy(front + tags, frame + taken, length - taken);
        vlan_put(&vlan, front);
        check(memcmp(front, data + HEAD, 12) == 0);
        check(memcmp(front + 12 + tags, data + HEAD + 12 + taken, length - taken - 12) == 0);
        check(vlan_take(&vlan, front, (uint32_t)(length - taken + tags), VLAN_NONE_BESIDE,
                        &taken) == VERDICT_FORWARDED);
    }
    free(front);
    free(frame);
    return 0;
}
