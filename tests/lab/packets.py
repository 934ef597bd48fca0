#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# Sends single packets of every kind at the gateway and expects, for each, the verdict that the table promises: that
# counter moves by one and no other does. Where an answer is due, the answer is looked at too.
#   packets.py TELEMETRY DEVICE GATEWAY-MAC outside|inside
# Sources are addresses that no kernel in the lab has, so nothing but this script reacts to what comes back.

import itertools
import logging
import sys
import time

logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
from scapy.all import (ARP, ICMP, IP, TCP, UDP, AsyncSniffer, Dot1Q, Ether, ICMPv6EchoRequest, ICMPv6ND_NS,  # noqa: E402
                       ICMPv6NDOptSrcLLAddr, IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrDestOpt,
                       IPv6ExtHdrRouting, PadN, Raw, RouterAlert, conf, get_if_hwaddr)

from telemetry import ask  # noqa: E402

VIP4, VIP6, OWN4, OWN6 = "198.18.0.80", "2001:db8::80", "198.18.0.1", "2001:db8::1"
FROM4, FROM6 = "198.19.7.7", "2001:db8:f000::7"
ports = itertools.count(20000)

KNOWN = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (7, 0)), ("NOP", None), ("WScale", 7)]
STRANGE = [(30, b"\x00\x81" + bytes(8)), (34, b""), (253, b"\x00\x01"), (254, b"\xe2\xd4\xc3\xd9"), (19, bytes(16))]


def tcp(flags="S", port=80, options=None, **more):
    return TCP(sport=next(ports), dport=port, flags=flags, seq=1000, options=options or [], **more)


def v4(**more):
    return IP(src=FROM4, dst=VIP4, **more)


def v6(**more):
    return IPv6(src=FROM6, dst=VIP6, **more)


# An answer's checks: each takes the packet that came back and the one that was sent.
def is_syn_ack(answer, sent):
    return answer[TCP].flags == "SA" and answer[TCP].ack == sent[TCP].seq + 1 and not answer[TCP].payload


def offers_only_what_it_knows(answer, sent):
    names = {name for name, _ in answer[TCP].options}
    return is_syn_ack(answer, sent) and names <= {"MSS", "SAckOK", "Timestamp", "WScale", "NOP", "EOL"} and "MSS" in names


def offers_only_mss(answer, sent):
    names = {name for name, _ in answer[TCP].options} - {"NOP", "EOL"}
    return is_syn_ack(answer, sent) and names == {"MSS"}


OUTSIDE = [
    # TCP to a service
    ("a plain SYN", v4() / tcp(), "syn_cookie", offers_only_mss),
    ("a plain SYN, IPv6", v6() / tcp(), "syn_cookie", offers_only_mss),
    ("a SYN with every usual option", v4() / tcp(options=KNOWN), "syn_cookie", offers_only_what_it_knows),
    ("a SYN with every usual option, IPv6", v6() / tcp(options=KNOWN), "syn_cookie", offers_only_what_it_knows),
    *[(f"a SYN with option {kind}", v4() / tcp(options=[("MSS", 1460), (kind, data)]), "syn_cookie", offers_only_mss)
      for kind, data in STRANGE],
    ("a SYN with option 30, IPv6", v6() / tcp(options=[STRANGE[0]]), "syn_cookie", offers_only_mss),
    ("a SYN with payload", v4() / tcp() / Raw(b"GET / HTTP/1.1\r\n\r\n"), "syn_cookie", is_syn_ack),
    ("a SYN with payload, IPv6", v6() / tcp() / Raw(b"x" * 100), "syn_cookie", is_syn_ack),
    ("a SYN that asks for ECN", v4() / tcp("SEC"), "syn_cookie", is_syn_ack),
    ("a SYN that asks for ECN, IPv6", v6() / tcp("SEC"), "syn_cookie", is_syn_ack),
    ("a SYN with an ECN-capable IP header", v4(tos=3) / tcp(), "syn_cookie", is_syn_ack),
    ("a SYN to a port without a service", v4() / tcp(port=8443), "no_service", None),
    ("a SYN to a port without a service, IPv6", v6() / tcp(port=8443), "no_service", None),
    ("a bare ACK", v4() / tcp("A", ack=1), "ack_no_flow", None),
    ("a bare ACK, IPv6", v6() / tcp("A", ack=1), "ack_no_flow", None),
    ("data without a cookie", v4() / tcp("PA", ack=1) / Raw(b"GET / HTTP/1.1\r\n\r\n"), "miss_silent", None),
    ("a RST", v4() / tcp("R"), "rst_no_flow", None),
    ("a RST, IPv6", v6() / tcp("R"), "rst_no_flow", None),
    ("a SYN-ACK", v4() / tcp("SA", ack=1), "syn_ack_no_flow", None),
    # TCP that is not well formed
    ("a wrong TCP checksum", v4() / tcp(chksum=1), "tcp_checksum", None),
    ("a wrong TCP checksum, IPv6", v6() / tcp(chksum=1), "tcp_checksum", None),
    ("SYN and FIN together", v4() / tcp("SF"), "bad_tcp", None),
    ("SYN and RST together", v4() / tcp("SR"), "bad_tcp", None),
    ("no flags at all", v4() / tcp(""), "bad_tcp", None),
    ("every flag at once", v6() / tcp("FSRPAU"), "bad_tcp", None),
    ("source port 0", v4() / TCP(sport=0, dport=80, flags="S"), "bad_tcp", None),
    ("a data offset below the header", v4() / tcp(dataofs=4), "bad_tcp", None),
    ("a data offset past the segment", v4() / tcp(dataofs=15), "bad_tcp", None),
    ("an option of length 0", v4() / TCP(sport=next(ports), dport=80, flags="S", dataofs=6) / Raw(b"\x02\x00\x05\xb4"),
     "bad_options", None),
    ("an option past the header", v4() / TCP(sport=next(ports), dport=80, flags="S", dataofs=6) / Raw(b"\x02\x28\x05\xb4"),
     "bad_options", None),
    # IP that is not well formed, or not for us
    ("a wrong IPv4 checksum", v4(chksum=1) / tcp(), "ip_checksum", None),
    ("a first fragment", v4(flags="MF") / tcp(), "fragment", None),
    ("a later fragment", v4(frag=10) / Raw(b"x" * 64), "fragment", None),
    ("an IPv6 fragment", v6() / IPv6ExtHdrFragment(m=1) / tcp(), "fragment", None),
    ("an IPv6 atomic fragment", v6() / IPv6ExtHdrFragment() / tcp(), "ipv6_atomic", None),
    ("padding in an IPv6 hop-by-hop header", v6() / IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))]) / tcp(),
     "syn_cookie", is_syn_ack),
    ("padding in IPv6 destination options", v6() / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))]) / tcp(),
     "syn_cookie", is_syn_ack),
    ("an IPv6 router alert", v6() / IPv6ExtHdrHopByHop(options=[RouterAlert()]) / tcp(), "ipv6_options", None),
    ("an IPv6 source route", v6() / IPv6ExtHdrRouting(addresses=["2001:db8::99"], segleft=1) / tcp(), "ipv6_routing", None),
    ("an IPv6 ESP header", v6(nh=50) / Raw(bytes(32)), "ipv6_esp", None),
    ("an IPv6 authentication header", v6(nh=51) / Raw(bytes(32)), "ipv6_ah", None),
    ("an IPv6 mobility header", v6(nh=135) / Raw(bytes(32)), "ipv6_extension", None),
    ("IPv6 hop-by-hop options behind others", v6() / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))], nh=0)
     / IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))]) / tcp(), "ipv6_chain", None),
    ("an IPv6 echo request behind padding", v6() / IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))])
     / ICMPv6EchoRequest(), "ipv6_icmp", None),
    ("an IPv4 length past the frame", v4(len=400) / tcp(), "truncated", None),
    ("an IPv6 length past the frame", v6(plen=400) / tcp(), "truncated", None),
    ("IP version 5", v4(version=5) / tcp(), "bad_ip", None),
    ("UDP", v4() / UDP(sport=next(ports), dport=80), "unsupported", None),
    ("UDP, IPv6", v6() / UDP(sport=next(ports), dport=443), "unsupported", None),
    ("a destination that is nobody's", IP(src=FROM4, dst="198.18.0.99") / tcp(), "not_for_us", None),
    ("a destination that is nobody's, IPv6", IPv6(src=FROM6, dst="2001:db8::99") / tcp(), "not_for_us", None),
    *[(f"source {source}", IP(src=source, dst=VIP4) / tcp(), "bogon", None)
      for source in ("0.0.0.1", "127.0.0.1", "224.0.0.1", "255.255.255.255", OWN4, VIP4)],
    *[(f"source {source}", IPv6(src=source, dst=VIP6) / tcp(), "bogon", None)
      for source in ("::", "::1", "::ffff:198.19.0.1", "ff02::1", OWN6, VIP6)],
    # other things
    ("one VLAN tag", Dot1Q(vlan=7) / v4() / tcp(), "vlan", None),
    ("two VLAN tags", Dot1Q(vlan=7) / Dot1Q(vlan=8) / v6() / tcp(), "vlan", None),
    ("three VLAN tags", Dot1Q(vlan=7) / Dot1Q(vlan=8) / Dot1Q(vlan=9) / v4() / tcp(), "vlan_depth", None),
    ("an echo request", v4() / ICMP() / Raw(b"hello"), "echo_answered", lambda a, s: a[ICMP].type == 0),
    ("an echo request, IPv6", v6() / ICMPv6EchoRequest(data=b"hello"), "echo_answered", lambda a, s: a[IPv6].nh == 58),
    ("an echo request with a wrong checksum", v4() / ICMP(chksum=1), "bad_icmp", None),
    ("an ICMP timestamp request", v4() / ICMP(type=13), "icmp_other", None),
    ("an ARP request", ARP(op=1, psrc="198.18.0.3", pdst=OWN4), "arp_answered", lambda a, s: a[ARP].op == 2),
    ("an ARP request for a service", ARP(op=1, psrc="198.18.0.3", pdst=VIP4), "arp_answered", lambda a, s: a[ARP].op == 2),
    ("a neighbour solicitation", IPv6(src="2001:db8::3", dst="ff02::1:ff00:80", hlim=255) / ICMPv6ND_NS(tgt=VIP6)
     / ICMPv6NDOptSrcLLAddr(lladdr="02:00:00:00:00:99"), "nd_answered", lambda a, s: a[IPv6].dst == "2001:db8::3"),
]

INSIDE = [
    ("a neighbour that is no backend speaks", IP(src="198.18.128.77", dst=FROM4) / TCP(sport=8080, dport=next(ports), flags="A"),
     "inside_spoof", None),
    ("the same, IPv6", IPv6(src="2001:db8:0:1::77", dst=FROM6) / TCP(sport=8080, dport=next(ports), flags="A"),
     "inside_spoof", None),
]


class Bench:
    def __init__(self, telemetry, device, gateway):
        self.telemetry, self.device, self.gateway = telemetry, device, gateway
        self.mac = get_if_hwaddr(device)
        self.socket = conf.L2socket(iface=device)
        self.failures = 0

    def counters(self):
        return ask(self.telemetry, "/dropgate/verdicts")

    def moved(self, before, wanted):
        """What has moved since `before`, once `wanted` has, or half a second has passed."""
        end = time.monotonic() + 0.5
        while True:
            now = self.counters()
            moved = {name: now[name] - before[name] for name in now if now[name] != before[name]}
            # Probes and neighbour traffic go on meanwhile, and padding is counted beside.
            for name in ("probe", "neighbor", "flow_closed", "ipv6_padding"):
                if name != wanted:
                    moved.pop(name, None)
            if wanted in moved or time.monotonic() > end:
                return moved
            time.sleep(0.005)

    def send(self, name, packet, wanted, check):
        destination = "ff:ff:ff:ff:ff:ff" if ARP in packet else self.gateway
        frame = Ether(src=self.mac, dst=destination) / packet
        answers = AsyncSniffer(iface=self.device, store=True, started_callback=lambda: self.socket.send(frame),
                               lfilter=lambda p: p[Ether].src == self.gateway, count=1, timeout=2)
        before = self.counters()
        if check:
            answers.start()
        else:
            self.socket.send(frame)
        moved = self.moved(before, wanted)
        if moved != {wanted: 1}:
            return self.fail(name, f"wanted {wanted}, moved: {moved or 'nothing'}")
        if check:
            answers.join()
            if not answers.results or not check(answers.results[0], packet):
                return self.fail(name, f"its answer is {answers.results and answers.results[0].summary()}")
        print(f"ok: {name} → {wanted}")

    def fail(self, name, why):
        self.failures += 1
        print(f"not ok: {name}\n    {why}")


def main():
    if len(sys.argv) != 5 or sys.argv[4] not in ("outside", "inside"):
        sys.exit("usage: packets.py TELEMETRY DEVICE GATEWAY-MAC outside|inside")
    conf.verb = 0
    conf.checkIPaddr = False
    bench = Bench(*sys.argv[1:4])
    for case in OUTSIDE if sys.argv[4] == "outside" else INSIDE:
        bench.send(*case)
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
