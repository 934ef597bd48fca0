-- SPDX-License-Identifier: BSD-3-Clause
-- What must be true of every sale at every instant: one row per sale, one SELECT, so that all of it is seen at one instant.
--   i1  total = available + held + paying + capturing + unknown + paid, and the counters agree with the rows
--   i2  nothing is oversold
--   i3  no user holds more than the limit (the highest ever in force), and no two reservations have one id
--   i5  nothing was granted before the opening
--   i7  every release happened exactly once: what was ever granted and given back, by the counters, is what the rows say
--   i8  each captured payment has one paid reservation, or exactly one refund row in the outbox; no reservation is in payment, or
--       paid, but by an attempt in a state that fits
-- I4 and I6 need the clients' own log: see tests/lab.
select *, i1 and i2 and i3 and i5 and i7 and i8 as ok
from (
    select k.sale,
           k.total = k.avail + coalesce(r.live, 0) and k.held = coalesce(r.held, 0) as i1,
           k.avail between 0 and k.total as i2,
           coalesce(u.most, 0) <= s.per_user_highest and coalesce(r.ids = r.reservations, true) as i3,
           coalesce(r.first_grant >= s.opens_at, true) as i5,
           k.granted = coalesce(r.granted, 0) and k.released = coalesce(r.released, 0) and coalesce(r.ends_agree, true) as i7,
           coalesce(r.attempts_fit, true) and coalesce(p.places_fit, true) and coalesce(p.refunds_fit, true) as i8
    from dropgate.stock k
    join dropgate.sale s on s.id = k.sale
    left join (
        select sale, count(*) as reservations, count(distinct id) as ids, sum(quantity) as granted, min(granted_at) as first_grant,
               sum(quantity) filter (where state in ('held', 'paying', 'capturing', 'unknown', 'paid')) as live,
               sum(quantity) filter (where state in ('held', 'paying')) as held,
               sum(quantity) filter (where state in ('expired', 'cancelled')) as released,
               bool_and((state in ('expired', 'cancelled')) = (released_entry is not null)
                        and coalesce(released_entry > granted_entry, true)) as ends_agree,
               bool_and(case state
                   when 'paying' then exists (select from dropgate.payment p where p.attempt = r.attempt and p.reservation = r.id and p.state in ('begun', 'voiding'))
                   when 'capturing' then exists (select from dropgate.payment p where p.attempt = r.attempt and p.reservation = r.id and p.state = 'capturing')
                   when 'unknown' then exists (select from dropgate.payment p where p.attempt = r.attempt and p.reservation = r.id and p.state = 'unknown')
                   when 'paid' then exists (select from dropgate.payment p where p.attempt = r.attempt and p.placed = r.id and p.state = 'captured')
                   else true end) as attempts_fit
        from dropgate.reservation r group by sale) r on r.sale = k.sale
    left join (
        select p.sale,
               bool_and(p.state not in ('begun', 'capturing', 'unknown', 'captured')
                        or exists (select from dropgate.reservation r where r.sale = p.sale and r.attempt = p.attempt and r.id = coalesce(p.placed, p.reservation)
                                   and r.state::text = case p.state when 'begun' then 'paying' when 'captured' then 'paid' else p.state::text end)) as places_fit,
               -- What has been refunded may have left the outbox by retention.
               bool_and(case p.state when 'refunding' then coalesce(o.refunds, 0) = 1 when 'refunded' then coalesce(o.refunds, 1) = 1
                                     else o.refunds is null end) as refunds_fit
        from dropgate.payment p
        left join (select (body ->> 'attempt')::uuid as attempt, count(*) as refunds from dropgate.outbox where kind = 'payment.refund' group by 1) o
            on o.attempt = p.attempt
        group by p.sale) p on p.sale = k.sale
    left join (
        select sale, max(units) as most
        from (select sale, user_id, sum(quantity) as units from dropgate.reservation
              where state in ('held', 'paying', 'capturing', 'unknown', 'paid') and (state <> 'held' or expires_at > clock_timestamp())
              group by sale, user_id) per_user
        group by sale) u on u.sale = k.sale) each
order by sale;
