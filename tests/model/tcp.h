/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A model TCP (RFC 9293), so that tests have two ends that behave as real hosts do: handshake,
 * reassembly, cumulative and selective acknowledgement (RFC 2018, 2883), retransmission (RFC 6298,
 * 6675 in a simple form, tail loss probes of RFC 8985), window scaling, timestamps and PAWS (RFC
 * 7323), zero-window probes, challenge ACKs (RFC 5961), TIME_WAIT and its reuse (RFC 6191),
 * keep-alive. Its clock is the caller's, its randomness a seed's, its segments go through a
 * callback; there are no threads. It is strict where an implementation may be strict, because a
 * gateway meets such ones; it never looks into the gateway, and shares no code with it.
 *
 *   tcp.c          hosts, sockets and what an application does with them; timers
 *   tcp_send.c     what leaves: data, acknowledgements, windows, SACK, retransmission
 *   tcp_receive.c  what arrives, in the order of RFC 9293 section 3.10.7 */
#ifndef DROPGATE_TESTS_MODEL_TCP_H
#define DROPGATE_TESTS_MODEL_TCP_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/unit/random.h"
#include "tests/unit/wire.h"

enum model_state {
    MODEL_CLOSED,
    MODEL_SYN_SENT,
    MODEL_SYN_RECEIVED,
    MODEL_ESTABLISHED,
    MODEL_FIN_WAIT_1,
    MODEL_FIN_WAIT_2,
    MODEL_CLOSE_WAIT,
    MODEL_CLOSING,
    MODEL_LAST_ACK,
    MODEL_TIME_WAIT,
};

/** How a socket came to its end; MODEL_OPEN while it has not. */
enum model_end {
    MODEL_OPEN,
    MODEL_DONE,      /* FIN both ways, acknowledged */
    MODEL_REFUSED,   /* RST in answer to the SYN */
    MODEL_RESET,     /* RST of the other side */
    MODEL_TIMED_OUT, /* nothing came back, also to keep-alive probes */
    MODEL_ABORTED,   /* by the application here, or its host restarted */
};

/** What kind of TCP a host has. */
struct model_traits {
    uint16_t mss;            /* told; 0 = no option */
    uint16_t send_mss;       /* it never sends more payload than that in a segment */
    uint8_t scale;           /* told; COOKIE_NO_SCALE = no option */
    bool sack, timestamps;   /* offered, and agreed to */
    bool duplicate_sack;     /* RFC 2883 */
    bool tail_probe;         /* RFC 8985 section 7 */
    bool probe_without_data; /* zero-window probes repeat an old number, as Linux does */
    bool lazy_ack; /* delays acknowledgements; also the handshake's last, so that data carries it */
    uint32_t buffer;       /* receive buffer, bytes: 1 .. MODEL_BUFFER */
    uint32_t keepalive_ms; /* idle before a probe; 0 = never */
    uint32_t time_wait_ms;
    uint32_t fin_wait_ms; /* FIN_WAIT_2 of a socket that was closed for good */
    uint32_t tries;       /* retransmissions in a row before it gives up */
};

enum {
    MODEL_BUFFER = 16384,
    MODEL_RING = 2 * MODEL_BUFFER, /* a window rounded up by its scale may exceed the buffer */
    MODEL_RANGES = 6,
    MODEL_RTO_MIN = 200,
    MODEL_RTO_MAX = 4000,
    MODEL_RTO_FIRST = 1000,
    MODEL_PROBE_MAX = 4000,
    MODEL_DELAYED_ACK = 40,
};

struct model_range {
    uint32_t from, to; /* sequence numbers, to excluded */
};

struct model_socket {
    struct model_socket *next; /* of the same host */
    struct model_host *host;
    void *owner; /* the application's */
    struct model_traits traits;
    struct endpoint local, remote;
    enum model_state state;
    enum model_end end;
    bool closed; /* for good: nobody reads any more */

    /* agreed */
    bool sack, timestamps, scaling;
    uint8_t peer_scale;
    uint16_t mss; /* payload of a full segment, options taken off */

    /* sending: the stream is the application's, and known as far as `written` */
    const uint8_t *stream;
    uint32_t written;
    bool finish; /* FIN behind what is written */
    uint32_t iss, una, nxt, max;
    uint32_t window, window_seq, window_ack, window_most;
    uint32_t congestion, threshold; /* bytes */
    uint32_t recover, rescued; /* fast recovery: until `recover`; holes below `rescued` were sent */
    uint8_t duplicates;
    bool recovering, tail_probed;
    struct model_range sacked[MODEL_RANGES];
    uint8_t sacked_count;

    /* receiving */
    uint32_t irs, rcv_nxt, edge; /* edge: told right edge of the window */
    uint32_t arrived, read;      /* offsets in the stream: in order, taken by the application */
    struct model_range early[MODEL_RANGES];
    uint8_t early_count;
    uint32_t newest;              /* start of the block that came last, for SACK */
    struct model_range duplicate; /* to be told once; empty if from == to */
    bool fin_known, fin_received;
    uint32_t fin_at;
    uint32_t ts_recent, last_ack;
    bool ack_now;
    uint8_t *ring;

    /* timers: 0 = not set */
    uint64_t resend_at, probe_at, ack_at, keepalive_at, wait_at;
    uint32_t rto, srtt, rttvar, probe_ms;
    uint32_t tries, keepalive_tries;
    uint32_t timed_seq; /* Karn: the segment being timed ends here */
    uint64_t timed_at, challenged_at, heard_at;
    bool timing;
};

struct model_host {
    struct addr address;
    struct mac mac, gateway;
    uint16_t listens; /* port, or 0 */
    struct model_traits traits;
    const uint64_t *now_ms;
    struct random *random;
    uint32_t isn_key, clock_offset; /* new with every start */
    struct model_socket *sockets;
    void *context;
    void (*send)(void *context, struct model_host *host, const struct wire_segment *segment);
    /** A connection of the listener is established. */
    void (*accepted)(void *context, struct model_socket *socket);
};

/** Modulo 2^32 (RFC 9293 section 3.4). */
static inline bool model_before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

/* ---- hosts ---- */

/** The host starts: `isn` and `clock` are where its sequence numbers and its timestamps begin. */
void model_host_start(struct model_host *host, uint32_t isn, uint32_t clock);
/** It forgets everything, silently. Sockets stay for their owners to look at until they are freed,
 * but the host does not know them any more: they are handed out as a list. */
struct model_socket *model_host_crash(struct model_host *host);
/** A segment arrives. */
void model_host_receive(struct model_host *host, const struct wire_segment *segment);
/** When the next timer of any socket is due; UINT64_MAX if none. */
uint64_t model_host_due(const struct model_host *host);
/** Runs what is due. */
void model_host_tick(struct model_host *host);
/** Sockets that are not closed; TIME_WAIT counts. */
uint32_t model_host_open(const struct model_host *host);
void model_sockets_free(struct model_socket *list);

/* ---- what applications do ---- */

/** Connects; `local_port` must be free or in TIME_WAIT. NULL if it is neither. */
struct model_socket *model_connect(struct model_host *host, uint16_t local_port,
                                   const struct endpoint *remote);
/** The stream's bytes up to `written` may be sent; with `finish` FIN follows. Neither goes back. */
void model_write(struct model_socket *socket, const uint8_t *stream, uint32_t written, bool finish);
/** Takes up to `room` bytes in order; returns how many. */
uint32_t model_read(struct model_socket *socket, uint8_t *out, uint32_t room);
/** Bytes that could be read; and whether all were, and FIN came. */
uint32_t model_readable(const struct model_socket *socket);
bool model_at_end(const struct model_socket *socket);
/** RST. */
void model_abort(struct model_socket *socket);
/** Nobody reads any more: FIN if it has not been asked for; further data is answered by RST. */
void model_close(struct model_socket *socket);

const char *model_state_name(enum model_state state);
const char *model_end_name(enum model_end end);

/* ---- between the files of the model ---- */

struct model_socket *model_socket_new(struct model_host *host, const struct endpoint *local,
                                      const struct endpoint *remote);
uint32_t model_isn(const struct model_host *host, const struct endpoint *local,
                   const struct endpoint *remote);
uint32_t model_clock(const struct model_host *host);
void model_finish(struct model_socket *socket, enum model_end end);
void model_time_wait(struct model_socket *socket);

/** Free bytes of the receive buffer. */
uint32_t model_room(const struct model_socket *socket);
/** What may be sent now, and an ACK if one is due. */
void model_output(struct model_socket *socket);
void model_send_syn(struct model_socket *socket);
void model_send_ack(struct model_socket *socket);
void model_send_reset(struct model_socket *socket);
/** An ACK against a segment that cannot be accepted (RFC 5961), at most one in 100 ms. */
void model_challenge(struct model_socket *socket);
/** One segment again, at the first hole. */
void model_resend(struct model_socket *socket);
/** In recovery: the next hole below what was selectively acknowledged. False if there is none. */
bool model_resend_hole(struct model_socket *socket);
void model_resend_timeout(struct model_socket *socket);
void model_probe(struct model_socket *socket);
void model_keepalive(struct model_socket *socket);
/** Where FIN stands, if it was asked for. */
uint32_t model_fin_seq(const struct model_socket *socket);
/** (Re)arms or stops the retransmission timer by what is outstanding. */
void model_arm(struct model_socket *socket, bool anew);

#endif
