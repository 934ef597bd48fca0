-- SPDX-License-Identifier: BSD-3-Clause
-- One reservation, for its own user: read and cancel. Another user's is as absent as none.
set local role dropgate_owner;

-- Whoever has only an id finds its sale first, and names both from there on: then one partition is read, not all. 0 if there is
-- none. No SQL function: it would be planned anew, for all partitions, at each call.
create or replace function dropgate.reservation_sale(p_id uuid) returns int
language plpgsql volatile set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
begin
    return coalesce((select r.sale from dropgate.reservation r where r.id = p_id limit 1), 0);
end $$;

-- A hold whose time is over reads as expired, whether or not a batch has come by to release it.
create or replace function dropgate.reservation_get(p_id uuid, p_user text)
returns table (id uuid, sale int, quantity int, unit_price bigint, currency text, state text, granted_at timestamptz, expires_at timestamptz, render smallint)
language plpgsql volatile security definer
set search_path = pg_catalog, dropgate, pg_temp set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
begin
    return query
    select r.id, r.sale, r.quantity, r.unit_price, r.currency,
           case when r.state = 'held' and r.expires_at <= clock_timestamp() then 'expired' else r.state::text end,
           r.granted_at, r.expires_at, r.render
    from reservation r where r.id = p_id and r.user_id = p_user limit 1;
    if found then
        perform await_standby();
    end if;
end $$;

-- 204 given back, now or before (also by expiry) · 404 none of this user's · 409 paying or paid. The stock is there for the
-- next batch as soon as this commits.
create or replace function dropgate.reservation_cancel(p_id uuid, p_user text) returns int
language plpgsql volatile security definer
set search_path = pg_catalog, dropgate, pg_temp set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
    the_sale int := reservation_sale(p_id);
    k stock;
    r reservation;
    ended reservation_state;
begin
    if not exists (select from reservation where id = p_id and sale = the_sale and user_id = p_user) then
        return 404;
    end if;
    perform lock_sale(the_sale);
    select * into k from stock where stock.sale = the_sale for update;
    select * into r from reservation where id = p_id and sale = the_sale for update;
    if not found then
        return 404; -- retired meanwhile
    elsif r.state >= 'expired' then
        return 204;
    elsif r.state <> 'held' then
        return 409;
    end if;
    ended := case when r.expires_at <= clock_timestamp() then 'expired' else 'cancelled' end;
    update reservation set released_entry = k.entry + 1, state = ended where id = p_id and sale = the_sale and state = 'held';
    update stock set avail = avail + r.quantity, held = held - r.quantity, released = released + r.quantity, entry = entry + 1
        where stock.sale = the_sale;
    perform outbox_put('reservation.' || ended, the_sale, p_id, p_user, jsonb_build_object('quantity', r.quantity));
    return 204;
end $$;

revoke all on function dropgate.reservation_sale, dropgate.reservation_get, dropgate.reservation_cancel from public;
grant execute on function dropgate.reservation_get, dropgate.reservation_cancel to dropgate_service;
