-- SPDX-License-Identifier: BSD-3-Clause
-- The same user or the same id more than once in one batch: each element is answered as if it had been asked after the one before it.
begin;
select plan(17);

select test.sale(1, total => 100, per_user => 3);
select is(test.ask(1, 'ann/a/1', 'ann/b/1', 'ann/c/1', 'ann/d/1'), '201 201 201 409', 'several keys of one user share its limit');
select is(test.ask(1, 'bob/a/2', 'bob/b/2', 'bob/c/1'), '201 409 201', 'a request over the limit does not use it up for the next');
select is(test.ask(1, 'cay/a/1', 'cay/a/1', 'cay/a/1'), '201 201 201', 'a key three times in a batch is one grant, answered three times');
select is(test.stock(1), '93 7 7 0', 'and takes its units once');
select is((select count(distinct (quantity, granted_at, expires_at)) from test.answers(1, array['dan/a/2', 'dan/a/2'])), 1::bigint, 'the copies are the same answer');
select is(test.ask(1, 'eve/a/1', 'eve/a/2', 'eve/a/1'), '201 422 201', 'the key with another body is refused, whatever stands around it');
select is((select array_agg(quantity order by ord) from test.answers(1, array['fay/a/2', 'fay/a/1', 'gil/a/1'])), array[2, null, 1], 'a refused copy carries no reservation');
select is((select array_agg(status order by ord) from dropgate.reserve_batch(1, array[test.id(1, 'hal', 'a'), test.id(1, 'hal', 'a')], array['hal', 'ida'], array[md5('1'), md5('1')]::uuid[], array[1, 1])),
    array[201, 422], 'one id under two users is granted to the first');

-- Duplicates must not use up the cut-off.
select test.sale(2, total => 3, per_user => 1);
select is(test.ask(2, 'ann/a/1', 'ann/b/1', 'ann/a/1', 'ann/c/1', 'bob/a/1', 'cay/a/1', 'dan/a/1'), '201 409 201 409 201 201 412', 'duplicates do not use up the stock');
select is(test.stock(2), '0 3 3 0', 'no unit is left unsold');
select test.sale(3, total => 5, per_user => 5);
select is(test.ask(3, 'ann/a/4', 'ann/b/2', 'bob/a/2', 'ann/c/1', 'ann/c/1'), '201 409 411 201 201', 'limit, stock and copies are judged in order');
select is(test.stock(3), '0 5 5 0', 'and the last unit goes to the one who fits');

-- A key refused first and asked again later in the batch is judged again.
select test.sale(4, total => 1, per_user => 3);
select is(test.ask(4, 'ann/a/2', 'ann/a/2', 'bob/b/1', 'ann/a/2'), '411 411 201 412', 'a refusal is never remembered');

-- Known and new mixed.
select test.sale(5, total => 10, per_user => 2);
select test.ask(5, 'ann/a/1');
select is(test.ask(5, 'ann/a/1', 'ann/b/1', 'ann/a/1', 'ann/c/1', 'ann/a/2'), '201 201 201 409 422', 'replays stand beside new requests of the same user');
select is(test.ask(5, 'bob/a/3', 'bob/b/1', 'bob/a/3'), '409 201 409', 'over the limit stays over the limit');
select is((select array_agg(status order by ord) from dropgate.reserve_batch(5, array[test.id(5, 'cay', 'a'), test.id(5, 'cay', 'a'), test.id(5, 'cay', 'b')], array['cay', 'cay', 'cay'],
    array[md5('1'), md5('1'), md5('1')]::uuid[], array[0, 1, 1])), array[400, 201, 201], 'a malformed copy does not spoil the good one');
select is((select bool_and(ok) from (select k.granted - k.released = k.total - k.avail as ok from dropgate.stock k) x), true, 'all counters agree');

select * from finish();
rollback;
