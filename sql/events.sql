-- SPDX-License-Identifier: BSD-3-Clause
-- Whether the outbox tells the whole story of every sale, and nothing else: one row per sale, one SELECT, beside invariants.sql. Each
-- reservation has one event of its grant, one of its end if it has ended, and one of its payment if it is paid; each such event
-- is of a reservation that came to that. True at every instant, published or not, since events are written with what they tell;
-- but only as long as retention has deleted none: then it says nothing.
select k.sale, coalesce(w.wrong, 0) as wrong, w.example, h.forgotten > 0 or coalesce(w.wrong, 0) = 0 as ok
from dropgate.stock k
cross join dropgate.outbox_head h
left join (
    select coalesce(r.sale, e.sale) as sale, count(*) as wrong,
           min(format('%s %s: %s', coalesce(r.kind, e.kind), coalesce(r.id, e.reservation), coalesce(e.events, 0))) as example
    from (
        select r.sale, r.id, due.kind
        from dropgate.reservation r,
             lateral (values ('reservation.granted'), (case when r.state in ('expired', 'cancelled') then 'reservation.' || r.state end),
                             (case when r.state = 'paid' then 'reservation.paid' end)) due (kind)
        where due.kind is not null) r
    full join (
        select sale, reservation, kind, count(*) as events
        from dropgate.event where kind like 'reservation.%' group by sale, reservation, kind) e
        on e.sale = r.sale and e.reservation = r.id and e.kind = r.kind
    where r.id is null or e.events is distinct from 1
    group by coalesce(r.sale, e.sale)) w on w.sale = k.sale
order by k.sale;
