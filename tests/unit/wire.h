/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A shard on the bench: two services in each family, with one backend unless a test asks for more,
 * a clock that tests move, and everything that leaves the shard kept for them to look at. Segments
 * are written and read by code of its own (frames.h), and whatever the shard sends is checked to be
 * well formed. It plays no TCP: a talk only remembers both hosts' numbers, and tests say what is
 * sent. */
#ifndef DROPGATE_TESTS_UNIT_WIRE_H
#define DROPGATE_TESTS_UNIT_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/net/vlan.h"
#include "dataplane/tcp/shard.h"
#include "tests/unit/frames.h"

enum { WIRE_FRAMES = 1024, WIRE_MESSAGES = 64, WIRE_SACK_EDGES = 8, WIRE_BACKENDS = 4 };

/** Family of a rig's talks; also the index of the service and of the backend that they use. */
enum wire_family { WIRE_V4, WIRE_V6, WIRE_FAMILIES };

/** A TCP segment, to send or as it was seen. */
struct wire_segment {
    struct mac from, to;
    struct addr source, destination;
    uint16_t source_port, destination_port;
    uint32_t seq, ack;
    uint16_t window, urgent;
    uint8_t flags, ttl;
    struct tcp_options options;
    uint32_t sack[WIRE_SACK_EDGES];
    uint8_t sack_edges;
    uint8_t extra[TCP_OPTIONS_MAX]; /* to send: further option bytes */
    uint8_t extra_length;
    const void *payload; /* seen: until the next frame goes in */
    uint16_t length;
};

/** One end of a connection, in its own numbers. */
struct wire_host {
    struct endpoint at;
    struct mac mac;
    uint32_t isn, next, expects; /* next to send, next expected */
    uint16_t window;             /* as it goes on the wire */
    uint16_t mss;                /* 0 = not offered */
    uint8_t scale;               /* COOKIE_NO_SCALE = not offered */
    bool sack, timestamps;
    uint32_t clock, echo; /* TSval and TSecr of its next segment */
};

/** Two ends, and the service between them. */
struct wire_talk {
    struct wire_host client, server;
    struct endpoint listen;
    uint16_t service;
    uint32_t cookie;   /* the server's ISN as the client knows it */
    uint32_t ts_delta; /* between the server's clock as the client sees it and as it is */
};

struct wire_frame {
    uint64_t at_ms;
    enum port_side to;
    uint32_t length;
    uint8_t bytes[FRAME_ROOM];
};

struct wire {
    enum wire_family family;
    struct shard *shard;
    struct policy policy;
    struct services *services;
    struct balance *balance;
    uint8_t *health; /* enum health of each backend */
    struct offers *offers;
    struct neighbors *neighbors;
    struct limits limits;
    struct lender lender;
    struct cookie_keys keys;
    struct mac mac[PORT_SIDES];
    struct vlan vlan[PORT_SIDES]; /* tags of a side, as a worker would take and put them */
    uint64_t now_ms, unix_ms;
    uint16_t next_port;
    uint8_t in[FRAME_ROOM];                /* the frame that goes in, rewritten in place */
    struct wire_frame frames[WIRE_FRAMES]; /* what left and was not taken yet */
    uint32_t frame_count, taken;
    struct message messages[WIRE_MESSAGES];
    uint32_t message_count;
};

/* ---- segments as frames ---- */

/** Writes the frame of a segment, with right checksums, into FRAME_ROOM bytes; returns its length.
 */
uint32_t wire_segment_write(uint8_t *out, const struct wire_segment *segment);

/** Reads a frame back; fails unless it is one well-formed TCP segment with right checksums and with
 * options that a gateway may send. The payload stays where it is. */
struct wire_segment wire_segment_read(const uint8_t *frame, uint32_t length);

/* ---- life ---- */

/** A rig of that family with these tables (NULL: room enough for any test). */
struct wire *wire_new(enum wire_family family, const struct shard_sizes *sizes);
void wire_free(struct wire *w);

/** Moves the clock on, running timers as a worker would. */
void wire_wait(struct wire *w, uint32_t ms);

/** Moves the clock on at once, however far, and then runs timers: a worker that was away. */
void wire_step(struct wire *w, uint32_t ms);

/** A burst begins: policy and clock reach the shard. After a test has changed a part. */
void wire_begin(struct wire *w);

/** What the service promises from now on; the promise before stays valid. */
void wire_offer(struct wire *w, uint16_t service, uint16_t mss, uint8_t scale, bool sack,
                bool timestamps);

/** The services of the rig's family get `count` backends (1..WIRE_BACKENDS): those of an index that
 * is even (IPv4) or odd (IPv6), from the lowest. Places them anew, by w->health. */
void wire_backends(struct wire *w, uint32_t count);

/* ---- in ---- */

/** A segment arrives on that side, with its tags. */
enum verdict wire_in(struct wire *w, enum port_side side, const struct wire_segment *segment);
/** Any bytes arrive; tags are theirs. */
enum verdict wire_in_bytes(struct wire *w, enum port_side side, const uint8_t *bytes,
                           uint32_t length);

/* ---- out ---- */

/** The next frame that left, which must have left on that side and with its tags, which are taken
 * off; fails when there is none. */
const struct wire_frame *wire_out_frame(struct wire *w, enum port_side side);
/** The same, as a segment of `to` and from nobody but the gateway. */
struct wire_segment wire_out(struct wire *w, enum port_side side);
/** Frames that were not taken yet. */
uint32_t wire_pending(const struct wire *w);
/** Nothing (more) has left. */
void wire_quiet(struct wire *w);
void wire_forget_frames(struct wire *w);
/** The next message to the control thread; fails when there is none. */
struct message wire_told(struct wire *w);

/* ---- talks ---- */

/** A client of this family's service on a new port, and its backend: both as Linux would be. */
struct wire_talk wire_talk(struct wire *w);
/** The same client and port, at a service of one's choice. */
void wire_talk_to(const struct wire *w, struct wire_talk *t, uint16_t service);

/** The index of the backend at an address, and how the link knows it. */
uint16_t wire_backend_at(const struct wire *w, const struct addr *addr);
struct mac wire_mac_of(uint16_t backend);
/** The talk's server is that backend from now on: same numbers, another host. */
void wire_serve(const struct wire *w, struct wire_talk *t, uint16_t backend);

/** A segment as that end would send it now. */
struct wire_segment wire_segment(const struct wire_talk *t, enum direction from, uint8_t flags);
/** The same with text. */
struct wire_segment wire_data(const struct wire_talk *t, enum direction from, uint8_t flags,
                              const char *text);
/** It arrives from that end. */
enum verdict wire_send(struct wire *w, const struct wire_segment *segment, enum direction from);

/** The difference between the client's and the backend's view of the server's numbers. */
uint32_t wire_delta(const struct wire_talk *t);

/** SYN, SYN-ACK: the client learns its cookie. The last ACK is left to the test. Returns the
 * SYN-ACK. */
struct wire_segment wire_handshake(struct wire *w, struct wire_talk *t);
/** The first data, in the client's numbers; takes the SYN that the backend gets, and returns it. */
struct wire_segment wire_ask(struct wire *w, struct wire_talk *t, const char *request);
/** The backend's SYN-ACK to it. */
struct wire_segment wire_syn_ack(const struct wire_talk *t);
/** Takes the SYN that is sent once more, so that the backend measures no time by its SYN-ACK. */
void wire_syn_again(struct wire *w, const struct wire_talk *t);
/** That SYN-ACK arrives; takes the SYN that is sent again, and the held request, whole in one
 * segment, and returns it. */
struct wire_segment wire_accept(struct wire *w, struct wire_talk *t);
/** All of the above with the head of an upload, which the backend acknowledges: an open connection,
 * on which any bytes of the client's pass as body. */
void wire_open(struct wire *w, struct wire_talk *t);

/** A segment from one end passes to the other, which sees its own numbers in it; both ends move
 * on. Returns it as the receiver sees it. */
struct wire_segment wire_pass(struct wire *w, struct wire_talk *t, enum direction from,
                              uint8_t flags, const char *text);
/** FIN from that end, the other's FIN in answer, and the last ACK. */
void wire_close(struct wire *w, struct wire_talk *t, enum direction first);

/** Takes the answer that no backend will have the request of a client of HTTP, who then closes; and
 * waits until the flow has gone. */
void wire_unavailable(struct wire *w, struct wire_talk *t);

/** Flows, held requests and armed timers are as many as said. */
void wire_expect_tables(const struct wire *w, uint32_t flows, uint32_t held);

/** A plain GET, the head of an upload without end, and the link-layer address of the first backend
 * of both families. */
extern const char wire_request[], wire_upload[];
extern const struct mac wire_backend_mac;

/* ---- tests ---- */

/** The rig of a test: `struct wire *w = wire_of(state)`. */
static inline struct wire *wire_of(void **state)
{
    return *state;
}

int wire_setup_v4(void **state);
int wire_setup_v6(void **state);
int wire_teardown(void **state);

/** A test that is about one family by itself. */
#define WIRE_TEST_ONCE(f)                         \
    {                                             \
#f, f, wire_setup_v4, wire_teardown, NULL \
    }

/** A test that is run for each family. */
#define WIRE_TEST(f)                                       \
    {#f "[IPv4]", f, wire_setup_v4, wire_teardown, NULL},  \
    {                                                      \
#f "[IPv6]", f, wire_setup_v6, wire_teardown, NULL \
    }

#endif
