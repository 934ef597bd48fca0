/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * JA4, the fingerprint of a TLS client (Althouse, "JA4+ Network Fingerprinting", 2023): the same
 * for all clients of one build, whatever order they shuffle their extensions into. And a small
 * table that counts them. Pure; the table has one writer. */
#ifndef DROPGATE_DATAPLANE_TLS_JA4_H
#define DROPGATE_DATAPLANE_TLS_JA4_H

#include "dataplane/tls/hello.h"

enum { JA4_TEXT = 37, JA4_TABLE = 1024 };

/** Writes the fingerprint, 36 characters and a NUL: "t13d1516h2_8daaf6152771_e5627efa2ab1". */
void ja4_print(const struct hello *hello, char text[JA4_TEXT]);

/** How often each fingerprint was seen. A slot is written once and never given to another, so a
 * reader in another thread sees whole texts; what finds no slot counts as `other`. worker: rw,
 * others: ro */
struct ja4_table {
    struct {
        uint64_t count; /* 0 = free */
        char text[JA4_TEXT];
    } slot[JA4_TABLE];
    uint64_t other;
};

/** Counts one. The table's owner. */
void ja4_count(struct ja4_table *table, const char text[JA4_TEXT]);

#endif
