#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# A crowd that talks to the purchase service directly while its database is killed: every user has two keys and wants
# 1 to 3 units with each. An unknown outcome (503, a broken connection, an answer that was thrown away on purpose) is
# asked again with the same key. At the end everything granted is replayed, and everybody refused asks once more.
#   control_crowd.py SALE USERS CONNECTIONS HISTORY HOST:PORT…   progress lines on stdout, then a result; exit 0 if all
#   were answered and every replay read the same. The history is what history.py reads.

import asyncio
import hashlib
import json
import random
import sys
import time

SALE, USERS, CONNECTIONS, HISTORY = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
TARGETS = [target.rsplit(":", 1) for target in sys.argv[5:]]
DEADLINE = time.monotonic() + 150
LOST_ON_PURPOSE = 0.05
CANCELLED = 0.10

chance = random.Random(2026)
counts = {"granted": 0, "refused": 0, "cancelled": 0, "unknown": 0, "replayed": 0, "changed": 0, "unanswered": 0}
history = open(HISTORY, "w")


class Wish:
    def __init__(self, user, key, quantity):
        self.user, self.key, self.quantity = user, key, quantity
        self.id, self.body, self.cancelled, self.refused = None, None, False, False


class Line:
    """One connection of the crowd; made anew whenever it breaks."""

    def __init__(self, number):
        self.host, self.port = TARGETS[number % len(TARGETS)]
        self.reader = self.writer = None

    async def ask(self, request, lose=False):
        """(status, body), or None if nobody knows."""
        try:
            if not self.writer:
                self.reader, self.writer = await asyncio.open_connection(self.host.strip("[]"), int(self.port))
            self.writer.write(request)
            await self.writer.drain()
            if lose:
                raise ConnectionError
            head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 20)
            fields = {k.lower(): v for k, v in (line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])}
            body = await self.reader.readexactly(int(fields.get(b"content-length", 0)))
            if fields.get(b"connection") == b"close":
                self.hang_up()
            return int(head.split()[1]), body
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
            self.hang_up()
            return None

    def hang_up(self):
        if self.writer:
            self.writer.transport.abort()
        self.reader = self.writer = None


def remember(wish, op, invoked, status, body):
    kind = ""
    if body and status >= 400:
        kind = json.loads(body)["type"].rsplit("/", 1)[-1]
    history.write(json.dumps({"user": wish.user, "sale": SALE, "op": op, "key": wish.key, "quantity": wish.quantity,
                              "invoked": invoked, "answered": time.time_ns() // 1000, "status": status, "type": kind, "id": wish.id or "",
                              "hash": hashlib.sha256(body).hexdigest()[:16]}) + "\n")
    return kind


async def until_known(line, wish, op, request):
    """Asks the same thing until the outcome is known; (when, status, body)."""
    while time.monotonic() < DEADLINE:
        invoked = time.time_ns() // 1000
        answer = await line.ask(request, lose=chance.random() < LOST_ON_PURPOSE)
        if answer and answer[0] != 503:
            return invoked, *answer
        counts["unknown"] += 1
        remember(wish, op, invoked, 0 if not answer else 503, b"" if not answer else answer[1])
        await asyncio.sleep(chance.uniform(0.01, 0.1))
    counts["unanswered"] += 1
    return time.time_ns() // 1000, 0, b""


def reservation(wish):
    body = b'{"quantity":%d}' % wish.quantity
    return (f"POST /v1/sales/{SALE}/reservations HTTP/1.1\r\nHost: shop\r\nX-Dropgate-User: {wish.user}\r\n"
            f"Idempotency-Key: {wish.key}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body


async def reserve(line, wish):
    invoked, status, body = await until_known(line, wish, "reserve", reservation(wish))
    if status == 201:
        wish.id = json.loads(body)["id"]
    kind = remember(wish, "reserve", invoked, status, body)
    wish.refused = kind in ("sold-out", "insufficient-stock")
    counts["granted" if status == 201 else "refused"] += 1
    if status == 201:
        counts["changed"] += wish.body not in (None, body)
        wish.body = body
        if chance.random() < CANCELLED:
            await cancel(line, wish)
    elif status not in (0, 409):
        counts["unanswered"] += 1
        print(f"unexpected: {status} {body!r}", flush=True)


async def cancel(line, wish):
    request = f"DELETE /v1/reservations/{wish.id} HTTP/1.1\r\nHost: shop\r\nX-Dropgate-User: {wish.user}\r\n\r\n".encode()
    invoked, status, body = await until_known(line, wish, "cancel", request)
    remember(wish, "cancel", invoked, status, body)
    wish.cancelled = status == 204
    counts["cancelled"] += wish.cancelled


async def replay(line, wish):
    invoked, status, body = await until_known(line, wish, "replay", reservation(wish))
    remember(wish, "replay", invoked, status, body)
    counts["replayed"] += 1
    counts["changed"] += (status, body) != (201, wish.body)


async def work(line, wishes, deed):
    while wishes:
        await deed(line, wishes.pop())
    line.hang_up()


async def report():
    while True:
        print(json.dumps(counts), flush=True)
        await asyncio.sleep(0.25)


async def together(wishes, deed):
    wishes = list(wishes)
    await asyncio.gather(*(work(Line(i), wishes, deed) for i in range(CONNECTIONS)))


async def main():
    everything = [Wish(f"crowd-{u}", f"key-{k}", chance.randint(1, 3)) for u in range(USERS) for k in range(2)]
    chance.shuffle(everything)
    progress = asyncio.create_task(report())
    await together(everything, reserve)
    await together([w for w in everything if w.body], replay)
    while True:  # until a whole round changes nothing; nothing falls due meanwhile
        granted = counts["granted"]
        await together([w for w in everything if w.refused], reserve)
        if counts["granted"] == granted or time.monotonic() > DEADLINE:
            break
    progress.cancel()
    history.close()
    print(json.dumps({"result": counts}), flush=True)
    return 1 if counts["changed"] or counts["unanswered"] else 0


sys.exit(asyncio.run(main()))
