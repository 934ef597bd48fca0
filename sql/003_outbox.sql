-- SPDX-License-Identifier: BSD-3-Clause
-- Copyright (c) 2026, the Dropgate authors
--
-- The outbox: what other systems must hear of, written in the transaction that makes it true. Readers never follow `id`: ids
-- are drawn before their commits, which come in another order, so a reader at 12 would never see the 11 that commits late.
-- The relay (outbox_relay) gives `position` to rows that have been committed, one relay at a time, and readers follow that.
set local role dropgate_owner;

create sequence dropgate.outbox_id;

-- A row is one event, or the events of one batch: then `reservations`, `users` and `quantities` have one element for each,
-- and `body` is what they have in common. A row per grant would cost a batch of 128 as much again as its reservations.
-- The events of a published row have the positions from `position` on.
--
-- What waits and what is published are two tables under one name, since they live differently: the first is small and
-- turns over all the time, the second only grows at its end and is cut at its beginning. Rows are kept in line (not in a
-- TOAST table) as long as they fit into a page, since each of them moves once.
create table dropgate.outbox (
    id bigint not null default nextval('dropgate.outbox_id'),
    position bigint check (position > 0),              -- null until it is published
    events int not null default 1 check (events between 1 and 10000),
    at timestamptz not null default clock_timestamp(), -- when it became true, by the database's clock
    published_at timestamptz,
    kind text collate "C" not null check (kind ~ '^[a-z]+\.[a-z_]+$'),
    sale int not null,
    reservation uuid,
    user_id text collate "C",
    body jsonb not null default '{}' check (jsonb_typeof(body) = 'object'),
    reservations uuid[],
    users text[] collate "C",
    quantities int[],
    constraint one_or_many check (case when reservations is null then events = 1 and users is null and quantities is null
        else reservation is null and user_id is null and events = cardinality(reservations) and events = cardinality(users)
             and events = cardinality(quantities) end),
    constraint published_with_its_time check ((position is null) = (published_at is null))
) partition by list ((position is null));
create table dropgate.outbox_pending partition of dropgate.outbox (primary key (id)) for values in (true)
    with (toast_tuple_target = 8160, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
create table dropgate.outbox_published partition of dropgate.outbox (primary key (position)) for values in (false)
    with (toast_tuple_target = 8160);
alter table dropgate.outbox_pending alter column reservations set storage external, alter column users set storage external;
alter table dropgate.outbox_published alter column reservations set storage external, alter column users set storage external;

-- One row: the last position given, and the last one that retention has taken away. Published under its lock, so that
-- positions have no gap, and are never given twice, even if two relays ran.
create table dropgate.outbox_head (
    one_row boolean primary key default true check (one_row),
    position bigint not null default 0,
    forgotten bigint not null default 0 check (forgotten >= 0),
    constraint forgotten_was_published check (forgotten <= position)
) with (fillfactor = 10);
insert into dropgate.outbox_head default values;

-- One row per event, published or not, as readers are given it. `id` names an event for ever; a consumer that has seen it
-- before may pass it over.
create view dropgate.event as
    select o.position + e.ord - 1 as position, o.id || '-' || e.ord as id, o.at, o.kind, o.sale, e.reservation, e.user_id,
           case when e.quantity is null then o.body else o.body || jsonb_build_object('quantity', e.quantity) end as body
    from dropgate.outbox o,
         lateral unnest(coalesce(o.reservations, array[o.reservation]), coalesce(o.users, array[o.user_id]), o.quantities)
             with ordinality e (reservation, user_id, quantity, ord);
