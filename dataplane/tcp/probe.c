/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Probes: a SYN with every option to each backend, every few seconds; its SYN-ACK shows what may be
 * promised to clients, and is answered by RST. What it means for policy is the control thread's
 * business. */
#include <errno.h>
#include <stdlib.h>

#include "dataplane/tcp/shard.h"

enum {
    PROBE_SCALE = 7,
    PROBE_WINDOW = 65535,
    PROBE_PORT_FIRST = 32768,
    PROBE_PORTS = 28232,
    PROBE_LOOK_MS = 20,
    PROBES_PER_LOOK = 32, /* thousands at once would overflow rings and backends' switches */
};

struct probe {
    uint64_t due_ms; /* next SYN, or time-out of the one that is out */
    uint32_t isn;
    uint16_t port;
    bool waiting;
};

int shard_probe_backends(struct shard *shard, uint32_t count)
{
    shard->probes = calloc(count, sizeof *shard->probes);
    shard->probe_count = count;
    return shard->probes == NULL ? -ENOMEM : 0;
}

static void tell(struct shard *shard, uint32_t backend, int result,
                 const struct tcp_options *options)
{
    struct message message = {.kind = MESSAGE_PROBE, .backend = (uint16_t)backend, .probe = result};
    if (options != NULL)
        message.options = *options;
    shard->output.tell(shard->output.context, &message);
}

static void send_probe(struct shard *shard, struct probe *probe, const struct backend *backend,
                       const struct mac *to)
{
    uint64_t random = shard_random(shard);
    probe->isn = (uint32_t)random;
    probe->port = (uint16_t)(PROBE_PORT_FIRST + (random >> 32) % PROBE_PORTS);
    struct segment syn = {
        .from = shard->mac[INSIDE],
        .to = *to,
        .source = backend->source,
        .destination = backend->address.addr,
        .source_port = probe->port,
        .destination_port = backend->address.port,
        .seq = probe->isn,
        .window = PROBE_WINDOW,
        .flags = TCP_SYN,
        .options = {.mss = addr_is_v4(&backend->source) ? shard->policy.limits->mss_v4
                                                        : shard->policy.limits->mss_v6,
                    .window_scale = PROBE_SCALE,
                    .sack_ok = true,
                    .timestamps = true,
                    .tsval = (uint32_t)shard->now_ms},
    };
    shard_send(shard, INSIDE, &syn);
}

static void run_probe(struct shard *shard, uint32_t index)
{
    struct probe *probe = &shard->probes[index];
    const struct limits *limits = shard->policy.limits;
    if (probe->waiting)
        tell(shard, index, PROBE_SILENT, NULL);
    probe->waiting = shard->policy.neighbors->backend[index].known;
    if (!probe->waiting) {
        probe->due_ms = shard->now_ms + PROBE_LOOK_MS; /* the next hop is being resolved */
        return;
    }
    send_probe(shard, probe, &shard->policy.services->backend[index],
               &shard->policy.neighbors->backend[index].mac);
    probe->due_ms = shard->now_ms + limits->probe_timeout_ms;
}

void probe_tick(struct shard *shard)
{
    for (uint32_t i = 0, run = 0; i < shard->probe_count && run < PROBES_PER_LOOK; i++) {
        uint32_t index = shard->probe_next; /* goes on where the last look ended */
        shard->probe_next = index + 1 == shard->probe_count ? 0 : index + 1;
        if (shard->now_ms < shard->probes[index].due_ms)
            continue;
        run_probe(shard, index);
        run++;
    }
    shard->probes_due_ms = shard->now_ms + PROBE_LOOK_MS;
}

enum verdict probe_answer(struct shard *shard, struct frame *frame, const struct packet *packet)
{
    int index = policy_backend(shard->policy.services, &packet->source, packet->source_port);
    struct probe *probe = shard->probes != NULL ? &shard->probes[index] : NULL;
    if (probe == NULL || !probe->waiting || packet->destination_port != probe->port ||
        !(packet->flags & TCP_ACK) || !(packet->flags & (TCP_SYN | TCP_RST)) ||
        packet->ack != probe->isn + 1)
        return VERDICT_INSIDE_NO_FLOW;
    struct tcp_options options;
    if (!packet_options(frame->bytes, packet, &options))
        return VERDICT_BAD_OPTIONS;
    probe->waiting = false;
    probe->due_ms = shard->now_ms + shard->policy.limits->probe_interval_ms;
    if (!(packet->flags & TCP_SYN)) {
        tell(shard, (uint32_t)index, PROBE_REFUSED, NULL);
        return VERDICT_PROBE;
    }
    tell(shard, (uint32_t)index, PROBE_ANSWERED, &options);
    struct segment reset = shard_answer(shard, frame, packet);
    reset.seq = packet->ack;
    reset.flags = TCP_RST;
    shard_replace(frame, INSIDE, &reset);
    return VERDICT_PROBE;
}
