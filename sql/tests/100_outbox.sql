-- SPDX-License-Identifier: BSD-3-Clause
-- What is put out, how it is published and read, and how long it is kept.
begin;
select plan(43);
delete from dropgate.outbox;
update dropgate.outbox_head set position = 0, forgotten = 0;

-- What has not been published yet, in the order of the rows: 'kind user quantity'.
create function pg_temp.put() returns text language sql as $$
    select string_agg(concat_ws(' ', replace(kind, 'reservation.', ''), user_id, body ->> 'quantity'), ', '
                      order by split_part(id, '-', 1)::bigint, split_part(id, '-', 2)::int)
    from dropgate.event where position is null
$$;
create function pg_temp.clear() returns void language sql as $$ delete from dropgate.outbox_pending $$;

-- Each change of a reservation is told once, and what changes nothing is not told.
select test.sale(1, total => 6, per_user => 3);
select test.ask(1, 'ann/k/2', 'bob/k/1', 'cay/k/4');
select is(pg_temp.put(), 'granted ann 2, granted bob 1', 'each grant of a batch is an event, a refusal is none');
select is((select count(*) from dropgate.outbox_pending), 1::bigint, 'and a batch is one row');
select results_eq($$ select reservation, at, body from dropgate.event order by user_id $$,
    $$ select r.id, r.granted_at, jsonb_build_object('quantity', r.quantity, 'unit_price', r.unit_price, 'currency', r.currency,
              'expires_at', to_char(r.expires_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
       from dropgate.reservation r where sale = 1 order by user_id $$, 'an event says what the reservation''s row says');
select pg_temp.clear(), test.ask(1, 'ann/k/2', 'ann/k/1');
select is(pg_temp.put(), null, 'a replay is not told again, nor is a key that was used for something else');
select test.cancel(1, 'ann', 'k');
select is(pg_temp.put(), 'cancelled ann 2', 'a cancellation is told');
select pg_temp.clear(), test.cancel(1, 'ann', 'k'), test.cancel(1, 'zoe', 'k');
select is(pg_temp.put(), null, 'repeated, or of nothing, it is not');
select test.expire(1), test.ask(1, 'dan/k/1');
select is(pg_temp.put(), 'expired bob 1, granted dan 1', 'an expiry is told, before the grants of its batch');
select pg_temp.clear(), test.expire(1), test.ask(1);
select is(pg_temp.put(), 'expired dan 1', 'housekeeping tells its expiries');
select pg_temp.clear(), test.ask(1, 'eve/k/1'), pg_temp.clear(), test.expire(1), test.cancel(1, 'eve', 'k');
select is(pg_temp.put(), 'expired eve 1', 'a cancellation that comes too late is told as the expiry that it is');
select pg_temp.clear();
select test.ask(1, 'fay/k/3', 'gil/k/3');
select is((select array_agg(body order by kind) from dropgate.event where kind like 'sale.%'), array['{"seq": 1}']::jsonb[], 'selling out is told, with the state''s number');
select pg_temp.clear(), test.cancel(1, 'gil', 'k');
select is(pg_temp.put(), 'sale.reopened, cancelled gil 3', 'so is the return to sale');
select is((select count(*) from dropgate.event where position is not null), 0::bigint, 'none has a position before the relay comes');
select throws_ok($$ select dropgate.outbox_put('Bad Kind', 1, null, null, null) $$, '23514', null, 'a kind is two words');
select throws_ok($$ select dropgate.outbox_put('a.b', 1, null, null, '[1]') $$, '23514', null, 'what an event carries is an object');
select throws_ok($$ select dropgate.outbox_put_many('a.b', 1, now(), array[gen_random_uuid()], '{a,b}', '{1}', null) $$, '23514', null, 'arrays of different lengths are refused');
select lives_ok($$ select dropgate.outbox_put_many('a.b', 1, now(), null, null, null, null), dropgate.outbox_put_many('a.b', 1, now(), '{}', '{}', '{}', null) $$, 'no events are no row');
select pg_temp.clear();

-- Publishing.
select is(dropgate.outbox_relay(false, 10), 0, 'with nothing to publish the relay is content');
select dropgate.outbox_put_many('t.many', 1, now(), array[test.id(1, 'a', '1'), test.id(1, 'b', '1'), test.id(1, 'c', '1')], '{a,b,c}', '{1,2,3}', '{"x": 1}');
select dropgate.outbox_put('t.one', 1, null, null, null);
select dropgate.outbox_put('t.two', 1, test.id(1, 'd', '1'), E'd"\\\n', '{"y": "z"}');
select is(dropgate.outbox_relay(true, 2), 2, 'it publishes as many rows as it is told');
select is(dropgate.outbox_relay(true, 2), 1, 'and the rest when it is called again');
select is((select array_agg(position order by position) from dropgate.event), array[1, 2, 3, 4, 5]::bigint[], 'every event has a position of its own, without a gap');
select is((select array_agg(kind || coalesce(' ' || user_id, '') order by position) from dropgate.event where position < 5), array['t.many a', 't.many b', 't.many c', 't.one'], 'in the order in which they were put');
select is((select count(*) from dropgate.outbox_pending), 0::bigint, 'and waits no more');
select throws_ok('insert into dropgate.outbox_published select * from dropgate.outbox_published where position = 4', '23505', null, 'no position is given twice');
select throws_ok($$ select dropgate.outbox_relay(true, 0) $$, '22023', null, 'a batch of none is a mistake');

-- Reading.
create function pg_temp.read(p_after bigint, p_limit int default 1000, p_bytes int default 1000000) returns text language sql as $$
    select string_agg(concat_ws(' ', status, place, event::json ->> 'kind', event::json ->> 'user'), ', ') from dropgate.events_read(p_after, p_limit, p_bytes)
$$;
select is(pg_temp.read(null), E'200 5, 200 1 t.many a, 200 2 t.many b, 200 3 t.many c, 200 4 t.one, 200 5 t.two d"\\\n', 'all is read from the oldest on');
select is(pg_temp.read(1, 2), '200 5, 200 2 t.many b, 200 3 t.many c', 'from behind any position, within a row, too, as many as asked for');
select is(pg_temp.read(2, 2), '200 5, 200 3 t.many c, 200 4 t.one', 'and across rows');
select is(pg_temp.read(5), '200 5', 'behind the last there is nothing');
select is(pg_temp.read(6), '409 5', 'a position that was never given is told apart');
select is((select string_agg(place::text, ' ') from dropgate.events_read(0, 1000, 1)), '5 1', 'one event is read, however long it is');
select is((select string_agg(e.place::text, ' ') from dropgate.events_read(0, 1000, (select octet_length(x.event) * 2 from dropgate.events_read(0, 1, 1) x where x.event is not null)) e), '5 1 2', 'else what fits');
select is((select event::jsonb - 'at' - 'id' from dropgate.events_read(4, 1, 1) where event is not null),
    jsonb_build_object('position', 5, 'kind', 't.two', 'sale', 1, 'reservation', test.id(1, 'd', '1'), 'user', E'd"\\\n', 'data', '{"y": "z"}'::jsonb), 'an event is JSON, whatever its user is called');
create temp table once as select string_agg(event, ',' order by place) as events from dropgate.events_read(0, 1000, 1000000) where event is not null;
set local timezone = 'Asia/Kathmandu';
set local datestyle = 'German';
select is((select string_agg(event, ',' order by place) from dropgate.events_read(0, 1000, 1000000) where event is not null), (select events from once), 'what was read once is read again, byte for byte, whatever the session is set to');
reset timezone;
reset datestyle;
select throws_ok($$ select * from dropgate.events_read(-1, 1, 1) $$, '22023', null, 'there is no negative position');
select throws_ok($$ select * from dropgate.events_read(0, 1001, 1) $$, '22023', null, 'nobody reads more than 1,000 at once');
select is(dropgate.events_last(), 5::bigint, 'the last position can be asked for alone');

-- Keeping.
select is(dropgate.outbox_forget(), 0, 'what is young is kept');
update dropgate.outbox_published set published_at = now() - interval '15 days' where position < 4 or position = 5;
select is(dropgate.outbox_forget(), 1, 'what is too old goes, but nothing behind something young');
select is(pg_temp.read(2), '410 3', 'who comes too late for an event is told');
select is(pg_temp.read(3, 1) || '; ' || pg_temp.read(null, 1), '200 5, 200 4 t.one; 200 5, 200 4 t.one', 'who does not miss any, or does not care, reads on');
update dropgate.outbox_published set published_at = now() - interval '15 days';
select is(dropgate.outbox_forget() + dropgate.outbox_forget(), 2, 'all can go');
select dropgate.outbox_put('t.three', 1, null, null, null), dropgate.outbox_relay(true, 10);
select is(pg_temp.read(5), '200 6, 200 6 t.three', 'and positions go on where they were');
select is(dropgate.outbox_keep('1 day'), '14 days', 'operators say how long');

select * from finish();
rollback;
