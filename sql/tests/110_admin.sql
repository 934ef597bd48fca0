-- SPDX-License-Identifier: BSD-3-Clause
-- What operators do to a running sale: what it changes, what it refuses, and what it leaves alone.
begin;
select plan(39);
set local role dropgate_admin;
select dropgate.item_put('lamp', 'A lamp', 'gives light');
select lives_ok($$ select dropgate.sale_put(1, 'lamp', 10, 3, '10 minutes', 1999, 'EUR', now() - interval '1 hour') $$, 'an operator makes items and sales');
reset role;
select test.ask(1, 'ann/k/3', 'bob/k/3', 'cay/k/3');

-- More and fewer.
set local role dropgate_admin;
select is((select r::text from dropgate.sale_restock(1, 5) r), '(15,6,9)', 'units are added');
select is((select r::text from dropgate.sale_restock(1, -6) r), '(9,0,9)', 'and taken away, down to what is out');
select throws_ok('select dropgate.sale_restock(1, -1)', '23514', 'sale 1: only 0 of 9 units are available, 1 cannot be taken away', 'but no further');
select throws_ok('select dropgate.sale_restock(1, 0)', '22023', null, 'a change is a change');
select throws_ok('select dropgate.sale_restock(1, null)', '22023', null, 'and not nothing');
select throws_ok('select dropgate.sale_restock(2, 1)', 'P0002', 'there is no sale 2', 'an unknown sale is named');
select throws_ok('select dropgate.sale_restock(1, 9223372036854775807)', '22003', null, 'no number overflows');
reset role;
select is(test.ask(1, 'dan/k/1'), '412', 'a sale whose last units were taken away is sold out');
select is((select array_agg(kind order by id) from dropgate.event where sale = 1 and kind like 'sale.%'), array['sale.sold_out'], 'which is told');
select lives_ok('select dropgate.sale_restock(1, 2)', 'restocked');
select is(test.ask(1, 'dan/k/1'), '201', 'it sells again at once');
select is((select array_agg(kind order by id) from dropgate.event where sale = 1 and kind like 'sale.%'), array['sale.sold_out', 'sale.reopened'], 'which is told as well');
select is((select k.total = k.avail + (select sum(r.quantity) from dropgate.reservation r where r.sale = 1) and k.granted - k.released = k.total - k.avail from dropgate.stock k where k.sale = 1), true, 'all counters agree');

-- Another price.
select is((select r::text from dropgate.sale_price(1, 2499) r), '(1999,EUR)', 'the price before is told');
select is((select unit_price from test.answers(1, array['ann/k/3'])), 1999::bigint, 'who has reserved keeps his price');
select is((select unit_price from test.answers(1, array['eve/k/1'])), 2499::bigint, 'who reserves now gets the new one');
select lives_ok($$ select dropgate.sale_price(1, 2599, 'USD') $$, 'the currency can change with it');
select is((select (unit_price, currency)::text from dropgate.sale where id = 1), '(2599,USD)', 'and does');
select throws_ok('select dropgate.sale_price(1, -1)', '23514', null, 'no price is negative');
select throws_ok('select dropgate.sale_price(1, null)', '23502', null, 'nor nothing');
select throws_ok($$ select dropgate.sale_price(1, 1, 'euro') $$, '23514', null, 'a currency is three capitals');
select throws_ok('select dropgate.sale_price(2, 1)', 'P0002', null, 'of a sale that there is');
select throws_ok('select dropgate.sale_price(1, 3002399751580331)', '23514', 'sale 1: 3002399751580331 for each of 3 units is more than 9007199254740991', 'nor so high that the amount could not be told');
select throws_ok($$ select dropgate.sale_put(3, 'lamp', 10, 2, '10 minutes', 4503599627370496, 'EUR', now()) $$, '23514', null, 'in a new sale neither');
select lives_ok($$ select dropgate.sale_put(3, 'lamp', 10, 3, '10 minutes', 3002399751580330, 'EUR', now()) $$, 'up to there it can be paid');

-- The end.
select dropgate.sale_close(1) as ended \gset
select is(test.ask(1, 'fay/k/1', 'ann/k/3'), '423 201', 'a closed sale grants nothing, and answers who asks again');
select is(dropgate.sale_close(1), :'ended'::timestamptz, 'closing twice changes nothing');
select is(test.cancel(1, 'eve', 'k'), 204, 'what is held can still be cancelled');
select test.sale(3, opens_at => now() + interval '1 day');
select dropgate.sale_close(3);
select is(test.ask(3, 'ann/k/1'), '423', 'a sale that is closed before its opening never opens');
select test.sale(4, closes_at => now() + interval '1 day');
select ok(dropgate.sale_close(4) < now() + interval '1 hour', 'a sale can end before it would');
select throws_ok('select dropgate.sale_close(2)', 'P0002', null, 'a sale that there is');

-- Looking.
set local role dropgate_admin;
select is((select array_agg(concat_ws(' ', sale, item, state, total, available, held) order by sale) from dropgate.sale_list() where sale in (1, 3)), array['1 lamp closed 11 1 10', '3 thing closed 10 10 0'], 'sales are listed');
select is((select array_agg(concat_ws(' ', state, reservations, units, users, amount, currency)) from dropgate.sale_inspect(1)), array['held 4 10 4 19990 EUR', 'cancelled 1 1 1 2499 EUR'], 'a sale is summed up by the state of its reservations');
select is((select array_agg(concat_ws(' ', sale, state, quantity)) from dropgate.user_inspect('ann') where sale = 1), array['1 held 3'], 'a shopper''s reservations are found');
select is((select count(*) from dropgate.user_inspect('ann', 2)), 0::bigint, 'of one sale, too');
select ok((select pending > 0 and oldest_pending >= '0' and keep = '14 days' from dropgate.outbox_inspect()), 'the outbox can be looked at');
select throws_ok($$ select dropgate.outbox_keep('1 minute') $$, '23514', null, 'events are kept for a while');
reset role;

-- No stale snapshot.
select dblink_connect('admin_old', test.here());
select dblink_exec('admin_old', 'begin isolation level repeatable read');
select throws_ok($$ select * from dblink('admin_old', 'select dropgate.sale_restock(1, 1)::text') x (s text) $$, '25000', null, 'operators work in READ COMMITTED as well');
select dblink_disconnect('admin_old');

select * from finish();
rollback;
