-- SPDX-License-Identifier: BSD-3-Clause
-- The batch against the plainest possible model of itself: the same elements, one per call. Random batches full of everything
-- that can get in each other's way, at several amounts of stock; with seeds, so that a failure can be looked at again.
begin;
select plan(6);

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

select * from finish();
rollback;
