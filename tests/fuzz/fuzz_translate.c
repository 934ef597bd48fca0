/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Translation of any well-formed segment under any splice: the frame must become, byte for byte,
 * what the plain model writes anew. Input: direction and family, splice, TCP fields, then options
 * and payload. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/translate_model.h"

/* How the input begins. */
enum {
    HOW,
    SCALES,
    SPLICE = SCALES + 2,
    FIELDS = SPLICE + 8,
    FLAGS = FIELDS + 12,
    TTL,
    OPTION_WORDS,
    HEAD
};

static void check(bool holds)
{
    if (!holds)
        abort();
}

static struct splice read_splice(const uint8_t *data, bool v6)
{
    struct splice s = splice_of(v6);
    s.scale_of_client = (uint8_t)(data[SCALES] % 15);
    s.scale_told_backend = (uint8_t)(data[SCALES] / 16 % 15);
    s.scale_of_backend = (uint8_t)(data[SCALES + 1] % 15);
    s.scale_told_client = (uint8_t)(data[SCALES + 1] / 16 % 15);
    s.seq_delta = frame_get32(data + SPLICE);
    s.ts_delta = frame_get32(data + SPLICE + 4);
    return s;
}

static struct frame_tcp read_segment(const uint8_t *data, size_t size, bool v6, enum direction from)
{
    struct frame_tcp t = arriving(v6, from);
    t.seq = frame_get32(data + FIELDS);
    t.ack = frame_get32(data + FIELDS + 4);
    t.window = frame_get16(data + FIELDS + 8);
    t.urgent = frame_get16(data + FIELDS + 10);
    t.flags = data[FLAGS];
    t.ttl = data[TTL];
    t.options_length = (size_t)(data[OPTION_WORDS] % 11) * 4;
    if (t.options_length > size - HEAD)
        t.options_length = (size - HEAD) / 4 * 4;
    memcpy(t.options, data + HEAD, t.options_length);
    t.payload = data + HEAD + t.options_length;
    t.length = size - HEAD - t.options_length;
    return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD || size > 1024)
        return 0;
    const bool v6 = data[HOW] & 1;
    const enum direction from = data[HOW] & 2 ? FROM_BACKEND : FROM_CLIENT;
    const struct splice splice = read_splice(data, v6);
    const struct frame_tcp before = read_segment(data, size, v6, from);
    uint8_t written[FRAME_ROOM], expected[FRAME_ROOM];
    const size_t length = frame_write(written, &before);

    uint8_t *frame = malloc(length); /* ends with the frame: the sanitizer watches */
    check(frame != NULL);
    memcpy(frame, written, length);
    struct packet p;
    struct tcp_options options;
    if (packet_parse(frame, (uint32_t)length, 0, &p) == VERDICT_FORWARDED && !(p.flags & TCP_SYN) &&
        packet_options(frame, &p, &options)) {
        const struct endpoint service = endpoint_of(service_hex, v6, service_port);
        const struct endpoint backend = endpoint_of(backend_hex, v6, backend_port);
        const struct frame_tcp after = model(before, &splice, from);
        if (from == FROM_CLIENT)
            translate_to_backend(frame, &p, &splice, &backend);
        else
            translate_to_client(frame, &p, &splice, &service);
        check(frame_write(expected, &after) == length && memcmp(frame, expected, length) == 0);
        check(packet_parse(frame, (uint32_t)length, 0, &p) == VERDICT_FORWARDED);
        check(packet_options(frame, &p, &options));
    }
    free(frame);
    return 0;
}
