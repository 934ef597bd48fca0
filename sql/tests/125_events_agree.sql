-- SPDX-License-Identifier: BSD-3-Clause
-- The events of everything that the ledger can do agree with it, payments too; and the one SELECT that says so can fail.
begin;
select plan(9);
select string_agg(line, E'\n') as agree from regexp_split_to_table(pg_read_file(:'sql' || '/events.sql'), E'\n') line \gset
create function pg_temp.agree(p_sale int, p_query text) returns text language plpgsql as $$
declare r record;
begin
    execute format('select * from (%s) x where sale = %s', rtrim(p_query, E'; \n'), p_sale) into r;
    return concat_ws(' ', r.wrong, r.ok);
end $$;
create function pg_temp.broken(p_statement text, p_query text) returns text language plpgsql as $$
declare seen text;
begin
    begin
        execute p_statement;
        seen := pg_temp.agree(1, p_query);
        raise 'undo' using errcode = 'XX999';
    exception when sqlstate 'XX999' then
        return seen;
    end;
end $$;
update dropgate.outbox_head set forgotten = 0;

select test.sale(1, total => 20);
select is(pg_temp.agree(1, :'agree'), '0 t', 'a sale without reservations has no story');
select test.ask(1, 'ann/k/2', 'bob/k/1', 'cay/k/1'), test.cancel(1, 'bob', 'k');
select is(pg_temp.agree(1, :'agree'), '0 t', 'grants and a cancellation are told');
select dropgate.outbox_relay(false, 10000);
select test.expire(1), test.ask(1, 'dan/k/3', 'ann/k2/1'), test.ask(1, 'eve/k/1');
select is(pg_temp.agree(1, :'agree'), '0 t', 'published or not, with an expiry');
select is(pg_temp.broken('delete from dropgate.outbox_pending where kind = ''reservation.expired''', :'agree'), '2 f', 'an expiry that is not told is found');
select is(pg_temp.broken('insert into dropgate.outbox_pending select nextval(''dropgate.outbox_id''), position, events, at, published_at, kind, sale, reservation, user_id, body, reservations, users, quantities from dropgate.outbox_pending where kind = ''reservation.granted'' and events = 1', :'agree'), '1 f', 'one that is told twice, too');
select is(pg_temp.broken($$ select dropgate.outbox_put('reservation.granted', 1, test.id(1, 'nobody', 'k'), 'nobody', null) $$, :'agree'), '1 f', 'so is the grant of nothing');
select is(pg_temp.broken($$ update dropgate.reservation set state = 'cancelled' where user_id = 'ann' and state = 'expired' $$, :'agree'), '2 f', 'or another end than was told');
select is(pg_temp.broken($$ delete from dropgate.outbox_published; update dropgate.outbox_head set forgotten = 1 $$, :'agree'), '4 t', 'what retention has deleted cannot be asked for');
select is(pg_temp.agree(1, :'agree'), '0 t', 'and all is as it was');
select * from finish();
rollback;
