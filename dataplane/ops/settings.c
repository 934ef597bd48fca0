/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * One row per key; nothing about a key is written anywhere else. */
#include "dataplane/ops/settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/rule_settings.h"
#include "dataplane/admit/maglev.h"
#include "dataplane/net/vlan.h"
#include "dataplane/ops/master.h"
#include "dataplane/ops/settings_feeds.h"
#include "dataplane/ops/settings_probe.h"
#include "dataplane/ops/settings_rules.h"
#include "dataplane/tcp/watch.h"

static const char *const idle_modes[] = {"adaptive", "poll", NULL};
static const char *const modes[] = {[OBSERVE] = "observe", [ENFORCE] = "enforce", NULL};
static const char *const log_levels[] = {"debug", "info", "warning", "error", NULL};
static const char *const protocols[] = {
    [SERVICE_HTTP] = "http", [SERVICE_TLS] = "tls", [SERVICE_TCP] = "tcp", NULL};

static const char *const all_downs[] = {[ALL_DOWN_REFUSE] = "refuse", [ALL_DOWN_TRY] = "try", NULL};
static const char *const probes[] = {
    [PROBE_AUTO] = "auto", [PROBE_BY_HTTP] = "http", [PROBE_BY_CONNECTING] = "connect", NULL};

#define SECTION(n, field, text)                                    \
    {                                                              \
        .name = n, .offset = offsetof(struct settings, field),     \
        .size = sizeof(((struct settings *)0)->field), .doc = text \
    }
#define NAMED(n, field, type, most, text)                                  \
    {                                                                      \
        .name = n, .named = 1, .offset = offsetof(struct settings, field), \
        .size = sizeof(struct type), .min = 1, .max = most, .doc = text    \
    }
#define ANONYMOUS(field, member) \
    (offsetof(struct settings, field.member) - offsetof(struct settings, field))

/* clang-format off */
static const struct conf_section sections[] = {
    SECTION("gateway", gateway, "The process: cores, memory, logging."),
    SECTION("outside", port[OUTSIDE], "The port towards the clients."),
    SECTION("inside", port[INSIDE], "The port towards the backends."),
    SECTION("tables", tables, "Bounds of the tables of one worker; all are allocated at start."),
    SECTION("tcp", tcp, "Times and sizes of connections."),
    SECTION("budgets", budgets, "Answers per second, of all workers together, that a forger could ask for."),
    SECTION("guard", guard, "What one source, and one network, may ask of a gateway that does not know them; connections are never touched."),
    SECTION("clients", clients, "What one client may do: an IPv4 address, or an IPv6 /64 that has opened a connection. Its IPv6 /56 may do 8 times as much, its /48 32 times. Addresses on an allow list are never limited, those on a proxies list only by [limits]."),
    SECTION("limits", limits, "What all clients may do together, whatever worker they belong to."),
    SECTION("bans", bans, "Clients that abuse the protocol (malformed requests, replays, slow connections) are struck, and banned for enough strikes: their SYNs are dropped and their connections cut. To exceed a rate is no abuse. Addresses on shared and proxies lists are never banned for strikes."),
    SECTION("cookie", cookie, "The keys of SYN cookies."),
    SECTION("slow", slow, "Clients that hold a backend's connection by being slow; both sides of it are reset. 0 turns a bound off. The defaults spare a phone in a tunnel."),
    SECTION("probe", probe, "How backends are asked whether they are well, and what TCP options they support."),
    NAMED("backend", backends, backend_settings, 4096, "A server behind the gateway. Its answers to clients must come back through the gateway: ip rule add from ADDRESS ipproto tcp sport PORT lookup N."),
    NAMED("service", services, service_settings, 1024, "An address and port that clients connect to. Protocols in which the server speaks first cannot be deferred and are refused."),
    {"rule", 1, offsetof(struct settings, rules), sizeof(struct rule_settings), 0, RULES_MAX, "Who is let in to what, and when: of all rules that match a request the first one decides. A request that none matches passes. Rules for requests are for plain HTTP; on TLS a rule is for connections, by server_name."},
    {.name = "feed", .named = 1, .offset = offsetof(struct settings, feeds), .size = sizeof(struct feed_settings), .min = 0, .max = LISTS_FEEDS, .doc = "A list of addresses: denied, allowed, or to be treated with care. A file that is missing, refused or held back changes nothing: the last good one stays in force, with its age in /dropgate/feeds."},
};

#define GATEWAY(k, t, f, lo, hi, def, ch, when, text) {"gateway", k, t, ANONYMOUS(gateway, f), lo, hi, def, ch, when, text}
#define ROW(s, k, t, f, lo, hi, def, text) {#s, k, t, ANONYMOUS(s, f), lo, hi, def, NULL, CONF_RELOAD, text}
#define FIXED(s, k, t, f, lo, hi, def, text) {#s, k, t, ANONYMOUS(s, f), lo, hi, def, NULL, CONF_BOOT, text}
#define SLOW(k, t, f, lo, hi, def, text) {"slow", k, t, ANONYMOUS(slow, f), lo, hi, def, NULL, CONF_RELOAD, text}
#define PROBE(k, t, f, lo, hi, def, text) {"probe", k, t, ANONYMOUS(probe, f), lo, hi, def, NULL, CONF_RELOAD, text}
#define OF_BACKEND(k, t, f, lo, hi, def, ch, text) {"backend", k, t, offsetof(struct backend_settings, f), lo, hi, def, ch, CONF_RELOAD, text}
#define LIVE(s, k, t, f, lo, hi, def, ch, text) {#s, k, t, ANONYMOUS(s, f), lo, hi, def, ch, CONF_RELOAD, text}
#define PORT(s) \
    {s, "device", CONF_STRING, offsetof(struct port_settings, device), 1, 255, NULL, NULL, CONF_BOOT, \
     "PCI address (0000:03:00.0), or a DPDK virtual device with its arguments (net_af_xdp0,iface=eth1). With net_af_packet the kernel reassembles fragments before the gateway can refuse them."}, \
    {s, "addresses", CONF_INTERFACES, offsetof(struct port_settings, addresses), 1, 64, NULL, NULL, CONF_BOOT, \
     "Own addresses with their on-link prefix length (198.18.0.1/17, 2001:db8::1/64): answered to ARP, neighbour discovery and echo."}, \
    {s, "routers", CONF_ADDRS, offsetof(struct port_settings, routers), 0, 2, "", NULL, CONF_RELOAD, \
     "Next hop for backends that are not on-link, at most one per family. Clients need none: they are answered where they came from."}, \
    {s, "vlan", CONF_STRING, offsetof(struct port_settings, vlan), 0, 9, "", NULL, CONF_BOOT, \
     "VLAN of this side: a tag (7), or an outer and an inner one (100.7; the outer is sent as 0x88a8). Frames with any other tags, or none, are dropped. Empty: untagged."}, \
    {s, "rx_descriptors", CONF_INT, offsetof(struct port_settings, rx_descriptors), 64, 32768, "2048", NULL, CONF_BOOT, \
     "Receive ring, in packets (the driver may round it)."}, \
    {s, "tx_descriptors", CONF_INT, offsetof(struct port_settings, tx_descriptors), 64, 32768, "2048", NULL, CONF_BOOT, \
     "Transmit ring, in packets (the driver may round it)."}

static const struct conf_row rows[] = {
    GATEWAY("instance", CONF_STRING, instance, 1, 63, "dropgate", NULL, CONF_BOOT, "Name of this process among DPDK's on the machine: /run/dpdk/INSTANCE holds its telemetry socket."),
    GATEWAY("cores", CONF_STRING, cores, 1, 511, "0,1", NULL, CONF_BOOT, "Processors: the first for the control thread, each further one for a worker. With idle = adaptive one may be named again (0,1,1), for trials on a small machine: those threads share it."),
    GATEWAY("workers", CONF_INT, workers, 1, STEER_WORKERS, "1", NULL, CONF_BOOT, "Workers: each has its part of the clients, tables of its own, and a queue of each port that has so many. Whatever queue a packet comes by, it is handed to its client's worker."),
    GATEWAY("idle", CONF_ENUM, idle, 0, 0, "adaptive", idle_modes, CONF_BOOT, "What a worker does without packets: sleep ever longer (adaptive), or spin (poll, for production)."),
    GATEWAY("hugepages", CONF_BOOL, hugepages, 0, 0, "no", NULL, CONF_BOOT, "Take packet buffers from hugepages, which must have been reserved."),
    GATEWAY("memory", CONF_SIZE, memory, 64 << 20, INT64_C(64) << 30, "256M", NULL, CONF_BOOT, "Memory for packet buffers and rings. Tables are counted by [tables]."),
    GATEWAY("buffers", CONF_INT, buffers, 1024, 1 << 24, "32768", NULL, CONF_BOOT, "Packet buffers, of about 2.3 KB. At least what the rings of both ports hold, 1,024 per worker, and 2,048 from each worker to each other one: three workers may need more than the default, and four do."),
    GATEWAY("log_level", CONF_ENUM, log_level, 0, 0, "info", log_levels, CONF_RELOAD, "The least severe lines that are logged."),
    GATEWAY("state_dir", CONF_STRING, state_dir, 0, 255, "", NULL, CONF_RELOAD, "Directory for what must outlive a restart: the last good copy of each feed. Only the gateway writes there, and it is of one gateway alone. Empty: nothing is kept."),
    PORT("outside"),
    PORT("inside"),
    FIXED(tables, "flows", CONF_INT, flows, 1, 1 << 26, "262144", "Open connections; 192 bytes each."),
    FIXED(tables, "tombstones", CONF_INT, tombstones, 1, 1 << 26, "1048576", "Closed connections remembered for the life of a cookie (130 s); 32 bytes each. Closing more per second than this / 130 is counted as tombstone_evicted."),
    FIXED(tables, "held", CONF_INT, held, 1, 1 << 20, "16384", "Requests held until their head is complete and their backend has answered, of up to 1,536 bytes each. When all are in use, the oldest unfinished head of the client that has most of them goes."),
    FIXED(tables, "held_large", CONF_INT, held_large, 1, 1 << 20, "2048", "The same for those that need more room; as many bytes each as [tcp] window."),
    FIXED(tables, "held_per_client", CONF_INT, held_per_client, 1, 1 << 20, "1024", "Requests held of one client (an IPv4 address, an IPv6 /64). Mind those behind which many people sit."),
    FIXED(tables, "services", CONF_INT, services, 1, 32768, "4096", "Addresses and ports that services listen on; of those that a reload removes each counts on until its connections have ended, and 130 s longer."),
    FIXED(tables, "backends", CONF_INT, backends, 1, 32768, "4096", "The same for backends."),
    FIXED(tables, "clients", CONF_INT, clients, 64, 1 << 26, "262144", "Clients that are remembered: IPv4 addresses and IPv6 /64s that have opened a connection, and the IPv6 /56, /48 and /32 that these lie in; 100 bytes each. When it is full, the client without open connections that has been idle longest goes, and for a /48 or /32 that has more than its share of the table one of its own."),
    FIXED(tables, "bans", CONF_INT, bans, 16, 1 << 24, "65536", "Bans in force or remembered; 64 bytes each. Nothing displaces one."),
    FIXED(tables, "rules", CONF_INT, rules, 0, RULES_MAX, "256", "[rule] sections; 128 bytes for each."),
    ROW(tcp, "syn_timeout", CONF_DURATION, syn_timeout, 50, 60000, "1s", "First wait for a backend's SYN-ACK, then the next backend is asked; where there is none the wait doubles with each try."),
    ROW(tcp, "syn_tries", CONF_INT, syn_tries, 1, 8, "4", "SYNs sent for a connection, to one backend after another, before the client is reset."),
    ROW(tcp, "head_timeout", CONF_DURATION, head_timeout, 100, 600000, "10s", "Time for a connection's first request head to be complete, from its first byte on; then the client is reset."),
    ROW(tcp, "idle", CONF_DURATION, idle, 1000, 86400000, "15m", "Silence after which an open connection is reset on both sides."),
    ROW(tcp, "half_closed", CONF_DURATION, half_closed, 1000, 86400000, "5m", "The same after one side has sent FIN."),
    ROW(tcp, "closing", CONF_DURATION, closing, 1000, 3600000, "60s", "The same after both have."),
    ROW(tcp, "linger", CONF_DURATION, linger, 100, 240000, "3s", "How long a closed connection still passes what is sent again."),
    FIXED(tcp, "window", CONF_SIZE, window, 1460, 65535, "8K", "Window announced in a SYN-ACK: what a client may send before the backend has answered. A request's head must fit."),
    ROW(tcp, "mss_v4", CONF_INT, mss_v4, 536, 1460, "1460", "Largest segment announced to IPv4 clients and in probes, bytes. Larger ones could not be held while a backend is opened."),
    LIVE(tcp, "excess_mode", CONF_ENUM, excess_mode, 0, 0, "enforce", modes, "Segments of open connections that move nothing, far more than any honest stack sends: drop (enforce: excess), or count only (observe: excess_observed)."),
    ROW(tcp, "mss_v6", CONF_INT, mss_v6, 1220, 1440, "1440", "The same for IPv6, bytes."),
    ROW(budgets, "resets", CONF_INT, resets, 0, 1000000, "1000", "RSTs to clients for data that belongs to no connection, per second."),
    ROW(budgets, "fins", CONF_INT, fins, 0, 1000000, "1000", "Answers to FINs and late duplicates without a connection, per second."),
    ROW(budgets, "echoes", CONF_INT, echoes, 0, 1000000, "1000", "Echo replies, per second."),
    ROW(budgets, "too_bigs", CONF_INT, too_bigs, 0, 1000000, "1000", "ICMP too-big messages of routers that are passed on, per second."),
    ROW(budgets, "inside_resets", CONF_INT, inside_resets, 0, 1000000, "10000", "RSTs to backends for connections that no longer exist, per second."),
    ROW(guard, "source_rate", CONF_INT, source_rate, 0, 10000000, "20000", "Packets per second of one source (an IPv4 address, an IPv6 /64) that belong to no connection; more are dropped (source_rate). It is there so that one forged source cannot take a worker's time, and no limit for clients: behind one address of a carrier a hundred thousand people may sit. 0: no limit."),
    ROW(guard, "reflection_rate", CONF_INT, reflection_rate, 0, 10000000, "10000", "SYN-ACKs per second to one network (an IPv4 /24, an IPv6 /48), of all workers together, so that forged SYNs cannot make the gateway flood somebody; more are dropped (reflection_rate), but for a few of each verified client and for second tries. 0: no limit."),
    ROW(guard, "remembered_syns", CONF_INT, remembered_syns, 0, 1000000, "10000", "SYNs of networks over their reflection_rate that are answered per second, of all workers together, because the same was refused 0.75 to 3.5 s before: clients try again, forgers seldom."),
    LIVE(clients, "requests", CONF_INT, requests, 0, 10000000, "0", NULL, "Requests per minute of one client; on a TLS or tcp service what a client sends after its server has spoken is one. More are refused (request_rate). 0: no limit."),
    LIVE(clients, "requests_burst", CONF_INT, requests_burst, 1, 1000000, "30", NULL, "Requests that a client may make at once, after a rest."),
    LIVE(clients, "requests_mode", CONF_ENUM, requests_mode, 0, 0, "enforce", modes, "observe: only count what would be refused (request_rate_observed)."),
    LIVE(clients, "connection_rate", CONF_INT, connection_rate, 0, 1000000, "0", NULL, "New connections per second of one client; more are reset (connection_rate). 0: no limit."),
    LIVE(clients, "connection_burst", CONF_INT, connection_burst, 1, 1000000, "20", NULL, "New connections that a client may open at once, after a rest."),
    LIVE(clients, "connection_rate_mode", CONF_ENUM, connection_rate_mode, 0, 0, "enforce", modes, "observe: only count what would be refused (connection_rate_observed)."),
    LIVE(clients, "connections", CONF_INT, connections, 0, 1 << 26, "0", NULL, "Connections that one client may have open at once; more are reset (client_connections). 0: no limit."),
    LIVE(clients, "connections_mode", CONF_ENUM, connections_mode, 0, 0, "enforce", modes, "observe: only count what would be refused (client_connections_observed)."),
    LIVE(clients, "shared_factor", CONF_INT, shared_factor, 1, 10000, "16", NULL, "By how much these limits are multiplied for addresses on a shared list, behind which many people sit."),
    LIVE(limits, "connections", CONF_INT, connections, 0, 1 << 26, "0", NULL, "Connections open at once, of all clients; more are reset (connections_full). 0: no limit but [tables] flows."),
    LIVE(limits, "connections_mode", CONF_ENUM, connections_mode, 0, 0, "enforce", modes, "observe: only count what would be refused (connections_full_observed)."),
    LIVE(limits, "connection_rate", CONF_INT, connection_rate, 0, 1000000, "0", NULL, "New connections per second, of all clients; more are reset (gateway_rate). 0: no limit."),
    LIVE(limits, "connection_rate_mode", CONF_ENUM, connection_rate_mode, 0, 0, "enforce", modes, "observe: only count what would be refused (gateway_rate_observed)."),
    LIVE(bans, "strikes", CONF_INT, strikes, 0, 10000, "20", NULL, "Strikes that make a ban. 0: nobody is banned for strikes."),
    LIVE(bans, "strike_decay", CONF_DURATION, strike_decay, 100, 86400000, "10s", NULL, "Time after which one strike is forgiven."),
    LIVE(bans, "first", CONF_DURATION, first, 1000, 86400000, "1m", NULL, "How long the first ban lasts. Each further one lasts twice as long as the one before, unless that has been over for as long as it lasted."),
    LIVE(bans, "longest", CONF_DURATION, longest, 1000, 604800000, "1h", NULL, "The longest that a ban lasts."),
    LIVE(bans, "mode", CONF_ENUM, mode, 0, 0, "enforce", modes, "observe: bans are kept, but refuse nobody: what they would have dropped is counted (banned_observed)."),
    ROW(cookie, "master_file", CONF_STRING, master_file, 0, 255, "", "File with the master key: 64 hexadecimal digits on one line, made by (umask 077; dropgate-dataplane --new-master > FILE), readable by its owner only. Gateways with the same key accept each other's cookies, and a restart keeps them. SIGHUP reads the file again; what cookies of the key before have promised is kept. Empty: a key is drawn at each start, and when a file is taken out."),
    {"slow", "mode", CONF_ENUM, ANONYMOUS(slow, mode), 0, 0, "enforce", modes, CONF_RELOAD, "Count only (observe: slow_body_observed ...), or reset (enforce: slow_body ...)."},
    SLOW("window", CONF_DURATION, window, 1000, 600000, "60s", "Time over which rates are averaged. Behind half a minute without a network a phone needs another half to be heard again: retransmissions come ever more seldom."),
    SLOW("body_rate", CONF_INT, body_rate, 0, 1000000000, "256", "Bytes per second of a request's body, on average over each window in which the backend has room for it. Half of a window of nothing and half of a bad mobile network (2 kB/s) is four times as much."),
    SLOW("drain_rate", CONF_INT, drain_rate, 0, 1000000000, "256", "Bytes per second that a client must read of an answer, on average over each window in which it is behind its backend or has no room for more."),
    SLOW("body", CONF_DURATION, body, 0, SLOW_LONGEST_MS, "1h", "Longest time for a request's body, whatever its rate."),
    SLOW("drain", CONF_DURATION, drain, 0, SLOW_LONGEST_MS, "2h", "Longest time for which a client may be behind its backend at every look, whatever its rate."),
    SLOW("idle", CONF_DURATION, idle, 0, SLOW_LONGEST_MS, "6m", "Longest time without a request or an answer on an open HTTP connection, whatever keep-alives there are. Browsers close theirs after 5 minutes at most; backends do far sooner."),
    SLOW("answer", CONF_DURATION, answer, 0, SLOW_LONGEST_MS, "15m", "Longest wait for a backend to begin its answer (long polling); on TLS and TCP, where it cannot be told, without a byte of data."),
    PROBE("interval", CONF_DURATION, interval, 100, 3600000, "5s", "Time between probes of a backend; after one that failed the next follows when its time is over."),
    PROBE("timeout", CONF_DURATION, timeout, 50, 60000, "1s", "Time for a probe to be answered, from its SYN to the status line; what is lost is sent again twice within it."),
    PROBE("path", CONF_STRING, path, 1, SETTINGS_PROBE_PATH, "/readyz", "What a backend that serves HTTP is asked for; it must answer with status 200."),
    PROBE("host", CONF_STRING, host, 0, SETTINGS_PROBE_HOST, "", "Host of that request. Empty: the backend's address and port."),
    PROBE("failures", CONF_INT, failures, 1, 100, "2", "Probes in a row that must fail before a backend gets no new connections; one that is answered well brings it back."),
    PROBE("opening_failures", CONF_INT, opening_failures, 1, 1000, "5", "Openings for clients in a row that must fail on one worker for the same, so that a dead backend is noticed before its next probe."),
    PROBE("response_failures", CONF_INT, response_failures, 1, WATCH_CLIENTS, "3", "Clients whose requests must have waited longer than response_timeout for their answer's first byte, while nobody's was answered on that worker, for the same: a process that hangs. One client counts once, whatever it sends, and a service's last backend is left to its probes. The backend comes back no sooner than after an interval, which doubles each time until it has answered somebody."),
    {"backend", "address", CONF_ENDPOINT, offsetof(struct backend_settings, address), 0, 0, NULL, NULL, CONF_RELOAD, "Address and port; IPv6 as [2001:db8::2]:8080."},
    OF_BACKEND("weight", CONF_INT, weight, 0, MAGLEV_WEIGHT, "10", NULL, "Its share of a service's new connections, as against the other backends' weights. 0: a spare, used when none of the others can be."),
    OF_BACKEND("drain", CONF_BOOL, drain, 0, 0, "no", NULL, "It gets no new connections; those that are open go on until they end."),
    OF_BACKEND("probe", CONF_ENUM, probe, 0, 0, "auto", probes, "How it is asked whether it is well: for a path (http), or only for a connection, which a process that hangs still grants (connect); auto: for a path if an HTTP service uses it."),
    OF_BACKEND("probe_path", CONF_STRING, probe_path, 0, SETTINGS_PROBE_PATH, "", NULL, "In place of [probe] path. Empty: that one."),
    OF_BACKEND("probe_host", CONF_STRING, probe_host, 0, SETTINGS_PROBE_HOST, "", NULL, "In place of [probe] host. Empty: that one."),
    {"service", "protocol", CONF_ENUM, offsetof(struct service_settings, protocol), 0, 0, "http", protocols, CONF_RELOAD, "What clients speak, which decides what must have come before a backend is asked: a request head (http; every further request is read too), a ClientHello (tls; passed through, the backend has the key), or any byte (tcp)."},
    {"service", "server_names", CONF_STRINGS, offsetof(struct service_settings, names), 0, 1024, "", NULL, CONF_RELOAD, "With protocol = tls: the server names that are served, *.example.com for any one label; a ClientHello for another one, or for none, is refused by an alert. Empty: any."},
    {"service", "listen", CONF_ENDPOINTS, offsetof(struct service_settings, listen), 1, 64, NULL, NULL, CONF_RELOAD, "Addresses and ports; answered to ARP and neighbour discovery on the outside."},
    {"service", "backends", CONF_STRINGS, offsetof(struct service_settings, backends), 1, 4096, NULL, NULL, CONF_RELOAD, "Names of [backend] sections, as many as fit into the line: at least one for each family that the service listens on. New connections are spread over those of the client's family that answer probes."},
    {"service", "all_down", CONF_ENUM, offsetof(struct service_settings, all_down), 0, 0, "refuse", all_downs, CONF_RELOAD, "What new clients get while all backends are down: an answer at once, HTTP 503 or a reset (refuse); or a try at each of them in spite of what is known (try): for probes that may fail where clients would be served, as when all backends are too busy to answer them. Those that drain are not tried."},
    {"service", "response_timeout", CONF_DURATION, offsetof(struct service_settings, response_timeout), 0, 3600000, "10s", NULL, CONF_RELOAD, "Longer than the slowest answer takes to begin. A request that waits longer goes on waiting, but see [probe] response_failures. With protocol = tcp nothing is expected. 0s: for ever."},
    RULE_ROW("services", CONF_STRINGS, services, 0, 64, "", NULL, "Names of [service] sections that it is for. Empty: all."),
    RULE_ROWS,
    RULE_ROW("server_name", CONF_STRING, server_name, 0, 255, "", NULL, "With protocol = tls: the server name of connections that it is for; *.example.com for any one label. What it refuses is reset."),
    RULE_ROW("admit_per_second", CONF_INT, admit_per_second, 0, 1000000, "0", NULL, "While it is open: requests (on TLS and TCP, connections) that are let through per second, of all workers together; the others are told to come again (503, Retry-After), or reset. 0: all."),
    RULE_ROW("burst", CONF_INT, burst, 0, 10000000, "0", NULL, "How many of them at once, after a time with fewer; never more than this and the rate in any time. 0: as many as in 100 ms."),
    FEED_ROWS,
};
/* clang-format on */

static const struct backend_settings *backends_of(const struct settings *s)
{
    return s->backends.items;
}

static const struct service_settings *services_of(const struct settings *s)
{
    return s->services.items;
}

int settings_find_backend(const struct settings *s, const char *name)
{
    for (size_t i = 0; i < s->backends.count; i++)
        if (strcmp(backends_of(s)[i].name, name) == 0)
            return (int)i;
    return -1;
}

static bool has_backend_of(const struct settings *s, const struct service_settings *service,
                           bool v4)
{
    char *const *names = service->backends.items;
    for (size_t i = 0; i < service->backends.count; i++) {
        int index = settings_find_backend(s, names[i]);
        if (index >= 0 && addr_is_v4(&backends_of(s)[index].address.addr) == v4)
            return true;
    }
    return false;
}

/* The own address whose link `to` is on, or NULL. */
const struct conf_interface *settings_on_link(const struct port_settings *port,
                                              const struct addr *to)
{
    const struct conf_interface *own = port->addresses.items;
    for (size_t i = 0; i < port->addresses.count; i++)
        if (addr_is_v4(&own[i].addr) == addr_is_v4(to) && prefix_contains(&own[i].on_link, to))
            return &own[i];
    return NULL;
}

static bool is_own(const struct port_settings *port, const struct addr *addr)
{
    const struct conf_interface *own = port->addresses.items;
    for (size_t i = 0; i < port->addresses.count; i++)
        if (addr_equal(&own[i].addr, addr))
            return true;
    return false;
}

static bool has_family(const struct port_settings *port, bool v4)
{
    const struct conf_interface *own = port->addresses.items;
    for (size_t i = 0; i < port->addresses.count; i++)
        if (addr_is_v4(&own[i].addr) == v4)
            return true;
    return false;
}

/* Where packets to an address inside go next: itself when on-link, else its family's router, or
 * NULL. */
const struct addr *settings_next_hop(const struct settings *s, const struct addr *to)
{
    const struct addr *routers = s->port[INSIDE].routers.items;
    if (settings_on_link(&s->port[INSIDE], to) != NULL)
        return to;
    for (size_t i = 0; i < s->port[INSIDE].routers.count; i++)
        if (addr_is_v4(&routers[i]) == addr_is_v4(to))
            return &routers[i];
    return NULL;
}

static int check_backend(const struct settings *s, size_t index, char *why, size_t size)
{
    const struct backend_settings *b = &backends_of(s)[index];
    const struct addr *addr = &b->address.addr;
    char text[ADDR_TEXT];
    endpoint_print(&b->address, text);
    for (size_t i = 0; i < index; i++)
        if (addr_equal(&backends_of(s)[i].address.addr, addr) &&
            backends_of(s)[i].address.port == b->address.port)
            return conf_refuse(why, size,
                               "[backend %s] address = %s: already the address of [backend %s]",
                               b->name, text, backends_of(s)[i].name);
    if (packet_bogon(addr, addr_is_v4(addr)))
        return conf_refuse(why, size,
                           "[backend %s] address = %s: not an address that a host can have",
                           b->name, text);
    if (!has_family(&s->port[INSIDE], addr_is_v4(addr)))
        return conf_refuse(why, size,
                           "[backend %s] address = %s: [inside] addresses has none of that family",
                           b->name, text);
    if (is_own(&s->port[INSIDE], addr))
        return conf_refuse(why, size, "[backend %s] address = %s: is the gateway's own address",
                           b->name, text);
    if (settings_next_hop(s, addr) == NULL)
        return conf_refuse(
            why, size,
            "[backend %s] address = %s: not on-link on the inside, and [inside] routers "
            "has none of that family",
            b->name, text);
    return 0;
}

/* A backend's address, or one in a network of the inside port. */
static bool is_inside(const struct settings *s, const struct addr *addr)
{
    for (size_t i = 0; i < s->backends.count; i++)
        if (addr_equal(&backends_of(s)[i].address.addr, addr))
            return true;
    return settings_on_link(&s->port[INSIDE], addr) != NULL;
}

static int check_listen(const struct settings *s, const struct service_settings *service,
                        const struct endpoint *listen, char *why, size_t size)
{
    char text[ADDR_TEXT];
    endpoint_print(listen, text);
    if (packet_bogon(&listen->addr, addr_is_v4(&listen->addr)))
        return conf_refuse(why, size,
                           "[service %s] listen = %s: not an address that clients can reach",
                           service->name, text);
    if (is_inside(s, &listen->addr))
        return conf_refuse(why, size, "[service %s] listen = %s: an address of the inside",
                           service->name, text);
    if (!has_backend_of(s, service, addr_is_v4(&listen->addr)))
        return conf_refuse(why, size,
                           "[service %s] listen = %s: backends names no backend of that family "
                           "(addresses are not translated between families)",
                           service->name, text);
    return 0;
}

/* A client of these waits for the server's greeting and says nothing until then. */
static bool server_speaks_first(uint16_t port)
{
    static const uint16_t ports[] = {21,  22,  23,  25,  37,  43,   70,   110,  119,
                                     143, 194, 220, 433, 587, 3306, 4190, 5900, 6667};
    for (size_t i = 0; i < sizeof ports / sizeof ports[0]; i++)
        if (ports[i] == port)
            return true;
    return false;
}

static int check_protocol(const struct service_settings *service, char *why, size_t size)
{
    char *const *names = service->names.items;
    const struct endpoint *listen = service->listen.items;
    if (service->names.count && service->protocol != SERVICE_TLS)
        return conf_refuse(
            why, size,
            "[service %s] server_names: only a ClientHello names a server; set protocol = "
            "tls, or leave them out",
            service->name);
    for (size_t i = 0; i < service->names.count; i++)
        if (names_refuse(names[i]) != NULL)
            return conf_refuse(why, size, "[service %s] server_names = %s: %s", service->name,
                               names[i], names_refuse(names[i]));
    for (size_t i = 0; service->protocol == SERVICE_TCP && i < service->listen.count; i++)
        if (server_speaks_first(listen[i].port))
            return conf_refuse(
                why, size,
                "[service %s] protocol = tcp: on port %u the server speaks first, and a "
                "backend is only asked once the client has said something, so both would "
                "wait for ever",
                service->name, listen[i].port);
    return 0;
}

static int check_service(const struct settings *s, const struct service_settings *service,
                         char *why, size_t size)
{
    if (check_protocol(service, why, size) != 0)
        return -EINVAL;
    char *const *names = service->backends.items;
    const struct endpoint *listen = service->listen.items;
    for (size_t i = 0; i < service->backends.count; i++) {
        if (settings_find_backend(s, names[i]) < 0)
            return conf_refuse(why, size, "[service %s] backends = %s: there is no [backend %s]",
                               service->name, names[i], names[i]);
        for (size_t k = 0; k < i; k++)
            if (strcmp(names[i], names[k]) == 0)
                return conf_refuse(why, size, "[service %s] backends = %s: named twice",
                                   service->name, names[i]);
    }
    for (size_t i = 0; i < service->listen.count; i++)
        if (check_listen(s, service, &listen[i], why, size) != 0)
            return -EINVAL;
    return 0;
}

static int check_port(const struct port_settings *port, const char *name, char *why, size_t size)
{
    const struct conf_interface *own = port->addresses.items;
    const struct addr *routers = port->routers.items;
    char text[ADDR_TEXT];
    struct vlan vlan;
    if (vlan_parse(port->vlan, &vlan) != 0)
        return conf_refuse(
            why, size,
            "[%s] vlan = %s: not a VLAN; allowed: a tag from 1 to 4094, two with a dot "
            "between (outer.inner), or nothing",
            name, port->vlan);
    for (size_t i = 0; i < port->addresses.count; i++)
        if (packet_bogon(&own[i].addr, addr_is_v4(&own[i].addr)))
            return conf_refuse(why, size,
                               "[%s] addresses = %s: not an address that a host can have", name,
                               addr_print(&own[i].addr, text));
    if (port->routers.count == 2 && addr_is_v4(&routers[0]) == addr_is_v4(&routers[1]))
        return conf_refuse(why, size, "[%s] routers: two of one family; at most one each", name);
    for (size_t i = 0; i < port->routers.count; i++)
        if (settings_on_link(port, &routers[i]) == NULL || is_own(port, &routers[i]))
            return conf_refuse(why, size,
                               "[%s] routers = %s: must be another host on the link of one of "
                               "[%s] addresses",
                               name, addr_print(&routers[i], text), name);
    return 0;
}

/* What stands before a device's arguments: DPDK's name for it; and the interface among them, if
 * any. */
static size_t name_length(const char *device)
{
    return strcspn(device, ",");
}

static bool same_interface(const char *a, const char *b)
{
    const char *x = strstr(a, "iface="), *y = strstr(b, "iface=");
    if (x == NULL || y == NULL)
        return false;
    size_t length = strcspn(x, ",");
    return length == strcspn(y, ",") && strncmp(x, y, length) == 0;
}

/* The two sides must be different devices in different networks. */
static int check_sides(const struct settings *s, char *why, size_t size)
{
    const char *out = s->port[OUTSIDE].device, *in = s->port[INSIDE].device;
    const struct conf_interface *outer = s->port[OUTSIDE].addresses.items;
    const struct conf_interface *inner = s->port[INSIDE].addresses.items;
    char text[ADDR_TEXT];
    if ((name_length(out) == name_length(in) && strncmp(out, in, name_length(in)) == 0) ||
        same_interface(out, in))
        return conf_refuse(why, size, "[inside] device = %s: is the device of [outside]", in);
    for (size_t i = 0; i < s->port[INSIDE].addresses.count; i++)
        for (size_t k = 0; k < s->port[OUTSIDE].addresses.count; k++)
            if (prefix_contains(&outer[k].on_link, &inner[i].addr) ||
                prefix_contains(&inner[i].on_link, &outer[k].addr))
                return conf_refuse(
                    why, size,
                    "[inside] addresses = %s: its network overlaps with one of [outside]",
                    addr_print(&inner[i].addr, text));
    return 0;
}

int settings_cores(const struct settings *s, uint16_t cores[SETTINGS_CORES])
{
    const char *at = s->gateway.cores;
    int count = 0;
    while (*at >= '0' && *at <= '9' && count < SETTINGS_CORES) {
        char *end;
        errno = 0;
        long core = strtol(at, &end, 10);
        if (core >= 1024 || errno != 0 || (*end != ',' && *end != '\0'))
            return -EINVAL;
        cores[count++] = (uint16_t)core;
        if (*end == '\0')
            return count;
        at = end + 1;
    }
    return -EINVAL;
}

/* One processor for control and one per worker. A thread that never sleeps would starve another on
 * its processor. */
static int check_cores(const struct settings *s, char *why, size_t size)
{
    uint16_t cores[SETTINGS_CORES];
    int count = settings_cores(s, cores);
    if (count != s->gateway.workers + 1)
        return conf_refuse(
            why, size,
            "[gateway] cores = %s: want %lld processor numbers, separated by commas: "
            "control, then one per worker",
            s->gateway.cores, (long long)s->gateway.workers + 1);
    for (int i = 0; i < count && s->gateway.idle == IDLE_POLL; i++)
        for (int k = 0; k < i; k++)
            if (cores[k] == cores[i])
                return conf_refuse(
                    why, size,
                    "[gateway] cores = %s: processor %u twice; threads that share one "
                    "must sleep: allowed with idle = adaptive only",
                    s->gateway.cores, cores[i]);
    return 0;
}

static int check_gateway(const struct settings *s, char *why, size_t size)
{
    const char *instance = s->gateway.instance;
    int64_t rings = 0;
    for (int side = 0; side < PORT_SIDES; side++)
        rings += s->port[side].rx_descriptors + s->port[side].tx_descriptors;
    if (instance[0] == '.' || instance[strspn(instance, "abcdefghijklmnopqrstuvwxyz"
                                                        "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")])
        return conf_refuse(
            why, size,
            "[gateway] instance = %s: not a name; allowed: letters, digits, '_', '-', "
            "and '.' but not first",
            instance);
    int64_t least = rings + settings_worker_buffers(s->gateway.workers);
    if (s->gateway.buffers < least)
        return conf_refuse(
            why, size,
            "[gateway] buffers = %lld: the rings of both ports hold %lld and the workers "
            "%lld; allowed: at least %lld",
            (long long)s->gateway.buffers, (long long)rings, (long long)(least - rings),
            (long long)least);
    return check_cores(s, why, size);
}

/* No two services on one address and port. */
static int check_overlap(const struct settings *s, char *why, size_t size)
{
    for (size_t i = 0; i < s->services.count; i++) {
        const struct service_settings *a = &services_of(s)[i];
        for (size_t n = 0; n < a->listen.count; n++) {
            const struct endpoint *e = &((const struct endpoint *)a->listen.items)[n];
            char text[ADDR_TEXT];
            for (size_t j = 0; j <= i; j++) {
                const struct service_settings *b = &services_of(s)[j];
                for (size_t m = 0; m < (j == i ? n : b->listen.count); m++) {
                    const struct endpoint *f = &((const struct endpoint *)b->listen.items)[m];
                    if (e->port == f->port && addr_equal(&e->addr, &f->addr))
                        return conf_refuse(
                            why, size, "[service %s] listen = %s: already served by [service %s]",
                            a->name, endpoint_print(e, text), b->name);
                }
            }
        }
    }
    return 0;
}

/* Each has a number, and so may have those that a reload has removed. */
static int check_numbers(const struct settings *s, char *why, size_t size)
{
    size_t listens = settings_listen_count(s);
    if ((size_t)s->tables.backends < s->backends.count)
        return conf_refuse(why, size, "[tables] backends = %lld: there are %zu; allowed: no fewer",
                           (long long)s->tables.backends, s->backends.count);
    if ((size_t)s->tables.services < listens)
        return conf_refuse(why, size,
                           "[tables] services = %lld: services listen on %zu addresses and ports; "
                           "allowed: no fewer",
                           (long long)s->tables.services, listens);
    return 0;
}

/* The key is not kept here: whoever uses it reads it again. */
static int check_master(const struct settings *s, char *why, size_t size)
{
    uint8_t master[MASTER_BYTES];
    char reason[MASTER_WHY];
    if (s->cookie.master_file == NULL)
        return 0;
    int error = master_read(s->cookie.master_file, master, reason);
    explicit_bzero(master, sizeof master);
    return error == 0 ? 0 : conf_refuse(why, size, "%s", reason);
}

static int check(const void *root, char *why, size_t size)
{
    const struct settings *s = root;
    if (check_gateway(s, why, size) != 0 || check_sides(s, why, size) != 0)
        return -EINVAL;
    if (check_port(&s->port[OUTSIDE], "outside", why, size) != 0 ||
        check_port(&s->port[INSIDE], "inside", why, size) != 0)
        return -EINVAL;
    for (size_t i = 0; i < s->backends.count; i++)
        if (check_backend(s, i, why, size) != 0)
            return -EINVAL;
    for (size_t i = 0; i < s->services.count; i++)
        if (check_service(s, &services_of(s)[i], why, size) != 0)
            return -EINVAL;
    if (check_numbers(s, why, size) != 0 || check_overlap(s, why, size) != 0 ||
        settings_probe_check(s, why, size) != 0 || settings_rules_check(s, why, size) != 0 ||
        settings_check_feeds(s, why, size) != 0)
        return -EINVAL;
    return check_master(s, why, size);
}

const struct conf_schema SETTINGS_SCHEMA = {
    .program = "dropgate-dataplane",
    .size = sizeof(struct settings),
    .sections = sections,
    .section_count = sizeof sections / sizeof sections[0],
    .rows = rows,
    .row_count = sizeof rows / sizeof rows[0],
    .check = check,
};

static struct client_limits client_limits(const struct settings *s)
{
    return (struct client_limits){
        .requests = (uint32_t)s->clients.requests,
        .requests_burst = (uint32_t)s->clients.requests_burst,
        .rate = (uint32_t)s->clients.connection_rate,
        .rate_burst = (uint32_t)s->clients.connection_burst,
        .connections = (uint32_t)s->clients.connections,
        .all_rate = (uint32_t)s->limits.connection_rate,
        .all_connections = (uint32_t)s->limits.connections,
        .shared_factor = (uint32_t)s->clients.shared_factor,
        .strikes = (uint32_t)s->bans.strikes,
        .strike_decay_ms = (uint32_t)s->bans.strike_decay,
        .ban_ms = (uint32_t)s->bans.first,
        .ban_most_ms = (uint32_t)s->bans.longest,
        .observe = {[CLIENT_LIMIT_REQUESTS] = s->clients.requests_mode == OBSERVE,
                    [CLIENT_LIMIT_RATE] = s->clients.connection_rate_mode == OBSERVE,
                    [CLIENT_LIMIT_CONNECTIONS] = s->clients.connections_mode == OBSERVE,
                    [CLIENT_LIMIT_ALL_RATE] = s->limits.connection_rate_mode == OBSERVE,
                    [CLIENT_LIMIT_ALL] = s->limits.connections_mode == OBSERVE,
                    [CLIENT_LIMIT_BANS] = s->bans.mode == OBSERVE},
    };
}

struct limits *settings_limits(const struct settings *s)
{
    struct limits *out = calloc(1, sizeof *out);
    if (out == NULL)
        return NULL;
    *out = (struct limits){
        .syn_timeout_ms = (uint32_t)s->tcp.syn_timeout,
        .syn_tries = (uint32_t)s->tcp.syn_tries,
        .head_timeout_ms = (uint32_t)s->tcp.head_timeout,
        .idle_ms = (uint32_t)s->tcp.idle,
        .half_closed_ms = (uint32_t)s->tcp.half_closed,
        .closing_ms = (uint32_t)s->tcp.closing,
        .linger_ms = (uint32_t)s->tcp.linger,
        .window = (uint16_t)s->tcp.window,
        .mss_v4 = (uint16_t)s->tcp.mss_v4,
        .mss_v6 = (uint16_t)s->tcp.mss_v6,
        .per_second = {[LEASE_RESETS] = (uint32_t)s->budgets.resets,
                       [LEASE_FINS] = (uint32_t)s->budgets.fins,
                       [LEASE_ECHOES] = (uint32_t)s->budgets.echoes,
                       [LEASE_TOO_BIGS] = (uint32_t)s->budgets.too_bigs,
                       [LEASE_SYNS_AGAIN] = (uint32_t)s->guard.remembered_syns,
                       [LEASE_INSIDE_RESETS] = (uint32_t)s->budgets.inside_resets,
                       [LEASE_CONNECTIONS] = (uint32_t)s->limits.connection_rate},
        .source_rate = (uint32_t)s->guard.source_rate,
        .network_rate = (uint32_t)s->guard.reflection_rate,
        .probe_interval_ms = (uint32_t)s->probe.interval,
        .probe_timeout_ms = (uint32_t)s->probe.timeout,
        .probe_failures = (uint32_t)s->probe.failures,
        .opening_failures = (uint32_t)s->probe.opening_failures,
        .excess_observe = s->tcp.excess_mode == OBSERVE,
        .slow = {.observe = s->slow.mode == OBSERVE,
                 .window_ms = (uint32_t)s->slow.window,
                 .rate = {[SLOW_BODY] = (uint32_t)s->slow.body_rate,
                          [SLOW_DRAIN] = (uint32_t)s->slow.drain_rate},
                 .most_ms = {[SLOW_HEAD] = (uint32_t)s->tcp.head_timeout,
                             [SLOW_BODY] = (uint32_t)s->slow.body,
                             [SLOW_DRAIN] = (uint32_t)s->slow.drain,
                             [SLOW_IDLE] = (uint32_t)s->slow.idle,
                             [SLOW_ANSWER] = (uint32_t)s->slow.answer}},
        .response_failures = (uint32_t)s->probe.response_failures,
        .clients = client_limits(s),
    };
    return out;
}
