/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * IPv6 extension headers: any chain gives a verdict, nothing behind the frame is read or written,
 * what is refused is not touched, and what is accepted is a shorter frame with TCP directly behind
 * IPv6 and the same bytes from there on. */
#include <stdlib.h>
#include <string.h>

#include "dataplane/net/extension.h"
#include "dataplane/net/packet.h"

enum { AT = ETHERNET_HEADER + IPV6_HEADER };

static void check(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input is the first next header, a byte, and all behind the IPv6 header; its length field is
 * right but for what the byte says. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 2048)
        return 0;
    const size_t length = AT + size - 2;
    uint8_t *frame = calloc(1, length), *before = malloc(length);
    check(frame != NULL && before != NULL);
    store16(frame + 12, ETHERTYPE_IPV6);
    frame[14] = 0x60;
    store16(frame + 18, (uint16_t)(size - 2 - data[1] % 16));
    frame[20] = data[0];
    memcpy(frame + AT, data + 2, size - 2);
    memcpy(before, frame, length);

    uint32_t left = (uint32_t)length;
    const enum verdict verdict = extension_remove(frame, &left);
    check(verdict < VERDICT_COUNT);
    if (verdict != VERDICT_FORWARDED) {
        check(left == length && memcmp(frame, before, length) == 0);
    } else {
        const size_t removed = length - left;
        check(removed <= EXTENSION_BYTES && removed % 8 == 0 && frame[20] == 6);
        check(load16(frame + 18) + removed == load16(before + 18));
        check(memcmp(frame + AT, before + AT + removed, left - AT) == 0);
    }
    free(before);
    free(frame);
    return 0;
}
