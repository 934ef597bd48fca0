-- SPDX-License-Identifier: BSD-3-Clause
-- Copyright (c) 2026, the Dropgate authors
--
-- The ledger's tables: items, sales, the one counter row per sale, and reservations. All rules that a constraint can
-- express are constraints, as a net under the functions (sql/functions), which are the only way in for the service.

-- Roles belong to the cluster, not the database. dropgate_owner owns everything and cannot log in, so a SECURITY
-- DEFINER function never runs as a superuser.
do $$
declare role text;
begin
    foreach role in array array['dropgate_owner', 'dropgate_service', 'dropgate_admin'] loop
        if not exists (select from pg_roles where rolname = role) then
            execute format('create role %I %s', role, case role when 'dropgate_service' then 'login' else 'nologin' end);
        end if;
    end loop;
end $$;
grant dropgate_owner to current_user;

create schema dropgate authorization dropgate_owner;
grant usage on schema dropgate to dropgate_service, dropgate_admin;
set local role dropgate_owner;
alter default privileges in schema dropgate grant select on tables to dropgate_admin;

-- What is sold. `id` stands in a URL.
create table dropgate.item (
    id text collate "C" primary key check (id ~ '^[A-Za-z0-9._~-]{1,64}$'),
    title text not null check (char_length(title) between 1 and 200),
    description text not null check (char_length(description) <= 10000)
);

-- One sale of one SKU. Written by operators only; what the batches change is in `stock`. Prices are in the currency's
-- smallest unit and stay exact in JSON (2^53 - 1).
create table dropgate.sale (
    id int primary key check (id > 0),
    item text collate "C" not null references dropgate.item,
    per_user int not null check (per_user between 1 and 10000),
    per_user_highest int not null check (per_user_highest >= per_user), -- ever in force: what I3 may ask of old rows
    hold interval not null check (hold > interval '0' and hold <= interval '30 days'),
    unit_price bigint not null check (unit_price between 0 and 9007199254740991),
    currency text not null check (currency ~ '^[A-Z]{3}$'),
    opens_at timestamptz not null,
    closes_at timestamptz check (closes_at > opens_at)
);

-- The counter row that every batch of a sale locks and updates once. A low fillfactor and no index on a counter keep
-- each update on its page (HOT). `granted` and `released` only grow: with the rows of `reservation` they prove that
-- every release happened exactly once (I7).
create table dropgate.stock (
    sale int primary key references dropgate.sale,
    total bigint not null check (total between 0 and 9007199254740991),
    avail bigint not null,
    held bigint not null default 0 check (held >= 0),  -- units of reservations in state `held`
    granted bigint not null default 0,                 -- units ever granted
    released bigint not null default 0,                -- units ever given back
    entry bigint not null default 0,                   -- ledger entries: one per transaction that moved stock
    seq bigint not null default 0,                     -- moves of `avail` between 0 and more: orders the sale's states
    constraint never_oversold check (avail between 0 and total),
    constraint held_is_not_available check (avail + held <= total),
    constraint granted_less_released_is_out check (granted - released = total - avail)
) with (fillfactor = 10);

-- A sale's selling out and its return to sale, in whichever way `avail` moved: numbered, and told to the caches.
create function dropgate.turn_stock() returns trigger
language plpgsql security definer set search_path = pg_catalog, dropgate, pg_temp as $$
begin
    new.seq := old.seq + 1;
    perform pg_notify('dropgate_catalog', new.sale::text);
    return new;
end $$;
create trigger stock_turns before update of avail on dropgate.stock for each row
    when ((old.avail = 0) <> (new.avail = 0)) execute function dropgate.turn_stock();

-- held → paying → capturing → paid | unknown; held → expired | cancelled. The order matters: everything before `expired` is
-- live and holds stock.
create type dropgate.reservation_state as enum ('held', 'paying', 'capturing', 'unknown', 'paid', 'expired', 'cancelled');

-- One row per grant, for ever (until retention). `id` is the first 128 bits of SHA-256 over (user, sale, key), so it
-- names its sale. Partitioning, when it comes, is by `sale`: the key then is (id, sale), which is as unique as (id) because no id
-- belongs to two sales, and a finished sale is dropped as a whole. Not by the day of the grant: a retry after midnight
-- would look for its first answer in another partition. No foreign key to `sale`: only reserve_batch inserts, and it
-- holds the sale's counter row (locked) meanwhile; a check per row made the insert half as dear again.
create table dropgate.reservation (
    id uuid primary key,
    sale int not null,
    quantity int not null check (quantity between 1 and 10000),
    unit_price bigint not null,
    granted_at timestamptz not null,
    expires_at timestamptz not null check (expires_at > granted_at),
    granted_entry bigint not null,
    released_entry bigint,
    fingerprint uuid not null,
    state dropgate.reservation_state not null default 'held',
    render smallint not null default 1,                -- which rendering of the answer the client was given
    currency text not null,
    user_id text collate "C" not null check (octet_length(user_id) between 1 and 255),
    constraint released_exactly_when_ended check ((state >= 'expired') = (released_entry is not null))
) with (autovacuum_vacuum_scale_factor = 0.02); -- ended rows leave dead entries at the front of reservation_due
-- Hash: less than half the cost of a B-tree over texts for each new row. Live rows only: a user who reserves and cancels in a
-- loop must not make everybody's next batch read all of it.
create index reservation_live on dropgate.reservation using hash (user_id) where state < 'expired';
create index reservation_due on dropgate.reservation (sale, expires_at) where state = 'held';

-- An answer once given is rendered from these columns ever after. Costs nothing where no statement names them.
create function dropgate.refuse_change() returns trigger language plpgsql as $$
begin
    raise 'the columns that an answer is rendered from never change' using errcode = 'integrity_constraint_violation';
end $$;
create trigger reservation_is_immutable
    before update of id, sale, user_id, fingerprint, quantity, unit_price, currency, granted_at, expires_at, granted_entry, render
    on dropgate.reservation for each row execute function dropgate.refuse_change();
revoke all on function dropgate.turn_stock, dropgate.refuse_change from public;
