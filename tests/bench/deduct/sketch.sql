-- SPDX-License-Identifier: BSD-3-Clause
-- The batch that the ledger's is measured against: a loop over rows, planned anew for each batch. `bench.sketch` works on a table of
-- its own, narrower than the ledger's, without price, checks or outbox; `bench.sketch_on_ledger` on the ledger's tables, indexes and
-- partitions, without outbox. Both refuse while more than 256 rows are due, count dead holds against their users, and put off (status
-- 0) a user's second request in a batch: they are here for their speed only.
set client_min_messages = warning;
grant usage on schema bench to dropgate_service;
create table bench.sale (
    id int primary key, total bigint not null, avail bigint not null, per_user int not null, hold interval not null,
    opens_at timestamptz not null, seq bigint not null default 0, check (avail between 0 and total)) with (fillfactor = 10);
create table bench.resv (
    id uuid primary key, sale_id int not null, user_id text collate "C" not null, body uuid not null, qty int not null check (qty > 0),
    state smallint not null default 0, granted_at timestamptz not null, expires_at timestamptz not null);
create index resv_live on bench.resv (sale_id, user_id) include (qty) where state < 10;
create index resv_due on bench.resv (sale_id, expires_at) where state = 0;
insert into bench.sale values (1, 9000000000000, 9000000000000, 3, '10 minutes', now());

-- One text, two bodies: the names of table and columns differ, the method does not.
do $do$
declare
    body text := $fn$
#variable_conflict use_column
declare
    s record;
    t timestamptz;
    a bigint;
    freed bigint;
    taken bigint := 0;
    r record;
    replayed bool := false;
    gi uuid[] := '{}';
    gu text[] := '{}';
    gb uuid[] := '{}';
    gq int[] := '{}';
begin
    perform pg_advisory_xact_lock(4711, p_sale);
    select SALE_COLUMNS into s from SALE_TABLE for update of k;
    t := clock_timestamp();
    with due as (select v.id from RESV v where v.SALE_ID = p_sale and v.state = HELD and v.expires_at <= t
                 order by v.expires_at limit 256 for update skip locked),
    fin as (update RESV v set state = GONE from due where v.id = due.id and v.SALE_ID = p_sale returning v.QTY as q)
    select coalesce(sum(fin.q), 0) into freed from fin;
    a := s.avail + freed;
    for r in
        select q.o, q.id, q.u, q.b, q.n, e.BODY as eb, e.granted_at as eg, e.expires_at as ee,
               row_number() over (partition by q.u order by q.o) as nth,
               (select coalesce(sum(v.QTY), 0) from RESV v where v.SALE_ID = p_sale and OF_USER and v.state < LIVE) as live
        from unnest(p_id, p_user, p_body, p_qty) with ordinality q (id, u, b, n, o) left join RESV e on e.id = q.id and e.SALE_ID = p_sale
        order by q.o
    loop
        ord := r.o; granted_at := null; expires_at := null; quantity := r.n; unit_price := 1999; currency := 'EUR'; render := 1;
        if r.eb is not null then
            if r.eb <> r.b then status := 422;
            else status := 201; granted_at := r.eg; expires_at := r.ee; replayed := true; end if;
        elsif t < s.opens_at then status := 403;
        elsif r.nth > 1 then status := 0;
        elsif r.live + r.n > s.per_user then status := 409;
        elsif r.n > a then status := case when a = 0 then 410 else 411 end;
        else
            status := 201; granted_at := t; expires_at := t + s.hold; a := a - r.n;
            gi := gi || r.id; gu := gu || r.u; gb := gb || r.b; gq := gq || r.n;
        end if;
        return next;
    end loop;
    if cardinality(gi) > 0 then
        with i as (INSERTED) select sum(i.q) into taken from i;
    end if;
    if taken > 0 or freed > 0 then
        COUNTED;
    elsif replayed then
        perform pg_logical_emit_message(true, 'dropgate', 'replay');
    end if;
end $fn$;
    words text[] := array[
        ['SALE_COLUMNS', 'k.avail, k.per_user, k.hold, k.opens_at', 'k.avail, k.entry, x.per_user, x.hold, x.opens_at'],
        ['SALE_TABLE', 'bench.sale k where k.id = p_sale', 'dropgate.stock k, dropgate.sale x where k.sale = p_sale and x.id = p_sale'],
        ['INSERTED', 'insert into bench.resv (id, sale_id, user_id, body, qty, granted_at, expires_at)
                      select x.id, p_sale, x.u, x.b, x.n, t, t + s.hold from unnest(gi, gu, gb, gq) x (id, u, b, n) returning qty as q',
                     'insert into dropgate.reservation (id, sale, user_id, fingerprint, quantity, unit_price, currency, granted_at, expires_at, granted_entry)
                      select x.id, p_sale, x.u, x.b, x.n, 1999, ''EUR'', t, t + s.hold, s.entry + 1 from unnest(gi, gu, gb, gq) x (id, u, b, n) returning quantity as q'],
        ['COUNTED', 'update bench.sale set avail = avail + freed - taken, seq = seq + ((s.avail = 0) <> (s.avail + freed - taken = 0))::int where id = p_sale',
                    'update dropgate.stock set avail = avail + freed - taken, held = held + taken - freed, granted = granted + taken,
                     released = released + freed, entry = entry + 1 where sale = p_sale'],
        ['OF_USER', 'v.user_id = q.u', 'hashtextextended(v.user_id, v.sale) = hashtextextended(q.u, p_sale) and v.user_id = q.u'],
        ['GONE', '10', '''expired'', released_entry = s.entry + 1'], ['HELD', '0', '''held'''], ['LIVE', '10', '''expired'''],
        ['SALE_ID', 'sale_id', 'sale'], ['RESV', 'bench.resv', 'dropgate.reservation'], ['QTY', 'qty', 'quantity'], ['BODY', 'body', 'fingerprint']];
    text_of text;
begin
    for variant in 2 .. 3 loop
        text_of := body;
        for w in 1 .. array_length(words, 1) loop
            text_of := replace(text_of, words[w][1], words[w][variant]);
        end loop;
        execute format($fn$create function bench.%s(p_sale int, p_id uuid[], p_user text[], p_body uuid[], p_qty int[])
            returns table (ord int, status int, quantity int, unit_price bigint, currency text, granted_at timestamptz, expires_at timestamptz, render smallint)
            language plpgsql volatile security definer set search_path = pg_catalog set plan_cache_mode = force_custom_plan as %L$fn$,
            (array['', 'sketch', 'sketch_on_ledger'])[variant], text_of);
    end loop;
end $do$;
