# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# The load: shoppers who reserve, repeat, cancel, look and come back, over connections that they lose. Each keeps its key
# until it has an answer that tells; everything that it asks and is told goes into the history (tests/lab/history.py). What a
# shopper does depends on the run's seed and its number only.

import asyncio
import hashlib
import json
import random
import time

ANSWER_WITHIN = 15      # seconds; beyond any deadline of the service
PAUSES = 0.005, 0.05    # seconds before a shopper repeats what it does not know
PATIENCE = 0.2          # seconds, in place of a Retry-After of several
ASKS_WHEN_REFUSED = 3   # while the load runs
LOSES, TWICE = 0.04, 0.06
CANCELS, REPLAYS, LOOKS, PAYS, CHANGES_ITS_MIND = 0.3, 0.2, 0.1, 0.5, 0.05
LOOKS_AGAIN = 4         # at a payment that is pending
LIKED = {200, 201, 202, 204}
NO_STOCK = {"sold-out", "insufficient-stock"}
# Refusals that a sound client of this sale can meet.
LAWFUL = {"sold-out", "insufficient-stock", "limit-reached", "key-in-flight", "not-open", "attempts-used", "wrong-state", "payment-declined",
          "reservation-expired", "payment-too-late", "too-many-payments"}


def now():
    return time.time_ns() // 1000


class Answer:
    def __init__(self, status=0, body=b"", problem=""):
        self.status, self.body, self.problem = status, body, problem

    def is_known(self):
        return self.status not in (0, 503)


class Line:
    """A shopper's connection to one instance; made anew whenever it breaks."""

    def __init__(self, address):
        self.address, self.reader, self.writer = address, None, None

    async def ask(self, request, lose=False):
        try:
            return await asyncio.wait_for(self._ask(request, lose), ANSWER_WITHIN)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.TimeoutError):
            self.hang_up()
            return Answer()

    async def _ask(self, request, lose):
        if not self.writer:
            self.reader, self.writer = await asyncio.open_connection(*self.address)
        self.writer.write(request)
        await self.writer.drain()
        if lose:
            await asyncio.sleep(0)
            raise ConnectionError
        head = await self.reader.readuntil(b"\r\n\r\n")
        fields = {k.lower(): v for k, v in (line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])}
        body = await self.reader.readexactly(int(fields.get(b"content-length", 0)))
        if fields.get(b"connection") == b"close":
            self.hang_up()
        status = int(head.split()[1])
        problem = json.loads(body)["type"].rsplit("/", 1)[-1] if body and status >= 400 else ""
        return Answer(status, body, problem)

    def hang_up(self):
        if self.writer:
            self.writer.transport.abort()
        self.reader = self.writer = None


class Wish:
    """One purchase: a key, a quantity, and what became of it."""

    def __init__(self, shopper, key, quantity):
        self.shopper, self.user, self.key, self.quantity = shopper, shopper.user, key, quantity
        self.id, self.body, self.last = "", None, None  # the grant's; the last answer that tells

    def refused_for_stock(self):
        return self.last is not None and self.last.problem in NO_STOCK


class Shopper:
    def __init__(self, shop, number):
        self.shop, self.chance = shop, random.Random(f"{shop.seed} {number}")
        self.user = f"shopper-{number}"
        self.lines = [Line(address) for address in shop.addresses]
        self.wishes = [Wish(self, f"key {k}", self.chance.randint(1, shop.quantity_max))
                       for k in range(self.chance.choice((1, 1, 2, 3)))]

    def line(self):
        return self.chance.choice(self.lines)

    async def live(self):
        for wish in self.wishes:
            await self._reserve_patiently(wish)
            if wish.body:
                await self._enjoy(wish)
            if self.shop.is_over():
                break
        self.hang_up()

    def hang_up(self):
        for line in self.lines:
            line.hang_up()

    async def _reserve_patiently(self, wish):
        for _ in range(ASKS_WHEN_REFUSED):
            await self.reserve(wish)
            if not wish.refused_for_stock() or self.shop.is_over():
                return
            await asyncio.sleep(self.chance.uniform(0, PATIENCE))

    async def _enjoy(self, wish):
        """What somebody does with a reservation; then again, since nobody believes in buttons."""
        if self.chance.random() < LOOKS:
            await self.until_known(wish, "look", f"GET /v1/reservations/{wish.id}")
        if self.chance.random() < CHANGES_ITS_MIND:
            await self._ask_other_body(wish)
        if self.chance.random() < REPLAYS:
            await self.reserve(wish, "replay")
        if self.shop.methods and self.chance.random() < PAYS:
            await self.pay(wish)
        if self.chance.random() < CANCELS:
            for _ in range(self.chance.choice((1, 2))):
                await self.cancel(wish)
        if self.chance.random() < REPLAYS:
            await self.reserve(wish, "replay")

    async def reserve(self, wish, op="reserve", line=None):
        """Asks until the answer tells."""
        answer = await self.until_known(wish, op, f"POST /v1/sales/{self.shop.sale}/reservations", line=line)
        if answer.status != 0:
            wish.last = answer

    async def cancel(self, wish):
        await self.until_known(wish, "cancel", f"DELETE /v1/reservations/{wish.id}")

    async def pay(self, wish):
        """One way or another, with one key per way; who is told to wait looks again, a few times."""
        for attempt in range(self.chance.choice((1, 1, 2))):
            method = self.chance.choice(self.shop.methods)
            for _ in range(LOOKS_AGAIN):
                answer = await self.until_known(wish, f"pay {attempt} {method}", f"POST /v1/reservations/{wish.id}/payment")
                if answer.status != 202 or self.shop.is_over():
                    break
                await asyncio.sleep(self.chance.uniform(0, 0.5))
            if answer.status != 402:
                return

    async def _ask_other_body(self, wish):
        other = Wish(self, wish.key, wish.quantity % 3 + 1)
        if other.quantity != wish.quantity:
            answer = await self.until_known(other, "reserve", f"POST /v1/sales/{self.shop.sale}/reservations")
            if answer.status not in (0, 422):
                self.shop.complain(f"{self.user} {wish.key} with another quantity: {answer.status} {answer.problem}")

    async def until_known(self, wish, op, call, line=None):
        """One thing, asked until the answer tells. An empty answer if the run is given up."""
        request = self._request(wish, op, call)
        while not self.shop.given_up():
            if line is None and op in ("reserve", "replay") and self.chance.random() < TWICE:
                answers = await asyncio.gather(*(self._once(each, wish, op, request) for each in self.lines))
                answer = next((a for a in answers if a.is_known()), answers[0])
            else:
                answer = await self._once(line or self.line(), wish, op, request, self.chance.random() < LOSES)
            await asyncio.sleep(self.chance.uniform(*PAUSES))
            if answer.is_known() and answer.problem not in ("key-in-flight", "not-open"):
                return answer
        self.shop.complain(f"{self.user} {wish.key} has not been told what became of its {op}")
        return Answer()

    def _request(self, wish, op, call):
        head = f"{call} HTTP/1.1\r\nHost: shop\r\nX-Dropgate-User: {self.user}\r\n"
        if op in ("cancel", "look"):
            return (head + "\r\n").encode()
        key, body = wish.key, json.dumps({"quantity": wish.quantity})
        if op.startswith("pay "):
            _, key, method = op.split(" ")
            body = json.dumps({"method": method})
        return (f'{head}Idempotency-Key: "{key}"\r\nContent-Type: application/json\r\n'
                f"Content-Length: {len(body)}\r\n\r\n{body}").encode()

    async def _once(self, line, wish, op, request, lose=False):
        invoked = now()
        answer = await line.ask(request, lose)
        if answer.status == 201:
            wish.id = wish.id or json.loads(answer.body)["id"]
            wish.body = wish.body or answer.body
        self.shop.remember(wish, op, invoked, answer)
        return answer


class Steady(Shopper):
    """Keeps what it gets."""

    async def _enjoy(self, wish):
        await self.reserve(wish, "replay")


class Shop:
    """One run's load and its history."""

    WORKERS, SHOPPERS_MAX = 24, 1500

    def __init__(self, seed, sale, addresses, quantity_max, give_up_after, shopper=Shopper, methods=()):
        self.seed, self.sale, self.addresses, self.quantity_max, self.shopper = seed, sale, addresses, quantity_max, shopper
        self.history, self.complaints, self.shoppers = [], [], []
        self.deadline = time.monotonic() + give_up_after
        self.methods = list(methods)  # ways to pay; none: nobody does
        self.answers = 0  # that tell
        self.enough = False

    def is_over(self):
        return self.enough or self.given_up()

    def given_up(self):
        return time.monotonic() > self.deadline

    def complain(self, text):
        self.complaints.append(text)

    def remember(self, wish, op, invoked, answer):
        ident = wish.id
        if answer.status == 201:
            ident = json.loads(answer.body)["id"]
        self.history.append({"user": wish.user, "op": op, "key": wish.key, "quantity": wish.quantity, "invoked": invoked,
                             "answered": now(), "status": answer.status, "type": answer.problem, "id": ident,
                             "hash": hashlib.sha256(answer.body).hexdigest()[:16]})
        if not answer.is_known():
            return
        self.answers += 1
        lawful = answer.status in LIKED or answer.problem in LAWFUL or answer.status == 422 and answer.problem == "key-reused"
        if not lawful:
            self.complain(f"{wish.user} {wish.key} {op}: {answer.status} {answer.body[:200]!r}")

    async def answered(self, more):
        """When so many more answers have told something."""
        wanted = self.answers + more
        while self.answers < wanted and not self.is_over():
            await asyncio.sleep(0.005)

    async def _work(self):
        while not self.is_over() and len(self.shoppers) < self.SHOPPERS_MAX:
            shopper = self.shopper(self, len(self.shoppers))
            self.shoppers.append(shopper)
            await shopper.live()

    async def trade(self):
        """The load, until `enough` is set or nobody is left."""
        await asyncio.gather(*(self._work() for _ in range(self.WORKERS)))

    async def _together(self, wishes, deed):
        """Many shoppers at a time, each with one wish after the other."""
        waiting = {}
        for wish in wishes:
            waiting.setdefault(wish.shopper, []).append(wish)
        waiting = list(waiting.values())

        async def work():
            while waiting:
                for wish in waiting.pop():
                    await deed(wish)
        await asyncio.gather(*(work() for _ in range(self.WORKERS)))

    def wishes(self):
        return [wish for shopper in self.shoppers for wish in shopper.wishes]

    async def settle(self):
        """Nothing falls due any more: everybody who was refused for stock asks again until a round grants nothing, and every
        grant is replayed, by each instance in turn."""
        while not self.given_up():
            refused = [wish for wish in self.wishes() if wish.refused_for_stock()]
            await self._together(refused, lambda wish: wish.shopper.reserve(wish))
            if all(wish.refused_for_stock() for wish in refused):
                break
        granted = [wish for wish in self.wishes() if wish.body]
        line = {wish: wish.shopper.lines[n % len(wish.shopper.lines)] for n, wish in enumerate(granted)}
        await self._together(granted, lambda wish: wish.shopper.reserve(wish, "replay", line[wish]))
        for shopper in self.shoppers:
            shopper.hang_up()
