/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The TCP option iterator and reader: they never look outside of the option area, they stop, they
 * agree with a plain reading of the RFC on what is well formed, and reading changes nothing. The
 * first byte of the input gives the flags, the rest are options. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/net/packet.h"
#include "tests/unit/frames.h"

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* Each option lies within the area, behind the one before. */
static void walk(uint8_t *options, size_t length)
{
    struct tcp_option_iterator it = {options, options + length, false};
    struct tcp_option o;
    const uint8_t *behind = options;
    while (tcp_option_next(&it, &o)) {
        check(o.start >= behind && o.data == o.start + 2 && o.kind == *o.start);
        check(o.kind != OPTION_END && o.kind != OPTION_NOP);
        behind = o.data + o.length;
        check(behind == it.at && behind <= options + length);
    }
    check(!tcp_option_next(&it, &o)); /* once ended, it stays so */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 1 + TCP_OPTIONS_MAX)
        return 0;
    const size_t length = (size - 1) / 4 * 4;
    struct packet packet = {.flags = data[0], .payload = (uint16_t)(TCP_HEADER + length)};
    uint8_t *segment =
        calloc(1, TCP_HEADER + length); /* ends with the options: the sanitizer watches */
    check(segment != NULL);
    memcpy(segment + TCP_HEADER, data + 1, length);

    struct tcp_options o;
    const bool good = packet_options(segment, &packet, &o);
    check(good == frame_options_good(data + 1, length));
    check(memcmp(segment + TCP_HEADER, data + 1, length) == 0);
    check(o.window_scale <= 14 || o.window_scale == 15);
    if (good && !(packet.flags & TCP_SYN))
        check(o.mss == 0 && o.window_scale == 15 && !o.sack_ok);
    if (good && !o.timestamps)
        check(o.tsval == 0 && o.tsecr == 0);
    walk(segment + TCP_HEADER, length);
    free(segment);
    return 0;
}
