-- SPDX-License-Identifier: BSD-3-Clause
-- Items and sales: what operators edit and what the service's cache reads.
set local role dropgate_owner;

-- A sale's state at an instant. The one definition; reserve_batch asks the same one.
create or replace function dropgate.sale_state(p_opens_at timestamptz, p_closes_at timestamptz, p_avail bigint, p_at timestamptz)
returns text language sql immutable parallel safe as $$
    select case when p_at >= p_closes_at then 'closed' when p_at < p_opens_at then 'upcoming'
                when p_avail = 0 then 'sold_out' else 'open' end
$$;

create or replace function dropgate.catalog()
returns table (sale int, item text, title text, description text, total bigint, avail bigint, held bigint, per_user int,
               hold_ms bigint, unit_price bigint, currency text, opens_at timestamptz, closes_at timestamptz, seq bigint, state text)
language sql volatile security definer set search_path = pg_catalog, dropgate, pg_temp as $$
    select s.id, i.id, i.title, i.description, k.total, k.avail, k.held, s.per_user, (extract(epoch from s.hold) * 1000)::bigint,
           s.unit_price, s.currency, s.opens_at, s.closes_at, k.seq,
           sale_state(s.opens_at, s.closes_at, k.avail, clock_timestamp())
    from sale s join item i on i.id = s.item join stock k on k.sale = s.id order by s.id
$$;

-- Readers hear of catalogue edits, by whatever way they were made; the payload is the sale's id.
create or replace function dropgate.notify_item() returns trigger
language plpgsql security definer set search_path = pg_catalog, dropgate, pg_temp as $$
begin
    perform pg_notify('dropgate_catalog', s.id::text) from sale s where s.item = new.id;
    return null;
end $$;
create or replace function dropgate.notify_sale() returns trigger
language plpgsql security definer set search_path = pg_catalog, dropgate, pg_temp as $$
begin
    perform pg_notify('dropgate_catalog', new.id::text);
    return null;
end $$;
create or replace trigger item_changed after update on dropgate.item for each row
    when (old.* is distinct from new.*) execute function dropgate.notify_item();
create or replace trigger sale_made after insert on dropgate.sale for each row execute function dropgate.notify_sale();
create or replace trigger sale_changed after update on dropgate.sale for each row
    when (old.* is distinct from new.*) execute function dropgate.notify_sale();

create or replace function dropgate.item_put(p_id text, p_title text, p_description text) returns void
language sql volatile security definer set search_path = pg_catalog, dropgate, pg_temp as $$
    insert into item (id, title, description) values (p_id, p_title, p_description)
    on conflict (id) do update set title = excluded.title, description = excluded.description
$$;

-- A reservation's amount is a number that JSON keeps, like its price; else it could be granted and never be paid.
create or replace function dropgate.price_check(p_sale int, p_unit_price bigint, p_per_user int) returns void
language plpgsql stable set search_path = pg_catalog, dropgate, pg_temp as $$
begin
    if p_unit_price::numeric * p_per_user > 9007199254740991 then
        raise 'sale %: % for each of % units is more than 9007199254740991', p_sale, p_unit_price, p_per_user using errcode = 'check_violation';
    end if;
end $$;

-- Creates or changes a sale. What was promised stands: the total cannot fall below what is out, and the opening cannot
-- move behind a grant. p_attempts: how many reservations a user may cancel or let expire before it gets no more; NULL leaves it, 20 in
-- a new sale.
drop function if exists dropgate.sale_put(int, text, bigint, int, interval, bigint, text, timestamptz, timestamptz);
create or replace function dropgate.sale_put(p_id int, p_item text, p_total bigint, p_per_user int, p_hold interval, p_unit_price bigint,
    p_currency text, p_opens_at timestamptz, p_closes_at timestamptz default null, p_attempts int default null) returns void
language plpgsql volatile security definer set search_path = pg_catalog, dropgate, pg_temp as $$
declare k stock;
begin
    perform lock_sale(p_id);
    if exists (select from retired r where r.sale = p_id) then
        raise 'sale %: has been retired, and its number is not used again', p_id using errcode = 'unique_violation';
    end if;
    select * into k from stock where stock.sale = p_id for update;
    if k.total - k.avail > p_total then
        raise 'sale %: % units are out, the total cannot be %', p_id, k.total - k.avail, p_total using errcode = 'check_violation';
    end if;
    perform price_check(p_id, p_unit_price, p_per_user);
    if exists (select from sale s where s.id = p_id and s.opens_at < p_opens_at)
       and exists (select from reservation r where r.sale = p_id and r.granted_at < p_opens_at) then
        raise 'sale %: has granted before %, the opening cannot move behind that', p_id, p_opens_at using errcode = 'check_violation';
    end if;
    insert into sale (id, item, per_user, per_user_highest, hold, unit_price, currency, opens_at, closes_at, attempts)
    values (p_id, p_item, p_per_user, p_per_user, p_hold, p_unit_price, p_currency, p_opens_at, p_closes_at, coalesce(p_attempts, 20))
    on conflict (id) do update set item = excluded.item, per_user = excluded.per_user,
        per_user_highest = greatest(sale.per_user_highest, excluded.per_user), hold = excluded.hold, unit_price = excluded.unit_price,
        currency = excluded.currency, opens_at = excluded.opens_at, closes_at = excluded.closes_at,
        attempts = coalesce(p_attempts, sale.attempts);
    perform partition_make(p_id, p_total);
    insert into stock as old (sale, total, avail) values (p_id, p_total, p_total)
    on conflict (sale) do update set total = p_total, avail = old.avail + p_total - old.total;
end $$;

revoke all on function dropgate.sale_state, dropgate.catalog, dropgate.price_check, dropgate.item_put, dropgate.sale_put, dropgate.notify_item, dropgate.notify_sale from public;
grant execute on function dropgate.catalog to dropgate_service, dropgate_admin;
grant execute on function dropgate.item_put, dropgate.sale_put to dropgate_admin;
