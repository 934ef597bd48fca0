#!/usr/bin/python3 -B
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# When a fault run's payments are at rest: not while the provider may still change its mind or has told nobody yet, however final
# all of it looks in the ledger. The provider is the simulator; a few lines stand in for the ledger and for the instance.

import asyncio
import http.client
import json
import os
import socket
import tempfile
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from payments import Provider

ATTEMPT = "0c2b4e7a-0000-0000-0000-000000000001"


class Ledger(ThreadingHTTPServer):
    """Holds every attempt for declined, whatever it is. Takes events at the third try only."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Hook)
        self.events, self.tries, self.reads = [], {}, 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    async def sql(self, _):
        self.reads += 1
        return ""


class Hook(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_POST(self):
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        tries = self.server.tries[event["id"]] = self.server.tries.get(event["id"], 0) + 1
        if tries >= 3:
            self.server.events.append(event["type"])
        self.send_response(204 if tries >= 3 else 503)
        self.end_headers()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class AtRest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.ledger = Ledger()
        self.addCleanup(self.ledger.server_close)
        self.addCleanup(self.ledger.shutdown)
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.provider = Provider(free_port(), directory.name, 1, [f"http://127.0.0.1:{self.ledger.server_port}"])
        await self.provider.start()
        self.addAsyncCleanup(self.provider.end)

    def authorise(self, method):
        with open(os.path.join(self.provider.directory, "key")) as file:
            head = {"Authorization": f"Bearer {file.read()}"}
        call = http.client.HTTPConnection("127.0.0.1", self.provider.port, timeout=10)
        call.request("POST", "/v1/payments", json.dumps({"attempt": ATTEMPT, "method": method, "amount": 4900, "currency": "EUR"}), head)
        state = json.loads(call.getresponse().read())["state"]
        call.close()
        return state

    async def state_at_rest(self):
        await self.provider.at_rest(self.ledger, 1)
        return (await self.provider._ask("_books"))[ATTEMPT]["state"]

    async def test_a_refusal_that_is_taken_back(self):
        self.assertEqual("declined", await asyncio.to_thread(self.authorise, "refund_lost"))
        self.assertEqual("captured", await self.state_at_rest())
        self.assertEqual({"declined", "captured"}, set(self.ledger.events))

    async def test_an_authorisation_that_is_late(self):
        self.assertEqual("pending", await asyncio.to_thread(self.authorise, "late"))
        self.assertEqual("authorised", await self.state_at_rest())
        self.assertEqual({"authorised"}, set(self.ledger.events))

    async def test_nothing_to_wait_for(self):
        await self.provider.at_rest(self.ledger, 1)
        self.assertEqual(1, self.ledger.reads)

    async def test_a_provider_that_moves_while_the_ledger_is_read(self):
        authorise = self.authorise

        class Behind(Ledger):
            async def sql(self, _):
                if self.reads == 0:
                    await asyncio.to_thread(authorise, "ok")
                return await super().sql(_)
        behind = Behind()
        self.addCleanup(behind.server_close)
        self.addCleanup(behind.shutdown)
        await self.provider.at_rest(behind, 1)
        self.assertGreaterEqual(behind.reads, 2)


if __name__ == "__main__":
    unittest.main()
