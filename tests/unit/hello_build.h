/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Writes ClientHellos for tests: one that a usual browser could have sent, and the same with one
 * part changed. */
#ifndef DROPGATE_TESTS_UNIT_HELLO_BUILD_H
#define DROPGATE_TESTS_UNIT_HELLO_BUILD_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct built {
    uint32_t length;
    uint8_t bytes[8192];
};

struct hello_parts {
    uint16_t version;
    uint32_t session, ciphers, compressions; /* bytes; count; bytes */
    const char *server_name;
    uint32_t server_names, name_type, more_extensions, more_signatures, extra;
    uint32_t cut_body; /* bytes taken from the message's end */
    bool twice, odd_versions, empty_alpn;
};

#define HELLO_USUAL                                                                        \
    .version = 0x0303, .session = 32, .ciphers = 15, .compressions = 1, .server_names = 1, \
    .server_name = "shop.example"

static inline void hello_put(struct built *b, uint32_t value, uint32_t bytes)
{
    while (bytes-- > 0)
        b->bytes[b->length++] = (uint8_t)(value >> 8 * bytes);
}

/* A length that is filled in once its vector is complete. */
static inline uint32_t hello_open(struct built *b, uint32_t bytes)
{
    hello_put(b, 0, bytes);
    return b->length;
}

static inline void hello_close(struct built *b, uint32_t start, uint32_t bytes)
{
    uint32_t value = b->length - start;
    for (uint32_t i = 0; i < bytes; i++)
        b->bytes[start - 1 - i] = (uint8_t)(value >> 8 * i);
}

static inline void hello_extension(struct built *b, uint32_t type, uint32_t length)
{
    hello_put(b, type, 2);
    hello_put(b, length, 2);
    memset(b->bytes + b->length, 0, length);
    b->length += length;
}

static inline void hello_server_name(struct built *b, const struct hello_parts *parts)
{
    hello_put(b, 0, 2);
    uint32_t extension = hello_open(b, 2), list = hello_open(b, 2);
    for (uint32_t i = 0; i < parts->server_names; i++) {
        hello_put(b, parts->name_type, 1);
        uint32_t name = hello_open(b, 2);
        memcpy(b->bytes + b->length, parts->server_name, strlen(parts->server_name));
        b->length += (uint32_t)strlen(parts->server_name);
        hello_close(b, name, 2);
    }
    hello_close(b, list, 2);
    hello_close(b, extension, 2);
}

/* The lists of the example in JA4's own description, with reserved values in between. */
static inline void hello_extensions(struct built *b, const struct hello_parts *parts)
{
    static const uint16_t plain[] = {0x001b, 0x0033, 0x4469, 0x0017, 0x002d, 0x0005,
                                     0x0023, 0x0012, 0xff01, 0x000b, 0x000a, 0x0015};
    static const uint16_t signatures[] = {0x0403, 0x0804, 0x0401, 0x0503,
                                          0x0805, 0x0501, 0x0806, 0x0601};
    hello_extension(b, 0x3a3a, 0);
    hello_server_name(b, parts);
    for (uint32_t i = 0; i < sizeof plain / sizeof *plain; i++)
        hello_extension(b, plain[i], i);
    hello_put(b, 13, 2);
    uint32_t extension = hello_open(b, 2), list = hello_open(b, 2);
    for (uint32_t i = 0; i < sizeof signatures / sizeof *signatures; i++)
        hello_put(b, signatures[i], 2);
    for (uint32_t i = 0; i < parts->more_signatures; i++)
        hello_put(b, 0x0901 + i, 2);
    hello_close(b, list, 2);
    hello_close(b, extension, 2);
    hello_put(b, 16, 2);
    hello_put(b, parts->empty_alpn ? 3 : 5, 2);
    hello_put(b, parts->empty_alpn ? 1 : 3, 2);
    hello_put(b, parts->empty_alpn ? 0 : 0x026832, parts->empty_alpn ? 1 : 3);
    hello_put(b, 43, 2);
    hello_put(b, parts->odd_versions ? 6 : 7, 2);
    hello_put(b, parts->odd_versions ? 5 : 6, 1);
    hello_put(b, 0xfafa0304, 4);
    hello_put(b, parts->odd_versions ? 3 : 0x0303, parts->odd_versions ? 1 : 2);
    if (parts->twice)
        hello_extension(b, 0x0017, 0);
    for (uint32_t i = 0; i < parts->more_extensions; i++)
        hello_extension(b, 0x7000 + i, 0);
}

static inline struct built built_from(const struct hello_parts *parts)
{
    static const uint16_t suites[] = {0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f,
                                      0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013,
                                      0xc014, 0x009c, 0x009d, 0x002f, 0x0035};
    struct built b = {.length = 0};
    hello_put(&b, 0x160301, 3);
    uint32_t record = hello_open(&b, 2);
    hello_put(&b, 1, 1);
    uint32_t message = hello_open(&b, 3);
    hello_put(&b, parts->version, 2);
    memset(b.bytes + b.length, 0x55, 32);
    b.length += 32;
    hello_put(&b, parts->session, 1);
    memset(b.bytes + b.length, 0x66, parts->session);
    b.length += parts->session;
    uint32_t list = hello_open(&b, 2);
    if (parts->ciphers)
        hello_put(&b, 0x5a5a, 2); /* beside `ciphers` others */
    for (uint32_t i = 0; i < parts->ciphers; i++)
        hello_put(&b, suites[i % 15], 2);
    hello_close(&b, list, 2);
    hello_put(&b, parts->compressions, 1);
    memset(b.bytes + b.length, 0, parts->compressions);
    b.length += parts->compressions;
    list = hello_open(&b, 2);
    hello_extensions(&b, parts);
    hello_close(&b, list, 2);
    hello_put(&b, 0, parts->extra);
    b.length -= parts->cut_body;
    hello_close(&b, message, 3);
    hello_close(&b, record, 2);
    return b;
}

static inline struct built built_hello(void)
{
    const struct hello_parts usual = {HELLO_USUAL};
    return built_from(&usual);
}

/* The same message in records of `size` bytes. */
static inline struct built built_records(const struct built *one, uint32_t size)
{
    struct built b = {.length = 0};
    for (uint32_t at = 5; at < one->length; at += size) {
        uint32_t part = one->length - at < size ? one->length - at : size;
        hello_put(&b, 0x160301, 3);
        hello_put(&b, part, 2);
        memcpy(b.bytes + b.length, one->bytes + at, part);
        b.length += part;
    }
    return b;
}

static inline uint32_t built_record_count(const struct built *b)
{
    uint32_t count = 0;
    for (uint32_t at = 0; at < b->length; count++)
        at += 5 + (uint32_t)(b->bytes[at + 3] << 8 | b->bytes[at + 4]);
    return count;
}

#endif
