-- SPDX-License-Identifier: BSD-3-Clause
-- What only several sessions can show about the outbox: commits out of order, one relay at a time, and what reading writes.
-- These tests commit.
select plan(15);
select dblink_connect(s, test.here()) from unnest(array['one', 'two', 'relay', 'rival']) s;
create function pg_temp.call(p_session text, p_query text) returns text language sql as $$
    select r from dblink(p_session, format('select (%s)::text', p_query)) x (r text)
$$;
create function pg_temp.put(p_session text, p_kind text) returns text language sql as $$
    select pg_temp.call(p_session, format('select 1 from (select dropgate.outbox_put(%L, 1, null, null, null)) x', p_kind))
$$;
-- Publishes all there is, and then says what was published behind `start`.
create function pg_temp.published(p_start bigint) returns text language plpgsql as $$
begin
    while pg_temp.call('relay', 'dropgate.outbox_relay(true, 1)')::int > 0 loop null; end loop;
    return (select string_agg(position - p_start || ' ' || kind, ', ' order by position) from dropgate.event where position > p_start);
end $$;

select is(pg_temp.call('relay', 'dropgate.outbox_relay(false, 10000)')::int >= 0, true, 'the first that asks is the relay');
select pg_temp.published(0) is null;
create temp table start as select dropgate.events_last() as position;

-- An id that was drawn first and committed last.
select dblink_exec('one', 'begin');
select pg_temp.put('one', 't.slow');
select pg_temp.put('two', 't.quick');
select is(pg_temp.published((select position from start)), '1 t.quick', 'what is not committed is not published, and holds nothing up');
select dblink_exec('one', 'commit');
select is(pg_temp.published((select position from start)), '1 t.quick, 2 t.slow', 'what commits late gets a later position, though its id is lower');
select ok((select split_part(a.id, '-', 1)::bigint > split_part(b.id, '-', 1)::bigint from dropgate.event a, dropgate.event b, start s
           where a.position = s.position + 1 and b.position = s.position + 2), 'it is lower');
select dblink_exec('one', 'begin');
select pg_temp.put('one', 't.never');
select dblink_exec('one', 'rollback');
select pg_temp.put('two', 't.next');
select is(pg_temp.published((select position + 2 from start)), '1 t.next', 'what was rolled back leaves no gap');

-- One relay.
select is(pg_temp.call('rival', 'dropgate.outbox_relay(false, 10)'), '-1', 'another session is told that there is one');
select is(pg_temp.call('relay', 'current_setting(''idle_session_timeout'')') || pg_temp.call('rival', 'current_setting(''idle_session_timeout'')'), '15s0',
          'one that is stopped loses the office, and only that one');
select dblink_exec('one', 'begin');
select pg_temp.put('two', 't.a'), pg_temp.put('two', 't.b');
select pg_temp.call('one', 'select position from dropgate.outbox_head for update');
select dblink_send_query('relay', 'select dropgate.outbox_relay(true, 10)');
create function pg_temp.waits(p_query text) returns boolean language plpgsql as $$
begin
    for i in 1 .. 500 loop
        perform pg_stat_clear_snapshot();
        if exists (select from pg_stat_activity where query = p_query and wait_event_type = 'Lock') then return true; end if;
        perform pg_sleep(0.01);
    end loop;
    return false;
end $$;
select ok(pg_temp.waits('select dropgate.outbox_relay(true, 10)'), 'even if there were two, they would take turns');
select is(pg_temp.call('two', 'dropgate.events_last()'), (select (position + 3)::text from start), 'readers do not wait for them');
select dblink_exec('one', 'commit');
select is((select r from dblink_get_result('relay') x (r int)), 2, 'and go on where the other has ended');
select count(*) from dblink_get_result('relay') x (r int);
select dblink_disconnect('relay');
create function pg_temp.takes_over() returns boolean language plpgsql as $$
begin
    for i in 1 .. 500 loop
        if pg_temp.call('rival', 'dropgate.outbox_relay(false, 10)') <> '-1' then return true; end if;
        perform pg_sleep(0.01);
    end loop;
    return false;
end $$;
select ok(pg_temp.takes_over(), 'the office ends with its connection');

-- Handing out waits for what a synchronous standby has; finding nothing writes nothing.
create temp table lsn as select pg_current_wal_flush_lsn() as at;
create function pg_temp.written(p_resource_manager text, p_record_type text) returns bigint language sql as $$
    select count(*) from lsn, pg_get_wal_records_info(lsn.at, greatest(pg_current_wal_flush_lsn(), lsn.at)) w
    where w.resource_manager like p_resource_manager and w.record_type like p_record_type
$$;
select pg_temp.call('two', format('select count(*) from dropgate.events_read(%s, 10, 1000)', (select position from start)));
select is(pg_temp.written('LogicalMessage', '%'), 1::bigint, 'handing out events writes a message');
select cmp_ok(pg_temp.written('Transaction', 'COMMIT'), '>=', 1::bigint, 'and waits for a commit record behind it');
update lsn set at = pg_current_wal_flush_lsn();
select pg_temp.call('two', 'select count(*) from dropgate.events_read(dropgate.events_last(), 10, 1000)');
select pg_temp.call('rival', 'dropgate.outbox_relay(true, 10)');
select pg_temp.put('two', 't.mark'); -- so that there is something to look at
select is(pg_temp.written('LogicalMessage', '%'), 0::bigint, 'finding nothing new does not');
select is(pg_temp.written('Heap%', 'LOCK%'), 0::bigint, 'a relay with nothing to publish locks no row');

select * from finish();
select dblink_disconnect(s) from unnest(array['one', 'two', 'rival']) s;
