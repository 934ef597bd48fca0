# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# Paying in a fault run: the provider's simulator (tests/provider), what instances must know of it, and the comparison of its books
# with the ledger's when all has come to an end.

import asyncio
import json
import os
import sys

from service import ROOT, Trouble, die_with_parent, run

sys.path.insert(0, os.path.join(ROOT, "tests/provider"))
import books  # noqa: E402
from simulator import METHODS  # noqa: E402,F401

ENDS_WITHIN = 60  # seconds, for what nobody follows up any more
FINAL = "('captured', 'declined', 'voided', 'refunded')"


class Provider:
    def __init__(self, port, directory, seed, instances):
        self.port, self.directory, self.seed, self.instances = port, directory, seed, instances
        self.child = None

    def _file(self, name, text):
        path = os.path.join(self.directory, name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        return path

    def settings(self, port):
        """[payment] of an instance that reaches it at this port."""
        return {"provider": "http", "base_url": f"http://127.0.0.1:{port}/v1",
                "credentials": self._file("key", "key-of-the-fault-runs"),
                "webhook_secret": self._file("secret", "secret-of-the-fault-runs"),
                "timeout": "500ms", "patience": "2s", "reconcile": "100ms"}

    async def start(self):
        self.settings(self.port)
        words = [os.path.join(ROOT, "tests/provider/simulator.py"), "--listen", f"127.0.0.1:{self.port}", "--seed", str(self.seed),
                 "--key", os.path.join(self.directory, "key"), "--secret", os.path.join(self.directory, "secret"),
                 "--slow", "0.8", "--late", "2.5"]
        for url in self.instances:
            words += ["--webhook", f"{url}/v1/payments/webhook"]
        self.child = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE, preexec_fn=die_with_parent)
        if await asyncio.wait_for(self.child.stdout.readline(), 20) != b"ready\n":
            raise Trouble("the provider's simulator does not start")

    async def end(self):
        if self.child and self.child.returncode is None:
            self.child.kill()
            await self.child.wait()

    async def at_rest(self, postgres, sale):
        """When every payment of the sale has come to its end, and the provider will not change its mind about any: what it decides
        by itself has been decided, and told. Unless anything has moved there while the ledger was read."""
        deadline = asyncio.get_running_loop().time() + ENDS_WITHIN
        query = f"""select p.attempt, p.state from dropgate.payment p where p.sale = {sale}
            and (p.state not in {FINAL} or p.check_at < clock_timestamp() + interval '1 minute')"""
        while True:
            before = await self._ask("_under_way")
            left = await postgres.sql(query)
            if not left and not before["under_way"] and before == await self._ask("_under_way"):
                return
            if asyncio.get_running_loop().time() > deadline:
                raise Trouble(f"payments do not come to an end: {left.splitlines()[:5]}; the provider has {before['under_way']} under way")
            await asyncio.sleep(0.1)

    async def _ask(self, what):
        return json.loads(await run("curl", "-fsS", f"http://127.0.0.1:{self.port}/{what}"))

    async def compare(self, postgres, sale):
        """What differs between its books and the ledger's, as lines."""
        ledger = json.loads(await postgres.sql(f"""
            select coalesce(json_agg(json_build_object('attempt', p.attempt, 'state', p.state, 'amount', p.amount, 'reservation',
                (select r.state from dropgate.reservation r where r.sale = p.sale and r.id = p.placed))), '[]')
            from dropgate.payment p where p.sale = {sale}"""))
        return list(books.faults(await self._ask("_books"), ledger))
