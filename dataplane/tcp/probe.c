/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Probes: a connection to each backend every few seconds, with every option. Its SYN-ACK shows what
 * may be promised to clients. A backend that serves HTTP is then asked for its status and given
 * time to finish: a stopped process has a kernel that still takes connections, but nobody who
 * answers. Of any other, taking the connection is all that can be asked without knowing its
 * protocol. One connection per backend at a time, closed as clients close theirs; what is lost is
 * sent again. What it means for policy is the control thread's business. */
#include <errno.h>
#include <stdlib.h>

#include "dataplane/tcp/shard.h"
#include "dataplane/tcp/status_line.h"

enum {
    PROBE_SCALE = 7,
    PROBE_WINDOW = 16384, /* bytes: nobody wants more of the answer than its first line */
    PROBE_ANSWER = 65536, /* bytes that are taken before the connection is reset */
    PROBE_PORT_FIRST = 32768,
    PROBE_PORTS = 28232,
    PROBE_TRIES = 3, /* of the SYN, the request and the FIN: at 0, 1/4 and 3/4 of the time-out */
    PROBE_RTO_MS = 1000, /* the most of that quarter */
    PROBE_MSS = 536,
    LOOK_MS = 20,
    STARTS_PER_LOOK = 32, /* thousands at once would overflow rings and backends' switches */
};

enum state {
    IDLE,    /* nothing is out; what comes is not ours */
    OPENING, /* SYN sent */
    ASKING,  /* the request is sent, the status has not come */
    READING, /* the status has been told; until the backend closes, or the time is over */
    CLOSING, /* FIN sent */
    CLOSED,  /* both are: a FIN that comes again is acknowledged */
};

struct probe {
    uint64_t started_ms, next_ms; /* this one, and the next */
    uint64_t until_ms;            /* what it does now has to be done by then */
    uint32_t isn, acked, end;     /* ours: the first, what the backend has, behind what was sent */
    uint32_t next;                /* the backend's: expected */
    uint32_t read;                /* bytes of its answer */
    uint32_t echo;                /* its last TSval */
    struct tcp_options options;   /* of its SYN-ACK */
    uint16_t port;
    uint8_t state, tries;
    bool fin; /* it has closed */
    struct status_line status;
};

struct probes {
    uint32_t count, next; /* next: whom a look begins with */
    uint64_t *due_ms;     /* of each: apart, because every look reads them all */
    struct probe probe[];
};

int shard_probe_backends(struct shard *shard, uint32_t count)
{
    struct probes *probes =
        calloc(1, sizeof *probes + count * (sizeof probes->probe[0] + sizeof *probes->due_ms));
    if (probes == NULL)
        return -ENOMEM;
    probes->count = count;
    probes->due_ms = (uint64_t *)(void *)&probes->probe[count];
    shard->probes = probes;
    return 0;
}

/* ---- what is sent ---- */

static uint32_t index_of(const struct shard *shard, const struct probe *probe)
{
    return (uint32_t)(probe - shard->probes->probe);
}

static void due(struct shard *shard, const struct probe *probe, uint64_t at_ms)
{
    shard->probes->due_ms[index_of(shard, probe)] = at_ms;
}

static uint16_t own_mss(const struct shard *shard, const struct backend *backend)
{
    const struct limits *limits = shard->policy.limits;
    return addr_is_v4(&backend->source) ? limits->mss_v4 : limits->mss_v6;
}

static struct segment segment_of(const struct shard *shard, const struct probe *probe)
{
    uint32_t index = index_of(shard, probe);
    const struct backend *backend = &shard->policy.services->backend[index];
    bool scaled = probe->options.window_scale != COOKIE_NO_SCALE;
    struct segment segment = {
        .from = shard->mac[INSIDE],
        .to = shard->policy.neighbors->backend[index].mac,
        .source = backend->source,
        .destination = backend->address.addr,
        .source_port = probe->port,
        .destination_port = backend->address.port,
        .seq = probe->end,
        .ack = probe->next,
        .flags = TCP_ACK,
        .window = scaled ? PROBE_WINDOW >> PROBE_SCALE : PROBE_WINDOW,
        .options = NO_OPTIONS,
    };
    segment.options.timestamps = probe->options.timestamps;
    segment.options.tsval = (uint32_t)shard->now_ms;
    segment.options.tsecr = probe->echo;
    return segment;
}

static void send_syn(struct shard *shard, const struct probe *probe)
{
    const struct backend *backend = &shard->policy.services->backend[index_of(shard, probe)];
    struct segment syn = segment_of(shard, probe);
    syn.seq = probe->isn;
    syn.ack = 0;
    syn.flags = TCP_SYN;
    syn.window = PROBE_WINDOW;
    syn.options = (struct tcp_options){.mss = own_mss(shard, backend),
                                       .window_scale = PROBE_SCALE,
                                       .sack_ok = true,
                                       .timestamps = true,
                                       .tsval = (uint32_t)shard->now_ms};
    shard_send(shard, INSIDE, &syn);
}

static void send_ack(struct shard *shard, const struct probe *probe)
{
    const struct segment ack = segment_of(shard, probe);
    shard_send(shard, INSIDE, &ack);
}

/* What the backend has not acknowledged of the request. It fits one segment of any usual size. */
static void send_request(struct shard *shard, struct probe *probe)
{
    enum { TIMESTAMPS = 12, LEAST = 48 };
    const struct backend *backend = &shard->policy.services->backend[index_of(shard, probe)];
    uint32_t first = probe->isn + 1, mss = probe->options.mss ? probe->options.mss : PROBE_MSS;
    struct segment data = segment_of(shard, probe);
    mss = mss < LEAST ? LEAST : mss;
    mss -= probe->options.timestamps ? TIMESTAMPS : 0;
    probe->end = first + backend->probe_length;
    for (uint32_t at = probe->acked - first; at < backend->probe_length; at += data.length) {
        uint32_t left = backend->probe_length - at;
        data.seq = first + at;
        data.payload = backend->probe + at;
        data.length = (uint16_t)(left < mss ? left : mss);
        if (data.length == left)
            data.flags |= TCP_PSH;
        shard_send(shard, INSIDE, &data);
    }
}

static void send_fin(struct shard *shard, struct probe *probe)
{
    struct segment fin = segment_of(shard, probe);
    fin.seq = probe->end - 1;
    fin.flags = TCP_FIN | TCP_ACK;
    shard_send(shard, INSIDE, &fin);
}

/* A reset counts only at the number that its receiver expects next (RFC 5961 section 3): what it
 * has acknowledged, or, when that acknowledgement is on its way, all. */
static void send_reset(struct shard *shard, const struct probe *probe)
{
    struct segment reset = segment_of(shard, probe);
    reset.flags = TCP_RST | TCP_ACK;
    shard_send(shard, INSIDE, &reset);
    if (probe->acked == probe->end)
        return;
    reset.seq = probe->acked;
    shard_send(shard, INSIDE, &reset);
}

/* ---- the course of a probe ---- */

static uint32_t rto(const struct shard *shard)
{
    uint32_t quarter = shard->policy.limits->probe_timeout_ms / 4;
    return quarter < PROBE_RTO_MS ? quarter : PROBE_RTO_MS;
}

/* Another wait for an answer to what was sent, twice as long as the last one. */
static void wait_again(struct shard *shard, struct probe *probe)
{
    uint64_t at = shard->now_ms + ((uint64_t)rto(shard) << probe->tries++);
    due(shard, probe, at < probe->until_ms ? at : probe->until_ms);
}

/* Each backend has its moment in the interval, so that thousands are asked one after another: the
 * last one that is within an interval of this probe. */
static uint64_t next_moment(const struct shard *shard, const struct probe *probe)
{
    uint64_t interval = shard->policy.limits->probe_interval_ms;
    uint64_t moment = interval * index_of(shard, probe) / shard->probes->count;
    uint64_t at = probe->started_ms + interval;
    at -= (at - moment) % interval;
    return at > shard->now_ms ? at : at + interval;
}

/* After a failure there is no need to wait for the interval. */
static void tell(struct shard *shard, struct probe *probe, int result)
{
    const struct message message = {
        .kind = MESSAGE_PROBE,
        .backend = (uint16_t)index_of(shard, probe),
        .probe = result,
        .connected = probe->state > OPENING,
        .status = probe->status.code,
        .options = probe->options,
    };
    shard->output.tell(shard->output.context, &message);
    probe->next_ms = result == PROBE_ANSWERED
                         ? next_moment(shard, probe)
                         : probe->started_ms + shard->policy.limits->probe_timeout_ms;
}

static void rest(struct shard *shard, struct probe *probe, enum state state)
{
    probe->state = (uint8_t)state;
    due(shard, probe, probe->next_ms);
}

/* Told as failed, and the connection, if there is one, not kept. */
static void fail(struct shard *shard, struct probe *probe, int result)
{
    tell(shard, probe, result);
    if (probe->state > OPENING)
        send_reset(shard, probe);
    rest(shard, probe, IDLE);
}

/* What follows the result may take another time-out, but not the next probe's time: half of what is
 * left of that is the backend's to close, the other half ours. */
static void begin_closing(struct shard *shard, struct probe *probe, enum state state)
{
    uint64_t left = probe->next_ms > shard->now_ms ? probe->next_ms - shard->now_ms : 0;
    uint64_t most = shard->policy.limits->probe_timeout_ms;
    left = state == READING ? left / 2 : left;
    probe->state = (uint8_t)state;
    probe->until_ms = shard->now_ms + (left < most ? left : most);
    due(shard, probe, probe->until_ms);
}

static void close_ours(struct shard *shard, struct probe *probe)
{
    begin_closing(shard, probe, CLOSING);
    probe->end++;
    probe->tries = 0;
    send_fin(shard, probe);
    wait_again(shard, probe);
}

static void begin(struct shard *shard, struct probe *probe)
{
    uint64_t random = shard_random(shard);
    *probe = (struct probe){
        .started_ms = shard->now_ms,
        .until_ms = shard->now_ms + shard->policy.limits->probe_timeout_ms,
        .isn = (uint32_t)random,
        .acked = (uint32_t)random,
        .end = (uint32_t)random + 1,
        .port = (uint16_t)(PROBE_PORT_FIRST + (random >> 32) % PROBE_PORTS),
        .state = OPENING,
        .options = NO_OPTIONS,
    };
    send_syn(shard, probe);
    wait_again(shard, probe);
}

/* Its time has come: the next probe, what is to be sent again, or the end of the wait. */
static void run_probe(struct shard *shard, struct probe *probe)
{
    bool over = shard->now_ms >= probe->until_ms;
    bool lost = probe->acked != probe->end && probe->tries < PROBE_TRIES;
    switch ((enum state)probe->state) {
    case IDLE:
    case CLOSED:
        if (!shard->policy.neighbors->backend[index_of(shard, probe)].known) {
            probe->state = IDLE;
            due(shard, probe, shard->now_ms + LOOK_MS); /* the next hop is being resolved */
            return;
        }
        begin(shard, probe);
        return;
    case OPENING:
        if (over) {
            fail(shard, probe, PROBE_SILENT);
            return;
        }
        if (lost)
            send_syn(shard, probe);
        break;
    case ASKING:
        if (over) {
            fail(shard, probe, probe->acked == probe->end ? PROBE_UNANSWERED : PROBE_SILENT);
            return;
        }
        if (lost)
            send_request(shard, probe);
        break;
    case READING: close_ours(shard, probe); return;
    case CLOSING:
        if (over) {
            send_reset(shard, probe);
            rest(shard, probe, IDLE);
            return;
        }
        if (lost)
            send_fin(shard, probe);
        break;
    }
    if (lost)
        wait_again(shard, probe);
    else
        due(shard, probe, probe->until_ms);
}

/* With a shorter interval nobody waits until the old one is over. */
void probe_renumber(struct shard *shard)
{
    const struct services *services = shard->policy.services;
    struct probes *probes = shard->probes;
    const uint64_t interval = shard->policy.limits->probe_interval_ms;
    for (uint32_t i = 0; i < services->backend_count && i < probes->count; i++) {
        const uint64_t latest = shard->now_ms + interval * i / services->backend_count;
        if (services->backend[i].presence != PRESENT) {
            probes->probe[i] = (struct probe){.state = IDLE};
            probes->due_ms[i] = 0;
        } else if (probes->due_ms[i] > shard->now_ms + interval) {
            probes->due_ms[i] = latest;
        }
    }
}

void probe_tick(struct shard *shard)
{
    struct probes *probes = shard->probes;
    uint32_t count = shard->policy.services->backend_count, starts = 0;
    count = count < probes->count ? count : probes->count;
    uint32_t first = probes->next < count ? probes->next : 0;
    bool full = false;
    for (uint32_t i = 0, index = first; i < count; i++, index++) {
        index = index == count ? 0 : index;
        struct probe *probe = &probes->probe[index];
        if (shard->policy.services->backend[index].presence != PRESENT ||
            shard->now_ms < probes->due_ms[index])
            continue;
        bool start = probe->state == IDLE || probe->state == CLOSED;
        if (start && starts == STARTS_PER_LOOK) {
            probes->next = full ? probes->next : index; /* the next look begins with it */
            full = true;
            continue;
        }
        starts += start;
        run_probe(shard, probe);
    }
    shard->probes_due_ms = shard->now_ms + LOOK_MS;
}

/* ---- what comes ---- */

static enum verdict established(struct shard *shard, struct probe *probe, struct frame *frame,
                                const struct packet *packet)
{
    struct tcp_options options;
    if (!packet_options(frame->bytes, packet, &options))
        return VERDICT_BAD_OPTIONS;
    probe->options = options;
    probe->echo = options.tsval;
    probe->acked = packet->ack;
    probe->next = packet->seq + 1;
    probe->tries = 0;
    probe->state = ASKING;
    if (shard->policy.services->backend[index_of(shard, probe)].probe == NULL) {
        tell(shard, probe, PROBE_ANSWERED);
        close_ours(shard, probe);
        return VERDICT_PROBE;
    }
    send_request(shard, probe);
    wait_again(shard, probe);
    return VERDICT_PROBE;
}

static enum verdict syn_answered(struct shard *shard, struct probe *probe, struct frame *frame,
                                 const struct packet *packet)
{
    if (!(packet->flags & TCP_ACK) || !(packet->flags & (TCP_SYN | TCP_RST)) ||
        packet->ack != probe->end)
        return VERDICT_INSIDE_NO_FLOW;
    if (!(packet->flags & TCP_RST))
        return established(shard, probe, frame, packet);
    fail(shard, probe, PROBE_REFUSED);
    return VERDICT_PROBE;
}

static int result_of(const struct probe *probe)
{
    enum { WELL = 200, REDIRECTS = 300, ERRORS = 400 };
    if (probe->status.code == WELL)
        return PROBE_ANSWERED;
    bool redirect = probe->status.code >= REDIRECTS && probe->status.code < ERRORS;
    return redirect ? PROBE_REDIRECT : PROBE_STATUS;
}

/* More of its answer, in order. Whether the probe goes on. */
static bool read_answer(struct shard *shard, struct probe *probe, const uint8_t *bytes,
                        uint32_t length)
{
    enum status_event event = STATUS_MORE;
    probe->next += length;
    probe->read += length;
    if (probe->state == ASKING && length != 0)
        event = status_line_read(&probe->status, bytes, length);
    if (event == STATUS_BAD || (probe->state == ASKING && probe->read > PROBE_ANSWER)) {
        fail(shard, probe, PROBE_GARBAGE);
        return false;
    }
    if (event == STATUS_READ) {
        tell(shard, probe, result_of(probe));
        begin_closing(shard, probe, READING);
    }
    if (probe->read <= PROBE_ANSWER)
        return true;
    send_reset(shard, probe);
    rest(shard, probe, IDLE);
    return false;
}

/* It has closed. Before its status, that is a failure, but no reason not to close in answer. */
static void read_fin(struct shard *shard, struct probe *probe)
{
    probe->next++;
    probe->fin = true;
    if (probe->state == ASKING)
        tell(shard, probe, PROBE_CLOSED);
    if (probe->state != CLOSING)
        close_ours(shard, probe);
    else
        send_ack(shard, probe);
}

/* Its reset counts at the number that we expect (RFC 5961 section 3). */
static enum verdict was_reset(struct shard *shard, struct probe *probe, const struct packet *packet)
{
    if (packet->seq != probe->next)
        return VERDICT_STATE;
    if (probe->state == ASKING)
        tell(shard, probe, PROBE_CLOSED);
    rest(shard, probe, IDLE);
    return VERDICT_PROBE;
}

static void take_ack(struct probe *probe, uint32_t ack)
{
    if (seq_before(probe->acked, ack) && !seq_before(probe->end, ack))
        probe->acked = ack;
}

/* A segment of a connection that is open, or has been. */
static enum verdict of_connection(struct shard *shard, struct probe *probe, struct frame *frame,
                                  const struct packet *packet)
{
    struct tcp_options options;
    bool syn = (packet->flags & TCP_SYN) != 0;
    if (packet->flags & TCP_RST)
        return was_reset(shard, probe, packet);
    if (!(packet->flags & TCP_ACK) || !packet_options(frame->bytes, packet, &options))
        return VERDICT_STATE;
    uint32_t seq = packet->seq + syn; /* of its first byte */
    uint32_t end = seq + packet->length, old = probe->next - seq;
    take_ack(probe, packet->ack);
    bool fin = (packet->flags & TCP_FIN) != 0;
    bool in_order = !seq_before(probe->next, seq) && !seq_before(end, probe->next);
    if (in_order && options.timestamps)
        probe->echo = options.tsval;
    bool news = in_order && !probe->fin && (end != probe->next || fin);
    if (!news && (syn || packet->length != 0 || fin))
        send_ack(shard, probe); /* again, or what is missing */
    if (news && end != probe->next &&
        !read_answer(shard, probe, frame->bytes + packet->payload + old, packet->length - old))
        return VERDICT_PROBE;
    if (news && fin)
        read_fin(shard, probe);
    else if (news)
        send_ack(shard, probe);
    if (probe->state == CLOSING && probe->fin && probe->acked == probe->end)
        rest(shard, probe, CLOSED);
    return VERDICT_PROBE;
}

enum verdict probe_answer(struct shard *shard, struct frame *frame, const struct packet *packet)
{
    int index = policy_backend(shard->policy.services, &packet->source, packet->source_port);
    if (shard->probes == NULL || (uint32_t)index >= shard->probes->count)
        return VERDICT_INSIDE_NO_FLOW;
    struct probe *probe = &shard->probes->probe[index];
    if (probe->state == IDLE || packet->destination_port != probe->port)
        return VERDICT_INSIDE_NO_FLOW;
    return probe->state == OPENING ? syn_answered(shard, probe, frame, packet)
                                   : of_connection(shard, probe, frame, packet);
}
