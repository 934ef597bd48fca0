#!/usr/bin/python3 -B
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# One fault run after another; scripts/faults prepares the ground and explains the arguments. A run: two instances, a fresh
# sale, shoppers who trade until the fault has struck and a while longer; then all comes to rest, and the ledger must hold what
# everybody was told. All choices come from the seed; how the processes interleave does not, so a seed that failed once
# is worth a few tries.

import argparse
import asyncio
import json
import os
import random
import shutil
import sys
import time
import traceback

from menu import FAULTS, SHORT, fault_named, fault_of
from payments import Provider
from service import ROOT, Control, Postgres, Trouble
from shoppers import Shop, Shopper

sys.path.insert(0, os.path.join(ROOT, "tests/lab"))
import history  # noqa: E402

RUN_WITHIN = 60       # seconds; a run takes two or three
TRADE_BEHIND = 80     # answers after the fault is over
LONG_HOLD = "10 minutes"
PLACES = ["postgres", "postgres-b"]  # the primary first; the other is only there for faults that want a standby
DIRECTORY = os.environ.get("FAULTS_DIR", "")


class World:
    """Everything of one run."""

    def __init__(self, seed, fault):
        self.seed, self.fault = seed, fault
        self.chance = random.Random(f"run {seed}")
        self.directory = os.path.join(DIRECTORY, f"seed-{seed}")
        self.postgres, self.other = (Postgres(os.path.join(DIRECTORY, place)) for place in PLACES)
        pid = os.getpid()
        self.address = f"127.{64 + pid % 64}.{pid // 64 % 256}.{1 + pid // 16384 % 250}"  # this program's own
        self.controls, self.closing = [], []
        self.sale, self.shop = 0, None
        self.control_dsn = [self.postgres.dsn("dropgate_service")] * 2
        self.per_user, self.hold = self.chance.randint(1, 3), self.chance.choice(("300 ms", "900 ms", LONG_HOLD))
        self.total, self.opens_in = self.chance.randint(30, 150), self.chance.choice((0, 0, 0.3, 0.8))
        self.settings = {
            "network_threads": self.chance.choice((1, 2)), "ledger_threads": self.chance.choice((1, 2)),
            "identity": "header", "deadline": self.chance.choice(("300ms", "1s", "5s")), "drain_max": "8s",
            "batch_max": self.chance.choice((2, 16, 256))}
        self.lock_timeout = self.chance.choice(("100ms", "250ms"))
        self.provider, self.provider_port = None, [20000 + pid % 5000 * 2] * 2
        self.pays = fault.pays or self.chance.random() < 0.3
        self.shopper, self.used = Shopper, [0, 1]  # the instances that shoppers know
        fault.arrange(self)

    async def open_sale(self):
        self.sale = int(await self.postgres.sql(f"""
            select coalesce(max(id), 0) + 1 as sale from dropgate.sale \\gset
            select dropgate.item_put('item-' || :sale, 'Item', 'Sold under stress.') \\g /dev/null
            select dropgate.sale_put(:sale, 'item-' || :sale, {self.total}, {self.per_user}, '{self.hold}', 4900, 'EUR',
                clock_timestamp() + interval '{self.opens_in} s', null) \\g /dev/null
            select :sale;"""))

    async def start_provider(self):
        if self.pays:
            urls = [f"http://{self.address}:{8081 + n}" for n in range(2)]
            self.provider = Provider(self.provider_port[1], self.directory, self.seed, urls)
            self.closing.append(self.provider.end)
            await self.provider.start()

    async def start_instances(self):
        for n in range(2):
            control = Control(n, self.address, self.directory, {
                "control": {"listen": f"{self.address}:{8081 + n}", **self.settings},
                "database": {"dsn": self.control_dsn[n], "lock_timeout": self.lock_timeout, "connect_timeout": "2s"},
                "catalog": {"refresh": "100ms"},
                **({"payment": self.provider.settings(self.provider_port[n])} if self.provider else {})})
            self.controls.append(control)
        await asyncio.gather(*(control.start(self.fault.failpoints(self.chance) if n == 0 else "")
                               for n, control in enumerate(self.controls)))

    async def trade(self):
        self.shop = Shop(self.seed, self.sale, [(self.address, 8081 + n) for n in self.used], min(3, self.per_user + 1), RUN_WITHIN,
                         self.shopper, self.fault.methods if self.pays else [])
        trading = asyncio.ensure_future(self.shop.trade())
        try:
            await self.fault.strike(self)
            await self.shop.answered(TRADE_BEHIND)
        finally:
            self.shop.enough = True
            await trading

    async def come_to_rest(self):
        """Short holds are let lapse, new ones are long, and everybody has the last word."""
        await self.postgres.sql(f"update dropgate.sale set hold = '{LONG_HOLD}' where id = {self.sale}")
        if self.hold != LONG_HOLD:
            await asyncio.sleep(float(self.hold.split()[0]) / 1000)
        if self.provider:
            began = time.monotonic()
            await self.provider.at_rest(self.postgres, self.sale)
            self.shop.deadline += time.monotonic() - began  # in which nobody asks for anything
        await self.shop.settle()

    async def ledger(self):
        return json.loads(await self.postgres.sql(f"""
            select json_build_object('sale', s.id, 'total', k.total, 'avail', k.avail, 'per_user', s.per_user_highest,
                'opens_at', (extract(epoch from s.opens_at) * 1000000)::bigint, 'rows', coalesce((
                select json_agg(json_build_object('id', r.id, 'user', r.user_id, 'quantity', r.quantity, 'state', r.state,
                    'granted', r.granted_entry, 'released', r.released_entry,
                    'granted_at', (extract(epoch from r.granted_at) * 1000000)::bigint,
                    'expires_at', (extract(epoch from r.expires_at) * 1000000)::bigint,
                    'due', case when not exists (select from dropgate.payment p where p.sale = r.sale and p.reservation = r.id)
                                then (extract(epoch from r.expires_at) * 1000000)::bigint end,
                    'late', exists (select from dropgate.payment p where p.sale = r.sale and p.placed = r.id and p.reservation <> r.id)))
                from dropgate.reservation r where r.sale = s.id), '[]'))
            from dropgate.sale s join dropgate.stock k on k.sale = s.id where s.id = {self.sale}"""))

    async def broken(self, name):
        """Rows of sql/NAME.sql that are not ok."""
        with open(os.path.join(ROOT, f"sql/{name}.sql")) as file:
            query = file.read().rstrip().removesuffix(";")
        return await self.postgres.sql(f"select row_to_json(i) from ({query}\n) i where not ok")

    async def verdict(self):
        """What does not hold, as lines; and the checks' names that found something."""
        ledger = await self.ledger()
        with open(os.path.join(self.directory, "ledger.json"), "w") as file:
            json.dump(ledger, file)
        with open(os.path.join(self.directory, "history.jsonl"), "w") as file:
            file.writelines(json.dumps(told) + "\n" for told in self.shop.history)
        report = history.check(ledger, self.shop.history)
        names = {name for name in history.CHECKS if not report[name]}
        lines = [f"{name}: {found}" for name, evidence in report["evidence"].items() for found in evidence]
        for name in ("invariants", "events"):
            rows = await self.broken(name)
            if rows:
                names.add(name)
                lines.append(f"{name}: {rows}")
        if self.provider:
            lines += await self.provider.compare(self.postgres, self.sale)
        lines += self.fault.inspect(self, {row["id"]: row for row in ledger["rows"]})
        return names, lines + self.shop.complaints[:10]

    def change_primary(self):
        PLACES.reverse()
        self.postgres, self.other = self.other, self.postgres

    async def end(self):
        for control in self.controls:
            await control.kill()
        for close in self.closing:
            await close()


async def make(world):
    """What went wrong, as (names of the checks that found something, lines); both empty if nothing did."""
    shutil.rmtree(world.directory, ignore_errors=True)
    os.makedirs(world.directory)
    names, wrong = set(), []
    try:
        await world.open_sale()
        await world.start_provider()
        await world.fault.prepare(world)
        await world.start_instances()
        await world.trade()
        await world.come_to_rest()
        for control in world.controls:
            await control.end()
        names, wrong = await world.verdict()
        wrong += [f"a sanitizer's finding: {path}" for control in world.controls for path in control.findings()]
    except Trouble as trouble:
        wrong.append(str(trouble))
    except Exception:  # whatever it is, it must not end the runs behind it
        wrong.append(traceback.format_exc())
    try:
        await world.end()
    except Exception:
        wrong.append(traceback.format_exc())
    return names, wrong


def in_words(world):
    told = world.shop.history if world.shop else []
    granted = len({call["id"] for call in told if call["status"] == 201})
    unknown = sum(call["status"] in (0, 503) for call in told)
    return f"{len(told)} calls, {granted} grants of {world.total} units, {unknown} unknown"


def report(seed, fault, wrong, words, seconds):
    print(f"{'FAIL' if wrong else 'ok'} {seed:5d}  {fault.name:32s} {seconds:5.1f} s  {words}", flush=True)
    if wrong:
        for line in wrong:
            print(f"    {line}")
        print(f"    again: scripts/faults --seed {seed}{'' if fault is fault_of(seed) else f' --only {fault.name!r}'}")
        print(f"    logs and history: {DIRECTORY}/seed-{seed}", flush=True)


def run_all(runs):
    failed = []
    for seed, fault in runs:
        began = time.monotonic()
        world = World(seed, fault)
        _, wrong = asyncio.run(make(world))
        report(seed, fault, wrong, in_words(world), time.monotonic() - began)
        if wrong:
            failed.append(seed)
        else:
            shutil.rmtree(os.path.join(DIRECTORY, f"seed-{seed}"))
    print(f"{len(runs)} runs, {len(failed)} failed" + (f": {', '.join(map(str, failed))}" if failed else ""))
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--only")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--broken", action="store_true")
    wanted = parser.parse_args()
    if wanted.list:
        for fault in FAULTS:
            print(f"{fault.name:34s}{fault.row}")
        return 0
    if wanted.broken:
        import broken
        return broken.run_all(make, World)
    if wanted.short:
        return run_all([(seed, fault_named(name)) for seed, name in SHORT])
    seeds = range(wanted.seed, wanted.seed + wanted.runs)
    return run_all([(seed, fault_named(wanted.only) if wanted.only else fault_of(seed)) for seed in seeds])


if __name__ == "__main__":
    sys.exit(main())
