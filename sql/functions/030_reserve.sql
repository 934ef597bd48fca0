-- SPDX-License-Identifier: BSD-3-Clause
-- Copyright (c) 2026, the Dropgate authors
--
-- The deduction: one call decides a batch of requests for one sale, exactly as if they had been asked one by one in
-- their order, in one transaction and so with one flush of the log. This is what makes the ledger fast: the lock is held
-- through that flush, however it is taken, so what counts is how many grants share it.
--
-- Two ways to the same answers. As long as no element can stand in another's way (no user or id twice, and stock for all
-- or for none) the whole batch is decided as a set. Else a loop over arrays, without a query in it, takes them in order.
set local role dropgate_owner;

-- status: 201 granted or replayed · 400 malformed element · 403 not open · 404 no such sale · 409 over the user's limit ·
-- 410 sold out, nothing is held · 411 fewer left than asked for · 412 sold out, but holds may return · 422 id known with another
-- body or user · 423 closed. 0 (ask again) is reserved: this function decides every element at once. The other columns
-- are filled for 201 only.
--
-- Errors, which refuse the whole batch, are the caller's own mistakes only: arrays NULL, of different lengths, of more than one
-- dimension or of more than 10,000 elements; another isolation than READ COMMITTED. With empty arrays it is housekeeping.
--
-- Plans are generic, since planning anew took 40 % of a batch of 64, and by decree fit for any size of table and batch: tables
-- by index only, with all keys of the batch in one scan; batches joined by hash; no JIT, which the decree would look worth. A tuple
-- read from an index is dear, or a plan made while a partition was empty would read all of its key for one sale.
create or replace function dropgate.reserve_batch(p_sale int, p_id uuid[], p_user text[], p_fingerprint uuid[], p_quantity int[])
returns table (ord int, status int, quantity int, unit_price bigint, currency text, granted_at timestamptz, expires_at timestamptz, render smallint)
language plpgsql volatile security definer rows 100
set search_path = pg_catalog, dropgate, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_nestloop = off set enable_mergejoin = off set jit = off set cpu_index_tuple_cost = 1 as $$
#variable_conflict use_column
declare
    n int := cardinality(p_id);
    s record;                       -- the sale and its counters, before this batch
    t timestamptz;                  -- the one instant at which everything is judged
    gate int;                       -- why the sale grants nothing now: 403, 404, 423, or NULL
    freed bigint := 0;              -- units given back by expiry
    a bigint;                       -- units available
    decided int[];                  -- per element: its status, or 0 as long as only the stock can refuse it; at the end, 0 is granted
    room int[];                     -- per element: what its user may still hold
    asked bigint;                   -- units wanted by those elements
    twins bool;                     -- some user or id stands in the batch twice
    exhausted int;                  -- 410 or 412 instead of the 0 of all of them, since nothing is left
    wanted int[];                   -- the rest is for the loop only. Per element: its quantity
    same_user int[];                -- the previous element of the same user, or 0
    same_id int[];                  -- the previous element with the same id, or 0
    got int[];                      -- units granted in this batch to its user, up to here
    first int[];                    -- the element that was granted under its id, or 0
begin
    if n is null or p_user is null or p_fingerprint is null or p_quantity is null then
        raise 'reserve_batch: an array is NULL' using errcode = 'null_value_not_allowed';
    elsif cardinality(p_user) <> n or cardinality(p_fingerprint) <> n or cardinality(p_quantity) <> n then
        raise 'reserve_batch: arrays of different lengths: % ids, % users, % fingerprints, % quantities', n, cardinality(p_user),
            cardinality(p_fingerprint), cardinality(p_quantity) using errcode = 'array_subscript_error';
    elsif n > 10000 or greatest(array_ndims(p_id), array_ndims(p_user), array_ndims(p_fingerprint), array_ndims(p_quantity)) > 1 then
        raise 'reserve_batch: one dimension and at most 10,000 elements' using errcode = 'array_subscript_error';
    end if;

    t := clock_timestamp();
    if n = 0 and not exists (select from reservation d where d.sale = p_sale and d.state = 'held' and d.expires_at <= t) then
        return; -- housekeeping that finds nothing due takes no lock and writes no log
    end if;

    perform lock_sale(p_sale);
    select k.avail, k.held, k.entry, x.per_user, x.hold, x.unit_price, x.currency, x.opens_at, x.closes_at into s
        from stock k, sale x where k.sale = p_sale and x.id = p_sale for update of k;
    if not found then
        return query select o, 404, null::int, null::bigint, null::text, null::timestamptz, null::timestamptz, null::smallint
            from generate_series(1, n) o;
        return;
    end if;
    t := clock_timestamp(); -- again: the wait may have been long
    gate := case sale_state(s.opens_at, s.closes_at, null, t) when 'closed' then 423 when 'upcoming' then 403 end;

    -- Expiry. A due row returns at least one unit, so as many rows as units are asked for serve everybody.
    with gone as (
        update reservation r set state = 'expired', released_entry = s.entry + 1
        where r.sale = p_sale and r.id = any (array(
            select d.id from reservation d where d.sale = p_sale and d.state = 'held' and d.expires_at <= t order by d.expires_at
            limit (select case n when 0 then 4096 else greatest(256, sum(q)) end from unnest(p_quantity) q where q between 1 and s.per_user)))
        returning r.id, r.user_id, r.quantity),
    told as (
        insert into outbox_pending (kind, sale, at, events, reservations, users, quantities)
        select 'reservation.expired', p_sale, t, count(*), array_agg(gone.id), array_agg(gone.user_id), array_agg(gone.quantity)
        from gone having count(*) > 0)
    select coalesce(sum(gone.quantity), 0) into freed from gone;
    a := s.avail + freed;

    with known as materialized (
        select r.id, r.user_id, r.fingerprint from reservation r where r.sale = p_sale and r.id = any (p_id)),
    live as materialized ( -- a hold whose time is over does not count, released or not
        select r.user_id, sum(r.quantity)::int as units from reservation r
        where r.sale = p_sale and r.user_id = any (p_user) and r.state < 'expired' and (r.state <> 'held' or r.expires_at > t)
        group by r.user_id)
    select array_agg(d.status), array_agg(d.room), sum(d.q) filter (where d.status = 0),
           (select count(*) from (select from unnest(p_user) u group by u) users) < n
           or (select count(*) from (select from unnest(p_id) i group by i) ids) < n
        into decided, room, asked, twins
    from (select r.q, s.per_user - coalesce(live.units, 0) as room,
                 case when r.i is null or r.f is null or r.q is null or r.q not between 1 and 10000
                        or r.u is null or octet_length(r.u) not between 1 and 255 then 400
                      when known.id is not null then
                          case when known.user_id = r.u and known.fingerprint = r.f then 201 else 422 end
                      when gate is not null then gate
                      when r.q > s.per_user - coalesce(live.units, 0) then 409
                      else 0 end as status
          from unnest(p_id, p_user, p_fingerprint, p_quantity) with ordinality r (i, u, f, q, o)
          left join known on known.id = r.i left join live on live.user_id = r.u order by r.o) d;

    if a = 0 then
        exhausted := case s.held - freed when 0 then 410 else 412 end;
    elsif asked > a or twins and asked > 0 then
        select array_agg(x.u), array_agg(x.i) into same_user, same_id from (
            select coalesce(lag(r.o) over (partition by r.u order by r.o), 0)::int as u,
                   coalesce(lag(r.o) over (partition by r.i order by r.o), 0)::int as i
            from unnest(p_id, p_user) with ordinality r (i, u, o) order by r.o) x;
        -- Copies that begin at 1, whatever the caller's do, and whose elements are found without a search.
        wanted := p_quantity[:];
        p_user := p_user[:];
        p_fingerprint := p_fingerprint[:];
        got := array_fill(0, array[n]);
        first := got;
        for e in 1 .. n loop
            if same_user[e] > 0 then got[e] := got[same_user[e]]; end if;
            if same_id[e] > 0 then first[e] := first[same_id[e]]; end if;
            continue when decided[e] not in (0, 409);
            if first[e] > 0 then
                decided[e] := case when p_fingerprint[e] = p_fingerprint[first[e]] and p_user[e] = p_user[first[e]] then 201 else 422 end;
            elsif got[e] + wanted[e] > room[e] then
                decided[e] := 409;
            elsif wanted[e] > a then
                decided[e] := case when a > 0 then 411 when s.held + s.avail - a > 0 then 412 else 410 end;
            else
                decided[e] := 0;
                a := a - wanted[e];
                got[e] := got[e] + wanted[e];
                first[e] := e;
            end if;
        end loop;
    end if;

    if 201 = any (decided) and freed = 0 and (exhausted is not null or 0 <> all (decided)) then
        -- Only replays: a commit record of their own, so that a synchronous standby is waited for before they are repeated.
        perform pg_logical_emit_message(true, 'dropgate', 'replay');
    end if;

    -- The stock loses what was inserted, and the answer is what the rows say.
    return query
    with granted as (
        insert into reservation as r (id, sale, user_id, fingerprint, quantity, unit_price, currency, granted_at, expires_at, granted_entry)
        select g.i, p_sale, g.u, g.f, g.q, s.unit_price, s.currency, t, t + s.hold, s.entry + 1
        from unnest(p_id, p_user, p_fingerprint, p_quantity, decided) g (i, u, f, q, d) where g.d = 0 and exhausted is null
        returning r.id, r.user_id, r.quantity, r.unit_price, r.currency, r.granted_at, r.expires_at, r.render),
    told as (
        insert into outbox_pending (kind, sale, at, events, reservations, users, quantities, body)
        select 'reservation.granted', p_sale, t, count(*), array_agg(granted.id), array_agg(granted.user_id), array_agg(granted.quantity),
               jsonb_build_object('unit_price', s.unit_price, 'currency', s.currency, 'expires_at', utc_text(t + s.hold))
        from granted having count(*) > 0),
    counted as (
        update stock k set avail = k.avail + freed - taken, held = k.held - freed + taken, granted = k.granted + taken,
            released = k.released + freed, entry = k.entry + 1
        from (select coalesce(sum(granted.quantity), 0) as taken from granted) x where k.sale = p_sale and taken + freed > 0),
    rendered as (
        select g.id, g.quantity, g.unit_price, g.currency, g.granted_at, g.expires_at, g.render from granted g union all
        select r.id, r.quantity, r.unit_price, r.currency, r.granted_at, r.expires_at, r.render from reservation r
        where r.sale = p_sale and r.id = any (array(select x.i from unnest(p_id, decided) x (i, d) where x.d = 201)))
    select x.o::int, case x.d when 0 then coalesce(exhausted, 201) else x.d end,
           r.quantity, r.unit_price, r.currency, r.granted_at, r.expires_at, r.render
    from unnest(p_id, decided) with ordinality x (i, d, o)
    left join rendered r on r.id = x.i and x.d in (0, 201) order by x.o;
end $$;

revoke all on function dropgate.reserve_batch from public;
grant execute on function dropgate.reserve_batch to dropgate_service;
