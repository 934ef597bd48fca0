/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The relay's command line:
 *
 *   relay [OPTION…] DEVICE DEVICE      the way from the first to the second is `forward`
 *
 *   --seed N            of all chances; 1
 *   --drop PERCENT      --duplicate PERCENT      --reorder PERCENT      --split PERCENT
 *   --overtaken-by N    a reordered frame waits for so many others; 3
 *   --patience MS       and no longer than this; 20
 *   --rate MBIT         so many Mbit/s, and no more
 *   --delay MS          every frame waits that long
 *   --jitter MS         and up to that much longer, still in order
 *   --data-only         nothing happens to frames without TCP payload, but delay
 *   --first-split       the first data segment of each connection becomes two halves
 *   --first-overtaken   it (its first half) waits until the connection's next data has passed
 *   --way forward|back|both   the options behind it are for that way
 *   --frames N          room in each direction; 4096
 *
 * MS and PERCENT may have decimals. An error ends the program with a message. */
#ifndef DROPGATE_TESTS_LAB_RELAY_OPTIONS_H
#define DROPGATE_TESTS_LAB_RELAY_OPTIONS_H

#include <stdint.h>

#include "relay_path.h"

enum relay_way { RELAY_FORWARD, RELAY_BACK, RELAY_WAYS };

struct relay_options {
    const char *device[RELAY_WAYS]; /* where frames of that way come in */
    struct relay_rules rules[RELAY_WAYS];
    uint64_t seed;
    unsigned frames;
};

/** Reads main's arguments, which `options` goes on pointing into. */
void relay_options_read(struct relay_options *options, int argc, char **argv);

#endif
