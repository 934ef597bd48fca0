#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# A client behind VLAN tags, in scapy because this machine's kernel may have no VLAN devices: resolves the service by ARP
# and neighbour discovery, shakes hands, asks, and reads the answer, every frame with exactly the tags; then sends frames
# with other tags, which must get none.
#   vlan.py TELEMETRY DEVICE GATEWAY-MAC TAGS        TAGS: 7, or 100.7
# Its addresses are ones that no kernel in the lab has.

import logging
import sys

logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
from scapy.all import (ARP, IP, TCP, AsyncSniffer, Dot1AD, Dot1Q, Ether, ICMPv6ND_NA, ICMPv6ND_NS,  # noqa: E402
                       ICMPv6NDOptSrcLLAddr, IPv6, Raw, conf, get_if_hwaddr)

from telemetry import ask  # noqa: E402

VIP4, VIP6 = "198.18.0.80", "2001:db8::80"
FROM4, FROM6, LINK4, LINK6 = "198.19.7.8", "2001:db8:f000::8", "198.18.0.3", "2001:db8::3"
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n"


class Bench:
    def __init__(self, telemetry, device, gateway, tags):
        self.telemetry, self.device, self.gateway = telemetry, device, gateway
        self.tags = [int(tag) for tag in tags.split(".")]
        self.mac = get_if_hwaddr(device)
        self.socket = conf.L2socket(iface=device)
        self.failures = 0

    def expect(self, sentence, good, seen=""):
        print(f"ok: {sentence}" if good else f"not ok: {sentence}\n    {seen}")
        self.failures += not good

    def frame(self, packet, tags):
        frame = Ether(src=self.mac, dst="ff:ff:ff:ff:ff:ff" if ARP in packet else self.gateway)
        for i, tag in enumerate(tags):
            # Some priority, which must not come back.
            frame /= (Dot1AD if len(tags) == 2 and i == 0 else Dot1Q)(vlan=tag, prio=5)
        return frame / packet

    def exchange(self, packet, wanted, tags=None):
        """Sends, and returns the first frame of the gateway's that is wanted, with its tags' numbers and types."""
        sniffer = AsyncSniffer(iface=self.device, count=1, timeout=3,
                               lfilter=lambda p: p[Ether].src == self.gateway and wanted(p),
                               started_callback=lambda: self.socket.send(self.frame(packet, tags or self.tags)))
        sniffer.start()
        sniffer.join()
        if not sniffer.results:
            return None, "no answer"
        answer, layer, types = sniffer.results[0], sniffer.results[0], []
        tags = []
        while layer.type in (0x8100, 0x88A8):
            types.append(layer.type)
            layer = layer.payload
            tags.append(layer.vlan if layer.prio == 0 else f"priority {layer.prio}")
        right = tags == self.tags and types == ([0x88A8, 0x8100] if len(tags) == 2 else [0x8100])
        return (answer, "") if right else (None, f"tags {tags}, types {[hex(t) for t in types]}: {answer.summary()}")

    def resolve(self):
        answer, seen = self.exchange(ARP(op=1, psrc=LINK4, pdst=VIP4), lambda p: ARP in p and p[ARP].pdst == LINK4)
        self.expect("ARP is answered with the tags", answer and answer[ARP].hwsrc == self.gateway, seen)
        solicitation = (IPv6(src=LINK6, dst="ff02::1:ff00:80", hlim=255) / ICMPv6ND_NS(tgt=VIP6)
                        / ICMPv6NDOptSrcLLAddr(lladdr=self.mac))
        answer, seen = self.exchange(solicitation, lambda p: ICMPv6ND_NA in p)
        self.expect("a neighbour solicitation is answered with the tags", answer and answer[ICMPv6ND_NA].tgt == VIP6, seen)

    def connect(self, name, ip, port):
        def mine(p):
            return TCP in p and p[TCP].dport == port

        syn = TCP(sport=port, dport=80, flags="S", seq=1000, window=65000, options=[("MSS", 1400)])
        answer, seen = self.exchange(ip / syn, mine)
        self.expect(f"a SYN is answered with the tags, {name}", answer and answer[TCP].flags == "SA", seen)
        if not answer:
            return
        cookie = answer[TCP].seq + 1
        data = TCP(sport=port, dport=80, flags="PA", seq=1001, ack=cookie, window=65000) / Raw(REQUEST)
        answer, seen = self.exchange(ip / data, lambda p: mine(p) and Raw in p)
        self.expect(f"the untagged backend's answer arrives with the tags, {name}",
                    answer and answer[Raw].load.startswith(b"HTTP/1.1 200"), seen)
        if answer:
            reset = TCP(sport=port, dport=80, flags="R", seq=1001 + len(REQUEST))
            self.socket.send(self.frame(ip / reset, self.tags))

    def strangers(self):
        syn = IP(src=FROM4, dst=VIP4) / TCP(sport=40000, dport=80, flags="S")
        for sentence, tags, verdict in (("without tags", [], "vlan_missing"), ("with a priority only", [0], "vlan_missing"),
                                        ("with another tag", [self.tags[0] + 1, *self.tags[1:]], "vlan_other"),
                                        ("with a tag too many", [*self.tags, 9], "vlan_other" if len(self.tags) == 1 else "vlan_depth")):
            before = ask(self.telemetry, "/dropgate/verdicts")[verdict]
            frame = self.frame(syn, tags)
            sniffer = AsyncSniffer(iface=self.device, count=1, timeout=0.5, started_callback=lambda: self.socket.send(frame),
                                   lfilter=lambda p: p[Ether].src == self.gateway and TCP in p and p[TCP].dport == 40000)
            sniffer.start()
            sniffer.join()
            counted = ask(self.telemetry, "/dropgate/verdicts")[verdict] - before
            # The lab's own hosts are on the link too, and untagged.
            self.expect(f"a SYN {sentence} is dropped as {verdict}", counted >= 1 and not sniffer.results,
                        f"counted {counted}, answers {sniffer.results}")


def main():
    if len(sys.argv) != 5:
        sys.exit("usage: vlan.py TELEMETRY DEVICE GATEWAY-MAC TAGS")
    conf.verb = 0
    bench = Bench(*sys.argv[1:])
    bench.resolve()
    bench.connect("IPv4", IP(src=FROM4, dst=VIP4), 41000)
    bench.connect("IPv6", IPv6(src=FROM6, dst=VIP6), 41001)
    bench.strangers()
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
