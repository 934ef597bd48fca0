#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# Replays the first data segment of POST requests, bit by bit, from the right address and port, while the connection is
# open and long after it: for longer than a SYN cookie is valid.
#   replay.py DEVICE GATEWAY-MAC ADDRESS4:PORT [ADDRESS6]:PORT SECONDS
# Over each family, one request is curl's, seen on the device as it goes out; its connection stays open a few seconds, and
# later the client's kernel answers with RST what comes back. The other one is made here, from an address that no kernel
# has, so nothing ever answers. Prints "replaying" when all have been sent once, and at the end a line of JSON: what was
# posted (the SHA-256 of each body) and how often its first segment went out.

import hashlib
import json
import logging
import os
import re
import subprocess
import sys
import time

logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
from scapy.all import IP, TCP, AsyncSniffer, Ether, IPv6, Raw, conf, get_if_hwaddr  # noqa: E402

EVERY = 0.1  # seconds between two replays of the same segment
OPEN_FOR = 4  # seconds of curl's download behind its POST, on the same connection
NOBODY = {4: "198.19.23.7", 6: "2001:db8:f023::7"}


def body(name):
    return f"{name} {os.urandom(16).hex()}".encode()


class Request:
    """A POST that has been made once, and its first data segment as it was on the wire."""

    def __init__(self, name, posted, frame):
        self.name, self.frame, self.sent = name, frame, 0
        self.sha256 = hashlib.sha256(posted).hexdigest()


def ours(packet, port):
    return TCP in packet and packet[TCP].dport == port


def is_first_data(packet, port):
    return ours(packet, port) and bytes(packet[TCP].payload).startswith(b"POST ")


def by_curl(device, family, to):
    """curl's POST, whose first segment is caught as it leaves, and then a slow download on the same connection."""
    posted, port = body(f"curl-{family}"), int(to.rsplit(":", 1)[1])
    command = ["curl", "-sS", "-m", "30", "-o", "/dev/null", "--data", posted.decode(), f"http://{to}/sink",
               "--next", "-sS", "-m", "30", "-o", "/dev/null", "--limit-rate", "500k", f"http://{to}/{OPEN_FOR * 500000}"]
    running = []
    caught = AsyncSniffer(iface=device, count=1, timeout=10, lfilter=lambda p: is_first_data(p, port),
                          started_callback=lambda: running.append(subprocess.Popen(command)))
    caught.start()
    caught.join()
    if not caught.results:
        sys.exit(f"curl's POST to {to} was not seen on {device}")
    return Request(f"curl, IPv{family}", posted, bytes(caught.results[0])), running[0]


def by_hand(socket, device, gateway, family, to):
    """A whole connection from an address that is nobody's: SYN, request, answer, FIN."""
    address, port = re.fullmatch(r"\[?(.*?)\]?:(\d+)", to).groups()
    ip = IP(src=NOBODY[family], dst=address) if family == 4 else IPv6(src=NOBODY[family], dst=address)
    to_gateway = Ether(src=get_if_hwaddr(device), dst=gateway) / ip
    here = 20000 + os.getpid() % 20000
    posted = body(f"hand-{family}")
    head = f"POST /sink HTTP/1.1\r\nHost: lab.test\r\nContent-Length: {len(posted)}\r\n\r\n".encode()

    def segment(flags, seq, ack=0, payload=b""):
        return to_gateway / TCP(sport=here, dport=int(port), flags=flags, seq=seq, ack=ack) / Raw(payload)

    def ask(frame, wanted):
        seen = AsyncSniffer(iface=device, count=1, timeout=5, started_callback=lambda: socket.send(frame),
                            lfilter=lambda p: TCP in p and p[TCP].dport == here and p[TCP].flags.value & wanted == wanted)
        seen.start()
        seen.join()
        if not seen.results:
            sys.exit(f"nothing answers {frame.summary()}")
        return seen.results[0][TCP]

    syn_ack = ask(segment("S", 1000), 0x12)
    first = segment("PA", 1001, syn_ack.seq + 1, head + posted)
    answer = ask(first, 0x18)
    seq, ack = 1001 + len(head) + len(posted), answer.seq + len(answer.payload)
    ask(segment("FA", seq, ack), 0x11)
    socket.send(segment("A", seq + 1, ack + 1))
    return Request(f"by hand, IPv{family}", posted, bytes(first))


def main():
    if len(sys.argv) != 6:
        sys.exit("usage: replay.py DEVICE GATEWAY-MAC ADDRESS4:PORT [ADDRESS6]:PORT SECONDS")
    conf.verb = 0
    device, gateway, seconds = sys.argv[1], sys.argv[2], float(sys.argv[5])
    to = {4: sys.argv[3], 6: sys.argv[4]}
    socket = conf.L2socket(iface=device)
    requests, running = [], []
    for family in (4, 6):
        requests.append(by_hand(socket, device, gateway, family, to[family]))
        request, curl = by_curl(device, family, to[family])
        requests.append(request)
        running.append(curl)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for request in requests:
            socket.outs.send(request.frame)
            request.sent += 1
            if request is requests[-1] and request.sent == 1:
                print("replaying", flush=True)
            time.sleep(EVERY / len(requests))
    print(json.dumps({"seconds": seconds, "curl": [curl.wait() for curl in running],
                      "requests": [{"name": r.name, "sha256": r.sha256, "sent": r.sent} for r in requests]}))


if __name__ == "__main__":
    main()
