-- SPDX-License-Identifier: BSD-3-Clause
-- Attempts: who gives back, or lets run out, as many reservations of a sale as it may, gets no more of it.
begin;
select plan(22);
-- One more reservation of `p_user` that does not last.
create function pg_temp.loop(p_sale int, p_user text, p_from int, p_to int, p_cancel bool default true) returns text language plpgsql as $$
declare all_of_it text := '';
begin
    for i in p_from .. p_to loop
        all_of_it := concat_ws(' ', nullif(all_of_it, ''), test.ask(p_sale, format('%s/k%s/1', p_user, i)));
        if p_cancel then perform test.cancel(p_sale, p_user, 'k' || i); else perform test.expire(p_sale); end if;
    end loop;
    return all_of_it;
end $$;

select test.sale(1, total => 10);
select is((select attempts from dropgate.sale where id = 1), 20, 'a sale allows twenty, unless it says otherwise');
select dropgate.sale_put(1, 'thing', 10, 3, '10 minutes', 1999, 'EUR', now(), null, 3);
select test.sale(1, total => 10);
select is((select attempts from dropgate.sale where id = 1), 3, 'an edit that does not name the limit leaves it');
select is(pg_temp.loop(1, 'ann', 1, 4), '201 201 201 413', 'the fourth reservation after three cancellations is refused');
select is(test.stock(1), '10 0 3 3', 'and takes nothing');
select is(test.ask(1, 'ann/k1/1', 'ann/k4/1', 'ann/k1/1'), '201 413 201', 'a known key is answered as ever');
select is(test.ask(1, 'ann/k1/2'), '422', 'or refused as ever');
select is(test.ask(1, 'bob/k/1', 'ann/k9/1', 'cay/k/1'), '201 413 201', 'others are not concerned');
select is(test.ask(1, 'ann/k9/4'), '413', 'the attempts are looked at before the limit');
select test.sale(2, total => 10);
select is(test.ask(2, 'ann/k/1'), '201', 'nor other sales');

select dropgate.sale_put(3, 'thing', 10, 3, '10 minutes', 1999, 'EUR', now(), null, 2);
select is(pg_temp.loop(3, 'ann', 1, 3, false), '201 201 413', 'holds that ran out count');
select is(test.ask(3, 'bob/a/1', 'bob/b/1'), '201 201', 'two holds');
select test.expire(3);
select is(test.ask(3, 'bob/c/1'), '413', 'before they have been released, too');
select is((select count(*) from dropgate.reservation where sale = 3 and state = 'held'), 0::bigint, 'and are released all the same');
select is(test.ask(3, 'cay/a/1', 'cay/b/1', 'cay/c/1'), '201 201 201', 'what is held is no attempt that ended');
select test.cancel(3, 'cay', 'a'), test.cancel(3, 'cay', 'b');
select is(test.ask(3, 'cay/d/1'), '413', 'with something held');
select is((select state from dropgate.reservation_get(test.id(3, 'cay', 'c'), 'cay')), 'held', 'which stays');

select dropgate.sale_put(3, 'thing', 10, 3, '10 minutes', 1999, 'EUR', now(), null, 5);
select is(test.ask(3, 'cay/d/1'), '201', 'a higher limit lets them on');
select throws_ok($$ select dropgate.sale_put(3, 'thing', 10, 3, '10 minutes', 1999, 'EUR', now(), null, 0) $$, '23514', null, 'none at all would refuse everybody');

-- Order of reasons, and the two ways of a batch.
select dropgate.sale_put(4, 'thing', 3, 3, '10 minutes', 1999, 'EUR', now(), null, 1);
select pg_temp.loop(4, 'ann', 1, 1);
select test.ask(4, 'bob/k/3');
select is(test.ask(4, 'ann/k2/1', 'cay/k/1'), '413 412', 'the attempts are looked at before the stock');
select test.cancel(4, 'bob', 'k');
select is(test.ask(4, 'ann/a/1', 'ann/b/1', 'cay/k/1', 'cay/l/1', 'bob/l/1', 'dan/k/1', 'dan/l/1'), '413 413 201 201 413 201 412', 'alone, twice in a batch, and when there is not enough for all');
select dropgate.sale_put(4, 'thing', 3, 3, '10 minutes', 1999, 'EUR', now() - interval '1 hour', now() - interval '1 minute', 1);
select is(test.ask(4, 'ann/c/1', 'cay/k/1'), '423 201', 'a closed sale is closed to everybody');
select is((select count(*) from dropgate.stock where granted - released <> total - avail), 0::bigint, 'all counters agree');
select * from finish();
rollback;
