-- SPDX-License-Identifier: BSD-3-Clause
-- Copyright (c) 2026, the Dropgate authors
--
-- Payments: how a reservation becomes paid, and how an attempt that fails, is late or stays unknown ends. Nothing here talks to the
-- provider. The service asks it, before or after, and tells what it has heard; a transition that does not fit the states any more
-- changes nothing and answers with the state that there is. So each function may be repeated, in any order, by any instance.
--
-- Order: authorise at the provider → claim here (payment_authorised: from now on no time-out releases the units) → capture at the
-- provider → payment_captured. Locks: the sale, its stock, the reservation, the attempt; each in a statement of its own, and the
-- clock is read behind them. Where no stock can move the first two are left out.
set local role dropgate_owner;

-- The reservation that an attempt was made for and the attempt, locked; behind their sale's locks if `p_stock`. NULL if there is none.
create or replace function dropgate.payment_lock(p_attempt uuid, p_stock bool, out p dropgate.payment, out r dropgate.reservation, out k dropgate.stock)
language plpgsql volatile set search_path = pg_catalog, dropgate, pg_temp as $$
begin
    select x.* into p from payment x where x.attempt = p_attempt;
    if not found then
        return;
    end if;
    if p_stock then
        perform lock_sale(p.sale);
        select x.* into k from stock x where x.sale = p.sale for update;
    end if;
    select x.* into r from reservation x where x.id = p.reservation and x.sale = p.sale for update;
    select x.* into p from payment x where x.attempt = p_attempt for update;
end $$;

-- A repetition that finds everything done still writes, so that a synchronous standby is waited for before it is answered.
create or replace function dropgate.payment_repeated(p_state dropgate.payment_state) returns text
language sql volatile set search_path = pg_catalog, dropgate, pg_temp as $$
    select pg_logical_emit_message(true, 'dropgate', 'replay');
    select p_state::text
$$;

-- When to look at an attempt again: p_next_ms from now (NULL: never), or at once as before, if a look was due already. So what an
-- event has asked for is not forgotten by somebody who asked the provider before it.
create or replace function dropgate.payment_look(p_check_at timestamptz, p_next_ms bigint) returns timestamptz
language sql volatile set search_path = pg_catalog, dropgate, pg_temp as $$
    select case when p_check_at <= clock_timestamp() then p_check_at else clock_timestamp() + p_next_ms * interval '1 millisecond' end
$$;

-- Others hear of it. `reservation` in the body is the one that the attempt was made for; the event's own is the one it is about.
create or replace function dropgate.payment_told(p_kind text, p dropgate.payment, r dropgate.reservation, p_id uuid) returns void
language plpgsql volatile set search_path = pg_catalog, dropgate, pg_temp as $$
begin
    perform outbox_put(p_kind, p.sale, p_id, r.user_id, jsonb_strip_nulls(jsonb_build_object('quantity', r.quantity,
        'attempt', p.attempt, 'reservation', p.reservation, 'amount', p.amount, 'currency', p.currency, 'reason', p.reason)));
end $$;

-- Begins an attempt, or finds it again. status: 201 begun now · 200 known: see `state` · 404 no such reservation of this user ·
-- 409 in payment already, paid or cancelled · 410 its time is over · 422 known with another body · 429 too many attempts.
-- p_patience_ms: how long the shopper and the provider have; p_lease_ms: when somebody else looks after it unless the caller does.
create or replace function dropgate.payment_begin(p_id uuid, p_user text, p_attempt uuid, p_fingerprint uuid, p_patience_ms bigint, p_lease_ms bigint)
returns table (status int, state text, amount bigint, currency text, action text, reason text, placed uuid)
language plpgsql volatile security definer rows 1 set search_path = pg_catalog, dropgate, pg_temp as $$
#variable_conflict use_column
declare
    r reservation;
    p payment;
    t timestamptz;
    refused int;
begin
    select x.* into r from reservation x where x.id = p_id and x.user_id = p_user;
    if not found then
        return query select 404, null::text, null::bigint, null::text, null::text, null::text, null::uuid;
        return;
    end if;
    select x.* into p from payment x where x.attempt = p_attempt;
    if not found then
        perform lock_sale(r.sale); -- no stock moves, but expiry holds this lock while it looks at what is due
        select x.* into r from reservation x where x.id = p_id and x.sale = r.sale for update;
        if not found then -- retired meanwhile
            return query select 404, null::text, null::bigint, null::text, null::text, null::text, null::uuid;
            return;
        end if;
        select x.* into p from payment x where x.attempt = p_attempt; -- begun while we waited
    end if;
    if p.attempt is not null then
        perform payment_repeated(p.state);
        return query select case when p.reservation = p_id and p.fingerprint = p_fingerprint then 200 else 422 end,
            p.state::text, p.amount, p.currency, p.action, p.reason, p.placed;
        return;
    end if;
    t := clock_timestamp();
    refused := case when r.state = 'expired' or r.state = 'held' and r.expires_at <= t then 410
                    when r.state <> 'held' then 409
                    when (select count(*) from payment x where x.sale = r.sale and x.reservation = p_id) >= 20 then 429 end;
    if refused is not null then
        return query select refused, null::text, null::bigint, null::text, null::text, null::text, null::uuid;
        return;
    end if;
    update reservation x set state = 'paying', attempt = p_attempt, pay_deadline = t + p_patience_ms * interval '1 millisecond'
        where x.id = p_id and x.sale = r.sale and x.state = 'held';
    insert into payment as x (attempt, reservation, sale, fingerprint, amount, currency, begun_at, deadline, check_at)
        values (p_attempt, p_id, r.sale, p_fingerprint, r.quantity * r.unit_price, r.currency, t,
                t + p_patience_ms * interval '1 millisecond', t + least(p_lease_ms, p_patience_ms) * interval '1 millisecond')
        returning x.* into p;
    if p.amount = 0 then -- nothing to ask a provider for
        perform payment_captured(p_attempt);
        select x.* into p from payment x where x.attempt = p_attempt;
    end if;
    return query select 201, p.state::text, p.amount, p.currency, p.action, p.reason, p.placed;
end $$;

-- The provider will pay: claims the reservation for its capture. Answers `capturing` if it may be captured now, `voiding` if it came
-- too late and must be made void instead, else the state in which it is.
create or replace function dropgate.payment_authorised(p_attempt uuid, p_lease_ms bigint) returns text
language plpgsql volatile security definer set search_path = pg_catalog, dropgate, pg_temp as $$
declare
    l record;
    p payment;
    r reservation;
    k stock;
    t timestamptz;
begin
    l := payment_lock(p_attempt, true);
    p := l.p; r := l.r; k := l.k;
    t := clock_timestamp();
    if p.state = 'begun' and r.state = 'paying' and r.attempt = p_attempt and t < p.deadline then
        update reservation x set state = 'capturing' where x.id = r.id and x.sale = r.sale and x.state = 'paying';
        update stock x set held = x.held - r.quantity where x.sale = r.sale;
        update payment x set state = 'capturing', tries = 0, action = null, check_at = t + p_lease_ms * interval '1 millisecond'
            where x.attempt = p_attempt;
        return 'capturing';
    elsif p.state in ('begun', 'declined', 'voided') then
        update payment x set state = 'voiding', tries = 0, action = null, check_at = t + p_lease_ms * interval '1 millisecond'
            where x.attempt = p_attempt;
        return 'voiding';
    end if;
    return payment_repeated(p.state);
end $$;

-- The attempt is dead for certain: no money has moved, none will. What it was for is held again, for as long as it was anyway;
-- if that time is over, the next batch gives it back, as it does with every hold.
create or replace function dropgate.payment_end(p_attempt uuid, p_state dropgate.payment_state, p_reason text, p_look_ms bigint) returns text
language plpgsql volatile set search_path = pg_catalog, dropgate, pg_temp as $$
declare
    l record;
    p payment;
    r reservation;
    k stock;
begin
    l := payment_lock(p_attempt, true);
    p := l.p; r := l.r; k := l.k;
    if p.state is null or p.state not in ('begun', 'voiding', 'capturing', 'unknown') then
        return payment_repeated(p.state);
    end if;
    update payment x set state = p_state, tries = 0, action = null, reason = coalesce(p_reason, x.reason),
            check_at = payment_look(x.check_at, p_look_ms)
        where x.attempt = p_attempt returning x.* into p;
    if r.attempt = p_attempt and r.state in ('paying', 'capturing', 'unknown') then
        update reservation x set state = 'held', attempt = null, pay_deadline = null
            where x.id = r.id and x.sale = r.sale and x.state = r.state;
        update stock x set held = x.held + r.quantity where x.sale = r.sale and r.state <> 'paying';
    end if;
    if p_state = 'declined' then
        perform payment_told('payment.declined', p, r, r.id);
    end if;
    return p.state::text;
end $$;

-- The provider has refused, which is final for this attempt.
create or replace function dropgate.payment_declined(p_attempt uuid, p_reason text) returns text
language sql volatile security definer set search_path = pg_catalog, dropgate, pg_temp as $$
    select payment_end(p_attempt, 'declined', p_reason, null)
$$;

-- The provider confirms that the attempt can never be captured. p_look_ms: when to look once more, for an authorisation that was
-- under way meanwhile; NULL for never.
create or replace function dropgate.payment_voided(p_attempt uuid, p_look_ms bigint) returns text
language sql volatile security definer set search_path = pg_catalog, dropgate, pg_temp as $$
    select payment_end(p_attempt, 'voided', null, p_look_ms)
$$;

-- Nobody knows whether it was captured. Never released by time; the reconciler asks again, and an operator may decide.
create or replace function dropgate.payment_unknown(p_attempt uuid, p_next_ms bigint) returns text
language plpgsql volatile security definer set search_path = pg_catalog, dropgate, pg_temp as $$
declare
    l record;
    p payment;
    r reservation;
begin
    l := payment_lock(p_attempt, false);
    p := l.p; r := l.r;
    if p.state = 'capturing' then
        update reservation x set state = 'unknown' where x.id = r.id and x.sale = r.sale and x.state = 'capturing' and x.attempt = p_attempt;
    elsif p.state is null or p.state <> 'unknown' then
        return payment_repeated(p.state);
    end if;
    update payment x set state = 'unknown', check_at = payment_look(x.check_at, p_next_ms) where x.attempt = p_attempt;
    return 'unknown';
end $$;

-- What the money is for, now that it has come: the reservation, if nothing else has become of it; the same again out of stock, if
-- that is there and its user may have it; else NULL. With all locks held.
create or replace function dropgate.payment_place(p dropgate.payment, r dropgate.reservation, k dropgate.stock) returns uuid
language plpgsql volatile set search_path = pg_catalog, dropgate, pg_temp as $$
declare
    s sale;
    t timestamptz := clock_timestamp();
    there bool;                     -- the reservation itself can be paid
    room int;                       -- what its user may have beside what counts against the limit
begin
    if r.id is null then -- the sale is long over, and its reservations are gone
        return null;
    end if;
    there := r.state = 'held' and r.expires_at > t or r.state in ('paying', 'capturing', 'unknown') and r.attempt = p.attempt;
    if not there then
        select x.* into s from sale x where x.id = p.sale;
        room := s.per_user - coalesce((select sum(x.quantity) from reservation x where x.sale = r.sale and x.user_id = r.user_id
                                       and x.state < 'expired' and (x.state <> 'held' or x.expires_at > t)), 0);
        there := r.state = 'held' and r.quantity <= room; -- its time is over: its user may have reserved others instead
    end if;
    if there then
        update reservation x set state = 'paid', attempt = p.attempt where x.id = r.id and x.sale = r.sale and x.state = r.state;
        update stock x set held = x.held - r.quantity where x.sale = r.sale and r.state in ('held', 'paying');
        return r.id;
    end if;
    if r.state < 'expired' or r.quantity > k.avail or t >= s.closes_at or r.quantity > room then
        return null;
    end if;
    -- A reservation ends once: the units are granted anew, under the attempt's id, at the price that was paid.
    insert into reservation (id, sale, user_id, fingerprint, quantity, unit_price, currency, granted_at, expires_at, granted_entry, state, attempt)
        values (p.attempt, r.sale, r.user_id, p.attempt, r.quantity, r.unit_price, r.currency, t, t + s.hold, k.entry + 1, 'paid', p.attempt);
    update stock x set avail = x.avail - r.quantity, granted = x.granted + r.quantity, entry = x.entry + 1 where x.sale = r.sale;
    perform outbox_put('reservation.granted', r.sale, p.attempt, r.user_id, jsonb_build_object('quantity', r.quantity,
        'unit_price', r.unit_price, 'currency', r.currency, 'expires_at', utc_text(t + s.hold))); -- like every grant
    return p.attempt;
end $$;

-- The provider has the money. Answers `captured` if it has paid for something, `refunding` if it must go back: then exactly one row
-- in the outbox says so.
create or replace function dropgate.payment_captured(p_attempt uuid) returns text
language plpgsql volatile security definer set search_path = pg_catalog, dropgate, pg_temp as $$
declare
    l record;
    p payment;
    r reservation;
    k stock;
    place uuid;
begin
    -- The usual case moves no stock, and so needs no lock that others wait for.
    if exists (select from payment x where x.attempt = p_attempt and x.state in ('capturing', 'unknown')) then
        l := payment_lock(p_attempt, false);
        p := l.p; r := l.r;
        if p.state not in ('capturing', 'unknown') then
            raise 'payment % has just changed its state', p_attempt using errcode = 'serialization_failure';
        end if;
    else
        l := payment_lock(p_attempt, true);
        p := l.p; r := l.r; k := l.k;
    end if;
    if p.state is null or p.state in ('captured', 'refunding', 'refunded') then
        return payment_repeated(p.state);
    end if;
    place := payment_place(p, r, k);
    update payment x set state = case when place is null then 'refunding' else 'captured' end::payment_state, placed = place, tries = 0,
            action = null, check_at = case when place is null then clock_timestamp() end
        where x.attempt = p_attempt returning x.* into p;
    perform payment_told(case when place is null then 'payment.refund' else 'reservation.paid' end, p, r, coalesce(place, r.id));
    return p.state::text;
end $$;

-- The provider has given the money back.
create or replace function dropgate.payment_refunded(p_attempt uuid) returns text
language plpgsql volatile security definer set search_path = pg_catalog, dropgate, pg_temp as $$
declare
    p payment;
begin
    p := (payment_lock(p_attempt, false)).p;
    if p.state is distinct from 'refunding' then
        return payment_repeated(p.state);
    end if;
    update payment x set state = 'refunded', check_at = null where x.attempt = p_attempt;
    return 'refunded';
end $$;

-- The provider wants the shopper to go somewhere (a bank's page, say) before it decides.
create or replace function dropgate.payment_action(p_attempt uuid, p_action text, p_next_ms bigint) returns text
language plpgsql volatile security definer set search_path = pg_catalog, dropgate, pg_temp as $$
declare
    p payment;
begin
    p := (payment_lock(p_attempt, false)).p;
    if p.state is distinct from 'begun' then
        return payment_repeated(p.state);
    end if;
    update payment x set action = p_action, check_at = least(x.deadline, payment_look(x.check_at, p_next_ms))
        where x.attempt = p_attempt;
    return 'begun';
end $$;

-- Nothing new: look again later, or never (p_next_ms NULL, for what is final).
create or replace function dropgate.payment_checked(p_attempt uuid, p_next_ms bigint) returns text
language plpgsql volatile security definer set search_path = pg_catalog, dropgate, pg_temp as $$
declare
    p payment;
    later timestamptz;
begin
    select x.* into p from payment x where x.attempt = p_attempt for update;
    later := payment_look(p.check_at, p_next_ms);
    update payment x set check_at = case when p.state in ('captured', 'refunded') then null -- it has become final meanwhile
                                         when p.state = 'begun' then least(p.deadline, coalesce(later, p.deadline))
                                         when later is null and p.state in ('capturing', 'unknown', 'voiding', 'refunding') then x.check_at
                                         else later end
        where x.attempt = p_attempt;
    return p.state::text;
end $$;

-- The reconciler's work: attempts whose time to be looked at has come, for this caller alone until the lease is over. Those that
-- nobody has claimed by their deadline can be claimed no more: they are to be made void.
create or replace function dropgate.payment_due(p_limit int, p_lease_ms bigint)
returns table (attempt uuid, reservation uuid, state text, amount bigint, currency text, tries int)
language plpgsql volatile security definer rows 100 set search_path = pg_catalog, dropgate, pg_temp as $$
#variable_conflict use_column
declare
    t timestamptz := clock_timestamp();
begin
    return query
    with due as materialized (
        select x.attempt from payment x where x.check_at <= t order by x.check_at limit p_limit for update skip locked)
    update payment p
    set check_at = t + p_lease_ms * interval '1 millisecond', tries = case when p.state = 'begun' and p.deadline <= t then 0 else least(p.tries + 1, 1000) end,
        action = case when p.deadline > t then p.action end,
        state = case when p.state = 'begun' and p.deadline <= t then 'voiding' else p.state end
    from due where p.attempt = due.attempt
    returning p.attempt, p.reservation, p.state::text, p.amount, p.currency, p.tries::int;
end $$;

-- The provider says that something has happened to an attempt. What it says is not believed, only that it is worth asking; so events
-- may come twice, late and in any order. 201 new · 200 known · 404 no such attempt here.
create or replace function dropgate.payment_webhook(p_event text, p_attempt uuid, p_kind text) returns int
language plpgsql volatile security definer set search_path = pg_catalog, dropgate, pg_temp as $$
declare
    t timestamptz := clock_timestamp();
begin
    insert into payment_event (event, attempt, kind, received_at) values (p_event, p_attempt, p_kind, t) on conflict do nothing;
    if not found then
        perform payment_repeated(null);
        return 200;
    end if;
    update payment x set check_at = least(x.check_at, t) where x.attempt = p_attempt and x.state not in ('captured', 'refunded');
    if not found and not exists (select from payment x where x.attempt = p_attempt) then
        return 404;
    end if;
    return 201;
end $$;

-- Forgets events that are older than p_age_ms, and finished attempts of sales that have been retired; at most p_limit of each.
-- Returns how many.
create or replace function dropgate.payment_prune(p_age_ms bigint, p_limit int) returns int
language plpgsql volatile security definer set search_path = pg_catalog, dropgate, pg_temp as $$
declare
    events int;
    attempts int;
begin
    delete from payment_event e where e.ctid = any (array(
        select x.ctid from payment_event x where x.received_at < clock_timestamp() - p_age_ms * interval '1 millisecond' limit p_limit for update skip locked));
    get diagnostics events = row_count;
    delete from payment p where p.ctid = any (array(
        select x.ctid from retired s join payment x on x.sale = s.sale where x.check_at is null limit p_limit for update of x skip locked));
    get diagnostics attempts = row_count;
    return events + attempts;
end $$;

-- What waits for the provider or for an operator.
create or replace function dropgate.payment_backlog()
returns table (unknown bigint, refunding bigint, voiding bigint, open bigint, overdue_ms bigint)
language sql volatile security definer set search_path = pg_catalog, dropgate, pg_temp as $$
    select count(*) filter (where p.state = 'unknown'), count(*) filter (where p.state = 'refunding'), count(*) filter (where p.state = 'voiding'),
           count(*) filter (where p.state in ('begun', 'capturing')),
           greatest(0, extract(epoch from clock_timestamp() - min(p.check_at)) * 1000)::bigint
    from payment p where p.check_at is not null
$$;

-- An operator decides about a reservation whose payment is unknown: `paid` (the provider's books show the money) or `released` (they
-- show that there is none and never will be; should it come all the same, it is treated like any late money). Returns the new state.
create or replace function dropgate.reservation_resolve(p_id uuid, p_outcome text, p_reason text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, dropgate, pg_temp as $$
declare
    l record;
    the_attempt uuid;
    p payment;
    r reservation;
    k stock;
begin
    if p_outcome is null or p_outcome not in ('paid', 'released') then
        raise 'a reservation is resolved as paid or released, not %', coalesce(quote_literal(p_outcome), 'NULL') using errcode = 'invalid_parameter_value';
    elsif p_reason is null or octet_length(p_reason) not between 1 and 500 then
        raise 'say why, in 1 to 500 bytes' using errcode = 'invalid_parameter_value';
    end if;
    select x.attempt into the_attempt from reservation x where x.id = p_id;
    if not found then
        raise 'there is no reservation %', p_id using errcode = 'no_data_found';
    end if;
    l := payment_lock(the_attempt, true);
    p := l.p; r := l.r; k := l.k;
    if r.state is distinct from 'unknown' or r.id <> p_id or p.state <> 'unknown' then
        raise 'reservation % is %, only one whose payment is unknown can be resolved', p_id,
            (select x.state from reservation x where x.id = p_id) using errcode = 'object_not_in_prerequisite_state';
    end if;
    insert into resolution (reservation, sale, attempt, outcome, reason, resolved_by, resolved_at)
        values (p_id, r.sale, p.attempt, p_outcome, p_reason, session_user, clock_timestamp());
    update payment x set reason = p_reason where x.attempt = p.attempt;
    if p_outcome = 'paid' then
        perform payment_captured(p.attempt);
        return 'paid';
    end if;
    update payment x set state = 'voiding', tries = 0, check_at = clock_timestamp() where x.attempt = p.attempt;
    update reservation x set state = 'expired', released_entry = k.entry + 1 where x.id = r.id and x.sale = r.sale and x.state = 'unknown';
    update stock x set avail = x.avail + r.quantity, released = x.released + r.quantity, entry = x.entry + 1 where x.sale = r.sale;
    perform payment_told('reservation.expired', p, r, r.id);
    return 'expired';
end $$;

revoke all on function dropgate.payment_lock, dropgate.payment_repeated, dropgate.payment_look, dropgate.payment_told, dropgate.payment_begin, dropgate.payment_authorised,
    dropgate.payment_end, dropgate.payment_declined, dropgate.payment_voided, dropgate.payment_unknown, dropgate.payment_place,
    dropgate.payment_captured, dropgate.payment_refunded, dropgate.payment_action, dropgate.payment_checked, dropgate.payment_due,
    dropgate.payment_webhook, dropgate.payment_prune, dropgate.payment_backlog, dropgate.reservation_resolve from public;
grant execute on function dropgate.payment_begin, dropgate.payment_authorised, dropgate.payment_declined, dropgate.payment_voided,
    dropgate.payment_unknown, dropgate.payment_captured, dropgate.payment_refunded, dropgate.payment_action, dropgate.payment_checked,
    dropgate.payment_due, dropgate.payment_webhook, dropgate.payment_prune, dropgate.payment_backlog to dropgate_service;
grant execute on function dropgate.payment_backlog, dropgate.reservation_resolve to dropgate_admin;
