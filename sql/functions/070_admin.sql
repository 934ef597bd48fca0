-- SPDX-License-Identifier: BSD-3-Clause
-- What operators do to a running sale, for members of dropgate_admin; docs/operations.md has an example of each. All take the
-- ledger's locks in its order, so none can break a promise: not a grant that is out, nor its price, nor a limit kept.
set local role dropgate_owner;

-- The sale's counters, locked; an unknown sale is an error.
create or replace function dropgate.lock_stock(p_sale int) returns dropgate.stock
language plpgsql volatile as $$
declare k dropgate.stock;
begin
    perform dropgate.lock_sale(p_sale);
    select * into k from dropgate.stock where stock.sale = p_sale for update;
    if not found then
        raise 'there is no sale %', p_sale using errcode = 'no_data_found';
    end if;
    return k;
end $$;

-- Adds units to a sale, or takes away (p_change < 0) what nobody has. A sold-out sale that gets some is on sale again at once.
create or replace function dropgate.sale_restock(p_sale int, p_change bigint)
returns table (total bigint, available bigint, held bigint)
language plpgsql volatile security definer set search_path = pg_catalog, dropgate, pg_temp as $$
#variable_conflict use_column
declare k stock := lock_stock(p_sale);
begin
    if p_change is null or p_change = 0 then
        raise 'sale %: say how many units to add, or to take away (a negative number)', p_sale using errcode = 'invalid_parameter_value';
    elsif k.avail + p_change < 0 then
        raise 'sale %: only % of % units are available, % cannot be taken away', p_sale, k.avail, k.total, -p_change
            using errcode = 'check_violation', hint = 'Units that are held come back if they are not paid; close the sale to stop new grants.';
    end if;
    return query update stock s set total = s.total + p_change, avail = s.avail + p_change where s.sale = p_sale
        returning s.total, s.avail, s.held;
end $$;

-- The price of reservations from now on. Those that exist keep theirs: it is frozen in their row. Returns the price before.
create or replace function dropgate.sale_price(p_sale int, p_unit_price bigint, p_currency text default null)
returns table (unit_price_before bigint, currency_before text)
language plpgsql volatile security definer set search_path = pg_catalog, dropgate, pg_temp as $$
declare s sale;
begin
    perform lock_stock(p_sale);
    select * into strict s from sale where id = p_sale;
    perform price_check(p_sale, p_unit_price, s.per_user);
    update sale set unit_price = p_unit_price, currency = coalesce(p_currency, sale.currency) where id = p_sale;
    return query select s.unit_price, s.currency;
end $$;

-- Ends a sale now; returns when it ended. What is held may still be paid until it expires. A sale that had not opened never
-- will; one that is over stays as it was.
create or replace function dropgate.sale_close(p_sale int) returns timestamptz
language plpgsql volatile security definer set search_path = pg_catalog, dropgate, pg_temp as $$
declare
    s sale;
    t timestamptz;
begin
    perform lock_stock(p_sale);
    t := clock_timestamp();
    select * into strict s from sale where id = p_sale;
    if s.closes_at <= t then
        return s.closes_at;
    end if;
    update sale set closes_at = t, opens_at = least(opens_at, t - interval '1 microsecond') where id = p_sale;
    return t;
end $$;

create or replace function dropgate.sale_list()
returns table (sale int, item text, state text, total bigint, available bigint, held bigint, unit_price bigint, currency text,
               per_user int, opens_at timestamptz, closes_at timestamptz)
language sql volatile security definer set search_path = pg_catalog, dropgate, pg_temp as $$
    select c.sale, c.item, c.state, c.total, c.avail, c.held, c.unit_price, c.currency, c.per_user, c.opens_at, c.closes_at
    from catalog() c order by c.sale
$$;

-- A sale's reservations by state: how many, of how many units and users, and what they are worth, per currency.
create or replace function dropgate.sale_inspect(p_sale int)
returns table (state text, reservations bigint, units bigint, users bigint, amount numeric, currency text, oldest timestamptz, newest timestamptz)
language sql volatile security definer set search_path = pg_catalog, dropgate, pg_temp as $$
    select r.state::text, count(*), sum(r.quantity), count(distinct r.user_id), sum(r.quantity * r.unit_price::numeric), r.currency,
           min(r.granted_at), max(r.granted_at)
    from reservation r where r.sale = p_sale group by r.state, r.currency order by r.state, r.currency
$$;

-- A user's reservations, newest first, 1,000 at most: what a shopper who calls is asking about.
create or replace function dropgate.user_inspect(p_user text, p_sale int default null)
returns table (reservation uuid, sale int, state text, quantity int, unit_price bigint, currency text, granted_at timestamptz, expires_at timestamptz)
language sql volatile security definer set search_path = pg_catalog, dropgate, pg_temp as $$
    select r.id, r.sale, r.state::text, r.quantity, r.unit_price, r.currency, r.granted_at, r.expires_at
    from reservation r where r.user_id = p_user and (p_sale is null or r.sale = p_sale) order by r.granted_at desc limit 1000
$$;

-- How the outbox stands. Pending rows that grow old mean that no relay runs: no instance of the service is connected.
create or replace function dropgate.outbox_inspect()
returns table (pending bigint, oldest_pending interval, last_position bigint, forgotten_position bigint, keep interval)
language sql volatile security definer set search_path = pg_catalog, dropgate, pg_temp as $$
    select coalesce((select sum(events) from outbox_pending), 0), (select clock_timestamp() - min(at) from outbox_pending),
           h.position, h.forgotten, h.keep
    from outbox_head h
$$;

-- How long published events can be read, from one hour to ten years; returns what it was.
create or replace function dropgate.outbox_keep(p_keep interval) returns interval
language plpgsql volatile security definer set search_path = pg_catalog, dropgate, pg_temp as $$
declare was interval;
begin
    select h.keep into strict was from outbox_head h for update;
    update outbox_head set keep = p_keep;
    return was;
end $$;

revoke all on function dropgate.lock_stock, dropgate.sale_restock, dropgate.sale_price, dropgate.sale_close, dropgate.sale_list,
    dropgate.sale_inspect, dropgate.user_inspect, dropgate.outbox_inspect, dropgate.outbox_keep from public;
grant execute on function dropgate.sale_restock, dropgate.sale_price, dropgate.sale_close, dropgate.sale_list, dropgate.sale_inspect,
    dropgate.user_inspect, dropgate.outbox_inspect, dropgate.outbox_keep to dropgate_admin;
