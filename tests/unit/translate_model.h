/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What translation should do, said a second time and plainly: from the fields of a segment that
 * arrives to the fields of the one that leaves. The unit test and the fuzzer share it. */
#ifndef DROPGATE_TESTS_UNIT_TRANSLATE_MODEL_H
#define DROPGATE_TESTS_UNIT_TRANSLATE_MODEL_H

#include "dataplane/tcp/states.h"
#include "dataplane/tcp/translate.h"
#include "tests/unit/frames.h"

/* One flow in both families, as text and as endpoints. */
static const char *const client_hex[] = {"c6124001", "20010db8100000000000000000000001"};
static const char *const service_hex[] = {"c6120050", "20010db8000000000000000000000080"};
static const char *const backend_hex[] = {"c6128002", "20010db8000000010000000000000002"};
static const uint16_t client_port = 40000, service_port = 80, backend_port = 8080;

static inline struct endpoint endpoint_of(const char *const hex[2], bool v6, uint16_t port)
{
    uint8_t bytes[16];
    struct endpoint e = {.port = port};
    frame_hex(bytes, hex[v6]);
    if (v6) {
        e.addr = addr_from_v6(bytes);
    } else {
        uint32_t word;
        memcpy(&word, bytes, 4);
        e.addr = addr_from_v4(word);
    }
    return e;
}

static inline struct splice splice_of(bool v6)
{
    const struct endpoint service = endpoint_of(service_hex, v6, service_port);
    const struct endpoint backend = endpoint_of(backend_hex, v6, backend_port);
    struct splice s = {0};
    splice_addresses(&s, &service, &backend);
    return s;
}

/* A segment as it arrives: from the client to the service, or from the backend to the client. */
static inline struct frame_tcp arriving(bool v6, enum direction from)
{
    struct frame_tcp t = {.v6 = v6,
                          .source_port = from == FROM_CLIENT ? client_port : backend_port,
                          .destination_port = from == FROM_CLIENT ? service_port : client_port,
                          .flags = TCP_ACK,
                          .ttl = 57};
    frame_hex(t.source, from == FROM_CLIENT ? client_hex[v6] : backend_hex[v6]);
    frame_hex(t.destination, from == FROM_CLIENT ? service_hex[v6] : client_hex[v6]);
    return t;
}

static inline uint32_t model_window(uint32_t window, unsigned from, unsigned to)
{
    uint64_t bytes = window;
    for (unsigned i = 0; i < from; i++)
        bytes *= 2;
    for (unsigned i = 0; i < to; i++)
        bytes /= 2;
    if (bytes > 65535)
        return 65535;
    return bytes == 0 && window != 0 ? 1 : (uint32_t)bytes;
}

static inline void model_add(uint8_t *p, uint32_t delta)
{
    frame_put32(p, frame_get32(p) + delta);
}

/* Known options that may come behind the handshake are kept, everything else becomes NOPs. */
static inline void model_options(struct frame_tcp *t, const struct splice *s, enum direction from)
{
    size_t i = 0;
    while (i < t->options_length && t->options[i] != OPTION_END) {
        uint8_t *o = t->options + i;
        if (*o == OPTION_NOP) {
            i++;
            continue;
        }
        const size_t length = o[1];
        if (*o == OPTION_TIMESTAMPS) {
            if (from == FROM_CLIENT)
                model_add(o + 6, 0 - s->ts_delta);
            else
                model_add(o + 2, s->ts_delta);
        } else if (*o == OPTION_SACK) {
            for (size_t edge = 2; from == FROM_CLIENT && edge < length; edge += 4)
                model_add(o + edge, 0 - s->seq_delta);
        } else {
            memset(o, OPTION_NOP, length);
        }
        i += length;
    }
    memset(t->options + i, OPTION_NOP, t->options_length - i);
}

static inline struct frame_tcp model(struct frame_tcp t, const struct splice *s,
                                     enum direction from)
{
    if (from == FROM_CLIENT) {
        frame_hex(t.destination, backend_hex[t.v6]);
        t.destination_port = backend_port;
        if (t.flags & TCP_ACK)
            t.ack -= s->seq_delta;
        t.window = (uint16_t)model_window(t.window, s->scale_of_client, s->scale_told_backend);
        t.ttl = 64;
    } else {
        frame_hex(t.source, service_hex[t.v6]);
        t.source_port = service_port;
        t.seq += s->seq_delta;
        t.window = (uint16_t)model_window(t.window, s->scale_of_backend, s->scale_told_client);
        t.ttl = (uint8_t)(t.ttl > 1 ? t.ttl - 1 : 1);
    }
    t.flags &= (uint8_t)~TCP_URG;
    t.urgent = 0;
    model_options(&t, s, from);
    return t;
}

#endif
