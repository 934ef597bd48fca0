-- SPDX-License-Identifier: BSD-3-Clause
-- Copyright (c) 2026, the Dropgate authors
--
-- Payments: one row per attempt to pay for a reservation, the events that the provider has told us of, and what operators have
-- decided by hand. The states of a reservation and of its attempts move together, in sql/functions/050_payment.sql.
set local role dropgate_owner;

-- While a reservation is paying or beyond: the attempt that does it, and until when it may be claimed.
alter table dropgate.reservation
    add column attempt uuid,
    add column pay_deadline timestamptz,
    add constraint in_payment_by_an_attempt check (state not in ('paying', 'capturing', 'unknown', 'paid') or attempt is not null);

-- From here `held` counts what may still come back by itself: reservations that are held and those that are paying. A claim takes
-- its units out of it, so that "sold out, nothing can come back" stays true for whoever is told so.
comment on column dropgate.stock.held is 'units of reservations in the states held and paying';

-- begun → capturing → captured, or → unknown → captured: the one way to money.
-- begun → voiding → voided: its time was over; the provider is asked until it says that the attempt is dead.
-- begun, capturing, unknown → declined: by the provider, for certain.
-- any of them → captured, when the provider turns out to have the money; or → refunding → refunded, when there is nothing to sell for it.
create type dropgate.payment_state as enum ('begun', 'capturing', 'unknown', 'voiding', 'declined', 'voided', 'captured', 'refunding', 'refunded');

-- `attempt` is the first 128 bits of SHA-256 over (reservation, idempotency key), and the provider's idempotency key: whatever is
-- sent again after a crash is the same attempt to the provider as well. No method is kept: it is a token of the shop's provider, of
-- use only in the call that brings it.
create table dropgate.payment (
    attempt uuid primary key,
    reservation uuid not null,
    sale int not null,
    state dropgate.payment_state not null default 'begun',
    tries smallint not null default 0 check (tries >= 0), -- looks of the reconciler since the last change
    fingerprint uuid not null,                            -- of the body that the attempt was begun with
    amount bigint not null check (amount between 0 and 9007199254740991),
    begun_at timestamptz not null,
    deadline timestamptz not null check (deadline > begun_at),
    check_at timestamptz,                                 -- when the reconciler looks again; NULL: never
    placed uuid,                                          -- captured: the reservation that it paid for
    currency text not null,
    action text check (octet_length(action) between 1 and 2048), -- where the shopper must go; while begun
    reason text check (octet_length(reason) between 1 and 500),  -- why it is declined or was resolved by hand
    constraint captured_exactly_when_placed check ((state = 'captured') = (placed is not null)),
    constraint open_work_is_looked_at check (check_at is not null or state in ('declined', 'voided', 'captured', 'refunded'))
) with (autovacuum_vacuum_scale_factor = 0.02); -- looked-at rows leave dead entries at the front of payment_due
create index payment_due on dropgate.payment (check_at) where check_at is not null;
create index payment_of_reservation on dropgate.payment (sale, reservation);
create unique index payment_pays_once on dropgate.payment (placed) where placed is not null;

-- Each event of the provider once. Rows older than the webhook's tolerance for old timestamps may go: what is repeated later is
-- refused by its age.
create table dropgate.payment_event (
    event text collate "C" primary key check (octet_length(event) between 1 and 255),
    attempt uuid not null,
    kind text not null check (octet_length(kind) between 1 and 64),
    received_at timestamptz not null
);
create index payment_event_age on dropgate.payment_event using brin (received_at);

-- Who decided what about a reservation whose payment was unknown, and why.
create table dropgate.resolution (
    reservation uuid primary key,
    sale int not null,
    attempt uuid not null,
    outcome text not null check (outcome in ('paid', 'released')),
    reason text not null check (octet_length(reason) between 1 and 500),
    resolved_by text not null,
    resolved_at timestamptz not null
);
