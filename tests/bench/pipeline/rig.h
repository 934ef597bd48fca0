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
#include "dataplane/worker.h"

enum { RIG_FRAME = 128 };

/** Frames of a round, short enough that most rounds are not interrupted by anybody, and before the
 * first, so that caches hold what they would hold. */
enum { RIG_ROUND = 1 << 13, RIG_WARM = 1 << 20 };

/** Writes frame number `n` of a load into `frame`; returns its length. `context` is the load's own.
 */
typedef uint32_t rig_writer(void *context, uint64_t n, uint8_t *frame);

struct rig;

/** Starts EAL on these processors ("1", or "0,1") without devices, with ports for so many workers;
 * once. Ends the process with a message if it cannot. */
void rig_start(const char *cores, uint32_t workers);
/** The same with so many MiB for DPDK's own tables. */
void rig_start_with(const char *cores, uint32_t workers, uint32_t mib);

/** A fresh shard with one IPv4 and one IPv6 service, their backends probed, room for `flows` flows.
 */
struct rig *rig_new(uint32_t flows);
void rig_free(struct rig *rig);
struct shard *rig_shard(struct rig *rig);
struct worker *rig_worker(struct rig *rig);
struct policy_slot *rig_policy(struct rig *rig);

/** One frame through the shard outside of any measurement; the answer replaces it. Returns the
 * verdict. */
enum verdict rig_frame(struct rig *rig, enum port_side side, uint8_t *frame, uint32_t *length);

/** Lets the ports say that they have verified all checksums, as most network cards do. */
void rig_port_checks(struct rig *rig);

struct rig_result {
    double cycles; /* per frame, net of buffers and writing: the median of all rounds */
    double best;   /* the shortest round with work less the shortest without */
    double mpps;   /* from the net cycles */
};

/** `rounds` (at most 256) rounds of frames that `writer` makes, received on `side`, each beside a
 * round of frames that are written and freed again; and so is what is sent. */
struct rig_result rig_measure(struct rig *rig, enum port_side side, rig_writer *writer,
                              void *context, int rounds);

/** Cycles of taking and freeing a buffer, in bursts. */
double rig_io_cycles(struct rig *rig, int rounds);

/** One burst of up to WORKER_BURST frames through the worker, written and freed. */
void rig_burst(struct rig *rig, enum port_side side, rig_writer *writer, void *context,
               uint32_t count);

/** Begins a burst on the rig's clock, which stands still. */
void rig_begin(struct rig *rig);

/** The median of `count` values, which it sorts. */
double rig_median(double *values, int count);

/** Cycles per second of the time stamp counter. */
double rig_hz(void);

/** The median; sorts `values`. */
double rig_median(double *values, int count);

#endif
