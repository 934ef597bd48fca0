-- SPDX-License-Identifier: BSD-3-Clause
-- Items and sales: what operators may change, and how the order of a sale's states is kept.
begin;
select plan(26);

select test.sale(1, total => 3, opens_at => '2026-01-01', closes_at => '2126-01-01');
select is((select (sale, item, title, description, total, avail, held, per_user, hold_ms, unit_price, currency, seq, state)::text from dropgate.catalog() where sale = 1),
    '(1,thing,"A thing","for sale",3,3,0,3,600000,1999,EUR,0,open)', 'the catalogue shows a sale with its item');
select test.ask(1, 'ann/k/2');
select is((select (avail, held, seq, state)::text from dropgate.catalog() where sale = 1), '(1,2,0,open)', 'stock moves without a new state');
select test.ask(1, 'bob/k/1');
select is((select (avail, seq, state)::text from dropgate.catalog() where sale = 1), '(0,1,sold_out)', 'selling out is a new state with a new number');
select test.ask(1, 'cay/k/1');
select is((select seq from dropgate.catalog() where sale = 1), 1::bigint, 'a refusal is not');
select test.cancel(1, 'bob', 'k');
select is((select (avail, seq, state)::text from dropgate.catalog() where sale = 1), '(1,2,open)', 'a cancellation that brings stock back is');
select test.cancel(1, 'ann', 'k');
select is((select seq from dropgate.catalog() where sale = 1), 2::bigint, 'more stock is not');

select test.sale(2, total => 1);
select test.ask(2, 'ann/k/1');
select test.expire(2);
select test.ask(2);
select is((select seq from dropgate.catalog() where sale = 2), 2::bigint, 'expiry that brings stock back is a new state');
select test.ask(2, 'ann/k2/1');
select test.expire(2);
select test.ask(2, 'bob/k/1');
select is((select seq from dropgate.catalog() where sale = 2), 3::bigint, 'expired and granted again in one transaction is none: nobody could have seen it');

select test.sale(3, opens_at => '2126-01-01');
select is((select state from dropgate.catalog() where sale = 3), 'upcoming', 'before the opening a sale is upcoming');
select test.sale(4, opens_at => '2026-01-01', closes_at => '2026-01-02');
select is((select state from dropgate.catalog() where sale = 4), 'closed', 'after the closing it is closed');

-- Edits.
select test.sale(1, total => 5, per_user => 2, opens_at => '2026-01-01');
select is((select (total, avail, per_user)::text from dropgate.catalog() where sale = 1), '(5,5,2)', 'a larger total adds stock');
select test.ask(1, 'ann/e/2', 'bob/e/2');
select lives_ok($$ select test.sale(1, total => 4, per_user => 2, opens_at => '2026-01-01') $$, 'the total may fall to what is out');
select is((select (avail, seq)::text from dropgate.catalog() where sale = 1), '(0,3)', 'which sells it out');
select throws_ok($$ select test.sale(1, total => 3, opens_at => '2026-01-01') $$, '23514', 'sale 1: 4 units are out, the total cannot be 3', 'but no lower');
select throws_ok($$ select test.sale(1, total => 4, opens_at => '2126-01-01') $$, '23514', null, 'the opening cannot move behind a grant');
select lives_ok($$ select test.sale(1, total => 4, per_user => 1, opens_at => '2026-02-01') $$, 'it may move as long as every grant is after it');
select lives_ok($$ select test.sale(3, opens_at => '2127-01-01') $$, 'and freely before the first grant');
select is((select (per_user, per_user_highest)::text from dropgate.sale where id = 1), '(1,3)', 'the highest limit ever in force is remembered');

-- Bad values have names.
select throws_ok($$ select test.sale(0) $$, '23514', null, 'a sale has a positive number');
select throws_ok($$ select test.sale(9, total => -1) $$, '23514', null, 'a total is not negative');
select throws_ok($$ select test.sale(9, per_user => 0) $$, '23514', null, 'a limit is at least one');
select throws_ok($$ select test.sale(9, hold => '0') $$, '23514', null, 'a hold lasts');
select throws_ok($$ select dropgate.sale_put(9, 'thing', 1, 1, '1 minute', 1, 'euro', now()) $$, '23514', null, 'a currency is three capitals');
select throws_ok($$ select dropgate.sale_put(9, 'nothing', 1, 1, '1 minute', 1, 'EUR', now()) $$, '23503', null, 'an item must exist');
select throws_ok($$ select dropgate.item_put('a b', 'title', '') $$, '23514', null, 'an item''s id fits into a URL');
select throws_ok($$ select test.sale(9, opens_at => '2026-01-02', closes_at => '2026-01-01') $$, '23514', null, 'a sale closes after it opens');

select * from finish();
rollback;
