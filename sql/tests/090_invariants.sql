-- SPDX-License-Identifier: BSD-3-Clause
-- Each invariant can fail: the constraints are taken away, one thing is broken, and the one SELECT must say which. Then the
-- lab's own function.
begin;
select plan(22);
select string_agg(line, E'\n') as invariants from regexp_split_to_table(pg_read_file(:'sql' || '/invariants.sql'), E'\n') line \gset
create function pg_temp.holds(p_sale int, p_query text) returns text language plpgsql as $$
declare r record;
begin
    execute format('select * from (%s) x where sale = %s', rtrim(p_query, E'; \n'), p_sale) into r;
    return concat_ws(' ', case when not r.i1 then 'i1' end, case when not r.i2 then 'i2' end, case when not r.i3 then 'i3' end, case when not r.i5 then 'i5' end,
        case when not r.i7 then 'i7' end, case when not r.i8 then 'i8' end, case when r.ok then 'ok' end);
end $$;
-- Breaks something, looks, and mends it.
create function pg_temp.broken(p_statement text, p_query text) returns text language plpgsql as $$
declare seen text;
begin
    begin
        execute p_statement;
        seen := pg_temp.holds(1, p_query);
        raise 'undo' using errcode = 'XX999';
    exception when sqlstate 'XX999' then
        return seen;
    end;
end $$;

select test.sale(1, total => 20, per_user => 3, opens_at => now() - interval '1 minute');
select is(pg_temp.holds(1, :'invariants'), 'ok', 'a sale without reservations holds all invariants');
select test.ask(1, 'ann/k/3', 'bob/k/2', 'cay/k/1');
select test.cancel(1, 'bob', 'k');
select is(pg_temp.holds(1, :'invariants'), 'ok', 'so does one with grants and a cancellation');
select is(dropgate_lab.expire_now(1, 1), 1, 'the lab can let time pass for one hold');
select test.ask(1, 'dan/k/1', 'ann/k2/3');
select is(pg_temp.holds(1, :'invariants'), 'ok', 'and one with an expiry, and its user back again');
select is(test.stock(1), '15 5 10 5', 'nothing is released but what was made due');

-- Without the net.
alter table dropgate.stock drop constraint never_oversold, drop constraint held_is_not_available, drop constraint granted_less_released_is_out;
alter table dropgate.reservation drop constraint released_exactly_when_ended, drop constraint in_payment_by_an_attempt, disable trigger reservation_is_immutable;
select is(pg_temp.broken('update dropgate.stock set avail = avail + 1 where sale = 1', :'invariants'), 'i1', 'a unit that appears from nowhere breaks i1');
select is(pg_temp.broken('update dropgate.stock set held = held + 1 where sale = 1', :'invariants'), 'i1', 'so does a hold that nobody has');
select is(pg_temp.broken('delete from dropgate.reservation where user_id = ''cay''', :'invariants'), 'i1 i7', 'a grant that is lost breaks i1 and i7');
select is(pg_temp.broken('update dropgate.stock set total = 4, avail = -1 where sale = 1', :'invariants'), 'i2', 'overselling breaks i2');
select is(pg_temp.broken('update dropgate.reservation set quantity = 4 where user_id = ''ann'' and state = ''held''; update dropgate.stock set avail = avail - 1, held = held + 1, granted = granted + 1 where sale = 1', :'invariants'), 'i3', 'a user over the limit breaks i3');
select is(pg_temp.broken('alter table dropgate.reservation drop constraint reservation_pkey; insert into dropgate.reservation select * from dropgate.reservation where user_id = ''cay''; update dropgate.stock set avail = avail - 1, held = held + 1, granted = granted + 1 where sale = 1', :'invariants'), 'i3', 'an id twice breaks i3');
select is(pg_temp.broken('update dropgate.sale set opens_at = clock_timestamp() + interval ''1 hour'' where id = 1', :'invariants'), 'i5', 'a grant before the opening breaks i5');
select is(pg_temp.broken('update dropgate.stock set avail = avail + 2, released = released + 2 where sale = 1', :'invariants'), 'i1 i7', 'a release twice breaks i7');
select is(pg_temp.broken('update dropgate.reservation set released_entry = null where user_id = ''bob''', :'invariants'), 'i7', 'an end without an entry breaks i7');
select is(pg_temp.broken('update dropgate.reservation set state = ''paid'' where user_id = ''cay''; update dropgate.stock set held = held - 1 where sale = 1', :'invariants'), 'i8', 'paid without a payment breaks i8');

-- Payments.
select test.begin(1, 'cay', 'k', 'p'), dropgate.payment_authorised(test.attempt(1, 'cay', 'k', 'p'), 1000), dropgate.payment_captured(test.attempt(1, 'cay', 'k', 'p'));
select test.begin(1, 'dan', 'k', 'p'), dropgate.payment_declined(test.attempt(1, 'dan', 'k', 'p'), 'no'), test.begin(1, 'dan', 'k', 'q'),
    dropgate.payment_captured(test.attempt(1, 'dan', 'k', 'p'));
select is(pg_temp.holds(1, :'invariants'), 'ok', 'payments, one of them owed back, hold all invariants');
select is(pg_temp.broken('update dropgate.payment set state = ''declined'', placed = null where state = ''captured''', :'invariants'), 'i8', 'a reservation that nobody has paid for breaks i8');
select is(pg_temp.broken('update dropgate.reservation set state = ''held'' where user_id = ''cay''; update dropgate.stock set held = held + 1 where sale = 1', :'invariants'), 'i8', 'so does money without a reservation');
select is(pg_temp.broken('insert into dropgate.outbox_pending (kind, sale, reservation, user_id, body) select kind, sale, reservation, user_id, body from dropgate.outbox where kind = ''payment.refund''', :'invariants'), 'i8', 'so does a refund twice');
select is(pg_temp.broken('delete from dropgate.outbox where kind = ''payment.refund''', :'invariants'), 'i8', 'and one that is owed and not asked for');
select is(pg_temp.broken('update dropgate.payment set state = ''captured'', placed = gen_random_uuid() where state = ''refunding''', :'invariants'), 'i8', 'and money that is said to have paid for what is not there');

-- The lab brings forward only what it is told to, oldest first, and never what is due already.
select test.sale(2, total => 5, per_user => 1);
select test.ask(2, 'ann/k/1', 'bob/k/1', 'cay/k/1');
select is((select array_agg(dropgate_lab.expire_now(2, n)) from unnest(array[2, 5, 5]) n), array[2, 1, 0], 'the lab brings each hold forward once');

select * from finish();
rollback;
