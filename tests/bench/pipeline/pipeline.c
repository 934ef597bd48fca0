/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What a packet costs on one core: loads as they come from the network, through the real worker.
 * Prints a table, and the same as JSON into a file. */
#include <err.h>
#include <rte_cycles.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/net/checksum.h"
#include "rig.h"

enum { ROUNDS = 251, THOUSAND = 1000, MILLION = 1000000, REQUEST_ROOM = 64 };

static const char request[] = "GET / HTTP/1.1\r\nHost: shop\r\n\r\n";

/* A load: frames of one kind from `clients` clients. Fields that differ are written over a
 * template, and the checksum follows by difference, so that writing stays cheap beside the work. */
struct load {
    uint8_t template[RIG_FRAME];
    uint32_t length, clients;
    bool v4;
    uint16_t l4;
    uint32_t *acks; /* per client: what to acknowledge; NULL = as in the template */
};

static struct addr client_addr(bool v4, uint32_t n)
{
    if (v4)
        return addr_from_v4(__builtin_bswap32(UINT32_C(0x0a000000) + n)); /* 10/8: 16 M clients */
    struct addr a = {.bytes = {0x20, 0x01, 0x0d, 0xb8, 0x10}};
    uint32_t be = __builtin_bswap32(n << 8); /* 256 of a /48, as of an IPv4 /24 */
    memcpy(a.bytes + 4, &be, 4);
    a.bytes[15] = 1;
    return a;
}

static const struct addr *service_addr(bool v4)
{
    static struct addr four, six;
    if (four.quads[1] == 0) {
        addr_parse("198.18.0.80", &four);
        addr_parse("2001:db8::80", &six);
    }
    return v4 ? &four : &six;
}

static const struct addr *backend_addr(bool v4)
{
    static struct addr four, six;
    if (four.quads[1] == 0) {
        addr_parse("198.18.128.2", &four);
        addr_parse("2001:db8:0:1::2", &six);
    }
    return v4 ? &four : &six;
}

enum { CLIENT_PORT = 40000, ISN = 1000, BACKEND_ISN = 5000, WINDOW = 500, WINDOW_BYTES = 60000 };

static struct segment from_client(bool v4, uint32_t n)
{
    return (struct segment){.from = {{2, 0, 0, 0, 0, 9}},
                            .to = {{2, 0, 0, 0, 0, 1}},
                            .source = client_addr(v4, n),
                            .destination = *service_addr(v4),
                            .source_port = CLIENT_PORT,
                            .destination_port = 80,
                            .seq = ISN + 1,
                            .window = WINDOW,
                            .flags = TCP_ACK,
                            .options = NO_OPTIONS};
}

static struct segment syn_of(bool v4, uint32_t n)
{
    struct segment syn = from_client(v4, n);
    syn.seq = ISN;
    syn.flags = TCP_SYN;
    syn.window = 64240;
    syn.options = (struct tcp_options){
        .mss = 1460, .window_scale = 7, .sack_ok = true, .timestamps = true, .tsval = 1};
    return syn;
}

static struct load load_of(const struct segment *segment, bool v4, uint32_t clients)
{
    struct load load = {.clients = clients,
                        .v4 = v4,
                        .l4 = (uint16_t)(ETHERNET_HEADER + (v4 ? IPV4_HEADER : IPV6_HEADER))};
    load.length = build_segment(load.template, sizeof load.template, segment);
    return load;
}

static void patch(uint8_t *field, uint64_t removed, uint64_t added)
{
    uint16_t sum;
    memcpy(&sum, field, 2);
    sum = checksum_update(sum, removed, added);
    memcpy(field, &sum, 2);
}

/* Client n modulo `clients`; the rest of the frame is the template's. */
static uint32_t write_client(void *context, uint64_t n, uint8_t *frame)
{
    const struct load *load = context;
    uint32_t client = (uint32_t)(n * 2654435761u % load->clients);
    uint8_t *at = frame + ETHERNET_HEADER + 12; /* the 32 bits of the source that differ */
    uint32_t be = __builtin_bswap32(load->v4 ? UINT32_C(0x0a000000) + client : client << 8), old;
    memcpy(frame, load->template, RIG_FRAME);
    memcpy(&old, at, 4);
    memcpy(at, &be, 4);
    uint64_t removed = old, added = be;
    if (load->v4)
        patch(frame + ETHERNET_HEADER + 10, removed, added);
    if (load->acks != NULL) {
        memcpy(&old, frame + load->l4 + 8, 4);
        removed += old;
        store32(frame + load->l4 + 8, load->acks[client]++); /* one that moved nothing is excess */
        memcpy(&old, frame + load->l4 + 8, 4);
        added += old;
    }
    patch(frame + load->l4 + 16, removed, added);
    return load->length;
}

static uint32_t build(uint8_t *frame, const struct segment *segment)
{
    uint32_t length = build_segment(frame, RIG_FRAME + REQUEST_ROOM, segment);
    if (length == 0)
        errx(1, "a frame does not fit");
    return length;
}

static void expect(enum verdict seen, enum verdict wanted)
{
    if (seen != wanted)
        errx(1, "the gateway says %s instead of %s", verdict_name(seen), verdict_name(wanted));
}

/* One whole opening; returns the cookie. */
static uint32_t open_connection(struct rig *rig, bool v4, uint32_t n)
{
    uint8_t frame[RIG_FRAME + REQUEST_ROOM];
    struct segment segment = syn_of(v4, n);
    uint32_t length = build(frame, &segment);
    expect(rig_frame(rig, OUTSIDE, frame, &length), VERDICT_SYN_COOKIE);
    uint32_t cookie = load32(frame + ETHERNET_HEADER + (v4 ? IPV4_HEADER : IPV6_HEADER) + 4);
    segment = from_client(v4, n);
    segment.ack = cookie + 1;
    segment.flags = TCP_ACK | TCP_PSH;
    segment.options.timestamps = true;
    segment.options.tsval = 2;
    segment.payload = request;
    segment.length = sizeof request - 1;
    length = build(frame, &segment);
    expect(rig_frame(rig, OUTSIDE, frame, &length), VERDICT_OPENED);
    struct segment answer = {
        .from = {{2, 0, 0, 0, 0, 8}},
        .to = {{2, 0, 0, 0, 0, 2}},
        .source = *backend_addr(v4),
        .destination = segment.source,
        .source_port = 8080,
        .destination_port = CLIENT_PORT,
        .seq = BACKEND_ISN,
        .ack = ISN + 1,
        .window = 64240,
        .flags = TCP_SYN | TCP_ACK,
        .options = {
            .mss = 1460, .window_scale = 7, .sack_ok = true, .timestamps = true, .tsval = 7}};
    length = build(frame, &answer);
    expect(rig_frame(rig, INSIDE, frame, &length), VERDICT_BACKEND_ANSWERED);
    return cookie;
}

/* ---- the table ---- */

static FILE *json;
static bool first_row = true;

static void put(const char *name, double value, const char *unit)
{
    printf("%-20s %12.1f %s\n", name, value, unit);
    fprintf(json, "%s\n  \"%s\": %.3f", first_row ? "{" : ",", name, value);
    first_row = false;
}

static void put_result(const char *name, struct rig_result result)
{
    printf("%-24s %8.1f cycles/packet (best %6.1f) %8.2f Mpps\n", name, result.cycles, result.best,
           result.mpps);
    fprintf(json, "%s\n  \"%s\": {\"cycles\": %.1f, \"cycles_best\": %.1f, \"mpps\": %.3f}",
            first_row ? "{" : ",", name, result.cycles, result.best, result.mpps);
    fflush(stdout);
    first_row = false;
}

/* The clock stands still, so all of a load is of one second: nobody in it may be above a limit. */
static void expect_no_excess(struct rig *rig)
{
    const uint64_t *verdicts = rig_shard(rig)->verdicts;
    if (verdicts[VERDICT_SOURCE_RATE] != 0 || verdicts[VERDICT_REFLECTION_RATE] != 0)
        errx(1, "the load is above a limit of the guard");
}

/* One load as it is, and once more under a name of its own with checksums verified by the port. */
static void measure(const char *name, struct rig *rig, struct load *load)
{
    char checked[64];
    put_result(name, rig_measure(rig, OUTSIDE, write_client, load, ROUNDS));
    rig_port_checks(rig);
    snprintf(checked, sizeof checked, "%s_checked", name);
    put_result(checked, rig_measure(rig, OUTSIDE, write_client, load, ROUNDS));
    expect_no_excess(rig);
}

static void bench_syn(const char *name, bool v4)
{
    struct rig *rig = rig_new(THOUSAND);
    struct segment syn = syn_of(v4, 0);
    struct load load = load_of(&syn, v4, MILLION);
    measure(name, rig, &load);
    rig_free(rig);
}

/* Packets without a flow from one client more than there are flows in the table: every lookup
 * misses. */
static void bench_stray(const char *name, uint32_t flows, uint16_t payload)
{
    struct rig *rig = rig_new(flows);
    struct segment stray = from_client(true, 0);
    for (uint32_t n = 0; n < flows; n++)
        open_connection(rig, true, n);
    stray.source_port = CLIENT_PORT + 1;
    stray.ack = 1;
    stray.payload = request;
    stray.length = payload;
    struct load load = load_of(&stray, true, flows);
    measure(name, rig, &load);
    rig_free(rig);
}

/* The backend has sent so much that its client has something to acknowledge, packet by packet. */
static void send_ahead(struct rig *rig, bool v4, uint32_t n)
{
    uint8_t frame[RIG_FRAME + REQUEST_ROOM];
    const struct segment data = {
        .from = {{2, 0, 0, 0, 0, 8}},
        .to = {{2, 0, 0, 0, 0, 2}},
        .source = *backend_addr(v4),
        .destination = client_addr(v4, n),
        .source_port = 8080,
        .destination_port = CLIENT_PORT,
        .seq = BACKEND_ISN + 1 + WINDOW_BYTES,
        .ack = ISN + sizeof request,
        .window = 502,
        .flags = TCP_ACK,
        .options = {.window_scale = COOKIE_NO_SCALE, .timestamps = true, .tsval = 7, .tsecr = 2},
        .payload = request,
        .length = 1,
    };
    uint32_t length = build(frame, &data);
    expect(rig_frame(rig, INSIDE, frame, &length), VERDICT_FORWARDED);
}

static void bench_established(const char *name, uint32_t flows)
{
    struct rig *rig = rig_new(flows);
    uint32_t *acks = malloc(flows * sizeof *acks);
    if (acks == NULL)
        errx(1, "no memory");
    for (uint32_t n = 0; n < flows; n++) {
        acks[n] = open_connection(rig, true, n) + 1;
        send_ahead(rig, true, n);
    }
    struct segment ack = from_client(true, 0);
    ack.seq = ISN + sizeof request;
    ack.options.timestamps = true;
    ack.options.tsval = 2;
    struct load load = load_of(&ack, true, flows);
    load.acks = acks;
    measure(name, rig, &load);
    if (rig_shard(rig)->verdicts[VERDICT_EXCESS] != 0)
        errx(1, "acknowledgements that move nothing");
    free(acks);
    rig_free(rig);
}

/* Whole openings, frames written too: the median of rounds. */
static void bench_connections(void)
{
    enum { CONNECTIONS = 200000, PER_ROUND = 500, OPENINGS = CONNECTIONS / PER_ROUND };
    struct rig *rig = rig_new(CONNECTIONS);
    double rates[OPENINGS];
    for (uint32_t round = 0; round < OPENINGS; round++) {
        uint64_t start = rte_rdtsc_precise();
        for (uint32_t n = 0; n < PER_ROUND; n++)
            open_connection(rig, true, round * PER_ROUND + n);
        rates[round] = PER_ROUND * rig_hz() / (double)(rte_rdtsc_precise() - start);
    }
    put("connections_per_s", rig_median(rates, OPENINGS),
        "openings/s (SYN, request, SYN-ACK; frames written too)");
    rig_free(rig);
}

static void bench_io(void)
{
    struct rig *rig = rig_new(THOUSAND);
    put("io_cycles", rig_io_cycles(rig, ROUNDS), "cycles/packet");
    rig_free(rig);
}

/* Whether a figure is wanted: all are, unless some are named. */
static bool wanted(char **names, const char *name)
{
    for (char **at = names; *at != NULL; at++)
        if (strcmp(*at, name) == 0)
            return true;
    return *names == NULL;
}

static void bench_loads(char **names)
{
    if (wanted(names, "syn_cookie"))
        bench_syn("syn_cookie", true);
    if (wanted(names, "syn_cookie_v6"))
        bench_syn("syn_cookie_v6", false);
    if (wanted(names, "ack_flood_1k"))
        bench_stray("ack_flood_1k", THOUSAND, 0);
    if (wanted(names, "ack_flood_1m"))
        bench_stray("ack_flood_1m", MILLION, 0);
    if (wanted(names, "bad_cookie_1k"))
        bench_stray("bad_cookie_1k", THOUSAND, 8);
    if (wanted(names, "bad_cookie_1m"))
        bench_stray("bad_cookie_1m", MILLION, 8);
    if (wanted(names, "established_1k"))
        bench_established("established_1k", THOUSAND);
    if (wanted(names, "established_1m"))
        bench_established("established_1m", MILLION);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        errx(2, "usage: pipeline FILE.json [FIGURE...]");
    char **names = argv + 2;
    json = fopen(argv[1], "w");
    if (json == NULL)
        err(1, "%s", argv[1]);
    rig_start("1", 1);
    if (wanted(names, "io_cycles"))
        bench_io();
    bench_loads(names);
    if (wanted(names, "connections_per_s"))
        bench_connections();
    put("flow_bytes", sizeof(struct flow), "bytes");
    fprintf(json, "\n}\n");
    return fclose(json) == 0 ? 0 : 1;
}
