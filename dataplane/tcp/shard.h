/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A shard is what one worker owns: its flows, timers, tombstones, held requests, budgets and
 * counters, and the packet walk over them. It takes frames as bytes and a clock as numbers, and
 * knows neither DPDK nor threads, so tests drive it in process. It never blocks, allocates, logs or
 * does a system call. One thread, the owner's.
 *
 * The walk, in the order to read it:
 *   burst.c    parse, sort by side and protocol, hash, fetch, decide
 *   admission.c whom the lists let in
 *   syn_lane.c SYNs as Linux and Android send them, together
 *   outside.c  clients: SYN, packets without a flow, packets of a flow
 *   opening.c  the first data: what of it is refused, and the flow of what is not
 *   reading.c  what a client sends before its backend has answered, kept and judged
 *   opening_backend.c a held request and its backend: SYN, SYN-ACK
 *   backend_cookie.c backends that answer by cookies, and know of no agreement
 *   deliver.c  held bytes to the backend, and again until they are covered
 *   requests.c the requests in clients' segments
 *   heads.c    their heads, put to the gate (gate.c); later ones in pieces, kept aside
 *   refuse.c   how the client of a request that the gate has refused is told
 *   refuse_taken.c what both ends of its connection still send
 *   surplus.c  what follows the last of them
 *   slow.c     who holds a backend's connection by being slow
 *   forward.c  packets of an open flow, either direction
 *   ends.c     what is said in the name of either end; how flows end
 *   inside.c   backends: flows, probes, strays
 *   watch.c    backends that leave requests without an answer
 *   local.c    ARP, neighbour discovery and echo for own addresses
 *   too_big.c  routers on either side about packets that were too large
 *   probe.c    whether backends are well, and what they support

 *   census.c   whose flows there are, when a reload has removed somebody */
#ifndef DROPGATE_DATAPLANE_TCP_SHARD_H
#define DROPGATE_DATAPLANE_TCP_SHARD_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/admit/balance.h"
#include "dataplane/admit/client.h"
#include "dataplane/admit/guard.h"
#include "dataplane/admit/policy.h"
#include "dataplane/admit/rule_slots.h"
#include "dataplane/net/packet.h"
#include "dataplane/net/verdict.h"
#include "dataplane/tcp/farewell.h"
#include "dataplane/tcp/flow.h"
#include "dataplane/tcp/gate.h"
#include "dataplane/tcp/held.h"
#include "dataplane/tcp/linger.h"
#include "dataplane/tcp/miss.h"
#include "dataplane/tcp/surplus.h"
#include "dataplane/tcp/tombstone.h"
#include "dataplane/tcp/watch.h"
#include "dataplane/tcp/wheel.h"
#include "dataplane/tls/ja4.h"

/** A received frame, and what becomes of it: answers and translations are made in place. */
struct frame {
    uint8_t *bytes;
    uint32_t room; /* bytes that may be written from `bytes` on */
    uint32_t length;
    uint8_t side;    /* enum port_side: where it was received */
    uint8_t checked; /* checksums that the port has verified, as in packet_parse */
    uint8_t to;      /* out: where `length` bytes are to be sent, or PORT_NONE */
    uint8_t verdict; /* out: enum verdict, which has been counted */
};

/** A frame of a burst on its way: parsed, and told apart as far as that needs no flow. */
struct sorted {
    struct packet packet;
    uint64_t hash;      /* flow_hash of the client; not of a SYN */
    uint16_t target;    /* index of the service (outside) or backend (inside) */
    uint8_t verdict;    /* VERDICT_FORWARDED: goes on */
    bool for_flow;      /* hash and target are set: a flow is to be looked up */
    bool for_cookie;    /* a SYN to a service */
    bool bad_options;   /* of a SYN to a service: it has no answer */
    struct syn_ack syn; /* of a SYN to a service: the answer */
};

enum { SHARD_BURST = 64 };

/** What a shard tells the control thread. */
struct message {
    enum {
        MESSAGE_NEIGHBOR,      /* has answered us */
        MESSAGE_NEIGHBOR_NEWS, /* says unasked that it has another link-layer address */
        MESSAGE_PROBE,
        MESSAGE_BACKEND_OPTIONS,    /* refused what a client had been granted */
        MESSAGE_BACKEND_FAILED,     /* so many openings in a row have failed */
        MESSAGE_BACKEND_UNANSWERED, /* so many clients have waited in vain for an answer */
    } kind;
    uint16_t backend; /* all but NEIGHBOR and NEIGHBOR_NEWS: index */
    uint8_t side;     /* NEIGHBOR, NEIGHBOR_NEWS: enum port_side */
    enum {
        PROBE_ANSWERED,   /* well: status 200, or, where nothing is asked, a connection */
        PROBE_REFUSED,    /* RST to the SYN */
        PROBE_SILENT,     /* its host says nothing */
        PROBE_UNANSWERED, /* its host takes the request, nobody answers it in time */
        PROBE_CLOSED,     /* closed or reset the connection without an answer */
        PROBE_STATUS,     /* answered by another status */
        PROBE_REDIRECT,   /* of which, by a redirect: it is not followed */
        PROBE_GARBAGE,    /* answered by no HTTP */
        PROBE_RESULTS
    } probe;
    bool connected;             /* PROBE: it took the connection; `options` are known */
    uint16_t status;            /* PROBE: of its answer, 0 if there was none */
    struct mac mac;             /* NEIGHBOR, NEIGHBOR_NEWS */
    struct addr addr;           /* the same */
    struct tcp_options options; /* PROBE, BACKEND_OPTIONS: of the backend's SYN-ACK */
};

/** How frames and messages beside the one in hand leave a shard. Both copy what they are given and
 * may fail, which they count themselves (TX_FULL, NO_BUFFER, RING_FULL). */
struct shard_output {
    void (*send)(void *context, enum port_side to, const uint8_t *bytes, uint32_t length);
    void (*tell)(void *context, const struct message *message);
    void *context;
};

/** Sizes of the bounded tables. */
struct shard_sizes {
    uint32_t flows, tombstones;
    uint32_t held, held_large; /* entries of each size; with no large ones, which settings refuse,
                                  a longer head in pieces waits until its time is over */
    uint32_t held_bytes;       /* of a large one */
    uint32_t held_per_client;  /* 0: no limit */
    uint32_t backends;         /* numbers that there may be of them */
    uint32_t clients, bans;    /* admit/client.h */
    uint32_t rules;            /* accounts of rules */
};

/** Openings at one backend, and what came of them. worker: rw, others: ro, a little old. */
struct backend_openings {
    uint64_t opened, refused, timeouts;
    uint64_t answered, unanswered; /* requests: an answer has begun, none has in time */
    uint64_t cookies;  /* of those opened: by a cookie of the backend's, as far as seen */
    uint32_t failures; /* in a row, since the control thread was told */
};

struct census;
struct probes;
struct steer;

/** All fields: worker rw; `verdicts` and table counts: others ro, a little old. */
struct shard {
    struct policy policy;      /* as read at the start of the burst */
    const struct lists *lists; /* those of the policy; NULL: they name nobody, and are not asked */
    uint16_t generation;       /* of the policy's lists */
    uint32_t unchecked;        /* flows below that index may not have been looked up in them yet */
    struct lists_hits hits;    /* others: ro */
    uint64_t now_ms, unix_ms;
    bool strays;               /* most of what clients last sent were bare ACKs without a flow */
    uint32_t bans;             /* 0: nobody is banned (admit/client.h) */
    const struct steer *steer; /* who owns whom, and which worker this is; NULL: it has everybody */
    uint32_t index;
    struct mac mac[PORT_SIDES];
    struct shard_output output;
    struct flows *flows;
    struct wheel *wheel;
    struct linger *lingering; /* flows in the order in which they closed */
    struct tombstones *tombstones;
    struct held *held;
    struct miss_table *misses;
    struct farewells *farewells;
    struct ja4_table *hellos;          /* fingerprints of TLS clients; others: ro */
    struct backend_openings *openings; /* by the backends' numbers */
    struct probes *probes;             /* one block; NULL on all shards but the first */
    uint64_t probes_due_ms;
    struct watch *watches; /* the same */
    uint64_t watches_due_ms;
    uint32_t watch_count, watch_next;
    uint64_t news_since_ms; /* news of neighbours told since then, for a second */
    uint32_t news;
    uint32_t numbered;          /* generation of the services whose numbers are known */
    struct census *census;      /* tcp/census.h; control: sets it, worker: clears it */
    struct lease lease[LEASES]; /* control: rw where the fields say so */
    struct quota connections;   /* the same */
    struct clients *clients;
    struct rule_accounts rules;
    struct guard guard;
    struct siphash_key random_key;
    uint64_t random_count;
    uint64_t verdicts[VERDICT_COUNT];
    uint64_t requests; /* request heads completed on flows */
};

/** A shard with empty tables, or NULL when memory is short. `secret` keys its hashes. The policy
 * and the clock are set before its first packet. */
struct shard *shard_new(const struct shard_sizes *sizes, const struct siphash_key *secret,
                        const struct shard_output *output, const struct mac mac[PORT_SIDES],
                        uint64_t now_ms);
void shard_free(struct shard *shard);

/** Says that this is the shard of worker `index`: a debug build then asserts that every client it
 * is given is its own. Before the first packet; `steer` outlives the shard. */
void shard_steered(struct shard *shard, const struct steer *steer, uint32_t index);

/** Begins probing backends, of which there may be `count` numbers; once, before the first packet.
 * Returns 0 or -ENOMEM. */
int shard_probe_backends(struct shard *shard, uint32_t count);

/** Sets the clock and the policy for the packets and timers that follow: `now_ms` never goes back.
 */
void shard_begin(struct shard *shard, const struct policy *policy, uint64_t now_ms,
                 uint64_t unix_ms);

/** Decides about up to SHARD_BURST frames, in order; afterwards each one's `to` says whether it is
 * to be sent. */
void shard_burst(struct shard *shard, struct frame *frames, uint32_t count);

/** A burst of one. Returns the verdict, which has been counted. `checked` as in packet_parse. */
enum verdict shard_packet(struct shard *shard, struct frame *frame, unsigned checked);

/** Runs due timers and probes; bounded work. Returns how many timers fired. */
uint32_t shard_tick(struct shard *shard);

/* ---- between the files of the walk ---- */

/** Counts an outcome beside the packet's own verdict. */
static inline void shard_count(struct shard *shard, enum verdict verdict)
{
    shard->verdicts[verdict]++;
}

/** Whether the frame was sent to our own link-layer address: neither to a group (RFC 1122
 * section 4.2.3.10) nor to somebody else, flooded by a switch. */
bool shard_addressed(const struct shard *shard, const struct frame *frame);

/** For the short cuts, by one comparison: how a frame from outside begins that is to us alone, and
 * not from a group (of its first eight bytes, the first six and a bit of the next); and whether
 * that one does. */
static inline uint64_t shard_to_us(const struct shard *shard)
{
    uint64_t to_us = 0;
    memcpy(&to_us, &shard->mac[OUTSIDE], sizeof shard->mac[OUTSIDE]);
    return to_us;
}

static inline bool frame_is_to(const uint8_t *bytes, uint64_t to_us)
{
    uint64_t begins;
    memcpy(&begins, bytes, sizeof begins);
    return (begins & htobe64(UINT64_C(0xffffffffffff0100))) == to_us;
}

/** A segment that goes back where the packet came from: addresses, ports and link layer swapped,
 * nothing else set. */
struct segment shard_answer(const struct shard *shard, const struct frame *frame,
                            const struct packet *packet);

/** Writes the segment over the frame and marks it to be sent to that side. */
void shard_replace(struct frame *frame, enum port_side to, const struct segment *segment);

/** Sends a segment beside the frame in hand. */
void shard_send(struct shard *shard, enum port_side to, const struct segment *segment);

/** 64 unpredictable bits. */
uint64_t shard_random(struct shard *shard);

/** Whether a TCP packet may go on, and to which service or backend; its hash is set later. Nothing
 * is written but *sorted. */
enum verdict outside_sort(const struct shard *shard, struct sorted *sorted);
enum verdict inside_sort(const struct shard *shard, struct sorted *sorted);

/** The policy has other lists than before: flows are to be looked up again. */
void admission_begin(struct shard *shard);

/** Looks up the source of a SYN, or of a packet without a flow, while shard->lists is not NULL, and
 * counts what it finds. VERDICT_DENIED: it is to be dropped. `*flags`: LISTED_…. */
enum verdict admission_source(struct shard *shard, const struct addr *source, bool v4,
                              uint8_t *flags);

/** Looks up the client of a flow that other lists than these let in. VERDICT_DENIED: it has ended,
 * and so has the packet. */
enum verdict admission_flow(struct shard *shard, struct flow *flow) __attribute__((cold, noinline));

static inline bool admission_is_old(const struct shard *shard, const struct flow *flow)
{
    return __builtin_expect(flow->admitted != shard->generation, false);
}

/** A little of what admission_begin has asked for. Returns how much, 0 when all is done. */
uint32_t admission_tick(struct shard *shard);

/** Counts a SYN to a service against its source, unless `flags` (LISTED_…) exempt that, and its
 * network, by their hashes. Returns why it is to be dropped, or VERDICT_FORWARDED. */
enum verdict outside_judge(struct shard *shard, uint64_t source, uint64_t network, uint8_t flags);

/** Whether a source, by its hash and address, is banned: VERDICT_BANNED or FORWARDED. Only asked
 * while there are bans. */
enum verdict outside_banned(struct shard *shard, uint64_t source, const struct addr *client,
                            bool v4);

/** After REFLECTION_RATE outside_again has the last word; the first fetches what it needs. */
void outside_fetch_again(const struct shard *shard, const struct sorted *sorted);
enum verdict outside_again(struct shard *shard, const struct sorted *sorted);

/** Prepares the answer to a SYN: the options that it is granted now, cookie and timestamp when the
 * batch is finished. Nothing is written but *sorted and *batch. */
void outside_promise(const struct shard *shard, const struct frame *frame, struct sorted *sorted,
                     struct cookie_batch *batch);

/** SYN → SYN-ACK in the same buffer, as it was promised. It acknowledges no payload: that comes
 * again, with the cookie. */
enum verdict outside_answer(struct frame *frame, const struct sorted *sorted);

/** A client's segment without a flow, told by its numbers, on the connection of `packet`, whose
 * client has that flow_hash: for miss_again; and with a `seq` of 0 for farewell_due. */
uint64_t outside_segment(const struct packet *packet, uint64_t hash, uint32_t seq, uint32_t ack);

/** Anything but a SYN. */
enum verdict outside_packet(struct shard *shard, struct frame *frame, const struct sorted *sorted);
enum verdict inside_packet(struct shard *shard, struct frame *frame, const struct sorted *sorted);
enum verdict local_arp(struct shard *shard, struct frame *frame, const struct packet *packet);
enum verdict local_icmp(struct shard *shard, struct frame *frame, const struct packet *packet);

/** A router says that a packet was too big for its next link. */
enum verdict too_big(struct shard *shard, struct frame *frame, const struct packet *packet);

/** A cookie that checked: what the client was promised. */
struct opening {
    uint16_t service;
    uint64_t hash; /* flow_hash of the client */
    uint32_t client_isn, server_isn;
    uint8_t window_scale; /* that we announced; COOKIE_NO_SCALE = none */
    struct cookie_options options;
    uint32_t sent; /* when we answered its SYN, as in cookie_sent */
    bool sent_exactly;
    uint8_t listed; /* LISTED_… */
};

/** First data with a valid cookie. What is refused leaves everything as it is; else the flow that
 * is on the tuple, `old`, or NULL, makes room. */
enum verdict opening_start(struct shard *shard, struct frame *frame, const struct packet *packet,
                           const struct opening *opening, struct flow *old);
/** Leads a flow that has asked nobody to the first of its service's backends that can be reached.
 * False with the reason when there is none. */
bool opening_choose(struct shard *shard, struct flow *flow, enum verdict *reason);
/** The head of a flow that was being read is complete: the backend gets its SYN in place of the
 * frame. Returns VERDICT_OPENED. */
enum verdict opening_ask(struct shard *shard, struct frame *frame, struct flow *flow);
/** A backend's segment for a flow that is being opened. */
enum verdict opening_answer(struct shard *shard, struct frame *frame, const struct packet *packet,
                            struct flow *flow);
/** The SYN's timer has fired. */
void opening_timeout(struct shard *shard, struct flow *flow);

/** Whether a SYN-ACK is a backend's cookie that agrees to nothing (backend_cookie.c). */
bool backend_cookie_bare(const struct flow *flow, const struct tcp_options *options);
/** The backend knows nothing of what was agreed: windows go to it unscaled. Counted. */
void backend_cookie_splice(struct shard *shard, struct flow *flow);
/** A segment of a backend that has acknowledged nothing of an open flow with timestamps yet: where
 * its clock has jumped, its SYN-ACK was a cookie, and the flow is spliced like that. */
void backend_cookie_first(struct shard *shard, const struct frame *frame,
                          const struct packet *packet, struct flow *flow);

/** A client's segment of a flow whose backend has not answered: reading or opening. */
enum verdict reading_packet(struct shard *shard, struct frame *frame, const struct packet *packet,
                            struct flow *flow);
/** The head was not complete in time. */
void reading_timeout(struct shard *shard, struct flow *flow);
/** A held entry for `length` bytes of the client's; unfinished heads may have to go for it. Returns
 * HELD_NONE when none can. */
uint32_t reading_take(struct shard *shard, const struct addr *client, uint32_t length,
                      bool finished);
/** The flow's entry, larger if `end` bytes need it and there is a large one to be had. */
struct held_entry *reading_room(struct shard *shard, struct flow *flow, uint32_t end);
/** Acknowledges what is there without a gap: from now on it is ours to deliver. The answer replaces
 * the frame. Returns VERDICT_READING. */
enum verdict reading_acknowledge(struct shard *shard, struct frame *frame, struct flow *flow);
/** Behind the last byte that may go to the backend: what is there without a gap, and no byte behind
 * a connection's last request. */
uint32_t reading_front(const struct flow *flow, const struct held_entry *entry);

/** The backend's SYN-ACK is in hand and the flow's sides are filled in: the first held bytes go out
 * in its place, and the flow enters its next state. */
void deliver_first(struct shard *shard, struct frame *frame, const struct packet *packet,
                   struct flow *flow, const struct tcp_options *options);
/** While `delivering`: a client's segment, checked. VERDICT_FORWARDED: may pass. REPEATED: it has
 * been answered. */
enum verdict deliver_from_client(struct shard *shard, struct frame *frame, struct flow *flow,
                                 const struct window_segment *segment);
/** While `delivering`: a backend's segment, after window_note; more bytes are sent as it allows.
 * VERDICT_FORWARDED: may pass, and once translated is to go through deliver_raise if the flow is
 * still delivering. ACK_COVERED: nothing new in it for the client. */
enum verdict deliver_from_backend(struct shard *shard, struct flow *flow,
                                  const struct window_segment *segment);
/** While `delivering`: whether a client's reset is at a number that it has reached, and its backend
 * will. */
bool deliver_resets(const struct shard *shard, const struct flow *flow, uint32_t seq);
/** A translated segment towards the client never acknowledges less than we have. */
void deliver_raise(struct shard *shard, uint8_t *frame, const struct packet *packet,
                   const struct flow *flow, const struct window_segment *segment);
/** While `delivering`: a router on the inside could not pass on a segment in flight that began at
 * `seq`. Segments are of at most `mtu` bytes from now on, and what is ours of those in flight is
 * sent again. Returns whether the byte at `seq` is; else the client has to hear of it. */
bool deliver_too_big(struct shard *shard, struct flow *flow, uint32_t seq, uint32_t mtu);
/** Nothing was acknowledged in time. */
void deliver_timeout(struct shard *shard, struct flow *flow);

/** A segment of an existing flow whose backend has answered. */
enum verdict forward_packet(struct shard *shard, struct frame *frame, const struct packet *packet,
                            struct flow *flow, enum direction from);
/** Whether the receiver could accept the segment, in the client's numbers. A client may use up the
 * window that we have announced. */
enum verdict forward_check(const struct shard *shard, const struct flow *flow, enum direction from,
                           const struct window_segment *segment);
/** A client's segment is ACK_UNSENT by forward_check. Strikes for a run of these (tcp/excess.h). */
void forward_note_unsent(struct shard *shard, struct flow *flow,
                         const struct window_segment *segment);
/** A client's segment moves nothing: FORWARDED, or EXCESS if it is one more of these than an honest
 * stack has to send (tcp/excess.h). */
enum verdict forward_limit_excess(struct shard *shard, struct flow *flow);
/** The flow has closed and only lingers: from now on it goes when there is no room for another. */
void forward_note_closed(struct shard *shard, struct flow *flow);
/** Translates a packet of an open flow and marks its frame to be sent to the other end. */
void forward_send_on(struct shard *shard, struct frame *frame, const struct packet *packet,
                     struct flow *flow, enum direction from);
/** A reset that counts, where it is as far as can be told, goes on. It ends the flow; one of the
 * backend's that its client may not take, for it lacks bytes before, lets it linger. */
enum verdict forward_reset(struct shard *shard, struct frame *frame, const struct packet *packet,
                           struct flow *flow, enum direction from,
                           const struct window_segment *segment);
/** Reads the requests in a client's segment of an open flow. VERDICT_FORWARDED: may go on; where
 * less of it may than has come, the frame and `segment` have been cut and `*packet` is now
 * `*shorter`. AFTER_LAST: the same, and all that is left is what it acknowledges; the client is to
 * be answered by us. A malformed request, or too many bytes behind the last one, have reset both
 * sides and ended the flow. */
enum verdict requests_read(struct shard *shard, struct frame *frame, const struct packet **packet,
                           struct packet *shorter, struct flow *flow,
                           struct window_segment *segment);
/** An open flow begins to be timed; then, and whenever it has to be looked at at another time, its
 * timer is set, unless that is delivery's. */
void forward_begin(struct shard *shard, struct flow *flow);
void forward_watch(struct shard *shard, const struct flow *flow);
/** A timer of an open flow has fired, whatever for. Returns whether the flow was ended, because its
 * client is too slow. */
bool forward_evicted(struct shard *shard, struct flow *flow);
/** A connection of a service that is not HTTP has been opened: what its client says when its server
 * has spoken is charged as a request. */
void requests_begin_exchanges(struct flow *flow);
/** The idle timer has fired. */
void forward_timeout(struct shard *shard, struct flow *flow);
/** Whether the requests of its client are read. */
static inline bool forward_reads(const struct shard *shard, const struct flow *flow)
{
    return shard->policy.services->service[flow->service].protocol == SERVICE_HTTP;
}
/** How long a flow may be silent in a state. */
uint32_t forward_patience(const struct limits *limits, enum flow_state state);
/** A segment of the flow in the client's numbers, windows in bytes. */
struct window_segment flow_segment(const struct flow *flow, const struct packet *packet,
                                   const struct tcp_options *options, enum direction from);

/** Behind the last byte that the client may send before its backend has granted more: what a window
 * of ours allows, with what rounding up to a unit of its scale adds. */
uint32_t flow_granted(const struct shard *shard, const struct flow *flow);

/** What the client has been acknowledged: by its backend or by us, whichever is more. */
static inline uint32_t flow_acknowledged(const struct flow *flow)
{
    uint32_t backend = flow->from_backend.acked;
    bool owns = flow->delivering || flow->state < FLOW_ESTABLISHED;
    if (owns && seq_before(backend, flow->owned_end))
        return flow->owned_end;
    return surplus_shown(flow, backend);
}

/** An ACK in the name of the other end with all that was seen of it: numbers, timestamps and window
 * are filled in, and may be changed. */
struct segment flow_to_backend(const struct shard *shard, const struct flow *flow);
struct segment flow_to_client(const struct shard *shard, const struct flow *flow);
/** The latter with the window that the client was announced last, of a flow with a held entry. */
struct segment flow_ack_to_client(const struct shard *shard, const struct flow *flow);

/** Puts a request, whose complete head is in one piece, to the gate. VERDICT_FORWARDED, or why it
 * must not go on; *no is filled in either way. */
enum verdict heads_judge(struct shard *shard, const struct gate_asker *asker, const uint8_t *bytes,
                         uint32_t length, struct refused_request *no);
/** How the client of the request whose head `bytes` begin with wants to be told: head and html of
 * the refusal, and whether it expects to be. */
void heads_describe(const uint8_t *bytes, uint32_t length, struct refused_request *no);
/** Keeps `length` bytes of an open flow's later head aside, `before` of which came in segments
 * before. False: there is no place for them, and the segment has to come again. */
bool heads_keep(struct shard *shard, struct flow *flow, uint32_t before, const uint8_t *bytes,
                uint32_t length);
/** Puts together what was kept of a head, `before` bytes, and the rest of it. False: it is not
 * there, because there was no place for what came with the first request. */
bool heads_whole(const struct shard *shard, const struct flow *flow, uint32_t before,
                 const uint8_t *bytes, uint32_t length, uint8_t whole[HTTP1_MAX_HEAD]);
void heads_drop(struct shard *shard, struct flow *flow);
/** Gives back the entry of a flow whose held bytes have been delivered; the beginning of a later
 * head among them is kept aside. */
void heads_set_aside(struct shard *shard, struct flow *flow);

/** Answers a first request that is refused: over the frame, and nothing is kept. Returns no->why.
 */
enum verdict refuse_stateless(struct shard *shard, struct frame *frame, const struct packet *packet,
                              const struct tcp_options *options, const struct opening *opening,
                              const struct refused_request *no);
/** Whether a first request, behind whose head `scan` stands, can be: nothing of what its client
 * sends is still to come, as far as can be told from its segment. */
bool refuse_at_once(const struct scan *scan, uint32_t seq, const uint8_t *bytes, uint32_t length,
                    const struct refused_request *no);
/** Up to where the rest of it is to come before it is answered; `first`, where it begins: it need
 * not, because it may not come, or is too long. */
uint32_t refuse_awaited(const struct shard *shard, const struct scan *scan, uint32_t first,
                        const struct refused_request *no);
/** The flow, whose first request is refused, asks no backend: `received` bytes of the client's, and
 * a FIN behind them if `fin`, are there. Over the frame goes the answer, or an acknowledgement. */
void refuse_alone(struct shard *shard, struct frame *frame, struct flow *flow,
                  const struct refused_request *no, uint32_t received, bool fin, uint32_t awaited);
/** A later request is refused: scan.next is where the backend's stream ends. Once the flow is open
 * and delivered, refuse_begin ends it. */
void refuse_note(struct shard *shard, struct flow *flow, const struct refusal *refusal);
/** The backend gets our FIN: behind the frame, if that goes there and `carries` bytes, else over it
 * or beside it. */
void refuse_begin(struct shard *shard, struct flow *flow, struct frame *frame, bool carries);
/** A segment of a flow in REFUSING or REFUSED; its timer. */
enum verdict refuse_from_client(struct shard *shard, struct frame *frame,
                                const struct packet *packet, struct flow *flow);
enum verdict refuse_from_backend(struct shard *shard, struct frame *frame,
                                 const struct packet *packet, struct flow *flow);
void refuse_timeout(struct shard *shard, struct flow *flow);
/** Whether its client has the refusal and has ended, and its backend knows: it only lingers. */
bool refuse_is_over(const struct flow *flow);

/** Whether both ends have ended and know it of each other. */
static inline bool flow_is_closed(const struct flow *flow)
{
    return flow->state == FLOW_CLOSED || (flow->state == FLOW_REFUSED && refuse_is_over(flow));
}

/** A flow from the table, as flow_reserve; when it is full, the one that closed first and still
 * lingers goes for it. NULL when none does. */
struct flow *flow_make(struct shard *shard);

/** A client's flow is one of its open connections no longer: it has closed, or ends. Once is
 * enough, more does nothing. */
void flow_uncount(struct shard *shard, struct flow *flow);

/** Its client has abused the protocol: admit/client.h. */
void flow_strike(struct shard *shard, const struct flow *flow, enum strike reason);

/** Ends a flow: its client's count, tombstone, held request, timer and table entry. `reset` as in
 * struct tombstone. */
void flow_end(struct shard *shard, struct flow *flow, bool reset);
/** The same of one that has closed and only lingers; counted as such. */
void flow_end_closed(struct shard *shard, struct flow *flow);
/** Leaves a tombstone, by flow_end or of what never had a flow. */
void flow_bury(struct shard *shard, const struct tombstone *stone);
/** Resets one side of a flow with exact numbers; the flow stays. A backend that was not asked yet
 * hears nothing. */
void flow_reset_client(struct shard *shard, const struct flow *flow);
void flow_reset_backend(struct shard *shard, const struct flow *flow);
/** The same where bytes are on their way to it. A reset counts only at the number that its receiver
 * expects next (RFC 5961 section 3): one goes to either end of them. The flow ends. */
void flow_reset_backend_anyhow(struct shard *shard, struct flow *flow);
void flow_reset_client_anyhow(struct shard *shard, struct flow *flow);
/** The same for both. */
void flow_reset_both(struct shard *shard, struct flow *flow);

void probe_tick(struct shard *shard);
/** After a reload: forgets the backends that are not to be probed (any more). */
void probe_renumber(struct shard *shard);
enum verdict probe_answer(struct shard *shard, struct frame *frame, const struct packet *packet);

#endif
