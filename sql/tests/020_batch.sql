-- SPDX-License-Identifier: BSD-3-Clause
-- One batch: what is granted, what is refused and with which status, and what is wrong about a call.
begin;
select plan(40);

-- Granting.
select test.sale(1, total => 10, per_user => 3);
select is(test.ask(1, 'ann/k/1', 'bob/k/3'), '201 201', 'a batch grants what fits');
select is(test.stock(1), '6 4 4 0', 'stock is decremented by units, not by rows');
select is(test.ask(1, 'cay/k/4'), '409', 'more than the limit in one request is refused');
select is(test.ask(1, 'ann/k2/3'), '409', 'units that the user already holds count against the limit');
select is(test.ask(1, 'ann/k2/2'), '201', 'up to the limit is granted');
select is(test.stock(1), '4 6 6 0', 'refusals move nothing');
select is(test.ask(1, 'dan/k/3', 'eve/k/3', 'fay/k/1'), '201 411 201', 'a large request that does not fit does not refuse the small one behind it');
select is(test.stock(1), '0 10 10 0', 'the last unit is sold');
select is(test.ask(1, 'gil/k/1', 'gil/k2/1'), '412 412', 'with nothing left and holds outstanding the answer is 412');
select is(test.ask(1, 'dan/k2/1'), '409', 'the limit is looked at before the stock');

-- Sold out for good: nothing is held any more.
select test.sale(2, total => 0);
select is(test.ask(2, 'ann/k/1'), '410', 'with nothing left and nothing held the answer is 410');
select test.sale(3, total => 2);
select is(test.ask(3, 'ann/k/3', 'bob/k/3', 'cay/k/2'), '411 411 201', 'nobody is told sold-out while units are left');

-- Cut-off inside a batch with more users than units.
select test.sale(4, total => 100, per_user => 1);
select is((select array_agg(n order by status) from (select status, count(*) n from test.answers(4, (select array_agg(format('u%s/k/1', i)) from generate_series(1, 300) i)) group by status) x),
          array[100, 200]::bigint[], 'of 300 users who want one of 100 units, 100 get it');

-- Frozen price.
select is((select (unit_price, currency, quantity, render)::text from test.answers(1, array['ann/k/1'])), '(1999,EUR,1,1)', 'the answer carries price and currency');
select test.sale(1, total => 10, per_user => 3, price => 2999);
select is((select unit_price from test.answers(1, array['ann/k/1'])), 1999::bigint, 'a later price does not change a reservation');

-- Replay.
create temp table before as select * from test.answers(1, array['ann/k/1', 'bob/k/3']);
select results_eq($$ select * from test.answers(1, array['ann/k/1', 'bob/k/3']) $$, 'select * from before', 'the same id with the same body gets the same answer');
select is(test.stock(1), '0 10 10 0', 'a replay moves nothing');
select is(test.ask(1, 'ann/k/2'), '422', 'the same id with another body is refused');
select is((select status from dropgate.reserve_batch(1, array[test.id(1, 'ann', 'k')], array['mallory'], array[md5('1')::uuid], array[1])), 422, 'another user cannot replay an id');
select test.cancel(1, 'ann', 'k');
select results_eq($$ select * from test.answers(1, array['ann/k/1', 'bob/k/3']) $$, 'select * from before', 'a cancelled reservation is still answered as it was');
select test.sale(1, total => 10, per_user => 3, opens_at => now() - interval '1 hour', closes_at => now() - interval '1 minute');
select results_eq($$ select * from test.answers(1, array['ann/k/1', 'bob/k/3']) $$, 'select * from before', 'a replay is answered after the sale has closed');
select is(test.ask(1, 'zoe/k/1'), '423', 'a closed sale grants nothing');

-- Opening: judged by the clock of the moment, not by the transaction's.
select test.sale(5, opens_at => clock_timestamp() + interval '1 hour');
select is(test.ask(5, 'ann/k/1', 'bob/k/9'), '403 403', 'before the opening nothing is granted');
select test.sale(6, opens_at => clock_timestamp() + interval '20 milliseconds');
select pg_sleep(0.03);
select is(test.ask(6, 'ann/k/1'), '201', 'the opening is judged by the clock, although now() is older');
select ok((select granted_at > now() and expires_at = granted_at + interval '10 minutes' from test.answers(6, array['ann/k/1'])), 'grants are dated by that clock');
select test.sale(7, closes_at => clock_timestamp() + interval '20 milliseconds');
select pg_sleep(0.03);
select is(test.ask(7, 'ann/k/1'), '423', 'so is the closing');
select is(test.ask(99, 'ann/k/1', 'bob/k/1'), '404 404', 'an unknown sale is an answer, not an error');
select is(test.ask(99), null, 'an unknown sale has no housekeeping');

-- A malformed element fails alone.
select test.sale(8);
select is((select array_agg(status order by ord) from dropgate.reserve_batch(8,
    array[test.id(8, 'a', '1'), null, test.id(8, 'a', '3'), test.id(8, 'a', '4'), test.id(8, 'a', '5'), test.id(8, 'a', '6'), test.id(8, 'a', '7'), test.id(8, 'a', '8'), test.id(8, 'a', '9')],
    array['a', 'b', null, '', repeat('é', 128), 'f', 'g', 'h', repeat('x', 255)],
    array[md5('1'), md5('1'), md5('1'), md5('1'), md5('1'), null, md5('1'), md5('1'), md5('1')]::uuid[],
    array[1, 1, 1, 1, 1, 1, 0, null, 1])),
    array[201, 400, 400, 400, 400, 400, 400, 400, 201], 'a malformed element gets 400 and harms no other');
select is((select array_agg(status order by ord) from dropgate.reserve_batch(8, array[test.id(8, 'm', '1'), test.id(8, 'n', '1')], array['m', 'n'], array[md5('1'), md5('2')]::uuid[], array[-2147483648, 2147483647])),
    array[400, 400], 'no quantity overflows anything');

-- The caller's own mistakes refuse the call.
select throws_ok($$ select * from dropgate.reserve_batch(8, null, '{}', '{}', '{}') $$, '22004', null, 'a NULL array is an error');
select throws_ok($$ select * from dropgate.reserve_batch(8, '{}', '{a}', '{}', '{}') $$, '2202E', 'reserve_batch: arrays of different lengths: 0 ids, 1 users, 0 fingerprints, 0 quantities', 'arrays of different lengths are an error that counts them');
select throws_ok($$ select * from dropgate.reserve_batch(8, array[array[gen_random_uuid()]], '{a}', array[gen_random_uuid()], '{1}') $$, '2202E', null, 'an array of two dimensions is an error');
select throws_ok($$ select * from dropgate.reserve_batch(8, array_fill(gen_random_uuid(), array[10001]), array_fill('u'::text, array[10001]), array_fill(gen_random_uuid(), array[10001]), array_fill(1, array[10001])) $$, '2202E', null, 'more than 10,000 elements are an error');
select is((select count(*) from dropgate.reserve_batch(8, '{}', '{}', '{}', '{}')), 0::bigint, 'empty arrays get no rows');

-- Arrays whose index does not begin at 1 are still one dimension.
select is((select array_agg(status order by ord) from dropgate.reserve_batch(8, ('[5:6]={' || test.id(8, 's', '1') || ',' || test.id(8, 's', '2') || '}')::uuid[], '[3:4]={s,s}', ('[7:8]={' || md5('2') || ',' || md5('2') || '}')::uuid[], '[0:1]={2,2}')),
    array[201, 409], 'arrays may begin at any index');

-- Text users are bytes: nothing is folded.
select test.sale(9, per_user => 1);
select is(test.ask(9, 'Ann/k/1', 'ann/k/1', 'ann /k/1', 'änn/k/1'), '201 201 201 201', 'users that differ in any byte are different users');
select is(test.ask(9, 'Ann/k2/1', 'änn/k2/1'), '409 409', 'and each has its own limit');
select is((select count(*) from dropgate.stock k where k.total <> k.avail + k.held), 0::bigint, 'all counters agree');
select is((select count(*) from dropgate.reservation r where not exists (select from dropgate.stock k where k.sale = r.sale)), 0::bigint, 'every reservation belongs to a sale');

select * from finish();
rollback;
