-- SPDX-License-Identifier: BSD-3-Clause
-- Payment and expiry at the same instant, ten thousand times: one session begins to pay for each reservation just when it falls due,
-- another does nothing but release what is due. Then the claim and the deadline of those that are paying, in the same way.
select plan(13);
select string_agg(line, E'\n') as invariants from regexp_split_to_table(pg_read_file(:'sql' || '/invariants.sql'), E'\n') line \gset
select dblink_connect(s, test.here()) from unnest(array['pays', 'ends']) s;
-- Who is faster in reaching the locks and the clock is what matters here, not the disk.
select dblink_exec(s, 'set synchronous_commit = off') from unnest(array['pays', 'ends']) s;

create temp table run as select 1000001 as sale;
create table test.race (i int primary key, id uuid not null, attempt uuid not null, begun int, claimed text);
create table test.race_over (p_race text);

-- The hold ends as much later than now as the way to the clock was found to take: a little less after each win, more after each loss. So
-- both keep winning, however fast or busy the machine is. (The end of a hold is immutable otherwise: see sql/lab.sql.)
create procedure test.race_to_pay(p_sale int) language plpgsql as $$
declare x record; lead interval := '500 microseconds'; was int;
begin
    set session_replication_role = replica;
    for x in select * from test.race order by i loop
        update dropgate.reservation set expires_at = clock_timestamp() + lead where id = x.id and sale = p_sale;
        commit;
        was := (select status from dropgate.payment_begin(x.id, 'u' || x.i, x.attempt, x.id, 3600000, 3600000));
        update test.race set begun = was where i = x.i;
        commit;
        lead := least('20 milliseconds', case was when 201 then lead * 0.97 else lead * 1.03 + interval '1 microsecond' end);
    end loop;
    insert into test.race_over values ('pay');
end $$;
create procedure test.race_to_release(p_sale int) language plpgsql as $$
begin
    while not exists (select from test.race_over where p_race = 'pay') loop
        perform dropgate.reserve_batch(p_sale, '{}', '{}', '{}', '{}');
        commit;
    end loop;
end $$;
create procedure test.race_to_claim() language plpgsql as $$
declare x record; lead interval := '500 microseconds'; was text; t timestamptz;
begin
    for x in select * from test.race where begun = 201 order by i loop
        t := clock_timestamp() + lead;
        update dropgate.payment set deadline = t, check_at = t where attempt = x.attempt;
        commit;
        was := dropgate.payment_authorised(x.attempt, 3600000);
        update test.race set claimed = was where i = x.i;
        commit;
        lead := least('20 milliseconds', case was when 'capturing' then lead * 0.97 else lead * 1.03 + interval '1 microsecond' end);
    end loop;
    insert into test.race_over values ('claim');
end $$;
create procedure test.race_to_void() language plpgsql as $$
declare due uuid[]; a uuid;
begin
    while not exists (select from test.race_over where p_race = 'claim') loop
        due := array(select d.attempt from dropgate.payment_due(100, 3600000) d where d.state = 'voiding');
        commit; -- a transaction of its own for each, as in the service: one lock order
        foreach a in array due loop
            perform dropgate.payment_voided(a, null);
            commit;
        end loop;
    end loop;
end $$;
-- Waits without a snapshot, which would keep every dead row version in the others' way.
create procedure pg_temp.race(p_one text, p_other text) language plpgsql as $$
begin
    perform dblink_send_query('ends', p_other);
    perform dblink_send_query('pays', p_one);
    while dblink_is_busy('pays') = 1 or dblink_is_busy('ends') = 1 loop
        perform pg_sleep(0.05);
        commit;
    end loop;
    for i in 1 .. 2 loop -- the second of each is the end of its results
        perform * from dblink_get_result('pays') x (s text);
        perform * from dblink_get_result('ends') x (s text);
    end loop;
end $$;
create function pg_temp.hold(p_query text) returns text language plpgsql as $$
declare r record;
begin
    execute format('select * from (%s) x where sale = 1000001', rtrim(p_query, E'; \n')) into r;
    return row_to_json(r);
end $$;

select test.sale(sale, total => 10000, per_user => 1, hold => '1 hour') from run;
select count(*) from run, generate_series(0, 9) g, lateral dropgate.reserve_batch(sale, array(select test.id(sale, 'u' || i, 'k') from generate_series(g * 1000 + 1, g * 1000 + 1000) i),
    array(select 'u' || i from generate_series(g * 1000 + 1, g * 1000 + 1000) i), array_fill(gen_random_uuid(), array[1000]), array_fill(1, array[1000]));
insert into test.race select i, test.id(sale, 'u' || i, 'k'), test.attempt(sale, 'u' || i, 'k', 'p') from run, generate_series(1, 10000) i;
call pg_temp.race('call test.race_to_pay(1000001)', 'call test.race_to_release(1000001)');
select test.ask(sale) from run;
select is((select count(*) from test.race where begun is null or begun not in (201, 410)), 0::bigint, 'each of ten thousand payments was begun or came too late');
select cmp_ok((select count(*) from test.race where begun = 201), '>=', 2000::bigint, 'many were in time');
select cmp_ok((select count(*) from test.race where begun = 410), '>=', 2000::bigint, 'many were not');
select is((select count(*) from test.race x join dropgate.reservation r on r.id = x.id where (x.begun = 201) <> (r.state = 'paying')), 0::bigint, 'exactly the ones in time are in payment');
select is((select count(*) from test.race x join dropgate.reservation r on r.id = x.id where (x.begun = 410) <> (r.state = 'expired' and r.released_entry is not null)), 0::bigint, 'all others were released');
select is((select concat_ws(' ', avail, held, granted, released) from dropgate.stock, run where stock.sale = run.sale),
          (select concat_ws(' ', count(*) filter (where begun = 410), count(*) filter (where begun = 201), count(*), count(*) filter (where begun = 410)) from test.race), 'each of them once');
select alike(pg_temp.hold(:'invariants'), '%"ok":true}', 'all invariants hold');

-- The reconciler voids what is not claimed by its deadline; nothing is both.
call pg_temp.race('call test.race_to_claim()', 'call test.race_to_void()');
select is((select count(*) from test.race where begun = 201 and (claimed is null or claimed not in ('capturing', 'voiding', 'voided'))), 0::bigint, 'each claim succeeded or came too late');
select cmp_ok((select count(*) from test.race where claimed = 'capturing'), '>=', 200::bigint, 'many succeeded');
select cmp_ok((select count(*) from test.race where claimed <> 'capturing'), '>=', 200::bigint, 'many did not');
select is((select count(*) from test.race x join dropgate.reservation r on r.id = x.id where x.begun = 201 and (x.claimed = 'capturing') <> (r.state = 'capturing')), 0::bigint, 'exactly those that succeeded are claimed');
select is((select count(*) from test.race x join dropgate.payment p on p.attempt = x.attempt where x.begun = 201 and (x.claimed = 'capturing') <> (p.state = 'capturing')), 0::bigint, 'by their attempts');
select alike(pg_temp.hold(:'invariants'), '%"ok":true}', 'all invariants hold');

select * from finish();
select dblink_disconnect(s) from unnest(array['pays', 'ends']) s;
