-- SPDX-License-Identifier: BSD-3-Clause
-- The partitions of `reservation`: which there are, and one for every sale before its first grant.
set local role dropgate_owner;

-- From `first` up to, not including, `beyond`. The catalogue is the only record of them.
create or replace view dropgate.reservation_partition as
    select c.oid::regclass as partition, coalesce(b.m[1]::bigint, 0) as first, coalesce(nullif(b.m[2], 'MAXVALUE')::bigint, 2147483648) as beyond
    from pg_catalog.pg_inherits i
    join pg_catalog.pg_class c on c.oid = i.inhrelid
    cross join lateral regexp_match(pg_catalog.pg_get_expr(c.relpartbound, c.oid), $x$^FOR VALUES FROM \('?(\d+)'?\) TO \('?(\d+|MAXVALUE)'?\)$$x$) b (m)
    where i.inhparent = 'dropgate.reservation'::regclass;

-- Called by sale_put under the sale's lock. Batches go on meanwhile: attaching waits for none of them. A sale that lies in no
-- partition gets one: the 1,024 numbers around it, clipped at its neighbours; only its own if it is huge, so that it can be dropped
-- without waiting for others; and the whole gap between its neighbours once there are 64, since each look-up by id asks all.
create or replace function dropgate.partition_make(p_sale int, p_total bigint) returns void
language plpgsql volatile as $$
declare
    name text;
    low bigint;
    high bigint;
begin
    lock table dropgate.reservation in access share mode; -- against its removal, until the new sale is committed
    if exists (select from dropgate.reservation_partition p where p_sale >= p.first and p_sale < p.beyond) then
        return;
    end if;
    lock table dropgate.reservation in share update exclusive mode; -- two sales of one range at once
    if exists (select from dropgate.reservation_partition p where p_sale >= p.first and p_sale < p.beyond) then
        return;
    elsif (select count(*) from dropgate.reservation_partition) >= 64 then
        low := 0;
        high := 2147483648;
    elsif p_total >= 2500000 then
        low := p_sale;
        high := p_sale::bigint + 1;
    else
        low := p_sale / 1024 * 1024;
        high := low + 1024;
    end if;
    select greatest(low, max(p.beyond) filter (where p.beyond <= p_sale)), least(high, min(p.first) filter (where p.first > p_sale))
        into low, high from dropgate.reservation_partition p;
    name := 'reservation_' || low;
    execute format('create table dropgate.%I (like dropgate.reservation including all) with (autovacuum_vacuum_scale_factor = 0.02)', name);
    execute format('alter table dropgate.reservation attach partition dropgate.%I for values from (%s) to (%s)', name, low,
        case when high > 2147483647 then 'maxvalue' else high::text end);
end $$;

revoke all on function dropgate.partition_make from public;
