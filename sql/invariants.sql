-- SPDX-License-Identifier: BSD-3-Clause
-- What must be true of every sale at every instant: one row per sale, one SELECT, so that all of it is seen at one instant.
--   i1  total = available + held + paying + capturing + unknown + paid, and the counters agree with the rows
--   i2  nothing is oversold
--   i3  no user holds more than the limit (the highest ever in force), and no two reservations have one id
--   i5  nothing was granted before the opening
--   i7  every release happened exactly once: what was ever granted and given back, by the counters, is what the rows say
--   i8  no reservation is paid for or being paid for without a payment (there are none yet)
-- I4 and I6 need the clients' own log: see tests/lab.
select *, i1 and i2 and i3 and i5 and i7 and i8 as ok
from (
    select k.sale,
           k.total = k.avail + coalesce(r.live, 0) and k.held = coalesce(r.held, 0) as i1,
           k.avail between 0 and k.total as i2,
           coalesce(u.most, 0) <= s.per_user_highest and coalesce(r.ids = r.reservations, true) as i3,
           coalesce(r.first_grant >= s.opens_at, true) as i5,
           k.granted = coalesce(r.granted, 0) and k.released = coalesce(r.released, 0) and coalesce(r.ends_agree, true) as i7,
           coalesce(r.in_payment, 0) = 0 as i8
    from dropgate.stock k
    join dropgate.sale s on s.id = k.sale
    left join (
        select sale, count(*) as reservations, count(distinct id) as ids, sum(quantity) as granted, min(granted_at) as first_grant,
               sum(quantity) filter (where state in ('held', 'paying', 'capturing', 'unknown', 'paid')) as live,
               sum(quantity) filter (where state = 'held') as held,
               sum(quantity) filter (where state in ('expired', 'cancelled')) as released,
               bool_and((state in ('expired', 'cancelled')) = (released_entry is not null)
                        and coalesce(released_entry > granted_entry, true)) as ends_agree,
               count(*) filter (where state in ('paying', 'capturing', 'unknown', 'paid')) as in_payment
        from dropgate.reservation group by sale) r on r.sale = k.sale
    left join (
        select sale, max(units) as most
        from (select sale, user_id, sum(quantity) as units from dropgate.reservation
              where state in ('held', 'paying', 'capturing', 'unknown', 'paid') and (state <> 'held' or expires_at > clock_timestamp())
              group by sale, user_id) per_user
        group by sale) u on u.sale = k.sale) each
order by sale;
