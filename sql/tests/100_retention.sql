-- SPDX-License-Identifier: BSD-3-Clause
-- Partitions: each sale has one before its first grant, and what is over goes away as a whole, or not at all.
begin;
select plan(40);
create function pg_temp.ranges(p_from bigint, p_to bigint) returns text language sql as $$
    select string_agg(first || '-' || beyond, ' ' order by first) from dropgate.reservation_partition where first >= p_from and beyond <= p_to
$$;
create function pg_temp.partition_of(p_sale int) returns text language sql as $$
    select partition::text from dropgate.reservation_partition where p_sale >= first and p_sale < beyond
$$;
-- A sale that has closed since its grants.
create function pg_temp.close(p_sale int, p_ago interval default '0') returns void language sql as $$
    update dropgate.sale set opens_at = clock_timestamp() - interval '1 year', closes_at = clock_timestamp() - p_ago where id = p_sale
$$;

-- Ranges.
select test.sale(1000000);
select is(pg_temp.ranges(999000, 1002000), '999424-1000448', 'a sale makes a partition of 1,024 numbers');
select test.sale(1000001);
select test.sale(999424);
select is(pg_temp.ranges(999000, 1002000), '999424-1000448', 'its neighbours share it');
select test.sale(1000500, total => 2500000);
select test.sale(1000499);
select test.sale(1000501);
select is(pg_temp.ranges(999000, 1002000), '999424-1000448 1000448-1000500 1000500-1000501 1000501-1001472', 'a huge sale has one of its own, and the others fill the gaps around it');
select test.sale(2147483647, total => 2500000);
select test.sale(2147483646);
select is(pg_temp.ranges(2147480000, 3000000000), '2147482624-2147483647 2147483647-2147483648', 'the highest numbers have partitions too');
select is(test.ask(2147483647, 'ann/k/1') || test.ask(2147483646, 'ann/k/1') || test.ask(1000500, 'ann/k/1'), '201201201', 'and grants');
select is((select count(*) from dropgate.reservation_partition p where not exists (select from pg_class c where c.oid = p.partition and c.reloptions @> '{autovacuum_vacuum_scale_factor=0.02}')), 0::bigint, 'ended rows are vacuumed early in each');
select is((select count(*) from dropgate.reservation_partition p where (select count(*) from pg_index i where i.indrelid = p.partition) <> 3), 0::bigint, 'each has all indexes');
select is((select count(*) from dropgate.reservation_partition p where not exists (select from pg_trigger t where t.tgrelid = p.partition and t.tgname = 'reservation_is_immutable')), 0::bigint, 'and the trigger');
select is((select count(*) from dropgate.reservation_partition p join pg_class c on c.oid = p.partition where pg_get_userbyid(c.relowner) <> 'dropgate_owner'), 0::bigint, 'and the owner');
do $$ begin
    for i in 1 .. 70 loop perform test.sale(1100000 + i * 2048); end loop;
end $$;
select cmp_ok((select count(*) from dropgate.reservation_partition), '<=', 66::bigint, 'there are never many, since a look-up asks each');
select is((select count(*) from dropgate.sale s where pg_temp.partition_of(s.id) is null), 0::bigint, 'and yet every sale has one');

-- One sale of several.
select test.sale(1200000, total => 10);
select test.sale(1200001, total => 10);
select is(pg_temp.partition_of(1200000), pg_temp.partition_of(1200001), 'two sales in one partition');
select test.ask(1200000, 'ann/k/1', 'bob/k/2');
select test.ask(1200001, 'ann/k/1');
select throws_ok('select dropgate.sale_retire(4711)', 'P0002', 'sale 4711: there is none', 'what is not there cannot be retired');
select throws_ok('select dropgate.sale_retire(1200000)', '55000', 'sale 1200000: is not closed', 'an open sale cannot');
select pg_temp.close(1200000);
select throws_ok('select dropgate.sale_retire(1200000)', '55000', 'sale 1200000: 2 of its reservations are held and 0 in payment', 'nor one with holds');
select is(test.stock(1200000), '7 3 3 0', 'a refusal changes nothing');
select test.expire(1200000);
select throws_ok('select dropgate.sale_retire(1200000)', '55000', null, 'a hold that is due is not over before it is released');
select test.ask(1200000);
set local session_replication_role = replica;
update dropgate.reservation set state = 'unknown', attempt = id, released_entry = null where sale = 1200000 and user_id = 'ann';
set local session_replication_role = origin;
select throws_ok('select dropgate.sale_retire(1200000)', '55000', 'sale 1200000: 0 of its reservations are held and 1 in payment', 'nor one with a payment under way');
update dropgate.reservation set state = 'paid' where sale = 1200000 and user_id = 'ann';
insert into dropgate.payment (attempt, reservation, sale, state, fingerprint, amount, currency, begun_at, deadline, check_at, placed)
    values (test.id(0, 'late', '1'), test.id(1200000, 'bob', 'k'), 1200000, 'voiding', test.id(0, 'x', 'x'), 1, 'EUR', now(), now() + interval '1 minute', now(), null),
           (test.id(0, 'good', '1'), test.id(1200000, 'ann', 'k'), 1200000, 'captured', test.id(0, 'x', 'x'), 1, 'EUR', now(), now() + interval '1 minute', null, test.id(1200000, 'ann', 'k'));
select throws_ok('select dropgate.sale_retire(1200000)', '55000', 'sale 1200000: 1 of its payments are not final', 'nor one with an attempt that must still be made void');
update dropgate.payment set state = 'voided' where state = 'voiding' and sale = 1200000;
select throws_ok('select dropgate.sale_retire(1200000)', '55000', 'sale 1200000: 1 of its payments are not final', 'nor one with an attempt that is looked at once more, since it may have been authorised meanwhile');
update dropgate.payment set check_at = null where sale = 1200000;
set local role dropgate_admin;
select is(dropgate.sale_retire(1200000, true), 2::bigint, 'an administrator retires it, and is told how many reservations went');
reset role;
select is((select count(*) from dropgate.reservation where sale = 1200000), 0::bigint, 'they are gone');
select is((select count(*) from dropgate_archive.sale_1200000), 2::bigint, 'to the archive');
select is((select count(*) from dropgate_archive.payments_of_sale_1200000) || ' ' || (select count(*) from dropgate.payment where sale = 1200000), '2 0', 'with their payments');
select is((select (total, granted, released, reservations, paid, archive)::text from dropgate.retired where sale = 1200000), '(10,3,3,2,1,sale_1200000)', 'and the sums stay');
select is((select count(*) from dropgate.reservation where sale = 1200001), 1::bigint, 'its neighbour keeps its own');
select is(test.ask(1200000, 'ann/k/1'), '404', 'nobody is granted anything of it');
select is(test.cancel(1200000, 'ann', 'k'), 404, 'nor finds anything');
select is((select count(*) from dropgate.catalog() where sale = 1200000), 0::bigint, 'and it is no longer listed');
select throws_ok('select test.sale(1200000)', '23505', 'sale 1200000: has been retired, and its number is not used again', 'nor made anew');

-- The last of a partition takes it along.
select is(pg_temp.partition_of(1000500), 'dropgate.reservation_1000500', 'a partition of one sale');
select test.cancel(1000500, 'ann', 'k');
select pg_temp.close(1000500);
select is(dropgate.sale_retire(1000500), 1::bigint, 'its sale is retired');
select is(to_regclass('dropgate.reservation_1000500'), null, 'and the table is gone');
select is((select archive from dropgate.retired where sale = 1000500), null, 'without an archive');

-- Whole partitions, those that are over.
select throws_ok($$ select dropgate.sales_retire('-1 day') $$, '22023', null, 'retention needs a time');
select is_empty($$ select * from dropgate.sales_retire('1 day') $$, 'nothing has been closed for a day');
select test.cancel(2147483647, 'ann', 'k');
select pg_temp.close(2147483647, '40 days');
select pg_temp.close(2147483646, '50 days');
set local client_min_messages = error;
select is(array(select dropgate.sales_retire('30 days', true)), array[2147483647], 'what still holds something is passed over');
select is((select count(*) from dropgate_archive.sale_1200000), 2::bigint, 'archives stay');
select is((select count(*) from pg_class where relnamespace = 'dropgate_archive'::regnamespace and relname like 'reservation\_2147483647\_%' and relkind = 'r'), 1::bigint, 'a partition is archived as it is');
select is_empty($$ select * from dropgate.sales_retire('30 days') $$, 'then there is nothing more to do');
select * from finish();
rollback;
