-- SPDX-License-Identifier: BSD-3-Clause
-- The outbox's way in. Whoever changes what others must hear of says so here, in the same transaction: then the event is
-- committed exactly if the change is.
set local role dropgate_owner;

-- For the functions of the ledger, never for the service. Kinds: reservation.granted, reservation.cancelled,
-- reservation.expired, reservation.paid, payment.declined, payment.refund, sale.sold_out, sale.reopened. No NOTIFY: it would
-- make all commits take turns.
create or replace function dropgate.outbox_put(p_kind text, p_sale int, p_reservation uuid, p_user text, p_body jsonb) returns void
language sql volatile as $$
    insert into dropgate.outbox_pending (kind, sale, reservation, user_id, body)
    values (p_kind, p_sale, p_reservation, p_user, coalesce(p_body, '{}'))
$$;

-- The events of one batch as one row. Empty arrays, or NULL (of an aggregate over nothing), put nothing.
create or replace function dropgate.outbox_put_many(p_kind text, p_sale int, p_at timestamptz, p_reservations uuid[], p_users text[],
    p_quantities int[], p_body jsonb) returns void
language sql volatile as $$
    insert into dropgate.outbox_pending (kind, sale, at, events, reservations, users, quantities, body)
    select p_kind, p_sale, p_at, cardinality(p_reservations), p_reservations, p_users, p_quantities, coalesce(p_body, '{}')
    where cardinality(p_reservations) > 0
$$;

-- A time as every answer of the service prints it, whatever the session's time zone is.
create or replace function dropgate.utc_text(p_at timestamptz) returns text
language sql stable parallel safe as $$
    select pg_catalog.to_char(p_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

-- A sale's selling out and its return to sale (the trigger stock_turns calls it): numbered, told to the caches, and put out.
create or replace function dropgate.turn_stock() returns trigger
language plpgsql security definer set search_path = pg_catalog, dropgate, pg_temp as $$
begin
    new.seq := old.seq + 1;
    perform pg_notify('dropgate_catalog', new.sale::text);
    perform outbox_put(case new.avail when 0 then 'sale.sold_out' else 'sale.reopened' end, new.sale, null, null,
        jsonb_build_object('seq', new.seq));
    return new;
end $$;

revoke all on function dropgate.outbox_put, dropgate.outbox_put_many, dropgate.utc_text, dropgate.turn_stock from public;
