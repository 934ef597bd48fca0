-- SPDX-License-Identifier: BSD-3-Clause
-- Expiry inside the batch: nobody is refused for stock while a hold is due, and what is due counts against nobody.
begin;
select plan(25);

-- The clock itself.
select test.sale(9, total => 1, hold => '10 milliseconds');
select test.ask(9, 'ann/k/1');
select pg_sleep(0.02);
select is(test.ask(9, 'bob/k/1'), '201', 'a hold ends by the clock');

select test.sale(1, total => 2, per_user => 2);
select is(test.ask(1, 'ann/k/2'), '201', 'ann holds everything');
select is(test.ask(1, 'bob/k/1'), '412', 'bob is told that holds are outstanding');
select is((select state from dropgate.reservation_get(test.id(1, 'ann', 'k'), 'ann')), 'held', 'her reservation is held');
select test.expire(1);
select is((select state from dropgate.reservation_get(test.id(1, 'ann', 'k'), 'ann')), 'expired', 'a hold whose time is over reads as expired before it is released');
select is(test.stock(1), '0 2 2 0', 'and its units are still out');
select is(test.ask(1, 'bob/k/1'), '201', 'the batch releases what is due and grants it');
select is(test.stock(1), '1 1 3 2', 'both in one entry');
select is(test.ask(1, 'ann/k2/1'), '201', 'a dead row does not lock its user out');
select is((select state from dropgate.reservation_get(test.id(1, 'ann', 'k'), 'ann')), 'expired', 'a released hold is expired');
select is((select array_agg(distinct entry - released_entry) from dropgate.reservation r join dropgate.stock using (sale) where sale = 1 and released_entry is not null), array[1]::bigint[], 'it names the entry that released it');

-- More due rows than one housekeeping chunk: the batch releases as many as it asks for.
select test.sale(2, total => 6000, per_user => 20);
select is((select count(*) from test.answers(2, (select array_agg(format('u%s/k/1', i)) from generate_series(1, 6000) i)) where status = 201), 6000::bigint, 'six thousand hold one each');
select test.expire(2);
select is((select count(*) from test.answers(2, (select array_agg(format('v%s/k/20', i)) from generate_series(1, 30) i)) where status = 201), 30::bigint, 'thirty who want twenty each are served at once, by 600 due rows');
select cmp_ok((select released from dropgate.stock where sale = 2), '>=', 600::bigint, 'at least as many rows are released as units are asked for');
select cmp_ok((select released from dropgate.stock where sale = 2), '<', 6000::bigint, 'not all of them: the batch stays short');
select test.ask(2);
select test.ask(2);
select is((select released from dropgate.stock where sale = 2), 6000::bigint, 'housekeeping releases the rest');
select is((select count(*) from dropgate.reservation where sale = 2 and state = 'expired'), 6000::bigint, 'each row once');

-- A due row of the very user who asks, at the limit, with another user's due row before it.
select test.sale(3, total => 2, per_user => 1);
select test.ask(3, 'ann/k/1', 'bob/k/1');
select test.expire(3);
select is(test.ask(3, 'bob/k2/1', 'ann/k2/1', 'cay/k/1'), '201 201 412', 'due holds count against no limit');
select is(test.stock(3), '0 2 4 2', 'and are released exactly once');

-- More holds are due than the batch releases: those of the askers may still stand, and must not count.
select test.sale(6, total => 1000, per_user => 1);
select count(*) from test.answers(6, (select array_agg(format('u%s/k/1', i)) from generate_series(1, 600) i));
select test.expire(6);
select is((select count(*) from test.answers(6, (select array_agg(format('u%s/k2/1', i)) from generate_series(501, 600) i)) where status = 201), 100::bigint, 'a due hold locks nobody out, although it has not been released');
select cmp_ok((select released from dropgate.stock where sale = 6), '<', 600::bigint, 'and some had not');

-- Wishes that nobody can have do not drive expiry.
select test.sale(4, total => 3, per_user => 1);
select test.ask(4, 'ann/k/1', 'bob/k/1', 'cay/k/1');
select test.expire(4);
select is(test.ask(4, 'dan/k/10000', 'eve/k/1'), '409 201', 'a request over the limit does not disturb');
select is(test.stock(4), '2 1 4 3', 'all that is due comes back, since it is few');

-- Closed sales still give back.
select test.sale(5, total => 1, opens_at => now() - interval '1 hour');
select test.ask(5, 'ann/k/1');
select test.sale(5, total => 1, opens_at => now() - interval '1 hour', closes_at => now() - interval '1 minute');
select test.expire(5);
select is(test.ask(5, 'bob/k/1'), '423', 'a closed sale grants nothing');
select is(test.stock(5), '1 0 1 1', 'but releases what is due');

select * from finish();
rollback;
