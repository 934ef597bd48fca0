/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The sum leaves out indices and what is small: it never refuses what would fit. */
#include "dataplane/ops/machine.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "dataplane/admit/seen.h"
#include "dataplane/tcp/flow.h"
#include "dataplane/tcp/held.h"

enum { TOMBSTONE_BYTES = 32 };

struct machine machine_read(void)
{
    struct machine machine = {.processors = (uint32_t)sysconf(_SC_NPROCESSORS_CONF)};
    char line[128];
    unsigned long kilobytes;
    FILE *file = fopen("/proc/meminfo", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "MemAvailable: %lu kB", &kilobytes) == 1)
            machine.memory = (uint64_t)kilobytes << 10;
    if (file != NULL)
        fclose(file);
    return machine;
}

uint64_t machine_bytes_wanted(const struct settings *settings)
{
    uint64_t worker = (uint64_t)settings->tables.flows * sizeof(struct flow) +
                      (uint64_t)settings->tables.tombstones * TOMBSTONE_BYTES +
                      (uint64_t)settings->tables.held * HELD_SMALL_BYTES +
                      (uint64_t)settings->tables.held_large * (uint64_t)settings->tcp.window +
                      sizeof(uint16_t[SEEN_LINE]) * SEEN_LINES;
    uint64_t buffers = settings->gateway.hugepages ? 0 : (uint64_t)settings->gateway.memory;
    return (uint64_t)settings->gateway.workers * worker + buffers;
}

int machine_check(const struct machine *machine, const struct settings *settings, char *why,
                  size_t size)
{
    uint16_t cores[SETTINGS_CORES];
    int count = settings_cores(settings, cores);
    for (int i = 0; i < count; i++)
        if (cores[i] >= machine->processors) {
            snprintf(why, size,
                     "[gateway] cores = %s: this machine has no processor %u, only 0 to %u",
                     settings->gateway.cores, cores[i], machine->processors - 1);
            return -ENODEV;
        }
    uint64_t wanted = machine_bytes_wanted(settings);
    if (machine->memory == 0 || wanted <= machine->memory)
        return 0;
    snprintf(why, size,
             "[tables] of %lld workers and [gateway] memory take %llu MB at least, and this "
             "machine has %llu MB to give; lower flows, tombstones, held, held_large or workers",
             (long long)settings->gateway.workers, (unsigned long long)(wanted >> 20),
             (unsigned long long)(machine->memory >> 20));
    return -ENOMEM;
}
