-- SPDX-License-Identifier: BSD-3-Clause
-- The examples of docs/operations.md do what it says. They are run by an operator, one after the other, in one transaction.
begin;
select plan(8);
\set examples `awk 'substr($0, 1, 3) == "\140\140\140" { on = substr($0, 4) == "sql"; next } on' :'root'/docs/operations.md`
create temp table example as select trim(s) as statement from regexp_split_to_table(:'examples', ';\s*(\n|$)') s where trim(s) <> '';
select cmp_ok((select count(*) from example), '>=', 10::bigint, 'there are examples');
select is((select count(*) from dropgate.sale where id = 7), 0::bigint, 'the examples'' sale is theirs alone');

set local role dropgate_admin;
:examples
reset role;

select is((select (total, per_user, hold, item)::text from dropgate.sale join dropgate.stock on sale = id where id = 7),
    (select (530, 2, '10 minutes'::interval, 'lamp-red')::text), 'they make a sale, and restock it');
select is((select (unit_price, currency)::text from dropgate.sale where id = 7), '(4500,EUR)', 'another price is set');
select ok((select closes_at <= clock_timestamp() from dropgate.sale where id = 7), 'the sale is closed');
select is((select keep from dropgate.outbox_head), '30 days', 'events are kept for longer');

-- The other roles are as it says.
create role an_operator login in role dropgate_admin;
set local role an_operator;
select lives_ok($$ select * from dropgate.sale_list() $$, 'an operator with a login of his own may do the same');
reset role;
set local role dropgate_service;
select throws_ok($$ select * from dropgate.sale_list() $$, '42501', null, 'the service may not');
reset role;

select * from finish();
rollback;
