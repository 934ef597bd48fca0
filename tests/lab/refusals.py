#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# A client that is refused in the ways that a browser or curl would not be: pipelined, in pieces, with bodies that it sends to
# their end. Whatever it does, it reads whole answers in order, then the refusal, then the end, and no reset. All ways are
# gone at once, on a connection each.
#   refusals.py HOST PORT ALLOWED REFUSED     prints one line per way: its name and the statuses that it read

import concurrent.futures
import socket
import sys
import time

TIMEOUT = 20


def request(path, method="GET", fields="", body=b""):
    return f"{method} {path} HTTP/1.1\r\nHost: shop.test\r\n{fields}\r\n".encode() + body


class Client:
    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), timeout=TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unread = b""

    def send(self, *pieces, gap=0.03):
        for i, piece in enumerate(pieces):
            if i:
                time.sleep(gap)  # a segment of its own
            self.socket.sendall(piece)

    def more(self):
        got = self.socket.recv(65536)
        self.unread += got
        return got != b""

    def answer(self):
        """The next whole answer's status and headers; None at the end of the stream."""
        while b"\r\n\r\n" not in self.unread:
            if not self.more():
                if self.unread:
                    raise ValueError(f"the end within a head: {self.unread!r}")
                return None
        head, self.unread = self.unread.split(b"\r\n\r\n", 1)
        lines = head.decode().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines[1:])
        length = int(fields["Content-Length"])
        while len(self.unread) < length:
            if not self.more():
                raise ValueError(f"the end within a body: {len(self.unread)} of {length} bytes")
        self.unread = self.unread[length:]
        return lines[0].split(" ")[1], fields

    def answers(self):
        statuses = []
        while (got := self.answer()) is not None:
            statuses.append(got[0])
            closes = got[1].get("Connection") == "close"
        if statuses and not closes:
            raise ValueError("the last answer did not say that it is")
        self.socket.close()
        return statuses


def pipelined(c, yes, no):
    c.send(request(yes) + request(no))
    return c.answers()


def pipelined_deep(c, yes, no):
    c.send(request(yes) * 20 + request(no) + request(yes) * 20)
    return c.answers()


def pipelined_apart(c, yes, no):
    c.send(request(yes), request(no), gap=0.002)
    return c.answers()


def kept_alive(c, yes, no):
    c.send(request(yes))
    first = c.answer()[0]
    c.send(request(no))
    return [first] + c.answers()


def head_in_pieces(c, yes, no):
    c.send(request(yes))
    first = c.answer()[0]
    whole = request(no, fields="Cookie: " + "x" * 3000 + "\r\n")
    c.send(whole[:5], whole[5:1000], whole[1000:-3], whole[-3:])
    return [first] + c.answers()


def first_head_in_pieces(c, yes, no):
    whole = request(no)
    c.send(*(whole[i : i + 7] for i in range(0, len(whole), 7)), gap=0.005)
    return c.answers()


def ends_with_it(c, yes, no):
    c.send(request(yes) + request(no))
    c.socket.shutdown(socket.SHUT_WR)
    return c.answers()


def small_body(c, yes, no):
    c.send(request(no, "POST", "Content-Length: 6\r\n", b"abc"), b"def")
    return c.answers()


def large_body(c, yes, no):
    """Written to its end before anything is read, as many clients do."""
    c.send(request(no, "POST", "Content-Length: 300000\r\n"))
    c.send(b"x" * 300000)
    return c.answers()


def large_body_kept_alive(c, yes, no):
    c.send(request(yes) + request(no, "POST", "Content-Length: 300000\r\n"))
    c.send(b"x" * 300000)
    return c.answers()


def expects(c, yes, no):
    c.send(request(no, "POST", "Expect: 100-continue\r\nContent-Length: 6\r\n"))
    return c.answers()


WAYS = [pipelined, pipelined_deep, pipelined_apart, kept_alive, head_in_pieces, first_head_in_pieces,
        ends_with_it, small_body, large_body, large_body_kept_alive, expects]

def go(way, host, port, allowed, refused):
    try:
        return way(Client(host, port), allowed, refused)
    except (OSError, ValueError) as error:
        return [f"{type(error).__name__}: {error}"]


if __name__ == "__main__":
    host, port, allowed, refused = sys.argv[1:]
    with concurrent.futures.ThreadPoolExecutor(len(WAYS)) as pool:
        under_way = [pool.submit(go, way, host, int(port), allowed, refused) for way in WAYS]
        for way, going in zip(WAYS, under_way):
            print(way.__name__, *going.result())
