/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Every outcome of a packet, named once. The drop counters, telemetry and the documentation all
 * come from this table; a packet gets exactly one verdict. To add one: a row here, and the place
 * that returns it. */
#ifndef DROPGATE_DATAPLANE_NET_VERDICT_H
#define DROPGATE_DATAPLANE_NET_VERDICT_H

/* clang-format off */
/* V(NAME, "name", "what an operator should know") */
#define VERDICTS(V) \
    /* passed or answered */ \
    V(FORWARDED,          "forwarded",            "belongs to a flow; translated and sent on") \
    V(OPENED,             "opened",               "first request head: a flow was created and the backend is being opened") \
    V(READING,            "reading",              "part of a request head: kept and acknowledged; no backend is asked before it is complete") \
    V(HELD,               "held",                 "more of a client whose backend is still being opened: kept, to be sent to it") \
    V(REPEATED,           "repeated",             "bytes sent again that are being delivered to the backend already; acknowledged again") \
    V(SYN_COOKIE,         "syn_cookie",           "SYN to a service, answered by a SYN cookie; nothing is stored") \
    V(ARP_ANSWERED,       "arp_answered",         "ARP request for an own address, answered") \
    V(ND_ANSWERED,        "nd_answered",          "neighbour solicitation for an own address, answered") \
    V(NEIGHBOR,           "neighbor",             "ARP reply or neighbour advertisement to the gateway; those from inside are handed to the control thread") \
    V(ECHO_ANSWERED,      "echo_answered",        "ICMP echo request to an own address, answered") \
    V(TOO_BIG,            "too_big",              "ICMP too-big about a packet of a flow, translated and passed on to its sender") \
    V(TOO_BIG_OURS,       "too_big_ours",         "ICMP too-big about bytes that the gateway has acknowledged: sent again in smaller segments") \
    V(PROBE,              "probe",                "a backend's answer to a probe") \
    V(BACKEND_ANSWERED,   "backend_answered",     "a backend's SYN-ACK: the flow is established and the held request sent") \
    V(TOMBSTONE_ACK,      "tombstone_ack",        "late duplicate of a closed connection's first segment, acknowledged, not executed") \
    V(FIN_ANSWERED,       "fin_answered",         "FIN without a flow, answered so that the peer can close") \
    V(MISS_RESET,         "miss_reset",           "data without flow or valid cookie, seen again: answered by RST from a budget") \
    V(TUPLE_RESET,        "tuple_reset",          "tuple_conflict, and the same again a second later: answered by RST from a budget") \
    V(INSIDE_RESET,       "inside_reset",         "a backend's segment without a flow, answered by RST from a budget") \
    /* dropped: not for us, or not well formed */ \
    V(TRUNCATED,          "truncated",            "shorter than its headers say") \
    V(MULTI_SEGMENT,      "multi_segment",        "spread over several buffers: the port's MTU is larger than a buffer") \
    V(NOT_FOR_US,         "not_for_us",           "link-layer destination, address or protocol that nobody here serves") \
    V(VLAN,               "vlan",                 "802.1Q or 802.1ad tag on a side that is not in a VLAN") \
    V(VLAN_MISSING,       "vlan_missing",         "untagged (or only priority-tagged) frame on a side that is in a VLAN; see its vlan") \
    V(VLAN_OTHER,         "vlan_other",           "tagged, but not by exactly the tags of that side; see its vlan") \
    V(VLAN_DEPTH,         "vlan_depth",           "more than two VLAN tags") \
    V(BAD_IP,             "bad_ip",               "IP header: version, length or reserved bits") \
    V(IP_CHECKSUM,        "ip_checksum",          "IPv4 header checksum") \
    V(FRAGMENT,           "fragment",             "IPv4 or IPv6 fragment") \
    V(IP_OPTIONS,         "ip_options",           "IPv4 options, such as a source route (RFC 7126); a known TCP client sends none") \
    V(IPV6_EXTENSION,     "ipv6_extension",       "IPv6 mobility, HIP or shim6 header: no TCP client sends one") \
    V(IPV6_OPTIONS,       "ipv6_options",         "IPv6 hop-by-hop or destination options other than padding") \
    V(IPV6_ROUTING,       "ipv6_routing",         "IPv6 routing header with segments left: a source route") \
    V(IPV6_ESP,           "ipv6_esp",             "IPv6 ESP header: encrypted, so not TCP that could be served") \
    V(IPV6_AH,            "ipv6_ah",              "IPv6 authentication header: covers fields that a gateway changes") \
    V(IPV6_ATOMIC,        "ipv6_atomic",          "IPv6 fragment header on a whole packet (RFC 6946, RFC 8021)") \
    V(IPV6_CHAIN,         "ipv6_chain",           "IPv6 extension headers repeated, out of order, over 128 bytes, or with padding past their end") \
    V(IPV6_ICMP,          "ipv6_icmp",            "ICMPv6 behind IPv6 extension headers") \
    V(BOGON,              "bogon",                "source that cannot be a client: own, backend's or inside address, loopback, multicast, unspecified, v4-mapped; a link-layer group") \
    V(BAD_TCP,            "bad_tcp",              "TCP header: data offset, port 0 or an impossible set of flags") \
    V(TCP_CHECKSUM,       "tcp_checksum",         "TCP checksum") \
    V(BAD_OPTIONS,        "bad_options",          "TCP options run past the header or have an impossible length") \
    V(BAD_ICMP,           "bad_icmp",             "ICMP checksum, length or type") \
    V(ICMP_ERROR,         "icmp_error",           "ICMP error other than too-big: anyone could have sent it, and time will tell") \
    V(ICMP_QUOTE,         "icmp_quote",           "ICMP too-big that does not quote the start of a TCP packet") \
    V(TOO_BIG_NO_FLOW,    "too_big_no_flow",      "ICMP too-big about a packet of no flow, or sent to somebody else than the packet's sender") \
    V(TOO_BIG_STALE,      "too_big_stale",        "ICMP too-big about bytes that are not in flight: late, or forged") \
    V(TOO_BIG_MTU,        "too_big_mtu",          "ICMP too-big with an MTU below 576 (IPv6: 1280), or no smaller than the packet") \
    V(ICMP_OTHER,         "icmp_other",           "ICMP that is neither echo, an error, nor neighbour discovery for us") \
    V(UNSUPPORTED,        "unsupported",          "UDP, or any other protocol that is not TCP") \
    V(NO_SERVICE,         "no_service",           "TCP to an own address and a port without a service") \
    /* dropped: without a flow */ \
    V(DENIED,             "denied",               "the client is in a deny list, and in no allow list; see [feed NAME] and /dropgate/feeds") \
    V(SOURCE_RATE,        "source_rate",          "one more packet without a flow than a source may send in a second; see [guard] source_rate") \
    V(REFLECTION_RATE,    "reflection_rate",      "one more SYN than is answered to a network in a second; a client's second try is; see [guard] reflection_rate") \
    V(ACK_NO_FLOW,        "ack_no_flow",          "bare ACK without a flow: the third packet of a handshake, or an ACK flood") \
    V(MISS_SILENT,        "miss_silent",          "data or FIN without flow or valid cookie, first time: silence (it may have overtaken)") \
    V(RST_NO_FLOW,        "rst_no_flow",          "RST without a flow") \
    V(SYN_ACK_NO_FLOW,    "syn_ack_no_flow",      "SYN-ACK from outside: nobody here connects outwards") \
    V(HEAD_INCOMPLETE,    "head_incomplete",      "the client closed before its request head was complete; closed in answer") \
    V(HEAD_MALFORMED,     "head_malformed",       "first bytes are not a request the strict parser accepts: reset") \
    V(TOMBSTONE_DROP,     "tombstone_drop",       "late duplicate of a connection that was reset") \
    V(BUDGET,             "budget",               "an answer was due, but its budget per second is used up") \
    V(FLOW_TABLE_FULL,    "flow_table_full",      "no room for a flow; see [tables] flows") \
    V(HELD_FULL,          "held_full",            "no room to hold a request; see [tables] held") \
    V(TLS_MALFORMED,      "tls_malformed",        "first bytes of a TLS service's client are no well-formed ClientHello: reset") \
    V(TLS_NAME,           "tls_name",             "ClientHello for a server name that the service does not list: refused by an alert") \
    V(HELD_TOO_LARGE,     "held_too_large",       "request head larger than the window announced; see [tcp] window: reset") \
    V(HELD_PER_CLIENT,    "held_per_client",      "the client has all requests held that it may, each waiting for its backend; see [tables] held_per_client") \
    V(BACKENDS_DOWN,      "backends_down",        "a request or connection for a service whose backends are all down: refused, 503 or RST") \
    V(TUPLE_CONFLICT,     "tuple_conflict",       "the same client port speaks to the same backend through another service: silence at first") \
    V(BANNED,             "banned",               "SYN, or packet without a flow, of a client that is banned; see [bans]") \
    V(REQUEST_RATE,       "request_rate",         "one more request than the client, or its IPv6 network, may make in a minute; see [clients] requests") \
    V(CONNECTION_RATE,    "connection_rate",      "one more new connection than the client, or its IPv6 network, may open in a second; see [clients] connection_rate: reset") \
    V(CLIENT_CONNECTIONS, "client_connections",   "the client, or its IPv6 network, has as many connections open as it may; see [clients] connections: reset") \
    V(CONNECTIONS_FULL,   "connections_full",     "the gateway has as many connections open as it may; see [limits] connections: reset") \
    V(GATEWAY_RATE,       "gateway_rate",         "the gateway takes no more new connections in this second; see [limits] connection_rate: reset") \
    V(CLIENT_TABLE_FULL,  "client_table_full",    "no room for a client, all others have connections open; see [tables] clients") \
    V(RULE_UPCOMING,      "rule_upcoming",        "asked for before a rule's opens_at: told when it opens (a connection: reset)") \
    V(RULE_RATE,          "rule_rate",            "one more than a rule admits per second: told when to come again (a connection: reset)") \
    V(RULE_SOLD_OUT,      "rule_sold_out",        "a rule says sold out (a connection: reset)") \
    V(RULE_CLOSED,        "rule_closed",          "a rule says closed (a connection: reset)") \
    V(BACKEND_UNRESOLVED, "backend_unresolved",   "the backend's next hop does not answer ARP or neighbour discovery") \
    /* dropped: of a flow */ \
    V(OPENING_BUSY,       "opening_busy",         "segment with nothing new, or more than is held, before the backend has answered, or part of a head before it has the first; the client sends it again") \
    V(OUT_OF_WINDOW,      "out_of_window",        "sequence number outside of the receiver's window") \
    V(ACK_UNSENT,         "ack_unsent",           "acknowledges bytes that were never sent") \
    V(EXCESS,             "excess",               "one more of a client's segments that move nothing (duplicate ACKs, data again) than any honest stack sends") \
    V(PAWS,               "paws",                 "timestamp older than the last one in order (RFC 7323 section 5)") \
    V(ACK_COVERED,        "ack_covered",          "a backend's acknowledgement of bytes that the gateway has acknowledged itself: noted, not passed on") \
    V(STATE,              "state",                "flags that the connection's state does not allow") \
    V(END_MOVED,          "end_moved",            "a client's FIN before bytes that it has sent already, or bytes behind its FIN, or behind its backend's reset: nobody would take them") \
    V(SCAN_GAP,           "scan_gap",             "holds or follows a request head, and bytes before it are missing; the client sends it again") \
    V(AFTER_LAST,         "after_last",           "behind a request that said it is the last of its connection: acknowledged and discarded") \
    V(AFTER_LAST_RESET,   "after_last_reset",     "more of that than anyone can have sent unaware, and all was answered: reset") \
    V(REFUSAL_TAKEN,      "refusal_taken",        "of a connection whose request was refused: noted, acknowledged, discarded; nobody else gets it") \
    V(HEAD_UNKEPT,        "head_unkept",          "a later request's head came in pieces, and there was no place for its beginning: both sides were reset; see [tables] held") \
    V(REQUEST_MALFORMED,  "request_malformed",    "a later request, or a chunked body, that the strict parser refuses: both sides were reset") \
    V(BACKEND_MUTE,       "backend_mute",         "a later request on a kept connection whose backend says nothing any more: both sides were reset, so that it comes again elsewhere") \
    V(INSIDE_NO_FLOW,     "inside_no_flow",       "a backend's segment without a flow") \
    V(INSIDE_SPOOF,       "inside_spoof",         "from the inside, but not from a backend") \
    /* counted beside the packet's verdict */ \
    V(SYN_REMEMBERED,     "syn_remembered",       "SYN of a network over its reflection_rate, answered because the same was refused 0.75 to 3.5 s before") \
    V(RULE_UPCOMING_OBSERVED, "rule_upcoming_observed", "rule_upcoming, but for the rule's mode = observe") \
    V(RULE_RATE_OBSERVED, "rule_rate_observed",   "rule_rate, but for the rule's mode = observe") \
    V(RULE_SOLD_OUT_OBSERVED, "rule_sold_out_observed", "rule_sold_out, but for the rule's mode = observe") \
    V(RULE_CLOSED_OBSERVED, "rule_closed_observed", "rule_closed, but for the rule's mode = observe") \
    V(IPV6_PADDING,       "ipv6_padding",         "IPv6 extension headers that say nothing (padding, a used-up route) were removed") \
    V(REQUEST_RATE_OBSERVED, "request_rate_observed", "would have been request_rate, but [clients] requests_mode = observe") \
    V(CONNECTION_RATE_OBSERVED, "connection_rate_observed", "would have been connection_rate, but [clients] connection_rate_mode = observe") \
    V(CLIENT_CONNECTIONS_OBSERVED, "client_connections_observed", "would have been client_connections, but [clients] connections_mode = observe") \
    V(CONNECTIONS_FULL_OBSERVED, "connections_full_observed", "would have been connections_full, but [limits] connections_mode = observe") \
    V(GATEWAY_RATE_OBSERVED, "gateway_rate_observed", "would have been gateway_rate, but [limits] connection_rate_mode = observe") \
    V(BANNED_OBSERVED,    "banned_observed",      "would have been banned, but [bans] mode = observe") \
    V(STRIKE,             "strike",               "a verified client has abused the protocol; enough of it makes a ban, see [bans] strikes") \
    V(BAN,                "ban",                  "a client was banned for its strikes") \
    V(BAN_TABLE_FULL,     "ban_table_full",       "a client was to be banned, but the table is full of bans in force; see [tables] bans") \
    V(CLIENT_DISPLACED,   "client_displaced",     "the table of clients was full: the one that had been idle longest went; see [tables] clients") \
    V(DENIED_OBSERVED,    "denied_observed",      "looked up, and in a deny list whose mode is observe: not dropped") \
    /* ends of flows, counted beside the packet's verdict */ \
    V(BAN_CUT,            "ban_cut",              "the client was banned: both sides were reset") \
    V(HEAD_TIMEOUT,       "head_timeout",         "a request head was not complete in time; the client was reset; see [tcp] head_timeout") \
    V(HELD_EVICTED,       "held_evicted",         "the oldest unfinished request head of the client that had most of them went for another; the client was reset") \
    V(UNDELIVERED,        "undelivered",          "a backend did not acknowledge bytes that the gateway had acknowledged to the client; both were reset") \
    V(BACKEND_REFUSED,    "backend_refused",      "the backends answered the opening with RST; the client was told: HTTP 503, or a reset") \
    V(BACKEND_TIMEOUT,    "backend_timeout",      "the backends did not answer the opening; the client was told: HTTP 503, or a reset") \
    V(BACKEND_OPTIONS,    "backend_options",      "the backend refused a TCP option that was granted to the client; if it was the last one asked, the client was told") \
    V(BACKEND_NEXT,       "backend_next",         "the backend refused the opening or did not answer it; the next one of the service is asked") \
    V(REFUSAL_UNREAD,     "refusal_unread",       "a client did not take its refusal, or did not close behind it, for 10 s: it was reset") \
    V(FLOW_CLOSED,        "flow_closed",          "a flow ended by FIN in both directions") \
    V(FLOW_RESET,         "flow_reset",           "a flow ended by RST") \
    V(FLOW_IDLE,          "flow_idle",            "a flow was silent for too long; both sides were reset") \
    V(SLOW_HEAD,          "slow_head",            "a later request head was not complete in time; both sides were reset; see [tcp] head_timeout") \
    V(SLOW_BODY,          "slow_body",            "a request's body came too slowly; both sides were reset; see [slow]") \
    V(SLOW_DRAIN,         "slow_drain",           "a client read its answer too slowly; both sides were reset; see [slow]") \
    V(SLOW_IDLE,          "slow_idle",            "nothing was asked on an open connection for too long, whatever else was sent; both sides were reset; see [slow]") \
    V(SLOW_ANSWER,        "slow_answer",          "a backend did not begin to answer, or nothing moved on TLS or TCP, for too long; both sides were reset; see [slow]") \
    V(SLOW_HEAD_OBSERVED, "slow_head_observed",   "would have been slow_head; see [slow] mode") \
    V(SLOW_BODY_OBSERVED, "slow_body_observed",   "would have been slow_body; see [slow] mode") \
    V(SLOW_DRAIN_OBSERVED, "slow_drain_observed", "would have been slow_drain; see [slow] mode") \
    V(SLOW_IDLE_OBSERVED, "slow_idle_observed",   "would have been slow_idle; see [slow] mode") \
    V(EXCESS_OBSERVED,    "excess_observed",      "would have been excess; see [tcp] excess_mode") \
    V(SLOW_ANSWER_OBSERVED, "slow_answer_observed", "would have been slow_answer; see [slow] mode") \
    V(DENIED_CUT,         "denied_cut",           "the lists have changed, and the client of a flow is denied now; both sides were reset") \
    V(FLOW_REPLACED,      "flow_replaced",        "the client began a new connection on the tuple of an old flow") \
    V(TOMBSTONE_EVICTED,  "tombstone_evicted",    "the table of closed connections was full: the oldest went early") \
    /* our own troubles */ \
    V(NO_BUFFER,          "no_buffer",            "no packet buffer for an answer") \
    V(TX_FULL,            "tx_full",              "the port's transmit queue was full; the packet is lost") \
    V(HANDOVER_FULL,      "handover_full",        "the ring to the worker that the client or the transmit queue belongs to was full; the packet is lost") \
    V(RING_FULL,          "ring_full",            "a ring to the control thread was full; the message is lost")
/* clang-format on */

#define VERDICT_ENUM(name, text, doc) VERDICT_##name,
enum verdict { VERDICTS(VERDICT_ENUM) VERDICT_COUNT };
#undef VERDICT_ENUM

/** The name and the explanation of a verdict; "unknown" outside of the table. Any thread. */
const char *verdict_name(enum verdict verdict);
const char *verdict_help(enum verdict verdict);

#endif
