-- SPDX-License-Identifier: BSD-3-Clause
-- What only two sessions can show: waiting, what is seen after the wait, notifications, and what a commit writes. These tests
-- commit; their sales have numbers of their own.
select plan(18);
create temp table run as select 500000 + (extract(epoch from clock_timestamp())::bigint % 100000)::int * 10 as sale;
select dblink_connect('admin', test.here()), dblink_connect('one', test.here()), dblink_connect('two', test.here());
-- Waits until the session named `name` waits for a lock of its own: an event, not a time.
create function pg_temp.waits(name text) returns boolean language plpgsql as $$
declare p int;
begin
    for i in 1 .. 500 loop
        perform pg_stat_clear_snapshot();
        if exists (select from pg_stat_activity where application_name = name and wait_event_type = 'Lock') then return true; end if;
        perform pg_sleep(0.01);
    end loop;
    return false;
end $$;
select dblink_exec(s, format('set application_name = %L', s)) from unnest(array['one', 'two']) s;

-- One after the other, and what the first has taken the second does not see as free.
select dblink_exec('admin', format('do $d$ begin perform test.sale(%s, total => 1, per_user => 1); end $d$', sale)) from run;
select dblink_exec('one', 'begin');
select is((select s from dblink('one', format('select test.ask(%s, ''ann/k/1'')', (select sale from run))) x (s text)), '201', 'the first session grants and has not committed');
select dblink_send_query('two', format('select test.ask(%s, ''bob/k/1'')', sale)) from run;
select ok(pg_temp.waits('two'), 'the second session waits');
select dblink_exec('one', 'commit');
select is((select s from dblink_get_result('two') x (s text)), '412', 'after the wait it sees that nothing is left');
select count(*) from dblink_get_result('two') x (s text);

-- A rolled-back grant leaves nothing.
select dblink_exec('admin', format('do $d$ begin perform test.sale(%s, total => 1, per_user => 1); end $d$', sale + 1)) from run;
select dblink_exec('one', 'begin');
select count(*) from dblink('one', format('select test.ask(%s, ''ann/k/1'')', (select sale + 1 from run))) x (s text);
select dblink_send_query('two', format('select test.ask(%s, ''ann/k/1'', ''bob/k/1'')', sale + 1)) from run;
select ok(pg_temp.waits('two'), 'a retry on another connection waits for the first to be decided');
select dblink_exec('one', 'rollback');
select is((select s from dblink_get_result('two') x (s text)), '201 412', 'what was rolled back was never granted');
select count(*) from dblink_get_result('two') x (s text);

-- The opening is judged after the wait: now() of the waiting transaction predates it.
select dblink_exec('admin', format('do $d$ begin perform test.sale(%s, opens_at => clock_timestamp() + interval ''150 milliseconds''); end $d$', sale + 2)) from run;
select dblink_exec('one', 'begin');
select count(*) from dblink('one', format('select dropgate.lock_sale(%s)::text', (select sale + 2 from run))) x (s text);
select dblink_send_query('two', format('select test.ask(%s, ''ann/k/1'')', sale + 2)) from run;
select ok(pg_temp.waits('two'), 'a batch waits for the sale''s advisory lock before its row');
select pg_sleep(greatest(0, extract(epoch from (select opens_at from dropgate.sale where id = (select sale + 2 from run)) - clock_timestamp())) + 0.005);
select dblink_exec('one', 'commit');
select is((select s from dblink_get_result('two') x (s text)), '201', 'time is read after the locks, so the sale is open by now');
select count(*) from dblink_get_result('two') x (s text);

-- Cancelling takes the same first lock.
select dblink_exec('one', 'begin');
select count(*) from dblink('one', format('select dropgate.lock_sale(%s)::text', (select sale + 2 from run))) x (s text);
select dblink_send_query('two', format('select test.cancel(%s, ''ann'', ''k'')::text', sale + 2)) from run;
select ok(pg_temp.waits('two'), 'a cancellation waits for the sale''s advisory lock');
select dblink_exec('one', 'commit');
select is((select s from dblink_get_result('two') x (s text)), '204', 'and goes on behind it');
select count(*) from dblink_get_result('two') x (s text);

-- Housekeeping stands in nobody's way.
select dblink_exec('one', 'begin');
select count(*) from dblink('one', format('select dropgate.lock_sale(%s)::text', (select sale + 2 from run))) x (s text);
select dblink_exec('two', 'set statement_timeout = ''5s''');
select lives_ok(format('select * from dblink(''two'', ''select test.ask(%s)'') x (s text)', sale + 2), 'housekeeping with nothing due does not wait for the lock') from run;
select dblink_exec('one', 'commit');
create temp table quiet as select pg_current_wal_insert_lsn() as at;
select count(*) from dblink('two', format('select test.ask(%s)', (select sale + 2 from run))) x (s text);
select is((select count(*) from pg_get_wal_records_info((select at from quiet), greatest(pg_current_wal_flush_lsn(), (select at from quiet))) where resource_manager = 'Heap' and record_type like 'LOCK%'), 0::bigint, 'and locks no row');

-- Another isolation would look at old stock.
select dblink_exec('one', 'begin isolation level repeatable read');
select throws_ok(format('select * from dblink(''one'', ''select test.ask(%s, ''''zoe/k/1'''')'') x (s text)', sale + 2), '25000', null, 'a batch refuses to run in REPEATABLE READ') from run;
select dblink_exec('one', 'rollback');

-- A replay alone still writes: a synchronous standby must be waited for.
create temp table lsn as select pg_current_wal_insert_lsn() as at;
select is((select s from dblink('one', format('select test.ask(%s, ''ann/k/1'')', (select sale + 2 from run))) x (s text)), '201', 'a replay is answered');
select is((select count(*) from pg_get_wal_records_info((select at from lsn), pg_current_wal_flush_lsn()) where resource_manager = 'LogicalMessage'), 1::bigint, 'a batch of replays writes a message of its own');
select cmp_ok((select count(*) from pg_get_wal_records_info((select at from lsn), pg_current_wal_flush_lsn()) where resource_manager = 'Transaction' and record_type = 'COMMIT'), '>=', 1::bigint, 'and flushes a commit record behind it');

-- Who listens hears of edits and of changes of state, and of nothing else. A mark is sent behind whatever there is, so that
-- silence can be told from slowness.
create function pg_temp.heard() returns text language plpgsql as $$
declare all_of_it text[] := '{}';
begin
    perform dblink_exec('one', $n$ notify dropgate_catalog, 'mark' $n$);
    for i in 1 .. 500 loop
        all_of_it := all_of_it || array(select extra from dblink_get_notify('admin') where notify_name = 'dropgate_catalog');
        exit when 'mark' = any (all_of_it);
        perform pg_sleep(0.01);
    end loop;
    return array_to_string(all_of_it, ' ');
end $$;
select dblink_exec('admin', 'listen dropgate_catalog');
select pg_temp.heard(); -- a first listener also hears what is still in the queue
select dblink_exec('one', format('do $d$ begin perform test.sale(%s, total => 2); end $d$', sale + 3)) from run;
select is(pg_temp.heard(), format('%s mark', (select sale + 3 from run)), 'a new sale is announced');
select count(*) from dblink('one', format('select test.ask(%s, ''ann/k/1'')', (select sale + 3 from run))) x (s text);
select is(pg_temp.heard(), 'mark', 'a grant is not');
select count(*) from dblink('one', format('select test.ask(%s, ''bob/k/1'')', (select sale + 3 from run))) x (s text);
select is(pg_temp.heard(), format('%s mark', (select sale + 3 from run)), 'selling out is');

select * from finish();
select dblink_disconnect(s) from unnest(array['admin', 'one', 'two']) s;
