/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Operators' names as keys of an answer. DPDK takes letters, digits, '_' and '/' only, and leaves
 * out what has any other key; nor does it take dictionaries in an array. So what is told of several
 * things is a dictionary by these keys, with the name as it is written in each. */
#ifndef DROPGATE_DATAPLANE_OPS_METRICS_KEY_H
#define DROPGATE_DATAPLANE_OPS_METRICS_KEY_H

#include <stddef.h>

enum { METRICS_KEY = 96 };

/** The name with '_' for every other character, cut to fit. Returns `out`. */
static inline const char *metrics_key(const char *name, char out[METRICS_KEY])
{
    size_t i = 0;
    for (; name[i] != '\0' && i < METRICS_KEY - 1; i++) {
        const char c = name[i];
        const int good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                         (c >= '0' && c <= '9') || c == '_' || c == '/';
        out[i] = good ? c : '_';
    }
    out[i] = '\0';
    return out;
}

#endif
