-- SPDX-License-Identifier: BSD-3-Clause
-- The net under the functions: constraints, immutable columns, and who may do what.
begin;
select plan(25);
select test.sale(1);
select test.ask(1, 'ann/k/2');

-- Constraints hold against a direct statement of a superuser too.
prepare oversell as update dropgate.stock set avail = -1, granted = 11 where sale = 1;
select throws_ok('oversell', '23514', null, 'available stock never goes below zero');
prepare overfill as update dropgate.stock set avail = 11, granted = 0, released = 1, held = 0 where sale = 1;
select throws_ok('overfill', '23514', null, 'available stock never exceeds the total');
prepare untold as update dropgate.stock set avail = avail - 1 where sale = 1;
select throws_ok('untold', '23514', null, 'stock cannot move without being counted as granted or released');
prepare too_much_held as update dropgate.stock set held = 9 where sale = 1;
select throws_ok('too_much_held', '23514', null, 'what is held cannot be available as well');
prepare twice as insert into dropgate.reservation select * from dropgate.reservation;
select throws_ok('twice', '23505', null, 'an id exists once');
prepare ended as update dropgate.reservation set state = 'cancelled';
select throws_ok('ended', '23514', null, 'a reservation cannot end without the ledger entry that released it');
prepare released as update dropgate.reservation set released_entry = 5;
select throws_ok('released', '23514', null, 'a live reservation has no entry that released it');

select throws_ok(format('update dropgate.reservation set %I = %I', c, c), '23000', null, format('%s of a reservation never changes', c))
from unnest(array['id', 'sale', 'user_id', 'fingerprint', 'quantity', 'unit_price', 'currency', 'granted_at', 'expires_at', 'granted_entry', 'render']) c;

-- HOT updates need room on the page and no index on a counter.
select is((select reloptions from pg_class where oid = 'dropgate.stock'::regclass), array['fillfactor=10'], 'the counter row has room on its page');
select is((select count(*) from pg_index where indrelid = 'dropgate.stock'::regclass), 1::bigint, 'no counter is indexed');

-- Privileges: 015_privileges.sql has all of them.
select ok((select not rolsuper and not rolcanlogin from pg_roles where rolname = 'dropgate_owner'), 'the owner role is no superuser and cannot log in');
select is((select provolatile::text from pg_proc where oid = 'dropgate.reserve_batch'::regproc), 'v', 'the batch is VOLATILE: each statement sees what was committed during the wait');

set local role dropgate_service;
select throws_ok('select * from dropgate.stock', '42501', null, 'the service cannot read a table');
select throws_ok($$ select dropgate.lock_sale(1) $$, '42501', null, 'the service cannot take a lock by itself');
select lives_ok($$ select * from dropgate.reserve_batch(1, '{}', '{}', '{}', '{}') $$, 'the service can send a batch');
reset role;

select * from finish();
rollback;
