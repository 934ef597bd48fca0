/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The ClientHello that a TLS connection begins with (RFC 8446 section 4.1.2, RFC 5246 section
 * 7.4.1.2): where it ends, whether it is well formed, and what it says that is not secret. It knows
 * no key and decrypts nothing; SSLv2 hellos and SSLv3 are refused. Pure; any thread. */
#ifndef DROPGATE_DATAPLANE_TLS_HELLO_H
#define DROPGATE_DATAPLANE_TLS_HELLO_H

#include <stdbool.h>
#include <stdint.h>

/** Bounds, far above what clients send today (under 2 KiB, 20 extensions, one or two records), and
 * low enough that no hello costs much more than others. Whoever goes beyond is refused. */
enum {
    HELLO_MOST = 16384,
    HELLO_RECORDS = 16,
    HELLO_EXTENSIONS = 64,
    HELLO_CIPHERS = 256,
    HELLO_SIGNATURES = 64,
    HELLO_NAME = 255
};

enum hello_result {
    HELLO_MORE, /* the beginning of a ClientHello, as far as it goes */
    HELLO_OK,
    HELLO_BAD, /* never becomes one */
};

/** A list of 16-bit numbers in network byte order, within the caller's bytes or `joined`. */
struct hello_list {
    const uint8_t *at;
    uint16_t count;
};

struct hello {
    uint16_t version;             /* the highest offered; RFC 8701's reserved values apart */
    char name[HELLO_NAME + 1];    /* server_name (RFC 6066 section 3) in small letters; "" = none */
    bool has_name;                /* the extension is there */
    char alpn_first, alpn_last;   /* of the first protocol (RFC 7301); 0 = none */
    struct hello_list ciphers;    /* as offered, reserved values included */
    struct hello_list signatures; /* signature_algorithms; count 0 = none */
    uint16_t extension_count;
    uint16_t extensions[HELLO_EXTENSIONS]; /* types in the order of the message */
    uint8_t joined[HELLO_MOST];            /* the message, when it came in several records */
};

/** Reads the first `length` bytes of a connection. On HELLO_OK `*out` is filled; its lists point
 * into `bytes` or `*out`, and hold as long as both. Bytes behind the message are not looked at. */
enum hello_result hello_read(const uint8_t *bytes, uint32_t length, struct hello *out);

/** Whether a cipher, extension or version is one of those that clients throw in to keep servers
 * tolerant (GREASE, RFC 8701). */
static inline bool hello_is_grease(uint16_t value)
{
    return (value & 0x0f0f) == 0x0a0a && value >> 8 == (value & 0xff);
}

#endif
