-- SPDX-License-Identifier: BSD-3-Clause
-- Copyright (c) 2026, the Dropgate authors
--
-- Retention: what is over goes away. A partition whose sales are all over is dropped as a table, or detached and kept in
-- dropgate_archive, in milliseconds at any size; a single sale out of a living partition is deleted row by row. Never while
-- a reservation is held or in payment: then nothing is done, and the error says what is left.
set local role dropgate_owner;

-- Takes away all of these sales, with their payments, but their reservations, or refuses. The locks are taken in the one order; a batch that waits for
-- one of them finds no sale any more. Returns the number of reservations that are left without a sale: the caller's to remove.
create or replace function dropgate.retire_sales(p_sales int[], p_archive text) returns bigint
language plpgsql volatile as $$
declare
    open_one int;
    x record;
    rows bigint := 0;
begin
    perform lock_sale(o.sale) from (select unnest(p_sales) as sale order by 1) o;
    perform from stock k where k.sale = any (p_sales) order by k.sale for update;
    select s.id into open_one from sale s
        where s.id = any (p_sales) and (s.closes_at is null or s.closes_at > clock_timestamp()) order by s.id limit 1;
    if found then
        raise 'sale %: is not closed', open_one using errcode = 'object_not_in_prerequisite_state', hint = 'sale_put sets when it closes.';
    end if;
    insert into retired (sale, item, opens_at, closes_at, total, granted, released, archive)
        select s.id, s.item, s.opens_at, s.closes_at, k.total, k.granted, k.released, p_archive
        from sale s join stock k on k.sale = s.id where s.id = any (p_sales);
    -- Nothing can change any more, so one scan both judges and counts.
    for x in
        select r.sale, count(*) as reservations, count(*) filter (where r.state = 'held') as held,
               count(*) filter (where r.state in ('paying', 'capturing', 'unknown')) as in_payment,
               coalesce(sum(r.quantity) filter (where r.state = 'paid'), 0) as paid
        from reservation r where r.sale = any (p_sales) group by r.sale order by r.sale
    loop
        if x.held + x.in_payment > 0 then
            raise 'sale %: % of its reservations are held and % in payment', x.sale, x.held, x.in_payment
                using errcode = 'object_not_in_prerequisite_state', hint = 'Holds end by time, payments by the reconciler or by hand.';
        end if;
        update retired set reservations = x.reservations, paid = x.paid where retired.sale = x.sale;
        rows := rows + x.reservations;
    end loop;
    -- A late attempt to pay may outlive its reservation; while there is still something to void, to look at or to refund, it stays.
    select y.sale, count(*) as payments into x from payment y
        where y.sale = any (p_sales) and y.check_at is not null group by y.sale order by y.sale limit 1;
    if found then
        raise 'sale %: % of its payments are not final', x.sale, x.payments
            using errcode = 'object_not_in_prerequisite_state', hint = 'The reconciler ends them, or reservation_resolve.';
    end if;
    if p_archive is not null then
        execute format('create table dropgate_archive.%I as select * from dropgate.payment where sale = any (%L)', 'payments_of_' || p_archive, p_sales);
    end if;
    delete from payment y where y.sale = any (p_sales);
    delete from stock k where k.sale = any (p_sales);
    delete from sale s where s.id = any (p_sales);
    perform pg_notify('dropgate_catalog', s::text) from unnest(p_sales) s;
    return rows;
end $$;

-- Drops a partition, or moves it to dropgate_archive under that name, if no sale is left in it. Waits for the statements of other
-- sales, and they for it, so not for long: lock_timeout is far below a batch's deadline and below deadlock_timeout, and a
-- cancellation that waits for the sale's lock, holding one on the table, goes on. Under the lock nobody makes a sale here.
create or replace function dropgate.partition_remove(p_first bigint, p_archive text) returns boolean
language plpgsql volatile as $$
declare p dropgate.reservation_partition;
begin
    lock table reservation in access exclusive mode;
    select * into p from reservation_partition x where x.first = p_first;
    if exists (select from sale s where s.id >= p.first and s.id < p.beyond) then
        return false;
    elsif p_archive is null then
        execute format('drop table %s', p.partition);
    else
        execute format('alter table dropgate.reservation detach partition %s', p.partition);
        execute format('alter table %s rename to %I', p.partition, p_archive);
        execute format('alter table dropgate.%I set schema dropgate_archive', p_archive);
    end if;
    return true;
end $$;

-- One sale. Returns the number of its reservations that were removed, after copying them to dropgate_archive if asked to.
create or replace function dropgate.sale_retire(p_sale int, p_archive boolean default false) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, dropgate, pg_temp set lock_timeout = '500ms' as $$
declare
    p dropgate.reservation_partition;
    archive text := case when p_archive then 'sale_' || p_sale end;
    rows bigint;
begin
    if not exists (select from sale s where s.id = p_sale) then
        raise 'sale %: there is none', p_sale using errcode = 'no_data_found';
    end if;
    rows := retire_sales(array[p_sale], archive);
    select * into p from reservation_partition x where p_sale >= x.first and p_sale < x.beyond;
    if not exists (select from sale s where s.id >= p.first and s.id < p.beyond) and partition_remove(p.first, archive) then
        return rows; -- it was the last one of its partition
    elsif p_archive then
        execute format('create table dropgate_archive.%I as select * from dropgate.reservation where sale = %s', archive, p_sale);
    end if;
    delete from reservation r where r.sale = p_sale;
    return rows;
end $$;

-- The partition whose sales have all been closed for p_closed_for, longest ago, as a whole. Returns those sales; nothing once there is
-- no such partition, so it is called until then, each time in a transaction of its own. What cannot go yet is passed over with a warning.
create or replace function dropgate.sales_retire(p_closed_for interval, p_archive boolean default false) returns setof int
language plpgsql volatile security definer set search_path = pg_catalog, dropgate, pg_temp set lock_timeout = '500ms' as $$
declare
    p record;
    archive text;
begin
    if p_closed_for is null or p_closed_for < interval '0' then
        raise 'sales_retire: for how long closed?' using errcode = 'invalid_parameter_value';
    end if;
    for p in
        select x.first, array_agg(s.id order by s.id) as sales
        from reservation_partition x join sale s on s.id >= x.first and s.id < x.beyond
        group by x.first having bool_and(s.closes_at is not null and s.closes_at <= clock_timestamp() - p_closed_for)
        order by max(s.closes_at)
    loop
        begin
            if p_archive then
                archive := format('reservation_%s_%s', p.first, to_char(clock_timestamp() at time zone 'UTC', 'YYYYMMDD"T"HH24MISS'));
            end if;
            perform retire_sales(p.sales, archive);
            if not partition_remove(p.first, archive) then
                raise 'a sale was added to partition % meanwhile', p.first using errcode = 'object_not_in_prerequisite_state';
            end if;
            return query select unnest(p.sales);
            return;
        exception when object_not_in_prerequisite_state then
            raise warning '%', sqlerrm;
        end;
    end loop;
end $$;

revoke all on function dropgate.retire_sales, dropgate.partition_remove, dropgate.sale_retire, dropgate.sales_retire from public;
grant execute on function dropgate.sale_retire, dropgate.sales_retire to dropgate_admin;
