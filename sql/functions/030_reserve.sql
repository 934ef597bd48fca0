-- SPDX-License-Identifier: BSD-3-Clause
-- Copyright (c) 2026, the Dropgate authors
--
-- The deduction: one call decides a batch of requests for one sale, exactly as if they had been asked one by one in
-- their order, in one transaction and so with one flush of the log. This is what makes the ledger fast: the lock is held
-- through that flush, however it is taken, so what counts is how many grants share it.
set local role dropgate_owner;

-- Gives due holds back to the stock: at least p_limit rows, oldest first, or all that are due. Returns their units. The
-- caller holds the sale's locks.
create or replace function dropgate.release_due(p_sale int, p_at timestamptz, p_limit bigint, p_entry bigint) returns bigint
language sql volatile set search_path = pg_catalog, dropgate, pg_temp as $$
    with due as (select id from reservation where sale = p_sale and state = 'held' and expires_at <= p_at
                 order by expires_at limit p_limit),
         gone as (update reservation r set state = 'expired', released_entry = p_entry from due where r.id = due.id returning r.quantity)
    select coalesce(sum(quantity), 0)::bigint from gone
$$;

-- status: 201 granted or replayed · 400 malformed element · 403 not open · 404 no such sale · 409 over the user's limit ·
-- 410 sold out, nothing is held · 411 fewer left than asked for · 412 sold out, but holds may return · 422 id known with another
-- body, user or sale · 423 closed. 0 (ask again) is reserved: this function decides every element at once.
--
-- Errors, which refuse the whole batch, are the caller's own mistakes only: arrays NULL, of different lengths, of more than one
-- dimension or of more than 10,000 elements; another isolation than READ COMMITTED. With empty arrays it is housekeeping.
--
-- The plans are generic and index-only by decree: a batch is small against its table, and planning six statements anew took
-- a third of the time.
create or replace function dropgate.reserve_batch(p_sale int, p_id uuid[], p_user text[], p_fingerprint uuid[], p_quantity int[])
returns table (ord int, status int, quantity int, unit_price bigint, currency text, granted_at timestamptz, expires_at timestamptz, render smallint)
language plpgsql volatile security definer rows 100
set search_path = pg_catalog, dropgate, pg_temp set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
#variable_conflict use_column
declare
    c_new constant int := 1;        -- decided to grant; becomes 201 when the row is in
    n int := cardinality(p_id);
    s record;                       -- the sale and its counters, before this batch
    t timestamptz;                  -- the one instant at which everything is judged
    gate int;                       -- why the sale grants nothing now: 403, 404, 423, or NULL
    freed bigint := 0;              -- units given back by expiry
    taken bigint := 0;              -- units granted
    a bigint;                       -- units available
    decided int[];                  -- per element: its status, or 0 while open
    wanted int[];                   -- per element: its quantity
    room int[];                     -- per element: what its user may still hold
    same_user int[];                -- per element: the previous element of the same user, or 0
    same_id int[];                  -- per element: the previous element with the same id, or 0
    asked bigint;                   -- units that open elements ask for and their users may hold
    twins bool;                     -- some user or id stands in the batch twice
    got int[];                      -- per element: units granted so far to its user in this batch
    first int[];                    -- per element: the element that was granted under its id, or 0
begin
    if n is null or p_user is null or p_fingerprint is null or p_quantity is null then
        raise 'reserve_batch: an array is NULL' using errcode = 'null_value_not_allowed';
    elsif cardinality(p_user) <> n or cardinality(p_fingerprint) <> n or cardinality(p_quantity) <> n then
        raise 'reserve_batch: arrays of different lengths: % ids, % users, % fingerprints, % quantities', n, cardinality(p_user),
            cardinality(p_fingerprint), cardinality(p_quantity) using errcode = 'array_subscript_error';
    elsif n > 10000 or greatest(array_ndims(p_id), array_ndims(p_user), array_ndims(p_fingerprint), array_ndims(p_quantity)) > 1 then
        raise 'reserve_batch: one dimension and at most 10,000 elements' using errcode = 'array_subscript_error';
    end if;

    perform lock_sale(p_sale);
    select k.avail, k.held, k.entry, x.per_user, x.hold, x.unit_price, x.currency, x.opens_at, x.closes_at into s
        from stock k join sale x on x.id = k.sale where k.sale = p_sale for update of k;
    if not found then
        gate := 404;
    end if;
    t := clock_timestamp();

    if gate is null then
        gate := case sale_state(s.opens_at, s.closes_at, null, t) when 'closed' then 423 when 'upcoming' then 403 end;
        -- Each due row returns at least one unit: as many rows as units asked for are enough for everybody.
        freed := release_due(p_sale, t, case when n = 0 then 4096 else
            greatest(256, (select sum(q) from unnest(p_quantity) q where q between 1 and s.per_user)) end, s.entry + 1);
    end if;
    a := s.avail + freed;

    select array_agg(d.status order by d.o), array_agg(coalesce(d.q, 0) order by d.o), array_agg(d.room order by d.o),
           array_agg(d.same_user order by d.o), array_agg(d.same_id order by d.o),
           sum(d.q) filter (where d.status = 0 and d.q <= d.room), coalesce(bool_or(d.status = 0 and d.same_user + d.same_id > 0), false)
        into decided, wanted, room, same_user, same_id, asked, twins
    from (select r.o::int, r.q, s.per_user - coalesce(live.units, 0)::int as room,
                 coalesce(lag(r.o) over (partition by r.u order by r.o), 0)::int as same_user,
                 coalesce(lag(r.o) over (partition by r.i order by r.o), 0)::int as same_id,
                 case when r.i is null or r.f is null or r.q is null or r.q not between 1 and 10000
                        or r.u is null or octet_length(r.u) not between 1 and 255 then 400
                      when e.id is null then coalesce(gate, 0)
                      when e.sale = p_sale and e.user_id = r.u and e.fingerprint = r.f then 201
                      else 422 end as status
          from unnest(p_id, p_user, p_fingerprint, p_quantity) with ordinality r (i, u, f, q, o)
          left join reservation e on e.id = r.i
          left join lateral (select sum(v.quantity) as units from reservation v where v.sale = p_sale and v.user_id = r.u
                             and v.state < 'expired' and (v.state <> 'held' or v.expires_at > t)) live on true) d;

    if asked is null or (asked <= a and not twins) or a = 0 then
        -- Nobody stands in anybody's way, or nothing is left to compete for: all open elements at once.
        select array_agg(case when x.d <> 0 then x.d when x.w > x.r then 409 when a = 0 then case s.held - freed when 0 then 410 else 412 end
                         else c_new end order by x.o) into decided
        from unnest(decided, wanted, room) with ordinality x (d, w, r, o);
    else
        -- One by one: later elements depend on earlier ones through the stock, the user's limit and the id.
        got := array_fill(0, array[n]);
        first := got;
        for i in 1 .. n loop
            if same_user[i] > 0 then got[i] := got[same_user[i]]; end if;
            if same_id[i] > 0 then first[i] := first[same_id[i]]; end if;
            continue when decided[i] <> 0;
            if first[i] > 0 then
                decided[i] := case when p_fingerprint[i] = p_fingerprint[first[i]] and p_user[i] = p_user[first[i]] then 201 else 422 end;
            elsif got[i] + wanted[i] > room[i] then
                decided[i] := 409;
            elsif wanted[i] > a then
                decided[i] := case when a > 0 then 411 when s.held - freed + s.avail + freed - a > 0 then 412 else 410 end;
            else
                decided[i] := c_new;
                a := a - wanted[i];
                got[i] := got[i] + wanted[i];
                first[i] := i;
            end if;
        end loop;
    end if;

    with granted as (
        insert into reservation (id, sale, user_id, fingerprint, quantity, unit_price, currency, granted_at, expires_at, granted_entry)
        select g.i, p_sale, g.u, g.f, g.q, s.unit_price, s.currency, t, t + s.hold, s.entry + 1
        from unnest(p_id, p_user, p_fingerprint, p_quantity, decided) g (i, u, f, q, d) where g.d = c_new
        returning quantity)
    select coalesce(sum(granted.quantity), 0) into taken from granted;

    if taken + freed > 0 then
        update stock k set avail = k.avail + freed - taken, held = k.held - freed + taken, granted = k.granted + taken,
            released = k.released + freed, entry = k.entry + 1, seq = k.seq + ((s.avail = 0) <> (s.avail + freed - taken = 0))::int
        where k.sale = p_sale;
        if (s.avail = 0) <> (s.avail + freed - taken = 0) then
            perform pg_notify('dropgate_catalog', p_sale::text);
        end if;
    elsif 201 = any (decided) then
        -- Only replays: a commit record of their own, so that a synchronous standby is waited for before they are repeated.
        perform pg_logical_emit_message(true, 'dropgate', 'replay');
    end if;

    -- Read back from the rows: a replay is the same ever after because it is the same query.
    return query select x.o::int, case x.d when c_new then 201 else x.d end, e.quantity, e.unit_price, e.currency, e.granted_at, e.expires_at, e.render
        from unnest(p_id, decided) with ordinality x (i, d, o)
        left join reservation e on e.id = case when x.d in (c_new, 201) then x.i end order by x.o;
end $$;

revoke all on function dropgate.release_due, dropgate.reserve_batch from public;
grant execute on function dropgate.reserve_batch to dropgate_service;
