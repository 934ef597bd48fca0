# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# The test of the fault runs' own eyes: ledgers with a known defect, each of which must be found by the check that is there for
# it, while the same load finds nothing wrong with the sound ledger. The defects are put around or into the functions as they
# are, so they outlive their rewriting.

import asyncio
import os

from menu import Fault, LockHeld
from service import ROOT, run
from shoppers import Line, Shopper

BATCH = "dropgate.reserve_arrays(int, uuid[], text[], uuid[], int[])"
BATCH_SOUND = "dropgate.reserve_arrays_sound(int, uuid[], text[], uuid[], int[])"
BATCH_AROUND = f"""
alter function {BATCH} rename to reserve_arrays_sound;
create function dropgate.reserve_arrays(p_sale int, p_id uuid[], p_user text[], p_fingerprint uuid[], p_quantity int[],
    out status int[], out granted_at timestamptz, out expires_at timestamptz, out unit_price bigint, out currency text, out render smallint,
    out repeated int[], out repeated_quantity int[], out repeated_granted_at timestamptz[], out repeated_expires_at timestamptz[],
    out repeated_unit_price bigint[], out repeated_currency text[], out repeated_render smallint[])
language plpgsql volatile security definer set search_path = pg_catalog, dropgate, pg_temp as $$
#variable_conflict use_column
declare
    known uuid[] := array(select r.id from reservation r where r.sale = p_sale and r.id = any (p_id));
    cut int := (select k.avail from stock k where k.sale = p_sale);
begin
    %s
end $$;
grant execute on function {BATCH} to dropgate_service;
"""
ANSWER = ("status, granted_at, expires_at, unit_price, currency, render, repeated, repeated_quantity, repeated_granted_at, "
          "repeated_expires_at, repeated_unit_price, repeated_currency, repeated_render")

DOUBLE_RELEASE = """
alter function dropgate.reservation_cancel(uuid, text) rename to reservation_cancel_sound;
create function dropgate.reservation_cancel(p_id uuid, p_user text) returns int
language plpgsql volatile security definer set search_path = pg_catalog, dropgate, pg_temp as $$
declare
    r record;
    answer int;
begin
    select x.sale, x.state, x.quantity into r from reservation x where x.id = p_id and x.user_id = p_user;
    answer := reservation_cancel_sound(p_id, p_user);
    if answer = 204 and r.state >= 'expired' then -- as long as no constraint notices
        update stock k set avail = k.avail + r.quantity, held = k.held - r.quantity, released = k.released + r.quantity, entry = k.entry + 1
            where k.sale = r.sale and k.held >= r.quantity and k.avail + r.quantity <= k.total;
    end if;
    return answer;
end $$;
grant execute on function dropgate.reservation_cancel(uuid, text) to dropgate_service;
"""

LOST_REPLAY = BATCH_AROUND % f"""
    select {ANSWER} into {ANSWER} from reserve_arrays_sound(p_sale, p_id, p_user, p_fingerprint, p_quantity);
    select coalesce(array_agg(case when x.s = 201 and x.i = any (known) then 410 else x.s end order by x.o), '{{}}') into status
        from unnest(status, p_id) with ordinality x (s, i, o);
    if repeated is not null and cardinality(known) > 0 then
        repeated := null; repeated_quantity := null; repeated_granted_at := null; repeated_expires_at := null;
        repeated_unit_price := null; repeated_currency := null; repeated_render := null;
    end if;"""

OLD_CLOCK = f"""
do $do$ begin
    execute replace(pg_get_functiondef('{BATCH}'::regprocedure), 'clock_timestamp()', 'now()');
    if pg_get_functiondef('{BATCH}'::regprocedure) not like '%now()%' then raise 'the clock is read elsewhere'; end if;
end $do$;
"""

# As many requests as there are units are considered, whoever made them; the rest is told that it is sold out.
DUPLICATES_COUNT = BATCH_AROUND % f"""
    select {ANSWER} into {ANSWER} from reserve_arrays_sound(p_sale, p_id[:cut], p_user[:cut], p_fingerprint[:cut], p_quantity[:cut]);
    status := status || array_fill(410, array[greatest(cardinality(p_id) - cut, 0)]);"""


class LockAwaited(LockHeld):
    """The lock is held until a batch waits for it, and a moment longer; several times, since a batch may grant nothing."""

    ROUNDS, WAITING = 6, """
        do $do$ begin
            for i in 1..1000 loop
                exit when exists (select from pg_stat_activity
                    where usename = 'dropgate_service' and wait_event_type = 'Lock' and query like '%reserve_arrays%');
                perform pg_sleep(0.01), pg_stat_clear_snapshot();
            end loop;
            perform pg_sleep(0.05);
        end $do$;"""

    async def strike(self, world):
        for _ in range(self.ROUNDS):
            await world.shop.answered(world.chance.randint(20, 60))
            await self.hold(world, self.WAITING)


class LockAtOpening(Fault):
    """All who wait for the opening come to stand in one batch."""

    async def strike(self, world):
        await world.postgres.sql(f"begin; select dropgate.lock_sale({world.sale}) \\g /dev/null\n"
                                 "select pg_sleep(0.9) \\g /dev/null\ncommit;")


class Eager(Shopper):
    """Asks for everything at once, though a user may have one unit."""

    async def live(self):
        lines = [Line(self.shop.addresses[0]) for _ in self.wishes]
        await asyncio.gather(*(self.reserve(wish, line=line) for wish, line in zip(self.wishes, lines)))
        for line in lines:
            line.hang_up()
        self.hang_up()


def unchanged(world):
    world.settings.update(deadline="5s", batch_max=256)
    world.lock_timeout, world.hold, world.opens_in = "2s", "10 minutes", 0


def eager(world):
    unchanged(world)
    world.total, world.per_user, world.opens_in, world.shopper = 10, 1, 0.4, Eager


def plenty(world):
    unchanged(world)
    world.total = 5000


LEDGERS = [
    ("a cancellation releases twice", DOUBLE_RELEASE, LockHeld("hold the sale's lock", ""), unchanged, "H3"),
    ("a replay is lost", LOST_REPLAY, LockHeld("hold the sale's lock", ""), unchanged, "H2"),
    ("the time is the transaction's", OLD_CLOCK, LockAwaited("hold the awaited lock", ""), plenty, "H3"),
    ("duplicates use up the stock", DUPLICATES_COUNT, LockAtOpening("hold the lock at the opening", ""), eager, "H4"),
]


async def restore(postgres):
    """The functions as they are in the tree."""
    await postgres.sql(f"""
        do $$ begin
            if to_regprocedure('{BATCH_SOUND}') is not null then
                drop function {BATCH};
                alter function {BATCH_SOUND} rename to reserve_arrays;
            end if;
            if to_regprocedure('dropgate.reservation_cancel_sound(uuid, text)') is not null then
                drop function dropgate.reservation_cancel(uuid, text);
                alter function dropgate.reservation_cancel_sound(uuid, text) rename to reservation_cancel;
            end if;
        end $$;""")
    folder = os.path.join(ROOT, "sql/functions")
    for name in sorted(os.listdir(folder)):
        await run("psql", "-XAtq1d", postgres.dsn(), "-v", "ON_ERROR_STOP=1", "-f", os.path.join(folder, name))


async def one(seed, sql, fault, arrange, make, world_of):
    """The checks that found something, and the lines."""
    world = world_of(seed, fault)
    arrange(world)
    if sql:
        await world.postgres.sql("set role dropgate_owner;" + sql)
    try:
        return await make(world)
    finally:
        if sql:
            # What a broken ledger has done to its sale must not be found again behind it, nor in the next sale of that number.
            tables = "reservation", "payment", "outbox", "stock"
            await world.postgres.sql("set session_replication_role = replica;" + "".join(
                f"delete from dropgate.{table} where sale = {world.sale};" for table in tables)
                + f"delete from dropgate.sale where id = {world.sale};")
            await restore(world.postgres)


def run_all(make, world_of):
    failed = 0
    for seed, (name, sql, fault, arrange, check) in enumerate(LEDGERS, 1):
        for broken in False, True:
            names, wrong = asyncio.run(one(seed, sql if broken else "", fault, arrange, make, world_of))
            good = check in names if broken else not wrong
            what = f"{check} finds it" if broken else "nothing is found in the sound ledger"
            print(f"{'ok' if good else 'FAIL'}  {name}: {what}", flush=True)
            if not good:
                failed += 1
                print("".join(f"    {line}\n" for line in [f"found by: {', '.join(sorted(names)) or 'nothing'}"] + wrong), end="")
    return 1 if failed else 0
