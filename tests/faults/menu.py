# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# The faults, one per run. Each says where it stands in the ledger's crash table, strikes while shoppers trade, shows that it
# did, and puts right what an operator or a supervisor would: it starts what has died, and nothing else.

import asyncio
import os
import random
import signal

from payments import METHODS
from relay import Relay
from service import ROOT, Trouble, run
from shoppers import Steady, now

FIRES_WITHIN = 20  # seconds

NOTHING_SENT = "before the batch is sent"
COMMIT_UNKNOWN = "batch sent, commit unknown"
ANSWER_LOST = "committed, answer lost"
INSTANCE_KILLED = "control instance killed"
STANDBY_CUT = "standby cut, commit, connection cut, replay"
PRIMARY_LOST = "primary lost, standby promoted; old primary still reachable"
PAYMENT_NOT_STORED = "payment authorised, not stored"
PROVIDER_TIMES_OUT = "provider times out"
WEBHOOKS = "webhook twice, out of order; expiry and late payment race"
NOT_IN_TABLE = "-"


async def until(what, condition):
    deadline = asyncio.get_running_loop().time() + FIRES_WITHIN
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            raise Trouble(f"the fault did not fire: {what}")
        await asyncio.sleep(0.01)


class Fault:
    """`prepare` comes before the instances start, `strike` while shoppers trade; it returns when the fault is over and put
    right. `chance` is the run's own source of choices."""

    pays = False  # whether shoppers must pay in its runs; in others they may
    methods = ["ok"] * 12 + sorted(METHODS)

    def __init__(self, name, row):
        self.name, self.row = name, row

    def failpoints(self, chance):
        """For the first instance; "" for none."""
        return ""

    def arrange(self, world):
        """What the run is like, before anything is made."""

    async def prepare(self, world):
        """May change world.control_dsn and provider_port."""

    async def strike(self, world):
        raise NotImplementedError

    def inspect(self, world, rows):
        """What this fault alone makes wrong, as lines; `rows` are the ledger's by their ids."""
        return []


class Failpoint(Fault):
    """The first instance stops at a place of its source: for ever, or for a while."""

    def __init__(self, name, row, place, action, last_passage):
        super().__init__(name, row)
        self.place, self.action, self.last_passage = place, action, last_passage

    def failpoints(self, chance):
        passage = chance.randint(1, self.last_passage)
        milliseconds = f":{chance.randint(100, 1500)}" if self.action == "sleep" else ""
        return f"{self.place}={self.action}{milliseconds}:{passage}"

    async def strike(self, world):
        control = world.controls[0]
        await until(f"{self.place} was not passed", lambda: control.logged('"failpoint"', f"{self.place} {self.action}"))
        if self.action == "abort":
            status = await control.ended()
            if status != -signal.SIGKILL:
                raise Trouble(f"the instance ended with {status}")
            await asyncio.sleep(world.chance.uniform(0, 0.3))
            await control.start()
        elif self.action == "stop":
            await asyncio.sleep(world.chance.uniform(0.1, 1.5))
            control.signal(signal.SIGCONT)


class InstanceKilled(Fault):
    """At any time, not at a place."""

    async def strike(self, world):
        control = world.chance.choice(world.controls)
        await world.shop.answered(world.chance.randint(1, 200))
        control.signal(signal.SIGKILL)
        status = await control.ended()
        if status != -signal.SIGKILL:
            raise Trouble(f"the instance ended with {status}")
        await asyncio.sleep(world.chance.uniform(0, 0.3))
        await control.start()


class InstanceStopped(Fault):
    async def strike(self, world):
        control = world.chance.choice(world.controls)
        await world.shop.answered(world.chance.randint(1, 200))
        control.signal(signal.SIGSTOP)
        await asyncio.sleep(world.chance.uniform(0.1, 1.5))
        control.signal(signal.SIGCONT)


class InstanceDrained(Fault):
    """SIGTERM under load: it finishes what it has begun, ends well, and another takes its place."""

    async def strike(self, world):
        control = world.chance.choice(world.controls)
        await world.shop.answered(world.chance.randint(1, 200))
        await control.end()
        await control.start()


class PostgresCrashed(Fault):
    async def strike(self, world):
        await world.shop.answered(world.chance.randint(1, 200))
        before = world.postgres.postmaster()
        await world.postgres.crash()
        await asyncio.sleep(world.chance.choice((0, 0, 0.5)))
        await world.postgres.start()
        if world.postgres.postmaster() == before:
            raise Trouble("the postmaster is still the same")


class PostgresRestarted(Fault):
    async def strike(self, world):
        await world.shop.answered(world.chance.randint(1, 200))
        await world.postgres.stop()
        await world.postgres.start()


class PostgresStopped(Fault):
    """All of its processes stand still; every connection stays open."""

    async def strike(self, world):
        await world.shop.answered(world.chance.randint(1, 200))
        world.postgres.signal_all(signal.SIGSTOP)
        try:
            await asyncio.sleep(world.chance.uniform(0.1, 1.5))
        finally:
            world.postgres.signal_all(signal.SIGCONT)


class BackendEnded(Fault):
    """One session of an instance: by the administrator, or with SIGKILL, after which the server restarts all of them."""

    def __init__(self, name, row, kill):
        super().__init__(name, row)
        self.kill = kill

    async def strike(self, world):
        await world.shop.answered(world.chance.randint(1, 200))
        pids = (await world.postgres.sql("select pid from pg_stat_activity where usename = 'dropgate_service' "
                                         "and query like '%reserve_arrays%' order by pid")).split()
        if not pids:
            raise Trouble("no session has sent a batch")
        pid = int(world.chance.choice(pids))
        if self.kill:
            os.kill(pid, signal.SIGKILL)
        elif await world.postgres.sql(f"select pg_terminate_backend({pid}, 5000)") != "t":
            raise Trouble(f"backend {pid} did not end")


class Relayed(Fault):
    """The line between the first instance and PostgreSQL."""

    def __init__(self, name, row, deed, message=b"reserve_arrays", last_message=25):
        super().__init__(name, row)
        self.deed, self.message, self.last_message = deed, message, last_message

    async def prepare(self, world):
        def is_wanted(chunk):  # Bind of the prepared statement (its preparation begins with another letter)
            return chunk[:1] == b"B" and self.message in chunk[:64]
        self.relay = Relay(world.address, 5432, f"{world.postgres.home}/.s.PGSQL.5432", is_wanted,
                           world.chance.randint(1, self.last_message), self.deed, world.chance.uniform(0.1, 1.5))
        await self.relay.open()
        world.closing.append(self.relay.close)
        world.control_dsn[0] = world.postgres.dsn("dropgate_service", world.address)

    async def strike(self, world):
        await until(f"no {self.message} passed the relay", self.relay.fired.is_set)
        await asyncio.wait_for(self.relay.over.wait(), FIRES_WITHIN)


class RelayedLocked(Relayed):
    """The answer of a batch is lost, and when it is sent again somebody else holds the sale's lock: it is refused, but what is
    refused may have been committed before, and nobody may be told that nothing happened."""

    def arrange(self, world):
        world.settings["deadline"], world.lock_timeout = "1s", "100ms"

    async def prepare(self, world):
        await super().prepare(world)
        self.relay.pause = 0.25

    async def strike(self, world):
        await until(f"no {self.message} passed the relay", self.relay.fired.is_set)
        await world.postgres.sql(f"begin; select dropgate.lock_sale({world.sale}) \\g /dev/null\nselect pg_sleep(1.6) \\g /dev/null\ncommit;")
        await asyncio.wait_for(self.relay.over.wait(), FIRES_WITHIN)


class PaymentFailpoint(Failpoint):
    """The first instance dies at a step of a payment."""

    pays = True

    def __init__(self, name, place, last_passage, methods=()):
        super().__init__(name, PAYMENT_NOT_STORED, f"payment.{place}", "abort", last_passage)
        self.methods = list(methods) * 3 + Fault.methods


class ProviderRelayed(Relayed):
    """The line between the first instance and the provider."""

    pays = True

    def __init__(self, name, deed):
        super().__init__(name, PROVIDER_TIMES_OUT, deed, b"POST ", 12)

    async def prepare(self, world):
        self.relay = Relay("127.0.0.1", world.provider_port[1] + 1, ("127.0.0.1", world.provider_port[1]), lambda chunk: chunk.startswith(self.message),
                           world.chance.randint(1, self.last_message), self.deed, world.chance.uniform(0.1, 1.5))
        await self.relay.open()
        world.closing.append(self.relay.close)
        world.provider_port[0] += 1


class LateNews(Fault):
    """No fault but the provider's own: webhooks that come twice, late, in any order and not at all, and shoppers whose holds are
    over when they have paid."""

    pays = True

    def arrange(self, world):
        world.hold = "300 ms"

    async def strike(self, world):
        await until("no payment was captured too late or declined", lambda: {"payment-declined", "payment-too-late", "reservation-expired"}
                    & {told["type"] for told in world.shop.history})


class LockHeld(Fault):
    """An operator's session holds the sale's lock, perhaps longer than lock_timeout, and cancels a reservation in the end."""

    async def strike(self, world):
        await world.shop.answered(world.chance.randint(60, 200))
        await self.hold(world, f"select pg_sleep({world.chance.uniform(0.05, 1.2)}) \\g /dev/null")

    async def hold(self, world, until):
        """Until the SQL has run, which answers nothing."""
        answer = await world.postgres.sql(f"""
            begin;
            select dropgate.lock_sale({world.sale}) \\g /dev/null
            {until}
            select (extract(epoch from clock_timestamp()) * 1000000)::bigint;
            select id, user_id, quantity, dropgate.reservation_cancel(id, user_id) from dropgate.reservation
                where sale = {world.sale} and state = 'held' and expires_at > clock_timestamp() order by granted_at limit 1;
            commit;""")
        lines = answer.split("\n")
        for line in lines[1:]:
            ident, user, quantity, status = line.split("|")
            world.shop.history.append({"user": user, "op": "cancel", "key": "", "quantity": int(quantity), "type": "", "hash": "",
                                       "invoked": int(lines[0]), "answered": now(), "status": int(status), "id": ident})


class FunctionsReplaced(Fault):
    """The ledger's functions are replaced while batches run, as scripts/migrate does it."""

    async def strike(self, world):
        folder = os.path.join(ROOT, "sql/functions")
        await world.shop.answered(world.chance.randint(1, 100))
        for name in sorted(os.listdir(folder)):
            await run("psql", "-XAtq1d", world.postgres.dsn(), "-v", "ON_ERROR_STOP=1", "-f", os.path.join(folder, name))


class WithStandby(Fault):
    """A second cluster follows the first, whose commits wait for it; both are the instances' hosts."""

    async def prepare(self, world):
        world.closing.append(lambda: self.dismiss(world))
        await world.other.follow(world.postgres, "standby")
        homes = f"{world.postgres.home},{world.other.home}"
        world.control_dsn[:] = [f"host={homes} dbname=dropgate user=dropgate_service"] * 2

    async def dismiss(self, world):
        """Back to one cluster, whichever is the primary now."""
        await world.postgres.sql("alter system reset synchronous_standby_names; select pg_reload_conf() \\g /dev/null")
        await world.other.drop()


class PrimaryLost(WithStandby):
    """The primary is killed and its standby promoted; the old one comes back as it was, and nobody may write to it."""

    def __init__(self, name, row, standby_cut):
        super().__init__(name, row)
        self.standby_cut = standby_cut

    async def strike(self, world):
        old, new = world.postgres, world.other
        await world.shop.answered(world.chance.randint(1, 150))
        if self.standby_cut:
            new.signal_all(signal.SIGSTOP)
            await asyncio.sleep(world.chance.uniform(0, 0.5))
        await old.crash()
        if self.standby_cut:
            new.signal_all(signal.SIGCONT)
        await run(os.path.join(ROOT, "scripts/promote"), "--standby", f"standby={new.dsn()}", "--primary", old.dsn(),
                  "--synchronous", "")
        world.change_primary()
        await old.start("autovacuum=off")
        written = "select txid_snapshot_xmax(txid_current_snapshot())"
        before = await old.sql(written)
        await world.shop.answered(world.chance.randint(20, 60))
        if await old.sql("select pg_is_in_recovery()") != "f" or await old.sql(written) != before:
            raise Trouble("the old primary has come back and was written to")


class StandbyCut(WithStandby):
    """The standby stands still while a batch is committed, and the session that waits for it ends. Nothing may be answered
    positively until the standby is back, least of all the same request, whose row is there already."""

    # The relay of the outbox waits for the standby as well, but it is no shopper's.
    WAITING = ("select pid from pg_stat_activity where wait_event = 'SyncRep' and usename = 'dropgate_service' "
               "and query not like '%outbox_relay%' and ")

    def __init__(self, name, row, how, again):
        super().__init__(name, row)
        self.how, self.again = how, again  # SQL on session {pid}; where the same batch waits again, since {then}

    def arrange(self, world):
        self.alone = world.chance.random() < 0.5
        if self.alone:  # then nobody else can take the sale's lock, so the batch itself is what is next committed
            world.used, world.shopper, world.hold, world.pays = [0, 0], Steady, "10 minutes", False
            world.settings["deadline"] = "30s"

    async def _waiting(self, world, where):
        deadline = asyncio.get_running_loop().time() + FIRES_WITHIN
        while not (pid := await world.postgres.sql(f"{self.WAITING} {where} limit 1")):
            if asyncio.get_running_loop().time() > deadline or any(self._told(world, {})):
                return None
        return pid

    async def strike(self, world):
        await world.shop.answered(world.chance.randint(20, 100))
        world.other.signal_all(signal.SIGSTOP)
        try:
            world.cut, world.back = now(), float("inf")
            pid = await self._waiting(world, "true")
            if not pid:
                raise Trouble("the fault did not fire: nobody waits for the standby")
            then = await world.postgres.sql("select clock_timestamp()")
            if await world.postgres.sql(self.how.format(pid=pid)) != "t":
                raise Trouble(f"session {pid} has ended before")
            if self.alone:
                again = await self._waiting(world, self.again.format(pid=pid, then=then))
                if not again and not any(self._told(world, {})):
                    raise Trouble("the batch was not sent again")
            await asyncio.sleep(world.chance.uniform(0.1, 0.5))
            world.back = now()
        finally:
            world.other.signal_all(signal.SIGCONT)

    def inspect(self, world, rows):
        return self._told(world, rows)

    def _told(self, world, rows):
        for told in world.shop.history:
            if told["status"] not in (201, 204) or not world.cut < told["answered"] < world.back:
                continue
            granted_at = rows[told["id"]]["granted_at"] if told["id"] in rows else 0
            if told["invoked"] > world.cut or told["status"] == 201 and granted_at > world.cut:
                yield f"{told['user']} {told['key']} {told['op']} was answered {told['status']} while the standby stood still"


FAULTS = [
    Failpoint("die before sending", NOTHING_SENT, "ledger.send", "abort", 20),
    Failpoint("die after sending", COMMIT_UNKNOWN, "ledger.sent", "abort", 20),
    Failpoint("die before answering", ANSWER_LOST, "ledger.answered", "abort", 20),
    Failpoint("die before replying", ANSWER_LOST, "reply.send", "abort", 150),
    Failpoint("die before cancelling", NOTHING_SENT, "lookup.send", "abort", 4),
    Failpoint("die while cancelling", COMMIT_UNKNOWN, "lookup.sent", "abort", 4),
    Failpoint("die behind cancelling", ANSWER_LOST, "lookup.answered", "abort", 4),
    Failpoint("stop before sending", NOTHING_SENT, "ledger.send", "stop", 20),
    Failpoint("stop after sending", COMMIT_UNKNOWN, "ledger.sent", "stop", 20),
    Failpoint("stop before answering", ANSWER_LOST, "ledger.answered", "stop", 20),
    Failpoint("sleep before sending", NOTHING_SENT, "ledger.send", "sleep", 20),
    Failpoint("sleep before answering", ANSWER_LOST, "ledger.answered", "sleep", 20),
    InstanceKilled("kill an instance", INSTANCE_KILLED),
    InstanceStopped("stop an instance", NOT_IN_TABLE),
    InstanceDrained("drain an instance", NOT_IN_TABLE),
    PostgresCrashed("crash PostgreSQL", COMMIT_UNKNOWN),
    PostgresRestarted("restart PostgreSQL", COMMIT_UNKNOWN),
    PostgresStopped("stop PostgreSQL", COMMIT_UNKNOWN),
    BackendEnded("end a session", COMMIT_UNKNOWN, kill=False),
    BackendEnded("kill a session", COMMIT_UNKNOWN, kill=True),
    Relayed("cut before the batch", NOTHING_SENT, "cut before"),
    Relayed("cut within the batch", NOTHING_SENT, "cut within"),
    Relayed("cut behind the batch", COMMIT_UNKNOWN, "cut behind"),
    Relayed("lose the answer", ANSWER_LOST, "lose answer"),
    RelayedLocked("lose the answer, hold the lock", ANSWER_LOST, "lose answer and refuse"),
    Relayed("halve the answer", ANSWER_LOST, "halve answer"),
    Relayed("half-close towards the service", COMMIT_UNKNOWN, "half-close near"),
    Relayed("half-close towards PostgreSQL", COMMIT_UNKNOWN, "half-close far"),
    Relayed("stall the line", NOT_IN_TABLE, "stall"),
    Relayed("stall and cut the line", ANSWER_LOST, "stall and cut"),
    Relayed("refuse connections", NOTHING_SENT, "refuse"),
    Relayed("cut behind a cancellation", COMMIT_UNKNOWN, "cut behind", b"reservation_cancel", 4),
    Relayed("lose a cancellation's answer", ANSWER_LOST, "lose answer", b"reservation_cancel", 4),
    StandbyCut("cut the standby, end a session", STANDBY_CUT, "select pg_terminate_backend({pid})",
               "backend_start > '{then}'"),
    StandbyCut("cut the standby, cancel a wait", STANDBY_CUT, "select pg_cancel_backend({pid})",
               "pid = {pid} and query_start > '{then}'"),
    PrimaryLost("lose the primary", PRIMARY_LOST, standby_cut=False),
    PrimaryLost("lose the standby, then the primary", PRIMARY_LOST, standby_cut=True),
    PaymentFailpoint("die with a payment begun", "begun", 4),
    PaymentFailpoint("die with a payment authorised", "authorised", 4),
    PaymentFailpoint("die with a payment claimed", "claimed", 4),
    PaymentFailpoint("die with a payment captured", "captured", 4),
    PaymentFailpoint("die with a payment voided", "voided", 1, ["action_never", "void_fails"]),
    PaymentFailpoint("die with a payment refunded", "refunded", 1, ["zombie", "refund_lost", "late"]),
    ProviderRelayed("lose the provider's answer", "lose answer"),
    ProviderRelayed("cut the provider off", "cut before"),
    ProviderRelayed("stall the provider", "stall"),
    LateNews("hear of payments in any order", WEBHOOKS),
    LockHeld("hold the sale's lock", NOT_IN_TABLE),
    FunctionsReplaced("replace the functions", NOT_IN_TABLE),
]


# What every change is tested with: the crash table's rows, each with a fixed seed.
SHORT = [
    (1, "die before sending"), (2, "die after sending"), (3, "die before replying"), (4, "kill an instance"),
    (5, "crash PostgreSQL"), (6, "lose the answer"), (7, "cut within the batch"), (8, "die with a payment captured"),
    (9, "hold the sale's lock"), (10, "lose a cancellation's answer"),
]


def fault_of(seed):
    """Every stretch of as many seeds as there are faults has each of them once, in an order of its own."""
    stretch, place = divmod(seed, len(FAULTS))
    order = list(range(len(FAULTS)))
    random.Random(f"stretch {stretch}").shuffle(order)
    return FAULTS[order[place]]


def fault_named(name):
    found = [fault for fault in FAULTS if fault.name == name]
    if not found:
        raise SystemExit(f"no fault is named {name!r}: see --list")
    return found[0]
