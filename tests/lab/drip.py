#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# Connections that never end and never stop: a byte every so often, of a first head, of a later head, of a body, or read of
# an answer. Goes on until each has been reset, and prints for each kind how many were, and after how long at most.
#   drip.py ADDRESS PORT INTERVAL COUNT

import json
import select
import socket
import sys
import time

GET = b"GET /%d HTTP/1.1\r\nHost: lab.test\r\nX-Drip: "
PUT = b"PUT /sink HTTP/1.1\r\nHost: lab.test\r\nContent-Length: 1000000\r\n\r\n"
LIMIT = 60


def connect(address, port, small):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    s = socket.socket(family, socket.SOCK_STREAM)
    s.settimeout(10)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if small:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
    s.connect((address, port))
    return s


def begin(kind, address, port):
    s = connect(address, port, kind == "read")
    if kind == "later_head":  # a whole request and its answer, then the next
        s.sendall(GET % 10 + b"x\r\n\r\n")
        answer = b""
        while not answer.endswith(b"\r\n\r\n") and len(answer.split(b"\r\n\r\n", 1)[-1]) < 10:
            answer += s.recv(4096)
    if kind in ("first_head", "later_head"):
        s.sendall(GET % 10)
    elif kind == "body":
        s.sendall(PUT)
    else:
        s.sendall(GET % 1000000 + b"x\r\n\r\n")
    s.setblocking(False)
    return s


def drip(kind, s):
    """A byte more; whether the connection is over."""
    try:
        if kind == "read":
            return s.recv(1) == b""
        s.send(b"x")
        return False
    except BlockingIOError:
        return False
    except OSError:
        return True


def over(s):
    poll = select.poll()
    poll.register(s, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def main():
    address, port, interval, count = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    kinds = ("first_head", "later_head", "body", "read")
    begun = {}
    for kind in kinds:
        for _ in range(count):
            s = begin(kind, address, port)
            begun[s] = (kind, time.monotonic())
    result = {kind: {"reset": 0, "longest": 0.0} for kind in kinds}
    print("begun", file=sys.stderr, flush=True)
    next_drip, end = time.monotonic() + interval, time.monotonic() + LIMIT
    while begun and time.monotonic() < end:
        time.sleep(0.05)
        dripping = time.monotonic() >= next_drip
        next_drip += interval if dripping else 0
        for s in list(begun):
            kind, since = begun[s]
            if over(s) or (dripping and drip(kind, s)):
                result[kind]["reset"] += 1
                result[kind]["longest"] = max(result[kind]["longest"], round(time.monotonic() - since, 2))
                s.close()
                del begun[s]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
