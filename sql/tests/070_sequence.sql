-- SPDX-License-Identifier: BSD-3-Clause
-- The batch against the plainest possible model of itself: the same elements, one per call. Random batches full of everything
-- that can get in each other's way, at several amounts of stock; with seeds, so that a failure can be looked at again.
begin;
select plan(12);

-- Asks sale `many` for batches and sale `single` for the same elements one by one; returns the first difference, or NULL.
create function pg_temp.difference(p_seed float8, p_total bigint, p_per_user int, p_users int, p_keys int, p_most int, p_batches int, p_size int) returns text
language plpgsql as $$
declare
    many int := 100000 + (p_seed * 10000)::int;
    single int := many + 50000;
    asks text[];
    one text;
    together text;
    alone text;
begin
    perform setseed(p_seed), test.sale(many, total => p_total, per_user => p_per_user), test.sale(single, total => p_total, per_user => p_per_user);
    for batch in 1 .. p_batches loop
        -- one in twenty is cancelled between batches, so that stock comes back to be fought over
        perform dropgate.reservation_cancel(test.id(many, r.user_id, r.key), r.user_id), dropgate.reservation_cancel(test.id(single, r.user_id, r.key), r.user_id)
        from (select u.user_id, k.key from (select distinct user_id from dropgate.reservation where sale = many) u,
              (select 'k' || i as key from generate_series(1, p_keys) i) k order by 1, 2) r where random() < 0.05;
        asks := array(select format('u%s/k%s/%s', floor(random() * p_users), 1 + floor(random() * p_keys), floor(random() * (p_most + 1)))
                      from generate_series(1, p_size));
        together := (select string_agg(concat_ws(':', status, quantity, unit_price), ' ' order by ord) from test.answers(many, asks));
        alone := '';
        foreach one in array asks loop
            alone := concat_ws(' ', nullif(alone, ''), (select concat_ws(':', status, quantity, unit_price) from test.answers(single, array[one])));
        end loop;
        if together <> alone then
            return format(E'batch %s of %s\ntogether: %s\nalone:    %s', batch, array_to_string(asks, ' '), together, alone);
        end if;
    end loop;
    if test.stock(many) <> test.stock(single) then
        return format('stock: %s together, %s alone', test.stock(many), test.stock(single));
    end if;
    return null;
end $$;

select is(pg_temp.difference(0.11, 1000000, 3, 100000, 2, 3, 20, 60), null, 'strangers with ample stock: the same together as alone');
select is(pg_temp.difference(0.22, 1000000, 3, 12, 4, 4, 40, 40), null, 'few users with many keys: the same together as alone');
select is(pg_temp.difference(0.33, 40, 3, 30, 3, 3, 40, 30), null, 'more demand than stock: the same together as alone');
select is(pg_temp.difference(0.44, 7, 5, 6, 3, 5, 60, 20), null, 'hardly any stock: the same together as alone');
select is(pg_temp.difference(0.55, 25, 9, 1000, 1, 9, 30, 25), null, 'large requests before small ones: the same together as alone');
select is(pg_temp.difference(0.66, 0, 2, 5, 3, 2, 10, 20), null, 'no stock at all: the same together as alone');

-- And the same as a model says that knows nothing of sets, batches or indexes: one request after the other, on a plain table.
create temp table model (id uuid, user_id text, quantity int, live bool) on commit drop;
create function pg_temp.expected(p_sale int, p_total bigint, p_per_user int, p_attempts int, p_ask text) returns int language plpgsql as $$
declare
    who text := split_part(p_ask, '/', 1);
    it uuid := test.id(p_sale, who, split_part(p_ask, '/', 2));
    wanted int := split_part(p_ask, '/', 3)::int;
    avail bigint := p_total - (select coalesce(sum(quantity), 0) from model where live);
begin
    if wanted not between 1 and 10000 then return 400;
    elsif exists (select from model where id = it) then return case when exists (select from model where id = it and quantity = wanted) then 201 else 422 end;
    elsif (select count(*) from model where user_id = who and not live) >= p_attempts then return 413;
    elsif (select coalesce(sum(quantity), 0) from model where user_id = who and live) + wanted > p_per_user then return 409;
    elsif wanted > avail then return case when avail > 0 then 411 when exists (select from model where live) then 412 else 410 end;
    end if;
    insert into model values (it, who, wanted, true);
    return 201;
end $$;
create function pg_temp.against_model(p_seed float8, p_total bigint, p_per_user int, p_attempts int, p_users int, p_keys int, p_most int, p_batches int, p_size int) returns text
language plpgsql as $$
declare
    the_sale int := 400000 + (p_seed * 10000)::int;
    asks text[];
    one text;
    ledger text;
    expected text;
    gone record;
begin
    perform setseed(p_seed), dropgate.item_put('thing', 'A thing', 'for sale'), dropgate.sale_put(the_sale, 'thing', p_total, p_per_user, '10 minutes', 1999, 'EUR', now(), null, p_attempts);
    delete from model;
    for batch in 1 .. p_batches loop
        for gone in select m.id, m.user_id from model m where m.live and random() < 0.15 loop
            perform dropgate.reservation_cancel(gone.id, gone.user_id);
            update model set live = false where id = gone.id;
        end loop;
        asks := array(select format('u%s/k%s/%s', floor(random() * p_users), 1 + floor(random() * p_keys), floor(random() * (p_most + 1)))
                      from generate_series(1, p_size));
        expected := '';
        foreach one in array asks loop
            expected := concat_ws(' ', nullif(expected, ''), pg_temp.expected(the_sale, p_total, p_per_user, p_attempts, one));
        end loop;
        ledger := (select string_agg(status::text, ' ' order by ord) from test.answers(the_sale, asks));
        if ledger <> expected then
            return format(E'batch %s of %s\nledger: %s\nmodel:  %s', batch, array_to_string(asks, ' '), ledger, expected);
        end if;
    end loop;
    return null;
end $$;
select is(pg_temp.against_model(0.12, 1000000, 3, 20, 100000, 2, 3, 15, 60), null, 'strangers: as the model says');
select is(pg_temp.against_model(0.23, 1000000, 4, 3, 15, 6, 4, 40, 40), null, 'users who give back again and again: as the model says');
select is(pg_temp.against_model(0.34, 40, 3, 2, 40, 4, 3, 40, 30), null, 'more demand than stock: as the model says');
select is(pg_temp.against_model(0.45, 9, 6, 4, 8, 5, 5, 60, 20), null, 'hardly any stock: as the model says');
select is(pg_temp.against_model(0.56, 200, 9, 5, 1000, 1, 9, 30, 25), null, 'large requests and single users: as the model says');
select is(pg_temp.against_model(0.67, 0, 2, 1, 5, 3, 2, 5, 20), null, 'no stock at all: as the model says');

select * from finish();
rollback;
