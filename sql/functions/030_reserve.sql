-- SPDX-License-Identifier: BSD-3-Clause
-- Copyright (c) 2026, the Dropgate authors
--
-- The deduction: one call decides a batch of requests for one sale, exactly as if they had been asked one by one in
-- their order, in one transaction and so with one flush of the log. This is what makes the ledger fast: the lock is held
-- through that flush, however it is taken, so what counts is how many grants share it.
--
-- Most batches are strangers to the sale, each wants something that is there, and none stands in another's way: one query
-- sees that, and the batch is inserted as it came. Otherwise `decide` looks at each element, as a set as far as elements cannot
-- stand in each other's way, and in a loop over the few that can (the same user or id twice, or not enough for all).
set local role dropgate_owner;

-- Gives back what is due: at most so many rows, those due first. Returns the units.
create or replace function dropgate.release_due(p_sale int, p_t timestamptz, p_entry bigint, p_most bigint) returns bigint
language plpgsql volatile as $$
declare freed bigint;
begin
    with gone as (
        update reservation r set state = 'expired', released_entry = p_entry
        where r.sale = p_sale and r.id = any (array(
            select d.id from reservation d where d.sale = p_sale and d.state = 'held' and d.expires_at <= p_t order by d.expires_at limit p_most))
        returning r.id, r.user_id, r.quantity),
    told as (
        insert into outbox_pending (kind, sale, at, events, reservations, users, quantities)
        select 'reservation.expired', p_sale, p_t, count(*), array_agg(gone.id), array_agg(gone.user_id), array_agg(gone.quantity)
        from gone having count(*) > 0)
    select coalesce(sum(gone.quantity), 0) into freed from gone;
    return freed;
end $$;

-- The status of each element, as reserve_batch answers it, except that a new grant is 0: 201 repeats an earlier one. p_gate: why the
-- sale grants nothing now, or NULL.
create or replace function dropgate.decide(p_sale int, p_id uuid[], p_user text[], p_fingerprint uuid[], p_quantity int[], p_t timestamptz,
    p_gate int, p_per_user int, p_attempts int, p_avail bigint, p_held bigint) returns int[]
language plpgsql volatile as $$
declare
    decided int[];                  -- per element: its status, or 0 as long as only the stock can refuse it
    room int[];                     -- per element: what its user may still hold
    asked bigint;                   -- units wanted by those elements
    contested int[];                -- the elements, in order, whose answer may depend on another's; for each of these:
    user_at int[];                  -- the first element of the same user
    id_at int[];                    -- the first element with the same id
    got int[];                      -- per first element of a user: units granted to it in this batch, up to here
    first int[];                    -- per first element with an id: the element that was granted under it, or 0
    a bigint := p_avail;
    e int;
begin
    with mine as materialized (
        select r.user_id, r.quantity,
               r.state < 'expired' and (r.state <> 'held' or r.expires_at > p_t) as live -- a hold whose time is over is not, released or not
        from reservation r where r.sale = p_sale and r.user_id = any (p_user)
            and hashtextextended(r.user_id, r.sale) = any (array(select hashtextextended(u, p_sale) from unnest(p_user) u))),
    known as materialized (
        select r.id, r.user_id, r.fingerprint from reservation r where r.sale = p_sale and r.id = any (p_id)),
    had as materialized (
        select m.user_id, coalesce(sum(m.quantity) filter (where m.live), 0)::int as units, count(*) filter (where not m.live) as ended
        from mine m group by m.user_id)
    select array_agg(d.status order by d.o), array_agg(d.room order by d.o), coalesce(sum(d.q) filter (where d.status = 0), 0) into decided, room, asked
    from (select r.o, r.q, p_per_user - coalesce(had.units, 0) as room,
                 case when r.i is null or r.f is null or r.q is null or r.q not between 1 and 10000
                        or r.u is null or octet_length(r.u) not between 1 and 255 then 400
                      when known.id is not null then case when known.user_id = r.u and known.fingerprint = r.f then 201 else 422 end
                      when p_gate is not null then p_gate
                      when had.ended >= p_attempts then 413
                      when r.q > p_per_user - coalesce(had.units, 0) then 409
                      else 0 end as status
          from unnest(p_id, p_user, p_fingerprint, p_quantity) with ordinality r (i, u, f, q, o)
          left join known on known.id = r.i left join had on had.user_id = r.u) d;

    if a = 0 then
        return (select array_agg(case d when 0 then case p_held when 0 then 410 else 412 end else d end order by o)
                from unnest(decided) with ordinality x (d, o));
    end if;
    with asks as materialized (select x.i, x.u collate "C" as u, x.o::int as o from unnest(p_id, p_user) with ordinality x (i, u, o)),
    users as (select u, min(o) as o from asks group by u having count(*) > 1),
    ids as (select i, min(o) as o from asks group by i having count(*) > 1)
    select array_agg(x.o order by x.o), array_agg(coalesce(users.o, x.o) order by x.o), array_agg(coalesce(ids.o, x.o) order by x.o)
        into contested, user_at, id_at
    from asks x left join users on users.u = x.u left join ids on ids.i = x.i
    where asked > a or users.o is not null or ids.o is not null;
    if contested is null then
        return decided;
    end if;

    -- Copies that begin at 1, whatever the caller's do, and whose elements are found without a search.
    p_quantity := p_quantity[:];
    p_user := p_user[:];
    p_fingerprint := p_fingerprint[:];
    got := array_fill(0, array[cardinality(decided)]);
    first := got;
    for c in 1 .. cardinality(contested) loop
        e := contested[c];
        continue when decided[e] not in (0, 409, 413);
        if first[id_at[c]] > 0 then
            decided[e] := case when p_fingerprint[e] = p_fingerprint[first[id_at[c]]] and p_user[e] = p_user[first[id_at[c]]] then 201 else 422 end;
        elsif decided[e] = 413 then
            null;
        elsif got[user_at[c]] + p_quantity[e] > room[e] then
            decided[e] := 409;
        elsif p_quantity[e] > a then
            decided[e] := case when a > 0 then 411 when p_held + p_avail - a > 0 then 412 else 410 end;
        else
            a := a - p_quantity[e];
            decided[e] := 0;
            got[user_at[c]] := got[user_at[c]] + p_quantity[e];
            first[id_at[c]] := e;
        end if;
    end loop;
    return decided;
end $$;

-- The batch, in arrays both ways: the service's own form. `status` has one element for each of the batch's. An element with 201 is
-- either new, with its own quantity and the columns granted_at to render, which all new ones share; or it repeats an earlier
-- grant: then its number stands in `repeated`, and that grant's columns at the same place of the arrays behind it.
--
-- status: 201 granted, now or before · 400 malformed element · 403 not open · 404 no such sale · 409 over the user's limit ·
-- 410 sold out, nothing is held · 411 fewer left than asked for · 412 sold out, but holds may return · 413 the user has given back, or let
-- run out, too many · 422 id known with another body or user · 423 closed. 0 (ask again) is reserved: every element is decided at once.
--
-- Errors, which refuse the whole batch, are the caller's own mistakes only: arrays NULL, of different lengths, of more than one
-- dimension or of more than 10,000 elements; another isolation than READ COMMITTED. With empty arrays it is housekeeping.
--
-- Plans are generic, since planning anew took 40 % of a batch of 64, and by decree fit for any size of table and batch: tables
-- by index only, with all keys of the batch in one scan; batches joined by hash; no JIT, which the decree would look worth. A tuple
-- read from an index is dear, or a plan made while a partition was empty would read all of its key for one sale.
create or replace function dropgate.reserve_arrays(p_sale int, p_id uuid[], p_user text[], p_fingerprint uuid[], p_quantity int[],
    out status int[], out granted_at timestamptz, out expires_at timestamptz, out unit_price bigint, out currency text, out render smallint,
    out repeated int[], out repeated_quantity int[], out repeated_granted_at timestamptz[], out repeated_expires_at timestamptz[],
    out repeated_unit_price bigint[], out repeated_currency text[], out repeated_render smallint[])
language plpgsql volatile security definer
set search_path = pg_catalog, dropgate, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_nestloop = off set enable_mergejoin = off set jit = off set cpu_index_tuple_cost = 1 as $$
#variable_conflict use_column
declare
    n int := cardinality(p_id);
    s record;                       -- the sale and its counters, before this batch
    t timestamptz;                  -- the one instant at which everything is judged
    gate int;                       -- why the sale grants nothing now: 403, 423, or NULL
    seen record;                    -- what the batch is like
    freed bigint := 0;              -- units given back by expiry
    decided int[];
    ids uuid[] := p_id;             -- what is granted: all of it, or what `decide` says
    users text[] := p_user;
    fingerprints uuid[] := p_fingerprint;
    quantities int[] := p_quantity;
    taken bigint := 0;              -- units granted
begin
    if n is null or p_user is null or p_fingerprint is null or p_quantity is null then
        raise 'reserve_batch: an array is NULL' using errcode = 'null_value_not_allowed';
    elsif cardinality(p_user) <> n or cardinality(p_fingerprint) <> n or cardinality(p_quantity) <> n then
        raise 'reserve_batch: arrays of different lengths: % ids, % users, % fingerprints, % quantities', n, cardinality(p_user),
            cardinality(p_fingerprint), cardinality(p_quantity) using errcode = 'array_subscript_error';
    elsif n > 10000 or greatest(array_ndims(p_id), array_ndims(p_user), array_ndims(p_fingerprint), array_ndims(p_quantity)) > 1 then
        raise 'reserve_batch: one dimension and at most 10,000 elements' using errcode = 'array_subscript_error';
    elsif array_lower(p_id, 1) <> 1 then
        p_id := p_id[:];
    end if;

    t := clock_timestamp();
    if n = 0 and not exists (select from reservation d where d.sale = p_sale and d.state = 'held' and d.expires_at <= t) then
        status := '{}';
        return; -- housekeeping that finds nothing due takes no lock and writes no log
    end if;

    perform lock_sale(p_sale);
    select k.avail, k.held, k.entry + 1 as entry, x.per_user, x.attempts, x.hold, x.unit_price, x.currency, x.opens_at, x.closes_at into s
        from stock k, sale x where k.sale = p_sale and x.id = p_sale for update of k;
    if not found then
        status := array_fill(404, array[n]);
        return;
    end if;
    t := clock_timestamp(); -- again: the wait may have been long
    gate := case sale_state(s.opens_at, s.closes_at, null, t) when 'closed' then 423 when 'upcoming' then 403 end;

    select exists (select from reservation d where d.sale = p_sale and d.state = 'held' and d.expires_at <= t) as due,
           exists (select from reservation r where r.sale = p_sale and r.user_id = any (p_user)
                   and hashtextextended(r.user_id, r.sale) = any (array(select hashtextextended(u, p_sale) from unnest(p_user) u))) as acquainted,
           (select count(*) from (select from unnest(p_user) u group by u) x) < n
               or (select count(*) from (select from unnest(p_id) i group by i) x) < n as twins,
           a.wanted, a.sound into seen
    from (select coalesce(sum(q) filter (where q between 1 and s.per_user), 0) as wanted,
                 bool_and(coalesce(q between 1 and s.per_user and octet_length(u) between 1 and 255 and i is not null and f is not null, false)) as sound
          from unnest(p_id, p_user, p_fingerprint, p_quantity) x (i, u, f, q)) a;
    if seen.due then
        -- A due row returns at least one unit, so as many rows as units are asked for serve everybody.
        freed := release_due(p_sale, t, s.entry, case n when 0 then 4096 else greatest(256, seen.wanted) end);
    end if;

    if n > 0 then
        -- A stranger with a known id there is none, unless a caller has made ids in another way than as a hash of the user: then
        -- the table's key says so, and everything is looked at again.
        for pass in 0 .. 1 loop
            if pass = 0 and gate is null and seen.sound and not seen.twins and not seen.acquainted and seen.wanted <= s.avail + freed then
                status := array_fill(201, array[n]);
                taken := seen.wanted;
            else
                decided := decide(p_sale, p_id, p_user, p_fingerprint, p_quantity, t, gate, s.per_user, s.attempts, s.avail + freed,
                                  s.held - freed);
                select array_agg(case x.d when 0 then 201 else x.d end order by x.o), array_agg(x.o::int order by x.o) filter (where x.d = 201),
                       coalesce(sum(x.q) filter (where x.d = 0), 0),
                       array_agg(x.i order by x.o) filter (where x.d = 0), array_agg(x.u order by x.o) filter (where x.d = 0),
                       array_agg(x.f order by x.o) filter (where x.d = 0), array_agg(x.q order by x.o) filter (where x.d = 0)
                    into status, repeated, taken, ids, users, fingerprints, quantities
                from unnest(decided, p_id, p_user, p_fingerprint, p_quantity) with ordinality x (d, i, u, f, q, o);
            end if;
            exit when taken = 0;
            begin
                insert into reservation (id, sale, user_id, fingerprint, quantity, unit_price, currency, granted_at, expires_at, granted_entry, render)
                select g.i, p_sale, g.u, g.f, g.q, s.unit_price, s.currency, t, t + s.hold, s.entry, 1
                from unnest(ids, users, fingerprints, quantities) g (i, u, f, q);
                exit;
            exception when unique_violation then
                if pass = 1 then raise; end if;
            end;
        end loop;
        granted_at := t;
        expires_at := t + s.hold;
        unit_price := s.unit_price;
        currency := s.currency;
        render := 1;
    end if;

    if taken + freed > 0 then
        with told as (
            insert into outbox_pending (kind, sale, at, events, reservations, users, quantities, body)
            select 'reservation.granted', p_sale, t, cardinality(ids), ids, users, quantities,
                   jsonb_build_object('unit_price', s.unit_price, 'currency', s.currency, 'expires_at', utc_text(t + s.hold))
            where taken > 0)
        update stock k set avail = k.avail + freed - taken, held = k.held - freed + taken, granted = k.granted + taken,
            released = k.released + freed, entry = s.entry
        where k.sale = p_sale;
    elsif repeated is not null then
        -- Only replays: a commit record of their own, so that a synchronous standby is waited for before they are repeated.
        perform pg_logical_emit_message(true, 'dropgate', 'replay');
    end if;
    if repeated is not null then
        select array_agg(r.quantity order by x.o), array_agg(r.granted_at order by x.o), array_agg(r.expires_at order by x.o),
               array_agg(r.unit_price order by x.o), array_agg(r.currency order by x.o), array_agg(r.render order by x.o)
            into repeated_quantity, repeated_granted_at, repeated_expires_at, repeated_unit_price, repeated_currency, repeated_render
        from unnest(repeated) x (o), reservation r
        where r.id = p_id[x.o] and r.sale = p_sale and r.id = any (array(select p_id[y.o] from unnest(repeated) y (o)));
    end if;
end $$;

-- The same, a row for each element, in their order: for whoever reads it in SQL. Columns behind the status are filled for 201 only.
create or replace function dropgate.reserve_batch(p_sale int, p_id uuid[], p_user text[], p_fingerprint uuid[], p_quantity int[])
returns table (ord int, status int, quantity int, unit_price bigint, currency text, granted_at timestamptz, expires_at timestamptz, render smallint)
language sql volatile security definer set search_path = pg_catalog, dropgate, pg_temp as $$
    select x.o::int, x.s, g.quantity, g.unit_price, g.currency, g.granted_at, g.expires_at, g.render
    from reserve_arrays(p_sale, p_id, p_user, p_fingerprint, p_quantity) b,
         unnest(b.status, p_quantity) with ordinality x (s, q, o)
         left join unnest(b.repeated, b.repeated_quantity, b.repeated_unit_price, b.repeated_currency, b.repeated_granted_at,
                          b.repeated_expires_at, b.repeated_render) y (o, quantity, unit_price, currency, granted_at, expires_at, render) on y.o = x.o,
         lateral (select y.quantity, y.unit_price, y.currency, y.granted_at, y.expires_at, y.render where y.o is not null
                  union all select x.q, b.unit_price, b.currency, b.granted_at, b.expires_at, b.render where x.s = 201 and y.o is null
                  union all select null, null, null, null, null, null where x.s <> 201) g
    order by x.o
$$;

revoke all on function dropgate.release_due, dropgate.decide, dropgate.reserve_arrays, dropgate.reserve_batch from public;
grant execute on function dropgate.reserve_arrays, dropgate.reserve_batch to dropgate_service;
