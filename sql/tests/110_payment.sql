-- SPDX-License-Identifier: BSD-3-Clause
-- Payments, one session: every state, and every event in a state that does not expect it.
begin;
select plan(107);
select string_agg(line, E'\n') as invariants from regexp_split_to_table(pg_read_file(:'sql' || '/invariants.sql'), E'\n') line \gset
create function pg_temp.all_hold(p_query text) returns boolean language plpgsql as $$
declare r bool;
begin
    execute format('select bool_and(ok) from (%s) x', rtrim(p_query, E'; \n')) into r;
    return r;
end $$;
create function pg_temp.refunds(p_sale int) returns bigint language sql as $$
    select count(*) from dropgate.outbox where kind = 'payment.refund' and sale = p_sale
$$;

-- The way to money.
select test.sale(1, total => 10, per_user => 3);
select test.ask(1, 'ann/k/2', 'bob/k/1');
select is(test.begin(1, 'ann', 'nothing', 'p'), '404', 'what was never reserved cannot be paid');
select is((select status from dropgate.payment_begin(test.id(1, 'ann', 'k'), 'bob', gen_random_uuid(), gen_random_uuid(), 1000, 1000)), 404, 'nor can another user''s');
select is(test.begin(1, 'ann', 'k', 'p'), '201 begun', 'a held reservation can be paid');
select is((select (amount, currency)::text from dropgate.payment where attempt = test.attempt(1, 'ann', 'k', 'p')), '(3998,EUR)', 'for all its units, at the price of the grant');
select is(test.states(1, 'ann', 'k', 'p'), 'paying/begun', 'it is being paid');
select is(test.begin(1, 'ann', 'k', 'p'), '200 begun', 'the same again is the same attempt');
select is(test.begin(1, 'ann', 'k', 'p', body => 'x'), '422 begun', 'the same key with another body is refused');
select is(test.begin(1, 'ann', 'k', 'q'), '409', 'a second attempt beside it too');
select is(test.stock(1), '7 3 3 0', 'what is paying may still come back, and counts as held');
select is(test.cancel(1, 'ann', 'k'), 409, 'what is paying cannot be cancelled');
select test.expire(1);
select is(dropgate.payment_authorised(test.attempt(1, 'ann', 'k', 'p'), 1000), 'capturing', 'authorised in time, it is claimed');
select is(test.stock(1), '7 1 3 0', 'and cannot come back by itself any more');
select is(dropgate.payment_authorised(test.attempt(1, 'ann', 'k', 'p'), 1000), 'capturing', 'claiming it twice is claiming it once');
select is(test.stock(1), '7 1 3 0', 'also in the counters');
select test.hurry(1);
select is((select string_agg(state, ' ') from dropgate.payment_due(10, 1000)), 'capturing', 'a claim that nobody follows up is looked at');
select is(dropgate.payment_captured(test.attempt(1, 'ann', 'k', 'p')), 'captured', 'captured, it is paid');
select is(test.states(1, 'ann', 'k', 'p'), 'paid/captured', 'both rows say so');
select is(dropgate.payment_captured(test.attempt(1, 'ann', 'k', 'p')), 'captured', 'a second report of it changes nothing');
select is(dropgate.payment_declined(test.attempt(1, 'ann', 'k', 'p'), 'late'), 'captured', 'nor does a late refusal');
select is(dropgate.payment_voided(test.attempt(1, 'ann', 'k', 'p'), null), 'captured', 'nor a void');
select is(dropgate.payment_unknown(test.attempt(1, 'ann', 'k', 'p'), 1000), 'captured', 'nor a time-out');
select is(test.begin(1, 'ann', 'k', 'p'), '200 captured', 'whoever asks again is told');
select is(test.begin(1, 'ann', 'k', 'q'), '409', 'and can pay no second time');
select is((select array_agg(kind || ' ' || (body ->> 'amount')) from dropgate.outbox where kind like '%paid' and sale = 1), array['reservation.paid 3998'], 'others hear of it once');
select ok((select check_at is null from dropgate.payment where attempt = test.attempt(1, 'ann', 'k', 'p')), 'nobody looks at it any more');
select ok(pg_temp.all_hold(:'invariants'), 'all invariants hold');

-- Expired before it was begun.
select is(test.begin(1, 'bob', 'k', 'p'), '410', 'a hold whose time is over cannot be paid, released or not');
select test.ask(1);
select is(test.begin(1, 'bob', 'k', 'p'), '410', 'nor once it is released');
select test.ask(1, 'cay/k/1');
select test.cancel(1, 'cay', 'k');
select is(test.begin(1, 'cay', 'k', 'p'), '409', 'nor one that was cancelled');

-- Declined.
select test.sale(2, total => 5, per_user => 5);
select test.ask(2, 'ann/k/2');
select test.begin(2, 'ann', 'k', 'p');
select is(dropgate.payment_declined(test.attempt(2, 'ann', 'k', 'p'), 'insufficient_funds'), 'declined', 'a provider may decline');
select is(test.states(2, 'ann', 'k', 'p'), 'held/declined', 'then it is held as before');
select is(test.begin(2, 'ann', 'k', 'p'), '200 declined', 'the same key is told the same');
select is((select reason from dropgate.payment_begin(test.id(2, 'ann', 'k'), 'ann', test.attempt(2, 'ann', 'k', 'p'), md5('')::uuid, 1000, 1000)), 'insufficient_funds', 'with the reason');
select is(test.begin(2, 'ann', 'k', 'q'), '201 begun', 'another key may try again');
select is(dropgate.payment_authorised(test.attempt(2, 'ann', 'k', 'p'), 1000), 'voiding', 'an authorisation of the declined attempt must be made void');
select is(dropgate.payment_voided(test.attempt(2, 'ann', 'k', 'p'), null), 'voided', 'and is');
select is(test.states(2, 'ann', 'k', 'q'), 'paying/begun', 'which does not touch the attempt that is under way');
select is(dropgate.payment_authorised(test.attempt(2, 'ann', 'k', 'q'), 1000), 'capturing', 'that one is claimed');
select is(dropgate.payment_declined(test.attempt(2, 'ann', 'k', 'q'), 'at_capture'), 'declined', 'and declined when it is captured');
select is(test.states(2, 'ann', 'k', 'q') || ' ' || test.stock(2), 'held/declined 3 2 2 0', 'so its units may come back again');
select test.expire(2);
select test.ask(2);
select is(test.stock(2), '5 0 2 2', 'and do when their time is over');
select ok(pg_temp.all_hold(:'invariants'), 'all invariants hold');

-- Too late.
select test.sale(3, total => 5, per_user => 2);
select test.ask(3, 'ann/k/2');
select test.begin(3, 'ann', 'k', 'p', patience => '1 hour');
select test.expire(3);
select is(dropgate_lab.expire_now(3, 10), 0, 'a reservation in payment does not fall due');
select test.ask(3);
select is(test.stock(3), '3 2 2 0', 'nor is it released by a batch');
select test.hurry(3);
select is(dropgate.payment_authorised(test.attempt(3, 'ann', 'k', 'p'), 1000), 'voiding', 'after its deadline an authorisation is not used');
select is(test.states(3, 'ann', 'k', 'p'), 'paying/voiding', 'but nothing is released until the provider confirms that it is dead');
select test.hurry(3);
select is((select string_agg(state, ' ') from dropgate.payment_due(10, 1000)), 'voiding', 'the reconciler asks for that');
select is((select count(*) from dropgate.payment_due(10, 1000)), 0::bigint, 'one of them at a time');
select is(dropgate.payment_voided(test.attempt(3, 'ann', 'k', 'p'), 600000), 'voided', 'when it is dead');
select is(test.states(3, 'ann', 'k', 'p'), 'held/voided', 'the units are a hold again');
select test.begin(3, 'ann', 'k', 'q');
-- The hold's own end has not come in this test's clock, so another attempt may begin: its deadline too passes.
select test.hurry(3);
select is((select string_agg(state, ' ' order by state) from dropgate.payment_due(10, 1000)), 'voided voiding', 'the reconciler itself ends what nobody has claimed, and looks once more at what was ended');
select is(dropgate.payment_checked(test.attempt(3, 'ann', 'k', 'p'), null), 'voided', 'once');
select is(dropgate.payment_authorised(test.attempt(3, 'ann', 'k', 'q'), 1000), 'voiding', 'what the reconciler has ended cannot be claimed');
select is(dropgate.payment_captured(test.attempt(3, 'ann', 'k', 'q')), 'captured', 'if the money has come all the same, and the units are still there, they are paid');
select is(test.states(3, 'ann', 'k', 'q') || ' ' || test.stock(3), 'paid/captured 3 0 2 0', 'the same reservation');
select is(dropgate.payment_captured(test.attempt(3, 'ann', 'k', 'p')), 'refunding', 'money for it a second time goes back');
select is(pg_temp.refunds(3), 1::bigint, 'by one row in the outbox');
select is(dropgate.payment_captured(test.attempt(3, 'ann', 'k', 'p')), 'refunding', 'and a repeated report');
select is(pg_temp.refunds(3), 1::bigint, 'adds none');
select ok(pg_temp.all_hold(:'invariants'), 'all invariants hold');
select is(dropgate.payment_refunded(test.attempt(3, 'ann', 'k', 'p')), 'refunded', 'when the provider has given it back');
select is(dropgate.payment_captured(test.attempt(3, 'ann', 'k', 'p')), 'refunded', 'that is the end');

-- Late money for what is released: again out of stock, within the limits.
select test.sale(4, total => 3, per_user => 2);
select test.ask(4, 'ann/k/2', 'bob/k/1');
select test.begin(4, u, 'k', 'p') from unnest(array['ann', 'bob']) u;
select dropgate.payment_declined(test.attempt(4, u, 'k', 'p'), 'no') from unnest(array['ann', 'bob']) u;
select test.expire(4);
select test.ask(4, 'cay/k/1');
select is(dropgate.payment_captured(test.attempt(4, 'bob', 'k', 'p')), 'captured', 'late money takes stock again');
select is(test.states(4, 'bob', 'k', 'p') || ' ' || test.stock(4), 'expired/captured 1 1 5 3', 'as a new grant: what has expired has expired');
select is((select (user_id, quantity, unit_price, state)::text from dropgate.reservation where id = test.attempt(4, 'bob', 'k', 'p')), '(bob,1,1999,paid)', 'at the old price');
select is((select array_agg(distinct (select string_agg(k, ' ' order by k) from jsonb_object_keys(body) k)) from dropgate.event where sale = 4 and kind = 'reservation.granted'), array['currency expires_at quantity unit_price'], 'told in the words of any other grant');
select is(dropgate.payment_captured(test.attempt(4, 'bob', 'k', 'p')), 'captured', 'once');
select is(dropgate.payment_captured(test.attempt(4, 'ann', 'k', 'p')), 'refunding', 'unless fewer are left');
select is(test.stock(4), '1 1 5 3', 'then nothing moves');
select test.sale(5, total => 9, per_user => 2);
select test.ask(5, 'ann/k/2');
select test.begin(5, 'ann', 'k', 'p');
select dropgate.payment_voided(test.attempt(5, 'ann', 'k', 'p'), null);
select test.cancel(5, 'ann', 'k');
select test.ask(5, 'ann/k2/1');
select is(dropgate.payment_captured(test.attempt(5, 'ann', 'k', 'p')), 'refunding', 'or the user''s limit is used otherwise by now');
select is(array[pg_temp.refunds(4), pg_temp.refunds(5)], array[1, 1]::bigint[], 'each has one row in the outbox');
select ok(pg_temp.all_hold(:'invariants'), 'all invariants hold');

-- A hold that is over, but not released before 256 others, when its user has reserved again.
select test.sale(10, total => 600, per_user => 2);
select test.ask(10, variadic array(select 'u' || i || '/k/1' from generate_series(1, 300) i));
select test.ask(10, 'ann/k/2', 'bob/k/1');
select test.begin(10, u, 'k', 'p') from unnest(array['ann', 'bob']) u;
select dropgate.payment_declined(test.attempt(10, u, 'k', 'p'), 'no') from unnest(array['ann', 'bob']) u;
select dropgate_lab.expire_now(10, 300);
select test.expire(10);
select is(test.states(10, 'ann', 'k', 'p') || test.ask(10, 'ann/k2/1'), 'held/declined201', 'ann''s hold is over, and another takes its place');
select is(dropgate.payment_captured(test.attempt(10, 'ann', 'k', 'p')), 'refunding', 'then late money for the first goes back');
select is(dropgate.payment_captured(test.attempt(10, 'bob', 'k', 'p')), 'captured', 'bob, who has no other, is sold what is still there');
select ok(pg_temp.all_hold(:'invariants'), 'all invariants hold');

-- Unknown, and what an operator may do.
select test.sale(6, total => 5, per_user => 1);
select test.ask(6, 'ann/k/1', 'bob/k/1', 'cay/k/1');
select test.begin(6, u, 'k', 'p') from unnest(array['ann', 'bob', 'cay']) u;
select dropgate.payment_authorised(test.attempt(6, u, 'k', 'p'), 1000) from unnest(array['ann', 'bob', 'cay']) u;
select is((select string_agg(dropgate.payment_unknown(test.attempt(6, u, 'k', 'p'), 60000), ' ') from unnest(array['ann', 'bob', 'cay']) u), 'unknown unknown unknown', 'a capture without an answer is unknown');
select is((select (unknown, refunding)::text from dropgate.payment_backlog()), '(3,3)', 'which is counted');
select test.expire(6);
select test.ask(6);
select is(test.stock(6), '2 0 3 0', 'and never released by time');
select throws_ok(format('select dropgate.reservation_resolve(%L, %L, %L)', test.id(6, 'ann', 'k'), 'lost', 'why'), '22023', null, 'it is resolved as paid or released');
select throws_ok(format('select dropgate.reservation_resolve(%L, %L, %L)', test.id(6, 'ann', 'k'), 'paid', ''), '22023', null, 'with a reason');
select throws_ok(format('select dropgate.reservation_resolve(%L, %L, %L)', test.id(5, 'ann', 'k2'), 'paid', 'why'), '55000', null, 'and only if it is unknown');
select is(dropgate.reservation_resolve(test.id(6, 'ann', 'k'), 'paid', 'in their books'), 'paid', 'as paid');
select is(dropgate.reservation_resolve(test.id(6, 'bob', 'k'), 'released', 'not in their books'), 'expired', 'or as released');
select is(test.stock(6), '3 0 3 1', 'then its units are back');
select is(dropgate.payment_captured(test.attempt(6, 'cay', 'k', 'p')), 'captured', 'the provider''s own answer resolves it as well');
select is(dropgate.payment_captured(test.attempt(6, 'bob', 'k', 'p')), 'captured', 'and money that comes after all is treated like any late money');
select is((select array_agg(outcome order by outcome) from dropgate.resolution), array['paid', 'released'], 'decisions by hand are kept');
select ok(pg_temp.all_hold(:'invariants'), 'all invariants hold');

-- After the sale's end nothing is granted anew.
select test.sale(7, total => 5, per_user => 5);
select test.ask(7, 'ann/k/1');
select test.begin(7, 'ann', 'k', 'p');
select dropgate.payment_declined(test.attempt(7, 'ann', 'k', 'p'), 'no');
select test.cancel(7, 'ann', 'k');
select test.sale(7, total => 5, per_user => 5, opens_at => now() - interval '1 minute', closes_at => clock_timestamp() - interval '1 second');
select is(dropgate.payment_captured(test.attempt(7, 'ann', 'k', 'p')), 'refunding', 'late money finds a closed sale closed');

-- What costs nothing is paid at once.
select test.sale(8, total => 50, per_user => 30, price => 0);
select test.ask(8, 'ann/k/1', 'bob/k/1');
select is(test.begin(8, 'ann', 'k', 'p') || ' ' || test.states(8, 'ann', 'k', 'p'), '201 captured paid/captured', 'an amount of 0 needs no provider');
select test.sale(8, total => 50, per_user => 30, price => 1);
select test.ask(8, 'cay/k/30');
select test.begin(8, 'cay', 'k', 'p' || i), dropgate.payment_declined(test.attempt(8, 'cay', 'k', 'p' || i), 'no') from generate_series(1, 20) i;
select is(test.begin(8, 'cay', 'k', 'p21'), '429', 'a reservation can be tried to be paid twenty times');
select is(test.begin(8, 'cay', 'k', 'p3'), '200 declined', 'and every attempt is remembered');
select ok(pg_temp.all_hold(:'invariants'), 'all invariants hold');

-- Where the shopper must go, and events of the provider.
select test.sale(9, total => 5, per_user => 5);
select test.ask(9, 'ann/k/1');
select test.begin(9, 'ann', 'k', 'p', patience => '10 minutes');
select is(dropgate.payment_action(test.attempt(9, 'ann', 'k', 'p'), 'https://bank.example/3ds', 60000), 'begun', 'a provider may send the shopper elsewhere');
select is((select action from dropgate.payment_begin(test.id(9, 'ann', 'k'), 'ann', test.attempt(9, 'ann', 'k', 'p'), md5('')::uuid, 1000, 1000)), 'https://bank.example/3ds', 'the same key is told the same place');
select is((select count(*) from dropgate.payment_due(10, 1000) where reservation = test.id(9, 'ann', 'k')), 0::bigint, 'nobody asks the provider meanwhile');
select is(dropgate.payment_webhook('e1', test.attempt(9, 'ann', 'k', 'p'), 'authorised'), 201, 'an event of the provider is taken');
select is((select state from dropgate.payment_due(10, 1000) where reservation = test.id(9, 'ann', 'k')), 'begun', 'and makes the reconciler look at once');
select is(dropgate.payment_webhook('e1', test.attempt(9, 'ann', 'k', 'p'), 'authorised'), 200, 'twice it is known');
select is((select count(*) from dropgate.payment_due(10, 1000) where reservation = test.id(9, 'ann', 'k')), 0::bigint, 'and changes nothing');
select is(dropgate.payment_webhook('e2', gen_random_uuid(), 'authorised'), 404, 'one about somebody else''s payment is told apart');
select dropgate.payment_authorised(test.attempt(9, 'ann', 'k', 'p'), 1000), dropgate.payment_captured(test.attempt(9, 'ann', 'k', 'p'));
select is(dropgate.payment_webhook('e0', test.attempt(9, 'ann', 'k', 'p'), 'authorised'), 201, 'an older event that comes later is taken');
select ok((select check_at is null from dropgate.payment where attempt = test.attempt(9, 'ann', 'k', 'p')), 'and moves nothing that is final');
select test.ask(9, 'bob/k/1');
select test.begin(9, 'bob', 'k', 'p');
select dropgate.payment_webhook('e3', test.attempt(9, 'bob', 'k', 'p'), 'captured'), dropgate.payment_declined(test.attempt(9, 'bob', 'k', 'p'), 'no');
select is((select state from dropgate.payment_due(10, 1000) where reservation = test.id(9, 'bob', 'k')), 'declined', 'a look that an event asks for is not forgotten by who has asked before');
select dropgate.payment_checked(test.attempt(9, 'ann', 'k', 'p'), 1000);
select ok((select check_at is null from dropgate.payment where attempt = test.attempt(9, 'ann', 'k', 'p')), 'nor does somebody who has not heard of it');
select is(array[dropgate.payment_prune(3600000, 100), dropgate.payment_prune(0, 2)], array[0, 2], 'old events can be forgotten');

select * from finish();
rollback;
