/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A worker without ports: the real worker and shard on one core, fed with frames written into
 * mbufs, its output freed. What it costs to take a buffer, write a frame and free it is measured
 * beside, and taken off. */
#ifndef DROPGATE_TESTS_BENCH_PIPELINE_RIG_H
#define DROPGATE_TESTS_BENCH_PIPELINE_RIG_H

#include <stdint.h>

#include "dataplane/tcp/shard.h"

enum { RIG_FRAME = 128, RIG_CLIENTS_PORTS = 32 };

/** Writes frame number `n` of a load into `frame`; returns its length. `context` is the load's own.
 */
typedef uint32_t rig_writer(void *context, uint64_t n, uint8_t *frame);

struct rig;

/** Starts EAL on processor `core` without devices; once. Ends the process with a message if it
 * cannot. */
void rig_start(unsigned core);

/** A fresh shard with one IPv4 and one IPv6 service, their backends probed, room for `flows` flows.
 */
struct rig *rig_new(uint32_t flows);
void rig_free(struct rig *rig);
struct shard *rig_shard(struct rig *rig);

/** One frame through the shard outside of any measurement; the answer replaces it. Returns the
 * verdict. */
enum verdict rig_frame(struct rig *rig, enum port_side side, uint8_t *frame, uint32_t *length);

struct rig_result {
    double cycles; /* per frame, net of buffers and writing */
    double mpps;   /* from the net cycles */
};

/** The median of `rounds` rounds of `frames` frames each that `writer` makes, received on `side`.
 */
struct rig_result rig_measure(struct rig *rig, enum port_side side, rig_writer *writer,
                              void *context, uint64_t frames, int rounds);

/** Cycles of taking and freeing a buffer, in bursts. */
double rig_io_cycles(struct rig *rig, uint64_t frames, int rounds);

double rig_hz(void);

#endif
