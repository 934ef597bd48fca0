#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# Sends the corpus of odd requests (tests/corpus/requests.txt) over real TCP: each case as the first requests of a
# connection and behind a plain one, cut into segments in several ways. To the control service itself, or (--gateway)
# through the gateway, which must think of each the same.
#   requests.py [--gateway] HOST PORT     one line per difference, and what was refused how often; exit 0 if none

import concurrent.futures
import os
import random
import re
import socket
import sys

CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../corpus/requests.txt")
PLAIN = b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n"
ONE_SEGMENT = 1400
CUTS = 4
IN_BODY = ("bad_chunk", "bad_trailer", "body_too_large")


def unescape(text):
    simple = {"\\": b"\\", "r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0"}
    out, at = b"", 0
    while at < len(text):
        if text[at] != "\\":
            out += text[at].encode("latin-1")
            at += 1
        elif times := re.match(r"\*(\d+)\(([^)]*)\)", text[at + 1:]):
            out += int(times[1]) * unescape(times[2])
            at += 1 + times.end()
        elif text[at + 1] == "x":
            out += bytes.fromhex(text[at + 2:at + 4])
            at += 4
        else:
            out += simple[text[at + 1]]
            at += 2
    return out


def read_corpus():
    cases = []
    for line in open(CORPUS, encoding="ascii"):
        line = line.rstrip("\n")
        if line.startswith("["):
            cases.append([line[1:-1], 0, "", b""])
        elif line.startswith(" "):
            cases[-1][3] += unescape(line.lstrip(" "))
        elif line and line[0] != "#":
            heads, cases[-1][2] = line.split()
            cases[-1][1] = int(heads)
    return cases


def talk(host, port, pieces, behind):
    """Sends the pieces and the end; what was answered, as (statuses, reason, reset)."""
    data, reset = b"", False
    with socket.create_connection((host, port), timeout=15) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if behind:  # the connection is open before the rest is sent
                s.sendall(PLAIN)
                while b"\r\n\r\n" not in data:
                    data += s.recv(65536)
            for piece in pieces:
                s.sendall(piece)
            s.shutdown(socket.SHUT_WR)
        except OSError:
            reset = True
        try:
            while chunk := s.recv(65536):
                data += chunk
        except ConnectionResetError:
            reset = True
        except TimeoutError:
            return [], "no end", False
    statuses = [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", data) if code != b"100"]
    reasons = re.findall(rb'"detail":"([a-z0-9_]+)"', data)
    return statuses, reasons[-1].decode() if reasons else "", reset


def judge_service(heads, verdict, statuses, reason, before):
    """What the control service itself must have said."""
    answers = len(statuses) - before
    if verdict in ("ok", "last"):
        return answers == heads and reason == ""
    if verdict == "more":  # the request that the last head began may be the one that is not complete
        return answers in (heads, heads - 1) and reason == ""
    if verdict == "large":
        return answers == heads and statuses[-1] == 413
    good = heads - 1 if verdict in IN_BODY and heads else heads
    return answers == good + 1 and reason == verdict


def judge_gateway(heads, verdict, statuses, reason, reset, before):
    """The same through the gateway: it resets what the service would refuse."""
    if verdict in ("ok", "last", "more", "large"):
        return not reset and judge_service(heads, verdict, statuses, reason, before)
    if verdict == "body_too_large" and reason:  # digits that the service's own bound refuses come first
        return judge_service(heads, verdict, statuses, reason, before)
    return reset and reason == "" and len(statuses) <= before + heads


def cut(data, dice):
    """Into pieces of 1 to some bytes; never so many that the test takes long."""
    most = max(dice.choice((3, 10, 100, ONE_SEGMENT)), len(data) // 40)
    pieces = []
    while data:
        length = dice.randint(1, most)
        pieces.append(data[:length])
        data = data[length:]
    return pieces


def run(job):
    name, heads, verdict, pieces, before = job
    statuses, reason, reset = talk(HOST, PORT, pieces, before)
    if GATEWAY:
        good = judge_gateway(heads, verdict, statuses, reason, reset, before)
    else:
        good = judge_service(heads, verdict, statuses, reason, before)
    return "" if good else (f"{name}: {heads} {verdict}, {'behind a plain one, ' if before else ''}"
                            f"{len(pieces)} pieces: answered {statuses} {reason}{' reset' if reset else ''}")


def jobs():
    dice = random.Random(1)
    for name, heads, verdict, data in read_corpus():
        yield name, heads, verdict, [data], 0
        yield name, heads, verdict, cut(data, dice), 0
        for _ in range(CUTS):
            yield name, heads, verdict, cut(data, dice), 1


GATEWAY = "--gateway" in sys.argv
HOST, PORT = sys.argv[-2], int(sys.argv[-1])
todo = list(jobs())
with concurrent.futures.ThreadPoolExecutor(48) as pool:
    wrong = [line for line in pool.map(run, todo) if line]
print(*wrong, sep="\n")
print(f"{len(todo)} sent, {len(wrong)} differ, "
      f"{sum(v not in ('ok', 'last', 'more', 'large') for _, _, v, _, _ in todo)} to be refused")
sys.exit(1 if wrong else 0)
