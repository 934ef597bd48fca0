/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Integers in PostgreSQL's binary format: big-endian, at any alignment. Pure. */
#ifndef DROPGATE_CONTROL_LEDGER_WIRE_H
#define DROPGATE_CONTROL_LEDGER_WIRE_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline int16_t wire_int16(const char *at)
{
    uint16_t v;
    memcpy(&v, at, sizeof v);
    return (int16_t)be16toh(v);
}

static inline int32_t wire_int32(const char *at)
{
    uint32_t v;
    memcpy(&v, at, sizeof v);
    return (int32_t)be32toh(v);
}

static inline int64_t wire_int64(const char *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof v);
    return (int64_t)be64toh(v);
}

/** Writes four bytes and returns the place behind them. */
static inline char *wire_put32(char *at, uint32_t value)
{
    value = htobe32(value);
    memcpy(at, &value, sizeof value);
    return at + sizeof value;
}

/** Writes eight bytes and returns the place behind them. */
static inline char *wire_put64(char *at, uint64_t value)
{
    value = htobe64(value);
    memcpy(at, &value, sizeof value);
    return at + sizeof value;
}

/** Copies bytes and returns the place behind them. */
static inline char *wire_put(char *at, const void *bytes, size_t length)
{
    memcpy(at, bytes, length);
    return at + length;
}

#endif
