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

-- The relay: publishes up to p_rows rows and returns how many, or -1 if another session is the relay. p_holds says that this
-- session has been told before that it is; else it tries to become it. The lock is the session's: it ends with the
-- connection, however that ends, and a holder that is stopped for 15 s between two calls is disconnected by the server.
-- 1380273241 is "RELY" in ASCII.
--
-- Within a sale ids are drawn under its lock, and whoever ends a reservation has seen it granted, so rows in the order of
-- their ids tell each story in its order. What commits late gets a later position, never one that a reader has passed.
create or replace function dropgate.outbox_relay(p_holds boolean, p_rows int) returns int
language plpgsql volatile security definer set search_path = pg_catalog, dropgate, pg_temp
set enable_seqscan = off set enable_mergejoin = off set jit = off as $$
declare
    last bigint;
    published int;
    given bigint;
begin
    if p_rows not between 1 and 10000 then
        raise 'outbox_relay: 1 to 10,000 rows' using errcode = 'invalid_parameter_value';
    elsif not p_holds then
        if not pg_try_advisory_lock(1380273241, 0) then
            return -1;
        end if;
        perform set_config('idle_session_timeout', '15s', false);
    end if;
    if not exists (select from outbox_pending order by id limit 1) then
        return 0; -- takes no lock and writes no log
    end if;
    select h.position into strict last from outbox_head h for update;
    with taken as (
        delete from outbox_pending p where p.id = any (array(select n.id from outbox_pending n order by n.id limit p_rows)) returning p.*),
    put as (
        insert into outbox_published (id, position, events, at, published_at, kind, sale, reservation, user_id, body, reservations, users, quantities)
        select t.id, last + sum(t.events) over (order by t.id) - t.events + 1, t.events, t.at, clock_timestamp(), t.kind, t.sale,
               t.reservation, t.user_id, t.body, t.reservations, t.users, t.quantities
        from taken t returning events)
    select count(*), coalesce(sum(events), 0) into published, given from put;
    update outbox_head set position = last + given where given > 0;
    return published;
end $$;

-- What is read by position. The first row is of the outbox as a whole: status 200 and the last position given; 410 and the last
-- position that is gone, if events behind p_after have been deleted; 409 and the last position given, if p_after lies ahead
-- of it (a database restored to an earlier time has forgotten what it published). Then, for 200, one row per event
-- behind p_after, without a gap: p_limit at most, and about p_bytes of text, but at least one. p_after NULL: from the oldest.
--
-- Before events are handed out they must be as durable as configured: a primary that came back alone shows rows that no
-- standby has, so the answer's own commit record waits for one.
create or replace function dropgate.events_read(p_after bigint, p_limit int, p_bytes int)
returns table (status int, place bigint, event text)
language plpgsql volatile security definer rows 100 set search_path = pg_catalog, dropgate, pg_temp
set plan_cache_mode = force_custom_plan set jit = off as $$
declare
    answered int;
begin
    if p_limit not between 1 and 1000 or p_bytes < 1 or p_after < 0 then
        raise 'events_read: 1 to 1,000 events, some bytes, behind a position' using errcode = 'invalid_parameter_value';
    end if;
    return query
    with asked as materialized (
        select coalesce(p_after, h.forgotten) as after, h.position as last, h.forgotten from outbox_head h),
    rendered as (
        select o.position + e.ord - 1 as place,
               format('{"position":%s,"id":"%s-%s","at":"%s","kind":"%s","sale":%s%s%s,"data":%s}', o.position + e.ord - 1, o.id, e.ord,
                   utc_text(o.at), o.kind, o.sale, ',"reservation":"' || e.reservation || '"', ',"user":' || to_json(e.user_id),
                   case when e.quantity is null then o.body else o.body || jsonb_build_object('quantity', e.quantity) end) as event
        from asked a,
             lateral (select p.* from outbox_published p
                      where p.position <= a.after + p_limit
                        and p.position >= coalesce((select max(b.position) from outbox_published b where b.position <= a.after + 1), 0)) o,
             lateral unnest(coalesce(o.reservations, array[o.reservation]), coalesce(o.users, array[o.user_id]), o.quantities)
                 with ordinality e (reservation, user_id, quantity, ord)
        where a.after between a.forgotten and a.last and o.position + e.ord - 1 between a.after + 1 and a.after + p_limit),
    sized as (
        select r.place, r.event, sum(octet_length(r.event)) over w as bytes, row_number() over w as nth from rendered r
        window w as (order by r.place rows unbounded preceding))
    select x.status, x.place, x.event
    from (select case when a.after < a.forgotten then 410 when a.after > a.last then 409 else 200 end as status,
                 case when a.after < a.forgotten then a.forgotten else a.last end as place, null as event, 0 as nth from asked a
          union all
          select 200, s.place, s.event, s.nth from sized s where s.bytes <= p_bytes or s.nth = 1) x
    order by x.nth;
    get diagnostics answered = row_count;
    if answered > 1 then
        perform pg_logical_emit_message(true, 'dropgate', 'events');
    end if;
end $$;

-- The last position given: whether it is worth while to read.
create or replace function dropgate.events_last() returns bigint
language sql volatile security definer set search_path = pg_catalog, dropgate, pg_temp as $$
    select position from outbox_head
$$;

-- Deletes published rows that are older than the operators want them kept, oldest first, 1,000 at most. Returns how many.
create or replace function dropgate.outbox_forget() returns int
language plpgsql volatile security definer set search_path = pg_catalog, dropgate, pg_temp
set enable_seqscan = off set jit = off as $$
declare
    head outbox_head;
    cut timestamptz;
    gone int;
    upto bigint;
begin
    select * into strict head from outbox_head;
    cut := clock_timestamp() - head.keep;
    if not exists (select from (select p.published_at from outbox_published p order by p.position limit 1) oldest where oldest.published_at < cut) then
        return 0;
    end if;
    select * into strict head from outbox_head for update;
    with oldest as (
        select p.position, p.published_at from outbox_published p order by p.position limit 1000),
    deleted as (
        delete from outbox_published p using oldest where p.position = oldest.position
            and p.position < coalesce((select min(o.position) from oldest o where o.published_at >= cut), head.position + 1)
        returning p.position + p.events - 1 as last_event)
    select count(*), max(last_event) into gone, upto from deleted;
    update outbox_head set forgotten = upto where upto is not null;
    return gone;
end $$;

revoke all on function dropgate.outbox_relay, dropgate.events_read, dropgate.events_last, dropgate.outbox_forget from public;
grant execute on function dropgate.outbox_relay, dropgate.events_read, dropgate.events_last, dropgate.outbox_forget to dropgate_service;
