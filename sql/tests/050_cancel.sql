-- SPDX-License-Identifier: BSD-3-Clause
-- Reading and cancelling one reservation.
begin;
select plan(19);

select test.sale(1, total => 5, per_user => 3, hold => '1 hour');
select test.ask(1, 'ann/k/3', 'bob/k/2');
select is((select (sale, quantity, unit_price, currency, state, render)::text from dropgate.reservation_get(test.id(1, 'ann', 'k'), 'ann')), '(1,3,1999,EUR,held,1)', 'a reservation can be read by its user');
select is((select count(*) from dropgate.reservation_get(test.id(1, 'ann', 'k'), 'bob')), 0::bigint, 'and by nobody else');
select is((select count(*) from dropgate.reservation_get(gen_random_uuid(), 'ann')), 0::bigint, 'an unknown id has no row');
select is(dropgate.reservation_cancel(test.id(1, 'ann', 'k'), 'bob'), 404, 'another user cannot cancel it');
select is(dropgate.reservation_cancel(gen_random_uuid(), 'ann'), 404, 'an unknown id cannot be cancelled');
select is(test.stock(1), '0 5 5 0', 'neither moves anything');
select is(test.ask(1, 'cay/k/1'), '412', 'nothing is left');
select is(test.cancel(1, 'ann', 'k'), 204, 'her own she can cancel');
select is(test.stock(1), '3 2 5 3', 'the stock is back at once');
select is(test.cancel(1, 'ann', 'k'), 204, 'a repeated cancellation is answered the same');
select is(test.stock(1), '3 2 5 3', 'and releases nothing again');
select is((select state from dropgate.reservation_get(test.id(1, 'ann', 'k'), 'ann')), 'cancelled', 'it reads as cancelled');
select is(test.ask(1, 'cay/k/1', 'ann/k2/2'), '201 201', 'others, and she herself, may have the units');

-- Expired by time, not swept yet.
select test.sale(2, total => 2);
select test.ask(2, 'ann/k/2');
select test.expire(2);
select is(test.cancel(2, 'ann', 'k'), 204, 'a hold whose time is over can be cancelled');
select is(test.stock(2), '2 0 2 2', 'it is released');
select test.ask(2);
select is(test.stock(2), '2 0 2 2', 'and never again by expiry');
select is((select state from dropgate.reservation_get(test.id(2, 'ann', 'k'), 'ann')), 'expired', 'it ended by time, not by will');

-- What is being paid or is paid is not the canceller's any more.
select test.begin(1, 'bob', 'k', 'card');
select is(test.cancel(1, 'bob', 'k'), 409, 'a reservation in payment cannot be cancelled');
select is(test.stock(1), '0 5 8 3', 'and keeps its stock');

select * from finish();
rollback;
